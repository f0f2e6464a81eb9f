"""Every entry of the fault menu that can befall an Expert Advisor, against the executor with its ``ea`` broker.

The same life and the same audit as for the ``mt5`` broker, but every question and every order goes over a real
nats-server to a compiled TickwireBridge, whose terminal fails as the menu says. A call that would hang for ever is a
terminal that somebody kills and starts again: the program comes back with its files.
"""

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from libs.common.messages.ea import EaAsker
from libs.common.messages.market import TickBlock
from libs.common.mt5.adapters.calls import TerminalCalls
from libs.common.mt5.adapters.ea_terminal import EaTerminal
from libs.common.mt5.sim import faults as menu
from libs.common.mt5.sim.faults import FaultPlan
from libs.common.mt5.sim.faulty_terminal import Silent
from libs.common.mt5.sim.settings import TerminalSettings
from libs.common.storage.keys import EA_KEY, read_key
from tests.integration.executor.test_mt5_fault_menu import ACTS, CONDITIONS, SENDS, name, rules_of
from tests.mql.bridge_world import bridge_world
from tests.mql.package_answers import PackageAnswers
from tests.unit.executor.mt5_chaos import Life, acquitted
from tests.unit.executor.mt5_world import InProcessCalls, MenuHost

TYPICAL = (
    menu.Hang(executed=True), menu.NoneAnswer(), menu.Retcode(retcode=10012), menu.LostAnswer(answer="hang"),
    menu.LateExecution(delay_s=3.0, answer="timeout"), menu.PartialFill(), menu.CommentChanged(keep=3),
    menu.HistoryLate(by_s=6.0), menu.SymbolRenamed(symbol="EURUSD", to="EURUSD.r"), menu.ManualTrade(symbol="EURUSD"),
)
"""One of each kind; the others have the mark ``chaos``."""


class TerminalStands(BaseException):
    """The call would never return."""


class FaultyPackage:
    """The faulty terminal as a program's questions meet it; what a look shows is one moment."""

    def __init__(self, host: "EaHost") -> None:
        self._host = host
        self._seen: dict[tuple[Any, ...], Any] = {}

    def forget(self) -> None:
        self._seen.clear()

    def __getattr__(self, function: str) -> Callable[..., Any]:
        def ask(*arguments: Any) -> Any:
            key = (function, *(a for a in arguments if not isinstance(a, dict)))
            if function != "order_send" and key in self._seen:
                return self._seen[key]
            outcome = self._host.faulty.handle(function, arguments, {})
            self._seen.clear() if function == "order_send" else None
            if isinstance(outcome, Silent):
                raise TerminalStands(function)
            if function != "order_send":
                self._seen[key] = outcome.result
            return outcome.result

        return ask


class FaultyAnswers(PackageAnswers):
    """Answers as the faulty terminal does; an Expert Advisor's own terminal always knows its account and symbols."""

    def TerminalInfoInteger(self, name: str) -> int:
        if name == "TERMINAL_CONNECTED":
            self.mt5.forget()
        return super().TerminalInfoInteger(name)

    def PositionSelectByTicket(self, ticket: int) -> dict[str, Any] | None:
        self.mt5.forget()
        return super().PositionSelectByTicket(ticket)

    def OrderSend(self, request: dict[str, Any]) -> dict[str, Any] | None:
        received = self.mt5._host.received
        received[request["magic"]] = received.get(request["magic"], 0) + 1
        return super().OrderSend(request)

    def SymbolInfoTick(self, symbol: str) -> dict[str, Any] | None:
        return super().SymbolInfoTick(symbol) if self.mt5.symbol_info(symbol) else None

    def _symbol(self, symbol: str, name: str) -> Any:
        info = self.mt5.symbol_info(symbol)
        if info is not None:
            return super()._symbol(symbol, name)
        return {"SYMBOL_DIGITS": 5}.get(name, "" if "CURRENCY" in name else 0)


class EaHost(MenuHost):
    """The faulty terminal with a compiled Expert Advisor in it, which is started again when it stands still."""

    def __init__(self, world: Any, plan: FaultPlan, settings: TerminalSettings) -> None:
        super().__init__(plan, settings)
        self.world = world
        self.lock = threading.RLock()
        self.starts = 0
        self._stop = threading.Event()
        self._expert: Any = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        world.answers = FaultyAnswers(FaultyPackage(self))

    async def open(self) -> None:
        self._expert = await self.world.open(inputs={**LIMITS, "InpSymbols": "EURUSD,USDJPY", "InpPublishTicks": False})
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)

    def move(self, block: TickBlock) -> None:
        with self.lock:
            super().move(block)

    def heal(self) -> None:
        with self.lock:
            super().heal()

    def restart(self) -> None:
        with self.lock:
            self._start_again()

    def calls(self, guard: Any = None) -> InProcessCalls:
        return EaCalls(self, guard)

    def _run(self) -> None:
        while not self._stop.wait(0.001):
            with self.lock:
                self.world.answers.mt5.forget()
                try:
                    self._expert.timer()
                except TerminalStands:
                    self._start_again()

    def _start_again(self) -> None:
        self.starts += 1
        old = self._expert
        old.end()
        again = self.world._start_expert(
            "TickwireBridge.mq5", answers=self.world.answers,
            inputs={**LIMITS, "InpAccount": "paper", "InpSymbols": "EURUSD,USDJPY", "InpPublishTicks": False,
                    "InpPort": self.world.server.port},
        )  # fmt: skip
        (again.files / "tickwire").mkdir(parents=True, exist_ok=True)
        for path in (old.files / "tickwire").iterdir():
            (again.files / "tickwire" / path.name).write_bytes(path.read_bytes())
        while True:
            with contextlib.suppress(TerminalStands):
                assert again.init() == 0
                break
        self._expert = again


LIMITS = {"InpMaxLots": 0.0, "InpMaxPositions": 0, "InpMaxDailyLossPct": 0.0, "InpDeadManSeconds": 0.0}


class EaCalls(InProcessCalls):
    """Asks over the bus, as the executor's ``ea`` broker does; the process may be killed before and after."""

    def __init__(self, host: EaHost, guard: Any) -> None:
        super().__init__(host, guard)
        self._terminal: EaTerminal | None = None

    async def call(self, function: str, /, *args: Any, deadline_s: float | None = None, **kwargs: Any) -> Any:
        terminal = await self._opened()
        self.before(function)
        result = await TerminalCalls.__getattribute__(terminal, "call")(function, *args, deadline_s=deadline_s, **kwargs)
        self.after(function)
        return result

    async def _opened(self) -> EaTerminal:
        if self._terminal is None:
            world = self.host.world
            self._terminal = EaTerminal(
                await world.bus("executor"), "paper", asker=EaAsker.EXECUTOR, mac_key=read_key(world.root, EA_KEY),
                guard=self.guard, send_s=1.0, read_s=1.0, silent_after_s=1.5, fresh_s=0.0,
            )
            await self._terminal.start()
        with contextlib.suppress(Exception):
            await self._terminal.ready(3.0)
        return self._terminal


def cases() -> list[Any]:
    """Return every fault that can befall an order or a terminal, the typical ones without the mark ``chaos``.

    A build mismatch is between the package and the terminal; a program inside the terminal knows no such thing.
    """
    found = []
    for fault in (*SENDS, *CONDITIONS, *ACTS):
        if isinstance(fault, menu.BuildMismatch):
            continue
        found.append(pytest.param(fault, id=name(fault), marks=() if fault in TYPICAL else pytest.mark.chaos))
    return found


@pytest.mark.timeout(180)
@pytest.mark.parametrize("fault", cases())
async def test_every_fault_is_survived_by_way_of_the_expert_advisor(tmp_path, ea, fault):
    async with bridge_world(tmp_path / "bus", ea) as world:
        host = EaHost(world, FaultPlan(rules=rules_of(fault)), TerminalSettings())
        life = Life(tmp_path, random.Random(1), 0.0, host=host)
        host.move(first_block(life))
        await host.open()
        try:
            await acquitted(life)
        finally:
            host.close()
    await asyncio.sleep(0)


def first_block(life: Life) -> TickBlock:
    from tests.unit.executor.executor_world import NOON, S, ticks

    life.now_ns = NOON
    return ticks("EURUSD", NOON - S, (1.1, 1.1001))
