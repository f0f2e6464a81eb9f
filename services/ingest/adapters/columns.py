"""What columns are called in the files of this world, and what we call them."""

import re

ALIASES = {
    "time_ns": ("timens", "timestampns"),
    "time_msc": ("timemsc", "timems", "timestampms", "epochms"),
    "timestamp": ("timestamp", "ts", "datetime", "gmttime", "timeutc", "utctime", "datetimeutc", "timeeet"),
    "time": ("time",),
    "date": ("date", "day"),
    "bid": ("bid", "bidprice", "bidpx"),
    "ask": ("ask", "askprice", "askpx", "offer"),
    "last": ("last", "lastprice"),
    "volume": ("volumereal", "volume", "vol", "size", "lastvolume"),
    "flags": ("flags",),
    "pair": ("symbol", "ticker", "pair", "instrument"),
    "open": ("open", "bidopen", "o"),
    "high": ("high", "bidhigh", "h"),
    "low": ("low", "bidlow", "l"),
    "close": ("close", "bidclose", "c"),
    "ask_open": ("askopen",),
    "ask_high": ("askhigh",),
    "ask_low": ("asklow",),
    "ask_close": ("askclose",),
    "spread": ("spread", "spreadpoints"),
}
"""Our name -> their spellings, best first; case, spaces, underscores and brackets do not count."""
TIMES = ("time_ns", "time_msc", "timestamp", "time", "date")
"""Columns that can hold the time, best first."""
BID_BAR = ("open", "high", "low", "close")
ASK_BAR = ("ask_open", "ask_high", "ask_low", "ask_close")


def known_columns(names: list[str]) -> dict[str, int]:
    """Return our name -> index of the column that holds it."""
    bare = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in names]
    found: dict[str, int] = {}
    for ours, spellings in ALIASES.items():
        index = next((bare.index(spelling) for spelling in spellings if spelling in bare), None)
        if index is not None:
            found[ours] = index
    return found


def named_twice(names: list[str]) -> str:
    """Return the first name that more than one column has, empty where there is none."""
    return next((name for name in names if name and names.count(name) > 1), "")


def kind_of(columns: dict[str, int]) -> str | None:
    """Return ``ticks`` or ``bars``, ``None`` where the columns are neither."""
    if not any(name in columns for name in TIMES):
        return None
    if "bid" in columns and "ask" in columns:
        return "ticks"
    if all(name in columns for name in BID_BAR):
        return "bars"
    return None


EXPECTED = (
    "expected a time (time, time_msc, timestamp, datetime, date) with bid and ask, or with open, high, low and close"
)


def epoch_scale(value: float) -> int:
    """Return how many ns one unit of an epoch number is, judged by its size (s, ms, us or ns since 1970)."""
    for limit, scale in ((1e11, 1_000_000_000), (1e14, 1_000_000), (1e17, 1_000)):
        if abs(value) < limit:
            return scale
    return 1
