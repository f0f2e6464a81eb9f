"""The offset is measured from ticks that are seen to arrive, and from nothing else."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.mt5.offset_meter import MeterSettings, OffsetMeter

S = 1_000_000_000
NOW = int(datetime(2024, 5, 8, 12, tzinfo=UTC).timestamp()) * S
H = 3_600


def looks(meter, offset_s, *, start=NOW, n=60, every_s=1.0, age_s=0.3, expected_s=None, speed=1.0):
    """Look every second at a tick that is ``age_s`` old; return the first measurement."""
    for k in range(n):
        now = start + int(k * every_s * S)
        tick_ns = start + int(k * every_s * speed * S) + offset_s * S - int(age_s * S)
        found = meter.look("EURUSD", tick_ns // 1_000_000, now, expected_s)
        if found is not None:
            return found
    return None


@pytest.mark.parametrize("offset_s", [0, 2 * H, 3 * H, -5 * H, 5 * H + 1_800, 20_700])
def test_a_moving_market_tells_the_offset(offset_s):
    found = looks(OffsetMeter(), offset_s)
    assert found is not None
    assert found.offset_s == offset_s
    assert found.error_s == pytest.approx(-0.3, abs=0.01)


def test_an_expected_offset_is_believed_sooner_than_a_surprise():
    soon = looks(OffsetMeter(), 2 * H, expected_s=2 * H)
    late = looks(OffsetMeter(), 2 * H, expected_s=3 * H)
    assert soon is not None
    assert late is not None
    assert soon.at_ns - NOW <= 8 * S
    assert late.at_ns - NOW >= 30 * S


def test_a_clock_that_stands_still_measures_nothing():
    meter = OffsetMeter()
    friday_msc = (NOW - 40 * H * S) // 1_000_000 + 2 * H * 1_000
    assert all(meter.look("EURUSD", friday_msc, NOW + k * S, 2 * H) is None for k in range(100))


def test_the_first_look_measures_nothing_however_plausible_it_is():
    # The last tick before the weekend, three hours ago: would be read as an offset of minus one hour.
    meter = OffsetMeter(MeterSettings(samples=2, span_s=0.0, surprise_span_s=0.0))
    assert meter.look("EURUSD", (NOW - 3 * H * S) // 1_000_000 + 2 * H * 1_000, NOW, None) is None


def test_history_that_comes_in_measures_nothing():
    # Ticks of three hours ago rush past a hundred times as fast as they happened.
    assert looks(OffsetMeter(), -H, speed=100.0, n=100) is None


def test_a_market_that_is_hours_late_and_catches_up_slowly_measures_nothing():
    assert looks(OffsetMeter(), -H, speed=1.7, n=300) is None


def test_looks_too_far_apart_measure_nothing():
    assert looks(OffsetMeter(), 2 * H, every_s=30.0) is None


def test_a_clock_between_two_steps_measures_nothing_and_is_told():
    meter = OffsetMeter()
    assert looks(meter, 2 * H + 400) is None
    assert meter.odd_error_s == pytest.approx(399.7, abs=0.1)


def test_an_offset_no_clock_has_measures_nothing():
    assert looks(OffsetMeter(), 2 * 365 * 24 * H) is None


def test_a_coarser_step_rounds_to_half_hours():
    found = looks(OffsetMeter(MeterSettings(step_min=30)), 5 * H + 1_800)
    assert found is not None
    assert found.offset_s == 5 * H + 1_800
    assert looks(OffsetMeter(MeterSettings(step_min=30)), 900) is None


def test_the_change_of_the_hour_is_measured_while_ticks_flow():
    meter = OffsetMeter()
    assert looks(meter, 3 * H, expected_s=3 * H).offset_s == 3 * H  # type: ignore[union-attr]
    # The server's clock is turned back: its stamps fall, which alone is no fresh tick, then they rise again.
    found = looks(meter, 2 * H, start=NOW + 600 * S, expected_s=2 * H)
    assert found is not None
    assert found.offset_s == 2 * H


@settings(max_examples=60, deadline=None)
@given(
    ages=st.lists(st.floats(0.0, 0.9), min_size=60, max_size=60),
    offset_h=st.integers(-5, 13),
    silent=st.sets(st.integers(0, 59)),
)
def test_whatever_the_ages_of_live_ticks_the_offset_is_never_another(ages, offset_h, silent):
    meter = OffsetMeter()
    newest = 0
    for k, age in enumerate(ages):
        now = NOW + k * S
        if k not in silent:
            newest = (now + offset_h * H * S - int(age * S)) // 1_000_000
        found = meter.look("EURUSD", newest, now, None)
        assert found is None or found.offset_s == offset_h * H
