"""vectorbt: averages and crossings as arrays, then one compiled pass over orders at bid and ask."""

import numpy as np
import pandas as pd
import vectorbt as vbt
from common import Fills, Job, answer, timed


def orders(job: Job) -> tuple[np.ndarray, np.ndarray]:
    """Return size and price of the order at every tick, size 0 for none."""
    mid = pd.Series(0.5 * (job.bid + job.ask))
    above = (mid.ewm(span=20, adjust=False).mean() > mid.ewm(span=50, adjust=False).mean()).to_numpy()
    crossed = np.zeros(len(mid), dtype=bool)
    crossed[1:] = above[1:] != above[:-1]
    crossed[: job.first_row + 1] = False
    size = np.where(crossed, np.where(above, 2.0, -2.0), 0.0) * job.units
    size[np.argmax(crossed)] /= 2.0
    return size, np.where(above, job.ask, job.bid)


def whole(job: Job) -> object:
    """Do everything a user would wait for."""
    size, price = orders(job)
    close = pd.Series(0.5 * (job.bid + job.ask))
    return vbt.Portfolio.from_orders(close, size=size, price=price, init_cash=1e10, freq="1s")


def run(job: Job) -> tuple[float, Fills]:
    """Run twice; the first time compiles. Only the order-heavy workload can be said in arrays."""
    if job.workload != "order-heavy":
        raise SystemExit("cannot express it: SL and TP by bid and ask")
    whole(job)
    seconds, portfolio = timed(lambda: whole(job))
    records = portfolio.orders.records
    signs = np.where(records["side"] == 0, 1, -1)
    times = job.time_ns[records["idx"].to_numpy()]
    return seconds, list(zip(times.tolist(), records["price"].tolist(), signs.tolist(), strict=True))


answer(run)
