"""Ingest's shell: reads sources off the loop, paces, publishes, records; resumes where the stream ends."""

import asyncio
import secrets
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

from libs.common import subjects
from libs.common.bus.sequencing import SETTLED_S
from libs.common.codec import encode
from libs.common.config import InstrumentConfig, SystemConfig
from libs.common.errors import ConfigError
from libs.common.messages.base import Message
from libs.common.messages.control import Alert, Heartbeat, Severity, Watermark
from libs.common.messages.market import FeedStatus, TickBlock
from libs.common.routing import subject_of
from libs.common.runtime.main import code_version, with_health
from libs.common.runtime.service import ServiceContext
from libs.common.storage.ticks import TickStore
from services.ingest.adapters.quarantine import QuarantineFiles
from services.ingest.adapters.recorder import Quarantine, Recorder
from services.ingest.adapters.sources import open_sources
from services.ingest.conductor import FlowControl, due_s
from services.ingest.config import IngestConfig
from services.ingest.core import IngestCore, Ingested, QuarantinedTick
from services.ingest.merge import Group, merged
from services.ingest.raw import RawTicks

_GROUPS_AT_ONCE = 32
_LISTENERS_WAIT_S = 60.0
_LONGEST_PAUSE_NS = 600 * 1_000_000_000
"""A paced replay passes over the rest of a longer silence: the market was closed."""


class Feed:
    """Turns the sources of all symbols into one order of blocks. Runs in a thread: it reads files."""

    def __init__(self, config: IngestConfig, system: SystemConfig, instruments: dict[str, InstrumentConfig]) -> None:
        sources = open_sources(config, system, instruments)
        self.symbols = tuple(sorted(sources))
        cut = system.decide_on if system.lockstep or config.speed != "max" else None
        sessions = {symbol: instruments[symbol].session for symbol in self.symbols if symbol in instruments}
        self.core = IngestCore(config, self.symbols, cut, sessions)
        self.quarantined: list[QuarantinedTick] = []
        self._groups = merged({symbol: self._messages(symbol, source) for symbol, source in sources.items()})

    def take(self) -> list[Group]:
        """Return the next few groups, an empty list at the end."""
        return list(islice(self._groups, _GROUPS_AT_ONCE))

    def _messages(self, symbol: str, source: Iterator[RawTicks]) -> Iterator[tuple[Message, ...]]:
        for raw in source:
            found: Ingested = self.core.on_raw_ticks(raw, 0)
            self.quarantined += found.quarantined
            if found.messages:
                yield found.messages
        yield self.core.on_finished(symbol, 0)


class IngestService:
    """Publishes a market and keeps its listeners' pace.

    A restarted ingest makes the same blocks again and leaves out what the stream holds already.
    """

    def __init__(self, config: dict[str, Any], context: ServiceContext) -> None:
        self._system: SystemConfig = config["system"]
        self._config: IngestConfig = config["ingest"]
        self._instruments: dict[str, InstrumentConfig] = config["instruments"]
        self._context, self._bus, self._log = context, context.bus, context.log
        self._flow = FlowControl(lockstep=self._system.lockstep)
        self._moved = asyncio.Event()
        self._stopping = asyncio.Event()
        self._sent: dict[str, int] = {}
        self._held: dict[str, int] = {}
        self._step = 0
        self._ticks = 0
        self._finished = False
        self._alerts: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._recorder = (
            Recorder(TickStore(context.root_dir / "ticks"), self._storage_failed) if self._config.record else None
        )
        self._quarantine = Quarantine(QuarantineFiles(context.data_dir / "quarantine"), self._storage_failed)
        self._instance = secrets.token_hex(4)
        self._feed: Feed | None = None
        self._status: dict[str, FeedStatus] = {}

    async def run(self) -> None:
        """Publish everything, then stay to be asked until told to stop."""
        self._feed = await asyncio.to_thread(Feed, self._config, self._system, self._instruments)
        self._quarantine.start()
        if self._recorder is not None:
            self._recorder.start()
        stop = asyncio.create_task(self._stopping.wait())
        tasks: set[asyncio.Task[Any]] = {
            asyncio.create_task(work)
            for work in (self._publish_all(), self._hear_marks(), self._heartbeats(), self._send_alerts())
        }
        try:
            while not stop.done():
                done, tasks = await asyncio.wait({stop, *tasks}, return_when=asyncio.FIRST_COMPLETED)
                tasks.discard(stop)
                for task in done:
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._quarantine.close()
            if self._recorder is not None:
                await self._recorder.close()
            await self._bus.flush(for_s=SETTLED_S)

    def stop(self) -> None:
        """Finish and return from ``run``."""
        self._stopping.set()

    def ready(self) -> str:
        """Return why the service is not ready, empty when it is."""
        if self._feed is None:
            return "opening sources"
        return "" if self._bus.connected else "bus not reached"

    def alive(self) -> str:
        return ""

    # ---- publishing

    async def _publish_all(self) -> None:
        feed = self._feed
        assert feed is not None
        for symbol in feed.symbols:
            for subject in (subjects.ticks(symbol), subjects.feed(symbol)):
                self._held[subject] = await self._bus.held(subject)
        await self._wait_for_listeners()
        first_ns: int | None = None
        last_ns = 0
        started_s = time.monotonic()
        following = asyncio.create_task(asyncio.to_thread(feed.take))
        while groups := await following:
            following = asyncio.create_task(asyncio.to_thread(feed.take))
            await self._keep_quarantined()
            for group in groups:
                event_ns = group[0].ts_event_ns
                if first_ns is None:
                    first_ns = last_ns = event_ns
                # Nobody wants to wait through a weekend, however fast it passes.
                first_ns += max(0, event_ns - last_ns - _LONGEST_PAUSE_NS)
                last_ns = max(last_ns, event_ns)
                if self._is_new(group):
                    if self._config.speed_factor != float("inf") and not self._system.lockstep:
                        await self._sleep_until(started_s + due_s(event_ns, first_ns, self._config.speed_factor))
                else:
                    started_s = time.monotonic() - due_s(event_ns, first_ns, self._config.speed_factor)
                await self._publish_group(group)
        await self._keep_quarantined()
        self._finished = True
        self._log.info("finished", ticks=self._ticks, steps=self._step)

    async def _publish_group(self, group: Group) -> None:
        for message in group:
            if isinstance(message, TickBlock):
                self._step += 1
                if self._is_new((message,)):
                    await self._wait_for_flow(self._step)
                self._ticks += len(message)
                if self._recorder is not None:
                    # Also what the stream holds already: the store drops what it has, and may lack the last minutes.
                    await self._recorder.record(message)
            subject = subject_of(message)
            seq = self._sent[subject] = self._sent.get(subject, 0) + 1
            if seq <= self._held[subject]:
                if seq == self._held[subject]:
                    await self._check_same(subject, message)
                continue
            stamped = msgspec.structs.replace(
                message, seq=seq, step=self._step if isinstance(message, TickBlock) else 0, ts_init_ns=time.time_ns()
            )
            await self._bus.publish_payload(subject, seq, encode(stamped))
            self._context.metrics.counter("tickwire_service_messages_out_total").labels(service="ingest", root="all").inc()
            self._observe(message)

    def _is_new(self, group: Group) -> bool:
        subject = subject_of(group[0])
        return self._sent.get(subject, 0) + 1 > self._held[subject]

    async def _check_same(self, subject: str, message: Message) -> None:
        """Refuse to go on a stream that another source filled."""
        stored = await self._bus.last(subject)
        if isinstance(stored, TickBlock) and isinstance(message, TickBlock):
            same = stored.first_tick == message.first_tick and stored.time_ns.tolist() == message.time_ns.tolist()
            if not same:
                raise ConfigError(
                    f"{subject}: the stream already holds ticks of another source or cut another way. "
                    "Give this run a data_dir of its own."
                )

    def _observe(self, message: Message) -> None:
        metrics = self._context.metrics
        if isinstance(message, TickBlock):
            metrics.counter("tickwire_ingest_ticks_total").labels(symbol=message.symbol).inc(len(message))
        elif isinstance(message, FeedStatus):
            metrics.gauge("tickwire_ingest_feed_stale").labels(symbol=message.symbol).set(float(message.stale))
            before = self._status.get(message.symbol)
            for rule, count in message.quarantined.items():
                new = count - (before.quarantined.get(rule, 0) if before else 0)
                if new > 0:
                    metrics.counter("tickwire_ingest_quarantined_total").labels(symbol=message.symbol, rule=rule).inc(new)
            self._status[message.symbol] = message

    async def _keep_quarantined(self) -> None:
        feed = self._feed
        assert feed is not None
        rows, feed.quarantined = feed.quarantined, []
        await self._quarantine.keep(tuple(rows))

    def _storage_failed(self, problem: str) -> None:
        """Say once that a disk refuses; ticks flow on."""
        self._context.metrics.counter("tickwire_ingest_recorder_errors_total").inc()
        self._alerts.put_nowait(("tick_store_not_written", problem))

    async def _send_alerts(self) -> None:
        while True:
            name, detail = await self._alerts.get()
            self._log.error(name, detail=detail)
            now_ns = time.time_ns()
            await self._bus.publish(
                Alert(
                    ts_event_ns=now_ns, ts_init_ns=now_ns, severity=Severity.CRITICAL, service="ingest", name=name,
                    detail=detail,
                )
            )

    # ---- pace

    async def _wait_for_listeners(self) -> None:
        deadline = time.monotonic() + _LISTENERS_WAIT_S
        while not self._flow.listening():
            if time.monotonic() > deadline and not self._system.lockstep:
                self._log.warning("listeners_missing", detail="publishing anyway; the stream keeps what they miss")
                return
            await self._wait_for_mark(0.5)

    async def _wait_for_flow(self, step: int) -> None:
        while not self._flow.may_send(step):
            if not self._system.lockstep and not self._flow.listening():
                return
            await self._wait_for_mark(1.0)

    async def _wait_for_mark(self, timeout_s: float) -> None:
        self._moved.clear()
        try:
            await asyncio.wait_for(self._moved.wait(), timeout_s)
        except TimeoutError:
            return

    async def _sleep_until(self, due: float) -> None:
        wait_s = due - time.monotonic()
        if wait_s > 0.001:
            await asyncio.sleep(wait_s)

    async def _hear_marks(self) -> None:
        reader = await self._bus.reader(["health.watermark.*"])
        while True:
            for delivered in await reader.batch():
                if isinstance(delivered.message, Watermark):
                    self._flow.mark(delivered.message)
            self._moved.set()

    async def _heartbeats(self) -> None:
        lag_s = 0.0
        while True:
            now_ns = time.time_ns()
            feed = self._feed
            beat = Heartbeat(
                ts_event_ns=now_ns, ts_init_ns=now_ns, service="ingest", instance=self._instance, version=code_version(),
                ready=self.ready() == "", lag_ms=lag_s * 1e3, seen={}, sent=dict(self._sent),
                details={
                    **(feed.core.details() if feed else {}), "ticks": self._ticks, "step": self._step,
                    "finished": float(self._finished), "gaps_detected": 0, "gaps_filled": 0,
                },
            )
            await self._bus.publish(beat)
            gauge = self._context.metrics.gauge
            gauge("tickwire_service_heartbeat_seconds").labels(service="ingest").set(now_ns / 1e9)
            gauge("tickwire_service_ready").labels(service="ingest").set(float(beat.ready))
            gauge("tickwire_bus_connected").labels(service="ingest").set(float(self._bus.connected))
            gauge("tickwire_bus_reconnects_total").labels(service="ingest").set(self._bus.reconnects)
            gauge("tickwire_bus_republished_total").labels(service="ingest").set(self._bus.republished)
            gauge("tickwire_service_loop_lag_seconds").labels(service="ingest").set(lag_s)
            asleep_s = time.monotonic()
            await asyncio.sleep(1.0)
            lag_s = max(0.0, time.monotonic() - asleep_s - 1.0)


async def serve(config: dict[str, Any], context: ServiceContext) -> None:
    """Run ingest until SIGTERM."""
    service = IngestService(config, context)
    await with_health(context, service.alive, service.ready, service.run, service.stop)


