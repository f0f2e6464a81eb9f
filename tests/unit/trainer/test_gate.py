"""Who may serve, case by case."""

import math

import numpy as np
import pytest

from services.trainer.config import GateConfig
from services.trainer.gate import Verdict, decide, net_returns, p_not_above_zero, signals_of

SKILLED = {"rows": 500.0, "skill": 0.01, "skill_p": 0.01, "lean": 0.01, "lean_p": 0.01, "trades": 100.0, "net_pct": 0.5}
BETTER = {**SKILLED, "gate_rows": 400.0, "gate_trades": 80.0, "gate_edge_pct": 0.001, "gate_edge_p": 0.02}
ANY = GateConfig(first_model="any")
PROFIT = GateConfig(first_model="profit")


@pytest.mark.parametrize(
    ("changes", "config", "reason"),
    [
        ({}, GateConfig(), ""),
        ({"skill": 0.0}, GateConfig(), "no_skill"),
        ({"skill": -0.01}, GateConfig(), "no_skill"),
        ({"skill_p": 0.2}, GateConfig(), "no_skill"),
        ({"skill_p": 0.2}, GateConfig(skill_p_max=1.0), ""),
        ({"lean": 0.0}, GateConfig(), "no_direction"),
        ({"lean": -0.01}, GateConfig(), "no_direction"),
        ({"lean_p": 0.2}, GateConfig(), "no_direction"),
        ({"lean_p": 0.2}, GateConfig(skill_p_max=1.0), ""),
        ({"lean": math.nan}, GateConfig(), "incomplete_metrics"),
        ({"rows": 199.0}, GateConfig(), "too_few_rows"),
        ({"net_pct": -1.0, "trades": 0.0}, GateConfig(), ""),
        ({"skill": -0.1, "lean": -0.1}, ANY, ""),
        ({"rows": 199.0}, ANY, "too_few_rows"),
        ({"skill": math.nan}, ANY, "incomplete_metrics"),
        ({}, PROFIT, ""),
        ({"net_pct": 0.0}, PROFIT, "no_profit"),
        ({"net_pct": -1.0}, PROFIT, "no_profit"),
        ({"trades": 19.0}, PROFIT, "too_few_trades"),
        ({"skill": math.nan}, GateConfig(), "incomplete_metrics"),
        ({"net_pct": math.inf}, GateConfig(), "incomplete_metrics"),
    ],
)
def test_a_first_model_needs_skill_and_if_asked_profit(changes, config, reason):
    assert decide({**SKILLED, **changes}, False, config) == Verdict(not reason, reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"gate_edge_pct": 0.0, "gate_edge_p": 1.0}, "not_better"),
        ({"gate_edge_pct": 0.0, "gate_edge_p": 0.01}, "not_better"),
        ({"gate_edge_pct": -0.001, "gate_edge_p": 0.01}, "not_better"),
        ({"gate_edge_p": 0.3}, "not_better"),
        ({"gate_rows": 199.0}, "too_few_rows"),
        ({"gate_trades": 19.0}, "too_few_trades"),
        ({"skill": -0.01}, "no_skill"),
        ({"lean": -0.01}, "no_direction"),
        ({"gate_edge_pct": math.nan}, "incomplete_metrics"),
        ({"gate_edge_p": math.nan}, "incomplete_metrics"),
        ({"skill_p": math.nan}, "incomplete_metrics"),
    ],
)
def test_a_challenger_needs_skill_and_an_edge_over_the_champion(changes, reason):
    assert decide({**BETTER, **changes}, True, GateConfig()) == Verdict(not reason, reason)


@pytest.mark.parametrize("changes", [{"skill": -0.1}, {"lean": -0.1}])
def test_a_challenger_needs_skill_even_where_any_first_model_will_do(changes):
    assert not decide({**BETTER, **changes}, True, ANY).promoted


@pytest.mark.parametrize("name", ["rows", "skill", "skill_p", "lean", "lean_p", "trades", "net_pct"])
def test_a_missing_figure_refuses(name):
    metrics = {key: value for key, value in BETTER.items() if key != name}
    assert decide(metrics, False, GateConfig()).reason == "incomplete_metrics"


@pytest.mark.parametrize("name", ["gate_rows", "gate_trades", "gate_edge_pct", "gate_edge_p"])
def test_a_missing_comparison_refuses_a_challenger(name):
    metrics = {key: value for key, value in BETTER.items() if key != name}
    assert decide(metrics, True, GateConfig()).reason == "incomplete_metrics"
    assert decide(metrics, False, GateConfig()).promoted


def test_the_signal_needs_the_asked_margin_between_up_and_down():
    probabilities = np.array([[0.2, 0.3, 0.5], [0.5, 0.3, 0.2], [0.35, 0.3, 0.35], [0.3, 0.35, 0.35]])
    assert signals_of(probabilities, 0.1).tolist() == [1, -1, 0, 0]
    assert signals_of(probabilities, 0.0).tolist() == [1, -1, 0, 1]


def test_a_row_earns_what_its_side_earned():
    earned = net_returns(np.array([1, -1, 0]), np.array([0.1, 0.2, 0.3]), np.array([-0.4, -0.5, -0.6]))
    assert earned.tolist() == [0.1, -0.5, 0.0]


def test_the_p_value_is_small_for_a_clear_mean_and_one_for_none():
    noise = np.random.default_rng(1).normal(size=400)
    assert p_not_above_zero(noise + 1.0, 5, 500, 7) < 0.01
    assert p_not_above_zero(noise - 1.0, 5, 500, 7) == 1.0
    assert p_not_above_zero(np.zeros(50), 5, 500, 7) == 1.0
    assert p_not_above_zero(np.empty(0), 5, 500, 7) == 1.0
    assert p_not_above_zero(np.full(10, np.nan), 5, 500, 7) == 1.0
    assert 0.0 < p_not_above_zero(np.array([0.5]), 5, 500, 7) <= 1.0


def test_the_p_value_is_the_same_in_every_run():
    values = np.random.default_rng(2).normal(0.05, 1.0, 300)
    assert p_not_above_zero(values, 4, 500, 11) == p_not_above_zero(values, 4, 500, 11)


def test_on_values_without_a_mean_the_p_value_is_spread_evenly_even_when_they_hang_together():
    rng = np.random.default_rng(3)
    kernel = np.ones(10)
    found = [
        p_not_above_zero(np.convolve(rng.normal(size=409), kernel, "valid"), 20, 200, 5) for _ in range(150)
    ]
    # 10 % would be exact; taken for independent, the same values are "significant" four times as often.
    assert np.mean(np.array(found) <= 0.1) < 0.2
    careless = [
        p_not_above_zero(np.convolve(rng.normal(size=409), kernel, "valid"), 1, 200, 5) for _ in range(150)
    ]
    assert np.mean(np.array(careless) <= 0.1) > 0.25
