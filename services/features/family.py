"""What a feature family is: its code, its parameters, what it needs, when it is warm, what it yields."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from services.features.kernels import layout

Params = Mapping[str, float]
FORGOTTEN = 0.01
"""An average is warm when what it began with weighs less than this."""
MOST = 1e6
"""No parameter is larger, unless its family says so."""
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "quotes": ("bid", "ask"), "last": ("last",), "volume": ("volume",), "depth": ("bid_lots", "ask_lots"),
    "calendar": (), "related symbols": (), "another feature": (),
}
"""Input -> the columns of a tick block that carry it."""


class Clock(IntEnum):
    """What a family sees."""

    TICKS = layout.ON_TICKS
    BARS = layout.ON_BARS
    ROWS = layout.ON_ROWS
    SERIES = layout.ON_SERIES
    CROSS = layout.ON_SERIES + 1


@dataclass(frozen=True)
class Parameter:
    """A number a family can be tuned with.

    Parameters
    ----------
    default, least, most : its value when nothing is said, and its range
    whole : True where it counts something
    meaning : unit or meaning
    brief : a small value that checks use to reach the end of the warm-up soon; ``None``: found from the range
    """

    default: float
    least: float = 1.0
    whole: bool = True
    meaning: str = ""
    most: float = MOST
    brief: float | None = None

    @property
    def quick(self) -> float:
        """The value for checks."""
        if self.brief is not None:
            return self.brief
        return max(self.least, min(self.default, 4.0)) if self.whole else self.default


@dataclass(frozen=True)
class WarmUp:
    """What must have been seen before the value may be used.

    Parameters
    ----------
    ticks, seconds : of the symbol
    bars : closed bars of the feature's timeframe; for a cross-asset family bars all its symbols have in common
    rows : rows of the feature it follows
    data : True where it depends on what happens (a first swing, a whole session) besides: the value is NaN until then
    """

    ticks: int = 0
    seconds: int = 0
    bars: int = 0
    rows: int = 0
    data: bool = False


def no_warm_up(p: Params) -> WarmUp:
    """Return that the value may be used at once."""
    return WarmUp()


def no_problem(p: Params) -> str:
    """Return that the parameters fit together."""
    return ""


@dataclass(frozen=True)
class Family:
    """A feature family.

    Parameters
    ----------
    name : how it is asked for
    clock : what it sees
    kernel : its code, a kernel part; its docstring is its documentation
    version : counted up whenever the code's results change; part of the schema id
    outputs : name of each value -> its formula
    parameters : name -> parameter, in the order the kernel reads them
    inputs : what a feed must carry, keys of ``COLUMNS``
    warm_up : parameters -> when its values may be used
    floats : parameters -> doubles of state
    ints : integers of state
    problem : parameters -> what is wrong with them together, empty when nothing is
    group : heading it is documented under
    """

    name: str
    clock: Clock
    kernel: Callable[..., Any]
    version: int
    outputs: Mapping[str, str]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    inputs: frozenset[str] = frozenset({"quotes"})
    warm_up: Callable[[Params], WarmUp] = no_warm_up
    floats: Callable[[Params], int] = lambda p: 0
    ints: int = 0
    problem: Callable[[Params], str] = no_problem
    group: str = "Plugins"

    @property
    def quick_params(self) -> dict[str, float]:
        """Small parameters, so that short streams reach the end of the warm-up."""
        return {name: float(parameter.quick) for name, parameter in self.parameters.items()}

    @property
    def wants_bars(self) -> bool:
        """True when a timeframe has to be named."""
        return self.clock in (Clock.BARS, Clock.CROSS)


def collect(*families: Sequence[Family]) -> dict[str, Family]:
    """Return families by name, in order."""
    return {family.name: family for group in families for family in group}


def steps_to_forget(alpha: float) -> int:
    """Return after how many values, the first included, an average with weight ``alpha`` has forgotten the first.

    >>> steps_to_forget(2.0 / (20 + 1))
    48
    """
    return 1 if alpha >= 1.0 else math.ceil(math.log(FORGOTTEN) / math.log(1.0 - alpha)) + 1


def span(p: Params, name: str = "span") -> int:
    """Return how many values an exponential average of a span needs."""
    return steps_to_forget(2.0 / (p[name] + 1.0))


def wilder(p: Params, name: str = "period") -> int:
    """Return how many values Wilder's smoothing needs: its seed is a mean, which then has to be forgotten."""
    return int(p[name]) + steps_to_forget(1.0 / p[name])
