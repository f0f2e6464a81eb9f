"""A small world for the executor's core: ticks, signed approvals, a journal in memory, a broker to script."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np

from libs.common.codec import Codec, encode
from libs.common.config import InstrumentConfig
from libs.common.core import Effect, EffectResult, dispatch
from libs.common.ids import derived_id, magic_of
from libs.common.messages.base import Message
from libs.common.messages.control import Flatten, Halt, Resume
from libs.common.messages.market import Side, TickBlock
from libs.common.messages.orders import OrderApproved, OrderPurpose
from libs.common.mt5.sim.settings import TerminalSettings
from libs.common.mt5.sim.terminal import SimulatedTerminal
from libs.common.signing import Signer, Verifier, sign_approval
from libs.common.trading.instrument import Instrument
from services.executor.broker import (
    Answer,
    BrokerAccount,
    BrokerDeal,
    BrokerOrder,
    BrokerPosition,
    BrokerReport,
    DeskEvent,
    Standing,
)
from services.executor.config import ExecutorConfig
from services.executor.core import ExecutorCore
from services.executor.desk import Desk, Handed, SimulatedDesk
from services.executor.effects import (
    BrokerAnswer,
    BrokerRead,
    IntentRecorded,
    MoveStops,
    ReadBroker,
    RecordIntent,
    RecordStates,
    SendOrder,
    StatesRecorded,
)

S = 1_000_000_000
NOON = 1_398_945_600 * S
"""Thursday 2014-05-01 12:00 UTC; the market is open."""
ACCOUNT = "paper"
SIGNER = Signer(bytes(range(32)))
VERIFIER = Verifier(SIGNER.public_bytes)
INSTRUMENTS = {
    "EURUSD": Instrument("EURUSD", InstrumentConfig()),
    "USDJPY": Instrument(
        "USDJPY", InstrumentConfig(digits=3, margin_currency="USD", profit_currency="JPY", stops_level_points=10)
    ),
}
RESULTS = Codec(ExecutorCore.RESULTS)


def ticks(symbol: str, ts_ns: int, *quotes: tuple[float, float], step_ns: int = S, first_tick: int = 1) -> TickBlock:
    """Return a block of quotes (bid, ask), the first at ``ts_ns``."""
    n = len(quotes)
    return TickBlock(
        ts_event_ns=ts_ns + (n - 1) * step_ns, ts_init_ns=0, symbol=symbol, first_tick=first_tick,
        time_ns=ts_ns + step_ns * np.arange(n, dtype=np.int64),
        bid=np.array([bid for bid, _ in quotes]), ask=np.array([ask for _, ask in quotes]),
    )


def approval(name: str = "a", *, signed: bool = True, **changes: Any) -> OrderApproved:
    """Return an approval, by default of 0.1 lot EURUSD bought without stops; its id follows from the name."""
    fields: dict[str, Any] = {
        "order_id": derived_id("test", name), "account": ACCOUNT, "symbol": "EURUSD", "side": Side.BUY,
        "volume_lots": 0.1, "price": 1.10010, "sl": 0.0, "tp": 0.0, "purpose": OrderPurpose.OPEN, "position_id": 0,
        "max_slippage_points": 20, "horizon_s": 0, "expires_ns": NOON + 3_600 * S, "model": "m", "version": 1,
        "ts_event_ns": NOON, "ts_init_ns": NOON,
    }
    order = OrderApproved(**{**fields, **changes})
    return sign_approval(order, SIGNER) if signed else order


def halt(now_ns: int = NOON) -> Halt:
    return Halt(ts_event_ns=now_ns, ts_init_ns=now_ns, command_id="h", issued_by="test", reason="test")


def resume(now_ns: int = NOON) -> Resume:
    return Resume(ts_event_ns=now_ns, ts_init_ns=now_ns, command_id="r", issued_by="test", reason="test")


def flatten(now_ns: int = NOON, command_id: str = "f", symbol: str = "") -> Flatten:
    return Flatten(
        ts_event_ns=now_ns, ts_init_ns=now_ns, command_id=command_id, issued_by="test", reason="test", symbol=symbol
    )


class MemoryJournal:
    """The order journal's rules, in a dict."""

    def __init__(self) -> None:
        self.states: dict[str, list[str]] = {}
        self.full = False

    def record_intent(self, effect: RecordIntent) -> IntentRecorded:
        stamp = {"ts_event_ns": effect.ts_event_ns, "ts_init_ns": 0, "effect_id": effect.effect_id}
        if self.full:
            return IntentRecorded(order_id=effect.order_id, new=False, state="", problem="disk full", **stamp)
        known = self.states.get(effect.order_id)
        if known is None:
            self.states[effect.order_id] = ["recorded"]
        return IntentRecorded(
            order_id=effect.order_id, new=known is None, state=known[-1] if known else "recorded", **stamp
        )

    def record_states(self, effect: RecordStates) -> StatesRecorded:
        for change in effect.changes:
            known = self.states.setdefault(change.order_id, [])
            if change.state not in known:
                known.append(change.state)
        return StatesRecorded(ts_event_ns=effect.ts_event_ns, ts_init_ns=0, effect_id=effect.effect_id)


class World:
    """Runs a core as the runtime does: inputs in, effects performed, results handed back; everything is kept.

    Parameters
    ----------
    perform : answers an effect the journal does not; ``None`` as its answer leaves the effect undone
    """

    def __init__(
        self,
        config: ExecutorConfig | None = None,
        desk: Desk | None = None,
        perform: Callable[[Effect, int], EffectResult | None] | None = None,
        terminal: TerminalSettings | None = None,
    ) -> None:
        self.config = config or ExecutorConfig()
        self.terminal = SimulatedTerminal(terminal or self.config.terminal, INSTRUMENTS, 1)
        self.desk: Desk = desk or SimulatedDesk(self.terminal)
        self.core = ExecutorCore(self.config, ACCOUNT, INSTRUMENTS, self.desk, VERIFIER)
        self.journal = MemoryJournal()
        self.perform = perform or (lambda effect, now_ns: None)
        self.now_ns = NOON
        self.inputs: list[tuple[Message, int]] = []
        self.said: list[Message] = []
        self.undone: list[Effect] = []
        self.holding = False

    def hear(self, message: Message, now_ns: int | None = None) -> list[Message]:
        """Hand over one message and all results it leads to; return what was said, effects left out."""
        start = len(self.said)
        self.now_ns = max(self.now_ns, message.ts_event_ns if now_ns is None else now_ns)
        self._hand_over(message)
        return [said for said in self.said[start:] if not isinstance(said, Effect)]

    def release(self) -> list[Message]:
        """Perform the effects that were held back."""
        start = len(self.said)
        self.holding = False
        waiting, self.undone = self.undone, []
        for effect in waiting:
            self._perform(effect)
        return [said for said in self.said[start:] if not isinstance(said, Effect)]

    def of(self, kind: type[Any]) -> list[Any]:
        """Return everything of one kind that was said so far."""
        return [said for said in self.said if isinstance(said, kind)]

    def _hand_over(self, message: Message) -> None:
        self.inputs.append((message, self.now_ns))
        outputs = dispatch(self.core, message, self.now_ns)
        self.said.extend(outputs)
        for output in outputs:
            if isinstance(output, Effect):
                self._perform(output)

    def _perform(self, effect: Effect) -> None:
        if self.holding:
            self.undone.append(effect)
            return
        result: EffectResult | None
        if isinstance(effect, RecordIntent):
            result = self.journal.record_intent(effect)
        elif isinstance(effect, RecordStates):
            result = self.journal.record_states(effect)
        else:
            result = self.perform(effect, self.now_ns)
        if result is None:
            self.undone.append(effect)
        else:
            # As the input journal keeps it.
            self._hand_over(RESULTS.decode(encode(result)))


def fresh_copy(world: World, state: bytes | None = None) -> ExecutorCore:
    """Return a new core of the same build, restored from a snapshot if one is given."""
    desk: Desk
    if isinstance(world.desk, SimulatedDesk):
        desk = SimulatedDesk(SimulatedTerminal(world.terminal.settings, INSTRUMENTS, 1))
    else:
        desk = type(world.desk)()
    core = ExecutorCore(world.config, ACCOUNT, INSTRUMENTS, desk, VERIFIER)
    if state is not None:
        core.restore(state)
    return core


class ScriptedDesk:
    """A desk that does what a test says, and fails when an order reaches it twice."""

    tells_by_itself = True

    def __init__(self) -> None:
        self.requests: dict[str, dict[str, Any]] = {}
        self.on_send: Callable[[str, dict[str, Any], int], Iterable[DeskEvent]] = lambda key, request, now_ns: ()
        self.market: list[DeskEvent] = []
        self.open: dict[int, BrokerPosition] = {}
        self.orders: tuple[BrokerOrder, ...] = ()
        self.deals: tuple[BrokerDeal, ...] = ()
        self.looks = 0

    def advance(self, block: TickBlock, now_ns: int) -> Handed:
        events, self.market = tuple(self.market), []
        return Handed(events=events)

    def send(self, order_id: str, request: dict[str, Any], now_ns: int) -> Handed:
        assert order_id not in self.requests, "an order was sent twice"
        self.requests[order_id] = request
        return Handed(events=tuple(self.on_send(order_id, request, now_ns)))

    def move_stops(self, key: str, request: dict[str, Any], now_ns: int) -> Handed:
        return self.send(key, request, now_ns)

    def look(self, cause: str, since_ns: int, now_ns: int) -> BrokerReport | Effect:
        self.looks += 1
        return BrokerReport(
            asked_ns=now_ns, account=broker_account(now_ns), orders=self.orders, positions=self.positions(),
            deals=self.deals,
        )

    def take(self, standing: Standing) -> None: ...

    def account(self, now_ns: int) -> BrokerAccount | None:
        return broker_account(now_ns)

    def positions(self) -> tuple[BrokerPosition, ...]:
        return tuple(self.open.values())

    def snapshot(self) -> bytes:
        return b""

    def restore(self, state: bytes) -> None: ...


def broker_account(as_of_ns: int, equity_ccy: float = 10_000.0) -> BrokerAccount:
    return BrokerAccount(
        as_of_ns=as_of_ns, currency="USD", hedging=True, leverage=100.0, balance_ccy=10_000.0, equity_ccy=equity_ccy,
        margin_ccy=0.0, margin_free_ccy=equity_ccy,
    )


def deal(ticket: int, **changes: Any) -> BrokerDeal:
    """Return an opening deal of order "a", by default of all of it."""
    fields: dict[str, Any] = {
        "ticket": ticket, "order": ticket, "position_id": 500, "symbol": "EURUSD", "magic": magic("a"),
        "side": Side.BUY, "entry": 0, "reason": 3, "volume_lots": 0.1, "price": 1.10010, "commission_ccy": -0.35,
        "swap_ccy": 0.0, "profit_ccy": 0.0, "ts_ns": NOON,
    }
    return BrokerDeal(**{**fields, **changes})


def position(position_id: int = 500, **changes: Any) -> BrokerPosition:
    fields: dict[str, Any] = {
        "position_id": position_id, "ticket": position_id, "symbol": "EURUSD", "side": Side.BUY, "volume_lots": 0.1,
        "price_open": 1.10010, "sl": 0.0, "tp": 0.0, "magic": magic("a"), "opened_ns": NOON, "profit_ccy": 0.0,
        "swap_ccy": 0.0,
    }
    return BrokerPosition(**{**fields, **changes})


def answer(key: str, verdict: Any, ts_ns: int = NOON, **changes: Any) -> Answer:
    retcode = {"done": 10009, "partial": 10010, "placed": 10008, "unknown": 10012}.get(verdict, 10006)
    fields: dict[str, Any] = {
        "key": key, "verdict": verdict, "retcode": retcode, "volume_lots": 0.1, "price": 1.1001, "deal": 0,
        "text": verdict, "ts_ns": ts_ns,
    }
    return Answer(**{**fields, **changes})


def magic(name: str) -> int:
    """Return the magic number of the approval of that name."""
    return magic_of(derived_id("test", name), 1)


def order_id(name: str) -> str:
    return derived_id("test", name)


def broker_answer(effect: SendOrder | MoveStops, reply: Answer | None, **changes: Any) -> BrokerAnswer:
    key = effect.order_id if isinstance(effect, SendOrder) else effect.key
    return BrokerAnswer(
        ts_event_ns=effect.ts_event_ns, ts_init_ns=0, effect_id=effect.effect_id, key=key,
        **{"outcome": "answered", "answer": reply, **changes},
    )


def broker_read(effect: ReadBroker, report: BrokerReport | None, problem: str = "") -> BrokerRead:
    return BrokerRead(
        ts_event_ns=effect.ts_event_ns, ts_init_ns=0, effect_id=effect.effect_id, report=report, problem=problem
    )


def without_account(said: Iterable[Message]) -> list[str]:
    """Return the names of what was said, account snapshots and alerts left out."""
    return [type(m).__name__ for m in said if type(m).__name__ not in ("AccountSnapshot", "Alert")]


def bytes_of(messages: Iterable[Message]) -> bytes:
    return b"\n".join(msgspec.json.encode(message, enc_hook=lambda value: value.tolist()) for message in messages)
