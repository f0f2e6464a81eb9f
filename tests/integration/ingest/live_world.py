"""A terminal and a bus in memory around the real ingest service, both of which may fail and be killed."""

import asyncio
import contextlib
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from libs.common.codec import Codec
from libs.common.config import InstrumentConfig, Mt5Config, SystemConfig
from libs.common.errors import BrokerError
from libs.common.messages.base import Message
from libs.common.messages.control import Alert
from libs.common.messages.market import FeedStatus, TickBlock
from libs.common.mt5 import constants as mt5
from libs.common.mt5.adapters.calls import PackageError, TerminalCalls
from libs.common.mt5.adapters.driver import Health
from libs.common.mt5.convert import TICK_DTYPE, OffsetHistory
from libs.common.mt5.results import AccountInfo, SymbolInfo, TerminalInfo, Tick
from libs.common.routing import subject_of
from libs.common.runtime.metrics import Metrics
from libs.common.runtime.service import ServiceContext
from services.ingest.adapters import mt5_service
from services.ingest.adapters.mt5_start import read_point
from services.ingest.config import IngestConfig, LiveSettings

S = 1_000_000_000
MS = 1_000_000
SERVER = "Broker-Demo"
FAST = {"poll_ms": 1.0, "poll_idle_ms": 4.0}
_codec = Codec()


def rates(n: int, *, start_ns: int, seed: int = 0, step_ms: int = 40, zone: str = "NY+7", price: float = 1.1) -> np.ndarray:
    """Return n ticks as the package has them, many in the same millisecond, none exactly like the one before."""
    random = np.random.default_rng(seed)
    utc_ms = start_ns // MS + np.cumsum(random.choice([0, 0, 1, step_ms], size=n))
    offset_ms = np.array([OffsetHistory(zone=zone).offset_s(int(t) * MS) for t in utc_ms]) * 1_000
    ticks = np.zeros(n, dtype=TICK_DTYPE)
    ticks["time_msc"] = utc_ms + offset_ms
    ticks["time"] = ticks["time_msc"] // 1_000
    steps = random.choice([-2, -1, 1, 2], size=n)
    ticks["bid"] = np.round(price + np.cumsum(steps) * 1e-5, 5)
    ticks["ask"] = np.round(ticks["bid"] + 7e-5, 5)
    ticks["flags"] = 6
    return ticks


class FakeTerminal(TerminalCalls):
    """Answers as a terminal would.

    Parameters
    ----------
    ticks : by the broker's name; those up to ``shown`` are there
    """

    def __init__(self, ticks: dict[str, np.ndarray], **info: Any) -> None:
        self.ticks = ticks
        self.shown = dict.fromkeys(ticks, 0)
        self.infos = {
            name: SymbolInfo(
                name=name, select=True, visible=True, digits=5, point=1e-5, trade_contract_size=100_000.0,
                currency_profit="USD", currency_margin="EUR", volume_min=0.01, volume_max=100.0, volume_step=0.01,
                trade_mode=mt5.SYMBOL_TRADE_MODE_FULL, trade_tick_size=1e-5,
            )._replace(**info)
            for name in ticks
        }
        self.server = SERVER
        self.connected = True
        self.down = ""
        self.session = 1
        self.asked: list[tuple[Any, ...]] = []

    async def call(self, function: str, /, *args: Any, deadline_s: float | None = None, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        if self.down:
            raise BrokerError(self.down)
        self.asked.append((function, *args))
        return getattr(self, f"_{function}")(*args)

    # What Mt5Driver adds.

    async def start(self) -> None: ...

    async def aclose(self) -> None: ...

    async def ready(self, timeout_s: float) -> None:
        if self.down:
            await asyncio.sleep(0.01)
            raise BrokerError(self.down)

    def health(self) -> Health:
        return Health(
            state="waiting" if self.down else "ready", problem=self.down, pid=1, session=self.session, restarts=0,
            kills=0, calls=len(self.asked), failures=0, waiting=0, last_error=(1, "Success"), round_trip_s=0.0,
            average_s=0.0,
        )  # fmt: skip

    # The package.

    def _account_info(self) -> AccountInfo:
        return AccountInfo(login=1, server=self.server)

    def _terminal_info(self) -> TerminalInfo:
        return TerminalInfo(connected=self.connected)

    def _symbols_get(self) -> tuple[SymbolInfo, ...]:
        return tuple(self.infos.values())

    def _symbol_info(self, symbol: str) -> SymbolInfo:
        if symbol not in self.infos:
            raise PackageError("symbol_info", mt5.RES_E_NOT_FOUND, "Terminal: Not found")
        return self.infos[symbol]

    def _symbol_select(self, symbol: str, _enable: bool = True) -> bool:
        if symbol in self.infos:
            self.infos[symbol] = self.infos[symbol]._replace(select=True)
        return symbol in self.infos

    def _symbol_info_tick(self, symbol: str) -> Tick:
        self._symbol_info(symbol)
        shown = self.ticks[symbol][: self.shown[symbol]]
        if not len(shown):
            return Tick()
        last = shown[-1]
        return Tick(time=int(last["time"]), bid=float(last["bid"]), ask=float(last["ask"]), time_msc=int(last["time_msc"]))

    def _copy_ticks_from(self, symbol: str, date_from: int, count: int, _flags: int) -> np.ndarray:
        if symbol not in self.infos:
            raise PackageError("copy_ticks_from", mt5.RES_E_FAIL, "Terminal: Call failed")
        shown = self.ticks[symbol][: self.shown[symbol]]
        return shown[shown["time"] >= date_from][:count].copy()

    def rename(self, before: str, after: str) -> None:
        self.ticks[after], self.shown[after] = self.ticks.pop(before), self.shown.pop(before)
        self.infos[after] = self.infos.pop(before)._replace(name=after)


class FakeBus:
    """Streams in memory. ``crash`` loses what the streams were not asked to be sure of."""

    connected, reconnects, republished = True, 0, 0

    def __init__(self) -> None:
        self.streams: dict[str, list[tuple[int, Message]]] = defaultdict(list)
        self.alerts: list[Alert] = []
        self.sure: dict[str, int] = {}
        self.failing = False

    async def publish(self, message: Message) -> None:
        if isinstance(message, Alert):
            self.alerts.append(message)

    async def publish_payload(self, subject: str, seq: int, payload: bytes, _command_id: str = "") -> None:
        await asyncio.sleep(0)
        message = _codec.decode(payload, subject)
        assert subject_of(message) == subject
        stream = self.streams[subject]
        if stream and seq <= stream[-1][0]:
            return
        stream.append((seq, message))

    async def held(self, subject: str) -> int:
        return self.streams[subject][-1][0] if self.streams[subject] else 0

    async def last(self, subject: str) -> Message | None:
        return self.streams[subject][-1][1] if self.streams[subject] else None

    async def wait_held(self, sent: dict[str, int], *, for_s: float = 0.0) -> None:
        await asyncio.sleep(0.005)
        self.sure |= sent

    async def flush(self, *, for_s: float = 0.0) -> None: ...

    async def reader(self, patterns: list[str], **_options: Any) -> "FakeBus.Reader":
        return FakeBus.Reader(self, patterns)

    class Reader:
        def __init__(self, bus: "FakeBus", patterns: list[str]) -> None:
            self._bus, self._patterns = bus, patterns

        async def batch(self) -> list[Any]:
            from libs.common.bus.protocol import Delivered

            return [
                Delivered(subject, b"", message, seq)
                for subject in self._patterns for seq, message in self._bus.streams[subject]
            ]  # fmt: skip

        async def close(self) -> None: ...

    def crash(self, lost: int) -> None:
        """Lose the newest messages of every subject, as far as nobody was told that they are safe."""
        for subject, stream in self.streams.items():
            for _ in range(lost):
                if stream and stream[-1][0] > self.sure.get(subject, 0):
                    stream.pop()

    def blocks(self, symbol: str) -> list[TickBlock]:
        return [message for _, message in self.streams[f"ticks.{symbol}"]]  # type: ignore[misc]

    def statuses(self, symbol: str) -> list[FeedStatus]:
        return [message for _, message in self.streams[f"feed.{symbol}"]]  # type: ignore[misc]

    def names_of_alerts(self) -> list[str]:
        return [alert.name for alert in self.alerts]


class Silent:
    def info(self, *_: Any, **__: Any) -> None: ...

    warning = error = info


class LiveWorld:
    """The service, startable and killable, over one terminal, one bus and one data folder."""

    def __init__(
        self, folder: Path, terminal: FakeTerminal, *, symbols: tuple[str, ...] = ("EURUSD",), clock: str = "event",
        zone: str = "NY+7", names: dict[str, str] | None = None, instrument: InstrumentConfig | None = None,
        service: type[mt5_service.Mt5IngestService] = mt5_service.Mt5IngestService, **live: Any,
    ) -> None:
        self._service_class = service
        self.terminal, self.bus, self.folder = terminal, FakeBus(), folder
        offset = {"server_offset": "zone"} if clock == "event" else {}
        self.config: dict[str, Any] = {
            "system": SystemConfig(symbols=symbols, clock=clock),  # type: ignore[arg-type]
            "bus": None,
            "instruments": dict.fromkeys(symbols, instrument or InstrumentConfig()),
            "mt5": Mt5Config(backend="sim", connect="fake:1", server_zone=zone, symbols=names or {}),
            "ingest": IngestConfig(adapter="mt5", live=LiveSettings(**{**FAST, **offset, **live})),
        }
        self.service: mt5_service.Mt5IngestService | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        (self.folder / "ingest").mkdir(parents=True, exist_ok=True)
        context = ServiceContext(
            name="ingest", data_dir=self.folder / "ingest", root_dir=self.folder, bus=self.bus,  # type: ignore[arg-type]
            log=Silent(), metrics=Metrics(),
        )
        before = mt5_service.driver_for
        mt5_service.driver_for = lambda *_, **__: self.terminal  # type: ignore[assignment]
        try:
            self.service = self._service_class(self.config, context)
        finally:
            mt5_service.driver_for = before
        self._task = asyncio.create_task(self.service.run())

    async def kill(self) -> None:
        """End the service where it stands."""
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def stop(self) -> None:
        assert self.service is not None
        assert self._task is not None
        self.service.stop()
        await self._task

    async def until(self, condition: Any, timeout_s: float = 60.0) -> None:
        """Wait for what must come true, patiently: a busy disk takes seconds for what an idle one does in milliseconds."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert self._task is not None
            if self._task.done():
                self._task.result()
            assert time.monotonic() < deadline, f"not in time: {self.service.ready()}, {self.bus.alerts}"  # type: ignore[union-attr]
            await asyncio.sleep(0.002)

    def written_down(self, symbol: str = "EURUSD") -> int:
        """Return the number of the last tick before the moment that is written down."""
        point = read_point(self.folder / "ingest" / "live.json")
        return 0 if point is None else point.symbols[symbol].ticks

    def published(self, symbol: str = "EURUSD") -> int:
        blocks = self.bus.blocks(symbol)
        return blocks[-1].first_tick + len(blocks[-1]) - 1 if blocks else 0


def assert_published(bus: FakeBus, symbol: str, ticks: np.ndarray, zone: str = "NY+7") -> None:
    """Check that the stream holds exactly these ticks, each once, in order, under numbers without holes."""
    blocks = bus.blocks(symbol)
    assert [seq for seq, _ in bus.streams[f"ticks.{symbol}"]] == list(range(1, len(blocks) + 1))
    number = 1
    for block in blocks:
        assert block.first_tick == number
        number += len(block)
    expected_ns = OffsetHistory(zone=zone).times(int(ticks["time_msc"][0])).to_utc_ns(ticks["time_msc"].astype(np.int64))
    published_ns = np.concatenate([block.time_ns for block in blocks])
    assert len(published_ns) == len(expected_ns)
    wrong = np.flatnonzero(published_ns != expected_ns)
    assert len(wrong) == 0, f"tick {wrong[0] + 1} of {len(expected_ns)} is the first wrong one of {len(wrong)}"
    assert np.concatenate([block.bid for block in blocks]).tolist() == ticks["bid"].tolist()
    assert np.concatenate([block.ask for block in blocks]).tolist() == ticks["ask"].tolist()
    assert all(len(block.last) == 0 and len(block.flags) == len(block) for block in blocks)
