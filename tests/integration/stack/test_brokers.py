"""Whoever executes, a lockstep replay gives the same orders and fills, bit for bit: in the executor's process, or by a
simulated terminal in a process of its own, asked through a worker as a real one is.
"""

import asyncio
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from libs.common.bus.server import die_with_parent
from libs.common.mt5.adapters.truth import all_records
from libs.common.mt5.results import TradeDeal
from libs.common.storage.journal import OrderJournal
from services.executor.audit import Verdict, audit
from services.executor.desk import deal_record
from tests.integration.stack.running_stack import ROOT, RunningStack
from tests.integration.stack.test_lockstep import SYMBOLS, config
from tickwire.sections import read_all
from tickwire.terminal import free_port, terminal_plan

HOURS = 5.0
TOKEN = "a token of this test"


class StackWithTerminal(RunningStack):
    """A stack whose orders go to a simulated terminal in a process of its own."""

    terminal: subprocess.Popen | None = None

    async def start(self) -> None:
        os.environ["TICKWIRE_TERMINAL_TOKEN"] = TOKEN
        await super().start()
        self.open_terminal()

    def open_terminal(self) -> None:
        plan = terminal_plan(read_all(self.folder / "config.yaml"))
        assert plan is not None
        with (self.folder / "terminal.out").open("ab") as out:
            self.terminal = subprocess.Popen(
                plan.command(self.state), env={**os.environ, "PYTHONPATH": str(ROOT), **plan.environment()}, stdout=out,
                stderr=out, preexec_fn=die_with_parent,  # noqa: PLW1509
            )

    def kill_terminal(self) -> None:
        assert self.terminal is not None
        self.terminal.kill()
        self.terminal.wait()
        self.open_terminal()

    def worker_pids(self) -> list[int]:
        """Return the workers of the executor."""
        executor = self.processes["executor"].pid
        children = Path(f"/proc/{executor}/task/{executor}/children")
        return [int(pid) for pid in children.read_text().split()]

    async def stop(self) -> None:
        await super().stop()
        if self.terminal is not None:
            self.terminal.terminate()
            await asyncio.to_thread(self.terminal.wait, 10)


def market(broker: str) -> dict:
    plain = config(HOURS)
    plain["trainer"] |= {"min_rows": 60, "retrain_every_rows": 60}
    if broker == "mt5":
        plain["executor"] |= {"broker": "mt5"}
        plain["mt5"] = {
            "backend": "sim", "connect": f"127.0.0.1:{free_port()}", "token": "secret://TICKWIRE_TERMINAL_TOKEN",
        }
    return plain


async def until_finished(stack):
    """Wait for the market's end; while the bus is down nobody can be asked."""
    while True:
        try:
            return await stack.finished(SYMBOLS, 400)
        except TimeoutError:
            await asyncio.sleep(0.5)


async def replay(folder: Path, broker: str, disturb=None):
    """Run the market once; return the hash over approvals and fills, and what was executed."""
    stack = (StackWithTerminal if broker == "mt5" else RunningStack)(folder, market(broker))
    await stack.start()
    try:
        disturbing = asyncio.create_task(disturb(stack)) if disturb else None
        await until_finished(stack)
        if disturbing is not None:
            assert disturbing.done(), "the market was over before everything was disturbed"
            disturbing.result()
        executions = await stack.messages("executions.>")
        counts = {kind: sum(type(m).__name__ == kind for m in executions) for kind in
                  ("OrderSent", "OrderFilled", "PositionClosed", "OrderUnknown", "OrderRejected")}
        return await stack.decisions_sha256(), counts
    finally:
        await stack.stop()


@pytest.fixture(scope="module")
def by_sim(tmp_path_factory):
    """The same market traded in the executor's own process."""
    found = asyncio.run(replay(tmp_path_factory.mktemp("sim"), "sim"))
    assert found[1]["OrderFilled"] >= 8
    assert found[1]["PositionClosed"] >= 3
    return found


@pytest.mark.timeout(600)
async def test_a_terminal_behind_a_worker_gives_the_same_orders_and_fills(by_sim, tmp_path):
    assert await replay(tmp_path, "mt5") == by_sim


@pytest.mark.chaos
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", range(int(os.environ.get("TICKWIRE_STACK_SEEDS", "24"))))
async def test_with_everything_killed_on_the_way_the_auditor_acquits(tmp_path, seed):
    """SIGKILL for the terminal, the worker, the executor and the bus while orders flow.

    Orders under way become unknown and are looked up, so the flow may differ from an undisturbed one; the broker's own
    records and the journal may not.
    """
    chance = random.Random(seed)
    began = time.monotonic()

    async def kill_them(stack):
        for what in chance.sample(["terminal", "worker", "executor", "worker", "terminal", "bus"], 4):
            await asyncio.sleep(chance.uniform(0.3, 2.0))
            if what == "terminal":
                await asyncio.to_thread(stack.kill_terminal)
            elif what == "executor":
                await asyncio.to_thread(stack.kill, "executor")
            elif what == "bus":
                stack.server.process.kill()
                stack.server.process.wait()
                await stack.server.start()
            else:
                for pid in stack.worker_pids():
                    os.kill(pid, signal.SIGKILL)

    _, counts = await replay(tmp_path, "mt5", kill_them)
    verdict = await audited(tmp_path / "state")
    assert verdict.clean, verdict
    print(f"\nseed {seed}: {counts}, {time.monotonic() - began:.0f} s")


async def audited(state: Path) -> Verdict:
    """Judge by the terminal's records and the order journal alone."""
    records = [record for record in all_records(state / "terminal") if record["kind"] == "deal"]
    deals = [deal_record(TradeDeal(**record["deal"]), record["ts_ns"]) for record in records]
    journal = await OrderJournal.open(state / "executor" / "orders.sqlite")
    try:
        intents = await journal.intents()
        histories = {one.order_id: await journal.history(one.order_id) for one in intents}
    finally:
        await journal.close()
    assert len(intents) >= 5
    return audit(intents, histories, (), deals, 1)
