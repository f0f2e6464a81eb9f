"""The simulated terminal: moved by tick blocks, asked like the MetaTrader5 package."""

from bisect import insort
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np

from libs.common.config import InstrumentConfig
from libs.common.messages.base import Floats, Ints
from libs.common.messages.market import TickBlock
from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import OrderSendResult, TradeRequest
from libs.common.mt5.sim import kernel
from libs.common.mt5.sim.checks import DEAL_CHECKS, PENDING_CHECKS, ordered
from libs.common.mt5.sim.draws import latency_ns
from libs.common.mt5.sim.events import RequestAnswered, TerminalEvent
from libs.common.mt5.sim.ledger import Ledger
from libs.common.mt5.sim.package_face import PackageFace
from libs.common.mt5.sim.request import parse_request
from libs.common.mt5.sim.server import act_on_quote, expire_orders, handle, refusal, roll_over
from libs.common.mt5.sim.settings import SymbolTerms, TerminalSettings
from libs.common.mt5.sim.state import DueRequest, OpenPosition, Quote, TerminalState
from libs.common.mt5.sim.tick_history import TickHistory
from libs.common.mt5.sim.treatment import PLAIN, Treatment
from libs.common.trading.instrument import Instrument

_decoder = msgspec.msgpack.Decoder(TerminalState)
_MIDNIGHT, _EXPIRY, _REQUEST = range(3)
OVERDUE_NS = 20_000_000_000
"""A request whose own symbol stays silent is executed at its last quote once another symbol's ticks are this late."""


class Figures(NamedTuple):
    """How an account stands, account currency."""

    balance_ccy: float
    equity_ccy: float
    margin_ccy: float
    margin_free_ccy: float


class SimulatedTerminal(PackageFace):
    """A MetaTrader 5 account whose market is the tick blocks it is given.

    It is deterministic: settings, instruments, seed, and the ticks and requests in their order decide everything;
    how the ticks were cut into blocks does not.

    Parameters
    ----------
    settings : the broker's manners
    instruments : by symbol; quotes of forex instruments that hold the account currency also convert money
    seed : of slippage and latency
    history : where ticks are kept for ``copy_ticks_*`` and ``copy_rates_*``; ``None`` keeps none, which costs nothing
    """

    def __init__(
        self, settings: TerminalSettings, instruments: Mapping[str, Instrument], seed: int,
        history: TickHistory | None = None,
    ) -> None:
        super().__init__(Ledger(settings, instruments, seed), history)
        ordered(settings.deal_checks, DEAL_CHECKS)
        ordered(settings.pending_checks, PENDING_CHECKS)
        self._figures, self._marks = np.zeros(kernel.FIGURES), np.zeros(2)

    def advance(self, block: TickBlock) -> tuple[TerminalEvent, ...]:
        """Let the market move.

        Requests that have become due, midnights, SL, TP, orders on the book and stop-outs happen at the tick they
        belong to. A request due between two ticks is executed at the quote of the earlier one; if its symbol stays
        silent, 20 s after it was due.

        Parameters
        ----------
        block : ticks of one symbol

        Returns
        -------
        What happened, in order of time; also what calls through the package face have caused since.

        Raises
        ------
        ValueError : when the symbol is not among the instruments
        """
        ledger, symbol = self._ledger, block.symbol
        state = ledger.state
        if symbol not in ledger.symbols:
            raise ValueError(f"the simulated terminal has no instrument '{symbol}': add it to section instruments")
        ticks = Ticks.of(block, ledger.symbols[symbol].by_last, state.quotes[symbol].last)
        if state.next_midnight_ns == 0:
            self._begin_first_day(int(ticks.time_ns[0]))
        start, n = 0, len(ticks.time_ns)
        while start < n:
            found = self._scan(symbol, ticks, start)
            if found > start:
                ledger.set_quote(symbol, ticks.quote(found - 1))
            if found < n:
                self._look_at(symbol, ticks.quote(found))
            start = found + 1
        state.clock_ns = max(state.clock_ns, int(ticks.time_ns[-1]))
        if self._history is not None:
            self._history.add(block, self._ledger.clock)
        return self._tell()

    def look_ahead(self, block: TickBlock, start: int, end: int) -> "Ahead":
        """Return how far the market can move before anything can happen; nothing changes.

        Parameters
        ----------
        block : ticks of one symbol
        start, end : look at these of its ticks
        """
        ledger, symbol = self._ledger, block.symbol
        state = ledger.state
        if state.next_midnight_ns == 0:
            return Ahead(start, np.inf, state.peak_equity_ccy)
        ticks = Ticks.of(block, ledger.symbols[symbol].by_last, state.quotes[symbol].last).before(end)
        found = self._find(symbol, ticks, start)
        return Ahead(found, float(self._marks[1]), float(self._marks[0]))

    @property
    def has_exposure(self) -> bool:
        """True while a position is open or an order waits."""
        return bool(self._ledger.state.positions or self._ledger.state.orders)

    def submit(
        self, request: Mapping[str, Any], request_key: str, now_ns: int, treatment: Treatment = PLAIN
    ) -> tuple[TerminalEvent, ...]:
        """Send a request on its way to the server.

        Parameters
        ----------
        request : as for ``order_send``
        request_key : comes back in the answer
        now_ns : when it is sent, ns UTC
        treatment : what is done with it otherwise than the rules say

        Returns
        -------
        With no latency its deals and its answer, at once; else what was still untold, and the answer comes from a
        later ``advance``. A request of wrong types is answered at once with 10013 and the package's words.
        """
        state = self._ledger.state
        state.clock_ns = max(state.clock_ns, now_ns)
        parsed = parse_request(request)
        if isinstance(parsed, str):
            answer = refusal(self._ledger, TradeRequest(), mt5.TRADE_RETCODE_INVALID, parsed)
            state.untold.append(RequestAnswered(now_ns, request_key, answer))
            return self._tell()
        symbol = self._symbol_of(parsed)
        delay_ns = treatment.latency_ns
        if delay_ns is None:
            delay_ns = latency_ns(self._ledger.settings, self._ledger.seed, state.submitted)
        state.submitted += 1
        # One connection: a later request never overtakes an earlier one, but for those that left the line themselves.
        line = [d for d in state.due if d.treatment is None or not d.treatment.overtakes]
        held_up = bool(line) and not treatment.overtakes
        due_ns = max(now_ns + delay_ns, line[-1].due_ns) if held_up else now_ns + delay_ns
        due = DueRequest(due_ns, symbol, request_key, parsed, None if treatment is PLAIN else treatment)
        if delay_ns == 0 and not held_up:
            self._execute(due, due_ns)
            self._note_peak(symbol)
        else:
            insort(state.due, due, key=lambda d: d.due_ns)
        return self._tell()

    def execute(self, request: TradeRequest, treatment: Treatment = PLAIN) -> OrderSendResult:
        """Execute a request of the package's right types now, at the quotes in force, whatever the latency is.

        Deals it makes are told by the next ``advance`` or ``submit``.
        """
        return handle(self._ledger, request, self._ledger.state.clock_ns, treatment)

    # What the broker does.

    def change_symbol(self, symbol: str, config: InstrumentConfig, terms: SymbolTerms | None = None) -> None:
        """Change a symbol's specification and, unless ``None``, its conditions; snapshots remember it.

        Raises
        ------
        ValueError : when the symbol is not among the instruments
        """
        if symbol not in self._ledger.symbols:
            raise ValueError(f"the simulated terminal has no instrument '{symbol}' to change")
        self._ledger.change_symbol(symbol, Instrument(symbol, config), terms)

    def deposit(self, amount_ccy: float, comment: str = "", *, credit: bool = False) -> None:
        """Move balance or credit by an amount (negative to withdraw); the deal is told by the next ``advance``."""
        kind = mt5.DEAL_TYPE_CREDIT if credit else mt5.DEAL_TYPE_BALANCE
        self._ledger.book_money(amount_ccy, comment, self._ledger.state.clock_ns, kind=kind)

    def modify_stops(self, position_ticket: int, sl: float, tp: float) -> OrderSendResult | None:
        """Move SL and TP of a position now; 0.0 removes a level."""
        return self.order_send({
            "action": mt5.TRADE_ACTION_SLTP, "position": position_ticket, "sl": float(sl), "tp": float(tp),
        })

    # Figures that the package does not give, or only among many others.

    def figures(self) -> Figures:
        """Return what of ``account_info`` moves with trading."""
        ledger = self._ledger
        equity, margin = ledger.equity(), ledger.margin()
        return Figures(ledger.state.balance_ccy, equity, margin, ledger.round_ccy(equity - margin))

    def held(self) -> list[tuple[OpenPosition, float]]:
        """Return open positions in the order of ``positions_get``, each with its floating profit, account currency."""
        ledger = self._ledger
        return [(position, ledger.floating(position)) for position in ledger.state.positions.values()]

    def equity(self) -> float:
        """Return balance plus floating profit and swap, account currency."""
        return self._ledger.equity()

    @property
    def changes(self) -> int:
        """A number that is another one whenever positions or the account's figures may be others than before.

        The peak of equity and the day's first equity are not counted.
        """
        return self._ledger.changes

    @property
    def settings(self) -> TerminalSettings:
        return self._ledger.settings

    @property
    def balance_ccy(self) -> float:
        return self._ledger.state.balance_ccy

    @property
    def margin_ccy(self) -> float:
        """Margin in use, account currency."""
        return self._ledger.margin()

    @property
    def margin_free_ccy(self) -> float:
        return self._ledger.round_ccy(self._ledger.equity() - self._ledger.margin())

    @property
    def day_start_equity_ccy(self) -> float:
        """Equity at the broker's last midnight, after the night's swap."""
        return self._ledger.state.day_start_equity_ccy

    @property
    def peak_equity_ccy(self) -> float:
        """Highest equity at any tick so far, account currency."""
        return self._ledger.round_ccy(self._ledger.state.peak_equity_ccy)

    @property
    def clock_ns(self) -> int:
        """Latest time seen, ns UTC."""
        return self._ledger.state.clock_ns

    def server_msc(self) -> int:
        """Return the broker's clock at the latest time seen, ms."""
        return self._ledger.clock.msc(self._ledger.state.clock_ns)

    def instrument(self, symbol: str) -> Instrument:
        """Return a symbol's specification as it is now."""
        return self._ledger.instruments[symbol]

    @property
    def untold(self) -> tuple[TerminalEvent, ...]:
        """What the next ``advance`` or ``submit`` will tell first."""
        return tuple(self._ledger.state.untold)

    def utc_ns(self, server_msc: int) -> int:
        """Return the UTC time of a deal's, order's or position's ``time_msc``, ns."""
        seconds, rest_ms = divmod(server_msc, 1000)
        return self._ledger.clock.utc_ns(seconds) + rest_ms * 1_000_000

    def server_ns(self, ts_ns: int) -> int:
        """Return a time as the package's ``time_msc`` tells it, taken back to UTC: whole milliseconds, ns.

        An hour that occurs twice on the server's clock means the first.
        """
        return self.utc_ns(self._ledger.clock.msc(ts_ns))

    # Restart.

    def snapshot(self) -> bytes:
        """Return the whole state; settings, instruments and seed are not in it."""
        return msgspec.msgpack.encode(self._ledger.state)

    def restore(self, state: bytes) -> None:
        """Become what ``snapshot`` described.

        Raises
        ------
        ValueError : when the bytes are no snapshot, or hold positions or orders of a symbol we have no instrument for
        """
        try:
            restored = _decoder.decode(state)
        except msgspec.MsgspecError as error:
            raise ValueError(f"not a snapshot of a simulated terminal: {error}") from error
        known = self._ledger.instruments
        held = {p.symbol for p in restored.positions.values()} | {o.symbol for o in restored.orders.values()}
        if not held <= known.keys():
            raise ValueError(f"the snapshot holds {sorted(held - known.keys())}: add them to section instruments")
        restored.quotes = {symbol: restored.quotes.get(symbol, Quote()) for symbol in known}
        self._ledger.restart(restored)

    # Inside.

    def _begin_first_day(self, ts_ns: int) -> None:
        state, clock = self._ledger.state, self._ledger.clock
        state.day, state.next_midnight_ns = clock.day(ts_ns), clock.next_midnight_ns(ts_ns)
        if self._ledger.settings.deposit_deal:
            amount_ccy, state.balance_ccy = state.balance_ccy, 0.0
            self._ledger.book_money(amount_ccy, "Initial deposit", ts_ns)

    def _scan(self, symbol: str, ticks: "Ticks", start: int) -> int:
        """Return the offset of the next tick to look at; the peak is noted up to there."""
        state = self._ledger.state
        found = self._find(symbol, ticks, start)
        state.peak_equity_ccy = float(self._marks[0])
        return found

    def _find(self, symbol: str, ticks: "Ticks", start: int) -> int:
        """Return the offset of the next tick to look at; the marks hold how equity moved up to there."""
        ledger = self._ledger
        state = ledger.state
        watch = False
        if state.positions:
            watch, figures = ledger.figures(symbol)
            self._figures[:] = figures
        self._marks[:] = state.peak_equity_ccy, np.inf
        found: int = kernel.scan(
            ticks.time_ns, ticks.bid, ticks.ask, start, self._next_time_ns(symbol),
            ledger.symbols[symbol].exposure.lines(), watch, self._figures, self._marks, ticks.low_side, ticks.high_side,
        )
        return found

    def _look_at(self, symbol: str, quote: Quote) -> None:
        """Do everything that is due before and at one tick."""
        self._pass_time(symbol, quote.time_ns)
        self._ledger.set_quote(symbol, quote)
        act_on_quote(self._ledger, symbol)
        self._note_peak(symbol)

    def _next_time_ns(self, symbol: str) -> int:
        """Return the first time at which a tick must be looked at whatever its price."""
        state, expiries = self._ledger.state, self._ledger.symbols[symbol].exposure.expiries
        when = state.next_midnight_ns
        if expiries:
            when = min(when, expiries[0][0])
        for due in state.due:
            when = min(when, due.due_ns + _patience_ns(due, symbol) + 1)
        return when

    def _waiting(self, symbol: str) -> tuple[int, int, int]:
        """Return (time, rank, place in the queue) of what comes first as time passes."""
        state, expiries = self._ledger.state, self._ledger.symbols[symbol].exposure.expiries
        first = (state.next_midnight_ns, _MIDNIGHT, 0)
        if expiries:
            first = min(first, (expiries[0][0], _EXPIRY, 0))
        for place, due in enumerate(state.due):
            first = min(first, (due.due_ns + _patience_ns(due, symbol), _REQUEST, place))
        return first

    def _pass_time(self, symbol: str, ts_ns: int) -> None:
        """Do, in order of time, what falls due up to a tick: requests strictly before it, the rest also at it."""
        while True:
            when, rank, place = self._waiting(symbol)
            if when + (rank == _REQUEST) > ts_ns:
                return
            if rank == _MIDNIGHT:
                roll_over(self._ledger)
            elif rank == _EXPIRY:
                expire_orders(self._ledger, symbol, when)
            else:
                self._execute(self._ledger.state.due.pop(place), when)

    def _execute(self, due: DueRequest, ts_ns: int) -> None:
        state = self._ledger.state
        if due.symbol:
            # Sent late, after the symbol's market had moved on: it cannot be executed in the past.
            ts_ns = max(ts_ns, state.quotes[due.symbol].time_ns)
        while 0 < state.next_midnight_ns <= ts_ns:
            roll_over(self._ledger)
        result = handle(self._ledger, due.request, ts_ns, due.treatment or PLAIN)
        state.untold.append(RequestAnswered(ts_ns, due.request_key, result))

    def _note_peak(self, symbol: str) -> None:
        if symbol:
            self._ledger.note_peak(symbol)

    def _symbol_of(self, request: TradeRequest) -> str:
        """Return the symbol whose ticks carry the request's time; empty when it names nothing known."""
        if request.symbol in self._ledger.symbols:
            return request.symbol
        position = self._ledger.state.positions.get(request.position)
        order = self._ledger.state.orders.get(request.order)
        if position is not None:
            return position.symbol
        return order.symbol if order is not None else ""

    def _tell(self) -> tuple[TerminalEvent, ...]:
        untold = self._ledger.state.untold
        if not untold:
            return ()
        told = tuple(untold)
        untold.clear()
        return told


def _patience_ns(due: DueRequest, symbol: str) -> int:
    return 0 if due.symbol in (symbol, "") else OVERDUE_NS


class Ahead(NamedTuple):
    """What lies before the market.

    Parameters
    ----------
    tick : offset of the next tick at which something can happen; the end where there is none
    low_ccy, peak_ccy : lowest and highest equity before it, account currency; infinity where no position is open
    """

    tick: int
    low_ccy: float
    peak_ccy: float


class Ticks(NamedTuple):
    """A block's columns as the walk wants them.

    Parameters
    ----------
    low_side, high_side : prices that orders and stops wait for
    last : empty where the feed has none
    """

    time_ns: Ints
    bid: Floats
    ask: Floats
    low_side: Floats
    high_side: Floats
    last: Floats

    @classmethod
    def of(cls, block: TickBlock, by_last: bool, last_before: float) -> "Ticks":
        time_ns = np.ascontiguousarray(block.time_ns, dtype=np.int64)
        bid = np.ascontiguousarray(block.bid, dtype=np.float64)
        ask = np.ascontiguousarray(block.ask, dtype=np.float64)
        last = block.last
        if not len(last):
            return cls(time_ns, bid, ask, bid, ask, np.full(len(bid), last_before) if last_before else last)
        last = _carried(np.asarray(last, dtype=np.float64), last_before)
        if not by_last:
            return cls(time_ns, bid, ask, bid, ask, last)
        # Before the first trade there is no price to wait for, so the quote has to do.
        traded = last > 0.0
        return cls(time_ns, bid, ask, np.where(traded, last, bid), np.where(traded, last, ask), last)

    def before(self, end: int) -> "Ticks":
        """Return the ticks before an offset."""
        return Ticks(
            self.time_ns[:end], self.bid[:end], self.ask[:end], self.low_side[:end], self.high_side[:end], self.last[:end]
        )

    def quote(self, k: int) -> Quote:
        """Return the quote of one tick."""
        last = float(self.last[k]) if len(self.last) else 0.0
        return Quote(int(self.time_ns[k]), float(self.bid[k]), float(self.ask[k]), last)


def _carried(last: Floats, before: float) -> Floats:
    """Fill ticks without a trade with the price of the last one."""
    traded = np.isfinite(last) & (last > 0.0)
    place = np.maximum.accumulate(np.where(traded, np.arange(len(last)), -1))
    return np.where(place >= 0, last[place], before)
