"""A market fed to a terminal outside the core gives what the same terminal gives inside it: orders, fills, money."""

import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common.core import Effect, EffectResult
from libs.common.messages.account import AccountSnapshot
from libs.common.messages.base import Message
from libs.common.messages.control import Alert
from libs.common.messages.orders import OrderRejected
from libs.common.mt5.adapters.calls import TerminalCalls
from libs.common.mt5.adapters.simulated_broker import BrokerOptions, SimulatedBroker
from libs.common.mt5.adapters.symbol_registry import SymbolRegistry
from libs.common.mt5.sim.settings import TerminalSettings
from libs.common.storage.journal import OrderJournal
from services.executor.adapters.mt5 import Mt5Broker
from services.executor.adapters.mt5_account import AccountGuard
from services.executor.adapters.mt5_clock import ServerClock
from services.executor.adapters.performer import ExecutorEffects
from services.executor.config import Mt5Account
from services.executor.desk import ExternalDesk
from services.executor.effects import AdvanceMarket
from tests.property.executor.test_executor_properties import CONFIG, PRICE, Life, lives
from tests.unit.executor.executor_world import INSTRUMENTS, S, World, flatten

BROKERS = (
    TerminalSettings(),
    TerminalSettings(hedging=False, slippage="half_normal", slippage_points=3.0),
    TerminalSettings(balance_ccy=400.0, execution="instant"),
)


class Straight(TerminalCalls):
    """Asks a simulated broker in this process."""

    def __init__(self, broker: SimulatedBroker) -> None:
        self.broker = broker

    async def call(self, function: str, /, *args: Any, deadline_s: float | None = None, **kwargs: Any) -> Any:
        return self.broker.handle("test", function, args, kwargs).result  # type: ignore[union-attr]


class Feed:
    """The market's side of it."""

    def __init__(self, broker: SimulatedBroker) -> None:
        self.broker, self.blocks = broker, 0

    async def advance(self, block: Any) -> Any:
        self.blocks += 1
        return self.broker.advance(msgspec.structs.replace(block, first_tick=self.blocks * 100))

    async def marks(self) -> Any:
        return self.broker.marks()

    async def close(self) -> None: ...


def fed_world(settings_: TerminalSettings, folder: Path) -> World:
    """Return a world whose terminal is outside the core."""
    options = BrokerOptions(
        terminal=settings_, instruments={name: one.config for name, one in INSTRUMENTS.items()}, seed=1
    )
    simulated = SimulatedBroker(options, folder / "terminal", sync=False)
    guard = AccountGuard(Mt5Account(), "paper", folder / "account.json")
    broker = Mt5Broker(
        approve=guard.approve, clock=ServerClock(settings_.server_zone), namespace=1, symbols=tuple(INSTRUMENTS),
        registry=lambda server: SymbolRegistry(None, server, {}), feed=Feed(simulated),  # type: ignore[arg-type]
    )
    calls = Straight(simulated)
    broker.use(calls)
    _at_once(broker.guard(calls))
    effects = ExecutorEffects(folder / "orders.sqlite", broker)
    effects._journal = _NoDisk()  # type: ignore[assignment]

    def perform(effect: Effect, now_ns: int) -> EffectResult | None:
        return _at_once(effects.perform(effect))

    return World(CONFIG, desk=ExternalDesk(fed=True), perform=perform)


def _at_once(work: Any) -> Any:
    """Run a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits for something")


class _NoDisk:
    """The part of the order journal that sending needs; the disk is another test's affair."""

    def __init__(self) -> None:
        self.marked: set[str] = set()

    async def begin_sending(self, order_id: str, ts_ns: int, request: str = "") -> bool:
        assert order_id not in self.marked
        self.marked.add(order_id)
        return True

    history = OrderJournal.history


def told(world: World) -> list[Any]:
    """Return what was said about orders and positions; who refused (we or the server) is left out."""
    return [
        m.order_id if isinstance(m, OrderRejected) else m for m in world.said
        if isinstance(m, Message) and not isinstance(m, Effect | EffectResult | AccountSnapshot | Alert)
    ]


class SameNames(Life):
    """Names its commands by their number, however many inputs a world has had."""

    commands = 0

    def command(self, verb: str) -> None:
        self.commands += 1
        name, _, symbol = verb.partition(" ")
        if name == "flatten":
            self.world.hear(flatten(self.world.now_ns, f"f{self.commands}", symbol))
        else:
            super().command(verb)


def lived(world: World, life: list[tuple[Any, ...]]) -> World:
    player = SameNames(world)
    for symbol in sorted(PRICE):
        player.ticks(symbol, [0], S)
    for action in life:
        if action[0] != "disk":
            player.play(action)
    for _ in range(3):
        for symbol in sorted(PRICE):
            player.ticks(symbol, [0, 0, 0, 0, 0], S)
    return world


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(broker=st.sampled_from(BROKERS), life=lives)
def test_the_terminal_may_live_inside_the_core_or_outside(
    broker: TerminalSettings, life: list[tuple[Any, ...]]
) -> None:
    inside = lived(World(CONFIG, terminal=broker), life)
    with tempfile.TemporaryDirectory() as folder:
        outside = lived(fed_world(broker, Path(folder)), life)
    assert any(isinstance(effect, AdvanceMarket) for effect in outside.said)
    assert told(outside) == told(inside)
    now_ns = inside.now_ns
    assert outside.desk.positions() == inside.desk.positions()
    account, same = outside.desk.account(now_ns), inside.desk.account(now_ns)
    assert account is not None
    assert same is not None
    assert msgspec.structs.replace(account, as_of_ns=0) == msgspec.structs.replace(same, as_of_ns=0)
