"""What the broker says we have."""

import msgspec

from libs.common.messages.base import Message
from libs.common.messages.market import Side


class Position(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An open position.

    Parameters
    ----------
    position_id : the broker's position identifier
    magic : 64-bit key of the intent that opened it; 0 or unknown to us: foreign, left alone
    profit_ccy : floating profit in account currency without swap and commission
    """

    position_id: int
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


class AccountSnapshot(Message, frozen=True, kw_only=True):
    """The account as the broker reports it, and what is still in doubt.

    Parameters
    ----------
    currency : account currency
    hedging : True when the account holds several positions per symbol
    balance_ccy, equity_ccy, margin_ccy, margin_free_ccy : account currency
    unknown_lots : worst-case signed exposure of orders in state UNKNOWN, lots by symbol (buy and sell each at
        their absolute value)
    day_start_equity_ccy : equity at the broker's last midnight
    peak_equity_ccy : highest equity seen
    """

    account: str
    currency: str
    hedging: bool
    leverage: float
    balance_ccy: float
    equity_ccy: float
    margin_ccy: float
    margin_free_ccy: float
    positions: tuple[Position, ...]
    unknown_lots: dict[str, float]
    day_start_equity_ccy: float
    peak_equity_ccy: float
