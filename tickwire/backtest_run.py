"""One backtest as the command runs it: config, ticks, who decides, and the run itself."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import yaml

from backtest.result import Result, TickWatch, run_backtest
from backtest.wiring import Cores, Sections, build_cores
from libs.common.config import ENV_PREFIX, InstrumentConfig
from libs.common.core import Core, dispatch
from libs.common.errors import ArtifactError, ConfigError, DataError
from libs.common.messages.models import ModelPromoted
from libs.common.models.bundle import Manifest, unpack
from libs.common.signing import Verifier
from libs.common.storage.keys import read_key
from services.features.shell import prepare
from services.inference.adapters.strategy_file import strategies_of
from services.inference.config import InferenceConfig, StrategyConfig
from services.inference.effects import BundleVerified, LoadBundle
from services.inference.library import LoadedModel, ModelLibrary, verified_model
from services.inference.strategies import StrategyTable
from services.ingest.adapters.sources import open_sources
from services.ingest.bars import BarPath
from services.ingest.raw import RawTicks
from tickwire.backtest_sources import MarketFile, Window, open_file, survey, wanted
from tickwire.demo_config import instrument_for
from tickwire.sections import read_all


class NobodyDecides(ConfigError):
    """Neither a strategy nor a model was named."""


@dataclass(frozen=True)
class Plan:
    """What was asked for on the command line.

    Parameters
    ----------
    config : config file, ``None`` for defaults
    files : (path, symbol) of the sources; none: what section ``ingest`` names
    strategy, strategy_file, params : a rule strategy; empty: the config's
    bundle, key : a model's archive, and the public key it must be signed with (``None``: the data folder's)
    changes : ``section.key=value`` on top of the config
    trials : strategies and settings tried so far, this one included
    max_gap_h : longest silence of an open market that is let pass, hours; 0 for any
    """

    config: Path | None = None
    files: tuple[tuple[Path, str], ...] = ()
    zone: str = ""
    window: Window = field(default_factory=Window)
    bar_path: BarPath = "direction"
    strategy: str = ""
    strategy_file: str = ""
    params: tuple[str, ...] = ()
    bundle: Path | None = None
    key: Path | None = None
    changes: tuple[str, ...] = ()
    trials: int = 1
    max_gap_h: float = 96.0
    careful: bool = False


@dataclass
class Prepared:
    """Everything checked and nothing run yet.

    Parameters
    ----------
    files : surveyed; empty where section ``ingest`` says what to read
    ticks : how many are to come, 0 where nobody knows
    """

    plan: Plan
    sections: Sections
    files: tuple[MarketFile, ...]
    strategies: Mapping[str, Any]
    calendar: Any = None
    library: ModelLibrary = field(default_factory=ModelLibrary)
    model: LoadedModel | None = None

    @property
    def ticks(self) -> int:
        return sum(file.ticks for file in self.files)

    @property
    def title(self) -> str:
        """Who decides."""
        if self.model is not None:
            return f"{self.model.manifest.name} v{self.model.manifest.version}"
        return self.sections.inference.strategy.name

    @property
    def source(self) -> str:
        """What is read, in words."""
        if not self.files:
            return f"section ingest: {self.sections.ingest.adapter}"
        return "; ".join(f"{file.symbol} from {file.path.name} ({file.format})" for file in self.files)


def prepare_run(plan: Plan) -> Prepared:
    """Read the config and the data through, and find out who decides.

    Raises
    ------
    ConfigError, DataError, ArtifactError : naming what is wrong and the remedy
    """
    everything = read_all(plan.config, environment_of(plan.changes))
    files = tuple(survey(path, symbol, plan.zone, plan.window) for path, symbol in plan.files)
    system = everything["system"]
    symbols = tuple(dict.fromkeys(file.symbol for file in files)) or system.symbols
    instruments = dict(everything["instruments"])
    for file in files:
        instruments[file.symbol] = _instrument(instruments.get(file.symbol), file)
    for symbol in symbols:
        instruments.setdefault(symbol, instrument_for(symbol))
    sections = Sections(
        system=msgspec.structs.replace(system, symbols=symbols, mode="paper"),
        instruments={symbol: instruments[symbol] for symbol in dict.fromkeys((*symbols, *instruments))},
        ingest=everything["ingest"], features=everything["features"],
        inference=_inference(everything["inference"], plan), risk=everything["risk"], executor=everything["executor"],
    )
    prepared = Prepared(plan, sections, files, strategies_of(sections.inference.strategy))
    prepared.calendar = prepare(sections.features)
    if plan.bundle is not None:
        prepared.model = _read_bundle(plan, prepared)
    elif not sections.inference.strategy.name:
        raise NobodyDecides(
            f"nobody decides: name a rule strategy with --strategy ({', '.join(sorted(prepared.strategies))}) or a "
            "model's archive with --bundle"
        )
    # Everything that contradicts everything else shows itself here, before a tick is read.
    cores = cores_of(prepared)
    if cores.inference.rules is not None:
        StrategyTable(cores.inference.rules.strategy, cores.features.names)
    return prepared


def run_prepared(prepared: Prepared, watch: TickWatch | None = None, bar_path: BarPath | None = None) -> Result:
    """Run what was prepared.

    Parameters
    ----------
    watch : told of progress
    bar_path : instead of the plan's

    Raises
    ------
    DataError : when the data cannot be used after all, or a strategy fails
    """
    plan = prepared.plan
    return run_backtest(
        prepared.sections, cores_of(prepared), sources_of(prepared, bar_path or plan.bar_path), trials=plan.trials,
        max_gap_h=plan.max_gap_h, careful=plan.careful, watch=watch,
    )


def config_text(sections: Sections) -> str:
    """Return the sections as YAML: a config file that repeats the run."""
    # Once through the types, so that 2 and 2.0, which mean the same, read the same.
    plain = msgspec.to_builtins(msgspec.convert(msgspec.to_builtins(sections), Sections))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def environment_of(changes: tuple[str, ...]) -> dict[str, str]:
    """Return the environment with ``section.key=value`` as the variables that override the file."""
    environ = dict(os.environ)
    for change in changes:
        path, equals, value = change.partition("=")
        parts = path.strip().split(".")
        if not equals or len(parts) < 2 or not all(parts):
            raise ConfigError(f"--set {change}: expected section.key=value, for example risk.max_spread_points=50")
        environ[ENV_PREFIX + "__".join(parts)] = value
    return environ


def _instrument(known: InstrumentConfig | None, file: MarketFile) -> InstrumentConfig:
    if known is None:
        return instrument_for(file.symbol, file.digits)
    if file.digits > known.digits:
        raise DataError(
            str(file.path), f"prices have {file.digits} decimals, instruments.{file.symbol}.digits is {known.digits}",
            remedy=f"If these are prices of {file.symbol}: --set instruments.{file.symbol}.digits={file.digits}",
        )
    return known


def _inference(section: InferenceConfig, plan: Plan) -> InferenceConfig:
    if plan.bundle is not None:
        if plan.strategy:
            raise ConfigError("--strategy and --bundle: only one of them can decide")
        return msgspec.structs.replace(section, strategy=StrategyConfig())
    rule = section.strategy
    name, file = plan.strategy or rule.name, plan.strategy_file or rule.file
    params: dict[str, Any] = dict(rule.params) if name == rule.name else {}
    for text in plan.params:
        _put(params, text)
    if params and not name:
        raise ConfigError("--param needs --strategy NAME")
    return msgspec.structs.replace(section, strategy=StrategyConfig(name=name, file=file, params=params))


def _put(params: dict[str, Any], text: str) -> None:
    """Write ``a.b=value`` into nested parameters."""
    path, equals, value = text.partition("=")
    *parents, last = path.strip().split(".")
    if not equals or not last:
        raise ConfigError(f"--param {text}: expected name=value, for example protection.stop=2.5")
    for parent in parents:
        held = params.get(parent)
        params[parent] = dict(held) if isinstance(held, dict) else {}
        params = params[parent]
    try:
        params[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"--param {text}: {value!r} is not a value") from None


def _read_bundle(plan: Plan, prepared: Prepared) -> LoadedModel:
    """Verify a model's archive and put the model into the library."""
    assert plan.bundle is not None
    path, sections = plan.bundle, prepared.sections
    try:
        archive = path.read_bytes()
        key = plan.key.read_bytes() if plan.key is not None else read_key(Path(sections.system.data_dir), "trainer.pub")
    except OSError as error:
        raise ArtifactError(f"{error.filename}: cannot be read ({error.strerror})") from error
    try:
        verifier = Verifier(key)
        bundle = unpack(archive, verifier)
        _check_fits(bundle.manifest, prepared)
        model = verified_model(archive, verifier, bundle.sha256)
        prepared.library.put(model)
    except (ArtifactError, ValueError) as error:
        raise ArtifactError(f"{path}: {error}") from error
    return model


def _check_fits(manifest: Manifest, prepared: Prepared) -> None:
    sections = prepared.sections
    if sections.system.symbols != (manifest.symbol,):
        raise ArtifactError(
            f"the model is for {manifest.symbol}, the ticks are of {', '.join(sections.system.symbols)}. Name its symbol "
            "with --symbol, or another bundle."
        )
    features = build_cores(sections, strategies=prepared.strategies, calendar=prepared.calendar).features
    if features.schema_id == manifest.schema_id:
        return
    ours, theirs = set(features.names), set(manifest.feature_names)
    parts = [
        f"{text} {', '.join(sorted(names)[:5])}"
        for text, names in (("lacks", theirs - ours), ("has besides", ours - theirs)) if names
    ]
    raise ArtifactError(
        f"the model was trained on rows of schema {manifest.schema_id}, section features makes {features.schema_id}"
        + (f" ({'; '.join(parts)})" if parts else " (same names, other parameters or order)")
        + ". Use the config it was trained with."
    )


def cores_of(prepared: Prepared) -> Cores:
    """Return fresh cores, the model in its seat."""
    cores = build_cores(
        prepared.sections, library=prepared.library, strategies=prepared.strategies, calendar=prepared.calendar
    )
    if prepared.model is not None:
        _seat(cores.inference, prepared.model)
    return cores


def _seat(inference: Core, model: LoadedModel) -> None:
    """Promote the model and answer for the bundle, which was verified."""
    manifest = model.manifest
    named: dict[str, Any] = {
        "ts_event_ns": 0, "ts_init_ns": 0, "name": manifest.name, "version": manifest.version,
        "symbol": manifest.symbol, "bundle_sha256": model.bundle_sha256,
    }
    for effect in dispatch(inference, ModelPromoted(**named), 0):
        assert isinstance(effect, LoadBundle)
        dispatch(inference, BundleVerified(**named, effect_id=effect.effect_id, shadow=False), 0)


def sources_of(prepared: Prepared, bar_path: BarPath) -> dict[str, Iterator[RawTicks]]:
    sections, plan = prepared.sections, prepared.plan
    if not prepared.files:
        ingest = sections.ingest
        if ingest.adapter not in ("replay", "synthetic"):
            raise ConfigError(f"ingest.adapter {ingest.adapter} is live. Name files with --ticks, or stored symbols.")
        if ingest.adapter == "synthetic" and not (ingest.synthetic.duration_s or ingest.duration_s or plan.window.limit):
            raise ConfigError("the synthetic market has no end: give --limit, or ingest.synthetic.duration_s")
        opened = open_sources(ingest, sections.system, sections.instruments)
        return {symbol: wanted(source, plan.window) for symbol, source in opened.items()}
    found: dict[str, Iterator[RawTicks]] = {}
    for symbol in sections.system.symbols:
        parts = [file for file in prepared.files if file.symbol == symbol]
        digits = sections.instruments[symbol].digits
        found[symbol] = (
            raw for file in parts
            for raw in open_file(file, plan.window, digits, sections.ingest.bar_spread_points, bar_path)
        )
    return found
