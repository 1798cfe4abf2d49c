"""Dovecot's log as an admin's own settings shape it: the packaged format, fitted to them; pure.

`fit` takes the values of `login_log_format_elements`, `login_log_format`, `mail_log_prefix` and
`log_timestamp`, as doveconf prints them, in the dialect of 2.3 (`%u`, `%{session}`, `%$: %s`) or of
2.4 (`%{user}`, `%{elements} - %{message}`). What they leave as it was is read by the packaged
patterns. Settings under which a client could pass for another one are refused with the reason.

`template.py` reads the settings, `lines.py` makes expressions of them, `fences.py` judges them.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import structs

from tracker.errors import FormatError
from tracker.reading.dovecot.lines import Joint, login_patterns, mail_patterns
from tracker.reading.dovecot.template import Template, names_field
from tracker.reading.patterns import Custom, Format, Pattern
from tracker.reading.strftime import StampForm

ELEMENTS = "login_log_format_elements"
LOGIN = "login_log_format"
PREFIX = "mail_log_prefix"
TIMESTAMP = "log_timestamp"
SETTINGS = (ELEMENTS, LOGIN, PREFIX, TIMESTAMP)

_NEEDLES = ("Login", "Logged in", "tarted proxying to ")


def fit(one: Format, settings: Mapping[str, str]) -> Format:
    """The format for a Dovecot with these settings. Raises FormatError with the setting and why."""
    custom = one.custom
    if custom is None:
        raise FormatError(f"the log format {one.name!r} does not know Dovecot's settings")
    for name in settings:
        if name not in SETTINGS:
            raise FormatError(f"{name}: popgate wants of Dovecot only {', '.join(SETTINGS)}")
    changed = {
        name for name, value in settings.items() if value not in custom.defaults.get(name, ())
    }
    if TIMESTAMP in changed:
        one = _stamped(one, custom, settings[TIMESTAMP])
    if changed <= {TIMESTAMP}:
        return one
    return _rebuilt(one, custom, settings, changed)


def _stamped(one: Format, custom: Custom, form: str) -> Format:
    stamp = StampForm(form)
    head = f"(?P<stamp>{stamp.regex}){stamp.blanks}{custom.pieces['own_begin']}"
    return structs.replace(one, own_log=head, timestamp=form)


def _rebuilt(one: Format, custom: Custom, settings: Mapping[str, str], changed: set[str]) -> Format:
    elements, login = (_value(custom, settings, name) for name in (ELEMENTS, LOGIN))
    prefix = Template(PREFIX, _value(custom, settings, PREFIX), custom.mail)
    line = Template(LOGIN, login, custom.login, elements=Template(ELEMENTS, elements, custom.login))
    joint = _joint(line, prefix)
    patterns = [pattern for pattern in one.patterns if pattern.process is None]
    if changed & {ELEMENTS, LOGIN} or joint == Joint.PROCESS:
        patterns += login_patterns(line, custom.pieces, joint)
    else:
        patterns += _of(one, "login")
    if PREFIX in changed or joint != Joint.SESSION:
        patterns += mail_patterns(prefix, custom.pieces, joint)
    else:
        patterns += _of(one, "mail")
    own_log = one.own_log
    if own_log and PREFIX in changed:  # a line of its own log may begin otherwise then
        own_log = own_log.replace(custom.pieces["own_begin"], custom.pieces["level"])
    return structs.replace(
        one,
        own_log=own_log,
        title=f"{one.title}, as its settings have it",
        needles=_NEEDLES,
        by_pid=joint == Joint.PROCESS,
        patterns=tuple(patterns),
        examples=(),
        counter_examples=(),
    )


def _of(one: Format, process: str) -> list[Pattern]:
    return [pattern for pattern in one.patterns if pattern.process == process]


def _value(custom: Custom, settings: Mapping[str, str], name: str) -> str:
    return settings.get(name, custom.defaults[name][-1])


def _joint(line: Template, prefix: Template) -> Joint:
    """What the lines of a session have in common."""
    if names_field(line, "session") and names_field(prefix, "session"):
        return Joint.SESSION
    if names_field(line, "pid") and names_field(prefix, "pid"):
        return Joint.PROCESS
    return Joint.USER if names_field(prefix, "user") else Joint.NOTHING
