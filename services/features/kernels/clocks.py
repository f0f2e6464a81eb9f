"""Clocks and calendars, computed at the ticks where rows are made. The conventions are those of ``on_rows``."""

import math

from libs.common.messages.base import Floats, Ints
from libs.common.trading import kernel_sessions as sessions
from libs.common.trading.compiled import kernel_part

NS_PER_S = 1_000_000_000
NS_PER_DAY = 86_400_000_000_000
NS_PER_MINUTE = 60_000_000_000
MINUTES_PER_DAY = 1_440
MINUTES_PER_WEEK = 10_080
SUNDAY_1970_NS = 3 * NS_PER_DAY
"""Any midnight between Saturday and Sunday, UTC: 1970-01-04."""
FRIDAY = 4
FX_CLOSE_MINUTE = 17 * 60


@kernel_part
def week_cycle(
    p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, last: Floats, volume: Floats, out: Floats
) -> None:
    """Sine and cosine of the time of the week, UTC, counted from Sunday's midnight."""
    for k in range(len(bid)):
        angle = 2.0 * math.pi * ((time_ns[k] - SUNDAY_1970_NS) % (7 * NS_PER_DAY)) / (7 * NS_PER_DAY)
        out[0, k] = math.sin(angle)
        out[1, k] = math.cos(angle)


@kernel_part
def session_offset_s(session: int, ts_ns: int) -> int:
    """Return what to add to UTC for the wall clock of a session: 0 Sydney, 1 Tokyo, 2 London, 3 New York."""
    if session == 0:
        return sessions.sydney_offset_s(ts_ns)
    if session == 1:
        return 9 * 3_600
    if session == 2:
        return sessions.london_offset_s(ts_ns)
    return sessions.ny_offset_s(ts_ns)


@kernel_part
def opening_minute(session: int) -> int:
    """Return when a session opens, minutes after local midnight."""
    return 420 if session == 0 else (540 if session == 1 else 480)


@kernel_part
def session_clock(
    p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, last: Floats, volume: Floats, out: Floats
) -> None:
    """Minutes to the session's next open (0 while it trades), to its close and since its open (0 while closed).

    Sessions trade nine hours from Monday to Friday by their own wall clock; a clock change before the next open is
    not foreseen.
    """
    session = int(p[0])
    opens = opening_minute(session)
    for k in range(len(bid)):
        local_ns = time_ns[k] + session_offset_s(session, time_ns[k]) * NS_PER_S
        minute = (local_ns % NS_PER_DAY) / NS_PER_MINUTE
        day = sessions.week_day(local_ns // NS_PER_DAY)
        out[0, k], out[1, k], out[2, k] = 0.0, 0.0, 0.0
        if day <= FRIDAY and opens <= minute < opens + 540:
            out[1, k], out[2, k] = opens + 540 - minute, minute - opens
            continue
        days = 0 if day <= FRIDAY and minute < opens else 1
        while (day + days) % 7 > FRIDAY:
            days += 1
        out[0, k] = days * MINUTES_PER_DAY + opens - minute


@kernel_part
def rollover(
    p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, last: Floats, volume: Floats, out: Floats
) -> None:
    """Minutes to the next 17:00 in New York, since the last one, and to Friday's (0 while the FX week is closed)."""
    for k in range(len(bid)):
        local_ns = time_ns[k] + sessions.ny_offset_s(time_ns[k]) * NS_PER_S
        minute = (local_ns % NS_PER_DAY) / NS_PER_MINUTE
        since = (minute - FX_CLOSE_MINUTE) % MINUTES_PER_DAY
        out[0, k], out[1, k] = MINUTES_PER_DAY - since, since
        into_week = sessions.week_day(local_ns // NS_PER_DAY) * MINUTES_PER_DAY + minute
        to_close = (FRIDAY * MINUTES_PER_DAY + FX_CLOSE_MINUTE - into_week) % MINUTES_PER_WEEK
        out[2, k] = to_close if sessions.fx_market_open(time_ns[k]) else 0.0


@kernel_part
def first_after(events: Floats, count: int, second: float) -> int:
    """Return the place of the first event later than a second; events are (time, first seen) pairs by time."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if events[2 * middle] > second:
            high = middle
        else:
            low = middle + 1
    return low


@kernel_part
def calendar_event(
    p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, last: Floats, volume: Floats, out: Floats
) -> None:
    """Minutes to the next and since the last event of at least ``impact``, at most ``farthest``.

    Only events that the calendar file says were known by then count: an event that was announced later, or moved
    later, is not foreseen.
    """
    farthest, count, events = p[1], int(p[2]), p[3:]
    for k in range(len(bid)):
        second = time_ns[k] / NS_PER_S
        ahead = first_after(events, count, second)
        out[0, k], out[1, k] = farthest, farthest
        for j in range(ahead, count):
            if events[2 * j] - second >= farthest * 60.0:
                break
            if events[2 * j + 1] <= second:
                out[0, k] = (events[2 * j] - second) / 60.0
                break
        for j in range(ahead - 1, -1, -1):
            if second - events[2 * j] >= farthest * 60.0:
                break
            if events[2 * j + 1] <= second:
                out[1, k] = (second - events[2 * j]) / 60.0
                break
