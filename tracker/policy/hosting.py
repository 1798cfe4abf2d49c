"""A policy service kept as the settings want it: served, moved to another place, or not at all."""

from __future__ import annotations

import gc
from collections.abc import Callable

from tracker.deciding.rules import RuleSet
from tracker.metrics import PolicyMetrics
from tracker.policy.answering import Answering
from tracker.policy.listening import listening
from tracker.policy.loginmaps import LoginMaps
from tracker.policy.server import PolicyServer
from tracker.pseudonyms import names
from tracker.settings import PolicySettings, PostfixSettings, PrivacySettings, Settings
from tracker.writing.postfix import Postfix


class Hosting:
    """At most one server, and the settings that it was made from."""

    def __init__(self, rules: Callable[[], RuleSet], metrics: PolicyMetrics) -> None:
        """`rules`: those in force now."""
        self._rules = rules
        self._metrics = metrics
        self._server: PolicyServer | None = None
        self._maps: LoginMaps | None = None
        self._made: tuple[PolicySettings, PostfixSettings, PrivacySettings] | None = None

    async def follow(self, settings: Settings, *, wanted: bool) -> None:
        """Serve as these settings say; `wanted`: whether to serve at all.

        Raises PolicyError when it cannot be served there; then it is not served anywhere.
        """
        asked = (settings.policy, settings.postfix, settings.privacy) if wanted else None
        if asked == self._made:
            return
        await self.close()
        if not wanted:
            return
        listener = listening(settings.policy.listen, Postfix(settings.postfix))
        self._maps = LoginMaps(settings.postfix)
        answering = Answering(self._rules, self._maps, self._metrics, names=names(settings))
        self._server = PolicyServer(settings.policy, answering)
        await self._server.serve(listener)
        self._made = asked
        # A look through 100,000 grants for garbage takes 70 ms, in which nobody is answered.
        gc.collect()
        gc.freeze()

    async def close(self) -> None:
        """Serve no more."""
        self._made = None
        if self._server is not None:
            await self._server.close()
            self._server = None
        if self._maps is not None:
            self._maps.close()
            self._maps = None
