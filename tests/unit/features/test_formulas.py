"""The numbers of every family against the plainest way of computing them."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from libs.common.config import DecideOn
from libs.common.messages.market import TickBlock
from libs.common.trading import sessions
from services.features.config import FeaturesConfig
from services.features.spec import DEFAULT_FEATURES, FeatureSpec
from tests.unit.features.feature_markets import (
    NS,
    POINT,
    bars_of,
    column,
    new_core,
    random_market,
    rows_of,
    run,
)

MARKET = random_market(60_000, seed=11, mean_gap_s=1.5)
MESSAGES = run(new_core(FeaturesConfig(), DecideOn(every=60)), [MARKET])
ROWS = rows_of(MESSAGES)
ROW_AT = [row.tick - 1 for row in ROWS]


class PlainBars:
    """Bars of a market in plain Python, without the bar the first tick falls into and the one still open."""

    def __init__(self, market: TickBlock, length_s: int) -> None:
        buckets: dict[int, list[int]] = {}
        for k, t in enumerate(market.time_ns.tolist()):
            buckets.setdefault(t // (length_s * NS), []).append(k)
        groups = list(buckets.items())
        self.open_ns = [bucket * length_s * NS for bucket, _ in groups[1:-1]]
        self.members = [members for _, members in groups[1:-1]]
        self.visible_at = [members[0] for _, members in groups[2:]]
        bid, mid = market.bid, (market.bid + market.ask) / 2.0
        self.open = [float(bid[m[0]]) for m in self.members]
        self.high = [float(bid[m].max()) for m in self.members]
        self.low = [float(bid[m].min()) for m in self.members]
        self.close = [float(bid[m[-1]]) for m in self.members]
        self.mid_close = [float(mid[m[-1]]) for m in self.members]


BARS = {length: PlainBars(MARKET, length) for length in (60, 300, 900, 3600)}
NEWEST = {
    length: np.searchsorted(np.array(bars.visible_at), np.array(ROW_AT), side="right") - 1
    for length, bars in BARS.items()
}


def ema(values: Sequence[float], span: float) -> list[float]:
    averages = [values[0]]
    for value in values[1:]:
        averages.append(averages[-1] + 2.0 / (span + 1.0) * (value - averages[-1]))
    return averages


def wilder(values: Sequence[float], period: int) -> list[float]:
    """Mean of the first values, then Wilder's smoothing; NaN before."""
    averages = [math.nan] * (period - 1) + [sum(values[:period]) / period]
    for value in values[period:]:
        averages.append((averages[-1] * (period - 1) + value) / period)
    return averages


def expect(name: str, per_bar: Sequence[float], length_s: int = 60) -> None:
    wanted = np.array(per_bar)[NEWEST[length_s]]
    np.testing.assert_allclose(column(ROWS, name), wanted, rtol=1e-9, atol=1e-9)


def windows(values: Sequence[float], period: int) -> list[np.ndarray]:
    return [np.array(values[max(0, k - period + 1):k + 1]) for k in range(len(values))]


def test_there_is_something_to_compare() -> None:
    assert len(ROWS) > 1_000
    assert ROWS[0].names == tuple(spec.name for spec in DEFAULT_FEATURES)
    assert [(row.bid, row.ask) for row in ROWS] == [
        (float(MARKET.bid[at]), float(MARKET.ask[at])) for at in ROW_AT
    ]


@pytest.mark.parametrize("length_s", BARS)
def test_bars_are_those_of_grouping_ticks_by_time(length_s: int) -> None:
    bars, plain = bars_of(MESSAGES, length_s), BARS[length_s]
    assert [bar.open_ns for bar in bars] == plain.open_ns
    assert [(b.open, b.high, b.low, b.close) for b in bars] == list(
        zip(plain.open, plain.high, plain.low, plain.close, strict=True)
    )
    assert [bar.tick_count for bar in bars] == [len(members) for members in plain.members]
    assert [bar.ts_event_ns for bar in bars] == [int(MARKET.time_ns[at]) for at in plain.visible_at]
    spreads = MARKET.ask - MARKET.bid
    np.testing.assert_allclose([bar.spread_mean for bar in bars], [spreads[m].mean() for m in plain.members])


@pytest.mark.parametrize(
    ("name", "length_s", "back"),
    [("return_1", 60, 1), ("return_5", 60, 5), ("return_15", 60, 15), ("return_m5", 300, 1),
     ("return_m15", 900, 1), ("return_h1", 3600, 1)],
)
def test_returns(name: str, length_s: int, back: int) -> None:
    mid = BARS[length_s].mid_close
    returns = [1e4 * math.log(mid[k] / mid[k - back]) if k >= back else math.nan for k in range(len(mid))]
    expect(name, returns, length_s)


def test_moving_averages_and_their_cross() -> None:
    close = BARS[60].close
    fast, slow = ema(close, 10), ema(close, 40)
    expect("ma_fast", [1e4 * (f - c) / c for f, c in zip(fast, close, strict=True)])
    expect("ma_slow", [1e4 * (s - c) / c for s, c in zip(slow, close, strict=True)])
    expect("ma_cross", [1e4 * (f - s) / c for f, s, c in zip(fast, slow, close, strict=True)])


def test_rsi() -> None:
    changes = np.diff(BARS[60].close).tolist()
    gains = wilder([max(change, 0.0) for change in changes], 14)
    losses = wilder([max(-change, 0.0) for change in changes], 14)
    expect("rsi_14", [math.nan] + [100.0 - 100.0 / (1.0 + g / x) for g, x in zip(gains, losses, strict=True)])


def true_ranges() -> list[float]:
    bars = BARS[60]
    return [
        max(high - low, abs(high - previous), abs(low - previous))
        for high, low, previous in zip(bars.high[1:], bars.low[1:], bars.close, strict=False)
    ]


def test_average_true_range() -> None:
    expect("atr_14", [math.nan, *wilder(true_ranges(), 14)])


def test_macd() -> None:
    close = BARS[60].close
    line = [fast - slow for fast, slow in zip(ema(close, 12), ema(close, 26), strict=True)]
    signal = ema(line, 9)
    expect("macd_line", [1e4 * x / c for x, c in zip(line, close, strict=True)])
    expect("macd_signal", [1e4 * s / c for s, c in zip(signal, close, strict=True)])
    expect("macd_histogram", [1e4 * (x - s) / c for x, s, c in zip(line, signal, close, strict=True)])


def test_bollinger_position() -> None:
    closes = windows(BARS[60].close, 20)
    expect("bollinger_20", [
        (window[-1] - window.mean()) / (2.0 * window.std()) if len(window) == 20 else math.nan for window in closes
    ])


@pytest.mark.parametrize(("name", "length_s", "period"), [("donchian_20", 60, 20), ("donchian_m15_8", 900, 8)])
def test_donchian_position(name: str, length_s: int, period: int) -> None:
    bars = BARS[length_s]
    highs, lows = windows(bars.high, period), windows(bars.low, period)
    expect(name, [
        2.0 * (close - low.min()) / (high.max() - low.min()) - 1.0
        for close, high, low in zip(bars.close, highs, lows, strict=True)
    ], length_s)


def test_keltner_position() -> None:
    close, middle, ranges = BARS[60].close, ema(BARS[60].close, 20), [math.nan, *wilder(true_ranges(), 10)]
    expect("keltner_20", [(c - m) / (2.0 * r) for c, m, r in zip(close, middle, ranges, strict=True)])


@pytest.mark.parametrize("window", [15, 60])
def test_realised_volatility(window: int) -> None:
    squares = (1e4 * np.diff(np.log(BARS[60].mid_close))) ** 2
    means = [math.sqrt(w.mean()) for w in windows(squares.tolist(), window)]
    expect(f"volatility_{window}", [math.nan, *means])


def test_price_sigma_is_what_an_hour_of_such_minutes_would_move() -> None:
    squares = np.diff(BARS[60].mid_close) ** 2
    means = [math.sqrt(60 * w.mean()) for w in windows(squares.tolist(), 60)]
    expect("sigma_60", [math.nan, *means])


@pytest.mark.parametrize("span", [50, 200, 1000])
def test_distance_from_tick_averages(span: int) -> None:
    mid = ((MARKET.bid + MARKET.ask) / 2.0).tolist()
    average = ema(mid, span)
    wanted = [1e4 * (mid[at] / average[at] - 1.0) for at in ROW_AT]
    np.testing.assert_allclose(column(ROWS, f"ema_distance_{span}"), wanted, rtol=1e-7, atol=1e-9)


def test_spread_in_points_in_basis_points_and_its_score() -> None:
    spread = (MARKET.ask - MARKET.bid) / POINT
    np.testing.assert_allclose(column(ROWS, "spread_points"), spread[ROW_AT], rtol=1e-9)
    mid = (MARKET.bid + MARKET.ask) / 2.0
    np.testing.assert_allclose(column(ROWS, "spread_bp"), (1e4 * spread * POINT / mid)[ROW_AT], rtol=1e-9)
    # Two passes: the weights of every spread so far, newest heaviest, the first one taking what is left.
    alpha = 2.0 / 1001.0
    for row, at in list(zip(ROWS, ROW_AT, strict=True))[::200]:
        weights = alpha * (1.0 - alpha) ** np.arange(at, -1, -1.0)
        weights[0] = 1.0 - weights[1:].sum()
        mean = float(weights @ spread[:at + 1])
        deviation = math.sqrt(float(weights @ (spread[:at + 1] - mean) ** 2))
        score = row.values[row.names.index("spread_score_1000")]
        assert score == pytest.approx((spread[at] - mean) / deviation, abs=1e-6)


def test_quote_rate_counts_revisions_and_forgets_them() -> None:
    changed = np.flatnonzero((np.diff(MARKET.bid) != 0.0) | (np.diff(MARKET.ask) != 0.0)) + 1
    for row, at in list(zip(ROWS, ROW_AT, strict=True))[::100]:
        past = MARKET.time_ns[changed[changed <= at]]
        wanted = float(np.exp(-(MARKET.time_ns[at] - past) / NS / 60.0).sum() / 60.0)
        assert row.values[row.names.index("quote_rate_60")] == pytest.approx(wanted, rel=1e-9)


def test_tick_imbalance_is_the_average_sign_of_moves() -> None:
    signs = np.sign(np.diff(np.round((MARKET.bid + MARKET.ask) / POINT))).tolist()
    average = ema([0.0, *signs], 100)
    np.testing.assert_allclose(
        column(ROWS, "tick_imbalance_100"), [average[at] for at in ROW_AT], rtol=1e-9, atol=1e-12
    )


def test_clock_features_say_the_time_of_the_rows_tick() -> None:
    for row in ROWS[::50]:
        value = dict(zip(row.names, row.values.tolist(), strict=True))
        angle = 2.0 * math.pi * (row.ts_event_ns % (86_400 * NS)) / (86_400 * NS)
        assert (value["time_sin"], value["time_cos"]) == pytest.approx((math.sin(angle), math.cos(angle)))
        assert value["week_day"] == (row.ts_event_ns // (86_400 * NS) + 3) % 7
        flags = [value[name] for name in ("in_sydney", "in_tokyo", "in_london", "in_new_york")]
        t = row.ts_event_ns
        assert flags == [
            float(is_open)
            for is_open in (
                sessions.in_sydney(t), sessions.in_tokyo(t), sessions.in_london(t), sessions.in_new_york(t)
            )
        ]


def test_traded_volume_and_distance_of_the_last_trade() -> None:
    config = FeaturesConfig(features=(
        FeatureSpec(name="volume_50", family="traded_volume", params={"span": 50}),
        FeatureSpec(name="last_distance", family="last_distance"),
    ))
    rows = rows_of(run(new_core(config, DecideOn(kind="tick", every=1000)), [MARKET]))
    volume = ema(MARKET.volume.tolist(), 50)
    assert len(rows) == 60
    for row in rows:
        at = row.tick - 1
        mid = (MARKET.bid[at] + MARKET.ask[at]) / 2.0
        assert row.values.tolist() == pytest.approx([volume[at], (MARKET.last[at] - mid) / POINT], abs=1e-6)
