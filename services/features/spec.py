"""What a user writes down to ask for features, and the set we use when nobody asks for another."""

from typing import Annotated

from msgspec import Meta

from libs.common.config import Settings


class FeatureSpec(Settings, frozen=True, kw_only=True):
    """One feature: a value of a family under a name of its own.

    Parameters
    ----------
    name : the name the value carries in every row, in every model and in the rules of inference
    family : see the table in the service's README
    output : which of the family's values; empty for its first
    timeframe_s : length of the bars a bar family sees, seconds; 0 for families that see ticks or rows
    params : the family's parameters; those not named keep their defaults
    of : what the feature is made of: an earlier feature of the list (lags, rolling statistics), related symbols
        (cross-asset), or currencies (calendar; empty for all)
    """

    name: Annotated[str, Meta(pattern="^[a-z][a-z0-9_]*$")]
    family: str
    output: str = ""
    timeframe_s: Annotated[int, Meta(ge=0)] = 0
    params: dict[str, float] = {}
    of: tuple[str, ...] = ()


class AutoIndicator(Settings, frozen=True, kw_only=True):
    """Lags and rolling statistics of many features at once, under names such as ``rsi_14_lag_1``.

    Parameters
    ----------
    of : names of features of the list, with ``*`` for any letters; cross-asset features are left out
    exclude : names never used: what a model shall foretell must not become its input
    lags : so many rows earlier
    windows : lengths of the rolling windows, rows
    statistics : which statistics of each window: ``mean``, ``deviation``, ``minimum``, ``maximum``, ``z_score``,
        ``rank``
    """

    of: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ("target*", "label*", "y_*")
    lags: tuple[Annotated[int, Meta(ge=1, le=100_000)], ...] = (1, 2, 3)
    windows: tuple[Annotated[int, Meta(ge=2, le=100_000)], ...] = (5, 20)
    statistics: tuple[str, ...] = ("mean", "deviation")


def _bars(name: str, family: str, output: str = "", timeframe_s: int = 60, **params: float) -> FeatureSpec:
    return FeatureSpec(name=name, family=family, output=output, timeframe_s=timeframe_s, params=params)


def _ticks(name: str, family: str, output: str = "", **params: float) -> FeatureSpec:
    return FeatureSpec(name=name, family=family, output=output, params=params)


DEFAULT_FEATURES: tuple[FeatureSpec, ...] = (
    _bars("return_1", "log_return", bars=1),
    _bars("return_5", "log_return", bars=5),
    _bars("return_15", "log_return", bars=15),
    _bars("return_m5", "log_return", timeframe_s=300, bars=1),
    _bars("return_m15", "log_return", timeframe_s=900, bars=1),
    _bars("return_h1", "log_return", timeframe_s=3600, bars=1),
    _ticks("ema_distance_50", "ema_distance", span=50),
    _ticks("ema_distance_200", "ema_distance", span=200),
    _ticks("ema_distance_1000", "ema_distance", span=1000),
    _bars("ma_fast", "moving_average", "fast", fast=10, slow=40),
    _bars("ma_slow", "moving_average", "slow", fast=10, slow=40),
    _bars("ma_cross", "moving_average", "cross", fast=10, slow=40),
    _bars("rsi_14", "rsi", period=14),
    _bars("atr_14", "average_true_range", period=14),
    _bars("volatility_15", "realised_volatility", window=15),
    _bars("volatility_60", "realised_volatility", window=60),
    _bars("sigma_60", "price_sigma", window=60, horizon=60),
    _bars("macd_line", "macd", "line"),
    _bars("macd_signal", "macd", "signal"),
    _bars("macd_histogram", "macd", "histogram"),
    _bars("bollinger_20", "bollinger", period=20, width=2),
    _bars("donchian_20", "donchian", period=20),
    _bars("donchian_m15_8", "donchian", timeframe_s=900, period=8),
    _bars("keltner_20", "keltner", period=20, range_period=10, width=2),
    _ticks("spread_points", "spread", "points"),
    _ticks("spread_bp", "spread", "basis_points"),
    _ticks("spread_score_1000", "spread_score", span=1000),
    _ticks("quote_rate_60", "quote_rate", seconds=60),
    _ticks("tick_imbalance_100", "tick_imbalance", span=100),
    _ticks("time_sin", "time_of_day", "sine"),
    _ticks("time_cos", "time_of_day", "cosine"),
    _ticks("week_day", "day_of_week"),
    _ticks("in_sydney", "session", "sydney"),
    _ticks("in_tokyo", "session", "tokyo"),
    _ticks("in_london", "session", "london"),
    _ticks("in_new_york", "session", "new_york"),
)
"""Thirty-six features that any quote feed can fill; warm after two whole hours and at most three."""
