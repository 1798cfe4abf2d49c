"""Whether there are more grants than `grants.max_grants` and `max_grants_per_user` allow; pure.

Users at one address (`max_users_per_address`) are judged beside the log, in `log.py`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from tracker.deciding.health.catalogue import Diagnosis, found
from tracker.deciding.limits import NAMELESS
from tracker.deciding.policy import GrantPolicy
from tracker.deciding.recent import HOUR
from tracker.records import Login
from tracker.texts import printable, visible


def limits(
    users: Mapping[str, tuple[str, ...]],
    logins: Iterable[Login],
    policy: GrantPolicy,
    now: datetime,
) -> Iterator[Diagnosis]:
    """What is beyond a limit. `users`: by the ledger, for each address; `logins`: the last ones."""
    number = sum(len(names) for names in users.values())
    if number >= policy.max_grants:
        setting = f"grants.max_grants = {policy.max_grants}"
        mend = f"popgate config set grants.max_grants {2 * policy.max_grants}"
        yield found("grants-full", setting, f"there are {number} grants", mend)
    most = policy.max_grants_per_user
    for user, addresses in sorted(_addresses(users, logins, policy, now).items()):
        if not most or len(addresses) <= most or user == NAMELESS:
            continue
        text = f"logged in from {len(addresses)} addresses within an hour"
        mend = f"popgate revoke --user {shlex.quote(visible(printable(user)))}"
        yield found("user-everywhere", visible(printable(user)), text, mend)


def _addresses(
    users: Mapping[str, tuple[str, ...]],
    logins: Iterable[Login],
    policy: GrantPolicy,
    now: datetime,
) -> dict[str, set[str]]:
    """The addresses of each user."""
    found: dict[str, set[str]] = {}
    for address, names in users.items():
        for name in names:
            found.setdefault(name, set()).add(address)
    for login in logins:
        if login.address and now - HOUR < login.time and policy.refusal(login) is None:
            found.setdefault(login.user or NAMELESS, set()).add(policy.subject(login.address))
    return found
