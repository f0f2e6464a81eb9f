"""How fast the features service is beside a bare compiled loop over the same ticks, in the same run.

One live tick with its row, a history of ten million ticks, the tick that closes a minute bar of seven timeframes, and
the memory a long stream and more symbols cost; with sixty features from every part of the library.
"""

import resource
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
from services.features.spec import DEFAULT_FEATURES, FeatureSpec

NS = 1_000_000_000
SYMBOL = "EURUSD"
BLOCK = 100_000
BLOCKS = 100
ONE_TICK_BLOCKS = 20_000
CLOSINGS = 3_000
REPEATS = 5
TIMEFRAMES_S = (60, 300, 900, 2700, 3600, 14_400, 86_400)


def bars(family: str, output: str, timeframe_s: int = 60, **params: float) -> FeatureSpec:
    return FeatureSpec(
        name=f"{family}_{output}_{timeframe_s}", family=family, output=output, timeframe_s=timeframe_s, params=params
    )


def ticks(family: str, output: str, **params: float) -> FeatureSpec:
    return FeatureSpec(name=f"{family}_{output}", family=family, output=output, params=params)


SIXTY = (
    *DEFAULT_FEATURES,
    bars("sma", "distance", period=60), bars("wma", "slope"), bars("directional", "plus"), bars("directional", "minus"),
    bars("stochastic", "k"), bars("cci", "cci", 300), bars("regression", "slope", 300), bars("hurst", "exponent"),
    bars("range_volatility", "yang_zhang", window=30), bars("bipower", "jump"), bars("garch", "volatility"),
    bars("ewma_volatility", "volatility"), bars("candle_pair", "engulfing"), bars("candle_trio", "three_inside"),
    bars("hammer", "hammer"), bars("swing", "direction"), bars("bar_relation", "gap"), bars("hidden_markov", "wild"),
    bars("trend_range", "state"), bars("cusum", "change"), ticks("spread_percentile", "percentile"),
    ticks("mid_pressure", "pressure"), ticks("sign_autocorrelation", "autocorrelation"), ticks("rollover", "to"),
)
"""Sixty features of quotes: ticks, bars of four timeframes, clocks."""
SAME_ON_ALL = tuple(
    bars(family, output, timeframe_s, **params)
    for timeframe_s in TIMEFRAMES_S
    for family, output, params in (
        ("rsi", "rsi", {"period": 3}), ("ema", "distance", {"period": 3}), ("donchian", "position", {"period": 3}),
        ("realised_volatility", "volatility", {"window": 3}), ("directional", "difference", {"period": 2}),
        ("bollinger", "position", {"period": 3}), ("bar_shape", "body", {}), ("regression", "slope", {"period": 3}),
    )
)
"""Eight features on each of seven timeframes."""


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


def new_core(decide_on: DecideOn | None = None, symbols: tuple[str, ...] = (SYMBOL,)) -> FeaturesCore:
    assert len(SIXTY) == 60
    core = FeaturesCore(FeaturesConfig(features=SIXTY), symbols, decide_on or DecideOn(), {})
    core.warm()
    return core


def one_tick_blocks(decide_on: DecideOn | None = None) -> tuple[FeaturesCore, list[TickBlock]]:
    """Return a warm core and blocks of one tick that follow."""
    rng = np.random.default_rng(1)
    history = market_block(1, BLOCK, rng, 1_700_000_000 * NS, 1.1)
    core = new_core(decide_on)
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


def measure_one_tick(decide_on: DecideOn | None = None) -> tuple[list[float], list[float]]:
    """Return µs per one-tick block of the core, and of the bare loop called the same way."""
    ours, floor = [], []
    for _ in range(REPEATS):
        core, blocks = one_tick_blocks(decide_on)

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


def measure_closing(days: int) -> list[float]:
    """Return µs from each tick that closes a minute bar to its row of seven timeframes, after so many days of history."""
    core = FeaturesCore(FeaturesConfig(timeframes_s=TIMEFRAMES_S, features=SAME_ON_ALL), (SYMBOL,), DecideOn(), {})
    core.warm()
    n = days * 1_440
    rng = np.random.default_rng(3)
    times = (1_700_000_000 // 60 * 60 + 60 * np.arange(n + CLOSINGS, dtype=np.int64)) * NS + NS
    bid = np.round(1.1 * np.exp(np.cumsum(rng.normal(0.0, 1e-4, n + CLOSINGS))), 5)
    ask = bid + 1e-5

    def block(begin: int, end: int) -> TickBlock:
        return TickBlock(
            ts_event_ns=int(times[end - 1]), ts_init_ns=0, symbol=SYMBOL, first_tick=begin + 1,
            time_ns=times[begin:end], bid=bid[begin:end], ask=ask[begin:end],
        )

    core.on_tick_block(block(0, n), 0)
    taken = []
    for k in range(n, n + CLOSINGS):
        one = block(k, k + 1)
        began = time.perf_counter()
        said = core.on_tick_block(one, 0)
        taken.append((time.perf_counter() - began) * 1e6)
        assert len(said) >= 2, "a bar and its row"
    return taken


def closing_rows() -> list[dict[str, object]]:
    """Measure the tick that closes a bar after a short and a long history."""
    short, long = measure_closing(40), measure_closing(360)
    at_99 = [float(np.quantile(taken, 0.99)) for taken in (short, long)]
    return [{
        "name": f"features, closed M1 bar to its row, p99 ({len(SAME_ON_ALL)} features, 7 timeframes, 360 days before)",
        "unit": "µs", "value": at_99[1], "against": "the same after 40 days", "against_value": at_99[0],
        "ratio": at_99[1] / at_99[0], "n": CLOSINGS, "min": min(long), "max": max(long),
    }]


def memory_rows() -> list[dict[str, object]]:
    """Measure what five more million ticks and what seven more symbols cost."""
    rng = np.random.default_rng(4)
    core = new_core()
    start_ns, bid, peaks = 1_700_000_000 * NS, 1.1, []
    for b in range(60):
        block = market_block(1 + b * BLOCK, BLOCK, rng, start_ns, bid)
        start_ns, bid = block.ts_event_ns, float(block.bid[-1])
        core.on_tick_block(block, 0)
        if b in (9, 59):
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0)
    one, eight = (len(new_core(symbols=tuple(f"S{k}" for k in range(n))).snapshot()) for n in (1, 8))
    return [
        {
            "name": "features, peak memory after six million ticks", "unit": "MiB", "value": peaks[1],
            "against": "after one million", "against_value": peaks[0], "ratio": peaks[1] / peaks[0], "n": 1, "min": peaks[0],
            "max": peaks[1],
        },
        {
            "name": "features, state of eight symbols", "unit": "bytes", "value": float(eight), "against": "of one",
            "against_value": float(one), "ratio": eight / one, "n": 1, "min": float(eight), "max": float(eight),
        },
    ]


def rows() -> list[dict[str, object]]:
    """Measure and return the rows of the benchmark table."""
    table: list[dict[str, object]] = memory_rows()
    every_tick = DecideOn(kind="tick", every=1)
    for name, unit, (ours, floor), n in (
        ("features, one live tick (60 features)", "µs/tick", measure_one_tick(), ONE_TICK_BLOCKS * REPEATS),
        ("features, one live tick with its row (60)", "µs/tick", measure_one_tick(every_tick), ONE_TICK_BLOCKS * REPEATS),
        ("features, ten million ticks (60 features)", "ticks/s", measure_batch(), BLOCK * BLOCKS),
    ):
        value, against = median(ours), median(floor)
        table.append({
            "name": name, "unit": unit, "value": value, "against": "bare compiled loop", "against_value": against,
            "ratio": value / against, "n": n, "min": min(ours), "max": max(ours),
        })
    return [*table, *closing_rows()]


if __name__ == "__main__":
    for row in rows():
        print(row)
