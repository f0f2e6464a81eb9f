"""Kill the executor at every step of an order's way to an external broker that lies, hangs and forgets.

The real effects, the real journal on disk, and an input journal that keeps exactly what was acknowledged.
"""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from libs.common.codec import encode
from libs.common.core import Effect, EffectResult, dispatch
from libs.common.errors import BrokerError, OutcomeUncertain
from libs.common.messages.base import Message
from libs.common.messages.market import Side
from libs.common.messages.orders import OrderApproved, OrderPurpose, OrderResolved, OrderSent
from services.executor.adapters.broker import Reply
from services.executor.adapters.performer import ExecutorEffects
from services.executor.broker import (
    BrokerDeal,
    BrokerOrder,
    BrokerPosition,
    BrokerReport,
    OrderPlace,
)
from services.executor.config import ExecutorConfig
from services.executor.core import ExecutorCore
from services.executor.desk import ExternalDesk
from services.executor.effects import ReadBroker, RecordIntent, RecordStates, SendOrder
from tests.unit.executor.executor_world import (
    ACCOUNT,
    INSTRUMENTS,
    NOON,
    RESULTS,
    VERIFIER,
    S,
    answer,
    approval,
    broker_account,
    deal,
    flatten,
    order_id,
    position,
    ticks,
)

QUOTE = (1.1, 1.1001)
CONFIG = ExecutorConfig(quiet_period_s=10.0, close_retry_s=3.0)


class Killed(BaseException):
    """The process is gone; nothing after it happens."""


class FaultyBroker:
    """Executes orders as a script says and counts how often each reached it."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.received: dict[str, int] = {}
        self.executed: dict[str, float] = {}
        self.deals: list[BrokerDeal] = []
        self.hidden_deals = 0
        self.open: dict[int, BrokerPosition] = {}
        self.history: list[BrokerOrder] = []
        self.kill_after = False
        self.now_ns = NOON

    async def send(self, key: str, request: dict[str, Any]) -> Reply:
        self.received[key] = self.received.get(key, 0) + 1
        fate = self.chance.choice(["fill", "fill", "part", "reject", "hang", "hang unexecuted", "lost", "kept"])
        if fate == "lost":
            raise BrokerError("not connected")
        if fate == "hang unexecuted":
            raise TimeoutError
        if fate == "reject":
            self.history.append(BrokerOrder(
                ticket=len(self.history) + 1, symbol="EURUSD", magic=request["magic"], place=OrderPlace.REJECTED,
                executed_lots=0.0,
            ))
            return Reply(answer(key, "rejected", volume_lots=0.0))
        done = self._execute(key, request, 0.5 if fate == "part" else 1.0)
        if fate == "hang":
            raise OutcomeUncertain(key, None)
        if fate == "kept":
            # It says yes, and shows the deal only later.
            self.hidden_deals = 1
            return Reply(answer(key, "done", deal=done.ticket))
        return Reply(
            answer(key, "partial" if fate == "part" else "done", volume_lots=done.volume_lots), (done,)
        )

    async def read(self, asked_ns: int, since_ns: int) -> BrokerReport:
        if self.chance.random() < 0.2:
            raise BrokerError("not connected")
        shown = self.deals[: len(self.deals) - self.hidden_deals]
        self.hidden_deals = 0
        return BrokerReport(
            asked_ns=asked_ns, account=broker_account(asked_ns), orders=tuple(self.history),
            positions=tuple(self.open.values()), deals=tuple(shown),
        )

    def _execute(self, key: str, request: dict[str, Any], share: float) -> BrokerDeal:
        side = Side.BUY if request["type"] == 0 else Side.SELL
        lots = round(request["volume"] * share, 2)
        ticket = len(self.deals) + 1
        self.executed[key] = self.executed.get(key, 0.0) + lots
        closes = request.get("position", 0)
        fields: dict[str, Any] = {"magic": request["magic"], "side": side, "volume_lots": lots, "ts_ns": self.now_ns}
        if closes:
            left = round(self.open[closes].volume_lots - lots, 8)
            self.open.pop(closes)
            if left > 0:
                self.open[closes] = position(closes, side=side.opposite, volume_lots=left)
            done = deal(ticket, position_id=closes, entry=1, **fields)
        else:
            self.open[500 + ticket] = position(500 + ticket, side=side, volume_lots=lots, magic=request["magic"])
            done = deal(ticket, position_id=500 + ticket, **fields)
        self.deals.append(done)
        return done


class Machine:
    """A process that can be killed, and the disk that outlives it."""

    def __init__(self, folder: Path, broker: FaultyBroker, chance: random.Random, kill_chance: float) -> None:
        self.folder, self.broker, self.chance, self.kill_chance = folder, broker, chance, kill_chance
        self.inputs: list[tuple[bytes | Message, int]] = []
        self.published: list[Message] = []
        self.kills = 0
        self.now_ns = NOON

    async def boot(self) -> None:
        """Replay the inputs and find out which effects still owe a result."""
        self.effects = ExecutorEffects(self.folder / "orders.sqlite", self.broker)
        await self.effects.prepare()
        self.core = ExecutorCore(CONFIG, ACCOUNT, INSTRUMENTS, ExternalDesk(), VERIFIER)
        self.pending: dict[str, Effect] = {}
        for entry, now_ns in self.inputs:
            message = RESULTS.decode(entry) if isinstance(entry, bytes) else entry
            self._apply(message, now_ns)

    async def hear(self, message: Message) -> None:
        """Take one message; come back after as many kills as happen on the way."""
        self.now_ns = self.broker.now_ns = max(self.now_ns, message.ts_event_ns)
        self.inputs.append((message, self.now_ns))
        self._apply(message, self.now_ns)
        while self.pending:
            try:
                await self._perform(next(iter(self.pending.values())))
            except Killed:
                self.kills += 1
                await self.effects.close()
                await self.boot()

    async def _perform(self, effect: Effect) -> None:
        self._maybe_die()
        result: EffectResult = await self.effects.perform(effect)
        # Killed after the deed and before anybody could write down that it was done.
        self._maybe_die()
        self.inputs.append((encode(result), self.now_ns))
        self._apply(RESULTS.decode(encode(result)), self.now_ns)

    def _maybe_die(self) -> None:
        if self.chance.random() < self.kill_chance:
            raise Killed

    def _apply(self, message: Message, now_ns: int) -> None:
        if isinstance(message, EffectResult):
            self.pending.pop(message.effect_id, None)
        for output in dispatch(self.core, message, now_ns):
            if isinstance(output, Effect):
                self.pending[output.effect_id] = output
            else:
                self.published.append(output)


async def live(folder: Path, seed: int, kill_chance: float) -> tuple[Machine, FaultyBroker, list[OrderApproved]]:
    chance = random.Random(seed)
    broker = FaultyBroker(chance)
    machine = Machine(folder, broker, chance, kill_chance)
    await machine.boot()
    approved = []
    for number in range(4):
        order = approval(f"{number}", side=chance.choice(list(Side)), horizon_s=chance.choice([0, 15]))
        approved.append(order)
        await machine.hear(order)
        if chance.random() < 0.5:
            await machine.hear(order)
        await machine.hear(ticks("EURUSD", machine.now_ns + 2 * S, QUOTE))
    for _ in range(20):
        await machine.hear(ticks("EURUSD", machine.now_ns + 2 * S, QUOTE))
    if chance.random() < 0.5:
        await machine.hear(flatten(machine.now_ns))
    for _ in range(30):
        await machine.hear(ticks("EURUSD", machine.now_ns + 2 * S, QUOTE))
    return machine, broker, approved


@pytest.mark.parametrize("seed", range(25))
async def test_killed_anywhere_no_order_is_sent_twice_and_none_disappears(tmp_path: Path, seed: int) -> None:
    machine, broker, approved = await live(tmp_path, seed, kill_chance=0.12)
    assert machine.kills > 0
    assert max(broker.received.values(), default=0) <= 1, "at most one broker order per intent"
    journal = machine.effects.journal
    intents = {intent.order_id: intent for intent in await journal.intents()}
    assert {order.order_id for order in approved} <= set(intents), "no approved intent disappears"
    assert set(broker.received) <= set(intents), "nothing is sent without an intent"
    by_magic = {intent.magic: intent.order_id for intent in intents.values()}
    for done in broker.deals:
        assert by_magic[done.magic] in broker.received, "every deal traces to exactly one intent"
    # What we believe is what the broker has.
    believed = machine.core._ledger.belief()
    assert {pid: held.lots for pid, held in believed.positions.items() if held.lots} == pytest.approx({
        p.position_id: p.side.sign * p.volume_lots for p in broker.open.values()
    })
    # Every order that reached the broker was judged rightly in the end.
    for key in broker.received:
        last = (await journal.history(key))[-1].state
        if broker.executed.get(key):
            assert last in ("filled", "partially_filled", "resolved_executed"), (key, last)
        else:
            assert last in ("rejected", "resolved_not_executed"), (key, last)
    assert machine.core.orders_in_doubt == 0
    await machine.effects.close()


class Step(FaultyBroker):
    """A broker that fills; the test kills around it."""

    async def send(self, key: str, request: dict[str, Any]) -> Reply:
        self.received[key] = self.received.get(key, 0) + 1
        done = self._execute(key, request, 1.0)
        if self.kill_after:
            self.kill_after = False
            raise Killed
        return Reply(answer(key, "done"), (done,))


class StepMachine(Machine):
    """Dies once, before or after the n-th performance of one kind of effect."""

    kind: type[Effect] = RecordIntent
    before = True
    left = 1

    async def _perform(self, effect: Effect) -> None:
        if isinstance(effect, self.kind) and self.left and self.before:
            self.left -= 1
            raise Killed
        if isinstance(effect, self.kind) and self.left:
            self.left -= 1
            await self.effects.perform(effect)
            raise Killed
        await super()._perform(effect)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("kind", [RecordIntent, SendOrder, RecordStates, ReadBroker], ids=lambda kind: kind.__name__)
async def test_killed_right_before_or_after_a_step_the_order_is_executed_once(
    tmp_path: Path, kind: type[Effect], before: bool
) -> None:
    broker = Step(random.Random(0))
    machine = StepMachine(tmp_path, broker, random.Random(0), kill_chance=0.0)
    machine.kind, machine.before = kind, before
    await machine.boot()
    await machine.hear(approval("a"))
    for second in range(2, 30, 2):
        await machine.hear(ticks("EURUSD", NOON + second * S, QUOTE))
    assert machine.kills == 1
    assert broker.received == {order_id("a"): 1}
    ends = [row.state for row in await machine.effects.journal.history(order_id("a"))]
    # Killed after the deed, nobody knew whether it was done; the books told.
    lost_answer = kind is SendOrder and not before
    assert ends[-1] == ("resolved_executed" if lost_answer else "filled")
    assert any(isinstance(m, OrderResolved) for m in machine.published) == lost_answer
    await machine.effects.close()


async def test_killed_inside_the_call_to_the_broker_the_order_is_looked_up_and_not_sent_again(tmp_path: Path) -> None:
    broker = Step(random.Random(0))
    broker.kill_after = True
    machine = Machine(tmp_path, broker, random.Random(0), kill_chance=0.0)
    await machine.boot()
    await machine.hear(approval("a"))
    for second in range(2, 30, 2):
        await machine.hear(ticks("EURUSD", NOON + second * S, QUOTE))
    assert broker.received == {order_id("a"): 1}
    assert [m.executed for m in machine.published if isinstance(m, OrderResolved)] == [True]
    await machine.effects.close()


async def test_with_the_core_s_memory_lost_a_late_copy_is_not_sent_again(tmp_path: Path) -> None:
    broker = Step(random.Random(0))
    machine = Machine(tmp_path, broker, random.Random(0), kill_chance=0.0)
    await machine.boot()
    await machine.hear(approval("a"))
    await machine.effects.close()
    machine.inputs.clear()
    machine.published.clear()
    await machine.boot()
    await machine.hear(approval("a"))
    assert broker.received == {order_id("a"): 1}
    assert not [m for m in machine.published if isinstance(m, OrderSent)]
    for second in range(2, 30, 2):
        await machine.hear(ticks("EURUSD", NOON + second * S, QUOTE))
    assert [m.executed for m in machine.published if isinstance(m, OrderResolved)] == [True]
    await machine.hear(approval(
        "b", purpose=OrderPurpose.REDUCE, side=Side.SELL, position_id=501, expires_ns=NOON + 100 * S
    ))
    assert broker.open == {}, "the position it had opened is ours again"
    await machine.effects.close()


async def test_effects_of_one_kind_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    effects = ExecutorEffects(tmp_path / "orders.sqlite")
    await effects.prepare()
    wanted = [
        RecordIntent(
            ts_event_ns=NOON, ts_init_ns=NOON, effect_id=f"{n}", order_id=order_id(f"{n}"), magic=n, account=ACCOUNT,
            symbol="EURUSD", request={"volume": 0.1},
        )
        for n in range(20)
    ]
    results = await asyncio.gather(*(effects.perform(effect) for effect in wanted))
    assert [result.effect_id for result in results] == [effect.effect_id for effect in wanted]
    await effects.close()
