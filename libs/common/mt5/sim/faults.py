"""The fault menu as data: what may go wrong with a terminal, and when it does.

A ``FaultPlan`` is a list of rules, readable from YAML or JSON; each says which fault, at which calls, from when to when,
how often and how likely. ``FaultEngine`` decides for every call; the same plan, calls and times decide alike. What a
fault does is in ``faulty_terminal.py`` and ``fault_views.py``. ::

    seed: 7
    rules:
      - {fault: {kind: hang, executed: true}, nth: 3}                        # the third order_send
      - {fault: {kind: retcode, retcode: 10004}, times: 5}                # a storm of five requotes
      - {fault: {kind: broken_pipe}, calls: "positions_*", rate: 0.01, times: 0}
      - {fault: {kind: clock_jump, by_s: 3600}, from_ns: 1398938400000000000}
"""

import fnmatch
import hashlib
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, get_args

import msgspec
from msgspec import Meta

from libs.common.mt5 import constants as mt5

NS_PER_S = 1_000_000_000
Silence: TypeAlias = Literal["hang", "broken_pipe", "timeout", "none"]
"""How an answer is lost: it never comes; the pipe breaks; retcode 10012; ``None`` with -1."""


class _Fault(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True):
    """Base of all faults."""


# Faults of one call.


class Hang(_Fault, frozen=True, kw_only=True, tag="hang"):
    """The call never returns; ``executed``: what it asked for happened all the same."""

    executed: bool = False


class BrokenPipe(_Fault, frozen=True, kw_only=True, tag="broken_pipe"):
    """The pipe breaks during the call: -10002, then -10004 until ``initialize``; ``executed`` as for ``Hang``."""

    executed: bool = False


class LoginTimeout(_Fault, frozen=True, kw_only=True, tag="login_timeout"):
    """``initialize`` or ``login`` fails with -10005."""


class NoneAnswer(_Fault, frozen=True, kw_only=True, tag="none"):
    """The call gives ``None`` with this error; nothing was executed."""

    code: int = mt5.RES_E_FAIL
    text: str = "Terminal: Call failed"


class Retcode(_Fault, frozen=True, kw_only=True, tag="retcode"):
    """The server refuses with this code, 10004 by default (so many times: a requote storm)."""

    retcode: int = mt5.TRADE_RETCODE_REQUOTE


class LostAnswer(_Fault, frozen=True, kw_only=True, tag="lost_answer"):
    """The server accepts and executes; its answer is lost."""

    answer: Silence = "timeout"


class LateExecution(_Fault, frozen=True, kw_only=True, tag="late_execution"):
    """The answer is lost at once; the request is executed so much later."""

    delay_s: Annotated[float, Meta(gt=0)] = 5.0
    answer: Silence = "timeout"


class DuplicateNotices(_Fault, frozen=True, kw_only=True, tag="duplicate_notices"):
    """Deals of the request are told more than once."""

    times: Annotated[int, Meta(ge=2)] = 2


class PartialFill(_Fault, frozen=True, kw_only=True, tag="partial_fill"):
    """A share is filled, then the rest is rejected (10006) or cancelled (10010)."""

    share: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    rest: Literal["reject", "cancel"] = "reject"


class CommentChanged(_Fault, frozen=True, kw_only=True, tag="comment"):
    """The server writes another comment: ``text``, or the first ``keep`` characters of ours."""

    text: str = ""
    keep: Annotated[int, Meta(ge=0)] = 0


# Conditions: from a time or a call on, for so long.


class NotFound(_Fault, frozen=True, kw_only=True, tag="not_found"):
    """Orders, positions and history hide what carries this magic (0: everything) although it lives."""

    magic: int = 0


class HistoryLate(_Fault, frozen=True, kw_only=True, tag="history_late"):
    """History shows nothing of the last so many seconds."""

    by_s: Annotated[float, Meta(gt=0)] = 5.0


class HistoryShuffled(_Fault, frozen=True, kw_only=True, tag="history_shuffled"):
    """History comes in reverse order."""


class FrozenFeed(_Fault, frozen=True, kw_only=True, tag="frozen_feed"):
    """The terminal shows the quotes of when it froze, and says it is connected; the server's market moves on."""


class ClockJump(_Fault, frozen=True, kw_only=True, tag="clock_jump"):
    """The server's clock, and all times it writes, are so much later (negative: earlier)."""

    by_s: int = 3_600


class SymbolRenamed(_Fault, frozen=True, kw_only=True, tag="symbol_renamed"):
    """A symbol has another name; the old one is unknown."""

    symbol: str
    to: str


class BuildMismatch(_Fault, frozen=True, kw_only=True, tag="build_mismatch"):
    """The terminal has been updated: everything fails with -5."""


class TradingDisabled(_Fault, frozen=True, kw_only=True, tag="trading_disabled"):
    """Somebody switched algorithmic trading off: ``order_send`` gives ``None`` with -8."""


# Acts: happen once each, at a time or at a call.


class ManualTrade(_Fault, frozen=True, kw_only=True, tag="manual_trade"):
    """A human trades at the market, without a magic."""

    symbol: str
    side: Literal["buy", "sell"] = "buy"
    lots: Annotated[float, Meta(gt=0)] = 0.1


class ManualClose(_Fault, frozen=True, kw_only=True, tag="manual_close"):
    """A human closes the symbol's oldest position, whoever opened it."""

    symbol: str


class VolumeStepChanged(_Fault, frozen=True, kw_only=True, tag="volume_step"):
    """The broker gives a symbol another volume step, which is also its least volume."""

    symbol: str
    step: Annotated[float, Meta(gt=0)]


class TerminalRestart(_Fault, frozen=True, kw_only=True, tag="terminal_restart"):
    """The terminal closes all connections and cannot be found for so many attempts; the broker goes on."""

    attempts: Annotated[int, Meta(ge=0)] = 1


CallFault: TypeAlias = (
    Hang | BrokenPipe | LoginTimeout | NoneAnswer | Retcode | LostAnswer | LateExecution | DuplicateNotices
    | PartialFill | CommentChanged
)
Condition: TypeAlias = (
    NotFound | HistoryLate | HistoryShuffled | FrozenFeed | ClockJump | SymbolRenamed | BuildMismatch
    | TradingDisabled
)
Act: TypeAlias = ManualTrade | ManualClose | VolumeStepChanged | TerminalRestart
Fault: TypeAlias = CallFault | Condition | Act
CALL_FAULTS, CONDITIONS, ACTS = (get_args(kind) for kind in (CallFault, Condition, Act))
_CONNECTING = ("initialize", "login")
_SENDS = ("order_send",)


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault and when it strikes.

    Parameters
    ----------
    fault : what goes wrong
    calls : mask of function names (``positions_*``); empty: ``initialize`` and ``login`` for a login timeout, ``order_send``
        for the other faults of a call; conditions and acts then begin by time alone, at ``from_ns``
    symbol : mask of the symbol the call names
    magic : of the request; 0 for any
    nth : the first matching call that may be struck, counted from 1
    times : strikes at most; 0 for no end
    rate : share of the matching calls that is struck, by the plan's seed
    from_ns, until_ns : event time within which it strikes; 0 for no bound
    lasts_s : of a condition, event time; 0: until ``until_ns``
    """

    fault: Fault
    calls: str = ""
    symbol: str = "*"
    magic: int = 0
    nth: Annotated[int, Meta(ge=1)] = 1
    times: Annotated[int, Meta(ge=0)] = 1
    rate: Annotated[float, Meta(ge=0, le=1)] = 1.0
    from_ns: int = 0
    until_ns: int = 0
    lasts_s: Annotated[float, Meta(ge=0)] = 0.0

    def strikes_at(self, function: str, symbol: str, magic: int) -> bool:
        """Tell whether the rule looks at such a call."""
        if self.calls:
            named = fnmatch.fnmatchcase(function, self.calls)
        elif isinstance(self.fault, LoginTimeout):
            named = function in _CONNECTING
        else:
            named = isinstance(self.fault, CALL_FAULTS) and function in _SENDS
        return named and fnmatch.fnmatchcase(symbol, self.symbol) and self.magic in (0, magic)

    def is_within(self, now_ns: int) -> bool:
        """Tell whether the rule may strike now."""
        return self.from_ns <= now_ns and (not self.until_ns or now_ns < self.until_ns)


class FaultPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All rules; of the faults of one call the first that strikes wins."""

    rules: tuple[Rule, ...] = ()
    seed: int = 0


NO_FAULTS = FaultPlan()


class RuleState(msgspec.Struct):
    """What a rule remembers: matching calls seen, strikes, and when its condition began (-1: never)."""

    seen: int = 0
    struck: int = 0
    began_ns: int = -1


class Strike(NamedTuple):
    """What befalls a call: a fault of its own, and acts it sets off before it is looked at."""

    fault: Any = None
    acts: tuple[Any, ...] = ()


class FaultEngine:
    """Decides which faults strike when.

    Parameters
    ----------
    plan : what may happen
    """

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self.states = [RuleState() for _ in plan.rules]

    def on_call(self, function: str, symbol: str, magic: int, now_ns: int) -> Strike:
        """Return what befalls a call; conditions it sets off begin now.

        Parameters
        ----------
        symbol, magic : what the call names; empty and 0 where it names none
        now_ns : event time
        """
        fault, acts = None, []
        for place, rule in enumerate(self.plan.rules):
            taken = fault is not None and isinstance(rule.fault, CALL_FAULTS)
            if not rule.strikes_at(function, symbol, magic) or not rule.is_within(now_ns):
                continue
            state = self.states[place]
            state.seen += 1
            due = state.seen >= rule.nth and (not rule.times or state.struck < rule.times)
            if taken or not due or not self._drawn(place, state.seen, rule.rate):
                continue
            state.struck += 1
            if isinstance(rule.fault, CALL_FAULTS):
                fault = rule.fault
            elif isinstance(rule.fault, ACTS):
                acts.append(rule.fault)
            else:
                state.began_ns = now_ns
        return Strike(fault, tuple(acts))

    def acts_due(self, now_ns: int) -> tuple[Act, ...]:
        """Return the acts whose time has come, once each; begin the conditions whose time has."""
        due = []
        for place, rule in enumerate(self.plan.rules):
            state = self.states[place]
            if rule.calls or isinstance(rule.fault, CALL_FAULTS) or state.struck or not rule.is_within(now_ns):
                continue
            state.struck += 1
            if isinstance(rule.fault, ACTS):
                due.append(rule.fault)
            else:
                state.began_ns = now_ns
        return tuple(due)

    def next_time_ns(self, after_ns: int) -> int | None:
        """Return when the next act or condition begins by time alone, later than ``after_ns``; None for never."""
        times = [
            rule.from_ns for place, rule in enumerate(self.plan.rules)
            if not rule.calls and not isinstance(rule.fault, CALL_FAULTS) and not self.states[place].struck
            and rule.from_ns > after_ns
        ]  # fmt: skip
        return min(times, default=None)

    def conditions(self, now_ns: int) -> tuple[tuple[Condition, int], ...]:
        """Return the conditions in force, each with when it began."""
        found = []
        for rule, state in zip(self.plan.rules, self.states, strict=True):
            ends_ns = state.began_ns + round(rule.lasts_s * NS_PER_S) if rule.lasts_s else rule.until_ns
            if isinstance(rule.fault, CONDITIONS) and state.began_ns >= 0 and (not ends_ns or now_ns < ends_ns):
                found.append((rule.fault, state.began_ns))
        return tuple(found)

    def _drawn(self, place: int, count: int, rate: float) -> bool:
        if rate >= 1.0:
            return True
        digest = hashlib.blake2b(f"{self.plan.seed}/{place}/{count}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64 < rate
