"""Approvals, what is on its way, opposite positions, halts."""

import math
from typing import Any

import pytest

from libs.common.ids import magic_of
from libs.common.messages.account import Position
from libs.common.messages.base import Message
from libs.common.messages.control import Alert, Severity, TradingHalted, TradingResumed
from libs.common.messages.market import Side
from libs.common.messages.orders import (
    OrderApproved,
    OrderFilled,
    OrderPartiallyFilled,
    OrderPurpose,
    OrderRefused,
    OrderRejected,
    OrderResolved,
    OrderSent,
    OrderUnknown,
    PositionClosed,
    RefusalReason,
    StopsMoved,
)
from libs.common.signing import Signer, Verifier, approval_is_genuine
from tests.unit.risk.scenarios import (
    ACCOUNT,
    MS,
    SATURDAY_NOON,
    SECOND,
    SEED,
    WEDNESDAY_NOON,
    World,
    account,
    approved,
    changed,
    config,
    flatten,
    halt,
    only_approval,
    only_refusal,
    position,
    prediction,
    resume,
    ticks,
)

NOON = WEDNESDAY_NOON
ONE_AT_A_TIME = config(max_orders_per_minute=99, repeat_window_ms=0)
ROOMY = config(
    max_positions_per_symbol=99, max_open_positions=99, max_symbol_exposure_x=100, max_total_exposure_x=100,
    repeat_window_ms=0, min_free_margin_pct=0,
)  # fmt: skip


def about(order: OrderApproved, ts_ns: int = NOON) -> dict[str, Any]:
    return {
        "order_id": order.order_id, "account": order.account, "symbol": order.symbol, "ts_event_ns": ts_ns,
        "ts_init_ns": ts_ns,
    }


def sent(order: OrderApproved, ts_ns: int = NOON) -> OrderSent:
    return OrderSent(**about(order, ts_ns), side=order.side, volume_lots=order.volume_lots, magic=1)


def filled(order: OrderApproved, position_id: int = 7, ts_ns: int = NOON) -> OrderFilled:
    return OrderFilled(
        **about(order, ts_ns), side=order.side, volume_lots=order.volume_lots, price=order.price, deal=1,
        position_id=position_id, slippage_points=0.0, commission_ccy=0.0,
    )


def closed(order: OrderApproved, position_id: int = 7, ts_ns: int = NOON) -> PositionClosed:
    return PositionClosed(
        **about(order, ts_ns), position_id=position_id, side=order.side, volume_lots=order.volume_lots,
        price_open=order.price, price_close=order.price, opened_ns=NOON, profit_ccy=0.0, swap_ccy=0.0,
        commission_ccy=0.0, reason="order",
    )


def opened_by(order: OrderApproved, **changes: Any) -> Position:
    return position(order.symbol, order.side, order.volume_lots, magic=magic_of(order.order_id, 1), **changes)


def later(seconds: float) -> int:
    return NOON + round(seconds * SECOND)


def tick_on(world: World, ts_ns: int, *positions: Position, **changes: Any) -> World:
    """Let time pass: fresh ticks and a fresh account."""
    world.ready(ts_ns, positions=positions, **changes)
    return world


# ---- approvals


def test_an_approval_is_signed_by_risk_and_carries_the_prediction() -> None:
    order = only_approval(World().ready().hear(prediction()))
    assert approval_is_genuine(order, Verifier(Signer(SEED).public_bytes))
    assert (order.account, order.purpose, order.position_id) == (ACCOUNT, OrderPurpose.OPEN, 0)
    assert (order.model, order.version, order.horizon_s) == ("direction-EURUSD", 3, 600)
    assert (order.ts_event_ns, order.expires_ns) == (NOON, NOON + 2_000 * MS)
    assert (order.max_slippage_points, order.seq, order.step) == (20, 0, 0)


@pytest.mark.parametrize("field", OrderApproved.__struct_fields__)
def test_changing_any_field_of_an_approval_breaks_its_signature(field: str) -> None:
    order = only_approval(World().ready().hear(prediction()))
    verifier = Verifier(Signer(SEED).public_bytes)
    value = getattr(order, field)
    other: Any = {Side.BUY: Side.SELL, OrderPurpose.OPEN: OrderPurpose.REDUCE}.get(value) if value else None
    if other is None:
        other = value + "0" if isinstance(value, str) else value + 1
    # The runtime stamps these three after the signature was made; everything else is covered.
    stamped = field in ("seq", "step", "ts_init_ns")
    assert approval_is_genuine(changed(order, **{field: other}), verifier) is stamped


def test_the_same_cause_gives_the_same_order_and_another_cause_another() -> None:
    def order(**changes: Any) -> OrderApproved:
        return only_approval(World().ready().hear(prediction(**changes)))

    first = order()
    assert order() == first
    ids = {order(ts_ns=NOON - 1).order_id, order(version=4).order_id, order(symbol="GBPUSD").order_id, first.order_id}
    assert len(ids) == 4


def test_a_sell_is_priced_at_the_bid_with_its_stop_above() -> None:
    order = only_approval(World().ready().hear(prediction(side=Side.SELL)))
    assert (order.price, order.sl, order.tp) == (1.36995, 1.37195, 1.36695)


def test_no_target_means_no_take_profit_and_no_stop_means_no_order() -> None:
    assert only_approval(World().ready().hear(prediction(target_distance=0.0))).tp == 0.0
    refusal = only_refusal(World().ready().hear(prediction(stop_distance=0.0)))
    assert (refusal.reason, refusal.detail) == (RefusalReason.VOLUME_TOO_SMALL, "limited by: no stop distance")


def test_shadow_predictions_and_other_accounts_are_none_of_our_business() -> None:
    world = World().ready()
    assert world.hear(prediction(shadow=True)) == ()
    assert world.hear(account(account="other", equity_ccy=0.0)) == ()
    assert world.hear(sent(changed(only_approval(world.hear(prediction())), account="other"))) == ()
    assert world.core.details()["halted"] == 0.0


def test_an_older_quote_or_account_does_not_replace_a_newer_one() -> None:
    world = World().ready(later(1))
    world.hear(ticks(mid=1.2), account(equity_ccy=5_000.0))
    assert world.core.details()["equity_ccy"] == 10_000.0
    assert only_approval(world.hear(prediction(ts_ns=later(1)))).price == 1.37005


@pytest.mark.parametrize("order_id", ["", "x", "日", "A\0", "direction-EURUSD", "-00000000001", "a" * 300])
def test_what_is_no_order_id_is_none_of_ours(order_id: str) -> None:
    """It kills nobody: what an executor says must not take the only door down."""
    world = World(ONE_AT_A_TIME).ready()
    odd = changed(only_approval(world.hear(prediction())), order_id=order_id)
    unknown = OrderUnknown(**about(odd), side=odd.side, volume_lots=odd.volume_lots, reason="timeout")
    for said in (sent(odd), filled(odd), unknown, filled(odd)):
        assert world.hear(said) == ()
    tick_on(world, later(1))
    assert only_refusal(world.hear(prediction(ts_ns=later(1)))).reason is RefusalReason.MAX_OPEN_POSITIONS


def test_another_accounts_executions_do_not_change_what_is_counted() -> None:
    world = World(ONE_AT_A_TIME).ready()
    world.hear(sent(changed(only_approval(world.hear(prediction())), account="other")))
    # As if nothing had been heard: the approval has expired and its grace is over.
    tick_on(world, later(7.1))
    assert only_approval(world.hear(prediction(ts_ns=later(7.1))))


# ---- on its way


def test_an_approval_counts_as_a_position_until_it_has_expired_and_the_grace_is_over() -> None:
    world = World(ONE_AT_A_TIME).ready()
    world.hear(prediction())
    tick_on(world, later(6.9))
    assert only_refusal(world.hear(prediction(ts_ns=later(6.9)))).reason is RefusalReason.MAX_OPEN_POSITIONS
    tick_on(world, later(7.1))
    assert only_approval(world.hear(prediction(ts_ns=later(7.1))))


def test_an_order_the_broker_has_never_expires() -> None:
    world = World(ONE_AT_A_TIME).ready()
    world.hear(sent(only_approval(world.hear(prediction()))))
    tick_on(world, later(3_600))
    assert only_refusal(world.hear(prediction(ts_ns=later(3_600)))).reason is RefusalReason.MAX_OPEN_POSITIONS


def test_a_rejected_order_is_free_again_at_once() -> None:
    world = World(ONE_AT_A_TIME).ready()
    order = only_approval(world.hear(prediction()))
    world.hear(OrderRejected(**about(order), retcode=10019, reason="no money"))
    assert only_approval(world.hear(prediction(ts_ns=NOON + 1)))


def test_a_filled_order_counts_once_while_the_account_lags_and_once_after() -> None:
    world = World(ROOMY).ready()
    order = only_approval(world.hear(prediction()))
    world.hear(sent(order), filled(order))
    assert world.core.details()["positions"] == 1.0
    tick_on(world, later(1), opened_by(order))
    assert world.core.details()["positions"] == 1.0
    assert world.core.details()["in_flight"] == 0.0
    tick_on(world, later(2))
    assert world.core.details()["positions"] == 0.0


def test_a_fill_heard_after_the_account_showed_it_counts_once_and_can_be_closed() -> None:
    world = World(ROOMY).ready()
    order = only_approval(world.hear(prediction(side=Side.SELL)))
    tick_on(world, later(1), opened_by(order))
    world.hear(sent(order), filled(order))
    assert world.core.details()["positions"] == 1.0
    assert world.core.details()["exposure_x"] == pytest.approx(0.14 * 1.37005 * 10)
    close = only_approval(world.hear(prediction(ts_ns=later(1))))
    assert (close.purpose, close.position_id) == (OrderPurpose.REDUCE, 7)


def test_doubt_only_the_account_knows_of_counts_as_a_position_and_as_exposure() -> None:
    world = World(ROOMY).ready(unknown_lots={"GBPUSD": -0.3})
    assert world.core.details()["positions"] == 1.0
    assert world.core.details()["exposure_x"] == pytest.approx(0.3 * 1.68005 * 10)


def test_the_margin_of_orders_on_their_way_is_spent() -> None:
    limits = changed(ROOMY, min_free_margin_pct=96.5)
    world = World(limits).ready()
    assert only_approval(world.hear(prediction()))
    refusal = only_refusal(world.hear(prediction("GBPUSD")))
    margin = 0.14 * 1.37005 * 1_000 + 0.11 * 1.68005 * 1_000
    assert refusal.reason is RefusalReason.MARGIN
    assert refusal.observed == pytest.approx(100.0 - margin / 100.0)


def test_a_partly_filled_order_counts_what_was_executed() -> None:
    world = World(ROOMY).ready()
    order = only_approval(world.hear(prediction()))
    world.hear(
        OrderPartiallyFilled(
            **about(order), side=order.side, volume_lots=0.04, asked_lots=order.volume_lots, price=order.price, deal=1,
            position_id=7, slippage_points=0.0, commission_ccy=0.0,
        )
    )
    assert world.core.details()["exposure_x"] == pytest.approx(0.04 * 1.37005 * 10)


def test_a_fill_whose_position_closed_before_any_snapshot_is_forgotten() -> None:
    world = World(ROOMY).ready()
    order = only_approval(world.hear(prediction()))
    world.hear(filled(order))
    half = order.volume_lots / 2
    for _ in range(2):
        assert world.core.details()["positions"] == 1.0
        world.hear(
            PositionClosed(
                **about(order), position_id=7, side=order.side, volume_lots=half, price_open=1.0, price_close=1.0,
                opened_ns=NOON, profit_ccy=0.0, swap_ccy=0.0, commission_ccy=0.0, reason="sl",
            )
        )
    assert world.core.details()["positions"] == 0.0


def test_an_unknown_order_blocks_its_symbol_until_the_brokers_records_decide() -> None:
    world = World(ROOMY).ready()
    order = only_approval(world.hear(prediction()))
    world.hear(sent(order))
    world.hear(OrderUnknown(**about(order), side=order.side, volume_lots=order.volume_lots, reason="timeout"))
    tick_on(world, later(3_600))
    refusal = only_refusal(world.hear(prediction(ts_ns=later(3_600))))
    assert (refusal.reason, refusal.observed) == (RefusalReason.OUTCOME_UNKNOWN, 0.14)
    assert only_approval(world.hear(prediction("GBPUSD", ts_ns=later(3_600))))
    in_doubt = {"EURUSD": 0.14}
    world.hear(account(later(3_600), unknown_lots=in_doubt))
    assert world.core.details()["positions"] == 2.0, "the account's doubt and ours are one"
    assert world.core.details()["exposure_x"] == pytest.approx((0.14 * 1.37005 + 0.11 * 1.68005) * 10)
    world.hear(
        OrderResolved(**about(order, later(3_600)), executed=False, volume_lots=0.0, evidence="in no book"),
        account(later(3_600)),
    )
    assert world.core.details()["positions"] == 1.0
    tick_on(world, later(3_601))
    assert only_approval(world.hear(prediction(ts_ns=later(3_601))))


def test_an_unknown_order_found_executed_counts_until_the_account_shows_it() -> None:
    world = World(ROOMY).ready()
    order = only_approval(world.hear(prediction()))
    world.hear(OrderUnknown(**about(order), side=order.side, volume_lots=order.volume_lots, reason="timeout"))
    world.hear(OrderResolved(**about(order), executed=True, volume_lots=0.14, evidence="deal 9"))
    assert world.core.details()["positions"] == 1.0
    tick_on(world, later(1), opened_by(order))
    assert (world.core.details()["positions"], world.core.details()["in_flight"]) == (1.0, 0.0)


def test_an_unknown_order_risk_never_heard_of_counts_at_its_worst() -> None:
    world = World(ROOMY).ready()
    stranger = changed(only_approval(World().ready().hear(prediction())), order_id="ab" * 12)
    world.hear(OrderUnknown(**about(stranger), side=Side.SELL, volume_lots=0.5, reason="crash"))
    assert only_refusal(world.hear(prediction())).observed == 0.5


def test_an_order_given_up_as_expired_counts_again_when_the_broker_has_it_after_all() -> None:
    world = World(ONE_AT_A_TIME).ready()
    order = only_approval(world.hear(prediction()))
    tick_on(world, later(10))
    world.hear(prediction(ts_ns=later(10), side=None), account(later(10)), sent(order, later(10)))
    assert only_refusal(world.hear(prediction(ts_ns=later(10)))).reason is RefusalReason.MAX_OPEN_POSITIONS


def test_on_a_netting_account_a_grown_position_counts_in_full_until_a_later_snapshot() -> None:
    world = World(ROOMY).ready(hedging=False, positions=(position(lots=0.1),))
    order = only_approval(world.hear(prediction()))
    world.hear(filled(order))
    assert world.core.details()["exposure_x"] == pytest.approx(0.24 * 1.37005 * 10)
    tick_on(world, later(1), position(lots=0.24), hedging=False)
    assert world.core.details()["exposure_x"] == pytest.approx(0.24 * 1.37005 * 10)


def test_buys_and_sells_do_not_cancel_but_are_not_added_either() -> None:
    held = (position(lots=0.3), position(side=Side.SELL, lots=0.2, position_id=8))
    world = World(ROOMY).ready(positions=held)
    assert world.core.details()["exposure_x"] == pytest.approx(0.3 * 1.37005 * 10)


def test_moved_stops_change_nothing() -> None:
    world = World().ready()
    before = world.core.snapshot()
    moved = StopsMoved(
        account=ACCOUNT, symbol="EURUSD", position_id=7, sl=1.0, tp=0.0, rule="trailing", ts_event_ns=NOON,
        ts_init_ns=NOON,
    )
    assert world.hear(moved) == ()
    assert world.core.snapshot() == before


# ---- opposite positions


def holding(on_opposite: str) -> tuple[World, OrderApproved]:
    world = World(config(on_opposite=on_opposite)).ready()
    order = only_approval(world.hear(prediction(side=Side.SELL)))
    world.hear(sent(order), filled(order))
    tick_on(world, later(60), opened_by(order))
    return world, order


def test_a_prediction_against_our_position_closes_it() -> None:
    world, opened = holding("close")
    order = only_approval(world.hear(prediction(ts_ns=later(60))))
    assert (order.purpose, order.position_id, order.side) == (OrderPurpose.REDUCE, 7, Side.BUY)
    assert (order.volume_lots, order.sl, order.tp, order.horizon_s) == (opened.volume_lots, 0.0, 0.0, 0)
    again = only_refusal(world.hear(prediction(ts_ns=later(60) + 1)))
    assert (again.reason, again.detail) == (RefusalReason.REPEATED_ORDER, "position 7 is already being closed")


def test_every_opposite_position_is_closed_by_an_order_of_its_own() -> None:
    world = World(changed(ROOMY, on_opposite="close")).ready()
    first = only_approval(world.hear(prediction(side=Side.SELL)))
    second = only_approval(world.hear(prediction(side=Side.SELL, ts_ns=NOON + 1)))
    tick_on(world, later(60), opened_by(first), opened_by(second, position_id=8))
    closes = approved(world.hear(prediction(ts_ns=later(60))))
    assert [close.position_id for close in closes] == [7, 8]
    assert len({close.order_id for close in closes}) == 2


def test_a_refused_close_may_be_asked_again() -> None:
    world, _ = holding("close")
    order = only_approval(world.hear(prediction(ts_ns=later(60))))
    world.hear(OrderRejected(**about(order), retcode=10018, reason="market closed"))
    assert only_approval(world.hear(prediction(ts_ns=later(60) + 1))).purpose is OrderPurpose.REDUCE


def test_a_filled_close_is_not_asked_again_while_the_account_lags() -> None:
    world, _ = holding("close")
    order = only_approval(world.hear(prediction(ts_ns=later(60))))
    world.hear(filled(order, ts_ns=later(60)))
    assert only_refusal(world.hear(prediction(ts_ns=later(60) + 1))).reason is RefusalReason.REPEATED_ORDER
    tick_on(world, later(61))
    assert only_approval(world.hear(prediction(ts_ns=later(61)))).purpose is OrderPurpose.OPEN


def test_reverse_closes_and_opens_the_other_side() -> None:
    world, _ = holding("reverse")
    close, fresh = approved(world.hear(prediction(ts_ns=later(60))))
    assert (close.purpose, close.side) == (OrderPurpose.REDUCE, Side.BUY)
    assert (fresh.purpose, fresh.side) == (OrderPurpose.OPEN, Side.BUY)


def test_reverse_does_not_open_when_the_close_was_refused() -> None:
    world, _ = holding("reverse")
    world.hear(prediction(ts_ns=later(60)))
    assert only_refusal(world.hear(prediction(ts_ns=later(60) + 1))).reason is RefusalReason.REPEATED_ORDER


def netting(limits: Any = None, **changes: Any) -> tuple[World, OrderApproved]:
    """Return a world that is short on a netting account."""
    world = World(limits or config(on_opposite="reverse", max_order_lots=0.05)).ready(hedging=False)
    order = only_approval(world.hear(prediction(side=Side.SELL)))
    world.hear(sent(order), filled(order))
    tick_on(world, later(60), opened_by(order), hedging=False, **changes)
    return world, order


def test_on_a_netting_account_one_order_closes_and_opens() -> None:
    world, short = netting()
    order = only_approval(world.hear(prediction(ts_ns=later(60))))
    assert (order.purpose, order.side, order.position_id) == (OrderPurpose.OPEN, Side.BUY, 7)
    assert order.volume_lots == pytest.approx(2.0 * short.volume_lots)
    assert 0.0 < order.sl < order.price < order.tp
    assert order.horizon_s == 600


@pytest.mark.parametrize("stage", ["approved", "sent", "unknown"])
def test_a_position_that_is_being_turned_round_is_not_turned_or_closed_again(stage: str) -> None:
    world, _ = netting()
    order = only_approval(world.hear(prediction(ts_ns=later(60))))
    if stage != "approved":
        world.hear(sent(order, later(60)))
    if stage == "unknown":
        world.hear(OrderUnknown(**about(order, later(60)), side=order.side, volume_lots=order.volume_lots, reason="?"))
    said = world.hear(prediction(ts_ns=later(60) + 1))
    assert not approved(said)
    assert {refusal.reason for refusal in said if isinstance(refusal, OrderRefused)} <= {
        RefusalReason.REPEATED_ORDER, RefusalReason.OUTCOME_UNKNOWN,
    }


def test_a_turn_is_counted_as_if_all_of_it_opened() -> None:
    world, short = netting()
    order = only_approval(world.hear(prediction(ts_ns=later(60))))
    assert world.core._book.worst_case_lots("EURUSD") == pytest.approx(order.volume_lots)
    assert order.volume_lots > short.volume_lots


@pytest.mark.parametrize("limits", [
    config(on_opposite="reverse"),
    config(on_opposite="reverse", max_order_lots=0.05, max_orders_per_minute=1),
])  # fmt: skip
def test_where_a_turn_is_too_much_the_position_is_closed_first(limits: Any) -> None:
    # The exposure of both volumes is too large; or the minute's one order was given a moment ago.
    world, _ = netting(limits)
    if limits.max_orders_per_minute == 1:
        only_approval(world.hear(prediction("GBPUSD", ts_ns=later(60))))
    said = world.hear(prediction(ts_ns=later(60)))
    first = approved(said)[0]
    assert (first.purpose, first.position_id) == (OrderPurpose.REDUCE, 7)


def test_while_halted_a_netting_position_may_still_be_closed() -> None:
    world, _ = netting()
    world.hear(halt(later(60)))
    close, refusal = world.hear(prediction(ts_ns=later(60)))
    assert isinstance(close, OrderApproved)
    assert close.purpose is OrderPurpose.REDUCE
    assert only_refusal((refusal,)).reason is RefusalReason.HALTED


def test_the_close_within_a_turn_does_not_make_risk_forget_what_the_turn_opened() -> None:
    world, short = netting()
    order = only_approval(world.hear(prediction(ts_ns=later(60))))
    world.hear(sent(order, later(60)), filled(order, ts_ns=later(60)))
    world.hear(closed(short, position_id=7, ts_ns=later(60)))
    assert world.core._book.worst_case_lots("EURUSD") >= order.volume_lots - 1e-9


def test_a_snapshot_of_the_same_moment_that_shows_the_turned_position_settles_it() -> None:
    world, short = netting()
    order = only_approval(world.hear(prediction(ts_ns=later(60))))
    world.hear(sent(order, later(60)), filled(order, ts_ns=later(60)))
    before = changed(opened_by(short), side=Side.SELL)
    tick_on(world, later(60), before, hedging=False)
    assert order.order_id in world.core._book.state.orders, "the old position may still be shown"
    after = changed(opened_by(order), volume_lots=short.volume_lots)
    tick_on(world, later(60), after, hedging=False)
    assert order.order_id not in world.core._book.state.orders
    assert world.core._book.worst_case_lots("EURUSD") == pytest.approx(short.volume_lots)


def test_hold_leaves_the_position_alone() -> None:
    world, _ = holding("hold")
    assert only_refusal(world.hear(prediction(ts_ns=later(60)))).reason is RefusalReason.MAX_OPEN_POSITIONS


def test_positions_of_others_are_counted_but_never_closed() -> None:
    foreign = position(side=Side.SELL, lots=0.01, magic=magic_of("ab" * 12, 1))
    world = World().ready(positions=(foreign,))
    assert only_refusal(world.hear(prediction())).reason is RefusalReason.MAX_OPEN_POSITIONS


def test_while_halted_a_position_may_still_be_closed_but_nothing_opened() -> None:
    world, _ = holding("reverse")
    world.hear(halt(later(60)))
    close, refusal = world.hear(prediction(ts_ns=later(60)))
    assert isinstance(close, OrderApproved)
    assert close.purpose is OrderPurpose.REDUCE
    assert only_refusal((refusal,)).reason is RefusalReason.HALTED


# ---- halts


def halted(outputs: tuple[Message, ...]) -> tuple[TradingHalted, Alert]:
    event, alert = outputs
    assert isinstance(event, TradingHalted)
    assert isinstance(alert, Alert)
    return event, alert


def is_halted(world: World) -> bool:
    return world.core.is_halted


def test_a_command_halts_and_only_resume_ends_it() -> None:
    world = World().ready()
    event, alert = halted(world.hear(halt()))
    assert (event.reason, event.detail, alert.severity) == ("command", "ann: lunch", Severity.WARNING)
    assert world.hear(halt(command_id="h2")) == ()
    assert only_refusal(world.hear(prediction())).detail == "command: ann: lunch"
    (ended,) = world.hear(resume())
    assert isinstance(ended, TradingResumed)
    assert ended.issued_by == "ann"
    assert only_approval(world.hear(prediction()))


def test_flatten_halts_too() -> None:
    world = World().ready()
    event, _ = halted(world.hear(flatten()))
    assert event.reason == "flatten"
    assert world.hear(flatten(command_id="f2")) == ()


def test_a_repeated_resume_does_not_end_a_newer_halt() -> None:
    world = World().ready()
    world.hear(halt(), resume(), halt(command_id="h2"))
    assert world.hear(resume()) == ()
    assert is_halted(world)
    assert world.hear(halt()) == ()
    world.hear(resume(command_id="r2"))
    assert not is_halted(world)
    assert world.hear(halt(), flatten()) != ()
    assert world.hear(resume(command_id="r3"))
    assert world.hear(flatten()) == ()
    assert not is_halted(world)


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("daily_loss", {"equity_ccy": 9_700.0}),
        ("max_drawdown", {"equity_ccy": 9_900.0, "peak_equity_ccy": 11_000.0}),
        ("non_finite", {"equity_ccy": float("nan")}),
        ("non_finite", {"equity_ccy": float("inf")}),
        ("non_finite", {"equity_ccy": 0.0}),
        ("non_finite", {"equity_ccy": -5.0}),
        ("non_finite", {"margin_free_ccy": float("nan")}),
        ("non_finite", {"leverage": 0.0}),
        ("non_finite", {"day_start_equity_ccy": 0.0}),
        ("non_finite", {"unknown_lots": {"EURUSD": float("nan")}}),
        ("non_finite", {"positions": (position(lots=float("nan")),)}),
        ("non_finite", {"positions": (position(lots=-1.0),)}),
    ],
)
def test_a_limit_on_the_account_halts_at_once_and_survives_a_restart(reason: str, changes: dict[str, Any]) -> None:
    world = World().ready()
    world.hear(account(later(1), **changes), wire=False)
    event, alert = halted(tuple(world.said))
    assert (event.reason, alert.severity, alert.name) == (reason, Severity.CRITICAL, "trading_halted")
    again = world.restarted()
    assert is_halted(again)
    again.ready(later(2))
    assert is_halted(again)
    assert only_refusal(again.hear(prediction(ts_ns=later(2)))).reason is RefusalReason.HALTED


def test_floating_loss_alone_trips_the_daily_limit() -> None:
    world = World().ready()
    loser = position(profit_ccy=-301.0, lots=0.01)
    event, _ = halted(
        world.hear(account(later(1), balance_ccy=10_000.0, equity_ccy=9_699.0, positions=(loser,)))
    )
    assert event.reason == "daily_loss"


def test_resuming_while_the_daily_loss_stands_halts_again_with_the_next_snapshot() -> None:
    world = World().ready(equity_ccy=9_600.0)
    world.hear(resume())
    assert not is_halted(world)
    world.hear(account(later(1), equity_ccy=9_600.0))
    assert is_halted(world)


def test_resume_accepts_a_drawdown_and_measures_from_there() -> None:
    low = {"equity_ccy": 8_900.0, "day_start_equity_ccy": 8_900.0, "margin_free_ccy": 8_900.0}
    world = World(config(max_daily_loss_pct=50)).ready()
    world.hear(account(later(1), **low), resume(later(1)))
    tick_on(world, later(2), **low)
    assert only_approval(world.hear(prediction(ts_ns=later(2))))
    world.hear(account(later(3), **(low | {"equity_ccy": 8_010.0})))
    assert is_halted(world)
    world.hear(resume(later(3), "r2"), account(later(4), **(low | {"equity_ccy": 8_010.0})))
    assert not is_halted(world)
    world.hear(account(later(5), **(low | {"peak_equity_ccy": 10_001.0})))
    assert is_halted(world)


def test_risk_remembers_a_peak_the_account_forgets() -> None:
    world = World(config(max_daily_loss_pct=50)).ready()
    world.hear(account(later(1), equity_ccy=12_000.0, peak_equity_ccy=12_000.0, day_start_equity_ccy=10_800.0))
    world.hear(account(later(2), equity_ccy=10_800.0, peak_equity_ccy=10_800.0, day_start_equity_ccy=10_800.0))
    assert is_halted(world)


def test_a_tripped_limit_closes_our_positions_when_configured() -> None:
    limits = config(flatten_on_halt=True)
    world = World(limits).ready()
    order = only_approval(world.hear(prediction()))
    world.hear(sent(order), filled(order))
    tick_on(world, later(1), opened_by(order))
    foreign = position("GBPUSD", lots=0.01, position_id=8)
    held = {"positions": (opened_by(order), foreign), "equity_ccy": 9_000.0}
    *_, close = world.hear(account(later(2), **held))
    assert isinstance(close, OrderApproved)
    assert (close.position_id, close.purpose, close.side) == (7, OrderPurpose.REDUCE, Side.SELL)
    assert approval_is_genuine(close, Verifier(Signer(SEED).public_bytes))
    assert world.hear(account(later(3), **held)) == ()
    world.hear(OrderRejected(**about(close, later(3)), retcode=10004, reason="requote"))
    (again,) = world.restarted(limits).hear(account(later(4), **held))
    assert isinstance(again, OrderApproved)
    assert again.order_id != close.order_id
    world.hear(OrderRejected(**about(close, later(4)), retcode=10004, reason="requote"))
    world.hear(resume(later(5)))
    assert world.hear(account(later(6), **(held | {"equity_ccy": 10_000.0}))) == ()


def test_nothing_is_closed_by_a_halt_unless_configured_and_never_blindly() -> None:
    for limits, ts_ns in ((config(), later(2)), (config(flatten_on_halt=True), SATURDAY_NOON)):
        world = World(limits).ready()
        order = only_approval(world.hear(prediction()))
        world.hear(sent(order), filled(order), ticks(ts_ns=ts_ns))
        outputs = world.hear(account(ts_ns, positions=(opened_by(order),), equity_ccy=9_000.0))
        assert approved(outputs) == []
        assert is_halted(world)


def test_a_non_finite_account_does_not_poison_the_peak() -> None:
    world = World().ready()
    world.hear(account(later(1), equity_ccy=float("nan"), peak_equity_ccy=float("inf")), wire=False)
    world.hear(resume(later(1)))
    tick_on(world, later(2))
    assert world.core.details()["drawdown_pct"] == 0.0
    assert only_approval(world.hear(prediction(ts_ns=later(2))))


def test_command_ids_are_remembered_within_a_bound() -> None:
    world = World().ready()
    for n in range(1_005):
        world.hear(halt(command_id=f"h{n}"))
    assert len(world.core.snapshot()) < 20_000


def test_details_are_finite_numbers_or_short_texts() -> None:
    world = World().ready(equity_ccy=float("nan"))
    details = world.core.details()
    assert details["halted"] == 1.0
    assert not any(isinstance(value, float) and math.isnan(value) for value in details.values())
