"""Everything the simulated terminal remembers; a snapshot is this, encoded."""

import msgspec

from libs.common.mt5.results import TradeDeal, TradeOrder, TradeRequest
from libs.common.mt5.sim.events import TerminalEvent

FIRST_ORDER = 1_000_001
FIRST_DEAL = 5_000_001
"""Orders and deals count in different ranges so that mistaking one for the other shows."""


class Quote(msgspec.Struct, frozen=True):
    """The quote in force for a symbol; ``time_ns`` 0 before its first tick."""

    time_ns: int = 0
    bid: float = 0.0
    ask: float = 0.0


class OpenPosition(msgspec.Struct):
    """An open position.

    Parameters
    ----------
    ticket, identifier : alike until a netting position is reversed
    sign : +1 buy, -1 sell
    margin_per_lot_ccy : what a lot ties up, account currency, fixed when the position was opened
    swap_ccy : accrued so far, account currency
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


class PendingOrder(msgspec.Struct):
    """A limit or stop order that waits for its price; ``expires_ns`` 0 for never."""

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


class DueRequest(msgspec.Struct, frozen=True):
    """A request on its way to the server; ``symbol`` empty when it names nothing that is known."""

    due_ns: int
    symbol: str
    request_key: str
    request: TradeRequest


class TerminalState(msgspec.Struct):
    """The whole state.

    Parameters
    ----------
    clock_ns : latest time seen on ticks or submits, ns UTC
    quotes : by symbol, every configured symbol
    positions, orders : by ticket, in the order they were opened
    due : in the order they were submitted
    day, next_midnight_ns : the server's current day number and when it ends; -1 and 0 before the first tick
    requests, submitted : requests the server has handled, and those sent by ``submit``
    untold : events of calls through the package face, told by the next ``advance`` or ``submit``
    """

    balance_ccy: float
    quotes: dict[str, Quote]
    day_start_equity_ccy: float
    peak_equity_ccy: float
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
    day: int = -1
    next_midnight_ns: int = 0
    untold: list[TerminalEvent] = []
