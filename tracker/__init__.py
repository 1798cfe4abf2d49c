"""popgate: POP before SMTP for Postfix.

The way of the data is the way of the folders: `reading` turns log bytes into events, `deciding`
turns events and the clock into grants and rules, `writing` turns rules into live Postfix tables.
"""

__version__ = "0.1.0"
