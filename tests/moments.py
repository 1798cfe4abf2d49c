"""Moments and lines that tests share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tracker.records import Login, Logout

NOW = datetime(2026, 11, 24, 8, 45, 29, tzinfo=UTC)


def after(seconds: float) -> datetime:
    """NOW and so many seconds."""
    return NOW + timedelta(seconds=seconds)


def login(
    address: str = "203.0.113.5",
    user: str = "alice@example.com",
    *,
    at: float = 0,
    session: str | None = "dVCJuwFh/a9/AAAC",
    service: str = "pop3",
) -> Login:
    """A login at so many seconds after NOW."""
    return Login(after(at), service, user, address, session)


def logout(session: str = "dVCJuwFh/a9/AAAC", *, at: float = 0) -> Logout:
    """A logout as Dovecot logs it: without an address."""
    return Logout(after(at), "pop3", "alice@example.com", None, session)


def login_line(
    address: str,
    user: str = "alice@example.com",
    session: str = "dVCJuwFh/a9/AAAC",
    at: datetime = NOW,
) -> str:
    """A login line as Dovecot 2.3 writes it through rsyslog."""
    return (
        f"{at.isoformat()} mailhost dovecot: pop3-login: Login: user=<{user}>, method=PLAIN, "
        f"rip={address}, lip=192.0.2.1, mpid=4387, session=<{session}>\n"
    )


def logout_line(
    user: str = "alice@example.com", session: str = "dVCJuwFh/a9/AAAC", at: datetime = NOW
) -> str:
    """The end of that session."""
    return (
        f"{at.isoformat()} mailhost dovecot: pop3({user})<4387><{session}>: "
        "Disconnected: Logged out top=0/0, retr=0/0, del=0/0, size=0\n"
    )
