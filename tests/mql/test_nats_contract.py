"""NatsBus.mqh, compiled, passes the suite every bus passes, against a real nats-server."""

import asyncio
import hashlib
import json
import random
import time

import pytest

from libs.common.bus.nats import NatsBus
from tests.contract import test_bus as suite
from tests.contract.test_bus import collect, tick
from tests.mql.bus_probe import MqlHarness

OBJECT_NOTE = "$O.models.M.ZGlyZWN0aW9uLUVVUlVTRC0x"
"""Where the store notes the object ``direction-EURUSD-1``."""


@pytest.fixture
async def harness(tmp_path, ea):
    made = MqlHarness(tmp_path / "server", ea)
    await made.start()
    yield made
    await made.stop()


# The suite's own tests, with the fixture above in place of theirs.
test_messages_arrive_once_and_in_order = suite.test_messages_arrive_once_and_in_order
test_a_late_reader_gets_the_whole_stream_and_joins_live_without_hole_or_repeat = (
    suite.test_a_late_reader_gets_the_whole_stream_and_joins_live_without_hole_or_repeat
)
test_a_reader_begins_after_the_number_it_has_handled = suite.test_a_reader_begins_after_the_number_it_has_handled
test_a_reader_may_hear_only_what_comes_from_now_on = suite.test_a_reader_may_hear_only_what_comes_from_now_on
test_what_was_published_before_is_never_delivered_twice_however_late_it_comes_again = (
    suite.test_what_was_published_before_is_never_delivered_twice_however_late_it_comes_again
)
test_ten_kills_of_the_server_while_publishing_lose_and_repeat_nothing = (
    suite.test_ten_kills_of_the_server_while_publishing_lose_and_repeat_nothing
)
test_a_slow_consumer_loses_nothing = suite.test_a_slow_consumer_loses_nothing
test_flush_returns_only_when_the_stream_holds_everything = (
    suite.test_flush_returns_only_when_the_stream_holds_everything
)
test_commands_of_several_writers_come_in_the_streams_order_and_once = (
    suite.test_commands_of_several_writers_come_in_the_streams_order_and_once
)
test_commands_heard_by_several_patterns_keep_the_streams_order = (
    suite.test_commands_heard_by_several_patterns_keep_the_streams_order
)
test_heartbeats_are_heard_but_not_kept = suite.test_heartbeats_are_heard_but_not_kept
test_a_sequenced_message_without_number_is_refused = suite.test_a_sequenced_message_without_number_is_refused


# ---- what the suite tests from inside the other implementations


async def python_bus(harness, user):
    return await NatsBus.connect(harness.server.url, user=user, password=harness.server.passwords[user])


async def test_a_raw_repeat_on_the_wire_is_dropped_by_the_reader(harness):
    writer, hearer = await python_bus(harness, "ingest"), await harness.bus("features")
    reader = await hearer.reader(["ticks.*"])
    for seq in (1, 2, 2, 1, 3, 3, 2):
        await writer._client.publish("ticks.EURUSD", suite._bytes(tick(seq)))
    assert [item.seq for item in await collect(reader, 3)] == [1, 2, 3]
    await asyncio.sleep(0.1)
    assert not reader.waiting
    assert reader.counts().duplicates == 4
    await writer.close()


async def test_a_hole_in_the_live_flow_is_filled_from_the_stream(harness):
    """Messages 2..6 were stored while nobody listened to them; the next one heard shows the hole."""
    writer, hearer = await python_bus(harness, "ingest"), await harness.bus("features")
    reader = await hearer.reader(["ticks.*"], after={"ticks.EURUSD": 1})
    async with asyncio.timeout(10):
        while not (await hearer.probe.status()).readers[0]["joined"]:
            await asyncio.sleep(0.01)
    hearer.probe.expert.fault(deaf=True)  # the bytes wait in the socket; a server that is slow to tell looks the same
    for seq in range(2, 7):
        await writer.publish(tick(seq))
    await writer.flush()
    hearer.probe.do("close", reader=0)
    hearer.probe.expert.fault(deaf=False)
    await asyncio.sleep(0.1)
    reader = await hearer.reader(["ticks.*"], after={"ticks.EURUSD": 1}, from_start=False)
    for seq in range(7, 11):
        await writer.publish(tick(seq))
    assert [item.seq for item in await collect(reader, 9)] == list(range(2, 11))
    counts = reader.counts()
    assert (counts.gaps_detected, counts.gaps_filled, counts.lost) == (1, 1, 0)
    await writer.close()


async def test_what_was_published_while_the_reader_was_away_comes_without_waiting_for_the_next(harness):
    """Nothing follows that could show a hole: only reading the stream after the reconnect brings the rest."""
    writer, hearer = await python_bus(harness, "ingest"), await harness.bus("features")
    reader = await hearer.reader(["ticks.*"])
    await writer.publish(tick(1))
    assert [item.seq for item in await collect(reader, 1)] == [1]
    hearer.probe.expert.fault(refuse=True, drop_after_writes=1)
    hearer.probe.do("core", subject="health.features", text="")
    await hearer.probe.wait(lambda m: m.get("ready") is False)
    for seq in range(2, 6):
        await writer.publish(tick(seq))
    await writer.flush()
    hearer.probe.expert.fault(refuse=False)
    assert [item.seq for item in await collect(reader, 4)] == [2, 3, 4, 5]
    assert reader.counts().gaps_detected == 0
    await writer.close()


async def test_what_the_stream_does_not_hold_is_published_again(harness):
    """The bytes left the program and never reached the server: the ring has them and sends them again by itself."""
    writer, hearer = await harness.bus("ingest"), await python_bus(harness, "features")
    for seq in range(1, 6):
        await writer.publish(tick(seq))
    await writer.flush()
    writer.probe.expert.fault(mute=True)
    for seq in range(6, 11):
        await writer.publish(tick(seq))
    await asyncio.sleep(0.1)
    writer.probe.expert.fault(mute=False)
    reader = await hearer.reader(["ticks.*"])
    assert [item.seq for item in await collect(reader, 10)] == list(range(1, 11))
    assert (await writer.probe.status()).republished >= 5
    await hearer.close()


async def test_a_consumer_too_slow_for_memory_reads_the_rest_from_the_stream(harness):
    writer, hearer = await python_bus(harness, "ingest"), await harness.bus("features", inputs={"InpPause": 1})
    reader = await hearer.reader(["ticks.*"])
    for seq in range(1, 12_001):
        await writer.publish(tick(seq))
    await writer.flush()
    await asyncio.sleep(0.3)
    assert (await hearer.probe.status()).readers[0]["ready_messages"] <= 8_192
    got = []
    async with asyncio.timeout(20):
        while len(got) < 12_000:
            hearer.probe.do("take", count=3_000)
            await asyncio.sleep(0.05)
            if reader.waiting:
                got += await reader.batch()
    assert [item.seq for item in got] == list(range(1, 12_001))
    assert reader.counts().lost == 0
    await writer.close()


async def test_a_malformed_payload_is_handed_over_as_such(harness):
    writer = await python_bus(harness, "ingest")
    hearer = await harness.bus("features", inputs={"InpStrict": True})
    reader = await hearer.reader(["ticks.*"])
    bad = [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'{"type":"TickBlock"}',
        b'{"type":"Nothing"}',
        b'{"a":1}\x00{"b":2}',
        suite._bytes(tick(1)).replace(b'"bid":[1.0]', b'"bid":[null]'),
        suite._bytes(tick(1)).replace(b'"bid":[1.0]', b'"bid":[-1.0]'),
        suite._bytes(tick(1)).replace(b'"bid":[1.0]', b'"bid":[1.0,2.0]'),
        suite._bytes(tick(1)).replace(b'"seq":1', b'"seq":0'),
        suite._bytes(tick(1, "GBPUSD")),
        b"[" * 50_000,
    ]
    for payload in bad:
        await writer._client.publish("ticks.EURUSD", payload)
    await writer.settle()
    # The newest message of the subject is garbage, and still a writer finds out where the stream stands.
    again = await harness.bus("ingest", inputs={"InpStrict": True})
    await again.publish(tick(1))
    got = await collect(reader, len(bad) + 1)
    assert [item.message is None for item in got] == [True] * len(bad) + [False]
    assert all(item.error for item in got[:-1])
    await writer.close()


async def test_objects_are_read_whole_and_a_missing_one_is_named(harness):
    trainer, program = await python_bus(harness, "trainer"), await harness.bus("inference")
    content = bytes(range(256)) * 8_000
    await trainer.put_object("direction-EURUSD-1", content)
    await trainer.put_object("empty", b"")
    expected = {
        "direction-EURUSD-1": ("NATS_OBJECT_READY", len(content)),
        "empty": ("NATS_OBJECT_READY", 0),
        "nothing-here": ("NATS_OBJECT_MISSING", 0),
    }
    for name, (state, size) in expected.items():
        program.probe.do("object", bucket="models", name=name)
        said = await program.probe.wait(lambda m, name=name: m.get("object") == name)
        assert (said["state"], said["size"]) == (state, size), said
        if size:
            assert said["sha256"] == hashlib.sha256(content).hexdigest()
    store = await trainer._js.object_store("models")
    note = json.loads((await trainer._js.get_last_msg("OBJ_models", OBJECT_NOTE)).data)
    assert (await store.get("direction-EURUSD-1")).data == content
    for change in ({"digest": "SHA-256=" + "A" * 43 + "="}, {"size": len(content) + 1}, {"size": len(content) - 1}):
        await trainer._js.publish(OBJECT_NOTE, json.dumps({**note, **change}).encode())
        program.probe.do("object", bucket="models", name="direction-EURUSD-1")
        said = await program.probe.wait(lambda m: m.get("object") == "direction-EURUSD-1")
        assert (said["state"], said["size"]) == ("NATS_OBJECT_BROKEN", 0), change
    program.probe.do("object", bucket="models", name="direction-EURUSD-1", max=1_000)
    said = await program.probe.wait(lambda m: m.get("object") == "direction-EURUSD-1")
    assert said["state"] == "NATS_OBJECT_BROKEN"
    await trainer.close()


@pytest.mark.chaos
async def test_a_hole_nobody_can_fill_is_given_up_loudly_and_the_rest_goes_on(harness):
    """Numbers 3 and 4 were never published: after ten seconds the reader counts them lost and goes on."""
    writer, hearer = await python_bus(harness, "ingest"), await harness.bus("features")
    reader = await hearer.reader(["ticks.*"])
    for seq in (1, 2, 5, 6):
        await writer._client.publish("ticks.EURUSD", suite._bytes(tick(seq)))
    assert [item.seq for item in await collect(reader, 4)] == [1, 2, 5, 6]
    assert reader.counts().lost == 2
    await writer.close()


async def test_with_short_reads_and_writes_rubbish_in_arrays_and_sanitizers_all_arrives(tmp_path, ea):
    """3-byte reads, 5-byte writes, connections dropped in mid-message, AddressSanitizer and UBSan watching."""
    harness = MqlHarness(tmp_path / "server", ea, sanitized=True, faults={"read_max": 3, "write_max": 5})
    await harness.start()
    try:
        writer, hearer = await harness.bus("ingest"), await harness.bus("features")
        reader = await hearer.reader(["ticks.*"])
        got = []
        for seq in range(1, 121):
            if seq == 30:
                hearer.probe.expert.fault(drop_after_reads=40)
            if seq == 60:
                writer.probe.expert.fault(drop_after_writes=23)
            if seq == 90:
                await harness.kill()
                await harness.restart()
            await writer.publish(tick(seq))
            await asyncio.sleep(0.002)
        got += await collect(reader, 120, 20)
        assert [item.seq for item in got] == list(range(1, 121))
        assert reader.counts().lost == 0
        operator = await harness.bus("operator")
        commands = await operator.reader(["control.*"])
        await operator.publish(suite.halt("a"))
        assert [item.message.command_id for item in await collect(commands, 1)] == ["a"]
    finally:
        await harness.stop()


@pytest.mark.chaos
async def test_ten_kills_with_sanitizers_and_short_reads_and_writes(tmp_path, ea):
    """As the suite's ten kills, slower: the sanitizers' programs take several times as long."""
    harness = MqlHarness(tmp_path / "server", ea, sanitized=True, faults={"read_max": 64, "write_max": 61})
    await harness.start()
    try:
        writer, hearer = await harness.bus("ingest"), await harness.bus("features")
        reader = await hearer.reader(["ticks.*"])
        seq = 0
        for _ in range(10):
            for _ in range(40):
                seq += 1
                await writer.publish(tick(seq))
                await asyncio.sleep(0.005)
            await harness.kill()
            await asyncio.sleep(0.05)
            await harness.restart()
        got = await collect(reader, seq, 60)
        assert [item.seq for item in got] == list(range(1, seq + 1))
        assert reader.counts().lost == 0
    finally:
        await harness.stop()


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(20))
async def test_any_order_of_kills_drops_and_pauses_delivers_every_number_once(tmp_path, ea, seed):
    """Server killed, either connection dropped, either terminal hanging, at random moments while publishing."""
    chance = random.Random(seed)
    harness = MqlHarness(tmp_path / "server", ea)
    await harness.start()
    try:
        writer, hearer = await harness.bus("ingest"), await harness.bus("features")
        reader = await hearer.reader(["ticks.*"])
        seq, got = 0, []
        for _ in range(25):
            for _ in range(chance.randint(1, 40)):
                seq += 1
                await writer.publish(tick(seq))
            await asyncio.sleep(chance.random() * 0.05)
            what = chance.choice(
                ["kill", "drop reader", "drop writer", "hang reader", "hang writer", "mute", "nothing"]
            )
            if what == "kill":
                await harness.kill()
                await asyncio.sleep(chance.random() * 0.2)
                await harness.restart()
            elif what.startswith("drop"):
                victim = hearer if what.endswith("reader") else writer
                victim.probe.expert.fault(
                    **{f"drop_after_{chance.choice(['reads', 'writes'])}": chance.randint(1, 30)}
                )
            elif what.startswith("hang"):
                (hearer if what.endswith("reader") else writer).probe.pause(chance.random())
            elif what == "mute":
                writer.probe.expert.fault(mute=True)
                await asyncio.sleep(0.05)
                writer.probe.expert.fault(mute=False, drop_after_writes=1)
        started = time.monotonic()
        got += await collect(reader, seq, 40)
        assert [item.seq for item in got] == list(range(1, seq + 1))
        assert reader.counts().lost == 0
        assert time.monotonic() - started < 15
    finally:
        await harness.stop()
