"""For how long the market of a symbol was open between two instants."""

from libs.common.trading.sessions import FX_EDGE_S, NS_PER_S, SECONDS_PER_DAY, ny_offset_s

NS_PER_DAY = SECONDS_PER_DAY * NS_PER_S
_WEEK_NS = 7 * NS_PER_DAY
# 1970-01-01 was a Thursday, so weeks counted from it begin on Thursdays and their Friday is a day later.
_FRIDAY_NS = NS_PER_DAY


def _edge_ns(day_ns: int) -> int:
    """Return 17:00 New York, ns UTC, of the day that begins at ``day_ns`` (midnight UTC)."""
    noon_ns = day_ns + NS_PER_DAY // 2  # New York's clock changes well before noon UTC
    return day_ns + (FX_EDGE_S - ny_offset_s(noon_ns)) * NS_PER_S


def weekend_of_week(week: int) -> tuple[int, int]:
    """Return (close, open) in ns UTC of the FX weekend in the week number (weeks since 1970-01-01)."""
    friday = week * _WEEK_NS + _FRIDAY_NS
    return _edge_ns(friday), _edge_ns(friday + 2 * NS_PER_DAY)


def weekends_between(from_ns: int, to_ns: int) -> list[tuple[int, int]]:
    """Return every FX weekend (close, open) in ns UTC that overlaps ``from_ns`` .. ``to_ns``, in order."""
    weeks = range(from_ns // _WEEK_NS - 1, to_ns // _WEEK_NS + 2)
    found = (weekend_of_week(week) for week in weeks)
    return [(close, open_) for close, open_ in found if close < to_ns and open_ > from_ns]


def open_ns_between(from_ns: int, to_ns: int, session: str) -> int:
    """Return for how long the market was open between two instants, ns.

    Parameters
    ----------
    from_ns, to_ns : ns UTC, ``from_ns <= to_ns``
    session : ``fx`` (Sunday 17:00 to Friday 17:00 New York) or ``always``
    """
    if session == "always":
        return to_ns - from_ns
    closed = sum(
        min(to_ns, open_) - max(from_ns, close) for close, open_ in weekends_between(from_ns, to_ns)
    )
    return to_ns - from_ns - closed
