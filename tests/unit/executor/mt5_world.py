"""A terminal in this process for the ``mt5`` broker: the simulated account, asked like a worker, with its faults."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from libs.common.errors import BrokerError, OutcomeUncertain
from libs.common.messages.market import TickBlock
from libs.common.mt5 import constants as mt5
from libs.common.mt5.adapters.calls import PackageError, TerminalCalls
from libs.common.mt5.adapters.symbol_registry import SymbolRegistry
from libs.common.mt5.results import OrderSendResult, TerminalInfo, TradeRequest
from libs.common.mt5.retcodes import Outcome, outcome_of_error
from libs.common.mt5.sim.faults import NO_FAULTS, FaultPlan
from libs.common.mt5.sim.faulty_terminal import FaultyTerminal, Silent
from libs.common.mt5.sim.settings import TerminalSettings
from libs.common.mt5.sim.terminal import SimulatedTerminal
from services.executor.adapters.mt5 import Mt5Broker
from services.executor.adapters.mt5_account import AccountGuard
from services.executor.adapters.mt5_clock import ServerClock
from services.executor.config import Mt5Account
from tests.unit.executor.executor_world import INSTRUMENTS, NOON, S

SENDS = (
    "fill", "fill", "fill", "part", "reject", "requote", "no connection", "arrives not", "executed, answer lost",
    "executed late", "unclear code, executed", "unclear code, not executed", "placed, executed late", "pipe broke",
    "never left", "comment cut", "terminal dies before", "terminal dies after",
)
"""What may become of one ``order_send``."""
READS = ("answered",) * 54 + ("not connected", "hangs", "history late", "history reversed", "twice", "order not shown")
"""What may become of one question."""


class Host:
    """The simulated terminal as the broker keeps it: its books outlive it, and late orders come when they come.

    Parameters
    ----------
    settings : the account
    chance : draws faults; None: none happen
    sends, reads : the menus to draw from
    """

    def __init__(
        self, settings: TerminalSettings | None = None, chance: random.Random | None = None,
        sends: tuple[str, ...] = SENDS, reads: tuple[str, ...] = READS,
    ) -> None:
        self.settings = settings or TerminalSettings()
        self.chance, self.sends, self.reads = chance, sends, reads
        self.terminal = SimulatedTerminal(self.settings, INSTRUMENTS, 1)
        self.script: dict[tuple[str, ...], list[str]] = {}
        self.received: dict[int, int] = {}
        self.fates: list[str] = []
        self.late: list[tuple[int, dict[str, Any]]] = []
        self.hide_until_ns = 0
        self.session = 0
        self.connected = True
        self.now_ns = NOON
        self.info = TerminalInfo(connected=True, trade_allowed=True, build=4000)
        self.ticks = {symbol: 0 for symbol in INSTRUMENTS}

    def move(self, block: TickBlock) -> None:
        """Let the market move, and do what is due."""
        self.now_ns = max(self.now_ns, int(block.time_ns[-1]))
        self.terminal.advance(block)
        due = [entry for entry in self.late if entry[0] <= self.now_ns]
        self.late = [entry for entry in self.late if entry[0] > self.now_ns]
        for _, request in due:
            self.terminal.order_send(request)

    def heal(self) -> None:
        """From now on nothing goes wrong."""
        self.chance = None

    def calls(self, guard: Callable[[TerminalCalls], Any] | None = None) -> "InProcessCalls":
        """Return a way to ask it."""
        return InProcessCalls(self, guard)

    def restart(self) -> None:
        """The terminal dies and comes back with its books; whoever was connected is not."""
        books = self.terminal.snapshot()
        self.terminal = SimulatedTerminal(self.settings, INSTRUMENTS, 1)
        self.terminal.restore(books)
        self.session += 1

    def draw(self, menu: tuple[str, ...]) -> str:
        """Return a fate: the script's next one, else one drawn, else the first of the menu."""
        script = self.script.get(menu)
        if self.chance is not None and script:
            return script.pop(0)
        return menu[0] if self.chance is None or script is not None else self.chance.choice(menu)


class InProcessCalls(TerminalCalls):
    """Asks the host as a driver with its worker does, errors included."""

    def __init__(self, host: Host, guard: Callable[[TerminalCalls], Any] | None = None) -> None:
        self.host, self.guard = host, guard
        self.asked: list[str] = []
        self.session: Any = -1
        self.before: Callable[[str], None] = lambda function: None
        self.after: Callable[[str], None] = lambda function: None

    async def call(self, function: str, /, *args: Any, deadline_s: float | None = None, **kwargs: Any) -> Any:
        if self.session != self.host.session and self.guard is not None:
            self.session = self.host.session
            try:
                await self.guard(self.host.calls())
            except BrokerError:
                self.session = -1
                raise
        self.asked.append(function)
        self.before(function)
        result = self._send(args[0]) if function == "order_send" else self._question(function, args, kwargs)
        self.after(function)
        return result

    def _question(self, function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        host = self.host
        fate = host.draw(host.reads)
        if fate == "hangs":
            host.session += 1
            raise TimeoutError(f"{function}: no answer; the worker was killed")
        if function == "terminal_info":
            return host.info._replace(connected=host.connected and fate != "not connected")
        answer = getattr(host.terminal, function)(*args, **kwargs)
        if answer is None:
            raise PackageError(function, *host.terminal.last_error())
        if function.startswith("history"):
            if fate == "history late":
                return answer[: len(answer) // 2]
            if fate == "history reversed":
                return answer[::-1]
            if fate == "twice":
                return (*answer, *answer)
        if function == "orders_get" and fate == "order not shown":
            return ()
        return answer

    def _send(self, request: dict[str, Any]) -> OrderSendResult:
        host = self.host
        magic = request["magic"]
        fate = host.draw(host.sends)
        host.fates.append(fate)
        if fate == "never left":
            raise BrokerError("order_send: no turn within 15 s")
        if fate in ("arrives not", "pipe broke", "terminal dies before"):
            host.session += 1
            if fate == "terminal dies before":
                host.restart()
            if fate == "pipe broke":
                raise OutcomeUncertain(f"magic {magic}", -10001)
            raise TimeoutError("order_send: no answer within 15 s; the worker was killed")
        refused = {"reject": 10006, "requote": 10004, "no connection": 10031, "unclear code, not executed": 10012}
        if fate in refused:
            return self._answer(request, refused[fate])
        host.received[magic] = host.received.get(magic, 0) + 1
        if fate in ("executed late", "placed, executed late"):
            assert host.chance is not None
            host.late.append((host.now_ns + host.chance.randint(1, 8) * S, request))
            if fate == "executed late":
                host.session += 1
                raise TimeoutError("order_send: no answer within 15 s; the worker was killed")
            return self._answer(request, 10008)
        return self._execute(request, fate)

    def _execute(self, request: dict[str, Any], fate: str) -> OrderSendResult:
        host = self.host
        if fate == "part":
            request = {**request, "volume": max(round(request["volume"] / 2, 2), 0.01)}
        if fate == "comment cut":
            request = {**request, "comment": "by the broker"}
        result = host.terminal.order_send(request)
        if result is None:
            code, text = host.terminal.last_error()
            if outcome_of_error(code, text) is Outcome.UNKNOWN:
                raise OutcomeUncertain("magic", code)
            raise PackageError("order_send", code, text)
        if fate == "terminal dies after":
            host.restart()
            raise OutcomeUncertain("magic", -10002)
        if fate == "executed, answer lost":
            host.session += 1
            raise TimeoutError("order_send: no answer within 15 s; the worker was killed")
        if fate == "unclear code, executed":
            return result._replace(retcode=10012, deal=0, order=0, volume=0.0, price=0.0)
        if fate == "part" and result.retcode == mt5.TRADE_RETCODE_DONE:
            return result._replace(retcode=mt5.TRADE_RETCODE_DONE_PARTIAL)
        return result

    def _answer(self, request: dict[str, Any], retcode: int) -> OrderSendResult:
        named = {name: value for name, value in request.items() if name in TradeRequest._fields}
        return OrderSendResult(retcode=retcode, comment=f"code {retcode}", request=TradeRequest(**named))


class MenuHost(Host):
    """The simulated terminal with the faults of a plan (``libs.common.mt5.sim.faults``)."""

    def __init__(self, plan: FaultPlan, settings: TerminalSettings | None = None) -> None:
        super().__init__(settings)
        self.faulty = FaultyTerminal(self.terminal, plan)

    def move(self, block: TickBlock) -> None:
        self.now_ns = max(self.now_ns, int(block.time_ns[-1]))
        self.faulty.advance(block)

    def heal(self) -> None:
        self.faulty.use_plan(NO_FAULTS)

    def calls(self, guard: Callable[[TerminalCalls], Any] | None = None) -> "InProcessCalls":
        return MenuCalls(self, guard)

    def restart(self) -> None:
        """Every connection is lost; the broker goes on."""
        self.session += 1


class MenuCalls(InProcessCalls):
    """Asks a ``MenuHost`` as a driver with its worker does."""

    host: MenuHost

    async def call(self, function: str, /, *args: Any, deadline_s: float | None = None, **kwargs: Any) -> Any:
        if self.guard is not None and self.session != (self.host.session, self.host.faulty.generation):
            await self._connect()
        self.asked.append(function)
        self.before(function)
        result = self._meaning(function, args, self.host.faulty.handle(function, args, kwargs))
        self.after(function)
        return result

    async def _connect(self) -> None:
        assert self.guard is not None
        if self._meaning("initialize", (), self.host.faulty.handle("initialize", (), {})) is not True:
            raise BrokerError("no turn within 10 s: initialize failed")
        await self.guard(self.host.calls())
        self.session = (self.host.session, self.host.faulty.generation)

    def _meaning(self, function: str, args: tuple[Any, ...], outcome: Any) -> Any:
        if isinstance(outcome, Silent):
            self.host.session += 1
            if outcome.how == "hang":
                raise TimeoutError(f"{function}: no answer; the worker was killed")
            if function == "order_send":
                raise OutcomeUncertain("magic", -10002)
            raise BrokerError(f"{function}: the pipe broke")
        result, (code, text) = outcome
        if function == "order_send":
            magic = args[0]["magic"]
            self.host.received[magic] = self.host.received.get(magic, 0) + 1
        if result is None:
            if function == "order_send" and outcome_of_error(code, text) is Outcome.UNKNOWN:
                raise OutcomeUncertain("magic", code)
            raise PackageError(function, code, text)
        return result


def broker_over(host: Host, folder: Path, mode: str = "paper", **pins: Any) -> tuple[Mt5Broker, InProcessCalls]:
    """Return the broker over a host, and the way it asks."""
    guard = AccountGuard(Mt5Account(**pins), mode, folder / "account.json")
    broker = Mt5Broker(
        approve=guard.approve, clock=ServerClock(host.settings.server_zone), namespace=1, symbols=("EURUSD", "USDJPY"),
        registry=lambda server: SymbolRegistry(None, server, {}),
    )
    calls = host.calls(broker.guard)
    broker.use(calls)
    return broker, calls
