"""The features core: tick blocks in, closed bars and feature rows out."""

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar

import msgspec
import numpy as np

from libs.common.config import DecideOn, InstrumentConfig, SystemConfig
from libs.common.core import EffectResult, Route, Stage
from libs.common.errors import ConfigError
from libs.common.messages.base import Floats, Message
from libs.common.messages.control import Alert, Severity
from libs.common.messages.features import FeatureBlock
from libs.common.messages.market import Bar, TickBlock
from services.features.config import FeaturesConfig
from services.features.engine import NO_VALUES, Engine, SymbolState
from services.features.feature_set import FeatureSet
from services.features.kernels.layout import CHUNK

SERVICE = "features"
_LAST = math.inf
"""Where a row stands among the messages of its tick: after every bar."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The whole state of the core.

    Parameters
    ----------
    layout_id : which feature set, timeframes and decision rule the arrays belong to
    symbols : symbol -> its integers and doubles, little-endian
    unknown : symbols ticks were ignored of
    """

    layout_id: str
    symbols: dict[str, tuple[bytes, bytes]]
    unknown: tuple[str, ...]


class FeaturesCore:
    """Turn ticks into closed bars and feature rows, the same way in whatever blocks they come.

    Parameters
    ----------
    config : what to compute
    symbols : symbols to compute it for; ticks of others raise one alert and are ignored
    decide_on : when a row is made
    instruments : what the broker says of each symbol; the point size is taken from it

    Raises
    ------
    ConfigError : when a feature is asked for that cannot be had
    """

    HEARS: ClassVar[tuple[Route, ...]] = (Route(pattern="ticks.*", kinds=(TickBlock,)),)
    RESULTS: ClassVar[tuple[type[EffectResult], ...]] = ()
    STAGES: ClassVar[tuple[Stage, ...]] = (Stage(name="settled", after=("ticks",)),)

    def __init__(
        self, config: FeaturesConfig, symbols: tuple[str, ...], decide_on: DecideOn,
        instruments: Mapping[str, InstrumentConfig],
    ) -> None:
        self._set = FeatureSet(config.features, config.timeframes_s)
        self._engine = Engine(self._set, decide_on)
        self._states = {symbol: self._engine.new_state() for symbol in sorted(symbols)}
        self._points = {symbol: instruments.get(symbol, InstrumentConfig()).point for symbol in symbols}
        self._needed = tuple(sorted(self._set.inputs - {"quotes"}))
        self._unknown: set[str] = set()

    @classmethod
    def from_config(
        cls, config: FeaturesConfig, system: SystemConfig, instruments: Mapping[str, InstrumentConfig]
    ) -> "FeaturesCore":
        """Build the core from the sections of the config file."""
        return cls(config, system.symbols, system.decide_on, instruments)

    @property
    def schema_id(self) -> str:
        """The hash that rides on every row."""
        return self._set.schema_id

    @property
    def names(self) -> tuple[str, ...]:
        """Feature names in the order of a row's values."""
        return self._set.names

    def warm(self) -> None:
        """Run every kernel once, on a state of its own, so that none is compiled or loaded on a live tick."""
        n = 3
        bid = np.full(n, 1.0)
        times = np.arange(n, dtype=np.int64) * 3_600_000_000_000
        self._engine.walk(self._engine.new_state(), 1.0, 1, times, bid, bid, bid, bid)

    def on_tick_block(self, block: TickBlock, now_ns: int) -> tuple[Message, ...]:
        """Handle the ticks not seen before; ticks seen before are ignored."""
        state = self._states.get(block.symbol)
        if state is None:
            return self._ignore(block, now_ns)
        start = state.last_tick + 1 - block.first_tick
        n = len(block)
        if start >= n:
            return ()
        messages: list[Message] = []
        if start < 0:
            messages.append(_hole(block, state.last_tick + 1, now_ns))
            start = 0
        if block.time_ns[start] < state.last_ns:
            messages.append(_backwards(block, start, state.last_ns, now_ns))
        self._refuse_if_blind(block, start, state, now_ns, messages)
        for begin in range(start, n, CHUNK):
            self._walk(block, begin, min(begin + CHUNK, n), state, now_ns, messages)
        return tuple(messages)

    def _walk(
        self, block: TickBlock, begin: int, end: int, state: SymbolState, now_ns: int, messages: list[Message]
    ) -> None:
        first_tick = block.first_tick + begin
        n_rows = self._engine.walk(
            state, self._points[block.symbol], first_tick, np.ascontiguousarray(block.time_ns[begin:end]),
            np.ascontiguousarray(block.bid[begin:end]), np.ascontiguousarray(block.ask[begin:end]),
            self._column(block, "last", begin, end), self._column(block, "volume", begin, end),
        )
        first_bad = state.first_not_finite_tick
        if n_rows or first_bad >= first_tick or self._engine.closed_any():
            happened = [*self._bars(block, begin, now_ns), *self._rows(block, begin, n_rows, now_ns)]
            if first_bad >= first_tick:
                happened.append((first_bad - first_tick, _LAST, _not_finite(block, first_bad, now_ns)))
            # At one tick the bars come first, the shortest first: what a row was made from precedes it.
            happened.sort(key=lambda entry: entry[:2])
            messages.extend(message for _, _, message in happened)

    def _column(self, block: TickBlock, name: str, begin: int, end: int) -> Floats:
        if name not in self._needed:
            return NO_VALUES
        column: Floats = np.ascontiguousarray(getattr(block, name)[begin:end])
        return column

    def _rows(
        self, block: TickBlock, begin: int, n_rows: int, now_ns: int
    ) -> Iterator[tuple[int, float, Message]]:
        for at, values in self._engine.rows(n_rows):
            k = begin + at
            yield at, _LAST, FeatureBlock(
                ts_event_ns=int(block.time_ns[k]), ts_init_ns=now_ns, symbol=block.symbol,
                schema_id=self._set.schema_id, names=self._set.names, values=values, tick=block.first_tick + k,
                bid=float(block.bid[k]), ask=float(block.ask[k]),
            )

    def _bars(self, block: TickBlock, begin: int, now_ns: int) -> Iterator[tuple[int, float, Message]]:
        for bar in self._engine.closed_bars():
            yield bar.at, bar.timeframe_s, Bar(
                ts_event_ns=int(block.time_ns[begin + bar.at]), ts_init_ns=now_ns, symbol=block.symbol,
                timeframe_s=bar.timeframe_s, open_ns=bar.open_ns, open=bar.open, high=bar.high, low=bar.low,
                close=bar.close, spread_mean=bar.spread_mean, tick_count=bar.ticks,
            )

    def _refuse_if_blind(
        self, block: TickBlock, start: int, state: SymbolState, now_ns: int, messages: list[Message]
    ) -> None:
        if state.refused:
            return
        missing = [column for column in self._needed if len(getattr(block, column)) == 0]
        if missing:
            state.refuse()
            features = sorted({name for column in missing for name in self._set.needing(column)})
            messages.append(_alert(
                block, start, now_ns, Severity.CRITICAL, "features_refused",
                f"{block.symbol}: the feed carries no {' and no '.join(missing)}, which {', '.join(features)} cannot "
                "do without; no rows will be made. Remove these features or use a feed that has the column.",
            ))

    def _ignore(self, block: TickBlock, now_ns: int) -> tuple[Message, ...]:
        if block.symbol in self._unknown:
            return ()
        self._unknown.add(block.symbol)
        return (_alert(
            block, 0, now_ns, Severity.WARNING, "symbol_not_configured",
            f"ticks of {block.symbol} are ignored; add it to system.symbols to have features of it",
        ),)

    def snapshot(self) -> bytes:
        """Return the whole state."""
        return msgspec.msgpack.encode(Snapshot(
            layout_id=self._engine.layout_id,
            symbols={
                symbol: (state.ints.astype("<i8").tobytes(), state.floats.astype("<f8").tobytes())
                for symbol, state in self._states.items()
            },
            unknown=tuple(sorted(self._unknown)),
        ))

    def restore(self, state: bytes) -> None:
        """Become what ``snapshot`` described; symbols added since begin anew, symbols removed since are dropped.

        Raises
        ------
        ConfigError : when the state belongs to another feature set, timeframes or decision rule, or is broken
        """
        try:
            saved = msgspec.msgpack.decode(state, type=Snapshot)
            if saved.layout_id != self._engine.layout_id:
                raise ValueError("features, timeframes_s or decide_on have changed since")
            restored = {
                symbol: self._engine.state_from_bytes(*saved.symbols[symbol])
                for symbol in self._states if symbol in saved.symbols
            }
        except (msgspec.MsgspecError, ValueError) as error:
            raise ConfigError(
                f"features: the saved state cannot be used ({error}). Put the configuration back, or delete the "
                "folder 'features' in system.data_dir to warm up again from the stream."
            ) from error
        self._states.update(restored)
        self._unknown = set(saved.unknown) - set(self._states)

    def details(self) -> dict[str, float | str]:
        """Return figures for ``tickwire status``."""
        states = self._states.values()
        figures: dict[str, float | str] = {
            "ticks_seen": sum(state.ticks_seen for state in states),
            "rows": sum(state.rows for state in states),
            "rows_not_finite": sum(state.rows_not_finite for state in states),
            "refused": ", ".join(symbol for symbol, state in self._states.items() if state.refused),
            "schema_id": self._set.schema_id,
        }
        for symbol, state in self._states.items():
            figures[f"last_tick.{symbol}"] = state.last_tick
        return figures


def _alert(block: TickBlock, at: int, now_ns: int, severity: Severity, name: str, detail: str) -> Alert:
    return Alert(
        ts_event_ns=int(block.time_ns[at]), ts_init_ns=now_ns, severity=severity, service=SERVICE, name=name,
        detail=detail,
    )


def _hole(block: TickBlock, expected: int, now_ns: int) -> Alert:
    at_start = expected == 1
    return _alert(
        block, 0, now_ns, Severity.INFO if at_start else Severity.WARNING, "ticks_missed",
        f"{block.symbol}: ticks {expected} to {block.first_tick - 1} never came"
        + ("; the stream no longer holds the beginning" if at_start else "; bars and averages go on without them"),
    )


def _backwards(block: TickBlock, start: int, last_ns: int, now_ns: int) -> Alert:
    return _alert(
        block, start, now_ns, Severity.WARNING, "ticks_out_of_order",
        f"{block.symbol}: tick {block.first_tick + start} is stamped {int(block.time_ns[start])}, before the tick "
        f"ahead of it ({last_ns}); it is counted into the bar in the making",
    )


def _not_finite(block: TickBlock, tick: int, now_ns: int) -> Alert:
    return _alert(
        block, tick - block.first_tick, now_ns, Severity.CRITICAL, "features_not_finite",
        f"{block.symbol}: the row of tick {tick} held a value that is not finite and was kept back, as all such rows "
        "are; check the feed's prices",
    )
