"""A terminal asked through its Expert Advisor: the same questions as through a worker, over the bus.

The Expert Advisor answers what the executor and ingest ask of a terminal (see ``mql/PROTOCOL.md``), so whatever trades
or reads through ``TerminalCalls`` does so through an Expert Advisor as well. Errors mean what they mean at the driver:
``BrokerError`` it certainly never left us, ``OutcomeUncertain`` and ``TimeoutError`` it may have. Nothing is sent twice.
"""

import asyncio
import contextlib
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec
import numpy as np

from libs.common import subjects
from libs.common.codec import Codec, encode
from libs.common.errors import BrokerError, BusError, MalformedMessage, OutcomeUncertain
from libs.common.messages.base import Message, column_from_json
from libs.common.messages.ea import (
    MAX_TICKS,
    PROTOCOL,
    EaAsker,
    EaBooks,
    EaBooksRequest,
    EaHeartbeat,
    EaHello,
    EaHistory,
    EaHistoryRequest,
    EaMessage,
    EaOrder,
    EaOrderAnswer,
    EaSpecification,
    EaTicks,
)
from libs.common.mt5 import constants as mt5
from libs.common.mt5.adapters.calls import PackageError, TerminalCalls
from libs.common.mt5.adapters.driver import Health
from libs.common.mt5.adapters.ea_records import (
    account_info,
    record,
    send_result,
    symbol_info,
    terminal_info,
    tick_array,
    tick_record,
)
from libs.common.mt5.adapters.ea_ticks import PushedTicks
from libs.common.mt5.adapters.ea_voices import Voice, Voices
from libs.common.mt5.results import OrderSendResult, TradeDeal, TradeOrder, TradePosition

MAC_HEADER = "Tickwire-Mac"
_NS_PER_S = 1_000_000_000
_MAX_PAGES = 500
_ASK_AGAIN_NS = _NS_PER_S
_LOOKS = 100
_CALL_FAILED = -1
_heard = Codec((EaHello, EaHeartbeat, EaSpecification, EaTicks))
_replies = msgspec.json.Decoder(EaOrderAnswer | EaBooks | EaHistory, dec_hook=column_from_json)


class EaBus(Protocol):
    """What is needed of the bus."""

    async def ask(
        self, subject: str, payload: bytes, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> bytes: ...

    async def on_message(self, pattern: str, callback: Callable[[str, bytes], None]) -> None: ...


def message_code(key: bytes, payload: bytes) -> str:
    """Return what the header ``Tickwire-Mac`` must say of a payload: HMAC-SHA256, hex."""
    return hmac.new(key, payload, hashlib.sha256).hexdigest()


class EaTerminal(TerminalCalls):
    """Asks a terminal's Expert Advisor.

    Parameters
    ----------
    bus : connected as the service that asks
    account : account key
    asker : service that asks
    mac_key : 32 bytes shared with the Expert Advisor; None for whoever sends no orders
    guard : looked through at every new session of the Expert Advisor, before any other question; may refuse it
    send_s, read_s : deadlines for orders and for questions
    silent_after_s : an Expert Advisor not heard for so long is gone
    fresh_s : what was read less than so long ago, with no order since, is not asked for again
    ticks : listen to pushed ticks as well
    signed : only an Expert Advisor that checks message codes is given orders
    wait_s : how long a question waits for an Expert Advisor that is not there
    """

    def __init__(
        self,
        bus: EaBus,
        account: str,
        *,
        asker: EaAsker,
        mac_key: bytes | None = None,
        guard: Callable[[TerminalCalls], Awaitable[None]] | None = None,
        send_s: float = 15.0,
        read_s: float = 5.0,
        silent_after_s: float = 5.0,
        fresh_s: float = 0.05,
        ticks: bool = False,
        signed: bool = True,
        wait_s: float = 0.0,
        log: Any = None,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._bus, self._account, self._asker, self._key, self._guard = bus, account, asker, mac_key, guard
        self._send_s, self._read_s, self._fresh_ns = send_s, read_s, round(fresh_s * _NS_PER_S)
        self._hears_ticks, self._log, self._now_ns = ticks, log, now_ns
        self.voices = Voices(account, silent_after_s, signed=signed and mac_key is not None, now_ns=now_ns)
        self.specifications: dict[str, EaSpecification] = {}
        self.pushed: dict[str, PushedTicks] = {}
        self._arrived_of: set[str] = set()
        self.arrived = asyncio.Event()
        """Set whenever ticks were pushed; cleared by whoever waits for it."""
        self._asked_ns = 0
        self._calls = self._failures = self._guarded = 0
        self._round_trip_s = self._average_s = 0.0
        self._guarding = asyncio.Lock()
        self._books: EaBooks | None = None
        self._books_ns = 0
        self._history: tuple[int, int, int, tuple[EaBooks, ...]] | None = None
        self._deals: dict[int, tuple[TradeDeal, ...]] = {}
        self._last_error = (0, "")
        self._functions: dict[str, Callable[..., Awaitable[Any]]] = {
            "account_info": self._account_info, "terminal_info": self._terminal_info, "version": self._version,
            "last_error": self._told_error, "symbols_total": self._symbols_total, "symbols_get": self._symbols_get,
            "symbol_info": self._symbol_info, "symbol_info_tick": self._symbol_info_tick,
            "symbol_select": self._symbol_select, "positions_get": self._positions_get,
            "orders_get": self._orders_get, "history_orders_get": self._history_orders_get,
            "history_deals_get": self._history_deals_get, "order_send": self._order_send,
            "copy_ticks_from": self._copy_ticks_from, "copy_ticks_range": self._copy_ticks_range,
        }  # fmt: skip

    # ---- life

    async def start(self) -> None:
        """Begin to listen."""
        symbols_of = ("specification", "ticks") if self._hears_ticks else ("specification",)
        for what in ("hello", "heartbeat"):
            await self._bus.on_message(subjects.ea(self._account, what), self._hear)
        for what in symbols_of:
            await self._bus.on_message(f"{subjects.ea(self._account, what)}.*", self._hear)

    async def ready(self, timeout_s: float) -> None:
        """Wait until an Expert Advisor has been heard and has told its symbols.

        Raises
        ------
        BrokerError : when none was in time, with the reason
        """
        deadline_ns = self._now_ns() + round(timeout_s * _NS_PER_S)
        while True:
            try:
                self._present()
                return
            except BrokerError:
                if self._now_ns() >= deadline_ns:
                    raise
            with contextlib.suppress(BrokerError):
                await self._introduced()
            await asyncio.sleep(0.02)

    async def _introduced(self) -> Voice:
        """Return the Expert Advisor that speaks; ask one that spoke before we listened who it is.

        Raises
        ------
        BrokerError : there is none, or it does not say
        """
        try:
            return self._present()
        except BrokerError as error:
            problem = error
        now_ns = self._now_ns()
        if now_ns - self._asked_ns >= _ASK_AGAIN_NS:
            self._asked_ns = now_ns
            with contextlib.suppress(BrokerError):
                await self._read_books(1.0, introduce=True)
                for _ in range(_LOOKS):
                    await asyncio.sleep(0.01)
                    with contextlib.suppress(BrokerError):
                        return self._present()
        raise problem

    def _present(self) -> Voice:
        """Return the Expert Advisor that speaks; raises ``BrokerError`` until it has introduced itself."""
        voice = self.voices.current()
        if voice.hello is None or not set(voice.hello.symbols) <= self.specifications.keys():
            raise BrokerError("the expert advisor speaks, but has not told its account and its symbols yet")
        return voice

    def health(self) -> Health:
        """Return the facts of now, as the driver of a worker would."""
        problem, session = "", 0
        try:
            session = self._present().session
        except BrokerError as error:
            problem = str(error)
        return Health(
            state="waiting" if problem else "ready", problem=problem, pid=0, session=session, restarts=0, kills=0,
            calls=self._calls, failures=self._failures, waiting=0, last_error=self._last_error,
            round_trip_s=self._round_trip_s, average_s=self._average_s,
        )

    async def aclose(self) -> None:
        """Nothing to end: the connection is the service's."""

    def forget(self) -> None:
        """Ask for everything anew: the market was moved behind the Expert Advisor's back."""
        self._books, self._history = None, None

    def take_arrived(self) -> set[str]:
        """Return the broker symbols of which ticks were pushed since the last call."""
        found, self._arrived_of = self._arrived_of, set()
        return found

    def _hear(self, subject: str, payload: bytes) -> None:
        try:
            message: EaMessage = _heard.decode(payload, subject)
        except MalformedMessage as error:
            self._warn("ea_malformed", str(error))
            return
        self.voices.hear(message)
        if message.account != self._account or message.protocol != PROTOCOL:
            return
        if isinstance(message, EaSpecification):
            self.specifications[message.symbol] = message
        elif isinstance(message, EaTicks):
            self.pushed.setdefault(message.symbol, PushedTicks()).add(message)
            self._arrived_of.add(message.symbol)
            self.arrived.set()

    # ---- calls

    async def call(self, function: str, /, *args: Any, deadline_s: float | None = None, **kwargs: Any) -> Any:
        """Answer one of the package's questions (see ``TerminalCalls``)."""
        voice = await self._introduced()
        if voice.session != self._guarded:
            await self._check_session(voice)
        return await self.call_unguarded(function, *args, deadline_s=deadline_s, **kwargs)

    async def call_unguarded(self, function: str, *args: Any, deadline_s: float | None = None, **kwargs: Any) -> Any:
        """Answer a question without a look at the session; for the guard itself."""
        asked = self._functions.get(function)
        if asked is None:
            raise BrokerError(f"{function}: an expert advisor is not asked this")
        self._calls += 1
        try:
            result = await asked(*args, deadline_s=deadline_s, **kwargs)
        except (BrokerError, TimeoutError) as error:
            self._failures += 1
            if isinstance(error, PackageError):
                self._last_error = (error.code, error.text)
            raise
        self._last_error = (mt5.RES_S_OK, "Success")
        return result

    async def _check_session(self, voice: Voice) -> None:
        async with self._guarding:
            if voice.session == self._guarded:
                return
            self.forget()
            self._deals.clear()
            if self._guard is not None:
                await self._guard(_Unguarded(self))
            self._guarded = voice.session

    async def _ask(self, what: str, request: Message, deadline_s: float) -> Any:
        """Ask a question that may be asked again."""
        began_s = time.perf_counter()
        try:
            payload = await self._bus.ask(f"{subjects.ea(self._account)}.{what}", encode(request), deadline_s)
            self._note_round_trip(time.perf_counter() - began_s)
            return _replies.decode(payload)
        except (BusError, TimeoutError) as error:
            raise BrokerError(str(error) or f"no answer within {deadline_s:g} s") from error
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BrokerError(f"the expert advisor's answer cannot be read: {error}") from error

    def _note_round_trip(self, seconds: float) -> None:
        self._round_trip_s = seconds
        self._average_s = seconds if not self._average_s else self._average_s + (seconds - self._average_s) / 20.0

    # ---- what the terminal shows

    async def _now(self, deadline_s: float | None) -> EaBooks:
        """Return what the terminal shows, read a moment ago or now."""
        books = self._books
        if books is None or self._now_ns() - self._books_ns > self._fresh_ns:
            books = await self._read_books(deadline_s)
        return books

    async def _read_books(self, deadline_s: float | None, **what: Any) -> EaBooks:
        now_ns = self._now_ns()
        request = EaBooksRequest(
            ts_event_ns=now_ns, ts_init_ns=now_ns, protocol=PROTOCOL, account=self._account, asker=self._asker, **what
        )
        books = await self._ask(f"books.{self._asker}", request, deadline_s or self._read_s)
        if not isinstance(books, EaBooks):
            raise BrokerError("the expert advisor answered something else than its books")
        if books.problem:
            raise PackageError("books", _CALL_FAILED, books.problem)
        # As old as the question: what happened while it was answered may be missing.
        self._books, self._books_ns = books, now_ns
        return books

    async def _account_info(self, deadline_s: float | None) -> Any:
        return account_info(await self._now(deadline_s))

    async def _terminal_info(self, deadline_s: float | None) -> Any:
        return terminal_info(await self._now(deadline_s))

    async def _version(self, deadline_s: float | None) -> Any:
        return 500, (await self._now(deadline_s)).build, "Expert Advisor"

    async def _told_error(self, deadline_s: float | None) -> Any:
        return self._last_error

    async def _positions_get(self, deadline_s: float | None, **chosen: Any) -> Any:
        found = tuple(record(TradePosition, p, time=p.time_msc // 1_000) for p in (await self._now(deadline_s)).positions)
        return _chosen(found, **chosen)

    async def _orders_get(self, deadline_s: float | None, **chosen: Any) -> Any:
        return _chosen(tuple(_order(order) for order in (await self._now(deadline_s)).orders), **chosen)

    # ---- symbols

    async def _symbols_total(self, deadline_s: float | None) -> Any:
        return len(self.specifications)

    async def _symbols_get(self, deadline_s: float | None, group: str = "") -> Any:
        if group not in ("", "*"):
            raise BrokerError("symbols_get: an expert advisor tells the symbols it publishes, all of them")
        return tuple([await self._symbol_info(name, deadline_s=deadline_s) for name in sorted(self.specifications)])

    async def _symbol_info(self, name: str, deadline_s: float | None) -> Any:
        specification = self.specifications.get(name)
        if specification is None:
            raise PackageError(
                "symbol_info", mt5.RES_E_NOT_FOUND,
                f"{name}: the expert advisor does not publish it; add it to InpSymbols",
            )
        quotes = {quote.symbol: quote for quote in (await self._now(deadline_s)).quotes}
        return symbol_info(specification, quotes.get(name))

    async def _symbol_info_tick(self, name: str, deadline_s: float | None) -> Any:
        for quote in (await self._now(deadline_s)).quotes:
            if quote.symbol == name:
                return tick_record(quote)
        raise PackageError("symbol_info_tick", mt5.RES_E_NOT_FOUND, f"{name}: the terminal has no tick of it")

    async def _symbol_select(self, name: str, enable: bool = True, *, deadline_s: float | None) -> Any:
        return name in self.specifications

    # ---- history

    async def _history_orders_get(self, *dates: int, deadline_s: float | None, **chosen: Any) -> Any:
        if len(dates) != 2:
            raise BrokerError("history_orders_get: an expert advisor is asked by time only")
        return tuple(_order(order) for page in await self._pages(*dates, 0, deadline_s) for order in page.history)

    async def _history_deals_get(
        self, *dates: int, deadline_s: float | None, ticket: int = 0, position: int = 0
    ) -> Any:
        if ticket and ticket in self._deals:
            return self._deals[ticket]
        if position or not (ticket or len(dates) == 2):
            raise BrokerError("history_deals_get: an expert advisor is asked by time or by order")
        low, high = dates if dates else (0, 0)
        return tuple(_deal(deal) for page in await self._pages(low, high, ticket, deadline_s) for deal in page.deals)

    async def _pages(self, low: int, high: int, order: int, deadline_s: float | None) -> tuple[EaBooks, ...]:
        kept = self._history
        if kept is not None and kept[:3] == (low, high, order) and self._now_ns() - self._books_ns <= self._fresh_ns:
            return kept[3]
        pages: list[EaBooks] = []
        while len(pages) < _MAX_PAGES:
            skip = sum(len(page.deals) + len(page.history) for page in pages)
            page = await self._read_books(deadline_s, from_s=low, to_s=high, order=order, skip=skip)
            if pages and page.instance != pages[0].instance:
                raise BrokerError("the expert advisor was started again while its books were read")
            pages.append(page)
            if not page.more:
                self._history = (low, high, order, tuple(pages))
                return self._history[3]
            if not page.deals and not page.history:
                break
        raise BrokerError(f"the history from {low} to {high} does not end within {len(pages)} pages")

    # ---- orders

    async def _order_send(self, request: dict[str, Any], deadline_s: float | None) -> OrderSendResult:
        if self._key is None:
            raise BrokerError("this connection sends no orders")
        key, now_ns = key_of(request), self._now_ns()
        deadline = deadline_s or self._send_s
        order = EaOrder(
            ts_event_ns=now_ns, ts_init_ns=now_ns, protocol=PROTOCOL, account=self._account, key=key,
            # Once we have given up waiting it must not be executed any more.
            expires_ns=now_ns + round(deadline * _NS_PER_S), request=request,
        )
        payload = encode(order)
        self.forget()
        try:
            answer = await self._bus.ask(
                subjects.ea(self._account, "orders"), payload, deadline,
                {MAC_HEADER: message_code(self._key, payload)},
            )
        except BusError as error:
            raise BrokerError(str(error)) from error
        finally:
            self.forget()
        return self._result_of(key, request, answer)

    def _result_of(self, key: str, request: dict[str, Any], payload: bytes) -> OrderSendResult:
        try:
            answer = _replies.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self._warn("ea_malformed", f"answer to {key}: {error}")
            raise OutcomeUncertain(key, None) from error
        if not isinstance(answer, EaOrderAnswer) or answer.key != key or answer.outcome == "unknown":
            raise OutcomeUncertain(key, None)
        if answer.outcome == "refused" or answer.result is None:
            raise BrokerError(f"the expert advisor refused: {answer.reason}")
        if answer.deals and answer.result.order:
            self._deals = {answer.result.order: tuple(_deal(deal) for deal in answer.deals)}
        return send_result(answer.result, request)

    # ---- ticks

    async def _copy_ticks_from(
        self, name: str, date_from: int, count: int, flags: int = -1, *, deadline_s: float | None
    ) -> Any:
        pushed = self.pushed.get(name)
        found = None if pushed is None else pushed.since(date_from * 1_000, count)
        return await self._ticks(name, date_from * 1_000, 0, count, deadline_s) if found is None else found

    async def _copy_ticks_range(
        self, name: str, date_from: int, date_to: int, flags: int = -1, *, deadline_s: float | None
    ) -> Any:
        return await self._ticks(name, date_from * 1_000, date_to * 1_000 + 999, 2**31 - 1, deadline_s)

    async def _ticks(self, name: str, from_msc: int, to_msc: int, count: int, deadline_s: float | None) -> Any:
        """Read ticks page by page; every page begins anew with the last millisecond of the one before."""
        pages: list[Any] = []
        found = 0
        while True:
            page = await self._page_of_ticks(name, from_msc, to_msc, min(count - found, MAX_TICKS), deadline_s)
            array = tick_array(page)
            whole = not page.more or found + len(array) >= count
            if not whole:
                last_msc = int(array["time_msc"][-1])
                if last_msc == int(array["time_msc"][0]):
                    raise BrokerError(f"{name}: more than {len(array)} ticks in one millisecond")
                array = array[array["time_msc"] < last_msc]
                from_msc = last_msc
            pages.append(array)
            found += len(array)
            if whole:
                return np.concatenate(pages)

    async def _page_of_ticks(
        self, name: str, from_msc: int, to_msc: int, limit: int, deadline_s: float | None
    ) -> EaHistory:
        now_ns = self._now_ns()
        request = EaHistoryRequest(
            ts_event_ns=now_ns, ts_init_ns=now_ns, protocol=PROTOCOL, account=self._account, symbol=name,
            from_msc=from_msc, to_msc=to_msc, limit=max(limit, 2),
        )
        page = await self._ask("history", request, deadline_s or self._read_s)
        if not isinstance(page, EaHistory) or page.symbol != name:
            raise BrokerError("the expert advisor answered something else than ticks")
        if page.problem:
            raise PackageError("copy_ticks", _CALL_FAILED, page.problem)
        return page

    def _warn(self, event: str, detail: str) -> None:
        if self._log is not None:
            self._log.warning(event, detail=detail)


class _Unguarded(TerminalCalls):
    """The terminal as a guard may ask it."""

    def __init__(self, terminal: EaTerminal) -> None:
        self._terminal = terminal

    async def call(self, function: str, /, *args: Any, deadline_s: float | None = None, **kwargs: Any) -> Any:
        return await self._terminal.call_unguarded(function, *args, deadline_s=deadline_s, **kwargs)


def key_of(request: Mapping[str, Any]) -> str:
    """Return the key under which an Expert Advisor remembers a request: its magic number, unique per intent.

    >>> key_of({"action": 1, "magic": 281474976710657}), key_of({"action": 6, "magic": 7, "position": 12})
    ('281474976710657', 'stops-12')
    """
    if request.get("action") == mt5.TRADE_ACTION_SLTP:
        return f"stops-{request['position']}"
    return str(request["magic"])


def _order(order: Any) -> Any:
    return record(
        TradeOrder, order, time_setup=order.time_setup_msc // 1_000, time_done=order.time_done_msc // 1_000
    )


def _deal(deal: Any) -> Any:
    return record(TradeDeal, deal, time=deal.time_msc // 1_000)


def _chosen(records: tuple[Any, ...], symbol: str = "", ticket: int = 0, group: str = "") -> tuple[Any, ...]:
    if group not in ("", "*"):
        raise BrokerError("an expert advisor is not asked by groups")
    if ticket:
        return tuple(one for one in records if one.ticket == ticket)
    return tuple(one for one in records if one.symbol == symbol) if symbol else records
