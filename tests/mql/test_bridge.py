"""TickwireBridge says what its terminal shows, and nothing is lost or said twice: on a real nats-server."""

import asyncio

import msgspec
import numpy as np
import pytest

from libs.common.codec import Codec
from libs.common.messages.ea import EaAsker
from libs.common.routing import subject_of
from tests.mql.bridge_world import START_NS, bridge_world

codec = Codec()
CALENDAR = ({"id": 9, "event_id": 3, "time": START_NS // 10**9 + 9_000, "actual_value": 1_500_000, "prev_value": None},)


@pytest.fixture
async def world(tmp_path, ea):
    async with bridge_world(tmp_path, ea) as found:
        yield found


async def test_it_says_who_it_is_and_everything_it_says_is_a_message_of_ours(world):
    world.answers.calendar = CALENDAR
    world.market.move("EURUSD", count=3)
    world.market.move("XAUUSD", 2030.0)
    expert = await world.open()
    kinds = ("hello", "heartbeat", "account", "calendar", "specification", "ticks", "bars")
    with expert.running():
        await world.until(lambda: world.said("hello") and world.said("heartbeat") and world.said("account"))
        world.market.move("EURUSD", step_ms=60_000)
        world.market.move("XAUUSD", 2031.0, step_ms=1)
        await world.until(lambda: all(world.said(kind) for kind in kinds))
    for subject, said in world.heard:
        message = codec.decode(msgspec.json.encode(said), subject)
        assert subject_of(message) == subject
    hello = world.said("hello")[0]
    assert hello["symbols"] == ["EURUSD", "XAUUSD"]
    assert hello["signed"] is True
    specification = world.said("specification")[0]
    assert specification["trade_sessions"][0] == {"day": 1, "from_s": 60, "to_s": 86_340}
    (value,) = world.said("calendar")[0]["values"]
    assert (value["actual"], value["previous"], value["currency"]) == (1.5, None, "USD")
    bar = next(bars for bars in world.said("bars") if bars["symbol"] == "EURUSD")
    assert bar["timeframe_s"] == 60
    assert bar["tick_volume"] == [3]
    assert bar["time_s"] == [START_NS // 10**9 + 7_200]


async def test_it_is_quiet_about_what_has_not_changed(world):
    world.answers.calendar = CALENDAR
    world.market.move("EURUSD")
    expert = await world.open()
    with expert.running():
        await world.until(lambda: len(world.said("heartbeat")) >= 3)
    assert len(world.said("hello")) == len(world.said("calendar")) == 1
    assert len(world.said("specification")) == 2
    assert [beat["seq"] for beat in world.said("heartbeat")][:3] == [1, 2, 3]


def published(world, symbol="EURUSD"):
    """Return all published ticks of a symbol as (time, bid), and check their numbers."""
    messages = [said for said in world.said("ticks") if said["symbol"] == symbol]
    rows, wanted = [], 1
    for message in messages:
        assert message["first"] == wanted
        wanted += len(message["time_msc"])
        rows += zip(message["time_msc"], message["bid"], strict=True)
    return rows


def shown(world, symbol="EURUSD"):
    """Return the terminal's own history of a symbol."""
    array = world.terminal.copy_ticks_from(symbol, START_NS // 10**9, 10**6, -1)
    return list(zip(array["time_msc"].tolist(), array["bid"].tolist(), strict=True))


@pytest.mark.parametrize("faults", [{}, {"read_max": 3, "write_max": 5}], ids=["plain", "3-byte reads, 5-byte writes"])
@pytest.mark.parametrize("sanitized", [False, True], ids=["", "asan"])
async def test_every_tick_is_published_once_however_many_one_event_stands_for(world, faults, sanitized):
    world.market.move("EURUSD")
    expert = await world.open(faults=faults, sanitized=sanitized)
    with expert.running():
        await world.until(lambda: world.said("ticks"))
        draw = np.random.default_rng(7)
        for _ in range(12):
            with expert.lock:
                # Several ticks of one millisecond, and ticks that share it with the last one given out.
                count, step_ms = draw.integers(1, 30 if faults else 400), draw.integers(0, 3)
                world.market.move("EURUSD", count=int(count), step_ms=int(step_ms))
            if draw.random() < 0.5:
                expert.tick()
        await world.until(lambda: len(published(world)) == len(shown(world)), 30.0)
    assert published(world) == shown(world)
    assert expert.deinit() == 0
    assert expert.leaks == 0


async def test_ticks_wait_for_a_bus_that_is_gone_and_none_is_lost_or_doubled(world):
    world.market.move("EURUSD")
    expert = await world.open()
    with expert.running():
        await world.until(lambda: world.said("ticks"))
        await world.server.stop()
        for _ in range(5):
            with expert.lock:
                world.market.move("EURUSD", count=50)
            await asyncio.sleep(0.05)
        await world.server_back()
        await world.until(lambda: len(published(world)) == len(shown(world)), 30.0)
    assert published(world) == shown(world)
    assert len(world.said("hello")) >= 2


async def test_a_symbol_with_odd_characters_is_one_token_of_the_subject(world):
    from libs.common.config import InstrumentConfig
    from libs.common.mt5.sim.settings import TerminalSettings
    from libs.common.mt5.sim.terminal import SimulatedTerminal
    from libs.common.mt5.sim.tick_history import TickHistory
    from libs.common.trading.instrument import Instrument

    name = "US30.cash#ä"
    world.terminal = SimulatedTerminal(
        TerminalSettings(), {name: Instrument(name, InstrumentConfig(margin_currency="USD"))}, 1, TickHistory()
    )
    world.answers.mt5 = world.market.terminal = world.terminal
    world.market._ticks[name] = 0
    world.market.move(name)
    expert = await world.open(symbol=name, inputs={"InpSymbols": ""})
    with expert.running():
        await world.until(lambda: world.said("ticks"))
    subjects = {subject for subject, _ in world.heard}
    assert "ea.paper.ticks.US30%2Ecash%23%C3%A4" in subjects
    assert world.said("ticks")[0]["symbol"] == name


async def test_an_address_that_is_not_allowed_is_tried_again_and_hurts_nobody(world):
    world.market.move("EURUSD")
    expert = await world.open(allowed="example.org")
    for _ in range(200):
        expert.timer()
        expert.tick()
        await asyncio.sleep(0.001)
    assert not world.said("hello")
    assert expert.deinit() == 0


async def test_a_wrong_password_is_told_and_the_program_lives_on(world):
    world.market.move("EURUSD")
    expert = await world.open()
    (expert.files / "tickwire" / "ea.password").write_text("wrong\n")
    again = world._start_expert(
        "TickwireBridge.mq5", inputs={**world_inputs(world), "InpAccount": "other"}, answers=world.answers
    )
    (again.files / "tickwire").mkdir(parents=True)
    (again.files / "tickwire" / "ea.password").write_text("wrong\n")
    assert again.init() == 0
    for _ in range(100):
        again.timer()
        await asyncio.sleep(0.002)
    assert not [subject for subject, _ in world.heard if subject.startswith("ea.other")]
    assert again.deinit() == 0


def world_inputs(world):
    from tests.mql.bridge_world import INPUTS

    return {**INPUTS, "InpPort": world.server.port}


async def test_the_drop_copy_tells_what_the_terminal_told_whoever_caused_it(world):
    world.market.move("EURUSD")
    expert = await world.open()
    with expert.running():
        await world.until(lambda: world.said("hello"))
        with expert.lock:
            result = world.terminal.order_send({
                "action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "price": 1.1001, "magic": 0, "comment": "by hand",
            })  # fmt: skip
        expert.transaction({"type": 6, "deal": result.deal, "order": result.order,
                            "symbol": "EURUSD", "volume": 0.1, "price": 1.1001})
        await world.until(lambda: world.said("transactions"))
        count = len(world.said("account"))
        await world.until(lambda: len(world.said("account")) > count)
    (told,) = world.said("transactions")
    assert (told["kind"], told["deal"]) == (6, result.deal), told
    assert told["figures"]["comment"] == "by hand"
    assert told["figures"]["entry"] == 0


async def test_on_tick_never_reads_the_bus_and_never_sends_an_order(world):
    from tests.mql.bridge_world import request_for

    world.market.move("EURUSD")
    expert = await world.open()
    terminal = await world.terminal_of()
    with expert.running():
        await terminal.ready(5.0)
    sending = asyncio.create_task(terminal.order_send(request_for()))
    await asyncio.sleep(0.1)
    for _ in range(20):
        expert.tick()
    assert not world.answers.sent
    with expert.running():
        assert (await sending).retcode == 10_009


# ---- what ingest asks


async def test_ticks_that_were_pushed_need_not_be_asked_for_and_older_ones_are(world):
    world.market.move("EURUSD", count=30)
    expert = await world.open()
    terminal = await world.terminal_of(EaAsker.INGEST, ticks=True)
    with expert.running():
        await terminal.ready(5.0)
        await world.until(lambda: terminal.pushed)
        with expert.lock:
            world.market.move("EURUSD", count=5_000, step_ms=7)
        await world.until(lambda: len(published(world)) == 5_001)
        asked = expert.calls["CopyTicks"]
        first_s = START_NS // 10**9 + 7_200  # the server is two hours ahead
        whole = await terminal.copy_ticks_from("EURUSD", first_s, 10_000)
        late = await terminal.copy_ticks_from("EURUSD", int(whole["time"][-1]), 10_000)
    assert len(whole) == 5_030
    assert whole["time_msc"].tolist() == [time for time, _ in shown(world)]
    assert asked
    assert late["time_msc"].tolist() == [time for time, _ in shown(world) if time >= int(whole["time"][-1]) * 1_000]


async def test_a_lost_message_is_noticed_and_the_hole_is_asked_for(world):
    world.market.move("EURUSD")
    expert = await world.open()
    terminal = await world.terminal_of(EaAsker.INGEST, ticks=True)
    with expert.running():
        await terminal.ready(5.0)
        await world.until(lambda: terminal.pushed)
        heard, terminal._hear_ticks_off = terminal._hear, None
        for number in range(3):
            before = len(world.said("ticks"))
            if number == 1:
                terminal.pushed["EURUSD"].add = lambda ticks: None  # the message is lost on the way
            with expert.lock:
                world.market.move("EURUSD", count=20, step_ms=400)
            await world.until(lambda before=before: len(world.said("ticks")) > before)
            await asyncio.sleep(0.05)
            if number == 1:
                del terminal.pushed["EURUSD"].add
        assert terminal.pushed["EURUSD"].breaks == 1
        second = int(shown(world)[25][0]) // 1_000
        array = await terminal.copy_ticks_from("EURUSD", second, 10_000)
    assert heard
    assert array["time_msc"].tolist() == [time for time, _ in shown(world) if time >= second * 1_000]
