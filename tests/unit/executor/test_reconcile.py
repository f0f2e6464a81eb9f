"""What we believe against the broker's books, case by case."""

from typing import Any

import pytest

from libs.common.messages.market import Side
from services.executor.broker import BrokerOrder, OrderPlace
from services.executor.reconcile import (
    Belief,
    Executed,
    Held,
    MissedDeal,
    NotExecuted,
    OrderInQuestion,
    PositionIs,
    reconcile,
)
from tests.unit.executor.executor_world import NOON, S, deal, magic, order_id, position

QUIET = 45 * S


def doubt(name: str = "a", filled_lots: float = 0.0) -> OrderInQuestion:
    return OrderInQuestion(order_id=order_id(name), magic=magic(name), filled_lots=filled_lots, doubt_ns=NOON)


def belief(
    *orders: OrderInQuestion, positions: dict[int, float] | None = None, deals: Any = frozenset()
) -> Belief:
    held = {position_id: Held(lots) for position_id, lots in (positions or {}).items()}
    return Belief(namespace=1, orders=orders, positions=held, deals=deals)


def book_order(place: OrderPlace, executed_lots: float = 0.0) -> BrokerOrder:
    return BrokerOrder(ticket=9, symbol="EURUSD", magic=magic("a"), place=place, executed_lots=executed_lots)


def test_nothing_believed_and_nothing_there_is_nothing_to_do() -> None:
    assert reconcile(belief(), (), (), (), NOON, QUIET) == ()


def test_a_deal_of_an_order_in_doubt_proves_it_executed() -> None:
    found = reconcile(belief(doubt()), (), (position(),), (deal(1),), NOON, QUIET)
    assert found == (
        MissedDeal(deal=deal(1)), Executed(order_id=order_id("a"), volume_lots=0.1, evidence="deal 1")
    )


def test_a_position_with_its_magic_proves_it_executed_before_any_deal_shows() -> None:
    found = reconcile(belief(doubt()), (), (position(),), (), NOON, QUIET)
    assert found == (
        Executed(order_id=order_id("a"), volume_lots=0.1, evidence="position 500"),
        PositionIs(position_id=500, position=position()),
    )


def test_an_executed_order_in_history_proves_it_before_deals_and_positions_show() -> None:
    found = reconcile(belief(doubt()), (book_order(OrderPlace.FILLED, 0.1),), (), (), NOON, QUIET)
    assert found == (Executed(order_id=order_id("a"), volume_lots=0.1, evidence="order 9"),)


@pytest.mark.parametrize("place", [OrderPlace.CANCELED, OrderPlace.REJECTED, OrderPlace.EXPIRED])
def test_a_dead_order_in_history_rules_it_out_at_once(place: OrderPlace) -> None:
    found = reconcile(belief(doubt()), (book_order(place),), (), (), NOON, QUIET)
    assert found == (NotExecuted(order_id=order_id("a"), evidence=f"order 9 {place.name.lower()}"),)


def test_a_cancelled_order_that_was_executed_in_part_counts_that_part() -> None:
    found = reconcile(belief(doubt()), (book_order(OrderPlace.CANCELED, 0.04),), (), (), NOON, QUIET)
    assert found == (Executed(order_id=order_id("a"), volume_lots=0.04, evidence="order 9"),)


@pytest.mark.parametrize("place", [OrderPlace.STARTED, OrderPlace.PLACED, OrderPlace.PARTIAL])
def test_an_order_that_still_works_stays_in_doubt_however_long(place: OrderPlace) -> None:
    assert reconcile(belief(doubt()), (book_order(place),), (), (), NOON + 100 * QUIET, QUIET) == ()


def test_not_found_proves_nothing_before_the_quiet_period_is_over() -> None:
    assert reconcile(belief(doubt()), (), (), (), NOON + QUIET - 1, QUIET) == ()
    (ruled_out,) = reconcile(belief(doubt()), (), (), (), NOON + QUIET, QUIET)
    assert isinstance(ruled_out, NotExecuted)
    assert ruled_out.evidence == "in no book of the broker after 45 s"


def test_deals_heard_before_count_with_those_that_were_missed() -> None:
    believed = belief(doubt(filled_lots=0.04), positions={500: 0.04}, deals={1})
    books = (deal(1, volume_lots=0.04), deal(2, volume_lots=0.06))
    found = reconcile(believed, (), (position(),), books, NOON, QUIET)
    assert found[1] == Executed(order_id=order_id("a"), volume_lots=0.1, evidence="deal 2")


def test_a_stop_loss_deal_is_no_execution_of_the_order_whose_magic_it_carries() -> None:
    stop = deal(2, entry=1, side=Side.SELL, reason=4)
    believed = belief(doubt(), positions={500: 0.1})
    found = reconcile(believed, (), (), (stop,), NOON, QUIET)
    assert found == (MissedDeal(deal=stop),)


def test_missed_deals_come_in_the_order_of_their_time() -> None:
    books = (deal(3, ts_ns=NOON + 2), deal(1, ts_ns=NOON + 2), deal(2, ts_ns=NOON + 1))
    found = reconcile(belief(), (), (position(volume_lots=0.3),), books, NOON, QUIET)
    assert [finding.deal.ticket for finding in found if isinstance(finding, MissedDeal)] == [2, 1, 3]


def test_a_close_by_hand_of_a_position_of_ours_is_ours() -> None:
    by_hand = deal(2, magic=0, entry=1, side=Side.SELL, reason=0, ts_ns=NOON + 1)
    found = reconcile(belief(), (), (), (deal(1), by_hand), NOON, QUIET)
    assert found == (MissedDeal(deal=deal(1)), MissedDeal(deal=by_hand))


def test_what_others_do_is_not_ours() -> None:
    others = deal(1, magic=0, position_id=7)
    assert reconcile(belief(), (), (position(7, magic=0),), (others,), NOON, QUIET) == ()


def test_a_position_that_vanished_is_corrected() -> None:
    found = reconcile(belief(positions={500: 0.1}), (), (), (), NOON, QUIET)
    assert found == (PositionIs(position_id=500, position=None),)


def test_a_position_of_another_volume_is_corrected() -> None:
    found = reconcile(belief(positions={500: 0.1}), (), (position(volume_lots=0.2),), (), NOON, QUIET)
    assert found == (PositionIs(position_id=500, position=position(volume_lots=0.2)),)


def test_a_reversal_is_explained_by_its_deal() -> None:
    reversal = deal(2, magic=magic("b"), entry=2, side=Side.SELL, volume_lots=0.3, ts_ns=NOON + 1)
    turned = position(side=Side.SELL, volume_lots=0.2, magic=magic("b"))
    assert reconcile(belief(positions={500: 0.1}, deals={1}), (), (turned,), (deal(1), reversal), NOON, QUIET) == (
        MissedDeal(deal=reversal),
    )


def test_a_late_deal_that_the_adopted_volume_holds_already_does_not_count_twice() -> None:
    believed = Belief(namespace=1, orders=(), positions={500: Held(0.1, NOON + S)}, deals=frozenset())
    assert reconcile(believed, (), (position(),), (deal(1, ts_ns=NOON),), NOON, QUIET) == (
        MissedDeal(deal=deal(1, ts_ns=NOON)),
    )


def test_a_close_by_hand_of_a_position_only_the_books_know_as_ours_is_ours() -> None:
    by_hand = deal(2, magic=0, entry=1, side=Side.SELL, reason=0)
    found = reconcile(belief(), (), (position(),), (by_hand,), NOON, QUIET)
    assert found == (MissedDeal(deal=by_hand), PositionIs(position_id=500, position=position()))


def test_silence_of_books_that_could_not_be_read_all_the_time_proves_nothing() -> None:
    now_ns = NOON + 100 * S
    assert reconcile(belief(doubt()), (), (), (), now_ns, QUIET, whole_since_ns=now_ns - 44 * S) == ()
    (found,) = reconcile(belief(doubt()), (), (), (), now_ns, QUIET, whole_since_ns=now_ns - 45 * S)
    assert isinstance(found, NotExecuted)
    assert "45 s" in found.evidence
