"""What the ticks of a run tell: candles, hash, days, gaps, regimes."""

import numpy as np
import pytest

from backtest.candles import REGIMES, Candles, VolatilityRegimes
from backtest.tape import Tape
from libs.common.config import InstrumentConfig
from libs.common.errors import DataError
from tests.unit.backtest.backtest_world import DAY, EURUSD, HOUR, MIN, NOON, S, block


def plain_candles(times: np.ndarray, prices: np.ndarray, step_s: int) -> list[tuple[float, ...]]:
    """Return candles the slow way."""
    found: dict[int, list[float]] = {}
    for t, price in zip(times.tolist(), prices.tolist(), strict=True):
        found.setdefault(t // (step_s * S), []).append(price)
    return [(k * step_s * S, p[0], max(p), min(p), p[-1]) for k, p in sorted(found.items())]


@pytest.mark.parametrize("most", [0, 7, 40, 1_000])
@pytest.mark.parametrize("cuts", [1, 3, 500])
def test_candles_are_those_of_the_ticks_however_they_were_cut(most, cuts):
    random = np.random.default_rng(3)
    times = NOON + np.sort(random.integers(0, 20 * HOUR, 3_000))
    prices = 1.0 + np.cumsum(random.normal(0, 1e-4, 3_000))
    candles = Candles(60, most)
    for part in np.array_split(np.arange(3_000), cuts):
        candles.add(times[part], prices[part])
    table = candles.table()
    assert not most or len(table.open_ns) <= most
    prices_of = (table.open, table.high, table.low, table.close)
    columns = zip(table.open_ns.tolist(), *(column.tolist() for column in prices_of), strict=True)
    assert list(columns) == plain_candles(times, prices, table.step_s)


def test_no_candles_is_an_empty_table():
    assert len(Candles().table().open_ns) == 0


def tape_of(cuts: list[int], bids: list[float]) -> Tape:
    tape = Tape({"EURUSD": EURUSD})
    times = [NOON + k * S for k in range(len(bids))]
    for begin, end in zip([0, *cuts], [*cuts, len(bids)], strict=True):
        part = block(times[begin:end], bids[begin:end], first=begin + 1)
        tape.see(part)
        tape.note(part, (), ())
    return tape


def test_the_hash_depends_on_every_tick_and_not_on_how_they_were_cut():
    bids = [1.1 + k * 1e-5 for k in range(50)]
    whole = tape_of([], bids).data_sha256()
    assert tape_of([1, 7, 30], bids).data_sha256() == whole
    assert tape_of([], [*bids[:-1], bids[-1] + 1e-5]).data_sha256() != whole


def test_every_day_with_ticks_has_its_last_instant():
    tape = Tape({"EURUSD": EURUSD})
    for start in (NOON, NOON + DAY):
        tape.see(block([start, start + HOUR, start + 11 * HOUR], [1.1, 1.1, 1.1]))
    assert tape.day_ends().tolist() == [NOON + 11 * HOUR, NOON + DAY + 11 * HOUR]
    assert (tape.first_ns, tape.last_ns, tape.ticks("EURUSD")) == (NOON, NOON + DAY + 11 * HOUR, 6)
    assert tape.mean_spread_points("EURUSD") == pytest.approx(10.0)


def test_too_long_a_silence_of_an_open_market_is_refused_with_its_place_and_what_to_do():
    tape = Tape({"EURUSD": EURUSD}, max_gap_h=5.0)
    tape.see(block([NOON, NOON + 4 * HOUR], [1.1, 1.1]))
    with pytest.raises(DataError, match=r"EURUSD: no tick between .* 16:00 and 2024-01-15 22:00, 6 hours.*--max-gap"):
        tape.see(block([NOON + 10 * HOUR], [1.1]))


def test_a_weekend_is_no_gap_but_for_a_symbol_that_always_trades():
    friday = NOON + 4 * DAY
    ticks = [friday, friday + 65 * HOUR]
    Tape({"EURUSD": EURUSD}, max_gap_h=20.0).see(block(ticks, [1.1, 1.1]))
    with pytest.raises(DataError):
        Tape({"EURUSD": InstrumentConfig(session="always")}, max_gap_h=20.0).see(block(ticks, [1.1, 1.1]))


def test_a_gap_is_let_pass_where_any_is_allowed_and_told_of():
    tape = Tape({"EURUSD": EURUSD})
    tape.see(block([NOON, NOON + 30 * HOUR], [1.1, 1.1]))
    assert tape.longest_gap is not None
    assert tape.longest_gap.open_ns == 30 * HOUR


def test_hours_are_calm_usual_or_wild_in_thirds():
    candles = Candles(3_600, most=0)
    for hour in range(9):
        start = NOON + hour * HOUR
        candles.add(np.array([start, start + MIN]), np.array([1.0, 1.0 + (hour + 1) * 1e-3]))
    regimes = VolatilityRegimes(candles.table())
    assert [regimes.at(NOON + hour * HOUR + 5 * MIN) for hour in range(9)] == [name for name in REGIMES for _ in range(3)]
    assert regimes.at(0) == "calm"  # before the first hour: the nearest there is
