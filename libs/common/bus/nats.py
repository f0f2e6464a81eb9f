"""The bus over NATS. The only file that imports ``nats``."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import nats
import nats.errors
import nats.js.errors
import nats.micro
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, ObjectStoreConfig, StorageType
from nats.micro.service import ServiceConfig

from libs.common import subjects
from libs.common.bus.protocol import Delivered, ReaderCounts, one_by_one, opened
from libs.common.bus.sequencing import KEEP_S, Joiner, Ring
from libs.common.bus.streams import (
    COMMANDS,
    COMMANDS_SEEN,
    MODEL_BUCKET,
    STREAMS,
    Delivery,
    StreamSpec,
    delivery_of,
    stream_of,
)
from libs.common.codec import Codec, encode
from libs.common.errors import ArtifactError, BusError
from libs.common.messages.base import Message
from libs.common.models.limits import MAX_ARCHIVE_BYTES
from libs.common.routing import subject_of

CONFIRM_EVERY_S = 1.0
RING_BYTES = 64_000_000
HIGH_WATER = 65_536
LOST_AFTER_S = 10.0
_FETCH = 500
_WEATHER = (nats.errors.Error, nats.js.errors.APIError, TimeoutError, OSError)
"""What a connection that breaks may raise, its socket's own errors included: try again once it is back."""
_OVERLAP_S = 5.0
_REJOIN_OVERLAP_S = 0.5
_LOOK_BACK_S = 60.0
_any_codec = Codec()


class NatsBus:
    """One connection to the server as one user. Make it with ``connect``."""

    def __init__(self, client: Client, user: str) -> None:
        self._client = client
        self._user = user
        self._js = client.jetstream(timeout=5.0)
        self._rings: dict[str, Ring] = {}
        self._refused = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._verified = asyncio.Event()
        self._verified.set()
        self._ring_lock = asyncio.Lock()
        self._readers: list[_NatsReader] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.reconnects = 0
        self.republished = 0

    @classmethod
    async def connect(cls, url: str, *, user: str, password: str, wait_s: float = 15.0) -> "NatsBus":
        """Connect as a user.

        Raises
        ------
        BusError : when no server answers within ``wait_s`` or it refuses the user, with the remedy
        """
        client = Client()
        bus = cls(client, user)
        # The client itself would go on trying for ever, also with a wrong password.
        connecting = asyncio.ensure_future(
            client.connect(
                servers=[url], user=user, password=password, name=f"tickwire-{user}",
                inbox_prefix=f"_INBOX.{user}".encode(), allow_reconnect=True, max_reconnect_attempts=-1,
                connect_timeout=2, reconnect_time_wait=0.1,  # type: ignore[arg-type] # any number of seconds
                ping_interval=5, max_outstanding_pings=2, pending_size=256 * 1024 * 1024,
                disconnected_cb=bus._on_disconnect, reconnected_cb=bus._on_reconnect, error_cb=bus._on_error,
            )
        )
        refused = asyncio.ensure_future(bus._refused.wait())
        await asyncio.wait({connecting, refused}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        refused.cancel()
        if not connecting.done() or bus._refused.is_set():
            connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError, nats.errors.Error, OSError):
                await connecting
            if bus._refused.is_set():
                raise BusError(f"{url}: the server refuses user '{user}'. Check TICKWIRE_NATS_PASSWORD.")
            why = f" ({bus.last_error})" if bus.last_error else ""
            raise BusError(f"{url}: no NATS server answers{why}. Is it running? Check bus.url.")
        try:
            connecting.result()
        except (ValueError, nats.errors.Error, OSError) as error:
            raise BusError(f"{url}: cannot be connected to ({error}). bus.url looks like nats://host:4222.") from error
        bus._spawn(bus._confirm_for_ever())
        return bus

    async def _on_error(self, error: Exception) -> None:
        self.last_error = str(error)
        if "authorization violation" in self.last_error.lower():
            self._refused.set()
        if "permissions violation for subscription" in self.last_error.lower():
            # Going on would be going on deaf.
            self.failure = BusError(f"user '{self._user}' may not hear what it asked for: {error}")

    last_error = ""

    @property
    def connected(self) -> bool:
        """True while the server is reached and everything sent before has been checked."""
        return bool(self._client.is_connected) and self._verified.is_set()

    # ---- publishing

    async def publish(self, message: Message) -> None:
        subject = subject_of(message)
        await self.publish_payload(subject, message.seq, encode(message), getattr(message, "command_id", ""))

    async def publish_payload(self, subject: str, seq: int, payload: bytes, command_id: str = "") -> None:
        """Publish bytes that are already encoded (see ``Bus.publish``)."""
        if self.failure is not None:
            raise self.failure
        kind = delivery_of(subject)
        if kind is Delivery.EPHEMERAL:
            if self._client.is_connected:
                await self._client.publish(subject, payload)
            return
        if kind is Delivery.COMMANDED:
            await self._js.publish(subject, payload, headers={"Nats-Msg-Id": command_id} if command_id else None)
            return
        if seq <= 0:
            raise BusError(f"{subject}: a sequenced message needs its number")
        ring = self._rings.get(subject)
        if ring is None:
            ring = self._rings[subject] = Ring(
                await self._held_at_start(subject), keep_s=KEEP_S, keep_bytes=RING_BYTES // 4
            )
        if not ring.add(seq, payload, time.monotonic()):
            return
        if self._client.is_connected and self._verified.is_set():
            await self._client.publish(subject, payload)
        if ring.bytes > RING_BYTES // 4 and sum(other.bytes for other in self._rings.values()) > RING_BYTES:
            self._room.clear()
            await self._room.wait()

    async def push(self) -> None:
        """Hand what was published to the socket at once.

        The client leaves that to a task of its own, which has its turn a round of the loop later; waits only while the
        socket takes no more.
        """
        client, transport = self._client, self._client._transport
        if transport is None or not client.is_connected or not client._pending:
            return
        waiting, client._pending, client._pending_data_size = client._pending, [], 0
        with contextlib.suppress(OSError):
            # A connection that breaks is the client's reading loop's to notice; the ring has what it swallowed.
            transport.writelines(waiting)
            await transport.drain()  # type: ignore[no-untyped-call]

    async def held(self, subject: str) -> int:
        """Return the last sequence number the stream holds on a subject (0: none)."""
        return await self._stored_seq_waiting(subject)

    async def last(self, subject: str) -> Message | None:
        newest = await self._newest(subject)
        return None if newest is None else newest.message

    async def _newest(self, subject: str, up_to: int | None = None) -> Delivered | None:
        """Return the newest true message a stream holds on a subject, whatever else was put there after it.

        Parameters
        ----------
        up_to : the number its only writer has come to; what is beyond is not the writer's
        """
        payload = await self._stored_payload(subject)
        if payload is None:
            return None
        newest = _true(opened(_any_codec, subject, payload), up_to)
        for since_s in (time.time() - _LOOK_BACK_S, 0.0):
            if newest is not None:
                return newest
            async for msg in _stored(self, subject, since_s, 0):
                newest = _true(opened(_any_codec, subject, msg.data), up_to) or newest
        return newest

    async def _stored_payload(self, subject: str) -> bytes | None:
        spec = stream_of(subject)
        if spec is None:
            raise BusError(f"{subject}: no stream captures it")
        try:
            stored = await self._js.get_last_msg(spec.name, subject, direct=True)
        except nats.js.errors.NotFoundError:
            return None
        return stored.data or b""

    async def _stored_seq(self, subject: str, up_to: int | None = None) -> int:
        newest = await self._newest(subject, up_to)
        return 0 if newest is None else newest.seq

    async def _held_at_start(self, subject: str) -> int:
        """Return the last number the stream holds; one larger than all it has ever held is not our writer's."""
        while True:
            held = await self._stored_seq_waiting(subject)
            try:
                reach = await _last_stream_seq(self, subject) if held else 0
                if held > reach:
                    numbers = [opened(_any_codec, subject, msg.data).seq async for msg in _stored(self, subject, 0.0, 0)]
                    held = max((number for number in numbers if number <= reach), default=0)
                return held
            except _WEATHER:
                if self._client.is_closed:
                    raise
                await asyncio.sleep(0.1)

    async def _stored_seq_waiting(self, subject: str) -> int:
        while True:
            try:
                return await self._stored_seq(subject)
            except _WEATHER:
                if self._client.is_closed:
                    raise
                await asyncio.sleep(0.1)

    async def _on_disconnect(self) -> None:
        self._verified.clear()
        # What the client had buffered would go out after a hole of what the dead connection swallowed. The ring
        # has all of it and sends it in order once the stream has said where it stands.
        self._client._pending = []
        self._client._pending_data_size = 0

    async def _on_reconnect(self) -> None:
        self.reconnects += 1
        self._spawn(self._verify_after_reconnect(self.reconnects))
        for reader in self._readers:
            reader.rejoin()

    async def _verify_after_reconnect(self, generation: int) -> None:
        while generation == self.reconnects and not self._client.is_closed:
            try:
                async with self._ring_lock:
                    for subject, ring in list(self._rings.items()):
                        # A server that was killed may have less than it had said.
                        ring.restarted(await self._stored_seq(subject, ring.newest))
                    while True:
                        await self._republish(time.monotonic())
                        if not self._added_since_republish():
                            self._verified.set()
                            return
            except _WEATHER:
                await asyncio.sleep(0.1)

    def _added_since_republish(self) -> bool:
        return any(len(list(ring.missing(self._republished_at))) != len(ring) for ring in self._rings.values())

    _republished_at = 0.0

    async def _republish(self, sent_before_s: float) -> None:
        """Ask the streams what they hold; send again what was sent before a moment and is missing."""
        self._republished_at = sent_before_s
        for subject, ring in list(self._rings.items()):
            if not len(ring):
                ring.confirm(ring.held, time.monotonic())
                continue
            ring.confirm(await self._stored_seq(subject, ring.newest), time.monotonic())
            missing = list(ring.missing(sent_before_s))
            for _, payload in missing:
                await self._client.publish(subject, payload)
            if missing:
                self.republished += len(missing)
        if sum(ring.bytes for ring in self._rings.values()) <= RING_BYTES // 2:
            self._room.set()

    async def _confirm_for_ever(self) -> None:
        while not self._client.is_closed:
            await asyncio.sleep(CONFIRM_EVERY_S if self._room.is_set() else 0.05)
            if not self._client.is_connected or not self._verified.is_set():
                continue
            with contextlib.suppress(*_WEATHER):
                async with self._ring_lock:
                    await self._republish(time.monotonic() - 2 * CONFIRM_EVERY_S)

    async def settle(self) -> None:
        """Return once the server has taken every subscription and publication made so far.

        The client writes its ping past what still waits in its buffer, so the buffer is emptied first; otherwise
        the answer could come before a subscription was even sent.
        """
        await self._client._flush_pending(force_flush=True)
        await self._client.flush(timeout=5)

    async def settle_in_any_weather(self) -> None:
        """Return once ``settle`` has succeeded, however often the server goes away meanwhile."""
        while True:
            try:
                return await self.settle()
            except _WEATHER:
                if self._client.is_closed:
                    raise
                await asyncio.sleep(0.1)

    async def flush(self, *, for_s: float = 0.0) -> None:
        with contextlib.suppress(nats.errors.Error, TimeoutError):
            await self.settle()
        await self.wait_held({subject: ring.newest for subject, ring in self._rings.items()}, for_s=for_s)

    async def wait_held(self, sent: Mapping[str, int], *, for_s: float = 0.0) -> None:
        """Return once the streams hold every subject up to the given number.

        Parameters
        ----------
        sent : last number by subject
        for_s : and have held it for so long on one unbroken connection (see ``sequencing.SETTLED_S``)
        """
        while True:
            await self._wait_held(sent)
            connection = self.reconnects
            if for_s > 0.0:
                await asyncio.sleep(for_s)
            if for_s <= 0.0 or self._client.is_closed or (connection == self.reconnects and self.connected):
                return

    async def _wait_held(self, sent: Mapping[str, int]) -> None:
        waiting = {subject: seq for subject, seq in sent.items() if subject in self._rings}
        while waiting and not self._client.is_closed and self.failure is None:
            with contextlib.suppress(*_WEATHER):
                for subject, seq in list(waiting.items()):
                    ring = self._rings[subject]
                    if ring.held < seq:
                        ring.confirm(await self._stored_seq(subject, ring.newest), time.monotonic())
                    if ring.held >= seq:
                        del waiting[subject]
            if waiting:
                await asyncio.sleep(0.02)

    # ---- hearing

    async def reader(
        self,
        patterns: Sequence[str],
        *,
        after: Mapping[str, int] | None = None,
        since_ns: int = 0,
        from_start: bool = True,
        codec: Codec | None = None,
    ) -> "_NatsReader":
        reader = _NatsReader(
            self, self._client, tuple(patterns), dict(after or {}), since_ns, from_start, codec or _any_codec
        )
        self._readers.append(reader)
        await reader.start()
        return reader

    async def deliveries(
        self, patterns: Sequence[str], *, after: Mapping[str, int] | None = None, from_start: bool = True
    ) -> AsyncIterator[Delivered]:
        async for delivered in one_by_one(await self.reader(patterns, after=after, from_start=from_start)):
            yield delivered

    async def on_message(self, pattern: str, callback: Callable[[str, bytes], None]) -> None:
        """Hear a pattern at core speed without any guarantee (for observers)."""

        async def heard(msg: Msg) -> None:
            callback(msg.subject, msg.data)

        await self._client.subscribe(pattern, cb=heard)

    async def request(self, subject: str, payload: bytes = b"", timeout_s: float = 2.0) -> bytes:
        """Send a request and return the answer's bytes."""
        try:
            answer = await self._client.request(subject, payload, timeout=timeout_s)
        except (nats.errors.NoRespondersError, nats.errors.TimeoutError) as error:
            raise BusError(f"{subject}: nobody answered") from error
        return answer.data

    async def ask(
        self, subject: str, payload: bytes, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Send a request that must not be sent twice and return the answer's bytes.

        Raises
        ------
        BusError : it certainly reached nobody
        TimeoutError : it went out, and no answer came in time
        """
        if not self._client.is_connected:
            # The client would keep it and send it once it is connected again.
            raise BusError(f"{subject}: the bus is not reached")
        try:
            answer = await self._client.request(
                subject, payload, timeout=timeout_s, headers=dict(headers) if headers else None
            )
        except nats.errors.NoRespondersError as error:
            raise BusError(f"{subject}: nobody listens") from error
        except (nats.errors.Error, OSError) as error:
            # The client's own time-out is one of its errors; after any of them the request may have been heard.
            raise TimeoutError(f"{subject}: no answer within {timeout_s:g} s") from error
        return answer.data

    async def request_many(self, subject: str, payload: bytes = b"", wait_s: float = 0.5) -> list[bytes]:
        """Send a request and return every answer that comes within a time."""
        inbox = self._client.new_inbox()
        answers: list[bytes] = []

        async def heard(msg: Msg) -> None:
            if msg.data:
                answers.append(msg.data)

        subscription = await self._client.subscribe(inbox, cb=heard)
        await self._client.publish(subject, payload, reply=inbox)
        await asyncio.sleep(wait_s)
        await subscription.unsubscribe()
        return answers

    async def answer(self, subject: str, handler: Callable[[bytes], bytes]) -> None:
        """Answer every request on a subject."""

        async def heard(msg: Msg) -> None:
            if msg.reply:
                await msg.respond(handler(msg.data))

        await self._client.subscribe(subject, cb=heard)

    async def announce(self, name: str, version: str, description: str) -> None:
        """Answer the NATS service discovery (``nats micro ls``) under a name."""
        await nats.micro.add_service(
            self._client, ServiceConfig(name=name, version=version, description=description)
        )

    # ---- model store

    async def put_object(self, name: str, content: bytes) -> None:
        try:
            store = await self._js.object_store(MODEL_BUCKET)
            await store.put(name, content)
        except _WEATHER as error:
            raise BusError(f"model store did not take '{name}' ({error})") from error

    async def get_object(self, name: str) -> bytes:
        try:
            store = await self._js.object_store(MODEL_BUCKET)
            size = (await store.get_info(name)).size or 0
            if size > MAX_ARCHIVE_BYTES:
                # All of it would lie in memory before the bundle's own check could refuse it.
                raise ArtifactError(f"model store's object '{name}' has {size} bytes, a bundle {MAX_ARCHIVE_BYTES} at most")
            found = await store.get(name)
        except (nats.js.errors.NotFoundError, nats.js.errors.ObjectNotFoundError) as error:
            raise ArtifactError(f"model store holds no object '{name}'") from error
        except _WEATHER as error:
            raise BusError(f"model store did not answer for '{name}' ({error})") from error
        if found.data is None:
            raise ArtifactError(f"model store's object '{name}' is empty")
        return found.data

    # ---- life

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.failure = task.exception()

    failure: BaseException | None = None
    """A bug in the bus itself; the next publish raises it."""

    async def close(self) -> None:
        """Drop everything not yet sent and disconnect; ``flush`` first to lose nothing."""
        for reader in list(self._readers):
            await reader.close()
        for task in list(self._tasks):
            task.cancel()
        if not self._client.is_connected:
            # The client would write it to the dead connection.
            self._client._pending = []
            self._client._pending_data_size = 0
        with contextlib.suppress(nats.errors.Error, OSError, RuntimeError):
            await self._client.close()


class _NatsReader:
    """A reader over one connection (see ``protocol.Reader``)."""

    def __init__(
        self,
        bus: NatsBus,
        client: Client,
        patterns: tuple[str, ...],
        after: dict[str, int],
        since_ns: int,
        from_start: bool,
        codec: Codec,
    ) -> None:
        self._bus, self._client, self._patterns, self._codec = bus, client, patterns, codec
        self._from_start = from_start
        self._since_s = since_ns / 1e9
        self._joiner: Joiner[Delivered] = Joiner(after, from_start=from_start)
        self._commands = tuple(pattern for pattern in patterns if delivery_of(pattern) is Delivery.COMMANDED)
        self._commanded_last: int | None = after.get(COMMANDS_SEEN)
        self._ready: deque[Delivered] = deque()
        self.wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._hinted = asyncio.Event()
        self._subscriptions: list[Any] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._catching = 0
        self._filling = False
        self._overflowed = False
        self._closed = False
        self._heard_at_s = 0.0 if from_start else time.time()

    async def start(self) -> None:
        for pattern in self._patterns:
            kind = delivery_of(pattern)
            subscription = await self._client.subscribe(pattern, pending_msgs_limit=-1, pending_bytes_limit=-1)
            waiting: Any = subscription._pending_queue
            at_once: Any = _AtOnce(self._listener(kind), self._bus)
            subscription._pending_queue = at_once
            while not waiting.empty():
                at_once.put_nowait(waiting.get_nowait())
            self._subscriptions.append(subscription)
        # The server must have the subscriptions before the streams are read, or a message could fall between.
        await self._bus.settle_in_any_weather()
        if self._bus.failure is not None:
            raise self._bus.failure
        if self._commands:
            if not self._from_start and self._commanded_last is None:
                self._commanded_last = await _last_stream_seq(self._bus, COMMANDS)
            self._spawn(self._follow_commands())
        if self._from_start:
            for pattern in self._sequenced():
                self._begin_catch_up(pattern, self._since_s - _OVERLAP_S if self._since_s else 0.0)

    def _sequenced(self) -> list[str]:
        return [pattern for pattern in self._patterns if delivery_of(pattern) is Delivery.SEQUENCED]

    async def batch(self) -> list[Delivered]:
        while not self._ready:
            self.wake.clear()
            await self.wake.wait()
        return self.take()

    def take(self) -> list[Delivered]:
        """Return what is ready now, perhaps nothing; ``wake`` is set whenever more has come."""
        if not self._ready:
            return []
        out = list(self._ready)
        self._ready.clear()
        self._drained.set()
        if self._overflowed:
            self._overflowed = False
            self.rejoin()
        return out

    @property
    def waiting(self) -> bool:
        """True while ``take`` would return something."""
        return bool(self._ready)

    @property
    def joined(self) -> bool:
        return self._catching == 0 and not self._joiner.holes()

    def counts(self) -> ReaderCounts:
        joiner = self._joiner
        return ReaderCounts(
            gaps_detected=joiner.holes_seen, gaps_filled=joiner.holes_filled, duplicates=joiner.duplicates, lost=joiner.lost
        )

    def rejoin(self) -> None:
        """Read the streams again from where we stand; live messages may have been missed."""
        for pattern in self._sequenced():
            self._begin_catch_up(pattern, None)
        self._hinted.set()

    def _listener(self, kind: Delivery) -> Callable[[Msg], None]:
        return {
            Delivery.COMMANDED: self._hear_of_command,
            Delivery.EPHEMERAL: self._hear_ephemeral,
            Delivery.SEQUENCED: self._hear_sequenced,
        }[kind]

    def _hear_of_command(self, _: Msg) -> None:
        self._hinted.set()

    def _hear_ephemeral(self, msg: Msg) -> None:
        self._emit([opened(self._codec, msg.subject, msg.data, 0)])

    def _hear_sequenced(self, msg: Msg) -> None:
        if len(self._ready) > HIGH_WATER:
            # The consumer is too slow: leave the rest to the stream and read it from there.
            self._overflowed = True
            return
        self._heard_at_s = time.time()
        self._take(msg.subject, msg.data, self._joiner.live)
        if self._joiner.holes() and not self._filling and self._catching == 0:
            self._filling = True
            self._spawn(self._fill())

    def _take(self, subject: str, payload: bytes, join: Callable[[str, int, Delivered], list[Delivered]]) -> None:
        delivered = opened(self._codec, subject, payload)
        if delivered.message is not None and delivered.seq <= 0:
            delivered = Delivered(subject, payload, None, 0, "no sequence number (field seq)")
        if delivered.message is not None:
            self._emit(join(subject, delivered.seq, delivered))
        elif join != self._joiner.stored:
            # What the stream holds of garbage was complained about when it came.
            self._emit([delivered])

    def _emit(self, ready: list[Delivered]) -> None:
        if ready:
            self._ready.extend(ready)
            self.wake.set()

    # ---- reading streams

    def _begin_catch_up(self, pattern: str, since_s: float | None) -> None:
        if self._closed:
            return
        self._catching += 1
        self._joiner.begin(pattern)
        self._spawn(self._catch_up(pattern, since_s))

    async def _catch_up(self, pattern: str, since_s: float | None) -> None:
        from_s = self._since(since_s)
        try:
            while not self._closed:
                try:
                    await self._read_stored(pattern, from_s)
                    break
                except _WEATHER:
                    await asyncio.sleep(0.1)
        finally:
            self._catching -= 1
            self._emit(self._joiner.end(pattern))
        if self._joiner.holes() and not self._filling:
            self._filling = True
            self._spawn(self._fill())

    def _since(self, since_s: float | None) -> float:
        """Return from when to read: a time asked for, or shortly before the last message heard."""
        return max(self._heard_at_s - _REJOIN_OVERLAP_S, 0.0) if since_s is None else since_s

    async def _fill(self) -> None:
        """Fill holes from the stream until there are none; what nobody holds any more is given up, loudly."""
        try:
            since_s: float | None = None
            looked: dict[str, tuple[float, int]] = {}
            while self._joiner.holes() and not self._closed:
                holes = self._joiner.holes()
                # Every hole has its own time: one that has just been seen is not given up with an old one.
                looked = {subject: looked.get(subject) or self._look(subject) for subject in holes}
                for subject in holes:
                    with contextlib.suppress(*_WEATHER):
                        await self._read_stored(subject, self._since(since_s))
                since_s = 0.0  # the overlap was too short: look through all of it
                for subject in self._joiner.holes():
                    since, stood = looked.get(subject) or self._look(subject)
                    if time.monotonic() - since > LOST_AFTER_S and self._bus.connected:
                        with contextlib.suppress(*_WEATHER):
                            await self._end_hole(subject, stood)
                        looked[subject] = self._look(subject)
                if self._joiner.holes():
                    await asyncio.sleep(0.2)
        finally:
            self._filling = False

    def _look(self, subject: str) -> tuple[float, int]:
        """Return the time and the last number handled on a subject."""
        return time.monotonic(), self._joiner.last.get(subject, 0)

    async def _end_hole(self, subject: str, stood: int) -> None:
        """Set aside the number that made the hole when it cannot be the writer's; else go on behind the hole."""
        reach = await _last_stream_seq(self._bus, subject)
        stray = self._joiner.stray(subject, stood, reach)
        if stray is not None:
            problem = f"number {stray.seq} is far ahead of {self._joiner.last.get(subject, 0)}, the last one before it"
            self._emit([Delivered(subject, stray.payload, None, 0, problem)])
        elif self._joiner.last.get(subject, 0) == stood:
            self._emit(self._joiner.give_up(subject))

    async def _read_stored(self, pattern: str, since_s: float) -> None:
        """Pass everything the stream holds of a pattern since a time (0: from its start) to the joiner."""
        async for msg in _stored(self._bus, pattern, since_s, 0):
            self._take(msg.subject, msg.data, self._joiner.stored)
            if len(self._ready) > HIGH_WATER // 2:
                self._drained.clear()
                await self._drained.wait()

    async def _follow_commands(self) -> None:
        """Read commands in the stream's order; a live one only says that there is something to read."""
        while not self._closed:
            for delay_s in (0.0, 0.005, 0.02, 0.05, 0.1):
                await asyncio.sleep(delay_s)
                try:
                    if await self._read_commands():
                        break
                except _WEATHER:
                    continue
            self._hinted.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hinted.wait(), 2.0)

    async def _read_commands(self) -> bool:
        found = False
        async for msg in _stored(self._bus, COMMANDS, 0.0, (self._commanded_last or 0) + 1):
            seq = msg.metadata.sequence.stream
            self._commanded_last = seq
            if any(subjects.matches(pattern, msg.subject) for pattern in self._commands):
                self._emit([opened(self._codec, msg.subject, msg.data, seq)])
                found = True
        return found

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # A stream that is no longer read must not look like one with nothing new.
            self._bus.failure = task.exception()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        for subscription in self._subscriptions:
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()
        if self in self._bus._readers:
            self._bus._readers.remove(self)


class _AtOnce:
    """Stands where the client queues a subscription's messages for a task of its own; hands them on at once.

    A reader only puts them in order, so the way over another task is spared on every hop.
    """

    def __init__(self, hear: Callable[[Msg], None], bus: NatsBus) -> None:
        self._hear = hear
        self._bus = bus

    def put_nowait(self, msg: Msg) -> None:
        try:
            self._hear(msg)
        except Exception as error:
            # In the client's own reading loop it would end the connection, again and again.
            self._bus.failure = error

    def empty(self) -> bool:
        return True


def _true(delivered: Delivered, up_to: int | None) -> Delivered | None:
    if delivered.message is None or (up_to is not None and delivered.seq > up_to):
        return None
    return delivered


async def _last_stream_seq(bus: NatsBus, pattern: str) -> int:
    spec = stream_of(pattern)
    if spec is None:
        return 0
    return int((await bus._js.stream_info(spec.name)).state.last_seq)


async def _stored(bus: NatsBus, pattern: str, since_s: float, from_seq: int) -> AsyncIterator[Msg]:
    """Yield what a stream holds of a pattern, up to its end at the time of asking, by bounded pulls."""
    spec = stream_of(pattern)
    if spec is None:
        raise BusError(f"{pattern}: no stream captures it")
    config = ConsumerConfig(
        ack_policy=AckPolicy.NONE, inactive_threshold=30.0, mem_storage=True, filter_subject=pattern,
        deliver_policy=DeliverPolicy.ALL,
    )
    if from_seq > 1:
        config.deliver_policy, config.opt_start_seq = DeliverPolicy.BY_START_SEQUENCE, from_seq
    elif since_s > 0:
        config.deliver_policy = DeliverPolicy.BY_START_TIME
        # The client encodes the date as it stands; only this form is RFC 3339.
        config.opt_start_time = datetime.fromtimestamp(since_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # type: ignore[assignment]
    subscription = await bus._js.pull_subscribe(pattern, stream=spec.name, config=config)
    name = ""
    try:
        consumer = await subscription.consumer_info()
        name, pending = consumer.name, consumer.num_pending or 0
        while pending > 0:
            for msg in await subscription.fetch(min(_FETCH, pending), timeout=5.0):
                pending -= 1
                yield msg
    finally:
        with contextlib.suppress(*_WEATHER):
            await subscription.unsubscribe()
            if name:
                # Left alone it would live on for half a minute, and a server has room for so many.
                await bus._js.delete_consumer(spec.name, name)


# ---- provisioning (user ``admin``), and the server's own word (user ``system``)


def _stream_request(spec: StreamSpec, max_stream_bytes: int) -> dict[str, Any]:
    request: dict[str, Any] = {
        "name": spec.name,
        "subjects": list(spec.subjects),
        "storage": "file",
        "retention": "limits",
        "discard": "old",
        "max_bytes": int(max_stream_bytes * spec.max_share),
        "max_age": spec.max_age_s * 1_000_000_000,
        "max_msg_size": -1,
        "num_replicas": 1,
        "duplicate_window": 120_000_000_000,
        "allow_direct": True,
    }
    if not spec.fsync:
        request["persist_mode"] = "async"
    return request


async def provision(bus: NatsBus, max_stream_bytes: int) -> None:
    """Create all streams and the model store, or bring them up to date; nothing is lost when they exist.

    Raises
    ------
    BusError : when the server refuses, or its answer does not show the durability that was asked for
    """
    for spec in STREAMS:
        request = _stream_request(spec, max_stream_bytes)
        answer = await _js_api(bus, f"$JS.API.STREAM.CREATE.{spec.name}", request)
        if answer.get("error"):
            answer = await _js_api(bus, f"$JS.API.STREAM.UPDATE.{spec.name}", request)
        if answer.get("error"):
            raise BusError(f"stream {spec.name}: {answer['error'].get('description')}")
        mode = answer["config"].get("persist_mode", "default")
        if (mode == "async") is spec.fsync:
            raise BusError(
                f"stream {spec.name}: the server answers persist_mode '{mode}'. nats-server 2.12 or newer is needed."
            )
    with contextlib.suppress(nats.js.errors.BadRequestError):
        await bus._js.create_object_store(
            MODEL_BUCKET, config=ObjectStoreConfig(bucket=MODEL_BUCKET, storage=StorageType.FILE)
        )


async def _js_api(bus: NatsBus, subject: str, request: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = msgspec.json.decode(await bus.request(subject, msgspec.json.encode(request), 5.0))
    return answer


async def prove_durability(url: str, password: str) -> str:
    """Ask the server itself (user ``system``) whether it syncs every write; return its version.

    Raises
    ------
    BusError : when it does not, or does not say
    """
    client = await nats.connect(
        servers=[url], user="system", password=password, inbox_prefix=b"_INBOX.system", allow_reconnect=False
    )
    try:
        answer = await client.request("$SYS.REQ.SERVER.PING.VARZ", b"", timeout=5)
        found = msgspec.json.decode(answer.data)["data"]
        settings = (found.get("jetstream") or {}).get("config") or {}
        if not settings.get("sync_always"):
            raise BusError(
                f"{url}: the server does not sync every write (jetstream.config: {settings}). "
                "Set `sync_interval: always` in its jetstream block."
            )
        return str(found["version"])
    except (nats.errors.Error, KeyError) as error:
        raise BusError(f"{url}: the server does not say how it syncs ({error})") from error
    finally:
        await client.close()
