"""How long an approved order takes to ``order_send``, beside a bare delivery of the same message by NATS.

The whole way: the bus delivers the approval, the runtime journals it, the signature is checked, the intent reaches the
disk, the terminal is asked what must be known, the mark of sending reaches the disk, ``order_send`` is called. The
terminal is in this process, so its answers cost nothing: what a worker's hop costs is another benchmark.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import msgspec  # noqa: E402
import structlog  # noqa: E402

from libs.common import subjects  # noqa: E402
from libs.common.bus.nats import NatsBus  # noqa: E402
from libs.common.bus.server import EmbeddedServer  # noqa: E402
from libs.common.codec import encode  # noqa: E402
from libs.common.config import SystemConfig  # noqa: E402
from libs.common.messages.market import TickBlock  # noqa: E402
from libs.common.runtime.main import use_fast_loop  # noqa: E402
from libs.common.runtime.metrics import Metrics  # noqa: E402
from libs.common.runtime.runner import Runner  # noqa: E402
from libs.common.runtime.service import Service  # noqa: E402
from services.executor.adapters.performer import ExecutorEffects  # noqa: E402
from services.executor.config import ExecutorConfig  # noqa: E402
from services.executor.core import ExecutorCore  # noqa: E402
from services.executor.desk import ExternalDesk  # noqa: E402
from tests.unit.executor.executor_world import ACCOUNT, INSTRUMENTS, VERIFIER, approval, ticks  # noqa: E402
from tests.unit.executor.mt5_world import Host, broker_over  # noqa: E402

WARM, N, REPEATS, EVERY_S = 20, 200, 3, 0.01
QUOTE = (1.1, 1.1001)


class Stopwatch:
    """Notes when ``order_send`` is called, by the order's magic number."""

    def __init__(self) -> None:
        self.called: dict[str, float] = {}
        self.heard: dict[str, float] = {}


async def _measure(folder: Path) -> tuple[list[float], list[float]]:
    """Return seconds to ``order_send`` and seconds of the bare hop, per order."""
    (folder / "executor").mkdir(parents=True)
    server = EmbeddedServer(folder)
    await server.start()
    host, watch = Host(), Stopwatch()
    now_ns = time.time_ns()
    host.move(ticks("EURUSD", now_ns, QUOTE))
    broker, calls = broker_over(host, folder)
    ask = calls.call

    async def call(function: str, /, *args: Any, **kwargs: Any) -> Any:
        if function == "order_send":
            watch.called[args[0]["comment"][3:]] = time.perf_counter()
        return await ask(function, *args, **kwargs)

    calls.call = call  # type: ignore[method-assign]
    users = ("executor", "risk", "ingest", "observer")
    executor, risk, ingest, observer = [
        await NatsBus.connect(server.url, user=user, password=server.passwords[user]) for user in users
    ]
    core = ExecutorCore(ExecutorConfig(look_every_s=60.0), ACCOUNT, INSTRUMENTS, ExternalDesk(), VERIFIER)
    runner = Runner(
        "executor", Service(core=core, effects=ExecutorEffects(folder / "executor" / "orders.sqlite", broker)),
        SystemConfig(clock="wall"), executor, folder / "executor", structlog.get_logger(), Metrics(), "bench",
    )

    def heard(subject: str, payload: bytes) -> None:
        start = payload.find(b'"order_id":"') + 12
        watch.heard[payload[start : start + 12].decode()] = time.perf_counter()

    await observer.on_message("orders.approved.>", heard)
    running = asyncio.create_task(runner.run())
    try:
        return await _orders(risk, ingest, watch, now_ns)
    finally:
        runner.stop()
        await running
        for bus in (executor, risk, ingest, observer):
            await bus.close()
        await server.stop()


async def _orders(
    risk: NatsBus, ingest: NatsBus, watch: Stopwatch, now_ns: int
) -> tuple[list[float], list[float]]:
    block: TickBlock = msgspec.structs.replace(ticks("EURUSD", now_ns, QUOTE), seq=1)
    await ingest.publish_payload(subjects.ticks("EURUSD"), 1, encode(block))
    await asyncio.sleep(1.5)
    sent: dict[str, float] = {}
    for number in range(1, WARM + N + 1):
        order = approval(
            f"bench {now_ns} {number}", volume_lots=0.01, ts_event_ns=time.time_ns(),
            expires_ns=time.time_ns() + 10**12, seq=number,
        )
        payload = encode(order)
        sent[order.order_id[:12]] = time.perf_counter()
        await risk.publish_payload(subjects.orders_approved(ACCOUNT, "EURUSD"), number, payload)
        await asyncio.sleep(EVERY_S)
    await asyncio.sleep(0.5)
    keys = list(sent)[WARM:]
    missing = [key for key in keys if key not in watch.called or key not in watch.heard]
    if missing:
        raise RuntimeError(
            f"{len(missing)} of {N} orders were lost: {len(watch.called)} sent to the terminal, {len(watch.heard)} heard"
        )
    return [watch.called[key] - sent[key] for key in keys], [watch.heard[key] - sent[key] for key in keys]


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def rows() -> list[dict[str, Any]]:
    """Measure and return the rows of the benchmark table."""
    use_fast_loop()
    rounds = []
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory(prefix="tickwire-bench-") as folder:
            rounds.append(asyncio.run(_measure(Path(folder))))
    table = []
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        ours = [_percentile(called, share) * 1e3 for called, _ in rounds]
        floor = [_percentile(heard, share) * 1e3 for _, heard in rounds]
        table.append({
            "name": f"executor, approved order to order_send, {name}", "unit": "ms", "value": median(ours),
            "against": f"bare one-hop NATS delivery, {name}", "against_value": median(floor),
            "ratio": median(ours) / median(floor), "n": N * REPEATS, "min": min(ours), "max": max(ours),
        })
    return table


if __name__ == "__main__":
    for row in rows():
        print(row)
