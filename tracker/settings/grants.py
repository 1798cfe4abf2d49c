"""[grants]: who earns a grant, and for how long."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from tracker.settings.duration import Duration

RefusedKind = Literal["loopback", "link-local", "own", "private"]
LimitName = Literal["max_grants", "max_users_per_address", "max_grants_per_user"]
OptionalLimit = Literal["max_users_per_address", "max_grants_per_user"]


class GrantSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Who earns a grant, and for how long."""

    window: Annotated[
        Duration,
        Meta(
            description="How long an address may send after a login, and after the end of its last "
            "session. At most 7d; 0 turns POP before SMTP off."
        ),
    ] = Duration(minutes=30)
    while_connected: Annotated[
        bool, Meta(description="A grant stays while a session from its address is open.")
    ] = True
    max_session: Annotated[
        Duration,
        Meta(
            description="An open session counts no longer than this: its end may have been lost. "
            "Between 1m and 30d."
        ),
    ] = Duration(hours=24)
    scope: Annotated[
        Literal["ip", "address"],
        Meta(
            description="What a grant opens: ip, every sender from the IP address, by a table; "
            "address, only senders of the user that logged in from there, by the policy service."
        ),
    ] = "ip"
    services: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1, description="Services whose logins earn a grant, as the log names them."
        ),
    ] = ("pop3", "imap")
    users: Annotated[
        tuple[str, ...],
        Meta(description="Users who can earn a grant: names with * and ?, in any case."),
    ] = ("*",)
    exclude_users: Annotated[
        tuple[str, ...], Meta(description="Users who cannot, though they are among `users`.")
    ] = ()
    exclude_networks: Annotated[
        tuple[str, ...],
        Meta(description="Networks that earn no grant: a NAT gateway, a webmail host."),
    ] = ()
    refuse: Annotated[
        tuple[RefusedKind, ...],
        Meta(
            description="Kinds of addresses that earn no grant. A gateway or container bridge seen "
            "as the client would open the relay to everyone behind it: take a kind out only when "
            "clients really have such addresses."
        ),
    ] = ("loopback", "link-local", "own", "private")
    max_grants: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000_000,
            description="Grants at most, about 200 bytes of memory each, and 1 KB with the scope "
            "address. Beyond it no new grant is made; those that are there go on and are renewed.",
        ),
    ] = 1_000_000
    max_users_per_address: Annotated[
        int,
        Meta(
            ge=0,
            le=100_000,
            description="Users with a grant at one address, beyond which it looks like a gateway: "
            "a warning in the log, and a finding of popgate doctor. 0: not watched.",
        ),
    ] = 9
    max_grants_per_user: Annotated[
        int,
        Meta(
            ge=0,
            le=100_000,
            description="Addresses of one user, with a grant or a login in the last hour, beyond "
            "which the password looks stolen: a warning and a finding too. 0: not watched.",
        ),
    ] = 100
    refuse_beyond: Annotated[
        tuple[OptionalLimit, ...],
        Meta(
            description="Which of max_users_per_address and max_grants_per_user refuse: what is "
            "beyond earns no grant then. None: they warn."
        ),
    ] = ()
    ipv6_prefix: Annotated[
        int,
        Meta(
            ge=48,
            le=128,
            description="Bits of an IPv6 address that a grant is for; 64 grants the whole network "
            "of a home, unless grants.exclude_networks has an address in it. Below 128 needs "
            'postfix.table = "cidr".',
        ),
    ] = 128
