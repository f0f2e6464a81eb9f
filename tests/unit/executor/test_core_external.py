"""The way of an order to a broker outside the process: effects out, answers and books back."""

from typing import Any

import pytest

from libs.common.core import Effect, EffectResult
from libs.common.messages.account import AccountSnapshot
from libs.common.messages.control import Alert
from libs.common.messages.market import Side
from libs.common.messages.orders import OrderFilled, OrderRejected, OrderResolved, OrderUnknown, PositionClosed
from services.executor.broker import BrokerReport
from services.executor.config import ExecutorConfig
from services.executor.desk import ExternalDesk
from services.executor.effects import MoveStops, ReadBroker, SendOrder
from services.executor.stops import Trailing
from tests.unit.executor.executor_world import (
    NOON,
    S,
    World,
    answer,
    approval,
    broker_account,
    broker_answer,
    broker_read,
    deal,
    flatten,
    magic,
    order_id,
    position,
    ticks,
    without_account,
)

QUOTE = (1.1, 1.1001)


class Books:
    """A broker's books and a script for its answers."""

    def __init__(self) -> None:
        self.positions: tuple[Any, ...] = ()
        self.deals: tuple[Any, ...] = ()
        self.orders: tuple[Any, ...] = ()
        self.equity_ccy = 10_000.0
        self.reachable = True
        self.reply: Any = lambda effect: None

    def perform(self, effect: Effect, now_ns: int) -> EffectResult | None:
        if isinstance(effect, ReadBroker):
            if not self.reachable:
                return broker_read(effect, None, "terminal not connected")
            return broker_read(effect, BrokerReport(
                asked_ns=effect.asked_ns, account=broker_account(effect.asked_ns, self.equity_ccy),
                orders=self.orders, positions=self.positions, deals=self.deals,
            ))
        assert isinstance(effect, SendOrder | MoveStops)
        result: EffectResult | None = self.reply(effect)
        return result


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def world(books: Books) -> World:
    return World(desk=ExternalDesk(), perform=books.perform)


def uncertain(effect: Any) -> EffectResult:
    return broker_answer(effect, None, outcome="uncertain", problem="no answer in time")


def test_the_account_is_told_once_the_books_were_read(world: World, books: Books) -> None:
    books.reachable = False
    assert without_account(world.hear(ticks("EURUSD", NOON, QUOTE))) == []
    books.reachable = True
    world.hear(ticks("EURUSD", NOON + S, QUOTE))
    (told,) = world.of(AccountSnapshot)
    assert told.ts_event_ns == NOON + S, "as of when the books were asked"


def test_while_the_books_cannot_be_read_the_account_keeps_its_old_time(world: World, books: Books) -> None:
    world.hear(ticks("EURUSD", NOON, QUOTE))
    books.reachable = False
    for second in range(1, 5):
        world.hear(ticks("EURUSD", NOON + second * S, QUOTE))
    assert {m.ts_event_ns for m in world.of(AccountSnapshot)} == {NOON}


def test_the_books_are_read_one_at_a_time(books: Books) -> None:
    world = World(desk=ExternalDesk(), perform=lambda effect, now_ns: None)
    for second in range(5):
        world.hear(ticks("EURUSD", NOON + second * S, QUOTE))
    assert len(world.of(ReadBroker)) == 1


def test_an_answer_with_its_deals_fills_the_order(world: World, books: Books) -> None:
    books.reply = lambda effect: broker_answer(effect, answer(effect.order_id, "done", deal=1), deals=(deal(1),))
    said = world.hear(approval("a"))
    assert without_account(said) == ["OrderSent", "OrderFilled"]
    assert len(world.of(SendOrder)) == 1


def test_an_answer_whose_deal_shows_later_is_filled_from_the_books(world: World, books: Books) -> None:
    books.reply = lambda effect: broker_answer(effect, answer(effect.order_id, "done", deal=1))
    assert without_account(world.hear(approval("a"))) == ["OrderSent"]
    books.deals, books.positions = (deal(1),), (position(),)
    assert without_account(world.hear(ticks("EURUSD", NOON + 2 * S, QUOTE))) == ["OrderFilled"]


def test_what_certainly_never_left_is_rejected(world: World, books: Books) -> None:
    books.reply = lambda effect: broker_answer(effect, None, outcome="not_sent", problem="not connected")
    rejected = [m for m in world.hear(approval("a")) if isinstance(m, OrderRejected)]
    assert [(m.retcode, m.reason) for m in rejected] == [(0, "not sent: not connected")]


def test_no_answer_is_unknown_and_counts_at_its_worst_until_the_books_tell(world: World, books: Books) -> None:
    world.hear(ticks("EURUSD", NOON, QUOTE))
    books.reply = uncertain
    said = world.hear(approval("a"))
    assert without_account(said) == ["OrderSent", "OrderUnknown"]
    assert world.of(AccountSnapshot)[-1].unknown_lots == {"EURUSD": 0.1}
    books.deals, books.positions = (deal(1),), (position(),)
    said = world.hear(ticks("EURUSD", NOON + 2 * S, QUOTE))
    assert [(m.executed, m.volume_lots) for m in said if isinstance(m, OrderResolved)] == [(True, 0.1)]
    assert world.of(AccountSnapshot)[-1].unknown_lots == {}
    assert len(world.of(SendOrder)) == 1


def test_an_order_found_nowhere_is_ruled_out_after_the_quiet_period_and_never_sent_again(
    world: World, books: Books
) -> None:
    books.reply = uncertain
    world.hear(approval("a"))
    for second in range(1, 60):
        world.hear(ticks("EURUSD", NOON + second * S, QUOTE))
    (resolved,) = world.of(OrderResolved)
    assert not resolved.executed
    assert resolved.ts_event_ns >= NOON + 45 * S
    assert len(world.of(SendOrder)) == 1


def test_books_that_were_asked_for_before_the_quiet_period_ended_rule_nothing_out(books: Books) -> None:
    waiting: list[ReadBroker] = []

    def perform(effect: Effect, now_ns: int) -> EffectResult | None:
        if isinstance(effect, ReadBroker):
            waiting.append(effect)
            return None
        return uncertain(effect)

    world = World(desk=ExternalDesk(), perform=perform)
    world.hear(approval("a"))
    (asked,) = waiting
    result = books.perform(asked, NOON)
    assert result is not None
    world.now_ns = NOON + 100 * S
    assert without_account(world.hear(result, NOON + 100 * S)) == []
    assert world.of(OrderUnknown)


def test_a_position_without_its_deals_is_taken_over_from_the_books_and_can_be_closed(
    world: World, books: Books
) -> None:
    books.reply = uncertain
    world.hear(approval("a"))
    books.positions = (position(),)
    world.hear(ticks("EURUSD", NOON + 2 * S, QUOTE))
    assert [m.evidence for m in world.of(OrderResolved)] == ["position 500"]
    sent: list[SendOrder] = []

    def close(effect: Any) -> EffectResult:
        sent.append(effect)
        books.positions = ()
        out = deal(2, entry=1, side=Side.SELL, magic=effect.request["magic"], ts_ns=NOON + 4 * S, profit_ccy=1.0)
        books.deals = (deal(1, ts_ns=NOON + S), out)
        return broker_answer(effect, answer(effect.order_id, "done"), deals=(out,))

    books.reply = close
    said = world.hear(flatten(NOON + 4 * S))
    assert [effect.request["position"] for effect in sent] == [500]
    closed = next(m for m in said if isinstance(m, PositionClosed))
    assert (closed.order_id, closed.profit_ccy, closed.volume_lots) == (order_id("a"), 1.0, 0.1)
    world.hear(ticks("EURUSD", NOON + 6 * S, QUOTE))
    assert len(world.of(PositionClosed)) == 1
    assert world.core.details()["positions"] == 0.0


def test_a_close_after_a_partial_one_asks_for_the_rest_even_if_the_last_look_is_older(
    world: World, books: Books
) -> None:
    books.reply = lambda effect: broker_answer(effect, answer(effect.order_id, "done"), deals=(deal(1),))
    books.positions, books.deals = (position(),), (deal(1),)
    world.hear(approval("a"))
    world.hear(ticks("EURUSD", NOON + 2 * S, QUOTE))
    books.reachable = False
    sent: list[float] = []

    def close_some(effect: Any) -> EffectResult:
        sent.append(effect.request["volume"])
        out = deal(
            1 + len(sent), entry=1, side=Side.SELL, magic=effect.request["magic"], ts_ns=world.now_ns,
            volume_lots=0.04,
        )
        return broker_answer(effect, answer(effect.order_id, "partial", volume_lots=0.04), deals=(out,))

    books.reply = close_some
    world.hear(flatten(NOON + 4 * S))
    world.hear(ticks("EURUSD", NOON + 10 * S, QUOTE))
    assert sent == [0.1, 0.06]


def test_a_position_that_vanished_is_told_of_once_its_late_deal_shows(world: World, books: Books) -> None:
    books.reply = lambda effect: broker_answer(effect, answer(effect.order_id, "done"), deals=(deal(1),))
    books.positions, books.deals = (position(),), (deal(1),)
    world.hear(approval("a"))
    books.positions = ()
    said = world.hear(ticks("EURUSD", NOON + 2 * S, QUOTE))
    assert "position_corrected" in [m.name for m in said if isinstance(m, Alert)]
    assert world.of(AccountSnapshot)[-1].positions == ()
    books.deals = (deal(1), deal(2, entry=1, side=Side.SELL, reason=4, ts_ns=NOON + S, profit_ccy=-5.0))
    said = world.hear(ticks("EURUSD", NOON + 4 * S, QUOTE))
    assert [(m.reason, m.profit_ccy) for m in said if isinstance(m, PositionClosed)] == [("sl", -5.0)]


def test_a_deal_on_a_position_only_the_books_know_is_counted_once(world: World, books: Books) -> None:
    books.positions = (position(),)
    books.deals = (deal(2, magic=0, entry=1, side=Side.SELL, reason=0),)
    for second in range(0, 10, 2):
        world.hear(ticks("EURUSD", NOON + second * S, QUOTE))
    assert [m.name for m in world.of(Alert)] == ["deal_without_position", "position_corrected"]
    assert world.core.details()["positions"] == 1.0


def test_stops_are_moved_through_an_effect(books: Books) -> None:
    config = ExecutorConfig(trailing=Trailing(distance=50, unit="points"))
    world = World(config, desk=ExternalDesk(), perform=books.perform)
    books.reply = lambda effect: broker_answer(effect, answer(effect.order_id, "done"), deals=(deal(1),))
    books.positions, books.deals = (position(sl=1.09),), (deal(1),)
    world.hear(approval("a", sl=1.09))
    books.reply = lambda effect: broker_answer(effect, answer(effect.key, "done"))
    world.hear(ticks("EURUSD", NOON + 2 * S, (1.101, 1.1011)))
    world.hear(ticks("EURUSD", NOON + 4 * S, (1.101, 1.1011)))
    (move, *_) = world.of(MoveStops)
    assert move.request["sl"] == 1.1005
    assert move.request["position"] == 500


@pytest.mark.parametrize("outcome", ["uncertain", "not_sent"])
def test_stops_of_uncertain_fate_are_asked_for_again(books: Books, outcome: str) -> None:
    config = ExecutorConfig(trailing=Trailing(distance=50, unit="points"))
    world = World(config, desk=ExternalDesk(), perform=books.perform)
    books.reply = lambda effect: broker_answer(effect, answer(effect.order_id, "done"), deals=(deal(1),))
    books.positions, books.deals = (position(sl=1.09),), (deal(1),)
    world.hear(approval("a", sl=1.09))
    books.reply = lambda effect: broker_answer(effect, None, outcome=outcome, problem="gone")
    world.hear(ticks("EURUSD", NOON + 2 * S, (1.101, 1.1011)))
    world.hear(ticks("EURUSD", NOON + 4 * S, (1.101, 1.1011)))
    assert len(world.of(MoveStops)) == 2


def test_day_start_and_peak_come_from_our_own_looks(world: World, books: Books) -> None:
    midnight = NOON + 9 * 3_600 * S
    for offset_s, equity_ccy in ((-20, 10_100.0), (-10, 9_900.0), (5, 9_950.0)):
        books.equity_ccy = equity_ccy
        world.hear(ticks("EURUSD", midnight + offset_s * S, QUOTE))
    told = world.of(AccountSnapshot)[-1]
    assert (told.day_start_equity_ccy, told.peak_equity_ccy) == (9_900.0, 10_100.0)


def test_the_magic_of_a_fill_leads_back_to_its_order(world: World, books: Books) -> None:
    books.reply = lambda effect: broker_answer(
        effect, answer(effect.order_id, "done"), deals=(deal(1, magic=effect.request["magic"]),)
    )
    filled = [m for m in world.hear(approval("a")) if isinstance(m, OrderFilled)]
    assert [m.order_id for m in filled] == [order_id("a")]
    assert world.of(SendOrder)[0].request["magic"] == magic("a")


def test_a_person_who_closes_our_position_and_leaves_our_number_on_the_deal_has_not_executed_our_order_again(
    world: World, books: Books
) -> None:
    books.reply = lambda effect: broker_answer(effect, answer(effect.order_id, "done"), deals=(deal(1),))
    world.hear(approval("a"))
    books.deals = (deal(1), deal(2, entry=1, side=Side.SELL, reason=0, ts_ns=NOON + S, profit_ccy=3.0))
    said = world.hear(ticks("EURUSD", NOON + 2 * S, QUOTE))
    assert [(m.profit_ccy, m.reason) for m in said if isinstance(m, PositionClosed)] == [(3.0, "manual")]
    assert "executed_twice" not in [m.name for m in world.of(Alert)]


def test_a_broker_out_of_reach_is_told_once_and_its_return_once(world: World, books: Books) -> None:
    books.reachable = False
    for second in range(1, 6):
        world.hear(ticks("EURUSD", NOON + second * S, QUOTE))
    books.reachable = True
    for second in range(6, 9):
        world.hear(ticks("EURUSD", NOON + second * S, QUOTE))
    assert [m.name for m in world.of(Alert)] == ["broker_out_of_reach", "broker_back"]


def test_after_a_long_absence_the_books_are_read_back_to_the_last_look(world: World, books: Books) -> None:
    world.hear(ticks("EURUSD", NOON, QUOTE))
    world.hear(ticks("EURUSD", NOON + 36_000 * S, QUOTE))
    last = world.of(ReadBroker)[-1]
    assert (last.asked_ns, last.since_ns) == (NOON + 36_000 * S, NOON - 3_600 * S)
