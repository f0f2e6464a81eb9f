"""Trades through a MetaTrader 5 terminal: one attempt per order, and the terminal's books to look it up in.

Who may call what when: ``prepare`` only asks, ``send`` is the one place that sends, ``read`` gives the books of one
moment. An order goes before a look: a look that was overtaken by one is taken again.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec

from libs.common.errors import BrokerError, ConfigError, StorageError
from libs.common.messages.market import TickBlock
from libs.common.mt5 import constants as mt5
from libs.common.mt5.adapters.calls import TerminalCalls
from libs.common.mt5.adapters.driver import Mt5Driver
from libs.common.mt5.adapters.ea_terminal import EaTerminal
from libs.common.mt5.adapters.market_feed import TerminalFeed
from libs.common.mt5.adapters.symbol_registry import SymbolRegistry
from libs.common.mt5.results import (
    AccountInfo,
    OrderSendResult,
    SymbolInfo,
    TerminalInfo,
    TradeDeal,
    TradeOrder,
    TradePosition,
)
from libs.common.mt5.retcodes import outcome_of
from services.executor.adapters.broker import Moved, Reply
from services.executor.adapters.mt5_books import BookTranslator, is_trade
from services.executor.adapters.mt5_clock import ServerClock
from services.executor.broker import Answer, BrokerReport, Standing, Verdict
from services.executor.identity import AccountIdentity, identity_of
from services.executor.resolution import Unfit, on_tick_grid, resolve_deal

_NS_PER_S = 1_000_000_000
_DAY_S = 86_400
_FIRST_LOOK_BACK_NS = 2 * _DAY_S * _NS_PER_S
"""How far the first look after a connection reaches back at least."""
_CLOCK_MARGIN_S = 7_200
"""What the broker's clock may be off from what we think of it."""
_ATTEMPTS = 3
_FEED_PATIENCE_S, _FEED_PAUSE_S = 60.0, 0.1
_EXECUTED = ("done", "partial", "placed")

Window = tuple[
    AccountInfo, tuple[TradePosition, ...], tuple[TradeOrder, ...], tuple[TradeOrder, ...], tuple[TradeDeal, ...]
]


class Mt5Broker:
    """A ``Broker`` over a terminal.

    Parameters
    ----------
    approve : raises ``BrokerError`` when the account is not the one we may trade
    clock : the broker's
    namespace : whose magic numbers are ours
    symbols : ours, sought at the broker at every connection
    registry : makes the table of symbol names for a trade server
    feed : moves the market of a simulated terminal; None for a broker that has a market of its own
    """

    def __init__(
        self,
        *,
        approve: Callable[[AccountIdentity], None],
        clock: ServerClock,
        namespace: int,
        symbols: tuple[str, ...],
        registry: Callable[[str], SymbolRegistry],
        feed: TerminalFeed | None = None,
        log: Any = None,
    ) -> None:
        self._approve, self._clock, self._symbols = approve, clock, symbols
        self._make_registry, self._feed, self._log = registry, feed, log
        self._books = BookTranslator(namespace, self._canonical, clock)
        self._registry: SymbolRegistry | None = None
        self._strangers: set[str] = set()
        self._connected: TerminalCalls | None = None
        self._sending = asyncio.Lock()
        self._sends = self._session = 0
        self._fresh = True
        self._whole_since_ns: int | None = None

    # Connection.

    def use(self, terminal: TerminalCalls) -> None:
        """Take the terminal to ask: the driver whose guard is ``guard``."""
        self._connected = terminal

    async def guard(self, calls: TerminalCalls) -> None:
        """Look at a new session before anything else is asked in it (see ``Mt5Driver``).

        Raises
        ------
        BrokerError : when the account is not the one we may trade
        """
        self._session += 1
        self._fresh, self._whole_since_ns = True, None
        account = await calls.account_info()
        self._look_at(account)
        self._registry = self._make_registry(account.server)
        self._strangers = set()
        await self._find_symbols(calls, self._registry)

    async def _find_symbols(self, calls: TerminalCalls, registry: SymbolRegistry) -> None:
        for symbol in self._symbols:
            try:
                await registry.resolve(calls, symbol)
            except (BrokerError, ConfigError, StorageError) as error:
                # The others can be traded all the same.
                self._note("symbol_not_found", symbol=symbol, problem=str(error))

    async def _learn_names(self, names: set[str]) -> None:
        """Seek our symbols again when a name turns up that nobody knows: one of them may have been renamed."""
        registry = self._registry
        if registry is None:
            return
        unknown = {name for name in names if registry.canonical_name(name) is None} - self._strangers
        if unknown:
            self._strangers |= unknown
            await self._find_symbols(self._terminal, registry)

    async def start(self) -> None:
        """Begin to keep the terminal connected; asking waits for it."""
        if isinstance(self._connected, Mt5Driver | EaTerminal):
            await self._connected.start()

    async def close(self) -> None:
        """Let go of the terminal; what is under way becomes uncertain."""
        if isinstance(self._connected, Mt5Driver | EaTerminal):
            await self._connected.aclose()
        if self._feed is not None:
            await self._feed.close()

    def _look_at(self, account: AccountInfo) -> None:
        """Let pass only the account we may trade, with the clock of its server."""
        self._approve(identity_of(account))
        try:
            self._clock.use(account.server)
        except StorageError as error:
            raise BrokerError(str(error)) from error

    @property
    def _terminal(self) -> TerminalCalls:
        assert self._connected is not None, "use() is called before anything is asked"
        return self._connected

    def _canonical(self, broker_symbol: str) -> str:
        known = None if self._registry is None else self._registry.canonical_name(broker_symbol)
        return known or broker_symbol

    def _note(self, event: str, **fields: Any) -> None:
        if self._log is not None:
            self._log.warning(event, **fields)

    # Orders.

    async def prepare(self, key: str, request: dict[str, Any]) -> dict[str, Any]:
        """Return the request as this broker takes it, with everything asked of the terminal just now.

        Raises
        ------
        BrokerError : named, and nothing was sent: the terminal is not connected or forbids trading, the account is
            another one, its books were not read since it was connected, or the request cannot be made to fit
        """
        await self._check_may_trade()
        symbol = await self._symbol(str(request["symbol"]))
        named = {**request, "symbol": symbol.name}
        if request["action"] == mt5.TRADE_ACTION_SLTP:
            return {**named, "sl": on_tick_grid(request["sl"], symbol), "tp": on_tick_grid(request["tp"], symbol)}
        tick = await self._terminal.symbol_info_tick(symbol.name)
        try:
            return resolve_deal(named, symbol, tick)
        except Unfit as problem:
            raise BrokerError(str(problem)) from problem

    async def send(self, key: str, request: dict[str, Any]) -> Reply:
        """Send a prepared request, once; what was executed is read back as far as it shows already."""
        async with self._sending:
            self._sends += 1
            result = await self._terminal.order_send(request)
        answer = answer_of(key, request, result)
        deals: tuple[TradeDeal, ...] = ()
        standing: Standing | None = None
        try:
            if answer.verdict in _EXECUTED and request["action"] == mt5.TRADE_ACTION_DEAL and result.order:
                deals = await self._terminal.history_deals_get(ticket=result.order)
            if self._feed is not None:
                standing = await self._standing(0)
        except (BrokerError, TimeoutError):
            # The answer stands; its deals show in the next look.
            pass
        return Reply(answer, self._books.deals(deals), standing)

    # Books.

    async def read(self, asked_ns: int, since_ns: int) -> BrokerReport:
        """Read account, positions, orders and deals of one moment, back to ``since_ns`` and an hour or two more.

        Raises
        ------
        BrokerError : the terminal cannot be asked, is not connected, or is on another account
        """
        await self._check_connected()
        session = self._session
        if self._fresh:
            since_ns = min(since_ns, asked_ns - _FIRST_LOOK_BACK_NS)
        window = await self._one_moment(asked_ns, since_ns)
        if session != self._session:
            raise BrokerError("the terminal was connected again while its books were read")
        if self._whole_since_ns is None:
            self._whole_since_ns = asked_ns
        self._fresh = False
        account, positions, working, finished, deals = window
        await self._learn_names({p.symbol for p in positions} | {deal.symbol for deal in deals if deal.symbol})
        standing = self._books.standing(account, positions, asked_ns)
        return BrokerReport(
            asked_ns=asked_ns, account=standing.account, positions=standing.positions,
            orders=self._books.orders(working, finished), deals=self._books.deals(deals),
            whole_since_ns=self._whole_since_ns,
        )

    async def advance(self, block: TickBlock, asked_ns: int) -> Moved:
        """Let the market of the simulated terminal move; while it cannot be reached, again and again for a while.

        Raises
        ------
        BrokerError : it could not be reached for ``_FEED_PATIENCE_S``
        """
        assert self._feed is not None, "this broker has a market of its own"
        deadline = time.monotonic() + _FEED_PATIENCE_S
        while True:
            try:
                told = await self._feed.advance(block)
                standing = await self._standing(asked_ns)
            except (BrokerError, TimeoutError) as error:
                if time.monotonic() > deadline:
                    raise BrokerError(f"the market could not be moved: {error}") from error
                await asyncio.sleep(_FEED_PAUSE_S)
            else:
                deals = tuple(self._books.deal(one.deal, one.ts_ns) for one in told.deals if is_trade(one.deal))
                return Moved(deals, standing)

    async def _standing(self, asked_ns: int) -> Standing:
        account, positions = await self._terminal.account_info(), await self._terminal.positions_get()
        self._look_at(account)
        standing = self._books.standing(account, positions, asked_ns)
        if self._feed is None:
            return standing
        marks = await self._feed.marks()
        figures = msgspec.structs.replace(
            standing.account, day_start_equity_ccy=marks.day_start_equity_ccy, peak_equity_ccy=marks.peak_equity_ccy
        )
        return msgspec.structs.replace(standing, account=figures)

    async def _one_moment(self, asked_ns: int, since_ns: int) -> Window:
        """Return books that no order of ours and no other deal has changed while they were read."""
        for attempt in range(_ATTEMPTS):
            sends = self._sends
            # The last attempt lets no order pass, so that looks do not starve.
            if attempt == _ATTEMPTS - 1:
                async with self._sending:
                    return (await self._window(asked_ns, since_ns))[0]
            window, steady = await self._window(asked_ns, since_ns)
            if steady and sends == self._sends and not self._sending.locked():
                return window
        raise AssertionError("the last attempt returns")

    async def _window(self, asked_ns: int, since_ns: int) -> tuple[Window, bool]:
        terminal = self._terminal
        account = await terminal.account_info()
        self._look_at(account)
        low = self._clock.server_s(since_ns) - _CLOCK_MARGIN_S
        high = self._clock.server_s(asked_ns) + _DAY_S
        before = await terminal.positions_get()
        working = await terminal.orders_get()
        finished = await terminal.history_orders_get(low, high)
        deals = await terminal.history_deals_get(low, high)
        positions = await terminal.positions_get()
        steady = {(p.ticket, p.volume) for p in before} == {(p.ticket, p.volume) for p in positions}
        return (account, positions, working, finished, deals), steady

    async def _check_connected(self) -> TerminalInfo:
        info = await self._terminal.terminal_info()
        if not info.connected:
            self._whole_since_ns = None
            raise BrokerError("the terminal is not connected to the trade server: what it shows may be old")
        return info

    async def _check_may_trade(self) -> None:
        info = await self._check_connected()
        if self._fresh and self._feed is None:
            raise BrokerError("the broker's books have not been read since the terminal was connected")
        if info.tradeapi_disabled:
            raise BrokerError(
                "the terminal forbids trading by Python: clear 'Disable automated trading via external Python API' "
                "in its options, Expert Advisors"
            )
        if not info.trade_allowed:
            raise BrokerError("the button 'Algo Trading' of the terminal is off")
        account = await self._terminal.account_info()
        self._look_at(account)
        if not account.trade_allowed:
            raise BrokerError(f"account {account.login} may not trade (an investor password, or the broker forbids it)")
        if not account.trade_expert:
            raise BrokerError(f"account {account.login}: the broker forbids automated trading")

    async def _symbol(self, symbol: str) -> SymbolInfo:
        if self._registry is None:
            raise BrokerError("the terminal has not been connected yet")
        try:
            return await self._registry.resolve(self._terminal, symbol)
        except (ConfigError, StorageError) as error:
            raise BrokerError(str(error)) from error


def answer_of(key: str, request: dict[str, Any], result: OrderSendResult) -> Answer:
    """Return what the terminal's answer means; its time is left to whoever asked."""
    verdict: Verdict = outcome_of(result.retcode, int(request["action"])).value
    if verdict == "partial" and request.get("type_filling") == mt5.ORDER_FILLING_RETURN:
        # The rest of it goes on working.
        verdict = "placed"
    executed = verdict in ("done", "partial")
    return Answer(
        key=key, verdict=verdict, retcode=result.retcode, volume_lots=result.volume if executed else 0.0,
        price=result.price if executed else 0.0, deal=result.deal, text=result.comment, ts_ns=0,
    )
