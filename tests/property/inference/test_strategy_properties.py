"""However rows come, in one table or one by one, with a restart in between, a strategy says the same."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inference.config import InferenceConfig, StrategyConfig
from services.inference.core import InferenceCore
from services.inference.library import ModelLibrary
from services.inference.strategies import TEMPLATES, make_strategy
from tests.unit.inference.inference_world import plain
from tests.unit.inference.rule_rows import rows, said_of, table

PROTECTION = {"feature": "c", "unit": "price", "stop": 2.0, "target": 3.0}
PARAMS = {
    "ma_crossover": {"cross": "a", "protection": PROTECTION},
    "donchian_breakout": {"position": "a", "protection": PROTECTION, "threshold": 0.9},
    "mean_reversion": {"position": "b", "protection": PROTECTION},
    "stay_out": {},
}
N = 60


def test_every_template_is_tried_here():
    assert set(PARAMS) == set(TEMPLATES)


@pytest.mark.parametrize("name", sorted(PARAMS))
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1_000), cuts=st.sets(st.integers(1, N - 1)))
def test_cuts_never_matter(name, seed, cuts):
    strategy, market = make_strategy(name, PARAMS[name]), table(n=N, seed=seed)
    whole, cut = said_of(strategy, market), said_of(strategy, market, cuts)
    for one, other in zip(whole, cut, strict=True):
        acts = whole.side != 0
        np.testing.assert_array_equal(one[acts], other[acts])
    np.testing.assert_array_equal(whole.side, cut.side)


@pytest.mark.parametrize("name", sorted(PARAMS))
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1_000), killed_at=st.integers(0, N))
def test_a_restart_does_not_show_and_live_says_what_the_table_says(name, seed, killed_at):
    config = InferenceConfig(strategy=StrategyConfig(name=name, params=PARAMS[name]))
    market = table(n=N, seed=seed)
    never, before, after = (InferenceCore(config, ModelLibrary()) for _ in range(3))
    wanted = [message for row in rows(market) for message in never.on_feature_block(row, row.ts_event_ns)]
    said = [m for row in rows(market)[:killed_at] for m in before.on_feature_block(row, row.ts_event_ns)]
    after.restore(before.snapshot())
    said += [m for row in rows(market)[killed_at:] for m in after.on_feature_block(row, row.ts_event_ns)]
    assert plain(said) == plain(wanted)
    assert after.snapshot() == never.snapshot()
    whole = said_of(never.rules.strategy, market)
    assert [0 if m.side is None else m.side.sign for m in wanted] == whole.side.tolist()
    assert [m.stop_distance for m in wanted if m.side] == whole.stop_distance[whole.side != 0].tolist()


def test_the_core_remembers_no_more_than_the_lookback():
    config = InferenceConfig(strategy=StrategyConfig(name="ma_crossover", params=PARAMS["ma_crossover"]))
    core = InferenceCore(config, ModelLibrary())
    sizes = set()
    for row in rows(table(n=N)):
        core.on_feature_block(row, row.ts_event_ns)
        (state,) = msgspec.msgpack.decode(core.snapshot()).values()
        sizes.add(len(state["rule_tail"]))
    assert sizes == {(3 + 2) * 8}
