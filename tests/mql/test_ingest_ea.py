"""Ingest from a compiled Expert Advisor: every tick once, whoever is killed on the way."""

import asyncio
import os
import random
import signal
import subprocess
import sys

import pytest
import yaml

from libs.common.bus.nats import NatsBus
from libs.common.bus.server import EmbeddedServer, die_with_parent
from libs.common.storage.keys import ensure_keys
from libs.common.storage.ticks import TickStore
from tests.integration.ingest.test_mt5_host import (
    ROOT,
    SYMBOLS,
    TOKEN,
    Ingest,
    Market,
    assert_equal_columns,
    assert_same,
    blocks,
    published,
    until_published,
    until_ready,
)
from tests.mql.harness.build import build, missing_compiler

pytestmark = pytest.mark.skipif(bool(missing_compiler()), reason=missing_compiler())


class EaIngest(Ingest):
    """The service's process, reading what an Expert Advisor says."""

    def __init__(self, folder, server, address):
        super().__init__(folder, server, address)
        file = folder / "config.yaml"
        config = yaml.safe_load(file.read_text())
        config["ingest"]["adapter"] = "ea"
        file.write_text(yaml.safe_dump(config))


class Program:
    """The terminal's process with the Expert Advisor in it."""

    def __init__(self, folder, server, address):
        self.folder, self._server, self._address = folder, server, address
        self.process = None

    def start(self):
        with (self.folder / "expert.out").open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.mql.terminal_program", "--terminal", self._address, "--bus", self._server.url,
                 "--data-dir", str(self.folder / "state"), "--account", "paper", "--symbols", ",".join(SYMBOLS), "--folder",
                 str(self.folder / "terminal"), "--inputs", '{"InpPublishTicks": true}'],
                env={**os.environ, "PYTHONPATH": str(ROOT), "TICKWIRE_TERMINAL_TOKEN": TOKEN}, stdout=out, stderr=out,
                preexec_fn=die_with_parent,  # noqa: PLW1509
            )  # fmt: skip

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
async def world(tmp_path):
    build("TickwireBridge.mq5")
    server = EmbeddedServer(tmp_path / "state")
    ensure_keys(tmp_path / "state")
    await server.start()
    market = Market(tmp_path / "market")
    await asyncio.to_thread(market.start)
    bus = await NatsBus.connect(server.url, user="observer", password=server.passwords["observer"])
    ingest, program = EaIngest(tmp_path, server, market.address), Program(tmp_path, server, market.address)
    yield market, ingest, program, bus
    await bus.close()
    program.kill()
    if ingest.process is not None and ingest.process.poll() is None:
        ingest.kill()
    market.kill()
    await server.stop()


async def run(world, seed, n, victims):
    market, ingest, program, bus = world
    chance = random.Random(seed)
    ticks = {name: blocks(name, n, seed + place) for place, name in enumerate(SYMBOLS)}
    program.start()
    ingest.start()
    pause_s = len(victims) / len(ticks[SYMBOLS[0]])
    feeding = asyncio.gather(*(market.feed(rows, pause_s) for rows in ticks.values()))
    for victim in victims:
        await asyncio.sleep(chance.uniform(0.5, 1.5))
        if victim == "ingest":
            ingest.kill()
            ingest.start()
        elif victim == "program":
            program.kill()
            program.start()
        else:
            market.kill()
            await asyncio.to_thread(market.start)
    await feeding
    await until_published(bus, ingest, dict.fromkeys(SYMBOLS, n), 60.0)
    await until_ready(bus)
    assert ingest.kill(signal.SIGTERM) == 0, ingest.output()
    for name in SYMBOLS:
        assert_same(await published(bus, name), ticks[name])
        assert_equal_columns(list(TickStore(ingest.folder / "state" / "ticks").read(name, 0, 2**62)), ticks[name])


@pytest.mark.timeout(240)
async def test_killed_programs_terminals_and_services_leave_every_tick_once(world):
    await run(world, 3, 1_200, ["ingest", "program", "host", "program"])


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(8))
async def test_many_kills_leave_every_tick_once(world, seed):
    chance = random.Random(seed)
    await run(world, seed, 4_000, chance.choices(["ingest", "program", "host"], k=12))
