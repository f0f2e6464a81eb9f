"""Gives the trainer's core its process: fitting off the loop, bundles signed and stored, metrics."""

import asyncio
import time
from typing import Any

from libs.common.config import SystemConfig
from libs.common.core import Effect, EffectResult
from libs.common.errors import ArtifactError, BusError, ConfigError
from libs.common.messages.base import Message
from libs.common.models.bundle import Bundle, Manifest, check_golden, pack, unpack
from libs.common.models.predictor import load_predictor
from libs.common.runtime.service import Service, ServiceContext
from libs.common.signing import Signer, Verifier
from libs.common.storage.keys import read_key
from services.trainer.adapters.fitting import Fitted, FittingFailed, FittingProcess
from services.trainer.adapters.vault import Vault
from services.trainer.config import TrainerConfig
from services.trainer.core import TrainerCore, model_name
from services.trainer.effects import (
    AdoptBundle,
    AdoptionFailed,
    BundleAdopted,
    Champion,
    ModelTrained,
    TrainingFailed,
    TrainModel,
)
from services.trainer.work import FitRequest

KEY_FILE = "trainer.key"
_STORE_PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0)


def build(config: dict[str, Any], context: ServiceContext) -> Service:
    """Make the trainer.

    Raises
    ------
    ConfigError : when the key bundles are signed with is missing, malformed or readable by others, or when a
        first model may serve unproved in live mode
    """
    system: SystemConfig = config["system"]
    settings: TrainerConfig = config["trainer"]
    if settings.gate.first_model == "any" and system.mode == "live":
        raise ConfigError("trainer.gate.first_model: 'any' lets an unproved model trade; choose 'skill' or 'profit'.")
    core = TrainerCore(settings, system.symbols, config["instruments"], system.seed)
    effects = TrainerEffects(settings, context)
    return Service(core=core, effects=effects, observe=_Observer(core, context))


class _Observer:
    """Turns what the core says into metrics."""

    def __init__(self, core: TrainerCore, context: ServiceContext) -> None:
        self._core, self._metrics = core, context.metrics

    def __call__(self, message: Message) -> None:
        outcome = _OUTCOMES.get(type(message).__name__)
        symbol = getattr(message, "symbol", "")
        if outcome:
            self._metrics.counter("tickwire_trainer_trainings_total").labels(symbol, outcome).inc()
        elif type(message).__name__ == "FeatureBlock":
            self._metrics.gauge("tickwire_trainer_samples").labels(symbol).set(self._core.rows(symbol))


_OUTCOMES = {"ModelPromoted": "promoted", "ModelRefused": "refused", "TrainingFailed": "failed"}


class TrainerEffects:
    """Fits models in a child process, signs them and puts them into the object store.

    Parameters
    ----------
    config : the section ``trainer``
    context : where and with what
    process : runs the fitting; made from the config when not given
    """

    def __init__(
        self, config: TrainerConfig, context: ServiceContext, process: FittingProcess | None = None
    ) -> None:
        self._config, self._context = config, context
        self._signer = Signer(read_key(context.root_dir, KEY_FILE))
        self._verifier = Verifier(self._signer.public_bytes)
        self._vault = Vault(context.data_dir, config.keep_versions)
        self._process = process or FittingProcess(context.data_dir / "fitting", config.fit_timeout_s)

    async def prepare(self) -> None:
        """Make the folders and sweep out what a killed trainer left."""
        await asyncio.to_thread(self._vault.open)
        await asyncio.to_thread(self._process.clear)

    async def perform(self, effect: Effect) -> EffectResult:
        """Train, or answer again what an earlier performance of the same effect came to; or check a bundle."""
        if isinstance(effect, AdoptBundle):
            return await self._adopt(effect)
        assert isinstance(effect, TrainModel), type(effect).__name__
        kept = await asyncio.to_thread(self._vault.answer, effect.effect_id)
        if kept is not None:
            result, archive = kept
            await self._store(_object_name(result.name, result.version, result.bundle_sha256), archive)
            return result
        log = self._context.log.bind(model=effect.name, version=effect.version, symbol=effect.symbol)
        log.info("training_started", trigger=effect.trigger, rows=len(effect.dataset))
        started_s = time.monotonic()
        try:
            result = await self._train(effect)
        except (FittingFailed, ArtifactError) as error:
            reason = error.reason if isinstance(error, FittingFailed) else "refused"
            log.warning("training_failed", reason=reason, detail=str(error))
            return TrainingFailed(
                ts_event_ns=effect.ts_event_ns, ts_init_ns=effect.ts_init_ns, effect_id=effect.effect_id,
                name=effect.name, version=effect.version, symbol=effect.symbol, reason=reason,
                detail=error.detail if isinstance(error, FittingFailed) else str(error),
            )
        seconds = time.monotonic() - started_s
        self._context.metrics.gauge("tickwire_trainer_training_seconds").labels(effect.symbol).set(seconds)
        log.info("model_trained", bundle_sha256=result.bundle_sha256, seconds=round(seconds, 3))
        return result

    async def close(self) -> None:
        """Nothing stays open; a fitting process ends with the task that awaits it."""

    async def _adopt(self, effect: AdoptBundle) -> BundleAdopted | AdoptionFailed:
        """Fetch and check a bundle as inference will; doing it twice changes nothing."""
        log = self._context.log.bind(model=effect.name, version=effect.version, symbol=effect.symbol)
        about: dict[str, Any] = {
            "ts_event_ns": effect.ts_event_ns, "ts_init_ns": effect.ts_init_ns, "effect_id": effect.effect_id,
            "name": effect.name, "version": effect.version, "symbol": effect.symbol,
        }
        try:
            archive = await self._context.bus.get_object(_object_name(effect.name, effect.version, effect.bundle_sha256))
            manifest = await asyncio.to_thread(_checked, archive, self._verifier, effect)
        except (ArtifactError, BusError, OSError, TimeoutError) as error:
            log.warning("adoption_failed", detail=str(error))
            return AdoptionFailed(**about, detail=str(error) or type(error).__name__)
        log.info("bundle_adopted", bundle_sha256=effect.bundle_sha256)
        return BundleAdopted(
            **about, bundle_sha256=effect.bundle_sha256, schema_id=manifest.schema_id, last_ns=manifest.last_ns,
            metrics=manifest.metrics,
        )

    async def _train(self, effect: TrainModel) -> ModelTrained:
        champion = await self._champion(effect) if effect.champion else None
        request = FitRequest(
            feature_names=effect.feature_names, seed=effect.seed, settings=self._config.fit,
            champion_last_ns=effect.champion.last_ns if effect.champion else 0,
        )
        fitted = await self._process.run(effect.dataset, request, champion)
        manifest = _manifest(effect, fitted, self._config)
        archive = await asyncio.to_thread(pack, manifest, fitted.files, self._signer)
        bundle = await asyncio.to_thread(unpack, archive, self._verifier)
        result = ModelTrained(
            ts_event_ns=effect.ts_event_ns, ts_init_ns=effect.ts_init_ns, effect_id=effect.effect_id,
            name=effect.name, version=effect.version, symbol=effect.symbol, bundle_sha256=bundle.sha256,
            schema_id=effect.schema_id, last_ns=manifest.last_ns,
            champion_version=effect.champion.version if effect.champion else 0, metrics=manifest.metrics,
        )
        object_name = _object_name(effect.name, effect.version, bundle.sha256)
        await self._store(object_name, archive)
        await asyncio.to_thread(self._vault.put, object_name, archive, result)
        return result

    async def _champion(self, effect: TrainModel) -> Bundle:
        """Return the champion's bundle from our disk or, failing that, from the store, verified.

        Raises
        ------
        ArtifactError : when neither holds a sound bundle
        """
        champion: Champion | None = effect.champion
        assert champion is not None
        object_name = _object_name(model_name(effect.symbol), champion.version, champion.bundle_sha256)
        archive = await asyncio.to_thread(self._vault.bundle, object_name)
        if archive is None:
            archive = await self._context.bus.get_object(object_name)
        bundle = await asyncio.to_thread(unpack, archive, self._verifier)
        if bundle.sha256 != champion.bundle_sha256 or bundle.manifest.feature_names != effect.feature_names:
            raise ArtifactError(f"{object_name} holds another model than the champion")
        return bundle

    async def _store(self, object_name: str, archive: bytes) -> None:
        """Put a bundle into the object store; the same name always carries the same bytes, so trying again is safe."""
        for pause_s in _STORE_PAUSES_S:
            try:
                return await self._context.bus.put_object(object_name, archive)
            except (BusError, OSError, TimeoutError) as error:
                self._context.log.warning("model_store_unreachable", object_name=object_name, error=str(error))
                await asyncio.sleep(pause_s)
        return await self._context.bus.put_object(object_name, archive)


def _object_name(name: str, version: int, bundle_sha256: str) -> str:
    return f"{name}-{version}-{bundle_sha256[:16]}"


def _checked(archive: bytes, verifier: Verifier, effect: AdoptBundle) -> Manifest:
    bundle = unpack(archive, verifier)
    manifest = bundle.manifest
    found = (manifest.name, manifest.version, manifest.symbol, bundle.sha256)
    if found != (effect.name, effect.version, effect.symbol, effect.bundle_sha256):
        raise ArtifactError(f"the store holds {manifest.name} {manifest.version} for {manifest.symbol} ({bundle.sha256})")
    check_golden(bundle, load_predictor(bundle))
    return manifest


def _manifest(effect: TrainModel, fitted: Fitted, config: TrainerConfig) -> Manifest:
    dataset, report = effect.dataset, fitted.report
    return Manifest(
        name=effect.name, version=effect.version, symbol=effect.symbol, schema_id=effect.schema_id,
        feature_names=effect.feature_names, horizon_s=config.horizon_s, stop_sigma=config.stop_sigma,
        target_sigma=config.target_sigma, sigma_feature=config.sigma_feature, sigma_unit=config.sigma_unit,
        sigma_scale=config.sigma_scale, first_ns=int(dataset.time_ns[0]), last_ns=int(dataset.end_ns.max()),
        rows=len(dataset), seed=effect.seed, metrics=report.metrics, drift=report.drift,
        mean_return_pct=report.mean_return_pct,
        extra={
            "trigger": effect.trigger, "dataset": dataset.digest(),
            "champion_version": str(effect.champion.version if effect.champion else 0),
        },
    )
