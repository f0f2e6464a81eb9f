"""One suite for every family: registered, dispatched, honest about its warm-up, calm when nothing moves."""

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
from services.features import registry
from services.features.config import FeaturesConfig
from services.features.describe import family_table, feature_table
from services.features.engine import Engine
from services.features.feature_set import FeatureSet
from services.features.kernels import layout
from services.features.registry import FAMILIES, Clock, Family, WarmUp, steps_to_forget
from services.features.spec import DEFAULT_FEATURES
from tests.unit.features.feature_markets import (
    NS,
    POINT,
    bars_of,
    column,
    new_core,
    random_market,
    rows_of,
    run,
    short_spec,
)

EVERY = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
WINDOWED = ("log_return", "realised_volatility", "price_sigma", "bollinger", "donchian")
RESTING = {
    "ema_distance": 0.0, "spread_score": 0.0, "quote_rate": 0.0, "tick_imbalance": 0.0, "log_return": 0.0,
    "moving_average": 0.0, "rsi": 50.0, "average_true_range": 0.0, "realised_volatility": 0.0, "price_sigma": 0.0,
    "macd": 0.0, "bollinger": 0.0, "donchian": 0.0, "keltner": 0.0, "traded_volume": 0.0,
}
VERSIONS = Path(__file__).with_name("kernel_versions.json")


def config_of(family: Family) -> FeaturesConfig:
    return FeaturesConfig(
        timeframes_s=(10, 30), features=tuple(short_spec(family.name, output) for output in family.outputs)
    )


@EVERY
def test_a_family_is_described_in_full(family: Family) -> None:
    assert FAMILIES[family.name] is family
    assert 1 <= len(family.outputs) <= layout.MAX_OUTPUTS
    assert family.inputs <= {"quotes", "last", "volume"}
    assert family.version >= 1
    assert family.kernel.__doc__
    assert (family.clock is Clock.ROWS) == (family.ints == 0)


def test_no_two_families_of_a_clock_share_an_operation_number() -> None:
    taken = [(family.clock, family.op) for family in FAMILIES.values()]
    assert len(set(taken)) == len(taken)


@EVERY
def test_the_number_reaches_the_kernel_and_machine_code_agrees_with_python(family: Family) -> None:
    market = random_market(1_200, seed=5)
    rows = rows_of(run(new_core(config_of(family), DecideOn(kind="tick", every=1)), [market]))
    feature_set = FeatureSet(config_of(family).features, (10, 30))
    params = feature_set.features[0].params
    p, f, i = np.array(list(params.values())), np.zeros(family.floats(params)), np.zeros(family.ints, dtype=np.int64)
    out = np.full((layout.MAX_OUTPUTS, len(market)), np.nan)
    ticks = (market.time_ns, market.bid, market.ask, market.last, market.volume)
    column_of = np.arange(len(market))
    if family.clock is Clock.TICKS:
        family.kernel(f, i, p, POINT, *ticks, out)
    elif family.clock is Clock.ROWS:
        family.kernel(p, POINT, *ticks, out)
    else:
        engine = Engine(feature_set, DecideOn())
        engine.walk(engine.new_state(), POINT, 1, *ticks)
        visible_at = [bar.at for bar in engine.closed_bars() if bar.timeframe_s == 10]
        family.kernel(f, i, p, engine._bars_f[0].copy(), len(visible_at), out)
        column_of = np.searchsorted(visible_at, column_of, side="right") - 1
    for row in rows:
        wanted = out[:len(family.outputs), column_of[row.tick - 1]]
        np.testing.assert_allclose(row.values, wanted, rtol=1e-12, atol=1e-14)
    assert len(rows) > 500


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
    hasty = dataclasses.replace(FAMILIES[name], warm_up=lambda p: WarmUp())
    monkeypatch.setattr(registry, "FAMILIES", {**FAMILIES, name: hasty})
    monkeypatch.setattr("services.features.feature_set.FAMILIES", {**FAMILIES, name: hasty})
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
    now = {name: [family.version, source_hash(family.kernel)] for name, family in FAMILIES.items()}
    changed = {name for name in now if name in recorded and now[name][1] != recorded[name][1]}
    forgotten = {name for name in changed if now[name][0] == recorded[name][0]}
    assert not forgotten, f"count up the version in registry.py of: {sorted(forgotten)}"
    assert now == recorded, f"record in {VERSIONS.name}: {json.dumps(now)}"


def test_the_readme_lists_what_the_registry_holds() -> None:
    readme = (Path(__file__).parents[3] / "services/features/README.md").read_text(encoding="utf-8")
    assert feature_table(FeatureSet(DEFAULT_FEATURES, FeaturesConfig().timeframes_s)) in readme
    assert family_table() in readme
