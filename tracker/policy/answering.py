"""From a request to its answer: rule P, asked of the rules in force at this moment.

The rules are asked without I/O. Only where an address has a grant of nobody who is seen to own the
sender, and Postfix has smtpd_sender_login_maps, these are looked up, and the rules asked again.
What cannot be known is not granted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime

from msgspec import structs

from tracker.addresses import canonical
from tracker.deciding.owners import login_keys
from tracker.deciding.rules import RuleSet, granted
from tracker.errors import PopgateError
from tracker.host import utc_now
from tracker.metrics import PolicyMetrics
from tracker.policy.loginmaps import LoginMaps
from tracker.policy.protocol import Action, Request
from tracker.policy.sayings import Sayings
from tracker.pseudonyms import Names
from tracker.records import SmtpSession, Step

log = logging.getLogger("popgate")

_NOTHING = Step("P", "POP before SMTP", matched=False)


class Answering:
    """What a policy service answers, and what it says and counts of that."""

    def __init__(
        self,
        rules: Callable[[], RuleSet],
        maps: LoginMaps,
        metrics: PolicyMetrics,
        clock: Callable[[], datetime] = utc_now,
        names: Names | None = None,
    ) -> None:
        """`rules`: those in force now. They, or what they read, may raise a PopgateError, which
        grants nothing."""
        self.metrics = metrics
        self.sayings = Sayings(names)
        self._rules = rules
        self._maps = maps
        self._clock = clock
        self._fault = ""

    def at_once(self, request: Request, began: float) -> Action | None:
        """The answer, where it needs no table to be looked up; None where `later` has to be asked.
        `began`: when the request came, by time.monotonic()."""
        try:
            rules = self._rules()
            step = self._step(rules, request, request.session)
            keys = self._keys(rules, request) if step.on and not step.matched else ()
            if keys:
                owners = self._maps.known(rules.senders.host.login_maps, keys)
                if owners is None:
                    return None
                step = self._step(rules, request, structs.replace(request.session, owners=owners))
        except PopgateError as error:
            return self._failed(error, began)
        return self._answer(request, step, began)

    async def later(self, request: Request, began: float) -> Action:
        """The answer, when smtpd_sender_login_maps has been looked up."""
        try:
            rules = self._rules()
            keys = self._keys(rules, request)
            owners = await self._maps.owners(rules.senders.host.login_maps, keys) if keys else ()
            session = structs.replace(request.session, owners=owners)
            step = self._step(self._rules(), request, session)  # as they are by now
        except PopgateError as error:
            return self._failed(error, began)
        return self._answer(request, step, began)

    def _step(self, rules: RuleSet, request: Request, session: SmtpSession) -> Step:
        if not request.readable or canonical(session.client) is None:
            return _NOTHING
        return granted(rules, session, self._clock())

    def _keys(self, rules: RuleSet, request: Request) -> tuple[str, ...]:
        """What the tables are asked for; nothing where there is no table."""
        host = rules.senders.host
        return login_keys(request.session.sender, host) if host.login_maps else ()

    def _answer(self, request: Request, step: Step, began: float) -> Action:
        action = Action.OK if step.matched else Action.DUNNO
        self._count("granted" if step.matched else "other sender" if step.on else "no grant", began)
        self.sayings.answered(request, action, step, began)
        if self._fault:
            self._fault = ""
            log.info("event=policy_recovered")
        return action

    def _failed(self, error: PopgateError, began: float) -> Action:
        self._count("failed", began)
        if str(error) != self._fault:
            self._fault = str(error)
            log.error("event=policy_failed error=%r action=%r", self._fault, "nothing is granted")
        return Action.DUNNO

    def _count(self, why: str, began: float) -> None:
        self.metrics.answers.add(why)
        self.metrics.seconds.observe(time.monotonic() - began)
