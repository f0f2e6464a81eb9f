"""How fast the simulated terminal lets the market move, beside a bare compiled loop over the same ticks."""

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
    terminal = terminal_with(10)
    ours = ticks_per_second(lambda: [terminal.advance(b) for b in live], LIVE_TICKS)
    table.append(row("simulated terminal, 10 positions, blocks of one tick", ours, single, LIVE_TICKS))
    return table


if __name__ == "__main__":
    for line in rows():
        print(line)
