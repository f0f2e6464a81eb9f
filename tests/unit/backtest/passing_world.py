"""Runs for the tests that passing over steps changes nothing."""

from typing import Any

import msgspec
import numpy as np

from backtest.engine import Engine
from backtest.record import ORDER_KINDS, Record
from backtest.wiring import Cores, Sections, build_cores
from libs.common.codec import encode
from libs.common.messages.control import Alert, TradingHalted
from libs.common.messages.market import TickBlock

START_NS = 1_704_873_600_000_000_000
"""Wednesday 2024-01-10 08:00 UTC."""


def quotes(seed: int, n: int, *, step_ns: int = 1_000_000_000, jump_points: int = 4) -> TickBlock:
    """Return a random walk, one quote about every ``step_ns``."""
    rng = np.random.default_rng(seed)
    points = 110_000 + np.cumsum(rng.integers(-jump_points, jump_points + 1, n))
    bid = points / 1e5
    ask = (points + rng.integers(1, 12, n)) / 1e5
    time_ns = START_NS + np.cumsum(rng.integers(0, 2 * step_ns, n))
    return TickBlock(
        symbol="EURUSD", first_tick=1, time_ns=time_ns, bid=bid, ask=ask, ts_event_ns=int(time_ns[-1]),
        ts_init_ns=int(time_ns[-1]),
    )


def sections(seed: int = 7, **changed: dict[str, Any]) -> Sections:
    """Return a configuration that trades often; ``changed`` replaces fields of its sections."""
    whole: dict[str, dict[str, Any]] = {
        "system": {"symbols": ["EURUSD"], "decide_on": {"kind": "bar", "every": 60}, "seed": seed},
        "instruments": {"EURUSD": {}},
        "ingest": {"adapter": "synthetic", "max_block": 256},
        "features": {},
        "inference": {
            "strategy": {"name": "ma_crossover", "params": {"protection": {"stop": 0.0005, "target": 0.0007}}},
            "drift": {"enabled": False},
        },
        "risk": {
            "on_opposite": "reverse", "max_spread_points": 1000.0, "max_daily_loss_pct": 50.0,
            "max_drawdown_pct": 50.0, "max_orders_per_minute": 10**6, "repeat_window_ms": 0,
        },
        "executor": {},
    }
    for name, fields in changed.items():
        whole[name] = {**whole[name], **fields}
    return msgspec.convert(whole, Sections)


def run(configuration: Sections, blocks: list[TickBlock], *, careful: bool) -> tuple[Record, Cores]:
    """Drive the cores, passing over steps or walking each."""
    cores, record = build_cores(configuration), Record()
    Engine(configuration, cores, record, careful=careful).run(blocks)
    return record, cores


def decided(record: Record) -> list[tuple[int, bytes]]:
    """Return what was decided and what became of it: step and bytes of every message on orders and halts."""
    kinds = (*ORDER_KINDS, Alert, TradingHalted)
    return [(step, encode(message)) for step, message in record.messages if isinstance(message, kinds)]
