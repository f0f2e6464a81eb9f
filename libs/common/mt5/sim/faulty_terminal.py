"""A simulated terminal with which things go wrong as a plan says; with an empty plan it is the terminal itself.

``FaultyTerminal`` is what the host serves; ``faulty_port.FaultyPort`` puts it under the package's face in one process.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from libs.common.messages.market import TickBlock
from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import OrderSendResult, Tick, TradeRequest
from libs.common.mt5.sim import fault_views as views
from libs.common.mt5.sim import faults as menu
from libs.common.mt5.sim.events import RequestAnswered, TerminalEvent
from libs.common.mt5.sim.port import (
    FAILED,
    LOGIN_TIMEOUT,
    NO_TERMINAL,
    NO_VERSION,
    SUCCESS,
    TRADING_DISABLED,
    ConnectOptions,
    LastError,
)
from libs.common.mt5.sim.request import parse_request
from libs.common.mt5.sim.terminal import SimulatedTerminal
from libs.common.mt5.sim.treatment import PLAIN, Treatment

LATE_KEY = "late/"
"""Begins the keys of requests that are executed after their answer was lost."""
_CONNECTING = ("initialize", "login")
_BY_HAND = Treatment(reason=mt5.ORDER_REASON_CLIENT)


class Answered(NamedTuple):
    """An answer reaches the client."""

    result: Any
    last_error: LastError = SUCCESS


class Silent(NamedTuple):
    """No answer: the call hangs for ever, or the pipe breaks."""

    how: Literal["hang", "broken_pipe"]


Outcome = Answered | Silent
_CONNECTION_LOST = Silent("broken_pipe")


class FaultyState(msgspec.Struct):
    """What is remembered besides the terminal's own state.

    Parameters
    ----------
    rules : of the fault engine
    frozen : the ticks of when the feed froze, by symbol
    unfound : attempts to find the terminal that still fail
    generation : counts restarts of the terminal; connections of an older one are broken
    late : requests that were told late so far
    """

    terminal: bytes
    rules: list[menu.RuleState]
    frozen: dict[str, Tick]
    unfound: int
    generation: int
    late: int


class FaultyTerminal:
    """A terminal and what may go wrong with it.

    Parameters
    ----------
    terminal : the truth
    plan : what goes wrong when
    """

    def __init__(self, terminal: SimulatedTerminal, plan: menu.FaultPlan = menu.NO_FAULTS) -> None:
        self.terminal = terminal
        self.engine = menu.FaultEngine(plan)
        self.generation = 0
        self._unfound = 0
        self._late = 0
        self._frozen: dict[str, Tick] = {}

    # Questions.

    def strike(self, function: str, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> menu.Strike:
        """Decide what befalls a call. To be called once per call, before ``send`` or ``ask``."""
        request = request_of(function, arguments, named)
        symbol = request.get("symbol") or next((a for a in arguments if isinstance(a, str)), "")
        strike = self.engine.on_call(function, str(symbol), int(request.get("magic") or 0), self.terminal.clock_ns)
        self._note_frozen()
        return strike

    def handle(self, function: str, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Outcome:
        """Answer one call of the package: ``strike``, then ``send`` or ``ask``."""
        strike = self.strike(function, arguments, named)
        if function == "order_send":
            return self.send(request_of(function, arguments, named), strike)
        return self.ask(function, arguments, named, strike)

    def send(self, request: Mapping[str, Any], strike: menu.Strike) -> Outcome:
        """Have a trade request executed now, as the strike lets it."""
        before = self.refused_before(strike)
        if before is not None:
            return before
        fault, conditions = strike.fault, self._conditions()
        request = views.requested(conditions, request)
        if isinstance(fault, menu.LateExecution):
            self._execute_late(request, round(fault.delay_s * menu.NS_PER_S))
            return self._lost(fault.answer, request)
        parsed = parse_request(request)
        if isinstance(parsed, str):
            return Answered(None, (mt5.RES_E_INVALID_PARAMS, parsed))
        result = self.terminal.execute(parsed, self.treatment(fault, parsed))
        if isinstance(fault, menu.Hang | menu.BrokenPipe):
            return Silent("hang" if isinstance(fault, menu.Hang) else "broken_pipe")
        if isinstance(fault, menu.LostAnswer) and fault.answer != "timeout":
            return self._lost(fault.answer, request)
        return Answered(self._seen("order_send", request.get("symbol"), result))

    def refused_before(self, strike: menu.Strike) -> Outcome | None:
        """Return what becomes of a trade request that never gets to the server; None when it does."""
        if self.act(strike.acts):
            return _CONNECTION_LOST
        fault, conditions = strike.fault, self._conditions()
        if any(isinstance(c, menu.BuildMismatch) for c in conditions):
            return Answered(None, NO_VERSION)
        if any(isinstance(c, menu.TradingDisabled) for c in conditions):
            return Answered(None, TRADING_DISABLED)
        return None if fault is None or _executes(fault) else _unexecuted(fault)

    def ask(
        self, function: str, arguments: tuple[Any, ...], named: Mapping[str, Any], strike: menu.Strike
    ) -> Outcome:
        """Answer any question but ``order_send``."""
        if self.act(strike.acts):
            return _CONNECTION_LOST
        conditions = self._conditions()
        if any(isinstance(c, menu.BuildMismatch) for c in conditions):
            return Answered(False if function in _CONNECTING else None, NO_VERSION)
        if strike.fault is not None:
            return _unexecuted(strike.fault)
        if function in _CONNECTING:
            return self._connect(function, named)
        counted = views.TOTALS.get(function)
        question = counted or function
        arguments = views.asked(conditions, question, arguments)
        named = views.requested(conditions, named)
        if function == "order_check":
            arguments = (views.requested(conditions, arguments[0]), *arguments[1:])
        answer = getattr(self.terminal, question)(*arguments, **named)
        error = self.terminal.last_error()
        answer = self._seen(question, arguments[0] if arguments else None, answer)
        return Answered(len(answer) if counted else answer, error)

    # The market.

    def advance(self, block: TickBlock) -> tuple[TerminalEvent, ...]:
        """Let the market move; acts and conditions that are due by time happen at the tick they belong to.

        Answers to requests that were executed late are not told: nobody waits for them.
        """
        events: list[TerminalEvent] = []
        times = block.time_ns
        start = 0
        while start < len(times):
            self.act(self.engine.acts_due(int(times[start])))
            self._note_frozen()
            due_ns = self.engine.next_time_ns(int(times[start]))
            end = len(times) if due_ns is None else int(np.searchsorted(times, due_ns))
            end = max(end, start + 1)
            events += self.terminal.advance(cut_block(block, start, end))
            start = end
        return tuple(event for event in events if not is_late(event))

    def submit(self, request: Mapping[str, Any], key: str, now_ns: int) -> tuple[TerminalEvent, ...]:
        """Send a request on its way, as ``SimulatedTerminal.submit`` does; faults of one call strike it as well.

        A lost answer is simply not told.
        """
        strike = self.strike("order_send", (dict(request),), {})
        before = self.refused_before(strike)
        if before is not None:
            return ()
        fault = strike.fault
        request = views.requested(self._conditions(), request)
        parsed = parse_request(request)
        treatment = PLAIN if isinstance(parsed, str) else self.treatment(fault, parsed)
        if isinstance(fault, menu.LateExecution):
            self._execute_late(request, round(fault.delay_s * menu.NS_PER_S))
            return ()
        events = self.terminal.submit(request, key, now_ns, treatment)
        lost = isinstance(fault, menu.Hang | menu.BrokenPipe)
        return tuple(e for e in events if not (lost and isinstance(e, RequestAnswered) and e.request_key == key))

    def treatment(self, fault: Any, request: TradeRequest) -> Treatment:
        """Return what the server is to do otherwise because of a fault."""
        if isinstance(fault, menu.Retcode):
            return Treatment(refuse_with=fault.retcode)
        if isinstance(fault, menu.LostAnswer) and fault.answer == "timeout":
            return Treatment(answer_with=mt5.TRADE_RETCODE_TIMEOUT)
        if isinstance(fault, menu.DuplicateNotices):
            return Treatment(notices=fault.times)
        if isinstance(fault, menu.CommentChanged):
            return Treatment(comment=fault.text or request.comment[: fault.keep])
        if isinstance(fault, menu.PartialFill):
            lots = self._share(request, fault.share)
            return PLAIN if lots <= 0.0 else Treatment(fill_lots=lots, rest=fault.rest)
        return PLAIN

    def act(self, acts: tuple[Any, ...]) -> bool:
        """Let acts happen; True when one of them was a restart of the terminal."""
        restarted = False
        for act in acts:
            if isinstance(act, menu.TerminalRestart):
                self.generation += 1
                self._unfound = act.attempts
                restarted = True
            elif isinstance(act, menu.VolumeStepChanged):
                self._change_step(act)
            else:
                self._trade_by_hand(act)
        return restarted

    def use_plan(self, plan: menu.FaultPlan) -> None:
        """Go on with another plan; its rules begin afresh."""
        self.engine = menu.FaultEngine(plan)
        self._note_frozen()

    def set_rules(self, states: list[menu.RuleState]) -> None:
        """Let the rules remember what they did at an earlier moment; for a replay."""
        self.engine.states[: len(states)] = states
        self._note_frozen()

    # Restart.

    def snapshot(self) -> bytes:
        """Return the whole state; settings, instruments, seed and plan are not in it."""
        return msgspec.msgpack.encode(FaultyState(
            terminal=self.terminal.snapshot(), rules=self.engine.states, frozen=self._frozen, unfound=self._unfound,
            generation=self.generation, late=self._late,
        ))  # fmt: skip

    def restore(self, state: bytes) -> None:
        """Become what ``snapshot`` described; rules that the plan has gained since begin afresh.

        Raises
        ------
        ValueError : when the bytes are no snapshot
        """
        try:
            found = msgspec.msgpack.decode(state, type=FaultyState)
        except msgspec.MsgspecError as error:
            raise ValueError(f"not a snapshot of a simulated terminal with faults: {error}") from error
        self.terminal.restore(found.terminal)
        fresh = self.engine.states[len(found.rules) :]
        self.engine.states = [*found.rules[: len(self.engine.states)], *fresh]
        self._frozen, self._unfound = found.frozen, found.unfound
        self.generation, self._late = found.generation, found.late

    # Inside.

    def _conditions(self) -> tuple[menu.Condition, ...]:
        return tuple(condition for condition, _ in self.engine.conditions(self.terminal.clock_ns))

    def _seen(self, function: str, symbol: Any, answer: Any) -> Any:
        conditions = self._conditions()
        if not conditions:
            return answer
        clock_msc = self.terminal.server_msc()
        return views.seen(conditions, self._frozen, clock_msc, function, symbol, answer)

    def _note_frozen(self) -> None:
        """Keep the quotes of the moment the feed freezes, and forget them when it thaws."""
        if not any(isinstance(condition, menu.FrozenFeed) for condition in self._conditions()):
            self._frozen = {}
        elif not self._frozen:
            ticks = {s.name: self.terminal.symbol_info_tick(s.name) for s in self.terminal.symbols_get()}
            self._frozen = {symbol: tick for symbol, tick in ticks.items() if tick is not None}

    def _connect(self, function: str, named: Mapping[str, Any]) -> Outcome:
        if function == "initialize" and self._unfound > 0:
            self._unfound -= 1
            return Answered(False, NO_TERMINAL)
        error = self.terminal.accept_login(ConnectOptions(**named))
        return Answered(error == SUCCESS, error)

    def _lost(self, how: menu.Silence, request: Mapping[str, Any]) -> Outcome:
        if how == "none":
            return Answered(None, FAILED)
        if how != "timeout":
            return Silent(how)
        parsed = parse_request(request)
        echo = TradeRequest() if isinstance(parsed, str) else parsed
        return Answered(OrderSendResult(retcode=mt5.TRADE_RETCODE_TIMEOUT, comment="Timeout", request=echo))

    def _execute_late(self, request: Mapping[str, Any], delay_ns: int) -> None:
        self._late += 1
        treatment = Treatment(latency_ns=delay_ns, overtakes=True)
        self.terminal.submit(request, f"{LATE_KEY}{self._late}", self.terminal.clock_ns, treatment)

    def _trade_by_hand(self, act: menu.ManualTrade | menu.ManualClose) -> None:
        filling = _filling_of(self.terminal, act.symbol)
        if isinstance(act, menu.ManualTrade):
            sell, lots, ticket = act.side == "sell", act.lots, 0
        else:
            held = self.terminal.positions_get(symbol=act.symbol)
            if not held:
                return
            sell, lots, ticket = held[0].type == mt5.POSITION_TYPE_BUY, held[0].volume, held[0].ticket
        self.terminal.execute(TradeRequest(
            action=mt5.TRADE_ACTION_DEAL, symbol=act.symbol, volume=lots, position=ticket, type_filling=filling,
            type=mt5.ORDER_TYPE_SELL if sell else mt5.ORDER_TYPE_BUY,
        ), _BY_HAND)  # fmt: skip

    def _change_step(self, act: menu.VolumeStepChanged) -> None:
        config = self.terminal.instrument(act.symbol).config
        self.terminal.change_symbol(
            act.symbol, msgspec.structs.replace(config, volume_step=act.step, volume_min=act.step)
        )

    def _share(self, request: TradeRequest, share: float) -> float:
        """Return the tradable volume nearest below a share of the request; 0.0 when there is none."""
        if not math.isfinite(request.volume):
            return 0.0
        known = self.terminal.symbol_info(request.symbol)
        lots = self.terminal.instrument(request.symbol).round_volume_down(request.volume * share) if known else 0.0
        return lots if lots < request.volume else 0.0


def request_of(function: str, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
    """Return the trade request among the arguments of a call; empty for calls without one."""
    if function not in ("order_send", "order_check"):
        return {}
    return dict(arguments[0]) if arguments and isinstance(arguments[0], Mapping) else dict(named)


def _executes(fault: Any) -> bool:
    """Tell whether a request gets to the server in spite of the fault."""
    if isinstance(fault, menu.Hang | menu.BrokenPipe):
        return fault.executed
    return not isinstance(fault, menu.NoneAnswer | menu.LoginTimeout)


def _unexecuted(fault: Any) -> Outcome:
    """Return what a client gets of a call that a fault keeps from the terminal."""
    if isinstance(fault, menu.Hang):
        return Silent("hang")
    if isinstance(fault, menu.LoginTimeout):
        return Answered(False, LOGIN_TIMEOUT)
    if isinstance(fault, menu.NoneAnswer):
        return Answered(None, (fault.code, fault.text))
    # Faults of the server's own make no sense for a question: its pipe breaks instead.
    return _CONNECTION_LOST


def is_late(event: TerminalEvent) -> bool:
    return isinstance(event, RequestAnswered) and event.request_key.startswith(LATE_KEY)


def cut_block(block: TickBlock, start: int, end: int) -> TickBlock:
    """Return ticks ``start`` to ``end`` (not included) of a block."""
    if start == 0 and end == len(block):
        return block
    columns = {
        name: column[start:end] for name in block.__struct_fields__
        if isinstance(column := getattr(block, name), np.ndarray) and len(column)
    }  # fmt: skip
    return msgspec.structs.replace(
        block, first_tick=block.first_tick + start, ts_event_ns=int(block.time_ns[end - 1]), **columns
    )


def _filling_of(terminal: SimulatedTerminal, symbol: str) -> int:
    known = terminal.symbol_info(symbol)
    flags = known.filling_mode if known is not None else 0
    if flags & mt5.SYMBOL_FILLING_FOK:
        return mt5.ORDER_FILLING_FOK
    return mt5.ORDER_FILLING_IOC if flags & mt5.SYMBOL_FILLING_IOC else mt5.ORDER_FILLING_RETURN
