"""Which ticks are good: one compiled pass over a chunk, one verdict per tick.

A tick is judged by the first rule it breaks, in the order of ``RULES``. Only good ticks change what later ticks are
compared with, except that ticks which agree on a new price level, or on a time far ahead, in the end make it the true
one: no rule can block a feed for ever, nor can one wrong tick. All state is carried from chunk to chunk, so cutting a
stream differently never changes a verdict.
"""

import math

import numpy as np
from numba import types
from numpy.typing import NDArray

from libs.common.messages.base import Floats, Ints
from libs.common.messages.sense import MAX_PRICE
from libs.common.trading.compiled import FLOATS_IN, INTS_IN, kernel
from services.ingest.config import QualitySettings
from services.ingest.raw import RawTicks

GOOD, NON_FINITE, NON_POSITIVE, OUT_OF_ORDER, TIME_JUMP, CROSSED, LOCKED, DUPLICATE, SPIKE = range(9)
RULES = ("non_finite", "non_positive", "out_of_order", "time_jump", "crossed", "locked", "duplicate", "spike")
"""Rule names; verdict ``k > 0`` is ``RULES[k - 1]``, verdict 0 is a good tick."""

Verdicts = NDArray[np.int8]

# State: doubles (quote of the last good tick, usual move, pending level) and integers.
_BID, _ASK, _LAST, _VOLUME, _USUAL, _PENDING_MID = range(6)
_TIME, _SEEN, _PENDING, _PENDING_TOTAL, _LOCKED_KEPT, _AHEAD_TIME, _AHEAD = range(7)
# Parameters.
_FACTOR, _MIN_SHARE, _ALPHA, _CONFIRM, _WARMUP, _SILENT_NS, _QUARANTINE_LOCKED, _JUMP_NS = range(8)
_JUMP_DAYS = 7
"""A time further ahead of the last good tick than this must be confirmed: longer than any holiday of a market."""
_WILD_SHARE = 0.5
"""A move of more than this share of the price must be confirmed also where nothing else is known to compare with."""
_PATIENCE = 5
"""After this many times ``spike_confirm_ticks`` spikes in a row that agree on nothing, the price is taken as it is."""

_SIGNATURE = types.void(
    types.float64[::1], types.int64[::1], FLOATS_IN,
    INTS_IN, FLOATS_IN, FLOATS_IN, FLOATS_IN, FLOATS_IN, types.int8[::1],
)  # fmt: skip


@kernel(_SIGNATURE)
def _judge(  # noqa: C901, PLR0912, PLR0915 - one pass, rule after rule
    state: Floats, counts: Ints, params: Floats,
    time_ns: Ints, bid: Floats, ask: Floats, last: Floats, volume: Floats, verdict: Verdicts,
) -> None:
    has_last = len(last) > 0
    has_volume = len(volume) > 0
    for i in range(len(time_ns)):
        b, a, t = bid[i], ask[i], time_ns[i]
        traded = last[i] if has_last else 0.0
        size = volume[i] if has_volume else 0.0
        if not (math.isfinite(traded) and math.isfinite(size) and abs(b) <= MAX_PRICE and abs(a) <= MAX_PRICE):
            verdict[i] = NON_FINITE
            continue
        if b <= 0.0 or a <= 0.0 or traded < 0.0 or size < 0.0:
            verdict[i] = NON_POSITIVE
            continue
        seen = counts[_SEEN]
        if seen > 0 and t < counts[_TIME]:
            verdict[i] = OUT_OF_ORDER
            continue
        if seen > 0 and t - counts[_TIME] > params[_JUMP_NS]:
            agrees_in_time = counts[_AHEAD] > 0 and 0 <= t - counts[_AHEAD_TIME] <= params[_JUMP_NS]
            counts[_AHEAD] = counts[_AHEAD] + 1 if agrees_in_time else 1
            counts[_AHEAD_TIME] = t
            if counts[_AHEAD] <= params[_CONFIRM]:
                verdict[i] = TIME_JUMP
                continue
        if b > a:
            verdict[i] = CROSSED
            continue
        if b == a and params[_QUARANTINE_LOCKED] > 0.0:
            verdict[i] = LOCKED
            continue
        if (
            seen > 0
            and t == counts[_TIME]
            and b == state[_BID]
            and a == state[_ASK]
            and traded == state[_LAST]
            and size == state[_VOLUME]
        ):
            verdict[i] = DUPLICATE
            continue
        mid = 0.5 * b + 0.5 * a
        if seen > 0:
            before = 0.5 * state[_BID] + 0.5 * state[_ASK]
            move = abs(mid - before)
            floor = params[_MIN_SHARE] * before
            warm = seen >= params[_WARMUP]
            comparable = warm and t - counts[_TIME] <= params[_SILENT_NS]
            limit = max(params[_FACTOR] * state[_USUAL], floor) if comparable else _WILD_SHARE * before
            if move > limit:
                agrees = counts[_PENDING] > 0 and abs(mid - state[_PENDING_MID]) <= limit
                counts[_PENDING] = counts[_PENDING] + 1 if agrees else 1
                counts[_PENDING_TOTAL] += 1
                state[_PENDING_MID] = mid
                if (
                    counts[_PENDING] <= params[_CONFIRM]
                    and counts[_PENDING_TOTAL] <= params[_CONFIRM] * _PATIENCE
                ):
                    verdict[i] = SPIKE
                    continue
            if not warm:
                # The running mean of what is plausible: a wild first price must not make every later one usual.
                state[_USUAL] += (min(move, floor) - state[_USUAL]) / seen
            elif comparable:
                state[_USUAL] += params[_ALPHA] * (min(move, limit) - state[_USUAL])
        if b == a:
            counts[_LOCKED_KEPT] += 1
        verdict[i] = GOOD
        counts[_PENDING] = 0
        counts[_PENDING_TOTAL] = 0
        counts[_AHEAD] = 0
        counts[_SEEN] = seen + 1
        counts[_TIME] = t
        state[_BID], state[_ASK], state[_LAST], state[_VOLUME] = b, a, traded, size


def _parameters(settings: QualitySettings) -> Floats:
    params = np.empty(8, dtype=np.float64)
    params[_FACTOR] = settings.spike_factor
    params[_MIN_SHARE] = settings.spike_min_bps / 10_000.0
    params[_ALPHA] = 2.0 / (settings.spike_memory_ticks + 1.0)
    params[_CONFIRM] = settings.spike_confirm_ticks
    params[_WARMUP] = settings.warmup_ticks
    params[_SILENT_NS] = settings.silent_after_s * 1e9
    params[_JUMP_NS] = _JUMP_DAYS * 86_400 * 1e9
    params[_QUARANTINE_LOCKED] = 1.0 if settings.locked == "quarantine" else 0.0
    return params


class QualityState:
    """What the rules remember of one symbol.

    Parameters
    ----------
    settings : the rules' limits
    """

    def __init__(self, settings: QualitySettings) -> None:
        self._params = _parameters(settings)
        self._silent_s = settings.silent_after_s
        self._state = np.zeros(6, dtype=np.float64)
        self._counts = np.zeros(7, dtype=np.int64)

    def judge(self, raw: RawTicks) -> Verdicts:
        """Return the verdict on every tick of a chunk, and remember what later chunks need.

        Returns
        -------
        (n,) 0 for a good tick, otherwise 1 + the index of the broken rule in ``RULES``.
        """
        verdict = np.empty(len(raw), dtype=np.int8)
        params = self._params
        if raw.interval_ns:
            params = params.copy()
            params[_SILENT_NS] = self.silent_ns(raw.interval_ns)
            params[_JUMP_NS] = max(params[_JUMP_NS], 10 * raw.interval_ns)
        bid, ask, last, volume = (
            np.ascontiguousarray(column, dtype=np.float64)
            for column in (raw.bid, raw.ask, raw.last, raw.volume)
        )
        time_ns = np.ascontiguousarray(raw.time_ns, dtype=np.int64)
        _judge(self._state, self._counts, params, time_ns, bid, ask, last, volume, verdict)
        return verdict

    def silent_ns(self, interval_ns: int = 0) -> int:
        """Return how long the feed may be silent, ns; longer where the source is coarser than ticks."""
        return max(int(self._silent_s * 1e9), 2 * interval_ns)

    @property
    def locked_kept(self) -> int:
        """Good ticks with bid == ask so far."""
        return int(self._counts[_LOCKED_KEPT])

    def dump(self) -> tuple[list[float], list[int]]:
        """Return everything remembered."""
        return self._state.tolist(), self._counts.tolist()

    def load(self, dumped: tuple[list[float], list[int]]) -> None:
        """Remember what ``dump`` returned."""
        self._state = np.array(dumped[0], dtype=np.float64)
        self._counts = np.array(dumped[1], dtype=np.int64)
