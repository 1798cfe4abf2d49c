"""Debian's Chromium without a window, told over a pipe what to open: the DevTools protocol.

It looks at a page as a person would: at a width, in light or dark, on paper; it takes pictures,
and tells what the page asked the network for. Commands go to its file descriptor 3 as JSON with a
NUL behind each, answers and events come from 4 (--remote-debugging-pipe).
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

_PATIENCE = 60.0
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


class Chromium:
    """One browser with one page; a context manager."""

    def __init__(self) -> None:
        self._next = 0
        self._rest = b""
        self._session = ""
        self.requested: list[str] = []
        """The addresses that the page asked for since it was opened."""
        self.complaints: list[str] = []
        """What the browser wrote on its console: refused styles, faults of the page."""

    @staticmethod
    def missing() -> list[str]:
        """The Debian packages that are not there."""
        return [] if shutil.which("chromium") else ["chromium"]

    def __enter__(self) -> Self:
        self._profile = tempfile.TemporaryDirectory(prefix="popgate-chromium-")
        given_in, self._in = os.pipe()
        self._out, given_out = os.pipe()
        # Out of the way of 3 and 4.
        theirs_in = fcntl.fcntl(given_in, fcntl.F_DUPFD, 10)
        theirs_out = fcntl.fcntl(given_out, fcntl.F_DUPFD, 10)
        self._process = subprocess.Popen(
            [
                *("/bin/bash", "-c", 'exec "$@" 3<&"$IN" 4>&"$OUT"', "bash", "chromium", *_FLAGS),
                *(f"--user-data-dir={self._profile.name}", "about:blank"),
            ],
            pass_fds=(theirs_in, theirs_out),
            env={**os.environ, "IN": str(theirs_in), "OUT": str(theirs_out)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for file in (given_in, given_out, theirs_in, theirs_out):
            os.close(file)
        try:
            made = self.tell("Target.createTarget", url="about:blank")
            attached = self.tell("Target.attachToTarget", targetId=made["targetId"], flatten=True)
            self._session = attached["sessionId"]
            for part in ("Page", "Network", "Log", "Runtime"):
                self.tell(f"{part}.enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._in)
        os.close(self._out)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._profile.cleanup()

    def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command, and its answer. Raises RuntimeError with the browser's words."""
        self._next += 1
        command: dict[str, Any] = {"id": self._next, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._in, json.dumps(command).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self._next:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return dict(message["result"])

    def _message(self) -> dict[str, Any]:
        """The next answer or event; events are noted. Raises RuntimeError when none comes."""
        end = time.monotonic() + _PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._out], [], [], max(end - time.monotonic(), 0))
            data = os.read(self._out, 1 << 20) if ready else b""
            if not data:
                raise RuntimeError("chromium does not answer")
            self._rest += data
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        told = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            self.requested.append(told["request"]["url"])
        elif message.get("method") == "Log.entryAdded":
            self.complaints.append(told["entry"]["text"])
        elif message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"]))
        return message

    def open(self, page: Path) -> None:
        """Load a file and wait until it is whole."""
        self.requested, self.complaints = [], []
        self.tell("Page.navigate", url=page.as_uri())
        while self.ask("document.readyState") != "complete":
            time.sleep(0.02)

    def look(
        self, width: int, height: int = 900, *, dark: bool = False, paper: bool = False
    ) -> None:
        """See it at that width, in CSS pixels, with the colours that somebody prefers."""
        self.tell(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.tell(
            "Emulation.setEmulatedMedia",
            media="print" if paper else "screen",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )

    def ask(self, expression: str) -> Any:
        """What a JavaScript expression comes to in the page. Raises RuntimeError."""
        answer = self.tell("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """A key, such as Tab."""
        for kind in ("keyDown", "keyUp"):
            self.tell(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=9
            )

    def picture(self, file: Path) -> bytes:
        """The whole page as PNG, also written to a file."""
        shot = self.tell("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        data = base64.b64decode(shot["data"])
        file.write_bytes(data)
        return data

    def pdf(self) -> bytes:
        """The page as it prints."""
        return base64.b64decode(self.tell("Page.printToPDF", printBackground=False)["data"])
