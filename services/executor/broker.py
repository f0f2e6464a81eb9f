"""What a broker says, in our own words: deals, orders, positions, account, answers.

The adapters (and the desk of the simulated terminal) translate the MetaTrader5 package's records into these at the
edge, so that nothing further in knows its field names or its clock. All times are nanoseconds UTC.
"""

from enum import IntEnum
from typing import Literal

import msgspec

from libs.common.messages.market import Side

LOTS_TOLERANCE = 5e-9
"""Volumes closer than this are equal (brokers grant 1e-8 lot)."""


class DealEntry(IntEnum):
    """How a deal changed its position (MetaTrader's numbers)."""

    IN = 0
    OUT = 1
    INOUT = 2
    OUT_BY = 3


class DealReason(IntEnum):
    """Who caused a deal (MetaTrader's numbers, as far as they matter here)."""

    CLIENT = 0
    MOBILE = 1
    WEB = 2
    EXPERT = 3
    SL = 4
    TP = 5
    STOP_OUT = 6


class OrderPlace(IntEnum):
    """Where an order stands in the broker's books (MetaTrader's numbers)."""

    STARTED = 0
    PLACED = 1
    CANCELED = 2
    PARTIAL = 3
    FILLED = 4
    REJECTED = 5
    EXPIRED = 6


Verdict = Literal["done", "partial", "placed", "rejected", "retry_safe", "unknown"]
"""What an answer means: executed, executed in part, accepted, two kinds of a definite no, nobody knows."""


class BrokerDeal(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An execution.

    Parameters
    ----------
    order : ticket of the broker's order that caused it
    side : of the deal (a sell closes a buy position)
    reason : a ``DealReason``; other numbers are the broker's own doing
    commission_ccy : commission and fee, signed, account currency
    """

    ticket: int
    order: int
    position_id: int
    symbol: str
    magic: int
    side: Side
    entry: int
    reason: int
    volume_lots: float
    price: float
    commission_ccy: float
    swap_ccy: float
    profit_ccy: float
    ts_ns: int


class BrokerOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order in the broker's books, working or in its history.

    Parameters
    ----------
    place : an ``OrderPlace``
    executed_lots : how much of it was executed
    """

    ticket: int
    symbol: str
    magic: int
    place: int
    executed_lots: float


class BrokerPosition(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An open position.

    Parameters
    ----------
    position_id : constant for its life; what deals name
    ticket : what requests must name; normally the same number
    """

    position_id: int
    ticket: int
    symbol: str
    side: Side
    volume_lots: float
    price_open: float
    sl: float
    tp: float
    magic: int
    opened_ns: int
    profit_ccy: float
    swap_ccy: float


class BrokerAccount(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The account's figures, account currency.

    Parameters
    ----------
    as_of_ns : when they were true
    day_start_equity_ccy, peak_equity_ccy : equity at the broker's last midnight and its highest; an adapter whose
        broker does not keep them leaves them 0.0, and the desk fills them in from its own looks
    """

    as_of_ns: int
    currency: str
    hedging: bool
    leverage: float
    balance_ccy: float
    equity_ccy: float
    margin_ccy: float
    margin_free_ccy: float
    day_start_equity_ccy: float = 0.0
    peak_equity_ccy: float = 0.0


class Answer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the broker answered to one request.

    Parameters
    ----------
    key : the order id, or the key of a change of stops
    volume_lots, price : what was executed, 0.0 where nothing was
    text : the broker's words
    """

    key: str
    verdict: Verdict
    retcode: int
    volume_lots: float
    price: float
    deal: int
    text: str
    ts_ns: int


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The account and its open positions.

    Parameters
    ----------
    asked_ns : when we asked; nothing that happened later is proved absent by it
    """

    asked_ns: int
    account: BrokerAccount
    positions: tuple[BrokerPosition, ...]


class BrokerReport(Standing, frozen=True, kw_only=True):
    """Everything the broker's books say that may concern us.

    Parameters
    ----------
    orders : working ones and history
    deals : history; both reach back at least to the oldest open question
    whole_since_ns : since when the books could be read without a break; silence before proves nothing
    """

    orders: tuple[BrokerOrder, ...]
    deals: tuple[BrokerDeal, ...]
    whole_since_ns: int = 0


DeskEvent = BrokerDeal | Answer
"""What a desk tells the core, in the order in which it happened."""


def is_ours(magic: int, namespace: int) -> bool:
    """Tell whether a magic number belongs to this installation (see ``libs.common.ids.magic_of``)."""
    return magic >> 48 == namespace & 0x7FFF


def signed_lots(position: BrokerPosition) -> float:
    """Return the volume, negative for a sell position."""
    return position.side.sign * position.volume_lots
