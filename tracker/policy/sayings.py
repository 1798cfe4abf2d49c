"""What the policy service says of its answers, without flooding the log.

Postfix asks once in each list for every RCPT: the same answer to the same question is said once. A
client can ask as often as it likes: no more than some lines a second are written, and how many were
left out is said.
"""

from __future__ import annotations

import logging
from collections import OrderedDict

from tracker.policy.protocol import Action, Request
from tracker.pseudonyms import Names
from tracker.records import Step
from tracker.texts import printable, visible

log = logging.getLogger("popgate")

_A_SECOND = 20
_REMEMBERED = 1000


class Sayings:
    """The lines of one service."""

    def __init__(self, names: Names | None = None) -> None:
        """`names`: how users are called; a sender is a user too."""
        self._names = names or Names()
        self._said: OrderedDict[tuple[str, str, str, Action], None] = OrderedDict()
        self._second = 0
        self._count = 0
        self._left_out = 0

    def answered(self, request: Request, action: Action, step: Step, at: float) -> None:
        """Say what was answered and why: OK, and DUNNO where the address has a grant, of somebody
        else. That an address has none is said of most mail: debug. `at`: seconds of a clock that
        does not go back."""
        level = logging.INFO if step.on else logging.DEBUG
        if not log.isEnabledFor(level):
            return
        session = request.session
        key = (request.instance, session.client, session.sender, action)
        if key in self._said or not self._may(at):
            return
        self._said[key] = None
        if len(self._said) > _REMEMBERED:
            self._said.popitem(last=False)
        log.log(
            level,
            "event=policy action=%s client=%s sender=%s why=%r",
            action.name,
            printable(session.client)[:64] or "-",
            printable(self._names(session.sender) if session.sender else "")[:320] or "<>",
            self._why(step),
        )

    def _why(self, step: Step) -> str:
        if step.on and self._names.hidden:
            return "the user's grant" if step.matched else "a grant of another user"
        return visible(step.on or "no grant", 400)

    def closed(self, why: str, at: float) -> None:
        """Say that a connection was ended."""
        if self._may(at):
            log.warning("event=policy_closed why=%r", why)

    def _may(self, at: float) -> bool:
        """Whether one more line may be written in this second."""
        if int(at) != self._second:
            if self._left_out:
                log.warning("event=policy_unsaid lines=%d", self._left_out)
            self._second, self._count, self._left_out = int(at), 0, 0
        self._count += 1
        self._left_out += self._count > _A_SECOND
        return self._count <= _A_SECOND
