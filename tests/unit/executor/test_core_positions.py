"""Positions: how they end, how they are cared for, and how the account is told."""

from typing import Any

import pytest

from libs.common.messages.account import AccountSnapshot
from libs.common.messages.control import Alert
from libs.common.messages.market import Side
from libs.common.messages.orders import (
    OrderFilled,
    OrderPurpose,
    OrderRejected,
    OrderSent,
    PositionClosed,
    StopsMoved,
)
from libs.common.mt5.sim.settings import TerminalSettings
from services.executor.broker import BrokerDeal
from services.executor.config import ExecutorConfig
from services.executor.effects import RecordIntent
from services.executor.stops import BreakEven, Trailing
from tests.unit.executor.executor_world import (
    NOON,
    S,
    ScriptedDesk,
    World,
    answer,
    approval,
    deal,
    flatten,
    magic,
    order_id,
    position,
    resume,
    ticks,
    without_account,
)

QUOTE = (1.10000, 1.10010)


def opened(world: World, name: str = "a", **changes: Any) -> OrderFilled:
    filled = [m for m in world.hear(approval(name, **changes)) if isinstance(m, OrderFilled)]
    return filled[0]


@pytest.fixture
def world() -> World:
    world = World()
    world.hear(ticks("EURUSD", NOON, QUOTE))
    return world


# How a position ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("quote", "reason", "price"), [
    ((1.09490, 1.09500), "sl", 1.09490),
    ((1.10600, 1.10610), "tp", 1.10500),
])
def test_sl_and_tp_close_the_position_and_tell_its_whole_cost(
    world: World, quote: tuple[float, float], reason: str, price: float
) -> None:
    filled = opened(world, sl=1.095, tp=1.105)
    said = world.hear(ticks("EURUSD", NOON + 10 * S, QUOTE, quote))
    closed = next(m for m in said if isinstance(m, PositionClosed))
    assert (closed.reason, closed.price_close, closed.side) == (reason, price, Side.BUY)
    assert closed.order_id == order_id("a"), "the order that opened it"
    assert closed.position_id == filled.position_id
    assert closed.ts_event_ns == NOON + 11 * S
    assert closed.opened_ns == NOON
    assert closed.profit_ccy == pytest.approx((price - 1.10010) * 10_000)
    assert closed.commission_ccy == pytest.approx(-0.70), "both sides"
    snapshot = said[-1]
    assert isinstance(snapshot, AccountSnapshot)
    assert snapshot.positions == ()


def test_a_stop_out_is_told_as_one() -> None:
    world = World(terminal=TerminalSettings(balance_ccy=250.0))
    world.hear(ticks("EURUSD", NOON, QUOTE))
    opened(world, volume_lots=0.2)
    said = world.hear(ticks("EURUSD", NOON + S, (1.0930, 1.0931)))
    assert [m.reason for m in said if isinstance(m, PositionClosed)] == ["stop_out"]


def test_partial_closes_share_the_opening_commission(world: World) -> None:
    filled = opened(world, volume_lots=0.3)
    closed: list[PositionClosed] = []
    for name, lots in (("b", 0.1), ("c", 0.2)):
        said = world.hear(approval(
            name, purpose=OrderPurpose.REDUCE, side=Side.SELL, position_id=filled.position_id, volume_lots=lots
        ))
        closed += [m for m in said if isinstance(m, PositionClosed)]
    assert [m.volume_lots for m in closed] == [0.1, 0.2]
    assert [m.commission_ccy for m in closed] == pytest.approx([-0.70, -1.40])
    assert {m.order_id for m in closed} == {order_id("a")}
    assert world.core.details()["positions"] == 0.0


def test_the_time_barrier_closes_the_position_by_an_order_of_our_own(world: World) -> None:
    filled = opened(world, horizon_s=60)
    assert without_account(world.hear(ticks("EURUSD", NOON + 59 * S, QUOTE))) == []
    said = world.hear(ticks("EURUSD", NOON + 60 * S, QUOTE))
    assert without_account(said) == ["OrderSent", "OrderFilled", "PositionClosed"]
    closed = next(m for m in said if isinstance(m, PositionClosed))
    assert (closed.reason, closed.position_id) == ("order", filled.position_id)
    intents = world.of(RecordIntent)
    assert len(intents) == 2, "our own orders are journaled before they are sent, like any other"
    assert intents[1].order_id != order_id("a")
    assert intents[1].request["position"] == filled.position_id


def test_the_time_barrier_waits_for_a_tick_of_its_own_symbol(world: World) -> None:
    opened(world, horizon_s=60)
    assert without_account(world.hear(ticks("USDJPY", NOON + 90 * S, (102.0, 102.01)))) == []
    assert "PositionClosed" in without_account(world.hear(ticks("EURUSD", NOON + 91 * S, QUOTE)))


def test_a_refused_close_is_tried_again_after_a_pause_under_a_new_id() -> None:
    desk = ScriptedDesk()
    world = World(desk=desk)
    desk.on_send = lambda key, request, now_ns: (deal(1), answer(key, "done"))
    world.hear(approval("a", horizon_s=10))
    desk.open = {500: position()}
    desk.on_send = lambda key, request, now_ns: (answer(key, "rejected", now_ns, volume_lots=0.0),)
    for second in range(10, 26):
        world.hear(ticks("EURUSD", NOON + second * S, QUOTE))
    attempts = [m for m in world.of(OrderSent) if m.order_id != order_id("a")]
    assert [m.ts_event_ns - NOON for m in attempts] == [10 * S, 15 * S, 20 * S, 25 * S]
    assert len({m.order_id for m in attempts}) == 4


def test_a_close_whose_outcome_is_unknown_is_not_tried_again() -> None:
    desk = ScriptedDesk()
    world = World(desk=desk)
    desk.on_send = lambda key, request, now_ns: (deal(1), answer(key, "done"))
    world.hear(approval("a", horizon_s=10))
    desk.open = {500: position()}
    desk.on_send = lambda key, request, now_ns: (answer(key, "unknown", now_ns),)
    for second in range(10, 50):
        world.hear(ticks("EURUSD", NOON + second * S, QUOTE))
    assert len(desk.requests) == 2
    for second in range(50, 70):  # ruled out at 55, and then there is nothing against another order
        world.hear(ticks("EURUSD", NOON + second * S, QUOTE))
    assert len(desk.requests) == 3


def test_a_second_reduction_of_a_position_waits_for_the_first() -> None:
    world = World(terminal=TerminalSettings(latency_ms=5_000.0))
    world.hear(ticks("EURUSD", NOON, QUOTE))
    world.hear(approval("a"))
    filled = next(m for m in world.hear(ticks("EURUSD", NOON + 6 * S, QUOTE)) if isinstance(m, OrderFilled))
    close = {"purpose": OrderPurpose.REDUCE, "side": Side.SELL, "position_id": filled.position_id}
    assert without_account(world.hear(approval("b", **close))) == ["OrderSent"]
    rejected = [m for m in world.hear(approval("c", **close)) if isinstance(m, OrderRejected)]
    assert [m.reason for m in rejected] == ["already_closing"]
    said = world.hear(ticks("EURUSD", NOON + 12 * S, QUOTE))
    assert without_account(said) == ["OrderFilled", "PositionClosed"]


# Flatten -----------------------------------------------------------------------------------------------------


def test_flatten_closes_every_position_of_ours_and_halts(world: World) -> None:
    world.hear(ticks("USDJPY", NOON, (102.0, 102.01)))
    opened(world, "a")
    opened(world, "b", side=Side.SELL, price=1.1)
    opened(world, "c", symbol="USDJPY", price=102.01)
    said = world.hear(flatten())
    assert without_account(said).count("PositionClosed") == 3
    assert without_account(said).count("OrderSent") == 3
    rejected = [m for m in world.hear(approval("d")) if isinstance(m, OrderRejected)]
    assert [m.reason for m in rejected] == ["halted"]


def test_the_same_flatten_again_finds_nothing_to_do(world: World) -> None:
    opened(world)
    world.hear(flatten())
    assert without_account(world.hear(flatten())) == []


def test_flatten_of_one_symbol_leaves_the_others_open(world: World) -> None:
    world.hear(ticks("USDJPY", NOON, (102.0, 102.01)))
    opened(world, "a")
    opened(world, "b", symbol="USDJPY", price=102.01)
    closed = [m for m in world.hear(flatten(symbol="USDJPY")) if isinstance(m, PositionClosed)]
    assert [m.symbol for m in closed] == ["USDJPY"]


def test_a_position_that_was_on_its_way_is_closed_when_it_arrives() -> None:
    world = World(terminal=TerminalSettings(latency_ms=500.0))
    world.hear(ticks("EURUSD", NOON, QUOTE))
    world.hear(approval("a"))
    assert without_account(world.hear(flatten())) == []
    said = world.hear(ticks("EURUSD", NOON + S, QUOTE))
    assert without_account(said) == ["OrderFilled", "OrderSent"]
    assert "PositionClosed" in without_account(world.hear(ticks("EURUSD", NOON + 2 * S, QUOTE)))


def test_flatten_keeps_trying_while_the_market_is_closed(world: World) -> None:
    opened(world)
    saturday = NOON + 2 * 86_400 * S
    rejected = [m for m in world.hear(flatten(saturday)) if isinstance(m, OrderRejected)]
    assert [m.retcode for m in rejected] == [10018]
    monday = NOON + 4 * 86_400 * S
    assert "PositionClosed" in without_account(world.hear(ticks("EURUSD", monday, QUOTE)))


def test_resume_ends_a_flatten(world: World) -> None:
    world.hear(flatten())
    world.hear(resume())
    opened(world)
    world.hear(ticks("EURUSD", NOON + 10 * S, QUOTE))
    assert not world.of(PositionClosed)


def test_positions_of_others_are_told_once_and_never_touched() -> None:
    desk = ScriptedDesk()
    desk.open = {7: position(7, magic=0), 8: position(8, magic=(2 << 48) | 5)}
    world = World(desk=desk)
    world.hear(ticks("EURUSD", NOON, QUOTE))
    world.hear(flatten())
    world.hear(ticks("EURUSD", NOON + 5 * S, QUOTE))
    assert desk.requests == {}
    assert [m.name for m in world.of(Alert)] == ["foreign_position", "foreign_position"]
    assert {p.position_id for p in world.of(AccountSnapshot)[-1].positions} == {7, 8}


def test_deals_of_others_change_nothing() -> None:
    desk = ScriptedDesk()
    world = World(desk=desk)
    desk.market = [deal(1, magic=0, position_id=7), deal(2, magic=0, position_id=7, entry=1, side=Side.SELL)]
    assert without_account(world.hear(ticks("EURUSD", NOON, QUOTE))) == []


# Reasons and reversals ---------------------------------------------------------------------------------------


def closing_deal(**changes: Any) -> BrokerDeal:
    return deal(2, **{"side": Side.SELL, "entry": 1, "ts_ns": NOON + S, **changes})


@pytest.mark.parametrize(("reason", "number", "expected"), [
    (4, "a", "sl"), (5, "a", "tp"), (6, "a", "stop_out"), (3, "b", "order"), (3, "", "manual"), (0, "", "manual"),
    (7, "", "manual"),
])
def test_the_reason_of_a_close_follows_from_its_deal(reason: int, number: str, expected: str) -> None:
    desk = ScriptedDesk()
    world = World(desk=desk)
    desk.on_send = lambda key, request, now_ns: (deal(1), answer(key, "done"))
    world.hear(approval("a"))
    desk.market = [closing_deal(reason=reason, magic=magic(number) if number else 0)]
    said = world.hear(ticks("EURUSD", NOON + S, QUOTE))
    assert [m.reason for m in said if isinstance(m, PositionClosed)] == [expected]


def test_a_netting_reversal_closes_the_old_side_and_opens_the_new_one() -> None:
    world = World(terminal=TerminalSettings(hedging=False))
    world.hear(ticks("EURUSD", NOON, QUOTE))
    first = opened(world, "a", volume_lots=0.1)
    said = world.hear(approval("b", side=Side.SELL, volume_lots=0.3, price=1.1))
    assert without_account(said) == ["OrderSent", "OrderFilled", "PositionClosed"]
    closed = next(m for m in said if isinstance(m, PositionClosed))
    assert (closed.volume_lots, closed.side, closed.position_id) == (0.1, Side.BUY, first.position_id)
    assert closed.commission_ccy == pytest.approx(-0.70)
    said = world.hear(flatten())
    closed = next(m for m in said if isinstance(m, PositionClosed))
    assert (closed.order_id, closed.side) == (order_id("b"), Side.SELL)
    assert closed.volume_lots == pytest.approx(0.2)
    assert closed.commission_ccy == pytest.approx(-1.40)


def short_on_netting(**terminal: Any) -> tuple[World, int]:
    world = World(terminal=TerminalSettings(hedging=False, **terminal))
    world.hear(ticks("EURUSD", NOON, QUOTE))
    world.hear(approval("a", side=Side.SELL, price=1.1))
    world.hear(ticks("EURUSD", NOON + S, QUOTE, QUOTE, first_tick=2))
    return world, next(iter(world.core._state.positions))


def test_an_order_that_turns_a_position_round_is_sent_without_naming_it() -> None:
    world, position_id = short_on_netting()
    said = world.hear(approval("b", volume_lots=0.2, position_id=position_id, horizon_s=60))
    assert without_account(said) == ["OrderSent", "OrderFilled", "PositionClosed"]
    (own,) = world.core._state.positions.values()
    assert (own.side, own.closing, own.order_id) == (Side.BUY, "", order_id("b"))
    assert own.lots == pytest.approx(0.1)
    # Its own time is up when its order says, not a pause after the turn.
    assert "PositionClosed" in without_account(world.hear(ticks("EURUSD", NOON + 62 * S, QUOTE, first_tick=4)))


@pytest.mark.parametrize(("changes", "reason"), [
    ({"position_id": 99}, "nothing_to_turn"),
    ({"side": Side.SELL, "price": 1.1}, "nothing_to_turn"),
    ({"volume_lots": 0.1}, "nothing_to_turn"),
])  # fmt: skip
def test_an_order_that_finds_nothing_to_turn_is_not_sent(changes: dict[str, Any], reason: str) -> None:
    world, position_id = short_on_netting()
    said = world.hear(approval("b", **{"volume_lots": 0.2, "position_id": position_id, **changes}))
    (rejected,) = [m for m in said if isinstance(m, OrderRejected)]
    assert rejected.reason == reason
    assert len(world.core._state.positions) == 1


def test_a_position_that_is_being_turned_round_is_not_turned_again_beside() -> None:
    world, position_id = short_on_netting(latency_ms=500.0)
    said = world.hear(approval("b", volume_lots=0.2, position_id=position_id))
    assert "OrderSent" in without_account(said)
    said = world.hear(approval("c", volume_lots=0.2, position_id=position_id))
    assert [m.reason for m in said if isinstance(m, OrderRejected)] == ["already_closing"]


def test_adding_to_a_netting_position_keeps_one_position_at_the_mean_price() -> None:
    world = World(terminal=TerminalSettings(hedging=False))
    world.hear(ticks("EURUSD", NOON, QUOTE))
    opened(world, "a")
    world.hear(ticks("EURUSD", NOON + S, (1.10100, 1.10110)))
    opened(world, "b", price=1.10110)
    closed = [m for m in world.hear(flatten()) if isinstance(m, PositionClosed)]
    assert [m.volume_lots for m in closed] == [pytest.approx(0.2)]
    assert closed[0].price_open == pytest.approx(1.10060)


def test_on_a_netting_account_a_reduction_needs_no_name() -> None:
    world = World(terminal=TerminalSettings(hedging=False))
    world.hear(ticks("EURUSD", NOON, QUOTE))
    opened(world, "a")
    said = world.hear(approval("b", purpose=OrderPurpose.REDUCE, side=Side.SELL, price=1.1))
    assert "PositionClosed" in without_account(said)


def test_a_close_of_a_position_we_never_saw_open_is_told_a_person() -> None:
    desk = ScriptedDesk()
    world = World(desk=desk)
    desk.market = [closing_deal(reason=4)]
    said = world.hear(ticks("EURUSD", NOON + S, QUOTE))
    assert [m.name for m in said if isinstance(m, Alert)] == ["deal_without_position"]


# Stops -------------------------------------------------------------------------------------------------------


def test_break_even_moves_the_stop_to_the_entry_once() -> None:
    world = World(ExecutorConfig(break_even=BreakEven(after=1.0, offset_points=2)))
    world.hear(ticks("EURUSD", NOON, QUOTE))
    opened(world, sl=1.09910, tp=1.12)
    assert without_account(world.hear(ticks("EURUSD", NOON + S, (1.10109, 1.10119)))) == []
    (moved, *_) = world.hear(ticks("EURUSD", NOON + 2 * S, (1.10110, 1.10120)))
    assert isinstance(moved, StopsMoved)
    assert (moved.sl, moved.tp, moved.rule) == (1.10012, 1.12, "break_even")
    assert world.of(AccountSnapshot)[-1].positions[0].sl == 1.10012
    assert without_account(world.hear(ticks("EURUSD", NOON + 3 * S, (1.10200, 1.10210)))) == []


def test_the_trailing_stop_follows_and_never_turns_back() -> None:
    world = World(ExecutorConfig(trailing=Trailing(distance=50, unit="points", step_points=10)))
    world.hear(ticks("EURUSD", NOON, QUOTE))
    opened(world, side=Side.SELL, price=1.1, sl=1.10100)
    asks = [1.09970, 1.09965, 1.09960, 1.10000, 1.09900, 1.09949]
    for second, ask in enumerate(asks, start=1):
        world.hear(ticks("EURUSD", NOON + second * S, (round(ask - 0.0001, 5), ask)))
    assert [m.sl for m in world.of(StopsMoved)] == [1.10020, 1.10010, 1.09950]
    assert {m.rule for m in world.of(StopsMoved)} == {"trailing"}


def test_a_refused_stop_is_not_asked_for_again_until_the_rule_wants_another() -> None:
    desk = ScriptedDesk()
    world = World(ExecutorConfig(trailing=Trailing(distance=50, unit="points")), desk=desk)
    desk.on_send = lambda key, request, now_ns: (deal(1), answer(key, "done"))
    world.hear(approval("a", sl=1.09))
    desk.open = {500: position(sl=1.09)}
    desk.on_send = lambda key, request, now_ns: (answer(key, "rejected", now_ns),)
    for second, bid in enumerate((1.10100, 1.10100, 1.10100, 1.10110), start=1):
        world.hear(ticks("EURUSD", NOON + second * S, (bid, round(bid + 0.0001, 5))))
    assert [request["sl"] for request in desk.requests.values()][1:] == [1.10050, 1.10060]


def test_one_change_of_stops_at_a_time_and_a_lost_one_is_given_up() -> None:
    desk = ScriptedDesk()
    world = World(ExecutorConfig(trailing=Trailing(distance=50, unit="points")), desk=desk)
    desk.on_send = lambda key, request, now_ns: (deal(1), answer(key, "done"))
    world.hear(approval("a", sl=1.09))
    desk.open = {500: position(sl=1.09)}
    desk.on_send = lambda key, request, now_ns: ()
    for second in range(1, 33):
        world.hear(ticks("EURUSD", NOON + second * S, (1.101, 1.1011)))
    assert [key.split(":")[0] for key in desk.requests][1:] == ["stops", "stops"]


def test_stops_are_left_alone_while_the_position_is_being_closed() -> None:
    desk = ScriptedDesk()
    world = World(ExecutorConfig(trailing=Trailing(distance=50, unit="points")), desk=desk)
    desk.on_send = lambda key, request, now_ns: (deal(1), answer(key, "done"))
    world.hear(approval("a", sl=1.09))
    desk.open = {500: position(sl=1.09)}
    desk.on_send = lambda key, request, now_ns: ()
    world.hear(approval("b", purpose=OrderPurpose.REDUCE, side=Side.SELL, position_id=500))
    world.hear(ticks("EURUSD", NOON + S, (1.101, 1.1011)))
    assert not [key for key in desk.requests if key.startswith("stops")]


# The account -------------------------------------------------------------------------------------------------


def test_the_account_is_told_at_the_first_tick_and_then_once_a_second(world: World) -> None:
    for tenth in range(1, 41):
        world.hear(ticks("EURUSD", NOON + tenth * S // 10, QUOTE))
    times = [m.ts_event_ns - NOON for m in world.of(AccountSnapshot)]
    assert times == [0, S, 2 * S, 3 * S, 4 * S]


def test_every_change_of_the_account_is_told_at_once(world: World) -> None:
    before = len(world.of(AccountSnapshot))
    world.hear(approval("a"), NOON + 1)
    assert len(world.of(AccountSnapshot)) == before + 1


def test_the_snapshot_holds_the_day_start_and_the_peak() -> None:
    world = World()
    evening = NOON + 8 * 3_600 * S  # 20:00 UTC; the broker's midnight is at 21:00
    world.hear(ticks("EURUSD", evening, QUOTE))
    opened(world, volume_lots=1.0, expires_ns=evening + S)
    rise, fall = (1.10100, 1.10110), (1.09900, 1.09910)
    world.hear(ticks("EURUSD", evening + 10 * S, rise, fall))
    peak = world.of(AccountSnapshot)[-1].peak_equity_ccy
    assert peak == pytest.approx(10_000 - 3.5 + 90.0), "the highest of the block, not its last"
    world.hear(ticks("EURUSD", evening + 3_605 * S, QUOTE))
    told = world.of(AccountSnapshot)[-1]
    assert told.day_start_equity_ccy == pytest.approx(10_000 - 3.5 - 110.0)
    assert told.peak_equity_ccy == peak
    assert told.equity_ccy == pytest.approx(10_000 - 3.5 - 10.0)


def test_hedging_and_netting_accounts_are_told_apart() -> None:
    for hedging in (True, False):
        world = World(terminal=TerminalSettings(hedging=hedging))
        world.hear(ticks("EURUSD", NOON, QUOTE))
        assert world.of(AccountSnapshot)[0].hedging is hedging
