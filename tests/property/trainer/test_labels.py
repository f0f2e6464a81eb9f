"""Labels equal a plain walk over all ticks, whatever the blocks and the order of arrival."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.config import InstrumentConfig
from services.trainer.book import Book
from services.trainer.costs import round_trip_pct
from tests.unit.trainer.market import SECOND_NS, blocks, config, order, rows, ticks

INSTRUMENT = InstrumentConfig()
COUNT = 160


def plain_label(row, time_ns, bid, ask, settings_):
    """Say what became of a row by walking every tick after it, or ``None`` when its horizon has not ended."""
    sigma, mid0 = row.values[0], (row.bid + row.ask) / 2.0
    target, stop = settings_.target_sigma * sigma, settings_.stop_sigma * sigma
    cost = round_trip_pct(INSTRUMENT, mid0, "USD", settings_.slippage_pct)
    deadline = row.ts_event_ns + settings_.horizon_s * SECOND_NS
    kind = long = short = gross = None
    ends = []
    for t in range(row.tick, len(time_ns)):
        over = time_ns[t] >= deadline
        mid = (bid[t] + ask[t]) / 2.0
        up, down = mid >= mid0 + target, mid <= mid0 - target
        if kind is None and (over or up or down):
            kind = 1 if over else (2 if up else 0)
            gross = (mid - mid0) / mid0 * 100.0
            ends.append(time_ns[t])
        if long is None and (over or up or mid <= mid0 - stop):
            long = (bid[t] - row.ask) / mid0 * 100.0 - cost
            ends.append(time_ns[t])
        if short is None and (over or down or mid >= mid0 + stop):
            short = (row.bid - ask[t]) / mid0 * 100.0 - cost
            ends.append(time_ns[t])
        if over:
            return row.ts_event_ns, max(ends), kind, gross, long, short
    return None


def harvested(book, messages):
    closed = []
    for message in messages:
        if hasattr(message, "first_tick"):
            book.take_ticks(message)
        else:
            book.take_row(message)
        closed += list(book.harvest())
    return book.dataset(), closed


def outcomes(dataset):
    return list(zip(
        dataset.time_ns, dataset.end_ns, dataset.label, dataset.gross_pct, dataset.long_pct, dataset.short_pct,
        strict=True,
    ))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000), every=st.integers(1, 12), sigma=st.sampled_from([1e-5, 4e-5, 2e-4]),
    target=st.sampled_from([0.5, 1.0, 2.0]), stop=st.sampled_from([0.3, 1.0, 3.0]),
    cuts=st.lists(st.integers(1, COUNT - 1), max_size=25),
)
def test_labels_are_those_of_a_plain_walk_over_all_ticks(seed, every, sigma, target, stop, cuts):
    chosen = config(target_sigma=target, stop_sigma=stop, max_open_rows=256)
    time_ns, bid, ask = ticks(COUNT, seed)
    wanted = rows(time_ns, bid, ask, every, sigma, seed)
    messages = sorted([*blocks(time_ns, bid, ask, cuts), *wanted], key=order)
    found, _ = harvested(Book(chosen, INSTRUMENT), messages)
    expected = [plain_label(row, time_ns, bid, ask, chosen) for row in wanted]
    expected = [outcome for outcome in expected if outcome is not None]
    assert outcomes(found) == expected
    assert np.array_equal(found.features, np.array([row.values for row in wanted[: len(expected)]]).reshape(-1, 3))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000), cuts=st.lists(st.integers(1, COUNT - 1), max_size=40),
    delays=st.lists(st.integers(0, 60), min_size=COUNT, max_size=COUNT),
)
def test_neither_block_cuts_nor_late_or_early_rows_change_a_label(seed, cuts, delays):
    time_ns, bid, ask = ticks(COUNT, seed)
    wanted = rows(time_ns, bid, ask, 4, seed=seed)
    straight = sorted([*blocks(time_ns, bid, ask, range(1, COUNT)), *wanted], key=order)
    # Each row is put off or brought forward by some ticks; rows stay in their own order, as on the bus.
    places = np.maximum.accumulate([row.tick + delay - 20 for row, delay in zip(wanted, delays, strict=False)])
    mixed = [((order(one)[0], 0), one) for one in blocks(time_ns, bid, ask, cuts)]
    mixed += [((place, 1 + i), row) for i, (place, row) in enumerate(zip(places, wanted, strict=True))]
    mixed = [message for _, message in sorted(mixed, key=lambda pair: pair[0])]
    chosen = config(max_open_rows=256)
    one, closed_one = harvested(Book(chosen, INSTRUMENT), straight)
    other, closed_other = harvested(Book(chosen, INSTRUMENT), mixed)
    assert outcomes(one) == outcomes(other)
    assert closed_one == closed_other
    assert one.digest() == other.digest()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), late_ticks=st.integers(1, 40), cuts=st.lists(st.integers(1, COUNT - 1), max_size=9))
def test_how_late_a_row_may_come_does_not_depend_on_the_cuts(seed, late_ticks, cuts):
    chosen = config(late_ticks=late_ticks)
    time_ns, bid, ask = ticks(COUNT, seed)
    late = rows(time_ns, bid, ask, 4, seed=seed)
    books = [Book(chosen, INSTRUMENT), Book(chosen, INSTRUMENT)]
    found = [
        harvested(books[0], [*blocks(time_ns, bid, ask, ()), *late])[0],
        harvested(books[1], [*blocks(time_ns, bid, ask, cuts), *late])[0],
    ]
    assert outcomes(found[0]) == outcomes(found[1])
    assert books[0].counts == books[1].counts
    assert books[0].counts.late == sum(row.tick < COUNT - late_ticks for row in late)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000), split=st.integers(1, 60), max_rows=st.integers(60, 80),
    max_open_rows=st.integers(2, 64),
)
def test_a_restored_book_goes_on_as_if_nothing_had_happened(seed, split, max_rows, max_open_rows):
    chosen = config(max_rows=max_rows, max_open_rows=max_open_rows, late_ticks=64)
    time_ns, bid, ask = ticks(300, seed)
    messages = sorted([*blocks(time_ns, bid, ask, range(5, 300, 5)), *rows(time_ns, bid, ask, 2, seed=seed)], key=order)
    never, once, after = (Book(chosen, INSTRUMENT) for _ in range(3))
    harvested(never, messages)
    harvested(once, messages[:split])
    after.load(once.state())
    harvested(after, messages[split:])
    assert after.state() == never.state()
    assert len(after.dataset()) <= max_rows
