"""The labels of single rows, worked out by hand."""

import numpy as np
import pytest

from services.trainer import labels
from tests.unit.trainer.market import SECOND_NS

TIME_NS = 100 * SECOND_NS
COST_PCT = 0.01


def label(mids, seconds=None, target=2.0, stop=1.0, horizon_s=10, spread=0.2):
    """Walk a row at mid 100 (sigma 1) over ticks, one second apart, and return its columns."""
    ints, floats = labels.open_label(
        1, TIME_NS, 100.0 - spread / 2, 100.0 + spread / 2, 1.0, COST_PCT, target, stop, horizon_s * SECOND_NS
    )
    mids = np.array(mids, dtype=float)
    seconds = np.arange(1, len(mids) + 1) if seconds is None else np.array(seconds)
    quotes = np.column_stack((mids - spread / 2, mids + spread / 2))
    ints, floats = ints[None, :], floats[None, :]
    closed = labels.advance(ints, floats, 2, TIME_NS + seconds * SECOND_NS, quotes)
    return closed, ints[0], floats[0]


def test_upper_barrier_first_is_up_and_the_long_trade_takes_its_target():
    closed, ints, floats = label([101.0, 102.0, 90.0], seconds=[1, 2, 10])
    assert closed == 1
    assert ints[labels.CLASS] == labels.UP
    assert ints[labels.CLASS_END] == ints[labels.LONG_END] == TIME_NS + 2 * SECOND_NS
    assert floats[labels.GROSS] == pytest.approx(2.0)
    # Bought at 100.1, sold at 101.9.
    assert floats[labels.LONG] == pytest.approx(1.8 - COST_PCT)


def test_the_short_trade_is_stopped_before_the_upper_barrier():
    _, ints, floats = label([101.0, 102.0, 90.0], seconds=[1, 2, 10])
    assert ints[labels.SHORT_END] == TIME_NS + SECOND_NS
    # Sold at 99.9, bought back at 101.1.
    assert floats[labels.SHORT] == pytest.approx(-1.2 - COST_PCT)


def test_lower_barrier_first_is_down():
    _, ints, floats = label([99.5, 97.0, 103.0], seconds=[1, 2, 10])
    assert ints[labels.CLASS] == labels.DOWN
    # Sold at 99.9, bought back at 97.1: what was there, not the barrier's price.
    assert floats[labels.SHORT] == pytest.approx(2.8 - COST_PCT)


def test_a_stop_does_not_decide_the_class():
    _, ints, floats = label([99.0, 102.0, 100.0], seconds=[1, 2, 10])
    assert ints[labels.CLASS] == labels.UP
    assert floats[labels.LONG] == pytest.approx(-1.2 - COST_PCT)


def test_no_barrier_is_flat_and_both_trades_end_at_the_first_tick_at_or_after_the_deadline():
    closed, ints, floats = label([100.5, 100.4, 100.6], seconds=[1, 9, 12])
    assert closed == 1
    assert ints[labels.CLASS] == labels.FLAT
    assert ints[labels.CLOSED] == ints[labels.LONG_END] == TIME_NS + 12 * SECOND_NS
    assert floats[labels.LONG] == pytest.approx(0.4 - COST_PCT)
    assert floats[labels.SHORT] == pytest.approx(-0.8 - COST_PCT)


def test_a_barrier_crossed_by_the_tick_that_ends_the_horizon_is_too_late():
    _, ints, _ = label([100.0, 110.0], seconds=[1, 10])
    assert ints[labels.CLASS] == labels.FLAT


def test_a_label_is_open_until_its_horizon_has_ended_even_when_decided():
    closed, ints, _ = label([102.0, 98.0, 100.0], seconds=[1, 2, 9])
    assert closed == 0
    assert ints[labels.CLASS] == labels.UP
    assert ints[labels.CLOSED] == 0


def test_the_rows_own_tick_and_earlier_ones_are_not_looked_at():
    ints, floats = labels.open_label(5, TIME_NS, 99.9, 100.1, 1.0, 0.0, 1.0, 1.0, 10 * SECOND_NS)
    ints, floats = ints[None, :], floats[None, :]
    mids = np.array([50.0, 50.0, 50.0, 100.0])
    times = TIME_NS + np.array([-3, -2, 0, 1]) * SECOND_NS
    labels.advance(ints, floats, 3, times, np.column_stack((mids, mids)))
    assert ints[0, labels.CLASS] == labels.PENDING


def test_volatility_that_builds_no_barriers_is_told():
    assert labels.usable_sigma(1e-9)
    assert not any(labels.usable_sigma(sigma) for sigma in (0.0, -1.0, float("nan"), float("inf")))
