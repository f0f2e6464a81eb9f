"""What every ingest does, whatever its source: publish under numbers, record, keep bad ticks, say that it lives."""

import asyncio
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from libs.common.bus.sequencing import SETTLED_S
from libs.common.codec import encode
from libs.common.config import InstrumentConfig, SystemConfig
from libs.common.messages.base import Message
from libs.common.messages.control import Alert, Heartbeat, Severity
from libs.common.messages.market import FeedStatus, TickBlock
from libs.common.routing import subject_of
from libs.common.runtime.main import code_version
from libs.common.runtime.service import ServiceContext
from libs.common.storage.ticks import TickStore
from services.ingest.adapters.quarantine import QuarantineFiles
from services.ingest.adapters.recorder import Quarantine, Recorder
from services.ingest.config import IngestConfig

Work = Callable[[], Coroutine[Any, Any, None]]
"""Something that runs beside the rest."""


class PublishingService(ABC):
    """The part of an ingest service that does not depend on where ticks come from.

    A subclass says with ``_work`` what is to be done beside heartbeats and alerts.
    """

    def __init__(self, config: dict[str, Any], context: ServiceContext) -> None:
        self._system: SystemConfig = config["system"]
        self._config: IngestConfig = config["ingest"]
        self._instruments: dict[str, InstrumentConfig] = config["instruments"]
        self._context, self._bus, self._log = context, context.bus, context.log
        self._stopping = asyncio.Event()
        self._sent: dict[str, int] = {}
        self._step = 0
        self._ticks = 0
        self._finished = False
        self._alerts: asyncio.Queue[tuple[Severity, str, str]] = asyncio.Queue()
        self._recorder = (
            Recorder(TickStore(context.root_dir / "ticks"), self._storage_failed) if self._config.record else None
        )
        self._quarantine = Quarantine(QuarantineFiles(context.data_dir / "quarantine"), self._storage_failed)
        self._instance = secrets.token_hex(4)
        self._status: dict[str, FeedStatus] = {}

    # ---- what a subclass says

    @abstractmethod
    async def _open(self) -> None:
        """Open the source; called first."""

    @abstractmethod
    def _work(self) -> tuple[Work, ...]:
        """Return what runs until the service is stopped; a part that ends leaves the others running."""

    @abstractmethod
    def _details(self) -> dict[str, float | str]:
        """Return the source's figures for ``tickwire status``."""

    @abstractmethod
    def _not_ready(self) -> str:
        """Return why the source is not ready, empty when it is."""

    @abstractmethod
    async def _close(self) -> None:
        """Let go of the source; called last."""

    # ---- life

    async def run(self) -> None:
        """Work until told to stop."""
        stop = asyncio.create_task(self._stopping.wait())
        tasks: set[asyncio.Task[Any]] = {asyncio.create_task(self._opened())}
        self._quarantine.start()
        if self._recorder is not None:
            self._recorder.start()
        tasks |= {asyncio.create_task(self._heartbeats()), asyncio.create_task(self._send_alerts())}
        try:
            while not stop.done():
                done, tasks = await asyncio.wait({stop, *tasks}, return_when=asyncio.FIRST_COMPLETED)
                tasks.discard(stop)
                for task in done:
                    following = task.result()
                    if task is not stop and following is not None:
                        tasks |= {asyncio.create_task(work()) for work in following}
        finally:
            for task in (stop, *tasks):
                task.cancel()
            await asyncio.gather(stop, *tasks, return_exceptions=True)
            await self._close()
            await self._quarantine.close()
            if self._recorder is not None:
                await self._recorder.close()
            await self._bus.flush(for_s=SETTLED_S)

    async def _opened(self) -> tuple[Work, ...]:
        await self._open()
        return self._work()

    def stop(self) -> None:
        """Finish and return from ``run``."""
        self._stopping.set()

    def ready(self) -> str:
        """Return why the service is not ready, empty when it is."""
        return self._not_ready() or ("" if self._bus.connected else "bus not reached")

    def alive(self) -> str:
        return ""

    # ---- publishing

    async def _publish_next(self, message: Message, seq: int, step: int = 0) -> None:
        """Publish a message under its subject's next number."""
        stamped = msgspec.structs.replace(message, seq=seq, step=step, ts_init_ns=time.time_ns())
        await self._bus.publish_payload(subject_of(message), seq, encode(stamped))
        self._context.metrics.counter("tickwire_service_messages_out_total").labels(service="ingest", root="all").inc()
        self._observe(message)

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

    # ---- alerts and heartbeats

    def _storage_failed(self, problem: str) -> None:
        """Say once that a disk refuses; ticks flow on."""
        self._context.metrics.counter("tickwire_ingest_recorder_errors_total").inc()
        self._alert("tick_store_not_written", problem, Severity.CRITICAL)

    def _alert(self, name: str, detail: str, severity: Severity = Severity.WARNING) -> None:
        self._alerts.put_nowait((severity, name, detail))

    async def _send_alerts(self) -> None:
        while True:
            severity, name, detail = await self._alerts.get()
            self._log.error(name, detail=detail)
            now_ns = time.time_ns()
            await self._bus.publish(
                Alert(
                    ts_event_ns=now_ns, ts_init_ns=now_ns, severity=severity, service="ingest", name=name, detail=detail
                )
            )

    async def _heartbeats(self) -> None:
        lag_s = 0.0
        while True:
            now_ns = time.time_ns()
            beat = Heartbeat(
                ts_event_ns=now_ns, ts_init_ns=now_ns, service="ingest", instance=self._instance, version=code_version(),
                ready=self.ready() == "", lag_ms=lag_s * 1e3, seen={}, sent=dict(self._sent),
                details={
                    **self._details(), "ticks": self._ticks, "step": self._step,
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
