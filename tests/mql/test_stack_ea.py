"""The whole stack through a compiled Expert Advisor: the same orders and fills as with the simulated terminal in the
executor's own process; and with everything killed on the way, none executed twice and none lost.
"""

import asyncio
import os
import random
import subprocess
import time
from pathlib import Path

import pytest

from libs.common.bus.server import die_with_parent
from tests.integration.stack.running_stack import ROOT, RunningStack
from tests.integration.stack.test_brokers import StackWithTerminal, audited, market, until_finished
from tests.mql.harness.build import build, missing_compiler
from tickwire.sections import read_all
from tickwire.terminal import expert_plan, free_port

pytestmark = pytest.mark.skipif(bool(missing_compiler()), reason=missing_compiler())


class StackWithExpert(StackWithTerminal):
    """A stack whose orders go to a compiled Expert Advisor on a simulated terminal."""

    expert: subprocess.Popen | None = None

    async def start(self) -> None:
        await super().start()
        self.open_expert()

    def open_expert(self) -> None:
        plan = expert_plan(read_all(self.folder / "config.yaml"))
        assert plan is not None
        with (self.folder / "expert.out").open("ab") as out:
            self.expert = subprocess.Popen(
                plan.command(self.server.url, self.state), env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=out, stderr=out, preexec_fn=die_with_parent,  # noqa: PLW1509
            )

    def kill_expert(self) -> None:
        assert self.expert is not None
        self.expert.kill()
        self.expert.wait()
        self.open_expert()

    async def stop(self) -> None:
        if self.expert is not None:
            self.expert.kill()
            await asyncio.to_thread(self.expert.wait, 10)
        await super().stop()


def through(broker: str) -> dict:
    plain = market("sim")
    if broker == "ea":
        plain["executor"] |= {"broker": "ea", "mt5": {"send_timeout_s": 3.0, "read_timeout_s": 3.0}}
        plain["mt5"] = {
            "backend": "sim", "connect": f"127.0.0.1:{free_port()}", "token": "secret://TICKWIRE_TERMINAL_TOKEN",
        }
    return plain


async def replay(folder: Path, broker: str, disturb=None):
    """Run the market once; return the hash over approvals and fills, and what was executed."""
    build("TickwireBridge.mq5")
    stack = (StackWithExpert if broker == "ea" else RunningStack)(folder, through(broker))
    await stack.start()
    try:
        disturbing = asyncio.create_task(disturb(stack)) if disturb else None
        await until_finished(stack)
        if disturbing is not None:
            disturbing.cancel()
        executions = await stack.messages("executions.>")
        counts = {kind: sum(type(m).__name__ == kind for m in executions) for kind in
                  ("OrderSent", "OrderFilled", "PositionClosed", "OrderUnknown", "OrderRejected")}
        return await stack.decisions_sha256(), counts
    finally:
        await stack.stop()


@pytest.mark.timeout(600)
async def test_an_expert_advisor_gives_the_same_orders_and_fills_as_the_simulated_terminal_in_the_executor(tmp_path):
    wanted = await replay(tmp_path / "sim", "sim")
    assert wanted[1]["OrderFilled"] >= 8
    assert wanted[1]["PositionClosed"] >= 3
    assert await replay(tmp_path / "ea", "ea") == wanted


@pytest.mark.chaos
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", range(int(os.environ.get("TICKWIRE_STACK_SEEDS", "24"))))
async def test_with_the_expert_advisor_and_all_around_it_killed_the_auditor_acquits(tmp_path, seed):
    chance = random.Random(seed)
    began = time.monotonic()

    async def kill_them(stack):
        while await stack.watching.last("executions.paper.EURUSD") is None:
            await asyncio.sleep(0.05)
        for what in chance.sample(["expert", "terminal", "executor", "expert", "bus", "expert"], 4):
            await asyncio.sleep(chance.uniform(0.3, 2.0))
            if what == "expert":
                await asyncio.to_thread(stack.kill_expert)
            elif what == "terminal":
                await asyncio.to_thread(stack.kill_terminal)
            elif what == "executor":
                await asyncio.to_thread(stack.kill, "executor")
            else:
                stack.server.process.kill()
                stack.server.process.wait()
                await stack.server.start()

    _, counts = await replay(tmp_path, "ea", kill_them)
    verdict = await audited(tmp_path / "state")
    assert verdict.clean, verdict
    print(f"\nseed {seed}: {counts}, {time.monotonic() - began:.0f} s")
