"""The features core: tick blocks in, closed bars and feature rows out."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

import msgspec
import numpy as np

from libs.common.config import DecideOn, InstrumentConfig, SystemConfig
from libs.common.core import EffectResult, Route, Stage
from libs.common.errors import ConfigError
from libs.common.messages.base import Floats, Ints, Message
from libs.common.messages.control import Alert, Severity
from libs.common.messages.features import FeatureBlock
from libs.common.messages.market import Bar, TickBlock
from services.features.calendar import CalendarEvent
from services.features.config import FeaturesConfig
from services.features.cross_asset import CrossAssets, CrossState, HeldRow
from services.features.engine import NO_VALUES, Engine, SymbolState
from services.features.family import COLUMNS
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
    cross : the bars of related symbols and the rows that wait for them, if any feature looks at them
    """

    layout_id: str
    symbols: dict[str, tuple[bytes, bytes]]
    unknown: tuple[str, ...]
    cross: CrossState | None = None


class RowTable(NamedTuple):
    """Rows made of one block.

    Parameters
    ----------
    offsets : (n,) of their ticks within the block
    values : (n, m) in the order of the feature names
    """

    offsets: Ints
    values: Floats


class FeaturesCore:
    """Turn ticks into closed bars and feature rows, the same way in whatever blocks they come.

    Parameters
    ----------
    config : what to compute
    symbols : symbols to compute it for; ticks of others raise one alert and are ignored
    decide_on : when a row is made
    instruments : what the broker says of each symbol; the point size is taken from it
    calendar : the economic events of ``features.calendar``; ``None`` where no file is named

    Raises
    ------
    ConfigError : when a feature is asked for that cannot be had
    """

    HEARS: ClassVar[tuple[Route, ...]] = (Route(pattern="ticks.*", kinds=(TickBlock,)),)
    RESULTS: ClassVar[tuple[type[EffectResult], ...]] = ()
    STAGES: ClassVar[tuple[Stage, ...]] = (Stage(name="settled", after=("ticks",)),)

    def __init__(
        self, config: FeaturesConfig, symbols: tuple[str, ...], decide_on: DecideOn,
        instruments: Mapping[str, InstrumentConfig], calendar: Sequence[CalendarEvent] | None = None,
    ) -> None:
        self._set = FeatureSet.from_config(config)
        self._engine = Engine(self._set, decide_on, calendar)
        self._states = {symbol: self._engine.new_state() for symbol in sorted(symbols)}
        self._points = {symbol: instruments.get(symbol, InstrumentConfig()).point for symbol in symbols}
        self._needed = tuple(sorted(needed for needed in self._set.inputs - {"quotes"} if COLUMNS[needed]))
        self._columns = frozenset(name for needed in self._needed for name in COLUMNS[needed])
        self._cross = CrossAssets(self._engine, config.cross, self._states) if self._set.cross else None
        self._unknown: set[str] = set()

    @classmethod
    def from_config(
        cls, config: FeaturesConfig, system: SystemConfig, instruments: Mapping[str, InstrumentConfig],
        calendar: Sequence[CalendarEvent] | None = None,
    ) -> "FeaturesCore":
        """Build the core from the sections of the config file.

        Plugins must have been loaded and the calendar read before (``adapters/plugin_files.py``,
        ``adapters/calendar_file.py``).
        """
        return cls(config, system.symbols, system.decide_on, instruments, calendar)

    @property
    def schema_id(self) -> str:
        """The hash that rides on every row."""
        return self._set.schema_id

    @property
    def names(self) -> tuple[str, ...]:
        """Feature names in the order of a row's values."""
        return self._set.names

    @property
    def sees_other_symbols(self) -> bool:
        """True when rows of a symbol wait for bars of another."""
        return self._cross is not None

    def warm(self) -> None:
        """Run every kernel once, on a state of its own, so that none is compiled or loaded on a live tick."""
        n = 3
        bid = np.full(n, 1.0)
        times = np.arange(n, dtype=np.int64) * 3_600_000_000_000
        self._engine.walk(self._engine.new_state(), 1.0, 1, times, bid, bid, bid, bid, bid, bid)

    def last_tick_ns(self, symbol: str) -> int | None:
        """Return when the symbol's last tick happened, ns UTC; ``None`` before the first."""
        state = self._states[symbol]
        return state.last_ns if state.last_tick else None

    def on_tick_block(self, block: TickBlock, now_ns: int) -> tuple[Message, ...]:
        """Handle the ticks not seen before; ticks seen before are ignored."""
        return self._handle(block, now_ns, None)

    def table_of(self, block: TickBlock, now_ns: int) -> tuple[RowTable, tuple[Message, ...]]:
        """Handle a block like ``on_tick_block``, with its rows as one table instead of a message each.

        Not for a feature set that looks at other symbols, whose rows wait for those.
        """
        assert self._cross is None, "rows that wait for other symbols come as messages"
        passes: list[tuple[Ints, Floats]] = []
        said = self._handle(block, now_ns, passes)
        if not passes:
            return RowTable(np.empty(0, dtype=np.int64), np.empty((0, len(self.names)))), said
        offsets, values = zip(*passes, strict=True)
        return RowTable(np.concatenate(offsets), np.concatenate(values)), said

    def _handle(
        self, block: TickBlock, now_ns: int, passes: list[tuple[Ints, Floats]] | None
    ) -> tuple[Message, ...]:
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
            self._walk(block, begin, min(begin + CHUNK, n), state, now_ns, messages, passes)
        if self._cross is not None:
            messages += self._let_go(self._cross, now_ns)
        return tuple(messages)

    def _walk(
        self, block: TickBlock, begin: int, end: int, state: SymbolState, now_ns: int, messages: list[Message],
        passes: list[tuple[Ints, Floats]] | None,
    ) -> None:
        first_tick = block.first_tick + begin
        n_rows = self._engine.walk(
            state, self._points[block.symbol], first_tick, np.ascontiguousarray(block.time_ns[begin:end]),
            np.ascontiguousarray(block.bid[begin:end]), np.ascontiguousarray(block.ask[begin:end]),
            *(self._further_columns(block, begin, end) if self._columns else ()),
        )
        first_bad = state.first_not_finite_tick
        if n_rows and passes is None and self._cross is None and first_bad < first_tick and not self._engine.closed_any():
            # Rows alone: nothing has to be put in order.
            messages += [message for _, _, message in self._rows(block, begin, n_rows, now_ns)]
            return
        if n_rows or first_bad >= first_tick or self._engine.closed_any():
            happened = [*self._bars(block, begin, now_ns)]
            if passes is not None:
                offsets, values = self._engine.row_table(n_rows)
                passes.append((begin + offsets, values))
            elif self._cross is None:
                happened += self._rows(block, begin, n_rows, now_ns)
            else:
                self._cross.take_bars(block.symbol)
                self._hold(self._cross, block, begin, n_rows)
            if first_bad >= first_tick:
                happened.append((first_bad - first_tick, _LAST, _not_finite(block, first_bad, now_ns)))
            # At one tick the bars come first, the shortest first: what a row was made from precedes it.
            happened.sort(key=lambda entry: entry[:2])
            messages.extend(message for _, _, message in happened)

    def _further_columns(self, block: TickBlock, begin: int, end: int) -> Iterator[Floats]:
        for name in ("last", "volume", "bid_lots", "ask_lots"):
            yield np.ascontiguousarray(getattr(block, name)[begin:end]) if name in self._columns else NO_VALUES

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

    def _hold(self, cross: CrossAssets, block: TickBlock, begin: int, n_rows: int) -> None:
        for at, values in self._engine.rows(n_rows):
            k = begin + at
            cross.hold(block.symbol, HeldRow(
                block.first_tick + k, int(block.time_ns[k]), float(block.bid[k]), float(block.ask[k]), values.tobytes()
            ))

    def _let_go(self, cross: CrossAssets, now_ns: int) -> Iterator[Message]:
        for symbol, row, values in cross.let_go():
            if values is None:
                if symbol not in cross.stale:
                    cross.stale.add(symbol)
                    yield _related_silent(symbol, row, now_ns)
                continue
            cross.stale.discard(symbol)
            yield FeatureBlock(
                ts_event_ns=row.time_ns, ts_init_ns=now_ns, symbol=symbol, schema_id=self._set.schema_id,
                names=self._set.names, values=values, tick=row.tick, bid=row.bid, ask=row.ask,
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
        missing = [
            needed for needed in self._needed if any(len(getattr(block, name)) == 0 for name in COLUMNS[needed])
        ]
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
            cross=None if self._cross is None else self._cross.snapshot(),
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
        if self._cross is not None and saved.cross is not None:
            self._cross.restore(saved.cross)
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
        if self._cross is not None:
            figures["rows_waiting"], figures["rows_without_related"] = self._cross.waiting(), self._cross.dropped
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


def _related_silent(symbol: str, row: HeldRow, now_ns: int) -> Alert:
    return Alert(
        ts_event_ns=row.time_ns, ts_init_ns=now_ns, severity=Severity.WARNING, service=SERVICE, name="related_silent",
        detail=f"{symbol}: the bars of the related symbols are too old for its cross-asset features; no rows are made "
        "until they are seen again",
    )


def _not_finite(block: TickBlock, tick: int, now_ns: int) -> Alert:
    return _alert(
        block, tick - block.first_tick, now_ns, Severity.CRITICAL, "features_not_finite",
        f"{block.symbol}: the row of tick {tick} held a value that is not finite and was kept back, as all such rows "
        "are; check the feed's prices",
    )
