"""Rule strategies that stand in for a model: pure functions from feature rows to suggestions.

A strategy sees rows as a table and says, for each, which side and how far the stops. What it says of a row depends
on that row and at most ``lookback`` rows before it, so a table may be cut anywhere without changing an answer: one
live row and a million rows of the past take the same way. Copy one of these and name the file in
``inference.strategy.file`` to have your own.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from libs.common.config import Settings
from libs.common.errors import ConfigError
from libs.common.messages.base import Floats

Sides = NDArray[np.int8]
BUY, SELL, STAY_OUT = 1, -1, 0


class Rows(NamedTuple):
    """Feature rows of one symbol in order of time.

    Parameters
    ----------
    names : of the columns
    values : (n, m) finite
    bid, ask : (n,) the quote each row was made on
    """

    names: tuple[str, ...]
    values: Floats
    bid: Floats
    ask: Floats

    def column(self, name: str) -> Floats:
        """Return a feature, (n,)."""
        found: Floats = self.values[:, self.names.index(name)]
        return found

    def mid(self) -> Floats:
        """Return the middle of each row's quote, (n,)."""
        return (self.bid + self.ask) / 2.0


class Suggestions(NamedTuple):
    """What a strategy says of each row.

    Parameters
    ----------
    side : (n,) ``BUY``, ``SELL`` or ``STAY_OUT``
    stop_distance, target_distance : (n,) of SL and TP from the entry, price units; a target of 0.0 means none
    confidence : (n,) 0..1
    """

    side: Sides
    stop_distance: Floats
    target_distance: Floats
    confidence: Floats


class Strategy(Protocol):
    """A rule strategy; make it with its parameters as keyword arguments.

    Attributes
    ----------
    needs : names of the features it looks at
    lookback : how many rows before a row it looks at
    horizon_s : close a position after so long, 0 for never
    """

    @property
    def needs(self) -> tuple[str, ...]: ...

    @property
    def lookback(self) -> int: ...

    @property
    def horizon_s(self) -> int: ...

    def decide(self, rows: Rows) -> Suggestions:
        """Say what each row suggests; the first ``lookback`` rows of the table are only looked back at."""
        ...


class Protection(Settings, frozen=True, kw_only=True):
    """How far a strategy's stops are from the entry.

    Parameters
    ----------
    feature : feature that says how far the price moves; empty: ``stop`` and ``target`` are price units
    unit : what the feature is in: ``basis_points`` of the price, or ``price`` units
    stop, target : multiples of the feature; a target of 0 means none
    """

    feature: str = ""
    unit: str = "basis_points"
    stop: float = 3.0
    target: float = 0.0

    def __post_init__(self) -> None:
        if self.unit not in ("basis_points", "price"):
            raise ValueError(f"protection.unit is 'basis_points' or 'price', not {self.unit!r}")
        if not self.stop > 0.0 or self.target < 0.0:
            raise ValueError("protection.stop must be above 0 and protection.target not below 0")

    def distances(self, rows: Rows) -> tuple[Floats, Floats]:
        """Return the distances of SL and TP, (n,) each, price units."""
        if not self.feature:
            whole = np.ones(len(rows.bid))
        elif self.unit == "price":
            whole = rows.column(self.feature)
        else:
            whole = rows.column(self.feature) * rows.mid() / 1e4
        return self.stop * whole, self.target * whole


RANGES = Protection(feature="atr_14", unit="price", stop=3.0)
"""Three mean true ranges: what fits any symbol and the features that come with Tickwire."""


class _Ruled(Settings, frozen=True, kw_only=True):
    """What the templates share."""

    protection: Protection = RANGES
    horizon_s: int = 0

    def _answer(self, rows: Rows, side: Sides) -> Suggestions:
        stop, target = self.protection.distances(rows)
        return Suggestions(side, stop, target, np.ones(len(side)))

    def _with(self, *features: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for name in (*features, self.protection.feature) if name))


class MaCrossover(_Ruled, frozen=True, kw_only=True):
    """Buy when a difference of two averages turns positive, sell when it turns negative.

    Parameters
    ----------
    cross : feature that is above zero while the fast average is on top
    """

    cross: str = "ma_cross"

    @property
    def needs(self) -> tuple[str, ...]:
        return self._with(self.cross)

    @property
    def lookback(self) -> int:
        return 1

    def decide(self, rows: Rows) -> Suggestions:
        above = rows.column(self.cross) > 0.0
        side = np.zeros(len(above), dtype=np.int8)
        side[1:][above[1:] & ~above[:-1]] = BUY
        side[1:][~above[1:] & above[:-1]] = SELL
        return self._answer(rows, side)


class DonchianBreakout(_Ruled, frozen=True, kw_only=True):
    """Follow the price out of its channel, with a stop at a multiple of the true range.

    Parameters
    ----------
    position : feature that is +1 at the highest high of the channel and -1 at its lowest low
    threshold : how near to the edge counts as out, 0..1

    References
    ----------
    The channel of Richard Donchian's four-week rule.
    """

    position: str = "donchian_20"
    threshold: float = 1.0
    protection: Protection = Protection(feature="atr_14", unit="price", stop=2.0)

    @property
    def needs(self) -> tuple[str, ...]:
        return self._with(self.position)

    @property
    def lookback(self) -> int:
        return 1

    def decide(self, rows: Rows) -> Suggestions:
        place = rows.column(self.position)
        side = np.zeros(len(place), dtype=np.int8)
        side[1:][(place[1:] >= self.threshold) & (place[:-1] < self.threshold)] = BUY
        side[1:][(place[1:] <= -self.threshold) & (place[:-1] > -self.threshold)] = SELL
        return self._answer(rows, side)


class MeanReversion(_Ruled, frozen=True, kw_only=True):
    """Buy what has fallen too far below its mean, sell what has risen too far above it.

    Parameters
    ----------
    position : feature that is 0 at the mean and grows with the distance from it
    threshold : distance that is too far
    """

    position: str = "bollinger_20"
    threshold: float = 1.0

    @property
    def needs(self) -> tuple[str, ...]:
        return self._with(self.position)

    @property
    def lookback(self) -> int:
        return 0

    def decide(self, rows: Rows) -> Suggestions:
        place = rows.column(self.position)
        side = np.where(place <= -self.threshold, BUY, np.where(place >= self.threshold, SELL, STAY_OUT))
        return self._answer(rows, side.astype(np.int8))


class StayOut(Settings, frozen=True, kw_only=True):
    """Suggest nothing: rows are made, nobody trades."""

    horizon_s: int = 0

    @property
    def needs(self) -> tuple[str, ...]:
        return ()

    @property
    def lookback(self) -> int:
        return 0

    def decide(self, rows: Rows) -> Suggestions:
        nothing = np.zeros(len(rows.bid))
        return Suggestions(np.zeros(len(rows.bid), dtype=np.int8), nothing, nothing, nothing)


TEMPLATES: Mapping[str, Callable[..., Strategy]] = {
    "ma_crossover": MaCrossover,
    "donchian_breakout": DonchianBreakout,
    "mean_reversion": MeanReversion,
    "stay_out": StayOut,
}
"""The strategies that come with Tickwire, by name."""


def make_strategy(
    name: str, params: Mapping[str, Any], known: Mapping[str, Callable[..., Strategy]] = TEMPLATES
) -> Strategy:
    """Return a strategy with its parameters.

    Parameters
    ----------
    known : strategies by name, those of the user's files included

    Raises
    ------
    ConfigError : for a name or parameter there is not, or a value out of range
    """
    kind = known.get(name)
    if kind is None:
        raise ConfigError(f"inference.strategy.name: there is no strategy '{name}', only {', '.join(sorted(known))}")
    try:
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            made: Any = msgspec.convert(dict(params), kind)
        else:
            made = kind(**params)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise ConfigError(f"inference.strategy.params of '{name}': {error}") from error
    lacks = [part for part in ("needs", "lookback", "horizon_s", "decide") if not hasattr(made, part)]
    if lacks:
        raise ConfigError(f"strategy '{name}' has no {', '.join(lacks)}; see examples/strategy_example.py")
    strategy: Strategy = made
    return strategy


class StrategyTable:
    """Asks a strategy about rows as they come, however they are cut.

    Parameters
    ----------
    strategy : asked
    names : the features of the rows

    Raises
    ------
    ConfigError : when a feature it needs is not among them
    """

    def __init__(self, strategy: Strategy, names: Sequence[str]) -> None:
        missing = [name for name in strategy.needs if name not in names]
        if missing:
            raise ConfigError(
                f"the strategy looks at {', '.join(missing)}, which no row holds. Add it to features.features, or name "
                f"another in inference.strategy.params; rows hold {', '.join(names)}."
            )
        self._strategy = strategy
        self._names = tuple(names)

    def decide(self, tail: Floats, values: Floats, bid: Floats, ask: Floats) -> tuple[Suggestions, Floats]:
        """Return what the new rows suggest, and the tail to hand in with the next ones.

        Parameters
        ----------
        tail : (k, m + 2) the rows before the new ones, k at most ``lookback``, with bid and ask behind the values
        values, bid, ask : (n, m), (n,), (n,) the new rows

        Raises
        ------
        ValueError : when the strategy's answer is not one suggestion per row
        """
        table = np.vstack((tail, np.column_stack((values, bid, ask))))
        lookback, m = self._strategy.lookback, values.shape[1]
        said = _checked(self._strategy.decide(Rows(self._names, table[:, :m], table[:, m], table[:, m + 1])), len(table))
        # A row with too few rows before it is not decided on: what a strategy makes of them would hang on the cut.
        undecided = max(lookback - len(tail), 0)
        side = said.side[len(tail):].copy()
        side[:undecided] = STAY_OUT
        answer = Suggestions(side, *(column[len(tail):] for column in said[1:]))
        return answer, table[len(table) - min(lookback, len(table)):].copy()


def _checked(said: Any, n: int) -> Suggestions:
    """Return a strategy's answer as four columns of ``n`` values.

    Raises
    ------
    ValueError : when it is something else
    """
    columns = tuple(np.asarray(column) for column in said) if isinstance(said, tuple) else ()
    if len(columns) != len(Suggestions._fields):
        raise ValueError(
            f"decide answers Suggestions(side, stop_distance, target_distance, confidence), not {type(said).__name__}"
        )
    for name, column in zip(Suggestions._fields, columns, strict=True):
        if column.shape != (n,):
            raise ValueError(f"{name} has the shape {column.shape} for {n} rows; it must be {(n,)}")
    if not np.isin(columns[0], (SELL, STAY_OUT, BUY)).all():
        raise ValueError("a side is BUY (1), SELL (-1) or STAY_OUT (0)")
    return Suggestions(columns[0].astype(np.int8), *(np.asarray(column, dtype=np.float64) for column in columns[1:]))
