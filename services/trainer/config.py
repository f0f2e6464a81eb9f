"""Settings of the trainer (section ``trainer``)."""

import math
from typing import Annotated, Literal

from msgspec import Meta

from libs.common.config import Settings


class FitConfig(Settings, frozen=True, kw_only=True):
    """How a model is fitted and judged.

    Parameters
    ----------
    folds : walk-forward test windows; one more block of rows comes before the first of them
    embargo_s : rows whose label ends less than this before a test window are not trained on, seconds
    inner_folds : test windows within each training window, by which the number of rounds is chosen
    rounds : most boosting rounds
    learning_rate, num_leaves, min_leaf_rows, max_bin, feature_fraction, l2 : of LightGBM
    min_confidence : margin between the probabilities of up and down above which the judged signal trades; keep
        it equal to the one inference uses
    resamples : bootstrap resamples behind every p value
    golden_rows : rows stored in the bundle with the probabilities they must reproduce
    drift_bins : bins of each feature's drift reference
    """

    folds: Annotated[int, Meta(ge=2, le=20)] = 4
    embargo_s: Annotated[int, Meta(ge=0, le=604_800)] = 300
    inner_folds: Annotated[int, Meta(ge=2, le=20)] = 3
    rounds: Annotated[int, Meta(ge=1, le=2_000)] = 100
    learning_rate: Annotated[float, Meta(gt=0, le=1)] = 0.05
    num_leaves: Annotated[int, Meta(ge=2, le=256)] = 6
    min_leaf_rows: Annotated[int, Meta(ge=1, le=10_000)] = 60
    max_bin: Annotated[int, Meta(ge=15, le=255)] = 63
    feature_fraction: Annotated[float, Meta(gt=0, le=1)] = 0.5
    l2: Annotated[float, Meta(ge=0)] = 5.0
    min_confidence: Annotated[float, Meta(ge=0, lt=1)] = 0.1
    resamples: Annotated[int, Meta(ge=100, le=100_000)] = 1_000
    golden_rows: Annotated[int, Meta(ge=1, le=1_000)] = 32
    drift_bins: Annotated[int, Meta(ge=2, le=100)] = 10

    @property
    def least_train_rows(self) -> int:
        """Rows below which a training window teaches nothing: it cannot be split even once."""
        return 2 * self.min_leaf_rows


class GateConfig(Settings, frozen=True, kw_only=True):
    """What a model must show before it may serve.

    Parameters
    ----------
    first_model : what a model must show while nothing comparable serves: ``skill`` (out-of-fold log-loss better
        than the base rates'), ``profit`` (also a positive net return after costs), or ``any`` (figures on enough rows:
        for a replay on paper where one wants to see orders flow; refused when system.mode is ``live``)
    skill_p_max : largest p value of "no better than the base rates" and of "no sense of direction" that still counts
        as skill; asked of every model, also of a challenger. 1.0 asks for better means only. Direction is asked for
        apart because knowing when the market moves at all improves the log-loss too, and earns nothing
    edge_p_max : largest p value of "no better than the champion" that still promotes. 1.0 asks for a better
        mean only
    min_rows : fewest out-of-sample rows both must have been judged on
    min_trades : fewest trades the model must have made on them (``profit`` and challengers)
    """

    first_model: Literal["any", "skill", "profit"] = "skill"
    skill_p_max: Annotated[float, Meta(gt=0, le=1)] = 0.1
    edge_p_max: Annotated[float, Meta(gt=0, le=1)] = 0.1
    min_rows: Annotated[int, Meta(ge=1)] = 200
    min_trades: Annotated[int, Meta(ge=0)] = 20


class TrainerConfig(Settings, frozen=True, kw_only=True):
    """When the trainer trains, on what, and how much it keeps (section ``trainer``).

    Parameters
    ----------
    min_rows : labelled rows before the first training, and before any other
    max_rows : labelled rows kept per symbol; the oldest go first
    max_open_rows : rows per symbol that may wait for their horizon to end; more are dropped and counted
    late_ticks : ticks per symbol kept so that a row may arrive after later ticks have
    horizon_s : time limit of a label, seconds of event time
    target_sigma, stop_sigma : distance of the barriers in standard deviations over the horizon
    sigma_feature : name of the feature that holds the volatility
    sigma_unit : what that feature holds: ``relative`` (share of the price) or ``price`` (price units)
    sigma_horizon_s : for how long that feature speaks, seconds; the barriers scale with the root of time
    slippage_pct : assumed slippage of a round trip, percent of price, on top of spread and commission
    account_currency : turns the commission per lot into percent of price
    retrain_every_rows, retrain_every_s : train again after so many new labelled rows or so many seconds of event
        time, whichever comes first; 0 switches that trigger off
    drift_cooldown_s : seconds of event time after a training during which drift alarms start no other
    fit_timeout_s : the child process is killed after this long
    keep_versions : versions remembered per model; an older one can no longer be rolled back to
    """

    min_rows: Annotated[int, Meta(ge=50)] = 2_000
    max_rows: Annotated[int, Meta(ge=50, le=1_000_000)] = 20_000
    max_open_rows: Annotated[int, Meta(ge=1, le=1_000_000)] = 4_096
    late_ticks: Annotated[int, Meta(ge=1, le=10_000_000)] = 65_536
    horizon_s: Annotated[int, Meta(ge=1, le=2_592_000)] = 1_800
    target_sigma: Annotated[float, Meta(gt=0, le=20)] = 1.2
    stop_sigma: Annotated[float, Meta(gt=0, le=20)] = 1.0
    sigma_feature: str = "sigma_60"
    sigma_unit: Literal["relative", "price"] = "price"
    sigma_horizon_s: Annotated[int, Meta(ge=1)] = 3_600
    slippage_pct: Annotated[float, Meta(ge=0, lt=10)] = 0.0
    account_currency: str = "USD"
    retrain_every_rows: Annotated[int, Meta(ge=0)] = 2_000
    retrain_every_s: Annotated[int, Meta(ge=0)] = 0
    drift_cooldown_s: Annotated[int, Meta(ge=0)] = 3_600
    fit_timeout_s: Annotated[int, Meta(ge=1, le=86_400)] = 300
    keep_versions: Annotated[int, Meta(ge=1, le=10_000)] = 64
    fit: FitConfig = FitConfig()
    gate: GateConfig = GateConfig()

    def __post_init__(self) -> None:
        if self.max_rows < self.min_rows:
            raise ValueError(f"max_rows {self.max_rows} is below min_rows {self.min_rows}: it would never train")

    @property
    def sigma_scale(self) -> float:
        """Factor that makes the volatility feature one standard deviation over the horizon."""
        return math.sqrt(self.horizon_s / self.sigma_horizon_s)
