"""The tailer that scripts for POP before SMTP are: it looks at the log every so often, and has
postmap write what is new. A process of its own: `python -m bench.tailer LOG TABLE PAUSE CONFIG`.

`TABLE` is what postmap takes, such as lmdb:/a/path, `PAUSE` is seconds, `CONFIG` is Postfix's
configuration folder. Nothing is ended, checked or kept: that would only cost more.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

_LOGIN = re.compile(r"Login: user=<[^>]*>, .*rip=([0-9a-f.:]+)")


def main() -> None:
    """Until it is killed."""
    log, table, pause, config = sys.argv[1:]
    kind, _, path = table.partition(":")
    known: list[str] = []
    with Path(log).open() as file:
        while True:
            new = _LOGIN.findall(file.read())
            known += new
            if new and kind == "cdb":  # which is made as a whole only
                Path(path).write_text("".join(f"{one} OK\n" for one in known))
                subprocess.run(["postmap", "-c", config, table], check=True)
            elif new:
                lines = "".join(f"{one} OK\n" for one in new)
                command = ["postmap", "-c", config, "-ir", table]
                subprocess.run(command, input=lines, text=True, check=True)
            time.sleep(float(pause))


if __name__ == "__main__":
    main()
