"""The stamps that syslog daemons and mail servers put before a line, read as aware UTC; pure.

Known: RFC 3164 (`Nov 24 08:45:28`, no year, no zone), RFC 3339 and RFC 5424 (any offset and
precision), Dovecot's own log (as RFC 3164), ISO without an offset (`2026-11-24 08:43:22`), seconds
since 1970 (with a fraction behind a dot or, as milliseconds and less, without one), and
`Nov 24 2026 08:45:28`, which Apple's mail servers wrote.

A stamp without a year takes the last year in which it is no more than a day ahead of now: in the
year nearest to now, a line of seven months ago would be in the future and pass for one of now.
A stamp without an offset is in `zone`, the host's by default; where the clocks go back and it names
two moments, the one nearest to now is meant. What lies more than `FUTURE` ahead of now is clamped
to now: a clock that is off, or a line made up by someone, must not open a longer window. A stamp
that cannot be read gives None. Other forms are learnt (`strftime.py`), and then come first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo

from tracker.reading.strftime import StampForm

_TWO = "[0-9][0-9]"
TIME = f"{_TWO}:{_TWO}:{_TWO}"
YEARLESS = rf"[A-Z][a-z][a-z] [ 0-9][0-9] {TIME}"
ISO = rf"[0-9][0-9T:.+Z-]{{9,40}}+(?: {TIME})?+"
STAMP = f"(?:{YEARLESS}|{ISO})"
"""Regular expressions (no groups) for every stamp that `StampReader` reads, and for more: they find
where a stamp ends; the reader finds whether it is one."""

_YEARLESS = re.compile(YEARLESS, re.ASCII)
_EPOCH = re.compile(r"([0-9]{10})\.?([0-9]{0,9})", re.ASCII)
_DATED = re.compile(rf"[A-Z][a-z][a-z] [ 0-9][0-9] [0-9]{{4}} {TIME}", re.ASCII)
FUTURE = timedelta(minutes=1)
_AHEAD = timedelta(days=1)
_KEPT = timedelta(minutes=10)
_KNOWN = 1440
_MINUTE = timedelta(seconds=59)
_HOUR = timedelta(minutes=59, seconds=59)
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}


class StampReader:
    """Reads stamps against a `now` that is set anew for each block of lines."""

    def __init__(self, now: datetime, zone: tzinfo | None = None) -> None:
        """`zone` is where stamps without an offset were written; None is the host's own."""
        # For stamps without a year: where an hour begins that has all its minutes once, and the
        # seconds of a minute in one.
        self._hours: dict[str, datetime | None] = {}
        self._minutes: dict[str, list[datetime]] = {}
        self._forms: dict[str, StampForm] = {}
        self._cut: dict[str, list[datetime]] = {}
        self._zone = zone
        self._now = now
        self._limit = now + FUTURE
        self._basis = now

    def learn(self, form: str) -> None:
        """Also read stamps that strftime(3) wrote in this form. Raises FormatError."""
        self._forms.setdefault(form, StampForm(form))

    def learnt(self) -> bool:
        """Whether any forms were learnt: they come before all that is known."""
        return bool(self._forms)

    def set_now(self, now: datetime) -> None:
        """Move the clock. A stamp's year depends on it, and so does what counts as the future."""
        # Not for long: an hour after the clocks went back, the same stamp is another moment.
        if now < self._now or now - self._basis > _KEPT:
            self._hours.clear()
            self._minutes.clear()
            self._cut.clear()
            self._basis = now
        self._now = now
        self._limit = now + FUTURE

    def read(self, text: str) -> tuple[datetime | None, str | None]:
        """The moment that the stamp at the start of `text` names, and the host behind it."""
        if self._forms:
            for form in self._forms.values():
                if (cut := form.cut(text)) is not None:
                    return self._learnt(form, text, *cut), None
        # What most lines have comes first and calls little: all time of a large log goes here.
        try:
            if text[0] >= "A":
                seconds = self._minutes.get(text[:12])
                if seconds is not None:
                    return seconds[int(text[13:15])], text[16:] or None
                end = 20 if text[11:12] == " " else 15  # behind the year, where there is one
                return self.moment(text[:end]), text[end + 1 :] or None
            stamp, _, host = text.partition(" ")
            moment = datetime.fromisoformat(stamp)
            if moment.tzinfo is UTC and moment <= self._limit:
                return moment, host or None
        except (ValueError, IndexError):
            pass
        stamp, _, host = text.partition(" ")
        if stamp[4:5] == "-" and len(stamp) == 10:  # the time of day follows behind a blank
            time, _, host = host.partition(" ")
            stamp = f"{stamp} {time}"
        return self.moment(stamp), host or None

    def moment(self, stamp: str) -> datetime | None:
        """The moment that `stamp` names, at most now when it lies in the future."""
        try:
            if stamp[0] >= "A":
                seconds = self._minutes.get(stamp[:12])
                if seconds is not None:
                    return seconds[int(stamp[13:])]
                moment = self._yearless(stamp)
            else:
                moment = self._iso(stamp)
        except (ValueError, IndexError, OverflowError):  # no such date, or none that UTC can name
            return None
        if moment is not None and moment > self._limit:
            return self._now
        return moment

    def _learnt(self, form: StampForm, stamp: str, minute: str, second: int) -> datetime | None:
        """As `moment`. Takes the whole minute along, for the lines that follow."""
        seconds = self._cut.get(minute)
        if seconds is not None:
            return seconds[second]
        try:
            said = form.read(stamp)
            moment = self._said(form, said)
            first = self._said(form, said.replace(second=0))
            last = self._said(form, said.replace(second=59))
        except (ValueError, OverflowError, OSError):  # no such date, or none that UTC can name
            return None
        if first and last and last - first == _MINUTE and last <= self._limit:
            if len(self._cut) >= _KNOWN:
                self._cut.clear()
            if minute != stamp:
                self._cut[minute] = [first + timedelta(seconds=n) for n in range(60)]
        if moment is not None and moment > self._limit:
            return self._now
        return moment

    def _said(self, form: StampForm, said: datetime) -> datetime | None:
        if said.tzinfo is not None:
            return said.astimezone(UTC)
        if form.has_year:
            return self._nearest(iter((said,)))
        return self._nearest(self._in_years(said), self._now + _AHEAD)

    def _in_years(self, said: datetime) -> Iterator[datetime]:
        for year in (self._now.year, self._now.year - 1, self._now.year + 1):
            try:
                yield said.replace(year=year)
            except ValueError:
                continue  # 29 February exists in some of the years only

    def _iso(self, stamp: str) -> datetime | None:
        if epoch := _EPOCH.fullmatch(stamp):
            whole, fraction = int(epoch[1]), int((epoch[2] or "").ljust(6, "0")[:6])
            return datetime.fromtimestamp(whole, UTC) + timedelta(microseconds=fraction)
        if stamp[17:19] == "60":  # a leap second has no place in datetime
            stamp = f"{stamp[:17]}59{stamp[19:]}"
        moment = datetime.fromisoformat(stamp)
        if moment.tzinfo is UTC:
            return moment
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
        return self._nearest(iter((moment,)))

    def _yearless(self, stamp: str) -> datetime | None:
        """Takes the whole minute along, for the lines that follow."""
        if _DATED.fullmatch(stamp):
            month, day = _MONTHS.get(stamp[:3], 0), stamp[4:6].replace(" ", "0")
            return self._iso(f"{stamp[7:11]}-{month:02}-{day} {stamp[12:]}")
        if not _YEARLESS.fullmatch(stamp):
            return None
        minute, hour = stamp[:12], stamp[:9]
        if hour not in self._hours:
            if len(self._hours) >= _KNOWN:
                self._hours.clear()
            first, last = self._slowly(f"{hour}:00:00"), self._slowly(f"{hour}:59:59")
            regular = first is not None and last is not None and last - first == _HOUR
            self._hours[hour] = first if regular else None
        begin = self._hours[hour]
        if begin is None:
            return self._slowly(stamp)
        number, second = int(stamp[10:12]), int(stamp[13:])
        if number > 59 or second > 60:
            return None
        begin += timedelta(minutes=number)
        if begin + _MINUTE > self._limit:
            return begin + timedelta(seconds=min(second, 59))
        if len(self._minutes) >= _KNOWN:
            self._minutes.clear()
        # A leap second is the second before it, since datetime has none.
        seconds = [begin + timedelta(seconds=min(n, 59)) for n in range(61)]
        self._minutes[minute] = seconds
        return seconds[second]

    def _slowly(self, stamp: str) -> datetime | None:
        return self._nearest(self._years(stamp), self._now + _AHEAD)

    def _years(self, stamp: str) -> Iterator[datetime]:
        month = _MONTHS.get(stamp[:3])
        if month is None:
            return
        day = int(stamp[4:6])
        hour, minute, second = (int(part) for part in stamp[7:].split(":"))
        if second == 60:
            second = 59  # the second before a leap second, which has no place in datetime
        for year in (self._now.year, self._now.year - 1, self._now.year + 1):
            try:
                yield datetime(year, month, day, hour, minute, second)
            except ValueError:
                continue  # 29 February exists in some of the years only

    def _nearest(self, local: Iterator[datetime], last: datetime | None = None) -> datetime | None:
        moments = (
            (
                naive.replace(tzinfo=self._zone, fold=fold)
                if self._zone
                else naive.replace(fold=fold)
            )
            for naive in local
            for fold in (0, 1)
        )
        utc = (moment.astimezone(UTC) for moment in moments)
        return min(
            (moment for moment in utc if last is None or moment <= last),
            key=lambda moment: abs(moment - self._now),
            default=None,
        )
