"""Section ``features`` of ``config.yaml``."""

from libs.common.config import Settings
from services.features.spec import DEFAULT_FEATURES, FeatureSpec


class FeaturesConfig(Settings, frozen=True, kw_only=True):
    """What the features service computes.

    Parameters
    ----------
    timeframes_s : lengths of the bars built and published, seconds, rising; the first divides all others
    features : the features of every row, in order
    """

    timeframes_s: tuple[int, ...] = (60, 300, 900, 3600)
    features: tuple[FeatureSpec, ...] = DEFAULT_FEATURES
