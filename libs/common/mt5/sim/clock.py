"""The broker's server clock: its offset, its midnights, and the hours a symbol trades."""

import re
from collections.abc import Iterable

from libs.common.mt5.server_zone import parse_zone
from libs.common.trading.sessions import SECONDS_PER_DAY, SECONDS_PER_HOUR, week_day

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
_HOUR_NS = SECONDS_PER_HOUR * NS_PER_S
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW = re.compile(r"^([a-z]{3})(?:-([a-z]{3}))? (\d\d):(\d\d)(?::(\d\d))?-(\d\d):(\d\d)(?::(\d\d))?$")


class ServerClock:
    """Converts UTC to the broker's wall clock.

    Parameters
    ----------
    zone : ``NY+7`` (New York + 7 h), ``EET`` (UTC+2, summer time by the European rule), or ``UTC`` with an optional
        number of hours: ``UTC+3``
    """

    def __init__(self, zone: str) -> None:
        self._zone = parse_zone(zone.removeprefix("UTC") or zone)
        self._hour, self._hour_offset_s = -1, 0
        self._server_hour, self._server_hour_offset_s = -1, 0

    def offset_s(self, ts_ns: int) -> int:
        """Return what to add to UTC to get the server's wall clock, seconds."""
        # Clocks change at whole hours of UTC only, and most questions are about one hour again and again.
        hour = ts_ns // _HOUR_NS
        if hour != self._hour:
            self._hour, self._hour_offset_s = hour, self._zone.offset_s(ts_ns)
        return self._hour_offset_s

    def msc(self, ts_ns: int) -> int:
        """Return the server's wall clock as if it were UTC, milliseconds."""
        return ts_ns // NS_PER_MS + self.offset_s(ts_ns) * 1_000

    def utc_ns(self, server_s: int) -> int:
        """Return the UTC time of a server wall clock in seconds; an hour that occurs twice means the first."""
        # Offsets are whole hours, so what holds for one second of a server's hour holds for all of it.
        hour = server_s // SECONDS_PER_HOUR
        if hour != self._server_hour:
            begins_s = hour * SECONDS_PER_HOUR
            self._server_hour, self._server_hour_offset_s = hour, begins_s - self._inverse_ns(begins_s) // NS_PER_S
        return (server_s - self._server_hour_offset_s) * NS_PER_S

    def _inverse_ns(self, server_s: int) -> int:
        guess_ns = (server_s - self._zone.offset_s(server_s * NS_PER_S)) * NS_PER_S
        for around_ns in (guess_ns - 6 * _HOUR_NS, guess_ns + 6 * _HOUR_NS):
            ts_ns = (server_s - self._zone.offset_s(around_ns)) * NS_PER_S
            if self._zone.offset_s(ts_ns) == self._zone.offset_s(around_ns):
                return ts_ns
        return guess_ns

    def day(self, ts_ns: int) -> int:
        """Return the number of the server's day (days since 1970-01-01)."""
        return (ts_ns // NS_PER_S + self.offset_s(ts_ns)) // SECONDS_PER_DAY

    def next_midnight_ns(self, ts_ns: int) -> int:
        """Return when the server's next day begins, ns UTC."""
        return self.utc_ns((self.day(ts_ns) + 1) * SECONDS_PER_DAY)

    def second_of_week(self, ts_ns: int) -> int:
        """Return the seconds since Monday 0:00 on the server's clock."""
        wall_s = ts_ns // NS_PER_S + self.offset_s(ts_ns)
        return week_day(wall_s // SECONDS_PER_DAY) * SECONDS_PER_DAY + wall_s % SECONDS_PER_DAY

    @staticmethod
    def week_day(day: int) -> int:
        """Return the weekday of a day number, Monday = 0."""
        return week_day(day)


def weekly_windows(sessions: Iterable[str]) -> tuple[tuple[int, int], ...]:
    """Read trading hours: (from, to) in seconds since Monday 0:00 of the server's clock, ``to`` not in it.

    Raises
    ------
    ValueError : for a text that is not of the form ``mon-fri 01:00-23:59:30``

    Examples
    --------
    >>> weekly_windows(["tue 01:00-24:00"])
    ((90000, 172800),)
    """
    windows = []
    for text in sessions:
        found = _WINDOW.match(text)
        if found is None or found[1] not in _DAYS or (found[2] or "mon") not in _DAYS:
            raise ValueError(f"trading hours '{text}': write them like 'mon-fri 01:00-23:59' or 'sun 22:00-24:00'")
        first, last = _DAYS.index(found[1]), _DAYS.index(found[2] or found[1])
        opens, closes = (
            int(hours) * 3_600 + int(minutes) * 60 + int(seconds or 0)
            for hours, minutes, seconds in (found.group(3, 4, 5), found.group(6, 7, 8))
        )
        if first > last or not 0 <= opens < closes <= SECONDS_PER_DAY:
            raise ValueError(f"trading hours '{text}' end before they begin; a night needs two entries")
        windows += [(day * SECONDS_PER_DAY + opens, day * SECONDS_PER_DAY + closes) for day in range(first, last + 1)]
    return tuple(sorted(windows))
