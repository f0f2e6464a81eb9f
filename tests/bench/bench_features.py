"""How fast the features service is: one live tick, and a history, beside a bare compiled loop over the same ticks."""

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
from numba import types

from libs.common.config import DecideOn
from libs.common.messages.base import Floats, Ints
from libs.common.messages.market import TickBlock
from libs.common.trading.compiled import FLOATS_IN, INTS_IN, kernel
from services.features.config import FeaturesConfig
from services.features.core import FeaturesCore

NS = 1_000_000_000
SYMBOL = "EURUSD"
BLOCK = 100_000
BLOCKS = 100
ONE_TICK_BLOCKS = 20_000
REPEATS = 5


@kernel(types.float64(INTS_IN, FLOATS_IN, FLOATS_IN))
def bare_loop(time_ns: Ints, bid: Floats, ask: Floats) -> float:
    """Touch every tick once: what no feature can be faster than."""
    total = 0.0
    for k in range(len(time_ns)):
        if ask[k] > bid[k] and time_ns[k] > 0:
            total += ask[k] - bid[k]
    return total


def market_block(first_tick: int, n: int, rng: np.random.Generator, start_ns: int, start_bid: float) -> TickBlock:
    """Return synthetic ticks, two a second on average."""
    times = start_ns + np.cumsum(rng.integers(0, NS, n))
    bid = np.round(start_bid * np.exp(np.cumsum(rng.normal(0.0, 5e-6, n))), 5)
    ask = bid + rng.integers(1, 6, n) * 1e-5
    return TickBlock(
        ts_event_ns=int(times[-1]), ts_init_ns=0, symbol=SYMBOL, first_tick=first_tick, time_ns=times, bid=bid, ask=ask
    )


def new_core() -> FeaturesCore:
    core = FeaturesCore(FeaturesConfig(), (SYMBOL,), DecideOn(), {})
    core.warm()
    return core


def one_tick_blocks() -> tuple[FeaturesCore, list[TickBlock]]:
    """Return a warm core and blocks of one tick that follow."""
    rng = np.random.default_rng(1)
    history = market_block(1, BLOCK, rng, 1_700_000_000 * NS, 1.1)
    core = new_core()
    core.on_tick_block(history, history.ts_event_ns)
    live = market_block(BLOCK + 1, ONE_TICK_BLOCKS, rng, history.ts_event_ns, float(history.bid[-1]))
    columns = (live.time_ns, live.bid, live.ask)
    blocks = [
        TickBlock(
            ts_event_ns=int(live.time_ns[k]), ts_init_ns=0, symbol=SYMBOL, first_tick=BLOCK + 1 + k,
            time_ns=columns[0][k:k + 1], bid=columns[1][k:k + 1], ask=columns[2][k:k + 1],
        )
        for k in range(ONE_TICK_BLOCKS)
    ]
    return core, blocks


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure_one_tick() -> tuple[list[float], list[float]]:
    """Return µs per one-tick block of the core, and of the bare loop called the same way."""
    ours, floor = [], []
    for _ in range(REPEATS):
        core, blocks = one_tick_blocks()

        def through_the_core(core: FeaturesCore = core, blocks: list[TickBlock] = blocks) -> None:
            for block in blocks:
                core.on_tick_block(block, block.ts_event_ns)

        def through_the_loop(blocks: list[TickBlock] = blocks) -> None:
            for block in blocks:
                bare_loop(block.time_ns, block.bid, block.ask)

        ours.append(seconds(through_the_core) / ONE_TICK_BLOCKS * 1e6)
        floor.append(seconds(through_the_loop) / ONE_TICK_BLOCKS * 1e6)
    return ours, floor


def measure_batch() -> tuple[list[float], list[float]]:
    """Return ticks/s of each block of ten million ticks, for the core (messages included) and the bare loop."""
    rng = np.random.default_rng(2)
    core = new_core()
    ours, floor = [], []
    start_ns, bid = 1_700_000_000 * NS, 1.1
    for b in range(BLOCKS):
        # Made one at a time and dropped: the memory stays that of one block.
        block = market_block(1 + b * BLOCK, BLOCK, rng, start_ns, bid)
        start_ns, bid = block.ts_event_ns, float(block.bid[-1])
        ours.append(BLOCK / seconds(partial(core.on_tick_block, block, block.ts_event_ns)))
        floor.append(BLOCK / seconds(partial(bare_loop, block.time_ns, block.bid, block.ask)))
    assert core.details()["ticks_seen"] == BLOCK * BLOCKS
    return ours, floor


def rows() -> list[dict[str, object]]:
    """Measure and return the rows of the benchmark table."""
    n_features = len(new_core().names)
    table: list[dict[str, object]] = []
    for name, unit, (ours, floor), n in (
        (f"features, one live tick ({n_features} features)", "µs/tick", measure_one_tick(), ONE_TICK_BLOCKS * REPEATS),
        (f"features, ten million ticks ({n_features} features)", "ticks/s", measure_batch(), BLOCK * BLOCKS),
    ):
        value, against = median(ours), median(floor)
        table.append({
            "name": name, "unit": unit, "value": value, "against": "bare compiled loop", "against_value": against,
            "ratio": value / against, "n": n, "min": min(ours), "max": max(ours),
        })
    return table


if __name__ == "__main__":
    for row in rows():
        print(row)
