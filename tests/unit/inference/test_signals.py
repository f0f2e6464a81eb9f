"""From probabilities to a suggestion: each rule, and which one speaks first."""

import math

import msgspec
import numpy as np
import pytest

from libs.common.messages.market import Side
from libs.common.models.bundle import unpack
from libs.common.models.predictor import load_predictor
from services.inference.config import ConfirmationConfig, SignalConfig
from services.inference.library import LoadedModel
from services.inference.signals import (
    RULES,
    Candidate,
    expected_return_pct,
    missing_confirmation,
    objection,
    suggest,
)
from tests.unit.models.small_models import FEATURES, VERIFIER, archive, feature_row, manifest

OPEN = SignalConfig(min_confidence=0.0, min_expected_return_pct=-100.0, confirmation=ConfirmationConfig(enabled=False))
CONFIRMING = msgspec.structs.replace(OPEN, confirmation=ConfirmationConfig())
GOOD = Candidate(
    side=Side.BUY, confidence=0.3, expected_return_pct=0.05, p_flat=0.2, sigma=0.002, spread=0.0001, ma=0.5, rsi=60.0
)


def replace(thing, **changes):
    return msgspec.structs.replace(thing, **changes)


TABLE = [
    # candidate, config, objection
    ({}, {}, ""),
    ({"side": None, "confidence": 0.0}, {}, "no_edge"),
    ({"sigma": math.nan}, {}, "no_volatility"),
    ({"sigma": 0.0}, {}, "no_volatility"),
    ({"sigma": -0.001}, {}, "no_volatility"),
    ({"sigma": math.inf}, {}, "no_volatility"),
    ({"confidence": 0.3}, {"min_confidence": 0.3}, ""),
    ({"confidence": 0.29}, {"min_confidence": 0.3}, "low_confidence"),
    ({"p_flat": 0.8}, {"max_p_flat": 0.8}, ""),
    ({"p_flat": 0.81}, {"max_p_flat": 0.8}, "flat_likely"),
    ({"expected_return_pct": 0.05}, {"min_expected_return_pct": 0.05}, ""),
    ({"expected_return_pct": 0.04}, {"min_expected_return_pct": 0.05}, "low_expected_return"),
    ({"expected_return_pct": -0.01}, {"min_expected_return_pct": 0.0}, "low_expected_return"),
    ({}, {"sides": "buy"}, ""),
    ({}, {"sides": "sell"}, "side_not_allowed"),
    ({"side": Side.SELL}, {"sides": "sell"}, ""),
    ({"side": Side.SELL}, {"sides": "buy"}, "side_not_allowed"),
    ({"spread": 0.001}, {"max_spread_sigma": 0.5}, ""),
    ({"spread": 0.0011}, {"max_spread_sigma": 0.5}, "spread_too_wide"),
    ({"spread": 9.0}, {"max_spread_sigma": 0.0}, ""),
]


@pytest.mark.parametrize(("candidate", "config", "wanted"), TABLE)
def test_each_rule_objects_at_its_limit_and_only_there(candidate, config, wanted):
    assert objection(replace(GOOD, **candidate), replace(OPEN, **config)) == wanted


CONFIRMATIONS = [
    # side, moving averages, RSI, objection
    (Side.BUY, 0.1, 50.0, ""),
    (Side.BUY, 0.1, 100.0, ""),
    (Side.BUY, 0.1, 49.9, "not_confirmed"),
    (Side.BUY, 0.0, 60.0, "not_confirmed"),
    (Side.BUY, -0.1, 60.0, "not_confirmed"),
    (Side.SELL, -0.1, 50.0, ""),
    (Side.SELL, -0.1, 0.0, ""),
    (Side.SELL, -0.1, 50.1, "not_confirmed"),
    (Side.SELL, 0.0, 40.0, "not_confirmed"),
    (Side.SELL, 0.1, 40.0, "not_confirmed"),
    (Side.BUY, math.nan, 60.0, "confirmation_missing"),
    (Side.BUY, 0.1, math.nan, "confirmation_missing"),
]


@pytest.mark.parametrize(("side", "ma", "rsi", "wanted"), CONFIRMATIONS)
def test_moving_averages_and_rsi_must_both_agree_with_the_side(side, ma, rsi, wanted):
    candidate = replace(GOOD, side=side, ma=ma, rsi=rsi)
    assert objection(candidate, CONFIRMING) == wanted
    assert objection(candidate, OPEN) == ""


def test_confirmation_thresholds_can_be_turned_to_buy_what_is_oversold():
    contrarian = ConfirmationConfig(rsi_buy_min=0.0, rsi_buy_max=30.0, rsi_sell_min=70.0, rsi_sell_max=100.0)
    config = replace(OPEN, confirmation=contrarian)
    assert objection(replace(GOOD, rsi=25.0), config) == ""
    assert objection(replace(GOOD, rsi=60.0), config) == "not_confirmed"


def test_the_first_objection_counts():
    hopeless = Candidate(
        side=Side.BUY, confidence=0.0, expected_return_pct=-1.0, p_flat=1.0, sigma=0.001, spread=1.0, ma=-1.0, rsi=0.0
    )
    strict = SignalConfig(min_confidence=0.1, max_p_flat=0.5, max_spread_sigma=0.1, sides="sell")
    reasons = [reason for reason in (rule(hopeless, strict) for rule in RULES) if reason]
    assert reasons == [
        "low_confidence", "flat_likely", "low_expected_return", "side_not_allowed", "spread_too_wide", "not_confirmed",
    ]
    assert objection(hopeless, strict) == reasons[0]


def test_expected_return_weighs_both_outcomes():
    means = {"long": 0.2, "short": 0.1}
    assert expected_return_pct(Side.BUY, 0.3, 0.5, means) == pytest.approx(0.5 * 0.2 - 0.3 * 0.1)
    assert expected_return_pct(Side.SELL, 0.5, 0.3, means) == pytest.approx(0.5 * 0.1 - 0.3 * 0.2)
    assert expected_return_pct(None, 0.4, 0.4, means) == 0.0


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    found = unpack(archive(), VERIFIER)
    return LoadedModel(found, load_predictor(found))


@pytest.mark.parametrize(
    ("probabilities", "side"),
    [((0.2, 0.3, 0.5), Side.BUY), ((0.5, 0.3, 0.2), Side.SELL), ((0.4, 0.2, 0.4), None)],
)
def test_a_prediction_leans_to_the_likelier_barrier(model, probabilities, side):
    prediction = suggest(feature_row(0), np.array(probabilities), model, OPEN, shadow=False, now_ns=9)
    assert prediction.side is side
    assert prediction.reason == ("" if side else "no_edge")
    assert prediction.ts_init_ns == 9


def test_a_refused_prediction_still_says_what_it_expected(model):
    strict = SignalConfig(min_confidence=0.9)
    prediction = suggest(feature_row(0), np.array((0.2, 0.2, 0.6)), model, strict, shadow=True, now_ns=9)
    assert (prediction.side, prediction.reason, prediction.shadow) == (None, "low_confidence", True)
    assert prediction.confidence == pytest.approx(0.4)
    assert prediction.expected_return_pct == pytest.approx(0.04)
    assert prediction.stop_distance > 0.0


def test_a_row_without_volatility_gives_no_side_and_no_distances(model):
    values = feature_row(0).values.copy()
    values[FEATURES.index("sigma")] = 0.0
    prediction = suggest(
        feature_row(0, values=values), np.array((0.2, 0.2, 0.6)), model, OPEN, shadow=False, now_ns=9
    )
    assert (prediction.side, prediction.reason) == (None, "no_volatility")
    assert prediction.stop_distance == prediction.target_distance == prediction.volatility == 0.0


def test_confirming_features_are_read_by_name(model):
    values = feature_row(0).values.copy()
    values[FEATURES.index("ma_cross")], values[FEATURES.index("rsi_14")] = 1.0, 70.0
    up, down = np.array((0.2, 0.2, 0.6)), np.array((0.6, 0.2, 0.2))
    row = feature_row(0, values=values)
    assert suggest(row, up, model, CONFIRMING, shadow=False, now_ns=9).side is Side.BUY
    assert suggest(row, down, model, CONFIRMING, shadow=False, now_ns=9).reason == "not_confirmed"


def test_missing_confirming_features_are_named_only_while_they_are_asked_for():
    odd = replace(OPEN, confirmation=ConfirmationConfig(ma_feature="x"))
    assert missing_confirmation(manifest(), odd) == ("x",)
    assert missing_confirmation(manifest(), CONFIRMING) == ()
    off = replace(OPEN, confirmation=ConfirmationConfig(enabled=False, ma_feature="x"))
    assert missing_confirmation(manifest(), off) == ()
