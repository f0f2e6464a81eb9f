"""Fitting finds what is there, and nothing where nothing is."""

import time

import msgspec
import numpy as np
import pytest

from libs.common.errors import DataError
from services.trainer.boosting import best_rounds, boost, predictor_of, train
from services.trainer.config import FitConfig, GateConfig
from services.trainer.fit import fit, out_of_fold
from services.trainer.folds import walk_forward
from services.trainer.gate import decide
from services.trainer.judging import auc, compare, judge
from services.trainer.work import FitRequest
from tests.unit.trainer.market import SECOND_NS, dataset

FEATURES = 6
SETTINGS = FitConfig(rounds=60, inner_folds=2, min_leaf_rows=30, resamples=500)
GATE = GateConfig()


def request(settings=SETTINGS, champion_last_ns=0, features=FEATURES):
    return FitRequest(
        feature_names=tuple(f"feature {i}" for i in range(features)), seed=7, settings=settings,
        champion_last_ns=champion_last_ns,
    )


def shuffled(rows, seed):
    """Return the rows with the labels of other rows: a poisoned training window."""
    order = np.random.default_rng(seed).permutation(len(rows))
    return msgspec.structs.replace(
        rows, label=rows.label[order], gross_pct=rows.gross_pct[order], long_pct=rows.long_pct[order],
        short_pct=rows.short_pct[order],
    )


def test_a_planted_signal_is_found_and_the_first_model_promoted():
    outcome = fit(dataset(1_500, 0.5), request(), None)
    metrics = outcome.metrics
    assert decide(metrics, False, GATE).promoted
    assert decide(metrics, False, GateConfig(first_model="profit")).promoted
    assert metrics["log_loss"] < metrics["base_log_loss"]
    assert metrics["auc"] > 0.6
    assert metrics["accuracy"] > metrics["base_accuracy"]
    assert metrics["trade_net_pct"] > 0.0
    assert metrics["rows"] == 1_200.0
    assert all(np.isfinite(value) for value in metrics.values())
    assert set(outcome.drift) == set(request().feature_names)
    assert outcome.mean_return_pct["long"] > 0.0
    assert outcome.mean_return_pct["short"] > 0.0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pure_noise_is_refused(seed):
    metrics = fit(dataset(1_200, 0.0, seed), request(), None).metrics
    assert decide(metrics, False, GATE).reason == "no_skill"


def test_knowing_only_when_the_market_moves_is_not_enough():
    rows = dataset(1_500, 0.0)
    rng = np.random.default_rng(4)
    restless = rows.features[:, 1] > 0.0
    label = np.where(restless, rng.choice([0, 2], 1_500), 1)
    metrics = fit(msgspec.structs.replace(rows, label=label), request(), None).metrics
    assert metrics["skill"] > 0.1
    assert metrics["skill_p"] < 0.01
    assert decide(metrics, False, GATE).reason == "no_direction"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_poisoned_window_is_refused(seed):
    metrics = fit(shuffled(dataset(1_200, 0.5, seed), seed), request(), None).metrics
    assert decide(metrics, False, GATE).reason == "no_skill"


def test_the_same_dataset_and_seed_give_the_same_bytes_and_another_seed_others():
    rows = dataset(800, 0.5)
    one, two = fit(rows, request(), None), fit(rows, request(), None)
    assert one == two
    other = fit(rows, msgspec.structs.replace(request(), seed=8), None)
    assert other.model_text != one.model_text


def test_a_better_challenger_passes_the_gate_against_a_champion_of_noise():
    rows = dataset(2_000, 0.5)
    weak = predictor_of(train(shuffled(rows, 9), np.arange(400), request()), FEATURES)
    metrics = fit(rows, request(champion_last_ns=int(rows.end_ns[399])), weak).metrics
    assert metrics["gate_edge_pct"] > 0.0
    assert decide(metrics, True, GATE).promoted
    assert metrics["gate_net_pct"] > metrics["champion_net_pct"]


def test_a_poisoned_challenger_never_replaces_a_good_champion():
    rows = dataset(2_000, 0.5)
    good = predictor_of(train(rows, np.arange(800), request()), FEATURES)
    poisoned = shuffled(rows, 3)
    judged = out_of_fold(poisoned, walk_forward(rows.time_ns, rows.end_ns, 4, 0), request())
    asked = request(champion_last_ns=int(rows.end_ns[799]))
    # What the poisoned recipe predicts is judged on what really happened.
    metrics = {**judge(rows, judged, SETTINGS, 7), **compare(rows, judged, good, asked)}
    assert metrics["gate_edge_pct"] < 0.0
    assert not decide(metrics, True, GATE).promoted
    assert not decide(metrics, True, GateConfig(skill_p_max=1.0, edge_p_max=1.0)).promoted


def test_a_challenger_that_is_the_champion_is_refused():
    rows = dataset(1_000, 0.5)
    judged = out_of_fold(rows, walk_forward(rows.time_ns, rows.end_ns, 4, 0), request())

    class Same:
        def predict_block(self, values):
            return judged.probabilities[[np.flatnonzero((rows.features == row).all(axis=1))[0] - 200 for row in values]]

    metrics = {**judge(rows, judged, SETTINGS, 7), **compare(rows, judged, Same(), request(champion_last_ns=1))}
    assert metrics["gate_edge_pct"] == 0.0
    assert decide(metrics, True, GATE).reason == "not_better"


def test_champion_and_challenger_are_compared_on_rows_after_the_champions_window_and_embargo_only():
    rows = dataset(1_000, 0.5)
    judged = out_of_fold(rows, walk_forward(rows.time_ns, rows.end_ns, 4, 0), request())
    seen = []

    class Watching:
        def predict_block(self, values):
            seen.append(values)
            return np.full((len(values), 3), 1.0 / 3.0)

    last_ns = int(rows.end_ns[599])
    compare(rows, judged, Watching(), request(champion_last_ns=last_ns))
    wanted = rows.time_ns > last_ns + SETTINGS.embargo_s * SECOND_NS
    assert np.array_equal(seen[0], rows.features[wanted])
    assert wanted.sum() < 400


def test_without_rows_after_the_champions_window_the_gate_refuses():
    rows = dataset(1_000, 0.5)
    good = predictor_of(train(rows, np.arange(1_000), request()), FEATURES)
    metrics = fit(rows, request(champion_last_ns=int(rows.end_ns[-1])), good).metrics
    assert metrics["gate_rows"] == 0.0
    assert decide(metrics, True, GATE).reason == "too_few_rows"


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_class_that_never_happened_still_gives_a_sound_model(missing):
    rows = dataset(600, 0.5)
    kept = np.where(rows.label == missing, (missing + 1) % 3, rows.label)
    outcome = fit(msgspec.structs.replace(rows, label=kept), request(), None)
    predicted = predictor_of(outcome.model_text, FEATURES).predict_block(rows.features)
    assert predicted.sum(axis=1) == pytest.approx(np.ones(600))
    assert predicted[:, missing].max() < 0.01


def test_too_few_rows_for_the_folds_are_refused_with_a_remedy():
    with pytest.raises(DataError, match=r"min_rows"):
        fit(dataset(60, 0.5, overlap=100), request(), None)


@pytest.mark.parametrize(
    "broken",
    [
        {"features": np.full((200, FEATURES), np.nan)}, {"long_pct": np.full(200, np.inf)}, {"label": np.full(200, 3)},
        {"label": np.zeros(5, dtype=np.int64)}, {"features": np.zeros((200, 2))}, {"end_ns": np.zeros(200, np.int64)},
    ],
    ids=["nan", "inf", "class", "length", "width", "end"],
)
def test_a_broken_dataset_is_refused(broken):
    with pytest.raises(DataError):
        fit(msgspec.structs.replace(dataset(200, 0.5), **broken), request(), None)


def test_where_there_is_nothing_to_learn_few_rounds_are_chosen():
    rounds = [
        best_rounds(rows.features, rows.label, rows.time_ns, rows.end_ns, request())
        for rows in (dataset(1_000, 0.0), dataset(1_000, 0.8))
    ]
    assert rounds[0] < 15 < rounds[1] <= SETTINGS.rounds


def test_with_too_few_rows_to_choose_one_round_is_taken():
    rows = dataset(70, 0.8)
    assert best_rounds(rows.features, rows.label, rows.time_ns, rows.end_ns, request()) == 1


def test_the_choice_of_rounds_and_the_model_know_only_the_given_rows():
    rows, chosen = dataset(600, 0.5), np.arange(100, 400)
    others = np.setdiff1d(np.arange(600), chosen)
    changed = msgspec.structs.replace(rows, features=rows.features.copy(), label=rows.label.copy())
    changed.features[others] = 0.0
    changed.label[others] = 1
    assert train(changed, chosen, request()) == train(rows, chosen, request())


def test_more_rounds_make_another_model():
    rows = dataset(300, 0.5)
    assert boost(rows.features, rows.label, 3, request()) != boost(rows.features, rows.label, 4, request())


def test_auc_counts_pairs():
    label = np.array([2, 2, 0, 0, 1])
    assert auc(np.array([0.9, 0.4, 0.4, 0.1, 5.0]), label) == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert auc(np.array([1.0, 2.0]), np.array([2, 2])) == 0.5


def test_a_fit_of_five_thousand_rows_of_twenty_five_features_takes_seconds():
    rows = dataset(5_000, 0.3, features=25)
    started_s = time.process_time()
    fit(rows, request(FitConfig(), features=25), None)
    # Measured: 1.0 s on one core; the bound leaves room for a loaded machine.
    assert time.process_time() - started_s < 6.0
