"""The synthetic market: what it promises, measured."""

from functools import lru_cache
from time import perf_counter

import numpy as np
import pytest

from libs.common.errors import ConfigError
from libs.common.messages.market import TickBlock
from services.ingest.adapters.synthetic import SyntheticMarket
from services.ingest.config import IngestConfig, QualitySettings, SyntheticInstrument, SyntheticSettings
from services.ingest.core import IngestCore
from services.ingest.market_hours import weekends_between

S = 1_000_000_000
DAY_S = 86_400
MONDAY = 1_704_672_000 * S


@lru_cache(maxsize=8)
def market(symbol: str, days: int, signal: float = 1.0, seed: int = 123) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    settings = SyntheticSettings(duration_s=float(days * DAY_S), signal_strength=signal)
    chunks = list(SyntheticMarket(settings, seed).open(symbol))
    time_ns, bid, ask = (np.concatenate([getattr(c, name) for c in chunks]) for name in ("time_ns", "bid", "ask"))
    return time_ns, bid, ask


def returns(symbol: str, days: int, signal: float) -> tuple[np.ndarray, np.ndarray]:
    """Log returns of the last 15 and the next 30 minutes, every 5 minutes the market is open."""
    time_ns, bid, ask = market(symbol, days, signal)
    grid = np.arange(time_ns[0], time_ns[-1], 300 * S)
    price = np.log((bid + ask) / 2)[np.searchsorted(time_ns, grid, side="right") - 1]
    past, future = price[3:-6] - price[:-9], price[9:] - price[3:-6]
    open_ = (past != 0.0) & (future != 0.0)
    return past[open_], future[open_]


@pytest.mark.parametrize(("symbol", "digits"), [("EURUSD", 5), ("XAUUSD", 2)])
def test_quotes_lie_on_the_grid_are_never_crossed_and_never_stand_still_in_time(symbol, digits):
    time_ns, bid, ask = market(symbol, 14)
    for prices in (bid, ask):
        assert np.array_equal(prices, np.rint(prices * 10**digits) / 10**digits)
    assert (ask > bid).all()
    assert (np.diff(time_ns) > 0).all()


@pytest.mark.parametrize("symbol", ["EURUSD", "XAUUSD"])
def test_a_day_has_about_a_hundred_thousand_ticks(symbol):
    time_ns, _, _ = market(symbol, 14)
    assert 90_000 < len(time_ns) / 10 < 115_000


def test_nothing_is_quoted_at_the_weekend_and_the_price_opens_elsewhere():
    time_ns, bid, _ = market("EURUSD", 14)
    for close, open_ in weekends_between(MONDAY, MONDAY + 14 * DAY_S * S)[:1]:
        assert not ((time_ns >= close) & (time_ns < open_)).any()
        before, after = np.searchsorted(time_ns, [close, open_])
        assert time_ns[before - 1] > close - 120 * S
        assert time_ns[after] < open_ + 120 * S
        assert abs(bid[after] / bid[before - 1] - 1.0) > 20 * np.median(np.abs(np.diff(bid))) / bid[0]


def test_london_is_busier_wilder_and_cheaper_than_the_asian_night():
    time_ns, bid, ask = market("EURUSD", 28)
    hour = time_ns // (3_600 * S) % 24
    london, asia = (hour >= 13) & (hour < 16), (hour >= 1) & (hour < 4)
    assert london.sum() > 3 * asia.sum()
    assert (ask - bid)[london].mean() < (ask - bid)[asia].mean()
    minute = np.flatnonzero(np.diff(time_ns // (60 * S)))
    moves, at = np.abs(np.diff(np.log(bid[minute]))), hour[minute][1:]
    assert moves[(at >= 13) & (at < 16)].mean() > 1.3 * moves[(at >= 1) & (at < 4)].mean()


def test_the_spread_widens_around_the_rollover():
    time_ns, bid, ask = market("EURUSD", 14)
    to_roll_s = np.abs(time_ns // S % DAY_S - 22 * 3_600)
    spread = ask - bid
    assert spread[to_roll_s < 120].mean() > 2.0 * spread[to_roll_s > 7_200].mean()


def test_volatility_comes_in_regimes():
    time_ns, bid, _ = market("EURUSD", 28)
    minute = np.flatnonzero(np.diff(time_ns // (60 * S)))
    moves = np.abs(np.diff(np.log(bid[minute])))
    blocks = moves[: len(moves) // 30 * 30].reshape(-1, 30).mean(axis=1)
    assert np.corrcoef(blocks[:-1], blocks[1:])[0, 1] > 0.3


@pytest.mark.parametrize("symbol", ["EURUSD", "XAUUSD"])
def test_a_simple_rule_finds_the_signal_and_it_is_weak(symbol):
    past, future = returns(symbol, 60, 1.0)
    coefficient = np.corrcoef(past, future)[0, 1]
    assert 0.08 < coefficient < 0.3
    assert 0.52 < (np.sign(past) == np.sign(future)).mean() < 0.62


@pytest.mark.parametrize("symbol", ["EURUSD", "XAUUSD"])
def test_following_a_strong_move_pays_more_than_it_costs(symbol):
    past, future = returns(symbol, 60, 1.0)
    strong = np.abs(past) > 1.5 * past.std()
    gain = (np.sign(past) * future)[strong].mean()
    _, bid, ask = market(symbol, 60, 1.0)
    cost = ((ask - bid) / bid).mean() + 0.7e-4  # the spread and 3.5 per lot and side on 100,000
    assert 0.08 * future.std() < cost < 0.5 * future.std()
    assert gain > cost


@pytest.mark.parametrize("symbol", ["EURUSD", "XAUUSD"])
def test_without_a_signal_nothing_is_there_to_find(symbol):
    past, future = returns(symbol, 60, 0.0)
    assert abs(np.corrcoef(past, future)[0, 1]) < 0.05


def test_seeds_and_symbols_give_different_markets_and_the_same_seed_the_same():
    one, again, other = (market("EURUSD", 1, 1.0, seed) for seed in (1, 1, 2))
    assert np.array_equal(one[1], again[1])
    assert not np.array_equal(one[0][:1_000], other[0][:1_000])
    assert not np.array_equal(one[0][:1_000], market("XAUUSD", 1, 1.0, 1)[0][:1_000])


def test_defects_are_found_each_by_its_rule_and_what_remains_is_the_clean_market():
    settings = {"duration_s": float(DAY_S), "defect_share": 0.001}
    quality = QualitySettings(locked="quarantine")

    def passed(defects: bool) -> tuple[list[TickBlock], dict[str, int]]:
        core = IngestCore(IngestConfig(quality=quality), ("EURUSD",))
        source = SyntheticMarket(SyntheticSettings(**settings, defects=defects), 5).open("EURUSD")
        blocks = [m for raw in source for m in core.on_raw_ticks(raw, 0).messages if isinstance(m, TickBlock)]
        return blocks, core.on_finished("EURUSD", 0)[0].quarantined

    clean, nothing = passed(False)
    mended, found = passed(True)
    assert sum(nothing.values()) == 0
    assert found.pop("time_jump") == 0  # the one kind it does not make
    assert min(found.values()) > 50
    for name in ("time_ns", "bid", "ask"):
        one, other = (np.concatenate([getattr(block, name) for block in blocks]) for blocks in (clean, mended))
        assert np.array_equal(one, other)


def test_the_end_and_the_rate_can_be_set_and_other_symbols_described():
    settings = SyntheticSettings(
        duration_s=7_200.0, ticks_per_second=0.1,
        instruments={"US30.cash": SyntheticInstrument(price=40_000.0, digits=1)},
    )
    chunks = list(SyntheticMarket(settings, 1).open("US30.cash", chunk=100))
    assert chunks[-1].time_ns[-1] < MONDAY + 7_200 * S
    assert 100 < sum(len(chunk) for chunk in chunks) < 1_000
    assert chunks[0].source == "synthetic:1"
    assert chunks[1].source == "synthetic:101"


def test_a_symbol_nobody_described_is_refused_with_the_remedy():
    with pytest.raises(ConfigError, match=r"ingest\.synthetic\.instruments\.GBPUSD"):
        SyntheticMarket(SyntheticSettings(), 1).open("GBPUSD")


def test_ticks_are_made_faster_than_anyone_can_use_them():
    source = SyntheticMarket(SyntheticSettings(), 1).open("EURUSD")
    next(source)
    best = 0.0
    for _ in range(4):
        start, made = perf_counter(), 0
        while made < 150_000:
            made += len(next(source))
        best = max(best, made / (perf_counter() - start))
    # A million a second on a machine of one's own; this floor also holds on a busy one.
    assert best > 250_000
