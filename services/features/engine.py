"""A feature set laid out for the compiled pass, and the symbols' states it walks."""

import hashlib
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from libs.common.config import DecideOn
from libs.common.errors import ConfigError
from libs.common.messages.base import Floats, Ints
from libs.common.trading.decision import NO_TIME, decision_rule
from libs.common.trading.kernel_bars import begin_of_bar, end_of_bar
from services.features.calendar import CalendarEvent, event_table
from services.features.family import Clock
from services.features.feature_set import Feature, FeatureSet
from services.features.kernels import driver
from services.features.kernels import layout as at
from services.features.kernels.entry import address_of
from services.features.kernels.layout import CHUNK

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
    calendar : economic events; ``None`` where there is no calendar

    Raises
    ------
    ConfigError : when a feature needs a calendar and there is none

    Notes
    -----
    The working space is the engine's own: rows and bars of a pass must be read before the next pass.
    """

    def __init__(
        self, feature_set: FeatureSet, decide_on: DecideOn, calendar: Sequence[CalendarEvent] | None = None
    ) -> None:
        if calendar is None and "calendar" in feature_set.inputs:
            needing = ", ".join(feature_set.needing("calendar"))
            raise ConfigError(f"features.calendar: {needing} cannot do without a calendar; name its file")
        self.feature_set = feature_set
        self.timeframes_s = feature_set.timeframes_s
        self._calendar = tuple(calendar or ())
        n_timeframes = len(self.timeframes_s)
        self._state_ints = at.HEADER_INTS + n_timeframes * at.BAR_INTS
        self._state_floats = n_timeframes * at.BAR_FLOATS
        self._newest: list[tuple[int, int]] = []
        self._lay_out_program()
        self._settings = self._lay_out_settings(decide_on)
        self._scratch_f = np.zeros((at.SCRATCH_FLOATS, CHUNK))
        self._scratch_i = np.zeros((at.SCRATCH_INTS, CHUNK), dtype=np.int64)
        self._bars_f = np.zeros((n_timeframes, at.CLOSED_FLOATS, CHUNK))
        self._bars_i = np.zeros((n_timeframes, at.BAR_INTS - 1, CHUNK), dtype=np.int64)
        self._n_bars = np.zeros(n_timeframes, dtype=np.int64)
        self._out = np.zeros((CHUNK, len(feature_set.names)))
        self.layout_id = self._layout_id(decide_on)

    def _lay_out_settings(self, decide_on: DecideOn) -> Ints:
        known = self.feature_set
        mode, length = decision_rule(decide_on)
        followers = sum(feature.family.clock is Clock.SERIES for feature in known.features)
        anchor = at.ANCHOR_NEW_YORK if known.anchor == "new_york" else at.ANCHOR_UTC
        return np.array([
            mode, length, known.warm_up_ticks, known.warm_up_seconds * NS_PER_S, known.warm_up_rows, anchor, followers,
            *(t * NS_PER_S for t in self.timeframes_s), *(known.warm_up_bars(t) for t in self.timeframes_s),
            *(_waits(feature) for feature in known.features),
        ], dtype=np.int64)

    def _lay_out_program(self) -> None:
        instructions: dict[object, list[tuple[int, str]]] = {}
        for column, feature in enumerate(self.feature_set.features):
            if feature.family.clock is not Clock.CROSS:
                instructions.setdefault(feature.instruction, []).append((column, feature.output))
        lines, columns, params = [], [], list[float]()
        for wanted in instructions.values():
            feature = self.feature_set.features[wanted[0][0]]
            begin = len(params)
            params += self._params_of(feature)
            lines.append(self._line(feature, begin, len(params)))
            order = list(feature.family.outputs)
            row = [-1] * at.MAX_OUTPUTS
            for column, output in wanted:
                row[order.index(output)] = column
            columns.append(row)
        self._program = np.array(lines, dtype=np.int64).reshape(-1, at.LINE)
        self._columns = np.array(columns, dtype=np.int64).reshape(-1, at.MAX_OUTPUTS)
        self._params = np.array(params, dtype=np.float64)

    def _params_of(self, feature: Feature) -> list[float]:
        own = list(feature.params.values())
        if "calendar" in feature.family.inputs:
            own += event_table(self._calendar, feature.params["impact"], feature.of)
        return own

    def _line(self, feature: Feature, params_at: int, params_end: int) -> list[int]:
        family = feature.family
        carried = len(family.outputs) if family.clock is Clock.BARS else 0
        line = [0] * at.LINE
        line[at.ADDRESS], line[at.CLOCK] = address_of(family.kernel), int(family.clock)
        line[at.OUTPUTS] = len(family.outputs)
        line[at.TIMEFRAME] = self.timeframes_s.index(feature.timeframe_s) if carried else 0
        line[at.SOURCE] = self.feature_set.names.index(feature.of[0]) if family.clock is Clock.SERIES else 0
        line[at.FLOATS_AT], line[at.INTS_AT] = self._state_floats, self._state_ints
        self._newest.append((self._state_floats, self._state_floats + carried))
        self._state_floats += carried + family.floats(feature.params)
        self._state_ints += family.ints
        line[at.FLOATS_END], line[at.INTS_END] = self._state_floats, self._state_ints
        line[at.PARAMS_AT], line[at.PARAMS_END] = params_at, params_end
        return line

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
        last: Floats = NO_VALUES, volume: Floats = NO_VALUES, bid_lots: Floats = NO_VALUES,
        ask_lots: Floats = NO_VALUES,
    ) -> int:
        """Walk at most ``CHUNK`` ticks and return the number of rows made.

        Parameters
        ----------
        state : of the symbol, changed in place
        point : size of a point, price units
        first_tick : number of the first of these ticks
        time_ns, bid, ask : (n,) the ticks, contiguous
        last, volume, bid_lots, ask_lots : (n,) or empty where no feature needs them
        """
        return driver.walk(
            self._settings, self._program, self._columns, self._params, point, first_tick, time_ns, bid, ask, last,
            volume, bid_lots, ask_lots, state.ints, state.floats, self._scratch_f, self._scratch_i, self._bars_f,
            self._bars_i, self._n_bars, self._out,
        )

    def closed_any(self) -> bool:
        """Tell whether the last pass closed a bar; no larger bar closes without a smallest one."""
        return bool(self._n_bars[0])

    def rows(self, n_rows: int) -> Iterator[tuple[int, Floats]]:
        """Yield offset of the tick and a copy of the values of the last pass's rows."""
        offsets = self._scratch_i[at.ROW_AT, :n_rows].tolist()
        return zip(offsets, self._out[:n_rows].copy(), strict=True)

    def row_table(self, n_rows: int) -> tuple[Ints, Floats]:
        """Return offsets of the ticks, (n,), and a copy of the values, (n, m), of the last pass's rows."""
        return self._scratch_i[at.ROW_AT, :n_rows].copy(), self._out[:n_rows].copy()

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

    def closed_mids(self, timeframe_s: int) -> tuple[list[int], list[float]]:
        """Return when each bar of a timeframe closed by the last pass began, ns UTC, and the mid it closed at."""
        t = self.timeframes_s.index(timeframe_s)
        n = int(self._n_bars[t])
        return self._bars_i[t, at.OPEN_NS, :n].tolist(), self._bars_f[t, at.MID_CLOSE, :n].tolist()

    def bar_fields(self, timeframe_s: int) -> Floats:
        """Return (fields, n) what families see of the bars of a timeframe that the last pass closed."""
        t = self.timeframes_s.index(timeframe_s)
        return self._bars_f[t, :, :int(self._n_bars[t])].copy()

    def end_of_bar(self, timeframe_s: int, open_ns: int) -> int:
        """Return when the bar that began at ``open_ns`` ends, ns UTC."""
        return end_of_bar(int(self._settings[at.ANCHOR]), timeframe_s * NS_PER_S, open_ns)

    def bar_in_the_making(self, state: SymbolState, timeframe_s: int) -> tuple[int, float] | None:
        """Return when the bar of the last tick began, ns UTC, and the mid now; ``None`` if its beginning is unknown."""
        anchor, first_ns = int(self._settings[at.ANCHOR]), int(state.ints[at.FIRST_NS])
        open_ns = begin_of_bar(anchor, timeframe_s * NS_PER_S, state.last_ns)
        return (open_ns, float(state.floats[at.MID_CLOSE])) if open_ns > first_ns else None


def _waits(feature: Feature) -> int:
    """Return what becomes of a feature's value when it is not finite."""
    if feature.family.clock is Clock.CROSS:
        return at.LATER
    if feature.family.clock is Clock.SERIES:
        return at.FOLLOWS
    return at.UNTIL_KNOWN if feature.warm_up.data else at.NEVER
