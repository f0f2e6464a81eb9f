"""Garbage on a publisher's own subject and on a reader's: neither is led astray, and who hears from now on only does."""

import asyncio

import pytest

from libs.common.bus.memory import MemoryBus, MemoryServer
from libs.common.bus.server import EmbeddedServer
from libs.common.codec import encode
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


async def test_a_number_far_too_high_is_given_up_after_a_while_and_the_reader_goes_on(server, monkeypatch):
    """The subject's own writer said it: what lies between is nobody's, and is counted as lost."""
    monkeypatch.setattr("libs.common.bus.nats.LOST_AFTER_S", 0.3)
    ingest, features = await connect(server, "ingest"), await connect(server, "features")
    reader = await features.reader(["ticks.*"])
    await ingest.publish(tick(1, "EURUSD"))
    await ingest._client.publish("ticks.EURUSD", encode(tick(50, "EURUSD")))
    got = []
    async with asyncio.timeout(10):
        while len(got) < 2:
            got += await reader.batch()
    assert [item.seq for item in got] == [1, 50]
    assert reader.counts().lost == 48
    await ingest._client.publish("ticks.EURUSD", encode(tick(51, "EURUSD")))
    assert [item.seq for item in await asyncio.wait_for(reader.batch(), 5)] == [51]
    await ingest.close()
    await features.close()
