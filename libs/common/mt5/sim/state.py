"""Everything the simulated terminal remembers; a snapshot is this, encoded."""

import msgspec

from libs.common.config import InstrumentConfig
from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import TradeDeal, TradeOrder, TradeRequest
from libs.common.mt5.sim.events import TerminalEvent
from libs.common.mt5.sim.settings import SymbolTerms
from libs.common.mt5.sim.treatment import Treatment

FIRST_ORDER = 1_000_001
FIRST_DEAL = 5_000_001
"""Orders and deals count in different ranges so that mistaking one for the other shows."""


class Quote(msgspec.Struct, frozen=True, gc=False):
    """The quote in force for a symbol.

    Parameters
    ----------
    time_ns : 0 before the first tick
    last : price of the last trade, 0.0 where the feed has none
    bought_lots, sold_lots : what has been taken out of this quote's book
    """

    time_ns: int = 0
    bid: float = 0.0
    ask: float = 0.0
    last: float = 0.0
    bought_lots: float = 0.0
    sold_lots: float = 0.0


class OpenPosition(msgspec.Struct, gc=False):
    """An open position.

    Parameters
    ----------
    ticket, identifier : alike until a netting position is reversed or a swap re-opens a position
    sign : +1 buy, -1 sell
    margin_per_lot_ccy : what a lot ties up, account currency, fixed when the position was opened
    swap_ccy : accrued so far, account currency
    reason : ORDER_REASON_* of the order that opened it
    """

    ticket: int
    identifier: int
    symbol: str
    sign: int
    magic: int
    volume_lots: float
    price_open: float
    sl: float
    tp: float
    opened_ns: int
    updated_ns: int
    margin_per_lot_ccy: float
    comment: str
    swap_ccy: float = 0.0
    reason: int = mt5.ORDER_REASON_EXPERT


class PendingOrder(msgspec.Struct):
    """An order on the book: it waits for its price, or for volume to be filled with.

    Parameters
    ----------
    volume_lots : still to be filled; ``volume_initial_lots`` as it was placed
    price : at which it acts; of a stop-limit order that has been set off, its limit price
    stoplimit : limit price of a stop-limit order, 0.0 for other types
    expires_ns : ns UTC, 0 for never
    position : ticket of the position it closes, 0 for none
    position_id : of what its deals have made or met, 0 before the first
    working : set off and waiting for volume only: it is filled at the market
    margin_per_lot_ccy : what a waiting lot ties up, account currency
    """

    ticket: int
    symbol: str
    type: int
    magic: int
    volume_lots: float
    price: float
    sl: float
    tp: float
    placed_ns: int
    type_time: int
    type_filling: int
    expires_ns: int
    comment: str
    volume_initial_lots: float = 0.0
    stoplimit: float = 0.0
    position: int = 0
    position_id: int = 0
    working: bool = False
    reason: int = mt5.ORDER_REASON_EXPERT
    margin_per_lot_ccy: float = 0.0


class DueRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request on its way to the server; ``symbol`` empty when it names nothing that is known."""

    due_ns: int
    symbol: str
    request_key: str
    request: TradeRequest
    treatment: Treatment | None = None


class ChangedSymbol(msgspec.Struct, frozen=True):
    """A symbol whose specification or conditions the broker has changed since the start."""

    config: InstrumentConfig
    terms: SymbolTerms


class Execution(msgspec.Struct, kw_only=True, gc=False):
    """An order at the moment (a part of) it is filled.

    Parameters
    ----------
    order : its ticket
    sign : +1 buys, -1 sells
    type : ORDER_TYPE_* it was placed as
    volume_lots, price : of this deal
    position : ticket of the position it closes, 0 for none named
    reason : ORDER_REASON_*, the deal's reason has the same number
    placed_ns : when the order was placed, ns UTC
    identifier : of the position it opens, 0 for its own ticket
    is_rest : the order has made deals at earlier quotes
    """

    order: int
    symbol: str
    sign: int
    type: int
    volume_lots: float
    price: float
    sl: float = 0.0
    tp: float = 0.0
    position: int = 0
    magic: int = 0
    comment: str = ""
    reason: int = mt5.ORDER_REASON_EXPERT
    placed_ns: int
    type_filling: int = mt5.ORDER_FILLING_FOK
    type_time: int = mt5.ORDER_TIME_GTC
    identifier: int = 0
    is_rest: bool = False


class TerminalState(msgspec.Struct):
    """The whole state.

    Parameters
    ----------
    clock_ns : latest time seen on ticks or submits, ns UTC
    quotes : by symbol, every configured symbol
    positions, orders : by ticket, in the order they were opened
    due : in the order they arrive
    day, next_midnight_ns : the server's current day number and when it ends; -1 and 0 before the first tick
    requests, submitted : requests the server has handled, and those sent by ``submit``
    recent_ns : when the requests of the last second were handled; kept only where their number is limited
    untold : events of calls through the package face, told by the next ``advance`` or ``submit``
    changed : by symbol
    """

    balance_ccy: float
    quotes: dict[str, Quote]
    day_start_equity_ccy: float
    peak_equity_ccy: float
    credit_ccy: float = 0.0
    clock_ns: int = 0
    positions: dict[int, OpenPosition] = {}
    orders: dict[int, PendingOrder] = {}
    due: list[DueRequest] = []
    history_orders: list[TradeOrder] = []
    history_deals: list[TradeDeal] = []
    next_order: int = FIRST_ORDER
    next_deal: int = FIRST_DEAL
    requests: int = 0
    submitted: int = 0
    recent_ns: list[int] = []
    day: int = -1
    next_midnight_ns: int = 0
    untold: list[TerminalEvent] = []
    changed: dict[str, ChangedSymbol] = {}
