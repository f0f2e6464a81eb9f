"""Strategies of the user's own, read from a file."""

from pathlib import Path

import pytest

from libs.common.errors import ConfigError
from services.inference.adapters.strategy_file import strategies_of
from services.inference.config import StrategyConfig
from services.inference.strategies import TEMPLATES, make_strategy

OWN = '''
from services.inference.strategies import MaCrossover, Suggestions

class SitOut:
    needs, lookback, horizon_s = (), 0, 0
    def __init__(self, size=1):
        self.size = size
    def decide(self, rows):
        raise RuntimeError
'''


def read(tmp_path: Path, text: str) -> object:
    file = tmp_path / "own.py"
    file.write_text(text)
    return strategies_of(StrategyConfig(name="sit_out", file=str(file)))


def test_without_a_file_there_are_the_templates() -> None:
    assert dict(strategies_of(StrategyConfig())) == dict(TEMPLATES)


def test_every_class_of_the_file_that_can_decide_is_a_strategy_and_the_templates_stay(tmp_path: Path) -> None:
    known = read(tmp_path, OWN)
    assert set(known) == {*TEMPLATES, "sit_out"}
    assert make_strategy("sit_out", {"size": 3}, known).size == 3
    with pytest.raises(ConfigError, match="sit_out"):
        make_strategy("sit_out", {"sise": 3}, known)


def test_a_file_may_name_its_strategies_itself(tmp_path: Path) -> None:
    assert set(read(tmp_path, OWN + "\nSTRATEGIES = {'mine': SitOut}\n")) == {*TEMPLATES, "mine"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = 1\n", "has no strategy"), ("x = 1\nimport nothing_like_it\n", "line 2: ModuleNotFoundError"),
        ("def (\n", "line 1: SyntaxError"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"own.py.*{problem}"):
        read(tmp_path, text)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.py"):
        strategies_of(StrategyConfig(name="x", file="nowhere.py"))
