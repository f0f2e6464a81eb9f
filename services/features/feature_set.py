"""An ordered set of features, checked, with the hash that names it."""

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from libs.common.errors import ConfigError
from services.features.auto_indicator import expand
from services.features.config import FeaturesConfig
from services.features.family import Clock, Family, WarmUp
from services.features.registry import FAMILIES
from services.features.spec import FeatureSpec

BARS_VERSION = 1
"""Counted up whenever the way bars are built changes; part of the schema id."""
SECONDS_PER_HOUR, SECONDS_PER_DAY = 3_600, 86_400


@dataclass(frozen=True)
class Feature:
    """One checked feature: a family with all its parameters, and which of its values is meant.

    ``of`` names what it is made of; ``rows_before`` is how many rows the feature it follows needs itself.
    """

    name: str
    family: Family
    output: str
    timeframe_s: int
    params: dict[str, float]
    of: tuple[str, ...] = ()
    rows_before: int = 0

    @property
    def warm_up(self) -> WarmUp:
        own = self.family.warm_up(self.params)
        return replace(own, rows=own.rows + self.rows_before) if self.rows_before else own

    @property
    def instruction(self) -> tuple[str, int, tuple[tuple[str, float], ...], tuple[str, ...]]:
        """What has to be computed; features that share it are values of one computation."""
        return self.family.name, self.timeframe_s, tuple(self.params.items()), self.of


class FeatureSet:
    """The features of every row, in order.

    Parameters
    ----------
    specs : what was asked for
    timeframes_s : bar lengths that are built, seconds; the first divides all others
    anchor : what bars are counted from, ``utc`` or ``new_york``

    Raises
    ------
    ConfigError : naming the feature, what is wrong with it and what would be right
    """

    def __init__(self, specs: Sequence[FeatureSpec], timeframes_s: Sequence[int], anchor: str = "utc") -> None:
        _check_timeframes(timeframes_s, anchor)
        self.timeframes_s = tuple(timeframes_s)
        self.anchor = anchor
        known: dict[str, Feature] = {}
        for spec in specs:
            if spec.name in known:
                raise ConfigError(f"features.features: the name '{spec.name}' is used twice; rename one")
            known[spec.name] = _checked(spec, self.timeframes_s, known)
        self.features = tuple(known.values())
        if not self.features:
            raise ConfigError("features.features: name at least one feature")
        self.names = tuple(known)
        self.inputs = frozenset[str]().union(*(feature.family.inputs for feature in self.features))
        self.schema_id = _schema_id(self.features, anchor)

    @classmethod
    def from_config(cls, config: FeaturesConfig) -> "FeatureSet":
        """Return the set a config asks for, lags and rolling statistics included."""
        return cls((*config.features, *expand(config)), config.timeframes_s, config.bars_anchor)

    def warm_up_bars(self, timeframe_s: int) -> int:
        """Return how many bars of a timeframe must have closed before every feature is warm."""
        return max((
            f.warm_up.bars for f in self.features if f.timeframe_s == timeframe_s and f.family.clock is Clock.BARS
        ), default=0)

    @property
    def warm_up_ticks(self) -> int:
        """How many ticks must have been seen before every feature is warm."""
        return max(feature.warm_up.ticks for feature in self.features)

    @property
    def warm_up_seconds(self) -> int:
        """How much time must have passed since the first tick before every feature is warm, seconds."""
        return max(feature.warm_up.seconds for feature in self.features)

    @property
    def warm_up_rows(self) -> int:
        """How many rows must have passed before every feature that follows another is warm."""
        return max(feature.warm_up.rows for feature in self.features)

    @property
    def cross(self) -> tuple[tuple[int, Feature], ...]:
        """The cross-asset features with their places in the row."""
        return tuple((k, feature) for k, feature in enumerate(self.features) if feature.family.clock is Clock.CROSS)

    def needing(self, needed: str) -> tuple[str, ...]:
        """Return the names of the features that cannot do without an input."""
        return tuple(feature.name for feature in self.features if needed in feature.family.inputs)


def _check_timeframes(timeframes_s: Sequence[int], anchor: str) -> None:
    if not timeframes_s or list(timeframes_s) != sorted(set(timeframes_s)):
        raise ConfigError("features.timeframes_s: list bar lengths in seconds, rising, none twice")
    for length in timeframes_s:
        if length < 1 or length % timeframes_s[0] != 0:
            raise ConfigError(
                f"features.timeframes_s: {length} is not a multiple of the smallest bar ({timeframes_s[0]} s), "
                "from which it is built"
            )
        if anchor == "new_york" and (SECONDS_PER_HOUR % timeframes_s[0] or SECONDS_PER_DAY % length):
            raise ConfigError(
                f"features.timeframes_s: bars of {length} s cannot be counted from New York's 17:00; with bars_anchor "
                "new_york the smallest bar divides an hour and every bar divides a day"
            )


def _checked(spec: FeatureSpec, timeframes_s: tuple[int, ...], earlier: Mapping[str, Feature]) -> Feature:
    place = f"features.features: '{spec.name}'"
    family = FAMILIES.get(spec.family)
    if family is None:
        raise ConfigError(f"{place}: there is no family '{spec.family}'{_nearest(spec.family, FAMILIES)}")
    output = spec.output or next(iter(family.outputs))
    if output not in family.outputs:
        raise ConfigError(f"{place}: family '{family.name}' yields no '{output}'{_nearest(output, family.outputs)}")
    if family.wants_bars and spec.timeframe_s not in timeframes_s:
        raise ConfigError(
            f"{place}: no bars of {spec.timeframe_s} s are built; choose timeframe_s from {list(timeframes_s)} "
            "or add it to features.timeframes_s"
        )
    if not family.wants_bars and spec.timeframe_s != 0:
        raise ConfigError(f"{place}: family '{family.name}' does not look at bars; leave timeframe_s out")
    params = _checked_params(spec, family, place)
    rows_before = _checked_source(spec, family, place, earlier)
    return Feature(spec.name, family, output, spec.timeframe_s, params, spec.of, rows_before)


def _checked_source(spec: FeatureSpec, family: Family, place: str, earlier: Mapping[str, Feature]) -> int:
    """Check what a feature is made of; return how many rows the feature it follows needs."""
    if family.clock is Clock.CROSS:
        if not spec.of or len(set(spec.of)) < len(spec.of):
            raise ConfigError(f"{place}: name the related symbols, none twice: of: [EURUSD, GBPUSD]")
        return 0
    if family.clock is not Clock.SERIES:
        if spec.of and "calendar" not in family.inputs:
            raise ConfigError(f"{place}: family '{family.name}' is made of the market itself; leave 'of' out")
        return 0
    if len(spec.of) != 1:
        raise ConfigError(f"{place}: family '{family.name}' follows one feature; name it: of: [rsi_14]")
    source = earlier.get(spec.of[0])
    if source is None:
        raise ConfigError(
            f"{place}: there is no feature '{spec.of[0]}' before it in the list{_nearest(spec.of[0], earlier)}"
        )
    if source.family.clock is Clock.CROSS:
        raise ConfigError(
            f"{place}: '{source.name}' is known only when the related symbols have been seen; lags and rolling "
            "statistics of cross-asset features cannot be had"
        )
    return source.warm_up.rows


def _checked_params(spec: FeatureSpec, family: Family, place: str) -> dict[str, float]:
    for name in spec.params:
        if name not in family.parameters:
            raise ConfigError(
                f"{place}: family '{family.name}' has no parameter '{name}'{_nearest(name, family.parameters)}"
            )
    params = {}
    for name, parameter in family.parameters.items():
        value = float(spec.params.get(name, parameter.default))
        if not parameter.least <= value <= parameter.most or (parameter.whole and value != int(value)):
            kind = "a whole number" if parameter.whole else "a number"
            raise ConfigError(
                f"{place}: {name} = {value:g}, expected {kind} from {parameter.least:g} to {parameter.most:.7g}"
            )
        params[name] = value
    problem = family.problem(params)
    if problem:
        raise ConfigError(f"{place}: {problem}")
    return params


def _nearest(name: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(known) or 'none'}"


def _schema_id(features: Iterable[Feature], anchor: str) -> str:
    # What a feature is made of joins its description only where there is something to say: older ids stay.
    described = [
        (f.name, f.family.name, f.family.version, f.output, f.timeframe_s, sorted(f.params.items()))
        + ((f.of,) if f.of else ())
        for f in features
    ]
    text = msgspec.json.encode(("bars", anchor, BARS_VERSION, described))
    return hashlib.blake2b(text, digest_size=8).hexdigest()
