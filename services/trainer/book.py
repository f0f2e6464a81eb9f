"""What the trainer remembers of one symbol's market: recent ticks, rows that wait for their label, samples.

Labels depend on the ticks and on the rows alone, not on how the ticks were cut into blocks nor on how rows and
ticks were interleaved: a row that arrives after later ticks is walked over the ticks that were kept, a row that
arrives before its own tick waits for it.
"""

from collections.abc import Iterator

import msgspec
import numpy as np

from libs.common.config import InstrumentConfig
from libs.common.messages.base import Floats, Ints
from libs.common.messages.features import FeatureBlock
from libs.common.messages.market import TickBlock
from services.trainer import labels
from services.trainer.config import TrainerConfig
from services.trainer.costs import round_trip_pct
from services.trainer.dataset import Dataset
from services.trainer.tables import Table, TableState

_TIME, _END, _CLASS = range(3)
_GROSS, _LONG, _SHORT, _FEATURES = range(4)


class BookCounts(msgspec.Struct):
    """What became of the rows.

    Parameters
    ----------
    labelled : rows whose label is closed
    crowded : dropped because too many rows were open
    late : dropped because the ticks after them were no longer kept
    unusable : dropped because their volatility was not positive, or their feature list had no volatility
    voided : open labels dropped because ticks were missing or the feature list changed
    repeated : not newer than a row already taken
    """

    labelled: int = 0
    crowded: int = 0
    late: int = 0
    unusable: int = 0
    voided: int = 0
    repeated: int = 0


class BookState(msgspec.Struct):
    """A book as it is written into a snapshot."""

    schema_id: str
    names: tuple[str, ...]
    last_tick: int
    last_row_tick: int
    last_row_ns: int
    counts: BookCounts
    ticks: TableState
    open: TableState | None
    samples: TableState | None


class Book:
    """One symbol's recent ticks, open labels and labelled rows, each bounded."""

    def __init__(self, config: TrainerConfig, instrument: InstrumentConfig) -> None:
        self._config, self._instrument = config, instrument
        self._horizon_ns = config.horizon_s * 1_000_000_000
        self.schema_id = ""
        self.names: tuple[str, ...] = ()
        self.counts = BookCounts()
        self._last_tick = self._last_row_tick = self._last_row_ns = 0
        self._ticks = Table(config.late_ticks, 1, 2)
        self._set_width(0)

    @property
    def rows(self) -> int:
        """Labelled rows there are."""
        return len(self._samples)

    @property
    def open_rows(self) -> int:
        return len(self._open)

    @property
    def last_ns(self) -> int:
        """Time of the newest tick, ns UTC; 0 before the first."""
        return int(self._ticks.ints[-1, 0]) if len(self._ticks) else 0

    def take_ticks(self, block: TickBlock) -> None:
        """Walk the open labels over a tick block; ticks already seen are passed over."""
        seen = self._last_tick + 1 - block.first_tick
        if seen >= len(block):
            return
        if self._last_tick and seen < 0:
            self._void()
            self._ticks.drop(len(self._ticks))
        start = max(seen, 0) if self._last_tick else 0
        step = self._config.late_ticks
        for begin in range(start, len(block), step):
            part = slice(begin, begin + step)
            time_ns = block.time_ns[part].reshape(-1, 1)
            quotes = np.column_stack((block.bid[part], block.ask[part]))
            self._ticks.append(time_ns, quotes)
            self._last_tick = block.first_tick + begin + len(time_ns) - 1
            self._walk(self._open.ints, self._open.floats, len(time_ns))

    def take_row(self, row: FeatureBlock) -> bool:
        """Open the label of a served row.

        Returns
        -------
        False when the row's feature list has no volatility, so that none of its kind can ever be used.
        """
        if row.schema_id != self.schema_id:
            self._start_schema(row)
        if self._config.sigma_feature not in self.names:
            self.counts.unusable += 1
            return False
        if row.tick <= self._last_row_tick or row.ts_event_ns < self._last_row_ns:
            self.counts.repeated += 1
            return True
        self._last_row_tick, self._last_row_ns = row.tick, row.ts_event_ns
        self._open_row(row)
        return True

    def harvest(self) -> Iterator[int]:
        """Turn closed labels into samples, one by one, and yield the time each closed, ns UTC."""
        while len(self._open) and self._open.ints[0, labels.CLOSED]:
            ints, floats = self._open.ints[0], self._open.floats[0]
            closed_ns = int(ints[labels.CLOSED])
            end_ns = max(ints[labels.CLASS_END], ints[labels.LONG_END], ints[labels.SHORT_END])
            outcome = floats[[labels.GROSS, labels.LONG, labels.SHORT]]
            self._samples.append(
                np.array([[ints[labels.TIME], end_ns, ints[labels.CLASS]]], dtype=np.int64),
                np.concatenate((outcome, floats[labels.LABEL_FLOATS :]))[None, :],
            )
            self._open.drop(1)
            self.counts.labelled += 1
            yield closed_ns

    def dataset(self) -> Dataset:
        """Return a copy of all labelled rows, oldest first."""
        ints, floats = self._samples.ints, self._samples.floats
        return Dataset(
            features=floats[:, _FEATURES:].copy(), time_ns=ints[:, _TIME].copy(), end_ns=ints[:, _END].copy(),
            label=ints[:, _CLASS].copy(), gross_pct=floats[:, _GROSS].copy(), long_pct=floats[:, _LONG].copy(),
            short_pct=floats[:, _SHORT].copy(),
        )

    def state(self) -> BookState:
        return BookState(
            schema_id=self.schema_id, names=self.names, last_tick=self._last_tick,
            last_row_tick=self._last_row_tick, last_row_ns=self._last_row_ns,
            counts=msgspec.structs.replace(self.counts), ticks=self._ticks.state(),
            open=self._open.state() if self.names else None, samples=self._samples.state() if self.names else None,
        )

    def load(self, state: BookState) -> None:
        """Become what ``state`` described."""
        self.schema_id, self.names, self.counts = state.schema_id, state.names, state.counts
        self._last_tick, self._last_row_tick = state.last_tick, state.last_row_tick
        self._last_row_ns = state.last_row_ns
        self._ticks.load(state.ticks)
        self._set_width(len(state.names))
        if state.open is not None and state.samples is not None:
            self._open.load(state.open)
            self._samples.load(state.samples)

    def _set_width(self, features: int) -> None:
        capacity = self._config.max_open_rows, self._config.max_rows
        self._open = Table(capacity[0], labels.LABEL_INTS, labels.LABEL_FLOATS + features)
        self._samples = Table(capacity[1], 3, _FEATURES + features)

    def _start_schema(self, row: FeatureBlock) -> None:
        """Forget rows of another feature list: they cannot be compared with the new ones."""
        self._void()
        self.schema_id, self.names = row.schema_id, row.names
        self._set_width(len(row.names))

    def _void(self) -> None:
        self.counts.voided += len(self._open)
        self._open.drop(len(self._open))

    def _open_row(self, row: FeatureBlock) -> None:
        sigma = float(row.values[self.names.index(self._config.sigma_feature)]) * self._config.sigma_scale
        mid = (row.bid + row.ask) / 2.0
        if self._config.sigma_unit == "relative":
            sigma *= mid
        if not labels.usable_sigma(sigma) or len(row.values) != len(self.names):
            self.counts.unusable += 1
            return
        behind = self._last_tick - row.tick
        if behind > len(self._ticks):
            self.counts.late += 1
            return
        if self._open.full:
            self.counts.crowded += 1
            return
        cost_pct = round_trip_pct(
            self._instrument, mid, self._config.account_currency, self._config.slippage_pct
        )
        ints, floats = labels.open_label(
            row.tick, row.ts_event_ns, row.bid, row.ask, sigma, cost_pct,
            self._config.target_sigma, self._config.stop_sigma, self._horizon_ns,
        )
        self._open.append(ints[None, :], np.concatenate((floats, row.values))[None, :])
        if behind > 0:
            self._walk(self._open.ints[-1:], self._open.floats[-1:], behind)

    def _walk(self, ints: Ints, floats: Floats, ticks: int) -> None:
        """Walk the given labels over the newest ``ticks`` ticks."""
        if len(ints):
            time_ns, quotes = self._ticks.ints[-ticks:, 0], self._ticks.floats[-ticks:]
            labels.advance(ints, floats, self._last_tick - ticks + 1, time_ns, quotes)
