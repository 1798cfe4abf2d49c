"""[state], [audit]: what popgate remembers, and the history of the tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from tracker.settings.duration import Duration


class StateSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What popgate remembers."""

    directory: Annotated[
        Path, Meta(description="Folder of the state database and of the locks.")
    ] = Path("/var/lib/popgate")


class AuditSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The history of the tables."""

    commit: Annotated[
        bool, Meta(description="Commit the texts of the tables to git, a commit a batch.")
    ] = True
    interval: Annotated[
        Duration,
        Meta(
            description="How long changes are gathered before the texts are written and committed "
            "and renewed expiries go to the table. Between 1s and 1h."
        ),
    ] = Duration(seconds=60)
    push: Annotated[
        str,
        Meta(
            pattern="^([A-Za-z0-9_.][A-Za-z0-9_./-]*)?$",
            description="Name of the git remote that each commit is pushed to, such as origin; "
            "empty: none. A push that fails stops nothing.",
        ),
    ] = ""
    check_interval: Annotated[
        Duration,
        Meta(
            description="How often the tables are compared with what popgate wrote, and put right "
            "where somebody edited them. At most 1d; 0: at each start alone."
        ),
    ] = Duration(minutes=10)
    keep_days: Annotated[
        int,
        Meta(
            ge=1,
            le=3650,
            description="Days that the history in the state database is kept: who had a grant, "
            "when and why, and what changed.",
        ),
    ] = 90
    keep_grants: Annotated[
        int,
        Meta(
            ge=1000,
            le=100_000_000,
            description="How many past grants are kept at most, the newest: about 600 bytes each.",
        ),
    ] = 1_000_000
