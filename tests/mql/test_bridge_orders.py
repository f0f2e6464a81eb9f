"""TickwireBridge executes what the executor signed off, each order at most once, and keeps its own limits."""

import asyncio
import contextlib
import os
import time

import msgspec
import pytest

from libs.common.codec import encode
from libs.common.errors import BrokerError, BusError, OutcomeUncertain
from libs.common.messages.ea import PROTOCOL, EaOrder
from libs.common.mt5 import constants as mt5
from libs.common.mt5.adapters.ea_terminal import MAC_HEADER, message_code
from libs.common.storage.keys import EA_KEY, read_key
from tests.mql.bridge_world import MAGIC, bridge_world, request_for

DONE = mt5.TRADE_RETCODE_DONE


@pytest.fixture
async def world(tmp_path, ea):
    async with bridge_world(tmp_path, ea) as found:
        found.market.move("EURUSD")
        yield found


def order(key="k1", *, account="paper", protocol=PROTOCOL, valid_s=10.0, **request):
    """Return an order's bytes."""
    now_ns = time.time_ns()
    return encode(EaOrder(
        ts_event_ns=now_ns, ts_init_ns=now_ns, protocol=protocol, account=account, key=key,
        expires_ns=now_ns + int(valid_s * 1e9), request=request_for(**request),
    ))


async def ask(world, payload, mac=None, user="executor", timeout_s=3.0):
    """Send an order's bytes as somebody and return the answer."""
    bus = await world.bus(user)
    code = message_code(read_key(world.root, EA_KEY), payload) if mac is None else mac
    return msgspec.json.decode(await bus.ask("ea.paper.orders", payload, timeout_s, {MAC_HEADER: code} if code else None))


async def test_an_order_is_executed_and_its_deals_come_with_the_answer(world):
    expert = await world.open()
    terminal = await world.terminal_of()
    with expert.running():
        await terminal.ready(5.0)
        result = await terminal.order_send(request_for())
        (deal,) = await terminal.history_deals_get(ticket=result.order)
        (position,) = await terminal.positions_get()
    assert result.retcode == DONE
    assert deal.volume == position.volume == 0.1
    assert deal.magic == MAGIC
    assert len(world.answers.sent) == 1
    assert world.answers.sent[0]["comment"] == "tw:0123456789ab"


async def test_a_known_key_is_answered_again_and_never_executed_again(world):
    expert = await world.open()
    with expert.running():
        await world.until(lambda: world.said("hello"))
        payload = order()
        first = await ask(world, payload)
        again = await ask(world, payload)
        other = await ask(world, order("k1", lots=0.5))
    assert first["outcome"] == "answered"
    assert not first["repeated"]
    assert again["repeated"]
    assert other["repeated"]
    assert again["result"] == other["result"] == first["result"]
    assert again["deals"] == first["deals"] != []
    assert len(world.answers.sent) == 1


async def test_a_known_key_is_known_after_a_restart(world):
    expert = await world.open()
    with expert.running():
        await world.until(lambda: world.said("hello"))
        first = await ask(world, order())
        await ask(world, order("k2", lots=99.0))
    expert.end()
    world.heard.clear()
    again = await world.open(files=expert.files)
    with again.running():
        await world.until(lambda: world.said("hello"))
        repeated, refused = await ask(world, order()), await ask(world, order("k2", lots=0.1))
    assert repeated["repeated"]
    assert repeated["result"] == first["result"]
    assert (refused["outcome"], refused["reason"], refused["repeated"]) == ("refused", "max_lots", True)
    assert len(world.answers.sent) == 1


@pytest.mark.parametrize("kept", ["B torn", "B whole", "A torn", "A whole"])
async def test_a_table_that_was_cut_anywhere_never_lets_an_order_be_executed_twice(world, kept):
    expert = await world.open(inputs={"InpMaxPositions": 0})
    with expert.running():
        await world.until(lambda: world.said("hello"))
        await ask(world, order("earlier"))
        await ask(world, order())
    expert.end()
    table = expert.files / "tickwire" / "orders-paper.tbl"
    lines = table.read_bytes().splitlines(keepends=True)
    assert [line[:1] for line in lines] == [b"B", b"A", b"B", b"A"]
    whole = b"".join(lines[:2])
    table.write_bytes(whole + {
        "B torn": lines[2][:-5], "B whole": lines[2], "A torn": lines[2] + lines[3][:-5], "A whole": lines[2] + lines[3],
    }[kept])  # fmt: skip
    sent = len(world.answers.sent)
    again = await world.open(files=expert.files, inputs={"InpMaxPositions": 0})
    with again.running():
        await asyncio.sleep(0.2)
        answer, earlier = await ask(world, order()), await ask(world, order("earlier"))
        third = await ask(world, order("k3"))
    assert earlier["repeated"]
    assert third["outcome"] == "answered"
    if kept == "B torn":
        # It was being written down when the terminal died, so OrderSend was not called yet.
        assert (answer["outcome"], answer["repeated"]) == ("answered", False)
        assert len(world.answers.sent) == sent + 2
    else:
        assert answer["outcome"] == ("answered" if kept == "A whole" else "unknown")
        assert answer["repeated"]
        assert len(world.answers.sent) == sent + 1
    # And the table is whole again.
    again.end()
    world.heard.clear()
    last = await world.open(files=again.files, inputs={"InpMaxPositions": 0})
    with last.running():
        await world.until(lambda: world.said("hello"))
        assert (await ask(world, order("k3")))["repeated"]


async def test_an_order_is_on_the_disk_before_it_is_sent(world):
    seen = []
    send = world.answers.OrderSend

    def look(request):
        seen.append((expert.files / "tickwire" / "orders-paper.tbl").read_bytes())
        return send(request)

    world.answers.OrderSend = look
    expert = await world.open()
    with expert.running():
        await world.until(lambda: world.said("hello"))
        await ask(world, order("k77"))
    assert seen[0].startswith(b"B\tk77\t")
    assert seen[0].endswith(b"\n")


async def killed_while_sending(expert, terminal):
    """Send an order to a program that dies in ``OrderSend``."""
    with contextlib.suppress(Exception), expert.running():  # the program is gone under its own timer
        await terminal.ready(5.0)
        with pytest.raises(TimeoutError):
            await terminal.order_send(request_for())


async def test_a_terminal_killed_while_it_sends_leaves_the_order_unknown_for_ever(world):
    def die(request):
        world.answers.sent.append(request)
        expert.process.kill()

    send = world.answers.OrderSend
    world.answers.OrderSend = die
    expert = await world.open()
    terminal = await world.terminal_of(send_s=0.5)
    await killed_while_sending(expert, terminal)
    world.answers.OrderSend = send
    expert.end()
    again = await world.open(files=expert.files)
    with again.running():
        await asyncio.sleep(0.3)
        answer = await ask(world, order(str(MAGIC)))
        assert (answer["outcome"], answer["repeated"]) == ("unknown", True)
        world.heard.clear()
    assert len(world.answers.sent) == 1


@pytest.mark.parametrize(
    ("payload", "mac", "reason"),
    [
        (order, "0" * 64, "message_code"), (order, "", "message_code"),
        (lambda: order(account="other"), None, "account"), (lambda: order(protocol=2), None, "protocol"),
        (lambda: order(valid_s=-1.0), None, "expired"), (lambda: order("no good key"), None, "key"),
    ],
    ids=["wrong code", "no code", "other account", "other protocol", "expired", "odd key"],
)  # fmt: skip
async def test_what_is_not_signed_not_ours_or_too_late_is_refused(world, payload, mac, reason):
    expert = await world.open()
    with expert.running():
        await world.until(lambda: world.said("hello"))
        answer = await ask(world, payload(), mac)
        assert (answer["outcome"], answer["reason"]) == ("refused", reason)
        assert not world.answers.sent
        good = await ask(world, order())
        # Only an order that was ours uses up its key.
        assert good["outcome"] == ("refused" if reason == "expired" else "answered")
    assert len(world.answers.sent) == (0 if reason == "expired" else 1)


async def test_bytes_changed_on_the_way_do_not_pass(world):
    expert = await world.open()
    with expert.running():
        await world.until(lambda: world.said("hello"))
        payload = order()
        code = message_code(read_key(world.root, EA_KEY), payload)
        answer = await ask(world, payload.replace(b'"volume":0.1', b'"volume":0.9'), code)
    assert answer["reason"] == "message_code"
    assert not world.answers.sent


@pytest.mark.parametrize("user", ["risk", "ingest", "operator", "trainer"])
async def test_the_server_lets_nobody_but_the_executor_write_orders(world, user):
    expert = await world.open()
    with expert.running():
        await world.until(lambda: world.said("hello"))
        with pytest.raises((TimeoutError, BusError)):
            await ask(world, order(), user=user, timeout_s=0.3)
    assert not world.answers.sent


async def test_without_a_key_no_order_is_taken(world):
    expert = await world.open(inputs={"InpKeyFile": "tickwire\\none"})
    terminal = await world.terminal_of()
    with expert.running():
        await world.until(lambda: world.said("hello") and terminal.voices.stranger == "")
        assert world.said("hello")[0]["signed"] is False
        assert (await ask(world, order()))["reason"] == "message_code"
        with pytest.raises(BrokerError, match="without a message code"):
            await terminal.order_send(request_for())
    assert not world.answers.sent


async def test_nobody_listens_means_it_was_certainly_not_sent(world):
    terminal = await world.terminal_of()
    with pytest.raises(BrokerError, match="no expert advisor speaks"):
        await terminal.order_send(request_for())
    expert = await world.open()
    with expert.running():
        await terminal.ready(5.0)
    expert.end()
    await world.buses.pop("observer").close()  # whoever listens along counts as somebody
    await asyncio.sleep(0.3)
    with pytest.raises(BrokerError, match="nobody listens") as caught:
        await terminal.order_send(request_for())
    assert not isinstance(caught.value, OutcomeUncertain)


async def test_two_expert_advisors_of_one_account_are_given_nothing(world):
    one, two = await world.open(), await world.open()
    terminal = await world.terminal_of()
    with one.running(), two.running():
        await world.until(lambda: len({said["instance"] for said in world.said("heartbeat")}) == 2)
        await asyncio.sleep(0.1)
        with pytest.raises(BrokerError, match="2 expert advisors speak"):
            await terminal.order_send(request_for())
        # Whatever is sent all the same reaches one of them.
        await ask(world, order("k5"))
        await asyncio.sleep(0.2)
    assert len(world.answers.sent) == 1


async def test_a_second_one_in_the_same_terminal_does_not_start(world):
    await world.open()
    second = world._start_expert("TickwireBridge.mq5", inputs={"InpAccount": "paper"}, answers=world.answers)
    (second.files / "tickwire").mkdir(parents=True)
    second.fault(files_fail=1)  # the first file it opens is the lock; the harness has no exclusive files
    assert second.init() != 0


# ---- the own limits


async def position_of(world, terminal, magic=MAGIC):
    """Open a position and return it."""
    result = await terminal.order_send(request_for(magic))
    assert result.retcode == DONE
    (position,) = [one for one in await terminal.positions_get() if one.magic == magic]
    return position


def closing(position, magic, lots=0.1):
    return request_for(magic, lots, type=1, position=position.ticket, price=1.1)


async def refused(terminal, request):
    with pytest.raises(BrokerError) as caught:
        await terminal.order_send(request)
    assert not isinstance(caught.value, OutcomeUncertain)
    return str(caught.value).rpartition(": ")[2]


async def test_a_volume_above_the_limit_is_refused_and_one_at_it_is_not(world):
    expert = await world.open()
    terminal = await world.terminal_of()
    with expert.running():
        await terminal.ready(5.0)
        assert await refused(terminal, request_for(MAGIC, 1.01)) == "max_lots"
        assert (await terminal.order_send(request_for(MAGIC + 1, 1.0))).retcode == DONE
    assert len(world.answers.sent) == 1


async def test_with_enough_positions_open_only_reductions_pass(world):
    expert = await world.open(inputs={"InpMaxPositions": 1})
    terminal = await world.terminal_of()
    with expert.running():
        await terminal.ready(5.0)
        position = await position_of(world, terminal)
        assert await refused(terminal, request_for(MAGIC + 1)) == "max_positions"
        # Not a reduction: larger than the position, or the same way.
        assert await refused(terminal, closing(position, MAGIC + 2, 0.2)) == "max_positions"
        assert await refused(terminal, {**closing(position, MAGIC + 3), "type": 0}) == "max_positions"
        assert (await terminal.order_send(closing(position, MAGIC + 4))).retcode == DONE
        assert await terminal.positions_get() == ()


async def test_a_days_loss_stops_new_orders_also_after_a_restart(world):
    expert = await world.open(inputs={"InpMaxDailyLossPct": 1.0})
    terminal = await world.terminal_of()
    with expert.running():
        await terminal.ready(5.0)
        position = await position_of(world, terminal)
        result = await terminal.order_send(request_for(MAGIC + 1, 0.9))
        assert result.retcode == DONE
        with expert.lock:
            world.market.move("EURUSD", 1.0980)
        assert await refused(terminal, request_for(MAGIC + 2)) == "daily_loss"
    expert.end()
    world.heard.clear()
    again = await world.open(files=expert.files, inputs={"InpMaxDailyLossPct": 1.0})
    with again.running():
        await world.until(lambda: world.said("heartbeat") and world.said("heartbeat")[-1]["blocked"])
        answer = await ask(world, order("k9"))
        assert answer["reason"] == "daily_loss"
        assert world.said("heartbeat")[-1]["blocked"] == "daily_loss"
        closed = await ask(world, encode(EaOrder(
            ts_event_ns=0, ts_init_ns=0, protocol=PROTOCOL, account="paper", key="k10", expires_ns=time.time_ns() + 10**10,
            request=closing(position, MAGIC + 3),
        )))
        assert closed["result"]["retcode"] == DONE
        # A new day at the server is a new allowance.
        with again.lock:
            world.market.move("EURUSD", 1.0980, step_ms=86_400_000)
        assert (await ask(world, order("k11")))["outcome"] == "answered"


async def test_the_kill_file_stops_new_orders_and_halts_everybody(world):
    expert = await world.open()
    terminal = await world.terminal_of()
    commands = []
    operator = await world.bus("operator")
    await operator.on_message("control.halt", lambda subject, payload: commands.append(msgspec.json.decode(payload)))
    with expert.running():
        await terminal.ready(5.0)
        position = await position_of(world, terminal)
        kill = expert.files / "tickwire" / "kill"
        kill.write_text("")
        assert await refused(terminal, request_for(MAGIC + 1)) == "kill_file"
        await world.until(lambda: commands)
        assert (await terminal.order_send(closing(position, MAGIC + 2))).retcode == DONE
        kill.unlink()
        assert (await terminal.order_send(request_for(MAGIC + 3))).retcode == DONE
        await asyncio.sleep(1.2)
    assert [(one["type"], one["issued_by"], one["reason"]) for one in commands] == [("Halt", "TickwireBridge", "kill_file")]


async def test_a_silent_risk_stops_new_orders_until_it_speaks_again(world):
    expert = await world.open(inputs={"InpDeadManSeconds": 0.6})
    terminal = await world.terminal_of()
    with expert.running():
        await terminal.ready(5.0)
        assert await refused(terminal, request_for(MAGIC + 1)) == "dead_man"
        await world.risk_beats()
        await asyncio.sleep(0.1)
        position = await position_of(world, terminal)
        await asyncio.sleep(0.8)
        assert await refused(terminal, request_for(MAGIC + 2)) == "dead_man"
        assert (await terminal.order_send(closing(position, MAGIC + 3))).retcode == DONE
        await world.risk_beats()
        await asyncio.sleep(0.1)
        assert (await terminal.order_send(request_for(MAGIC + 4))).retcode == DONE


async def test_a_risk_that_stays_silent_has_our_positions_closed_where_that_was_asked_for(world):
    expert = await world.open(inputs={"InpDeadManSeconds": 0.5, "InpFlattenAfterSeconds": 1.0})
    terminal = await world.terminal_of()
    with expert.running():
        await terminal.ready(5.0)
        await world.risk_beats()
        await asyncio.sleep(0.1)
        await position_of(world, terminal)
        with expert.lock:
            by_hand = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "price": 1.1001, "magic": 5}
            world.terminal.order_send(by_hand)
        await world.until(lambda: len(world.terminal.positions_get()) == 1, 6.0)
        await asyncio.sleep(0.2)
    (left,) = world.terminal.positions_get()
    assert left.magic == 5


async def test_trading_switched_off_or_a_lost_broker_is_a_refusal_of_ours(world):
    expert = await world.open()
    with expert.running():
        await world.until(lambda: world.said("hello"))
        world.answers.trade_allowed = False
        assert (await ask(world, order("a")))["reason"] == "trading_disabled"
        world.answers.trade_allowed, world.answers.connected = True, False
        assert (await ask(world, order("b")))["reason"] == "not_connected"
        world.answers.connected = True
        assert (await ask(world, order("c")))["outcome"] == "answered"


async def test_a_table_that_cannot_be_written_takes_no_order(world):
    expert = await world.open()
    with expert.running():
        await world.until(lambda: world.said("hello"))
        expert.fault(writes_fail=1)
        assert (await ask(world, order("a")))["reason"] == "table_broken"
        assert (await ask(world, order("b")))["reason"] == "table_broken"
        await world.until(lambda: [beat for beat in world.said("heartbeat") if beat["blocked"] == "table_broken"])
    assert not world.answers.sent
    assert os.path.exists(expert.files / "tickwire" / "orders-paper.tbl")
