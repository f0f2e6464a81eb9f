"""What became of each model."""

from libs.common.codec import encode
from libs.common.messages.models import (
    ModelEvent,
    ModelLoaded,
    ModelPromoted,
    ModelPublished,
    ModelRefused,
    ModelRejected,
    ModelRetired,
)
from tickwire.models_history import ModelHistory


class Events:
    """Numbers events per subject."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, kind: type[ModelEvent], version: int, **fields: object) -> ModelEvent:
        self.count += 1
        common = {"name": "direction-EURUSD", "symbol": "EURUSD", "bundle_sha256": f"{version:x}", "version": version}
        return kind(ts_event_ns=self.count, ts_init_ns=self.count, seq=self.count, **common, **fields)  # type: ignore[arg-type]


def test_states_champions_and_the_one_before_follow_from_the_events() -> None:
    event, history = Events(), ModelHistory()
    for message in (
        event(ModelPublished, 1), event(ModelPromoted, 1, metrics={"auc": 0.6}), event(ModelLoaded, 1),
        event(ModelPublished, 2), event(ModelRefused, 2, reason="not_better"),
        event(ModelPublished, 3), event(ModelPromoted, 3), event(ModelRetired, 1), event(ModelLoaded, 3),
    ):
        history.take(message)
    rows = {row["version"]: row for row in history.rows()}
    assert {version: row["state"] for version, row in rows.items()} == {1: "retired", 2: "refused", 3: "promoted"}
    assert [version for version, row in rows.items() if row["in_service"]] == [3]
    assert [version for version, row in rows.items() if row["champion"]] == [3]
    assert rows[2]["reason"] == "not_better"
    assert rows[1]["metrics"] == {"auc": 0.6}
    assert history.champions()["direction-EURUSD"].version == 3
    assert history.previous("direction-EURUSD") == 1


def test_a_rollback_makes_the_old_version_champion_and_the_new_one_the_one_before() -> None:
    event, history = Events(), ModelHistory()
    for version in (1, 2):
        history.take(event(ModelPromoted, version))
    history.take(event(ModelPromoted, 1, rollback=True))
    assert history.champions()["direction-EURUSD"].version == 1
    assert history.previous("direction-EURUSD") == 2


def test_a_repetition_changes_nothing_and_a_rejected_bundle_is_not_in_service() -> None:
    event, history = Events(), ModelHistory()
    promoted, loaded = event(ModelPromoted, 1), event(ModelLoaded, 1)
    for message in (promoted, loaded, promoted, event(ModelRejected, 1, reason="bad signature")):
        history.take(message)
    [row] = history.rows()
    assert (row["in_service"], row["reason"], row["state"]) == (False, "bad signature", "promoted")
    assert history.promotions == {"direction-EURUSD": [1]}


def test_what_is_no_model_event_is_ignored() -> None:
    history = ModelHistory()
    history.hear("models.x.promoted", b"{}")
    history.hear("models.direction-EURUSD.promoted", encode(Events()(ModelPromoted, 4)))
    assert [row["version"] for row in history.rows()] == [4]
    assert history.previous("nobody") is None
