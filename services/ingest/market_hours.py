"""For how long the market of a symbol was open between two instants."""

from collections.abc import Callable, Iterable

import msgspec

from libs.common.trading.sessions import FX_EDGE_S, NS_PER_S, SECONDS_PER_DAY, ny_offset_s

NS_PER_DAY = SECONDS_PER_DAY * NS_PER_S
_WEEK_NS = 7 * NS_PER_DAY
# 1970-01-01 was a Thursday, so weeks counted from it begin on Thursdays and their Friday is a day later.
_FRIDAY_NS = NS_PER_DAY
_WEEK_S = 7 * SECONDS_PER_DAY
# Server weeks begin on Sundays; the first one after 1970-01-01 00:00 was three days later.
_SUNDAY_S = 3 * SECONDS_PER_DAY


class ServerWeek(msgspec.Struct, frozen=True, kw_only=True):
    """When a broker quotes a symbol, by its own clock: the same every week.

    Parameters
    ----------
    spans : (from, to) in seconds since the server's Sunday 00:00, in order, apart from each other
    offset_s : tells server clock minus UTC, seconds, at an instant, ns UTC
    """

    spans: tuple[tuple[int, int], ...]
    offset_s: Callable[[int], int]

    def open_ns_between(self, from_ns: int, to_ns: int) -> int:
        """Return for how long it quotes between two instants, ns."""
        week = (from_ns // NS_PER_S + self.offset_s(from_ns) - _SUNDAY_S) // _WEEK_S
        found = 0
        # A span of the week before may reach into this one where the clock was turned.
        begin_s = _SUNDAY_S + (week - 1) * _WEEK_S
        while self._utc_ns(begin_s) < to_ns:
            for first_s, last_s in self.spans:
                overlap = min(to_ns, self._utc_ns(begin_s + last_s)) - max(from_ns, self._utc_ns(begin_s + first_s))
                found += max(0, overlap)
            begin_s += _WEEK_S
        return found

    def _utc_ns(self, server_s: int) -> int:
        guess_ns = (server_s - self.offset_s(server_s * NS_PER_S)) * NS_PER_S
        return (server_s - self.offset_s(guess_ns)) * NS_PER_S


Hours = str | ServerWeek
"""When a market is open: ``fx`` (Sunday 17:00 to Friday 17:00 New York), ``always``, or as the broker says."""


def server_week(sessions: Iterable[tuple[int, int, int]], offset_s: Callable[[int], int]) -> ServerWeek | None:
    """Return the week of a symbol's sessions, ``None`` where they name no time at all.

    Parameters
    ----------
    sessions : (day, from, to), day 0 = Sunday .. 6, seconds of the day by the server's clock; in any order, may overlap
    offset_s : see ``ServerWeek``

    Examples
    --------
    >>> server_week([(1, 0, 86_400), (2, 0, 82_800), (3, 0, 0)], lambda _: 7_200).spans
    ((86400, 255600),)
    """
    spans: list[tuple[int, int]] = []
    for day, first_s, last_s in sorted(sessions):
        if not (0 <= day <= 6 and 0 <= first_s < last_s):
            continue
        begin_s, end_s = day * SECONDS_PER_DAY + first_s, day * SECONDS_PER_DAY + min(last_s, SECONDS_PER_DAY)
        if spans and begin_s <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end_s))
        else:
            spans.append((begin_s, end_s))
    return ServerWeek(spans=tuple(spans), offset_s=offset_s) if spans else None


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


def open_ns_between(from_ns: int, to_ns: int, session: Hours) -> int:
    """Return for how long the market was open between two instants, ns.

    Parameters
    ----------
    from_ns, to_ns : ns UTC, ``from_ns <= to_ns``
    session : see ``Hours``
    """
    if isinstance(session, ServerWeek):
        return session.open_ns_between(from_ns, to_ns)
    if session == "always":
        return to_ns - from_ns
    closed = sum(
        min(to_ns, open_) - max(from_ns, close) for close, open_ in weekends_between(from_ns, to_ns)
    )
    return to_ns - from_ns - closed
