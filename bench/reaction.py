"""Reaction: login line written -> RCPT accepted by a real smtpd, by each way to tell Postfix.

The yardstick is a tailer as scripts are (`tailer.py`), which looks at the log once a second.
popgate writes lmdb and cidr tables and answers as a policy service; hash and cdb tables, which it
does not write, are written by that tailer too, which then looks a hundred times a second, so that
what is seen is the table's own share.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.figures import percentile
from bench.probing import PATIENCE, Clients
from lab.network import Loopback
from lab.popgate import Popgate
from lab.postfix import Postfix
from lab.processes import run

RATES = ((1, 10), (50, 8), (500, 8))
"""Logins a second, and for how many seconds."""

_YARDSTICK = "tailer that looks once a second, lmdb"
_XCLIENT = {"smtpd_authorized_xclient_hosts": "127.0.0.0/8"}
_ADDRESS = '[grants]\nscope = "address"\n[local_senders]\ndomains = ["example.com"]\n'

_Serve = Callable[[Path, Path, ExitStack], Postfix]


def measure(_: Path) -> Iterator[tuple[str, str]]:
    """Rows of the table: what, and how much."""
    ways: dict[str, _Serve] = {
        _YARDSTICK: _tailer("lmdb", 1.0),
        "popgate, lmdb": _popgate(""),
        "popgate, policy service": _popgate(_ADDRESS),
        "popgate, cidr and reload": _popgate('[postfix]\ntable = "cidr"\n'),
        "tailer at 100 looks a second, hash": _tailer("hash", 0.01),
        "tailer at 100 looks a second, cdb": _tailer("cdb", 0.01),
    }
    if "cdb" not in run(["postconf", "-m"]).split():
        del ways["tailer at 100 looks a second, cdb"]  # postfix-cdb is not installed
    yardstick: list[list[float]] = []
    for name, serve in ways.items():
        cells = _cells(serve)
        yardstick = yardstick or cells
        for (rate, _seconds), times, theirs in zip(RATES, cells, yardstick, strict=True):
            yield f"reaction, {name}, {rate}/s ({len(times)} clients)", _shown(times, theirs)


def _cells(serve: _Serve) -> list[list[float]]:
    """The times at each rate."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="popgate-bench-")))
        folder.chmod(0o755)
        log = folder / "mail.log"
        log.touch()
        postfix = serve(folder, log, stack)
        clients = Clients(log, Loopback(), postfix.port)
        return [clients.reactions(rate, seconds) for rate, seconds in RATES]


def _shown(times: Sequence[float], yardstick: Sequence[float]) -> str:
    shares = (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    figures = ", ".join(
        f"{name} {percentile(times, share) * 1000:.0f} ms" for name, share in shares
    )
    ratios = " and ".join(
        f"{percentile(yardstick, share) / percentile(times, share):.1f}" for _, share in shares[:2]
    )
    lost = sum(one >= PATIENCE for one in times)
    return (
        figures
        + (f"; {lost} not within {PATIENCE:g} s" if lost else "")
        + ("" if times is yardstick else f"; p50 and p99 {ratios} times as fast as the yardstick")
    )


def _popgate(settings: str) -> _Serve:
    """popgate beside a Postfix that runs its snippet."""

    def serve(folder: Path, log: Path, stack: ExitStack) -> Postfix:
        popgate = Popgate(folder / "popgate", log, folder / "postfix/config", settings)
        popgate.command("once")
        postfix = Postfix(folder / "postfix", Loopback(), popgate.snippet(), _XCLIENT)
        postfix.prepare()
        popgate.start()
        stack.callback(popgate.end)
        return stack.enter_context(postfix)

    return serve


def _tailer(kind: str, pause: float) -> _Serve:
    """A script beside a Postfix that asks its table."""

    def serve(folder: Path, log: Path, stack: ExitStack) -> Postfix:
        table = folder / "maps/pop_before_smtp"
        table.parent.mkdir()
        table.touch()
        check = f"check_client_access {kind}:{table}"
        lists = f"smtpd_relay_restrictions = {check}, reject_unauth_destination\n"
        postfix = Postfix(folder / "postfix", Loopback(), lists, _XCLIENT)
        postfix.prepare()
        run(["postmap", "-c", str(postfix.config), f"{kind}:{table}"])
        words = [str(log), f"{kind}:{table}", str(pause), str(postfix.config)]
        process = subprocess.Popen([sys.executable, "-m", "bench.tailer", *words])
        stack.callback(process.wait)
        stack.callback(process.kill)
        return stack.enter_context(postfix)

    return serve
