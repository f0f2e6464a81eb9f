"""backtesting.py: mid prices as bars of one tick, orders at the close; its spread is a constant."""

import warnings

import pandas as pd
from backtesting import Backtest, Strategy
from common import Fills, Job, answer, timed


def strategy_of(job: Job) -> type[Strategy]:
    """Return a strategy class for the job."""

    class Heavy(Strategy):
        """Always in the market."""

        def init(self) -> None:
            mid = pd.Series(self.data.Close)
            self.above = (mid.ewm(span=20, adjust=False).mean() > mid.ewm(span=50, adjust=False).mean()).to_numpy()

        def next(self) -> None:
            k = len(self.data) - 1
            if k > job.first_row and self.above[k] != self.above[k - 1]:
                self.position.close()
                (self.buy if self.above[k] else self.sell)(size=int(job.units))

    return Heavy


def run(job: Job) -> tuple[float, Fills]:
    """Run the order-heavy workload; fills are at the mid price, so only their times can be compared."""
    if job.workload != "order-heavy":
        raise SystemExit("cannot express it: SL and TP by bid and ask")
    warnings.simplefilter("ignore")
    mid = 0.5 * (job.bid + job.ask)
    frame = pd.DataFrame(dict.fromkeys(("Open", "High", "Low", "Close"), mid), index=pd.to_datetime(job.time_ns))
    test = Backtest(frame, strategy_of(job), cash=10_000_000, margin=0.002, trade_on_close=True)
    seconds, stats = timed(test.run)
    trades = stats["_trades"]
    fills = []
    for bar, price, size in zip(trades["EntryBar"], trades["EntryPrice"], trades["Size"], strict=True):
        fills.append((int(job.time_ns[bar]), float(price), 1 if size > 0 else -1))
    return seconds, fills


answer(run)
