"""An inference core with its effects performed at once, over a store that is a dictionary."""

from collections.abc import Iterable

import msgspec

from libs.common.core import Effect, EffectResult, dispatch
from libs.common.errors import ArtifactError
from libs.common.messages.base import Message
from libs.common.messages.features import Prediction
from libs.common.messages.models import ModelPromoted, ModelRetired, ModelShadowed
from services.inference.config import ConfirmationConfig, DriftConfig, InferenceConfig, SignalConfig
from services.inference.core import InferenceCore
from services.inference.effects import BundleBroken, BundleVerified, LoadBundle
from services.inference.library import ModelLibrary, verified_model
from tests.unit.models.small_models import SECOND_NS, VERIFIER, archive, sha_of

EAGER = InferenceConfig(
    signals=SignalConfig(
        min_confidence=0.0, min_expected_return_pct=-100.0, confirmation=ConfirmationConfig(enabled=False)
    ),
    drift=DriftConfig(window_rows=200, panes=4, ignore=()),
)
"""Every prediction becomes a suggestion."""


def promoted(
    version: int, symbol: str = "EURUSD", kind: type[Message] = ModelPromoted, seed: int = 0, at: int = 0
) -> Message:
    return kind(
        ts_event_ns=at * SECOND_NS, ts_init_ns=at * SECOND_NS, seq=0, step=at, name=f"direction-{symbol}",
        version=version, symbol=symbol, bundle_sha256=sha_of(version, symbol, seed),
    )


def shadowed(version: int, symbol: str = "EURUSD", seed: int = 0, at: int = 0) -> Message:
    return promoted(version, symbol, ModelShadowed, seed, at)


def retired(version: int, symbol: str = "EURUSD", seed: int = 0, at: int = 0) -> Message:
    return promoted(version, symbol, ModelRetired, seed, at)


class World:
    """Hands messages to a core and keeps what it says.

    Parameters
    ----------
    store : object name -> archive; what is not in it is a sound bundle of the version asked for
    """

    def __init__(self, config: InferenceConfig = EAGER, library: ModelLibrary | None = None) -> None:
        self.library = library or ModelLibrary()
        self.core = InferenceCore(config, self.library)
        self.store: dict[str, bytes] = {}
        self.said: list[Message] = []
        self.asked: list[LoadBundle] = []
        self.inputs: list[Message] = []

    def hear(self, message: Message) -> tuple[Message, ...]:
        """Hand over one message; effects it asks for wait in ``asked``."""
        self.inputs.append(message)
        out = dispatch(self.core, message, message.ts_event_ns)
        self.asked += [item for item in out if isinstance(item, Effect)]
        spoken = tuple(item for item in out if not isinstance(item, Effect))
        self.said += spoken
        return spoken

    def answer(self) -> tuple[Message, ...]:
        """Perform the oldest effect and hand its result over."""
        return self.hear(self.perform(self.asked.pop(0)))

    def perform(self, effect: LoadBundle) -> EffectResult:
        fields = {name: getattr(effect, name) for name in BundleVerified.__struct_fields__}
        try:
            sound = archive(effect.version, effect.symbol, effect.version - 1)
            found = self.store.get(effect.object_name, sound)
            self.library.put(verified_model(found, VERIFIER, effect.bundle_sha256))
        except ArtifactError as error:
            return BundleBroken(**fields, reason=str(error))
        return BundleVerified(**fields)

    def settle(self, message: Message) -> tuple[Message, ...]:
        """Hand over one message and answer all it asks for."""
        out = self.hear(message)
        while self.asked:
            out += self.answer()
        return out

    def hear_all(self, messages: Iterable[Message]) -> list[Message]:
        return [said for message in messages for said in self.settle(message)]


def champions(messages: Iterable[Message]) -> list[Prediction]:
    return [item for item in messages if isinstance(item, Prediction) and not item.shadow]


def shadows(messages: Iterable[Message]) -> list[Prediction]:
    return [item for item in messages if isinstance(item, Prediction) and item.shadow]


def kinds(messages: Iterable[Message]) -> list[str]:
    return [type(item).__name__ for item in messages]


def plain(messages: Iterable[Message]) -> list[bytes]:
    """Return messages as bytes, so that equal means bit for bit."""
    return [msgspec.json.encode(item) for item in messages]
