"""Instruments round prices to points and volumes to lots; money follows them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.config import InstrumentConfig
from libs.common.trading.instrument import Instrument
from libs.common.trading.money import Rate, cross_rates, margin_ccy, profit_ccy

EURUSD = Instrument("EURUSD", InstrumentConfig())
USDJPY = Instrument("USDJPY", InstrumentConfig(digits=3, margin_currency="USD", profit_currency="JPY"))
EURGBP = Instrument("EURGBP", InstrumentConfig(profit_currency="GBP"))
GBPUSD = Instrument("GBPUSD", InstrumentConfig(margin_currency="GBP"))
US30 = Instrument("US30", InstrumentConfig(digits=1, contract_size=1.0, margin_currency="USD", volume_step=0.1,
                                           volume_min=0.1))


@pytest.mark.parametrize(("step", "minimum", "lots", "expected"), [
    (0.01, 0.01, 0.07, 0.07), (0.01, 0.01, 0.079999, 0.07), (0.01, 0.01, 0.3 - 0.1, 0.2), (0.01, 0.01, 0.009, 0.0),
    (0.01, 0.01, 250.0, 100.0), (0.1, 0.1, 0.75, 0.7), (0.03, 0.03, 0.1, 0.09), (1.0, 1.0, 2.999, 2.0),
    (0.001, 0.001, 0.0079999999999, 0.008), (0.01, 0.01, -1.0, 0.0), (0.01, 0.01, math.nan, 0.0),
    (0.01, 0.01, math.inf, 100.0), (0.01, 0.05, 0.04, 0.0), (0.01, 0.05, 0.05, 0.05),
])
def test_volumes_are_rounded_down_to_the_lot_step(step, minimum, lots, expected):
    instrument = Instrument("X", InstrumentConfig(volume_step=step, volume_min=minimum))
    assert instrument.round_volume_down(lots) == expected


@given(steps=st.integers(1, 10_000), step=st.sampled_from([0.01, 0.1, 0.05, 0.001, 1.0]))
def test_every_volume_on_the_grid_survives_rounding_and_is_valid(steps, step):
    instrument = Instrument("X", InstrumentConfig(volume_step=step, volume_min=step, volume_max=10_000.0))
    lots = steps * step
    assert instrument.is_valid_volume(lots)
    assert math.isclose(instrument.round_volume_down(lots), lots, rel_tol=1e-12)


@given(lots=st.floats(0.0, 200.0))
def test_a_rounded_volume_is_never_above_the_wish(lots):
    rounded = EURUSD.round_volume_down(lots)
    assert rounded <= lots + 1e-8
    assert rounded == 0.0 or EURUSD.is_valid_volume(rounded)


@pytest.mark.parametrize(("lots", "valid"), [
    (0.01, True), (0.07, True), (100.0, True), (0.005, False), (0.015, False), (100.01, False), (0.0, False),
    (-0.01, False), (math.nan, False), (math.inf, False), (0.1 + 0.2, True),
])
def test_a_volume_must_be_within_the_limits_and_on_the_step(lots, valid):
    assert EURUSD.is_valid_volume(lots) is valid


@given(points=st.integers(1, 10_000_000), digits=st.integers(0, 8))
def test_points_and_prices_are_each_others_inverse(points, digits):
    instrument = Instrument("X", InstrumentConfig(digits=digits))
    price = instrument.price(points)
    assert instrument.points(price) == points
    assert price == float(f"{points / 10**digits:.{digits}f}")
    assert instrument.is_on_price_grid(price)


def test_prices_off_the_grid_are_seen_and_rounded():
    assert not EURUSD.is_on_price_grid(1.234565)
    assert EURUSD.round_price(1.2345649) == 1.23456
    assert EURUSD.shift(1.1, -15) == 1.09985
    with pytest.raises(ValueError, match="no points"):
        EURUSD.points(math.nan)


def test_volumes_add_up_without_dust():
    assert EURUSD.add_volumes(0.3, -0.1) == 0.2
    assert EURUSD.add_volumes(0.1, 0.2) == 0.3


@pytest.mark.parametrize(("level", "sign", "sl", "tp", "allowed"), [
    (0, 1, 1.0999, 1.1001, True), (0, 1, 1.1, 0.0, False), (0, 1, 1.1001, 0.0, False), (0, 1, 0.0, 1.0999, False),
    (0, 1, 0.0, 0.0, True), (0, -1, 1.1005, 1.1, True), (0, -1, 1.1002, 0.0, False), (0, -1, 0.0, 1.1002, False),
    (20, 1, 1.0998, 0.0, True), (20, 1, 1.09981, 0.0, False), (20, -1, 1.1004, 0.0, True),
    (20, -1, 1.10039, 0.0, False), (0, 1, 1.099999, 0.0, False), (0, 1, -1.0, 0.0, False), (0, 1, math.nan, 0.0, False),
])
def test_stops_must_lie_on_the_right_side_and_far_enough_away(level, sign, sl, tp, allowed):
    instrument = Instrument("EURUSD", InstrumentConfig(stops_level_points=level))
    assert instrument.is_stop_allowed(sign, sl, tp, 1.1, 1.1002) is allowed


@pytest.mark.parametrize(("instrument", "sign", "price_open", "price_close", "rates", "expected"), [
    (EURUSD, 1, 1.1, 1.101, {}, 100.0),
    (EURUSD, -1, 1.1, 1.101, {}, -100.0),
    (USDJPY, 1, 100.0, 101.0, {}, 100_000 / 101.0),
    (EURGBP, 1, 0.8, 0.801, {"GBP": Rate(1.6, 1.7)}, 160.0),
    (EURGBP, -1, 0.8, 0.801, {"GBP": Rate(1.6, 1.7)}, -170.0),
    (EURGBP, 1, 0.8, 0.801, {}, None),
    (US30, 1, 16_000.0, 16_010.5, {}, 10.5),
])
def test_profit_is_in_account_currency_or_unknown(instrument, sign, price_open, price_close, rates, expected):
    profit = profit_ccy(instrument, sign, 1.0, price_open, price_close, "USD", rates)
    assert profit == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(("instrument", "price", "rates", "expected"), [
    (EURUSD, 1.25, {}, 1250.0),
    (USDJPY, 101.0, {}, 1000.0),
    (EURGBP, 0.8, {"EUR": Rate(1.30, 1.31)}, 1310.0),
    (EURGBP, 0.8, {"GBP": Rate(1.6, 1.7)}, None),
    (US30, 16_000.0, {}, 160.0),
])
def test_margin_is_in_account_currency_or_unknown(instrument, price, rates, expected):
    margin = margin_ccy(instrument, 1.0, price, 100.0, "USD", rates)
    assert margin == (None if expected is None else pytest.approx(expected))


def test_cross_rates_come_from_quoted_pairs_that_hold_the_account_currency():
    instruments = {i.symbol: i for i in (EURUSD, USDJPY, EURGBP, GBPUSD, US30)}
    quotes = {"EURUSD": (1.1, 1.2), "USDJPY": (100.0, 125.0), "EURGBP": (0.8, 0.9), "US30": (16_000.0, 16_001.0)}
    assert cross_rates("USD", instruments, quotes) == {
        "USD": Rate(1.0, 1.0), "EUR": Rate(1.1, 1.2), "JPY": Rate(0.008, 0.01),
    }
