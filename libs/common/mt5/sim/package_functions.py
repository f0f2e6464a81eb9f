"""The package's functions: how each is called, how it fails and what it answers."""

from collections.abc import Mapping
from typing import Any, NamedTuple

NO_ONE = 0, 0, ""
"""What ``version()`` gives without a terminal."""


class Function(NamedTuple):
    """A function of the package.

    Parameters
    ----------
    kind : ``0`` no arguments; ``P`` positional only; ``K`` takes keywords, unknown ones are ignored; ``py`` written
        in Python over the others
    failed : what it gives when it fails
    answers : record of ``mt5/results.py``, ``rates``, ``ticks``, or a plain type's name; a leading ``*`` for a tuple
    """

    kind: str
    failed: Any
    answers: str


FUNCTIONS: Mapping[str, Function] = {
    "initialize": Function("K", False, "bool"),
    "login": Function("K", False, "bool"),
    "shutdown": Function("0", True, "bool"),
    "version": Function("0", NO_ONE, "*int,int,str"),
    "last_error": Function("0", None, "*int,str"),
    "account_info": Function("0", None, "AccountInfo"),
    "terminal_info": Function("0", None, "TerminalInfo"),
    "symbols_total": Function("0", None, "int"),
    "symbols_get": Function("K", None, "*SymbolInfo"),
    "symbol_info": Function("P", None, "SymbolInfo"),
    "symbol_info_tick": Function("P", None, "Tick"),
    "symbol_select": Function("P", False, "bool"),
    "market_book_add": Function("P", None, "bool"),
    "market_book_get": Function("P", None, "*BookInfo"),
    "market_book_release": Function("P", None, "bool"),
    "copy_rates_from": Function("P", None, "rates"),
    "copy_rates_from_pos": Function("P", None, "rates"),
    "copy_rates_range": Function("P", None, "rates"),
    "copy_ticks_from": Function("P", None, "ticks"),
    "copy_ticks_range": Function("P", None, "ticks"),
    "orders_total": Function("0", None, "int"),
    "orders_get": Function("K", None, "*TradeOrder"),
    "positions_total": Function("0", None, "int"),
    "positions_get": Function("K", None, "*TradePosition"),
    "history_orders_total": Function("P", None, "int"),
    "history_orders_get": Function("K", None, "*TradeOrder"),
    "history_deals_total": Function("P", None, "int"),
    "history_deals_get": Function("K", None, "*TradeDeal"),
    "order_calc_margin": Function("P", None, "float"),
    "order_calc_profit": Function("P", None, "float"),
    "order_check": Function("K", None, "OrderCheckResult"),
    "order_send": Function("K", None, "OrderSendResult"),
    "Buy": Function("py", None, "OrderSendResult"),
    "Sell": Function("py", None, "OrderSendResult"),
    "Close": Function("py", None, "bool or 'Partially'"),
}
"""Every function of the package, in the order its documentation has them."""

QUESTIONS = frozenset(
    name for name, function in FUNCTIONS.items()
    if function.kind != "py" and name not in ("initialize", "login", "shutdown", "last_error")
)  # fmt: skip
"""What goes through the pipe (``TerminalPort.ask``); the rest is the package's own affair."""
