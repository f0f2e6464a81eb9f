"""Paging takes every tick of a terminal once, whatever the pages, the polls and the restarts."""

from collections import Counter

import msgspec
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from libs.common.mt5.convert import ServerTicks
from libs.common.mt5.paging import TickCursor, cursor_at, take_page, tick_keys

START_MSC = 1_704_679_200_000


def ticks_of(rows: list[tuple[int, float]]) -> ServerTicks:
    times = np.array([START_MSC + msc for msc, _ in rows], dtype=np.int64)
    bid = np.array([price for _, price in rows], dtype=np.float64)
    nothing = np.zeros(len(rows))
    return ServerTicks(time_msc=times, bid=bid, ask=bid + 0.5, last=nothing, volume=nothing, flags=times % 7)


def since(ticks: ServerTicks, second_s: int) -> ServerTicks:
    return ticks.part(np.flatnonzero(ticks.time_msc // 1_000 >= second_s))


class Terminal:
    """Holds ticks in order and answers ``copy_ticks_from``."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, float]] = []

    def copy_ticks_from(self, second_s: int, count: int) -> ServerTicks:
        first = second_s * 1_000 - START_MSC
        return ticks_of([row for row in self.rows if row[0] >= first][:count])


@st.composite
def markets(draw) -> list[tuple[int, float]]:
    """Ticks with many equal milliseconds and equal values."""
    steps = draw(st.lists(st.sampled_from([0, 0, 0, 0, 1, 1, 3, 400, 1_000, 5_000]), min_size=1, max_size=60))
    prices = draw(st.lists(st.sampled_from([1.0, 1.0, 2.0]), min_size=len(steps), max_size=len(steps)))
    return list(zip(np.cumsum(steps).tolist(), prices, strict=True))


@settings(max_examples=200, deadline=None)
@given(
    market=markets(),
    usual=st.integers(1, 7),
    arrivals=st.lists(st.integers(0, 6), max_size=40),
    restarts=st.sets(st.integers(0, 60)),
)
@example(market=[(0, 1.0)] * 30, usual=1, arrivals=[3] * 10, restarts={0, 1, 2})
def test_every_tick_is_taken_once_and_in_order(market, usual, arrivals, restarts):
    terminal, cursor, taken, count, poll = Terminal(), TickCursor(START_MSC // 1_000), [], usual, 0
    waiting = list(market)
    for arriving in [*arrivals, len(waiting)]:
        terminal.rows += waiting[:arriving]
        del waiting[:arriving]
        more = True
        while more:
            page = take_page(cursor, terminal.copy_ticks_from(cursor.second_s, count), count, usual)
            taken += tick_keys(page.fresh).tolist()
            cursor, count, more = page.cursor, page.count, page.more
            poll += 1
            if poll in restarts:
                # All that a restarted process knows is what it stored.
                cursor = msgspec.json.decode(msgspec.json.encode(cursor), type=TickCursor)
                count = usual
            assert poll < 2_000, "no progress"
    assert taken == tick_keys(ticks_of(market)).tolist()


@settings(max_examples=100, deadline=None)
@given(market=markets(), rewritten=st.integers(0, 2**7 - 1))
def test_a_flag_that_the_terminal_rewrites_makes_no_tick_new(market, rewritten):
    ticks = ticks_of(market)
    page = take_page(TickCursor(START_MSC // 1_000), ticks, 1_000, 1_000)
    again = msgspec.structs.replace(ticks, flags=ticks.flags + rewritten)
    assert len(take_page(page.cursor, since(again, page.cursor.second_s), 1_000, 1_000).fresh) == 0


@settings(max_examples=100, deadline=None)
@given(market=markets(), late=st.integers(0, 59))
def test_a_tick_that_comes_late_into_the_last_second_is_taken_too(market, late):
    whole = ticks_of(market)
    late %= len(market)
    without = [row for place, row in enumerate(market) if place != late]
    page = take_page(TickCursor(START_MSC // 1_000), ticks_of(without), 1_000, 1_000)
    if without and (START_MSC + market[late][0]) // 1_000 < page.cursor.second_s:
        return
    after = take_page(page.cursor, since(whole, page.cursor.second_s), 1_000, 1_000)
    both = Counter(map(tuple, tick_keys(page.fresh).tolist())) + Counter(map(tuple, tick_keys(after.fresh).tolist()))
    assert both == Counter(map(tuple, tick_keys(whole).tolist()))


def test_ticks_before_the_asked_second_are_left_out():
    ticks = ticks_of([(0, 1.0), (1_500, 2.0)])
    page = take_page(TickCursor(START_MSC // 1_000 + 1), ticks, 10, 10)
    assert page.fresh.bid.tolist() == [2.0]


def test_ticks_of_the_repeated_hour_are_told_from_those_of_the_first_pass():
    first_pass = [(0, 1.0), (1_000, 2.0), (2_000, 3.0)]
    cursor = cursor_at(START_MSC // 1_000, ticks_of(first_pass))
    # The clock was turned back: ticks of the same seconds come again, between those of the first pass.
    mixed = [(0, 1.0), (500, 1.5), (1_000, 2.0), (1_000, 2.0), (2_000, 3.0)]
    page = take_page(cursor, ticks_of(mixed), 100, 100)
    assert page.fresh.bid.tolist() == [1.5, 2.0]
    again = take_page(page.cursor, ticks_of([*mixed[2:], (2_500, 4.0)]), 100, 100)
    assert again.fresh.bid.tolist() == [4.0]


def test_a_short_page_forgets_none_of_the_later_seconds_of_the_first_pass():
    first_pass = [(0, 1.0), (1_000, 2.0), (2_000, 3.0), (2_000, 3.5)]
    cursor = cursor_at(START_MSC // 1_000, ticks_of(first_pass))
    mixed = [(0, 1.0), (500, 1.5), *first_pass[1:]]
    page = take_page(cursor, ticks_of(mixed[:2]), 2, 2)
    assert page.fresh.bid.tolist() == [1.5]
    assert len(take_page(page.cursor, ticks_of(mixed), 100, 100).fresh) == 0
