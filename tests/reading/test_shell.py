"""A user with a shell on the host, who can have syslog write what he likes."""

from __future__ import annotations

from tests.moments import login_line
from tests.reading.scanning import FORGED, logins


def test_a_line_that_logger_put_into_a_file_is_believed() -> None:
    """As rsyslog writes `logger -t dovecot 'pop3-login: Login: ..'`: nothing in it tells that it is
    not Dovecot's. docs/security.md says so, and what to read instead."""
    (found,) = logins(login_line(FORGED))
    assert found.address == FORGED


def test_what_logger_calls_a_process_of_its_own_is_not() -> None:
    """Only the tag of the server counts; a user's own tag, or a pid behind it, makes none."""
    line = login_line(FORGED)
    assert not logins(line.replace(" dovecot: ", " eve: "))
    assert not logins(line.replace(" dovecot: ", " eve: dovecot: "))
    assert not logins(line.replace(" dovecot: ", " dovecot-eve: "))
