"""Section ``features`` of ``config.yaml``."""

from typing import Annotated, Literal

from msgspec import Meta

from libs.common.config import Settings
from services.features.spec import DEFAULT_FEATURES, AutoIndicator, FeatureSpec


class CrossAssetConfig(Settings, frozen=True, kw_only=True):
    """How long a row waits for the related symbols of its cross-asset features.

    Parameters
    ----------
    wait_s : a row waits until every related symbol has been seen up to the row's time, but no longer than until any
        symbol is so far beyond it, seconds of event time
    max_age_s : no row is made while the newest bar that all symbols have in common ended longer ago, seconds; never
        less than two bars
    """

    wait_s: Annotated[float, Meta(ge=0, le=86_400)] = 5.0
    max_age_s: Annotated[float, Meta(ge=0)] = 900.0


class FeaturesConfig(Settings, frozen=True, kw_only=True):
    """What the features service computes.

    Parameters
    ----------
    timeframes_s : lengths of the bars built and published, seconds, rising; the first divides all others
    bars_anchor : what bars are counted from: midnight UTC, or the broker's midnight (17:00 in New York); part of the
        schema id
    features : the features of every row, in order
    auto : features made of those features: lags and rolling statistics
    calendar : CSV file of economic events, with the columns time_utc, currency, impact and first_seen_utc; empty:
        no feature may need one
    plugins : Python files with feature families of your own; installed packages register theirs under the entry
        point group ``tickwire.features``
    cross : how rows wait for related symbols
    """

    timeframes_s: tuple[int, ...] = (60, 300, 900, 3600)
    bars_anchor: Literal["utc", "new_york"] = "utc"
    features: tuple[FeatureSpec, ...] = DEFAULT_FEATURES
    auto: tuple[AutoIndicator, ...] = ()
    calendar: str = ""
    plugins: tuple[str, ...] = ()
    cross: CrossAssetConfig = CrossAssetConfig()
