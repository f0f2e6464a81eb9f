"""A small market to trade in: named terminals, and ticks written as (bid, ask) pairs one second apart."""

import numpy as np
import pytest

from libs.common.config import InstrumentConfig
from libs.common.messages.market import TickBlock
from libs.common.mt5 import constants as mt5
from libs.common.mt5.sim import SimulatedTerminal, SymbolTerms, TerminalSettings
from libs.common.trading.instrument import Instrument

THURSDAY_NS = 1_398_938_400_000_000_000  # 2014-05-01 10:00 UTC, 13:00 on the broker's clock
SECOND_NS = 1_000_000_000

CONFIGS = {
    "EURUSD": InstrumentConfig(swap_long_points=-6.5, swap_short_points=1.2),
    "GBPUSD": InstrumentConfig(margin_currency="GBP"),
    "USDJPY": InstrumentConfig(digits=3, margin_currency="USD", profit_currency="JPY"),
    "EURGBP": InstrumentConfig(margin_currency="EUR", profit_currency="GBP"),
    "US30": InstrumentConfig(digits=1, contract_size=1.0, margin_currency="USD", volume_min=0.1, volume_step=0.1),
    "BTCUSD": InstrumentConfig(digits=2, contract_size=1.0, margin_currency="BTC", session="always"),
}


class Market:
    """A terminal with a clock: every tick is one second after the last."""

    def __init__(self, symbols=("EURUSD",), start_ns=THURSDAY_NS, seed=7, configs=None, terms=None, **settings):
        known = {**CONFIGS, **(configs or {})}
        instruments = {symbol: Instrument(symbol, known[symbol]) for symbol in symbols}
        settings["symbols"] = {symbol: SymbolTerms(**of) for symbol, of in (terms or {}).items()}
        self.terminal = SimulatedTerminal(TerminalSettings(**settings), instruments, seed)
        self.now_ns = start_ns - SECOND_NS
        self.symbol = symbols[0]
        self.events = []

    def ticks(self, *quotes, symbol=None, at_ns=None):
        """Advance over the quotes, the first at ``at_ns`` or a second from now."""
        first_ns = self.now_ns + SECOND_NS if at_ns is None else at_ns
        time_ns = first_ns + np.arange(len(quotes)) * SECOND_NS
        self.now_ns = int(time_ns[-1])
        told = self.terminal.advance(TickBlock(
            symbol=symbol or self.symbol, first_tick=1, time_ns=time_ns, bid=np.array([q[0] for q in quotes]),
            ask=np.array([q[1] for q in quotes]), ts_event_ns=self.now_ns, ts_init_ns=self.now_ns,
        ))
        self.events += told
        return told

    def block(self, *quotes, symbol=None, last=None):
        """Return quotes a second apart as a block; ``last`` is the price of a trade at each."""
        time_ns = self.now_ns + SECOND_NS + np.arange(len(quotes)) * SECOND_NS
        self.now_ns = int(time_ns[-1])
        return TickBlock(
            symbol=symbol or self.symbol, first_tick=1, time_ns=time_ns, bid=np.array([q[0] for q in quotes]),
            ask=np.array([q[1] for q in quotes]), ts_event_ns=self.now_ns, ts_init_ns=self.now_ns,
            last=np.empty(0) if last is None else np.full(len(quotes), last),
        )

    def submit(self, key="key", **request):
        told = self.terminal.submit(request, key, self.now_ns)
        self.events += told
        return told

    def send(self, **request):
        return self.terminal.order_send(request)

    def buy(self, volume=0.1, **more):
        return self.deal(mt5.ORDER_TYPE_BUY, volume, **more)

    def sell(self, volume=0.1, **more):
        return self.deal(mt5.ORDER_TYPE_SELL, volume, **more)

    def deal(self, order_type, volume, symbol=None, **more):
        return self.send(action=mt5.TRADE_ACTION_DEAL, symbol=symbol or self.symbol, volume=volume, type=order_type,
                         **more)

    def pending(self, order_type, price, volume=0.1, **more):
        return self.send(action=mt5.TRADE_ACTION_PENDING, symbol=self.symbol, volume=volume, type=order_type,
                         price=price, **more)

    @property
    def deals(self):
        return self.terminal.history_deals_get(0, 2**31 - 1)

    @property
    def positions(self):
        return self.terminal.positions_get()


@pytest.fixture
def market():
    """Return the maker of markets."""
    return Market
