"""Fetches, verifies and keeps model bundles for the inference core."""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

from libs.common.core import Effect, EffectResult
from libs.common.errors import ArtifactError, BusError, StorageError
from libs.common.messages.base import Message
from libs.common.messages.features import Prediction
from libs.common.messages.models import ModelLoaded, ModelRejected
from libs.common.runtime.metrics import Metrics
from libs.common.runtime.service import Service, ServiceContext
from libs.common.signing import Verifier
from libs.common.storage.keys import read_key
from services.inference.adapters.strategy_file import strategies_of
from services.inference.config import InferenceConfig
from services.inference.core import InferenceCore
from services.inference.effects import BundleBroken, BundleVerified, LoadBundle
from services.inference.library import LoadedModel, ModelLibrary, verified_model

SUFFIX = ".bundle"


class BundleEffects:
    """Performs ``LoadBundle``: object store, checks in a thread, a copy on disk, the model into the library.

    The copies let a restart replay with the very models it had, whatever the object store holds by then.

    Parameters
    ----------
    config : how often to try, how much to keep
    context : bus, folders, log
    core : asked which bundles are in use; those are never thrown away
    library : filled here
    """

    def __init__(
        self, config: InferenceConfig, context: ServiceContext, core: InferenceCore, library: ModelLibrary
    ) -> None:
        self._config = config
        self._context = context
        self._core = core
        self._library = library
        self._folder = context.data_dir / "bundles"
        self._verifier: Verifier | None = None

    async def prepare(self) -> None:
        """Load every bundle kept on disk; a damaged copy is thrown away, the core will ask for it again.

        Raises
        ------
        ConfigError : when the trainer's public key is missing or is no key
        """
        self._verifier = Verifier(read_key(self._context.root_dir, "trainer.pub"))
        await asyncio.to_thread(self._load_kept)
        self._context.log.info("bundles_loaded", bundles=len(self._library))

    async def perform(self, effect: Effect) -> EffectResult:
        """Load the bundle an effect names; performing it twice changes nothing."""
        assert isinstance(effect, LoadBundle)
        try:
            if self._library.get(effect.bundle_sha256) is None:
                archive = await self._fetch(effect.object_name)
                self._library.put(await asyncio.to_thread(self._keep_verified, archive, effect))
            self._check_identity(effect)
        except (ArtifactError, BusError, StorageError) as error:
            self._context.log.warning("bundle_broken", model=effect.name, version=effect.version, reason=str(error))
            return BundleBroken(**_answer(effect), reason=str(error))
        await asyncio.to_thread(self._forget_old, self._core.in_use())
        self._context.log.info("bundle_verified", model=effect.name, version=effect.version, shadow=effect.shadow)
        return BundleVerified(**_answer(effect))

    async def close(self) -> None:
        """Nothing is held open."""

    async def _fetch(self, object_name: str) -> bytes:
        """Return the archive; a bus that fails is asked again, one that has no such object is not.

        Raises
        ------
        ArtifactError : the store has no such object
        BusError : the bus failed every time
        """
        problem = ""
        for attempt in range(self._config.fetch_tries):
            if attempt:
                await asyncio.sleep(self._config.fetch_pause_s)
            try:
                async with asyncio.timeout(self._config.fetch_timeout_s):
                    return await self._context.bus.get_object(object_name)
            except ArtifactError:
                raise
            # A connection that breaks half-way through an object shows itself in many ways; all mean: try again.
            except Exception as error:
                problem = str(error) or type(error).__name__
                self._context.log.warning("bundle_not_fetched", object_name=object_name, error=problem)
        raise BusError(f"bundle {object_name} could not be fetched in {self._config.fetch_tries} tries: {problem}")

    def _load_kept(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for unfinished in self._folder.glob("*.tmp"):
            unfinished.unlink()
        for file in sorted(self._folder.glob(f"*{SUFFIX}")):
            try:
                self._library.put(self._verified(file.read_bytes(), file.stem))
            except ArtifactError as error:
                self._context.log.warning("kept_bundle_broken", bundle=file.stem, reason=str(error))
                file.unlink()

    def _verified(self, archive: bytes, bundle_sha256: str) -> LoadedModel:
        assert self._verifier is not None, "prepare() runs first"
        return verified_model(archive, self._verifier, bundle_sha256)

    def _keep_verified(self, archive: bytes, effect: LoadBundle) -> LoadedModel:
        """Check an archive and store it; the model is only used once its copy is on disk, or a replay would lack it."""
        model = self._verified(archive, effect.bundle_sha256)
        _write_whole(self._file(effect.bundle_sha256), archive)
        return model

    def _check_identity(self, effect: LoadBundle) -> None:
        model = self._library.get(effect.bundle_sha256)
        assert model is not None
        manifest = model.manifest
        found = (manifest.name, manifest.version, manifest.symbol)
        if found != (effect.name, effect.version, effect.symbol):
            raise ArtifactError(
                f"bundle is {found[0]} v{found[1]} for {found[2]}, "
                f"the event named {effect.name} v{effect.version} for {effect.symbol}"
            )

    def _forget_old(self, in_use: set[str]) -> None:
        """Throw away the bundles that were out of use longest.

        The file time of a bundle says when it was last known to be in use: a snapshot may be a little older than
        the core, so a champion replaced a moment ago must stay.
        """
        for sha in in_use:
            with contextlib.suppress(FileNotFoundError):
                os.utime(self._file(sha))
        files = sorted(self._folder.glob(f"*{SUFFIX}"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
        idle = [file for file in files if file.stem not in in_use]
        for file in idle[self._config.keep_bundles :]:
            file.unlink()
            self._library.drop(file.stem)

    def _file(self, bundle_sha256: str) -> Path:
        return self._folder / f"{bundle_sha256}{SUFFIX}"


class InferenceMetrics:
    """Turns what the core says into metrics.

    Parameters
    ----------
    metrics : the declared metrics
    core : asked for the largest drift index
    """

    def __init__(self, metrics: Metrics, core: InferenceCore) -> None:
        self._core = core
        self._predictions = metrics.counter("tickwire_inference_predictions_total")
        self._version = metrics.gauge("tickwire_inference_model_version")
        self._psi = metrics.gauge("tickwire_inference_drift_psi")
        self._rejected = metrics.counter("tickwire_inference_bundles_rejected_total")

    def __call__(self, message: Message) -> None:
        if isinstance(message, Prediction) and not message.shadow:
            self._predictions.labels(symbol=message.symbol, side=message.side or "none").inc()
            self._psi.labels(symbol=message.symbol).set(self._core.worst_drift(message.symbol))
        elif isinstance(message, ModelLoaded) and not message.shadow:
            self._version.labels(symbol=message.symbol).set(message.version)
        elif isinstance(message, ModelRejected):
            self._rejected.inc()


def build(config: dict[str, Any], context: ServiceContext) -> Service:
    """Put the service together."""
    own: InferenceConfig = config["inference"]
    library = ModelLibrary()
    core = InferenceCore(own, library, strategies_of(own.strategy))
    return Service(
        core=core, effects=BundleEffects(own, context, core, library), observe=InferenceMetrics(context.metrics, core)
    )


def _answer(effect: LoadBundle) -> dict[str, Any]:
    return {
        "effect_id": effect.effect_id, "ts_event_ns": effect.ts_event_ns, "ts_init_ns": effect.ts_init_ns,
        "step": effect.step, "name": effect.name, "version": effect.version, "symbol": effect.symbol,
        "bundle_sha256": effect.bundle_sha256, "shadow": effect.shadow,
    }


def _write_whole(file: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut.

    Raises
    ------
    StorageError : when the disk refuses
    """
    temporary = file.with_suffix(".tmp")
    try:
        with temporary.open("wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        temporary.replace(file)
        if os.name == "posix":
            # The new name is safe only once the folder is on disk too; Windows has no such call.
            folder = os.open(file.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(f"{file}: {error.strerror}. Make room on the disk, then promote the model again.") from error
