"""Lockstep: whatever the order of arrival within a step, a service handles its messages in one order, and waits."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.bus.protocol import Delivered
from libs.common.core import Route, Stage
from libs.common.messages.control import Halt, Watermark
from libs.common.runtime.lockstep import Lockstep
from services.executor.core import ExecutorCore
from services.features.core import FeaturesCore
from services.inference.core import InferenceCore
from services.risk.core import RiskCore
from services.trainer.core import TrainerCore

CORES = {
    "features": FeaturesCore, "inference": InferenceCore, "risk": RiskCore, "executor": ExecutorCore,
    "trainer": TrainerCore,
}


def message(subject, seq, step):
    """Return a delivery; only its place and step matter here."""
    content = Halt(ts_event_ns=1, ts_init_ns=1, seq=seq, step=step, command_id="c", issued_by="i", reason="r")
    return Delivered(subject, b"", content, seq)


def watermark(service, stage, step, sent=None):
    return Watermark(ts_event_ns=1, ts_init_ns=1, service=service, stage=stage, step=step, sent=sent or {})


ROUTES = (
    Route(pattern="ticks.*", kinds=(Halt,)),
    Route(pattern="account.*", kinds=(Halt,), after=("ticks",)),
    Route(pattern="predictions.*", kinds=(Halt,), after=("ticks", "broker.market")),
    Route(pattern="control.halt", kinds=(Halt,)),
)
STAGES = (Stage(name="settled", after=("oracle.predicted", "broker.market")),)


class World:
    """Two steps of three services' messages to ours, fed in any order that keeps each subject's own order."""

    def __init__(self):
        self.lockstep = Lockstep("risk", ROUTES, STAGES)
        self.seen = {}
        self.handled = []
        self.reached = []

    def feed(self, item):
        if isinstance(item, Watermark):
            self.lockstep.mark(item)
        else:
            self.lockstep.take(item)
        while (released := self.lockstep.release(self.seen)) is not None:
            self.handled.append((released.message.step, released.subject, released.seq))
            self.seen[released.subject] = released.seq
            if released.subject.startswith("ticks."):
                self.lockstep.handled_ticks(released.message.step)
        self.reached += self.lockstep.reached(self.seen)


def step_messages(step):
    """What reaches risk in one step: ingest's ticks, the broker's account, the oracle's prediction, and marks."""
    return {
        "ticks.A": [message("ticks.A", step, step)],
        "account.x": [message("account.x", 2 * step - 1, step), message("account.x", 2 * step, step)],
        "predictions.A": [message("predictions.A", step, step)],
        "broker": [watermark("broker", "market", step, {"account.x": 2 * step, "elsewhere.y": 99 * step})],
        "oracle": [watermark("oracle", "predicted", step, {"predictions.A": step})],
    }


def expected(step):
    return [
        (step, "ticks.A", step), (step, "account.x", 2 * step - 1), (step, "account.x", 2 * step),
        (step, "predictions.A", step),
    ]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_order_of_arrival_is_handled_in_one_order(data):
    world = World()
    for step in (1, 2, 3):
        lanes = step_messages(step)
        while lanes:
            lane = data.draw(st.sampled_from(sorted(lanes)))
            world.feed(lanes[lane].pop(0))
            if not lanes[lane]:
                del lanes[lane]
        assert world.handled == [entry for done in range(1, step + 1) for entry in expected(done)]
        assert world.reached == [("settled", done) for done in range(1, step + 1)]
    assert len(world.lockstep) == 0


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_restart_in_the_middle_of_a_step_changes_nothing(data):
    """A restarted service gets what it had not handled once more, in any order, and the marks again."""
    world = World()
    for step in (1, 2):
        lanes, fed = step_messages(step), []
        kill_after = data.draw(st.integers(0, 6))
        while lanes:
            lane = data.draw(st.sampled_from(sorted(lanes)))
            fed.append(lanes[lane].pop(0))
            world.feed(fed[-1])
            if not lanes[lane]:
                del lanes[lane]
            if len(fed) == kill_after:
                world.lockstep = Lockstep("risk", ROUTES, STAGES)
                world.lockstep.handled_ticks(max((entry[0] for entry in world.handled), default=0))
                again = [
                    item for item in fed if isinstance(item, Watermark) or item.seq > world.seen.get(item.subject, 0)
                ]
                for item in data.draw(st.permutations(again)):
                    world.feed(item)
        assert world.handled == [entry for done in range(1, step + 1) for entry in expected(done)]
        assert world.lockstep.stages() == {"settled": step}


def test_a_message_waits_until_everything_its_mark_tells_of_was_handled():
    world = World()
    world.feed(message("ticks.A", 1, 1))
    world.feed(message("predictions.A", 1, 1))
    world.feed(watermark("broker", "market", 1, {"account.x": 1}))
    assert world.handled == [(1, "ticks.A", 1)]
    world.feed(message("account.x", 1, 1))
    assert world.handled[-1] == (1, "predictions.A", 1)


def test_a_command_does_not_wait():
    world = World()
    world.feed(message("predictions.A", 1, 1))
    world.feed(message("control.halt", 1, 0))
    assert world.handled == [(0, "control.halt", 1)]


def test_a_stage_is_reached_once_and_not_while_something_of_its_step_waits():
    world = World()
    world.feed(watermark("oracle", "predicted", 5))
    world.feed(message("predictions.A", 1, 3))
    world.feed(watermark("broker", "market", 5))
    # The prediction of step 3 waits for ticks: the stage may say 2, not more.
    assert world.reached == [("settled", 2)]
    for step in (1, 2, 3):
        world.feed(message("ticks.A", step, step))
    assert world.reached[-1] == ("settled", 5)
    assert world.lockstep.reached(world.seen) == []
    assert world.lockstep.stages() == {"settled": 5}


def test_an_older_mark_does_not_take_anything_back():
    world = World()
    world.feed(message("ticks.A", 1, 4))
    world.feed(watermark("broker", "market", 4))
    world.feed(watermark("broker", "market", 1))
    world.feed(message("predictions.A", 1, 4))
    assert world.handled[-1] == (4, "predictions.A", 1)


def _marks(core):
    routes = {mark for route in core.HEARS for mark in route.after}
    return routes | {mark for stage in core.STAGES for mark in stage.after}


@pytest.mark.parametrize("name", CORES)
def test_every_mark_a_core_waits_for_is_made_by_someone(name):
    known = {"ticks"} | {f"{other}.{stage.name}" for other, core in CORES.items() for stage in core.STAGES}
    assert _marks(CORES[name]) <= known


def test_no_service_waits_for_itself_by_way_of_another():
    """Each route and stage is a node; a cycle would stand still for ever."""
    after = {}
    for name, core in CORES.items():
        for stage in core.STAGES:
            after[f"{name}.{stage.name}"] = set(stage.after) - {"ticks"}
    reached = set()
    while True:
        ready = {node for node, waits in after.items() if node not in reached and waits <= reached}
        if not ready:
            break
        reached |= ready
    assert reached == set(after)
