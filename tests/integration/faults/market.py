"""A small lockstep market for fault tests, and how to read what a stack did with garbage in its streams."""

import asyncio

from libs.common.bus.nats import NatsBus, _stored
from libs.common.bus.protocol import opened
from libs.common.codec import Codec
from libs.common.messages.control import Heartbeat
from tests.integration.stack.running_stack import RunningStack
from tickwire.tally import Tally

SYMBOLS = ["EURUSD", "XAUUSD"]
HOURS = 7.0
FREE_SPEED = 1_200.0
"""Event seconds per second: slow enough that a first model is trained long before the market ends, on any machine."""
START_NS = 1_704_866_400_000_000_000


def config(lockstep: bool = True, hours: float = HOURS, **ingest) -> dict:
    """Return a market with a first model early on, so that orders flow in most of the run.

    Free, it is accelerated: limits on age, in event time, allow for the real time services are apart.
    """
    stretch_ms = 0 if lockstep else int(FREE_SPEED * 2_000)
    if not lockstep:
        ingest = {"speed": FREE_SPEED, **ingest}
    ages = {} if lockstep else {
        "account_max_age_ms": 10_000 + stretch_ms, "quote_max_age_ms": 10_000 + stretch_ms,
        "prediction_max_age_ms": 5_000 + stretch_ms, "approval_ttl_ms": 60_000, "approval_grace_ms": 5_000 + stretch_ms,
    }
    return {
        "system": {"symbols": SYMBOLS, "lockstep": lockstep, "decide_on": {"kind": "bar", "every": 60}},
        "instruments": {"EURUSD": {}, "XAUUSD": {"digits": 2, "contract_size": 100.0, "margin_currency": "USD"}},
        "ingest": {
            "adapter": "synthetic", "speed": "max",
            "synthetic": {"start": "2024-01-10T06:00:00", "duration_s": hours * 3_600, "signal_strength": 2.0},
            **ingest,
        },
        "inference": {"signals": {"min_confidence": 0.0, "confirmation": {"enabled": False}}},
        "risk": {
            "max_spread_points_by_symbol": {"XAUUSD": 200.0}, "max_positions_per_symbol": 3,
            "max_daily_loss_pct": 50.0, "max_drawdown_pct": 50.0, "max_total_exposure_x": 30.0,
            "max_symbol_exposure_x": 15.0, **ages,
        },
        "trainer": {
            "min_rows": 60, "retrain_every_rows": 2_000, "horizon_s": 300,
            "fit": {"rounds": 5, "num_leaves": 3, "min_leaf_rows": 10, "folds": 2, "resamples": 100, "min_confidence": 0.0},
            "gate": {"first_model": "any", "skill_p_max": 1.0, "edge_p_max": 1.0, "min_rows": 10, "min_trades": 1},
        },
    }


async def read(stack: RunningStack, pattern: str) -> list:
    """Return every true message a stream holds of a pattern, each once."""
    codec, seen, found = Codec(), set(), []
    async for msg in _stored(stack.watching, pattern, 0.0, 0):
        delivered = opened(codec, msg.subject, msg.data)
        if delivered.message is not None and (msg.subject, delivered.seq) not in seen:
            seen.add((msg.subject, delivered.seq))
            found.append(delivered.message)
    return found


async def outcome(stack: RunningStack) -> dict:
    """Return what became of the orders of the real symbols, and the hash the demo prints."""
    approved = [message for message in await read(stack, "orders.approved.>") if message.symbol in SYMBOLS]
    refused = [message for message in await read(stack, "orders.refused.>") if message.symbol in SYMBOLS]
    executions = [message for message in await read(stack, "executions.>") if message.symbol in SYMBOLS]
    tally = Tally()
    for message in [*approved, *refused, *executions]:
        tally.hear(message)
    return {"sha256": tally.orders_sha256(), "approved": approved, "executions": executions}


def named(messages, *kinds):
    """Return the messages of the named types."""
    return [message for message in messages if type(message).__name__ in kinds]


async def event_hours(stack: RunningStack) -> float:
    """Return how far the market is, hours since its start."""
    newest = await stack.watching.last("ticks.EURUSD")
    return 0.0 if newest is None else (newest.ts_event_ns - START_NS) / 3.6e12


async def user(stack: RunningStack, name: str) -> NatsBus:
    """Connect as a user of the stack's server."""
    return await NatsBus.connect(stack.server.url, user=name, password=stack.server.passwords[name])


async def figures_of(stack: RunningStack, service: str) -> dict:
    """Return the details of a service's next heartbeat."""
    found, codec = [], Codec()

    def note(subject, payload):
        delivered = opened(codec, subject, payload)
        if isinstance(delivered.message, Heartbeat):
            found.append(delivered.message.details)

    await stack.watching.on_message(f"health.{service}", note)
    async with asyncio.timeout(10):
        while not found:
            await asyncio.sleep(0.05)
    return found[-1]
