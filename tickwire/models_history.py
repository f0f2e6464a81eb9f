"""What became of each model, folded from the events on ``models.*``."""

from collections.abc import Iterator
from typing import Any

import msgspec

from libs.common import subjects
from libs.common.bus.nats import NatsBus
from libs.common.codec import Codec
from libs.common.errors import MalformedMessage
from libs.common.messages.models import (
    ModelEvent,
    ModelLoaded,
    ModelPromoted,
    ModelPublished,
    ModelRefused,
    ModelRejected,
    ModelRetired,
    ModelShadowed,
)
from tickwire.connect import stored

PATTERN = "models.*.*"
_codec = Codec(
    (ModelLoaded, ModelPromoted, ModelPublished, ModelRefused, ModelRejected, ModelRetired, ModelShadowed)
)
_decisions = (ModelPromoted, ModelRefused, ModelRetired, ModelShadowed)


class VersionState(msgspec.Struct):
    """One version of one model.

    Parameters
    ----------
    state : the last decision about it: published, shadowed, promoted, refused, retired
    in_service : inference says it predicts with it; ``rejected`` why it does not
    metrics : out-of-fold figures
    changed_ns : event time of the last decision
    """

    name: str
    version: int
    symbol: str
    state: str
    bundle_sha256: str
    metrics: dict[str, float]
    changed_ns: int
    in_service: bool = False
    reason: str = ""


class ModelHistory:
    """All versions of all models, and which was champion before which."""

    def __init__(self) -> None:
        self.versions: dict[tuple[str, int], VersionState] = {}
        self.promotions: dict[str, list[int]] = {}
        self._last_seq: dict[str, int] = {}

    async def load(self, bus: NatsBus) -> None:
        """Read what the stream holds."""
        found = [delivered.message async for delivered in stored(bus, (PATTERN,))]
        events = [message for message in found if isinstance(message, ModelEvent)]
        # Subjects of one model race; the wall time of building an event orders them.
        for event in sorted(events, key=lambda event: event.ts_init_ns):
            self.take(event)

    def hear(self, subject: str, payload: bytes) -> None:
        """Take one message as it comes; anything that is no model event is ignored."""
        try:
            self.take(_codec.decode(payload, subject))
        except MalformedMessage:
            return

    def take(self, event: ModelEvent) -> None:
        """Fold one event in; a repetition changes nothing."""
        subject = subjects.models(event.name, _event_word(event))
        if event.seq and event.seq <= self._last_seq.get(subject, 0):
            return
        self._last_seq[subject] = event.seq
        key = (event.name, event.version)
        state = self.versions.get(key)
        if state is None:
            state = self.versions[key] = VersionState(
                event.name, event.version, event.symbol, "published", event.bundle_sha256, {}, event.ts_event_ns
            )
        if event.metrics:
            state.metrics = dict(event.metrics)
        if isinstance(event, _decisions):
            state.state, state.changed_ns = _event_word(event), event.ts_event_ns
            state.reason = getattr(event, "reason", "")
        if isinstance(event, ModelPromoted):
            self._promote(event)
        elif isinstance(event, ModelLoaded):
            state.in_service = True
        elif isinstance(event, ModelRejected):
            state.in_service, state.reason = False, event.reason
        elif isinstance(event, ModelRetired | ModelRefused):
            state.in_service = False

    def _promote(self, event: ModelPromoted) -> None:
        line = self.promotions.setdefault(event.name, [])
        if not line or line[-1] != event.version:
            line.append(event.version)

    def champions(self) -> dict[str, VersionState]:
        """Return model name -> the version promoted last."""
        return {name: self.versions[(name, line[-1])] for name, line in self.promotions.items()}

    def previous(self, name: str) -> int | None:
        """Return the version that served before the present champion, ``None`` when there was none."""
        line = self.promotions.get(name, [])
        return next((version for version in reversed(line) if version != line[-1]), None)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield every version as plain values, by name and version."""
        champions = self.champions()
        for (name, version), state in sorted(self.versions.items()):
            champion = champions.get(name)
            yield {**msgspec.to_builtins(state), "champion": champion is not None and champion.version == version}


def _event_word(event: ModelEvent) -> str:
    return type(event).__name__.removeprefix("Model").lower()
