"""A file's clock to UTC: ``UTC``, ``NY+7``, ``EET``, ``+03:00`` or any IANA name.

Where the clock is turned back, an hour happens twice. Ticks come in order of time, so the second pass is
recognised: it begins where, inside the doubtful hour, the clock falls by more than 30 minutes. A file that shows
the doubtful hour only once is read as the first pass (daylight time). Where the clock is turned forward, an hour
does not exist; a time inside it is read as if the clock had not been turned yet, which is the same instant an hour
later on the new clock.
"""

import difflib
import re
import zoneinfo
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from libs.common.errors import ConfigError
from libs.common.messages.base import Ints

NS_PER_S = 1_000_000_000
_NAMES = {"EET": "Europe/Athens", "NY": "America/New_York"}
_FIXED = re.compile(r"^([+-])(\d{1,2})(?::?(\d{2}))?$")
_SHIFTED = re.compile(r"^NY([+-]\d{1,2})$")
_FIRST_YEAR, _LAST_YEAR = 1970, 2100
_FELL_NS = 1_800 * NS_PER_S
_STEP = timedelta(days=6)


class WallClock:
    """Turns one file's local times into UTC, in file order.

    Parameters
    ----------
    zone : ``UTC``; ``NY`` (New York) or ``NY+7`` (New York plus hours, the clock of most MetaTrader servers);
        ``EET`` (GMT+2/+3, changing on the EU's dates); ``+03:00`` or ``-5``; an IANA name such as
        ``Europe/London``

    Raises
    ------
    ConfigError : for a zone nobody knows
    """

    def __init__(self, zone: str) -> None:
        self._shift_ns, (self._switches, self._offsets, self._folds) = _parse(zone.strip())
        self._previous: int | None = None
        self._second_pass = False

    def to_utc(self, local_ns: Ints) -> Ints:
        """Return UTC for local times, ns since 1970 on the file's clock; call in file order."""
        if len(local_ns) == 0:
            return local_ns
        local = local_ns - self._shift_ns
        era = np.searchsorted(self._switches, local, side="right")
        offset = self._offsets[era]
        if len(self._folds):
            # The doubtful hours are those just before a switch that turns the clock back.
            coming = np.minimum(era, len(self._folds) - 1)
            doubtful = (era < len(self._folds)) & (local >= self._switches[coming] - self._folds[coming])
            if doubtful.any():
                offset = offset - np.where(self._is_second_pass(local, doubtful), self._folds[coming], 0)
            else:
                self._second_pass = False
        self._previous = int(local[-1])
        return local - offset

    def _is_second_pass(self, local: Ints, doubtful: NDArray[np.bool_]) -> NDArray[np.bool_]:
        second = np.zeros(len(local), dtype=np.bool_)
        first = int(local[0]) if self._previous is None else self._previous
        fell = np.diff(local, prepend=first) < -_FELL_NS
        now = self._second_pass
        for row in range(len(local)):
            now = bool(doubtful[row]) and (now or bool(fell[row]))
            second[row] = now
        self._second_pass = now
        return second


_Table = tuple[Ints, Ints, Ints]


def _parse(zone: str) -> tuple[int, _Table]:
    fixed = _FIXED.match(zone)
    if fixed:
        seconds = int(fixed[2]) * 3600 + int(fixed[3] or 0) * 60
        if seconds <= 14 * 3600:
            return (seconds if fixed[1] == "+" else -seconds) * NS_PER_S, _table("UTC")
    shifted = _SHIFTED.match(zone)
    if shifted:
        return int(shifted[1]) * 3600 * NS_PER_S, _table("America/New_York")
    return 0, _table(_NAMES.get(zone, zone))


@lru_cache(maxsize=32)
def _table(name: str) -> _Table:
    """Return (local time of each switch, offset before the first and after each, how far each turns back), ns.

    A switch's local time is the first one that can only belong to the new offset.
    """
    zone = _zone(name)
    switches: list[int] = []
    offsets = [_offset_s(zone, datetime(_FIRST_YEAR, 1, 1, tzinfo=UTC))]
    folds: list[int] = []
    moment = datetime(_FIRST_YEAR, 1, 1, tzinfo=UTC)
    while moment.year < _LAST_YEAR:
        later = moment + _STEP
        if _offset_s(zone, later) != offsets[-1]:
            at = _switch_between(zone, moment, later)
            before, after = offsets[-1], _offset_s(zone, at)
            switches.append(int(at.timestamp()) + max(before, after))
            folds.append(max(0, before - after))
            offsets.append(after)
            moment = at
        else:
            moment = later
    scaled = [np.array(column, dtype=np.int64) * NS_PER_S for column in (switches, offsets, folds)]
    return scaled[0], scaled[1], scaled[2]


def _zone(name: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        close = difflib.get_close_matches(name, zoneinfo.available_timezones(), n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise ConfigError(
            f"unknown zone '{name}'.{hint} Use UTC, NY+7 (most MetaTrader servers), EET, an offset such as +03:00, "
            "or an IANA name such as Europe/London."
        ) from None


def _offset_s(zone: zoneinfo.ZoneInfo, moment: datetime) -> int:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def _switch_between(zone: zoneinfo.ZoneInfo, low: datetime, high: datetime) -> datetime:
    old = _offset_s(zone, low)
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        middle = middle.replace(microsecond=0)
        if middle <= low:
            break
        if _offset_s(zone, middle) == old:
            low = middle
        else:
            high = middle
    return high
