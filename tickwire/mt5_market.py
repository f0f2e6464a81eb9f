"""A simulated MetaTrader 5 with a moving market: your ticks or the synthetic market, for scripts and for the cards."""

import itertools
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Literal

import msgspec
import numpy as np

from libs.common.config import InstrumentConfig
from libs.common.errors import ConfigError
from libs.common.messages.market import TickBlock
from libs.common.mt5.sim.drop_in import drop_in
from libs.common.mt5.sim.played_market import NS_PER_S, PlayedMarket, PlayedPort, StepClock
from libs.common.mt5.sim.settings import TerminalSettings
from libs.common.mt5.sim.terminal import SimulatedTerminal
from libs.common.mt5.sim.tick_history import TickHistory
from libs.common.trading.instrument import Instrument
from services.ingest.adapters.replay import ReplayOptions, open_replay
from services.ingest.adapters.synthetic import SyntheticMarket
from services.ingest.config import QualitySettings, SyntheticSettings
from services.ingest.quality import GOOD, QualityState
from services.ingest.raw import RawTicks
from tickwire.demo_config import instrument_for

HISTORY_H = 48.0
SEED = 123
_SWAPS = {"EURUSD": (-6.5, 1.2), "XAUUSD": (-30.0, 12.0)}


class MarketOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which market, and how time passes in it.

    Parameters
    ----------
    files : (path, symbol) of recorded ticks or bars; empty: the synthetic market
    symbols : of the synthetic market
    zone : clock of the files; empty: the format's own
    limit : most ticks per file, 0 for all
    seed : of everything random
    history_h : how long the market has been there when the program begins, hours of market time
    duration_s : how long it goes on, seconds of market time; 0: as long as there are ticks
    clock : ``market``: time passes by what the program does; ``wall``: as it does
    speed : market seconds per second of the wall clock
    terminal : the broker's manners
    instruments : specifications that replace the plausible ones
    """

    files: tuple[tuple[Path, str], ...] = ()
    symbols: tuple[str, ...] = ("EURUSD", "XAUUSD")
    zone: str = ""
    limit: int = 0
    seed: int = SEED
    history_h: float = HISTORY_H
    duration_s: float = 0.0
    clock: Literal["market", "wall"] = "market"
    speed: float = 1.0
    terminal: TerminalSettings = TerminalSettings()
    instruments: dict[str, InstrumentConfig] = {}


class OpenMarket(msgspec.Struct, frozen=True):
    """A market that is open.

    Parameters
    ----------
    module : stands for ``MetaTrader5``
    terminal : behind it
    clock : of a ``market`` clock, ``None`` for the wall's
    end_ns : when it ends, ns UTC; 0 while nobody knows
    """

    module: ModuleType
    terminal: SimulatedTerminal
    clock: StepClock | None


class MarketOver(SystemExit):
    """There are no more ticks; ends the program that watches them, with exit code 0."""


def open_market(options: MarketOptions) -> OpenMarket:
    """Open a market; its history has been played when this returns.

    Raises
    ------
    ConfigError : when there are no ticks, or a symbol nobody described
    DataError : for a file that cannot be used
    """
    symbols = {symbol for _, symbol in options.files} or set(options.symbols)
    instruments = {symbol: Instrument(symbol, _specification(symbol, options)) for symbol in symbols}
    terminal = SimulatedTerminal(options.terminal, instruments, options.seed, TickHistory())
    market = PlayedMarket(terminal, {symbol: _blocks(symbol, options) for symbol in symbols})
    if market.over:
        raise ConfigError("there are no ticks to play: the files are empty, or --limit leaves none")
    start_ns = market.next_ns + int(options.history_h * 3_600) * NS_PER_S
    market.advance_to(start_ns)
    end_ns = start_ns + int(options.duration_s * NS_PER_S) if options.duration_s else 0
    clock = StepClock(start_ns) if options.clock == "market" else None
    now_ns = clock.call_ns if clock is not None else _wall(start_ns, options.speed)
    return OpenMarket(drop_in(PlayedPort(market, _until(now_ns, end_ns), _end)), terminal, clock)


def _until(now_ns: Callable[[], int], end_ns: int) -> Callable[[], int]:
    """Return the clock, ending the program once the market's time is up."""
    if not end_ns:
        return now_ns

    def limited() -> int:
        now = now_ns()
        if now > end_ns:
            _end()
        return now

    return limited


def _end() -> None:
    raise MarketOver(0)


def _wall(start_ns: int, speed: float) -> Callable[[], int]:
    began = time.monotonic_ns()
    return lambda: start_ns + round((time.monotonic_ns() - began) * speed)


def _specification(symbol: str, options: MarketOptions) -> InstrumentConfig:
    known = options.instruments.get(symbol)
    if known is not None:
        return known
    long_points, short_points = _SWAPS.get(symbol, (0.0, 0.0))
    return msgspec.structs.replace(
        instrument_for(symbol), swap_long_points=long_points, swap_short_points=short_points
    )


def _blocks(symbol: str, options: MarketOptions) -> Iterator[TickBlock]:
    """Yield a symbol's good ticks, judged as ingest judges them."""
    quality, number = QualityState(QualitySettings()), 1
    for raw in _raw(symbol, options):
        good = quality.judge(raw) == GOOD
        if not good.any():
            continue
        time_ns = np.asarray(raw.time_ns)[good]
        yield TickBlock(
            symbol=symbol, first_tick=number, time_ns=time_ns, bid=raw.bid[good], ask=raw.ask[good],
            last=raw.last[good] if len(raw.last) else raw.last,
            volume=raw.volume[good] if len(raw.volume) else raw.volume,
            flags=raw.flags[good] if len(raw.flags) else raw.flags,
            ts_event_ns=int(time_ns[-1]), ts_init_ns=int(time_ns[-1]),
        )  # fmt: skip
        number += len(time_ns)


def _raw(symbol: str, options: MarketOptions) -> Iterator[RawTicks]:
    if not options.files:
        return SyntheticMarket(_synthetic(options), options.seed).open(symbol, chunk=4_096)
    reading = ReplayOptions(zone=options.zone, limit=options.limit)
    return itertools.chain.from_iterable(
        open_replay(str(path), symbol, reading) for path, owner in options.files if owner == symbol
    )


def _synthetic(options: MarketOptions) -> SyntheticSettings:
    if options.clock == "market":
        return SyntheticSettings()
    # By the wall's clock the program's own today is the market's: its history ends now.
    begun = time.time() - options.history_h * 3_600
    return SyntheticSettings(start=datetime.fromtimestamp(begun, UTC).isoformat())
