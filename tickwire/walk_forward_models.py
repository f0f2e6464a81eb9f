"""Models that are trained on the way, by the live trainer's own core, effects and fitting process."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from backtest.result import Result, TickWatch, run_backtest
from backtest.wiring import build_cores
from libs.common.core import Effect, EffectResult
from libs.common.errors import BusError, DataError
from libs.common.runtime.metrics import Metrics
from libs.common.runtime.service import ServiceContext
from libs.common.signing import Verifier
from libs.common.storage.keys import ensure_keys, read_key
from services.inference.config import StrategyConfig
from services.inference.effects import BundleVerified
from services.inference.library import ModelLibrary
from services.trainer.config import TrainerConfig
from services.trainer.core import TrainerCore
from services.trainer.effects import ModelTrained, TrainingFailed
from services.trainer.shell import TrainerEffects
from tickwire.backtest_run import Prepared, sources_of
from tickwire.recorded_session import BundleLoader


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """One training of the run.

    Parameters
    ----------
    event_ns : when, ns UTC
    failure : why no model came of it; empty otherwise
    """

    symbol: str
    version: int
    event_ns: int
    metrics: dict[str, float] = {}
    failure: str = ""


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A version that was let serve, and from when on, ns UTC."""

    symbol: str
    version: int
    from_ns: int


class _Shelf:
    """Stands for the bus's object store."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    async def put_object(self, name: str, content: bytes) -> None:
        self.objects[name] = content

    async def get_object(self, name: str) -> bytes:
        if name not in self.objects:
            raise BusError(f"there is no object {name}")
        return self.objects[name]


class _Silence:
    """Stands for a log nobody reads."""

    def bind(self, **_: Any) -> "_Silence":
        return self

    def info(self, *_: Any, **__: Any) -> None: ...

    warning = info


class Academy:
    """Performs what trainer and inference ask for, and remembers what came of it.

    Parameters
    ----------
    folder : for keys, bundles and fitting processes
    """

    def __init__(self, config: TrainerConfig, library: ModelLibrary, folder: Path) -> None:
        ensure_keys(folder)
        self._loop = asyncio.new_event_loop()
        shelf: Any = _Shelf()
        context = ServiceContext(
            name="trainer", data_dir=folder / "trainer", root_dir=folder, bus=shelf, log=_Silence(), metrics=Metrics()
        )
        context.data_dir.mkdir(parents=True)
        self._effects = TrainerEffects(config, context)
        self._loader = BundleLoader(library, shelf.objects, Verifier(read_key(folder, "trainer.pub")))
        self._loop.run_until_complete(self._effects.prepare())
        self.trainings: list[Training] = []
        self.served: list[Served] = []

    def train(self, effect: Effect) -> EffectResult:
        """Fit a model as the live trainer does: in a process of its own, signed, stored."""
        result = self._loop.run_until_complete(self._effects.perform(effect))
        if isinstance(result, ModelTrained):
            self.trainings.append(Training(
                symbol=result.symbol, version=result.version, event_ns=result.ts_event_ns, metrics=result.metrics
            ))
        elif isinstance(result, TrainingFailed):
            self.trainings.append(Training(
                symbol=result.symbol, version=result.version, event_ns=result.ts_event_ns,
                failure=f"{result.reason}: {result.detail}",
            ))
        return result

    def load(self, effect: Effect) -> EffectResult:
        """Verify a bundle and put its model into the library."""
        result = self._loader(effect)
        if isinstance(result, BundleVerified) and not result.shadow:
            self.served.append(Served(symbol=result.symbol, version=result.version, from_ns=result.ts_event_ns))
        return result

    def close(self) -> None:
        """End the loop."""
        self._loop.close()


@contextmanager
def _academy(config: TrainerConfig, library: ModelLibrary) -> Iterator[Academy]:
    with tempfile.TemporaryDirectory(prefix="tickwire-walk-") as folder:
        academy = Academy(config, library, Path(folder))
        try:
            yield academy
        finally:
            academy.close()


def run_models(
    prepared: Prepared, config: TrainerConfig, watch: TickWatch | None = None
) -> tuple[Result, list[Training], list[Served]]:
    """Run the whole system, trainer included: every model knows only what happened before it was trained.

    Raises
    ------
    DataError : when no model was ever let serve
    """
    sections = msgspec.structs.replace(
        prepared.sections, inference=msgspec.structs.replace(prepared.sections.inference, strategy=StrategyConfig())
    )
    library = ModelLibrary()
    cores = build_cores(sections, library=library, calendar=prepared.calendar)
    trainer = TrainerCore(config, sections.system.symbols, sections.instruments, sections.system.seed)
    with _academy(config, library) as academy:
        result = run_backtest(
            sections, cores, sources_of(prepared, prepared.plan.bar_path), max_gap_h=prepared.plan.max_gap_h,
            trainer=trainer, performers={"trainer": academy.train, "inference": academy.load}, watch=watch,
        )
    if not academy.served:
        rows = ", ".join(f"{symbol}: {trainer.rows(symbol):,} rows" for symbol in sections.system.symbols)
        tried = academy.trainings[-1] if academy.trainings else None
        last = f"; the last training: {tried.failure or tried.metrics}" if tried else ""
        raise DataError(
            "walk-forward", f"no model was let serve ({rows}; {len(academy.trainings)} trainings{last})",
            remedy="Give more data, or look at trainer.min_rows and trainer.gate",
        )
    return result, academy.trainings, academy.served
