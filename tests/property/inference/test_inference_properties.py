"""A restart equals a replay, every row gets one prediction, whatever happens in between."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.core import dispatch
from libs.common.messages.base import Message
from libs.common.messages.features import FeatureBlock
from services.inference.config import DriftConfig
from services.inference.core import InferenceCore
from tests.unit.inference.inference_world import EAGER, World, plain, promoted, retired, shadowed
from tests.unit.models.small_models import feature_row

CONFIG = msgspec.structs.replace(EAGER, max_shadows=2, drift=DriftConfig(window_rows=20, panes=2, ignore=()))
SYMBOLS = ("EURUSD", "US30.cash")
versions, symbols = st.integers(1, 4), st.sampled_from(SYMBOLS)
moves = st.one_of(
    st.tuples(st.just("rows"), symbols, st.integers(1, 30)),
    st.tuples(st.sampled_from(("promote", "shadow", "retire")), symbols, versions),
    st.tuples(st.just("break"), symbols, versions),
    st.tuples(st.sampled_from(("answer", "answer_last", "odd_row")), symbols, st.just(0)),
)
EVENTS = {"promote": promoted, "shadow": shadowed, "retire": retired}


class History:
    """Plays moves to a world and keeps every input with what was said to it."""

    def __init__(self) -> None:
        self.world = World(CONFIG)
        self.rows = 0
        self.steps: list[tuple[Message, tuple[bytes, ...]]] = []

    def hear(self, message: Message) -> tuple[Message, ...]:
        out = dispatch(self.world.core, message, message.ts_event_ns)
        self.steps.append((message, tuple(plain(out))))
        self.world.asked += [item for item in out if hasattr(item, "effect_id")]
        return out

    def play(self, move: tuple[str, str, int]) -> None:
        what, symbol, number = move
        if what == "rows":
            for _ in range(number):
                self.hear(feature_row(self.rows, symbol))
                self.rows += 1
        elif what == "odd_row":
            self.hear(feature_row(self.rows, symbol, schema_id="odd"))
        elif what in EVENTS:
            self.hear(EVENTS[what](number, symbol, seed=number - 1, at=self.rows))
        elif what == "break":
            self.hear(promoted(number, symbol, seed=number - 1, at=self.rows))
            for effect in self.world.asked[-1:]:
                self.world.store[effect.object_name] = b"broken"
        elif self.world.asked:
            effect = self.world.asked.pop(0 if what == "answer" else -1)
            self.hear(self.world.perform(effect))


OPENING = (
    ("promote", "EURUSD", 1), ("answer", "", 0), ("shadow", "EURUSD", 2), ("answer", "", 0), ("rows", "EURUSD", 25),
)


@given(st.lists(moves, min_size=1, max_size=14), st.floats(0.0, 1.0))
@settings(max_examples=80, deadline=None)
def test_a_restart_is_invisible(story, where):
    """Snapshot anywhere, restore into a new core with the same library, play on: outputs and state agree.

    The core that was asked for the snapshot plays on too: looking must change nothing.
    """
    history = History()
    for move in (*OPENING, *story):
        history.play(move)
    cut = round(where * len(history.steps))
    first, second = (InferenceCore(CONFIG, history.world.library) for _ in range(2))
    for message, said in history.steps[:cut]:
        assert tuple(plain(dispatch(first, message, message.ts_event_ns))) == said
    second.restore(first.snapshot())
    for message, said in history.steps[cut:]:
        for core in (first, second):
            assert tuple(plain(dispatch(core, message, message.ts_event_ns))) == said
    assert first.snapshot() == second.snapshot() == history.world.core.snapshot()
    assert first.details() == second.details() == history.world.core.details()


@given(st.lists(moves, min_size=1, max_size=14))
@settings(max_examples=60, deadline=None)
def test_once_there_is_a_champion_every_row_gets_exactly_one_prediction_of_it(story):
    history = History()
    for move in (("promote", "EURUSD", 1), ("answer", "", 0), *story):
        history.play(move)
    decoded = [
        (message, [msgspec.json.decode(item) for item in said]) for message, said in history.steps[2:]
        if isinstance(message, FeatureBlock) and message.symbol == "EURUSD" and message.schema_id != "odd"
    ]
    for message, said in decoded:
        tradable = [item for item in said if "p_up" in item and not item["shadow"]]
        assert [item["ts_event_ns"] for item in tradable] == [message.ts_event_ns]
