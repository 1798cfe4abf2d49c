"""Root becomes the owner of popgate's folders before it reads a line that a stranger wrote.

The daemon that reads attackers' text need not be root, and files that root left in the state or
maps folder would lock the daemon out.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Callable
from pathlib import Path

from tracker.errors import SYSTEM, PopgateError


def as_owner(folder: Path, work: Callable[[], int]) -> int:
    """Run `work` in a process of its own that is the folder's owner; its exit code.

    For root, who needs its rights again afterwards. The process ends without this one's clean-up.
    """
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = SYSTEM
    try:
        os.umask(0o077)
        become_owner(folder)
        code = work()
    except PopgateError as error:
        sys.stderr.writelines(f"popgate: {line}\n" for line in str(error).splitlines())
        code = error.exit_code
    finally:
        sys.stderr.flush()
        os._exit(code)


def become_owner(folder: Path) -> None:
    """When run as root and the folder belongs to another user, go on as that user for good.

    Raises PopgateError when the owner has no name in the user database.
    """
    try:
        owner = folder.stat().st_uid
    except FileNotFoundError:
        return
    if os.geteuid() != 0 or owner == 0:
        return
    try:
        entry = pwd.getpwuid(owner)
    except KeyError as error:
        raise PopgateError(
            f"{folder}: belongs to user {owner}, who does not exist: chown it to popgate's user"
        ) from error
    os.initgroups(entry.pw_name, entry.pw_gid)
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(owner, owner, owner)
    os.environ["HOME"] = entry.pw_dir
