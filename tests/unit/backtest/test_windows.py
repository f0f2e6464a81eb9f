"""Windows of a walk-forward run, and the strategy that changes on its way through them."""

import numpy as np
import pytest

from backtest.windows import Scheduled, ScheduledInference, span_ns, stretches
from libs.common.errors import ConfigError, DataError
from services.inference.config import InferenceConfig, StrategyConfig
from services.inference.strategies import make_strategy
from services.ingest.raw import RawTicks
from tests.unit.inference.rule_rows import rows, said_of, table

DAY = 86_400 * 1_000_000_000


def test_windows_follow_each_other_without_a_hole_and_never_see_ahead():
    found = stretches(0, 10 * DAY, 4 * DAY, 2 * DAY, DAY // 2)
    assert [one.test_from_ns / DAY for one in found] == [4.5, 6.5, 8.5]
    assert [one.train_from_ns / DAY for one in found] == [0.0, 2.0, 4.0]
    assert all(one.train_to_ns == one.test_from_ns - DAY // 2 for one in found)
    assert [one.test_to_ns for one in found][:-1] == [one.test_from_ns for one in found][1:]
    assert found[-1].test_to_ns == 10 * DAY + 1


def test_anchored_windows_choose_by_everything_so_far():
    assert {one.train_from_ns for one in stretches(7, 10 * DAY, 4 * DAY, DAY, anchored=True)} == {7}


def test_too_little_data_for_a_window_is_refused():
    with pytest.raises(DataError, match=r"3\.0 days of ticks hold no window"):
        stretches(0, 3 * DAY, 4 * DAY, DAY)
    with pytest.raises(ConfigError, match="longer than nothing"):
        stretches(0, 3 * DAY, 0, DAY)


@pytest.mark.parametrize("text", ["", "d", "4", "4y", "-1d", "nan d", "infd"])
def test_a_length_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="--train"):
        span_ns(text, "--train")


def strategies():
    return [
        make_strategy("mean_reversion", {"position": name, "threshold": 0.5, "protection": {"stop": stop}})
        for name, stop in (("a", 1.0), ("b", 2.0))
    ]


def test_nothing_is_suggested_before_the_first_window_and_each_strategy_has_its_own():
    market = table(n=90)
    borders = [int(market.time_ns[30]), int(market.time_ns[60])]
    config = InferenceConfig(strategy=StrategyConfig(name="mean_reversion"))
    core = ScheduledInference(config, Scheduled(borders, strategies()))
    said = [m for row in rows(market) for m in core.on_feature_block(row, row.ts_event_ns)]
    sides = [0 if m.side is None else m.side.sign for m in said]
    first, second = (said_of(strategy, market).side for strategy in strategies())
    assert sides == [*([0] * 30), *first[30:60].tolist(), *second[60:].tolist()]


def test_ticks_are_cut_at_the_borders_and_none_is_lost():
    time_ns = np.arange(100) * 10
    raw = RawTicks(symbol="X", file="x", first_line=1, time_ns=time_ns, bid=time_ns * 1.0, ask=time_ns * 1.0)
    schedule = Scheduled([200, 205, 990, 5_000], [*strategies(), *strategies()])
    chunks = [(chunk, schedule._now) for chunk in schedule.cut([raw])]
    assert np.concatenate([chunk.time_ns for chunk, _ in chunks]).tolist() == time_ns.tolist()
    assert [int(chunk.time_ns[0]) for chunk, _ in chunks] == [0, 200, 210, 990]
    assert len({id(now) for _, now in chunks}) == 4
