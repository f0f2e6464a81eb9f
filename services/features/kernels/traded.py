"""What trades and the best quotes' sizes say; only for symbols whose feed carries them.

The conventions are those of ``on_ticks`` and ``on_rows``. ``bid_lots`` and ``ask_lots`` are the volumes offered at the
best bid and ask.
"""

import math

from libs.common.messages.base import Floats, Ints
from libs.common.trading.compiled import kernel_part
from services.features.kernels.quotes import sign_of

NS_PER_DAY = 86_400_000_000_000
STILL = 1e-12


@kernel_part
def trade_sign(price: float, mid: float, previous_price: float, previous_sign: float) -> float:
    """Return who traded: +1 the buyer crossed the spread, -1 the seller.

    Above the mid it was the buyer, below the seller; at the mid the last price change decides.

    References: Lee and Ready (1991), Inferring trade direction from intraday data.
    """
    if abs(price - mid) > STILL * mid:
        return sign_of(price - mid)
    return sign_of(price - previous_price) if price != previous_price else previous_sign


@kernel_part
def volume_imbalance(
    f: Floats, i: Ints, p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, last: Floats,
    volume: Floats, out: Floats,
) -> None:
    """Bought minus sold volume as a share of all of it, -1 to +1; 0 while nothing is traded."""
    alpha = 2.0 / (p[0] + 1.0)
    if i[0] == 0:
        f[2] = last[0]
        i[0] = 1
    for k in range(len(bid)):
        f[3] = trade_sign(last[k], 0.5 * (bid[k] + ask[k]), f[2], f[3])
        f[2] = last[k]
        f[0] += alpha * (f[3] * volume[k] - f[0])
        f[1] += alpha * (volume[k] - f[1])
        out[0, k] = f[0] / f[1] if f[1] > STILL else 0.0


@kernel_part
def vpin(
    f: Floats, i: Ints, p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, last: Floats,
    volume: Floats, out: Floats,
) -> None:
    """Volume-synchronised probability of informed trading: mean imbalance of the last ``buckets`` buckets, 0 to 1.

    A bucket holds ``lots`` lots; a trade that overfills one goes on in the next. At midnight UTC the open bucket is
    dropped: so the buckets do not depend on when the stream began, and nothing is said before the first midnight.

    References: Easley, Lopez de Prado and O'Hara (2012), Flow toxicity and liquidity in a high-frequency world.
    """
    size, buckets = p[0], int(p[1])
    # f: filled and signed volume of the open bucket, last price, last sign, sum of the ring, then the ring.
    ring = f[5:]
    # i: begun, buckets since the first midnight, day, a midnight was seen.
    if i[0] == 0:
        f[2] = last[0]
        i[0], i[2] = 1, time_ns[0] // NS_PER_DAY
    for k in range(len(bid)):
        if time_ns[k] // NS_PER_DAY > i[2]:
            i[1] = i[1] if i[3] == 1 else 0
            i[2], i[3] = time_ns[k] // NS_PER_DAY, 1
            f[0], f[1] = 0.0, 0.0
        f[3] = trade_sign(last[k], 0.5 * (bid[k] + ask[k]), f[2], f[3])
        f[2] = last[k]
        left = volume[k]
        # A trade of more than the whole ring fills all of it alike.
        left = min(left, (buckets + 1) * size)
        while f[0] + left >= size:
            part = size - f[0]
            ring[i[1] % buckets] = abs(f[1] + f[3] * part)
            i[1] += 1
            f[0], f[1] = 0.0, 0.0
            left -= part
        f[0] += left
        f[1] += f[3] * left
        out[0, k] = math.nan
        if i[3] == 1 and i[1] >= buckets:
            total = 0.0
            for j in range(buckets):
                total += ring[j]
            out[0, k] = total / (buckets * size)


@kernel_part
def order_flow_imbalance(
    f: Floats, i: Ints, p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, bid_lots: Floats,
    ask_lots: Floats, out: Floats,
) -> None:
    """Net volume that came to the best bid and left the best ask, relative to the volume that stands there.

    References: Cont, Kukanov and Stoikov (2014), The price impact of order book events.
    """
    alpha = 2.0 / (p[0] + 1.0)
    if i[0] == 0:
        f[1] = 0.5 * (bid_lots[0] + ask_lots[0])
        f[2], f[3], f[4], f[5] = bid[0], ask[0], bid_lots[0], ask_lots[0]
        i[0] = 1
    for k in range(len(bid)):
        flow = 0.0
        if bid[k] >= f[2]:
            flow += bid_lots[k]
        if bid[k] <= f[2]:
            flow -= f[4]
        if ask[k] <= f[3]:
            flow -= ask_lots[k]
        if ask[k] >= f[3]:
            flow += f[5]
        f[2], f[3], f[4], f[5] = bid[k], ask[k], bid_lots[k], ask_lots[k]
        f[0] += alpha * (flow - f[0])
        f[1] += alpha * (0.5 * (bid_lots[k] + ask_lots[k]) - f[1])
        out[0, k] = f[0] / f[1] if f[1] > STILL else 0.0


@kernel_part
def depth_imbalance(
    p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, bid_lots: Floats, ask_lots: Floats, out: Floats
) -> None:
    """Surplus of the volume at the best bid, -1 to +1, and how far the size-weighted mid stands above the mid, points.

    References: Stoikov (2018), The micro-price (its first approximation, the weighted mid).
    """
    for k in range(len(bid)):
        both = bid_lots[k] + ask_lots[k]
        lean = (bid_lots[k] - ask_lots[k]) / both if both > 0.0 else 0.0
        out[0, k] = lean
        out[1, k] = 0.5 * lean * (ask[k] - bid[k]) / point
