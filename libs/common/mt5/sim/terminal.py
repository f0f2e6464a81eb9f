"""The simulated terminal: moved by tick blocks, asked like the MetaTrader5 package."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np

from libs.common.messages.market import TickBlock
from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import OrderSendResult, TradeRequest
from libs.common.mt5.sim import kernel
from libs.common.mt5.sim.draws import latency_ns
from libs.common.mt5.sim.events import RequestAnswered, TerminalEvent
from libs.common.mt5.sim.ledger import Ledger
from libs.common.mt5.sim.package_face import PackageFace
from libs.common.mt5.sim.request import parse_request
from libs.common.mt5.sim.server import act_on_quote, expire_orders, handle, refusal, roll_over
from libs.common.mt5.sim.settings import TerminalSettings
from libs.common.mt5.sim.state import DueRequest, Quote, TerminalState
from libs.common.trading.instrument import Instrument

_decoder = msgspec.msgpack.Decoder(TerminalState)
_MIDNIGHT, _EXPIRY, _REQUEST = range(3)
OVERDUE_NS = 20_000_000_000
"""A request whose own symbol stays silent is executed at its last quote once another symbol's ticks are this late."""


class SimulatedTerminal(PackageFace):
    """A MetaTrader 5 account whose market is the tick blocks it is given.

    It is deterministic: settings, instruments, seed, and the ticks and requests in their order decide everything;
    how the ticks were cut into blocks does not.

    Parameters
    ----------
    settings : the broker's manners
    instruments : by symbol; quotes of forex instruments that hold the account currency also convert money
    seed : of slippage and latency
    """

    def __init__(self, settings: TerminalSettings, instruments: Mapping[str, Instrument], seed: int) -> None:
        super().__init__(Ledger(settings, instruments, seed))

    def advance(self, block: TickBlock) -> tuple[TerminalEvent, ...]:
        """Let the market move.

        Requests that have become due, midnights, SL, TP, pending orders and stop-outs happen at the tick they belong
        to. A request due between two ticks is executed at the quote of the earlier one; if its symbol stays silent,
        20 s after it was due.

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
        state, symbol = self._ledger.state, block.symbol
        if symbol not in self._ledger.instruments:
            raise ValueError(f"the simulated terminal has no instrument '{symbol}': add it to section instruments")
        time_ns = np.ascontiguousarray(block.time_ns, dtype=np.int64)
        bid = np.ascontiguousarray(block.bid, dtype=np.float64)
        ask = np.ascontiguousarray(block.ask, dtype=np.float64)
        if state.next_midnight_ns == 0:
            self._begin_first_day(int(time_ns[0]))
        start, n = 0, len(time_ns)
        while start < n:
            found = self._scan(symbol, time_ns, bid, ask, start)
            if found > start:
                last = found - 1
                state.quotes[symbol] = Quote(int(time_ns[last]), float(bid[last]), float(ask[last]))
            if found < n:
                self._look_at(symbol, Quote(int(time_ns[found]), float(bid[found]), float(ask[found])))
            start = found + 1
        state.clock_ns = max(state.clock_ns, int(time_ns[-1]))
        return self._tell()

    def submit(self, request: Mapping[str, Any], request_key: str, now_ns: int) -> tuple[TerminalEvent, ...]:
        """Send a request on its way to the server.

        Parameters
        ----------
        request : as for ``order_send``
        request_key : comes back in the answer
        now_ns : when it is sent, ns UTC

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
        delay_ns = latency_ns(self._ledger.settings, self._ledger.seed, state.submitted)
        state.submitted += 1
        # One connection: a later request never overtakes an earlier one.
        due_ns = max(now_ns + delay_ns, state.due[-1].due_ns if state.due else 0)
        due = DueRequest(due_ns, symbol, request_key, parsed)
        if delay_ns == 0:
            self._execute(due, due_ns)
            self._note_peak(symbol)
        else:
            state.due.append(due)
        return self._tell()

    def modify_stops(self, position_ticket: int, sl: float, tp: float) -> OrderSendResult | None:
        """Move SL and TP of a position now; 0.0 removes a level."""
        return self.order_send({
            "action": mt5.TRADE_ACTION_SLTP, "position": position_ticket, "sl": float(sl), "tp": float(tp),
        })

    # Figures that the package does not give.

    def equity(self) -> float:
        """Return balance plus floating profit and swap, account currency."""
        return self._ledger.equity()

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

    def utc_ns(self, server_msc: int) -> int:
        """Return the UTC time of a deal's, order's or position's ``time_msc``, ns."""
        seconds, rest_ms = divmod(server_msc, 1000)
        return self._ledger.clock.utc_ns(seconds) + rest_ms * 1_000_000

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
        self._ledger.state = restored
        self._ledger.touch()

    # Inside.

    def _begin_first_day(self, ts_ns: int) -> None:
        state, clock = self._ledger.state, self._ledger.clock
        state.day, state.next_midnight_ns = clock.day(ts_ns), clock.next_midnight_ns(ts_ns)

    def _scan(self, symbol: str, time_ns: Any, bid: Any, ask: Any, start: int) -> int:
        """Return the offset of the next tick to look at; the peak is noted up to there."""
        ledger = self._ledger
        watch, figures = ledger.figures(symbol) if ledger.state.positions else (False, _NO_FIGURES)
        peak = np.array([ledger.state.peak_equity_ccy])
        found = kernel.scan(
            time_ns, bid, ask, start, self._next_time_ns(symbol), ledger.exposure(symbol).lines, watch, figures, peak
        )
        ledger.state.peak_equity_ccy = float(peak[0])
        return int(found)

    def _look_at(self, symbol: str, quote: Quote) -> None:
        """Do everything that is due before and at one tick."""
        self._pass_time(symbol, quote.time_ns)
        self._ledger.state.quotes[symbol] = quote
        act_on_quote(self._ledger, symbol)
        self._note_peak(symbol)

    def _next_time_ns(self, symbol: str) -> int:
        """Return the first time at which a tick must be looked at whatever its price."""
        return min((when + (rank == _REQUEST) for when, rank, _ in self._waiting(symbol)))

    def _waiting(self, symbol: str) -> Iterator[tuple[int, int, int]]:
        """Yield (time, rank, place in the queue) of all that waits for time to pass."""
        state = self._ledger.state
        yield state.next_midnight_ns, _MIDNIGHT, 0
        for order in state.orders.values():
            if order.symbol == symbol and order.expires_ns:
                yield order.expires_ns, _EXPIRY, 0
        for place, due in enumerate(state.due):
            overdue_ns = 0 if due.symbol in (symbol, "") else OVERDUE_NS
            yield due.due_ns + overdue_ns, _REQUEST, place

    def _pass_time(self, symbol: str, ts_ns: int) -> None:
        """Do, in order of time, what falls due up to a tick: requests strictly before it, the rest also at it."""
        while True:
            when, rank, place = min(self._waiting(symbol))
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
        result = handle(self._ledger, due.request, ts_ns)
        state.untold.append(RequestAnswered(ts_ns, due.request_key, result))

    def _note_peak(self, symbol: str) -> None:
        if symbol:
            self._ledger.note_peak(symbol)

    def _symbol_of(self, request: TradeRequest) -> str:
        """Return the symbol whose ticks carry the request's time; empty when it names nothing known."""
        if request.symbol in self._ledger.instruments:
            return request.symbol
        position = self._ledger.state.positions.get(request.position)
        order = self._ledger.state.orders.get(request.order)
        if position is not None:
            return position.symbol
        return order.symbol if order is not None else ""

    def _tell(self) -> tuple[TerminalEvent, ...]:
        told = tuple(self._ledger.state.untold)
        self._ledger.state.untold.clear()
        return told


_NO_FIGURES = np.zeros(kernel.FIGURES)
