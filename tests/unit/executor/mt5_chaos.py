"""One life of the executor with a terminal that fails in every way, killed between any two steps, and its audit."""

import random
from pathlib import Path
from typing import Any

from libs.common.codec import encode
from libs.common.core import Effect, EffectResult, dispatch
from libs.common.messages.account import AccountSnapshot
from libs.common.messages.base import Message
from libs.common.messages.market import Side
from libs.common.messages.orders import OrderApproved, OrderRejected
from libs.common.mt5 import constants as mt5
from libs.common.mt5.sim.settings import TerminalSettings
from libs.common.storage.journal import Intent, OrderJournal, Outcome
from services.executor.adapters.mt5_books import BookTranslator
from services.executor.adapters.mt5_clock import ServerClock
from services.executor.adapters.performer import ExecutorEffects
from services.executor.audit import Verdict, audit
from services.executor.config import ExecutorConfig
from services.executor.core import ExecutorCore
from services.executor.desk import ExternalDesk
from services.executor.order_state import OrderState
from tests.unit.executor.executor_world import (
    ACCOUNT,
    INSTRUMENTS,
    NOON,
    RESULTS,
    VERIFIER,
    S,
    approval,
    flatten,
    ticks,
)
from tests.unit.executor.mt5_world import READS, SENDS, Host, broker_over

CONFIG = ExecutorConfig(quiet_period_s=10.0, close_retry_s=3.0, answer_timeout_s=6.0)


class Killed(BaseException):
    """The process is gone; nothing after it happens."""


class MortalJournal(OrderJournal):
    """The order journal of a process that may be killed before and after every write."""

    die: Any = staticmethod(lambda: None)

    async def record_intent(self, intent: Intent) -> Any:
        self.die()
        known = await super().record_intent(intent)
        self.die()
        return known

    async def begin_sending(self, order_id: str, ts_ns: int, request: str = "") -> bool:
        self.die()
        first = await super().begin_sending(order_id, ts_ns, request)
        self.die()
        return first

    async def record_outcomes(self, outcomes: Any) -> None:
        self.die()
        await super().record_outcomes(outcomes)
        self.die()


class Life:
    """A process that can be killed, the disk and the broker that outlive it.

    Parameters
    ----------
    chance : draws everything: faults, kills, orders
    kill_chance : at each of about ten points of an order's way
    """

    def __init__(
        self, folder: Path, chance: random.Random, kill_chance: float, *, hedging: bool = True,
        sends: tuple[str, ...] = SENDS, reads: tuple[str, ...] = READS, host: Host | None = None,
    ) -> None:
        self.folder, self.chance, self.kill_chance = folder, chance, kill_chance
        self.host = host or Host(TerminalSettings(hedging=hedging), chance, sends, reads)
        self.inputs: list[tuple[bytes | Message, int]] = []
        self.published: list[Message] = []
        self.approved: list[OrderApproved] = []
        self.kills = self.steps = 0
        self.deaths: frozenset[int] | None = None
        self.now_ns = NOON

    async def boot(self) -> None:
        """Replay the inputs and find out which effects still owe a result."""
        broker, calls = broker_over(self.host, self.folder)
        calls.before = calls.after = lambda function: self.maybe_die()
        self.effects = ExecutorEffects(self.folder / "orders.sqlite", broker)
        journal = await MortalJournal.open(self.folder / "orders.sqlite")
        assert isinstance(journal, MortalJournal)
        journal.die = self.maybe_die
        self.effects._journal = journal
        self.core = ExecutorCore(CONFIG, ACCOUNT, INSTRUMENTS, ExternalDesk(), VERIFIER)
        self.pending: dict[str, Effect] = {}
        self.replayed: list[Message] = []
        for entry, now_ns in self.inputs:
            self._apply(RESULTS.decode(entry) if isinstance(entry, bytes) else entry, now_ns)

    async def hear(self, message: Message) -> None:
        """Take one message; come back after as many kills as happen on the way."""
        self.now_ns = self.host.now_ns = max(self.now_ns, message.ts_event_ns)
        self.inputs.append((message, self.now_ns))
        self._apply(message, self.now_ns)
        while self.pending:
            try:
                await self._perform(next(iter(self.pending.values())))
            except Killed:
                self.kills += 1
                await self.effects.close()
                await self.boot()

    async def tick(self, seconds: int = 2) -> None:
        bid = round(1.1 + self.chance.randint(-20, 20) * 1e-5, 5)
        block = ticks("EURUSD", self.now_ns + seconds * S, (bid, round(bid + 1e-4, 5)))
        self.host.move(block)
        await self.hear(block)

    def maybe_die(self) -> None:
        """Die here, where chance or the plan (``deaths``: numbers of steps) says so."""
        self.steps += 1
        if self.deaths is None:
            dies = bool(self.kill_chance) and self.chance.random() < self.kill_chance
        else:
            dies = self.steps in self.deaths
        if dies:
            raise Killed

    async def _perform(self, effect: Effect) -> None:
        self.maybe_die()
        result: EffectResult = await self.effects.perform(effect)
        self.maybe_die()
        self.inputs.append((encode(result), self.now_ns))
        self._apply(RESULTS.decode(encode(result)), self.now_ns)

    def _apply(self, message: Message, now_ns: int) -> None:
        if isinstance(message, EffectResult):
            self.pending.pop(message.effect_id, None)
        for output in dispatch(self.core, message, now_ns):
            if isinstance(output, Effect):
                self.pending[output.effect_id] = output
            else:
                self.replayed.append(output)
                if len(self.replayed) > len(self.published):
                    self.published.append(output)
        self._check_worst_case()

    def _check_worst_case(self) -> None:
        """While an order is in doubt its whole volume counts in the newest account."""
        in_doubt = [o for o in self.core._state.active.values() if o.state is OrderState.UNKNOWN]
        told = next((m for m in reversed(self.replayed) if isinstance(m, AccountSnapshot)), None)
        if told is not None and told.ts_init_ns >= max((o.doubt_ns for o in in_doubt), default=0):
            lots = round(sum(o.lots for o in in_doubt), 8)
            assert round(sum(told.unknown_lots.values()), 8) >= lots, "exposure counts a doubt at its worst"

    async def live(self, orders: int = 3) -> None:
        """Open, perhaps close, then wait until everything is quiet."""
        chance = self.chance
        await self.boot()
        await self.tick()
        for number in range(orders):
            order = approval(
                f"{number}", side=chance.choice(list(Side)), horizon_s=chance.choice([0, 0, 12]),
                volume_lots=chance.choice([0.1, 0.2]), sl=0.0, expires_ns=self.now_ns + 30 * S,
            )
            self.approved.append(order)
            await self.hear(order)
            if chance.random() < 0.3:
                # The bus came back and brings it once more.
                await self.hear(order)
            if chance.random() < 0.2:
                await self._somebody_else()
            await self.tick()
        for _ in range(4):
            await self.tick()
        if chance.random() < 0.5:
            await self.hear(flatten(self.now_ns))
        for _ in range(7):
            await self.tick(3)
        # From here on all is well; what is still open must be decided by the broker's records.
        self.host.heal()
        self.deaths = frozenset()
        for _ in range(8):
            await self.tick(4)

    async def _somebody_else(self) -> None:
        """A person trades by hand, or the terminal is started again."""
        if self.chance.random() < 0.5:
            self.host.restart()
            return
        held = self.host.terminal.positions_get()
        request: dict[str, Any] = {
            "action": mt5.TRADE_ACTION_DEAL, "symbol": "EURUSD", "volume": 0.1, "type": 1, "type_filling": 1,
        }
        if held and self.chance.random() < 0.5:
            request |= {"position": held[0].ticket, "type": 1 - held[0].type, "volume": held[0].volume}
        self.host.terminal.order_send(request)

    async def verdict(self) -> Verdict:
        """Judge by the broker's records and the journal alone."""
        terminal = self.host.terminal
        books = BookTranslator(1, lambda name: name, ServerClock("NY+7"))
        window = (0, 4_000_000_000)
        orders = books.orders(terminal.orders_get(), terminal.history_orders_get(*window))
        deals = books.deals(terminal.history_deals_get(*window))
        journal = await OrderJournal.open(self.folder / "orders.sqlite")
        try:
            intents = await journal.intents()
            histories: dict[str, tuple[Outcome, ...]] = {
                one.order_id: await journal.history(one.order_id) for one in intents
            }
            refused = {m.order_id for m in self.published if isinstance(m, OrderRejected)}
            approved = [order.order_id for order in self.approved if order.order_id not in refused]
            return audit(intents, histories, orders, deals, 1, approved)
        finally:
            await journal.close()

    def believes_the_truth(self) -> bool:
        """Tell whether the positions we hold ours are the broker's, to the lot."""
        ours = {pid: held.lots for pid, held in self.core._ledger.belief().positions.items() if held.lots}
        real = {
            p.identifier: (1 if p.type == 0 else -1) * p.volume
            for p in self.host.terminal.positions_get() if p.magic >> 48 == 1 or p.identifier in ours
        }
        return {k: round(v, 8) for k, v in ours.items()} == {k: round(v, 8) for k, v in real.items()}


async def judged(folder: Path, chance: random.Random, kill_chance: float = 0.02, **options: Any) -> Life:
    """Live one life and demand an acquittal."""
    return await acquitted(Life(folder, chance, kill_chance, **options))


async def acquitted(life: Life) -> Life:
    """Let it live and demand an acquittal."""
    await life.live()
    await life.effects.close()
    verdict = await life.verdict()
    assert verdict.clean, (verdict, life.host.fates, life.kills)
    assert max(life.host.received.values(), default=0) <= 1, life.host.received
    assert life.core.orders_in_doubt == 0
    assert life.believes_the_truth(), (life.core._ledger.belief(), life.host.terminal.positions_get())
    return life
