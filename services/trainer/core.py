"""Collects served rows, labels them, decides when to train and who may serve."""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from libs.common.config import InstrumentConfig
from libs.common.core import EffectResult, Route, Stage
from libs.common.ids import derived_id
from libs.common.messages.base import Message
from libs.common.messages.control import AdoptModel, Alert, PromoteModel, RetrainModel, Severity
from libs.common.messages.features import DriftDetected, FeatureBlock
from libs.common.messages.market import TickBlock
from libs.common.messages.models import (
    ModelPromoted,
    ModelPublished,
    ModelRefused,
    ModelRejected,
    ModelRetired,
    ModelShadowed,
)
from services.trainer.book import Book, BookState
from services.trainer.config import TrainerConfig
from services.trainer.effects import AdoptBundle, AdoptionFailed, BundleAdopted, ModelTrained, TrainingFailed, TrainModel
from services.trainer.gate import decide
from services.trainer.life import Life, Rejection, StoredVersion

NAME_PREFIX = "direction-"
_REJECTION_STEPS = 2
"""After so many steps every run has heard a rejection: the mark ``settled`` of the step between waits for it."""


def model_name(symbol: str) -> str:
    """Return the name of a symbol's model.

    >>> model_name("EURUSD")
    'direction-EURUSD'
    """
    return NAME_PREFIX + symbol


class TrainerState(msgspec.Struct, frozen=True):
    """The core's whole state."""

    books: dict[str, BookState]
    lives: dict[str, Life]
    unusable_schemas: dict[str, str]


class TrainerCore:
    """Learns from the very rows that were served, and lets a model serve only when it is better.

    Parameters
    ----------
    config : when to train, on what
    symbols : symbols to learn; everything about others is passed over
    instruments : what the broker says of them, for the costs
    seed : of everything random in a training
    """

    HEARS: ClassVar[tuple[Route, ...]] = (
        Route(pattern="ticks.*", kinds=(TickBlock,)),
        Route(pattern="features.*", kinds=(FeatureBlock,), after=("ticks",)),
        Route(pattern="drift.*", kinds=(DriftDetected,), after=("ticks", "features.settled")),
        Route(pattern="models.*.rejected", kinds=(ModelRejected,), after=("ticks",)),
        Route(pattern="control.retrain", kinds=(RetrainModel,)),
        Route(pattern="control.promote", kinds=(PromoteModel,)),
        Route(pattern="control.adopt", kinds=(AdoptModel,)),
    )
    RESULTS: ClassVar[tuple[type[EffectResult], ...]] = (ModelTrained, TrainingFailed, BundleAdopted, AdoptionFailed)
    STAGES: ClassVar[tuple[Stage, ...]] = (
        Stage(name="settled", after=("ticks", "features.settled", "inference.predicted")),
    )

    def __init__(
        self, config: TrainerConfig, symbols: tuple[str, ...], instruments: Mapping[str, InstrumentConfig], seed: int
    ) -> None:
        self._config, self._seed = config, seed
        self._books = {symbol: Book(config, instruments.get(symbol, InstrumentConfig())) for symbol in symbols}
        self._lives = {symbol: Life() for symbol in symbols}
        self._unusable_schemas: dict[str, str] = {}

    def on_tick_block(self, message: TickBlock, now_ns: int) -> tuple[Message, ...]:
        """Walk the open labels over the ticks; start what training is due."""
        book = self._books.get(message.symbol)
        if book is None:
            return ()
        book.take_ticks(message)
        fallen = self._take_rejections(message, now_ns)
        return (*fallen, *self._harvest(message.symbol, book, now_ns))

    def on_feature_block(self, message: FeatureBlock, now_ns: int) -> tuple[Message, ...]:
        """Open the label of a served row."""
        book = self._books.get(message.symbol)
        if book is None:
            return ()
        if not book.take_row(message):
            return self._no_volatility(message, now_ns)
        return self._harvest(message.symbol, book, now_ns)

    def on_drift_detected(self, message: DriftDetected, now_ns: int) -> tuple[Message, ...]:
        """Train on the market as it has become, unless that was just done."""
        life = self._lives.get(message.symbol)
        if life is None or message.model != model_name(message.symbol) or message.version != life.champion:
            return ()
        book = self._books[message.symbol]
        if book.last_ns - life.tried_ns < self._config.drift_cooldown_s * 1_000_000_000:
            return ()
        life.asked = life.asked or "drift"
        return self._train_if_due(message.symbol, book.last_ns, now_ns)

    def on_model_rejected(self, message: ModelRejected, now_ns: int) -> tuple[Message, ...]:
        """Remember that inference cannot use a version; a tick block soon after acts on it.

        Not at once: within a step this message races with others, and a replay must decide the same in every run.
        """
        life = self._lives.get(message.symbol)
        if life is not None and message.name == model_name(message.symbol):
            life.rejections = [*life.rejections, Rejection(
                version=message.version, bundle_sha256=message.bundle_sha256, reason=message.reason,
                due_step=message.step + _REJECTION_STEPS if message.step else 0,
            )]
        return ()

    def on_retrain_model(self, message: RetrainModel, now_ns: int) -> tuple[Message, ...]:
        """Train now, or after the training under way; say so when there is too little to train on."""
        life = self._lives.get(message.symbol)
        if life is None:
            return (_alert("retrain_refused", f"{message.symbol} is not a symbol of this system", message, now_ns),)
        book = self._books[message.symbol]
        if book.rows < self._config.min_rows:
            text = f"{message.symbol}: {book.rows} labelled rows, trainer.min_rows is {self._config.min_rows}"
            return (_alert("retrain_refused", text, message, now_ns),)
        life.asked = "command"
        return self._train_if_due(message.symbol, book.last_ns, now_ns)

    def on_promote_model(self, message: PromoteModel, now_ns: int) -> tuple[Message, ...]:
        """Let a stored version serve because a person says so."""
        symbol = message.name.removeprefix(NAME_PREFIX)
        life = self._lives.get(symbol)
        if life is None or message.name != model_name(symbol):
            return (_alert("promote_refused", f"{message.name} is not a model of this system", message, now_ns),)
        wanted = life.versions.get(message.version)
        if wanted is None:
            known = ", ".join(map(str, life.versions)) or "none"
            text = f"{message.name} has no stored version {message.version}; stored: {known}"
            return (_alert("promote_refused", text, message, now_ns),)
        schema_id = self._books[symbol].schema_id
        if schema_id and wanted.schema_id != schema_id:
            text = f"{message.name} {message.version} was trained on other features than those served now"
            return (_alert("promote_refused", text, message, now_ns),)
        if life.champion == message.version:
            text = f"{message.name} {message.version} serves already"
            return (_alert("promote_refused", text, message, now_ns),)
        return self._promote(symbol, wanted, message.ts_event_ns, now_ns, message.rollback)

    def on_adopt_model(self, message: AdoptModel, now_ns: int) -> tuple[Message, ...]:
        """Have somebody else's bundle checked; its number is taken from now on."""
        symbol = message.name.removeprefix(NAME_PREFIX)
        life = self._lives.get(symbol)
        if life is None or message.name != model_name(symbol):
            return (_alert("adopt_refused", f"{message.name} is not a model of this system", message, now_ns),)
        if life.adopting:
            text = f"{message.name}: another bundle is being checked; try again in a moment"
            return (_alert("adopt_refused", text, message, now_ns),)
        # A training under way has its number already.
        taken = life.last_version + (1 if life.effect_id else 0)
        if message.version <= taken:
            text = f"{message.name} {message.version}: versions up to {taken} are taken; pack it as a higher one"
            return (_alert("adopt_refused", text, message, now_ns),)
        life.last_version = message.version
        life.adopting = derived_id("adopt", message.name, message.version, message.bundle_sha256)
        return (AdoptBundle(
            ts_event_ns=message.ts_event_ns, ts_init_ns=now_ns, effect_id=life.adopting, name=message.name,
            version=message.version, symbol=symbol, bundle_sha256=message.bundle_sha256,
        ),)

    def on_bundle_adopted(self, message: BundleAdopted, now_ns: int) -> tuple[Message, ...]:
        """Publish the version and let it predict for the record; who is promoted stays a person's decision."""
        life = self._lives.get(message.symbol)
        if life is None or life.adopting != message.effect_id:
            return ()
        life.adopting = ""
        schema_id = self._books[message.symbol].schema_id
        if schema_id and message.schema_id != schema_id:
            text = f"{message.name} {message.version} was trained on other features than those served now"
            return (_alert("adopt_refused", text, message, now_ns),)
        life.store(message, self._config.keep_versions)
        named: dict[str, Any] = {
            "ts_event_ns": message.ts_event_ns, "ts_init_ns": now_ns, "name": message.name, "version": message.version,
            "symbol": message.symbol, "bundle_sha256": message.bundle_sha256, "metrics": message.metrics,
        }
        return ModelPublished(**named), ModelShadowed(**named)

    def on_adoption_failed(self, message: AdoptionFailed, now_ns: int) -> tuple[Message, ...]:
        """Say why; the version's number is not used again."""
        life = self._lives.get(message.symbol)
        if life is None or life.adopting != message.effect_id:
            return ()
        life.adopting = ""
        return (_alert("adopt_refused", f"{message.name} {message.version}: {message.detail}", message, now_ns),)

    def on_model_trained(self, message: ModelTrained, now_ns: int) -> tuple[Message, ...]:
        """Publish the version, and promote or refuse it."""
        life = self._lives.get(message.symbol)
        if life is None or life.effect_id != message.effect_id:
            return ()
        life.effect_id = ""
        life.store(message, self._config.keep_versions)
        stored = life.versions[message.version]
        published = ModelPublished(
            ts_event_ns=message.ts_event_ns, ts_init_ns=now_ns, name=message.name, version=message.version,
            symbol=message.symbol, bundle_sha256=message.bundle_sha256, metrics=message.metrics,
        )
        rival = life.comparable_champion(message.schema_id)
        if (rival.version if rival else 0) != message.champion_version:
            reason = "champion_changed"
        else:
            reason = decide(message.metrics, rival is not None, self._config.gate).reason
        if reason:
            life.refused += 1
            judged: tuple[Message, ...] = (ModelRefused(
                ts_event_ns=message.ts_event_ns, ts_init_ns=now_ns, name=message.name, version=message.version,
                symbol=message.symbol, bundle_sha256=message.bundle_sha256, metrics=message.metrics, reason=reason,
            ),)
        else:
            judged = self._promote(message.symbol, stored, message.ts_event_ns, now_ns)
        return (published, *judged, *self._train_if_due(message.symbol, message.ts_event_ns, now_ns))

    def on_training_failed(self, message: TrainingFailed, now_ns: int) -> tuple[Message, ...]:
        """Keep what serves; the next trigger tries again."""
        life = self._lives.get(message.symbol)
        if life is None or life.effect_id != message.effect_id:
            return ()
        life.effect_id = ""
        life.failed += 1
        text = f"{message.name} {message.version}: {message.reason}: {message.detail}"
        return (
            _alert("training_failed", text, message, now_ns),
            *self._train_if_due(message.symbol, message.ts_event_ns, now_ns),
        )

    def snapshot(self) -> bytes:
        """Return the whole state."""
        return msgspec.msgpack.encode(TrainerState(
            books={symbol: book.state() for symbol, book in self._books.items()}, lives=self._lives,
            unusable_schemas=self._unusable_schemas,
        ))

    def restore(self, state: bytes) -> None:
        """Become what ``snapshot`` described; symbols that are no longer configured are forgotten."""
        found = msgspec.msgpack.decode(state, type=TrainerState)
        for symbol, book in self._books.items():
            if symbol in found.books:
                book.load(found.books[symbol])
                self._lives[symbol] = found.lives[symbol]
        self._unusable_schemas = found.unusable_schemas

    def details(self) -> dict[str, float | str]:
        """Return figures for ``tickwire status``."""
        figures: dict[str, float | str] = {}
        for symbol, book in self._books.items():
            life, counts = self._lives[symbol], book.counts
            figures |= {
                f"{symbol}.rows": float(book.rows), f"{symbol}.open_rows": float(book.open_rows),
                f"{symbol}.labelled": float(counts.labelled),
                f"{symbol}.dropped": float(counts.crowded + counts.late + counts.unusable + counts.voided),
                f"{symbol}.champion": float(life.champion), f"{symbol}.versions": float(life.last_version),
                f"{symbol}.promoted": float(life.promoted), f"{symbol}.refused": float(life.refused),
                f"{symbol}.failed": float(life.failed), f"{symbol}.training": "yes" if life.effect_id else "no",
            }
        return figures

    def rows(self, symbol: str) -> int:
        """Return how many labelled rows of a symbol are held."""
        book = self._books.get(symbol)
        return book.rows if book else 0

    def _harvest(self, symbol: str, book: Book, now_ns: int) -> tuple[Message, ...]:
        outputs: list[Message] = []
        # One by one, so that a training starts at the same row however the ticks were cut.
        for closed_ns in book.harvest():
            outputs += self._train_if_due(symbol, closed_ns, now_ns)
        return tuple(outputs)

    def _train_if_due(self, symbol: str, event_ns: int, now_ns: int) -> tuple[Message, ...]:
        book, life, config = self._books[symbol], self._lives[symbol], self._config
        trigger = life.due(config, book.schema_id, book.rows, book.counts.labelled, event_ns)
        if not trigger:
            return ()
        name, version, dataset = model_name(symbol), life.last_version + 1, book.dataset()
        champion = life.comparable_champion(book.schema_id)
        recipe = msgspec.json.encode(config).decode()
        rival = champion.bundle_sha256 if champion else ""
        effect_id = derived_id("train", name, version, book.schema_id, dataset.digest(), recipe, self._seed, rival)
        life.begin(effect_id, book.schema_id, book.counts.labelled, event_ns)
        return (TrainModel(
            ts_event_ns=event_ns, ts_init_ns=now_ns, effect_id=effect_id, name=name, version=version, symbol=symbol,
            trigger=trigger, schema_id=book.schema_id, feature_names=book.names, dataset=dataset, seed=self._seed,
            champion=champion,
        ),)

    def _promote(
        self, symbol: str, wanted: StoredVersion, event_ns: int, now_ns: int, rollback: bool = False
    ) -> tuple[Message, ...]:
        life = self._lives[symbol]
        old = life.crown(wanted.version)
        life.promoted += 1
        promoted = _promoted(symbol, wanted, event_ns, now_ns, rollback)
        if old is None:
            return (promoted,)
        return (promoted, _retired(symbol, old, event_ns, now_ns))

    def _take_rejections(self, block: TickBlock, now_ns: int) -> tuple[Message, ...]:
        """Let a champion that inference rejected go, and the one that still predicts be the champion again."""
        life = self._lives[block.symbol]
        if not life.rejections:
            return ()
        due = [rejection for rejection in life.rejections if block.step >= rejection.due_step]
        life.rejections = [rejection for rejection in life.rejections if block.step < rejection.due_step]
        outputs: list[Message] = []
        for rejection in due:
            rejected = life.versions.get(rejection.version)
            if rejected is None or rejected.bundle_sha256 != rejection.bundle_sha256:
                continue
            life.earlier = [version for version in life.earlier if version != rejected.version]
            if life.champion == rejected.version:
                outputs += self._fall_back(block, rejected, rejection.reason, now_ns)
        return tuple(outputs)

    def _fall_back(self, block: TickBlock, rejected: StoredVersion, reason: str, now_ns: int) -> list[Message]:
        symbol, event_ns = block.symbol, block.ts_event_ns
        serving = self._lives[symbol].dethrone()
        goes_on = f"version {serving.version} is the champion again" if serving else "no model serves"
        text = f"{model_name(symbol)} {rejected.version} was rejected by inference: {reason}; {goes_on}"
        told: list[Message] = [] if serving is None else [_promoted(symbol, serving, event_ns, now_ns, True)]
        return [
            *told, _retired(symbol, rejected, event_ns, now_ns, reason), _alert("champion_rejected", text, block, now_ns)
        ]

    def _no_volatility(self, row: FeatureBlock, now_ns: int) -> tuple[Message, ...]:
        """Say once per feature list that its rows cannot be labelled."""
        if self._unusable_schemas.get(row.symbol) == row.schema_id:
            return ()
        self._unusable_schemas[row.symbol] = row.schema_id
        text = (
            f"{row.symbol}: rows have no feature '{self._config.sigma_feature}', so nothing can be labelled; "
            f"set trainer.sigma_feature to one of: {', '.join(row.names)}"
        )
        return (_alert("no_volatility_feature", text, row, now_ns, Severity.CRITICAL),)


def _promoted(symbol: str, version: StoredVersion, event_ns: int, now_ns: int, rollback: bool) -> ModelPromoted:
    return ModelPromoted(
        ts_event_ns=event_ns, ts_init_ns=now_ns, name=model_name(symbol), version=version.version, symbol=symbol,
        bundle_sha256=version.bundle_sha256, metrics=version.metrics, rollback=rollback,
    )


def _retired(symbol: str, version: StoredVersion, event_ns: int, now_ns: int, reason: str = "") -> ModelRetired:
    return ModelRetired(
        ts_event_ns=event_ns, ts_init_ns=now_ns, name=model_name(symbol), version=version.version, symbol=symbol,
        bundle_sha256=version.bundle_sha256, metrics=version.metrics, reason=reason,
    )


def _alert(name: str, detail: str, cause: Message, now_ns: int, severity: Severity = Severity.WARNING) -> Alert:
    return Alert(
        ts_event_ns=cause.ts_event_ns, ts_init_ns=now_ns, severity=severity, service="trainer", name=name,
        detail=detail,
    )
