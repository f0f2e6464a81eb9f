"""The auditor believes the broker's records and the journal, and sees every way in which they disagree."""

from typing import Any

import msgspec
import pytest

from libs.common.messages.market import Side
from libs.common.storage import journal
from libs.common.storage.journal import Intent, Outcome
from services.executor.audit import SENDING, Verdict, audit
from services.executor.broker import BrokerDeal, BrokerOrder, OrderPlace
from tests.unit.executor.executor_world import ACCOUNT, NOON, deal, magic, order_id


def intent(name: str = "a", lots: float = 0.1) -> Intent:
    return Intent(
        order_id=order_id(name), magic=magic(name), account=ACCOUNT, symbol="EURUSD",
        request=msgspec.json.encode({"volume": lots}).decode(), ts_ns=NOON,
    )


def judged(
    states: list[str], deals: list[BrokerDeal], orders: tuple[BrokerOrder, ...] = (), **more: Any
) -> Verdict:
    history = [Outcome(order_id=order_id("a"), state=state, detail="", ts_ns=NOON) for state in states]
    return audit([intent()], {order_id("a"): history}, orders, deals, 1, **more)


@pytest.mark.parametrize(("states", "deals"), [
    (["sending", "sent", "filled"], [deal(1)]),
    (["sending", "sent", "filled"], [deal(1), deal(1)]),
    (["sending", "sent", "filled"], [deal(1, order=7, volume_lots=0.04), deal(2, order=7, volume_lots=0.06)]),
    (["sending", "sent", "unknown", "resolved_executed"], [deal(1)]),
    (["sending", "sent", "rejected"], []),
    (["rejected"], []),
    (["sending", "sent", "unknown", "resolved_not_executed"], []),
    (["sending", "sent", "filled"], [deal(1), deal(2, entry=1, reason=4, side=Side.SELL)]),
    (["sending", "sent", "filled"], [deal(1), deal(2, entry=1, reason=0, side=Side.SELL)]),
    (["sending", "sent", "filled"], [deal(1), deal(2, magic=9, order=9)]),
    (["sent", "sending", "partially_filled"], [deal(1, volume_lots=0.04)]),
])
def test_what_agrees_is_acquitted(states: list[str], deals: list[BrokerDeal]) -> None:
    assert judged(states, deals) == Verdict()


@pytest.mark.parametrize(("states", "deals", "kind", "words"), [
    (["sending", "sent", "filled"], [deal(1), deal(2, position_id=501)], "duplicates", "0.2 of 0.1 lots"),
    (["sending", "sent", "filled"], [deal(1, volume_lots=0.3)], "duplicates", "0.3 of 0.1 lots"),
    (["sending", "sent", "rejected"], [deal(1)], "lost", "executed 0.1 lots of it"),
    (["sending", "sent", "unknown", "resolved_not_executed"], [deal(1)], "lost", "executed 0.1 lots"),
    (["sending", "sent", "filled"], [], "lost", "has no deal of it"),
    (["sending", "sent", "filled"], [deal(1, volume_lots=0.04)], "lost", "has executed 0.04"),
    (["sending", "sent", "unknown"], [], "unresolved", "is unknown"),
    (["sending", "sent"], [deal(1)], "unresolved", "is sent"),
    (["sending"], [], "unresolved", "is recorded"),
    ([], [], "unresolved", "is recorded"),
    (["sent", "filled"], [deal(1)], "strangers", "never marked as being sent"),
    (["rejected"], [deal(5, magic=magic("b"))], "strangers", "without an intent"),
])
def test_what_disagrees_is_named(states: list[str], deals: list[BrokerDeal], kind: str, words: str) -> None:
    verdict = judged(states, deals)
    assert not verdict.clean
    assert any(words in text for text in getattr(verdict, kind)), verdict


def test_a_second_broker_order_is_a_duplicate_even_if_it_was_not_executed() -> None:
    twice = tuple(
        BrokerOrder(ticket=ticket, symbol="EURUSD", magic=magic("a"), place=OrderPlace.PLACED, executed_lots=0.0)
        for ticket in (1, 2)
    )
    assert judged(["sending", "sent", "filled"], [deal(1)], twice).duplicates


def test_an_approval_the_journal_never_heard_of_is_lost() -> None:
    verdict = judged(["sending", "sent", "filled"], [deal(1)], approved=[order_id("a"), order_id("z")])
    assert verdict.lost == (f"order {order_id('z')} was approved, the journal never heard of it",)


def test_the_mark_of_sending_is_no_outcome() -> None:
    assert SENDING == journal.SENDING
    assert judged(["sent", "filled", SENDING], [deal(1)]) == Verdict()
