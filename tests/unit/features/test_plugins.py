"""A user's own family: a file named in the config, checked by the same suite as ours."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import structlog
from typer.testing import CliRunner

from libs.common.config import COMMON_SECTIONS, DecideOn, read_config
from libs.common.errors import ConfigError
from libs.common.runtime import user_code
from libs.common.runtime.metrics import Metrics
from services.features.adapters.plugin_files import load_file, load_plugins
from services.features.config import FeaturesConfig
from services.features.registry import FAMILIES, LIBRARY
from services.features.shell import build
from services.features.spec import FeatureSpec
from tests.unit.features.feature_markets import column, new_core, random_market, rows_of, run
from tickwire.main import app

GOOD = '''
from services.features.kernels.layout import CLOSE
from services.features.plugin import Clock, Parameter, WarmUp, feature_family, kernel_part


@kernel_part
def signed(change):
    return 1 if change > 0.0 else (-1 if change < 0.0 else 0)


@feature_family(
    clock=Clock.BARS, outputs={"length": "bars in a row that closed higher (+) or lower (-), at most `most`"},
    parameters={"most": Parameter(10, meaning="bars", brief=3)},
    warm_up=lambda p: WarmUp(bars=int(p["most"]) + 1), floats=lambda p: 1, ints=2,
)
def {name}(f, i, p, bars, n, out):
    """Length of the present run of rising or falling closes."""
    for b in range(n):
        sign = signed(bars[CLOSE, b] - f[0]) if i[0] > 0 else 0
        same = sign != 0 and i[1] * sign > 0
        i[1] = i[1] + sign if same else sign
        i[1] = max(-int(p[0]), min(int(p[0]), i[1]))
        f[0] = bars[CLOSE, b]
        i[0] += 1
        out[0, b] = i[1]
'''
PEEKS = GOOD.replace("bars[CLOSE, b] - f[0]", "bars[CLOSE, min(b + 1, n - 1)] - f[0]")


@pytest.fixture(autouse=True)
def only_ours_afterwards() -> Iterator[None]:
    yield
    for name in set(FAMILIES) - set(LIBRARY):
        del FAMILIES[name]


def written(tmp_path: Path, text: str, name: str) -> str:
    file = tmp_path / f"{name}.py"
    file.write_text(text.replace("{name}", name), encoding="utf-8")
    return str(file)


def test_a_plugin_of_the_config_makes_features_like_any_other(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD, "streak")
    config_file = tmp_path / "config.yaml"
    config_file.write_text(
        f"features:\n  timeframes_s: [60]\n  plugins: ['{file}']\n  features:\n"
        "    - {name: run_of_bars, family: streak, timeframe_s: 60, params: {most: 4}}\n"
    )
    config = read_config(config_file, {**COMMON_SECTIONS, "features": FeaturesConfig}, {})
    context: Any = SimpleNamespace(log=structlog.get_logger(), metrics=Metrics())
    core: Any = build(config, context).core
    assert core.names == ("run_of_bars",)
    rows = rows_of(run(new_core(config["features"], DecideOn(every=60)), [random_market(4_000)]))
    values = column(rows, "run_of_bars")
    assert set(np.unique(values)) <= {-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0}
    assert np.ptp(values) >= 4.0


def test_the_suite_passes_a_good_plugin_and_names_what_a_bad_one_does(tmp_path: Path) -> None:
    good = CliRunner().invoke(app, ["features", "check", written(tmp_path, GOOD, "honest_run"), "--json"])
    assert good.exit_code == 0
    assert set(json.loads(good.stdout)["honest_run"].values()) == {""}
    bad = CliRunner().invoke(app, ["features", "check", written(tmp_path, PEEKS, "peeking_run"), "--json"])
    assert bad.exit_code == 1
    found = json.loads(bad.stdout)["peeking_run"]
    assert "changes what it said before" in found["no look-ahead"]
    assert found["constant prices"] == ""


@pytest.mark.parametrize(
    ("text", "words"), [
        ("import nothing_of_this_name", "line 1: ModuleNotFoundError"),
        ("x = 1\nx +\n", "line 2: SyntaxError"),
        (GOOD.replace("def {name}(f, i, p, bars, n, out)", "def {name}(f, i, p, n, out)"), r"takes \(f, i, p, n, out\)"),
        (GOOD.replace("def {name}(", "def rsi("), "there is a family 'rsi' already"),
    ], ids=["import", "syntax", "arguments", "name"],
)
def test_a_broken_plugin_is_named_with_its_line(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        load_file(written(tmp_path, text, "broken"))
    assert "broken" in str(caught.value)


def test_a_file_that_is_not_there_or_registers_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file .*none\.py"):
        load_plugins([str(tmp_path / "none.py")])
    empty = CliRunner().invoke(app, ["features", "check", written(tmp_path, "x = 1\n", "empty")])
    assert empty.exit_code == 2


def test_a_package_registers_its_families_by_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, GOOD, "packaged_run")
    point = SimpleNamespace(name="packaged", value="packaged.features", load=lambda: load_file(file))
    broken = SimpleNamespace(name="broken", value="broken.features", load=lambda: 1 / 0)
    monkeypatch.setattr(user_code, "entry_points", lambda group: [point] if group == "tickwire.features" else [])
    load_plugins([])
    assert "packaged_run" in FAMILIES
    monkeypatch.setattr(user_code, "entry_points", lambda group: [broken])
    with pytest.raises(ConfigError, match=r"plugin broken \(broken\.features\): ZeroDivisionError"):
        load_plugins([])


def test_the_list_shows_every_family_with_inputs_and_warm_up() -> None:
    listed = CliRunner().invoke(app, ["features", "list", "--json"])
    assert listed.exit_code == 0
    families = {family["name"]: family for family in json.loads(listed.stdout)}
    assert set(families) == set(LIBRARY)
    assert families["rsi"]["warm_up"] == "78 bars"
    assert families["vpin"]["inputs"] == ["last", "quotes", "volume"]
    assert all(family["about"] and family["outputs"] for family in families.values())
    one = CliRunner().invoke(app, ["features", "list", "garch"])
    assert "Bollerslev (1986)" in one.stdout
    chosen = CliRunner().invoke(app, ["features", "list", "--set", "--json"])
    assert len(json.loads(chosen.stdout)["features"]) == 36
    assert CliRunner().invoke(app, ["features", "list", "rsii"]).exit_code == 2


def test_a_plugin_feature_names_its_family_when_it_is_missing() -> None:
    with pytest.raises(ConfigError, match="there is no family 'streak_of_mine'"):
        new_core(FeaturesConfig(features=(FeatureSpec(name="x", family="streak_of_mine", timeframe_s=60),)))
