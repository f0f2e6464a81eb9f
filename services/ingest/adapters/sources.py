"""The configured source of every symbol."""

from collections.abc import Iterator, Mapping
from itertools import chain

import numpy as np

from libs.common.config import InstrumentConfig, SystemConfig
from libs.common.errors import ConfigError
from services.ingest.adapters.replay import ReplayOptions, open_replay
from services.ingest.adapters.synthetic import SyntheticMarket
from services.ingest.config import IngestConfig
from services.ingest.raw import RawTicks

NS_PER_S = 1_000_000_000


def open_sources(
    config: IngestConfig, system: SystemConfig, instruments: Mapping[str, InstrumentConfig]
) -> dict[str, Iterator[RawTicks]]:
    """Return symbol -> iterator over its raw ticks.

    Raises
    ------
    ConfigError : for a symbol without a source, or a source without a symbol of the system
    DataError : for a file that cannot be used
    """
    if config.adapter == "synthetic":
        market = SyntheticMarket(config.synthetic, system.seed)
        found = {symbol: market.open(symbol) for symbol in system.symbols}
    else:
        found = _replayed(config, system, instruments)
    return {symbol: _until(source, config.duration_s) for symbol, source in found.items()}


def _replayed(
    config: IngestConfig, system: SystemConfig, instruments: Mapping[str, InstrumentConfig]
) -> dict[str, Iterator[RawTicks]]:
    named = {file.symbol for file in config.files}
    if named != set(system.symbols):
        odd = ", ".join(sorted(named ^ set(system.symbols)))
        raise ConfigError(f"ingest.files and system.symbols do not name the same symbols: {odd}")
    found: dict[str, Iterator[RawTicks]] = {}
    for symbol in system.symbols:
        instrument = instruments.get(symbol)
        parts = [
            open_replay(
                file.path,
                symbol,
                ReplayOptions(
                    zone=file.zone, limit=file.limit, check=config.check_first,
                    digits=instrument.digits if instrument else None, bar_spread_points=config.bar_spread_points,
                ),
            )
            for file in config.files
            if file.symbol == symbol
        ]  # fmt: skip
        found[symbol] = chain.from_iterable(parts)
    return found


def _until(source: Iterator[RawTicks], duration_s: float) -> Iterator[RawTicks]:
    """Yield a source up to an event time after its first tick; all of it for 0."""
    end_ns = None
    for raw in source:
        if duration_s > 0 and end_ns is None and len(raw):
            end_ns = int(raw.time_ns[0]) + int(duration_s * NS_PER_S)
        late = np.flatnonzero(raw.time_ns >= end_ns) if end_ns is not None else np.empty(0, dtype=np.intp)
        if late.size:
            yield raw.part(0, int(late[0]))
            return
        yield raw
