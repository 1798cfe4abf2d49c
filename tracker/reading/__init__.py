"""Bytes to events: log sources, the formats that servers write, and the scanner that joins them."""
