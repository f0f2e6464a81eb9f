"""Which functions of the MetaTrader5 package a worker may call, how long each may take, and what each answers."""

from enum import StrEnum
from typing import Any, NamedTuple

from libs.common.mt5 import results


class Pace(StrEnum):
    """How long a call may take before its worker is killed (see ``driver.Deadlines``)."""

    CONNECT = "connect"
    READ = "read"
    TICKS = "ticks"
    SEND = "send"


class Function(NamedTuple):
    """One function of the package.

    Parameters
    ----------
    pace : its class of deadline
    record : the type of its answer, or of each of its answers where there are ``many``; None for a plain value
    many : the answer is a tuple
    """

    pace: Pace = Pace.READ
    record: Any = None
    many: bool = False


FUNCTIONS: dict[str, Function] = {
    "initialize": Function(Pace.CONNECT),
    "login": Function(Pace.CONNECT),
    "shutdown": Function(),
    "version": Function(),
    "last_error": Function(),
    "account_info": Function(record=results.AccountInfo),
    "terminal_info": Function(record=results.TerminalInfo),
    "symbols_total": Function(),
    "symbols_get": Function(record=results.SymbolInfo, many=True),
    "symbol_info": Function(record=results.SymbolInfo),
    "symbol_info_tick": Function(record=results.Tick),
    "symbol_select": Function(),
    "market_book_add": Function(),
    "market_book_get": Function(record=getattr(results, "BookInfo", None), many=True),
    "market_book_release": Function(),
    "copy_rates_from": Function(Pace.TICKS),
    "copy_rates_from_pos": Function(Pace.TICKS),
    "copy_rates_range": Function(Pace.TICKS),
    "copy_ticks_from": Function(Pace.TICKS),
    "copy_ticks_range": Function(Pace.TICKS),
    "orders_total": Function(),
    "orders_get": Function(record=results.TradeOrder, many=True),
    "positions_total": Function(),
    "positions_get": Function(record=results.TradePosition, many=True),
    "history_orders_total": Function(),
    "history_orders_get": Function(record=results.TradeOrder, many=True),
    "history_deals_total": Function(),
    "history_deals_get": Function(record=results.TradeDeal, many=True),
    "order_calc_margin": Function(),
    "order_calc_profit": Function(),
    "order_check": Function(record=results.OrderCheckResult),
    "order_send": Function(Pace.SEND, results.OrderSendResult),
}
"""Everything a worker can be asked; any other name is refused. ``Buy``, ``Sell`` and ``Close`` of the package are not
here: they send again by themselves."""

SENDS = frozenset({"order_send"})
"""What must never be asked twice: a lost answer leaves the outcome open."""
NAMES = frozenset(FUNCTIONS)
