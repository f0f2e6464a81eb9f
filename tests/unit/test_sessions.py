"""The arithmetic clocks against the time-zone database."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from libs.common.messages.base import Ints
from libs.common.trading import kernel_sessions, sessions

NS = 1_000_000_000
FROM_S, TO_S = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1990, 2101))
ZONES = {
    "America/New_York": sessions.ny_offset_s,
    "Europe/London": sessions.london_offset_s,
    "Australia/Sydney": sessions.sydney_offset_s,
}


def offset_in(zone: str, second: int) -> int:
    shift = datetime.fromtimestamp(second, UTC).astimezone(ZoneInfo(zone)).utcoffset()
    assert shift is not None
    return int(shift.total_seconds())


@pytest.mark.parametrize(("zone", "ours"), ZONES.items(), ids=ZONES)
def test_offsets_change_at_the_very_second_the_database_says(zone: str, ours: Callable[[int], int]) -> None:
    checked = 0
    for day_start in range(FROM_S, TO_S, 86_400):
        before, after = offset_in(zone, day_start), offset_in(zone, day_start + 86_400)
        assert ours(day_start * NS) == before
        if before == after:
            continue
        low, high = day_start, day_start + 86_400
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if offset_in(zone, middle) == before else (low, middle)
        assert (ours(low * NS + NS - 1), ours(high * NS)) == (before, after)
        checked += 1
    assert checked == 222  # two changes in each of 111 years


def local(zone: str, second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC).astimezone(ZoneInfo(zone))


def week_open(second: int) -> bool:
    there = local("America/New_York", second)
    since_sunday_1700 = (there.isoweekday() % 7) * 86_400 + there.hour * 3_600 + there.minute * 60 + there.second
    return 17 * 3_600 <= since_sunday_1700 < 5 * 86_400 + 17 * 3_600


def at_work(zone: str, second: int, begin: int, end: int) -> bool:
    there = local(zone, second)
    return there.weekday() < 5 and begin <= there.hour < end


@settings(max_examples=400, deadline=None)
@given(st.integers(FROM_S, TO_S - 1))
def test_market_week_and_session_flags_agree_with_wall_clocks(second: int) -> None:
    ts_ns = second * NS
    assert sessions.fx_market_open(ts_ns) == week_open(second)
    assert sessions.in_new_york(ts_ns) == at_work("America/New_York", second, 8, 17)
    assert sessions.in_london(ts_ns) == at_work("Europe/London", second, 8, 17)
    assert sessions.in_tokyo(ts_ns) == at_work("Asia/Tokyo", second, 9, 18)
    assert sessions.in_sydney(ts_ns) == at_work("Australia/Sydney", second, 7, 16)


@pytest.mark.parametrize("month", [1, 7])
def test_fx_week_opens_and_closes_on_the_nanosecond(month: int) -> None:
    zone = ZoneInfo("America/New_York")
    friday = datetime(2026, month, 1, 17, tzinfo=zone)
    friday += timedelta(days=(4 - friday.weekday()) % 7)
    sunday = friday + timedelta(days=2)
    close_ns, open_ns = int(friday.timestamp()) * NS, int(sunday.timestamp()) * NS
    assert sessions.fx_market_open(close_ns - 1)
    assert not sessions.fx_market_open(close_ns)
    assert not sessions.fx_market_open(open_ns - 1)
    assert sessions.fx_market_open(open_ns)


@settings(max_examples=300, deadline=None)
@given(st.integers(FROM_S + 86_400, TO_S - 1))
def test_broker_day_begins_at_new_yorks_five_in_the_afternoon(second: int) -> None:
    ts_ns = second * NS
    there = local("America/New_York", second)
    day = (there.date() - datetime(1970, 1, 1, tzinfo=UTC).date()).days + (1 if there.hour >= 17 else 0)
    assert sessions.server_day(ts_ns) == day
    midnight_ns = sessions.server_midnight_ns(ts_ns)
    began = local("America/New_York", midnight_ns // NS)
    assert (began.hour, began.minute, began.second) == (17, 0, 0)
    assert midnight_ns <= ts_ns
    assert sessions.server_day(midnight_ns) == day
    assert sessions.server_day(midnight_ns - 1) == day - 1


def test_broker_midnight_is_right_on_the_sunday_the_clock_changes() -> None:
    change = datetime(2026, 3, 8, 12, tzinfo=ZoneInfo("America/New_York"))
    began = datetime(2026, 3, 7, 17, tzinfo=ZoneInfo("America/New_York"))
    assert sessions.server_midnight_ns(int(change.timestamp()) * NS) == int(began.timestamp()) * NS


@given(st.integers(FROM_S, TO_S), st.integers(-12, 14))
def test_fixed_offset_day_contains_the_instant(second: int, hours: int) -> None:
    midnight_ns = sessions.fixed_offset_midnight_ns(second * NS, hours * 3_600)
    assert midnight_ns <= second * NS < midnight_ns + 86_400 * NS
    assert (midnight_ns // NS + hours * 3_600) % 86_400 == 0
    assert sessions.fixed_offset_day(midnight_ns - 1, hours * 3_600) + 1 == sessions.fixed_offset_day(
        second * NS, hours * 3_600
    )


def test_kernels_and_python_agree_on_every_clock() -> None:
    def all_clocks(ts_ns: Ints, out: Ints) -> None:
        for k in range(len(ts_ns)):
            t = ts_ns[k]
            out[k, 0] = kernel_sessions.ny_offset_s(t)
            out[k, 1] = kernel_sessions.server_day(t)
            out[k, 2] = kernel_sessions.server_midnight_ns(t)
            out[k, 3] = kernel_sessions.fx_market_open(t)
            out[k, 4] = (
                kernel_sessions.in_sydney(t) + 2 * kernel_sessions.in_london(t) + 4 * kernel_sessions.in_new_york(t)
                + 8 * kernel_sessions.in_tokyo(t)
            )

    times = np.arange(FROM_S, TO_S, 7_777_777, dtype=np.int64) * NS
    out = np.zeros((len(times), 5), np.int64)
    compiled: Any = njit(all_clocks)  # not cached: numba would not notice a change in sessions.py
    compiled(times, out)
    expected = [
        (
            sessions.ny_offset_s(t), sessions.server_day(t), sessions.server_midnight_ns(t),
            sessions.fx_market_open(t),
            sessions.in_sydney(t) + 2 * sessions.in_london(t) + 4 * sessions.in_new_york(t) + 8 * sessions.in_tokyo(t),
        )
        for t in times.tolist()
    ]
    assert out.tolist() == [list(map(int, row)) for row in expected]


def test_clocks_need_no_numba() -> None:
    code = "import sys; import libs.common.trading.sessions; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
