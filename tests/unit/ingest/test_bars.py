"""Bars as ticks, and bar files that are not what they seem."""

import numpy as np
import pytest

from services.ingest.bars import Bars, BarWatch, expand_bars
from services.ingest.digits import infer_digits

S = 1_000_000_000
MIN, HOUR, DAY = 60 * S, 3_600 * S, 86_400 * S
MONDAY = 19_730 * DAY


def bars(times: list[int], **columns: list[float]) -> Bars:
    n = len(times)
    values = {"open": [10.0] * n, "high": [12.0] * n, "low": [9.0] * n, "close": [11.0] * n} | columns
    arrays = {name: np.array(value, dtype=np.float64) for name, value in values.items()}
    return Bars(time_ns=np.array(times, dtype=np.int64), **arrays)


def test_a_rising_bar_goes_down_first_and_a_falling_one_up_first():
    two = bars([0, MIN], close=[11.0, 9.5])
    _, bid, _ = expand_bars(two, MIN, 0.01, 0.0)
    assert bid.tolist() == [10.0, 9.0, 12.0, 11.0, 10.0, 12.0, 9.0, 9.5]


def test_the_four_ticks_lie_inside_the_bar_and_before_the_next():
    time_ns, _, _ = expand_bars(bars([0, MIN]), MIN, 0.01, 0.0)
    assert time_ns.tolist() == [0, 20 * S, 40 * S, MIN - 1_000_000, MIN, 80 * S, 100 * S, 2 * MIN - 1_000_000]


def test_the_spread_of_a_bar_is_in_points_and_the_default_stands_in_for_zero_and_missing():
    three = bars([0, MIN, 2 * MIN], spread_points=[19.0, 0.0, np.nan])
    _, bid, ask = expand_bars(three, MIN, 0.01, 30.0)
    assert np.round((ask - bid)[::4], 6).tolist() == [0.19, 0.3, 0.3]
    assert ask[0] == 10.19  # the very double of the decimal
    _, bid, ask = expand_bars(bars([0]), MIN, 0.01, 30.0)
    assert np.round(ask - bid, 6).tolist() == [0.3] * 4


def test_ask_bars_are_used_where_the_file_has_them():
    one = bars([0], ask_open=[10.5], ask_high=[12.4], ask_low=[9.3], ask_close=[11.2])
    _, _, ask = expand_bars(one, MIN, 0.01, 30.0)
    assert ask.tolist() == [10.5, 9.3, 12.4, 11.2]


def test_daily_bars_that_turn_into_hourly_ones_are_found_at_the_first_hourly_bar():
    days = [MONDAY + k * DAY for k in range(30)]
    hours = [days[-1] + 16 * HOUR + k * HOUR for k in range(30)]
    fault = BarWatch().check(bars(days + hours))
    assert fault is not None
    assert fault.bar == 30
    assert "1 d before this line, 1 h from it on" in fault.problem


def test_hourly_bars_that_turn_into_daily_ones_are_found_where_the_longer_distance_begins():
    hours = [MONDAY + k * HOUR for k in range(100)]
    days = [hours[-1] + DAY + k * DAY for k in range(90)]
    fault = BarWatch().check(bars(hours + days))
    assert fault is not None
    assert fault.bar == 100
    assert "1 h before this line, 1 d from it on" in fault.problem


def test_weekends_holidays_and_daylight_saving_are_no_faults():
    minutes = [MONDAY + k * MIN for k in range(200)]
    minutes += [minutes[-1] + 50 * HOUR + k * MIN for k in range(200)]
    assert BarWatch().check(bars(minutes)) is None
    days = [MONDAY + k * DAY for k in range(60)] + [MONDAY + 60 * DAY - HOUR + k * DAY for k in range(30)]
    assert BarWatch().check(bars(days)) is None


def test_a_thin_market_that_begins_with_wide_distances_is_no_fault():
    times = [0, 2 * MIN, 5 * MIN, 7 * MIN, 8 * MIN, 9 * MIN, 12 * MIN]
    watch = BarWatch()
    assert watch.check(bars(times)) is None
    assert watch.step_ns == MIN


@pytest.mark.parametrize(("second", "said"), [(MONDAY, "comes twice"), (MONDAY - MIN, "does not come after")])
def test_bars_out_of_order_are_refused(second, said):
    fault = BarWatch().check(bars([MONDAY - 2 * MIN, MONDAY, second]))
    assert fault is not None
    assert fault.bar == 2
    assert said in fault.problem


def test_a_bar_whose_close_lies_outside_its_range_is_refused():
    fault = BarWatch().check(bars([0, MIN, 2 * MIN], close=[11.0, 12.5, 11.0]))
    assert fault is not None
    assert fault.bar == 1


def test_faults_are_numbered_over_the_whole_file_whatever_the_pieces():
    times = [MONDAY + k * DAY for k in range(40)] + [MONDAY + 40 * DAY + k * HOUR for k in range(20)]
    watch = BarWatch()
    fault = None
    for start in range(0, 60, 7):
        fault = fault or watch.check(bars(times[start : start + 7]))
    assert fault is not None
    assert fault.bar == 41


@pytest.mark.parametrize(
    ("prices", "digits"),
    [
        ([1.38676, 1.3868], 5), ([5010.5, 5014.78], 2), ([1291.677, 1292.03], 3), ([91.7, 91.71], 2),
        ([93000.0, 93124.0], 0), ([np.nan, -1.0, 1.25], 2), ([], 5), ([1 / 3, 2 / 3], 8),
    ],
)
def test_digits_are_read_from_prices(prices, digits):
    assert infer_digits(np.array(prices, dtype=np.float64)) == digits


def test_a_few_odd_prices_do_not_change_the_digits():
    assert infer_digits(np.array([1.25] * 500 + [1 / 3])) == 2


@pytest.mark.parametrize(("path", "wanted"), [("ohlc", [10.0, 12.0, 9.0, 11.0]), ("olhc", [10.0, 9.0, 12.0, 11.0])])
def test_a_path_that_is_asked_for_holds_for_rising_and_falling_bars_alike(path, wanted):
    _, bid, _ = expand_bars(bars([0, MIN], close=[11.0, 9.5]), MIN, 0.01, 0.0, path)
    assert bid.tolist() == [*wanted, *wanted[:3], 9.5]
