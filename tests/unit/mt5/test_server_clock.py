"""The broker's clock agrees with the time-zone database."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.mt5.sim.clock import ServerClock

NEW_YORK = ZoneInfo("America/New_York")
NS = 1_000_000_000
moments = st.integers(1_104_537_600, 1_893_456_000)  # 2005 to 2030


@given(second=moments)
def test_the_server_clock_is_new_york_plus_seven_hours(second):
    wall = datetime.fromtimestamp(second, NEW_YORK).replace(tzinfo=UTC) + timedelta(hours=7)
    clock = ServerClock("NY+7")
    assert clock.msc(second * NS) == int(wall.timestamp()) * 1000
    assert clock.day(second * NS) == int(wall.timestamp()) // 86_400


@given(second=moments)
def test_the_next_midnight_is_17_o_clock_in_new_york_and_lies_ahead(second):
    midnight_ns = ServerClock("NY+7").next_midnight_ns(second * NS)
    local = datetime.fromtimestamp(midnight_ns // NS, NEW_YORK)
    assert (local.hour, local.minute, local.second) == (17, 0, 0)
    assert 0 < midnight_ns - second * NS <= 25 * 3_600 * NS


@pytest.mark.parametrize("zone", ["NY+7", "UTC"])
@given(second=moments)
def test_server_time_converts_back_to_utc(zone, second):
    clock = ServerClock(zone)
    ambiguous = clock.msc((second - 3_600) * NS) == clock.msc(second * NS)
    expected = second - 3_600 if ambiguous else second
    assert clock.utc_ns(clock.msc(second * NS) // 1000) == expected * NS


def test_a_utc_server_has_utc_midnights():
    clock = ServerClock("UTC")
    assert clock.next_midnight_ns(86_400 * NS) == 2 * 86_400 * NS
    assert clock.day(86_400 * NS) == 1
