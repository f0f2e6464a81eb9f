"""Small made-up markets for the trainer's tests."""

import itertools

import numpy as np

from libs.common.messages.features import FeatureBlock
from libs.common.messages.market import TickBlock
from services.trainer.config import FitConfig, GateConfig, TrainerConfig
from services.trainer.dataset import Dataset

SECOND_NS = 1_000_000_000
START_NS = 1_400_000_000 * SECOND_NS
SYMBOL = "EURUSD"
NAMES = ("sigma", "lean", "noise")
SCHEMA = "schema-1"


def config(**changes):
    """Return settings that train early and on little."""
    settings = {
        "min_rows": 60, "max_rows": 400, "max_open_rows": 64, "late_ticks": 512, "horizon_s": 20, "target_sigma": 1.0,
        "stop_sigma": 0.7, "sigma_feature": "sigma", "sigma_horizon_s": 20, "retrain_every_rows": 50,
        "fit": FitConfig(folds=3, embargo_s=1, rounds=20, min_leaf_rows=5, resamples=200),
        "gate": GateConfig(min_rows=20, min_trades=5),
    }
    return TrainerConfig(**{**settings, **changes})


def ticks(count, seed=0, step_s=1.0, start_ns=START_NS):
    """Return times, bids and asks of a random walk with an uneven clock."""
    rng = np.random.default_rng(seed)
    waits_ns = np.round(rng.exponential(step_s, count) * SECOND_NS).astype(np.int64)
    mid = 1.3 + np.cumsum(rng.normal(0.0, 1e-5, count))
    half = rng.choice([0.5e-5, 1e-5], count)
    return start_ns + np.cumsum(waits_ns), mid - half, mid + half


def block(first_tick, time_ns, bid, ask, symbol=SYMBOL):
    return TickBlock(
        ts_event_ns=int(time_ns[-1]), ts_init_ns=0, symbol=symbol, first_tick=first_tick,
        time_ns=np.array(time_ns, dtype=np.int64), bid=np.array(bid, dtype=float), ask=np.array(ask, dtype=float),
    )


def blocks(time_ns, bid, ask, cuts):
    """Return the ticks as blocks, cut before the given offsets."""
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(time_ns)}), len(time_ns)]
    return [
        block(begin + 1, time_ns[begin:end], bid[begin:end], ask[begin:end])
        for begin, end in itertools.pairwise(edges)
    ]


def row(tick, time_ns, bid, ask, values, schema=SCHEMA, names=NAMES, symbol=SYMBOL):
    return FeatureBlock(
        ts_event_ns=int(time_ns), ts_init_ns=0, symbol=symbol, schema_id=schema, names=names,
        values=np.array(values, dtype=float), tick=tick, bid=float(bid), ask=float(ask),
    )


def rows(time_ns, bid, ask, every, sigma=4e-5, seed=0):
    """Return a row at every n-th tick."""
    rng = np.random.default_rng(seed)
    return [
        row(i + 1, time_ns[i], bid[i], ask[i], [sigma, *rng.normal(size=2)])
        for i in range(every - 1, len(time_ns), every)
    ]


def stream(count, every=3, cuts=(), seed=0):
    """Return blocks and rows in the order a lockstep replay gives them: a row right after its own tick."""
    time_ns, bid, ask = ticks(count, seed)
    wanted = rows(time_ns, bid, ask, every, seed=seed)
    decided = [one.tick for one in wanted]
    messages = [*blocks(time_ns, bid, ask, {*decided, *cuts}), *wanted]
    return sorted(messages, key=order)


def order(message):
    if isinstance(message, TickBlock):
        return message.first_tick + len(message) - 1, 0
    return message.tick, 1


def dataset(count, strength, seed=0, features=6, overlap=3):
    """Return labelled rows whose second feature leans the label by ``strength``."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count, features))
    move = strength * values[:, 1] + rng.normal(size=count)
    label = np.where(move > 0.6, 2, np.where(move < -0.6, 0, 1))
    time_ns = START_NS + np.arange(count) * 60 * SECOND_NS
    gross = move * 0.02
    return Dataset(
        features=values, time_ns=time_ns, end_ns=time_ns + overlap * 60 * SECOND_NS - 1, label=label.astype(np.int64),
        gross_pct=gross, long_pct=gross - 0.004, short_pct=-gross - 0.004,
    )
