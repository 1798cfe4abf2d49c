"""[privacy]: what of users leaves the state database."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class PrivacySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What is told of users."""

    hash_users: Annotated[
        bool,
        Meta(
            description="popgate's log, the texts and commits in git, and the lists of users in "
            "the report show a token for each user, the same one each time, in place of the name. "
            "What earns a grant is decided by the name, so the state database keeps it."
        ),
    ] = False
