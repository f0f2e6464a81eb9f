"""The search for leaks: it catches those that were planted, names the value, and lets what is sound pass."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from backtest.leak import leak_in_strategy
from services.features.registry import FAMILIES, LIBRARY
from services.inference.strategies import Suggestions, make_strategy
from tests.unit.inference.rule_rows import table
from tickwire.main import app

ROOT = Path(__file__).parents[3]
CENTRED = '''
import numpy as np
from services.inference.strategies import Suggestions

class Centred:
    needs, lookback, horizon_s = ("ma_cross",), 2, 0

    def decide(self, rows):
        smooth = np.convolve(np.pad(rows.column("ma_cross"), 1, mode="edge"), np.ones(3) / 3, mode="valid")
        n = len(smooth)
        return Suggestions(np.where(smooth > 0, 1, -1), np.full(n, 0.001), np.zeros(n), np.ones(n))
'''
BAR_OF_45_MINUTES = '''
from services.features.plugin import Clock, WarmUp, feature_family

@feature_family(clock=Clock.TICKS, outputs={"close": "close of the bar that holds the tick"},
                warm_up=lambda p: WarmUp(ticks=10), floats=lambda p: 1, ints=1)
def {name}(f, i, p, point, time_ns, bid, ask, last, volume, out):
    """Close of a 45-minute bar labelled by its opening time and filled forward."""
    n = len(bid)
    for k in range(n):
        j = k
        while j + 1 < n and time_ns[j + 1] // 2_700_000_000_000 == time_ns[k] // 2_700_000_000_000:
            j += 1
        out[0, k] = bid[j]
        i[0] += 1
'''
CONFIG = """
system: {symbols: [EURUSD]}
instruments: {EURUSD: {}}
ingest: {adapter: synthetic, synthetic: {start: "2024-01-08T00:00:00", duration_s: 18000, ticks_per_second: 0.5}}
"""


@pytest.fixture(autouse=True)
def only_ours_afterwards():
    yield
    for name in set(FAMILIES) - set(LIBRARY):
        del FAMILIES[name]


@pytest.fixture
def market(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    return str(file)


def leakcheck(*arguments):
    return CliRunner().invoke(app, ["leakcheck", *arguments])


class Said:
    """A strategy that says what a function of the column says."""

    needs, horizon_s = ("a",), 0

    def __init__(self, sides, lookback=0):
        self.lookback, self._sides = lookback, sides

    def decide(self, rows):
        n = len(rows.bid)
        return Suggestions(self._sides(rows.column("a")), np.ones(n), np.zeros(n), np.ones(n))


def shifted(column):
    return np.sign(np.append(column[1:], 0.0))


@pytest.mark.parametrize(
    ("strategy", "how"),
    [
        (Said(shifted), "after it|ends at it"),
        (Said(lambda a: np.sign(a - a.mean())), "after it|ends at it"),
        (Said(lambda a: np.sign(np.cumsum(a))), "lookback"),
        (Said(lambda a: np.sign(a + np.append(np.zeros(3), a)[: len(a)]), lookback=1), "lookback"),
    ],
    ids=["next row", "mean of the table", "sum since the beginning", "lookback too short"],
)
def test_a_planted_leak_is_found_with_row_column_and_both_values(strategy, how):
    market = table(n=400)
    leak = leak_in_strategy("planted", strategy, market, "EURUSD", 8, 1)
    assert leak is not None
    assert leak.column == "strategy planted: side"
    assert leak.row_ns in market.time_ns
    assert leak.row_ns <= leak.known_ns
    assert leak.before != leak.after
    assert re.search(how, leak.how)


@pytest.mark.parametrize("strategy", [
    Said(np.sign), Said(lambda a: np.sign(a + np.append(0.0, a)[: len(a)]), lookback=1),
    make_strategy("ma_crossover", {"cross": "a", "protection": {"feature": "c", "unit": "price"}}),
    make_strategy("mean_reversion", {"position": "b", "protection": {"feature": "c", "unit": "price"}}),
])
def test_what_is_sound_passes(strategy):
    assert leak_in_strategy("sound", strategy, table(n=400), "EURUSD", 8, 1) is None


def test_the_features_and_the_templates_that_come_with_tickwire_pass(market):
    for name in ("ma_crossover", "donchian_breakout", "mean_reversion"):
        run = leakcheck("--config", market, "--strategy", name, "--moments", "3", "--json")
        assert run.exit_code == 0, run.output
        found = json.loads(run.stdout)
        assert [one["sound"] for one in found] == [True, True]
        assert all(one["values"] > 100 for one in found)


def test_a_centred_window_in_a_strategy_is_caught(market, tmp_path):
    file = tmp_path / "centred.py"
    file.write_text(CENTRED)
    run = leakcheck("--config", market, "--strategy", "centred", "--strategy-file", str(file))
    assert run.exit_code == 1
    assert "strategy centred on EURUSD: the row of EURUSD at 2024-01-08T" in run.stderr
    assert re.search(r"strategy centred: side was -?1 and became -?1", run.stderr)


def test_a_forward_filled_bar_with_its_opening_time_is_caught_alone_and_in_a_config(market, tmp_path):
    file = tmp_path / "bar_of_45.py"
    file.write_text(BAR_OF_45_MINUTES.replace("{name}", "bar_of_45"))
    alone = leakcheck("--features", str(file))
    assert alone.exit_code == 1
    assert re.search(r"bar_of_45_close_300 was [\d.]+ and became [\d.]+", alone.stderr)
    Path(market).write_text(
        CONFIG + f"features: {{plugins: ['{file}'], features: [{{name: close_45, family: bar_of_45}}]}}\n"
    )
    whole = leakcheck("--config", market)
    assert whole.exit_code == 1
    assert re.search(r"1 features of EURUSD: .*close_45 was [\d.]+ and became [\d.]+", whole.stderr)


def test_families_of_the_library_pass(tmp_path):
    run = leakcheck("--features", "average_true_range", "--features", "spread", "--moments", "2")
    assert run.exit_code == 0
    assert "no leak in family average_true_range, family spread" in run.stdout


@pytest.mark.chaos
def test_the_whole_library_passes():
    run = leakcheck("--features", "all")
    assert run.exit_code == 0, run.output


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--features", "no_such_family"], "there is no such family"),
        (["--features", "nowhere.py"], "there is no file nowhere.py"),
        (["--strategy", "nobody"], "there is no strategy 'nobody'"),
        (["--limit", "20"], "make no feature row"),
    ],
)
def test_what_cannot_be_attacked_is_refused_with_a_remedy(market, arguments, problem):
    run = leakcheck("--config", market, *arguments)
    assert run.exit_code == 2
    assert problem in run.stderr


def test_a_strategy_that_raises_is_an_error_with_its_line(market, tmp_path):
    file = tmp_path / "raising.py"
    file.write_text(CENTRED.replace("n = len(smooth)", "n = len(nothing)").replace("Centred", "Raising"))
    run = leakcheck("--config", market, "--strategy", "raising", "--strategy-file", str(file))
    assert run.exit_code == 2
    assert "raising.py, line 10: NameError" in run.stderr
