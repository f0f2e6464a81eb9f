"""NautilusTrader: a strategy in Python on its compiled engine, quotes as QuoteTick, a netting account, no fees."""

from decimal import Decimal

import pandas as pd
from common import Fills, Job, answer, timed
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.indicators.averages import ExponentialMovingAverage
from nautilus_trader.model.currencies import EUR, USD, XAU
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.persistence.wranglers import QuoteTickDataWrangler
from nautilus_trader.trading.strategy import Strategy

VENUE = Venue("SIM")
MINUTE_NS = 60_000_000_000


def instrument_of(job: Job) -> CurrencyPair:
    """Return a pair without fees and with next to no margin."""
    base = EUR if job.digits == 5 else XAU
    step = Price(10.0**-job.digits, job.digits)
    return CurrencyPair(
        InstrumentId(Symbol(f"{base.code}/USD"), VENUE), Symbol(f"{base.code}USD"), base, USD, job.digits, 0, step,
        Quantity.from_int(1), 0, 0, lot_size=None, max_quantity=None, min_quantity=None, max_notional=None,
        min_notional=None, max_price=None, min_price=None, margin_init=Decimal("0.001"),
        margin_maint=Decimal("0.001"), maker_fee=Decimal(0), taker_fee=Decimal(0),
    )


class Peer(Strategy):
    """What the workloads share: market orders and the list of fills."""

    def __init__(self, job: Job, instrument: CurrencyPair) -> None:
        super().__init__(StrategyConfig(strategy_id="PEER-001"))
        self.job, self.instrument, self.fills = job, instrument, []
        self.k, self.side = -1, 0

    def on_start(self) -> None:
        self.subscribe_quote_ticks(self.instrument.id)

    def trade(self, sign: int, after: int, units: float) -> None:
        self.side = after
        side = OrderSide.BUY if sign > 0 else OrderSide.SELL
        self.submit_order(self.order_factory.market(self.instrument.id, side, Quantity.from_int(int(units))))

    def on_order_filled(self, event) -> None:  # type: ignore[no-untyped-def]
        self.fills.append((event.ts_event, float(event.last_px), self.side))
        self.entry = float(event.last_px)


class Heavy(Peer):
    """Always in the market."""

    def __init__(self, job: Job, instrument: CurrencyPair) -> None:
        super().__init__(job, instrument)
        self.fast, self.slow, self.was_above = ExponentialMovingAverage(20), ExponentialMovingAverage(50), False

    def on_quote_tick(self, tick) -> None:  # type: ignore[no-untyped-def]
        self.k += 1
        mid = 0.5 * (tick.bid_price.as_double() + tick.ask_price.as_double())
        self.fast.update_raw(mid)
        self.slow.update_raw(mid)
        above = self.fast.value > self.slow.value
        if self.k > self.job.first_row and above != self.was_above:
            sign = 1 if above else -1
            self.trade(sign, sign, self.job.units * (2 if self.side else 1))
        self.was_above = above


class Sparse(Peer):
    """Decides on closed minutes; leaves at SL or TP by a market order of its own."""

    def __init__(self, job: Job, instrument: CurrencyPair) -> None:
        super().__init__(job, instrument)
        self.minute, self.closed, self.before, self.close, self.last_mid = -1, 0, 0.0, 0.0, 0.0
        self.half_point, self.trades = 0.5 * 10.0**-job.digits, job.workload == "sparse"

    def on_quote_tick(self, tick) -> None:  # type: ignore[no-untyped-def]
        self.k += 1
        bid = tick.bid_price.as_double()
        if self.side:
            price = bid if self.side > 0 else tick.ask_price.as_double()
            gain = self.side * (price - self.entry)
            if gain <= -self.job.stop + self.half_point or gain >= self.job.target - self.half_point:
                self.trade(-self.side, 0, self.job.units)
        minute = tick.ts_event // MINUTE_NS
        if minute != self.minute:
            if self.minute >= 0:
                self.before, self.close = self.close, self.last_mid
                self.closed += 1
                ready = self.k >= self.job.first_row and self.closed >= 2 and not self.side
                if self.trades and ready and self.close != self.before:
                    sign = 1 if self.close > self.before else -1
                    self.trade(sign, sign, self.job.units)
            self.minute = minute
        self.last_mid = 0.5 * (bid + tick.ask_price.as_double())


def run(job: Job) -> tuple[float, Fills]:
    """Run the engine; making QuoteTick objects is not counted."""
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(
        VENUE, OmsType.NETTING, AccountType.MARGIN, [Money(10_000_000, USD)], base_currency=USD,
        default_leverage=Decimal(500),
    )
    instrument = instrument_of(job)
    engine.add_instrument(instrument)
    frame = pd.DataFrame({"bid_price": job.bid, "ask_price": job.ask}, index=pd.to_datetime(job.time_ns, utc=True))
    frame.index.name = "timestamp"
    engine.add_data(QuoteTickDataWrangler(instrument).process(frame, default_volume=1e9))
    strategy = (Heavy if job.workload == "order-heavy" else Sparse)(job, instrument)
    engine.add_strategy(strategy)
    seconds, _ = timed(engine.run)
    return seconds, strategy.fills


answer(run)
