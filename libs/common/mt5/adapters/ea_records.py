"""From an Expert Advisor's words to the MetaTrader5 package's records and arrays."""

from typing import Any

import msgspec
import numpy as np

from libs.common.messages.ea import EaBooks, EaHistory, EaQuote, EaResult, EaSpecification, EaTicks
from libs.common.mt5.adapters.calls import Array
from libs.common.mt5.convert import TICK_DTYPE
from libs.common.mt5.results import AccountInfo, OrderSendResult, SymbolInfo, TerminalInfo, Tick, TradeRequest

_SPELLED = {
    "trade_contract_size": "contract_size", "trade_tick_size": "tick_size", "trade_tick_value": "tick_value",
    "trade_stops_level": "stops_level", "trade_freeze_level": "freeze_level", "trade_exemode": "execution_mode",
    "trade_calc_mode": "calc_mode", "swap_rollover3days": "swap_rollover_day", "name": "symbol",
}
"""Field of ``SymbolInfo`` -> our word for it."""


def record(kind: Any, spoken: msgspec.Struct, **more: Any) -> Any:
    """Return a record of the package with the fields both sides know by the same name; the rest has its defaults."""
    said = {name: getattr(spoken, name) for name in spoken.__struct_fields__ if name in kind._fields}
    return kind(**{**said, **more})


def account_info(books: EaBooks) -> AccountInfo:
    """Return the account's figures."""
    found: AccountInfo = record(AccountInfo, books.figures)
    return found


def terminal_info(books: EaBooks) -> TerminalInfo:
    """Return the terminal's state as far as the Expert Advisor tells it."""
    return TerminalInfo(
        connected=books.connected, trade_allowed=books.trade_allowed, build=books.build, name="Expert Advisor"
    )


def symbol_info(specification: EaSpecification, quote: EaQuote | None) -> SymbolInfo:
    """Return what is known of a symbol."""
    said = {name: getattr(specification, word) for name, word in _SPELLED.items()}
    if quote is not None:
        said |= {"time": quote.time_msc // 1_000, "bid": quote.bid, "ask": quote.ask, "last": quote.last}
    found: SymbolInfo = record(SymbolInfo, specification, select=True, visible=True, **said)
    return found


def tick_record(quote: EaQuote) -> Tick:
    """Return the newest tick of a symbol."""
    found: Tick = record(Tick, quote, time=quote.time_msc // 1_000)
    return found


def send_result(result: EaResult, request: dict[str, Any]) -> OrderSendResult:
    """Return the terminal's answer to a request."""
    asked = TradeRequest(**{name: value for name, value in request.items() if name in TradeRequest._fields})
    found: OrderSendResult = record(OrderSendResult, result, request=asked)
    return found


def tick_array(ticks: EaTicks | EaHistory) -> Array:
    """Return ticks as the package gives them, shape (n,)."""
    array = np.zeros(len(ticks.time_msc), dtype=TICK_DTYPE)
    array["time_msc"] = ticks.time_msc
    array["time"] = ticks.time_msc // 1_000
    for name in ("bid", "ask", "last", "flags"):
        array[name] = getattr(ticks, name)
    array["volume_real"] = ticks.volume
    array["volume"] = ticks.volume.astype(np.uint64)
    return array
