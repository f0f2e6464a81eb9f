"""What must hold for every stream: cuts, restarts, repeats and the future make no difference."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.config import DecideOn
from libs.common.messages.base import Message
from libs.common.messages.market import TickBlock
from services.features.core import FeaturesCore
from tests.unit.features.feature_markets import (
    cut,
    new_core,
    random_market,
    rows_of,
    run,
    signature,
)

N = 700
RULES = st.sampled_from([
    DecideOn(every=10), DecideOn(every=7), DecideOn(kind="tick", every=3), DecideOn(kind="interval", every=45),
])
CUTS = st.lists(st.integers(1, N - 1), max_size=25, unique=True).map(lambda cuts: [0, *sorted(cuts), N])
SEEDS = st.integers(0, 5)


def pieces(block: TickBlock, cuts: list[int]) -> list[TickBlock]:
    return [cut(block, begin, end) for begin, end in pairwise(cuts)]


def without_time_of_handling(messages: list[Message], symbol: str) -> list[tuple[object, ...]]:
    return signature(message for message in messages if getattr(message, "symbol", symbol) == symbol)


@settings(max_examples=40, deadline=None)
@given(RULES, SEEDS, CUTS, CUTS, st.randoms(use_true_random=False))
def test_cutting_and_interleaving_two_symbols_changes_no_bit(
    rule: DecideOn, seed: int, cuts_a: list[int], cuts_b: list[int], chance: object
) -> None:
    symbols = ("EURUSD", "GBPUSD")
    markets = [random_market(N, seed + k, symbol) for k, symbol in enumerate(symbols)]
    whole, parts = new_core(decide_on=rule, symbols=symbols), new_core(decide_on=rule, symbols=symbols)
    expected = run(whole, markets)
    waiting = [pieces(markets[0], cuts_a), pieces(markets[1], cuts_b)]
    said: list[Message] = []
    while any(waiting):
        queue = chance.choice([queue for queue in waiting if queue])  # type: ignore[attr-defined]
        said += run(parts, [queue.pop(0)])
    for symbol in symbols:
        assert without_time_of_handling(said, symbol) == without_time_of_handling(expected, symbol)
    assert parts.snapshot() == whole.snapshot()
    assert len(rows_of(expected)) > 20


def test_one_tick_at_a_time_equals_one_block_over_many_chunks() -> None:
    market = random_market(10_000, seed=3, mean_gap_s=0.7)
    whole, live = new_core(), new_core()
    expected = run(whole, [market])
    said = run(live, (cut(market, k, k + 1) for k in range(len(market))))
    assert signature(said) == signature(expected)
    assert live.snapshot() == whole.snapshot()
    assert len(rows_of(expected)) > 500


@settings(max_examples=40, deadline=None)
@given(RULES, SEEDS, st.integers(0, N), st.integers(0, N))
def test_restart_from_a_snapshot_is_invisible_even_when_ticks_come_again(
    rule: DecideOn, seed: int, killed_at: int, again_from: int
) -> None:
    market = random_market(N, seed)
    never_killed = new_core(decide_on=rule)
    expected = run(never_killed, [market])
    before = new_core(decide_on=rule)
    said = run(before, [cut(market, 0, killed_at)] if killed_at else [])
    after = new_core(decide_on=rule)
    after.restore(before.snapshot())
    begin = min(again_from, killed_at)  # the stream repeats what was handled just before the end
    said += run(after, [cut(market, begin, N)] if begin < N else [])
    assert signature(said) == signature(expected)
    assert after.snapshot() == never_killed.snapshot()


@settings(max_examples=40, deadline=None)
@given(RULES, SEEDS, st.integers(1, N - 1), st.integers(10, 20))
def test_nothing_said_up_to_a_tick_depends_on_a_later_one(
    rule: DecideOn, seed: int, known: int, other_seed: int
) -> None:
    market, other = random_market(N, seed), random_market(N, other_seed)
    later = other.time_ns[known:] - other.time_ns[known - 1] + market.time_ns[known - 1]
    future = TickBlock(
        ts_event_ns=int(later[-1]), ts_init_ns=0, symbol=market.symbol, first_tick=1,
        time_ns=np.concatenate([market.time_ns[:known], later]),
        bid=np.concatenate([market.bid[:known], other.bid[known:] * 1.5]),
        ask=np.concatenate([market.ask[:known], other.ask[known:] * 1.5 + 0.001]),
        last=np.concatenate([market.last[:known], other.last[known:]]),
        volume=np.concatenate([market.volume[:known], other.volume[known:] * 7.0]),
    )
    edge_ns = int(market.time_ns[known - 1])
    seen = known_by(new_core(decide_on=rule), market, known, edge_ns)
    assert known_by(new_core(decide_on=rule), future, known, edge_ns) == seen
    assert known_by(new_core(decide_on=rule), cut(market, 0, known), known, edge_ns) == seen


def known_by(core: FeaturesCore, block: TickBlock, tick: int, edge_ns: int) -> list[tuple[object, ...]]:
    """Return what was said at ticks up to a given one."""
    return signature(
        message for message in run(core, [block])
        if (message.tick <= tick if hasattr(message, "tick") else message.ts_event_ns <= edge_ns)
        and not (message.ts_event_ns == edge_ns and not hasattr(message, "tick"))
    )


@pytest.mark.parametrize("seed", range(3))
def test_still_prices_after_wild_ones_stay_finite(seed: int) -> None:
    n = 40_000
    wild = random_market(2_000, seed)
    times = wild.time_ns[-1] + np.arange(1, n + 1, dtype=np.int64) * 1_000_000_000
    still = TickBlock(
        ts_event_ns=int(times[-1]), ts_init_ns=0, symbol="EURUSD", first_tick=2_001, time_ns=times,
        bid=np.full(n, 1.1), ask=np.full(n, 1.1001), last=np.full(n, 1.1), volume=np.zeros(n),
    )
    core = new_core()
    rows = rows_of(run(core, [wild, still]))
    assert len(rows) > 4_000
    assert np.isfinite([row.values for row in rows]).all()
    assert np.abs([row.values for row in rows]).max() < 1e5
    assert core.details()["rows_not_finite"] == 0
