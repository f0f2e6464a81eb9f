"""The inference core: feature rows and model events in, predictions and drift alarms out.

A model is named by its bundle's hash; the loaded thing itself lies in the library, which the shell fills, so the
state is small and a restart rebuilds it by looking models up. The champion is replaced between two rows, and only
by a bundle that passed every check.
"""

import math
from collections.abc import Callable, Mapping
from typing import ClassVar

import msgspec
import numpy as np

from libs.common.core import EffectResult, Route, Stage
from libs.common.ids import derived_id
from libs.common.messages.base import Floats, Message
from libs.common.messages.control import Alert, Severity
from libs.common.messages.features import DriftDetected, FeatureBlock, Prediction
from libs.common.messages.models import (
    ModelEvent,
    ModelLoaded,
    ModelPromoted,
    ModelRejected,
    ModelRetired,
    ModelShadowed,
)
from services.inference.config import InferenceConfig
from services.inference.drift import DriftMonitor
from services.inference.effects import BundleBroken, BundleVerified, LoadBundle, object_name_of
from services.inference.library import LoadedModel, ModelLibrary
from services.inference.roster import Loading, ModelRef, Roster, RosterState, Slot
from services.inference.rules import RuleDesk, rule_prediction
from services.inference.signals import missing_confirmation, suggest
from services.inference.strategies import TEMPLATES, Strategy, Suggestions, make_strategy

_AFTER_FEATURES = ("features.settled",)
_SUM_TOLERANCE = 1e-6
STRATEGY_FAILED = "strategy_failed"


class InferenceCore:
    """Predicts, for every symbol, with one champion and any number of shadows.

    Parameters
    ----------
    config : signal rules, drift limits
    library : verified models by the hash of their bundle
    strategies : rule strategies by name, the user's own included

    Raises
    ------
    ConfigError : when ``inference.strategy`` names none of them, or a parameter it has not
    """

    HEARS: ClassVar[tuple[Route, ...]] = (
        Route(pattern="features.*", kinds=(FeatureBlock,)),
        Route(pattern="models.*.promoted", kinds=(ModelPromoted,), after=_AFTER_FEATURES),
        Route(pattern="models.*.shadowed", kinds=(ModelShadowed,), after=_AFTER_FEATURES),
        Route(pattern="models.*.retired", kinds=(ModelRetired,), after=_AFTER_FEATURES),
    )
    RESULTS: ClassVar[tuple[type[EffectResult], ...]] = (BundleVerified, BundleBroken)
    STAGES: ClassVar[tuple[Stage, ...]] = (
        Stage(name="predicted", after=_AFTER_FEATURES),
        Stage(name="settled", after=("inference.predicted", "trainer.settled")),
    )

    def __init__(
        self, config: InferenceConfig, library: ModelLibrary,
        strategies: Mapping[str, Callable[..., Strategy]] = TEMPLATES,
    ) -> None:
        self._config = config
        self._library = library
        self._rosters: dict[str, Roster] = {}
        rule = config.strategy
        self.rules = RuleDesk(rule.name, make_strategy(rule.name, rule.params, strategies)) if rule.name else None

    # ---- rows

    def on_feature_block(self, message: FeatureBlock, now_ns: int) -> tuple[Message, ...]:
        """Predict from one row with the champion, then with each shadow."""
        roster = self._roster(message.symbol)
        state = roster.state
        state.rows += 1
        out: list[Message] = []
        if self.rules is not None:
            out += self._decide_by_rule(self.rules, state, message, now_ns)
        elif state.champion is not None:
            out += self._predict(roster, state.champion, message, now_ns, shadow=False)
        # A shadow that fails leaves while we walk, hence the copy.
        for slot in tuple(state.shadows):
            out += self._predict(roster, slot, message, now_ns, shadow=True)
        return tuple(out)

    def decide_rows(
        self, symbol: str, names: tuple[str, ...], values: Floats, bid: Floats, ask: Floats
    ) -> Suggestions:
        """Return what the rule strategy says of a symbol's next rows; many at once or one by one is the same.

        Parameters
        ----------
        values, bid, ask : (n, m), (n,), (n,) the rows, in order of time

        Raises
        ------
        Exception : whatever the strategy raises
        """
        assert self.rules is not None, "rows are only decided on where a strategy is configured"
        return self.rules.decide(self._roster(symbol).state, names, values, bid, ask)

    def _decide_by_rule(
        self, rules: RuleDesk, state: RosterState, row: FeatureBlock, now_ns: int
    ) -> list[Message]:
        try:
            said = self.decide_rows(
                row.symbol, row.names, row.values.reshape(1, -1), np.array([row.bid]), np.array([row.ask])
            )
        # Whatever a user's strategy raises: the service, and its shadows, go on; nothing is traded.
        except Exception as error:
            if state.told_rule_failure:
                return []
            state.told_rule_failure = True
            return [_alert(
                row, now_ns, Severity.CRITICAL, STRATEGY_FAILED,
                f"{row.symbol}: strategy {rules.name} failed, nothing is traded: {rules.told(error)}",
            )]
        state.told_rule_failure = False
        return [rule_prediction(rules, said, 0, row.symbol, row.ts_event_ns, row.bid, row.ask, now_ns)]

    def _predict(
        self, roster: Roster, slot: Slot, row: FeatureBlock, now_ns: int, *, shadow: bool
    ) -> list[Message]:
        model = roster.model_of(slot)
        if model is None:
            return self._ask_again(roster, slot, row, now_ns, shadow=shadow)
        manifest = model.manifest
        if row.schema_id != manifest.schema_id or row.names != manifest.feature_names:
            return self._refuse_row(slot, row, now_ns)
        try:
            probabilities = model.predictor.predict(row.values)
            problem = _problem_of(probabilities)
        # Whatever a foreign library raises: one model must not take the others, or the service, with it.
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        if problem:
            return self._model_failed(roster, slot, row, now_ns, problem, shadow=shadow)
        slot.predictions += 1
        slot.told_mismatch = slot.told_failure = False
        prediction: Prediction = suggest(
            row, probabilities, model, self._config.signals, shadow=shadow, now_ns=now_ns
        )
        return [prediction] if shadow else [prediction, *self._watch(roster, model, row, now_ns)]

    def _watch(self, roster: Roster, model: LoadedModel, row: FeatureBlock, now_ns: int) -> list[Message]:
        """Show the row to the champion's drift monitor."""
        if roster.monitor is None:
            return []
        found = roster.monitor.add(row.values)
        if found is None:
            return []
        feature, index = next(iter(found.psi.items()))
        return [DriftDetected(
            ts_event_ns=row.ts_event_ns, ts_init_ns=now_ns, symbol=row.symbol,
            model=model.manifest.name, version=model.manifest.version, feature=feature, psi=index,
            limit=found.limit, drifted=found.psi, rows=found.rows,
        )]

    def _refuse_row(self, slot: Slot, row: FeatureBlock, now_ns: int) -> list[Message]:
        """Count a row whose features are not the model's; tell it once."""
        slot.mismatched += 1
        if slot.told_mismatch:
            return []
        slot.told_mismatch = True
        return [_alert(
            row, now_ns, Severity.CRITICAL, "schema_mismatch",
            f"{row.symbol}: rows have schema {row.schema_id} with {len(row.names)} features, {slot.ref} was trained on "
            "another; it does not predict until they agree",
        )]

    def _model_failed(
        self, roster: Roster, slot: Slot, row: FeatureBlock, now_ns: int, problem: str, *, shadow: bool
    ) -> list[Message]:
        """Let a failing shadow go; keep a failing champion silent, which trades nothing."""
        if shadow:
            roster.unseat_shadow(slot.ref)
            return [_alert(
                row, now_ns, Severity.WARNING, "shadow_failed", f"{row.symbol}: shadow {slot.ref} retired: {problem}"
            )]
        if slot.told_failure:
            return []
        slot.told_failure = True
        return [_alert(
            row, now_ns, Severity.CRITICAL, "champion_failed", f"{row.symbol}: {slot.ref} cannot predict: {problem}"
        )]

    def _ask_again(
        self, roster: Roster, slot: Slot, row: FeatureBlock, now_ns: int, *, shadow: bool
    ) -> list[Message]:
        """Ask once for a bundle that was verified before and has gone from the library since."""
        if slot.asked_again:
            return []
        slot.asked_again = True
        alert = _alert(
            row, now_ns, Severity.WARNING, "bundle_lost",
            f"{row.symbol}: the bundle of {slot.ref} has gone from the library; it is fetched anew",
        )
        return [alert, self._load(roster, slot.ref, row, now_ns, shadow=shadow)]

    # ---- models

    def on_model_promoted(self, message: ModelPromoted, now_ns: int) -> tuple[Message, ...]:
        """Ask for the bundle of the next champion; the present one goes on until it is verified."""
        roster = self._roster(message.symbol)
        ref = ModelRef.of(message)
        champion = roster.state.champion
        if champion is not None and champion.ref == ref:
            roster.state.next_champion = None
            model = roster.model_of(champion)
            # Said again: whoever had promoted another, which was rejected, learns that this one predicts.
            return () if model is None else (_loaded(message, model, now_ns, shadow=False),)
        return (self._load(roster, ref, message, now_ns, shadow=False),)

    def on_model_shadowed(self, message: ModelShadowed, now_ns: int) -> tuple[Message, ...]:
        """Ask for the bundle of a model that is to predict for the record."""
        roster = self._roster(message.symbol)
        state, ref = roster.state, ModelRef.of(message)
        there = (state.champion, state.next_champion, *state.shadows, *state.next_shadows)
        if self._config.max_shadows == 0 or any(item is not None and item.ref == ref for item in there):
            return ()
        return (self._load(roster, ref, message, now_ns, shadow=True),)

    def on_model_retired(self, message: ModelRetired, now_ns: int) -> tuple[Message, ...]:
        """Let a shadow go. A champion stays until its successor is verified: retired is not broken."""
        self._roster(message.symbol).unseat_shadow(ModelRef.of(message))
        return ()

    def _load(
        self, roster: Roster, ref: ModelRef, cause: ModelEvent | FeatureBlock, now_ns: int, *, shadow: bool
    ) -> LoadBundle:
        roster.state.loads += 1
        effect_id = derived_id("load", cause.symbol, ref.bundle_sha256, roster.state.loads)
        loading = Loading(effect_id=effect_id, ref=ref)
        if shadow:
            roster.state.next_shadows = [*roster.state.next_shadows, loading]
        else:
            roster.state.next_champion = loading
        return LoadBundle(
            effect_id=effect_id, ts_event_ns=cause.ts_event_ns, ts_init_ns=now_ns, name=ref.name, version=ref.version,
            symbol=cause.symbol, bundle_sha256=ref.bundle_sha256, shadow=shadow,
            object_name=object_name_of(ref.name, ref.version, ref.bundle_sha256),
        )

    def on_bundle_verified(self, message: BundleVerified, now_ns: int) -> tuple[Message, ...]:
        """Seat the model, unless another decision overtook it."""
        roster = self._roster(message.symbol)
        loading = roster.loading_of(message.effect_id)
        if loading is None:
            return ()
        roster.forget_loading(message.effect_id)
        model = self._library.get(message.bundle_sha256)
        out: list[Message] = []
        if message.shadow:
            roster.unseat_shadow(loading.ref)
            leaving = roster.seat_shadow(loading.ref, model, self._config.max_shadows)
            out += [
                _alert(message, now_ns, Severity.INFO, "shadow_left", f"{message.symbol}: shadow {slot.ref} made room")
                for slot in leaving
            ]
        else:
            roster.seat_champion(loading.ref, model)
            self._start_monitor(roster)
        if model is not None:
            out += self._announce(message, model, now_ns)
        return tuple(out)

    def _announce(self, message: BundleVerified, model: LoadedModel, now_ns: int) -> list[Message]:
        out: list[Message] = [_loaded(message, model, now_ns, shadow=message.shadow)]
        missing = missing_confirmation(model.manifest, self._config.signals)
        if missing:
            out.append(_alert(
                message, now_ns, Severity.WARNING, "confirmation_missing",
                f"{message.symbol}: {ModelRef.of(message)} has no feature {', '.join(missing)}, so none of its signals "
                "is confirmed; name the right features or switch inference.signals.confirmation off",
            ))
        return out

    def on_bundle_broken(self, message: BundleBroken, now_ns: int) -> tuple[Message, ...]:
        """Say that the bundle was rejected and why; whoever predicted goes on."""
        roster = self._roster(message.symbol)
        roster.forget_loading(message.effect_id)
        champion = roster.state.champion
        going_on = f"{champion.ref} goes on" if champion is not None else "nothing predicts"
        rejected = ModelRejected(
            ts_event_ns=message.ts_event_ns, ts_init_ns=now_ns, name=message.name, version=message.version,
            symbol=message.symbol, bundle_sha256=message.bundle_sha256, reason=message.reason,
        )
        return rejected, _alert(
            message, now_ns, Severity.WARNING, "model_rejected",
            f"{message.symbol}: {ModelRef.of(message)} rejected: {message.reason}; {going_on}",
        )

    # ---- state

    def snapshot(self) -> bytes:
        """Return the whole state: names of models, counters, drift windows; never a model."""
        for roster in self._rosters.values():
            roster.state.drift = roster.monitor.state() if roster.monitor is not None else None
        return msgspec.msgpack.encode({symbol: roster.state for symbol, roster in self._rosters.items()})

    def restore(self, state: bytes) -> None:
        """Become what ``snapshot`` described, with the library's models."""
        states = msgspec.msgpack.decode(state, type=dict[str, RosterState])
        self._rosters = {symbol: Roster(remembered) for symbol, remembered in states.items()}
        for roster in self._rosters.values():
            for sha in roster.shas():
                model = self._library.get(sha)
                if model is not None:
                    roster.models[sha] = model
            self._start_monitor(roster)

    def in_use(self) -> set[str]:
        """Return the hashes of all bundles that predict or are on their way."""
        return set().union(*(roster.shas() for roster in self._rosters.values()))

    def worst_drift(self, symbol: str) -> float:
        """Return the drift index of the feature nearest to its limit or furthest beyond it; 0 before a comparison."""
        monitor = self._roster(symbol).monitor
        return monitor.worst[1] if monitor is not None else 0.0

    def details(self) -> dict[str, float | str]:
        """Return who predicts for each symbol, how much was predicted, and the largest drift index."""
        figures: dict[str, float | str] = {}
        for symbol, roster in sorted(self._rosters.items()):
            state = roster.state
            slots = [slot for slot in (state.champion, *state.shadows) if slot is not None]
            feature, worst = roster.monitor.worst if roster.monitor is not None else ("", 0.0)
            figures |= {
                f"{symbol}.champion": str(state.champion.ref) if state.champion is not None else "none",
                f"{symbol}.shadows": ", ".join(str(slot.ref) for slot in state.shadows),
                f"{symbol}.rows": float(state.rows),
                f"{symbol}.predictions": float(state.champion.predictions if state.champion is not None else 0),
                f"{symbol}.mismatched": float(sum(slot.mismatched for slot in slots)),
                f"{symbol}.max_psi": worst,
                f"{symbol}.max_psi_feature": feature,
            }
        return figures

    def _roster(self, symbol: str) -> Roster:
        roster = self._rosters.get(symbol)
        if roster is None:
            roster = self._rosters[symbol] = Roster()
        return roster

    def _start_monitor(self, roster: Roster) -> None:
        """Watch the champion's rows, from where the remembered window stopped."""
        champion = roster.state.champion
        model = roster.model_of(champion) if champion is not None else None
        roster.monitor = None
        if model is None or not self._config.drift.enabled:
            return
        roster.monitor = DriftMonitor(model.manifest, self._config.drift)
        if roster.state.drift is not None:
            roster.monitor.load(roster.state.drift)


def _loaded(cause: BundleVerified | ModelPromoted, model: LoadedModel, now_ns: int, *, shadow: bool) -> ModelLoaded:
    return ModelLoaded(
        ts_event_ns=cause.ts_event_ns, ts_init_ns=now_ns, name=cause.name, version=cause.version, symbol=cause.symbol,
        bundle_sha256=cause.bundle_sha256, metrics=model.manifest.metrics, shadow=shadow,
    )


def _problem_of(probabilities: Floats) -> str:
    """Return why three numbers are not probabilities, or an empty text."""
    values = probabilities.tolist()
    # Written so that NaN is a problem too.
    if len(values) == 3 and min(values) >= 0.0 and math.isclose(sum(values), 1.0, abs_tol=_SUM_TOLERANCE):
        return ""
    return f"{values} are not probabilities"


def _alert(cause: Message, now_ns: int, severity: Severity, name: str, detail: str) -> Alert:
    return Alert(
        ts_event_ns=cause.ts_event_ns, ts_init_ns=now_ns, service="inference",
        severity=severity, name=name, detail=detail,
    )
