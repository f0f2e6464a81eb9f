"""The one service loop with a toy core on a real server: kills, restarts, poison, drains, probes."""

import asyncio
import json
import random
import signal

import pytest
import structlog

from libs.common.bus.server import EmbeddedServer
from libs.common.codec import Codec
from libs.common.config import SystemConfig
from libs.common.messages.control import DeadLetter, Halt, Heartbeat, Watermark
from libs.common.runtime.input_journal import InputJournal
from libs.common.runtime.metrics import Metrics
from libs.common.runtime.runner import Runner
from libs.common.runtime.service import Service
from tests.integration.runtime.toy_service import ToyConfig, ToyCore, ToyEffects
from tests.integration.runtime.toys import Nursery, Toy, connect, expected, hear, tick

LOCKSTEP = {"lockstep": True}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One nats-server for all tests; each test has its own symbol."""
    made = EmbeddedServer(tmp_path_factory.mktemp("server"))
    asyncio.run(made.start())
    yield made
    asyncio.run(made.stop())


@pytest.fixture
async def nursery():
    async with Nursery() as made:
        yield made


@pytest.fixture
async def ingest(server):
    bus = await connect(server, "ingest")
    yield bus
    await bus.close()


async def publish(bus, symbol, numbers, pause_s=0.0, burst=1):
    for number in numbers:
        await bus.publish(tick(number, symbol))
        if pause_s and number % burst == 0:
            await asyncio.sleep(pause_s)
    await bus.flush()


async def kill_at_random(seed, server, nursery, ingest, folder, ticks=250, kills=3, system=None):
    chance = random.Random(seed)
    symbol = f"KILL{seed}"
    toy = Toy(nursery, server, folder, system=system, symbol=symbol, effect_every=7, effect_s=0.01)
    await toy.start()
    publishing = asyncio.create_task(publish(ingest, symbol, range(1, ticks + 1), pause_s=0.02, burst=5))
    for _ in range(kills):
        await asyncio.sleep(chance.uniform(0.05, 0.6))
        await toy.kill()
        await toy.start()
    await publishing
    bars, results = expected(toy.config, ticks)
    assert await hear(server, symbol, 1, len(bars)) == bars
    assert await hear(server, symbol, 2, len(results)) == results
    # Every effect was performed at least once, and a repeat carried the same id.
    assert sorted(set(toy.written())) == sorted({f"write-{count}" for _, count, _ in results})
    await toy.ready()
    assert await toy.kill(signal.SIGTERM) == 0


@pytest.mark.parametrize("seeds", [range(0, 5), range(5, 10)], ids=str)
async def test_a_service_killed_at_random_moments_says_what_it_would_have_said(seeds, server, nursery, ingest, tmp_path):
    await asyncio.gather(*(
        kill_at_random(seed, server, nursery, ingest, tmp_path / str(seed), system=LOCKSTEP if seed % 2 else None)
        for seed in seeds
    ))


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(100, 160))
async def test_a_service_killed_many_times_says_what_it_would_have_said(seed, server, nursery, ingest, tmp_path):
    await kill_at_random(
        seed, server, nursery, ingest, tmp_path, ticks=1_000, kills=10, system=LOCKSTEP if seed % 2 else None
    )


async def test_sigterm_drains_and_a_restart_goes_on_without_replay(server, nursery, ingest, tmp_path):
    toy = await Toy(nursery, server, tmp_path, symbol="TERM", effect_every=10).start()
    await publish(ingest, "TERM", range(1, 101))
    await hear(server, "TERM", 1, 100)
    assert await toy.kill(signal.SIGTERM) == 0
    await publish(ingest, "TERM", range(101, 151))
    await toy.start()
    bars, results = expected(toy.config, 150)
    assert await hear(server, "TERM", 1, 150) == bars
    assert await hear(server, "TERM", 2, 15) == results
    assert toy.written() == [f"write-{count}" for count in range(10, 151, 10)]
    restored = [json.loads(line) for line in toy.output().splitlines() if '"restored"' in line]
    assert restored[-1]["snapshot"] is True
    assert restored[-1]["inputs_replayed"] == 0


async def test_a_service_stopped_half_way_through_old_messages_gets_the_rest_after_a_restart(
    server, nursery, ingest, tmp_path
):
    """What waited when the snapshot was taken is older than any overlap by the time of the restart."""
    await publish(ingest, "OLD", range(1, 601))
    await asyncio.sleep(0.3)
    for number in (signal.SIGTERM, signal.SIGKILL):
        toy = Toy(
            nursery, server, tmp_path / number.name, symbol="OLD", delay_s=0.002,
            order={"snapshot_every_s": 0.1, "overlap_s": 0.0},
        )
        await toy.start()
        while not (tmp_path / number.name / "state/features/inputs/snapshot").exists():
            await asyncio.sleep(0.02)
        await toy.kill(number)
        await toy.start()
        assert await counted(server, 600)
        assert await toy.kill(signal.SIGTERM) == 0
    assert await hear(server, "OLD", 1, 600) == expected(toy.config, 600)[0]


async def counted(server, count, timeout_s=20.0):
    """Wait until the toy says by heartbeat that it has handled so many ticks."""
    observer = await connect(server, "observer")
    codec, enough = Codec((Heartbeat,)), asyncio.Event()

    def note(_, payload):
        if codec.decode(payload).details["count"] >= count:
            enough.set()

    try:
        await observer.on_message("health.features", note)
        async with asyncio.timeout(timeout_s):
            await enough.wait()
        return True
    finally:
        await observer.close()


@pytest.mark.parametrize("before", [0, 20], ids=["nothing was sent yet", "in the middle"])
async def test_sigterm_while_the_bus_is_away_forgets_nothing_that_was_not_sent(nursery, tmp_path, before):
    server = EmbeddedServer(tmp_path / "server")
    await server.start()
    ingest = await connect(server, "ingest")
    try:
        toy = await Toy(nursery, server, tmp_path / "toy", symbol="AWAY", delay_s=0.005).start()
        await toy.ready()
        if before:
            await publish(ingest, "AWAY", range(1, before + 1))
            await hear(server, "AWAY", 1, before)
        await publish(ingest, "AWAY", range(before + 1, 201))
        server.process.kill()
        await asyncio.to_thread(server.process.wait)
        # Long enough to handle all of it: what it leads to is journaled, but no stream has it.
        await asyncio.sleep(1.5)
        assert await toy.kill(signal.SIGTERM) == 0
        server.launch()
        await toy.start()
        assert await hear(server, "AWAY", 1, 200) == expected(toy.config, 200)[0]
    finally:
        await ingest.close()
        await server.stop()


@pytest.mark.parametrize("system", [{}, LOCKSTEP], ids=["free", "lockstep"])
async def test_a_message_that_kills_twice_is_set_aside_and_trading_halts(server, nursery, ingest, tmp_path, system):
    symbol = f"POISON{len(system)}"
    observer = await connect(server, "observer")
    letters, codec = [], Codec((DeadLetter,))
    await observer.on_message("deadletter.features", lambda _, payload: letters.append(codec.decode(payload)))
    halts = await observer.reader(["control.*"], from_start=False)
    toy = await Toy(nursery, server, tmp_path, system=system, symbol=symbol, poison=30).start()
    await publish(ingest, symbol, range(1, 31))
    assert await toy.ended() == 1
    await toy.start()
    assert await toy.ended() == 1
    handled = asyncio.Event()

    def note(_, payload):
        mark = Codec((Watermark,)).decode(payload)
        if mark.stage in ("settled", "handled") and mark.step == 30:
            handled.set()

    await observer.on_message("health.watermark.features", note)
    await toy.start()
    # Nobody waits for what was set aside, although nothing follows it.
    await asyncio.wait_for(handled.wait(), 10)
    await publish(ingest, symbol, range(31, 101))
    bars, _ = expected(toy.config, 100, without={30})
    assert await hear(server, symbol, 1, 99) == bars
    halt = (await asyncio.wait_for(halts.batch(), 10))[0].message
    assert isinstance(halt, Halt)
    assert symbol in halt.reason
    assert [letter.subject for letter in letters] == [f"ticks.{symbol}"]
    assert '"first_tick":30' in letters[0].payload
    # It is told once: a later replay of the same inputs must not halt again what a person has resumed.
    await toy.kill()
    await toy.start()
    await toy.ready()
    await publish(ingest, symbol, range(101, 121))
    assert await hear(server, symbol, 1, 119) == expected(toy.config, 120, without={30})[0]
    assert len(letters) == 1
    assert await toy.kill(signal.SIGTERM) == 0
    await observer.close()


async def test_a_timer_that_kills_twice_does_not_silence_all_others(server, nursery, ingest, tmp_path):
    """All timers look alike; only those that killed are set aside, and a core that dies of each of them stays dead."""
    toy = Toy(nursery, server, tmp_path, system={"clock": "wall"}, symbol="TIMER", bad_timer=True)
    for _ in range(2):
        await toy.start()
        assert await toy.ended() == 1
    await toy.start()
    assert await toy.ended() == 1


async def test_an_input_is_in_the_journal_before_anything_it_caused_goes_out(server, ingest, tmp_path):
    features = await connect(server, "features")
    config = ToyConfig(symbol="FIRST", effect_every=4)
    folder = tmp_path / "features"
    service = Service(core=ToyCore(config), effects=ToyEffects(config, tmp_path / "written"))
    running = Runner(
        "features", service, SystemConfig(), features, folder, structlog.get_logger(), Metrics(), "0",
    )
    behind = []
    real_publish, real_perform = features.publish_payload, service.effects.perform

    def journaled():
        return [entry.seq for entry in InputJournal(folder / "inputs").inputs() if entry.subject == "ticks.FIRST"]

    async def publish_payload(subject, seq, *rest):
        if subject == "bars.FIRST.1s" and seq not in journaled():
            behind.append((subject, seq))
        await real_publish(subject, seq, *rest)

    async def perform(effect):
        if effect.count not in journaled():
            behind.append(effect.effect_id)
        return await real_perform(effect)

    features.publish_payload, service.effects.perform = publish_payload, perform
    task = asyncio.create_task(running.run())
    await publish(ingest, "FIRST", range(1, 41), pause_s=0.01, burst=10)
    await hear(server, "FIRST", 2, 10)
    running.stop()
    await asyncio.wait_for(task, 10)
    await features.close()
    assert behind == []


async def test_an_effect_cut_off_by_a_kill_is_performed_again_under_the_same_id(server, nursery, ingest, tmp_path):
    toy = Toy(nursery, server, tmp_path, symbol="EFFECT", effect_every=3, effect_s=1.0)
    await toy.start()
    await publish(ingest, "EFFECT", range(1, 4))
    async with asyncio.timeout(10):
        while not toy.written():
            await asyncio.sleep(0.005)
    await toy.kill()
    await toy.start()
    assert await hear(server, "EFFECT", 2, 1) == expected(toy.config, 3)[1]
    assert toy.written() == ["write-3", "write-3"]


async def test_probes_metrics_heartbeats_and_discovery_answer_and_no_secret_is_told(server, nursery, ingest, tmp_path):
    observer, operator = await connect(server, "observer"), await connect(server, "operator")
    beats, raw, codec = [], [], Codec((Heartbeat,))

    def note(_, payload):
        raw.append(payload)
        beats.append(codec.decode(payload))

    await observer.on_message("health.features", note)
    toy = await Toy(nursery, server, tmp_path, symbol="PROBE", effect_every=2).start()
    await toy.ready()
    await publish(ingest, "PROBE", range(1, 21))
    await hear(server, "PROBE", 1, 20)
    async with asyncio.timeout(10):
        while not (beats and beats[-1].seen == {"ticks.PROBE": 20}):
            await asyncio.sleep(0.02)
    beat = beats[-1]
    assert beat.service == "features"
    assert beat.ready
    assert beat.sent["bars.PROBE.1s"] == 20
    assert beat.details["count"] == 20.0
    assert len({one.instance for one in beats}) == 1

    status, metrics = await toy.http("/metrics")
    assert status == 200
    assert 'tickwire_service_messages_in_total{root="ticks",service="features"} 20.0' in metrics
    assert 'tickwire_service_ready{service="features"} 1.0' in metrics
    assert await toy.http("/healthz") == (200, "ok")
    assert await toy.http("/readyz") == (200, "ok")
    assert (await toy.http("/elsewhere"))[0] == 404

    services = [json.loads(answer) for answer in await operator.request_many("$SRV.PING")]
    assert "tickwire-features" in {service["name"] for service in services}
    assert len(await operator.request_many("$SRV.INFO.tickwire-features")) >= 1

    assert await toy.kill(signal.SIGTERM) == 0
    log = (tmp_path / "state" / "logs" / "features.log").read_text()
    told = "\n".join([toy.output(), log, metrics, *(payload.decode() for payload in raw)])
    assert "started" in log
    for password in server.passwords.values():
        assert password not in told
    await observer.close()
    await operator.close()


async def test_a_service_is_not_ready_while_the_bus_is_away_but_alive(nursery, tmp_path):
    server = EmbeddedServer(tmp_path / "server")
    await server.start()
    try:
        toy = await Toy(nursery, server, tmp_path / "toy", symbol="READY").start()
        await toy.ready()
        server.process.kill()
        await asyncio.to_thread(server.process.wait)
        async with asyncio.timeout(10):
            while (await toy.http("/readyz"))[0] == 200:
                await asyncio.sleep(0.02)
        assert await toy.http("/healthz") == (200, "ok")
        server.launch()
        await toy.ready()
    finally:
        await server.stop()
