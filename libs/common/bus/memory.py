"""The bus in memory: the same promises as NATS inside one process, for tests and the backtest's composition root."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence

from libs.common import subjects
from libs.common.bus.protocol import Delivered, ReaderCounts, one_by_one, opened
from libs.common.bus.sequencing import Joiner, Ring
from libs.common.bus.streams import COMMANDS, COMMANDS_SEEN, Delivery, delivery_of, stream_of
from libs.common.codec import Codec, encode
from libs.common.errors import ArtifactError, BusError
from libs.common.messages.base import Message
from libs.common.routing import subject_of

_any_codec = Codec()


class MemoryServer:
    """What the buses of one process share: streams, commands already stored, objects. Can be killed and restarted."""

    def __init__(self) -> None:
        self.streams: dict[str, list[tuple[str, bytes]]] = {}
        self.objects: dict[str, bytes] = {}
        self.command_ids: set[str] = set()
        self.buses: list[MemoryBus] = []
        self.up = True

    def kill(self) -> None:
        """Stop: what is published from now on reaches nobody."""
        self.up = False

    def restart(self) -> None:
        """Come back with all stored messages; every bus checks what is missing and reads on."""
        self.up = True
        for bus in self.buses:
            bus.reconnected()

    def store(self, subject: str, payload: bytes) -> int:
        spec = stream_of(subject)
        if spec is None:
            return 0
        stream = self.streams.setdefault(spec.name, [])
        stream.append((subject, payload))
        return len(stream)

    def stored(self, pattern: str) -> list[tuple[int, str, bytes]]:
        """Return (stream sequence, subject, payload) of all that matches."""
        spec = stream_of(pattern)
        if spec is None:
            raise BusError(f"{pattern}: no stream captures it")
        return [
            (number, subject, payload)
            for number, (subject, payload) in enumerate(self.streams.get(spec.name, ()), start=1)
            if subjects.matches(pattern, subject)
        ]

    def deliver(self, subject: str, payload: bytes, number: int) -> None:
        for bus in self.buses:
            for reader in bus.readers:
                reader.hear(subject, payload, number)


class MemoryBus:
    """One client of a ``MemoryServer`` (see ``protocol.Bus``)."""

    def __init__(self, server: MemoryServer) -> None:
        self.server = server
        self.readers: list[_MemoryReader] = []
        self._rings: dict[str, Ring] = {}
        server.buses.append(self)

    async def publish(self, message: Message) -> None:
        subject, payload = subject_of(message), encode(message)
        kind = delivery_of(subject)
        if kind is Delivery.SEQUENCED:
            if message.seq <= 0:
                raise BusError(f"{subject}: a sequenced message needs its number")
            ring = self._rings.get(subject)
            if ring is None:
                ring = self._rings[subject] = Ring(self._held(subject))
            if ring.add(message.seq, payload, 0.0) and self.server.up:
                self.server.deliver(subject, payload, self.server.store(subject, payload))
                ring.confirm(message.seq, 0.0)
        elif kind is Delivery.COMMANDED:
            if not self.server.up:
                raise BusError(f"{subject}: the bus is down, the command was not stored. Try again.")
            command_id = getattr(message, "command_id", "")
            if command_id and command_id in self.server.command_ids:
                return
            self.server.command_ids.add(command_id)
            self.server.deliver(subject, payload, self.server.store(subject, payload))
        elif self.server.up:
            self.server.store(subject, payload)
            self.server.deliver(subject, payload, 0)

    def _held(self, subject: str) -> int:
        for _, _, payload in reversed(self.server.stored(subject)):
            newest = opened(_any_codec, subject, payload)
            if newest.message is not None:
                return newest.seq
        return 0

    def reconnected(self) -> None:
        """Send what the streams lack, then let the readers read on."""
        for subject, ring in self._rings.items():
            ring.confirm(self._held(subject), 0.0)
            for seq, payload in list(ring.missing(0.0)):
                self.server.deliver(subject, payload, self.server.store(subject, payload))
                ring.confirm(seq, 0.0)
        for reader in self.readers:
            reader.read_stored()

    async def reader(
        self,
        patterns: Sequence[str],
        *,
        after: Mapping[str, int] | None = None,
        since_ns: int = 0,
        from_start: bool = True,
        codec: Codec | None = None,
    ) -> "_MemoryReader":
        reader = _MemoryReader(self, tuple(patterns), dict(after or {}), from_start, codec or _any_codec)
        self.readers.append(reader)
        if from_start:
            reader.read_stored()
        return reader

    async def deliveries(
        self, patterns: Sequence[str], *, after: Mapping[str, int] | None = None, from_start: bool = True
    ) -> AsyncIterator[Delivered]:
        async for delivered in one_by_one(await self.reader(patterns, after=after, from_start=from_start)):
            yield delivered

    async def last(self, subject: str) -> Message | None:
        stored = self.server.stored(subject)
        message: Message | None = _any_codec.decode(stored[-1][2], subject) if stored else None
        return message

    async def put_object(self, name: str, content: bytes) -> None:
        self.server.objects[name] = content

    async def get_object(self, name: str) -> bytes:
        try:
            return self.server.objects[name]
        except KeyError:
            raise ArtifactError(f"model store holds no object '{name}'") from None

    async def flush(self, *, for_s: float = 0.0) -> None:
        while any(len(ring) for ring in self._rings.values()):  # noqa: ASYNC110 - only a restart empties them
            await asyncio.sleep(0.001)

    async def close(self) -> None:
        for reader in list(self.readers):
            await reader.close()
        if self in self.server.buses:
            self.server.buses.remove(self)


class _MemoryReader:
    def __init__(
        self, bus: MemoryBus, patterns: tuple[str, ...], after: dict[str, int], from_start: bool, codec: Codec
    ) -> None:
        self._bus, self._patterns, self._codec = bus, patterns, codec
        self._joiner: Joiner[Delivered] = Joiner(after, from_start=from_start)
        newest = 0 if from_start else len(bus.server.streams.get("CONTROL", ()))
        self._commanded = after.get(COMMANDS_SEEN, newest)
        self._ready: deque[Delivered] = deque()
        self.wake = asyncio.Event()

    def read_stored(self) -> None:
        kinds = {pattern: delivery_of(pattern) for pattern in self._patterns}
        wanted = [pattern for pattern, kind in kinds.items() if kind is Delivery.SEQUENCED]
        if Delivery.COMMANDED in kinds.values():
            wanted.append(COMMANDS)
        for pattern in wanted:
            for number, subject, payload in self._bus.server.stored(pattern):
                if any(subjects.matches(heard, subject) for heard in self._patterns):
                    self._take(subject, payload, number, stored=True)

    def hear(self, subject: str, payload: bytes, number: int) -> None:
        for pattern in self._patterns:
            if subjects.matches(pattern, subject):
                self._take(subject, payload, number, stored=False)
                if self._joiner.holes():
                    self.read_stored()
                return

    def _take(self, subject: str, payload: bytes, number: int, *, stored: bool) -> None:
        kind = delivery_of(subject)
        delivered = opened(self._codec, subject, payload)
        message = delivered.message
        if message is None:
            self._emit([delivered])
        elif kind is Delivery.EPHEMERAL:
            self._emit([Delivered(subject, payload, message, 0)])
        elif kind is Delivery.COMMANDED:
            if number > self._commanded:
                self._commanded = number
                self._emit([Delivered(subject, payload, message, number)])
        else:
            join = self._joiner.stored if stored else self._joiner.live
            self._emit(join(subject, message.seq, delivered))

    def _emit(self, ready: list[Delivered]) -> None:
        if ready:
            self._ready.extend(ready)
            self.wake.set()

    async def batch(self) -> list[Delivered]:
        while not self._ready:
            self.wake.clear()
            await self.wake.wait()
        return self.take()

    def take(self) -> list[Delivered]:
        out = list(self._ready)
        self._ready.clear()
        return out

    @property
    def waiting(self) -> bool:
        return bool(self._ready)

    @property
    def joined(self) -> bool:
        return not self._joiner.holes()

    def counts(self) -> ReaderCounts:
        joiner = self._joiner
        return ReaderCounts(
            gaps_detected=joiner.holes_seen, gaps_filled=joiner.holes_filled, duplicates=joiner.duplicates, lost=joiner.lost
        )

    async def close(self) -> None:
        if self in self._bus.readers:
            self._bus.readers.remove(self)
