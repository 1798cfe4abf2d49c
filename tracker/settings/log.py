"""[log]: where logins are logged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from tracker.settings.duration import Duration


class LogSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where logins are logged."""

    files: Annotated[
        tuple[Path, ...],
        Meta(
            description="Log files to follow. A file that is missing yet is waited for; rotated "
            "neighbours (.1, .gz, -YYYYMMDD) are read where reading stopped in them. Stars are "
            "allowed: all files that match are followed, also those that come later. A lone - is "
            "standard input, for `popgate run`. Where `log.units` is set and this is not: none."
        ),
    ] = (Path("/var/log/mail.log"),)
    units: Annotated[
        tuple[str, ...],
        Meta(
            description="systemd units whose entries in the journal are read, such as "
            "dovecot.service; a .slice stands for all units in it. None: the journal is not read."
        ),
    ] = ()
    executables: Annotated[
        tuple[str, ...],
        Meta(
            description="Programs, by their path, whose entries of these units count alone: where "
            "units also run what users wrote. None: all."
        ),
    ] = ()
    journal_directory: Annotated[
        str,
        Meta(
            description="Folder of another journal than this host's: a container's, for one. "
            "Empty: this host's."
        ),
    ] = ""
    format: Annotated[
        str,
        Meta(
            description="Who writes the log: the name of a log format, or several with commas; "
            "`popgate formats` lists them. auto: those that understand what is logged already."
        ),
    ] = "dovecot"
    formats_directory: Annotated[
        Path, Meta(description="Folder of your own log formats, a TOML file each.")
    ] = Path("/etc/popgate/formats.d")
    accept_forgeable: Annotated[
        bool,
        Meta(
            description="Logins of formats that anyone can forge earn grants too. "
            "docs/formats.md says which they are, and what that means."
        ),
    ] = False
    dovecot: Annotated[
        str | dict[str, str],
        Meta(
            description="How Dovecot writes its lines. auto: as doveconf says, when it is on this "
            "host; a path: the dovecot.conf that doveconf is to read; or a table of its "
            "login_log_format_elements, login_log_format, mail_log_prefix and log_timestamp, "
            "{} for the defaults."
        ),
    ] = "auto"
    timezone: Annotated[
        str,
        Meta(
            description="The zone of stamps that name none, such as Europe/Berlin. "
            "Empty: the host's."
        ),
    ] = ""
    sessions_command: Annotated[
        tuple[str, ...],
        Meta(
            description="Lists the mail sessions that are open, as `doveadm -f tab who -1` does. "
            "The line that ends one can be lost: what was listed and is no more has ended."
        ),
    ] = ("doveadm", "-f", "tab", "who", "-1")
    sessions_interval: Annotated[
        Duration,
        Meta(
            description="How often it is run. Between 0 and 1d; 0: never. Root may run doveadm, "
            "and whom Dovecot lets into its anvil socket; where it fails, that is said once."
        ),
    ] = Duration(minutes=5)
    poll_interval: Annotated[
        Duration,
        Meta(
            description="How often the files are looked at when inotify reports nothing. "
            "Between 50ms and 60s."
        ),
    ] = Duration(seconds=2)
