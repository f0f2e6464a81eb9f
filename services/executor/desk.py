"""Where the core hands its orders: the simulated terminal in its own state, or an external broker behind effects.

The core asks a desk and takes back events (what has happened) and effects (what the shell must do). Nothing above
this file knows which kind of broker it trades with.
"""

from typing import Any, NamedTuple, Protocol

import msgspec

from libs.common.core import Effect
from libs.common.ids import derived_id
from libs.common.messages.market import Side, TickBlock
from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import AccountInfo, OrderSendResult, TradeDeal, TradeOrder, TradePosition
from libs.common.mt5.retcodes import outcome_of
from libs.common.mt5.sim.events import RequestAnswered, TerminalEvent
from libs.common.mt5.sim.settings import TerminalSettings
from libs.common.mt5.sim.state import OpenPosition
from libs.common.mt5.sim.terminal import Figures
from services.executor.broker import (
    Answer,
    BrokerAccount,
    BrokerDeal,
    BrokerOrder,
    BrokerPosition,
    BrokerReport,
    DeskEvent,
    Standing,
)
from services.executor.effects import AdvanceMarket, MoveStops, ReadBroker, SendOrder
from services.executor.state import ExternalState

_DAY_S = 86_400
_NS_PER_S = 1_000_000_000


class Handed(NamedTuple):
    """What came of handing something over: at once, or by way of the shell."""

    events: tuple[DeskEvent, ...] = ()
    effects: tuple[Effect, ...] = ()


class Desk(Protocol):
    """One broker, as the core sees it.

    ``tells_by_itself`` is True when every deal and every change of the account arrives through ``advance`` and
    ``send``, so that the books need reading only while an order is in doubt.
    """

    tells_by_itself: bool

    def advance(self, block: TickBlock, now_ns: int) -> Handed:
        """Let the market move; return what happened, in order, or the effect that will move it."""
        ...

    def send(self, order_id: str, request: dict[str, Any], now_ns: int) -> Handed:
        """Hand a recorded order over. The caller never does this twice for one order id."""
        ...

    def move_stops(self, key: str, request: dict[str, Any], now_ns: int) -> Handed:
        """Ask for another SL or TP."""
        ...

    def look(self, cause: str, since_ns: int, now_ns: int) -> BrokerReport | Effect:
        """Read the broker's books back to ``since_ns``: here and now, or by an effect."""
        ...

    def take(self, standing: Standing) -> None:
        """Remember how the account of an external broker stands."""
        ...

    def account(self, now_ns: int) -> BrokerAccount | None:
        """Return the account's figures; None while nobody knows them."""
        ...

    def positions(self) -> tuple[BrokerPosition, ...]:
        """Return all open positions, others' too."""
        ...

    def snapshot(self) -> bytes: ...

    def restore(self, state: bytes) -> None: ...


class Terminal(Protocol):
    """The part of the simulated terminal a desk needs; the field names are the MetaTrader5 package's."""

    def advance(self, block: TickBlock) -> tuple[TerminalEvent, ...]: ...

    def submit(self, request: dict[str, Any], request_key: str, now_ns: int) -> tuple[TerminalEvent, ...]: ...

    @property
    def changes(self) -> int: ...

    @property
    def day_start_equity_ccy(self) -> float: ...

    @property
    def peak_equity_ccy(self) -> float: ...

    def utc_ns(self, server_msc: int) -> int: ...

    def orders_get(self) -> tuple[TradeOrder, ...]: ...

    def history_orders_get(self, date_from: int, date_to: int, /) -> tuple[TradeOrder, ...]: ...

    def history_deals_get(self, date_from: int, date_to: int, /) -> tuple[TradeDeal, ...]: ...

    @property
    def settings(self) -> TerminalSettings: ...

    def figures(self) -> Figures: ...

    def held(self) -> list[tuple[OpenPosition, float]]: ...

    def server_ns(self, ts_ns: int) -> int: ...

    def snapshot(self) -> bytes: ...

    def restore(self, state: bytes) -> None: ...


class SimulatedDesk:
    """Trades with the simulated terminal, which is part of the core's state.

    Parameters
    ----------
    terminal : the simulated terminal; it keeps the equity's marks itself, at every tick
    """

    tells_by_itself = True

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        settings = terminal.settings
        self._currency, self._hedging = settings.currency, settings.hedging
        # The package gives whole numbers only.
        self._leverage = float(round(settings.leverage))
        self._figures: tuple[int, Figures] = (-1, Figures(0.0, 0.0, 0.0, 0.0))
        self._positions: tuple[int, tuple[BrokerPosition, ...]] = (-1, ())

    def advance(self, block: TickBlock, now_ns: int) -> Handed:
        return Handed(events=self._translate(self._terminal.advance(block)))

    def send(self, order_id: str, request: dict[str, Any], now_ns: int) -> Handed:
        return Handed(events=self._translate(self._terminal.submit(request, order_id, now_ns)))

    def move_stops(self, key: str, request: dict[str, Any], now_ns: int) -> Handed:
        return Handed(events=self._translate(self._terminal.submit(request, key, now_ns)))

    def look(self, cause: str, since_ns: int, now_ns: int) -> BrokerReport | Effect:
        # A day on either side: history is asked by the server's clock.
        window = (since_ns // _NS_PER_S - _DAY_S, now_ns // _NS_PER_S + 2 * _DAY_S)
        orders = (*self._terminal.orders_get(), *self._terminal.history_orders_get(*window))
        deals = [
            deal for deal in self._terminal.history_deals_get(*window)
            if deal.type in (mt5.DEAL_TYPE_BUY, mt5.DEAL_TYPE_SELL)
        ]
        return BrokerReport(
            asked_ns=now_ns,
            account=self.account(now_ns),
            orders=tuple(order_record(order) for order in orders),
            positions=self.positions(),
            deals=tuple(deal_record(deal, self._terminal.utc_ns(deal.time_msc)) for deal in deals),
        )

    def take(self, standing: Standing) -> None:
        """Nothing to remember: the terminal is right here."""

    def account(self, now_ns: int) -> BrokerAccount:
        terminal = self._terminal
        if self._figures[0] != terminal.changes:
            self._figures = terminal.changes, terminal.figures()
        figures = self._figures[1]
        return BrokerAccount(
            as_of_ns=now_ns, currency=self._currency, hedging=self._hedging, leverage=self._leverage,
            balance_ccy=figures.balance_ccy, equity_ccy=figures.equity_ccy, margin_ccy=figures.margin_ccy,
            margin_free_ccy=figures.margin_free_ccy, day_start_equity_ccy=terminal.day_start_equity_ccy,
            peak_equity_ccy=terminal.peak_equity_ccy,
        )

    def positions(self) -> tuple[BrokerPosition, ...]:
        # Asked several times a turn, and a new record of every position each time would be most of an order's cost.
        changes = self._terminal.changes
        if self._positions[0] != changes:
            self._positions = changes, tuple([self._record(*held) for held in self._terminal.held()])
        return self._positions[1]

    def _record(self, position: OpenPosition, profit_ccy: float) -> BrokerPosition:
        """Say what ``position_record`` would say of it, without the package's tuple in between."""
        return BrokerPosition(
            position_id=position.identifier, ticket=position.ticket, symbol=position.symbol,
            side=Side.BUY if position.sign > 0 else Side.SELL, volume_lots=position.volume_lots,
            price_open=position.price_open, sl=position.sl, tp=position.tp, magic=position.magic,
            opened_ns=self._terminal.server_ns(position.opened_ns), profit_ccy=profit_ccy, swap_ccy=position.swap_ccy,
        )

    def snapshot(self) -> bytes:
        return self._terminal.snapshot()

    def restore(self, state: bytes) -> None:
        self._terminal.restore(state)

    def _translate(self, events: tuple[TerminalEvent, ...]) -> tuple[DeskEvent, ...]:
        if not events:
            return ()
        told: list[DeskEvent] = []
        for event in events:
            if isinstance(event, RequestAnswered):
                told.append(answer_record(event.request_key, event.result, event.ts_ns))
            elif event.deal.type in (mt5.DEAL_TYPE_BUY, mt5.DEAL_TYPE_SELL):
                told.append(deal_record(event.deal, event.ts_ns))
        return tuple(told)


class ExternalDesk:
    """Trades with a broker outside this process, through effects; knows it by its last report.

    Parameters
    ----------
    fed : the broker's market is what we hand it: every tick block goes out as an effect, and what it caused comes
        back, so that the books need no reading of their own
    """

    def __init__(self, *, fed: bool = False) -> None:
        self.tells_by_itself = fed
        self._state = ExternalState()

    def advance(self, block: TickBlock, now_ns: int) -> Handed:
        if not self.tells_by_itself:
            return Handed()
        return Handed(effects=(AdvanceMarket(
            ts_event_ns=now_ns, ts_init_ns=now_ns, block=block,
            effect_id=derived_id("advance_market", block.symbol, block.first_tick),
        ),))

    def send(self, order_id: str, request: dict[str, Any], now_ns: int) -> Handed:
        return Handed(effects=(SendOrder(
            ts_event_ns=now_ns, ts_init_ns=now_ns, effect_id=derived_id("send", order_id), order_id=order_id,
            request=request,
        ),))

    def move_stops(self, key: str, request: dict[str, Any], now_ns: int) -> Handed:
        return Handed(effects=(MoveStops(
            ts_event_ns=now_ns, ts_init_ns=now_ns, effect_id=derived_id("move_stops", key), key=key,
            request=request,
        ),))

    def look(self, cause: str, since_ns: int, now_ns: int) -> BrokerReport | Effect:
        return ReadBroker(
            ts_event_ns=now_ns, ts_init_ns=now_ns, effect_id=derived_id("read_broker", cause, now_ns),
            asked_ns=now_ns, since_ns=since_ns,
        )

    def take(self, standing: Standing) -> None:
        equity, account = self._state.equity, standing.account
        equity.see(account.equity_ccy, standing.asked_ns)
        if not account.peak_equity_ccy:
            account = msgspec.structs.replace(
                account, day_start_equity_ccy=equity.day_start_ccy, peak_equity_ccy=equity.peak_ccy
            )
        self._state.account = account
        self._state.positions = standing.positions

    def account(self, now_ns: int) -> BrokerAccount | None:
        return self._state.account

    def positions(self) -> tuple[BrokerPosition, ...]:
        return self._state.positions

    def snapshot(self) -> bytes:
        return msgspec.msgpack.encode(self._state)

    def restore(self, state: bytes) -> None:
        self._state = msgspec.msgpack.decode(state, type=ExternalState)


def deal_record(deal: TradeDeal, ts_ns: int) -> BrokerDeal:
    """Translate a deal of type buy or sell; ``ts_ns`` is its time in UTC."""
    return BrokerDeal(
        ticket=deal.ticket, order=deal.order, position_id=deal.position_id, symbol=deal.symbol, magic=deal.magic,
        side=Side.BUY if deal.type == mt5.DEAL_TYPE_BUY else Side.SELL, entry=deal.entry, reason=deal.reason,
        volume_lots=deal.volume, price=deal.price, commission_ccy=deal.commission + deal.fee, swap_ccy=deal.swap,
        profit_ccy=deal.profit, ts_ns=ts_ns,
    )


def answer_record(key: str, result: OrderSendResult, ts_ns: int) -> Answer:
    """Translate the answer to a request."""
    return Answer(
        key=key, verdict=outcome_of(result.retcode, result.request.action).value, retcode=result.retcode,
        volume_lots=result.volume, price=result.price, deal=result.deal, text=result.comment, ts_ns=ts_ns,
    )


def order_record(order: TradeOrder) -> BrokerOrder:
    """Translate an order, working or from history."""
    return BrokerOrder(
        ticket=order.ticket, symbol=order.symbol, magic=order.magic, place=order.state,
        executed_lots=0.0 if order.state == mt5.ORDER_STATE_REJECTED else order.volume_initial - order.volume_current,
    )


def position_record(position: TradePosition, opened_ns: int) -> BrokerPosition:
    """Translate an open position; ``opened_ns`` is its time in UTC."""
    return BrokerPosition(
        position_id=position.identifier, ticket=position.ticket, symbol=position.symbol,
        side=Side.BUY if position.type == mt5.POSITION_TYPE_BUY else Side.SELL, volume_lots=position.volume,
        price_open=position.price_open, sl=position.sl, tp=position.tp, magic=position.magic, opened_ns=opened_ns,
        profit_ccy=position.profit, swap_ccy=position.swap,
    )


def account_record(
    account: AccountInfo, as_of_ns: int, day_start_equity_ccy: float = 0.0, peak_equity_ccy: float = 0.0
) -> BrokerAccount:
    """Translate the account's figures; the marks of equity are 0.0 where the broker does not keep them."""
    return BrokerAccount(
        as_of_ns=as_of_ns, currency=account.currency,
        hedging=account.margin_mode == mt5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING, leverage=float(account.leverage),
        balance_ccy=account.balance, equity_ccy=account.equity, margin_ccy=account.margin,
        margin_free_ccy=account.margin_free, day_start_equity_ccy=day_start_equity_ccy,
        peak_equity_ccy=peak_equity_ccy,
    )
