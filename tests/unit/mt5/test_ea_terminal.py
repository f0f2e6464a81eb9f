"""The terminal asked through an Expert Advisor: what each failure means, and when what was said before still holds."""

import asyncio

import msgspec
import numpy as np
import pytest

from libs.common.codec import encode
from libs.common.errors import BrokerError, BusError, OutcomeUncertain
from libs.common.messages.ea import (
    PROTOCOL,
    EaAsker,
    EaBooks,
    EaFigures,
    EaHello,
    EaHistory,
    EaOrderAnswer,
    EaResult,
    EaTicks,
)
from libs.common.mt5.adapters.ea_terminal import MAC_HEADER, EaTerminal, key_of, message_code
from libs.common.mt5.adapters.ea_ticks import PushedTicks

KEY = bytes(range(32))
S = 1_000_000_000


class Clock:
    now = 1_700_000_000 * S

    def __call__(self):
        return self.now


class FakeBus:
    """Answers with what the test put there; remembers what was asked."""

    def __init__(self):
        self.asked, self.answers, self.callbacks = [], {}, {}

    async def ask(self, subject, payload, timeout_s, headers=None):
        self.asked.append((subject, msgspec.json.decode(payload), headers, payload))
        answer = self.answers[subject.split(".")[2]]
        answer = answer(self.asked[-1][1]) if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, bytes) else msgspec.json.encode(answer, enc_hook=np.ndarray.tolist)

    async def on_message(self, pattern, callback):
        self.callbacks[pattern] = callback


def hello(instance="a", **more):
    fields = {
        "ts_event_ns": 1, "ts_init_ns": 1, "protocol": PROTOCOL, "account": "paper", "instance": instance,
        "program": "p", "program_version": "1", "build": 1, "login": 7, "server": "S", "currency": "USD", "company": "C",
        "trade_mode": 0, "margin_mode": 2, "leverage": 100, "symbols": (), "max_lots": 0.0, "max_positions": 0,
        "max_daily_loss_pct": 0.0, "dead_man_s": 0.0, "signed": True,
    }
    return EaHello(**{**fields, **more})


def books(**more):
    figures = EaFigures(
        login=7, server="S", currency="USD", company="C", trade_mode=0, margin_mode=2, trade_allowed=True,
        trade_expert=True, leverage=100, balance=1.0, credit=0.0, profit=0.0, equity=1.0, margin=0.0, margin_free=1.0,
    )
    fields = {
        "protocol": 1, "instance": "a", "problem": "", "connected": True, "trade_allowed": True, "build": 1,
        "time_server_msc": 1, "figures": figures, "quotes": (), "positions": (), "orders": (), "deals": (), "history": (),
        "more": 0,
    }
    return EaBooks(**{**fields, **more})


def answered(retcode=10_009, **more):
    result = EaResult(
        retcode=retcode, deal=2, order=3, volume=0.1, price=1.1, bid=1.1, ask=1.1, comment="", request_id=0,
        retcode_external=0,
    )
    fields = {"protocol": 1, "instance": "a", "key": "5", "outcome": "answered", "reason": "", "repeated": False,
              "time_server_msc": 1, "result": result}  # fmt: skip
    return EaOrderAnswer(**{**fields, **more})


REQUEST = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "magic": 5}


@pytest.fixture
async def world():
    bus, clock = FakeBus(), Clock()
    bus.answers["books"] = books()
    terminal = EaTerminal(bus, "paper", asker=EaAsker.EXECUTOR, mac_key=KEY, now_ns=clock)
    await terminal.start()
    bus.callbacks["ea.paper.hello"]("ea.paper.hello", encode(hello()))
    return bus, clock, terminal


async def test_an_order_carries_its_code_its_key_and_an_expiry_at_the_deadline(world):
    bus, clock, terminal = world
    bus.answers["orders"] = answered()
    result = await terminal.order_send(REQUEST, deadline_s=4.0)
    assert result.order == 3
    subject, order, headers, payload = bus.asked[-1]
    assert subject == "ea.paper.orders"
    assert order["key"] == "5"
    assert order["expires_ns"] == clock.now + 4 * S
    assert headers == {MAC_HEADER: message_code(KEY, payload)}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (BusError("nobody listens"), BrokerError),
        (answered(outcome="refused", reason="kill_file", result=None), BrokerError),
        (TimeoutError("no answer"), TimeoutError),
        (answered(outcome="unknown", result=None), OutcomeUncertain),
        (answered(key="6"), OutcomeUncertain), (b"rubbish", OutcomeUncertain), (b"", OutcomeUncertain),
        (books(), OutcomeUncertain), (answered(outcome="answered", result=None), BrokerError),
    ],
    ids=["nobody", "refused", "late", "unknown", "another key", "rubbish", "nothing", "another answer", "no result"],
)  # fmt: skip
async def test_what_may_have_been_executed_is_uncertain_and_nothing_else_is(world, answer, kind):
    bus, _, terminal = world
    bus.answers["orders"] = answer
    with pytest.raises(kind) as caught:
        await terminal.order_send(REQUEST)
    assert isinstance(caught.value, OutcomeUncertain) == (kind is OutcomeUncertain)
    assert len([subject for subject, *_ in bus.asked if subject.endswith("orders")]) == 1


async def test_nobody_two_and_the_unsigned_are_given_no_order(world):
    bus, clock, terminal = world
    hear = bus.callbacks["ea.paper.hello"]
    hear("x", encode(hello("b")))
    with pytest.raises(BrokerError, match="2 expert advisors"):
        await terminal.order_send(REQUEST)
    clock.now += 6 * S
    with pytest.raises(BrokerError, match="no expert advisor speaks"):
        await terminal.order_send(REQUEST)
    hear("x", encode(hello("c", signed=False)))
    with pytest.raises(BrokerError, match="without a message code"):
        await terminal.order_send(REQUEST)
    hear("x", encode(hello("d", protocol=9)))
    assert "protocol 9" in terminal.voices.stranger
    assert not [subject for subject, *_ in bus.asked if subject.endswith("orders")]


async def test_a_new_session_is_looked_at_before_anything_else_and_a_refused_one_is_asked_nothing(world):
    bus, clock, _ = world
    looked = []

    async def guard(calls):
        looked.append((await calls.account_info()).login)
        if len(looked) == 2:
            raise BrokerError("another account")

    terminal = EaTerminal(bus, "paper", asker=EaAsker.EXECUTOR, mac_key=KEY, now_ns=clock, guard=guard)
    await terminal.start()
    hear = bus.callbacks["ea.paper.hello"]
    hear("x", encode(hello()))
    await terminal.terminal_info()
    await terminal.positions_get()
    assert looked == [7]
    clock.now += 10 * S
    hear("x", encode(hello()))
    with pytest.raises(BrokerError, match="another account"):
        await terminal.order_send(REQUEST)
    assert not [subject for subject, *_ in bus.asked if subject.endswith("orders")]
    await terminal.positions_get()
    assert len(looked) == 3


async def test_what_was_just_said_is_not_asked_for_again_until_an_order_or_time_has_passed(world):
    bus, clock, terminal = world
    bus.answers["orders"] = answered()

    async def asked():
        before = len(bus.asked)
        await terminal.account_info()
        await terminal.positions_get()
        return len(bus.asked) - before

    assert [await asked(), await asked()] == [1, 0]
    clock.now += S
    assert await asked() == 1
    await terminal.order_send(REQUEST)
    assert await asked() == 1
    terminal.forget()
    assert await asked() == 1


async def test_a_long_history_comes_page_by_page_and_a_restart_in_between_spoils_it(world):
    bus, _, terminal = world
    deal = {
        "ticket": 1, "order": 1, "time_msc": 5_000, "type": 0, "entry": 0, "magic": 1, "position_id": 1, "reason": 3,
        "volume": 0.1, "price": 1.1, "commission": 0.0, "swap": 0.0, "profit": 0.0, "fee": 0.0, "symbol": "EURUSD",
        "comment": "",
    }  # fmt: skip
    plain = msgspec.to_builtins(books())

    def page(request):
        skip = request["skip"]
        rows = [{**deal, "ticket": skip + n} for n in range(min(3, 7 - skip))]
        return plain | {"deals": rows, "more": max(0, 7 - skip - len(rows)), "instance": "b" if skip and bus.other else "a"}

    bus.other, bus.answers["books"] = False, page
    found = await terminal.history_deals_get(1, 100)
    assert [one.ticket for one in found] == list(range(7))
    assert found[0].time == 5
    bus.other = True
    terminal.forget()
    with pytest.raises(BrokerError, match="started again"):
        await terminal.history_deals_get(1, 100)


async def test_one_that_spoke_before_we_listened_is_asked_who_it_is():
    bus, clock = FakeBus(), Clock()
    terminal = EaTerminal(bus, "paper", asker=EaAsker.EXECUTOR, mac_key=KEY, now_ns=clock)
    await terminal.start()

    def introduce(request):
        if request["introduce"]:
            asyncio.get_running_loop().call_soon(bus.callbacks["ea.paper.hello"], "x", encode(hello()))
        return msgspec.to_builtins(books())

    bus.answers["books"] = introduce
    assert (await terminal.account_info()).login == 7


def test_the_key_of_an_order_is_its_own_and_that_of_stops_is_the_positions():
    assert key_of(REQUEST) == "5"
    assert key_of({"action": 6, "position": 12, "magic": 5}) == "stops-12"


# ---- pushed ticks


def pushed(times, after=(0, 0), first=1):
    n = len(times)
    prices = np.arange(1, n + 1) / 10.0
    return EaTicks(
        ts_event_ns=1, ts_init_ns=1, protocol=1, account="paper", instance="a", symbol="EURUSD", first=first,
        after_msc=after[0], after_count=after[1], time_msc=np.array(times, dtype=np.int64), bid=prices,
        ask=prices, last=prices, volume=prices,
        flags=np.ones(n, dtype=np.int64),
    )


def test_a_run_is_served_only_from_after_its_first_tick_on():
    run = PushedTicks()
    assert run.since(1, 10) is None
    run.add(pushed([1_000, 1_000, 2_000]))
    run.add(pushed([2_000, 2_000, 3_000], (2_000, 1)))
    run.add(pushed([3_000], (3_000, 1)))
    assert run.since(1_000, 10) is None
    assert run.since(2_000, 10)["time_msc"].tolist() == [2_000, 2_000, 2_000, 3_000, 3_000]
    assert run.since(2_000, 2)["time_msc"].tolist() == [2_000, 2_000]
    assert len(run.since(9_000, 10)) == 0
    assert run.breaks == 0


def test_a_message_that_does_not_go_on_begins_a_new_run():
    run = PushedTicks()
    run.add(pushed([1_000, 2_000]))
    run.add(pushed([4_000, 5_000], (3_000, 1)))
    assert run.breaks == 1
    assert run.since(2_000, 10) is None
    assert run.since(5_000, 10)["time_msc"].tolist() == [5_000]


def test_old_ticks_make_room():
    run = PushedTicks(limit=10)
    for number in range(10):
        after = ((number - 1) * 10 + 5, 1) if number else (0, 0)
        run.add(pushed([number * 10 + n for n in range(1, 6)], after))
    assert run.since(2, 100) is None
    assert run.since(93, 100)["time_msc"].tolist() == [93, 94, 95]


async def test_ticks_are_paged_without_hole_or_repeat_even_within_a_millisecond(world):
    bus, _, terminal = world
    market = [10_000, 10_000, 10_001, 10_001, 10_001, 10_002, 10_003, 10_003, 10_004]

    def page(request):
        rows = [time for time in market if time >= request["from_msc"]]
        shown, limit = rows[:4], 4
        columns = {name: np.ones(len(shown)) for name in ("bid", "ask", "last", "volume")}
        return EaHistory(
            protocol=1, instance="a", symbol="EURUSD", problem="", more=len(rows) > limit,
            time_msc=np.array(shown, dtype=np.int64), flags=np.ones(len(shown), dtype=np.int64), **columns,
        )

    bus.answers["history"] = page
    array = await terminal.copy_ticks_from("EURUSD", 10, 1_000)
    assert array["time_msc"].tolist() == market
