"""One suite for every bus: what NATS promises, the memory bus promises too."""

import asyncio
import signal
import time

import numpy as np
import pytest

from libs.common.bus.memory import MemoryBus, MemoryServer
from libs.common.bus.nats import NatsBus
from libs.common.bus.server import EmbeddedServer
from libs.common.bus.streams import COMMANDS_SEEN
from libs.common.errors import ArtifactError, BusError
from libs.common.messages.control import Halt, Heartbeat, Resume
from libs.common.messages.market import TickBlock
from libs.common.messages.orders import OrderRefused, RefusalReason


def tick(seq: int, symbol: str = "EURUSD", n: int = 1) -> TickBlock:
    return TickBlock(
        ts_event_ns=seq + n - 1, ts_init_ns=time.time_ns(), seq=seq, step=seq, symbol=symbol, first_tick=seq,
        time_ns=np.arange(n) + seq, bid=np.ones(n), ask=np.ones(n),
    )


def halt(command_id: str) -> Halt:
    return Halt(ts_event_ns=1, ts_init_ns=1, command_id=command_id, issued_by="test", reason="contract")


class MemoryHarness:
    """The memory bus behind the calls the suite needs."""

    def __init__(self, _):
        self.server = MemoryServer()

    async def start(self):
        pass

    async def bus(self, user):
        return MemoryBus(self.server)

    async def kill(self):
        self.server.kill()

    async def restart(self):
        self.server.restart()

    def freeze(self):
        """There is no process that could stand still."""

    def thaw(self):
        pass

    async def stop(self):
        pass


class NatsHarness:
    """A real nats-server on a free port."""

    def __init__(self, folder):
        self.server = EmbeddedServer(folder)

    async def start(self):
        await self.server.start()

    async def bus(self, user):
        return await NatsBus.connect(self.server.url, user=user, password=self.server.passwords[user])

    async def kill(self):
        self.server.process.kill()
        await asyncio.to_thread(self.server.process.wait)

    async def restart(self):
        self.server.launch()

    def freeze(self):
        self.server.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.server.process.send_signal(signal.SIGCONT)

    async def stop(self):
        await self.server.stop()


@pytest.fixture(params=[MemoryHarness, NatsHarness], ids=["memory", "nats"])
async def harness(request, tmp_path):
    made = request.param(tmp_path)
    await made.start()
    yield made
    await made.stop()


async def collect(reader, count, timeout_s=15.0):
    got = []
    async with asyncio.timeout(timeout_s):
        while len(got) < count:
            got += await reader.batch()
    return got


async def test_messages_arrive_once_and_in_order(harness):
    writer, hearer = await harness.bus("ingest"), await harness.bus("features")
    reader = await hearer.reader(["ticks.*"])
    for seq in range(1, 201):
        await writer.publish(tick(seq))
    got = await collect(reader, 200)
    assert [item.seq for item in got] == list(range(1, 201))
    assert got[0].message.symbol == "EURUSD"
    assert [item.message.step for item in got] == list(range(1, 201))


async def test_a_late_reader_gets_the_whole_stream_and_joins_live_without_hole_or_repeat(harness):
    writer, hearer = await harness.bus("ingest"), await harness.bus("features")
    for seq in range(1, 501):
        await writer.publish(tick(seq))
    reader = await hearer.reader(["ticks.*"])
    for seq in range(501, 801):
        await writer.publish(tick(seq))
    assert [item.seq for item in await collect(reader, 800)] == list(range(1, 801))
    assert reader.counts().lost == 0


async def test_a_reader_begins_after_the_number_it_has_handled(harness):
    writer, hearer = await harness.bus("ingest"), await harness.bus("features")
    for seq in range(1, 101):
        await writer.publish(tick(seq))
        await writer.publish(tick(seq, "XAUUSD"))
    reader = await hearer.reader(["ticks.*"], after={"ticks.EURUSD": 60, "ticks.XAUUSD": 90})
    got = await collect(reader, 50)
    assert [item.seq for item in got if item.subject == "ticks.EURUSD"] == list(range(61, 101))
    assert [item.seq for item in got if item.subject == "ticks.XAUUSD"] == list(range(91, 101))


async def test_a_reader_may_hear_only_what_comes_from_now_on(harness):
    writer, hearer = await harness.bus("ingest"), await harness.bus("features")
    for seq in range(1, 11):
        await writer.publish(tick(seq))
    await writer.flush()
    reader = await hearer.reader(["ticks.*"], from_start=False)
    for seq in range(11, 21):
        await writer.publish(tick(seq))
    assert [item.seq for item in await collect(reader, 10)] == list(range(11, 21))


async def test_what_was_published_before_is_never_delivered_twice_however_late_it_comes_again(harness):
    """A restarted publisher sends everything again, long after any server-side window: the number decides."""
    first, hearer = await harness.bus("ingest"), await harness.bus("features")
    reader = await hearer.reader(["ticks.*"])
    for seq in range(1, 51):
        await first.publish(tick(seq))
    got = await collect(reader, 50)
    await first.flush()
    await first.close()
    again = await harness.bus("ingest")
    for seq in range(1, 61):
        await again.publish(tick(seq))
    got += await collect(reader, 10)
    assert [item.seq for item in got] == list(range(1, 61))
    late = await hearer.reader(["ticks.*"])
    assert [item.seq for item in await collect(late, 60)] == list(range(1, 61))


async def test_a_raw_repeat_on_the_wire_is_dropped_by_the_reader(tmp_path):
    """Another writer with the same numbers (a duplicate the server let through) is not heard twice."""
    harness = NatsHarness(tmp_path)
    await harness.start()
    try:
        writer, hearer = await harness.bus("ingest"), await harness.bus("features")
        reader = await hearer.reader(["ticks.*"])
        for seq in (1, 2, 2, 1, 3, 3, 2):
            await writer._client.publish("ticks.EURUSD", _bytes(tick(seq)))
        assert [item.seq for item in await collect(reader, 3)] == [1, 2, 3]
        await asyncio.sleep(0.1)
        assert not reader.waiting
        assert reader.counts().duplicates == 4
    finally:
        await harness.stop()


async def test_a_hole_in_the_live_flow_is_filled_from_the_stream(tmp_path):
    harness = NatsHarness(tmp_path)
    await harness.start()
    try:
        writer, hearer = await harness.bus("ingest"), await harness.bus("features")
        reader = await hearer.reader(["ticks.*"])
        await writer.publish(tick(1))
        assert [item.seq for item in await collect(reader, 1)] == [1]
        # The subscription misses 2..6 (as after a slow-consumer drop), the stream does not.
        live = reader._joiner.live
        reader._joiner.live = lambda subject, seq, item: [] if 2 <= seq <= 6 else live(subject, seq, item)
        for seq in range(2, 11):
            await writer.publish(tick(seq))
        assert [item.seq for item in await collect(reader, 9)] == list(range(2, 11))
        assert reader.counts().gaps_detected >= 1
        assert reader.counts().gaps_filled >= 1
        assert reader.counts().lost == 0
    finally:
        await harness.stop()


async def test_what_the_stream_does_not_hold_is_published_again(tmp_path):
    """The server never stored the tail: the publisher's ring has it and sends it again by itself."""
    harness = NatsHarness(tmp_path)
    await harness.start()
    try:
        writer, hearer = await harness.bus("ingest"), await harness.bus("features")
        for seq in range(1, 6):
            await writer.publish(tick(seq))
        await writer.flush()
        real, dropped = writer._client.publish, []

        async def lossy(subject, payload=b"", **more):
            if subject.startswith("ticks.") and len(dropped) < 5:
                dropped.append(payload)
            else:
                await real(subject, payload, **more)

        writer._client.publish = lossy
        for seq in range(6, 11):
            await writer.publish(tick(seq))
        reader = await hearer.reader(["ticks.*"])
        assert [item.seq for item in await collect(reader, 10)] == list(range(1, 11))
        assert len(dropped) == 5
        assert writer.republished >= 5
    finally:
        await harness.stop()


async def test_ten_kills_of_the_server_while_publishing_lose_and_repeat_nothing(harness):
    writer, hearer = await harness.bus("ingest"), await harness.bus("features")
    reader = await hearer.reader(["ticks.*"])
    sent, stop = [0], asyncio.Event()

    async def publish():
        while not stop.is_set():
            for _ in range(20):
                sent[0] += 1
                await writer.publish(tick(sent[0]))
            await asyncio.sleep(0.01)

    publishing = asyncio.create_task(publish())
    got, resumed_s = [], []
    hearing = asyncio.create_task(_hear_for_ever(reader, got))
    for _ in range(10):
        await asyncio.sleep(0.15)
        await harness.kill()
        await asyncio.sleep(0.05)
        await harness.restart()
        mark, reached = sent[0], time.monotonic()
        async with asyncio.timeout(10):
            while not _connected(hearer):
                await asyncio.sleep(0.005)
            reached = time.monotonic()
            while not got or got[-1].seq < mark:
                await asyncio.sleep(0.005)
        resumed_s.append(time.monotonic() - reached)
    stop.set()
    await publishing
    async with asyncio.timeout(10):
        while len(got) < sent[0]:
            await asyncio.sleep(0.01)
    hearing.cancel()
    assert [item.seq for item in got] == list(range(1, sent[0] + 1))
    assert reader.counts().lost == 0
    assert max(resumed_s) < 2.0
    await writer.flush()
    late = await hearer.reader(["ticks.*"])
    assert [item.seq for item in await collect(late, sent[0])] == list(range(1, sent[0] + 1))


async def test_a_reader_that_begins_while_the_server_does_not_answer_waits_for_it(harness):
    """A service that starts in the very moment in which the server is stuck, or was killed with the answer under way."""
    writer, hearer = await harness.bus("ingest"), await harness.bus("features")
    await writer.publish(tick(1))
    await writer.flush()
    harness.freeze()
    beginning = asyncio.create_task(hearer.reader(["ticks.*"]))
    # Longer than the client itself waits for an answer.
    await asyncio.sleep(6.0)
    harness.thaw()
    async with asyncio.timeout(20):
        reader = await beginning
    await writer.publish(tick(2))
    assert [item.seq for item in await collect(reader, 2)] == [1, 2]


async def _hear_for_ever(reader, got):
    while True:
        got += await reader.batch()


def _connected(bus):
    return getattr(bus, "connected", True)


async def test_what_a_stream_said_it_held_survives_a_kill_in_the_next_moment(harness):
    """A stream that writes behind its acknowledgement forgets the newest of it when its server is killed."""
    writer, hearer = await harness.bus("ingest"), await harness.bus("features")
    for round_ in range(1, 6):
        for seq in range(200 * (round_ - 1) + 1, 200 * round_ + 1):
            await writer.publish(tick(seq))
        await writer.flush()
        await harness.kill()
        await harness.restart()
        async with asyncio.timeout(10):
            while not (_connected(writer) and _connected(hearer)):
                await asyncio.sleep(0.01)
    async with asyncio.timeout(10):
        late = await hearer.reader(["ticks.*"])
        assert [item.seq for item in await collect(late, 1_000)] == list(range(1, 1_001))


async def test_a_slow_consumer_loses_nothing(harness):
    writer, hearer = await harness.bus("ingest"), await harness.bus("features")
    reader = await hearer.reader(["ticks.*"])
    for seq in range(1, 20_001):
        await writer.publish(tick(seq))
        if seq % 2_000 == 0:
            await asyncio.sleep(0)
    await asyncio.sleep(0.3)
    assert [item.seq for item in await collect(reader, 20_000, 30)] == list(range(1, 20_001))


async def test_a_consumer_too_slow_for_memory_reads_the_rest_from_the_stream(tmp_path, monkeypatch):
    monkeypatch.setattr("libs.common.bus.nats.HIGH_WATER", 500)
    harness = NatsHarness(tmp_path)
    await harness.start()
    try:
        writer, hearer = await harness.bus("ingest"), await harness.bus("features")
        reader = await hearer.reader(["ticks.*"])
        async with asyncio.timeout(10):
            while not reader.joined:
                await asyncio.sleep(0.01)
        for seq in range(1, 5_001):
            await writer.publish(tick(seq))
        await writer.flush()
        await asyncio.sleep(0.2)
        assert len(reader._ready) <= 501
        assert [item.seq for item in await collect(reader, 5_000)] == list(range(1, 5_001))
    finally:
        await harness.stop()


async def test_flush_returns_only_when_the_stream_holds_everything(harness):
    writer = await harness.bus("ingest")
    for seq in range(1, 1_001):
        await writer.publish(tick(seq))
    await writer.flush()
    newest = await writer.last("ticks.EURUSD")
    assert newest.seq == 1_000


async def test_commands_of_several_writers_come_in_the_streams_order_and_once(harness):
    one, two, hearer = await harness.bus("operator"), await harness.bus("operator"), await harness.bus("risk")
    await one.publish(halt("a"))
    reader = await hearer.reader(["control.*"])
    await two.publish(halt("b"))
    await one.publish(halt("a"))  # the same command again
    await one.publish(halt("c"))
    got = await collect(reader, 3)
    assert [item.message.command_id for item in got] == ["a", "b", "c"]
    after = {COMMANDS_SEEN: got[1].seq}
    again = await hearer.reader(["control.*"], after=after)
    assert [item.message.command_id for item in await collect(again, 1)] == ["c"]


async def test_commands_heard_by_several_patterns_keep_the_streams_order(harness):
    """Halt, resume, halt must never be heard as halt, halt, resume: trading would go on."""
    operator, hearer = await harness.bus("operator"), await harness.bus("risk")
    for number in range(20):
        kind = Resume if number % 2 else Halt
        await operator.publish(kind(ts_event_ns=1, ts_init_ns=1, command_id=f"c{number}", issued_by="test", reason="order"))
    for _ in range(5):
        reader = await hearer.reader(["control.halt", "control.resume", "control.flatten"])
        got = await collect(reader, 20)
        assert [item.message.command_id for item in got] == [f"c{number}" for number in range(20)]
        await reader.close()


async def test_a_malformed_payload_is_handed_over_as_such(tmp_path):
    harness = NatsHarness(tmp_path)
    await harness.start()
    try:
        writer, hearer = await harness.bus("ingest"), await harness.bus("features")
        reader = await hearer.reader(["ticks.*"])
        bad = [
            b"", b"{", b"\xff\xfe", b"null", b"[]", b'{"type":"TickBlock"}', b'{"type":"Nothing"}',
            _bytes(tick(1)).replace(b'"bid":[1.0]', b'"bid":[null]'),
            _bytes(tick(1)).replace(b'"bid":[1.0]', b'"bid":[-1.0]'),
            _bytes(tick(1)).replace(b'"bid":[1.0]', b'"bid":[1.0,2.0]'),
            _bytes(tick(1)).replace(b'"seq":1', b'"seq":0'),
            _bytes(tick(1, "GBPUSD")),
            b"[" * 50_000,
        ]
        for payload in bad:
            await writer._client.publish("ticks.EURUSD", payload)
        await writer.settle()
        # The newest message of the subject is garbage, and still the writer finds out where the stream stands.
        await writer.publish(tick(1))
        got = await collect(reader, len(bad) + 1)
        assert [item.message is None for item in got] == [True] * len(bad) + [False]
        assert all(item.error for item in got[:-1])
    finally:
        await harness.stop()


async def test_heartbeats_are_heard_but_not_kept(harness):
    writer, hearer = await harness.bus("ingest"), await harness.bus("observer")
    beat = Heartbeat(
        ts_event_ns=1, ts_init_ns=1, service="ingest", instance="x", version="0", ready=True, lag_ms=0.0, seen={}, sent={}
    )
    await writer.publish(beat)
    await writer.flush()
    reader = await hearer.reader(["health.*"])
    await writer.publish(beat)
    got = await collect(reader, 1)
    await asyncio.sleep(0.05)
    assert len(got) == 1
    assert not reader.waiting


async def test_objects_are_stored_whole_and_a_missing_one_is_named(harness):
    trainer, inference = await harness.bus("trainer"), await harness.bus("inference")
    content = bytes(range(256)) * 8_000
    await trainer.put_object("direction-EURUSD-1", content)
    assert await inference.get_object("direction-EURUSD-1") == content
    with pytest.raises(ArtifactError, match="nothing-here"):
        await inference.get_object("nothing-here")


async def test_a_sequenced_message_without_number_is_refused(harness):
    writer = await harness.bus("ingest")
    with pytest.raises(BusError, match="needs its number"):
        await writer.publish(tick(0))


@pytest.mark.parametrize("user", ["ingest", "features", "inference", "executor", "trainer", "operator", "observer"])
async def test_only_risk_can_write_orders(user, tmp_path_factory, shared_server):
    """The server itself refuses a forged order or refusal from anyone but risk."""
    bus = await NatsBus.connect(shared_server.url, user=user, password=shared_server.passwords[user])
    observer = await NatsBus.connect(
        shared_server.url, user="observer", password=shared_server.passwords["observer"]
    )
    try:
        heard = []
        await observer.on_message("orders.>", lambda subject, payload: heard.append(payload))
        await observer.settle()
        forged = OrderRefused(
            ts_event_ns=1, ts_init_ns=1, seq=1, account="paper", symbol="EURUSD", reason=RefusalReason.HALTED,
            observed=0.0, limit=0.0,
        )
        await bus._client.publish("orders.approved.paper.EURUSD", _bytes(forged))
        await bus._client.publish("orders.refused.paper.EURUSD", _bytes(forged))
        await bus.settle()
        await asyncio.sleep(0.05)
        assert heard == []
        assert "permissions violation" in bus.last_error
    finally:
        await bus.close()
        await observer.close()


async def test_a_wrong_password_is_refused_with_the_remedy(shared_server):
    with pytest.raises(BusError, match="TICKWIRE_NATS_PASSWORD"):
        await NatsBus.connect(shared_server.url, user="risk", password="wrong")


async def test_a_port_in_use_is_named_with_the_remedy(shared_server, tmp_path):
    with pytest.raises(BusError, match=f"port {shared_server.port} is in use"):
        await EmbeddedServer(tmp_path, port=shared_server.port).start()


@pytest.fixture
async def shared_server(tmp_path):
    server = EmbeddedServer(tmp_path / "shared")
    await server.start()
    yield server
    await server.stop()


def _bytes(message):
    from libs.common.codec import encode

    return encode(message)
