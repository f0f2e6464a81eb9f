"""Settings of the inference service (section ``inference``)."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from libs.common.config import Settings

Rsi = Annotated[float, Meta(ge=0, le=100)]


class ConfirmationConfig(Settings, frozen=True, kw_only=True):
    """Two indicators that must agree with the side a model leans to.

    Parameters
    ----------
    enabled : off: the model decides alone
    ma_feature : feature that is above zero while the fast moving average is above the slow one
    rsi_feature : feature that holds a relative strength index, 0..100
    rsi_buy_min, rsi_buy_max : the index must lie within for a buy
    rsi_sell_min, rsi_sell_max : the index must lie within for a sell
    """

    enabled: bool = True
    ma_feature: str = "ma_cross"
    rsi_feature: str = "rsi_14"
    rsi_buy_min: Rsi = 50.0
    rsi_buy_max: Rsi = 100.0
    rsi_sell_min: Rsi = 0.0
    rsi_sell_max: Rsi = 50.0

    def __post_init__(self) -> None:
        if self.rsi_buy_min > self.rsi_buy_max or self.rsi_sell_min > self.rsi_sell_max:
            raise ValueError("a lower bound of the RSI is above its upper bound: no signal would ever be confirmed")


class SignalConfig(Settings, frozen=True, kw_only=True):
    """When a model's probabilities become a suggestion.

    Parameters
    ----------
    min_confidence : least margin between the probabilities of up and down
    min_expected_return_pct : least expected return of the side, percent of price
    max_p_flat : largest probability that neither barrier is reached
    max_spread_sigma : widest spread in standard deviations of the price over the horizon; 0 switches the filter off
    sides : which sides may be suggested
    confirmation : indicators that must agree
    """

    min_confidence: Annotated[float, Meta(ge=0, lt=1)] = 0.1
    min_expected_return_pct: Annotated[float, Meta(ge=-100, le=100)] = 0.0
    max_p_flat: Annotated[float, Meta(gt=0, le=1)] = 1.0
    max_spread_sigma: Annotated[float, Meta(ge=0)] = 0.0
    sides: Literal["both", "buy", "sell"] = "both"
    confirmation: ConfirmationConfig = ConfirmationConfig()


class DriftConfig(Settings, frozen=True, kw_only=True):
    """When live rows no longer look like the champion's training window.

    Parameters
    ----------
    enabled : watch at all
    window_rows : newest live rows compared with the training window
    panes : the window moves on by one of so many equal parts at a time
    limit : population stability index of a feature above which it has drifted
    chance_deviations : a feature's own limit is raised to what its index reaches by chance, plus so many standard
        deviations: slow features wander through a part of their range in any short window
    clear : share of its limit below which every index must fall before drift is announced again
    min_features : so many features must have drifted
    ignore : features that are not watched, with ``*`` for any letters: what follows the clock differs between any
        short window and a long one
    """

    enabled: bool = True
    window_rows: Annotated[int, Meta(ge=20, le=1_000_000)] = 480
    panes: Annotated[int, Meta(ge=1, le=64)] = 4
    limit: Annotated[float, Meta(gt=0)] = 0.25
    chance_deviations: Annotated[float, Meta(ge=0, le=100)] = 4.0
    clear: Annotated[float, Meta(gt=0, le=1)] = 0.6
    min_features: Annotated[int, Meta(ge=1)] = 1
    ignore: tuple[str, ...] = ("time_*", "week_day", "in_*")

    def __post_init__(self) -> None:
        if self.window_rows < self.panes:
            raise ValueError(f"window_rows {self.window_rows} cannot be cut into {self.panes} panes")


class StrategyConfig(Settings, frozen=True, kw_only=True):
    """A rule strategy that stands in for the champion; shadows go on for the record.

    Parameters
    ----------
    name : ``ma_crossover``, ``donchian_breakout``, ``mean_reversion``, or one of yours; empty: models decide
    file : Python file with your own strategies; empty: none
    params : its parameters
    """

    name: str = ""
    file: str = ""
    params: dict[str, Any] = {}


class InferenceConfig(Settings, frozen=True, kw_only=True):
    """How inference loads models, what it makes of their answers, how it watches them.

    Parameters
    ----------
    signals : from probabilities to a suggestion
    drift : live rows against the training window
    max_shadows : shadow models per symbol; one more and the oldest leaves
    fetch_tries, fetch_timeout_s, fetch_pause_s : how often a bundle is asked for while the bus fails, how long each
        time, and how long apart
    keep_bundles : verified bundles kept on disk and in memory beside those in use
    strategy : rules that decide instead of a model
    """

    signals: SignalConfig = SignalConfig()
    drift: DriftConfig = DriftConfig()
    max_shadows: Annotated[int, Meta(ge=0, le=64)] = 4
    fetch_tries: Annotated[int, Meta(ge=1, le=100)] = 10
    fetch_timeout_s: Annotated[float, Meta(gt=0, le=600)] = 10.0
    fetch_pause_s: Annotated[float, Meta(ge=0, le=60)] = 1.0
    keep_bundles: Annotated[int, Meta(ge=4, le=10_000)] = 20
    strategy: StrategyConfig = StrategyConfig()
