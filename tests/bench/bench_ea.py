"""A compiled Expert Advisor on a real nats-server: from its tick to a listener, and from an order to its answer."""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.mql.bridge_world import MAGIC, bridge_world, request_for
from tests.mql.harness.build import missing_compiler
from tests.mql.harness.expert import Expert

TICKS = 1_000
ORDERS = 150


def rows() -> list[dict[str, Any]]:
    """Return the rows, none where nothing can be compiled."""
    return [] if missing_compiler() else asyncio.run(_measure())


async def _measure() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        started: list[Expert] = []

        def start(name: str, **options: Any) -> Expert:
            started.append(Expert.start(name, folder=Path(folder) / f"terminal{len(started)}", **options))
            return started[-1]

        try:
            async with bridge_world(Path(folder), start) as world:
                return await _rows(world)
        finally:
            for expert in started:
                expert.end()


async def _rows(world: Any) -> list[dict[str, Any]]:
    world.market.move("EURUSD")
    expert = await world.open(inputs={"InpMaxPositions": 0, "InpSymbols": "EURUSD"})
    observer = await world.bus("observer")
    terminal = await world.terminal_of(fresh_s=0.0)
    with expert.running():
        await terminal.ready(10.0)
    event = asyncio.Event()
    await observer.on_message("ea.paper.ticks.*", lambda subject, payload: event.set())
    await observer.on_message("bench.*", lambda subject, payload: event.set())
    await observer.settle()
    bare = await world.bus("admin")

    async def publish() -> None:
        await bare._client.publish("bench.x", b"x" * 350)
        await bare._client._flush_pending()

    async def tick() -> None:
        world.market.move("EURUSD", step_ms=1)
        await asyncio.to_thread(expert.tick)

    hops = await _timed(event, publish)
    ticks = await _timed(event, tick)
    calls = expert.calls.total()
    began = time.perf_counter()
    for _ in range(200):
        expert.tick()
    idle_us = (time.perf_counter() - began) / 200 * 1e6
    assert expert.calls.total() > calls
    orders = []
    with expert.running(pause_s=0.0002):
        for number in range(ORDERS):
            began = time.perf_counter()
            await terminal.order_send(request_for(MAGIC + number, 0.01))
            orders.append((time.perf_counter() - began) * 1e6)
    return [
        _row("ea: OnTick to a listener on the bus, p50", ticks, 50, "a bare hop of the same size", hops),
        _row("ea: OnTick to a listener on the bus, p99", ticks, 99, "a bare hop of the same size", hops),
        _row("ea: order to answer (timer every 0.2 ms), p50", orders, 50, "a bare hop of the same size", hops),
        _row("ea: order to answer (timer every 0.2 ms), p99", orders, 99, "a bare hop of the same size", hops),
        _row("ea: an OnTick with nothing new", [idle_us], 50, "a bare hop of the same size", hops),
    ]


async def _timed(event: asyncio.Event, act: Callable[[], Any]) -> list[float]:
    """Return microseconds from the act to the listener, one after the other."""
    found = []
    for _ in range(TICKS):
        event.clear()
        began = time.perf_counter()
        await act()
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), 5.0)
        found.append((time.perf_counter() - began) * 1e6)
    return found


def _row(name: str, values: list[float], percentile: float, against: str, floor: list[float]) -> dict[str, Any]:
    value, there = float(np.percentile(values, percentile)), float(np.percentile(floor, percentile))
    return {
        "name": name, "unit": "µs", "value": value, "against": against, "against_value": there, "ratio": value / there,
        "n": len(values), "min": min(values), "max": max(values),
    }


if __name__ == "__main__":
    for row in rows():
        print(f"{row['name']}: {row['value']:.0f} {row['unit']} ({row['against']} {row['against_value']:.0f})")
