"""Who predicts for a symbol: its champion, its shadows, the bundles on their way."""

import msgspec

from libs.common.messages.models import ModelEvent
from services.inference.drift import DriftMonitor, DriftState
from services.inference.effects import BundleBroken, BundleVerified
from services.inference.library import LoadedModel


class ModelRef(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle by name.

    Parameters
    ----------
    name, version : of the model
    bundle_sha256 : hash of its manifest
    """

    name: str
    version: int
    bundle_sha256: str

    @classmethod
    def of(cls, message: ModelEvent | BundleVerified | BundleBroken) -> "ModelRef":
        return cls(name=message.name, version=message.version, bundle_sha256=message.bundle_sha256)

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"


class Slot(msgspec.Struct, kw_only=True):
    """A model that predicts.

    Parameters
    ----------
    ref : which one
    predictions : rows it predicted
    mismatched : rows it could not be shown because their features are not its own
    told_mismatch, told_failure : a person was told, and it has not predicted since
    asked_again : its bundle had gone from the library and was asked for once more
    """

    ref: ModelRef
    predictions: int = 0
    mismatched: int = 0
    told_mismatch: bool = False
    told_failure: bool = False
    asked_again: bool = False


class Loading(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle the shell was asked to load."""

    effect_id: str
    ref: ModelRef


class RosterState(msgspec.Struct, kw_only=True):
    """What is remembered of a symbol.

    Parameters
    ----------
    champion : whose predictions may be traded
    shadows : who predicts for the record, in order of arrival
    next_champion, next_shadows : on their way
    rows : feature rows seen
    loads : bundles asked for so far; makes every request's id its own
    drift : the champion's drift monitor
    rule_tail : the last rows a rule strategy may look back at, with bid and ask behind the values, doubles
    rule_suggestions : rows on which the strategy suggested a side
    told_rule_failure : a person was told that the strategy failed, and it has not answered since
    """

    champion: Slot | None = None
    shadows: list[Slot] = []
    next_champion: Loading | None = None
    next_shadows: list[Loading] = []
    rows: int = 0
    loads: int = 0
    drift: DriftState | None = None
    rule_tail: bytes = b""
    rule_suggestions: int = 0
    told_rule_failure: bool = False


class Roster:
    """The state of one symbol, and the loaded things it stands for.

    Parameters
    ----------
    state : what is remembered; the rest is looked up
    """

    def __init__(self, state: RosterState | None = None) -> None:
        self.state = state or RosterState()
        self.models: dict[str, LoadedModel] = {}
        self.monitor: DriftMonitor | None = None

    def model_of(self, slot: Slot) -> LoadedModel | None:
        return self.models.get(slot.ref.bundle_sha256)

    def seat_champion(self, ref: ModelRef, model: LoadedModel | None) -> None:
        """Put a model in the champion's place; what held it, and a shadow of the same bundle, leave."""
        state = self.state
        if state.champion is not None:
            self.models.pop(state.champion.ref.bundle_sha256, None)
        self.unseat_shadow(ref)
        state.champion, state.next_champion, state.drift = Slot(ref=ref), None, None
        self._keep(ref, model)

    def seat_shadow(self, ref: ModelRef, model: LoadedModel | None, most: int) -> tuple[Slot, ...]:
        """Let a model predict for the record; return those who had to leave because there is room for ``most``."""
        self.state.shadows.append(Slot(ref=ref))
        self._keep(ref, model)
        leaving = tuple(self.state.shadows[: max(len(self.state.shadows) - most, 0)])
        for slot in leaving:
            self.unseat_shadow(slot.ref)
        return leaving

    def unseat_shadow(self, ref: ModelRef) -> None:
        """Take a model from the shadows, also when it is still on its way."""
        state = self.state
        if any(slot.ref == ref for slot in state.shadows):
            self.models.pop(ref.bundle_sha256, None)
        state.shadows = [slot for slot in state.shadows if slot.ref != ref]
        state.next_shadows = [loading for loading in state.next_shadows if loading.ref != ref]

    def loading_of(self, effect_id: str) -> Loading | None:
        """Return what an effect was asked to load, if that is still wanted."""
        for loading in (self.state.next_champion, *self.state.next_shadows):
            if loading is not None and loading.effect_id == effect_id:
                return loading
        return None

    def forget_loading(self, effect_id: str) -> None:
        state = self.state
        if state.next_champion is not None and state.next_champion.effect_id == effect_id:
            state.next_champion = None
        state.next_shadows = [loading for loading in state.next_shadows if loading.effect_id != effect_id]

    def shas(self) -> set[str]:
        """Return the hashes of all bundles in use or on their way."""
        state = self.state
        slots = {slot.ref.bundle_sha256 for slot in (state.champion, *state.shadows) if slot is not None}
        loading = {item.ref.bundle_sha256 for item in (state.next_champion, *state.next_shadows) if item is not None}
        return slots | loading

    def _keep(self, ref: ModelRef, model: LoadedModel | None) -> None:
        if model is not None:
            self.models[ref.bundle_sha256] = model
