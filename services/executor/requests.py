"""Requests as MetaTrader wants them: plain dicts, floats where it insists on floats."""

from typing import Any

from libs.common.messages.market import Side
from libs.common.mt5 import constants as mt5
from services.executor.broker import BrokerPosition

COMMENT_PREFIX = "tw:"
FILLING = {"fok": mt5.ORDER_FILLING_FOK, "ioc": mt5.ORDER_FILLING_IOC, "return": mt5.ORDER_FILLING_RETURN}


def order_comment(order_id: str) -> str:
    """Return the second hint (after the magic number) to whose order this is: 15 characters of the 29 allowed."""
    return COMMENT_PREFIX + order_id[:12]


def market_order(
    *,
    order_id: str,
    magic: int,
    symbol: str,
    side: Side,
    volume_lots: float,
    price: float,
    sl: float,
    tp: float,
    deviation_points: int,
    filling: str,
    position_ticket: int = 0,
) -> dict[str, Any]:
    """Return the request for a market order.

    Parameters
    ----------
    position_ticket : the position it closes or reduces; 0 to open
    """
    request = {
        "action": mt5.TRADE_ACTION_DEAL,
        "symbol": symbol,
        "volume": float(volume_lots),
        "type": mt5.ORDER_TYPE_BUY if side is Side.BUY else mt5.ORDER_TYPE_SELL,
        "price": float(price),
        "sl": float(sl),
        "tp": float(tp),
        "deviation": int(deviation_points),
        "magic": magic,
        "comment": order_comment(order_id),
        "type_time": mt5.ORDER_TIME_GTC,
        "type_filling": FILLING[filling],
    }
    if position_ticket:
        request["position"] = position_ticket
    return request


def stops_change(position: BrokerPosition, sl: float) -> dict[str, Any]:
    """Return the request that moves a position's SL and leaves its TP."""
    return {
        "action": mt5.TRADE_ACTION_SLTP,
        "symbol": position.symbol,
        "position": position.ticket,
        "sl": float(sl),
        "tp": float(position.tp),
        "magic": position.magic,
    }
