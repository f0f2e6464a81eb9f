"""How fast the simulated terminal lets the market move and handles orders, beside a bare compiled loop."""

import time
from collections.abc import Callable
from statistics import median

import numpy as np
from numba import types

from libs.common.config import InstrumentConfig
from libs.common.messages.base import Floats, Ints
from libs.common.messages.market import TickBlock
from libs.common.mt5 import constants as mt5
from libs.common.mt5.sim import SimulatedTerminal, TerminalSettings
from libs.common.trading.compiled import FLOATS_IN, INTS_IN, kernel
from libs.common.trading.instrument import Instrument

TICKS = 2_000_000
LIVE_TICKS = 2_000
REPEATS = 7
ORDERS = 20_000
TICKS_PER_ORDER = 47
START_NS = 1_398_938_400_000_000_000
STEP_NS = 10_000_000


@kernel(types.float64(INTS_IN, FLOATS_IN, FLOATS_IN))
def bare_loop(time_ns: Ints, bid: Floats, ask: Floats) -> float:
    """Read every column once, keep one number."""
    highest = 0.0
    for k in range(len(time_ns)):
        highest = max(highest, bid[k] + ask[k] + (time_ns[k] & 1))
    return highest


def tick_block(start_ns: int, n: int) -> TickBlock:
    """Return a quiet market: no stop of ours is ever reached."""
    rng = np.random.default_rng(1)
    bid = np.round(1.1 + 0.01 * np.sin(np.arange(n) / 1e5) + rng.normal(0.0, 1e-5, n), 5)
    time_ns = start_ns + np.arange(n, dtype=np.int64) * STEP_NS
    return TickBlock(
        symbol="EURUSD", first_tick=1, time_ns=time_ns, bid=bid, ask=bid + 1e-4, ts_event_ns=int(time_ns[-1]),
        ts_init_ns=int(time_ns[-1]),
    )


def terminal_with(positions: int) -> SimulatedTerminal:
    """Return a terminal that holds so many positions, each with SL and TP, half of them short."""
    instruments = {"EURUSD": Instrument("EURUSD", InstrumentConfig())}
    terminal = SimulatedTerminal(TerminalSettings(balance_ccy=1_000_000.0), instruments, seed=1)
    terminal.advance(tick_block(START_NS, 1))
    for k in range(positions):
        side = k % 2
        answer = terminal.order_send({
            "action": mt5.TRADE_ACTION_DEAL, "symbol": "EURUSD", "volume": 0.01, "type": side,
            "sl": (1.0, 1.2)[side], "tp": (1.2, 1.0)[side],
        })
        assert answer is not None
        assert answer.retcode == mt5.TRADE_RETCODE_DONE
    terminal.advance(tick_block(START_NS + STEP_NS, 1))
    return terminal


def terminal_waiting(orders: int) -> SimulatedTerminal:
    """Return a terminal with so many limit and stop orders resting around the market, none of them within reach."""
    terminal = terminal_with(0)
    for k in range(orders):
        away = 0.02 + 0.00001 * (k // 4)
        kind, level = (
            (mt5.ORDER_TYPE_BUY_LIMIT, 1.1 - away), (mt5.ORDER_TYPE_SELL_LIMIT, 1.1 + away),
            (mt5.ORDER_TYPE_BUY_STOP, 1.1 + away), (mt5.ORDER_TYPE_SELL_STOP, 1.1 - away),
        )[k % 4]
        answer = terminal.order_send({
            "action": mt5.TRADE_ACTION_PENDING, "symbol": "EURUSD", "volume": 0.01, "type": kind,
            "price": round(level, 5), "type_filling": mt5.ORDER_FILLING_RETURN,
        })
        assert answer is not None
        assert answer.retcode == mt5.TRADE_RETCODE_DONE
    return terminal


def microseconds_per_order(terminal: SimulatedTerminal, blocks: list[TickBlock]) -> list[float]:
    """Open a position after one block, close it after the next, and so on; return each order's time with its block."""
    opening = {
        "action": mt5.TRADE_ACTION_DEAL, "symbol": "EURUSD", "volume": 0.1, "type": mt5.ORDER_TYPE_BUY, "price": 1.1,
        "sl": 1.0, "tp": 1.2, "deviation": 10, "comment": "tw:0123456789ab", "type_filling": mt5.ORDER_FILLING_IOC,
    }
    closing = opening | {"type": mt5.ORDER_TYPE_SELL, "sl": 0.0, "tp": 0.0}
    times, held = [], 0
    for k, block in enumerate(blocks):
        request = (closing | {"position": held} if held else opening) | {"magic": k + 1}
        now_ns = block.ts_event_ns
        began = time.perf_counter()
        terminal.advance(block)
        told = terminal.submit(request, str(k), now_ns)
        times.append((time.perf_counter() - began) * 1e6)
        assert told[-1].result.retcode == mt5.TRADE_RETCODE_DONE
        held = 0 if held else told[-1].result.order
    return times


def order_rows() -> list[dict[str, object]]:
    """Measure orders: one every 47 ticks, first thousands beside last thousands, and beside resting orders."""
    whole = tick_block(START_NS + 2 * STEP_NS, ORDERS * TICKS_PER_ORDER)
    blocks = [
        TickBlock(
            symbol="EURUSD", first_tick=1, time_ns=whole.time_ns[cut], bid=whole.bid[cut], ask=whole.ask[cut],
            ts_event_ns=int(whole.time_ns[cut][-1]), ts_init_ns=0,
        )
        for cut in (slice(k * TICKS_PER_ORDER, (k + 1) * TICKS_PER_ORDER) for k in range(ORDERS))
    ]
    table = []
    for resting in (0, 1_000):
        times = microseconds_per_order(terminal_waiting(resting), blocks)
        first, last = times[ORDERS // 10:ORDERS // 5], times[-ORDERS // 10:]
        table.append({
            "name": f"market order and 47 ticks, {resting} orders resting", "unit": "us", "value": median(last),
            "against": "the same, orders before", "against_value": median(first), "ratio": median(last) / median(first),
            "n": ORDERS, "min": min(times), "max": max(times),
        })
    # By the median: what else the machine does in between is not the simulator's.
    rates = [1e6 / time_us for time_us in times]
    table.append({
        "name": "market orders handled, 47 ticks between, 1000 orders resting", "unit": "orders/s",
        "value": median(rates), "against": "", "against_value": None, "ratio": None, "n": ORDERS, "min": min(rates),
        "max": max(rates),
    })
    return table


def ticks_per_second(work: Callable[[], object], n: int) -> list[float]:
    rates = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        rates.append(n / (time.perf_counter() - began))
    return rates


def row(name: str, ours: list[float], floor: list[float], n: int) -> dict[str, object]:
    return {
        "name": name, "unit": "ticks/s", "value": median(ours), "against": "bare compiled loop",
        "against_value": median(floor), "ratio": median(ours) / median(floor), "n": n, "min": min(ours),
        "max": max(ours),
    }


def rows() -> list[dict[str, object]]:
    """Measure and return the rows of the benchmark table."""
    block = tick_block(START_NS + 2 * STEP_NS, TICKS)
    live = [tick_block(START_NS + (2 + k) * STEP_NS, 1) for k in range(LIVE_TICKS)]
    columns = (block.time_ns, block.bid, block.ask)
    floor = ticks_per_second(lambda: bare_loop(*columns), TICKS)
    single = ticks_per_second(lambda: [bare_loop(b.time_ns, b.bid, b.ask) for b in live], LIVE_TICKS)
    table = []
    for positions in (0, 10, 1_000):
        terminal = terminal_with(positions)
        ours = ticks_per_second(lambda moved=terminal: moved.advance(block), TICKS)
        assert len(terminal.positions_get()) == positions
        table.append(row(f"simulated terminal, {positions} positions with SL and TP", ours, floor, TICKS))
    for orders in (10, 1_000):
        waiting = terminal_waiting(orders)
        ours = ticks_per_second(lambda moved=waiting: moved.advance(block), TICKS)
        assert waiting.orders_total() == orders
        table.append(row(f"simulated terminal, {orders} resting orders", ours, floor, TICKS))
    terminal = terminal_with(10)
    ours = ticks_per_second(lambda: [terminal.advance(b) for b in live], LIVE_TICKS)
    table.append(row("simulated terminal, 10 positions, blocks of one tick", ours, single, LIVE_TICKS))
    return table + order_rows()


if __name__ == "__main__":
    for line in rows():
        print(line)
