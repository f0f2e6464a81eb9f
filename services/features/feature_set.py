"""An ordered set of features, checked, with the hash that names it."""

import difflib
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from libs.common.errors import ConfigError
from services.features.registry import FAMILIES, Clock, Family, WarmUp
from services.features.spec import FeatureSpec

BARS_VERSION = 1
"""Counted up whenever the way bars are built changes; part of the schema id."""
BARS_ANCHOR = "utc"


@dataclass(frozen=True)
class Feature:
    """One checked feature: a family with all its parameters, and which of its values is meant."""

    name: str
    family: Family
    output: str
    timeframe_s: int
    params: dict[str, float]

    @property
    def warm_up(self) -> WarmUp:
        return self.family.warm_up(self.params)

    @property
    def instruction(self) -> tuple[str, int, tuple[tuple[str, float], ...]]:
        """What has to be computed; features that share it are values of one computation."""
        return self.family.name, self.timeframe_s, tuple(self.params.items())


class FeatureSet:
    """The features of every row, in order.

    Parameters
    ----------
    specs : what was asked for
    timeframes_s : bar lengths that are built, seconds; the first divides all others

    Raises
    ------
    ConfigError : naming the feature, what is wrong with it and what would be right
    """

    def __init__(self, specs: Sequence[FeatureSpec], timeframes_s: Sequence[int]) -> None:
        _check_timeframes(timeframes_s)
        self.timeframes_s = tuple(timeframes_s)
        self.features = tuple(_checked(spec, self.timeframes_s) for spec in specs)
        if not self.features:
            raise ConfigError("features.features: name at least one feature")
        self.names = tuple(feature.name for feature in self.features)
        for name in self.names:
            if self.names.count(name) > 1:
                raise ConfigError(f"features.features: the name '{name}' is used twice; rename one")
        self.inputs = frozenset[str]().union(*(feature.family.inputs for feature in self.features))
        self.schema_id = _schema_id(self.features)

    def warm_up_bars(self, timeframe_s: int) -> int:
        """Return how many bars of a timeframe must have closed before every feature is warm."""
        return max((f.warm_up.bars for f in self.features if f.timeframe_s == timeframe_s), default=0)

    @property
    def warm_up_ticks(self) -> int:
        """How many ticks must have been seen before every feature is warm."""
        return max(feature.warm_up.ticks for feature in self.features)

    @property
    def warm_up_seconds(self) -> int:
        """How much time must have passed since the first tick before every feature is warm, seconds."""
        return max(feature.warm_up.seconds for feature in self.features)

    def needing(self, column: str) -> tuple[str, ...]:
        """Return the names of the features that cannot do without an input column."""
        return tuple(feature.name for feature in self.features if column in feature.family.inputs)


def _check_timeframes(timeframes_s: Sequence[int]) -> None:
    if not timeframes_s or list(timeframes_s) != sorted(set(timeframes_s)):
        raise ConfigError("features.timeframes_s: list bar lengths in seconds, rising, none twice")
    for length in timeframes_s:
        if length < 1 or length % timeframes_s[0] != 0:
            raise ConfigError(
                f"features.timeframes_s: {length} is not a multiple of the smallest bar ({timeframes_s[0]} s), "
                "from which it is built"
            )


def _checked(spec: FeatureSpec, timeframes_s: tuple[int, ...]) -> Feature:
    place = f"features.features: '{spec.name}'"
    family = FAMILIES.get(spec.family)
    if family is None:
        raise ConfigError(f"{place}: there is no family '{spec.family}'{_nearest(spec.family, FAMILIES)}")
    output = spec.output or next(iter(family.outputs))
    if output not in family.outputs:
        raise ConfigError(f"{place}: family '{family.name}' yields no '{output}'{_nearest(output, family.outputs)}")
    if family.clock is Clock.BARS and spec.timeframe_s not in timeframes_s:
        raise ConfigError(
            f"{place}: no bars of {spec.timeframe_s} s are built; choose timeframe_s from {list(timeframes_s)} "
            "or add it to features.timeframes_s"
        )
    if family.clock is not Clock.BARS and spec.timeframe_s != 0:
        raise ConfigError(f"{place}: family '{family.name}' does not look at bars; leave timeframe_s out")
    return Feature(spec.name, family, output, spec.timeframe_s, _checked_params(spec, family, place))


def _checked_params(spec: FeatureSpec, family: Family, place: str) -> dict[str, float]:
    for name in spec.params:
        if name not in family.parameters:
            raise ConfigError(
                f"{place}: family '{family.name}' has no parameter '{name}'{_nearest(name, family.parameters)}"
            )
    params = {}
    for name, parameter in family.parameters.items():
        value = float(spec.params.get(name, parameter.default))
        if not parameter.least <= value <= 1e6 or (parameter.whole and value != int(value)):
            kind = "a whole number" if parameter.whole else "a number"
            raise ConfigError(f"{place}: {name} = {value:g}, expected {kind} from {parameter.least:g} to 1000000")
        params[name] = value
    return params


def _nearest(name: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(known) or 'none'}"


def _schema_id(features: Iterable[Feature]) -> str:
    described = [
        (f.name, f.family.name, f.family.version, f.output, f.timeframe_s, sorted(f.params.items())) for f in features
    ]
    text = msgspec.json.encode(("bars", BARS_ANCHOR, BARS_VERSION, described))
    return hashlib.blake2b(text, digest_size=8).hexdigest()
