"""Every check is tripped by real messages, and each scenario is one that only its own check refuses."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from libs.common.messages.base import Message
from libs.common.messages.market import Side
from libs.common.messages.orders import OrderApproved, OrderRefused, RefusalReason
from services.risk.checks import CHECKS
from services.risk.config import RiskConfig
from tests.unit.risk.scenarios import (
    MS,
    SATURDAY_NOON,
    SECOND,
    WEDNESDAY_NOON,
    World,
    account,
    changed,
    config,
    halt,
    only_approval,
    only_refusal,
    position,
    prediction,
    resume,
    ticks,
)

Outputs = tuple[Message, ...]
NOON = WEDNESDAY_NOON


class Scenario(NamedTuple):
    """What happens, under which limits, what the refusal must say, and what happens without the check."""

    reason: RefusalReason
    limits: RiskConfig
    play: Callable[[World], Outputs]
    observed: float
    limit: float
    instead: RefusalReason | None = None


def _no_direction(world: World) -> Outputs:
    return world.ready().hear(prediction(side=None, reason="low_confidence"))


def _halted(world: World) -> Outputs:
    return world.ready().hear(halt(), prediction())


def _predicted(world: World) -> Outputs:
    return world.ready().hear(prediction())


def _unspecified_symbol(world: World) -> Outputs:
    return world.ready().hear(prediction("XAUUSD"))


def _account_unknown(world: World) -> Outputs:
    return world.hear(ticks(), prediction())


def _account_stale(world: World) -> Outputs:
    later = NOON + 10_001 * MS
    return world.ready().hear(ticks(ts_ns=later), prediction(ts_ns=later))


def _account_of_the_future(world: World) -> Outputs:
    world.hear(ticks())
    world.core.on_account_snapshot(account(NOON + 11 * SECOND), NOON)
    return world.hear(prediction())


def _feed_stale(world: World) -> Outputs:
    later = NOON + 10_001 * MS
    return world.ready().hear(account(later), prediction(ts_ns=later))


def _conversion_stale(world: World) -> Outputs:
    later = NOON + 10_001 * MS
    return world.ready().hear(
        account(later), ticks("EURGBP", later), ticks("EURUSD", later), prediction("EURGBP", ts_ns=later)
    )


def _prediction_stale(world: World) -> Outputs:
    later = NOON + 5_001 * MS
    return world.ready(later).hear(prediction(ts_ns=NOON))


def _negative_volatility(world: World) -> Outputs:
    return world.ready().hear(prediction(volatility=-1.0, target_distance=0.0))


def _nan_probability(world: World) -> Outputs:
    return world.ready().hear(prediction(p_up=float("nan")), wire=False)


def _saturday(world: World) -> Outputs:
    return world.ready(SATURDAY_NOON).hear(prediction(ts_ns=SATURDAY_NOON))


def _wide_spread(world: World) -> Outputs:
    return world.ready().hear(ticks(spread_points=32), prediction())


def _unknown_outcome(world: World) -> Outputs:
    return world.ready(unknown_lots={"EURUSD": 0.02}).hear(prediction())


def _daily_loss(world: World) -> Outputs:
    return world.ready(equity_ccy=9_700.0).hear(resume(), prediction())


def _drawdown(world: World) -> Outputs:
    world.ready().hear(halt())
    return world.hear(
        account(equity_ccy=9_000.0, day_start_equity_ccy=9_000.0, margin_free_ccy=9_000.0), resume(), prediction()
    )


def _second_order(world: World) -> Outputs:
    return world.ready().hear(prediction("GBPUSD"), prediction())


def _same_signal_again(world: World) -> Outputs:
    return world.ready().hear(prediction(), prediction(ts_ns=NOON + 100 * MS))


def _same_message_again(world: World) -> Outputs:
    return world.ready().hear(prediction(), prediction())


def _holding_one(world: World) -> Outputs:
    return world.ready(positions=(position(lots=0.01),)).hear(prediction())


def _holding_five_others(world: World) -> Outputs:
    held = tuple(position("GBPUSD", lots=0.01, position_id=n) for n in range(5))
    return world.ready(positions=held).hear(prediction())


def _holding_much_of_it(world: World) -> Outputs:
    return world.ready(positions=(position(lots=0.2),)).hear(prediction())


def _holding_much_of_another(world: World) -> Outputs:
    return world.ready(positions=(position("GBPUSD", lots=0.2),)).hear(prediction())


def _little_margin(world: World) -> Outputs:
    return world.ready(margin_free_ccy=3_100.0).hear(prediction())


def _poor(world: World) -> Outputs:
    poor = {"equity_ccy": 100.0, "day_start_equity_ccy": 100.0, "peak_equity_ccy": 100.0, "margin_free_ccy": 100.0}
    return world.ready(**poor).hear(prediction())


# The usual order: 10,000 USD, half a percent, stop of 200 points + 20 of slippage + 2 * 3.5 of commission
# -> 50 / 227 = 0.22 lots, cut to two times equity: 20,000 / 137,005 = 0.1459 -> 0.14 lots, 1.918 x equity.
USUAL = config()
ROOMY = config(max_positions_per_symbol=9, max_open_positions=9, max_symbol_exposure_x=50, max_total_exposure_x=50)
ASK = 1.37005
SCENARIOS = {
    "no side suggested": Scenario(
        RefusalReason.NO_DIRECTION, config(report_no_direction=True), _no_direction, 0.0, 1.0,
        RefusalReason.VOLUME_TOO_SMALL,
    ),
    "halted": Scenario(RefusalReason.HALTED, USUAL, _halted, 1.0, 0.0),
    "symbol not allowed": Scenario(
        RefusalReason.SYMBOL_NOT_ALLOWED, config(allowed_symbols=("GBPUSD",)), _predicted, 0.0, 1.0
    ),
    "symbol without specification": Scenario(
        RefusalReason.SYMBOL_NOT_ALLOWED, config(allowed_symbols=("XAUUSD",)), _unspecified_symbol, 0.0, 1.0,
        RefusalReason.FEED_STALE,
    ),
    "account unknown": Scenario(
        RefusalReason.ACCOUNT_UNKNOWN, USUAL, _account_unknown, 0.0, 1.0, RefusalReason.VOLUME_TOO_SMALL
    ),
    "account stale": Scenario(RefusalReason.ACCOUNT_STALE, USUAL, _account_stale, 10_001.0, 10_000.0),
    "account of the future": Scenario(RefusalReason.ACCOUNT_STALE, USUAL, _account_of_the_future, 11_000.0, 10_000.0),
    "feed stale": Scenario(RefusalReason.FEED_STALE, USUAL, _feed_stale, 10_001.0, 10_000.0),
    "conversion stale": Scenario(RefusalReason.FEED_STALE, USUAL, _conversion_stale, 10_001.0, 10_000.0),
    "prediction stale": Scenario(RefusalReason.PREDICTION_STALE, USUAL, _prediction_stale, 5_001.0, 5_000.0),
    "impossible prediction": Scenario(RefusalReason.NON_FINITE, USUAL, _negative_volatility, 1.0, 0.0),
    "prediction not a number": Scenario(RefusalReason.NON_FINITE, USUAL, _nan_probability, 1.0, 0.0),
    "market closed": Scenario(RefusalReason.SESSION_CLOSED, USUAL, _saturday, 0.0, 1.0),
    "spread": Scenario(RefusalReason.SPREAD_TOO_WIDE, USUAL, _wide_spread, 32.0, 30.0),
    "outcome unknown": Scenario(RefusalReason.OUTCOME_UNKNOWN, ROOMY, _unknown_outcome, 0.02, 0.0),
    "daily loss": Scenario(RefusalReason.DAILY_LOSS, USUAL, _daily_loss, 3.0, 3.0),
    "drawdown": Scenario(RefusalReason.MAX_DRAWDOWN, USUAL, _drawdown, 10.0, 10.0),
    "order rate": Scenario(RefusalReason.ORDER_RATE, config(max_orders_per_minute=1), _second_order, 2.0, 1.0),
    "repeated signal": Scenario(RefusalReason.REPEATED_ORDER, ROOMY, _same_signal_again, 100.0, 5_000.0),
    "repeated message": Scenario(RefusalReason.REPEATED_ORDER, ROOMY, _same_message_again, 0.0, 5_000.0),
    "positions of the symbol": Scenario(RefusalReason.MAX_OPEN_POSITIONS, USUAL, _holding_one, 2.0, 1.0),
    "positions in all": Scenario(RefusalReason.MAX_OPEN_POSITIONS, USUAL, _holding_five_others, 6.0, 5.0),
    "volume": Scenario(
        RefusalReason.VOLUME_TOO_SMALL, USUAL, _poor, 100.0 * 2.0 / (ASK * 100_000.0), 0.01
    ),
    "exposure of the symbol": Scenario(
        RefusalReason.MAX_SYMBOL_EXPOSURE, config(max_positions_per_symbol=2), _holding_much_of_it,
        0.34 * ASK * 10.0, 3.0,
    ),
    "exposure in all": Scenario(
        RefusalReason.MAX_TOTAL_EXPOSURE, config(max_total_exposure_x=5.0), _holding_much_of_another,
        0.14 * ASK * 10.0 + 0.2 * 1.68005 * 10.0, 5.0,
    ),
    "margin": Scenario(
        RefusalReason.MARGIN, USUAL, _little_margin, 31.0 - 0.14 * ASK * 100_000.0 / 100.0 / 100.0, 30.0
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_check_refuses_with_its_reason_and_both_numbers(name: str) -> None:
    scenario = SCENARIOS[name]
    refusal = only_refusal(scenario.play(World(scenario.limits)))
    assert refusal.reason is scenario.reason
    assert (refusal.observed, refusal.limit) == pytest.approx((scenario.observed, scenario.limit))
    assert refusal.detail


@pytest.mark.parametrize("name", SCENARIOS)
def test_without_the_check_nothing_else_refuses_the_scenario(name: str) -> None:
    scenario = SCENARIOS[name]
    rest = tuple(check for check in CHECKS if check.reason is not scenario.reason)
    outputs = scenario.play(World(scenario.limits, rest))
    if scenario.instead is None:
        assert any(isinstance(output, OrderApproved) for output in outputs), outputs
    else:
        assert only_refusal(outputs).reason is scenario.instead


def test_every_reason_has_a_check_and_every_check_a_scenario() -> None:
    assert [check.reason for check in CHECKS] == sorted(
        {scenario.reason for scenario in SCENARIOS.values()}, key=[check.reason for check in CHECKS].index
    )
    assert {check.reason for check in CHECKS} == set(RefusalReason)


def test_the_usual_order_passes_every_check() -> None:
    order = only_approval(_predicted(World()))
    assert (order.side, order.volume_lots, order.price) == (Side.BUY, 0.14, ASK)
    assert (order.sl, order.tp) == (1.36805, 1.37305)


@pytest.mark.parametrize(
    ("limits", "play"),
    [
        (config(max_spread_points=32), _wide_spread),
        (config(max_spread_points_by_symbol={"EURUSD": 32}), _wide_spread),
        (config(account_max_age_ms=10_001), _account_stale),
        (config(quote_max_age_ms=10_001), _feed_stale),
        (config(prediction_max_age_ms=5_001), _prediction_stale),
        (config(max_daily_loss_pct=3.01), _daily_loss),
        (config(max_drawdown_pct=10.01), _drawdown),
        (config(max_orders_per_minute=2), _second_order),
        (config(max_positions_per_symbol=2), _holding_one),
        (config(max_positions_per_symbol=2, max_symbol_exposure_x=4.7), _holding_much_of_it),
        (config(max_total_exposure_x=5.3), _holding_much_of_another),
        (config(min_free_margin_pct=29.0), _little_margin),
    ],
)
def test_at_the_limit_itself_the_order_passes(limits: RiskConfig, play: Callable[[World], Outputs]) -> None:
    outputs = play(World(limits))
    assert not any(isinstance(output, OrderRefused) for output in outputs), outputs


def test_a_prediction_without_a_side_is_only_counted_unless_asked_otherwise() -> None:
    world = World()
    assert _no_direction(world) == ()
    assert world.core.details()["no_direction"] == 1.0


def test_a_position_of_an_unknown_symbol_cannot_be_valued_and_refuses() -> None:
    held = changed(position(), symbol="COFFEE")
    refusal = only_refusal(World().ready(positions=(held,)).hear(prediction()))
    assert refusal.reason is RefusalReason.NON_FINITE
    assert "COFFEE" in refusal.detail


def test_a_thousand_equal_signals_in_a_second_become_one_order() -> None:
    world = World(ROOMY).ready()
    for n in range(1_000):
        world.hear(prediction(ts_ns=NOON + n * MS))
    assert sum(isinstance(output, OrderApproved) for output in world.said) == 1
    assert world.core.details()["refused_repeated_order"] == 999.0


def test_after_the_window_or_at_another_price_or_side_the_order_is_no_repetition() -> None:
    world = World(ROOMY).ready()
    world.hear(prediction())
    assert only_approval(world.hear(prediction(ts_ns=NOON + 1, side=Side.SELL)))
    world.hear(ticks(ts_ns=NOON + 2, mid=1.37020))
    assert only_refusal(world.hear(prediction(ts_ns=NOON + 2))).reason is RefusalReason.REPEATED_ORDER
    world.hear(ticks(ts_ns=NOON + 2, mid=1.37021))
    assert only_approval(world.hear(prediction(ts_ns=NOON + 2)))
    later = NOON + 5_001 * MS
    world.hear(ticks(ts_ns=later, mid=1.37021), account(later))
    assert only_approval(world.hear(prediction(ts_ns=later)))


def test_the_first_refusing_check_in_order_names_the_reason() -> None:
    world = World().ready(SATURDAY_NOON)
    world.hear(halt(SATURDAY_NOON))
    assert only_refusal(world.hear(prediction(ts_ns=SATURDAY_NOON))).reason is RefusalReason.HALTED
