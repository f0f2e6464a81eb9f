"""A trainer that was stopped and restored says what one says that never stopped."""

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.codec import encode
from libs.common.core import dispatch
from services.trainer.core import TrainerCore
from services.trainer.effects import TrainModel
from tests.unit.trainer.market import SYMBOL, config, stream
from tests.unit.trainer.test_core import BETTER, SKILLED, WORSE, trained


def inputs(messages, verdicts, delay):
    """Return messages with the answers to the trainings they cause, each so many messages later."""
    one, due, told = TrainerCore(config(), (SYMBOL,), {}, 1), {}, []
    for number, message in enumerate(messages):
        for now in [message, *due.pop(number, [])]:
            told.append(now)
            for output in dispatch(one, now, now.ts_event_ns):
                if isinstance(output, TrainModel):
                    metrics = verdicts[output.version % len(verdicts)]
                    due.setdefault(number + 1 + delay, []).append(trained(output, metrics))
    return told


def said(one, messages):
    outputs = [output for message in messages for output in dispatch(one, message, message.ts_event_ns)]
    return [
        (output.effect_id, output.dataset.digest(), output.trigger) if isinstance(output, TrainModel)
        else encode(output) for output in outputs
    ]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1_000), split=st.integers(0, 250), delay=st.integers(0, 20),
    verdicts=st.lists(st.sampled_from([SKILLED, BETTER, WORSE]), min_size=1, max_size=4),
)
def test_restart_is_replay(seed, split, delay, verdicts):
    messages = inputs(stream(400, seed=seed), verdicts, delay)
    never, before, after = (TrainerCore(config(), (SYMBOL,), {}, 1) for _ in range(3))
    whole = said(never, messages)
    first = said(before, messages[:split])
    after.restore(before.snapshot())
    assert after.snapshot() == before.snapshot()
    assert first + said(after, messages[split:]) == whole
    assert after.snapshot() == never.snapshot()
    assert after.details() == never.details()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1_000), cuts=st.lists(st.integers(1, 399), max_size=60))
def test_cutting_the_ticks_otherwise_changes_no_training(seed, cuts):
    plain, cut = (TrainerCore(config(), (SYMBOL,), {}, 1) for _ in range(2))
    one = said(plain, stream(400, every=7, seed=seed))
    other = said(cut, stream(400, every=7, cuts=cuts, seed=seed))
    assert one == other
    assert plain.snapshot() == cut.snapshot()
