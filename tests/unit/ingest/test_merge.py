"""One order for the blocks of all symbols."""

import numpy as np
import pytest

from libs.common.messages.market import FeedStatus, TickBlock
from services.ingest.merge import BlockMerge, merged

S = 1_000_000_000


def block(symbol: str, *seconds: int) -> TickBlock:
    times = np.array(seconds, dtype=np.int64) * S
    prices = np.full(len(times), 1.1)
    return TickBlock(
        ts_event_ns=int(times[-1]), ts_init_ns=0, symbol=symbol, first_tick=1, time_ns=times, bid=prices, ask=prices
    )


def status(symbol: str, second: int) -> FeedStatus:
    return FeedStatus(
        ts_event_ns=second * S, ts_init_ns=0, symbol=symbol, last_tick_ns=0, ticks=0, quarantined={}, gaps=0,
        stale=False,
    )


def order(groups) -> list[tuple[str, int]]:
    return [(group[0].symbol, group[0].ts_event_ns // S) for group in groups]


def test_blocks_come_in_order_of_their_last_tick_then_of_their_symbol():
    streams = {
        "B": iter([[block("B", 1, 5)], [block("B", 9)]]),
        "A": iter([[block("A", 2), block("A", 5)], [block("A", 10)]]),
    }
    assert order(merged(streams)) == [("A", 2), ("A", 5), ("B", 5), ("B", 9), ("A", 10)]


def test_the_pieces_in_which_blocks_arrive_do_not_change_the_order():
    a, b = [block("A", k) for k in (1, 4, 6)], [block("B", k) for k in (2, 4, 9)]
    one = order(merged({"A": iter([a]), "B": iter([b])}))
    other = order(merged({"B": iter([[x] for x in b]), "A": iter([a[:2], [], a[2:]])}))
    assert one == other


def test_nothing_is_given_out_while_a_symbol_may_still_bring_something_earlier():
    merge = BlockMerge(("A", "B"))
    merge.push("A", [block("A", 1)])
    assert merge.pop() is None
    assert merge.needs() == ("B",)
    merge.finish("B")
    assert order([merge.pop()]) == [("A", 1)]
    assert merge.pop() is None


def test_statuses_stay_with_the_block_they_follow():
    streams = {
        "A": iter([[block("A", 5), status("A", 5)], [status("A", 5)]]),
        "B": iter([[block("B", 4), block("B", 5)]]),
    }
    groups = list(merged(streams))
    assert order(groups) == [("B", 4), ("A", 5), ("A", 5), ("B", 5)]
    assert [len(group) for group in groups] == [1, 2, 1, 1]


def test_a_symbol_nobody_named_or_that_has_finished_is_refused():
    merge = BlockMerge(("A",))
    with pytest.raises(ValueError, match="'B'"):
        merge.push("B", [block("B", 1)])
    merge.finish("A")
    with pytest.raises(ValueError, match="'A'"):
        merge.push("A", [block("A", 1)])


def test_a_symbol_that_finishes_with_blocks_waiting_still_gives_them():
    merge = BlockMerge(("A", "B"))
    merge.push("A", [block("A", 1), block("A", 3)])
    merge.finish("A")
    merge.push("B", [block("B", 2)])
    assert order([merge.pop(), merge.pop()]) == [("A", 1), ("B", 2)]
    assert merge.pop() is None
    merge.finish("B")
    assert order([merge.pop()]) == [("A", 3)]


def test_no_symbols_give_nothing():
    assert list(merged({})) == []
