"""[policy]: the policy service that answers Postfix where `grants.scope` is address."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


class PolicySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The policy service, for `grants.scope = "address"`."""

    serve: Annotated[
        bool,
        Meta(
            description="Whether `popgate run` answers Postfix itself. Off: `popgate policy` does, "
            "a process of its own."
        ),
    ] = True
    listen: Annotated[
        str,
        Meta(
            description="Where, as Postfix writes it: unix:popgate/policy lies in Postfix's queue "
            "folder, where a chrooted smtpd finds it; unix:/a/path; inet:127.0.0.1:10025."
        ),
    ] = "unix:popgate/policy"
    allow_remote: Annotated[
        bool,
        Meta(
            description="Whether `listen` may name an address other than loopback. The protocol "
            "has no password: who reaches the port learns who has a grant."
        ),
    ] = False
    on_failure: Annotated[
        Literal["not-granted", "defer"],
        Meta(
            description="What a dead, slow or full service means to Postfix: that there is no "
            "grant, or that whom another rule would refuse shall come again (DEFER_IF_REJECT)."
        ),
    ] = "not-granted"
    login_domains: Annotated[
        tuple[str, ...],
        Meta(
            description="Domains in which a login without a domain may send: alice as "
            "alice@example.com. Empty: every local domain, but for those of relay_domains."
        ),
    ] = ()
    senders: Annotated[
        dict[str, tuple[str, ...]],
        Meta(
            description="More senders of a login: addresses, or a whole domain written @domain, "
            'such as "alice" = ["info@example.com", "@example.org"].'
        ),
    ] = {}
    max_connections: Annotated[
        int, Meta(ge=1, le=10000, description="Connections at a time; one more is closed at once.")
    ] = 500
    max_request: Annotated[
        int,
        Meta(
            ge=1024,
            le=1048576,
            description="Bytes of a request; a longer one ends its connection.",
        ),
    ] = 16384
