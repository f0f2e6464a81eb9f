"""Cutting a stream into chunks differently changes nothing that matters, and neither does a restart."""

from itertools import pairwise

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.config import DecideOn
from libs.common.messages.market import FeedStatus, TickBlock
from services.ingest.adapters.synthetic import SyntheticMarket
from services.ingest.config import IngestConfig, QualitySettings, SyntheticSettings
from services.ingest.core import IngestCore
from services.ingest.merge import merged
from services.ingest.quality import QualityState
from services.ingest.raw import RawTicks

S = 1_000_000_000
START = 1_704_672_000 * S
COLUMNS = ("time_ns", "bid", "ask")
PRICES = st.sampled_from([1.1, 1.1001, 1.1002, 1.15, 1.15001, 1.3, 0.0, -1.0, float("nan"), float("inf")])


@st.composite
def streams(draw) -> RawTicks:
    steps = draw(st.lists(st.sampled_from([-5, 0, 0, 1, 1, 1, 2, 30, 700]), min_size=1, max_size=80))
    n = len(steps)
    bid = np.array(draw(st.lists(PRICES, min_size=n, max_size=n)))
    ask = bid + np.array(draw(st.lists(st.sampled_from([0.0001, 0.0001, 0.0, -0.0001]), min_size=n, max_size=n)))
    return RawTicks(
        symbol="EURUSD", file="f", first_line=1, time_ns=START + np.cumsum(steps).astype(np.int64) * S, bid=bid, ask=ask
    )


def cut(raw: RawTicks, places: list[int]) -> list[RawTicks]:
    edges = sorted({0, len(raw), *(place % (len(raw) + 1) for place in places)})
    return [raw.part(start, stop) for start, stop in pairwise(edges)]


QUALITY = QualitySettings(warmup_ticks=3, spike_confirm_ticks=2, locked="quarantine")


@settings(max_examples=150, deadline=None)
@given(streams(), st.lists(st.integers(0, 1_000), max_size=6))
def test_verdicts_do_not_depend_on_the_chunks(raw, places):
    whole = QualityState(QUALITY).judge(raw)
    state = QualityState(QUALITY)
    assert np.array_equal(whole, np.concatenate([state.judge(part) for part in cut(raw, places)]))


@settings(max_examples=100, deadline=None)
@given(streams(), st.lists(st.integers(0, 1_000), max_size=6), st.integers(0, 6))
def test_good_ticks_their_numbers_and_the_quarantine_do_not_depend_on_chunks_or_restarts(raw, places, restart):
    config = IngestConfig(max_block=7, quality=QUALITY)
    decide_on = DecideOn(kind="interval", every=10)

    def run(parts: list[RawTicks], restart_after: int) -> tuple:
        core = IngestCore(config, ("EURUSD",), decide_on)
        good, bad, decisions = [], [], []
        for number, part in enumerate(parts):
            found = core.on_raw_ticks(part, 0)
            bad += [(tick.rule, tick.source) for tick in found.quarantined]
            for message in found.messages:
                if isinstance(message, TickBlock):
                    assert len(message) <= 7
                    assert message.first_tick == len(good) + 1
                    good += zip(*(getattr(message, name).tolist() for name in COLUMNS), strict=True)
                    decisions.append(len(good))
            if number == restart_after:
                state = core.snapshot()
                core = IngestCore(config, ("EURUSD",), decide_on)
                core.restore(state)
        (last,) = core.on_finished("EURUSD", 0)
        return good, bad, (last.ticks, last.gaps, last.quarantined), decisions

    whole, pieces = run([raw], -1), run(cut(raw, places), restart)
    assert whole[:3] == pieces[:3]
    assert len(whole[0]) + len(whole[1]) == len(raw)
    # Every decision that ends a block of the whole stream ends one of the pieces too; pieces only add cuts.
    due = IngestCore(IngestConfig(max_block=8_192, quality=QUALITY), ("EURUSD",), decide_on).on_raw_ticks(raw, 0)
    ends = [m.first_tick + len(m) - 1 for m in due.messages if isinstance(m, TickBlock)]
    assert set(ends) <= set(pieces[3])


@settings(max_examples=60, deadline=None)
@given(streams())
def test_what_is_passed_on_is_always_a_lawful_block(raw):
    found = IngestCore(IngestConfig(quality=QUALITY), ("EURUSD",)).on_raw_ticks(raw, 0)
    previous_ns = 0
    for message in found.messages:
        assert isinstance(message, TickBlock | FeedStatus)
        if isinstance(message, TickBlock):  # the message itself checks prices and order inside
            assert message.time_ns[0] >= previous_ns
            assert np.isfinite(message.bid).all()
            assert np.isfinite(message.ask).all()
            previous_ns = int(message.time_ns[-1])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 777, 5_000, 65_536]), st.integers(0, 3_000))
def test_the_synthetic_market_depends_on_its_seed_alone(seed, chunk, skip):
    market = SyntheticMarket(SyntheticSettings(duration_s=3_000.0 if chunk == 1 else 40_000.0, defects=True), seed)
    one = list(market.open("EURUSD"))
    other = list(market.open("EURUSD", chunk=chunk, skip=skip))
    for name in COLUMNS:
        left = np.concatenate([getattr(part, name) for part in one])[skip:]
        right = np.concatenate([getattr(part, name) for part in other] or [left[:0]])
        assert np.array_equal(left, right, equal_nan=True)
    if other:
        assert other[0].first_line == skip + 1


def test_the_merged_order_of_two_markets_does_not_depend_on_their_chunks():
    market = SyntheticMarket(SyntheticSettings(duration_s=7_200.0), 1)
    config = IngestConfig(max_block=8_192)

    def run(chunk: int) -> list[tuple[str, int]]:
        core = IngestCore(config, ("EURUSD", "XAUUSD"), DecideOn(kind="bar", every=60))
        messages = {
            symbol: (core.on_raw_ticks(raw, 0).messages for raw in market.open(symbol, chunk=chunk))
            for symbol in ("EURUSD", "XAUUSD")
        }
        found = [message for group in merged(messages) for message in group if isinstance(message, TickBlock)]
        times = [message.ts_event_ns for message in found]
        assert times == sorted(times)
        return [(m.symbol, m.first_tick + len(m) - 1) for m in found]

    big, small = run(65_536), run(1_000)
    ends = set(big)
    assert len(big) > 200
    assert [end for end in small if end in ends] == big


def test_snapshots_are_plain_json():
    core = IngestCore(IngestConfig(), ("EURUSD",))
    assert set(msgspec.json.decode(core.snapshot())) == {"feeds", "quality"}
