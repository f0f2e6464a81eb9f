"""Parameters of a search as people type them, and what they change."""

import pytest

from backtest.search_space import axes_of, axis_of, with_changes
from backtest.wiring import Sections
from libs.common.config import SystemConfig
from libs.common.errors import ConfigError
from services.executor.config import ExecutorConfig
from services.features.config import FeaturesConfig
from services.inference.config import InferenceConfig
from services.ingest.config import IngestConfig
from services.risk.config import RiskConfig

SECTIONS = Sections(
    system=SystemConfig(), instruments={}, ingest=IngestConfig(), features=FeaturesConfig(), inference=InferenceConfig(),
    risk=RiskConfig(), executor=ExecutorConfig(),
)


def test_ranges_and_lists_are_read_as_they_are_typed():
    assert (axis_of("a=0.5:2").low, axis_of("a=0.5:2").high, axis_of("a=0.5:2").whole) == (0.5, 2.0, False)
    assert axis_of("a=1:9:2").grid == (1, 3, 5, 7, 9)
    assert axis_of("a=0.1:0.5:0.2").grid == pytest.approx((0.1, 0.3, 0.5))
    assert axis_of("a=0.001:1:log").log
    assert axis_of("a=[x, y]").values == ("x", "y")
    assert axis_of("a=true,false").values == (True, False)
    assert axis_of("a=-5:5").grid == tuple(range(-5, 6))
    assert axis_of("a=1.5").values == (1.5,)


@pytest.mark.parametrize(
    "text", ["a", "=1:2", "a=", "a=2:1", "a=1:1", "a=1:x", "a=0:1:log", "a=0:1:2", "a=1:2:0.5:1", "a..b=1"]
)
def test_what_is_no_range_is_refused_by_name(text):
    with pytest.raises(ConfigError, match="--param"):
        axis_of(text)


def test_a_parameter_named_twice_is_refused():
    with pytest.raises(ConfigError, match=r"inference.strategy.params.a is named twice"):
        axes_of(["a=1:2", "inference.strategy.params.a=3:4"])


def test_changes_reach_any_section_and_are_checked_as_a_file_is():
    changed = with_changes(SECTIONS, {
        "risk.max_spread_points": 12.0, "features.features.rsi_14.params.period": 9,
        "inference.strategy.params.protection.stop": 0.5, "system.decide_on.every": 300,
    })
    assert changed.risk.max_spread_points == 12.0
    assert next(spec.params for spec in changed.features.features if spec.name == "rsi_14") == {"period": 9.0}
    assert changed.inference.strategy.params == {"protection": {"stop": 0.5}}
    assert changed.system.decide_on.every == 300
    assert SECTIONS.risk.max_spread_points != 12.0


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("risk.max_spread", 1.0, "unknown field `max_spread`"), ("risk.max_spread_points", -1.0, "Expected `float` > 0.0"),
        ("risk.nothing.there", 1, "there is no such key"), ("features.features.nobody.name", "x", "no entry 'nobody'"),
        ("system.seed.deep", 1, "there is no such key"),
    ],
)
def test_a_key_or_value_that_may_not_be_is_refused(path, value, problem):
    with pytest.raises(ConfigError, match=problem):
        with_changes(SECTIONS, {path: value})
