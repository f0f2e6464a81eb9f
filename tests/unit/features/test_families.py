"""What the registry says of each family is true: warm-up to the tick, rest, versions, documentation."""

import ast
import dataclasses
import hashlib
import inspect
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pytest

from libs.common.config import DecideOn
from services.features.config import FeaturesConfig
from services.features.conformance.checks import is_described
from services.features.describe import feature_table, markdown
from services.features.family import Clock, Family, WarmUp, steps_to_forget
from services.features.feature_set import FeatureSet
from services.features.registry import FAMILIES, LIBRARY
from services.features.spec import DEFAULT_FEATURES
from tests.unit.features.feature_markets import (
    NS,
    bars_of,
    column,
    is_always_soon,
    new_core,
    random_market,
    rows_of,
    run,
    short_spec,
)

ROOT = Path(__file__).parents[3]
SOON = {
    name: family for name, family in LIBRARY.items() if is_always_soon(family) and family.clock is not Clock.SERIES
}
EVERY = pytest.mark.parametrize("family", SOON.values(), ids=SOON)
WINDOWED = (
    "log_return", "realised_volatility", "price_sigma", "bollinger", "donchian", "sma", "wma", "stochastic", "williams_r",
    "cci", "momentum", "aroon", "regression", "hurst", "bollinger_bands", "range_volatility", "bipower",
    "volatility_ratio", "candle", "hammer", "candle_pair", "candle_trio", "bar_relation", "trend_range",
    "tick_activity", "spread_percentile",
)
RESTING = {
    "ema_distance": 0.0, "spread_score": 0.0, "quote_rate": 0.0, "tick_imbalance": 0.0, "log_return": 0.0,
    "moving_average": 0.0, "rsi": 50.0, "average_true_range": 0.0, "realised_volatility": 0.0, "price_sigma": 0.0,
    "macd": 0.0, "bollinger": 0.0, "donchian": 0.0, "keltner": 0.0, "traded_volume": 0.0, "williams_r": -50.0,
    "directional": 0.0, "cci": 0.0, "momentum": 0.0, "regression": 0.0, "hurst": 0.5, "range_volatility": 0.0,
    "bipower": 0.0, "ewma_volatility": 0.0, "volatility_ratio": 1.0, "spread_percentile": 50.0,
    "sign_autocorrelation": 0.0, "mid_pressure": 0.0, "quote_pressure": 0.0, "tick_volatility": 0.0,
    "volume_imbalance": 0.0, "depth_imbalance": 0.0, "order_flow_imbalance": 0.0, "bar_shape": 0.0, "cusum": 0.0,
}
VERSIONS = Path(__file__).with_name("kernel_versions.json")


def config_of(family: Family) -> FeaturesConfig:
    return FeaturesConfig(
        timeframes_s=(10, 30), features=tuple(short_spec(family.name, output) for output in family.outputs)
    )


@pytest.mark.parametrize("family", LIBRARY.values(), ids=LIBRARY)
def test_a_family_is_described_in_full(family: Family) -> None:
    assert is_described(family) == ""
    assert FAMILIES[family.name] is family
    assert family.group != "Plugins"


def test_the_library_holds_every_kind_of_feature_that_was_promised() -> None:
    groups = {family.group for family in LIBRARY.values()}
    assert groups == {
        "Trend and momentum", "Volatility", "Microstructure from quotes", "Microstructure from trades and depth",
        "Candle patterns", "Structure", "Sessions and calendar", "Cross-asset", "Regime", "Of other features",
    }
    assert sum(len(f.outputs) for f in LIBRARY.values() if f.group == "Candle patterns") >= 12


@EVERY
def test_no_row_comes_before_the_declared_warm_up_and_the_first_is_no_later(family: Family) -> None:
    market = random_market(3_000, seed=6)
    config = config_of(family)
    wanted = FeatureSet(config.features, config.timeframes_s).features[0].warm_up
    messages = run(new_core(config, DecideOn(kind="tick", every=1)), [market])
    closes_ns = np.array([bar.open_ns for bar in bars_of(messages, 10)]) + 10 * NS
    ready = [
        k for k, now_ns in enumerate(market.time_ns.tolist(), start=1)
        if k >= wanted.ticks and now_ns - market.time_ns[0] >= wanted.seconds * NS
        and np.searchsorted(closes_ns, now_ns, side="right") >= wanted.bars
    ]
    assert [row.tick for row in rows_of(messages)] == ready
    assert 0 < len(ready) <= 3_000 - max(wanted.ticks - 1, wanted.bars)


@pytest.mark.parametrize("name", WINDOWED)
def test_a_window_is_declared_exactly_as_long_as_it_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    market = random_market(1_000, seed=7)
    config = config_of(FAMILIES[name])
    honest = rows_of(run(new_core(config, DecideOn(kind="tick", every=1)), [market]))[0].tick
    monkeypatch.setitem(FAMILIES, name, dataclasses.replace(FAMILIES[name], warm_up=lambda p: WarmUp()))
    # Without a declared warm-up the rows whose window is not full are NaN and kept back one by one.
    assert rows_of(run(new_core(config, DecideOn(kind="tick", every=1)), [market]))[0].tick == honest


@pytest.mark.parametrize("alpha", [0.02, 0.1, 1.0 / 14.0, 2.0 / 3.0, 0.999])
def test_an_average_is_warm_once_its_first_value_weighs_under_a_hundredth(alpha: float) -> None:
    updates_after_the_first = steps_to_forget(alpha) - 1
    assert (1.0 - alpha) ** updates_after_the_first <= 0.01
    assert (1.0 - alpha) ** (updates_after_the_first - 1) > 0.01


@pytest.mark.parametrize("name", RESTING)
def test_constant_prices_give_the_value_of_rest(name: str) -> None:
    market = random_market(2_000, still=True)
    market.volume[:] = 0.0
    for row in rows_of(run(new_core(config_of(FAMILIES[name]), DecideOn(kind="tick", every=1)), [market])):
        assert row.values.tolist() == pytest.approx([RESTING[name]] * len(row.values), abs=1e-12)


def test_a_mid_that_only_seems_to_move_is_no_move() -> None:
    market = random_market(400, still=True)
    # The spread breathes symmetrically: the sum of bid and ask differs by rounding alone.
    width = np.arange(400) % 5
    market.bid[:] = (110_000 - width) / 1e5
    market.ask[:] = (110_000 + width) / 1e5
    rows = rows_of(run(new_core(config_of(FAMILIES["tick_imbalance"]), DecideOn(kind="tick", every=1)), [market]))
    assert set(column(rows, "tick_imbalance_imbalance").tolist()) == {0.0}


def source_hash(kernel: Callable[..., Any]) -> str:
    """Hash of what a kernel and everything of ours it calls do, blind to comments and docstrings."""
    digest, waiting, seen = hashlib.sha256(), [kernel], set()
    while waiting:
        function = waiting.pop()
        if function in seen:
            continue
        seen.add(function)
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
        assert isinstance(tree, ast.FunctionDef)
        digest.update(ast.dump(ast.Module(tree.body[1:] if ast.get_docstring(tree) else tree.body, [])).encode())
        for name in function.__code__.co_names:
            found = function.__globals__.get(name)
            places = [found] if not isinstance(found, ModuleType) else [
                getattr(found, attribute, None) for attribute in function.__code__.co_names
            ]
            for place in places:
                if isinstance(place, FunctionType):
                    waiting.append(place)
                elif isinstance(place, int | float):
                    digest.update(f"{name}={place!r}".encode())
    return digest.hexdigest()[:16]


def test_a_kernel_whose_code_changed_has_a_new_version() -> None:
    recorded = json.loads(VERSIONS.read_text(encoding="utf-8"))
    now = {name: [family.version, source_hash(family.kernel)] for name, family in LIBRARY.items()}
    changed = {name for name in now if name in recorded and now[name][1] != recorded[name][1]}
    forgotten = {name for name in changed if now[name][0] == recorded[name][0]}
    assert not forgotten, f"count up the version in families/ of: {sorted(forgotten)}"
    assert now == recorded, f"record in {VERSIONS.name}: {json.dumps(now)}"


def test_the_documents_list_what_the_registry_holds() -> None:
    readme = (ROOT / "services/features/README.md").read_text(encoding="utf-8")
    assert feature_table(FeatureSet(DEFAULT_FEATURES, FeaturesConfig().timeframes_s)) in readme
    document = (ROOT / "docs/features.md").read_text(encoding="utf-8")
    assert document == markdown(LIBRARY), "write it again: tickwire features list --markdown > docs/features.md"
