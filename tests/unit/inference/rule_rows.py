"""Tables of feature rows for rule strategies, and what a strategy says of them in one go or row by row."""

from itertools import pairwise

import numpy as np

from backtest.leak import Table
from libs.common.messages.features import FeatureBlock
from services.inference.strategies import StrategyTable, Suggestions

NAMES = ("a", "b", "c")
NS = 1_000_000_000


def table(values=None, names=NAMES, n=200, seed=1):
    """Return rows with the given values, or random ones that change their sign often."""
    if values is None:
        values = np.abs(np.random.default_rng(seed).normal(0.0, 1.5, (n, len(names))))
        values[:, :2] *= np.where(np.random.default_rng(seed + 1).random((n, 2)) < 0.5, -1.0, 1.0)
    n = len(values)
    bid = 1.1 + np.arange(n) * 1e-4
    return Table(
        names=tuple(names), tick=np.arange(1, n + 1), time_ns=np.arange(n) * 60 * NS, bid=bid, ask=bid + 1e-4,
        values=np.asarray(values, dtype=np.float64),
    )


def rows(of):
    """Return a table's rows as the messages the features service sends."""
    return [
        FeatureBlock(
            ts_event_ns=int(of.time_ns[k]), ts_init_ns=0, symbol="EURUSD", schema_id="s", names=of.names,
            values=of.values[k], tick=int(of.tick[k]), bid=float(of.bid[k]), ask=float(of.ask[k]),
        )
        for k in range(len(of.tick))
    ]


def said_of(strategy, of, cuts=()):
    """Return what a strategy says of a table that comes in pieces."""
    asked = StrategyTable(strategy, of.names)
    tail = np.empty((0, of.values.shape[1] + 2))
    pieces = []
    bounds = [0, *sorted(cuts), len(of.tick)]
    for begin, end in pairwise(bounds):
        said, tail = asked.decide(tail, of.values[begin:end], of.bid[begin:end], of.ask[begin:end])
        pieces.append(said)
    return Suggestions(*(np.concatenate(columns) for columns in zip(*pieces, strict=True)))


def said_row_by_row(strategy, of):
    """Return what a strategy says of rows that come one by one, as they do live."""
    return said_of(strategy, of, range(1, len(of.tick)))
