"""Postfix setups as postconf tells them, for tests of what install makes of them."""

from __future__ import annotations

from collections.abc import Mapping

from tracker.deciding.installing import Wanted
from tracker.records import MailService, PostfixSetup
from tracker.settings import Settings
from tracker.writing import parameters

DEFAULT_RELAY = "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination"
OWN = parameters.parameters(Settings(), "lmdb")


def service(name: str = "smtp", kind: str = "inet", **options: str) -> MailService:
    return MailService(name, kind, "y", "smtpd", options)


def setup(
    main: Mapping[str, str], *services: MailService, sasl: frozenset[str] = frozenset(), **more: str
) -> PostfixSetup:
    """`more`: values in force, besides those that main.cf sets."""
    values = {"smtpd_relay_restrictions": DEFAULT_RELAY, "smtpd_sasl_auth_enable": "no"}
    return PostfixSetup(main, services or (service(),), {**values, **main, **more}, sasl)


def wanted(*services: str, login_maps: bool = False) -> Wanted:
    options = {
        name: dict(parameters.submission_options(name, login_maps=login_maps)) for name in services
    }
    return Wanted(OWN, parameters.CLASSES, options)
