"""The MetaTrader5 package as one object: every function a method, its connection and its last error inside.

It is the thin client the real package is: it reads the arguments as strictly (arguments.py), asks the terminal through
a pipe (port.py) and shapes the answers (package_types.py). A program sees one of these as a module (drop_in.py); the
worker holds one and calls its methods by the names in ``FUNCTIONS``.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from libs.common.mt5.sim import arguments as read
from libs.common.mt5.sim.arguments import Refused
from libs.common.mt5.sim.groups import in_group
from libs.common.mt5.sim.order_calls import OrderCalls
from libs.common.mt5.sim.package_functions import FUNCTIONS, NO_ONE, QUESTIONS
from libs.common.mt5.sim.package_types import as_package_type
from libs.common.mt5.sim.port import (
    NO_CONNECTION,
    NO_VERSION,
    SUCCESS,
    ConnectOptions,
    LastError,
    PipeBroken,
    TerminalPort,
)

__all__ = ["FUNCTIONS", "QUESTIONS", "Package"]

Method = TypeVar("Method", bound=Callable[..., Any])
_INVALID_PARAMS = -2


def _built_in(body: Method) -> Method:
    """Give a method the manners of a built-in of the package: shape of the call, last error, failures."""
    name = body.__name__
    kind, failed, _ = FUNCTIONS[name]

    @functools.wraps(body)
    def call(self: "Package", *arguments: Any, **named: Any) -> Any:
        read.check_shape(kind, name, arguments, named)
        self._last_error = SUCCESS
        try:
            return body(self, *arguments, **named)
        except Refused as refused:
            self._last_error = (_INVALID_PARAMS, refused.text)
            if refused.cause is not None:
                raise _system_error(name) from refused.cause
            # Bad arguments of this one give False although its other failures give None.
            return False if name == "symbols_get" else failed
        except PipeBroken as broken:
            self._connected = False
            self._last_error = broken.error
            return failed

    return call  # type: ignore[return-value]


def _system_error(name: str) -> SystemError:
    return SystemError(f"<built-in function {name}> returned a result with an exception set")


class Package(OrderCalls):
    """The package's functions over one terminal.

    Parameters
    ----------
    port : the way to the terminal; nothing is asked before ``initialize``
    """

    def __init__(self, port: TerminalPort) -> None:
        self._port = port
        self._connected = False
        self._last_error: LastError = (0, "")

    @property
    def connected(self) -> bool:
        """Whether there is a pipe to a terminal."""
        return self._connected

    # Connection.

    @_built_in
    def initialize(self, *path: Any, **named: Any) -> bool:
        """Connect to the terminal; an earlier connection is closed first."""
        if len(path) > 1:
            raise Refused(read.WRONG_NUMBER)
        place = read.text(path[0], read.ordinal(0), 1_024) if path else ""
        if "path" in named and not path:
            place = read.text(named["path"], 'Invalid "path" argument', 1_024)
        options = ConnectOptions(path=place, portable=bool(named.get("portable", False)), **_account(named))
        if self._connected:
            self._port.close()
        self._last_error = self._port.connect(options)
        self._connected = self._last_error == SUCCESS
        return self._connected

    @_built_in
    def login(self, *unnamed: Any, **named: Any) -> bool:
        """Change the account over the connection."""
        if len(unnamed) > 3:
            raise Refused(read.WRONG_NUMBER)
        account: dict[str, Any] = {}
        for place, (name, value) in enumerate(zip(("login", "password", "server"), unnamed, strict=False)):
            words = read.ordinal(place)
            account[name] = read.unsigned_64(value, words) if place == 0 else read.text(value, words, 1_024)
        account = {**_account(named), **account}
        if "login" not in account:
            raise Refused('Invalid "login" argument')
        if not self._connected:
            self._last_error = NO_CONNECTION
            return False
        self._last_error = self._port.login(ConnectOptions(**account))
        return self._last_error == SUCCESS

    @_built_in
    def shutdown(self) -> bool:
        """Let go of the terminal."""
        if self._connected:
            self._port.close()
        self._connected = False
        return True

    def last_error(self, *arguments: Any, **named: Any) -> LastError:
        """Return code and text of the last call; (0, '') before the first."""
        read.check_shape("0", "last_error", arguments, named)
        return self._last_error

    @_built_in
    def version(self) -> Any:
        """Return (500, build, date); (0, 0, '') on failure."""
        return self._ask("version", failed=NO_ONE)

    @_built_in
    def terminal_info(self) -> Any:
        """Return the terminal's state."""
        return self._ask("terminal_info")

    @_built_in
    def account_info(self) -> Any:
        """Return the account's state."""
        return self._ask("account_info")

    # Symbols.

    @_built_in
    def symbols_total(self) -> Any:
        """Return how many symbols the broker has."""
        return self._ask("symbols_total", unconnected=NO_VERSION)

    @_built_in
    def symbols_get(self, *unnamed: Any, **named: Any) -> Any:
        """Return all symbols, or those of a group; the group is applied here, after all have been fetched."""
        if len(unnamed) > 1:
            raise Refused(read.WRONG_NUMBER)
        masks = read.group(named)
        if unnamed:
            masks = read.text(unnamed[0], read.ordinal(0), read.MAX_GROUP_UNITS)
        return _in_groups(self._ask("symbols_get", unconnected=NO_VERSION), masks, "name")

    @_built_in
    def symbol_info(self, *arguments: Any) -> Any:
        """Return a symbol's specification and quote."""
        return self._ask("symbol_info", _symbol(arguments))

    @_built_in
    def symbol_info_tick(self, *arguments: Any) -> Any:
        """Return a symbol's last tick."""
        return self._ask("symbol_info_tick", _symbol(arguments))

    @_built_in
    def symbol_select(self, *arguments: Any) -> Any:
        """Show a symbol in the Market Watch window, or remove it."""
        read.number_of(arguments, 1, 2)
        symbol = read.text(arguments[0])
        return self._ask("symbol_select", symbol, len(arguments) < 2 or bool(arguments[1]), failed=False)

    @_built_in
    def market_book_add(self, *arguments: Any) -> Any:
        """Subscribe to a symbol's depth."""
        return self._book("market_book_add", arguments)

    @_built_in
    def market_book_release(self, *arguments: Any) -> Any:
        """Unsubscribe from a symbol's depth."""
        return self._book("market_book_release", arguments)

    @_built_in
    def market_book_get(self, *arguments: Any) -> Any:
        """Return a symbol's depth, dearest first."""
        return self._ask("market_book_get", _symbol(arguments))

    # Bars and ticks.

    @_built_in
    def copy_rates_from(self, *arguments: Any) -> Any:
        """Return up to so many bars that opened at or before a date."""
        read.number_of(arguments, 4)
        symbol, timeframe = read.text(arguments[0]), read.index(arguments[1])
        start, count = read.date(arguments[2]), read.index(arguments[3])
        return self._ask("copy_rates_from", symbol, timeframe, start.seconds, count, pending=start.pending)

    @_built_in
    def copy_rates_from_pos(self, *arguments: Any) -> Any:
        """Return up to so many bars, counted back from the forming one (position 0)."""
        read.number_of(arguments, 4)
        symbol = read.text(arguments[0])
        return self._ask("copy_rates_from_pos", symbol, *(read.index(value) for value in arguments[1:]))

    @_built_in
    def copy_rates_range(self, *arguments: Any) -> Any:
        """Return the bars that opened between two dates, both included."""
        read.number_of(arguments, 4)
        symbol, timeframe = read.text(arguments[0]), read.index(arguments[1])
        return self._ask_between("copy_rates_range", (symbol, timeframe), arguments[2:], ())

    @_built_in
    def copy_ticks_from(self, *arguments: Any) -> Any:
        """Return up to so many ticks from a date on."""
        read.number_of(arguments, 4)
        symbol, start = read.text(arguments[0]), read.date(arguments[1])
        count, flags = read.index(arguments[2]), _signed(read.index(arguments[3]))
        return self._ask("copy_ticks_from", symbol, start.seconds, count, flags, pending=start.pending)

    @_built_in
    def copy_ticks_range(self, *arguments: Any) -> Any:
        """Return the ticks between two dates."""
        read.number_of(arguments, 4)
        symbol, flags = read.text(arguments[0]), _signed(read.index(arguments[3]))
        return self._ask_between("copy_ticks_range", (symbol,), arguments[1:3], (flags,))

    # Orders, positions, history.

    @_built_in
    def orders_total(self) -> Any:
        """Return how many orders are pending."""
        return self._ask("orders_total")

    @_built_in
    def positions_total(self) -> Any:
        """Return how many positions are open."""
        return self._ask("positions_total")

    @_built_in
    def orders_get(self, *unnamed: Any, **named: Any) -> Any:
        """Return pending orders: all, of a ticket, of a symbol, or of a group."""
        return self._current("orders_get", unnamed, named)

    @_built_in
    def positions_get(self, *unnamed: Any, **named: Any) -> Any:
        """Return open positions: all, of a ticket, of a symbol, or of a group."""
        return self._current("positions_get", unnamed, named)

    @_built_in
    def history_orders_total(self, *arguments: Any) -> Any:
        """Return how many finished orders there are between two dates."""
        read.number_of(arguments, 2)
        return self._ask_between("history_orders_total", (), arguments, ())

    @_built_in
    def history_deals_total(self, *arguments: Any) -> Any:
        """Return how many deals there are between two dates."""
        read.number_of(arguments, 2)
        return self._ask_between("history_deals_total", (), arguments, ())

    @_built_in
    def history_orders_get(self, *unnamed: Any, **named: Any) -> Any:
        """Return finished orders: between two dates, of a ticket, or of a position."""
        return self._past("history_orders_get", unnamed, named)

    @_built_in
    def history_deals_get(self, *unnamed: Any, **named: Any) -> Any:
        """Return deals: between two dates, of an **order** ticket, or of a position."""
        return self._past("history_deals_get", unnamed, named)

    # Trading.

    @_built_in
    def order_calc_margin(self, *arguments: Any) -> Any:
        """Return what an order would tie up."""
        read.number_of(arguments, 4)
        action, symbol = read.index(arguments[0]), read.text(arguments[1])
        return self._ask("order_calc_margin", action, symbol, *(read.real(value) for value in arguments[2:]))

    @_built_in
    def order_calc_profit(self, *arguments: Any) -> Any:
        """Return what an order would earn between two prices."""
        read.number_of(arguments, 5)
        action, symbol = read.index(arguments[0]), read.text(arguments[1])
        return self._ask("order_calc_profit", action, symbol, *(read.real(value) for value in arguments[2:]))

    @_built_in
    def order_check(self, *unnamed: Any, **named: Any) -> Any:
        """Say what a request would do."""
        return self._ask("order_check", read.request(unnamed, named)._asdict())

    @_built_in
    def order_send(self, *unnamed: Any, **named: Any) -> Any:
        """Send a request."""
        return self._ask("order_send", read.request(unnamed, named)._asdict())

    # Inside.

    def _ask(
        self, function: str, *arguments: Any, failed: Any = None, unconnected: LastError = NO_CONNECTION,
        pending: BaseException | None = None, **named: Any,
    ) -> Any:
        """Put a question to the terminal and shape its answer; raise what reading the arguments left pending."""
        answer = failed
        if not self._connected:
            self._last_error = unconnected
        else:
            answer, self._last_error = self._port.ask(function, *arguments, **named)
        if pending is not None:
            raise _system_error(function) from pending
        return as_package_type(failed if answer is None else answer)

    def _ask_between(
        self, function: str, before: tuple[Any, ...], dates: tuple[Any, ...], after: tuple[Any, ...]
    ) -> Any:
        start, end = read.date(dates[0]), read.date(dates[1])
        pending = start.pending or end.pending
        return self._ask(function, *before, start.seconds, end.seconds, *after, pending=pending)

    def _book(self, function: str, arguments: tuple[Any, ...]) -> bool:
        symbol = _symbol(arguments)
        done = self._connected and self._ask(function, symbol) is True
        # These two do not say why they failed.
        self._last_error = SUCCESS
        return done

    def _current(self, function: str, unnamed: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        if unnamed:
            raise Refused(read.UNNAMED)
        if "ticket" in named:
            ticket = read.unsigned_64(named["ticket"], 'Invalid "ticket" argument')
            return self._ask(function, ticket=ticket)
        if "symbol" in named:
            return self._ask(function, symbol=read.text(named["symbol"], 'Invalid "symbol" argument'))
        masks = read.group(named)
        return _in_groups(self._ask(function), masks, "symbol")

    def _past(self, function: str, unnamed: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        if len(unnamed) == 2:
            masks = read.group(named)
            return _in_groups(self._ask_between(function, (), unnamed, ()), masks, "symbol")
        for key in ("ticket", "position"):
            if key in named:
                if unnamed:
                    raise Refused(read.UNNAMED)
                wanted: dict[str, Any] = {key: read.unsigned_64(named[key], f'Invalid "{key}" argument')}
                return self._ask(function, **wanted)
        raise Refused(read.INVALID)


def _account(named: Mapping[str, Any]) -> dict[str, Any]:
    """Read the keywords ``initialize`` and ``login`` share; only those given are in the answer."""
    account: dict[str, Any] = {}
    if "login" in named:
        account["login"] = read.unsigned_64(named["login"], 'Invalid "login" argument')
    for key in ("server", "password"):
        if key in named:
            account[key] = read.text(named[key], f'Invalid "{key}" argument', 1_024)
    if "timeout" in named:
        account["timeout_ms"] = read.unsigned_32(named["timeout"], 'Invalid "timeout" argument')
    return account


def _symbol(arguments: tuple[Any, ...]) -> str:
    read.number_of(arguments, 1)
    return read.text(arguments[0])


def _signed(number: int) -> int:
    return number - 2**32 if number >= 2**31 else number


def _in_groups(answer: Any, masks: str | None, field: str) -> Any:
    if answer is None or masks is None:
        return answer
    return tuple(record for record in answer if in_group(getattr(record, field), masks))
