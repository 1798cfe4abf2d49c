"""Real mail servers on demand, for the demo, the end-to-end tests and the benchmarks.

network   where they run: a network of their own with documentation addresses, or loopback
servers   Dovecot and Postfix, private instances with everything they own in one folder
clients   POP3, IMAP and SMTP spoken from the address of one's choice

    with Network("198.51.100.7") as wire:
        with Dovecot(folder / "dovecot", wire, {"anna": "secret"}, log) as dovecot:
            pop3_login(wire, "198.51.100.7", dovecot.pop3_port, "anna", "secret")

Nothing here reads or changes the mail servers of the machine it runs on.
"""
