"""Lags, rolling statistics and normalisers of other features."""

import numpy as np
import pytest

from libs.common.config import DecideOn
from libs.common.errors import ConfigError
from services.features.config import FeaturesConfig
from services.features.feature_set import FeatureSet
from services.features.spec import AutoIndicator, FeatureSpec
from tests.unit.features.feature_markets import column, new_core, random_market, rows_of, run

RSI = FeatureSpec(name="rsi_5", family="rsi", timeframe_s=10, params={"period": 5})
SPREAD = FeatureSpec(name="spread_points", family="spread")
BEYOND = FeatureSpec(name="cross", family="cross_momentum", timeframe_s=10, of=("EURUSD",))


def config(*features: FeatureSpec, auto: tuple[AutoIndicator, ...] = ()) -> FeaturesConfig:
    return FeaturesConfig(timeframes_s=(10,), features=features, auto=auto)


def follow(name: str, family: str, source: str, output: str = "", **params: float) -> FeatureSpec:
    return FeatureSpec(name=name, family=family, output=output, params=params, of=(source,))


def test_the_numbers_are_those_of_plain_numpy() -> None:
    statistics = ("mean", "deviation", "minimum", "maximum", "z_score", "rank")
    features = (
        RSI, follow("before", "lag", "rsi_5", rows=3), follow("change", "lag", "rsi_5", "change", rows=3),
        *(follow(name, "rolling", "rsi_5", name, window=7) for name in statistics),
        follow("scaled", "scaled", "rsi_5", mean=50, deviation=10, limit=1.5),
    )
    market = random_market(3_000)
    rows = rows_of(run(new_core(config(*features)), [market]))
    alone = rows_of(run(new_core(config(RSI)), [market]))
    assert [row.tick for row in rows] == [row.tick for row in alone][6:]
    values = column(alone, "rsi_5")
    windows = np.lib.stride_tricks.sliding_window_view(values, 7)
    np.testing.assert_array_equal(column(rows, "before"), values[3:-3])
    np.testing.assert_allclose(column(rows, "change"), values[6:] - values[3:-3])
    np.testing.assert_allclose(column(rows, "mean"), windows.mean(axis=1))
    np.testing.assert_allclose(column(rows, "deviation"), windows.std(axis=1), atol=1e-9)
    np.testing.assert_array_equal(column(rows, "minimum"), windows.min(axis=1))
    np.testing.assert_array_equal(column(rows, "maximum"), windows.max(axis=1))
    np.testing.assert_allclose(column(rows, "z_score"), (values[6:] - windows.mean(axis=1)) / windows.std(axis=1), atol=1e-9)
    ranks = (windows < windows[:, -1:]).mean(axis=1) + 0.5 * (windows == windows[:, -1:]).mean(axis=1)
    np.testing.assert_allclose(column(rows, "rank"), ranks)
    np.testing.assert_allclose(column(rows, "scaled"), np.clip((values[6:] - 50.0) / 10.0, -1.5, 1.5))


def test_a_feature_may_follow_one_that_follows_another() -> None:
    features = (
        RSI, follow("mean", "rolling", "rsi_5", "mean", window=4), follow("mean_before", "lag", "mean", rows=5),
    )
    known = FeatureSet(features, (10,))
    assert (known.features[1].warm_up.rows, known.features[2].warm_up.rows, known.warm_up_rows) == (3, 8, 8)
    rows = rows_of(run(new_core(config(*features)), [random_market(2_000)]))
    np.testing.assert_array_equal(column(rows, "mean_before")[5:], column(rows, "mean")[:-5])


def test_auto_adds_lags_and_statistics_of_every_feature_but_the_targets() -> None:
    target = FeatureSpec(name="target_up", family="spread")
    auto = AutoIndicator(lags=(1, 2), windows=(5,), statistics=("mean", "rank"))
    known = FeatureSet.from_config(config(RSI, SPREAD, target, auto=(auto,)))
    assert known.names == (
        "rsi_5", "spread_points", "target_up", "rsi_5_lag_1", "rsi_5_lag_2", "rsi_5_mean_5", "rsi_5_rank_5",
        "spread_points_lag_1", "spread_points_lag_2", "spread_points_mean_5", "spread_points_rank_5",
    )
    assert rows_of(run(new_core(config(RSI, SPREAD, auto=(auto,)), DecideOn(kind="tick", every=5)), [random_market(900)]))


@pytest.mark.parametrize(
    ("auto", "words"), [
        (AutoIndicator(of=("rsi_7",)), "no feature of the list is called 'rsi_7'"),
        (AutoIndicator(statistics=("median",)), "no statistic 'median'; known: mean, deviation"),
    ],
)
def test_what_auto_cannot_do_is_refused_with_the_place(auto: AutoIndicator, words: str) -> None:
    with pytest.raises(ConfigError, match=r"features\.auto\[1\]: .*" + words):
        FeatureSet.from_config(config(RSI, auto=(AutoIndicator(), auto)))


@pytest.mark.parametrize(
    ("wrong", "words"), [
        (follow("x", "lag", "rsi_6"), "no feature 'rsi_6' before it in the list; did you mean 'rsi_5'"),
        (FeatureSpec(name="x", family="lag"), "follows one feature; name it"),
        (FeatureSpec(name="x", family="rsi", timeframe_s=10, of=("rsi_5",)), "leave 'of' out"),
        (follow("x", "lag", "cross"), "'cross' is known only when the related symbols have been seen"),
        (follow("x", "scaled", "rsi_5", deviation=0), "deviation = 0, expected a number from 1e-12"),
    ],
)
def test_what_nothing_can_follow_is_refused(wrong: FeatureSpec, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        FeatureSet((RSI, BEYOND, wrong), (10,))


@pytest.mark.parametrize(
    ("family", "params", "words"), [
        ("garch", {"alpha": 0.3, "beta": 0.7}, "alpha \\+ beta = 1: the variance has no long run"),
        ("hidden_markov", {"calm": 2, "wild": 1}, "calm = 2 must be below wild = 1"),
        ("kama", {"fast": 30, "slow": 2}, "fast = 30 must be below slow = 2"),
        ("volatility_regime", {"enter": 0.5}, "leave = 0.9 must be below enter = 0.5"),
        ("session_range", {"session": 4}, "session = 4, expected a whole number from 0 to 3"),
    ],
)
def test_parameters_that_do_not_fit_together_are_refused(family: str, params: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        FeatureSet((FeatureSpec(name="x", family=family, timeframe_s=60, params=params),), (60,))
