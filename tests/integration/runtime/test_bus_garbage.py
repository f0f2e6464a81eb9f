"""Garbage on a publisher's own subject and on a reader's: neither is led astray, and who hears from now on only does."""

import asyncio

import pytest

from libs.common.bus.memory import MemoryBus, MemoryServer
from libs.common.bus.server import EmbeddedServer
from libs.common.codec import encode
from libs.common.errors import ArtifactError
from libs.common.messages.control import Watermark
from tests.integration.runtime.toys import connect, tick


@pytest.fixture
async def server(tmp_path):
    made = EmbeddedServer(tmp_path)
    await made.start()
    yield made
    await made.stop()


@pytest.mark.parametrize(
    "last", [b"", b"{", b"null", b'{"seq":999999}', b'{"type":"TickBlock","seq":999999}', encode(tick(999_999, "OTHER"))],
    ids=["empty", "cut", "null", "number only", "half a block", "another symbol"],
)
async def test_a_publisher_is_not_led_astray_by_garbage_at_the_end_of_its_subject(server, last, monkeypatch):
    monkeypatch.setattr("libs.common.bus.nats.CONFIRM_EVERY_S", 0.02)
    ingest, features = await connect(server, "ingest"), await connect(server, "features")
    for number in range(1, 6):
        await ingest.publish(tick(number, "EURUSD"))
    await ingest._client.publish("ticks.EURUSD", last)
    await ingest.settle()
    await asyncio.sleep(0.2)
    assert ingest.failure is None
    assert await ingest.held("ticks.EURUSD") == 5
    assert (await features.last("ticks.EURUSD")).seq == 5
    # A restarted publisher goes on where the stream really ends.
    again = await connect(server, "ingest")
    await again._client.publish("ticks.EURUSD", last)
    for number in range(1, 11):
        await again.publish(tick(number, "EURUSD"))
    await asyncio.wait_for(again.flush(), 5)
    reader, got = await features.reader(["ticks.*"]), []
    async with asyncio.timeout(10):
        while len(got) < 10:
            got += [item.seq for item in await reader.batch() if item.message is not None]
    assert got == list(range(1, 11))
    assert again.republished == 0
    for bus in (ingest, features, again):
        await bus.close()


async def test_a_message_without_a_symbol_does_not_stop_a_stream_from_being_read(server):
    ingest, features = await connect(server, "ingest"), await connect(server, "features")
    await ingest.publish(tick(1, "EURUSD"))
    await ingest._client.publish("ticks.EURUSD", encode(tick(2, "EURUSD")).replace(b'"EURUSD"', b'""'))
    await ingest.publish(tick(2, "EURUSD"))
    await ingest.flush()
    reader, got = await features.reader(["ticks.*"]), []
    async with asyncio.timeout(5):
        while len(got) < 2:
            got += [item.seq for item in await reader.batch() if item.message is not None]
    assert got == [1, 2]
    await ingest.close()
    await features.close()


async def test_a_mark_in_anothers_name_is_garbage(server):
    ingest, features = await connect(server, "ingest"), await connect(server, "features")
    reader = await features.reader(["health.watermark.*"])
    lie = Watermark(ts_event_ns=1, ts_init_ns=1, service="executor", stage="settled", step=9, sent={})
    for message in (lie, tick(1, "EURUSD")):
        await ingest._client.publish("health.watermark.ingest", encode(message))
    got = []
    async with asyncio.timeout(5):
        while len(got) < 2:
            got += await reader.batch()
    assert [item.message for item in got] == [None, None]
    assert all("does not belong" in item.error for item in got)
    await ingest.close()
    await features.close()


async def test_what_was_lost_is_sent_again_although_a_number_far_too_high_came_after_it(server, monkeypatch):
    monkeypatch.setattr("libs.common.bus.nats.CONFIRM_EVERY_S", 0.05)
    ingest, features = await connect(server, "ingest"), await connect(server, "features")
    await ingest.publish(tick(1, "EURUSD"))
    publish = ingest._client.publish

    async def lost(subject, payload):
        """Take a message and lose it."""

    monkeypatch.setattr(ingest._client, "publish", lost)
    await ingest.publish(tick(2, "EURUSD"))
    monkeypatch.setattr(ingest._client, "publish", publish)
    await publish("ticks.EURUSD", encode(tick(50, "EURUSD")))
    await asyncio.wait_for(ingest.flush(), 5)
    assert ingest.republished == 1
    reader, got = await features.reader(["ticks.*"]), []
    async with asyncio.timeout(5):
        while len(got) < 2:
            got += [item.seq for item in await reader.batch()]
    assert got == [1, 2]
    await ingest.close()
    await features.close()


async def test_who_hears_from_now_on_hears_nothing_old_after_the_server_came_back(server):
    ingest, observer = await connect(server, "ingest"), await connect(server, "observer")
    for number in range(1, 11):
        await ingest.publish(tick(number, "EURUSD"))
    await ingest.flush()
    await asyncio.sleep(1.0)
    reader = await observer.reader(["ticks.*"], from_start=False)
    server.process.kill()
    await asyncio.to_thread(server.process.wait)
    server.launch()
    async with asyncio.timeout(10):
        while not (observer.connected and observer.reconnects and reader.joined and ingest.connected):
            await asyncio.sleep(0.01)
    await ingest.publish(tick(11, "EURUSD"))
    got = []
    async with asyncio.timeout(10):
        while not got or got[-1].seq < 11:
            got += await reader.batch()
    assert [item.seq for item in got] == [11]
    await ingest.close()
    await observer.close()


async def test_the_memory_bus_knows_garbage_as_well():
    server = MemoryServer()
    ingest, features = MemoryBus(server), MemoryBus(server)
    reader = await features.reader(["ticks.*"])
    for payload in (b"{", encode(tick(1, "OTHER"))):
        server.deliver("ticks.EURUSD", payload, server.store("ticks.EURUSD", payload))
    await ingest.publish(tick(1, "EURUSD"))
    got = await reader.batch()
    assert [item.message is None for item in got] == [True, True, False]


async def test_numbers_far_too_high_are_gone_on_with_after_a_while(server, monkeypatch):
    """The subject's own writer says one after the other: what lies between is nobody's, and is counted as lost."""
    monkeypatch.setattr("libs.common.bus.nats.LOST_AFTER_S", 0.3)
    ingest, features = await connect(server, "ingest"), await connect(server, "features")
    reader = await features.reader(["ticks.*"])
    await ingest.publish(tick(1, "EURUSD"))
    for number in (50, 51):
        await ingest._client.publish("ticks.EURUSD", encode(tick(number, "EURUSD")))
    got = []
    async with asyncio.timeout(10):
        while len(got) < 3:
            got += await reader.batch()
    assert [item.seq for item in got] == [1, 50, 51]
    assert reader.counts().lost == 48
    await ingest._client.publish("ticks.EURUSD", encode(tick(52, "EURUSD")))
    assert [item.seq for item in await asyncio.wait_for(reader.batch(), 5)] == [52]
    await ingest.close()
    await features.close()


async def heard(reader, count, for_s=10):
    """Return the numbers of the first messages a reader hears, and what else came."""
    numbers, others = [], []
    async with asyncio.timeout(for_s):
        while len(numbers) < count:
            for item in await reader.batch():
                numbers.append(item.seq) if item.message is not None else others.append(item)
    return numbers, others


async def test_one_number_far_ahead_does_not_make_a_reader_deaf(server, monkeypatch):
    monkeypatch.setattr("libs.common.bus.nats.LOST_AFTER_S", 0.5)
    ingest, features = await connect(server, "ingest"), await connect(server, "features")
    reader = await features.reader(["ticks.*"])
    for number in (1, 2, 3):
        await ingest.publish(tick(number, "EURUSD"))
    await ingest._client.publish("ticks.EURUSD", encode(tick(2**40, "EURUSD")))
    numbers, others = await heard(reader, 3)
    async with asyncio.timeout(10):
        while not others:
            others += await reader.batch()
    assert (numbers, reader.joined) == ([1, 2, 3], True)
    assert [item.message for item in others] == [None]
    assert "1099511627776 is far ahead of 3" in others[0].error
    for number in (4, 5):
        await ingest.publish(tick(number, "EURUSD"))
    assert (await heard(reader, 2))[0] == [4, 5]
    assert reader.counts().lost == 0
    for bus in (ingest, features):
        await bus.close()


async def test_a_number_a_little_ahead_does_not_make_a_reader_deaf_while_others_come(server, monkeypatch):
    """The stream has held so many messages, so the number alone says nothing; what goes on below it does."""
    monkeypatch.setattr("libs.common.bus.nats.LOST_AFTER_S", 0.5)
    ingest, features = await connect(server, "ingest"), await connect(server, "features")
    for number in range(1, 51):
        await ingest.publish(tick(number, "GBPUSD"))
    reader = await features.reader(["ticks.EURUSD"])
    await ingest.publish(tick(1, "EURUSD"))
    await ingest._client.publish("ticks.EURUSD", encode(tick(30, "EURUSD")))
    for number in range(2, 20):
        await ingest.publish(tick(number, "EURUSD"))
        await ingest.push()
        await asyncio.sleep(0.1)
    assert (await heard(reader, 19))[0] == list(range(1, 20))
    for number in range(20, 41):
        await ingest.publish(tick(number, "EURUSD"))
    assert (await heard(reader, 21))[0] == list(range(20, 41))
    assert reader.counts().lost == 0
    for bus in (ingest, features):
        await bus.close()


async def test_what_a_stream_no_longer_has_is_still_given_up(server, monkeypatch):
    monkeypatch.setattr("libs.common.bus.nats.LOST_AFTER_S", 0.5)
    ingest, features = await connect(server, "ingest"), await connect(server, "features")
    for number in (7, 8, 9):
        await ingest._client.publish("ticks.EURUSD", encode(tick(number, "EURUSD")))
    await ingest.settle()
    reader = await features.reader(["ticks.*"])
    assert (await heard(reader, 3))[0] == [7, 8, 9]
    assert reader.counts().lost == 6
    for bus in (ingest, features):
        await bus.close()


async def test_one_number_far_ahead_does_not_silence_its_writer(server):
    ingest, features = await connect(server, "ingest"), await connect(server, "features")
    await ingest.publish(tick(1, "EURUSD"))
    await ingest.flush()
    for restarted in (ingest, await connect(server, "ingest")):
        await restarted._client.publish("ticks.EURUSD", encode(tick(2**40, "EURUSD")))
        await restarted.settle()
        # After a reconnect, as at a start, the newest message of the subject says what the stream holds.
        await restarted._on_reconnect()
        first = 2 if restarted is ingest else 4
        for number in range(1, first + 2):
            await restarted.publish(tick(number, "EURUSD"))
        await asyncio.wait_for(restarted.flush(), 5)
        assert await restarted.held("ticks.EURUSD") == first + 1
        assert restarted.republished == 0
    for bus in (ingest, features):
        await bus.close()


async def test_an_object_larger_than_any_bundle_is_refused_unread(server, monkeypatch):
    trainer, inference = await connect(server, "trainer"), await connect(server, "inference")
    await trainer.put_object("model-1", b"x" * 1_001)
    monkeypatch.setattr("libs.common.bus.nats.MAX_ARCHIVE_BYTES", 1_000)
    with pytest.raises(ArtifactError, match="'model-1' has 1001 bytes, a bundle 1000 at most"):
        await inference.get_object("model-1")
    monkeypatch.setattr("libs.common.bus.nats.MAX_ARCHIVE_BYTES", 1_001)
    assert len(await inference.get_object("model-1")) == 1_001
    for bus in (trainer, inference):
        await bus.close()
