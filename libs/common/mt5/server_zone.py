"""Named clocks of broker servers, as rules: ``UTC``, ``NY+7``, ``EET``, ``EU+3``, ``+03:00``.

Most brokers run New York plus seven hours, so that their midnight is 17:00 in New York; others follow the European
dates. No time-zone database is consulted.
"""

import re
from functools import lru_cache

import msgspec

from libs.common.errors import ConfigError
from libs.common.trading.sessions import SECONDS_PER_DAY, SECONDS_PER_HOUR, london_offset_s, ny_offset_s

NS_PER_S = 1_000_000_000
ZONES = ("NY+7", "EET", "UTC", "EU+3", "EU+1")
"""Clocks worth guessing at, the most usual first."""
_FIXED = re.compile(r"^([+-])(\d{1,2})(?::?([0-5]\d))?$")
_SHIFTED = re.compile(r"^(NY|EU)([+-]\d{1,2})$")
_STEP_NS = 6 * SECONDS_PER_DAY * NS_PER_S
_FURTHEST_S = 14 * SECONDS_PER_HOUR


class ServerZone(msgspec.Struct, frozen=True):
    """A clock that follows the daylight dates of New York, of Europe, or none.

    Parameters
    ----------
    follows : ``NY``, ``EU`` or ``""``
    lead_s : how far the clock is ahead of New York's, of London's (the EU's dates), or of UTC, seconds
    """

    follows: str
    lead_s: int

    def offset_s(self, ts_ns: int) -> int:
        """Return the server's clock minus UTC at an instant (ns UTC), seconds.

        >>> parse_zone("NY+7").offset_s(1_700_000_000_000_000_000)  # November
        7200
        """
        if self.follows == "NY":
            return ny_offset_s(ts_ns) + self.lead_s
        if self.follows == "EU":
            return london_offset_s(ts_ns) + self.lead_s
        return self.lead_s

    def changes(self, from_ns: int, to_ns: int) -> tuple[int, ...]:
        """Return the instants in ``from_ns < t <= to_ns`` at which the offset becomes another one, ns UTC."""
        if not self.follows:
            return ()
        found = []
        low = from_ns
        while low < to_ns:
            high = min(low + _STEP_NS, to_ns)
            if self.offset_s(high) != self.offset_s(low):
                found.append(self._change_between(low, high))
            low = high
        return tuple(found)

    def _change_between(self, low: int, high: int) -> int:
        before = self.offset_s(low)
        while high - low > 1:
            middle = (low + high) // 2
            if self.offset_s(middle) == before:
                low = middle
            else:
                high = middle
        return high


@lru_cache(maxsize=64)
def parse_zone(name: str) -> ServerZone:
    """Return the clock of a name.

    Parameters
    ----------
    name : ``UTC``; ``NY+7`` (New York plus hours); ``EET`` or ``EU+2`` (two hours before London, the EU's dates);
        ``+03:00`` or ``-5`` (no daylight time)

    Raises
    ------
    ConfigError : for any other name
    """
    if name == "UTC":
        return ServerZone("", 0)
    fixed = _FIXED.match(name)
    if fixed:
        seconds = int(fixed[2]) * SECONDS_PER_HOUR + int(fixed[3] or 0) * 60
        if seconds <= _FURTHEST_S:
            return ServerZone("", seconds if fixed[1] == "+" else -seconds)
    shifted = _SHIFTED.match("EU+2" if name == "EET" else name)
    if shifted and abs(int(shifted[2]) * SECONDS_PER_HOUR) <= _FURTHEST_S:
        return ServerZone(shifted[1], int(shifted[2]) * SECONDS_PER_HOUR)
    raise ConfigError(
        f"unknown server clock '{name}'. Use NY+7 (most MetaTrader brokers), EET (European dates), UTC, "
        "NY+n or EU+n for another number of hours, or a fixed offset such as +03:00."
    )
