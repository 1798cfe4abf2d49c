"""[postfix], [tables]: the Postfix that reads the tables, and where they lie."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from tracker.settings.duration import Duration


class PostfixSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The Postfix that reads the tables."""

    config_directory: Annotated[
        str, Meta(description="Its configuration folder. Empty: Postfix's default, /etc/postfix.")
    ] = ""
    command_directory: Annotated[
        str,
        Meta(description="Where postconf, postmap and postfix are. Empty: PATH and /usr/sbin."),
    ] = ""
    table: Annotated[
        Literal["auto", "lmdb", "cidr"],
        Meta(
            description="Type of the grant table: lmdb is changed in place and seen at the next "
            "command; cidr costs a reload a change. auto: lmdb where Postfix has it, else cidr."
        ),
    ] = "auto"
    timeout: Annotated[
        Duration,
        Meta(
            description="A Postfix command that takes longer is killed and tried again. "
            "Between 1s and 5m."
        ),
    ] = Duration(seconds=10)
    min_reload_interval: Annotated[
        Duration,
        Meta(
            description="Postfix is reloaded at once for the first change of a cidr table, then at "
            "most once in this time. Between 0 and 1h."
        ),
    ] = Duration(seconds=5)
    reload_request: Annotated[
        Path,
        Meta(
            description="Not as root, popgate asks for a reload by making this file, and "
            "popgate-reload.path has Postfix reloaded. Where its folder is not there, popgate says "
            "that a reload is due."
        ),
    ] = Path("/run/popgate/reload")
    reread_interval: Annotated[
        Duration,
        Meta(
            description="How often Postfix is asked anew for its domains; SIGHUP asks at once. "
            "Between 5s and 1d."
        ),
    ] = Duration(minutes=1)


class TableSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What popgate writes for Postfix."""

    directory: Annotated[
        Path,
        Meta(
            description="Folder of the tables, a git repository. Made with mode 0700; whoever can "
            "write there commands the mail."
        ),
    ] = Path("/var/lib/popgate/maps")
