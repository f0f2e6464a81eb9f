"""Ingest from a MetaTrader 5 terminal: ticks of the moment, each published once, whatever is killed in between."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from libs.common import subjects
from libs.common.bus.sequencing import SETTLED_S
from libs.common.config import Mt5Config
from libs.common.errors import BrokerError, ConfigError, StorageError
from libs.common.messages.base import Message
from libs.common.messages.control import Severity
from libs.common.messages.market import TickBlock
from libs.common.mt5.adapters.calls import PackageError
from libs.common.mt5.adapters.clock_file import clock_path
from libs.common.mt5.adapters.connection import driver_for
from libs.common.mt5.adapters.driver import Mt5Driver
from libs.common.mt5.adapters.ea_terminal import EaTerminal
from libs.common.mt5.adapters.symbol_registry import SymbolMissing, SymbolRegistry
from libs.common.routing import subject_of
from libs.common.runtime.service import ServiceContext
from services.ingest.adapters.mt5_clock import ServerClockKeeper
from services.ingest.adapters.mt5_feed import SymbolFeed
from services.ingest.adapters.mt5_start import (
    check_specification,
    go_on_after,
    held_of,
    read_point,
    start_of,
    write_point,
)
from services.ingest.adapters.publishing import PublishingService, Work
from services.ingest.core import IngestCore
from services.ingest.market_hours import Hours, open_ns_between
from services.ingest.resume import LivePoint, Overlap, SymbolPoint

NS_PER_S = 1_000_000_000
_CHECK_EVERY_S = 1.0
_SAVE_EVERY_S = 1.0
_CLOCK_LOOK_S = 5.0
_MEASURE_LOOK_S = 0.2
_RETRY_S, _LONGEST_RETRY_S = 0.25, 5.0
_OVERLAP_WAIT_S = 60.0


class _Symbol(msgspec.Struct, kw_only=True):
    """One symbol at work.

    Parameters
    ----------
    stored : the block the stream ended with at the start
    due_s, clock_due_s : when the next question is due, and the next look at a silent symbol's clock, monotonic
    retry_s : pause after the next failure
    overlap_until_s : when to stop waiting for ticks the stream holds and the terminal does not show
    """

    feed: SymbolFeed
    overlap: Overlap
    stored: TickBlock | None
    due_s: float = 0.0
    clock_due_s: float = 0.0
    retry_s: float = _RETRY_S
    overlap_until_s: float = 0.0


class Mt5IngestService(PublishingService):
    """Reads the symbols of one terminal, one question at a time, and publishes what is good.

    Raises
    ------
    ConfigError : at the start, for settings that cannot work
    """

    def __init__(self, config: dict[str, Any], context: ServiceContext) -> None:
        super().__init__(config, context)
        self._mt5: Mt5Config = config["mt5"]
        self._live = self._config.live
        self._is_wall = self._system.clock == "wall"
        if self._mt5.backend == "real" and not self._is_wall:
            raise ConfigError("ingest.adapter: mt5 reads a live market: set system.clock: wall")
        if not self._is_wall and self._live.server_offset == "measure":
            raise ConfigError("in event time there is no clock to measure: set ingest.live.server_offset: zone")
        names = tuple(sorted(self._system.symbols))
        sessions = {name: self._instruments[name].session for name in names if name in self._instruments}
        self._sessions: dict[str, Hours] = {name: sessions.get(name, "fx") for name in names}
        self._core = IngestCore(
            self._config, names, self._system.decide_on, {name: sessions.get(name, "fx") for name in names}
        )
        self._driver = self._make_terminal()
        self._registry: SymbolRegistry | None = None
        self._clock: ServerClockKeeper | None = None
        self._symbols: dict[str, _Symbol] = {}
        self._server = ""
        self._session = 0
        self._problem = "the terminal was not reached yet"
        self._told: set[str] = set()
        self._point_path = context.data_dir / "live.json"
        self._saving: asyncio.Task[None] | None = None
        self._save_due_s = self._check_due_s = 0.0

    def _make_terminal(self) -> Mt5Driver | EaTerminal:
        """Return whom to ask, not started."""
        return driver_for(self._mt5, log=self._say)

    # ---- life

    async def _open(self) -> None:
        await self._driver.start()

    def _work(self) -> tuple[Work, ...]:
        return (self._read,)

    async def _close(self) -> None:
        if self._saving is not None:
            self._saving.cancel()
            await asyncio.gather(self._saving, return_exceptions=True)
        await self._driver.aclose()

    def _details(self) -> dict[str, float | str]:
        health = self._driver.health()
        found = self._core.details() | {
            "terminal": self._problem or "connected", "worker restarts": float(health.restarts),
            "worker kills": float(health.kills), "terminal round trip ms": round(health.average_s * 1e3, 3),
        }  # fmt: skip
        if self._clock is not None:
            found["server clock h"] = self._clock.offset_s(time.time_ns()) / 3_600
        return found

    def _not_ready(self) -> str:
        return self._problem

    # ---- reading

    async def _read(self) -> None:
        await self._begin()
        while True:
            if time.monotonic() >= self._check_due_s:
                await self._check()
            one = min(self._symbols.values(), key=lambda symbol: symbol.due_s)
            wait_s = min(one.due_s, self._check_due_s) - time.monotonic()
            if wait_s > 0.0:
                await self._rest(wait_s)
            if time.monotonic() >= one.due_s:
                await self._poll(one)
                self._save_now_and_then()

    async def _rest(self, wait_s: float) -> None:
        """Wait until the next question is due, or sooner where the terminal tells of ticks by itself."""
        await asyncio.sleep(wait_s)

    async def _begin(self) -> None:
        """Find the terminal, the symbols and the clock, and set everything to where it goes on."""
        names = tuple(self._sessions)
        point = await asyncio.to_thread(read_point, self._point_path)
        held = {name: await held_of(self._bus, name) for name in names}
        await self._join(None if point is None else point.server)
        assert self._clock is not None
        assert self._registry is not None
        await self._measure_clock()
        if point is not None:
            self._core.restore(point.core)
        self._step = max([point.step if point else 0, *(one.block.step for one in held.values() if one.block)])
        for name in names:
            broker_name = self._registry.broker_name(name) or name
            start = start_of(
                name, broker_name, self._live, self._clock.history, self._core, point, held[name], self._now_ns()
            )
            self._sent[subjects.ticks(name)], self._sent[subjects.feed(name)] = start.ticks_seq, start.feed_seq
            self._symbols[name] = _Symbol(
                feed=start.feed, overlap=start.overlap, stored=held[name].block,
                overlap_until_s=time.monotonic() + _OVERLAP_WAIT_S,
            )  # fmt: skip
            for remark in start.remarks:
                self._alert(*remark)
        if self._recorder is not None:
            late = await self._recorder.mend(self._bus, {name: one.ticks_seq for name, one in held.items()})
            if late:
                self._log.warning("tick_store_not_mended", waiting=late)
        self._problem = ""

    async def _join(self, server: str | None) -> None:
        """Wait for the terminal, and look at its account and our symbols.

        Parameters
        ----------
        server : whose ticks we already have, ``None`` for nobody's
        """
        while True:
            try:
                await self._driver.ready(30.0)
                account = await self._driver.account_info()
                self._session = self._driver.health().session
                if server not in (None, account.server):
                    raise ConfigError(
                        f"the terminal is logged in to {account.server}, the ticks so far are {server}'s. Log it in there, "
                        "or give this run a system.data_dir of its own."
                    )
                if self._registry is None:
                    self._meet(account.server)
                for name in self._sessions:
                    await self._look_up(name, is_start=not self._symbols)
                return
            except (BrokerError, TimeoutError) as error:
                self._problem = f"terminal: {error}"
                is_missing = isinstance(error, SymbolMissing)
                self._tell_once("symbol_missing" if is_missing else "terminal_unreachable", str(error))
                await asyncio.sleep(_RETRY_S)

    def _meet(self, server: str) -> None:
        root = self._context.root_dir
        self._server = server
        self._clock = ServerClockKeeper(
            clock_path(root), server, self._mt5.server_zone, self._alert,
            measures=self._live.server_offset == "measure",
        )  # fmt: skip
        self._registry = SymbolRegistry(root / "mt5" / "symbols.json", server, self._mt5.symbols)

    async def _look_up(self, name: str, *, is_start: bool) -> None:
        """Find a symbol at the broker and compare its specification with ours."""
        assert self._registry is not None
        before = self._registry.broker_name(name)
        info = await self._registry.resolve(self._driver, name)
        if before not in (None, info.name):
            self._alert("symbol_renamed", f"{name}: the broker's {before} is {info.name} now")
        refuses = is_start and self._live.specification == "refuse"
        text = check_specification(self._instruments, name, info, refuses=refuses)
        if text:
            self._tell_once(f"specification_differs: {text}", text)
        if name in self._symbols:
            self._symbols[name].feed.broker_name = info.name
        self._learn_hours(name, info.name)

    def _learn_hours(self, name: str, broker_name: str) -> None:
        """Learn when the broker quotes a symbol; the package does not tell, so what the configuration says holds."""

    async def _measure_clock(self) -> None:
        """Wait a while for live ticks to tell the broker's clock; nothing is published on a guess while they flow."""
        assert self._clock is not None
        assert self._registry is not None
        names = {name: self._registry.broker_name(name) or name for name in self._sessions}
        if self._clock.is_measured(time.time_ns()) or not self._is_open_somewhere():
            return
        self._problem = "measuring the broker's clock"
        if not await self._clock.measure(self._driver, names, self._live.measure_wait_s, _MEASURE_LOOK_S):
            self._alert(
                "clock_not_measured",
                f"no live ticks within {self._live.measure_wait_s:.0f} s; the named clock {self._mt5.server_zone} holds "
                "until they come",
            )

    def _is_open_somewhere(self) -> bool:
        now_ns = time.time_ns()
        return any(open_ns_between(now_ns - NS_PER_S, now_ns, session) > 0 for session in self._sessions.values())

    # ---- one question

    async def _poll(self, one: _Symbol) -> None:
        feed, clock = one.feed, self._clock
        assert clock is not None
        try:
            taken = await feed.take(self._driver, self._now_ns())
            if taken.newest_msc and await clock.look(feed.symbol, taken.newest_msc, time.time_ns()):
                self._use_clock()
            if taken.raw is None and self._is_wall and time.monotonic() >= one.clock_due_s:
                one.clock_due_s = time.monotonic() + _CLOCK_LOOK_S
                newest_msc = await feed.look_for_turned_clock(self._driver)
                if await clock.look(feed.symbol, newest_msc, time.time_ns()):
                    self._use_clock()
        except (BrokerError, TimeoutError) as error:
            await self._failed(one, error)
            return
        one.retry_s = _RETRY_S
        one.due_s = time.monotonic() + feed.pause_s
        if taken.ahead:
            self._tell_once("ticks_in_the_future", f"{feed.symbol}: ticks lie in the future; the broker's clock is measured")
            await self._publish_all(one, self._core.on_feed_lost(feed.symbol, "clock", time.time_ns()))
        elif taken.raw is not None:
            one.clock_due_s = time.monotonic() + _CLOCK_LOOK_S
            found = self._core.on_raw_ticks(taken.raw, self._now_ns())
            await self._quarantine.keep(found.quarantined)
            await self._publish_all(one, found.messages)
        self._give_up_overlap(one)

    async def _failed(self, one: _Symbol, error: Exception) -> None:
        """Wait longer and longer; a symbol the terminal does not know any more is sought under another name."""
        one.due_s = time.monotonic() + one.retry_s
        one.retry_s = min(one.retry_s * 2.0, _LONGEST_RETRY_S)
        reason, name = "unreachable", one.feed.symbol
        if isinstance(error, PackageError):
            reason = "silent"
            try:
                await self._look_up(name, is_start=False)
            except (BrokerError, ConfigError, TimeoutError) as missing:
                if not isinstance(missing, PackageError | TimeoutError):
                    reason = "missing"
                    self._tell_once(f"symbol_missing {name}", str(missing), Severity.CRITICAL)
        else:
            self._problem = f"terminal: {error}"
            self._tell_once("terminal_unreachable", str(error))
        if reason != "silent":
            await self._publish_all(one, self._core.on_feed_lost(name, reason, time.time_ns()))

    def _use_clock(self) -> None:
        assert self._clock is not None
        for one in self._symbols.values():
            one.feed.use(self._clock.history)

    # ---- publishing

    async def _publish_all(self, one: _Symbol, messages: tuple[Message, ...]) -> None:
        for message in messages:
            part = one.overlap.new_part(message)
            if one.overlap.differs:
                self._go_on_after_stream(one, "the terminal shows other ticks than it did before the restart")
                return
            if part is None:
                continue
            if isinstance(part, TickBlock):
                self._step += 1
                self._ticks += len(part)
                if self._recorder is not None:
                    await self._recorder.record(part)
            subject = subject_of(part)
            self._sent[subject] = self._sent.get(subject, 0) + 1
            await self._publish_next(part, self._sent[subject], self._step if isinstance(part, TickBlock) else 0)

    def _give_up_overlap(self, one: _Symbol) -> None:
        if not one.overlap.is_over and time.monotonic() > one.overlap_until_s:
            self._go_on_after_stream(one, "the terminal does not show all the ticks it did before the restart")

    def _go_on_after_stream(self, one: _Symbol, why: str) -> None:
        assert self._clock is not None
        assert one.stored is not None
        go_on_after(one.feed, self._core, one.stored, self._clock.history)
        one.overlap = Overlap(None)
        self._alert("history_rewritten", f"{one.feed.symbol}: {why}; going on after tick {one.stored.first_tick}")

    # ---- once a second

    async def _check(self) -> None:
        self._check_due_s = time.monotonic() + _CHECK_EVERY_S
        lost = await self._why_lost()
        now_ns = time.time_ns()
        for name, one in self._symbols.items():
            if lost:
                await self._publish_all(one, self._core.on_feed_lost(name, lost, now_ns))
            elif self._is_wall:
                await self._publish_all(one, self._core.on_feed_back(name, now_ns) if one.retry_s == _RETRY_S else ())
        if self._is_wall and not lost:
            for status in self._core.on_time(now_ns):
                await self._publish_all(self._symbols[status.symbol], (status,))

    async def _why_lost(self) -> str:
        """Return why no symbol's ticks can be trusted to come, "" when they should."""
        health = self._driver.health()
        try:
            if health.state == "ready" and health.session != self._session:
                await self._join(self._server)
            connected = (await self._driver.terminal_info(deadline_s=5.0)).connected
        except (BrokerError, TimeoutError) as error:
            self._problem = f"terminal: {error}"
            self._tell_once("terminal_unreachable", str(error))
            return "unreachable"
        self._told.discard("terminal_unreachable")
        self._problem = "" if connected else "the terminal has no connection to its broker"
        if connected:
            self._told.discard("terminal_disconnected")
            return ""
        self._tell_once("terminal_disconnected", self._problem)
        return "disconnected"

    # ---- where a restart goes on

    def _save_now_and_then(self) -> None:
        if time.monotonic() < self._save_due_s or (self._saving is not None and not self._saving.done()):
            return
        self._save_due_s = time.monotonic() + _SAVE_EVERY_S
        if all(one.overlap.is_over for one in self._symbols.values()):
            self._saving = asyncio.create_task(self._save(self._point(), dict(self._sent)))

    def _point(self) -> LivePoint:
        return LivePoint(
            server=self._server, step=self._step, core=self._core.snapshot(),
            symbols={
                name: SymbolPoint(
                    broker_name=one.feed.broker_name, cursor=one.feed.cursor, rows=one.feed.rows,
                    ticks_seq=self._sent[subjects.ticks(name)], feed_seq=self._sent[subjects.feed(name)],
                    ticks=self._core.ticks(name), has_trades=one.feed.has_trades,
                )
                for name, one in self._symbols.items()
            },
        )  # fmt: skip

    async def _save(self, point: LivePoint, sent: dict[str, int]) -> None:
        """Write a moment down once the streams are sure to hold everything before it."""
        await self._bus.wait_held(sent, for_s=SETTLED_S)
        try:
            await asyncio.to_thread(write_point, self._point_path, point)
        except StorageError as error:
            self._tell_once("position_not_written", str(error), Severity.CRITICAL)

    # ---- small things

    def _now_ns(self) -> int:
        return time.time_ns() if self._is_wall else 0

    def _say(self, event: str, fields: Mapping[str, Any]) -> None:
        self._log.info(event, **fields)

    def _tell_once(self, key: str, detail: str, severity: Severity = Severity.WARNING) -> None:
        if key not in self._told:
            self._told.add(key)
            self._alert(key.split(" ", maxsplit=1)[0].rstrip(":"), detail, severity)
