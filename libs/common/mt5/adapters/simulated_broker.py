"""A simulated terminal and broker whose truth outlives its process: what the host serves, without the sockets."""

import hashlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from libs.common.codec import Codec, encode
from libs.common.config import InstrumentConfig
from libs.common.errors import ConfigError
from libs.common.messages.market import TickBlock
from libs.common.mt5.adapters.frames import plain
from libs.common.mt5.adapters.truth import TruthLog
from libs.common.mt5.sim.clock import ServerClock
from libs.common.mt5.sim.events import DealAdded, RequestAnswered, TerminalEvent
from libs.common.mt5.sim.faults import Fault, FaultPlan, RuleState, Strike
from libs.common.mt5.sim.faulty_terminal import FaultyTerminal, Outcome, Silent, request_of
from libs.common.mt5.sim.settings import TerminalSettings
from libs.common.mt5.sim.terminal import SimulatedTerminal
from libs.common.mt5.sim.tick_history import TickHistory
from libs.common.trading.instrument import Instrument

SNAPSHOT_EVERY = 5_000
BLOCKS_REMEMBERED = 64
"""How many blocks of a symbol can be asked again."""
DIE_PLACES = ("received", "recorded", "executed", "noted", "advanced")
"""Where a broker may be told to end at once: before a request is written down, after it was, after it was executed, after
its outcome was written down (before it is answered); after a block of ticks was written down."""
_blocks = Codec((TickBlock,))


class BrokerOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a simulated broker is started with; also the JSON or YAML file given to the host.

    Parameters
    ----------
    terminal : the broker's manners
    instruments : specifications by symbol
    seed : of slippage and latency
    faults : what goes wrong
    ticks_kept, bars_kept : for ``copy_ticks_*`` and ``copy_rates_*``
    """

    terminal: TerminalSettings = TerminalSettings()
    instruments: dict[str, InstrumentConfig] = msgspec.field(default_factory=lambda: {"EURUSD": InstrumentConfig()})
    seed: int = 0
    faults: FaultPlan = FaultPlan()
    ticks_kept: int = 1_000_000
    bars_kept: int = 100_000


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the market's feeder is told.

    Parameters
    ----------
    events : deals and answers, in order
    clock_ns : latest time the broker has seen
    day_start_equity_ccy, peak_equity_ccy : figures the package does not give
    """

    events: tuple[TerminalEvent, ...] = ()
    clock_ns: int = 0
    day_start_equity_ccy: float = 0.0
    peak_equity_ccy: float = 0.0

    @property
    def deals(self) -> tuple[DealAdded, ...]:
        """The deals among the events."""
        return tuple(event for event in self.events if isinstance(event, DealAdded))


class _State(msgspec.Struct):
    terminal: bytes
    told: dict[str, dict[int, tuple[TerminalEvent, ...]]]
    answered: dict[str, tuple[TerminalEvent, ...]]
    plan: FaultPlan
    last_deal: int
    last_tick: dict[str, int]


class Outcomes(NamedTuple):
    """What an input has caused: events, and the answer to a request of a package client."""

    events: tuple[TerminalEvent, ...]
    answer: Outcome | None


class SimulatedBroker:
    """A faulty terminal whose inputs and outcomes are on disk.

    Parameters
    ----------
    options : what it is; the same as before when the folder holds a broker already
    folder : of its truth
    sync : see ``TruthLog``
    die_at : ends the process with SIGKILL the n-th time a place of ``DIE_PLACES`` is reached, as ``executed:3``

    Raises
    ------
    StorageError : when the folder is in use or damaged
    ConfigError : when it holds a broker with other options
    """

    def __init__(self, options: BrokerOptions, folder: Path, *, sync: bool = True, die_at: str = "") -> None:
        instruments = {symbol: Instrument(symbol, config) for symbol, config in options.instruments.items()}
        self._symbols = frozenset(instruments)
        self._history = TickHistory(options.ticks_kept, options.bars_kept)
        self._clock = ServerClock(options.terminal.server_zone)
        self.faulty = FaultyTerminal(SimulatedTerminal(options.terminal, instruments, options.seed, self._history))
        self.log = TruthLog(folder, sync=sync)
        self._told: dict[str, dict[int, tuple[TerminalEvent, ...]]] = {}
        self._answered: dict[str, tuple[TerminalEvent, ...]] = {}
        self._last_tick: dict[str, int] = {}
        self._deaths = _deaths(die_at)
        self._since_snapshot = self._last_deal = 0
        self._digest = _digest(options)
        self._recover()
        if options.faults != self.faulty.engine.plan:
            self.use_plan(options.faults)

    @property
    def terminal(self) -> SimulatedTerminal:
        """The truth itself, for looking at."""
        return self.faulty.terminal

    # Package clients.

    def handle(self, client: str, function: str, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Outcome:
        """Answer one call of the package.

        Raises
        ------
        Exception : what the terminal raises for arguments that no package sends
        """
        if function == "order_send":
            return self._send(client, request_of(function, arguments, named))
        before = self._rules()
        strike = self.faulty.strike(function, arguments, named)
        outcome = self.faulty.ask(function, arguments, named, strike)
        if strike.fault is not None or strike.acts or any(
            old.struck != new.struck for old, new in zip(before, self.faulty.engine.states, strict=True)
        ):
            fields = {"function": function, "client": client, "strike": _strike_fields(strike), "rules": self._rules()}
            self.log.write("rules", fields)
        return outcome

    def _send(self, client: str, request: dict[str, Any]) -> Outcome:
        self._may_die("received")
        strike = self.faulty.strike("order_send", (request,), {})
        self.log.write("request", {
            "client": client, "magic": request.get("magic", 0), "request": plain(request),
            "strike": _strike_fields(strike), "rules": self._rules(), "clock_ns": self.terminal.clock_ns,
            "wall_ns": time.time_ns(),
        })  # fmt: skip
        self.log.flush()
        self._may_die("recorded")
        outcomes = self._execute(request, strike)
        self._may_die("executed")
        self._note(outcomes)
        self._may_die("noted")
        self._keep_now_and_then()
        assert outcomes.answer is not None
        return outcomes.answer

    def _execute(self, request: Mapping[str, Any], strike: Strike) -> Outcomes:
        before = len(self.terminal.untold)
        outcome = self.faulty.send(request, strike)
        return Outcomes(self.terminal.untold[before:], outcome)

    # The market.

    def advance(self, block: TickBlock) -> Told:
        """Let the market move; a block that was given before changes nothing and tells the same.

        Raises
        ------
        ValueError : for an unknown symbol, or ticks that were given before in another block
        """
        known = self._told.get(block.symbol, {})
        if block.first_tick in known:
            return self._tell(known[block.first_tick])
        last = self._last_tick.get(block.symbol, 0)
        if block.first_tick <= last:
            raise ValueError(f"{block.symbol}: tick {block.first_tick} is too late, the terminal has had tick {last}")
        if block.symbol not in self._symbols:
            raise ValueError(f"the simulated terminal has no instrument '{block.symbol}': add it to its options")
        self.log.write("advance", {"block": msgspec.Raw(encode(block))})
        self._may_die("advanced")
        events = self._advance(block)
        self._note(Outcomes(events, None))
        self._keep_now_and_then()
        return self._tell(events)

    def submit(self, request: Mapping[str, Any], key: str, now_ns: int) -> Told:
        """Send a request on its way in event time; the same key again changes nothing and tells the same."""
        if key in self._answered:
            return self._tell(self._answered[key])
        self._may_die("received")
        self.log.write("submit", {
            "key": key, "now_ns": now_ns, "magic": request.get("magic", 0), "request": plain(dict(request)),
            "rules": self._rules(), "wall_ns": time.time_ns(),
        })  # fmt: skip
        self.log.flush()
        self._may_die("recorded")
        events = self._submit(request, key, now_ns)
        self._may_die("executed")
        self._note(Outcomes(events, None))
        self._may_die("noted")
        self._keep_now_and_then()
        return self._tell(events)

    def marks(self) -> Told:
        """Return the clock and the equity's marks; nothing moves."""
        return self._tell(())

    def use_plan(self, plan: FaultPlan) -> None:
        """Go on with other faults."""
        self.log.write("plan", {"plan": msgspec.to_builtins(plan)})
        self.log.flush()
        self.faulty.use_plan(plan)

    def close(self) -> None:
        """Keep a snapshot and let go of the folder."""
        self.log.keep(self._snapshot())
        self.log.close()

    # Inside: what a replay does again.

    def _advance(self, block: TickBlock) -> tuple[TerminalEvent, ...]:
        events = self.faulty.advance(block)
        told = self._told.setdefault(block.symbol, {})
        told[block.first_tick] = events
        self._last_tick[block.symbol] = block.first_tick + len(block) - 1
        if len(told) > BLOCKS_REMEMBERED:
            del told[min(told)]
        return events

    def _submit(self, request: Mapping[str, Any], key: str, now_ns: int) -> tuple[TerminalEvent, ...]:
        events = self.faulty.submit(request, key, now_ns)
        self._answered[key] = events
        if len(self._answered) > BLOCKS_REMEMBERED:
            del self._answered[next(iter(self._answered))]
        return events

    def _snapshot(self) -> bytes:
        return msgspec.msgpack.encode(_State(
            terminal=self.faulty.snapshot(), told=self._told, answered=self._answered, plan=self.faulty.engine.plan,
            last_deal=self._last_deal, last_tick=self._last_tick,
        ))  # fmt: skip

    def _keep_now_and_then(self) -> None:
        self._since_snapshot += 1
        if self._since_snapshot >= SNAPSHOT_EVERY:
            self._since_snapshot = 0
            self.log.keep(self._snapshot())

    def _recover(self) -> None:
        """Become what the folder says; finish what a kill left half done."""
        snapshot, records = self.log.read()
        self._refuse_others(records)
        after = 0
        if snapshot is not None:
            state = msgspec.msgpack.decode(snapshot.state, type=_State)
            self.faulty.use_plan(state.plan)
            self.faulty.restore(state.terminal)
            self._told, self._answered = state.told, state.answered
            self._last_deal, self._last_tick = state.last_deal, state.last_tick
            after = snapshot.n
        replay: dict[str, Callable[[dict[str, Any]], Outcomes | None]] = {
            "request": self._replay_request, "submit": self._replay_submit, "advance": self._replay_advance,
            "plan": self._replay_plan, "rules": self._replay_strike,
        }  # fmt: skip
        outcomes: Outcomes | None = None
        answered: set[str] = set()
        for record in records:
            if record["kind"] == "advance" and record["n"] <= after:
                # Ticks and bars are not in the snapshot.
                self._history.add(_block_again(record), self._clock)
            elif record["kind"] in replay and record["n"] > after:
                outcomes, answered = replay[record["kind"]](record), set()
            elif record["kind"] == "deal":
                self._last_deal = max(self._last_deal, record["deal"]["ticket"])
            elif record["kind"] == "answer":
                answered.add(record.get("key", ""))
        if outcomes is not None:
            missing = [e for e in outcomes.events if isinstance(e, DealAdded) or e.request_key not in answered]
            self._note(Outcomes(tuple(missing), None if "" in answered else outcomes.answer))
        self.log.write("start", {"settings": self._digest, "pid": os.getpid(), "wall_ns": time.time_ns()})
        self.log.flush()

    def _replay_request(self, record: dict[str, Any]) -> Outcomes:
        self._set_rules(record)
        return self._execute(_request_again(record["request"]), _strike_again(record))

    def _replay_submit(self, record: dict[str, Any]) -> Outcomes:
        self._set_rules(record)
        events = self._submit(_request_again(record["request"]), record["key"], record["now_ns"])
        return Outcomes(events, None)

    def _replay_advance(self, record: dict[str, Any]) -> Outcomes:
        return Outcomes(self._advance(_block_again(record)), None)

    def _replay_plan(self, record: dict[str, Any]) -> None:
        self.faulty.use_plan(msgspec.convert(record["plan"], FaultPlan))

    def _replay_strike(self, record: dict[str, Any]) -> None:
        self._set_rules(record)
        self.faulty.act(_strike_again(record).acts)

    def _set_rules(self, record: dict[str, Any]) -> None:
        self.faulty.set_rules(msgspec.convert(record["rules"], list[RuleState]))

    def _refuse_others(self, records: list[dict[str, Any]]) -> None:
        others = {record["settings"] for record in records if record["kind"] == "start"} - {self._digest}
        if others:
            raise ConfigError(
                f"{self.log.folder} holds a broker with other settings, instruments or seed. "
                "Start it with the same ones, or name another folder."
            )

    def _rules(self) -> list[RuleState]:
        return [RuleState(s.seen, s.struck, s.began_ns) for s in self.faulty.engine.states]

    # Inside: outcomes.

    def _note(self, outcomes: Outcomes) -> None:
        """Write down what an input has caused: every deal once, then its answers."""
        for event in outcomes.events:
            if isinstance(event, DealAdded) and event.deal.ticket > self._last_deal:
                self._last_deal = event.deal.ticket
                self.log.write("deal", {"deal": plain(event.deal), "ts_ns": event.ts_ns})
        for event in outcomes.events:
            if isinstance(event, RequestAnswered) and outcomes.answer is None:
                fields = {"key": event.request_key, "result": plain(event.result), "ts_ns": event.ts_ns}
                self.log.write("answer", fields)
        if isinstance(outcomes.answer, Silent):
            self.log.write("answer", {"silent": outcomes.answer.how})
        elif outcomes.answer is not None:
            self.log.write("answer", {
                "result": plain(outcomes.answer.result), "last_error": outcomes.answer.last_error,
            })  # fmt: skip
        if outcomes.events or outcomes.answer is not None:
            self.log.flush()

    def _tell(self, events: tuple[TerminalEvent, ...]) -> Told:
        terminal = self.terminal
        return Told(
            events=events, clock_ns=terminal.clock_ns, day_start_equity_ccy=terminal.day_start_equity_ccy,
            peak_equity_ccy=terminal.peak_equity_ccy,
        )

    def _may_die(self, place: str) -> None:
        if place in self._deaths:
            self._deaths[place] -= 1
            if self._deaths[place] == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def _strike_fields(strike: Strike) -> dict[str, Any]:
    return {"fault": msgspec.to_builtins(strike.fault), "acts": msgspec.to_builtins(strike.acts)}


def _strike_again(record: dict[str, Any]) -> Strike:
    strike = record["strike"]
    return Strike(msgspec.convert(strike["fault"], Fault | None), tuple(msgspec.convert(strike["acts"], list[Fault])))


def _request_again(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request as it was: numbers that are not finite were written as words."""
    texts = ("symbol", "comment")
    return {
        name: float(value) if isinstance(value, str) and name not in texts else value for name, value in request.items()
    }


def _block_again(record: dict[str, Any]) -> TickBlock:
    block: TickBlock = _blocks.decode(msgspec.json.encode(record["block"]))
    return block


def _digest(options: BrokerOptions) -> str:
    lasting = msgspec.structs.replace(options, faults=FaultPlan())
    return hashlib.blake2b(msgspec.json.encode(lasting, order="deterministic"), digest_size=16).hexdigest()


def _deaths(die_at: str) -> dict[str, int]:
    """Read ``executed:3,noted:1``."""
    deaths = {}
    for death in die_at.split(",") if die_at else ():
        place, _, count = death.partition(":")
        if place not in DIE_PLACES or not count.isdigit():
            raise ConfigError(f"'{death}' is no place to die at: one of {', '.join(DIE_PLACES)}, a colon and a number")
        deaths[place] = int(count)
    return deaths
