"""A terminal for compiled programs: their questions go to an object with the MetaTrader5 package's functions.

That object is the simulated terminal in this process, or a client of the simulated terminal's own process.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tests.mql.harness.answers import Answerer

_POSITION_FIELDS = (
    "ticket", "time", "time_msc", "time_update", "time_update_msc", "type", "magic", "identifier", "reason",
    "volume", "price_open", "sl", "tp", "price_current", "swap", "profit", "symbol", "comment", "external_id",
)  # fmt: skip
_ORDER_FIELDS = (
    "ticket", "time_setup", "time_setup_msc", "time_done", "time_done_msc", "time_expiration", "type",
    "type_time", "type_filling", "state", "magic", "position_id", "position_by_id", "reason", "volume_initial",
    "volume_current", "price_open", "sl", "tp", "price_current", "price_stoplimit", "symbol", "comment",
    "external_id",
)  # fmt: skip
_DEAL_FIELDS = (
    "ticket", "order", "time", "time_msc", "type", "entry", "magic", "position_id", "reason", "volume", "price",
    "commission", "swap", "profit", "fee", "symbol", "comment", "external_id",
)  # fmt: skip
_PERIODS = {"PERIOD_M1": (1, 60), "PERIOD_M5": (5, 300), "PERIOD_H1": (16385, 3_600), "PERIOD_D1": (16408, 86_400)}
_FAR = 2**31 - 2


def as_object(prefix: str, fields: Iterable[str], record: Any) -> dict[str, Any]:
    """Return a record of the package as the properties a program reads."""
    return {f"{prefix}_{name.upper()}": getattr(record, name) for name in fields}


class PackageAnswers(Answerer):
    """Answers from a package-like object.

    Parameters
    ----------
    package : ``positions_get``, ``order_send``, ``copy_ticks_from`` ... as the MetaTrader5 package has them
    calendar : releases as dictionaries (see ``CalendarValueHistory`` in the harness)

    Attributes
    ----------
    sent : every request that reached ``OrderSend``
    refuse : a return code every order is answered with, None to let the terminal decide
    connected, trade_allowed : what the terminal says of itself
    """

    def __init__(self, package: Any, calendar: tuple[dict[str, Any], ...] = ()) -> None:
        self.mt5 = package
        self.calendar = calendar
        self.sent: list[dict[str, Any]] = []
        self.connected = self.trade_allowed = True
        weekdays = range(1, 6)
        self.sessions = {"quote": [(day, 0, 86_400) for day in weekdays], "trade": [(day, 60, 86_340) for day in weekdays]}

    # Clocks: the server's newest tick; the computer's is the harness's.

    def TimeCurrent(self) -> int:
        times = [tick.time for tick in (self.mt5.symbol_info_tick(info.name) for info in self.mt5.symbols_get()) if tick]
        return max(times, default=0)

    def TimeTradeServer(self) -> int:
        return self.TimeCurrent()

    # Symbols.

    def SymbolSelect(self, symbol: str, select: bool) -> bool:
        return self.mt5.symbol_info(symbol) is not None

    def SymbolInfoInteger(self, symbol: str, name: str) -> int:
        return int(self._symbol(symbol, name))

    def SymbolInfoDouble(self, symbol: str, name: str) -> float:
        return float(self._symbol(symbol, name))

    def SymbolInfoString(self, symbol: str, name: str) -> str:
        return str(self._symbol(symbol, name))

    def _symbol(self, symbol: str, name: str) -> Any:
        return getattr(self.mt5.symbol_info(symbol), name.removeprefix("SYMBOL_").lower())

    def SymbolInfoTick(self, symbol: str) -> dict[str, Any] | None:
        tick = self.mt5.symbol_info_tick(symbol)
        return None if tick is None else {name: getattr(tick, name) for name in _TICK}

    def SymbolInfoSessionQuote(self, symbol: str, day: int, index: int) -> list[int] | None:
        return self._session("quote", day, index)

    def SymbolInfoSessionTrade(self, symbol: str, day: int, index: int) -> list[int] | None:
        return self._session("trade", day, index)

    def _session(self, kind: str, day: int, index: int) -> list[int] | None:
        found = [[begin, end] for number, begin, end in self.sessions[kind] if number == day]
        return found[index] if index < len(found) else None

    # Prices.

    def CopyTicks(self, symbol: str, flags: int, from_msc: int, count: int) -> list[dict[str, Any]] | None:
        if from_msc == 0:
            tick = self.SymbolInfoTick(symbol)
            return [] if tick is None else [tick]
        array = _as_array(self.mt5.copy_ticks_from(symbol, from_msc // 1_000, count + 5_000, -1))
        if array is None:
            return None
        return _rows(array[array["time_msc"] >= from_msc][:count], _TICK)

    def CopyRates(self, symbol: str, period: str, start: int, count: int) -> list[dict[str, Any]] | None:
        return _rows(self.mt5.copy_rates_from_pos(symbol, _PERIODS[period][0], start, count), _BAR)

    def CopyRatesRange(self, symbol: str, period: str, start: int, end: int) -> list[dict[str, Any]] | None:
        return _rows(self.mt5.copy_rates_range(symbol, _PERIODS[period][0], start, end), _BAR)

    def SeriesInfoInteger(self, symbol: str, period: str, what: str) -> int:
        assert what == "SERIES_LASTBAR_DATE"
        tick = self.mt5.symbol_info_tick(symbol)
        seconds = _PERIODS[period][1]
        return 0 if tick is None else tick.time // seconds * seconds

    def CalendarValueHistory(self, begin: int, end: int, country: str, currency: str) -> list[dict[str, Any]]:
        return [value for value in self.calendar if begin <= value["time"] <= end]

    def CalendarEventById(self, number: int) -> dict[str, Any]:
        return {"country_id": 840, "name": f"event {number}", "importance": 3}

    def CalendarCountryById(self, number: int) -> dict[str, Any]:
        return {"code": "US", "currency": "USD", "name": "United States"}

    # Account and terminal.

    def AccountInfoInteger(self, name: str) -> int:
        return int(self._account(name))

    def AccountInfoDouble(self, name: str) -> float:
        return float(self._account(name))

    def AccountInfoString(self, name: str) -> str:
        return str(self._account(name))

    def _account(self, name: str) -> Any:
        return getattr(self.mt5.account_info(), name.removeprefix("ACCOUNT_").lower())

    def TerminalInfoInteger(self, name: str) -> int:
        own = {"TERMINAL_CONNECTED": self.connected, "TERMINAL_TRADE_ALLOWED": self.trade_allowed, "TERMINAL_BUILD": 5_000}
        return int(own[name])

    def MQLInfoInteger(self, name: str) -> int:
        assert name == "MQL_TRADE_ALLOWED"
        return 1

    # Books.

    def PositionsTotal(self) -> int:
        return len(self.mt5.positions_get() or ())

    def PositionByIndex(self, index: int) -> dict[str, Any] | None:
        positions = self.mt5.positions_get() or ()
        return as_object("POSITION", _POSITION_FIELDS, positions[index]) if index < len(positions) else None

    def PositionSelectByTicket(self, ticket: int) -> dict[str, Any] | None:
        for position in self.mt5.positions_get() or ():
            if position.ticket == ticket:
                return as_object("POSITION", _POSITION_FIELDS, position)
        return None

    def OrdersTotal(self) -> int:
        return len(self.mt5.orders_get() or ())

    def OrderByIndex(self, index: int) -> dict[str, Any] | None:
        orders = self.mt5.orders_get() or ()
        return as_object("ORDER", _ORDER_FIELDS, orders[index]) if index < len(orders) else None

    def HistorySelect(self, begin: int, end: int) -> dict[str, Any]:
        window = (begin, min(end, _FAR))
        return {
            "orders": [as_object("ORDER", _ORDER_FIELDS, one) for one in self.mt5.history_orders_get(*window) or ()],
            "deals": [as_object("DEAL", _DEAL_FIELDS, one) for one in self.mt5.history_deals_get(*window) or ()],
        }

    def HistoryDealSelect(self, ticket: int) -> dict[str, Any] | None:
        for deal in self.mt5.history_deals_get(0, _FAR) or ():
            if deal.ticket == ticket:
                return as_object("DEAL", _DEAL_FIELDS, deal)
        return None

    # Trading.

    def OrderSend(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        self.sent.append(dict(request))
        return result_of(self.mt5.order_send(plain_request(request)))


_TICK = ("time", "time_msc", "bid", "ask", "last", "volume", "flags", "volume_real")
_BAR = ("time", "open", "high", "low", "close", "tick_volume", "spread", "real_volume")
_NEEDED = ("action", "symbol", "type", "type_filling", "type_time")


def plain_request(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a program's request as the package wants it: without what is empty."""
    return {name: value for name, value in request.items() if value or name in _NEEDED}


def result_of(result: Any) -> dict[str, Any] | None:
    """Return the package's answer as a program sees it; None where the package gave none."""
    if result is None:
        return None
    names = ("retcode", "deal", "order", "volume", "price", "bid", "ask", "comment", "request_id", "retcode_external")
    return {name: getattr(result, name) for name in names}


def _as_array(answer: Any) -> Any:
    """Return an array of the package as numpy's; a client of another process gives the bytes and what they mean."""
    if answer is None or isinstance(answer, np.ndarray):
        return answer
    return np.frombuffer(answer.tobytes(), dtype=np.dtype(answer.dtype.descr))


def _rows(answer: Any, names: tuple[str, ...]) -> list[dict[str, Any]] | None:
    array = _as_array(answer)
    if array is None:
        return None
    return [{name: row[name].item() for name in names} for row in array]
