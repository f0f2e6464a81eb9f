"""Looks for values that know the future: changes everything after a moment and compares what was said up to it.

A live system has not seen what comes next, so nothing it says of a moment may change when the future does. Feature
rows are computed in long blocks, as a backtest computes them; suggestions of a strategy from a table that goes on past
the moment, from one that ends at it (as it does live), and from one that begins no earlier than the strategy's own
``lookback`` says.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import msgspec
import numpy as np

from libs.common.messages.base import Floats, Ints
from libs.common.messages.features import FeatureBlock
from libs.common.messages.market import TickBlock
from services.features.core import FeaturesCore
from services.inference.strategies import Strategy, StrategyTable, Suggestions

FUTURES = ((1.5, 1.0), (0.6, 7.0))
"""Other futures: a factor on every price after the moment, and one on the distances of its ticks in time."""
MOST_AHEAD = 20_000
"""Ticks after a moment that are shown: more would only take longer."""
SUGGESTED = ("side", "stop_distance", "target_distance", "confidence")


class Leak(msgspec.Struct, frozen=True, kw_only=True):
    """The first value that changed with what came after it.

    Parameters
    ----------
    symbol, row_ns : of the row, ns UTC
    column : name of the feature, or ``strategy NAME: side``
    known_ns : up to when nothing was changed, ns UTC
    before, after : the value as it was, and as another future made it; ``None``: there is no such row
    how : what was changed
    """

    symbol: str
    row_ns: int
    column: str
    known_ns: int
    before: float | None
    after: float | None
    how: str


class Table(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One symbol's rows in order of time: (n,) ticks, times, quotes, and (n, m) values."""

    names: tuple[str, ...]
    tick: Ints
    time_ns: Ints
    bid: Floats
    ask: Floats
    values: Floats


def table_of(core: FeaturesCore, blocks: Sequence[TickBlock], symbol: str) -> Table:
    """Return the rows a fresh core makes of some blocks, of one symbol."""
    rows = [
        message for block in blocks for message in core.on_tick_block(block, block.ts_event_ns)
        if isinstance(message, FeatureBlock) and message.symbol == symbol
    ]
    return Table(
        names=core.names, tick=np.array([row.tick for row in rows], dtype=np.int64),
        time_ns=np.array([row.ts_event_ns for row in rows], dtype=np.int64),
        bid=np.array([row.bid for row in rows]), ask=np.array([row.ask for row in rows]),
        values=np.array([row.values for row in rows]).reshape(len(rows), len(core.names)),
    )  # fmt: skip


def moments_of(table: Table, wanted: int, seed: int) -> list[int]:
    """Return random rows of a table, rising: whatever a value borrows from after its row shows at the last known one."""
    last = len(table.tick) - 1
    if last < 1:
        return []
    rng = np.random.default_rng(seed)
    drawn: list[int] = np.unique(rng.integers(last // 4, last, size=wanted)).tolist()
    return drawn


# ---- features


def leak_in_features(
    make_core: Callable[[], FeaturesCore], markets: Sequence[TickBlock], moments: int, seed: int
) -> tuple[Leak | None, Table]:
    """Attack the rows of the first market's symbol.

    Parameters
    ----------
    make_core : returns a fresh core
    markets : one long block of each symbol
    moments : how many random moments to try

    Returns
    -------
    The earliest leak found, ``None`` where there is none, and the rows as they are.
    """
    symbol = markets[0].symbol
    whole = table_of(make_core(), in_turns(markets), symbol)
    found: list[Leak] = []
    for row in moments_of(whole, moments, seed):
        edge_tick, edge_ns = int(whole.tick[row]), int(whole.time_ns[row])
        for factor, pace in FUTURES:
            others = [other_future(block, edge_tick, edge_ns, factor, pace, symbol) for block in markets]
            changed = table_of(make_core(), in_turns(others), symbol)
            leak = _first_change(whole, changed, row, edge_ns, factor, waits=len(markets) > 1)
            if leak is not None:
                found.append(msgspec.structs.replace(leak, symbol=symbol))
    return min(found, key=lambda leak: leak.row_ns, default=None), whole


def other_future(
    block: TickBlock, edge_tick: int, edge_ns: int, factor: float, pace: float, symbol: str
) -> TickBlock:
    """Return a block with everything after a moment changed, up to ``MOST_AHEAD`` ticks ahead.

    Parameters
    ----------
    edge_tick : last known tick of ``symbol``; of others everything up to ``edge_ns`` is known
    factor : on every price, with a random walk on top
    pace : on the distances of ticks in time
    """
    n = len(block)
    if block.symbol == symbol:
        known = edge_tick - block.first_tick + 1
    else:
        known = int(np.searchsorted(block.time_ns, edge_ns, side="right"))
    end = min(n, known + MOST_AHEAD)
    if known >= n:
        return block
    rng = np.random.default_rng(known)
    ahead = end - known
    drift = factor * np.exp(np.cumsum(rng.normal(0.0, 2e-4, ahead)))
    begin_ns = int(block.time_ns[known - 1]) if known else edge_ns
    if block.symbol != symbol:
        begin_ns = max(begin_ns, edge_ns + 1)
    steps = np.diff(block.time_ns[known:end], prepend=max(begin_ns, int(block.time_ns[known - 1])) if known else begin_ns)
    times = begin_ns + np.cumsum(np.maximum(np.rint(steps * pace), 0)).astype(np.int64)
    columns = {}
    for name in ("bid", "ask", "last", "volume", "flags", "bid_lots", "ask_lots"):
        column = getattr(block, name)
        if len(column):
            later = column[known:end]
            scaled = later * drift if name in ("bid", "ask", "last") else later * 3 if name != "flags" else later
            columns[name] = np.concatenate((column[:known], scaled))
    columns["ask"][known:] = np.maximum(columns["ask"][known:], columns["bid"][known:])
    time_ns = np.concatenate((block.time_ns[:known], times))
    return msgspec.structs.replace(block, ts_event_ns=int(time_ns[-1]), time_ns=time_ns, **columns)


def in_turns(markets: Sequence[TickBlock], hours: int = 6) -> list[TickBlock]:
    """Return several symbols' ticks in pieces by time; one symbol's as they are."""
    if len(markets) == 1:
        return list(markets)
    step_ns = hours * 3_600_000_000_000
    pieces = []
    for block in markets:
        edges = np.flatnonzero(np.diff(block.time_ns // step_ns)) + 1
        bounds = [0, *edges.tolist(), len(block)]
        pieces += [part(block, begin, end) for begin, end in pairwise(bounds)]
    return sorted(pieces, key=lambda piece: (piece.ts_event_ns, piece.symbol))


def part(block: TickBlock, begin: int, end: int) -> TickBlock:
    """Return some of a block's ticks."""
    columns = {
        name: getattr(block, name)[begin:end]
        for name in ("time_ns", "bid", "ask", "last", "volume", "flags", "bid_lots", "ask_lots")
    }
    ts_ns = int(columns["time_ns"][-1])
    return msgspec.structs.replace(block, ts_event_ns=ts_ns, first_tick=block.first_tick + begin, **columns)


def _first_change(
    whole: Table, changed: Table, row: int, edge_ns: int, factor: float, *, waits: bool
) -> Leak | None:
    how = f"every price after it times {factor:g}"
    place = {tick: at for at, tick in enumerate(changed.tick.tolist())}
    for at in range(row + 1):
        other = place.get(int(whole.tick[at]))
        row_ns = int(whole.time_ns[at])
        if other is None and waits:
            # A row that waits for other symbols may not have been let go by the end of the shorter stream.
            continue
        if other is None:
            return Leak(
                symbol="", row_ns=row_ns, column="the whole row", known_ns=edge_ns, before=float(whole.values[at, 0]),
                after=None, how=how,
            )
        differs = np.flatnonzero(whole.values[at].view(np.int64) != changed.values[other].view(np.int64))
        if differs.size:
            column = int(differs[0])
            return Leak(
                symbol="", row_ns=row_ns, column=whole.names[column], known_ns=edge_ns,
                before=float(whole.values[at, column]), after=float(changed.values[other, column]), how=how,
            )
    return None


# ---- strategies


def leak_in_strategy(
    name: str, strategy: Strategy, table: Table, symbol: str, moments: int, seed: int
) -> Leak | None:
    """Attack a strategy's suggestions on a table of rows.

    Raises
    ------
    ConfigError : when the rows lack a feature it needs
    Exception : whatever the strategy raises
    """
    asked = StrategyTable(strategy, table.names)
    whole = _said(asked, table, 0, len(table.tick))
    found = []
    for row in moments_of(table, moments, seed):
        for how, first, said in _other_tables(asked, strategy.lookback, table, row, seed):
            leak = _first_other_word(whole, said, first, row)
            if leak is not None:
                at, column, before, after = leak
                found.append(Leak(
                    symbol=symbol, row_ns=int(table.time_ns[at]), column=f"strategy {name}: {column}",
                    known_ns=int(table.time_ns[row]), before=before, after=after, how=how,
                ))
    return min(found, key=lambda leak: leak.row_ns, default=None)


def _other_tables(
    asked: StrategyTable, lookback: int, table: Table, row: int, seed: int
) -> Iterator[tuple[str, int, Suggestions]]:
    """Yield (what was changed, first row, what is said from there up to the moment)."""
    yield "the table ends at it, as it does live", 0, _said(asked, table, 0, row + 1)
    for factor, _ in FUTURES:
        later = _with_other_rows(table, row, factor, seed)
        yield f"the rows after it became others (prices times {factor:g})", 0, _said(asked, later, 0, len(table.tick))
    first = max(row - lookback, 0)
    if lookback <= row:
        said = _said(asked, table, first, row + 1)
        last = Suggestions(said.side[-1:], said.stop_distance[-1:], said.target_distance[-1:], said.confidence[-1:])
        yield f"the table begins {lookback} rows (its lookback) before it, as it does live", row, last


def _said(asked: StrategyTable, table: Table, begin: int, end: int) -> Suggestions:
    values, bid, ask = table.values[begin:end], table.bid[begin:end], table.ask[begin:end]
    said, _ = asked.decide(np.empty((0, values.shape[1] + 2)), values.copy(), bid.copy(), ask.copy())
    return said


def _with_other_rows(table: Table, row: int, factor: float, seed: int) -> Table:
    rng = np.random.default_rng(seed)
    values, bid, ask = table.values.copy(), table.bid.copy(), table.ask.copy()
    later = values[row + 1:]
    spread = values.std(axis=0)
    values[row + 1:] = rng.permutation(later)[:, :] * factor + rng.normal(size=later.shape) * spread
    bid[row + 1:] *= factor
    ask[row + 1:] *= factor
    return msgspec.structs.replace(table, values=values, bid=bid, ask=ask)


def _first_other_word(
    whole: Suggestions, said: Suggestions, first: int, row: int
) -> tuple[int, str, float, float] | None:
    """Return (row, column, before, after) of the first suggestion that is another one; idle rows have no distances."""
    for at in range(first, row + 1):
        if whole.side[at] != said.side[at - first]:
            return at, "side", float(whole.side[at]), float(said.side[at - first])
        if whole.side[at] == 0:
            continue
        for name in SUGGESTED[1:]:
            before, after = float(getattr(whole, name)[at]), float(getattr(said, name)[at - first])
            if before != after and not (np.isnan(before) and np.isnan(after)):
                return at, name, before, after
    return None
