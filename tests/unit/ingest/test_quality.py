"""Which ticks are good."""

import msgspec
import numpy as np
import pytest

from services.ingest.config import QualitySettings
from services.ingest.quality import RULES, QualityState
from services.ingest.raw import RawTicks

S = 1_000_000_000
START = 1_704_700_000 * S
BASE = 1.1


def ticks(rows: list[tuple[float, float, float]], **columns: object) -> RawTicks:
    """Rows of (seconds, bid, ask)."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    return RawTicks(
        symbol="EURUSD", file="f", first_line=1, time_ns=START + (table[:, 0] * S).astype(np.int64),
        bid=table[:, 1].copy(), ask=table[:, 2].copy(), **columns,
    )


def calm(count: int, first_s: float = 0.0) -> list[tuple[float, float, float]]:
    """A quiet market: half a pip to and fro, twice a second."""
    return [(first_s + k * 0.5, BASE + 0.00005 * (k % 2), BASE + 0.0001 + 0.00005 * (k % 2)) for k in range(count)]


def rules_of(raw: RawTicks, **settings: object) -> list[str]:
    verdicts = QualityState(QualitySettings(**settings)).judge(raw)
    return ["" if verdict == 0 else RULES[verdict - 1] for verdict in verdicts]


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        ((1.0, np.nan, 1.2), "non_finite"),
        ((1.0, 1.1, np.inf), "non_finite"),
        ((1.0, 0.0, 1.2), "non_positive"),
        ((1.0, 1.1, -1.2), "non_positive"),
        ((-1.0, 1.1, 1.2), "out_of_order"),
        ((1.0, 1.2, 1.1), "crossed"),
        ((0.0, 1.1, 1.2), "duplicate"),
    ],
)
def test_each_rule_keeps_back_its_tick_and_lets_the_next_good_one_pass(bad, rule):
    assert rules_of(ticks([(0.0, 1.1, 1.2), bad, (2.0, 1.1, 1.2)])) == ["", rule, ""]


def test_the_first_broken_rule_names_the_tick():
    assert rules_of(ticks([(0.0, 1.1, 1.2), (-1.0, np.nan, 0.0), (-1.0, 0.0, -1.0), (-1.0, 1.2, 1.1)])) == [
        "", "non_finite", "non_positive", "out_of_order",
    ]


def test_a_locked_quote_is_kept_and_counted_unless_told_otherwise():
    raw = ticks([(0.0, 1.1, 1.2), (1.0, 1.1, 1.1), (2.0, 1.1, 1.2)])
    state = QualityState(QualitySettings())
    assert not state.judge(raw).any()
    assert state.locked_kept == 1
    assert rules_of(raw, locked="quarantine") == ["", "locked", ""]


def test_the_same_quote_at_a_later_time_is_no_duplicate():
    assert rules_of(ticks([(0.0, 1.1, 1.2), (1.0, 1.1, 1.2)])) == ["", ""]


def test_a_price_that_comes_back_within_one_instant_is_no_duplicate():
    """Dropping the return would leave the wrong price standing."""
    assert rules_of(ticks([(0.0, 1.1, 1.2), (0.0, 1.11, 1.21), (0.0, 1.1, 1.2)])) == ["", "", ""]


def test_a_trade_at_an_unchanged_quote_is_no_duplicate():
    raw = ticks([(0.0, 1.1, 1.2), (0.0, 1.1, 1.2)], last=np.array([1.1, 1.1]), volume=np.array([1.0, 2.0]))
    assert rules_of(raw) == ["", ""]


def test_a_trade_price_or_volume_that_is_no_number_is_kept_back():
    raw = ticks([(0.0, 1.1, 1.2), (1.0, 1.1, 1.2)], last=np.array([np.nan, 1.1]), volume=np.array([1.0, -1.0]))
    assert rules_of(raw) == ["non_finite", "non_positive"]


def test_a_single_spike_is_kept_back_and_the_market_goes_on():
    rows = [*calm(100), (50.0, BASE * 1.02, BASE * 1.02 + 0.0001), *calm(5, 50.5)]
    found = rules_of(ticks(rows))
    assert found[100] == "spike"
    assert [rule for rule in found if rule] == ["spike"]


def test_a_large_move_in_a_wild_market_is_no_spike():
    wild = [(k * 0.5, BASE + 0.002 * (k % 2), BASE + 0.0001 + 0.002 * (k % 2)) for k in range(300)]
    assert not any(rules_of(ticks([*wild, (150.0, BASE + 0.012, BASE + 0.0121)])))


def test_a_true_change_of_level_is_accepted_by_the_confirming_tick():
    level = [(50.0 + k * 0.1, 1.15 + 0.00001 * k, 1.1501 + 0.00001 * k) for k in range(10)]
    found = rules_of(ticks([*calm(100), *level]), spike_confirm_ticks=3)
    assert found[100:] == ["spike"] * 3 + [""] * 7


def test_prices_that_agree_on_nothing_cannot_block_the_feed_for_ever():
    chaos = [(50.0 + k * 0.1, 1.1 * (1 + 0.01 * (k + 1) * (-1) ** k), 1.1 * (1 + 0.01 * (k + 1) * (-1) ** k) + 0.0001)
             for k in range(40)]
    found = rules_of(ticks([*calm(100), *chaos]), spike_confirm_ticks=2)
    assert found[100:110] == ["spike"] * 10
    assert "" in found[110:112]


def test_the_price_after_a_long_silence_is_not_compared_with_the_one_before():
    assert not any(rules_of(ticks([*calm(100), (400.0, 1.2, 1.2001)]), silent_after_s=120.0))


def test_no_spike_is_called_before_the_market_is_known():
    assert not any(rules_of(ticks([(0.0, 1.1, 1.1001), (1.0, 1.3, 1.3001)])))


def test_a_wild_first_price_does_not_make_later_spikes_usual():
    rows = [(0.0, 0.5, 0.5001), *calm(100, 1.0), (60.0, BASE * 1.02, BASE * 1.02 + 0.0001)]
    assert rules_of(ticks(rows))[-1] == "spike"


def test_coarse_sources_may_be_silent_for_longer():
    state = QualityState(QualitySettings(silent_after_s=120.0))
    assert state.silent_ns() == 120 * S
    assert state.silent_ns(1_200 * S) == 2_400 * S


def test_state_survives_dump_and_load():
    raw = ticks([*calm(200), (100.0, BASE * 1.05, BASE * 1.06), *calm(5, 100.5)])
    whole = QualityState(QualitySettings()).judge(raw)
    first, second = QualityState(QualitySettings()), QualityState(QualitySettings())
    head = first.judge(raw.part(0, 201))
    second.load(first.dump())
    assert np.array_equal(whole, np.concatenate([head, second.judge(raw.part(201, len(raw)))]))


def test_read_only_columns_are_judged_as_well():
    raw = ticks(calm(3))
    for name in ("time_ns", "bid", "ask"):
        getattr(raw, name).setflags(write=False)
    assert rules_of(raw) == ["", "", ""]


def test_settings_outside_their_bounds_are_refused():
    with pytest.raises(msgspec.ValidationError, match="spike_factor"):
        msgspec.convert({"spike_factor": 1.0}, QualitySettings)


DAY = 86_400.0


def test_one_tick_stamped_far_in_the_future_is_kept_back_and_blocks_nothing():
    rows = [*calm(5), (400 * DAY, BASE, BASE + 0.0001), *calm(5, first_s=3.0)]
    assert rules_of(ticks(rows)) == [*[""] * 5, "time_jump", *[""] * 5]


def test_wrong_times_that_do_not_agree_never_become_the_true_one():
    rows = [*calm(2)]
    for k in range(8):
        rows += [(400 * DAY - 20 * k * DAY, BASE, BASE + 0.0001)]
    assert rules_of(ticks([*rows, *calm(2, first_s=2.0)])) == [*[""] * 2, *["time_jump"] * 8, *[""] * 2]


def test_a_hole_of_more_than_a_week_is_believed_after_three_more_ticks_however_the_ticks_are_cut():
    rows = [*calm(5), *calm(6, first_s=30 * DAY)]
    expected = [*[""] * 5, *["time_jump"] * 3, *[""] * 3]
    assert rules_of(ticks(rows)) == expected
    state = QualityState(QualitySettings())
    found = [int(state.judge(ticks([row]))[0]) for row in rows]
    assert ["" if verdict == 0 else RULES[verdict - 1] for verdict in found] == expected


def test_a_long_weekend_is_no_jump_and_neither_is_the_next_bar_of_a_month():
    assert rules_of(ticks([*calm(2), *calm(2, first_s=5 * DAY)])) == [""] * 4
    month = ticks([(k * 10 * DAY, BASE, BASE + 0.0001) for k in range(5)], interval_ns=int(10 * DAY * S))
    assert not QualityState(QualitySettings()).judge(month).any()


@pytest.mark.parametrize("price", [1e308, -1e308, 1.1e12])
def test_a_price_nobody_can_reckon_with_is_none(price):
    assert rules_of(ticks([(0.0, 1.1, 1.2), (1.0, price, price), (2.0, 1.1, 1.2)])) == ["", "non_finite", ""]


@pytest.mark.parametrize("wild", [9e11, 5_000.0, 110.0])
def test_a_wild_price_is_a_spike_also_before_the_rules_are_warm_and_after_a_silence(wild):
    early = [*calm(5), (2.6, wild, wild), *calm(5, first_s=3.0)]
    assert rules_of(ticks(early)) == [*[""] * 5, "spike", *[""] * 5]
    late = [*calm(100), (5_000.0, wild, wild), *calm(100, first_s=5_001.0)]
    assert rules_of(ticks(late)) == [*[""] * 100, "spike", *[""] * 100]


def test_a_wild_first_price_is_overcome():
    assert rules_of(ticks([(0.0, 9e11, 9e11), *calm(60, first_s=1.0)])) == ["", *["spike"] * 3, *[""] * 57]
