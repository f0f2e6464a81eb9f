"""How a synthetic price moves: one compiled walk over pre-drawn random numbers.

The mid price is a random walk whose volatility follows the hour and a hidden regime (calm, normal, wild). In one of
two other hidden regimes (trending, aimless) it also carries a drift that is forgotten within its life. The drift
shows in two ways: in past returns, and in the share of quotes that go its way (they are more, and smaller, so that
they add nothing to the drift themselves). All else is noise.
"""

import math

import numpy as np
from numba import types

from libs.common.messages.base import Floats, Ints
from libs.common.trading.compiled import FLOATS_IN, INTS_IN, kernel

# Hidden state.
MID, DRIFT, SPREAD_NOISE = range(3)
TIME, TRENDING, VOLATILITY, WEEKEND = range(4)
# Parameters.
SIGMA, TICK_RATE, SIGNAL, POINTS_PER_UNIT, SPREAD_POINTS, WEEKEND_SIGMA, DRIFT_LIFE_S = range(7)

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
FLOW = 0.12
"""By how much one standard deviation of the drift changes the chance that a quote goes up."""
FLOW_LIMIT = 0.3
TREND_LIFE_S, AIMLESS_LIFE_S = 14_400.0, 7_200.0
REGIME_LIFE_S = 7_200.0
SPREAD_LIFE_S = 180.0
HORIZON_S = 1_800.0
TREND_TICK_RATE = 1.3
ROLLOVER_S = 900.0
VOLATILITIES = (0.65, 1.0, 1.5)
_MEAN_SQUARE = (0.65**2 + 1.0 + 1.5**2) / 3.0
JUMP_CHANCE = 2e-5
JUMP_SIZE = 0.0003

_SIGNATURE = types.void(
    types.float64[::1], types.int64[::1], FLOATS_IN, FLOATS_IN, FLOATS_IN, INTS_IN, INTS_IN,
    types.Array(types.float64, 2, "C", readonly=True), types.Array(types.float64, 2, "C", readonly=True),
    types.int64[::1], types.float64[::1], types.float64[::1],
)  # fmt: skip


@kernel(_SIGNATURE)
def walk(  # noqa: PLR0915 - one walk
    state: Floats, whole: Ints, params: Floats, activity: Floats, unrest: Floats, closes: Ints, opens: Ints,
    normal: Floats, uniform: Floats, time_ns: Ints, bid: Floats, ask: Floats,
) -> None:
    """Write the next ticks and leave the hidden state where they end.

    Parameters
    ----------
    state, whole : hidden state, see the indices above; changed
    params : see the indices above
    activity, unrest : (24,) tick rate and volatility of each hour UTC, relative to the mean
    closes, opens : (w,) weekends, ns UTC; ``whole[WEEKEND]`` is the next one
    normal, uniform : (n, 4) and (n, 5) random numbers
    time_ns, bid, ask : (n,) what is written
    """
    points_per_unit = params[POINTS_PER_UNIT]
    for i in range(len(time_ns)):
        now_s = whole[TIME] / NS_PER_S
        day_s = now_s % 86_400.0
        hour = int(day_s // 3_600.0)
        part = day_s / 3_600.0 - hour
        after = (hour + 1) % 24
        busy = activity[hour] * (1.0 - part) + activity[after] * part
        wild = unrest[hour] * (1.0 - part) + unrest[after] * part
        rate = params[TICK_RATE] * busy
        if whole[TRENDING] == 1:
            rate *= TREND_TICK_RATE
        wait_s = -math.log(1.0 - uniform[i, 0]) / rate
        next_ns = max(whole[TIME] + int(wait_s * NS_PER_S), whole[TIME] + NS_PER_MS) // NS_PER_MS * NS_PER_MS
        sigma = params[SIGMA] * wild * VOLATILITIES[whole[VOLATILITY]]
        if next_ns >= closes[whole[WEEKEND]]:
            next_ns = opens[whole[WEEKEND]] + max(int(wait_s * NS_PER_S), NS_PER_MS) // NS_PER_MS * NS_PER_MS
            whole[WEEKEND] += 1
            state[DRIFT] = 0.0
            state[MID] *= 1.0 + params[WEEKEND_SIGMA] * normal[i, 0]
        else:
            step_s = (next_ns - whole[TIME]) / NS_PER_S
            pull, flow = 0.0, 0.0
            if whole[TRENDING] == 1:
                # In units of the horizon's noise, so that the signal is as strong in a calm market as in a wild one.
                pull = params[SIGNAL] * state[DRIFT] * step_s / math.sqrt(HORIZON_S)
                flow = min(FLOW_LIMIT, max(-FLOW_LIMIT, params[SIGNAL] * FLOW * state[DRIFT]))
            # More quotes go the drift's way; their sizes keep the mean at 0 and the variance at 1.
            rises = 0.5 + flow
            if uniform[i, 4] < rises:
                noise = math.sqrt((1.0 - rises) / rises) * abs(normal[i, 0])
            else:
                noise = -math.sqrt(rises / (1.0 - rises)) * abs(normal[i, 0])
            move = sigma * (pull + math.sqrt(step_s) * noise)
            if uniform[i, 3] < JUMP_CHANCE:
                move += JUMP_SIZE * normal[i, 3]
            state[MID] *= 1.0 + move
            kept = math.exp(-step_s / params[DRIFT_LIFE_S])
            state[DRIFT] = kept * state[DRIFT] + math.sqrt(1.0 - kept * kept) * normal[i, 1]
            kept = math.exp(-step_s / SPREAD_LIFE_S)
            state[SPREAD_NOISE] = kept * state[SPREAD_NOISE] + math.sqrt(1.0 - kept * kept) * normal[i, 2]
            life_s = TREND_LIFE_S if whole[TRENDING] == 1 else AIMLESS_LIFE_S
            if uniform[i, 1] < step_s / life_s:
                whole[TRENDING] = 1 - whole[TRENDING]
            if uniform[i, 2] < step_s / REGIME_LIFE_S:
                # Up or down a step, staying at the ends.
                up = uniform[i, 2] * 2.0 < step_s / REGIME_LIFE_S
                whole[VOLATILITY] = min(2, max(0, whole[VOLATILITY] + (1 if up else -1)))
        whole[TIME] = next_ns
        spread = params[SPREAD_POINTS] * (0.7 + 0.3 / max(busy, 0.2))
        spread *= math.sqrt(VOLATILITIES[whole[VOLATILITY]]) * math.exp(0.18 * state[SPREAD_NOISE])
        # Banks roll positions over at 17:00 New York, which is when the week opens as well.
        to_roll_s = abs((next_ns / NS_PER_S - opens[whole[WEEKEND]] / NS_PER_S + 43_200.0) % 86_400.0 - 43_200.0)
        if to_roll_s < ROLLOVER_S:
            spread *= 1.0 + 3.0 * (1.0 - to_roll_s / ROLLOVER_S)
        points = max(1.0, np.rint(spread))
        low = np.rint(state[MID] * points_per_unit - 0.5 * points)
        time_ns[i] = next_ns
        bid[i] = low / points_per_unit
        ask[i] = (low + points) / points_per_unit


def volatility_scale() -> float:
    """Return what makes the mean of the squared regime volatilities 1."""
    return 1.0 / math.sqrt(_MEAN_SQUARE)
