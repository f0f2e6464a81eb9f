"""The terminal's end of the pipe: the package's questions, answered from the simulated account."""

import datetime
from collections.abc import Mapping
from typing import Any

import msgspec

from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import (
    AccountInfo,
    OrderCheckResult,
    OrderSendResult,
    SymbolInfo,
    TerminalInfo,
    TradeDeal,
    TradeOrder,
    TradePosition,
    TradeRequest,
)
from libs.common.mt5.sim.descriptions import account_description, level_pct, symbol_description
from libs.common.mt5.sim.execution import pending_as_order
from libs.common.mt5.sim.groups import in_group
from libs.common.mt5.sim.ledger import Ledger
from libs.common.mt5.sim.market_face import MarketFace, Moment
from libs.common.mt5.sim.port import AUTH_FAILED, FAILED, NOT_FOUND, SUCCESS, ConnectOptions, LastError
from libs.common.mt5.sim.request import parse_request
from libs.common.mt5.sim.server import handle
from libs.common.mt5.sim.state import OpenPosition, TerminalState

BUILD = 5_000
_SIGNS = {mt5.ORDER_TYPE_BUY: 1, mt5.ORDER_TYPE_SELL: -1}
_ACCEPTED = (mt5.TRADE_RETCODE_DONE, mt5.TRADE_RETCODE_PLACED, mt5.TRADE_RETCODE_DONE_PARTIAL)


class PackageFace(MarketFace):
    """Functions of the package with its names and field orders; nothing found is ``()``, an error is ``None``.

    It takes arguments of the right types and does not look at them twice: the package's strictness, its connection and
    its own answer types are at the pipe's other end (``package.Package``). Give it to ``drop_in.drop_in`` for the whole
    package as a module, or to ``port.InProcessPort``; put ``ask`` on a wire for a terminal of its own process.

    Parameters
    ----------
    ledger : the account they speak of
    history : what is remembered of ticks and bars; ``None``: nothing, and ``copy_*`` fails
    """

    # Connection: a simulated terminal is always there.

    def initialize(self, *_path: str, **_options: Any) -> bool:
        return self._ok(True)

    def shutdown(self) -> bool:
        return self._ok(True)

    def accept_login(self, options: ConnectOptions) -> LastError:
        """Let a package in: under the account's number and server, or none named; any password will do."""
        settings = self._ledger.settings
        known = options.login in (0, settings.login) and options.server in ("", settings.server)
        return SUCCESS if known else AUTH_FAILED

    def version(self) -> tuple[int, int, str]:
        return self._ok((500, BUILD, "01 Jan 2025"))

    def last_error(self) -> tuple[int, str]:
        """Return code and text of the last call; (0, '') before the first."""
        return self._last_error

    def terminal_info(self) -> TerminalInfo:
        return self._ok(TerminalInfo(
            connected=True, trade_allowed=self._ledger.settings.algo_trading, build=BUILD, maxbars=self._max_bars,
            codepage=65_001, company=self._ledger.settings.server, name="Tickwire simulated terminal",
            language="English",
        ))

    # Account and symbols.

    def account_info(self) -> AccountInfo:
        return self._ok(account_description(self._ledger))

    def symbols_total(self) -> int:
        return self._ok(len(self._ledger.instruments))

    def symbols_get(self, group: str = "*") -> tuple[SymbolInfo, ...]:
        return self._ok(tuple(self._symbol(s) for s in self._ledger.instruments if in_group(s, group)))

    def symbol_info(self, symbol: str) -> SymbolInfo | None:
        if symbol not in self._ledger.instruments:
            self._no(*NOT_FOUND)
            return None
        return self._ok(self._symbol(symbol))

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
        accepted = answer.retcode in _ACCEPTED
        return OrderCheckResult(
            retcode=0 if accepted else answer.retcode, balance=trial.state.balance_ccy, equity=equity,
            profit=trial.round_ccy(sum(trial.floating(p) for p in trial.positions())), margin=margin,
            margin_free=trial.round_ccy(equity - margin), margin_level=level_pct(equity, margin),
            comment="Done" if accepted else answer.comment, request=parsed,
        )

    def order_calc_margin(self, action: int, symbol: str, volume: float, price: float, /) -> float | None:
        """Return what an order would tie up, account currency; the hedged and the pending are not thought of."""
        sign = _SIGNS.get(action)
        per_lot = None
        if sign is not None and symbol in self._ledger.instruments:
            per_lot = self._ledger.margin_per_lot(symbol, price, sign)
        if per_lot is None:
            self._no(*FAILED)
            return None
        return self._ok(self._ledger.round_ccy(volume * per_lot))

    def order_calc_profit(
        self, action: int, symbol: str, volume: float, price_open: float, price_close: float, /
    ) -> float | None:
        sign = _SIGNS.get(action)
        profit = None
        if sign is not None and symbol in self._ledger.instruments:
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

    def _copy(self) -> Ledger:
        ledger = self._ledger
        trial = Ledger(ledger.settings, ledger.instruments, ledger.seed)
        lean = msgspec.structs.replace(ledger.state, history_orders=[], history_deals=[], due=[], untold=[])
        trial.restart(msgspec.msgpack.decode(msgspec.msgpack.encode(lean), type=TerminalState))
        return trial

    def _position(self, position: OpenPosition) -> TradePosition:
        ledger, quote = self._ledger, self._ledger.state.quotes[position.symbol]
        opened_msc, updated_msc = ledger.clock.msc(position.opened_ns), ledger.clock.msc(position.updated_ns)
        return TradePosition(
            ticket=position.ticket, time=opened_msc // 1000, time_msc=opened_msc, time_update=updated_msc // 1000,
            time_update_msc=updated_msc,
            type=mt5.POSITION_TYPE_BUY if position.sign > 0 else mt5.POSITION_TYPE_SELL, magic=position.magic,
            identifier=position.identifier, reason=position.reason, volume=position.volume_lots,
            price_open=position.price_open, sl=position.sl, tp=position.tp,
            price_current=quote.bid if position.sign > 0 else quote.ask, swap=position.swap_ccy,
            profit=ledger.floating(position), symbol=position.symbol, comment=position.comment,
        )

    def _symbol(self, symbol: str) -> SymbolInfo:
        return symbol_description(self._ledger, symbol, selected=symbol not in self._hidden)


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
