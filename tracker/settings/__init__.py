"""The settings: every key with its type, default, bounds and a line of help; here and nowhere else.

`config.py` reads them from a file and makes the sample file and the reference from them.
"""

from __future__ import annotations

from datetime import timedelta

from msgspec import Struct

from tracker.settings.duration import Duration
from tracker.settings.exports import ExportSettings, RspamdMap, Shared
from tracker.settings.grants import GrantSettings, LimitName, RefusedKind
from tracker.settings.log import LogSettings
from tracker.settings.metrics import MetricsSettings
from tracker.settings.policy import PolicySettings
from tracker.settings.postfix import PostfixSettings, TableSettings
from tracker.settings.privacy import PrivacySettings
from tracker.settings.senders import (
    BlackListSettings,
    DomainSource,
    LocalSenderSettings,
    WhiteListSettings,
)
from tracker.settings.state import AuditSettings, StateSettings
from tracker.settings.submission import SubmissionSettings
from tracker.settings.trusted import TrustedSettings

__all__ = [
    "BOUNDS",
    "AuditSettings",
    "BlackListSettings",
    "DomainSource",
    "Duration",
    "ExportSettings",
    "GrantSettings",
    "LimitName",
    "LocalSenderSettings",
    "LogSettings",
    "MetricsSettings",
    "PolicySettings",
    "PostfixSettings",
    "PrivacySettings",
    "RefusedKind",
    "RspamdMap",
    "Settings",
    "Shared",
    "StateSettings",
    "SubmissionSettings",
    "TableSettings",
    "TrustedSettings",
    "WhiteListSettings",
]


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """All settings, a struct a section."""

    log: LogSettings = LogSettings()
    grants: GrantSettings = GrantSettings()
    policy: PolicySettings = PolicySettings()
    trusted: TrustedSettings = TrustedSettings()
    local_senders: LocalSenderSettings = LocalSenderSettings()
    whitelist: WhiteListSettings = WhiteListSettings()
    blacklist: BlackListSettings = BlackListSettings()
    postfix: PostfixSettings = PostfixSettings()
    submission: SubmissionSettings = SubmissionSettings()
    tables: TableSettings = TableSettings()
    state: StateSettings = StateSettings()
    audit: AuditSettings = AuditSettings()
    privacy: PrivacySettings = PrivacySettings()
    exports: ExportSettings = ExportSettings()
    metrics: MetricsSettings = MetricsSettings()


BOUNDS: dict[str, tuple[timedelta, timedelta]] = {
    "log.poll_interval": (timedelta(milliseconds=50), timedelta(seconds=60)),
    "log.sessions_interval": (timedelta(0), timedelta(days=1)),
    "grants.window": (timedelta(0), timedelta(days=7)),
    "grants.max_session": (timedelta(minutes=1), timedelta(days=30)),
    "trusted.stale": (timedelta(0), timedelta(days=30)),
    "trusted.timeout": (timedelta(milliseconds=100), timedelta(minutes=1)),
    "postfix.timeout": (timedelta(seconds=1), timedelta(minutes=5)),
    "postfix.min_reload_interval": (timedelta(0), timedelta(hours=1)),
    "postfix.reread_interval": (timedelta(seconds=5), timedelta(days=1)),
    "audit.check_interval": (timedelta(0), timedelta(days=1)),
    "audit.interval": (timedelta(seconds=1), timedelta(hours=1)),
    "exports.command_interval": (timedelta(seconds=1), timedelta(hours=1)),
}
"""The shortest and the longest time that a Duration may be, by `section.key`."""
