"""Orders on their way to the broker and what became of them."""

from enum import StrEnum

from libs.common.messages.base import Message
from libs.common.messages.market import Side


class RefusalReason(StrEnum):
    """Why risk refused. A closed list: every check has its own."""

    HALTED = "halted"
    NO_DIRECTION = "no_direction"
    ACCOUNT_UNKNOWN = "account_unknown"
    ACCOUNT_STALE = "account_stale"
    FEED_STALE = "feed_stale"
    PREDICTION_STALE = "prediction_stale"
    NON_FINITE = "non_finite"
    SYMBOL_NOT_ALLOWED = "symbol_not_allowed"
    SESSION_CLOSED = "session_closed"
    SPREAD_TOO_WIDE = "spread_too_wide"
    OUTCOME_UNKNOWN = "outcome_unknown"
    MAX_OPEN_POSITIONS = "max_open_positions"
    MAX_SYMBOL_EXPOSURE = "max_symbol_exposure"
    MAX_TOTAL_EXPOSURE = "max_total_exposure"
    MARGIN = "margin"
    DAILY_LOSS = "daily_loss"
    MAX_DRAWDOWN = "max_drawdown"
    ORDER_RATE = "order_rate"
    REPEATED_ORDER = "repeated_order"
    VOLUME_TOO_SMALL = "volume_too_small"


class OrderPurpose(StrEnum):
    """What the order is for. After a halt only REDUCE may pass."""

    OPEN = "open"
    REDUCE = "reduce"


class OrderApproved(Message, frozen=True, kw_only=True):
    """Risk's signed permission to send one market order, once, before it expires.

    Parameters
    ----------
    order_id : hash of what caused it; the same cause always gives the same id
    account : account key
    volume_lots : already rounded down to the lot step
    price : the side's price when approved (ask for buy, bid for sell)
    sl, tp : stop loss and take profit prices, 0.0 for none
    purpose : open new risk, or reduce what is there
    position_id : the position to reduce (0: none named, netting); of an order that opens: the netting position it
        turns round, whose volume is then part of ``volume_lots``, 0 for none
    max_slippage_points : how far the fill may be from ``price``
    horizon_s : close the position after this long, 0 for never
    expires_ns : refuse to send at or after this time
    model, version : whose prediction caused it
    key_id, signature : who signed; Ed25519 over the canonical bytes (``libs.common.signing``), hex
    """

    order_id: str
    account: str
    symbol: str
    side: Side
    volume_lots: float
    price: float
    sl: float
    tp: float
    purpose: OrderPurpose
    position_id: int
    max_slippage_points: int
    horizon_s: int
    expires_ns: int
    model: str
    version: int
    key_id: str = ""
    signature: str = ""


class OrderRefused(Message, frozen=True, kw_only=True):
    """Why a prediction did not become an order, with the two numbers a person asks for first.

    Parameters
    ----------
    observed, limit : in the same unit, that of the check
    detail : one short sentence for people
    """

    account: str
    symbol: str
    reason: RefusalReason
    observed: float
    limit: float
    detail: str = ""


class OrderSent(Message, frozen=True, kw_only=True):
    """The order was journaled and handed to the broker."""

    order_id: str
    account: str
    symbol: str
    side: Side
    volume_lots: float
    magic: int


class OrderFilled(Message, frozen=True, kw_only=True):
    """The broker executed the whole order.

    Parameters
    ----------
    deal, position_id : the broker's ids
    price : fill price
    slippage_points : how much worse than approved (negative: better)
    commission_ccy : account currency, <= 0 is a cost
    """

    order_id: str
    account: str
    symbol: str
    side: Side
    volume_lots: float
    price: float
    deal: int
    position_id: int
    slippage_points: float
    commission_ccy: float


class OrderPartiallyFilled(Message, frozen=True, kw_only=True):
    """The broker executed part of the order; the rest will not be."""

    order_id: str
    account: str
    symbol: str
    side: Side
    volume_lots: float
    asked_lots: float
    price: float
    deal: int
    position_id: int
    slippage_points: float
    commission_ccy: float


class OrderRejected(Message, frozen=True, kw_only=True):
    """The order was definitely not executed.

    Parameters
    ----------
    retcode : the broker's code; 0 when we ourselves refused to send
    reason : ``expired``, ``bad_signature``, ``duplicate``, ``closed``, or the broker's text
    """

    order_id: str
    account: str
    symbol: str
    retcode: int
    reason: str


class OrderUnknown(Message, frozen=True, kw_only=True):
    """Nobody can say yet whether the order was executed; counted as worst-case exposure, never resent."""

    order_id: str
    account: str
    symbol: str
    side: Side
    volume_lots: float
    reason: str


class OrderResolved(Message, frozen=True, kw_only=True):
    """The broker's own records decided an unknown order.

    Parameters
    ----------
    executed : True when found in orders, positions or deals
    volume_lots : what was executed
    """

    order_id: str
    account: str
    symbol: str
    executed: bool
    volume_lots: float
    evidence: str


class PositionClosed(Message, frozen=True, kw_only=True):
    """A position, or part of it, was closed.

    Parameters
    ----------
    side : of the position
    profit_ccy, swap_ccy, commission_ccy : account currency, signed; commission includes the opening side's share
    reason : ``sl``, ``tp``, ``order``, ``stop_out``, ``manual``
    """

    order_id: str
    account: str
    symbol: str
    position_id: int
    side: Side
    volume_lots: float
    price_open: float
    price_close: float
    opened_ns: int
    profit_ccy: float
    swap_ccy: float
    commission_ccy: float
    reason: str


class StopsMoved(Message, frozen=True, kw_only=True):
    """The executor moved a position's SL or TP (break-even, trailing)."""

    account: str
    symbol: str
    position_id: int
    sl: float
    tp: float
    rule: str
