"""Lags and rolling statistics of many features at once."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from libs.common.errors import ConfigError
from services.features.config import FeaturesConfig
from services.features.family import Clock
from services.features.registry import FAMILIES
from services.features.spec import AutoIndicator, FeatureSpec


def expand(config: FeaturesConfig) -> Iterator[FeatureSpec]:
    """Yield the features that ``auto`` asks for, in a fixed order.

    Raises
    ------
    ConfigError : when a pattern fits no feature, or a statistic is unknown
    """
    for number, auto in enumerate(config.auto):
        place = f"features.auto[{number}]"
        for statistic in auto.statistics:
            if statistic not in FAMILIES["rolling"].outputs:
                known = ", ".join(FAMILIES["rolling"].outputs)
                raise ConfigError(f"{place}: there is no statistic '{statistic}'; known: {known}")
        for name in _sources(auto, config, place):
            yield from _of_one(name, auto)


def _sources(auto: AutoIndicator, config: FeaturesConfig, place: str) -> list[str]:
    """Return the features an entry is made of."""
    names = [spec.name for spec in config.features]
    for pattern in auto.of:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ConfigError(f"{place}: no feature of the list is called '{pattern}'; name one, or use * for letters")
    return [
        spec.name for spec in config.features
        if any(fnmatchcase(spec.name, pattern) for pattern in auto.of)
        and not any(fnmatchcase(spec.name, pattern) for pattern in auto.exclude)
        and (spec.family not in FAMILIES or FAMILIES[spec.family].clock is not Clock.CROSS)
    ]


def _of_one(name: str, auto: AutoIndicator) -> Iterator[FeatureSpec]:
    for rows in auto.lags:
        yield FeatureSpec(name=f"{name}_lag_{rows}", family="lag", params={"rows": rows}, of=(name,))
    for window in auto.windows:
        for statistic in auto.statistics:
            yield FeatureSpec(
                name=f"{name}_{statistic}_{window}", family="rolling", output=statistic, params={"window": window},
                of=(name,),
            )
