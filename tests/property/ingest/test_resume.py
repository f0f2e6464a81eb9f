"""Blocks made again after a restart are published from the first tick on that the stream lacks."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.config import DecideOn
from libs.common.messages.market import FeedStatus, TickBlock
from services.ingest.config import IngestConfig
from services.ingest.core import IngestCore
from services.ingest.raw import RawTicks
from services.ingest.resume import Overlap, part_from

S = 1_000_000_000
START = 1_704_672_000 * S


def raw_ticks(n: int, shift: float = 0.0) -> RawTicks:
    time_ns = START + np.arange(n, dtype=np.int64) * 7 * S
    bid = 1.1 + 1e-5 * (np.arange(n) % 17) + shift
    return RawTicks(symbol="EURUSD", file="f", first_line=1, time_ns=time_ns, bid=bid, ask=bid + 1e-5)


def core() -> IngestCore:
    return IngestCore(IngestConfig(max_block=16), ("EURUSD",), DecideOn(kind="tick", every=5))


def blocks_of(made: IngestCore, raw: RawTicks, cuts: list[int]) -> list:
    edges = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    messages = []
    for start, stop in pairwise(edges):
        messages += made.on_raw_ticks(raw.part(start, stop), 0).messages
    return messages


@settings(max_examples=150, deadline=None)
@given(
    n=st.integers(2, 120), point=st.integers(0, 119), held=st.integers(0, 40),
    cuts=st.lists(st.integers(0, 120), max_size=8), again=st.lists(st.integers(0, 120), max_size=8),
)  # fmt: skip
def test_what_is_published_before_and_after_a_kill_is_every_tick_once(n, point, held, cuts, again):
    raw, first = raw_ticks(n), core()
    made = [message for message in blocks_of(first, raw, cuts) if isinstance(message, TickBlock)]
    stream = made[:held]
    point = min(point, n, sum(map(len, stream)))
    restarted = core()
    if point:
        restarted.on_raw_ticks(raw.part(0, point), 0)
    restored = core()
    restored.restore(restarted.snapshot())
    stored = stream[-1] if stream and stream[-1].first_tick + len(stream[-1]) - 1 > point else None
    overlap = Overlap(stored)
    published = list(stream)
    for message in blocks_of(restored, raw.part(point, n), again) if point < n else []:
        part = overlap.new_part(message)
        assert not overlap.differs
        if isinstance(part, TickBlock):
            published.append(part)
    number = 1
    for block in published:
        assert block.first_tick == number
        number += len(block)
    assert np.concatenate([block.time_ns for block in published]).tolist() == raw.time_ns.tolist()
    assert overlap.is_over


def test_ticks_that_are_not_the_stored_ones_are_noticed():
    (stored,) = (m for m in core().on_raw_ticks(raw_ticks(4), 0).messages if isinstance(m, TickBlock))
    overlap = Overlap(stored)
    other = [m for m in core().on_raw_ticks(raw_ticks(4, shift=0.001), 0).messages if isinstance(m, TickBlock)]
    assert overlap.new_part(other[0]) is None
    assert overlap.differs


def test_statuses_of_what_is_made_again_are_kept_back():
    messages = core().on_raw_ticks(raw_ticks(4), 0).messages
    assert any(isinstance(message, FeedStatus) for message in messages)
    overlap = Overlap(part_from(messages[0], 1))
    status = next(message for message in messages if isinstance(message, FeedStatus))
    assert overlap.new_part(status) is None
    overlap.new_part(messages[0])
    assert overlap.new_part(status) is status


def test_a_core_that_adopts_a_block_numbers_on_after_it():
    made = core()
    block = next(m for m in core().on_raw_ticks(raw_ticks(5), 0).messages if isinstance(m, TickBlock))
    made.adopt(part_from(block, 3))
    assert (made.ticks("EURUSD"), made.last_tick_ns("EURUSD")) == (5, block.ts_event_ns)
    following = made.on_raw_ticks(raw_ticks(9).part(5, 9), 0).messages
    assert next(m for m in following if isinstance(m, TickBlock)).first_tick == 6
