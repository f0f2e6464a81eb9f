"""The numbers of families TA-Lib does not have, against the plainest way of computing them."""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from libs.common.trading import sessions
from services.features.conformance.checks import closed_bars, in_python
from services.features.conformance.market import random_market
from services.features.kernels.layout import CLOSE, HIGH, LOW, MID_CLOSE, OPEN, OPEN_S, TICK_COUNT
from services.features.registry import LIBRARY

MARKET = random_market(4_000, seed=5, mean_gap_s=100.0)
_, BARS = closed_bars(MARKET)
N = BARS.shape[1]
OPENED, H, L, C = (BARS[field] for field in (OPEN, HIGH, LOW, CLOSE))
RETURNS = 1e4 * np.diff(np.log(BARS[MID_CLOSE]))


def params(family: str) -> dict[str, float]:
    return LIBRARY[family].quick_params


@cache
def all_values(family: str) -> np.ndarray:
    found, _ = in_python(LIBRARY[family], MARKET)
    return found


def values(family: str, output: str) -> np.ndarray:
    """A family's values with its quick parameters; machine code equals them, which the conformance suite holds."""
    found: np.ndarray = all_values(family)[list(LIBRARY[family].outputs).index(output)]
    return found


def expect(family: str, output: str, at: Callable[[int], float], first: int = 60) -> None:
    said = values(family, output)
    for b in range(first, N, 37):
        assert said[b] == pytest.approx(at(b), rel=1e-8, abs=1e-8), (family, output, b)


def test_range_volatilities() -> None:
    w = int(params("range_volatility")["window"])
    log = np.log

    def window(b: int) -> slice:
        return slice(b - w + 1, b + 1)

    hl, co, gap = log(H / L), log(C / OPENED), np.concatenate([[0.0], log(OPENED[1:] / C[:-1])])
    satchell = log(H / OPENED) * log(H / C) + log(L / OPENED) * log(L / C)
    expect("range_volatility", "parkinson", lambda b: 1e4 * math.sqrt((hl[window(b)] ** 2).mean() / (4 * math.log(2))))
    klass = 0.5 * hl**2 - (2 * math.log(2) - 1) * co**2
    expect("range_volatility", "garman_klass", lambda b: 1e4 * math.sqrt(klass[window(b)].mean()))
    expect("range_volatility", "rogers_satchell", lambda b: 1e4 * math.sqrt(satchell[window(b)].mean()))
    k = 0.34 / (1.34 + (w + 1) / (w - 1))
    expect("range_volatility", "yang_zhang", lambda b: 1e4 * math.sqrt(
        gap[window(b)].var(ddof=1) + k * co[window(b)].var(ddof=1) + (1 - k) * satchell[window(b)].mean()
    ))


def test_bipower_variation_leaves_a_jump_out() -> None:
    w = int(params("bipower")["window"])
    size = np.abs(RETURNS)

    def variation(b: int) -> float:
        s = size[b - w:b]
        return math.pi / 2 * w / (w - 1) * float((s[1:] * s[:-1]).sum())

    expect("bipower", "volatility", lambda b: math.sqrt(variation(b) / w))
    expect("bipower", "jump_share", lambda b: max(0.0, 1.0 - variation(b) / float((size[b - w:b] ** 2).sum())))
    family = LIBRARY["bipower"]
    bars = np.full((8, 200), 1.0)
    bars[MID_CLOSE] = np.exp(np.cumsum(np.random.default_rng(1).normal(0.0, 1e-4, 200)))
    bars[MID_CLOSE, 150:] *= 1.01
    out = np.zeros((8, 200))
    family.kernel(np.zeros(61), np.zeros(1, np.int64), np.array([60.0, 3.09]), bars, 200, out)
    assert out[3, 149] == 0.0
    assert out[3, 155] == 1.0
    assert out[1, 155] > 0.9
    assert out[0, 155] < 0.25 * math.sqrt(((1e4 * np.diff(np.log(bars[MID_CLOSE, 95:156]))) ** 2).mean())


def test_exponential_volatility_and_garch() -> None:
    decay, variance = params("ewma_volatility")["decay"], RETURNS[0] ** 2
    ewma = [math.nan, abs(RETURNS[0])]
    for r in RETURNS[1:]:
        variance = decay * variance + (1.0 - decay) * r * r
        ewma.append(math.sqrt(variance))
    expect("ewma_volatility", "volatility", lambda b: ewma[b])
    omega, alpha, beta = params("garch").values()
    long_run = omega / (1.0 - alpha - beta)
    variance, garch, surprise = long_run, [math.sqrt(long_run)], [0.0]
    for r in RETURNS:
        surprise.append(r / math.sqrt(variance))
        variance = omega + alpha * r * r + beta * variance
        garch.append(math.sqrt(variance))
    expect("garch", "volatility", lambda b: garch[b])
    expect("garch", "ratio", lambda b: garch[b] / math.sqrt(long_run))
    expect("garch", "surprise", lambda b: surprise[b])


def test_the_hidden_markov_filter_is_bayes_rule() -> None:
    stay_calm, stay_wild, calm, wild = params("hidden_markov").values()
    moves = np.array([[stay_calm, 1 - stay_calm], [1 - stay_wild, stay_wild]])
    belief = np.array([1 - stay_wild, 1 - stay_calm]) / (2 - stay_calm - stay_wild)
    beliefs = [belief]
    for r in RETURNS:
        density = np.exp(-0.5 * (r / np.array([calm, wild])) ** 2) / np.array([calm, wild])
        belief = (belief @ moves) * density
        belief = belief / belief.sum()
        beliefs.append(belief)
    expect("hidden_markov", "wild", lambda b: beliefs[b][1])
    expect("hidden_markov", "volatility", lambda b: math.sqrt((beliefs[b] @ moves) @ np.array([calm**2, wild**2])))


def test_regimes() -> None:
    short, long, enter, leave = params("volatility_regime").values()
    state = 0.0
    states = [math.nan] * N
    for b in range(int(long), N):
        r = RETURNS[:b]
        ratio = math.sqrt((r[-int(short):] ** 2).mean() / (r[-int(long):] ** 2).mean())
        state = 1.0 if ratio >= enter else (0.0 if ratio <= leave else state)
        states[b] = state
    expect("volatility_regime", "wild", lambda b: states[b])
    assert {states[b] for b in range(60, N)} == {0.0, 1.0}
    period, limit = int(params("trend_range")["period"]), params("trend_range")["limit"]

    def efficiency(b: int) -> float:
        return abs(C[b] - C[b - period]) / float(np.abs(np.diff(C[b - period:b + 1])).sum())

    expect("trend_range", "efficiency", efficiency)
    expect("trend_range", "state", lambda b: 0.0 if efficiency(b) < limit else math.copysign(1.0, C[b] - C[b - period]))
    true_range = np.maximum(H[1:], C[:-1]) - np.minimum(L[1:], C[:-1])
    expect("trend_range", "choppiness", lambda b: 100.0 * math.log(
        true_range[b - period:b].sum() / (H[b - period + 1:b + 1].max() - L[b - period + 1:b + 1].min())
    ) / math.log(period))
    expect("volatility_ratio", "ratio", lambda b: math.sqrt((RETURNS[b - 3:b] ** 2).mean() / (RETURNS[b - 8:b] ** 2).mean()))
    expect("tick_activity", "activity", lambda b: BARS[TICK_COUNT, b] / BARS[TICK_COUNT, b - 3:b + 1].mean())


def test_cusum_sums_what_goes_one_way_and_says_when_it_is_enough() -> None:
    alpha, drift, limit = 2.0 / (params("cusum")["span"] + 1.0), params("cusum")["drift"], params("cusum")["limit"]
    variance, up, down, said = 0.0, 0.0, 0.0, [(0.0, 0.0, 0.0)]
    for k, r in enumerate(RETURNS):
        score = r / math.sqrt(variance) if variance > 0.0 else 0.0
        variance = r * r if k == 0 else variance + alpha * (r * r - variance)
        up, down = max(0.0, up + score - drift), max(0.0, down - score - drift)
        said.append((up, down, 1.0 if up > limit else (-1.0 if down > limit else 0.0)))
        up, down = 0.0 if up > limit else up, 0.0 if down > limit and up <= limit else down
    for column, name in enumerate(("up", "down", "change")):
        expect("cusum", name, lambda b, column=column: said[b][column])
    assert {change for _, _, change in said} == {-1.0, 0.0, 1.0}


def test_the_hurst_exponent_tells_a_trend_from_a_walk_from_noise() -> None:
    rng, n = np.random.default_rng(2), 1_025
    family = LIBRARY["hurst"]
    found = []
    for returns in (np.repeat(rng.normal(size=n // 64 + 1), 64)[:n], rng.normal(size=n), np.diff(rng.normal(size=n + 1))):
        bars = np.ones((8, n))
        bars[MID_CLOSE] = np.exp(1e-4 * np.cumsum(returns))
        out = np.zeros((8, n))
        family.kernel(np.zeros(1_025), np.zeros(1, np.int64), np.array([1_024.0]), bars, n, out)
        found.append(out[0, -1])
    assert found[0] > 0.8
    assert 0.45 < found[1] < 0.7
    assert found[2] < 0.35


def test_swings_breaks_and_levels() -> None:
    strength = int(params("swing")["strength"])
    highs, lows, direction = [], [], 0
    broken = {1: True, -1: True}
    for b in range(N):
        m = b - strength
        if m >= strength:
            around = range(m - strength, b + 1)
            if all(H[j] < H[m] or (H[j] == H[m] and j >= m) for j in around):
                highs.append(H[m])
                broken[1] = False
            if all(L[j] > L[m] or (L[j] == L[m] and j >= m) for j in around):
                lows.append(L[m])
                broken[-1] = False
        side = 1 if highs and not broken[1] and C[b] > highs[-1] else (
            -1 if lows and not broken[-1] and C[b] < lows[-1] else 0
        )
        if side:
            broken[side], direction = True, side
        if b > 60 and b % 29 == 0:
            assert values("swing", "high")[b] == pytest.approx(1e4 * (highs[-1] - C[b]) / C[b])
            assert values("swing", "low")[b] == pytest.approx(1e4 * (lows[-1] - C[b]) / C[b])
            assert (values("swing", "break")[b], values("swing", "direction")[b]) == (side, direction)
            near = [1e4 * (price - C[b]) / C[b] for price in (*highs[-2:], *lows[-2:])]
            assert values("levels", "resistance")[b] == pytest.approx(min([x for x in near if x >= 0], default=200.0))
            assert values("levels", "support")[b] == pytest.approx(min([-x for x in near if x <= 0], default=200.0))


def test_ranges_of_sessions_and_days() -> None:
    opened = [int(s) * 10**9 for s in BARS[OPEN_S]]
    days = [sessions.server_day(t) for t in opened]
    for b in range(N - 1, N - 400, -41):
        before = [k for k in range(b) if days[k] == max(d for d in days[:b + 1] if d < days[b])]
        assert values("day_range", "high")[b] == pytest.approx(1e4 * (H[before].max() - C[b]) / C[b])
        pivot = (H[before].max() + L[before].min() + C[before[-1]]) / 3.0
        assert values("day_range", "pivot")[b] == pytest.approx(1e4 * (pivot - C[b]) / C[b], abs=1e-8)
        session = int(params("session_range")["session"])
        clocks = (sessions.in_sydney, sessions.in_tokyo, sessions.in_london, sessions.in_new_york)
        inside = [clocks[session](t) for t in opened]
        end = max(k for k in range(b + 1) if inside[k])
        begin = end
        while begin > 0 and inside[begin - 1]:
            begin -= 1
        high, low = H[begin:end + 1].max(), L[begin:end + 1].min()
        assert values("session_range", "width")[b] == pytest.approx(1e4 * (high - low) / C[b])
        assert values("session_range", "left")[b] == (1.0 if C[b] > high else (-1.0 if C[b] < low else 0.0))


def test_quote_families() -> None:
    mid = (MARKET.bid + MARKET.ask) / 2.0
    moves = np.round(np.concatenate([[0.0], np.diff(mid)]) / 1e-5 * 2) / 2
    alpha = 2.0 / 9.0

    def average(series: np.ndarray) -> np.ndarray:
        total, found = 0.0, []
        for x in series:
            total += alpha * (x - total)
            found.append(total)
        return np.array(found)

    late = slice(100, None)
    pressure = average(moves)[late] / average(np.abs(moves))[late]
    np.testing.assert_allclose(values("mid_pressure", "pressure")[late], pressure, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(values("tick_volatility", "volatility")[late], np.sqrt(average(moves**2))[late], rtol=1e-6)
    before, signs = 0.0, []
    for move in moves:
        signs.append(np.sign(move) * before)
        before = np.sign(move) or before
    wanted = average(np.array(signs))[late] / average(np.abs(signs))[late]
    found = values("sign_autocorrelation", "autocorrelation")[late]
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9)
    spreads = np.round((MARKET.ask - MARKET.bid) / 1e-5)
    window = int(params("spread_percentile")["window"])
    for k in range(200, 4_000, 333):
        past = spreads[k - window + 1:k + 1]
        share = 100.0 * ((past < spreads[k]).mean() + 0.5 * (past == spreads[k]).mean())
        assert values("spread_percentile", "percentile")[k] == pytest.approx(share)
    lean = 0.5 * (np.sign(np.diff(MARKET.bid)) + np.sign(np.diff(MARKET.ask)))
    wanted = average(np.concatenate([[0.0], lean]))
    np.testing.assert_allclose(values("quote_pressure", "pressure")[1:], wanted[1:], atol=1e-9)


def test_traded_volume_and_depth() -> None:
    bid, ask, q_bid, q_ask = MARKET.bid, MARKET.ask, MARKET.bid_lots, MARKET.ask_lots
    depth = values("depth_imbalance", "imbalance")
    some = q_bid + q_ask > 0.0
    both = np.where(some, q_bid + q_ask, 1.0)
    np.testing.assert_allclose(depth, np.where(some, (q_bid - q_ask) / both, 0.0))
    # The bid's size pulls the price towards the ask.
    weighted = np.where(some, (bid * q_ask + ask * q_bid) / both, (bid + ask) / 2)
    np.testing.assert_allclose(values("depth_imbalance", "micro_price"), (weighted - (bid + ask) / 2) / 1e-5, atol=1e-6)
    flow = (
        (bid[1:] >= bid[:-1]) * q_bid[1:] - (bid[1:] <= bid[:-1]) * q_bid[:-1]
        - (ask[1:] <= ask[:-1]) * q_ask[1:] + (ask[1:] >= ask[:-1]) * q_ask[:-1]
    )
    total, size, said = 0.0, 0.5 * (q_bid[0] + q_ask[0]), values("order_flow_imbalance", "imbalance")
    for k in range(1, 4_000):
        total += 2.0 / 9.0 * (flow[k - 1] - total)
        size += 2.0 / 9.0 * (0.5 * (q_bid[k] + q_ask[k]) - size)
        assert k % 97 or said[k] == pytest.approx(total / size, abs=1e-9)


def test_vpin_of_one_sided_trade_is_one_and_of_alternating_trade_is_small() -> None:
    n = 1_000
    times = np.arange(n, dtype=np.int64) * 200 * 10**9
    bid, ask = np.full(n, 1.0), np.full(n, 1.2)
    p, out = np.array([10.0, 5.0]), np.zeros((8, n))
    for last, wanted in ((ask, 1.0), (np.where(np.arange(n) % 2 == 0, bid, ask), 0.0)):
        LIBRARY["vpin"].kernel(np.zeros(10), np.zeros(4, np.int64), p, 1e-5, times, bid, ask, last, np.ones(n), out)
        assert out[0, -1] == pytest.approx(wanted)
        assert np.isnan(out[0, :432]).all()  # nothing before the first midnight
