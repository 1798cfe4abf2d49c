"""popgate in processes that need no start of Python: each is forked off one that has imported it.

A crash test needs hundreds of them. What a process does is the same from the command line on; only
reading Python's modules from disk is left out.

`python -m lab.preloaded` is that one process: a JSON object a line tells it what to do.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn, Self

from lab.processes import alive
from tracker.cli import main

_MODULES = ("tracker.cli.work", "tracker.cli.grants", "tracker.service", "tracker.resolver")


class Forked:
    """One popgate process, the leader of a process group of its own."""

    def __init__(self, pid: int, server: Preloaded) -> None:
        self.pid = pid
        self._server = server

    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return alive(self.pid)

    def kill(self, *, group: bool) -> None:
        """SIGKILL; `group`: to the commands it is running too, as systemd does."""
        (os.killpg if group else os.kill)(self.pid, signal.SIGKILL)
        self.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Until it has ended; its exit code, or the signal as a negative number."""
        return self._server.ask(wait=self.pid)

    def running(self, program: str) -> bool:
        """Whether it is running such a command at this moment."""
        for task in Path(f"/proc/{self.pid}/task").glob("*/children"):
            try:
                children = task.read_text().split()
                names = [Path(f"/proc/{child}/comm").read_text().strip() for child in children]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if program in names:
                return True
        return False


class Preloaded:
    """Starts popgate processes; a context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lab.preloaded"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def start(self, *arguments: str, said: Path, held: bool = False) -> Forked:
        """Run a popgate command. `said`: where its words go. `held`: it waits for SIGCONT first."""
        pid = self.ask(arguments=arguments, said=str(said), held=held)
        if held:
            while "T" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]:
                time.sleep(0.001)
        return Forked(pid, self)

    def ask(self, **request: object) -> int:
        """The number that the process answers with."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def _fork(arguments: list[str], said: str, held: bool) -> int:
    pid = os.fork()
    if pid == 0:
        _become(arguments, said, held)
    return pid


def _become(arguments: list[str], said: str, held: bool) -> NoReturn:
    os.setsid()
    words = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for file, number in ((os.open(os.devnull, os.O_RDONLY), 0), (words, 1), (words, 2)):
        os.dup2(file, number)
        os.set_inheritable(number, True)
    if held:
        os.kill(os.getpid(), signal.SIGSTOP)
    _main(arguments)


def _main(arguments: list[str]) -> NoReturn:
    sys.argv = ["popgate", *arguments]
    code = 70  # a traceback's
    try:
        main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _serve() -> None:
    for name in _MODULES:
        __import__(name)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
        else:
            print(_fork(**request), flush=True)


if __name__ == "__main__":
    _serve()
