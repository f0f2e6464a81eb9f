"""The MetaTrader5 package's own questions, answered from the simulated account."""

import datetime
import fnmatch
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from libs.common.mt5 import constants as mt5
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
    TradeRequest,
)
from libs.common.mt5.sim.execution import pending_as_order
from libs.common.mt5.sim.ledger import Ledger
from libs.common.mt5.sim.request import parse_request
from libs.common.mt5.sim.server import handle
from libs.common.mt5.sim.state import OpenPosition, TerminalState

Answer = TypeVar("Answer")
Moment = int | float | datetime.datetime
"""A server time: seconds, or a date-time whose ``timestamp()`` is taken."""
SUCCESS = (mt5.RES_S_OK, "Success")
NOT_FOUND = (mt5.RES_E_NOT_FOUND, "Terminal: Not found")
FAILED = (mt5.RES_E_FAIL, "Terminal: Call failed")
BUILD = 5_000
_PLACED_OR_DONE = (mt5.TRADE_RETCODE_DONE, mt5.TRADE_RETCODE_PLACED)


class PackageFace:
    """Functions of the package with its names and field orders; nothing found is ``()``, an error is ``None``.

    Parameters
    ----------
    ledger : the account they speak of
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._last_error = (0, "")

    # Connection: a simulated terminal is always there.

    def initialize(self, *_path: str, **_options: Any) -> bool:
        return self._ok(True)

    def shutdown(self) -> bool:
        return self._ok(True)

    def version(self) -> tuple[int, int, str]:
        return self._ok((500, BUILD, "01 Jan 2025"))

    def last_error(self) -> tuple[int, str]:
        """Return code and text of the last call; (0, '') before the first."""
        return self._last_error

    def terminal_info(self) -> TerminalInfo:
        return self._ok(TerminalInfo(
            connected=True, trade_allowed=True, build=BUILD, company=self._ledger.settings.server,
            name="Tickwire simulated terminal", language="English",
        ))

    # Account and symbols.

    def account_info(self) -> AccountInfo:
        ledger, settings = self._ledger, self._ledger.settings
        equity, margin = ledger.equity(), ledger.margin()
        return self._ok(AccountInfo(
            login=settings.login, trade_mode=mt5.ACCOUNT_TRADE_MODE_DEMO, leverage=round(settings.leverage),
            margin_so_mode=mt5.ACCOUNT_STOPOUT_MODE_PERCENT, trade_allowed=True, trade_expert=True,
            margin_mode=mt5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING if settings.hedging
            else mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING,
            currency_digits=settings.currency_digits, balance=ledger.state.balance_ccy,
            profit=ledger.round_ccy(sum(ledger.floating(p) for p in ledger.positions())), equity=equity,
            margin=margin, margin_free=ledger.round_ccy(equity - margin), margin_level=_level(equity, margin),
            margin_so_call=settings.margin_call_pct, margin_so_so=settings.stop_out_pct, name="Simulated",
            server=settings.server, currency=settings.currency, company="Tickwire",
        ))

    def symbols_total(self) -> int:
        return self._ok(len(self._ledger.instruments))

    def symbols_get(self, group: str = "*") -> tuple[SymbolInfo, ...]:
        return self._ok(tuple(self._symbol(s) for s in self._ledger.instruments if in_group(s, group)))

    def symbol_select(self, symbol: str, _enable: bool = True) -> bool:
        return symbol in self._ledger.instruments and self._ok(True)

    def symbol_info(self, symbol: str) -> SymbolInfo | None:
        if symbol not in self._ledger.instruments:
            self._no(*NOT_FOUND)
            return None
        return self._ok(self._symbol(symbol))

    def symbol_info_tick(self, symbol: str) -> Tick | None:
        """Return the quote in force; ``None`` for an unknown symbol or before its first tick."""
        if symbol not in self._ledger.instruments or not self._ledger.has_quote(symbol):
            self._no(*NOT_FOUND)
            return None
        quote = self._ledger.state.quotes[symbol]
        msc = self._ledger.clock.msc(quote.time_ns)
        return self._ok(Tick(time=msc // 1000, bid=quote.bid, ask=quote.ask, time_msc=msc,
                             flags=mt5.TICK_FLAG_BID | mt5.TICK_FLAG_ASK))

    # Positions, orders, history.

    def positions_total(self) -> int:
        return self._ok(len(self._ledger.state.positions))

    def positions_get(
        self, *, symbol: str | None = None, ticket: int | None = None, group: str | None = None
    ) -> tuple[TradePosition, ...]:
        """Return open positions; ``ticket`` goes before ``symbol`` before ``group``."""
        return self._ok(tuple(
            self._position(p) for p in self._ledger.state.positions.values()
            if _selected(p.ticket, p.symbol, ticket, symbol, group)
        ))

    def orders_total(self) -> int:
        return self._ok(len(self._ledger.state.orders))

    def orders_get(
        self, *, symbol: str | None = None, ticket: int | None = None, group: str | None = None
    ) -> tuple[TradeOrder, ...]:
        """Return pending orders; ``ticket`` goes before ``symbol`` before ``group``."""
        return self._ok(tuple(
            pending_as_order(self._ledger, o) for o in self._ledger.state.orders.values()
            if _selected(o.ticket, o.symbol, ticket, symbol, group)
        ))

    def history_orders_get(
        self, date_from: Moment | None = None, date_to: Moment | None = None, /, *, group: str = "*",
        ticket: int | None = None, position: int | None = None,
    ) -> tuple[TradeOrder, ...]:
        """Return finished orders: by two server times (of being done), else by ticket, else by position."""
        found = self._ledger.state.history_orders
        if date_from is not None and date_to is not None:
            low, high = _seconds(date_from), _seconds(date_to)
            return self._ok(tuple(o for o in found if low <= o.time_done <= high and in_group(o.symbol, group)))
        if ticket is not None:
            return self._ok(tuple(o for o in found if o.ticket == ticket))
        return self._ok(tuple(o for o in found if position is not None and o.position_id == position))

    def history_deals_get(
        self, date_from: Moment | None = None, date_to: Moment | None = None, /, *, group: str = "*",
        ticket: int | None = None, position: int | None = None,
    ) -> tuple[TradeDeal, ...]:
        """Return deals: by two server times, else by **order** ticket, else by position."""
        found = self._ledger.state.history_deals
        if date_from is not None and date_to is not None:
            low, high = _seconds(date_from), _seconds(date_to)
            return self._ok(tuple(d for d in found if low <= d.time <= high and in_group(d.symbol, group)))
        if ticket is not None:
            return self._ok(tuple(d for d in found if d.order == ticket))
        return self._ok(tuple(d for d in found if position is not None and d.position_id == position))

    def history_orders_total(self, date_from: Moment, date_to: Moment, /) -> int:
        return len(self.history_orders_get(date_from, date_to))

    def history_deals_total(self, date_from: Moment, date_to: Moment, /) -> int:
        return len(self.history_deals_get(date_from, date_to))

    # Trading.

    def order_send(self, request: Mapping[str, Any]) -> OrderSendResult | None:
        """Execute a request now, at the quotes in force, whatever the latency is set to.

        Returns
        -------
        The server's answer; ``None`` when an argument is not of the type the package wants (see ``last_error``).
        Deals it makes are told by the next ``advance`` or ``submit``.
        """
        parsed = self._parsed(request)
        return None if parsed is None else handle(self._ledger, parsed, self._ledger.state.clock_ns)

    def order_check(self, request: Mapping[str, Any]) -> OrderCheckResult | None:
        """Say what a request would do: it is executed on a copy of the account.

        Returns
        -------
        ``retcode`` 0 when the server would accept it now, else its refusal; the account figures after it.
        """
        parsed = self._parsed(request)
        if parsed is None:
            return None
        trial = self._copy()
        answer = handle(trial, parsed, trial.state.clock_ns)
        equity, margin = trial.equity(), trial.margin()
        accepted = answer.retcode in _PLACED_OR_DONE
        return OrderCheckResult(
            retcode=0 if accepted else answer.retcode, balance=trial.state.balance_ccy, equity=equity,
            profit=trial.round_ccy(sum(trial.floating(p) for p in trial.positions())), margin=margin,
            margin_free=trial.round_ccy(equity - margin), margin_level=_level(equity, margin),
            comment="Done" if accepted else answer.comment, request=parsed,
        )

    def order_calc_margin(self, action: int, symbol: str, volume: float, price: float, /) -> float | None:
        per_lot = self._ledger.margin_per_lot(symbol, price) if symbol in self._ledger.instruments else None
        if per_lot is None or action not in (mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL):
            self._no(*FAILED)
            return None
        return self._ok(self._ledger.round_ccy(volume * per_lot))

    def order_calc_profit(
        self, action: int, symbol: str, volume: float, price_open: float, price_close: float, /
    ) -> float | None:
        if symbol not in self._ledger.instruments or action not in (mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL):
            self._no(*FAILED)
            return None
        sign = 1 if action == mt5.ORDER_TYPE_BUY else -1
        profit = self._ledger.profit(symbol, sign, volume, price_open, price_close)
        if profit is None:
            self._no(*FAILED)
            return None
        return self._ok(profit)

    # Inside.

    def _parsed(self, request: Mapping[str, Any]) -> TradeRequest | None:
        parsed = parse_request(request)
        if isinstance(parsed, str):
            self._no(mt5.RES_E_INVALID_PARAMS, parsed)
            return None
        return self._ok(parsed)

    def _ok(self, answer: Answer) -> Answer:
        self._last_error = SUCCESS
        return answer

    def _no(self, code: int, text: str) -> None:
        self._last_error = (code, text)

    def _copy(self) -> Ledger:
        ledger = self._ledger
        trial = Ledger(ledger.settings, ledger.instruments, ledger.seed)
        lean = msgspec.structs.replace(ledger.state, history_orders=[], history_deals=[], due=[], untold=[])
        trial.state = msgspec.msgpack.decode(msgspec.msgpack.encode(lean), type=TerminalState)
        return trial

    def _position(self, position: OpenPosition) -> TradePosition:
        ledger, quote = self._ledger, self._ledger.state.quotes[position.symbol]
        opened_msc, updated_msc = ledger.clock.msc(position.opened_ns), ledger.clock.msc(position.updated_ns)
        return TradePosition(
            ticket=position.ticket, time=opened_msc // 1000, time_msc=opened_msc, time_update=updated_msc // 1000,
            time_update_msc=updated_msc,
            type=mt5.POSITION_TYPE_BUY if position.sign > 0 else mt5.POSITION_TYPE_SELL, magic=position.magic,
            identifier=position.identifier, reason=mt5.POSITION_REASON_EXPERT, volume=position.volume_lots,
            price_open=position.price_open, sl=position.sl, tp=position.tp,
            price_current=quote.bid if position.sign > 0 else quote.ask, swap=position.swap_ccy,
            profit=ledger.floating(position), symbol=position.symbol, comment=position.comment,
        )

    def _symbol(self, symbol: str) -> SymbolInfo:
        ledger, instrument = self._ledger, self._ledger.instruments[symbol]
        config, quote, settings = instrument.config, ledger.state.quotes[symbol], ledger.settings
        gain, loss = self._tick_values(symbol)
        return SymbolInfo(
            select=True, visible=True, time=ledger.clock.msc(quote.time_ns) // 1000 if quote.bid else 0,
            digits=instrument.digits, spread=instrument.points(quote.ask) - instrument.points(quote.bid),
            spread_float=True,
            trade_calc_mode=mt5.SYMBOL_CALC_MODE_FOREX if instrument.is_forex else mt5.SYMBOL_CALC_MODE_CFDLEVERAGE,
            trade_mode=mt5.SYMBOL_TRADE_MODE_FULL, trade_stops_level=config.stops_level_points,
            trade_exemode=mt5.SYMBOL_TRADE_EXECUTION_MARKET if settings.execution == "market"
            else mt5.SYMBOL_TRADE_EXECUTION_INSTANT,
            swap_mode=mt5.SYMBOL_SWAP_MODE_POINTS, swap_rollover3days=settings.triple_swap_day + 1,
            margin_hedged_use_leg=True,
            expiration_mode=mt5.SYMBOL_EXPIRATION_GTC | mt5.SYMBOL_EXPIRATION_DAY | mt5.SYMBOL_EXPIRATION_SPECIFIED,
            filling_mode=settings.filling_mode,
            order_mode=mt5.SYMBOL_ORDER_MARKET | mt5.SYMBOL_ORDER_LIMIT | mt5.SYMBOL_ORDER_STOP
            | mt5.SYMBOL_ORDER_SL | mt5.SYMBOL_ORDER_TP,
            bid=quote.bid, ask=quote.ask, point=instrument.point, trade_tick_value=gain,
            trade_tick_value_profit=gain, trade_tick_value_loss=loss, trade_tick_size=instrument.point,
            trade_contract_size=config.contract_size, volume_min=config.volume_min, volume_max=config.volume_max,
            volume_step=config.volume_step, swap_long=config.swap_long_points, swap_short=config.swap_short_points,
            currency_base=config.margin_currency, currency_profit=config.profit_currency,
            currency_margin=config.margin_currency, name=symbol, path=symbol,
        )

    def _tick_values(self, symbol: str) -> tuple[float, float]:
        """Return what a point up and a point down of one lot are worth; 0.0 while a rate is missing."""
        ledger, instrument = self._ledger, self._ledger.instruments[symbol]
        config, quote = instrument.config, ledger.state.quotes[symbol]
        amount = instrument.point * config.contract_size
        if config.profit_currency == ledger.settings.currency:
            return amount, amount
        if config.margin_currency == ledger.settings.currency:
            return (amount / quote.ask, amount / quote.bid) if quote.bid else (0.0, 0.0)
        rate = ledger.rates().get(config.profit_currency)
        return (amount * rate.gain, amount * rate.loss) if rate else (0.0, 0.0)


def in_group(symbol: str, group: str) -> bool:
    """Tell whether a symbol matches the package's comma-separated masks, ``!`` excluding, applied in order.

    Examples
    --------
    >>> in_group("EURUSD", "*,!*JPY"), in_group("USDJPY", "*,!*JPY")
    (True, False)
    """
    inside = False
    for mask in (part.strip() for part in group.split(",")):
        if fnmatch.fnmatchcase(symbol.upper(), mask.lstrip("!").upper()):
            inside = not mask.startswith("!")
    return inside


def _selected(
    own_ticket: int, own_symbol: str, ticket: int | None, symbol: str | None, group: str | None
) -> bool:
    if ticket is not None:
        return own_ticket == ticket
    if symbol is not None:
        return own_symbol == symbol
    return group is None or in_group(own_symbol, group)


def _seconds(moment: Moment) -> int:
    return int(moment.timestamp() if isinstance(moment, datetime.datetime) else moment)


def _level(equity: float, margin: float) -> float:
    return equity / margin * 100.0 if margin > 0.0 else 0.0
