"""The yardstick for a start: all grants of a state, read into a dictionary by Python alone. Prints
the kilobytes that this takes."""

import sqlite3
import sys
from pathlib import Path

rows = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True).execute(
    "SELECT address, user, services, first_login, last_login, until, expires, sessions FROM grants"
)
grants = {(address, user): rest for address, user, *rest in rows}
status = Path("/proc/self/status").read_text()
print(status.partition("VmRSS:")[2].split()[0])
