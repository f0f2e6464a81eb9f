"""A feature set laid out for the compiled pass, and the symbols' states it walks."""

import hashlib
from collections.abc import Iterator

import msgspec
import numpy as np

from libs.common.config import DecideOn
from libs.common.messages.base import Floats, Ints
from libs.common.trading.decision import NO_TIME, decision_rule
from services.features.feature_set import FeatureSet
from services.features.kernels import driver
from services.features.kernels import layout as at
from services.features.kernels.layout import CHUNK
from services.features.registry import Clock

NS_PER_S = 1_000_000_000
NO_VALUES: Floats = np.empty(0, dtype=np.float64)


class SymbolState:
    """All a symbol has left behind: two arrays, see ``kernels/layout.py``.

    Parameters
    ----------
    ints, floats : (n,), (m,)
    """

    __slots__ = ("floats", "ints")

    def __init__(self, ints: Ints, floats: Floats) -> None:
        self.ints, self.floats = ints, floats

    @property
    def last_tick(self) -> int:
        """Number of the last tick seen, 0 before the first."""
        return int(self.ints[at.LAST_TICK])

    @property
    def last_ns(self) -> int:
        """Latest tick time seen, ns UTC."""
        return int(self.ints[at.LAST_NS])

    @property
    def ticks_seen(self) -> int:
        return int(self.ints[at.TICKS_SEEN])

    @property
    def rows(self) -> int:
        return int(self.ints[at.ROWS])

    @property
    def rows_not_finite(self) -> int:
        return int(self.ints[at.NOT_FINITE])

    @property
    def first_not_finite_tick(self) -> int:
        """Number of the tick of the first row that was kept back because a value was not finite, 0 for none."""
        return int(self.ints[at.NOT_FINITE_TICK])

    @property
    def refused(self) -> bool:
        """True for ever once the symbol lacked an input the feature set needs."""
        return bool(self.ints[at.REFUSED])

    def refuse(self) -> None:
        self.ints[at.REFUSED] = 1


class ClosedBar(msgspec.Struct, frozen=True):
    """A bar a pass closed; prices are bids, ``at`` is the offset of the tick that made it visible."""

    at: int
    timeframe_s: int
    open_ns: int
    open: float
    high: float
    low: float
    close: float
    spread_mean: float
    ticks: int


class Engine:
    """Walk blocks of ticks and say which bars closed and which rows were made.

    Parameters
    ----------
    feature_set : what a row holds
    decide_on : when a row is made

    Notes
    -----
    The working space is the engine's own: rows and bars of a pass must be read before the next pass.
    """

    def __init__(self, feature_set: FeatureSet, decide_on: DecideOn) -> None:
        self.feature_set = feature_set
        self.timeframes_s = feature_set.timeframes_s
        n_timeframes = len(self.timeframes_s)
        self._state_ints = at.HEADER_INTS + n_timeframes * at.BAR_INTS
        self._state_floats = n_timeframes * at.BAR_FLOATS
        self._newest: list[tuple[int, int]] = []
        self._lay_out_program()
        mode, length = decision_rule(decide_on)
        self._settings = np.array(
            [mode, length, feature_set.warm_up_ticks, feature_set.warm_up_seconds * NS_PER_S], dtype=np.int64
        )
        self._lengths_ns = np.array(self.timeframes_s, dtype=np.int64) * NS_PER_S
        self._warm_bars = np.array([feature_set.warm_up_bars(t) for t in self.timeframes_s], dtype=np.int64)
        self._scratch_f = np.zeros((at.SCRATCH_FLOATS, CHUNK))
        self._scratch_i = np.zeros((at.SCRATCH_INTS, CHUNK), dtype=np.int64)
        self._bars_f = np.zeros((n_timeframes, at.BAR_FLOATS, CHUNK))
        self._bars_i = np.zeros((n_timeframes, at.BAR_INTS - 1, CHUNK), dtype=np.int64)
        self._n_bars = np.zeros(n_timeframes, dtype=np.int64)
        self._out = np.zeros((CHUNK, len(feature_set.names)))
        self.layout_id = self._layout_id(decide_on)

    def _lay_out_program(self) -> None:
        instructions: dict[object, list[tuple[int, str]]] = {}
        for column, feature in enumerate(self.feature_set.features):
            instructions.setdefault(feature.instruction, []).append((column, feature.output))
        lines, columns, params = [], [], list[float]()
        for wanted in instructions.values():
            feature = self.feature_set.features[wanted[0][0]]
            family = feature.family
            carried = len(family.outputs) if family.clock is Clock.BARS else 0
            line = [0] * at.LINE
            line[at.OP], line[at.CLOCK], line[at.OUTPUTS] = family.op, int(family.clock), len(family.outputs)
            line[at.TIMEFRAME] = self.timeframes_s.index(feature.timeframe_s) if carried else 0
            line[at.FLOATS_AT], line[at.INTS_AT] = self._state_floats, self._state_ints
            self._newest.append((self._state_floats, self._state_floats + carried))
            self._state_floats += carried + family.floats(feature.params)
            self._state_ints += family.ints
            line[at.FLOATS_END], line[at.INTS_END] = self._state_floats, self._state_ints
            line[at.PARAMS_AT] = len(params)
            params += feature.params.values()
            line[at.PARAMS_END] = len(params)
            lines.append(line)
            order = list(family.outputs)
            row = [-1] * at.MAX_OUTPUTS
            for column, output in wanted:
                row[order.index(output)] = column
            columns.append(row)
        self._program = np.array(lines, dtype=np.int64)
        self._columns = np.array(columns, dtype=np.int64)
        self._params = np.array(params, dtype=np.float64)

    def _layout_id(self, decide_on: DecideOn) -> str:
        parts = (self.feature_set.schema_id, self.timeframes_s, decide_on, self._state_ints, self._state_floats)
        return hashlib.blake2b(msgspec.json.encode(parts), digest_size=8).hexdigest()

    def new_state(self) -> SymbolState:
        """Return the state of a symbol nothing is known of."""
        ints = np.zeros(self._state_ints, dtype=np.int64)
        ints[at.LAST_NS] = ints[at.FIRST_NS] = NO_TIME
        floats = np.zeros(self._state_floats)
        for begin, end in self._newest:
            floats[begin:end] = np.nan
        return SymbolState(ints, floats)

    def state_from_bytes(self, ints: bytes, floats: bytes) -> SymbolState:
        """Return the state whose arrays were written with ``tobytes``.

        Raises
        ------
        ValueError : when the sizes are not those of this feature set
        """
        if (len(ints), len(floats)) != (8 * self._state_ints, 8 * self._state_floats):
            raise ValueError("the state belongs to another feature set")
        return SymbolState(np.frombuffer(ints, dtype="<i8").copy(), np.frombuffer(floats, dtype="<f8").copy())

    def walk(
        self, state: SymbolState, point: float, first_tick: int, time_ns: Ints, bid: Floats, ask: Floats,
        last: Floats = NO_VALUES, volume: Floats = NO_VALUES,
    ) -> int:
        """Walk at most ``CHUNK`` ticks and return the number of rows made.

        Parameters
        ----------
        state : of the symbol, changed in place
        point : size of a point, price units
        first_tick : number of the first of these ticks
        time_ns, bid, ask : (n,) the ticks, contiguous
        last, volume : (n,) or empty where no feature needs them
        """
        return driver.walk(
            self._settings, self._lengths_ns, self._warm_bars, self._program, self._columns, self._params, point,
            first_tick, time_ns, bid, ask, last, volume, state.ints, state.floats, self._scratch_f, self._scratch_i,
            self._bars_f, self._bars_i, self._n_bars, self._out,
        )

    def closed_any(self) -> bool:
        """Tell whether the last pass closed a bar; no larger bar closes without a smallest one."""
        return bool(self._n_bars[0])

    def rows(self, n_rows: int) -> Iterator[tuple[int, Floats]]:
        """Yield offset of the tick and a copy of the values of the last pass's rows."""
        offsets = self._scratch_i[at.ROW_AT, :n_rows].tolist()
        return zip(offsets, self._out[:n_rows].copy(), strict=True)

    def closed_bars(self) -> Iterator[ClosedBar]:
        """Yield the bars the last pass closed, timeframe by timeframe."""
        for t, timeframe_s in enumerate(self.timeframes_s):
            n = int(self._n_bars[t])
            numbers, prices = self._bars_i[t, :, :n].tolist(), self._bars_f[t, :, :n].tolist()
            for b in range(n):
                ticks = numbers[at.TICKS][b]
                yield ClosedBar(
                    numbers[at.VISIBLE_AT][b], timeframe_s, numbers[at.OPEN_NS][b], prices[at.OPEN][b],
                    prices[at.HIGH][b], prices[at.LOW][b], prices[at.CLOSE][b], prices[at.SPREAD_SUM][b] / ticks,
                    ticks,
                )
