"""A seeded market of our own: sessions, volatility regimes, living spreads, weekends, and a weak signal.

Each symbol is a stream of its own that depends on the seed, its name and the settings alone: neither on the size of
the chunks asked for nor on the other symbols. What is made up is described in ``services/ingest/README.md``.
"""

import hashlib
from collections.abc import Iterator

import numpy as np

from libs.common.errors import ConfigError
from libs.common.messages.base import Floats, Ints
from services.ingest.config import SyntheticInstrument, SyntheticSettings
from services.ingest.market_hours import weekends_between
from services.ingest.raw import MAX_CHUNK, RawTicks
from services.ingest.synthetic_kernel import (
    DRIFT,
    DRIFT_LIFE_S,
    MID,
    POINTS_PER_UNIT,
    SIGMA,
    SIGNAL,
    SPREAD_POINTS,
    TICK_RATE,
    TIME,
    TRENDING,
    VOLATILITY,
    WEEKEND,
    WEEKEND_SIGMA,
    volatility_scale,
    walk,
)

NS_PER_S = 1_000_000_000
NS_PER_DAY = 86_400 * NS_PER_S
BATCH = 32_768
"""Ticks made at once; part of what a seed means, so never change it lightly."""
_YEARS_NS = 60 * 365 * NS_PER_DAY
_HOURLY = (
    0.45, 0.45, 0.50, 0.50, 0.45, 0.50, 0.70, 1.10, 1.50, 1.50, 1.30, 1.20,
    1.50, 1.90, 2.00, 1.90, 1.60, 1.20, 0.80, 0.70, 0.60, 0.40, 0.30, 0.40,
)  # fmt: skip
"""Quotes per hour UTC: quiet Asia, the London morning, the overlap with New York, the evening."""
_WEEKEND_SHARE = 0.35
_DEFECTS = ("non_finite", "non_positive", "out_of_order", "crossed", "locked", "duplicate", "spike")
NS_PER_MS = 1_000_000
_LATE_NS = 5 * NS_PER_S
_SPIKE_SHARE = 0.015


class SyntheticMarket:
    """Makes ticks.

    Parameters
    ----------
    settings : see ``SyntheticSettings``
    seed : the same seed gives the same market, bit for bit
    """

    def __init__(self, settings: SyntheticSettings, seed: int) -> None:
        self._settings = settings
        self._seed = seed

    def open(self, symbol: str, *, chunk: int = MAX_CHUNK, skip: int = 0) -> Iterator[RawTicks]:
        """Yield a symbol's ticks from the start, leaving out the first ``skip``; endless unless a duration is set.

        Raises
        ------
        ConfigError : for a symbol nobody described
        """
        instrument = self._settings.instrument(symbol)
        if instrument is None:
            raise ConfigError(
                f"ingest: the synthetic market knows no {symbol!r}. Describe it under "
                f"ingest.synthetic.instruments.{symbol} (price, digits), or trade EURUSD and XAUUSD."
            )
        return self._chunks(symbol, instrument, chunk, skip)

    def _chunks(self, symbol: str, instrument: SyntheticInstrument, chunk: int, skip: int) -> Iterator[RawTicks]:
        first = 1
        for batch in self._batches(symbol, instrument):
            time_ns, bid, ask = batch
            whole = RawTicks(symbol=symbol, file="synthetic", first_line=first, time_ns=time_ns, bid=bid, ask=ask)
            first += len(whole)
            start = min(skip, len(whole))
            skip -= start
            for begin in range(start, len(whole), chunk):
                yield whole.part(begin, min(begin + chunk, len(whole)))

    def _batches(self, symbol: str, instrument: SyntheticInstrument) -> Iterator[tuple[Ints, Floats, Floats]]:
        settings = self._settings
        end_ns = settings.start_ns + int(settings.duration_s * NS_PER_S)
        path = _Path(settings, instrument, _generator(self._seed, symbol, "walk"))
        spoil = _generator(self._seed, symbol, "defects")
        while True:
            time_ns, bid, ask = path.next_batch()
            over = settings.duration_s > 0 and int(time_ns[-1]) >= end_ns
            if over:
                keep = int(np.searchsorted(time_ns, end_ns))
                time_ns, bid, ask = time_ns[:keep], bid[:keep], ask[:keep]
            if len(time_ns):
                yield _with_defects(time_ns, bid, ask, settings.defect_share, spoil) if settings.defects else (
                    time_ns, bid, ask,
                )  # fmt: skip
            if over:
                return


def _generator(seed: int, symbol: str, purpose: str) -> np.random.Generator:
    digest = hashlib.blake2b(f"{symbol}\x1f{purpose}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, int.from_bytes(digest, "big")])))


class _Path:
    """One symbol's walk, batch after batch."""

    def __init__(
        self, settings: SyntheticSettings, instrument: SyntheticInstrument, random: np.random.Generator
    ) -> None:
        self._random = random
        start_ns = settings.start_ns
        weekends = np.array(weekends_between(start_ns, start_ns + _YEARS_NS), dtype=np.int64)
        self._closes, self._opens = weekends[:, 0].copy(), weekends[:, 1].copy()
        hourly = np.array(_HOURLY)
        self._activity = hourly / hourly.mean()
        unrest = np.sqrt(self._activity)
        self._unrest = unrest / np.sqrt((unrest**2).mean())
        self._params = np.empty(7)
        sigma = instrument.daily_volatility_pct / 100.0
        self._params[SIGMA] = sigma * volatility_scale() / np.sqrt(86_400.0)
        # The trending regime, two thirds of the time, quotes 1.3 times as often; together they make the mean.
        self._params[TICK_RATE] = settings.ticks_per_second / (2.0 / 3.0 * 1.3 + 1.0 / 3.0)
        self._params[SIGNAL] = settings.signal_strength
        self._params[POINTS_PER_UNIT] = 10.0**instrument.digits
        self._params[SPREAD_POINTS] = instrument.spread_points
        self._params[WEEKEND_SIGMA] = sigma * _WEEKEND_SHARE
        self._params[DRIFT_LIFE_S] = settings.signal_life_s
        self._state = np.zeros(3)
        self._state[MID] = instrument.price
        self._state[DRIFT] = random.standard_normal()
        self._whole = np.zeros(4, dtype=np.int64)
        self._whole[TIME] = start_ns
        self._whole[TRENDING], self._whole[VOLATILITY], self._whole[WEEKEND] = 1, 1, 0

    def next_batch(self) -> tuple[Ints, Floats, Floats]:
        normal = self._random.standard_normal((BATCH, 4))
        uniform = self._random.random((BATCH, 5))
        time_ns, bid, ask = np.empty(BATCH, dtype=np.int64), np.empty(BATCH), np.empty(BATCH)
        walk(
            self._state, self._whole, self._params, self._activity, self._unrest, self._closes, self._opens,
            normal, uniform, time_ns, bid, ask,
        )  # fmt: skip
        return time_ns, bid, ask


def _with_defects(
    time_ns: Ints, bid: Floats, ask: Floats, share: float, random: np.random.Generator
) -> tuple[Ints, Floats, Floats]:
    """Put bad ticks between the good ones, which stay as they are."""
    n = len(time_ns)
    drawn = random.random(n)
    chosen = np.flatnonzero(drawn < share * len(_DEFECTS))
    kinds = random.integers(0, len(_DEFECTS), len(chosen))
    signs = np.where(random.random(len(chosen)) < 0.5, -1.0, 1.0)
    times, bids, asks = time_ns[chosen], bid[chosen], ask[chosen]
    later = np.minimum(times + NS_PER_MS, time_ns[np.minimum(chosen + 1, n - 1)])
    nothing = np.full(len(chosen), np.nan)
    jump = 1.0 + signs * _SPIKE_SHARE
    versions = {
        "non_finite": (times, nothing, asks),
        "non_positive": (times, np.zeros(len(chosen)), asks),
        "out_of_order": (times - _LATE_NS, bids, asks),
        "crossed": (times, asks, bids),
        "locked": (later, bids, bids),
        "duplicate": (times, bids, asks),
        "spike": (later, bids * jump, asks * jump),
    }
    bad = [np.choose(kinds, [versions[kind][column] for kind in _DEFECTS]) for column in range(3)]
    place = chosen + 1
    return np.insert(time_ns, place, bad[0]), np.insert(bid, place, bad[1]), np.insert(ask, place, bad[2])
