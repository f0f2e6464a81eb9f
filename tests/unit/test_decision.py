"""At which ticks a decision falls due."""

from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.config import DecideOn
from libs.common.trading.decision import decision_ticks

NS = 1_000_000_000
RULES = st.one_of(
    st.builds(DecideOn, kind=st.just("bar"), every=st.integers(1, 5_000)),
    st.builds(DecideOn, kind=st.just("tick"), every=st.integers(1, 7)),
    st.builds(DecideOn, kind=st.just("interval"), every=st.integers(1, 90_000)),
)
STEPS = st.lists(st.integers(0, 4_000 * NS), min_size=1, max_size=60)


def times_from(start_s: int, steps: list[int]) -> np.ndarray:
    return start_s * NS + np.cumsum(np.array(steps, dtype=np.int64))


def slow_rule(rule: DecideOn, times: list[int], first_tick: int) -> list[int]:
    """Say the rule once more, in plain Python."""
    if rule.kind == "tick":
        return [k for k in range(len(times)) if (first_tick + k) % rule.every == 0]

    def bucket(t: int) -> tuple[int, int]:
        if rule.kind == "bar":
            return 0, t // (rule.every * NS)
        return t // (86_400 * NS), t % (86_400 * NS) // (rule.every * NS)

    return [k + 1 for k, (a, b) in enumerate(pairwise(times)) if bucket(a) != bucket(b)]


@settings(max_examples=200, deadline=None)
@given(RULES, st.integers(0, 4_000_000_000), STEPS, st.integers(1, 50))
def test_decisions_are_those_of_the_plain_rule(
    rule: DecideOn, start_s: int, steps: list[int], first_tick: int
) -> None:
    times = times_from(start_s, steps)
    assert decision_ticks(rule, times, first_tick, None).tolist() == slow_rule(rule, times.tolist(), first_tick)


@settings(max_examples=200, deadline=None)
@given(RULES, st.integers(0, 4_000_000_000), STEPS, st.data())
def test_cutting_the_stream_never_moves_a_decision(
    rule: DecideOn, start_s: int, steps: list[int], data: st.DataObject
) -> None:
    times = times_from(start_s, steps)
    whole = decision_ticks(rule, times, 1, None).tolist()
    cuts = sorted(data.draw(st.sets(st.integers(1, len(times)))) | {0, len(times)})
    pieces = []
    for begin, end in pairwise(cuts):
        previous = None if begin == 0 else int(times[begin - 1])
        pieces += (decision_ticks(rule, times[begin:end], 1 + begin, previous) + begin).tolist()
    assert pieces == whole


@pytest.mark.parametrize("kind", ["bar", "interval"])
def test_the_very_first_tick_is_no_decision_even_on_a_boundary(kind: Literal["bar", "interval"]) -> None:
    times = np.array([3_600, 3_601, 7_200], dtype=np.int64) * NS
    assert decision_ticks(DecideOn(kind=kind, every=3_600), times, 1, None).tolist() == [2]


def test_intervals_start_again_at_midnight_while_bars_run_on() -> None:
    times = np.array([86_399, 86_400, 86_400 + 4_000], dtype=np.int64) * NS
    assert decision_ticks(DecideOn(kind="interval", every=50_000), times, 1, None).tolist() == [1]
    assert decision_ticks(DecideOn(kind="bar", every=50_000), times, 1, None).tolist() == []


def test_boundaries_passed_in_silence_make_one_decision() -> None:
    times = np.array([10, 10_000], dtype=np.int64) * NS
    assert decision_ticks(DecideOn(kind="bar", every=60), times, 1, None).tolist() == [1]


def test_columns_that_may_not_be_written_or_are_strided_are_fine() -> None:
    times = np.array([[1, 0], [61, 0], [121, 0]], dtype=np.int64)[:, 0] * NS
    times.flags.writeable = False
    strided = np.repeat(times, 2)[::2]
    assert decision_ticks(DecideOn(), strided, 1, None).tolist() == [1, 2]
    assert decision_ticks(DecideOn(), times, 1, 0).tolist() == [1, 2]
    assert decision_ticks(DecideOn(), times[:0], 1, None).tolist() == []
