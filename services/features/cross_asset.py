"""Rows that wait for other symbols: a row is let go once every related symbol has been seen up to the row's time.

Each symbol's bars are kept under their end. A row made at ``t`` sees bars that ended at or before ``t``, of all symbols,
and of those only the ones all have in common; so it makes no difference in which order the symbols' ticks came, nor
whether one of them ran ahead, as long as none is further behind than ``wait_s``. A symbol that is later than that is
taken to be silent: its last bar counts once it has ended, and what comes later never reaches a row already made.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping

import msgspec
import numpy as np

from libs.common.errors import ConfigError
from libs.common.messages.base import Floats
from services.features.config import CrossAssetConfig
from services.features.engine import NS_PER_S, Engine, SymbolState
from services.features.feature_set import Feature
from services.features.kernels.driver import call_cross
from services.features.kernels.entry import address_of
from services.features.kernels.layout import MAX_OUTPUTS

SPARE_BARS = 64
"""Bars looked back on beyond twice those needed, for bars that not all symbols have."""
LONGEST_WAIT_NS = 86_400 * NS_PER_S
"""A symbol further behind than this finds no bars of the others any more; without a bound they would grow for ever."""


class HeldRow(msgspec.Struct, frozen=True, array_like=True):
    """A row whose cross-asset values are still to come.

    Parameters
    ----------
    time_ns : of its tick
    values : (k,) as bytes, doubles
    """

    tick: int
    time_ns: int
    bid: float
    ask: float
    values: bytes


class CrossState(msgspec.Struct, frozen=True, array_like=True):
    """All that is kept between blocks.

    Parameters
    ----------
    bars : symbol -> timeframe, seconds -> ends (ns, 64-bit integers) and mids (doubles), as bytes
    held : symbol -> rows, oldest first
    stale : symbols whose rows are not made because a related symbol is silent
    dropped : rows not made for that reason
    """

    bars: dict[str, dict[int, tuple[bytes, bytes]]]
    held: dict[str, list[HeldRow]]
    stale: list[str]
    dropped: int


class CrossAssets:
    """The bars of all symbols, and the rows that wait for them.

    Parameters
    ----------
    engine : whose bars and rows they are
    config : how long to wait
    states : symbol -> its state, the engine's own

    Raises
    ------
    ConfigError : when a feature names a symbol that is not configured
    """

    def __init__(self, engine: Engine, config: CrossAssetConfig, states: Mapping[str, SymbolState]) -> None:
        self._engine, self._states = engine, states
        self._features = engine.feature_set.cross
        self._wait_ns, self._max_age_ns = round(config.wait_s * NS_PER_S), round(config.max_age_s * NS_PER_S)
        self._related = tuple(sorted({symbol for _, feature in self._features for symbol in feature.of}))
        for _, feature in self._features:
            for symbol in feature.of:
                if symbol not in states:
                    raise ConfigError(
                        f"features.features: '{feature.name}' is made of {symbol}, which is not traded here; add it "
                        "to system.symbols or leave it out"
                    )
        needed: dict[int, int] = {}
        for _, feature in self._features:
            needed[feature.timeframe_s] = max(needed.get(feature.timeframe_s, 0), feature.warm_up.bars)
        self._looked_at = {timeframe_s: 2 * bars + SPARE_BARS for timeframe_s, bars in needed.items()}
        self._bars: dict[tuple[str, int], tuple[list[int], list[float]]] = {
            (symbol, timeframe_s): ([], []) for symbol in states for timeframe_s in needed
        }
        self._held: dict[str, list[HeldRow]] = {symbol: [] for symbol in states}
        self._params = {
            name: np.array(list(feature.params.values())) for name, feature in ((f.name, f) for _, f in self._features)
        }
        self._out = np.zeros(MAX_OUTPUTS)
        self.stale: set[str] = set()
        self.dropped = 0

    def take_bars(self, symbol: str) -> None:
        """Remember the bars the engine's last pass closed."""
        for timeframe_s in self._looked_at:
            ends, mids = self._bars[symbol, timeframe_s]
            opened, closed_at = self._engine.closed_mids(timeframe_s)
            ends += [self._engine.end_of_bar(timeframe_s, open_ns) for open_ns in opened]
            mids += closed_at

    def hold(self, symbol: str, row: HeldRow) -> None:
        """Let a row wait."""
        self._held[symbol].append(row)

    def waiting(self) -> int:
        """Return how many rows wait."""
        return sum(map(len, self._held.values()))

    def let_go(self) -> Iterator[tuple[str, HeldRow, Floats | None]]:
        """Yield the rows that need not wait any longer, by time, with their values.

        Rows that come before enough common bars are left out; ``None`` stands for the values of a row that is not
        made because the common bars are too old.
        """
        newest_ns = max(state.last_ns for state in self._states.values())
        seen_ns = min(self._states[symbol].last_ns for symbol in self._related)
        edge_ns = max(seen_ns, newest_ns - self._wait_ns)
        ready = []
        for symbol, rows in self._held.items():
            n = bisect_right(rows, edge_ns, key=lambda row: row.time_ns)
            ready += [(row.time_ns, symbol, row) for row in rows[:n]]
            del rows[:n]
        for _, symbol, row in sorted(ready, key=lambda entry: entry[:2]):
            values = np.frombuffer(row.values).copy()
            verdict = self._fill(symbol, row.time_ns, values)
            if verdict == "stale":
                self.dropped += 1
            if verdict:
                yield symbol, row, values if verdict == "full" else None
        self._trim(newest_ns)

    def _fill(self, symbol: str, time_ns: int, values: Floats) -> str:
        """Fill the cross-asset columns; return ``full``, ``stale``, or nothing where too few bars are common."""
        for column, feature in self._features:
            found = self._common(symbol, feature, time_ns)
            if found is None:
                return ""
            newest_ns, closes, related = found
            if time_ns - newest_ns > max(self._max_age_ns, 2 * feature.timeframe_s * NS_PER_S):
                return "stale"
            call_cross(address_of(feature.family.kernel), self._params[feature.name], closes, related, self._out)
            values[column] = self._out[list(feature.family.outputs).index(feature.output)]
        return "full" if np.isfinite(values).all() else ""

    def _common(self, symbol: str, feature: Feature, time_ns: int) -> tuple[int, Floats, Floats] | None:
        """Return the end of the newest common bar, and the mids of the last bars all symbols have in common."""
        wanted = feature.warm_up.bars
        columns = [self._bars_until(name, feature.timeframe_s, time_ns) for name in (symbol, *feature.of)]
        newest = [ends[-wanted:] for ends, _ in columns]
        if len(newest[0]) == wanted and all(ends == newest[0] for ends in newest):
            # The usual case: nobody lacks a bar.
            mids = np.array([mid[-wanted:] for _, mid in columns])
            return newest[0][-1], mids[0], mids[1:]
        common = sorted(set.intersection(*(set(ends) for ends, _ in columns)))[-wanted:]
        if len(common) < wanted:
            return None
        mids = np.array([[mid[bisect_left(ends, end)] for end in common] for ends, mid in columns])
        return common[-1], mids[0], mids[1:]

    def _bars_until(self, symbol: str, timeframe_s: int, time_ns: int) -> tuple[list[int], list[float]]:
        """Return ends and mids of the last bars of a symbol that ended at or before an instant."""
        ends, mids = self._bars[symbol, timeframe_s]
        state = self._states[symbol]
        n = bisect_right(ends, time_ns)
        begin = max(0, n - self._looked_at[timeframe_s])
        known, closed_at = ends[begin:n], mids[begin:n]
        if n == len(ends) and state.last_tick and state.last_ns < time_ns:
            # Nothing came since: the bar of the last tick is whole once it has ended.
            making = self._engine.bar_in_the_making(state, timeframe_s)
            if making is not None:
                end_ns = self._engine.end_of_bar(timeframe_s, making[0])
                if end_ns <= time_ns and (not known or end_ns > known[-1]):
                    known, closed_at = [*known, end_ns], [*closed_at, making[1]]
                    known, closed_at = known[-self._looked_at[timeframe_s]:], closed_at[-self._looked_at[timeframe_s]:]
        return known, closed_at

    def _trim(self, newest_ns: int) -> None:
        """Forget bars that no row to come can look at."""
        horizon_ns = min(
            rows[0].time_ns if rows else self._states[symbol].last_ns for symbol, rows in self._held.items()
        )
        horizon_ns = max(horizon_ns, newest_ns - LONGEST_WAIT_NS)
        for (_, timeframe_s), (ends, mids) in self._bars.items():
            n = bisect_right(ends, horizon_ns) - self._looked_at[timeframe_s]
            if n > 0:
                del ends[:n], mids[:n]

    def snapshot(self) -> CrossState:
        """Return all that is kept."""
        bars: dict[str, dict[int, tuple[bytes, bytes]]] = {}
        for (symbol, timeframe_s), (ends, mids) in self._bars.items():
            bars.setdefault(symbol, {})[timeframe_s] = (
                np.array(ends, dtype="<i8").tobytes(), np.array(mids, dtype="<f8").tobytes()
            )
        held = {symbol: list(rows) for symbol, rows in self._held.items()}
        return CrossState(bars, held, sorted(self.stale), self.dropped)

    def restore(self, state: CrossState) -> None:
        """Become what ``snapshot`` described; symbols that are no longer configured are dropped."""
        for symbol, timeframe_s in self._bars:
            ends, mids = state.bars.get(symbol, {}).get(timeframe_s, (b"", b""))
            self._bars[symbol, timeframe_s] = (
                np.frombuffer(ends, dtype="<i8").tolist(), np.frombuffer(mids, dtype="<f8").tolist()
            )
        self._held = {symbol: list(state.held.get(symbol, ())) for symbol in self._held}
        self.stale, self.dropped = set(state.stale), state.dropped
