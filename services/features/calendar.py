"""Economic events as they were known at each moment."""

from collections.abc import Iterable, Sequence

import msgspec

IMPACTS = {"low": 1, "medium": 2, "high": 3}
"""How much an event matters; everything else a calendar may say (holiday) does not count."""
NS_PER_S = 1_000_000_000


class CalendarEvent(msgspec.Struct, frozen=True):
    """An economic event.

    Parameters
    ----------
    time_ns : when it happens, ns UTC
    first_seen_ns : since when the calendar has known of it at this time, ns UTC; the same as ``time_ns`` where the
        calendar does not say: then it is known only afterwards
    currency : whose event, e.g. USD
    impact : 1 low, 2 medium, 3 high
    """

    time_ns: int
    first_seen_ns: int
    currency: str
    impact: int


def event_table(events: Iterable[CalendarEvent], impact: float, currencies: Sequence[str]) -> list[float]:
    """Return what ``calendar_event`` reads after its parameters: the number of events, then (time, first seen) pairs.

    Parameters
    ----------
    events : in any order
    impact : least impact
    currencies : whose events; empty for all

    Returns
    -------
    1 + 2n numbers, seconds since 1970, by time.
    """
    chosen = sorted(
        (event.time_ns / NS_PER_S, event.first_seen_ns / NS_PER_S)
        for event in events
        if event.impact >= impact and (not currencies or event.currency in currencies)
    )
    return [float(len(chosen)), *(number for pair in chosen for number in pair)]
