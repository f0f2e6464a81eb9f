"""A request is made to fit the symbol as it is now, never widened, and refused by name where it cannot fit."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.messages.market import Side
from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import SymbolInfo, Tick
from services.executor.requests import market_order
from services.executor.resolution import Unfit, filling_mode, resolve_deal, volume_on_grid

FOK, IOC, RETURN = mt5.ORDER_FILLING_FOK, mt5.ORDER_FILLING_IOC, mt5.ORDER_FILLING_RETURN
REQUEST, INSTANT, MARKET, EXCHANGE = 0, 1, 2, 3
TICK = Tick(bid=1.1, ask=1.1001)


def symbol(**changes: Any) -> SymbolInfo:
    fields: dict[str, Any] = {
        "name": "EURUSD.m", "digits": 5, "point": 1e-5, "trade_tick_size": 1e-5, "volume_min": 0.01, "volume_max": 50.0,
        "volume_step": 0.01, "trade_mode": mt5.SYMBOL_TRADE_MODE_FULL, "trade_exemode": MARKET, "filling_mode": 3,
        "trade_stops_level": 0,
    }
    return SymbolInfo(**{**fields, **changes})


def order(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "order_id": "ab" * 12, "magic": 7, "symbol": "EURUSD.m", "side": Side.BUY, "volume_lots": 0.1, "price": 1.1001,
        "sl": 0.0, "tp": 0.0, "deviation_points": 20, "filling": "ioc",
    }
    return market_order(**{**fields, **changes})


@pytest.mark.parametrize(("execution", "flags", "wanted", "found"), [
    # With request and instant execution everything is taken.
    (REQUEST, 0, FOK, FOK), (REQUEST, 1, IOC, IOC), (INSTANT, 0, RETURN, RETURN), (INSTANT, 2, FOK, FOK),
    # At market only what a flag allows, and never RETURN.
    (MARKET, 3, IOC, IOC), (MARKET, 3, FOK, FOK), (MARKET, 1, IOC, FOK), (MARKET, 2, FOK, IOC),
    (MARKET, 3, RETURN, FOK), (MARKET, 2, RETURN, IOC),
    # On an exchange RETURN is always there.
    (EXCHANGE, 0, RETURN, RETURN), (EXCHANGE, 3, RETURN, RETURN), (EXCHANGE, 0, IOC, RETURN), (EXCHANGE, 1, IOC, FOK),
    (EXCHANGE, 2, FOK, IOC), (EXCHANGE, 0, FOK, RETURN), (EXCHANGE, 3, IOC, IOC),
])  # fmt: skip
def test_the_filling_mode_is_one_the_symbol_takes(execution: int, flags: int, wanted: int, found: int) -> None:
    assert filling_mode(wanted, symbol(trade_exemode=execution, filling_mode=flags)) == found


def test_a_symbol_that_takes_no_market_order_is_named() -> None:
    with pytest.raises(Unfit, match=r"EURUSD\.m: filling_mode 0 allows no market order"):
        resolve_deal(order(), symbol(filling_mode=0), TICK)


@given(
    lots=st.floats(1e-3, 60.0), step=st.sampled_from([0.001, 0.01, 0.1, 0.25, 1.0]), least=st.integers(1, 4),
)
def test_a_volume_is_on_the_grid_and_never_more_than_asked(lots: float, step: float, least: int) -> None:
    info = symbol(volume_step=step, volume_min=least * step, volume_max=50.0)
    try:
        volume = volume_on_grid(lots, info)
    except Unfit:
        assert lots < least * step
        return
    assert volume <= lots + 1e-8
    assert least * step - 1e-8 <= volume <= 50.0
    assert math.isclose(volume / step, round(volume / step), abs_tol=1e-6)
    assert lots - volume < step or volume > 50.0 - step


def test_a_volume_the_sum_of_floats_made_is_not_rounded_a_step_down() -> None:
    assert volume_on_grid(0.1 + 0.2 - 1e-17, symbol(volume_step=0.1)) == 0.3
    assert volume_on_grid(0.07, symbol()) == 0.07


def test_a_volume_step_that_changed_overnight_is_named_when_nothing_is_left() -> None:
    with pytest.raises(Unfit, match=r"0\.1 lots are less than the least volume 1 \(step 1, most 50\)"):
        resolve_deal(order(), symbol(volume_step=1.0, volume_min=1.0), TICK)


@pytest.mark.parametrize(("side", "price"), [(Side.BUY, 1.1001), (Side.SELL, 1.1)])
def test_at_market_the_price_is_the_side_s_price_now(side: Side, price: float) -> None:
    assert resolve_deal(order(side=side, price=1.2), symbol(), TICK)["price"] == price


def test_with_instant_execution_the_approved_price_is_kept_so_that_the_deviation_means_what_risk_said() -> None:
    resolved = resolve_deal(order(price=1.10012), symbol(trade_exemode=INSTANT), TICK)
    assert (resolved["price"], resolved["deviation"]) == (1.10012, 20)
    assert resolve_deal(order(price=0.0), symbol(trade_exemode=INSTANT), TICK)["price"] == 1.1001


def test_stops_go_to_the_grid_towards_the_market_and_keep_the_symbol_s_digits() -> None:
    info = symbol(trade_tick_size=5e-5)
    resolved = resolve_deal(order(sl=1.09512, tp=1.10512), info, TICK)
    assert (resolved["sl"], resolved["tp"]) == (1.09515, 1.1051)
    resolved = resolve_deal(order(side=Side.SELL, sl=1.10512, tp=1.09512), info, TICK)
    assert (resolved["sl"], resolved["tp"]) == (1.1051, 1.09515)


@pytest.mark.parametrize(("changes", "words"), [
    ({"sl": 1.0996}, "sl 1.09960 is not 50 points below bid 1.10000"),
    ({"tp": 1.1004}, "tp 1.10040 is not 50 points above bid 1.10000"),
    ({"side": Side.SELL, "sl": 1.1005}, "sl 1.10050 is not 50 points above ask 1.10010"),
    ({"side": Side.SELL, "tp": 1.0999}, "tp 1.09990 is not 50 points below ask 1.10010"),
    ({"sl": 1.2}, "below bid"),
])
def test_a_stop_nearer_than_the_stops_level_is_refused_not_moved_away(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Unfit, match=words):
        resolve_deal(order(**changes), symbol(trade_stops_level=50), TICK)


def test_a_stop_exactly_at_the_stops_level_passes() -> None:
    assert resolve_deal(order(sl=1.0995), symbol(trade_stops_level=50), TICK)["sl"] == 1.0995


@pytest.mark.parametrize(("mode", "side", "closes", "passes"), [
    (0, Side.BUY, True, False), (1, Side.BUY, False, True), (1, Side.SELL, False, False), (1, Side.SELL, True, True),
    (2, Side.SELL, False, True), (2, Side.BUY, False, False), (2, Side.BUY, True, True), (3, Side.BUY, False, False),
    (3, Side.SELL, True, True), (4, Side.SELL, False, True),
])
def test_what_the_broker_forbids_for_the_symbol_is_refused_before_it_is_sent(
    mode: int, side: Side, closes: bool, passes: bool
) -> None:
    request = order(side=side, position_ticket=5 if closes else 0)
    if passes:
        assert resolve_deal(request, symbol(trade_mode=mode), TICK)["volume"] == 0.1
    else:
        with pytest.raises(Unfit, match="by the broker"):
            resolve_deal(request, symbol(trade_mode=mode), TICK)


def test_without_a_quote_nothing_is_sent() -> None:
    with pytest.raises(Unfit, match="no quote"):
        resolve_deal(order(), symbol(), Tick())


def test_the_request_given_is_left_as_it_was() -> None:
    request = order(volume_lots=0.105)
    before = dict(request)
    assert resolve_deal(request, symbol(), TICK)["volume"] == 0.1
    assert request == before
