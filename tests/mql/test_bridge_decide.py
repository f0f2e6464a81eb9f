"""The stand-alone mode: a question per closed minute, an answer that is executed at most once."""

import asyncio

import msgspec
import pytest

from libs.common.codec import Codec
from libs.common.messages.ea import EaBarRequest
from tests.mql.bridge_world import bridge_world

codec = Codec()


@pytest.fixture
async def world(tmp_path, ea):
    async with bridge_world(tmp_path, ea) as found:
        found.market.move("EURUSD", count=3)
        yield found


async def brain(world, answer):
    """Answer questions as somebody; return the questions."""
    questions = []
    bus = await world.bus("operator")

    def decide(payload):
        questions.append(msgspec.json.decode(payload))
        return msgspec.json.encode(answer(questions[-1]))

    await bus.answer("ea.paper.decide.*", decide)
    await bus.settle()
    return questions


def decision(question, action, **more):
    return {"type": "EaDecision", "protocol": 1, "instance": "me", "id": question["id"], "action": action, "size": 0.1,
            "sl": 0.0, "tp": 0.0, **more}  # fmt: skip


async def minute(world, expert, bid=1.1):
    """Let a minute close."""
    with expert.lock:
        world.market.move("EURUSD", bid, step_ms=60_000)


INPUTS = {"InpMode": 2, "InpMaxPositions": 5, "InpDeadManSeconds": 1.0}


async def test_a_closed_minute_is_asked_about_once_and_the_answer_is_executed_once(world):
    questions = await brain(world, lambda question: decision(question, "BUY" if len(questions) == 1 else "HOLD"))
    expert = await world.open(inputs=INPUTS)
    with expert.running():
        await minute(world, expert)
        await world.until(lambda: questions and world.answers.sent)
        for _ in range(3):
            with expert.lock:
                world.market.move("EURUSD", count=5, step_ms=100)
        await asyncio.sleep(0.5)
        assert len(questions) == 1
        await minute(world, expert)
        await world.until(lambda: len(questions) == 2)
        await asyncio.sleep(0.3)
    assert len(world.answers.sent) == 1
    asked = codec.decode(msgspec.json.encode(questions[1]))
    assert isinstance(asked, EaBarRequest)
    assert asked.position == 1
    assert len(asked.time_s) == 1
    assert questions[0]["bootstrap"] is True


async def test_a_short_answer_turns_a_long_position_and_flat_closes_it(world):
    actions = iter([1, 2, 0, 999, 999, 999])
    questions = await brain(world, lambda question: decision(question, next(actions)))
    expert = await world.open(inputs=INPUTS)
    with expert.running():
        for count in (1, 2, 3):
            await minute(world, expert)
            await world.until(lambda count=count: len(questions) == count)
            await asyncio.sleep(0.3)
            with expert.lock:
                positions = world.terminal.positions_get()
            assert [position.type for position in positions] == {1: [0], 2: [1], 3: []}[count]


async def test_an_answer_that_names_another_request_or_makes_no_sense_does_nothing(world):
    older = {"id": "bar-EURUSD-1", "action": "BUY", "size": 1}
    answers = iter([{"action": 1, "size": 0.1}, {"nothing": 1}, "no object", older])
    questions = await brain(world, lambda question: next(answers))
    expert = await world.open(inputs=INPUTS)
    with expert.running():
        for count in range(1, 5):
            await minute(world, expert)
            await world.until(lambda count=count: len(questions) == count)
            await asyncio.sleep(0.2)
    assert not world.answers.sent


async def test_an_older_answerer_is_understood_and_understands(world):
    def old(question):
        assert set(question) == {"time", "rates", "symbol", "bootstrap", "position", "account"}
        return {"action": 1, "size": 0.1, "sl": 1.09, "tp": 1.12}

    questions = await brain(world, old)
    expert = await world.open(inputs={**INPUTS, "InpDecideVersion": 0})
    with expert.running():
        await minute(world, expert)
        await world.until(lambda: world.answers.sent)
    (request,) = world.answers.sent
    assert (request["sl"], request["tp"], request["volume"]) == (1.09, 1.12, 0.1)
    assert questions[0]["bootstrap"] == 1
    assert len(questions[0]["rates"]["m1"][0]) == 5


async def test_its_own_limits_hold_there_too(world):
    questions = await brain(world, lambda question: decision(question, 1, size=5.0))
    expert = await world.open(inputs=INPUTS)
    with expert.running():
        await minute(world, expert)
        await world.until(lambda: questions)
        await asyncio.sleep(0.3)
    assert not world.answers.sent


async def test_in_this_mode_orders_of_the_executor_are_not_taken(world):
    from tests.mql.test_bridge_orders import ask, order

    expert = await world.open(inputs=INPUTS)
    with expert.running():
        await world.until(lambda: world.said("hello"))
        with pytest.raises(TimeoutError):
            await ask(world, order(), timeout_s=0.5)
    assert not world.answers.sent
