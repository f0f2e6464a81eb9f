"""Ingest's shell: reads sources off the loop, paces, publishes, records; resumes where the stream ends."""

import asyncio
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from libs.common import subjects
from libs.common.config import InstrumentConfig, SystemConfig
from libs.common.errors import ConfigError
from libs.common.messages.base import Message
from libs.common.messages.control import Watermark
from libs.common.messages.market import TickBlock
from libs.common.routing import subject_of
from libs.common.runtime.main import with_health
from libs.common.runtime.service import ServiceContext
from services.ingest.adapters.ea_service import EaIngestService
from services.ingest.adapters.mt5_service import Mt5IngestService
from services.ingest.adapters.publishing import PublishingService, Work
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


class IngestService(PublishingService):
    """Publishes a market and keeps its listeners' pace.

    A restarted ingest makes the same blocks again and leaves out what the stream holds already.
    """

    def __init__(self, config: dict[str, Any], context: ServiceContext) -> None:
        super().__init__(config, context)
        self._flow = FlowControl(lockstep=self._system.lockstep)
        self._moved = asyncio.Event()
        self._held: dict[str, int] = {}
        self._feed: Feed | None = None

    async def _open(self) -> None:
        self._feed = await asyncio.to_thread(Feed, self._config, self._system, self._instruments)

    async def _close(self) -> None:
        """A source that is files needs no farewell."""

    def _work(self) -> tuple[Work, ...]:
        return self._publish_all, self._hear_marks

    def _details(self) -> dict[str, float | str]:
        return self._feed.core.details() if self._feed else {}

    def _not_ready(self) -> str:
        return "opening sources" if self._feed is None else ""

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
            await self._publish_next(message, seq, self._step if isinstance(message, TickBlock) else 0)

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

    async def _keep_quarantined(self) -> None:
        feed = self._feed
        assert feed is not None
        rows, feed.quarantined = feed.quarantined, []
        await self._quarantine.keep(tuple(rows))

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


_SERVICES: dict[str, type[PublishingService]] = {"mt5": Mt5IngestService, "ea": EaIngestService}
"""Adapter -> what reads a live market with it; all others replay."""


async def serve(config: dict[str, Any], context: ServiceContext) -> None:
    """Run ingest until SIGTERM."""
    kind = _SERVICES.get(config["ingest"].adapter, IngestService)
    service: PublishingService = kind(config, context)
    await with_health(context, service.alive, service.ready, service.run, service.stop)


