"""The simulated terminal as a process: who may speak to it, what its death means, what it remembers, what it tells."""

import asyncio
import json
import os
import socket
import sys

import msgspec
import pytest

from libs.common.errors import BrokerError, OutcomeUncertain
from libs.common.mt5.adapters.calls import PackageError
from libs.common.mt5.adapters.driver import Deadlines
from libs.common.mt5.adapters.frames import Hello, encode_frame
from libs.common.mt5.adapters.host import main as host_main
from libs.common.mt5.adapters.host import token_of
from libs.common.mt5.adapters.market_feed import TerminalFeed
from libs.common.mt5.adapters.simulated_package import SocketPort
from libs.common.mt5.sim.package import Package
from tests.integration.mt5.terminal_world import BUY, SECOND_NS, THURSDAY_NS, TOKEN, HostProcess, plan, ticks, watched_loop


@pytest.fixture
async def feed(host: HostProcess):
    """Give a control connection to the module's host, and take its faults away afterwards."""
    feed = host.feed()
    yield feed
    await feed.use_plan(plan())
    await feed.close()


async def test_what_a_driver_asks_is_what_the_terminal_knows(host, feed):
    async with host.driver() as driver:
        await driver.ready(10.0)
        sent = await driver.order_send({**BUY, "magic": 2**63 - 1, "comment": "naïve"})
        assert (sent.retcode, sent.request.comment) == (10009, "naïve")
        assert await driver.positions_get(ticket=sent.order) == await feed.call("positions_get", ticket=sent.order)
        assert [deal.magic for deal in await driver.history_deals_get(ticket=sent.order)] == [2**63 - 1]
        assert (await driver.account_info()) == await feed.call("account_info")
        assert (await driver.symbols_get())[0] == await driver.symbol_info("EURUSD")
        assert (await driver.copy_ticks_from("EURUSD", 1, 5))["bid"].tolist()[0] == 1.1
        assert len(await driver.copy_rates_from_pos("EURUSD", 1, 0, 5)) >= 1
        assert (await driver.order_check(BUY)).retcode == 0
        assert await driver.order_calc_margin(0, "EURUSD", 1.0, 1.1) == 1_100.0
        assert (await driver.version())[0] == 500
        with pytest.raises(PackageError, match="Not found"):
            await driver.symbol_info("NOPE")
        with pytest.raises(PackageError, match='Invalid "volume" argument'):
            await driver.order_send({**BUY, "volume": 1})
    assert host.requests_of(2**63 - 1) == host.deals_of(2**63 - 1) == 1


@pytest.mark.parametrize("token", ["", "wrong", TOKEN + "x", "ä"])
async def test_without_the_token_nobody_is_let_in(host, token):
    with pytest.raises(BrokerError, match="wrong token"):
        await TerminalFeed(host.address, token).marks()
    package = Package(SocketPort(host.address, token))
    assert package.initialize() is False
    assert package.last_error()[0] == -10003
    assert "wrong token" in package.last_error()[1]
    with socket.create_connection(("127.0.0.1", int(host.address.split(":")[1])), 5) as line:
        line.sendall(json.dumps({"role": "ea", "token": token}).encode() + b"\n")
        assert b"wrong token" in line.makefile("rb").read()


@pytest.mark.parametrize("garbage", [
    b"\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n", b"{" * 100 + b"\n", b"\0\0\0\2[]", b"{}\n" * 3,
    encode_frame(Hello(role="emperor", token=TOKEN)), encode_frame(Hello(role="package", token=TOKEN, protocol=99)),
])  # fmt: skip
async def test_nonsense_is_cut_off_and_others_do_not_notice(host, feed, garbage):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(host.address.split(":")[1]))
    writer.write(garbage)
    try:
        async with asyncio.timeout(5.0):
            while await reader.read(1_000):
                pass
    except ConnectionResetError:
        pass
    writer.close()
    assert (await feed.marks()).clock_ns >= THURSDAY_NS


async def test_two_workers_at_one_terminal_see_one_truth_and_a_hang_holds_up_its_own_alone(host, feed):
    await feed.use_plan(plan({"fault": {"kind": "hang"}, "magic": 501}))
    async with host.driver() as trading, host.driver() as market, watched_loop() as watch:
        await trading.ready(10.0)
        await market.ready(10.0)
        held = len(await market.positions_get())
        hanging = asyncio.create_task(trading.order_send({**BUY, "magic": 501}, deadline_s=1.0))
        for _ in range(20):
            assert len(await market.positions_get()) == held
        assert not hanging.done()
        with pytest.raises(TimeoutError):
            await hanging
        await trading.ready(10.0)
        assert (await trading.order_send({**BUY, "magic": 502})).retcode == 10009
        assert len(await market.positions_get()) == held + 1
    assert watch.longest_s < 0.1
    assert (host.requests_of(501), host.deals_of(501)) == (1, 0)


@pytest.mark.parametrize(("fault", "error", "deals"), [
    ({"kind": "hang"}, TimeoutError, 0),
    ({"kind": "hang", "executed": True}, TimeoutError, 1),
    ({"kind": "broken_pipe"}, OutcomeUncertain, 0),
    ({"kind": "broken_pipe", "executed": True}, OutcomeUncertain, 1),
    ({"kind": "none"}, OutcomeUncertain, 0),
    ({"kind": "none", "code": -8, "text": "off"}, PackageError, 0),
    ({"kind": "retcode", "retcode": 10018}, 10018, 0),
    ({"kind": "lost_answer"}, 10012, 1),
    ({"kind": "lost_answer", "answer": "none"}, OutcomeUncertain, 1),
    ({"kind": "lost_answer", "answer": "hang"}, TimeoutError, 1),
    ({"kind": "late_execution", "answer": "broken_pipe"}, OutcomeUncertain, 0),
    ({"kind": "duplicate_notices"}, 10009, 1),
    ({"kind": "partial_fill", "rest": "cancel"}, 10010, 1),
    ({"kind": "comment", "text": "x"}, 10009, 1),
    ({"kind": "terminal_restart", "attempts": 2}, OutcomeUncertain, 0),
    ({"kind": "build_mismatch"}, OutcomeUncertain, 0),
    ({"kind": "trading_disabled"}, PackageError, 0),
], ids=lambda value: str(value) if isinstance(value, dict) else "")  # fmt: skip
async def test_a_fault_reaches_the_driver_as_what_it_proves(host, feed, fault, error, deals, request):
    magic = 10_000 + request.node.callspec.indices["fault"]
    by_time = fault["kind"] in ("terminal_restart", "build_mismatch", "trading_disabled")
    await feed.use_plan(plan({"fault": fault, "calls": "order_send" if by_time else ""}))
    async with host.driver() as driver:
        await driver.ready(10.0)
        sending = driver.order_send({**BUY, "magic": magic, "type_filling": 1}, deadline_s=0.4)
        if isinstance(error, int):
            assert (await sending).retcode == error
        else:
            with pytest.raises((BrokerError, TimeoutError)) as raised:
                await sending
            assert type(raised.value) is error
        if fault["kind"] != "build_mismatch":
            await driver.ready(10.0)
            assert (await driver.terminal_info()).connected
    assert (host.requests_of(magic), host.deals_of(magic)) == (1, deals)


async def test_a_late_execution_appears_when_the_market_moves_on(host, feed):
    await feed.use_plan(plan({"fault": {"kind": "late_execution", "delay_s": 2.0}, "magic": 601}))
    now_ns = (await feed.marks()).clock_ns
    async with host.driver() as driver:
        await driver.ready(10.0)
        assert (await driver.order_send({**BUY, "magic": 601})).retcode == 10012
        assert host.deals_of(601) == 0
        told = await feed.advance(ticks(1_001, *[(1.1, 1.1001)] * 5, start_ns=now_ns + SECOND_NS - 1_000 * SECOND_NS))
        assert [deal.deal.magic for deal in told.deals][-1] == 601
        assert host.deals_of(601) == 1


async def test_logins_that_time_out_and_terminals_that_restart_are_waited_for(host, feed):
    await feed.use_plan(plan({"fault": {"kind": "login_timeout"}, "times": 2}))
    problems = []
    log = lambda event, fields: problems.append(fields["problem"]) if event == "session_refused" else None  # noqa: E731
    async with host.driver(log=log) as driver:
        await driver.ready(10.0)
        assert problems == ["initialize: IPC timeout (-10005)"] * 2
        pid = driver.health().pid
        await feed.use_plan(plan({"fault": {"kind": "terminal_restart", "attempts": 2}, "from_ns": 1}))
        clock_ns = (await feed.marks()).clock_ns
        await feed.advance(ticks(5_001, (1.1, 1.1001), start_ns=clock_ns + SECOND_NS - 5_000 * SECOND_NS))
        with pytest.raises(PackageError, match=r"-1000[124]"):
            await driver.account_info()
        await driver.ready(10.0)
        await driver.account_info()
        assert driver.health().pid == pid, "a broken pipe does not cost the worker"
        assert driver.health().session == 2


async def test_a_terminal_killed_between_any_two_steps_of_a_request_comes_back_with_its_truth(fresh_host):
    host = fresh_host
    survivors = []
    places = {"received": False, "recorded": True, "executed": True, "noted": True}
    host.start(die_at="received:1")
    feed = host.feed()
    await feed.advance(ticks(1, (1.1, 1.1001)))
    async with host.driver() as driver:
        for magic, (place, survives) in enumerate(places.items(), 1):
            await driver.ready(10.0)
            with pytest.raises(OutcomeUncertain):
                await driver.order_send({**BUY, "magic": magic})
            assert host.died()
            with pytest.raises(BrokerError, match="not ready"):
                await driver.ready(0.1)
            host.kill()
            following = [*places][magic : magic + 1]
            host.start(die_at=f"{following[0]}:1" if following else "")
            await driver.ready(20.0)
            survivors += [magic] * survives
            assert [position.magic for position in await driver.positions_get()] == survivors, place
            assert (host.requests_of(magic), host.deals_of(magic)) == (survives, survives), place
            answered = [r["n"] for r in host.records("answer")]
            assert len(answered) == len(set(answered)) == len(survivors), place
    # The feeder finds it as it was, over a new connection.
    assert [e.deal.magic for e in (await feed.advance(ticks(2, (1.1, 1.1001)))).deals] == survivors
    await feed.close()


async def test_a_terminal_killed_while_the_market_moves_is_fed_the_same_block_again(fresh_host):
    host = fresh_host
    host.start(die_at="advanced:2")
    feed = host.feed()
    await feed.advance(ticks(1, (1.1, 1.1001)))
    await feed.submit({**BUY, "sl": 1.09, "magic": 1}, "key", THURSDAY_NS)
    with pytest.raises(BrokerError):
        await feed.advance(ticks(2, (1.08, 1.0801)))
    assert host.died()
    host.kill()
    host.start()
    told = await feed.advance(ticks(2, (1.08, 1.0801)))
    assert [event.deal.entry for event in told.deals] == [1]
    assert [r["deal"]["entry"] for r in host.records("deal")] == [0, 1]
    assert [e.ts_ns for e in (await feed.submit({**BUY, "sl": 1.09, "magic": 1}, "key", THURSDAY_NS)).events] == [
        THURSDAY_NS, THURSDAY_NS
    ]  # fmt: skip
    assert len(host.records("submit")) == 1
    await feed.close()


async def test_a_terminal_that_is_asked_to_stop_keeps_everything_and_goes_on(fresh_host):
    host = fresh_host
    host.start()
    feed = host.feed()
    before = await feed.advance(ticks(1, (1.1, 1.1001)))
    assert host.process is not None
    host.process.terminate()
    assert host.died()
    assert host.process.returncode == 0
    host.start()
    assert await feed.marks() == msgspec.structs.replace(before, events=())
    await feed.close()


async def test_a_long_block_is_cut_for_the_wire_and_tells_everything(host, feed):
    clock_ns = (await feed.marks()).clock_ns
    quotes = [(1.1, 1.1001)] * 45_000
    told = await feed.advance(ticks(10_001, *quotes, start_ns=clock_ns + SECOND_NS - 10_000 * SECOND_NS))
    assert told.clock_ns == clock_ns + 45_000 * SECOND_NS


async def test_control_refuses_what_would_trade_behind_the_records(host, feed):
    for call in ("order_send", "initialize", "eval"):
        with pytest.raises(BrokerError, match="no function"):
            await feed.call(call, {})
    with pytest.raises(BrokerError, match="no instrument 'XYZ'"):
        await feed.advance(ticks(1, (1.0, 1.1), symbol="XYZ"))
    with pytest.raises(BrokerError, match="rules"):
        await feed.call("plan", {"rules": [{"fault": {"kind": "gremlin"}}]})


class Lines:
    """An Expert Advisor's side of the channel."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.events = reader, writer, []

    async def ask(self, **message):
        self.writer.write(json.dumps(message).encode() + b"\n")
        while "ev" in (line := json.loads(await asyncio.wait_for(self.reader.readline(), 5.0))):
            self.events.append(line)
        return line

    async def next_event(self):
        while not self.events:
            self.events.append(json.loads(await asyncio.wait_for(self.reader.readline(), 5.0)))
        return self.events.pop(0)


async def test_an_expert_advisor_asks_trades_and_hears_every_transaction(fresh_host):
    host = fresh_host
    host.start()
    feed = host.feed()
    await feed.advance(ticks(1, (1.1, 1.1001)))
    lines = Lines(*await asyncio.open_connection("127.0.0.1", int(host.address.split(":")[1])))
    assert await lines.ask(role="ea", token=TOKEN) == {"role": "terminal", "problem": ""}
    tick = await lines.ask(id=1, call="symbol_info_tick", args=["EURUSD"])
    assert (tick["id"], tick["ret"]["bid"], tick["last_error"]) == (1, 1.1, [1, "Success"])
    columns = (await lines.ask(id=2, call="copy_ticks_from", args=["EURUSD", 1, 9, -1]))["ret"]
    assert columns["bid"] == [1.1]
    placed = await lines.ask(id=3, call="order_send", args=[{**BUY, "action": 5, "type": 2, "price": 1.09, "sl": 1.08,
                                                             "magic": 5, "type_filling": 2}])  # fmt: skip
    assert placed["ret"]["retcode"] in (10008, 10009)
    async with host.driver() as driver:
        await driver.ready(10.0)
        await driver.order_send({**BUY, "magic": 6})
    await feed.advance(ticks(2, (1.0899, 1.09), (1.0799, 1.08)))
    assert (await lines.ask(id=4, call="positions_total"))["ret"] == 1  # by now everything has been told
    heard = [event.get("type", event["ev"]) + (" closed" if event.get("closed") else "") for event in lines.events]
    assert heard == [
        "ORDER_ADD",  # the limit order
        "DEAL_ADD", "HISTORY_ADD", "POSITION",  # the driver's order
        "DEAL_ADD", "DEAL_ADD", "ORDER_DELETE", "HISTORY_ADD", "HISTORY_ADD", "tick",  # filled, and stopped out
    ]  # fmt: skip
    magics = [event["deal"]["magic"] for event in lines.events if event.get("type") == "DEAL_ADD"]
    assert magics == [6, 5, 5]
    assert "no function" in (await lines.ask(id=5, call="os.system", args=["true"]))["problem"]
    lines.writer.close()
    await feed.close()


def test_the_command_line_says_what_is_wrong(tmp_path, monkeypatch, capsys):
    options = tmp_path / "options.yaml"
    options.write_text("terminal: {leverage: none}\n")
    state = ("--state", str(tmp_path / "state"))
    for arguments, words in (
        (("--listen", "nowhere"), ("--listen", "host:port is")),
        (("--listen", "127.0.0.1:65536"), ("--listen", "host:port is")),
        (("--options", str(options)), ("options.yaml", "leverage")),
        (("--options", str(tmp_path / "none.json")), ("none.json",)),
        (("--die-at", "somewhere:1"), ("no place to die",)),
    ):
        monkeypatch.setattr(sys, "argv", ["host", *state, *arguments])
        assert host_main() == 1
        said = capsys.readouterr().err
        assert all(word in said for word in words), said


def test_the_token_is_made_once_and_is_its_owners_alone(tmp_path, monkeypatch):
    monkeypatch.delenv("TICKWIRE_TERMINAL_TOKEN", raising=False)
    token = token_of(tmp_path / "state")
    assert len(token) >= 24
    assert token_of(tmp_path / "state") == token
    assert os.stat(tmp_path / "state" / "token").st_mode & 0o077 == 0
    monkeypatch.setenv("TICKWIRE_TERMINAL_TOKEN", "given")
    assert token_of(tmp_path / "state") == "given"


async def test_the_package_in_a_worker_answers_like_the_package_over_a_dead_pipe(fresh_host):
    host = fresh_host
    host.start()
    async with host.driver(account=None, deadlines=Deadlines(read_s=5.0)) as driver:
        await driver.ready(10.0)
        assert await driver.initialize() is True
        host.kill()
        with pytest.raises(PackageError) as raised:
            await driver.account_info()
        assert raised.value.code == -10002
        for question in (driver.account_info, driver.positions_get, lambda: driver.order_send(BUY)):
            with pytest.raises(PackageError) as raised:
                await question()
            assert raised.value.code == -10004
        assert await driver.version() == (0, 0, "")
        assert await driver.initialize() is False
        assert driver.health().last_error[0] == -10003
