"""TA-Lib as the outside judge: everything it has and we have, on synthetic bars always and on real bars where they are.

Bars go through the whole service as four ticks each, so the bars, the rows and the kernels are all on trial.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from libs.common.config import DecideOn, InstrumentConfig
from libs.common.messages.market import Bar, TickBlock
from services.features.config import FeaturesConfig
from services.features.core import FeaturesCore
from services.features.spec import FeatureSpec
from tests.unit.features.feature_markets import NS, bars_of, rows_of, run

talib = pytest.importorskip("talib", reason="the oracle is missing: pip install TA-Lib")
BARS = Path(__file__).parents[4] / "shared" / "data" / "bars"
REAL = {
    "us30": "us30_m1_mt5_2025-12_2026-03.parquet", "xauusd": "xauusd_m1_mt5_2025-12_2026-03.parquet",
    "eurusd": "eurusd_m1_histdata_2017h1.parquet", "eurusd_h1": "eurusd_h1_oanda_bidask_2007_2018.parquet",
}
N_BARS = 12_000
FORGOTTEN = 1_200
"""Bars after which averages that begin differently agree to 12 digits."""

Columns = dict[str, np.ndarray]
Judge = Callable[[Columns], np.ndarray]
PATTERNS: dict[str, tuple[str, str, dict[str, float]]] = {
    "doji": ("candle", "CDLDOJI", {}), "dragonfly": ("candle", "CDLDRAGONFLYDOJI", {}),
    "gravestone": ("candle", "CDLGRAVESTONEDOJI", {}), "long_legged": ("candle", "CDLLONGLEGGEDDOJI", {}),
    "marubozu": ("candle", "CDLMARUBOZU", {}), "spinning_top": ("candle", "CDLSPINNINGTOP", {}),
    "hammer": ("hammer", "CDLHAMMER", {}), "hanging_man": ("hammer", "CDLHANGINGMAN", {}),
    "inverted_hammer": ("hammer", "CDLINVERTEDHAMMER", {}), "shooting_star": ("hammer", "CDLSHOOTINGSTAR", {}),
    "engulfing": ("candle_pair", "CDLENGULFING", {}), "harami": ("candle_pair", "CDLHARAMI", {}),
    "piercing": ("candle_pair", "CDLPIERCING", {}),
    "dark_cloud": ("candle_pair", "CDLDARKCLOUDCOVER", {"penetration": 0.5}),
    "morning_star": ("candle_trio", "CDLMORNINGSTAR", {"penetration": 0.3}),
    "evening_star": ("candle_trio", "CDLEVENINGSTAR", {"penetration": 0.3}),
    "white_soldiers": ("candle_trio", "CDL3WHITESOLDIERS", {}), "black_crows": ("candle_trio", "CDL3BLACKCROWS", {}),
    "three_inside": ("candle_trio", "CDL3INSIDE", {}),
}
UNSIGNED = {"gravestone": -1.0}
"""TA-Lib says 100 for every doji; ours says which way it points."""


def _position(period: int, width: float) -> Judge:
    def judged(c: Columns) -> np.ndarray:
        upper, middle, _ = talib.BBANDS(c["close"], period, width, width)
        return (c["close"] - middle) / (upper - middle)

    return judged


def _width(period: int, width: float) -> Judge:
    def judged(c: Columns) -> np.ndarray:
        upper, middle, lower = talib.BBANDS(c["close"], period, width, width)
        return 1e4 * (upper - lower) / middle

    return judged


def _channel(period: int) -> Judge:
    def judged(c: Columns) -> np.ndarray:
        top, bottom = talib.MAX(c["high"], period), talib.MIN(c["low"], period)
        return 2.0 * (c["close"] - bottom) / (top - bottom) - 1.0

    return judged


def _bps(value: Callable[[Columns], np.ndarray]) -> Judge:
    return lambda c: 1e4 * value(c) / c["close"]


def _near_zero(c: Columns) -> np.ndarray:
    return c["close"] - np.median(c["close"])


NUMBERS: dict[str, tuple[FeatureSpec, Judge]] = {}


def judged(family: str, output: str, judge: Judge, **params: float) -> None:
    name = f"{family}_{output}"
    NUMBERS[name] = FeatureSpec(name=name, family=family, output=output, timeframe_s=60, params=params), judge


judged("sma", "level", lambda c: talib.SMA(c["close"], 20), period=20)
judged("ema", "level", lambda c: talib.EMA(c["close"], 20), period=20)
judged("wma", "level", lambda c: talib.WMA(c["close"], 20), period=20)
judged("kama", "level", lambda c: talib.KAMA(c["close"], 10), period=10, fast=2, slow=30)
judged("moving_average", "fast", _bps(lambda c: talib.EMA(c["close"], 10) - c["close"]), fast=10, slow=40)
judged("moving_average", "slow", _bps(lambda c: talib.EMA(c["close"], 40) - c["close"]), fast=10, slow=40)
judged("macd", "line", _bps(lambda c: talib.MACD(c["close"], 12, 26, 9)[0]))
judged("macd", "signal", _bps(lambda c: talib.MACD(c["close"], 12, 26, 9)[1]))
judged("macd", "histogram", _bps(lambda c: talib.MACD(c["close"], 12, 26, 9)[2]))
judged("rsi", "rsi", lambda c: talib.RSI(c["close"], 14), period=14)
judged("average_true_range", "range", lambda c: talib.ATR(c["high"], c["low"], c["close"], 14), period=14)
judged("stochastic", "k", lambda c: talib.STOCH(c["high"], c["low"], c["close"], 14, 3, 0, 3, 0)[0], period=14)
judged("stochastic", "d", lambda c: talib.STOCH(c["high"], c["low"], c["close"], 14, 3, 0, 3, 0)[1], period=14)
judged("williams_r", "r", lambda c: talib.WILLR(c["high"], c["low"], c["close"], 14), period=14)
judged("directional", "plus", lambda c: talib.PLUS_DI(c["high"], c["low"], c["close"], 14), period=14)
judged("directional", "minus", lambda c: talib.MINUS_DI(c["high"], c["low"], c["close"], 14), period=14)
judged("directional", "adx", lambda c: talib.ADX(c["high"], c["low"], c["close"], 14), period=14)
judged("cci", "cci", lambda c: talib.CCI(c["high"], c["low"], c["close"], 20), period=20)
judged("momentum", "rate", lambda c: talib.ROC(c["close"], 10), bars=10)
judged("momentum", "change", lambda c: talib.MOM(c["close"], 10), bars=10)
judged("aroon", "up", lambda c: talib.AROON(c["high"], c["low"], 14)[1], period=14)
judged("aroon", "down", lambda c: talib.AROON(c["high"], c["low"], 14)[0], period=14)
judged("aroon", "oscillator", lambda c: talib.AROONOSC(c["high"], c["low"], 14), period=14)
# A line does not care where zero is; TA-Lib's sums do: at a price of 48,000 they lose seven digits.
judged("regression", "slope", _bps(lambda c: talib.LINEARREG_SLOPE(_near_zero(c), 20)), period=20)
judged("regression", "distance", _bps(lambda c: _near_zero(c) - talib.LINEARREG(_near_zero(c), 20)), period=20)
judged("bollinger", "position", _position(20, 2.0), period=20, width=2)
judged("bollinger_bands", "percent_b", lambda c: 0.5 + 0.5 * _position(20, 2.0)(c), period=20, width=2)
judged("bollinger_bands", "width", _width(20, 2.0), period=20, width=2)
judged("donchian", "position", _channel(20), period=20)
SPECS = (*(spec for spec, _ in NUMBERS.values()), *(
    FeatureSpec(name=name, family=family, output=name, timeframe_s=60) for name, (family, _, _) in PATTERNS.items()
))


def synthetic() -> Columns:
    """A walk with gaps and flat bars on a fine grid of prices; seeded."""
    rng = np.random.default_rng(17)
    n = N_BARS
    close = 20_000.0 + np.cumsum(rng.normal(0.0, 6.0, n) * np.exp(rng.normal(0.0, 0.7, n)))
    opened = np.concatenate([[20_000.0], close[:-1]]) + np.where(rng.random(n) < 0.3, rng.normal(0.0, 6.0, n), 0.0)
    body = np.maximum(opened, close), np.minimum(opened, close)
    high = body[0] + np.where(rng.random(n) < 0.3, 0.0, rng.exponential(3.0, n))
    low = body[1] - np.where(rng.random(n) < 0.3, 0.0, rng.exponential(3.0, n))
    columns = {"open": opened, "high": high, "low": low, "close": close}
    # A fine grid with few ties: a sum that is equal to a threshold may be rounded to either side of it.
    rounded = {name: np.round(values, 4) for name, values in columns.items()}
    return {"time": 1_700_000_040 // 60 * 60 + 60 * np.arange(n), **rounded}


def real(name: str) -> Columns:
    file = BARS / REAL[name]
    if not file.exists():
        pytest.skip(f"recorded bars {file.name} are not here; put them into {BARS}")
    frame = pl.read_parquet(file).tail(N_BARS)
    return {c: frame[c].to_numpy() for c in ("time", "open", "high", "low", "close")}


def as_ticks(c: Columns) -> TickBlock:
    n = len(c["time"])
    # Bars of an hour are as good as bars of a minute: what counts is their order.
    starts = 1_700_000_040 // 60 * 60 + 60 * np.arange(n)
    times = (starts[:, None] * NS + np.array([0, 15, 30, 45]) * NS).ravel().astype(np.int64)
    bid = np.column_stack([c["open"], c["high"], c["low"], c["close"]]).ravel()
    return TickBlock(
        ts_event_ns=int(times[-1]), ts_init_ns=0, symbol="X", first_tick=1, time_ns=times, bid=bid, ask=bid * 1.0001
    )


@cache
def compared(name: str) -> tuple[Columns, Columns]:
    """The bars as the service built them, and what the features said of each from the first whole row on."""
    c = synthetic() if name == "synthetic" else real(name)
    config = FeaturesConfig(timeframes_s=(60,), features=SPECS)
    said = run(FeaturesCore(config, ("X",), DecideOn(every=60), {"X": InstrumentConfig(digits=4)}), [as_ticks(c)])
    bars: list[Bar] = bars_of(said, 60)
    built = {field: np.array([getattr(bar, field) for bar in bars]) for field in ("open", "high", "low", "close")}
    for field, values in built.items():
        np.testing.assert_array_equal(values, c[field][1:-1])  # the first is not whole, the last is still open
    values = np.array([row.values for row in rows_of(said)])
    return built, dict(zip((spec.name for spec in SPECS), values.T, strict=True))


MARKETS = pytest.mark.parametrize("market", ["synthetic", *(pytest.param(m, marks=pytest.mark.needs_data) for m in REAL)])


@MARKETS
@pytest.mark.parametrize("name", NUMBERS)
def test_a_feature_agrees_with_talib(market: str, name: str) -> None:
    bars, said = compared(market)
    wanted = NUMBERS[name][1](bars)[FORGOTTEN:]
    ours = said[name][-len(wanted):]
    known = np.isfinite(wanted)  # a band without width is no number there, a number of rest here
    assert known.mean() > 0.99
    scale = float(np.median(np.abs(wanted[known])))
    np.testing.assert_allclose(ours[known], wanted[known], rtol=1e-9, atol=1e-9 * scale)


@MARKETS
def test_patterns_agree_with_talib(market: str) -> None:
    bars, said = compared(market)
    seen = 0
    for name, (_, function, settings) in PATTERNS.items():
        judge: Any = getattr(talib, function)
        wanted = np.sign(judge(bars["open"], bars["high"], bars["low"], bars["close"], **settings))
        ours = said[name] * UNSIGNED.get(name, 1.0)
        wanted = wanted[-len(ours):]
        assert np.flatnonzero(ours != wanted).tolist() == [], name
        seen += int((wanted != 0).any())
    assert seen >= (15 if market in ("synthetic", "us30", "xauusd") else 10)
