"""What ingest reads, how fast, and what it thinks a good tick is (section ``ingest``)."""

import math
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from libs.common.config import Settings


class ReplayFile(Settings, frozen=True, kw_only=True):
    """One file to replay.

    Parameters
    ----------
    path : Parquet or CSV file, or a folder of day files of the tick store
    symbol : the symbol its ticks belong to
    zone : clock of the file's times: ``UTC``, ``NY+7``, ``EET``, ``+03:00``, an IANA name; empty: the
        format's own default
    limit : most ticks to take, 0 for all
    """

    path: str
    symbol: Annotated[str, Meta(min_length=1)]
    zone: str = ""
    limit: Annotated[int, Meta(ge=0)] = 0


class QualitySettings(Settings, frozen=True, kw_only=True):
    """When a tick is kept back.

    Parameters
    ----------
    locked : what to do with bid == ask, which is legal on an ECN: ``keep`` (and count) or ``quarantine``
    spike_factor : a move of the mid price larger than this many usual moves is a spike ...
    spike_min_bps : ... if it is also larger than this share of the price, basis points
    spike_confirm_ticks : further ticks near the new level that make it true; those up to the last are kept back
    spike_memory_ticks : ticks the usual (exponentially weighted absolute) move remembers
    warmup_ticks : ticks before the first spike can be called one
    silent_after_s : silence in an open market that counts as a gap, and makes the feed stale, seconds
    """

    locked: Literal["keep", "quarantine"] = "keep"
    spike_factor: Annotated[float, Meta(gt=1.0, le=10_000.0)] = 25.0
    spike_min_bps: Annotated[float, Meta(gt=0.0, le=10_000.0)] = 10.0
    spike_confirm_ticks: Annotated[int, Meta(ge=1, le=100)] = 3
    spike_memory_ticks: Annotated[int, Meta(ge=10, le=1_000_000)] = 500
    warmup_ticks: Annotated[int, Meta(ge=1, le=100_000)] = 50
    silent_after_s: Annotated[float, Meta(gt=0.0, le=604_800.0)] = 120.0


class SyntheticInstrument(Settings, frozen=True, kw_only=True):
    """How a synthetic symbol trades.

    Parameters
    ----------
    price : first mid price
    digits : decimals of a price
    daily_volatility_pct : standard deviation of a day's return without the drift, percent
    spread_points : usual spread in an active market, points
    """

    price: Annotated[float, Meta(gt=0.0)]
    digits: Annotated[int, Meta(ge=0, le=8)]
    daily_volatility_pct: Annotated[float, Meta(gt=0.0, le=20.0)] = 0.5
    spread_points: Annotated[float, Meta(ge=1.0, le=100_000.0)] = 10.0


DEFAULT_INSTRUMENTS = {
    "EURUSD": SyntheticInstrument(price=1.095, digits=5, daily_volatility_pct=0.5, spread_points=7.0),
    "XAUUSD": SyntheticInstrument(price=2030.0, digits=2, daily_volatility_pct=0.9, spread_points=18.0),
}


_LATEST_NS = 3_786_912_000_000_000_000
"""A synthetic market begins before 2090: the weekends of sixty years are worked out ahead."""


class SyntheticSettings(Settings, frozen=True, kw_only=True):
    """The synthetic market.

    Parameters
    ----------
    start : first instant, ISO 8601, UTC unless it says otherwise
    duration_s : event time to simulate, seconds; 0 for no end
    ticks_per_second : mean tick rate per symbol while the market is open
    signal_strength : how strongly past returns tell of later ones; 0 for a market nobody can predict, 1 for the
        usual one
    signal_life_s : how long the hidden drift behind the signal lasts, seconds
    defects : add bad ticks (see ``defect_share``) for the quality rules to find
    defect_share : bad ticks of each kind per good tick
    instruments : symbol -> how it trades; replaces or adds to EURUSD and XAUUSD
    """

    start: str = "2024-01-08T00:00:00"
    duration_s: Annotated[float, Meta(ge=0.0)] = 0.0
    ticks_per_second: Annotated[float, Meta(gt=0.0, le=1_000.0)] = 1.2
    signal_strength: Annotated[float, Meta(ge=0.0, le=5.0)] = 1.0
    signal_life_s: Annotated[float, Meta(gt=0.0, le=86_400.0)] = 2_700.0
    defects: bool = False
    defect_share: Annotated[float, Meta(ge=0.0, le=0.05)] = 0.0002
    instruments: dict[str, SyntheticInstrument] = {}

    def __post_init__(self) -> None:
        if not 0 < self.start_ns < _LATEST_NS:
            raise ValueError("start must lie after 1970 and before 2090")

    @property
    def start_ns(self) -> int:
        """First instant, ns UTC."""
        moment = datetime.fromisoformat(self.start)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        # Whole microseconds first: a float of seconds would lose some.
        return round(moment.timestamp() * 1_000_000) * 1_000

    def instrument(self, symbol: str) -> SyntheticInstrument | None:
        """Return how a symbol trades, ``None`` where nobody said."""
        return self.instruments.get(symbol) or DEFAULT_INSTRUMENTS.get(symbol)


class LiveSettings(Settings, frozen=True, kw_only=True):
    """How a terminal's ticks are read; which terminal is said in section ``mt5``.

    Parameters
    ----------
    poll_ms : pause after a question that brought ticks, per symbol
    poll_idle_ms : longest pause while none come; a silent symbol's pause grows up to it
    page_ticks : ticks asked for at once
    backfill_s : how far back to begin at the very first start, seconds
    catch_up_s : after a longer time away the ticks before it are left out (a gap), seconds
    server_offset : ``measure`` the broker's clock from live ticks, or take the named ``zone`` as it is (a terminal
        that replays the past)
    measure_wait_s : longest wait at the start for a measurement where none is known for today, seconds
    specification : what to do where ``instruments`` is not what the broker says: ``refuse`` to start, or ``alert``
    """

    poll_ms: Annotated[float, Meta(ge=1.0, le=60_000.0)] = 20.0
    poll_idle_ms: Annotated[float, Meta(ge=1.0, le=60_000.0)] = 250.0
    page_ticks: Annotated[int, Meta(ge=10, le=1_000_000)] = 5_000
    backfill_s: Annotated[float, Meta(ge=0.0, le=31_536_000.0)] = 0.0
    catch_up_s: Annotated[float, Meta(gt=0.0, le=31_536_000.0)] = 604_800.0
    server_offset: Literal["measure", "zone"] = "measure"
    measure_wait_s: Annotated[float, Meta(ge=0.0, le=600.0)] = 45.0
    specification: Literal["refuse", "alert"] = "refuse"


class IngestConfig(Settings, frozen=True, kw_only=True):
    """Section ``ingest``.

    Parameters
    ----------
    adapter : where ticks come from: ``replay`` (files), ``synthetic``, ``mt5`` (the terminal of section ``mt5``),
        or ``ea`` (that terminal's Expert Advisor, over the bus)
    files : what to replay, one or more files per symbol in order of time
    speed : ``max``, or a multiple of real time
    duration_s : stop after this much event time, seconds; 0 for no limit
    max_block : most ticks in one message (a message must stay below 1,000,000 bytes)
    max_skew_s : how far one symbol may run ahead of another, seconds of event time
    status_every_s : event time between two ``FeedStatus`` of a symbol, seconds
    record : write good ticks to the tick store
    check_first : read a file through once before its first tick is passed on, so that a broken line refuses the
        whole file
    bar_spread_points : spread of bars that name none, points
    """

    adapter: Literal["replay", "synthetic", "mt5", "ea"] = "synthetic"
    files: tuple[ReplayFile, ...] = ()
    speed: Literal["max"] | Annotated[float, Meta(gt=0.0, le=1_000_000.0)] = "max"
    duration_s: Annotated[float, Meta(ge=0.0)] = 0.0
    max_block: Annotated[int, Meta(ge=1, le=8_192)] = 2_048
    max_skew_s: Annotated[float, Meta(gt=0.0, le=86_400.0)] = 60.0
    status_every_s: Annotated[float, Meta(gt=0.0, le=86_400.0)] = 60.0
    record: bool = True
    check_first: bool = True
    bar_spread_points: Annotated[float, Meta(ge=0.0, le=1_000_000.0)] = 20.0
    quality: QualitySettings = QualitySettings()
    synthetic: SyntheticSettings = msgspec.field(default_factory=SyntheticSettings)
    live: LiveSettings = LiveSettings()

    def __post_init__(self) -> None:
        if self.adapter == "replay" and not self.files:
            raise ValueError("adapter 'replay' needs at least one entry under 'files' ({path, symbol})")

    @property
    def speed_factor(self) -> float:
        """Event seconds per wall second, ``inf`` for ``max``."""
        return math.inf if self.speed == "max" else float(self.speed)
