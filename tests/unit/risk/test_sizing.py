"""Sizes and stops against figures worked out by hand."""

import pytest

from libs.common.config import InstrumentConfig
from libs.common.messages.market import Side
from libs.common.trading.instrument import Instrument
from libs.common.trading.money import Rate
from services.risk.config import RiskConfig
from services.risk.sizing import (
    fixed_fraction_lots,
    loss_at_stop_ccy_per_lot,
    order_size,
    place_stops,
    volatility_target_lots,
)
from tests.unit.risk.scenarios import INSTRUMENTS, prediction

EURUSD = Instrument("EURUSD", INSTRUMENTS["EURUSD"])
USDJPY = Instrument("USDJPY", INSTRUMENTS["USDJPY"])
EURGBP = Instrument("EURGBP", INSTRUMENTS["EURGBP"])


def size(limits: RiskConfig, equity: float = 10_000.0, **changes: object) -> tuple[float, float, str]:
    result = order_size(
        EURUSD, prediction(**changes), Side.BUY, 1.37, 1.368, equity, "USD", {"USD": Rate(1.0, 1.0)}, limits
    )
    return round(result.wished_lots, 6), result.volume_lots, result.bound


def test_the_fixed_fraction_pays_for_stop_slippage_and_both_commissions() -> None:
    # 0.5 % of 10,000 = 50; a lot loses 200 + 20 points = 220 and 7 of commission.
    assert size(RiskConfig(max_trade_exposure_x=50)) == (round(50 / 227, 6), 0.22, "risk")


def test_a_wish_is_cut_to_the_exposure_and_to_the_largest_order() -> None:
    assert size(RiskConfig(max_trade_exposure_x=0.5)) == (round(5_000 / 137_000, 6), 0.03, "exposure")
    assert size(RiskConfig(max_order_lots=0.05)) == (0.05, 0.05, "order_lots")


def test_the_volatility_target_is_used_but_never_exceeds_the_fixed_fraction() -> None:
    limits = RiskConfig(sizing="volatility_target", max_trade_exposure_x=50)
    # 0.25 % of 10,000 = 25; one deviation of 250 points is 250 per lot.
    assert size(limits, volatility=0.0025) == (0.1, 0.1, "volatility")
    assert size(limits, volatility=0.0001)[2] == "risk"
    assert size(limits, volatility=0.0) == (0.0, 0.0, "volatility")


def test_nothing_to_lose_or_nothing_to_measure_by_sizes_to_nothing() -> None:
    assert fixed_fraction_lots(0.0, 0.5, 100.0) == 0.0
    assert fixed_fraction_lots(float("nan"), 0.5, 100.0) == 0.0
    assert fixed_fraction_lots(100.0, 0.5, float("nan")) == 0.0
    assert volatility_target_lots(100.0, 0.5, 0.0) == 0.0
    assert size(RiskConfig(), equity=float("inf"))[1:] == (0.0, "inputs are not finite")
    missing = order_size(EURGBP, prediction(), Side.BUY, 0.8, 0.79, 1e4, "USD", {"USD": Rate(1.0, 1.0)}, RiskConfig())
    assert (missing.volume_lots, missing.bound) == (0.0, "a conversion rate is missing")


def test_the_loss_is_converted_at_the_side_that_costs_more() -> None:
    rates = {"GBP": Rate(1.67, 1.69)}
    loss = loss_at_stop_ccy_per_lot(EURGBP, Side.SELL, 0.8, 0.801, "USD", rates)
    assert loss == pytest.approx(100 * 1.69 + 7.0)
    yen = loss_at_stop_ccy_per_lot(USDJPY, Side.BUY, 102.0, 101.0, "USD", {})
    assert yen == pytest.approx(100_000 / 101.0 + 7.0)


@pytest.mark.parametrize(
    ("side", "stop", "target", "expected"),
    [
        (Side.BUY, 0.00100, 0.00200, (1.09910, 1.10210)),
        (Side.SELL, 0.00100, 0.00200, (1.10100, 1.09800)),
        (Side.BUY, 0.001001, 0.0, (1.09909, 0.0)),
        (Side.BUY, 0.00001, 0.00001, (1.09950, 1.10060)),
        (Side.SELL, 0.00001, 0.00001, (1.10060, 1.09950)),
        (Side.BUY, 0.0, 0.1, (0.0, 0.0)),
        (Side.BUY, 2.0, 0.1, (0.0, 0.0)),
        (Side.SELL, 0.1, float("inf"), (0.0, 0.0)),
        (Side.SELL, float("nan"), 0.1, (0.0, 0.0)),
    ],
)
def test_stops_lie_on_the_grid_and_outside_the_brokers_level(
    side: Side, stop: float, target: float, expected: tuple[float, float]
) -> None:
    instrument = Instrument("EURUSD", InstrumentConfig(stops_level_points=50))
    bid, ask = 1.10000, 1.10010
    stops = place_stops(instrument, side, bid, ask, stop, target)
    assert (stops.sl, stops.tp) == expected
    if stops.sl:
        assert instrument.is_stop_allowed(side.sign, stops.sl, stops.tp, bid, ask)
