"""Rule strategies: the templates, what a user's own may and may not do, where they are found."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from libs.common.errors import ConfigError
from libs.common.runtime import user_code
from services.features.spec import DEFAULT_FEATURES
from services.inference.adapters.strategy_file import strategies_of
from services.inference.config import InferenceConfig, StrategyConfig
from services.inference.core import STRATEGY_FAILED, InferenceCore
from services.inference.library import ModelLibrary
from services.inference.strategies import TEMPLATES, Suggestions, make_strategy
from tests.unit.inference.rule_rows import NAMES, rows, said_of, said_row_by_row, table

ROOT = Path(__file__).parents[3]


def core_with(kind, params=None, name="mine"):
    config = InferenceConfig(strategy=StrategyConfig(name=name, params=params or {}))
    return InferenceCore(config, ModelLibrary(), {name: kind})


def bad(decide, needs=("a",), lookback=0):
    return type("Bad", (), {"needs": needs, "lookback": lookback, "horizon_s": 0, "decide": decide})


def test_every_template_looks_at_features_that_come_with_tickwire():
    names = {spec.name for spec in DEFAULT_FEATURES}
    for name in TEMPLATES:
        assert set(make_strategy(name, {}).needs) <= names, name


def test_a_crossing_suggests_once_and_only_where_the_sign_turns():
    config = {"cross": "a", "protection": {"stop": 0.5, "target": 1.0}}
    values = np.array([[-1.0], [1.0], [2.0], [-1.0], [-2.0], [3.0]])
    said = said_of(make_strategy("ma_crossover", config), table(values, ("a",)))
    assert said.side.tolist() == [0, 1, 0, -1, 0, 1]
    assert set(said.stop_distance.tolist()) == {0.5}
    assert set(said.target_distance.tolist()) == {1.0}


def test_a_breakout_suggests_when_the_edge_is_reached_and_not_while_it_is_held():
    config = {"position": "a", "protection": {"feature": "b", "unit": "price", "stop": 2.0}}
    values = np.array([[0.0, 0.1], [1.0, 0.2], [1.0, 0.2], [-1.0, 0.3]])
    said = said_of(make_strategy("donchian_breakout", config), table(values, ("a", "b")))
    assert said.side.tolist() == [0, 1, 0, -1]
    assert said.stop_distance.tolist() == [0.2, 0.4, 0.4, 0.6]


def test_a_reversion_buys_low_and_sells_high():
    config = {"position": "a", "threshold": 2.0, "protection": {"stop": 1.0}}
    said = said_of(make_strategy("mean_reversion", config), table(np.array([[-2.0], [0.0], [2.5]]), ("a",)))
    assert said.side.tolist() == [1, 0, -1]


@pytest.mark.parametrize(
    ("name", "params", "problem"),
    [
        ("ma_cross", {}, "there is no strategy 'ma_cross'"),
        ("ma_crossover", {"crss": "x"}, "unknown field `crss`"),
        ("ma_crossover", {"protection": {"stop": -1.0}}, "protection.stop must be above 0"),
        ("ma_crossover", {"protection": {"unit": "pips"}}, "protection.unit"),
    ],
)
def test_a_wrong_name_or_parameter_is_refused_by_name(name, params, problem):
    with pytest.raises(ConfigError, match=problem):
        make_strategy(name, params)


def test_something_that_is_no_strategy_is_refused():
    with pytest.raises(ConfigError, match="has no needs, lookback, horizon_s, decide"):
        make_strategy("mine", {}, {"mine": dict})


def test_a_missing_feature_is_named_together_with_those_there_are():
    with pytest.raises(ConfigError, match=r"looks at nothing_such.*rows hold a, b"):
        said_of(make_strategy("ma_crossover", {"cross": "nothing_such"}), table(np.zeros((2, 2)), ("a", "b")))


def raises(self, rows):
    return 1 / 0


@pytest.mark.parametrize(
    ("decide", "problem"),
    [
        (raises, r"test_strategies.py, line \d+: ZeroDivisionError"),
        (lambda self, rows: None, "decide answers Suggestions"),
        (lambda self, rows: Suggestions(*(np.zeros(9) for _ in range(4))), r"side has the shape \(9,\) for 1 rows"),
        (lambda self, rows: Suggestions(*(np.zeros((1, 2)) for _ in range(4))), "side has the shape"),
        (lambda self, rows: Suggestions(*(np.full(1, np.nan) for _ in range(4))), "a side is BUY"),
        (lambda self, rows: Suggestions(np.full(1, 0.5), *(np.ones(1) for _ in range(3))), "a side is BUY"),
        (lambda self, rows: Suggestions(np.ones(1), np.full(1, np.nan), np.ones(1), np.ones(1)), "stop_distance"),
        (lambda self, rows: Suggestions(np.ones(1), np.ones(1), np.ones(1), np.full(1, 1.5)), "confidence"),
    ],
)
def test_a_strategy_that_fails_is_told_once_and_nothing_is_traded(decide, problem):
    core = core_with(bad(decide))
    first, second = (core.on_feature_block(row, row.ts_event_ns) for row in rows(table(np.ones((2, 1)), ("a",))))
    assert [alert.name for alert in first] == [STRATEGY_FAILED]
    assert second == ()
    assert re.search(problem, first[0].detail)


def test_a_file_of_ones_own_stands_beside_the_templates(tmp_path):
    file = ROOT / "examples" / "strategy_example.py"
    known = strategies_of(StrategyConfig(file=str(file)))
    assert set(known) == {*TEMPLATES, "pullback"}
    strategy = make_strategy("pullback", {"depth": 0.8}, known)
    assert set(strategy.needs) <= {spec.name for spec in DEFAULT_FEATURES}
    market = table(names=strategy.needs, seed=4)
    said = said_of(strategy, market)
    assert {-1, 0, 1} == set(said.side.tolist())
    assert said_row_by_row(strategy, market).side.tolist() == said.side.tolist()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = 1\n", "has no strategy"),
        ("x = \n", "line 1: SyntaxError"),
        ("import numpy\n\nnumpy.nothing\n", "line 3: AttributeError"),
        ("STRATEGIES = {'a': 3}\n", "STRATEGIES must hold name: class"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_line(tmp_path, text, problem):
    file = tmp_path / "own.py"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"own\.py") as caught:
        strategies_of(StrategyConfig(file=str(file)))
    assert problem in str(caught.value)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"inference.strategy.file: there is no file nowhere.py"):
        strategies_of(StrategyConfig(file="nowhere.py"))


def test_installed_packages_bring_strategies_and_a_broken_one_is_named(monkeypatch):
    good = SimpleNamespace(name="theirs", value="theirs:Theirs", load=lambda: TEMPLATES["stay_out"])
    monkeypatch.setattr(user_code, "entry_points", lambda group: [good] if group == "tickwire.strategies" else [])
    assert "theirs" in strategies_of(StrategyConfig())
    broken = SimpleNamespace(name="theirs", value="theirs:Theirs", load=lambda: 1 / 0)
    monkeypatch.setattr(user_code, "entry_points", lambda group: [broken])
    with pytest.raises(ConfigError, match="plugin theirs"):
        strategies_of(StrategyConfig())


def test_rows_before_the_first_whole_lookback_are_not_decided_on():
    whole = table(seed=3)
    strategy = make_strategy("ma_crossover", {"cross": NAMES[0], "protection": {"stop": 1.0}})
    assert said_of(strategy, whole).side[0] == 0
