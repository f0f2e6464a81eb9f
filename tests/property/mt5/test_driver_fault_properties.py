"""Whatever goes wrong between a driver and its terminal, an order sent once is received at most once; errors are true."""

import asyncio
import contextlib
import itertools
import os
import signal
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common.errors import BrokerError, OutcomeUncertain
from libs.common.mt5.adapters.driver import Deadlines, Mt5Driver
from libs.common.mt5.adapters.market_feed import TerminalFeed
from libs.common.mt5.sim.faults import FaultPlan, Rule
from tests.integration.mt5.terminal_world import BUY, SECOND_NS, HostProcess, ticks

DONE = (10008, 10009, 10010)
FOR_EVER = (1, 2**31 - 1)
silences = st.sampled_from(["hang", "broken_pipe", "timeout", "none"])
call_faults = st.one_of(
    st.builds(dict, kind=st.just("hang"), executed=st.booleans()),
    st.builds(dict, kind=st.just("broken_pipe"), executed=st.booleans()),
    st.builds(dict, kind=st.just("none"), code=st.sampled_from([-1, -3, -8, -10000])),
    st.builds(dict, kind=st.just("retcode"), retcode=st.sampled_from([10004, 10006, 10018, 10019, 10024, 10031])),
    st.builds(dict, kind=st.just("lost_answer"), answer=silences),
    st.builds(dict, kind=st.just("late_execution"), answer=silences, delay_s=st.sampled_from([1.0, 4.0])),
    st.builds(dict, kind=st.just("duplicate_notices"), times=st.integers(2, 3)),
    st.builds(dict, kind=st.just("partial_fill"), rest=st.sampled_from(["reject", "cancel"])),
    st.builds(dict, kind=st.just("comment"), keep=st.integers(0, 3)),
)
conditions = st.sampled_from([
    {"kind": "not_found"}, {"kind": "history_late", "by_s": 2.0}, {"kind": "history_shuffled"}, {"kind": "frozen_feed"},
    {"kind": "clock_jump", "by_s": -3_600}, {"kind": "symbol_renamed", "symbol": "EURUSD", "to": "EURUSD.x"},
    {"kind": "build_mismatch"}, {"kind": "trading_disabled"}, {"kind": "terminal_restart", "attempts": 1},
    {"kind": "manual_trade", "symbol": "EURUSD", "lots": 0.01}, {"kind": "manual_close", "symbol": "EURUSD"},
])  # fmt: skip
rules = st.one_of(
    st.builds(dict, fault=call_faults, nth=st.integers(1, 3), times=st.integers(1, 2)),
    st.builds(dict, fault=conditions, calls=st.just("order_send"), nth=st.integers(1, 3), lasts_s=st.just(1.5)),
    st.builds(dict, fault=st.just({"kind": "login_timeout"})),
)
plans = st.builds(dict, rules=st.lists(rules, min_size=1, max_size=3))
steps = st.lists(st.sampled_from(["send", "send", "send", "advance", "kill_worker"]), min_size=2, max_size=5)
magics = itertools.count(1_000)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    host = HostProcess(tmp_path_factory.mktemp("host"))
    host.start()
    yield host
    host.kill()


class Run:
    """One schedule: what was sent, and what its sender was told."""

    def __init__(self, host: HostProcess, driver: Mt5Driver, feed: TerminalFeed) -> None:
        self.host, self.driver, self.feed = host, driver, feed
        self.told: dict[int, Any] = {}

    async def send(self) -> None:
        magic = next(magics)
        with contextlib.suppress(BrokerError):
            await self.driver.ready(0.5)
        try:
            self.told[magic] = await self.driver.order_send({**BUY, "volume": 0.02, "magic": magic, "type_filling": 1})
        except (BrokerError, TimeoutError) as error:
            self.told[magic] = error

    async def advance(self, seconds: int = 1) -> None:
        last_ns = (await self.feed.marks()).clock_ns
        number = next(magics) + 1_000_000
        start_ns = last_ns + SECOND_NS - (number - 1) * SECOND_NS
        await self.feed.advance(ticks(number, *[(1.1, 1.1001)] * seconds, start_ns=start_ns))
        for _ in range(seconds - 1):
            next(magics)

    async def kill_worker(self) -> None:
        pid = self.driver.health().pid
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


async def live(host: HostProcess, schedule: FaultPlan, doings: list[str]) -> None:
    feed = host.feed()
    deadlines = Deadlines(read_s=5.0, send_s=0.15, connect_s=5.0)
    async with host.driver(deadlines=deadlines, backoff_s=0.005) as driver:
        run = Run(host, driver, feed)
        await run.advance()
        await driver.ready(10.0)
        await feed.use_plan(schedule)
        for doing in doings:
            await getattr(run, doing)()
        await feed.use_plan(FaultPlan())
        await run.advance(8)  # whatever is still on its way arrives
        await driver.ready(10.0)
        with contextlib.suppress(BrokerError):  # the pipe may have broken unnoticed
            await driver.terminal_info()
        await driver.ready(10.0)
        seen = [deal.magic for deal in await driver.history_deals_get(*FOR_EVER) if deal.entry == 0]
    await feed.close()
    for magic, told in run.told.items():
        received, dealt = host.requests_of(magic), host.deals_of(magic)
        assert received <= 1, f"sent once, received {received} times"
        assert dealt <= received
        assert seen.count(magic) == dealt, "the books tell every deal once the faults are over"
        if isinstance(told, OutcomeUncertain | TimeoutError):
            continue
        if isinstance(told, BrokerError):
            assert dealt == 0, f"'{told}' means that nothing happened"
        elif told.retcode in DONE:
            assert (received, dealt) == (1, 1)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schedule=plans, doings=steps)
def test_an_order_sent_once_is_received_at_most_once_and_errors_are_true(
    host: HostProcess, schedule: dict[str, Any], doings: list[str]
) -> None:
    plan = FaultPlan(rules=tuple(msgspec.convert(rule, Rule) for rule in schedule["rules"]))
    asyncio.run(live(host, plan, doings))


@pytest.mark.chaos
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schedule=plans, doings=steps)
def test_an_order_sent_once_is_received_at_most_once_in_many_schedules(
    host: HostProcess, schedule: dict[str, Any], doings: list[str]
) -> None:
    plan = FaultPlan(rules=tuple(msgspec.convert(rule, Rule) for rule in schedule["rules"]))
    asyncio.run(live(host, plan, doings))
