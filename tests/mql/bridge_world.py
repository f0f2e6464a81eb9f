"""TickwireBridge on a real nats-server, with a simulated account as its terminal and the executor's own adapters."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from libs.common.bus.nats import NatsBus
from libs.common.bus.server import EmbeddedServer
from libs.common.codec import encode
from libs.common.config import InstrumentConfig
from libs.common.messages.control import Heartbeat
from libs.common.messages.ea import EaAsker
from libs.common.messages.market import TickBlock
from libs.common.mt5.adapters.ea_terminal import EaTerminal
from libs.common.mt5.sim.settings import TerminalSettings
from libs.common.mt5.sim.terminal import SimulatedTerminal
from libs.common.mt5.sim.tick_history import TickHistory
from libs.common.storage.keys import EA_KEY, ensure_keys, read_key
from libs.common.trading.instrument import Instrument
from tests.mql.package_answers import PackageAnswers

START_NS = 1_704_700_800_000_000_000
"""Monday 2024-01-08 08:00 UTC."""
NS_PER_MS = 1_000_000
MAGIC = (1 << 48) + 77
INPUTS = {
    "InpAccount": "paper", "InpSymbols": "EURUSD,XAUUSD", "InpMaxLots": 1.0, "InpMaxPositions": 3,
    "InpMaxDailyLossPct": 5.0, "InpDeadManSeconds": 0.0,
}


def make_terminal(**settings: Any) -> SimulatedTerminal:
    """Return a simulated account with two symbols."""
    instruments = {
        "EURUSD": Instrument("EURUSD", InstrumentConfig()),
        "XAUUSD": Instrument("XAUUSD", InstrumentConfig(digits=2, contract_size=100.0, margin_currency="USD")),
    }
    return SimulatedTerminal(TerminalSettings(**settings), instruments, 1, TickHistory())


class Market:
    """Moves the simulated account's market."""

    def __init__(self, terminal: SimulatedTerminal) -> None:
        self.terminal = terminal
        self._ticks = {"EURUSD": 0, "XAUUSD": 0}
        self.now_ns = START_NS

    def move(self, symbol: str = "EURUSD", bid: float = 1.1, count: int = 1, step_ms: int = 250) -> TickBlock:
        """Let some ticks come, one point apart."""
        digits = 5 if symbol == "EURUSD" else 2
        offsets = np.arange(1, count + 1, dtype=np.int64) * step_ms * NS_PER_MS
        prices = np.round(bid + np.arange(count) * 10.0**-digits, digits)
        block = TickBlock(
            ts_event_ns=int(self.now_ns + offsets[-1]), ts_init_ns=0, symbol=symbol, first_tick=self._ticks[symbol] + 1,
            time_ns=self.now_ns + offsets, bid=prices, ask=np.round(prices + 10 * 10.0**-digits, digits),
        )
        self._ticks[symbol] += count
        self.now_ns = block.ts_event_ns
        self.terminal.advance(block)
        return block


class BridgeWorld:
    """Everything around one Expert Advisor.

    Attributes
    ----------
    heard : everything said below ``ea.`` as (subject, decoded JSON)
    """

    def __init__(self, server: EmbeddedServer, root: Path, start_expert: Any) -> None:
        self.server, self.root, self._start_expert = server, root, start_expert
        self.terminal = make_terminal()
        self.market = Market(self.terminal)
        self.answers = PackageAnswers(self.terminal)
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.buses: dict[str, NatsBus] = {}
        self.expert: Any = None

    async def bus(self, user: str) -> NatsBus:
        """Return a connection as a user."""
        if user not in self.buses:
            self.buses[user] = await NatsBus.connect(self.server.url, user=user, password=self.server.passwords[user])
        return self.buses[user]

    async def open(self, name: str = "TickwireBridge.mq5", *, files: Path | None = None, **options: Any) -> Any:
        """Start the program; its terminal's files are those of ``files`` where given."""
        usual = INPUTS if name == "TickwireBridge.mq5" else {}
        inputs = {**usual, "InpPort": self.server.port, **options.pop("inputs", {})}
        observer = await self.bus("observer")
        if not self.heard:
            await observer.on_message("ea.>", self._hear)
            await observer.on_message("alerts.*", self._hear)
            await observer.settle()
        expert = self._start_expert(name, inputs=inputs, answers=self.answers, **options)
        self.put_secrets(expert.files)
        if files is not None:
            for path in (files / "tickwire").iterdir():
                (expert.files / "tickwire" / path.name).write_bytes(path.read_bytes())
        assert expert.init() == 0, expert.prints
        self.expert = expert
        return expert

    def put_secrets(self, files: Path) -> None:
        """Write password and key where the program looks for them."""
        folder = files / "tickwire"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ea.password").write_text(self.server.passwords["ea"] + "\n")
        (folder / "ea.key").write_text(read_key(self.root, EA_KEY).hex() + "\n")

    def _hear(self, subject: str, payload: bytes) -> None:
        self.heard.append((subject, msgspec.json.decode(payload)))

    def said(self, what: str) -> list[dict[str, Any]]:
        """Return what was said of a kind (``ticks``, ``hello``, ...) so far."""
        return [message for subject, message in self.heard if subject.split(".")[2:3] == [what]]

    async def until(self, condition: Any, timeout_s: float = 10.0) -> None:
        """Wait for a condition while the program's timer runs."""
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, f"not in time; prints {self.expert.prints[-5:]}; heard {self.heard[-3:]}"
            await asyncio.sleep(0.005)

    async def server_back(self) -> None:
        """Start the server again, the program standing still until the observer hears again.

        What is said to nobody is gone: the observer has no stream to catch up from, as the bridge's readers ask for what
        they missed (see ``test_ingest_ea``).
        """
        with self.expert.lock:
            await self.server.start()
            observer = await self.bus("observer")
            async with asyncio.timeout(20):
                while not observer.connected:
                    await asyncio.sleep(0.01)
            await observer.settle()

    async def terminal_of(self, asker: EaAsker = EaAsker.EXECUTOR, **options: Any) -> EaTerminal:
        """Return the adapter's side, listening."""
        key = read_key(self.root, EA_KEY) if asker is EaAsker.EXECUTOR else None
        found = EaTerminal(await self.bus(asker.value), "paper", asker=asker, mac_key=key, **options)
        await found.start()
        return found

    async def risk_beats(self) -> None:
        """Let risk be heard once."""
        now_ns = time.time_ns()
        bus = await self.bus("risk")
        beat = Heartbeat(
            ts_event_ns=now_ns, ts_init_ns=now_ns, service="risk", instance="x", version="0", ready=True, lag_ms=0.0,
            seen={}, sent={},
        )
        await bus._client.publish("health.risk", encode(beat))
        await bus._client.flush()

    async def close(self) -> None:
        for bus in self.buses.values():
            await bus.close()


@contextlib.asynccontextmanager
async def bridge_world(folder: Path, start_expert: Any) -> AsyncIterator[BridgeWorld]:
    """Start a server and give it with a world around it."""
    root = folder / "tickwire"
    root.mkdir(parents=True)
    ensure_keys(root)
    server = EmbeddedServer(root)
    await server.start()
    world = BridgeWorld(server, root, start_expert)
    try:
        yield world
    finally:
        await world.close()
        await server.stop()


def request_for(magic: int = MAGIC, lots: float = 0.1, **more: Any) -> dict[str, Any]:
    """Return a market order as the executor makes it."""
    return {
        "action": 1, "symbol": "EURUSD", "volume": lots, "type": 0, "price": 1.1001, "sl": 0.0, "tp": 0.0, "deviation": 50,
        "magic": magic, "comment": "tw:0123456789ab", "type_time": 0, "type_filling": 1, **more,
    }
