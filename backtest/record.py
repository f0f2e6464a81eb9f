"""What happened in a run: the messages the cores said, in order."""

from collections import Counter
from collections.abc import Iterator

import msgspec

from backtest.row_sample import RowSample
from libs.common.messages.account import AccountSnapshot
from libs.common.messages.base import Floats, Ints, Message
from libs.common.messages.control import Alert, TradingHalted, TradingResumed
from libs.common.messages.features import FeatureBlock, Prediction
from libs.common.messages.market import Bar
from libs.common.messages.orders import (
    OrderApproved,
    OrderFilled,
    OrderPartiallyFilled,
    OrderRefused,
    OrderRejected,
    OrderResolved,
    OrderSent,
    OrderUnknown,
    PositionClosed,
    StopsMoved,
)

ORDER_KINDS = (
    OrderApproved, OrderRefused, OrderSent, OrderFilled, OrderPartiallyFilled, OrderRejected, OrderUnknown,
    OrderResolved, PositionClosed, StopsMoved,
)
EVENT_KINDS = (*ORDER_KINDS, Alert, TradingHalted, TradingResumed)
MORE_KINDS = (FeatureBlock, Prediction, Bar, AccountSnapshot)
"""What is kept on top when everything is."""


class Record:
    """Keeps what reports, comparisons and certificates are made of.

    Parameters
    ----------
    keep_everything : keep rows, bars and predictions too (a comparison wants them; a long run cannot afford them)
    """

    def __init__(self, *, keep_everything: bool = False) -> None:
        self._kept = frozenset((*EVENT_KINDS, *(MORE_KINDS if keep_everything else ())))
        self._counted: dict[type[Message], int] = {}
        self.messages: list[tuple[int, Message]] = []
        self.equity: list[tuple[int, float, float]] = []
        self.samples: dict[str, RowSample] = {}
        self.rows = 0
        self.ticks = 0

    def see_rows(self, symbol: str, names: tuple[str, ...], time_ns: Ints, values: Floats) -> None:
        """Take in feature rows of a symbol, (n,) and (n, m), in order of time; some of them are kept."""
        sample = self.samples.get(symbol)
        if sample is None:
            sample = self.samples[symbol] = RowSample(names)
        sample.add(time_ns, values)
        self.rows += len(time_ns)

    def note(self, message: Message, step: int) -> None:
        """Take in one message a core said in a step."""
        kind = type(message)
        self._counted[kind] = self._counted.get(kind, 0) + 1
        if kind in self._kept or (isinstance(message, Prediction) and message.side is not None):
            self.messages.append((step, message))
        if isinstance(message, AccountSnapshot):
            self.equity.append((message.ts_event_ns, message.equity_ccy, message.balance_ccy))

    @property
    def counts(self) -> Counter[str]:
        """How many messages of each type were said, by its name."""
        return Counter({kind.__name__: count for kind, count in self._counted.items()})

    def stepped(self) -> Iterator[Message]:
        """Yield every message kept, with the step it was said in."""
        for step, message in self.messages:
            yield msgspec.structs.replace(message, step=step)

    def of(self, *kinds: type[Message]) -> list[Message]:
        """Return the messages of some kinds, in order."""
        return [message for _, message in self.messages if isinstance(message, kinds)]
