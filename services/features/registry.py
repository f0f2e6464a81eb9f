"""Every feature family there is: the library's, and those a user registered.

To add one to the library: write its kernel in ``kernels/``, describe it in ``families/``, record its version in
``tests/unit/features/kernel_versions.json``; the conformance suite then runs it through everything. A family of your
own needs no change here, see ``plugin.py``.
"""

from collections.abc import Mapping

from libs.common.errors import ConfigError
from services.features.families import candles, classic, clocks, cross, quotes, regime, series, traded, trend, volatility
from services.features.family import Family, collect

LIBRARY: Mapping[str, Family] = collect(
    classic.ON_TICKS, classic.ON_ROWS, classic.ON_BARS, trend.FAMILIES, volatility.FAMILIES, quotes.FAMILIES,
    traded.FAMILIES, candles.FAMILIES, clocks.FAMILIES, cross.FAMILIES, regime.FAMILIES, series.FAMILIES,
)
"""The families of the library by name."""
FAMILIES: dict[str, Family] = dict(LIBRARY)
"""Every family by name, those of plugins included."""


def add_family(family: Family) -> None:
    """Make a user's family known.

    Raises
    ------
    ConfigError : when another family has its name
    """
    known = FAMILIES.get(family.name)
    if known is not None and known.kernel.__module__ != family.kernel.__module__:
        raise ConfigError(
            f"plugin {family.kernel.__module__}: there is a family '{family.name}' already, from "
            f"{known.kernel.__module__}; choose another name"
        )
    FAMILIES[family.name] = family
