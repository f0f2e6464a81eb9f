"""What becomes of a chunk: numbers, blocks, statuses, quarantine."""

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.config import DecideOn
from libs.common.messages.market import FeedStatus, TickBlock
from libs.common.mt5.server_zone import parse_zone
from services.ingest.config import IngestConfig
from services.ingest.core import IngestCore, Ingested
from services.ingest.cutting import cut_offsets, grid_for
from services.ingest.market_hours import open_ns_between, server_week, weekends_between
from services.ingest.raw import RawTicks

S = 1_000_000_000
MONDAY = 1_704_672_000 * S
"""2024-01-08 00:00 UTC."""
FRIDAY_CLOSE, SUNDAY_OPEN = MONDAY + (4 * 24 + 22) * 3_600 * S, MONDAY + (6 * 24 + 22) * 3_600 * S


def chunk(seconds: list[float], symbol: str = "EURUSD", start_ns: int = MONDAY, **columns: object) -> RawTicks:
    times = start_ns + (np.array(seconds) * S).astype(np.int64)
    bid = 1.1 + 0.00001 * (np.arange(len(times)) % 7)
    values = {"bid": bid, "ask": bid + 0.0001} | columns
    return RawTicks(symbol=symbol, file="ticks.csv", first_line=2, time_ns=times, **values)


def blocks(found: Ingested) -> list[TickBlock]:
    return [message for message in found.messages if isinstance(message, TickBlock)]


def statuses(found: Ingested) -> list[FeedStatus]:
    return [message for message in found.messages if isinstance(message, FeedStatus)]


def test_good_ticks_are_numbered_from_one_without_holes_across_chunks():
    core = IngestCore(IngestConfig(), ("EURUSD",))
    raw = chunk([0, 1, 2, 3], bid=np.array([1.1, np.nan, 1.1, 1.1]), ask=np.full(4, 1.2))
    first, second = blocks(core.on_raw_ticks(raw, 0)), blocks(core.on_raw_ticks(chunk([4, 5]), 0))
    assert (first[0].first_tick, len(first[0])) == (1, 3)
    assert second[0].first_tick == 4


def test_a_bad_tick_goes_to_the_quarantine_with_its_place_and_never_into_a_block():
    core = IngestCore(IngestConfig(), ("EURUSD",))
    raw = chunk([0, 1, 2], bid=np.array([1.1, 1.3, 1.1]), ask=np.full(3, 1.2))
    found = core.on_raw_ticks(raw, 0)
    assert [(tick.rule, tick.source, tick.bid, tick.last) for tick in found.quarantined] == [
        ("crossed", "ticks.csv:3", 1.3, None)
    ]
    assert blocks(found)[0].bid.tolist() == [1.1, 1.1]
    assert core.on_finished("EURUSD", 0)[0].quarantined["crossed"] == 1


def test_blocks_are_never_longer_than_allowed():
    core = IngestCore(IngestConfig(max_block=3), ("EURUSD",))
    assert [len(block) for block in blocks(core.on_raw_ticks(chunk(list(range(8))), 0))] == [3, 3, 2]


def test_blocks_end_after_decision_ticks_when_asked():
    core = IngestCore(IngestConfig(), ("EURUSD",), DecideOn(kind="bar", every=60))
    found = blocks(core.on_raw_ticks(chunk([50, 58, 61, 62, 119, 125, 130]), 0))
    assert [(block.time_ns[-1] - MONDAY) // S for block in found] == [61, 125, 130]


def test_the_first_tick_of_a_chunk_can_be_a_decision():
    core = IngestCore(IngestConfig(), ("EURUSD",), DecideOn(kind="bar", every=60))
    core.on_raw_ticks(chunk([50, 58]), 0)
    assert [len(block) for block in blocks(core.on_raw_ticks(chunk([61, 62]), 0))] == [1, 1]


def test_several_symbols_are_cut_at_a_common_grid_so_that_none_runs_ahead():
    core = IngestCore(IngestConfig(max_skew_s=60.0), ("EURUSD", "XAUUSD"))
    found = blocks(core.on_raw_ticks(chunk([10, 50, 70, 110, 130]), 0))
    assert [(block.time_ns[-1] - MONDAY) // S for block in found] == [50, 110, 130]


def test_no_grid_is_laid_where_it_is_not_needed():
    assert grid_for(None, 1, 60.0) == 0
    assert grid_for(DecideOn(kind="bar", every=60), 2, 60.0) == 0
    assert grid_for(DecideOn(kind="bar", every=3600), 2, 60.0) == 60 * S
    assert grid_for(DecideOn(kind="tick", every=10), 2, 60.0) == 60 * S


@pytest.mark.parametrize("length", [1, 2, 5, 6, 7, 23])
def test_cuts_rise_end_at_the_last_tick_and_respect_the_size(length):
    times = np.arange(length, dtype=np.int64) * 7 * S
    ends = cut_offsets(times, 1, None, max_block=3, decide_on=DecideOn(kind="tick", every=5), grid_ns=60 * S)
    assert ends[-1] == length
    lengths = np.diff(ends, prepend=0)
    assert lengths.min() >= 1
    assert lengths.max() <= 3


def test_times_of_messages_are_event_times_or_now_whichever_is_later():
    raw = chunk([0, 1])
    event = blocks(IngestCore(IngestConfig(), ("EURUSD",)).on_raw_ticks(raw, 0))[0]
    live = blocks(IngestCore(IngestConfig(), ("EURUSD",)).on_raw_ticks(raw, MONDAY + 9 * S))[0]
    assert (event.ts_event_ns, event.ts_init_ns) == (MONDAY + S, MONDAY + S)
    assert live.ts_init_ns == MONDAY + 9 * S
    assert (event.seq, event.step) == (0, 0)


def test_a_silence_of_an_open_market_is_a_gap_and_said_at_once():
    core = IngestCore(IngestConfig(), ("EURUSD",))
    found = core.on_raw_ticks(chunk([0, 1, 500, 501]), 0)
    assert found.gaps == 1
    assert statuses(found)[-1].gaps == 1


def test_the_weekend_is_no_gap_unless_the_market_never_closes():
    quiet = [0.0, (SUNDAY_OPEN - FRIDAY_CLOSE) / S + 60.0]
    raw = chunk(quiet, start_ns=FRIDAY_CLOSE - 30 * S)
    assert IngestCore(IngestConfig(), ("EURUSD",)).on_raw_ticks(raw, 0).gaps == 0
    always = IngestCore(IngestConfig(), ("EURUSD",), None, {"EURUSD": "always"})
    assert always.on_raw_ticks(raw, 0).gaps == 1


def test_a_silent_feed_is_stale_once_and_fresh_with_its_next_tick():
    core = IngestCore(IngestConfig(), ("EURUSD", "XAUUSD"))
    core.on_raw_ticks(chunk([0, 1]), 0)
    assert core.on_time(MONDAY + 100 * S) == ()
    (stale,) = core.on_time(MONDAY + 200 * S)
    assert stale.stale
    assert stale.symbol == "EURUSD"
    assert core.on_time(MONDAY + 201 * S) == ()
    assert not statuses(core.on_raw_ticks(chunk([300]), 0))[0].stale


def test_a_feed_is_not_stale_while_its_market_is_closed():
    core = IngestCore(IngestConfig(), ("EURUSD",))
    core.on_raw_ticks(chunk([0, 1], start_ns=FRIDAY_CLOSE - 30 * S), 0)
    assert core.on_time(SUNDAY_OPEN) == ()
    assert core.on_time(SUNDAY_OPEN + 200 * S)[0].stale


def test_statuses_come_at_most_once_per_interval_of_event_time():
    core = IngestCore(IngestConfig(status_every_s=60.0, max_block=10), ("EURUSD",))
    found = core.on_raw_ticks(chunk(list(range(600))), 0)
    assert len(statuses(found)) == 10
    for before, message in pairwise(found.messages):
        if isinstance(message, FeedStatus):
            assert isinstance(before, TickBlock)
            assert message.ticks == before.first_tick + len(before) - 1


def test_the_end_of_a_source_is_said():
    core = IngestCore(IngestConfig(), ("EURUSD",))
    core.on_raw_ticks(chunk([0, 1]), 0)
    (last,) = core.on_finished("EURUSD", 0)
    assert last.finished
    assert (last.ticks, last.last_tick_ns) == (2, MONDAY + S)


def test_absent_columns_stay_absent_and_present_ones_follow_their_ticks():
    core = IngestCore(IngestConfig(max_block=2), ("EURUSD",))
    raw = chunk([0, 1, 2], bid=np.array([1.1, np.nan, 1.1]), ask=np.full(3, 1.2), flags=np.array([2, 4, 6]))
    (block,) = blocks(core.on_raw_ticks(raw, 0))
    assert block.flags.tolist() == [2, 6]
    assert len(block.last) == len(block.volume) == 0


def test_a_chunk_without_a_good_tick_makes_no_block_but_is_counted():
    core = IngestCore(IngestConfig(), ("EURUSD",))
    found = core.on_raw_ticks(chunk([0, 1], bid=np.full(2, np.nan)), 0)
    assert found.messages == ()
    assert core.consumed("EURUSD") == 2
    assert core.details()["EURUSD quarantined"] == 2


def test_restored_cores_go_on_where_the_snapshot_was_taken():
    one, other = (IngestCore(IngestConfig(), ("EURUSD",), DecideOn()) for _ in range(2))
    one.on_raw_ticks(chunk([0, 1, 59]), 0)
    other.restore(one.snapshot())
    assert other.snapshot() == one.snapshot()
    assert blocks(other.on_raw_ticks(chunk([60, 61]), 0))[0].first_tick == 4


def test_the_week_of_foreign_exchange_follows_new_york():
    assert weekends_between(MONDAY, MONDAY + 7 * 86_400 * S) == [(FRIDAY_CLOSE, SUNDAY_OPEN)]
    # New York turns its clock on the Sunday in between: closes at 22:00 UTC, opens at 21:00.
    march = 1_709_856_000 * S  # 2024-03-08
    assert weekends_between(march, march + 4 * 86_400 * S) == [(march + 22 * 3600 * S, march + (48 + 21) * 3600 * S)]
    assert open_ns_between(FRIDAY_CLOSE - 5 * S, SUNDAY_OPEN + 7 * S, "fx") == 12 * S
    assert open_ns_between(FRIDAY_CLOSE, SUNDAY_OPEN, "always") == SUNDAY_OPEN - FRIDAY_CLOSE


def test_a_feed_that_is_down_is_stale_for_its_reason_until_the_next_tick():
    core = IngestCore(IngestConfig(), ("EURUSD",))
    core.on_raw_ticks(chunk([0, 1]), 0)
    (status,) = core.on_feed_lost("EURUSD", "disconnected", MONDAY + 2 * S)
    assert (status.stale, status.reason) == (True, "disconnected")
    assert core.on_feed_lost("EURUSD", "disconnected", MONDAY + 3 * S) == ()
    assert core.on_time(MONDAY + 900 * S) == ()
    messages = core.on_raw_ticks(chunk([4]), 0).messages
    assert (messages[-1].stale, messages[-1].reason) == (False, "")


def test_a_feed_that_is_up_again_is_judged_by_its_silence():
    core = IngestCore(IngestConfig(), ("EURUSD",))
    core.on_raw_ticks(chunk([0, 1]), 0)
    core.on_feed_lost("EURUSD", "unreachable", MONDAY + 2 * S)
    (status,) = core.on_feed_back("EURUSD", MONDAY + 5 * S)
    assert not status.stale
    core.on_feed_lost("EURUSD", "unreachable", MONDAY + 6 * S)
    (status,) = core.on_feed_back("EURUSD", MONDAY + 900 * S)
    assert (status.stale, status.reason) == (True, "silent")
    assert core.on_feed_back("EURUSD", MONDAY + 901 * S) == ()


def test_a_snapshot_of_an_earlier_version_with_other_rules_keeps_the_numbers_and_begins_the_counts_afresh():
    core = IngestCore(IngestConfig(), ("EURUSD",))
    core.on_raw_ticks(chunk([0, 1, 2, 1]), 0)
    old = msgspec.json.decode(core.snapshot())
    old["feeds"]["EURUSD"]["quarantined"].pop()
    old["quality"]["EURUSD"][1] = old["quality"]["EURUSD"][1][:5]
    other = IngestCore(IngestConfig(), ("EURUSD",))
    other.restore(msgspec.json.encode(old))
    assert (other.ticks("EURUSD"), other.consumed("EURUSD")) == (3, 4)
    (block,) = blocks(other.on_raw_ticks(chunk([3, 4]), 0))
    assert block.first_tick == 4
    assert sum(other.on_finished("EURUSD", 0)[0].quarantined.values()) == 0


WEEKDAYS = [(day, 3_600, 86_340) for day in range(1, 6)]
"""Monday to Friday, 01:00 to 23:59 by the server's clock."""


def test_a_brokers_week_is_open_when_its_sessions_say_so_by_its_own_clock():
    week = server_week(WEEKDAYS, lambda _: 2 * 3_600)
    opens = MONDAY - 3_600 * S  # 01:00 at UTC+2
    closes = opens + (22 * 3_600 + 59 * 60) * S
    assert open_ns_between(opens, closes, week) == closes - opens
    assert open_ns_between(closes, opens + 86_400 * S, week) == 0  # the daily break
    assert open_ns_between(closes - 5 * S, opens + (86_400 + 7) * S, week) == 12 * S
    assert open_ns_between(opens - 2 * 86_400 * S, opens + 1, week) == 1  # the weekend
    assert open_ns_between(opens, opens + 28 * 86_400 * S, week) == 20 * (closes - opens)
    assert open_ns_between(opens, opens, week) == 0


def test_sessions_are_joined_and_those_that_are_no_time_of_a_week_are_left_out():
    told = [(1, 43_200, 86_400), (2, 0, 60), (1, 0, 50_000), (6, 86_000, 10**9)]
    told += [(3, 0, 0), (3, 9, 8), (3, -9, 8), (7, 0, 60), (-1, 0, 60)]
    assert server_week(told, lambda _: 0).spans == ((86_400, 172_860), (604_400, 604_800))
    assert server_week([(3, 0, 0), (9, 0, 60)], lambda _: 0) is None


@given(st.integers(0, 40 * 86_400), st.lists(st.integers(0, 4 * 86_400), min_size=1, max_size=6))
def test_a_market_that_never_closes_is_open_through_the_turns_of_the_brokers_clock(start_s, steps_s):
    """And any stretch is open for as long as its parts are, whatever the sessions."""
    clock = parse_zone("NY+7").offset_s
    october = 1_729_382_400 * S  # 2024-10-20, two weeks before New York's clock is turned back
    always, weekdays = server_week([(day, 0, 86_400) for day in range(7)], clock), server_week(WEEKDAYS, clock)
    edges = [october + start_s * S]
    for step_s in steps_s:
        edges.append(edges[-1] + step_s * S)
    assert open_ns_between(edges[0], edges[-1], always) == edges[-1] - edges[0]
    parts = sum(open_ns_between(first, last, weekdays) for first, last in pairwise(edges))
    assert open_ns_between(edges[0], edges[-1], weekdays) == parts


def test_hours_learned_later_decide_what_a_silence_is():
    core = IngestCore(IngestConfig(), ("EURUSD",))
    core.on_raw_ticks(chunk([0]), 0)
    core.use_hours("EURUSD", server_week([(1, 0, 60)], lambda _: 0))
    assert core.on_time(MONDAY + 3_600 * S) == ()
    core.use_hours("EURUSD", "always")
    assert core.on_time(MONDAY + 3_600 * S)[0].reason == "silent"
