"""The broker's server clock: its offset and its midnights."""

from libs.common.trading.sessions import (
    SECONDS_PER_HOUR,
    SERVER_LEAD_S,
    fixed_offset_day,
    fixed_offset_midnight_ns,
    ny_offset_s,
    server_day,
    server_midnight_ns,
    week_day,
)

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
_INTO_NEXT_DAY_NS = 26 * SECONDS_PER_HOUR * NS_PER_S
"""From a midnight on, longer than the longest day (25 h) and shorter than the two shortest."""


class ServerClock:
    """Converts UTC to the broker's wall clock.

    Parameters
    ----------
    zone : ``NY+7`` or ``UTC``
    """

    def __init__(self, zone: str) -> None:
        self._new_york = zone == "NY+7"

    def msc(self, ts_ns: int) -> int:
        """Return the server's wall clock as if it were UTC, milliseconds."""
        offset_s = ny_offset_s(ts_ns) + SERVER_LEAD_S if self._new_york else 0
        return ts_ns // NS_PER_MS + offset_s * 1_000

    def utc_ns(self, server_s: int) -> int:
        """Return the UTC time of a server wall clock in seconds; an hour that occurs twice means the first."""
        if not self._new_york:
            return server_s * NS_PER_S
        guess_ns = (server_s - SERVER_LEAD_S) * NS_PER_S
        for offset_s in (ny_offset_s(guess_ns), ny_offset_s(guess_ns + 6 * SECONDS_PER_HOUR * NS_PER_S)):
            ts_ns = guess_ns - offset_s * NS_PER_S
            if ny_offset_s(ts_ns) == offset_s:
                return ts_ns
        return guess_ns - ny_offset_s(guess_ns) * NS_PER_S

    def day(self, ts_ns: int) -> int:
        """Return the number of the server's day (days since 1970-01-01)."""
        return server_day(ts_ns) if self._new_york else fixed_offset_day(ts_ns, 0)

    def next_midnight_ns(self, ts_ns: int) -> int:
        """Return when the server's next day begins, ns UTC."""
        if not self._new_york:
            return fixed_offset_midnight_ns(ts_ns + 24 * SECONDS_PER_HOUR * NS_PER_S, 0)
        return server_midnight_ns(server_midnight_ns(ts_ns) + _INTO_NEXT_DAY_NS)

    @staticmethod
    def week_day(day: int) -> int:
        """Return the weekday of a day number, Monday = 0."""
        return week_day(day)
