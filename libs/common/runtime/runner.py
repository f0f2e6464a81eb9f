"""The one service loop: hear, order, journal, hand to the core, send, keep."""

import asyncio
import gc
import secrets
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgspec

from libs.common import subjects
from libs.common.bus.nats import NatsBus
from libs.common.bus.protocol import Delivered
from libs.common.bus.sequencing import SETTLED_S
from libs.common.bus.streams import Delivery, delivery_of, seen_key
from libs.common.codec import Codec, encode
from libs.common.config import SystemConfig
from libs.common.core import Effect, EffectResult, Timer, dispatch
from libs.common.ids import derived_id
from libs.common.messages.base import Message
from libs.common.messages.control import Alert, DeadLetter, Halt, Heartbeat, Severity, Watermark
from libs.common.messages.market import TickBlock
from libs.common.routing import subject_of
from libs.common.runtime.input_journal import InputJournal, Snapshot
from libs.common.runtime.lockstep import Lockstep
from libs.common.runtime.metrics import Metrics
from libs.common.runtime.service import Service
from libs.common.storage.keys import write_private

RESULT_SUBJECT = "!"
TIMER_SUBJECT = "~"
SNAPSHOT_EVERY_S = 5.0
SNAPSHOT_BYTES = 64_000_000
_CHUNK_S = 0.02
_MARK_EVERY_S = 0.02
_REPEAT_MARKS_S = 0.25
_POISON_AFTER = 2
_POISON_TOLD = 1_000_000
_DRAIN_S = 5.0


class Runner:
    """Runs one core on one bus connection until it is told to stop.

    Parameters
    ----------
    name : service name
    service : core, effects, observer
    system : section ``system``
    bus : connected as this service
    folder : where journal and snapshots live
    """

    def __init__(
        self,
        name: str,
        service: Service,
        system: SystemConfig,
        bus: NatsBus,
        folder: Path,
        log: Any,
        metrics: Metrics,
        version: str,
    ) -> None:
        self.name, self.service, self.system, self.bus = name, service, system, bus
        self.log, self.metrics, self.version = log, metrics, version
        self.core = service.core
        self.instance = secrets.token_hex(4)
        self.folder = folder
        self.journal = InputJournal(folder / "inputs")
        self.seen: dict[str, int] = {}
        self.sent: dict[str, int] = {}
        self.clock_ns = 0
        self.step = 0
        self.lockstep = Lockstep(name, self.core.HEARS, self.core.STAGES) if system.lockstep else None
        self.replaying = True
        self.lag_s = 0.0
        self._worst_lag_s = 0.0
        self._stopping = asyncio.Event()
        self._outbox: list[tuple[str, Message]] = []
        self._pending_effects: dict[str, Effect] = {}
        self._effect_steps: dict[str, int] = {}
        self._results: deque[EffectResult] = deque()
        self._effect_order: deque[str] = deque()
        self._finished: dict[str, EffectResult] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._wake = asyncio.Event()
        self._inbox: deque[Delivered] = deque()
        self._failure: BaseException | None = None
        self._dead_letters = 0
        self._marked_step = 0
        self._mark_due = False
        self._mark_scheduled = False
        self._timer_due = False
        self._snapshot_due = False
        self._more = False
        self._keeping = False
        self._wall_ns = 0
        self._result_codec = Codec(tuple(self.core.RESULTS)) if self.core.RESULTS else None
        self._codec = Codec(tuple({kind for route in self.core.HEARS for kind in route.kinds} | {Watermark}))
        self._in = metrics.counter("tickwire_service_messages_in_total")
        self._out = metrics.counter("tickwire_service_messages_out_total").labels(service=name, root="all")
        self._handle_time = metrics.histogram("tickwire_service_handle_seconds").labels(service=name)
        self._in_by_root: dict[str, Any] = {}
        self._handled: list[Message] = []
        self._heard: dict[str, int] = {}
        self._main: asyncio.Task[Any] | None = None
        self._giving_up: asyncio.TimerHandle | None = None
        self._poison = self._read_poison()
        self._untold_poison: list[str] = []

    # ---- life

    async def run(self) -> None:
        """Restore, replay, join, and handle messages until ``stop``; raises what the core raised."""
        if self.service.effects is not None:
            await self.service.effects.prepare()
        self._restore()
        await self._send_outbox()
        self._perform_again()
        patterns = [route.pattern for route in self.core.HEARS]
        if self.lockstep is not None:
            patterns.append("health.watermark.*")
        reader = await self.bus.reader(
            patterns, after=self.seen, since_ns=self._wall_ns, codec=self._codec
        )
        self._reader = reader
        self._main = asyncio.current_task()
        reader.wake = self._wake
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 100)
        self._spawn(self._heartbeats())
        self._spawn(self._watch_loop())
        self._spawn(self._snapshots())
        if self.system.clock == "wall" and hasattr(self.core, "on_timer"):
            self._spawn(self._timers())
        self.replaying = False
        try:
            while not self._stopping.is_set():
                await self._turn()
                if self._failure is not None:
                    raise self._failure
        except asyncio.CancelledError as error:
            self._failure = error
            if not self._stopping.is_set():
                raise
            self._log_not_drained()
        except BaseException as error:
            # What an exception left half done must never be kept as a snapshot.
            self._failure = error
            raise
        finally:
            await self._shut_down(reader)

    def stop(self) -> None:
        """Finish what is in hand, keep it, and return from ``run``."""
        self._stopping.set()
        self._wake.set()
        if self._main is not None and self._giving_up is None:
            # A turn may wait for a bus that does not come back; the journal has what it was about to say.
            self._giving_up = asyncio.get_running_loop().call_later(_DRAIN_S, self._main.cancel)

    async def _shut_down(self, reader: Any) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
        self._note_whole_since()
        await reader.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # What is still being done is asked for again from the journal, and what the streams lack is made again from
        # it; a snapshot would forget both.
        if self._failure is None and await self._drained() and not self._pending_effects:
            self._save(self._snapshot())
        self.journal.close()
        if self.service.effects is not None:
            await self.service.effects.close()

    async def _drained(self) -> bool:
        """Send what is left and wait for the streams; False when they do not take it in time."""
        try:
            async with asyncio.timeout(_DRAIN_S):
                await self._send_outbox()
                await self.bus.flush(for_s=SETTLED_S)
        except TimeoutError:
            self._log_not_drained()
            return False
        return True

    def _log_not_drained(self) -> None:
        self.log.warning("drain_incomplete", detail="the streams do not hold everything; a restart sends it again")

    # ---- restore

    def _restore(self) -> None:
        snapshot = self.journal.load()
        if snapshot is not None:
            self.core.restore(snapshot.core)
            self.seen, self.sent = dict(snapshot.seen), dict(snapshot.sent)
            self.clock_ns, self.step, self._wall_ns = snapshot.clock_ns, snapshot.step, snapshot.wall_ns
            if self.lockstep is not None:
                self.lockstep.handled_ticks(self.step)
        replayed = 0
        for entry in self.journal.inputs():
            replayed += 1
            if entry.subject == RESULT_SUBJECT:
                assert self._result_codec is not None
                message = self._result_codec.decode(entry.payload)
                self._pending_effects.pop(message.effect_id, None)
            elif entry.subject == TIMER_SUBJECT:
                message = Timer(ts_event_ns=entry.now_ns, ts_init_ns=entry.now_ns)
            else:
                message = self._codec.decode(entry.payload, entry.subject)
            self.clock_ns = entry.now_ns
            self._hand_over(message, entry.subject, entry.seq, entry.payload, entry.now_ns, entry.step)
        self._effect_order = deque(self._pending_effects)
        self.journal.open()
        self.metrics.counter("tickwire_service_replayed_inputs_total").labels(service=self.name).inc(replayed)
        self.log.info(
            "restored", snapshot=snapshot is not None, inputs_replayed=replayed, effects_pending=len(self._pending_effects)
        )

    def _perform_again(self) -> None:
        for effect in list(self._pending_effects.values()):
            self._start_effect(effect)

    # ---- one turn of the loop

    async def _turn(self) -> None:
        if not self._has_work():
            self._wake.clear()
            if not self._has_work():
                await self._wake.wait()
        started = time.perf_counter()
        if self._timer_due:
            self._timer_due = False
            self._take_timer()
        self._inbox.extend(self._reader.take())
        if self.lockstep is None:
            self._handle_free(started + _CHUNK_S)
        else:
            self._handle_lockstep(started + _CHUNK_S)
        taken_s = time.perf_counter() - started
        sent = await self._send_outbox()
        await self._send_marks()
        if sent:
            # What was sent leaves when the loop comes round; what is only counted waits until it has.
            await asyncio.sleep(0)
        self._count(taken_s)
        if self._snapshot_due and not self._pending_effects and not self._outbox:
            self._snapshot_due = False
            self._note_whole_since()
            self._spawn(self._keep(self._snapshot()))
        if self._has_work():
            await asyncio.sleep(0)  # heartbeats, probes and the bus have their turn under load too

    def _has_work(self) -> bool:
        return bool(
            self._inbox or self._results or self._more or self._timer_due or self._mark_due or self._snapshot_due
            or (self._effect_order and self._effect_order[0] in self._finished)
            or self._stopping.is_set() or self._failure is not None or self._reader.waiting
        )

    def _handle_free(self, deadline: float) -> None:
        while self._results:
            self._take_result(self._results.popleft())
        while self._inbox and time.perf_counter() < deadline:
            delivered = self._inbox.popleft()
            if delivered.message is None:
                self._dead_letter(delivered)
            else:
                self._take(delivered)

    def _handle_lockstep(self, deadline: float) -> None:
        lockstep = self.lockstep
        assert lockstep is not None
        self._more = False
        while self._inbox:
            delivered = self._inbox.popleft()
            if delivered.message is None:
                self._dead_letter(delivered)
            elif isinstance(delivered.message, Watermark):
                lockstep.mark(delivered.message)
            else:
                lockstep.take(delivered)
        while time.perf_counter() < deadline:
            # What an input asked for is answered, in the order it was asked, before the next input.
            if self._effect_order:
                if self._effect_order[0] not in self._finished:
                    return
                self._take_result(self._finished.pop(self._effect_order.popleft()))
                continue
            next_one = lockstep.release(self.seen)
            if next_one is None:
                return
            self._take(next_one)
        self._more = True

    def _take(self, delivered: Delivered) -> None:
        """Journal a message and hand it to the core."""
        message = delivered.message
        assert message is not None
        kind = delivery_of(delivered.subject)
        key = seen_key(delivered.subject)
        if kind is not Delivery.EPHEMERAL and delivered.seq <= self.seen.get(key, 0):
            return
        now_ns = self._now(message, kind)
        self.journal.append(delivered.subject, delivered.seq, now_ns, delivered.payload, message.step)
        self._hand_over(message, delivered.subject, delivered.seq, delivered.payload, now_ns, message.step)

    def _take_result(self, result: EffectResult) -> None:
        effect = self._pending_effects.pop(result.effect_id, None)
        if effect is None:
            return
        now_ns = time.time_ns() if self.system.clock == "wall" else self.clock_ns
        step = self._effect_steps.pop(result.effect_id, 0)
        payload = encode(result)
        self.journal.append(RESULT_SUBJECT, 0, now_ns, payload, step)
        self._hand_over(result, RESULT_SUBJECT, 0, payload, now_ns, step)

    def _now(self, message: Message, kind: Delivery) -> int:
        if self.system.clock == "wall":
            return max(time.time_ns(), self.clock_ns)
        return max(self.clock_ns, message.ts_event_ns) if kind is Delivery.SEQUENCED else self.clock_ns

    def _hand_over(self, message: Message, subject: str, seq: int, payload: bytes, now_ns: int, step: int) -> None:
        """Give the core one journaled input and queue what it says."""
        self.clock_ns = max(self.clock_ns, now_ns)
        outputs: tuple[Message, ...] = ()
        # A message set aside counts as handled: nobody waits for it, and a restart does not ask for it again.
        if not (self._poison and self._is_poison(subject, payload, now_ns)):
            try:
                outputs = dispatch(self.core, message, now_ns)
            except Exception:
                self._note_poison(_poison_key(subject, payload, now_ns), 1)
                raise
        if subject not in (RESULT_SUBJECT, TIMER_SUBJECT) and seq:
            self.seen[seen_key(subject)] = seq
        self.step = max(self.step, step)
        if self.lockstep is not None and isinstance(message, TickBlock):
            self.lockstep.handled_ticks(step)
        if not self.replaying:
            root = subject.partition(".")[0]
            self._heard[root] = self._heard.get(root, 0) + 1
            self._handled.append(message)
        for output in outputs:
            if isinstance(output, Effect):
                self._ask(output, step)
            else:
                self._queue(output, step)

    def _count(self, taken_s: float) -> None:
        """Bring the metrics up to date with the turn that was just taken."""
        self._handle_time.observe(taken_s)
        for root, count in self._heard.items():
            counter = self._in_by_root.get(root)
            if counter is None:
                counter = self._in_by_root[root] = self._in.labels(service=self.name, root=root)
            counter.inc(count)
        self._heard.clear()
        handled, self._handled = self._handled, []
        if self.service.observe is not None:
            for message in handled:
                self.service.observe(message)

    # ---- outputs

    def _queue(self, output: Message, step: int) -> None:
        subject = subject_of(output)
        changes: dict[str, int] = {"step": step}
        if delivery_of(subject) is Delivery.SEQUENCED:
            changes["seq"] = self.sent[subject] = self.sent.get(subject, 0) + 1
        if not self.replaying:
            self._handled.append(output)
        self._outbox.append((subject, msgspec.structs.replace(output, ts_init_ns=time.time_ns(), **changes)))

    async def _send_outbox(self) -> bool:
        """Publish what the core said; return whether there was anything."""
        outbox, self._outbox = self._outbox, []
        if outbox:
            # What went in must be in the journal before anything it caused goes out.
            self.journal.flush()
        for subject, message in outbox:
            await self.bus.publish_payload(subject, message.seq, encode(message), getattr(message, "command_id", ""))
        if outbox:
            await self.bus.push()
            self._out.inc(len(outbox))
        while self._untold_poison:
            self._note_poison(self._untold_poison.pop(), _POISON_TOLD)
        return bool(outbox)

    async def _send_marks(self, repeat: bool = False) -> None:
        if self.lockstep is not None:
            if not self._effect_order:
                for stage, step in self.lockstep.reached(self.seen):
                    await self._publish_mark(stage, step)
            if repeat:
                for stage, step in self.lockstep.stages().items():
                    await self._publish_mark(stage, step)
        elif repeat or self._mark_due:
            self._mark_due = False
            self._marked_step = self.step
            await self._publish_mark("handled", self.step)
        elif self.step != self._marked_step and not self._mark_scheduled:
            self._mark_scheduled = True
            asyncio.get_running_loop().call_later(_MARK_EVERY_S, self._mark_now)

    def _mark_now(self) -> None:
        self._mark_scheduled = False
        self._mark_due = True
        self._wake.set()

    async def _publish_mark(self, stage: str, step: int) -> None:
        # A mark says what has been handled: it must have been kept.
        self.journal.flush()
        now_ns = time.time_ns()
        mark = Watermark(
            ts_event_ns=self.clock_ns, ts_init_ns=now_ns, step=step, service=self.name, stage=stage, sent=dict(self.sent)
        )
        await self.bus.publish_payload(subjects.watermark(self.name), 0, encode(mark))

    # ---- effects

    def _ask(self, effect: Effect, step: int) -> None:
        self._pending_effects[effect.effect_id] = effect
        self._effect_steps[effect.effect_id] = step
        if not self.replaying:
            self._effect_order.append(effect.effect_id)
            self._start_effect(effect)

    def _start_effect(self, effect: Effect) -> None:
        self._spawn(self._perform(effect))

    async def _perform(self, effect: Effect) -> None:
        # The input that asked for it must be in the journal before anything is done in its name.
        self.journal.flush()
        assert self.service.effects is not None
        try:
            result = await self.service.effects.perform(effect)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._failure = error
            self._wake.set()
            return
        if self.lockstep is None:
            self._effect_order.remove(effect.effect_id)
            self._results.append(result)
        else:
            self._finished[effect.effect_id] = result
        self._wake.set()

    # ---- what cannot be handled

    def _dead_letter(self, delivered: Delivered) -> None:
        self._dead_letters += 1
        self.metrics.counter("tickwire_service_dead_letters_total").labels(service=self.name).inc()
        self.log.warning("dead_letter", subject=delivered.subject, error=delivered.error, size=len(delivered.payload))
        letter = DeadLetter(
            ts_event_ns=time.time_ns(), ts_init_ns=time.time_ns(), service=self.name, subject=delivered.subject,
            error=delivered.error, payload=delivered.payload[:4096].decode("utf-8", "backslashreplace"),
            size=len(delivered.payload),
        )
        self._outbox.append((subjects.deadletter(self.name), letter))

    def _read_poison(self) -> dict[str, int]:
        file = self.folder / "poison.json"
        return msgspec.json.decode(file.read_bytes(), type=dict[str, int]) if file.exists() else {}

    def _note_poison(self, key: str, deaths: int) -> None:
        self._poison[key] = self._poison.get(key, 0) + deaths
        write_private(self.folder / "poison.json", msgspec.json.encode(self._poison))

    def _is_poison(self, subject: str, payload: bytes, now_ns: int) -> bool:
        """Set a message aside that has killed this service twice, and halt trading."""
        key = _poison_key(subject, payload, now_ns)
        if self._poison.get(key, 0) < _POISON_AFTER:
            return False
        if self._poison[key] >= _POISON_TOLD:
            # It was told of before: a later replay must not end what a person has resumed since.
            return True
        self._untold_poison.append(key)
        self._dead_letter(Delivered(subject, payload, None, 0, f"killed {self.name} {self._poison[key]} times"))
        now_ns = time.time_ns()
        self._outbox.append((subjects.alerts("critical"), Alert(
            ts_event_ns=now_ns, ts_init_ns=now_ns, severity=Severity.CRITICAL, service=self.name, name="poison_message",
            detail=f"a message on {subject} killed the service repeatedly and was set aside; trading is halted",
        )))
        self._outbox.append((subjects.control("halt"), Halt(
            ts_event_ns=now_ns, ts_init_ns=now_ns, command_id=derived_id("poison", self.name, key), issued_by=self.name,
            reason=f"a message on {subject} killed {self.name} repeatedly",
        )))
        return True

    # ---- beside the loop

    async def _timers(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._timer_due = True
            self._wake.set()

    def _take_timer(self) -> None:
        now_ns = max(time.time_ns(), self.clock_ns)
        self.journal.append(TIMER_SUBJECT, 0, now_ns, b"", 0)
        self._hand_over(Timer(ts_event_ns=now_ns, ts_init_ns=now_ns), TIMER_SUBJECT, 0, b"", now_ns, 0)

    async def _heartbeats(self) -> None:
        beats = 0
        while True:
            await asyncio.sleep(_REPEAT_MARKS_S)
            await self._send_marks(repeat=True)
            beats += 1
            if beats % 4:
                continue
            await self._heartbeat()

    async def _heartbeat(self) -> None:
        self.journal.flush()
        counts = self._reader.counts()
        now_ns = time.time_ns()
        beat = Heartbeat(
            ts_event_ns=now_ns, ts_init_ns=now_ns, service=self.name, instance=self.instance, version=self.version,
            ready=self.ready() == "", lag_ms=self.lag_s * 1e3, seen=dict(self.seen), sent=dict(self.sent),
            details={
                **self.core.details(), "gaps_detected": counts.gaps_detected, "gaps_filled": counts.gaps_filled,
                "messages_lost": counts.lost, "dead_letters": self._dead_letters, "step": self.step,
                "effects_pending": len(self._pending_effects), "inbox": len(self._inbox),
            },
        )
        await self.bus.publish_payload(subjects.health(self.name), 0, encode(beat))
        gauge = self.metrics.gauge
        gauge("tickwire_service_heartbeat_seconds").labels(service=self.name).set(now_ns / 1e9)
        gauge("tickwire_service_loop_lag_seconds").labels(service=self.name).set(self.lag_s)
        gauge("tickwire_service_ready").labels(service=self.name).set(float(beat.ready))
        gauge("tickwire_bus_connected").labels(service=self.name).set(float(self.bus.connected))
        gauge("tickwire_bus_reconnects_total").labels(service=self.name).set(self.bus.reconnects)
        gauge("tickwire_bus_republished_total").labels(service=self.name).set(self.bus.republished)
        gauge("tickwire_bus_gaps_detected_total").labels(service=self.name).set(counts.gaps_detected)
        gauge("tickwire_bus_gaps_filled_total").labels(service=self.name).set(counts.gaps_filled)
        gauge("tickwire_bus_messages_lost_total").labels(service=self.name).set(counts.lost)

    async def _watch_loop(self) -> None:
        beats = 0
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.05)
            self._worst_lag_s = max(self._worst_lag_s, time.monotonic() - before - 0.05)
            beats += 1
            if beats % 20 == 0:
                self.lag_s, self._worst_lag_s = self._worst_lag_s, 0.0
                if self.lag_s > 1.0:
                    self.log.warning("loop_lag", lag_s=round(self.lag_s, 3))

    async def _snapshots(self) -> None:
        last_s = time.monotonic()
        while True:
            await asyncio.sleep(0.5)
            size = self.journal.bytes_since_snapshot
            if not self._keeping and size and (time.monotonic() - last_s > SNAPSHOT_EVERY_S or size > SNAPSHOT_BYTES):
                last_s = time.monotonic()
                self._snapshot_due = True
                self._wake.set()

    async def _keep(self, snapshot: Snapshot) -> None:
        """Write a snapshot once the streams hold all that was published before it."""
        self._keeping = True
        try:
            await self.bus.wait_held(snapshot.sent, for_s=SETTLED_S)
            await asyncio.to_thread(self._save, snapshot)
        finally:
            self._keeping = False

    def _note_whole_since(self) -> None:
        """Move on the time before which nothing is missing: what waits to be handled was sent at or after it."""
        if not self._reader.joined:
            return
        self._inbox.extend(self._reader.take())
        held = self.lockstep.held() if self.lockstep is not None else ()
        waiting = [delivered.message.ts_init_ns for delivered in (*self._inbox, *held) if delivered.message is not None]
        self._wall_ns = max(self._wall_ns, min(waiting, default=time.time_ns()))

    def _snapshot(self) -> Snapshot:
        self.journal.flush()
        return Snapshot(
            index=self.journal.rotate(), core=self.core.snapshot(), seen=dict(self.seen), sent=dict(self.sent),
            clock_ns=self.clock_ns, step=self.step, wall_ns=self._wall_ns,
        )

    def _save(self, snapshot: Snapshot) -> None:
        size = self.journal.save(snapshot)
        self.metrics.counter("tickwire_service_snapshots_total").labels(service=self.name).inc()
        self.metrics.gauge("tickwire_service_snapshot_bytes").labels(service=self.name).set(size)

    def ready(self) -> str:
        """Return why the service is not ready, empty when it is."""
        if self.replaying:
            return "replaying"
        if not self.bus.connected:
            return "bus not reached"
        if not self._reader.joined:
            return "catching up"
        return ""

    def alive(self) -> str:
        """Return why the service is not alive, empty when it is."""
        return "" if self._failure is None else f"failed: {self._failure}"

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failure = task.exception()
            self._wake.set()


def _poison_key(subject: str, payload: bytes, now_ns: int) -> str:
    """Return what a message that kills is known by; all timers look alike but for their time."""
    return derived_id(subject, payload.hex(), now_ns if subject == TIMER_SUBJECT else 0)
