"""A file's clock to UTC: ``UTC``, ``NY+7``, ``EET``, ``+03:00`` or any IANA name.

What happens in the hour that comes twice and in the one that never comes: ``libs/common/trading/wall_clock.py``.
"""

import difflib
import re
import zoneinfo
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np

from libs.common.errors import ConfigError
from libs.common.messages.base import Ints
from libs.common.trading.wall_clock import OffsetTable, WallReader

NS_PER_S = 1_000_000_000
_NAMES = {"EET": "Europe/Athens", "NY": "America/New_York"}
_FIXED = re.compile(r"^([+-])(\d{1,2})(?::?([0-5]\d))?$")
_SHIFTED = re.compile(r"^NY([+-]\d{1,2})$")
_FURTHEST_H = 14
_FIRST_YEAR, _LAST_YEAR = 1970, 2100
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
        self._shift_ns, table = _parse(zone.strip())
        self._reader = WallReader(table)

    def to_utc(self, local_ns: Ints) -> Ints:
        """Return UTC for local times, ns since 1970 on the file's clock; call in file order."""
        return self._reader.to_utc(local_ns - self._shift_ns)


def _parse(zone: str) -> tuple[int, OffsetTable]:
    fixed = _FIXED.match(zone)
    if fixed:
        seconds = int(fixed[2]) * 3600 + int(fixed[3] or 0) * 60
        if seconds <= _FURTHEST_H * 3600:
            return (seconds if fixed[1] == "+" else -seconds) * NS_PER_S, _table("UTC")
    shifted = _SHIFTED.match(zone)
    if shifted and abs(int(shifted[1])) <= _FURTHEST_H:
        return int(shifted[1]) * 3600 * NS_PER_S, _table("America/New_York")
    return 0, _table(_NAMES.get(zone, zone))


@lru_cache(maxsize=32)
def _table(name: str) -> OffsetTable:
    zone = _zone(name)
    starts: list[int] = []
    offsets = [_offset_s(zone, datetime(_FIRST_YEAR, 1, 1, tzinfo=UTC))]
    moment = datetime(_FIRST_YEAR, 1, 1, tzinfo=UTC)
    while moment.year < _LAST_YEAR:
        later = moment + _STEP
        if _offset_s(zone, later) != offsets[-1]:
            moment = _switch_between(zone, moment, later)
            starts.append(int(moment.timestamp()))
            offsets.append(_offset_s(zone, moment))
        else:
            moment = later
    return OffsetTable(np.array(starts, dtype=np.int64) * NS_PER_S, np.array(offsets, dtype=np.int64) * NS_PER_S)


def _zone(name: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        near = _nearest(name)
        hint = f" Did you mean '{near}'?" if near else ""
        raise ConfigError(
            f"unknown zone '{name}'.{hint} Use UTC, NY+7 (most MetaTrader servers), EET, an offset such as +03:00, "
            "or an IANA name such as Europe/London."
        ) from None


def _nearest(name: str) -> str:
    """Return what was probably meant, empty where nothing comes near."""
    upper = name.upper()
    if upper in ("UTC", "Z", "GMT"):
        return "UTC"
    if upper in _NAMES or _SHIFTED.match(upper):
        return upper if upper != name else ""
    offset = re.match(r"^(?:UTC|GMT)\s*([+-]\d{1,2}(?::?[0-5]\d)?)$", upper)
    if offset:
        return offset[1]
    known = {zone.upper(): zone for zone in zoneinfo.available_timezones()}
    return next((known[match] for match in difflib.get_close_matches(upper, known, n=1)), "")


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
