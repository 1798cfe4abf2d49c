"""popgate as its users start it: a configuration file and a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from lab.postfix import Postfix
from lab.processes import PATIENCE, alive, stop, wait_for


class Popgate:
    """One installation in a folder: its configuration, state, maps, and `popgate run`."""

    def __init__(self, folder: Path, log: Path, postfix: Path, settings: str = "") -> None:
        """`postfix`: the configuration folder of the Postfix that reads the tables. `settings`:
        more TOML, as whole sections, without the paths that are set here; a [log] stands for
        `log`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "popgate.toml"
        self.maps = folder / "state/maps"
        self.trusted = folder / "trusted.txt"
        self.said = folder / "popgate.log"
        self.postfix = Postfix.configuration(postfix)
        self.configure(log, settings)
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, log: Path, settings: str) -> None:
        """Write the configuration file."""
        own = {
            "log": f'files = ["{log}"]\ndovecot = {{}}',  # not as this machine's own Dovecot
            "trusted": f'file = "{self.trusted}"',
            "tables": f'directory = "{self.maps}"',
            "state": f'directory = "{self.maps.parent}"',
            "postfix": f'config_directory = "{self.postfix}"',
        }
        for name, line in own.items():
            if name == "log" and "[log]" in settings:
                continue  # it names sources of its own
            if f"[{name}]" not in settings:
                settings = f"[{name}]\n" + settings
            settings = settings.replace(f"[{name}]", f"[{name}]\n{line}")
        self.file.write_text(settings)

    def command(
        self, *arguments: str, stdin: str = "", prefix: Sequence[str] = (), **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a popgate command with this configuration to its end. `prefix`: a command that runs
        it in its own way. `variables`: of the environment."""
        return subprocess.run(
            [*prefix, sys.executable, "-m", "tracker", *arguments, "--config", str(self.file)],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, **variables},
        )

    def snippet(self) -> str:
        """What popgate generated for main.cf."""
        return (self.maps / "main.cf.snippet").read_text()

    @property
    def pid(self) -> int:
        """The pid of `popgate run`."""
        assert self._process is not None
        return self._process.pid

    def start(
        self,
        stdin: int = subprocess.DEVNULL,
        prefix: Sequence[str] = (),
        patience: float = PATIENCE,
    ) -> None:
        """`popgate run`, until it is at work. Raises RuntimeError with its words if it is not.

        `prefix`: a command that runs it in its own way. `patience`: seconds that it may take.
        """
        with self.said.open("ab") as said:
            before = said.tell()
            self._process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "tracker", "run", "--config", str(self.file)],
                stdin=stdin,
                stdout=said,
                stderr=said,
            )

        def ready() -> bool:
            words = self.said.read_bytes()[before:]
            if self._process is not None and self._process.poll() is not None:
                raise RuntimeError(words.decode())
            return b"event=started" in words

        wait_for("popgate run", ready, patience)

    @contextmanager
    def serving(self, command: str) -> Iterator[subprocess.Popen[bytes]]:
        """Another command that goes on until it is told to end, beside `run`."""
        with self.said.open("ab") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "tracker", command, "--config", str(self.file)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(PATIENCE)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, patience: float = PATIENCE) -> int:
        """SIGTERM; the exit code. `patience`: seconds that it may take."""
        assert self._process is not None
        if alive(self._process.pid):
            self._process.terminate()
        try:
            return self._process.wait(patience)
        except subprocess.TimeoutExpired:
            stop(self._process.pid)
            raise

    def wait(self) -> int:
        """Until it has ended by itself; the exit code."""
        assert self._process is not None
        return self._process.wait(PATIENCE)

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self, patience: float = PATIENCE) -> None:
        """Stop it, if it runs. `patience`: seconds that it may take."""
        if self._process is not None and self._process.poll() is None:
            self.stop(patience)
