"""hftbacktest: a compiled strategy on its own order book and exchange, no latency."""

import hftbacktest as hft
import numpy as np
from common import Fills, Job, answer, timed
from numba import njit

MINUTE_NS = 60_000_000_000


def events(job: Job) -> np.ndarray:
    """Return four events a quote: the old levels go, the new ones come."""
    rows = np.zeros(4 * len(job.time_ns), dtype=hft.event_dtype)
    both = hft.EXCH_EVENT | hft.LOCAL_EVENT | hft.DEPTH_EVENT
    rows["exch_ts"] = rows["local_ts"] = np.repeat(job.time_ns, 4)
    rows["ev"][0::2], rows["ev"][1::2] = both | hft.BUY_EVENT, both | hft.SELL_EVENT
    for side, prices in enumerate((job.bid, job.ask)):
        rows["px"][side::4] = np.concatenate((prices[:1], prices[:-1]))
        rows["px"][2 + side::4], rows["qty"][2 + side::4] = prices, 1e9
    return rows


@njit
def order_heavy(hbt, time_ns, first_row, units, out):  # type: ignore[no-untyped-def]
    fast = slow = 0.0
    was_above, position, fills = False, 0, 0
    for k in range(len(time_ns)):
        if k == 0:
            hbt.wait_next_feed(False, 1)
        elif hbt.elapse(time_ns[k] - hbt.current_timestamp) != 0:
            break
        depth = hbt.depth(0)
        mid = 0.5 * (depth.best_bid + depth.best_ask)
        if k == 0:
            fast = slow = mid
        fast += 2.0 / 21.0 * (mid - fast)
        slow += 2.0 / 51.0 * (mid - slow)
        above = fast > slow
        if k > first_row and above != was_above:
            sign = 1 if above else -1
            size = units * (2.0 if position else 1.0)
            price = depth.best_ask if sign > 0 else depth.best_bid
            if sign > 0:
                hbt.submit_buy_order(0, k, price, size, hft.GTC, hft.MARKET, False)
            else:
                hbt.submit_sell_order(0, k, price, size, hft.GTC, hft.MARKET, False)
            hbt.wait_order_response(0, k, 1)
            order = hbt.orders(0).get(k)
            out[fills, 0], out[fills, 1], out[fills, 2] = time_ns[k], order.exec_price, sign
            fills, position = fills + 1, sign
            hbt.clear_inactive_orders(0)
        was_above = above
    return fills


@njit
def sparse(hbt, time_ns, first_row, units, stop, target, half_point, trades, out):  # type: ignore[no-untyped-def]
    position, fills, entry = 0, 0, 0.0
    close = before = 0.0
    closed, minute = 0, time_ns[0] // MINUTE_NS
    last_mid = 0.0
    for k in range(len(time_ns)):
        if k == 0:
            hbt.wait_next_feed(False, 1)
        elif hbt.elapse(time_ns[k] - hbt.current_timestamp) != 0:
            break
        depth = hbt.depth(0)
        bid, ask = depth.best_bid, depth.best_ask
        want = 0
        if position != 0:
            gain = position * ((bid if position > 0 else ask) - entry)
            if gain <= -stop + half_point or gain >= target - half_point:
                want = -position
        if want != 0:
            out[fills, 0], out[fills, 1], out[fills, 2] = time_ns[k], trade(hbt, 2 * k, want, units), 0
            fills, position = fills + 1, 0
        if time_ns[k] // MINUTE_NS != minute:
            minute = time_ns[k] // MINUTE_NS
            before, close = close, last_mid
            closed += 1
            if k >= first_row and closed >= 2 and position == 0 and close != before and trades:
                position = 1 if close > before else -1
                entry = trade(hbt, 2 * k + 1, position, units)
                out[fills, 0], out[fills, 1], out[fills, 2] = time_ns[k], entry, position
                fills += 1
        last_mid = 0.5 * (bid + ask)
    return fills


@njit
def trade(hbt, number, sign, units):  # type: ignore[no-untyped-def]
    depth = hbt.depth(0)
    if sign > 0:
        hbt.submit_buy_order(0, number, depth.best_ask, units, hft.GTC, hft.MARKET, False)
    else:
        hbt.submit_sell_order(0, number, depth.best_bid, units, hft.GTC, hft.MARKET, False)
    hbt.wait_order_response(0, number, 1)
    price = hbt.orders(0).get(number).exec_price
    hbt.clear_inactive_orders(0)
    return price


def _backtest(job: Job, rows: np.ndarray) -> object:
    asset = (
        hft.BacktestAsset().data([rows]).linear_asset(1.0).constant_order_latency(0, 0).risk_adverse_queue_model()
        .no_partial_fill_exchange().trading_value_fee_model(0.0, 0.0).tick_size(10.0**-job.digits).lot_size(1.0)
        .last_trades_capacity(0)
    )
    return hft.HashMapMarketDepthBacktest([asset])


def _walk(job: Job, hbt: object, n: int, out: np.ndarray) -> int:
    if job.workload == "order-heavy":
        return int(order_heavy(hbt, job.time_ns[:n], job.first_row, job.units, out))
    return int(sparse(
        hbt, job.time_ns[:n], job.first_row, job.units, job.stop, job.target, 0.5 * 10.0**-job.digits,
        job.workload == "sparse", out,
    ))


def run(job: Job) -> tuple[float, Fills]:
    """Walk the quotes once compiled."""
    rows, out = events(job), np.zeros((len(job.time_ns), 3))
    _walk(job, _backtest(job, rows[: 4 * 2_000]), 2_000, out)
    hbt = _backtest(job, rows)
    seconds, fills = timed(lambda: _walk(job, hbt, len(job.time_ns), out))
    starts = dict(zip(job.time_ns.astype(float).tolist(), job.time_ns.tolist(), strict=True))
    return seconds, [(starts[t], round(p, job.digits), int(a)) for t, p, a in out[:fills].tolist()]


answer(run)
