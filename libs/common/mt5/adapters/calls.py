"""The package's questions as typed methods; how a question gets to a terminal is the subclass's affair.

Times are whole seconds of the **broker's clock** written as if it were UTC, as the package wants them; converting is the
caller's business (``libs.common.mt5.convert``). Nothing found is an empty tuple. What the package answers with ``None``
raises.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from libs.common.errors import BrokerError
from libs.common.mt5.results import (
    AccountInfo,
    OrderCheckResult,
    OrderSendResult,
    SymbolInfo,
    TerminalInfo,
    Tick,
    TradeDeal,
    TradeOrder,
    TradePosition,
)

Record = TypeVar("Record")
Array = npt.NDArray[np.void]
"""A structured array; columns as the package names them (``time_msc``, ``bid`` ... or ``time``, ``open`` ...)."""


class PackageError(BrokerError):
    """The package answered a question with an error. Nothing was sent that could trade: asking again is safe.

    Parameters
    ----------
    function : what was asked
    code, text : of ``last_error()``, or 0 and the exception's words
    """

    def __init__(self, function: str, code: int, text: str) -> None:
        self.function, self.code, self.text = function, code, text
        super().__init__(f"{function}: {text} ({code})")


class TerminalCalls(ABC):
    """Every question we ask a terminal. Errors are those of ``driver``."""

    @abstractmethod
    async def call(self, function: str, /, *args: Any, deadline_s: float | None = None, **kwargs: Any) -> Any:
        """Call one function of the package, once, and return its answer as records, arrays or plain values."""

    # Connection.

    async def initialize(self, *path: str, deadline_s: float | None = None, **options: Any) -> bool:
        """Connect to a terminal; False with the reason in ``last_error``."""
        return bool(await self.call("initialize", *path, deadline_s=deadline_s, **options))

    async def login(self, login: int, deadline_s: float | None = None, **options: Any) -> bool:
        """Change the account; options ``password``, ``server``, ``timeout`` (ms)."""
        return bool(await self.call("login", login, deadline_s=deadline_s, **options))

    async def shutdown(self) -> bool:
        return bool(await self.call("shutdown"))

    async def version(self) -> tuple[int, int, str]:
        """Return the package's protocol number, the terminal's build and its date."""
        number, build, date = await self.call("version")
        return int(number), int(build), str(date)

    async def last_error(self) -> tuple[int, str]:
        """Return the worker's last error; every answer carries it already (``Mt5Driver.health().last_error``)."""
        code, text = await self.call("last_error")
        return int(code), str(text)

    async def account_info(self, deadline_s: float | None = None) -> AccountInfo:
        return _is(AccountInfo, await self.call("account_info", deadline_s=deadline_s))

    async def terminal_info(self, deadline_s: float | None = None) -> TerminalInfo:
        return _is(TerminalInfo, await self.call("terminal_info", deadline_s=deadline_s))

    # Symbols.

    async def symbols_total(self) -> int:
        return int(await self.call("symbols_total"))

    async def symbols_get(self, group: str = "", deadline_s: float | None = None) -> tuple[SymbolInfo, ...]:
        """Return the broker's symbols; ``group`` filters by masks such as ``*USD*,!*JPY*``."""
        named = {"group": group} if group else {}
        return tuple(await self.call("symbols_get", deadline_s=deadline_s, **named))

    async def symbol_info(self, symbol: str) -> SymbolInfo:
        return _is(SymbolInfo, await self.call("symbol_info", symbol))

    async def symbol_info_tick(self, symbol: str) -> Tick:
        return _is(Tick, await self.call("symbol_info_tick", symbol))

    async def symbol_select(self, symbol: str, enable: bool = True) -> bool:
        """Put a symbol into the Market Watch or take it out; False when the terminal refuses."""
        return bool(await self.call("symbol_select", symbol, enable))

    # Prices. ``flags``: COPY_TICKS_ALL -1, COPY_TICKS_INFO 1, COPY_TICKS_TRADE 2.

    async def copy_ticks_from(
        self, symbol: str, date_from: int, count: int, flags: int = -1, deadline_s: float | None = None
    ) -> Array:
        """Return up to ``count`` ticks from a second of the broker's clock on, shape (n,)."""
        return _array(await self.call("copy_ticks_from", symbol, date_from, count, flags, deadline_s=deadline_s))

    async def copy_ticks_range(
        self, symbol: str, date_from: int, date_to: int, flags: int = -1, deadline_s: float | None = None
    ) -> Array:
        """Return the ticks between two seconds of the broker's clock, both included, shape (n,)."""
        return _array(await self.call("copy_ticks_range", symbol, date_from, date_to, flags, deadline_s=deadline_s))

    async def copy_rates_from(
        self, symbol: str, timeframe: int, date_from: int, count: int, deadline_s: float | None = None
    ) -> Array:
        """Return up to ``count`` bars that open at or before a second of the broker's clock, oldest first."""
        return _array(await self.call("copy_rates_from", symbol, timeframe, date_from, count, deadline_s=deadline_s))

    async def copy_rates_from_pos(
        self, symbol: str, timeframe: int, start: int, count: int, deadline_s: float | None = None
    ) -> Array:
        """Return ``count`` bars counted back from ``start``; 0 is the forming one. Oldest first."""
        return _array(await self.call("copy_rates_from_pos", symbol, timeframe, start, count, deadline_s=deadline_s))

    async def copy_rates_range(
        self, symbol: str, timeframe: int, date_from: int, date_to: int, deadline_s: float | None = None
    ) -> Array:
        """Return the bars that open between two seconds of the broker's clock, both included."""
        return _array(
            await self.call("copy_rates_range", symbol, timeframe, date_from, date_to, deadline_s=deadline_s)
        )

    # Books.

    async def orders_get(self, *, symbol: str = "", ticket: int = 0, group: str = "") -> tuple[TradeOrder, ...]:
        return tuple(await self.call("orders_get", **_given(symbol=symbol, ticket=ticket, group=group)))

    async def positions_get(
        self, *, symbol: str = "", ticket: int = 0, group: str = ""
    ) -> tuple[TradePosition, ...]:
        return tuple(await self.call("positions_get", **_given(symbol=symbol, ticket=ticket, group=group)))

    async def history_orders_get(
        self, date_from: int = 0, date_to: int = 0, *, ticket: int = 0, position: int = 0,
        deadline_s: float | None = None,
    ) -> tuple[TradeOrder, ...]:
        """Return finished orders by two seconds of the broker's clock (of being done), else by ticket or position."""
        dates = (date_from, date_to) if date_to else ()
        named = {} if dates else _given(ticket=ticket, position=position)
        return tuple(await self.call("history_orders_get", *dates, deadline_s=deadline_s, **named))

    async def history_deals_get(
        self, date_from: int = 0, date_to: int = 0, *, ticket: int = 0, position: int = 0,
        deadline_s: float | None = None,
    ) -> tuple[TradeDeal, ...]:
        """Return deals by two seconds of the broker's clock, else by **order** ticket or position."""
        dates = (date_from, date_to) if date_to else ()
        named = {} if dates else _given(ticket=ticket, position=position)
        return tuple(await self.call("history_deals_get", *dates, deadline_s=deadline_s, **named))

    # Trading.

    async def order_calc_margin(self, action: int, symbol: str, volume: float, price: float) -> float:
        return float(await self.call("order_calc_margin", action, symbol, volume, price))

    async def order_calc_profit(
        self, action: int, symbol: str, volume: float, price_open: float, price_close: float
    ) -> float:
        return float(await self.call("order_calc_profit", action, symbol, volume, price_open, price_close))

    async def order_check(self, request: Mapping[str, Any], deadline_s: float | None = None) -> OrderCheckResult:
        """Ask what a request would do; ``retcode`` 0 when it would be accepted."""
        return _is(OrderCheckResult, await self.call("order_check", dict(request), deadline_s=deadline_s))

    async def order_send(self, request: Mapping[str, Any], deadline_s: float | None = None) -> OrderSendResult:
        """Send a trade request, once. A refusal of the server is a result; see its ``retcode``.

        Parameters
        ----------
        request : prices and volumes must be ``float``, ids and enums ``int``, the comment at most 29 characters
        """
        return _is(OrderSendResult, await self.call("order_send", dict(request), deadline_s=deadline_s))


def _is(kind: type[Record], answer: Any) -> Record:
    if not isinstance(answer, kind):
        raise PackageError("answer", 0, f"a {kind.__name__} was expected, {answer!r:.60} came")
    return answer


def _array(answer: Any) -> Array:
    if not isinstance(answer, np.ndarray):
        raise PackageError("answer", 0, f"an array was expected, {answer!r:.60} came")
    return answer


def _given(**named: Any) -> dict[str, Any]:
    return {name: value for name, value in named.items() if value}
