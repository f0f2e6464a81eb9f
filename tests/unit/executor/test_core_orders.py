"""The way of an order through the core, on the simulated terminal and on a scripted broker."""

from typing import Any

import msgspec
import pytest

from libs.common.core import Effect
from libs.common.messages.account import AccountSnapshot
from libs.common.messages.control import Alert, Severity
from libs.common.messages.market import Side
from libs.common.messages.orders import (
    OrderApproved,
    OrderFilled,
    OrderPartiallyFilled,
    OrderPurpose,
    OrderRejected,
    OrderResolved,
    OrderSent,
    OrderUnknown,
)
from libs.common.mt5.sim.settings import TerminalSettings
from libs.common.signing import Signer, sign_approval
from services.executor.broker import BrokerOrder, OrderPlace
from services.executor.config import ExecutorConfig
from services.executor.effects import IntentRecorded, RecordIntent, RecordStates
from services.executor.reconcile import Held
from tests.unit.executor.executor_world import (
    NOON,
    S,
    ScriptedDesk,
    World,
    answer,
    approval,
    deal,
    halt,
    magic,
    order_id,
    position,
    resume,
    ticks,
    without_account,
)

QUOTE = (1.10000, 1.10010)


@pytest.fixture
def world() -> World:
    world = World()
    world.hear(ticks("EURUSD", NOON, QUOTE))
    return world


@pytest.fixture
def desk() -> ScriptedDesk:
    return ScriptedDesk()


@pytest.fixture
def scripted(desk: ScriptedDesk) -> World:
    return World(desk=desk)


def test_an_approval_is_recorded_then_sent_then_filled_once(world: World) -> None:
    said = world.hear(approval("a", sl=1.09, tp=1.12))
    assert without_account(said) == ["OrderSent", "OrderFilled"]
    sent, filled = said[0], said[1]
    assert isinstance(sent, OrderSent)
    assert (sent.magic, sent.volume_lots) == (magic("a"), 0.1)
    assert isinstance(filled, OrderFilled)
    assert (filled.price, filled.slippage_points, filled.commission_ccy) == (1.10010, 0.0, -0.35)
    snapshot = said[-1]
    assert isinstance(snapshot, AccountSnapshot)
    (held,) = snapshot.positions
    assert (held.magic, held.volume_lots, held.sl, held.tp) == (magic("a"), 0.1, 1.09, 1.12)
    assert held.position_id == filled.position_id
    assert world.journal.states[order_id("a")] == ["recorded", "sent", "filled"]


def test_the_request_carries_magic_comment_and_what_was_approved(desk: ScriptedDesk, scripted: World) -> None:
    scripted.hear(approval("a", sl=1.09, tp=1.12, side=Side.SELL, price=1.1))
    request = desk.requests[order_id("a")]
    assert request == {
        "action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 1, "price": 1.1, "sl": 1.09, "tp": 1.12,
        "deviation": 20, "magic": magic("a"), "comment": "tw:" + order_id("a")[:12], "type_time": 0,
        "type_filling": 1,
    }
    assert len(request["comment"]) <= 27
    intent = scripted.of(RecordIntent)[0]
    assert intent.request == request, "what lies in the journal is what was sent"


def test_nothing_reaches_the_broker_before_its_intent_is_on_the_disk(desk: ScriptedDesk, scripted: World) -> None:
    scripted.holding = True
    assert without_account(scripted.hear(approval("a"))) == []
    scripted.hear(ticks("EURUSD", NOON + S, QUOTE, QUOTE))
    assert desk.requests == {}
    assert without_account(scripted.release()) == ["OrderSent"]
    assert list(desk.requests) == [order_id("a")]


def test_a_copy_of_an_approval_is_ignored_for_ever_and_counted(world: World) -> None:
    order = approval("a")
    world.hear(order)
    for delay_s in (0, 1, 86_400):
        assert without_account(world.hear(msgspec.structs.replace(order, seq=delay_s), NOON + delay_s * S)) == []
    assert len(world.of(OrderSent)) == 1
    assert world.core.details()["duplicates"] == 3.0


def test_a_copy_while_the_first_waits_for_the_disk_is_ignored_too(desk: ScriptedDesk, scripted: World) -> None:
    scripted.holding = True
    scripted.hear(approval("a"))
    scripted.hear(approval("a"))
    scripted.release()
    assert len(scripted.of(RecordIntent)) == 1
    assert len(scripted.of(OrderSent)) == 1


def test_a_second_result_for_the_same_intent_sends_nothing(desk: ScriptedDesk, scripted: World) -> None:
    scripted.hear(approval("a"))
    result = next(message for message, _ in scripted.inputs if isinstance(message, IntentRecorded))
    assert scripted.hear(result) == []


@pytest.mark.parametrize("late_ns", [0, 1, 3_600 * S])
def test_an_expired_approval_is_rejected_and_never_sent(world: World, late_ns: int) -> None:
    order = approval("a", expires_ns=NOON)
    (rejected, *_) = world.hear(order, NOON + late_ns)
    assert isinstance(rejected, OrderRejected)
    assert (rejected.reason, rejected.retcode, rejected.order_id) == ("expired", 0, order.order_id)
    assert not world.of(RecordIntent)
    assert world.hear(order, NOON) == [], "its id is known from now on"


def test_an_approval_that_expires_while_its_intent_is_written_is_not_sent(
    desk: ScriptedDesk, scripted: World
) -> None:
    scripted.holding = True
    scripted.hear(approval("a", expires_ns=NOON + S))
    scripted.hear(ticks("EURUSD", NOON + S, QUOTE))
    (rejected, *_) = scripted.release()
    assert isinstance(rejected, OrderRejected)
    assert rejected.reason == "expired"
    assert desk.requests == {}
    assert scripted.journal.states[order_id("a")] == ["recorded", "rejected"]


STRANGER = Signer(b"x" * 32)


@pytest.mark.parametrize("forge", [
    lambda: approval("a", signed=False),
    lambda: sign_approval(approval("a", signed=False), STRANGER),
    lambda: msgspec.structs.replace(approval("a"), volume_lots=5.0),
    lambda: msgspec.structs.replace(approval("a"), expires_ns=NOON + 10**15),
    lambda: msgspec.structs.replace(approval("a"), signature="zz"),
    lambda: msgspec.structs.replace(sign_approval(approval("a"), STRANGER), key_id=approval("a").key_id),
], ids=["unsigned", "other key", "other volume", "other expiry", "garbage", "borrowed key id"])
def test_a_forged_approval_is_refused_loudly(world: World, forge: Any) -> None:
    forged: OrderApproved = forge()
    said = world.hear(forged)
    assert without_account(said) == ["OrderRejected"]
    assert [m.reason for m in said if isinstance(m, OrderRejected)] == ["bad_signature"]
    assert [m.name for m in said if isinstance(m, Alert) and m.severity is Severity.CRITICAL] == ["forged_approval"]
    assert not world.of(RecordIntent)


def test_a_forgery_cannot_use_up_the_id_of_a_genuine_approval(world: World) -> None:
    world.hear(approval("a", signed=False))
    assert without_account(world.hear(approval("a"))) == ["OrderSent", "OrderFilled"]


def test_a_forgery_cannot_reject_an_order_that_is_alive(world: World) -> None:
    world.hear(approval("a"))
    assert without_account(world.hear(approval("a", signed=False))) == []


def test_stamps_of_the_runtime_do_not_spoil_a_signature(world: World) -> None:
    stamped = msgspec.structs.replace(approval("a"), seq=7, step=9, ts_init_ns=1)
    assert "OrderSent" in without_account(world.hear(stamped))


def test_an_approval_of_another_account_is_not_ours(world: World) -> None:
    assert world.hear(approval("a", account="other")) == []
    assert world.core.details()["foreign_account"] == 1.0


@pytest.mark.parametrize(("changes", "reason"), [
    ({"symbol": "XAUUSD"}, "unknown_symbol"),
    ({"volume_lots": 0.0}, "invalid_volume"),
    ({"volume_lots": -0.1}, "invalid_volume"),
    ({"volume_lots": 0.015}, "invalid_volume"),
    ({"volume_lots": 1e9}, "invalid_volume"),
    ({"order_id": "DROP TABLE"}, "bad_signature"),
    ({"order_id": ""}, "bad_signature"),
])
def test_what_makes_no_sense_is_rejected_before_it_is_recorded(
    world: World, changes: dict[str, Any], reason: str
) -> None:
    said = world.hear(approval("a", **changes))
    assert [m.reason for m in said if isinstance(m, OrderRejected)] == [reason]
    assert not world.of(RecordIntent)


def test_two_orders_cannot_share_a_magic_number(world: World) -> None:
    world.hear(approval("a", order_id="0123456789ab000000000000"))
    said = world.hear(approval("a", order_id="0123456789ab111111111111"))
    assert [m.reason for m in said if isinstance(m, OrderRejected)] == ["magic_taken"]


def test_after_a_halt_nothing_is_opened_until_a_person_resumes(world: World) -> None:
    world.hear(halt())
    assert [m.reason for m in world.hear(approval("a")) if isinstance(m, OrderRejected)] == ["halted"]
    world.hear(resume())
    assert "OrderSent" in without_account(world.hear(approval("b")))


def test_a_halt_that_comes_while_the_intent_is_written_still_counts(desk: ScriptedDesk, scripted: World) -> None:
    scripted.holding = True
    scripted.hear(approval("a"))
    scripted.hear(halt())
    assert [m.reason for m in scripted.release() if isinstance(m, OrderRejected)] == ["halted"]
    assert desk.requests == {}


def test_after_a_halt_risk_may_still_be_reduced(world: World) -> None:
    filled = next(m for m in world.hear(approval("a")) if isinstance(m, OrderFilled))
    world.hear(halt())
    said = world.hear(approval(
        "b", purpose=OrderPurpose.REDUCE, side=Side.SELL, price=1.1, position_id=filled.position_id
    ))
    assert without_account(said) == ["OrderSent", "OrderFilled", "PositionClosed"]


@pytest.mark.parametrize(("changes", "reason"), [
    ({"position_id": 42}, "nothing_to_reduce"),
    ({"side": Side.BUY}, "would_open"),
    ({"volume_lots": 0.11}, "would_open"),
    ({"symbol": "USDJPY"}, "nothing_to_reduce"),
])
def test_a_reduction_that_could_open_something_is_refused(
    world: World, changes: dict[str, Any], reason: str
) -> None:
    filled = next(m for m in world.hear(approval("a")) if isinstance(m, OrderFilled))
    order = {"purpose": OrderPurpose.REDUCE, "side": Side.SELL, "position_id": filled.position_id, **changes}
    said = world.hear(approval("b", **order))
    assert [m.reason for m in said if isinstance(m, OrderRejected)] == [reason]


def test_a_full_disk_rejects_the_order_and_alarms_once(desk: ScriptedDesk, scripted: World) -> None:
    scripted.journal.full = True
    said = [*scripted.hear(approval("a")), *scripted.hear(approval("b"))]
    assert [m.reason for m in said if isinstance(m, OrderRejected)] == ["journal", "journal"]
    assert [m.name for m in said if isinstance(m, Alert)] == ["order_journal_broken"]
    assert desk.requests == {}
    scripted.journal.full = False
    assert "OrderSent" in without_account(scripted.hear(approval("c")))


def test_a_refusal_of_the_broker_is_told_with_its_code() -> None:
    world = World(terminal=TerminalSettings(balance_ccy=1.0))
    world.hear(ticks("EURUSD", NOON, QUOTE))
    rejected = [m for m in world.hear(approval("a")) if isinstance(m, OrderRejected)]
    assert [(m.retcode, m.reason) for m in rejected] == [(10019, "No money")]
    assert world.journal.states[order_id("a")] == ["recorded", "sent", "rejected"]


def test_with_latency_the_answer_comes_with_a_later_tick() -> None:
    world = World(terminal=TerminalSettings(latency_ms=500.0))
    world.hear(ticks("EURUSD", NOON, QUOTE))
    assert without_account(world.hear(approval("a"))) == ["OrderSent"]
    assert without_account(world.hear(ticks("EURUSD", NOON + S // 4, QUOTE))) == []
    said = world.hear(ticks("EURUSD", NOON + S, (1.10020, 1.10030)))
    filled = next(m for m in said if isinstance(m, OrderFilled))
    assert filled.ts_event_ns == NOON + S // 2
    assert filled.price == 1.10010


def test_slippage_is_told_in_points_against_the_approved_price(world: World) -> None:
    filled = next(m for m in world.hear(approval("a", price=1.10004)) if isinstance(m, OrderFilled))
    assert filled.slippage_points == 6.0


def test_a_partial_fill_is_told_as_one(desk: ScriptedDesk, scripted: World) -> None:
    desk.on_send = lambda key, request, now_ns: (
        deal(1, volume_lots=0.04), answer(key, "partial", volume_lots=0.04, deal=1)
    )
    said = scripted.hear(approval("a"))
    partly = next(m for m in said if isinstance(m, OrderPartiallyFilled))
    assert (partly.volume_lots, partly.asked_lots) == (0.04, 0.1)


def test_several_deals_make_one_fill_at_their_mean_price(desk: ScriptedDesk, scripted: World) -> None:
    desk.on_send = lambda key, request, now_ns: (
        deal(1, volume_lots=0.05, price=1.1001), deal(2, volume_lots=0.05, price=1.1003), answer(key, "done")
    )
    filled = next(m for m in scripted.hear(approval("a")) if isinstance(m, OrderFilled))
    assert filled.price == pytest.approx(1.1002)
    assert filled.commission_ccy == pytest.approx(-0.7)
    assert filled.slippage_points == pytest.approx(10.0)


def test_an_answer_that_comes_before_its_deal_waits_for_it(desk: ScriptedDesk, scripted: World) -> None:
    desk.on_send = lambda key, request, now_ns: (answer(key, "done"),)
    assert without_account(scripted.hear(approval("a"))) == ["OrderSent"]
    desk.market = [deal(1)]
    assert without_account(scripted.hear(ticks("EURUSD", NOON + S, QUOTE))) == ["OrderFilled"]


def test_a_no_with_deals_counts_the_deals(desk: ScriptedDesk, scripted: World) -> None:
    desk.on_send = lambda key, request, now_ns: (deal(1, volume_lots=0.04), answer(key, "rejected", volume_lots=0.0))
    said = scripted.hear(approval("a"))
    assert without_account(said) == ["OrderSent", "OrderPartiallyFilled"]


# Doubt -------------------------------------------------------------------------------------------------------


def in_doubt(world: World) -> dict[str, float]:
    lots: dict[str, float] = world.of(AccountSnapshot)[-1].unknown_lots
    return lots


def test_an_unclear_answer_makes_the_order_unknown_and_counts_it_at_its_worst(
    desk: ScriptedDesk, scripted: World
) -> None:
    desk.on_send = lambda key, request, now_ns: (answer(key, "unknown"),)
    said = scripted.hear(approval("a"))
    assert without_account(said) == ["OrderSent", "OrderUnknown"]
    scripted.hear(approval("b", side=Side.SELL, volume_lots=0.3))
    assert in_doubt(scripted) == {"EURUSD": 0.4}, "a sell in doubt does not offset a buy in doubt"


def test_silence_makes_the_order_unknown_after_the_timeout(desk: ScriptedDesk, scripted: World) -> None:
    scripted.hear(approval("a"))
    assert without_account(scripted.hear(ticks("EURUSD", NOON + 29 * S, QUOTE))) == []
    said = scripted.hear(ticks("EURUSD", NOON + 30 * S, QUOTE))
    assert without_account(said) == ["OrderUnknown"]
    assert said[0].reason == "no answer within 30 s"  # type: ignore[attr-defined]


def test_a_yes_without_a_deal_becomes_unknown(desk: ScriptedDesk, scripted: World) -> None:
    desk.on_send = lambda key, request, now_ns: (answer(key, "done"),)
    scripted.hear(approval("a"))
    said = scripted.hear(ticks("EURUSD", NOON + 30 * S, QUOTE))
    assert [m.reason for m in said if isinstance(m, OrderUnknown)] == ["an answer but no deal within 30 s"]


def test_an_unknown_order_is_resolved_by_its_deal(desk: ScriptedDesk, scripted: World) -> None:
    desk.on_send = lambda key, request, now_ns: (answer(key, "unknown"),)
    scripted.hear(approval("a"))
    desk.market, desk.open = [deal(1)], {500: position()}
    said = scripted.hear(ticks("EURUSD", NOON + 5 * S, QUOTE))
    resolved = next(m for m in said if isinstance(m, OrderResolved))
    assert (resolved.executed, resolved.volume_lots, resolved.evidence) == (True, 0.1, "deal 1")
    assert in_doubt(scripted) == {}


def test_an_unknown_order_is_not_executed_only_after_the_quiet_period(desk: ScriptedDesk, scripted: World) -> None:
    desk.on_send = lambda key, request, now_ns: (answer(key, "unknown"),)
    scripted.hear(approval("a"))
    for second in range(1, 45):
        assert without_account(scripted.hear(ticks("EURUSD", NOON + second * S, QUOTE))) == []
        assert in_doubt(scripted) == {"EURUSD": 0.1}
    (resolved,) = [
        m for m in scripted.hear(ticks("EURUSD", NOON + 45 * S, QUOTE)) if isinstance(m, OrderResolved)
    ]
    assert (resolved.executed, resolved.volume_lots) == (False, 0.0)
    assert list(desk.requests) == [order_id("a")], "and it was never sent again"
    assert in_doubt(scripted) == {}


def test_an_order_that_still_works_at_the_broker_stays_unknown(desk: ScriptedDesk, scripted: World) -> None:
    desk.on_send = lambda key, request, now_ns: (answer(key, "unknown"),)
    desk.orders = (BrokerOrder(
        ticket=9, symbol="EURUSD", magic=magic("a"), place=OrderPlace.STARTED, executed_lots=0.0
    ),)
    scripted.hear(approval("a"))
    assert without_account(scripted.hear(ticks("EURUSD", NOON + 300 * S, QUOTE))) == []
    desk.orders = ()
    assert without_account(scripted.hear(ticks("EURUSD", NOON + 302 * S, QUOTE))) == ["OrderResolved"]


def test_a_late_no_resolves_an_unknown_order(desk: ScriptedDesk, scripted: World) -> None:
    scripted.hear(approval("a"))
    scripted.hear(ticks("EURUSD", NOON + 30 * S, QUOTE))
    desk.market = [answer(order_id("a"), "rejected", volume_lots=0.0)]
    said = scripted.hear(ticks("EURUSD", NOON + 31 * S, QUOTE))
    assert [m.executed for m in said if isinstance(m, OrderResolved)] == [False]


def test_a_deal_of_a_rejected_order_corrects_the_record_loudly(desk: ScriptedDesk, scripted: World) -> None:
    desk.on_send = lambda key, request, now_ns: (answer(key, "rejected", volume_lots=0.0),)
    scripted.hear(approval("a"))
    desk.market, desk.open = [deal(1)], {500: position()}
    said = scripted.hear(ticks("EURUSD", NOON + S, QUOTE))
    assert [(m.executed, m.volume_lots) for m in said if isinstance(m, OrderResolved)] == [(True, 0.1)]
    assert [m.name for m in said if isinstance(m, Alert)] == ["executed_after_all"]
    assert scripted.journal.states[order_id("a")][-1] == "resolved_executed"


def test_a_second_execution_of_a_filled_order_alarms(desk: ScriptedDesk, scripted: World) -> None:
    desk.on_send = lambda key, request, now_ns: (deal(1), answer(key, "done"))
    scripted.hear(approval("a"))
    desk.market = [deal(2, position_id=501)]
    said = scripted.hear(ticks("EURUSD", NOON + S, QUOTE))
    assert [m.name for m in said if isinstance(m, Alert)] == ["executed_twice"]


def test_the_same_deal_told_twice_counts_once(desk: ScriptedDesk, scripted: World) -> None:
    desk.on_send = lambda key, request, now_ns: (deal(1), deal(1), answer(key, "done"))
    said = scripted.hear(approval("a"))
    assert [(m.volume_lots, m.commission_ccy) for m in said if isinstance(m, OrderFilled)] == [(0.1, -0.35)]
    assert not [m for m in said if isinstance(m, Alert)]
    assert scripted.core._ledger.belief().positions == {500: Held(0.1)}


@pytest.mark.parametrize("state", ["sent", "sending", "filled", "unknown", "rejected"])
def test_an_order_the_journal_knows_as_handed_over_is_in_doubt_and_not_sent(
    desk: ScriptedDesk, scripted: World, state: str
) -> None:
    scripted.journal.states[order_id("a")] = ["recorded", state]
    said = scripted.hear(approval("a"))
    assert without_account(said) == ["OrderUnknown"]
    assert desk.requests == {}


def test_an_intent_that_was_recorded_and_never_handed_over_is_sent(desk: ScriptedDesk, scripted: World) -> None:
    scripted.journal.states[order_id("a")] = ["recorded"]
    assert without_account(scripted.hear(approval("a"))) == ["OrderSent"]


def test_every_change_of_state_is_journaled_in_order(desk: ScriptedDesk, scripted: World) -> None:
    desk.on_send = lambda key, request, now_ns: (answer(key, "unknown"),)
    scripted.hear(approval("a"))
    scripted.hear(ticks("EURUSD", NOON + 60 * S, QUOTE))
    assert scripted.journal.states[order_id("a")] == ["recorded", "sent", "unknown", "resolved_not_executed"]
    ids = [effect.effect_id for effect in scripted.of(RecordStates)]
    assert len(ids) == len(set(ids))


def test_outputs_are_stamped_by_the_core_with_its_time_and_left_unnumbered(world: World) -> None:
    for message in world.hear(approval("a"), NOON + 5 * S):
        assert (message.seq, message.step, message.ts_init_ns) == (0, 0, NOON + 5 * S)
        assert not isinstance(message, Effect)


def test_ticks_of_a_symbol_nobody_configured_are_counted_and_left(world: World) -> None:
    assert world.hear(ticks("XAUUSD", NOON, (1300.0, 1300.5))) == []
    assert world.core.details()["strange_ticks"] == 1.0


def test_the_config_refuses_what_makes_no_sense() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"namespace": 0}, ExecutorConfig)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"broker": "mt4"}, ExecutorConfig)
