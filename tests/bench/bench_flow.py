"""How fast the flow is: a tick's way to an approved order over the real bus, and the whole stack at full speed.

The floor of the first is a chain of processes on the same server that only decode and publish again, as many hops
long; of the second, one process that only hears and decodes the same blocks.
"""

import asyncio
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import lightgbm
import msgspec
import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))



from libs.common.bus.nats import NatsBus  # noqa: E402
from libs.common.bus.server import EmbeddedServer, die_with_parent  # noqa: E402
from libs.common.codec import Codec, encode  # noqa: E402
from libs.common.messages.account import AccountSnapshot  # noqa: E402
from libs.common.messages.features import FeatureBlock  # noqa: E402
from libs.common.messages.market import TickBlock  # noqa: E402
from libs.common.messages.models import ModelPromoted  # noqa: E402
from libs.common.messages.orders import OrderApproved, OrderRefused  # noqa: E402
from libs.common.models.bundle import GOLDEN_FILE, MODEL_FILE, Manifest, golden_file, pack, unpack  # noqa: E402
from libs.common.runtime.main import use_fast_loop  # noqa: E402
from libs.common.signing import Signer, Verifier  # noqa: E402
from libs.common.stats.drift import drift_reference  # noqa: E402
from libs.common.storage.keys import ensure_keys, read_key  # noqa: E402
from tests.integration.stack.running_stack import RunningStack  # noqa: E402

HOPS = 4
RATE_PER_S = 1_000
WARM_S = 2
MEASURED_S = 6
DECIDE_EVERY = (10, 1)
"""Ticks between two decisions: a busy strategy, and one that decides, signs and stores on every tick."""
ROUNDS = 3
THROUGHPUT_TICKS_S = 8 * 86_400.0
NS = 1_000_000_000
START_NS = 1_704_844_800 * NS  # a Wednesday
SYMBOL = "EURUSD"
RELAY = """
import asyncio, sys
sys.path.insert(0, {root!r})
from libs.common.bus.nats import NatsBus
from libs.common.codec import Codec, encode
from libs.common.messages.market import TickBlock
from libs.common.runtime.main import use_fast_loop
async def main(url, password, hear, say):
    bus = await NatsBus.connect(url, user="admin", password=password)
    codec = Codec((TickBlock,))
    async def relay(msg):
        await bus._client.publish(say, encode(codec.decode(msg.data)))
    await bus._client.subscribe(hear, cb=relay)
    await asyncio.Event().wait()
use_fast_loop()
asyncio.run(main(*sys.argv[1:]))
"""


class Market:
    """A random walk that goes on where it stopped, one tick a millisecond once the history is told."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(5)
        self._mid, self._ns, self.tick = 110_000.0, START_NS, 0

    def block(self, ticks: int, apart_ns: int) -> TickBlock:
        times = self._ns + apart_ns * np.arange(1, ticks + 1)
        mids = np.rint(self._mid + np.cumsum(self._random.normal(size=ticks)))
        self._mid, self._ns = float(mids[-1]), int(times[-1])
        first, self.tick = self.tick + 1, self.tick + ticks
        return TickBlock(
            ts_event_ns=self._ns, ts_init_ns=time.time_ns(), symbol=SYMBOL, first_tick=first, time_ns=times,
            bid=(mids - 3) / 1e5, ask=(mids + 3) / 1e5,
        )


def rows() -> list[dict[str, Any]]:
    """Return the rows of this benchmark."""
    use_fast_loop()
    with tempfile.TemporaryDirectory(prefix="tickwire-bench-") as folder:
        found = []
        for every in DECIDE_EVERY:
            found += asyncio.run(_latency(Path(folder) / f"latency-{every}", every))
        return [*found, *asyncio.run(_throughput(Path(folder) / "throughput"))]


# ---- latency


async def _latency(folder: Path, every: int) -> list[dict[str, Any]]:
    stack = RunningStack(folder, _config(every))
    stack.state.mkdir(parents=True, exist_ok=True)
    ensure_keys(stack.state)
    (folder / "config.yaml").write_text(yaml.safe_dump(stack.config))
    await stack.server.start()
    server = stack.server
    relays = [_relay(server, hop) for hop in range(HOPS - 1)]
    flow, chain = [], []
    try:
        for name in ("features", "inference", "risk"):
            stack.launch(name)
        ingest, executor, trainer, observer, admin = [
            await NatsBus.connect(server.url, user=user, password=server.passwords[user])
            for user in ("ingest", "executor", "trainer", "observer", "admin")
        ]
        world = _World(ingest, executor, trainer, observer, stack.state, every)
        await world.prepare()
        for _ in range(ROUNDS):
            chain.append(await _chain_latencies(admin))
            flow.append(await world.latencies())
    finally:
        for relay in relays:
            relay.kill()
            relay.wait()
        await stack.stop()
    what = f"tick to approved order, {RATE_PER_S} ticks/s, {RATE_PER_S // every} decisions/s"
    return [_row(f"{what}, p{percent}", "us", "bare four-hop chain", flow, chain, percent) for percent in (50, 99)]


def _config(every: int) -> dict[str, Any]:
    wide = {
        "max_spread_points": 1_000.0, "max_open_positions": 1_000_000, "max_positions_per_symbol": 1_000_000,
        "max_symbol_exposure_x": 100.0, "max_total_exposure_x": 100.0, "max_orders_per_minute": 10_000_000,
        "repeat_window_ms": 0, "approval_ttl_ms": 1, "approval_grace_ms": 0, "min_free_margin_pct": 0.0,
        "account_max_age_ms": 60_000, "risk_per_trade_pct": 0.01,
    }
    return {
        "system": {"symbols": [SYMBOL], "decide_on": {"kind": "tick", "every": every}},
        "instruments": {SYMBOL: {}},
        "inference": {
            "signals": {"min_confidence": 0.0, "confirmation": {"enabled": False}}, "drift": {"enabled": False},
        },
        "risk": wide,
    }


class _World:
    """What stands around the three services on a tick's way: feed, account, model, and who looks at the orders."""

    def __init__(
        self, ingest: NatsBus, executor: NatsBus, trainer: NatsBus, observer: NatsBus, state: Path, every: int
    ) -> None:
        self._ingest, self._executor, self._trainer, self._observer, self._state, self._every = (
            ingest, executor, trainer, observer, state, every,
        )
        self._market = Market()
        self._seq = self._accounts = 0
        self._rows: asyncio.Queue[FeatureBlock] = asyncio.Queue()
        self._approved: dict[int, int] = {}
        self._refused: Counter[str] = Counter()
        self._codec = Codec((OrderApproved, OrderRefused))

    async def prepare(self) -> None:
        """Tell a warm-up's worth of history, and let a model of the usual size serve."""
        reader = await self._observer.reader(["features.*"])
        for _ in range(40):
            await self._send(self._market.block(500, 1_000_000_000))
        row = (await reader.batch())[0].message
        assert isinstance(row, FeatureBlock)
        await reader.close()
        archive, sha = _bundle(row, Signer(read_key(self._state, "trainer.key")))
        name = f"direction-{SYMBOL}"
        await self._trainer.put_object(f"{name}-1-{sha[:16]}", archive)
        loaded = await self._observer.reader(["models.*.loaded", "models.*.rejected"])
        await self._trainer.publish(
            ModelPromoted(
                ts_event_ns=row.ts_event_ns, ts_init_ns=time.time_ns(), seq=1, name=name, version=1, symbol=SYMBOL,
                bundle_sha256=sha,
            )
        )
        async with asyncio.timeout(30):
            answer = (await loaded.batch())[0].message
        assert type(answer).__name__ == "ModelLoaded", answer
        await self._observer.on_message("orders.>", self._note)

    async def latencies(self) -> list[float]:
        """Return the microseconds of every measured tick that became an approved order."""
        self._approved.clear()
        sent = await self._feed()
        await asyncio.sleep(1.0)
        found = [(self._approved[seq] - at_ns) / 1e3 for seq, at_ns in sent.items() if seq in self._approved]
        assert len(found) > 0.98 * len(sent), f"{len(found)} of {len(sent)} decisions became orders: {self._refused}"
        return found

    def _note(self, _: str, payload: bytes) -> None:
        now_ns = time.time_ns()
        message = self._codec.decode(payload)
        if isinstance(message, OrderApproved):
            self._approved[message.step] = now_ns
        else:
            self._refused[message.reason] += 1

    async def _feed(self) -> dict[int, int]:
        sent: dict[int, int] = {}
        started = time.perf_counter()
        for number in range((WARM_S + MEASURED_S) * RATE_PER_S):
            if number % (RATE_PER_S // 2) == 0:
                await self._account()
            await _until(started + number / RATE_PER_S)
            at_ns = time.time_ns()
            await self._send(self._market.block(1, NS // RATE_PER_S))
            if number >= WARM_S * RATE_PER_S and self._market.tick % self._every == 0:
                sent[self._seq] = at_ns
        return sent

    async def _send(self, block: TickBlock) -> None:
        self._seq += 1
        await self._ingest.publish(msgspec.structs.replace(block, seq=self._seq, step=self._seq))

    async def _account(self) -> None:
        self._accounts += 1
        await self._executor.publish(
            AccountSnapshot(
                ts_event_ns=self._market._ns, ts_init_ns=time.time_ns(), seq=self._accounts, account="paper", currency="USD",
                hedging=True, leverage=100.0, balance_ccy=1e6, equity_ccy=1e6, margin_ccy=0.0, margin_free_ccy=1e6,
                positions=(), unknown_lots={}, day_start_equity_ccy=1e6, peak_equity_ccy=1e6,
            )
        )


async def _until(moment: float) -> None:
    wait_s = moment - time.perf_counter()
    if wait_s > 0:
        await asyncio.sleep(wait_s)


def _bundle(row: FeatureBlock, signer: Signer) -> tuple[bytes, str]:
    random = np.random.default_rng(1)
    sample = row.values + random.normal(size=(3_000, len(row.values))) * (np.abs(row.values) * 0.05 + 1e-6)
    label = np.digitize(random.normal(size=len(sample)), (-0.8, 0.8))
    parameters = {"objective": "multiclass", "num_class": 3, "num_leaves": 8, "num_threads": 1, "verbosity": -1}
    booster = lightgbm.train(parameters, lightgbm.Dataset(sample, label), 100)
    manifest = Manifest(
        name=f"direction-{SYMBOL}", version=1, symbol=SYMBOL, schema_id=row.schema_id, feature_names=row.names,
        horizon_s=600, stop_sigma=1.0, target_sigma=1.0, sigma_feature="sigma_60", first_ns=0, last_ns=1, rows=3_000,
        seed=0, metrics={}, drift={name: drift_reference(sample[:, i]) for i, name in enumerate(row.names)},
        mean_return_pct={"long": 0.1, "short": 0.1},
    )
    golden = golden_file(sample[:8], booster.predict(sample[:8]))
    archive = pack(manifest, {MODEL_FILE: booster.model_to_string().encode(), GOLDEN_FILE: golden}, signer)
    return archive, unpack(archive, Verifier(signer.public_bytes)).sha256


def _relay(server: EmbeddedServer, hop: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", RELAY.format(root=str(ROOT)), server.url, server.passwords["admin"], f"chain.{hop}",
         f"chain.{hop + 1}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=die_with_parent,  # noqa: PLW1509
    )  # fmt: skip


async def _chain_latencies(admin: NatsBus) -> list[float]:
    """Return the microseconds of every measured tick through the chain."""
    arrived: dict[int, int] = {}
    codec = Codec((TickBlock,))

    def note(_: str, payload: bytes) -> None:
        now_ns = time.time_ns()
        arrived[codec.decode(payload).first_tick] = now_ns

    await admin.on_message(f"chain.{HOPS - 1}", note)
    await admin.settle()
    market, sent = Market(), {}
    started = time.perf_counter()
    for number in range((WARM_S + MEASURED_S) * RATE_PER_S):
        await _until(started + number / RATE_PER_S)
        at_ns = time.time_ns()
        block = market.block(1, NS // RATE_PER_S)
        await admin._client.publish("chain.0", encode(block))
        if number >= WARM_S * RATE_PER_S:
            sent[block.first_tick] = at_ns
    await asyncio.sleep(0.5)
    return [(arrived[tick] - at_ns) / 1e3 for tick, at_ns in sent.items() if tick in arrived]


def _row(
    name: str, unit: str, against: str, values: list[list[float]], floors: list[list[float]], percent: int
) -> dict[str, Any]:
    ours = [float(np.percentile(one, percent)) for one in values]
    theirs = [float(np.percentile(one, percent)) for one in floors]
    return {
        "name": name, "unit": unit, "value": median(ours), "against": against, "against_value": median(theirs),
        "ratio": median(a / b for a, b in zip(ours, theirs, strict=True)), "n": sum(map(len, values)), "min": min(ours),
        "max": max(ours),
    }


# ---- throughput


async def _throughput(folder: Path) -> list[dict[str, Any]]:
    config = {
        "system": {"symbols": [SYMBOL, "XAUUSD"]},
        "instruments": {
            SYMBOL: {}, "XAUUSD": {"digits": 2, "contract_size": 100.0, "margin_currency": "USD"},
        },
        "ingest": {
            "adapter": "synthetic", "speed": "max", "synthetic": {"duration_s": THROUGHPUT_TICKS_S, "ticks_per_second": 2.0},
        },
        "trainer": {"min_rows": 100_000, "max_rows": 100_000},
    }
    stack = RunningStack(folder, config)
    await stack.start()
    try:
        await stack.finished([SYMBOL, "XAUUSD"], 300)
        ended_s = time.time()
        blocks = [*await stack.messages("ticks.EURUSD"), *await stack.messages("ticks.XAUUSD")]
        ticks = sum(len(block) for block in blocks)
        started_s = min(block.ts_init_ns for block in blocks) / 1e9
        seen = await _features_seen(stack)
        assert seen == ticks, f"{ticks} ticks published, features saw {seen}"
        payloads = [encode(block) for block in blocks]
        floor = await _hear_and_decode(stack.server, payloads, ticks)
    finally:
        await stack.stop()
    rate = ticks / (ended_s - started_s)
    return [
        {
            "name": "whole stack at full speed, nothing lost", "unit": "ticks/s", "value": rate,
            "against": "one process that hears and decodes the same blocks", "against_value": floor, "ratio": rate / floor,
            "n": ticks, "min": rate, "max": rate,
        }
    ]


async def _features_seen(stack: RunningStack) -> int:
    reader = await stack.watching.reader(["health.features"])
    async with asyncio.timeout(10):
        beat = (await reader.batch())[0].message
    await reader.close()
    return int(beat.details["ticks_seen"])


async def _hear_and_decode(server: EmbeddedServer, payloads: list[bytes], ticks: int) -> float:
    admin = await NatsBus.connect(server.url, user="admin", password=server.passwords["admin"])
    other = await NatsBus.connect(server.url, user="admin", password=server.passwords["admin"])
    codec, left, done = Codec((TickBlock,)), [len(payloads)], asyncio.Event()

    def note(_: str, payload: bytes) -> None:
        codec.decode(payload)
        left[0] -= 1
        if not left[0]:
            done.set()

    await admin.on_message("chain.floor", note)
    await admin.settle()
    gc.collect()
    started = time.perf_counter()
    for payload in payloads:
        await other._client.publish("chain.floor", payload)
    async with asyncio.timeout(60):
        await done.wait()
    taken_s = time.perf_counter() - started
    await admin.close()
    await other.close()
    return ticks / taken_s


if __name__ == "__main__":
    for found in rows():
        print(found)
