"""The options that all commands share which run on recorded ticks, and the plan they amount to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, get_args

import typer

from libs.common.errors import ConfigError
from services.ingest.bars import BarPath
from tickwire.backtest_run import Plan
from tickwire.backtest_sources import Window, instant_ns, stored_folder
from tickwire.commands.demo import pair_symbols
from tickwire.sections import read_all

Config = Annotated[Path | None, typer.Option("--config", "-c", help="Default: config.yaml if there is one.")]
Ticks = Annotated[list[Path] | None, typer.Option("--ticks", help="Tick or bar file, or a folder of day files.")]
Symbols = Annotated[
    list[str] | None,
    typer.Option("--symbol", "-s", help="Symbol of the --ticks in the same place; alone: of the tick store."),
]
Store = Annotated[Path | None, typer.Option("--store", help="Tick store; default: <data_dir>/ticks.")]
Zone = Annotated[str, typer.Option("--zone", help="Clock of the files: UTC, NY+7, EET, +03:00, a name.")]
From = Annotated[str, typer.Option("--from", help="First day or instant, UTC.")]
To = Annotated[str, typer.Option("--to", help="Last day, included, or first instant left out, UTC.")]
Limit = Annotated[int, typer.Option("--limit", min=0, help="Most ticks per file; 0: all.")]
BarPathText = Annotated[str, typer.Option("--bar-path", help="What comes first in a bar: direction, ohlc or olhc.")]
StrategyName = Annotated[str, typer.Option("--strategy", help="Rule strategy that decides.")]
StrategyFile = Annotated[str, typer.Option("--strategy-file", help="Python file with strategies of yours.")]
Changes = Annotated[list[str] | None, typer.Option("--set", help="Config key, section.key=value.")]
MaxGap = Annotated[float, typer.Option("--max-gap", min=0.0, help="Longest hole in an open market, hours; 0: any.")]


def plan_of(
    *, config: Path | None = None, ticks: list[Path] | None = None, symbol: list[str] | None = None,
    store: Path | None = None, zone: str = "", from_: str = "", to: str = "", limit: int = 0,
    bar_path: str = "direction", strategy: str = "", strategy_file: str = "", changes: list[str] | None = None,
    max_gap: float = 96.0,
) -> Plan:  # fmt: skip
    """Return the plan that options amount to.

    Raises
    ------
    ConfigError, DataError : naming the option
    """
    if config is None and Path("config.yaml").exists():
        config = Path("config.yaml")
    path = next((known for known in get_args(BarPath) if known == bar_path), None)
    if path is None:
        raise ConfigError(f"--bar-path {bar_path}: expected {' or '.join(get_args(BarPath))}")
    return Plan(
        config=config, files=_files(ticks or [], symbol or [], store, config), zone=zone,
        window=Window(instant_ns(from_, "--from"), instant_ns(to, "--to", end=True), limit), bar_path=path,
        strategy=strategy, strategy_file=strategy_file, changes=tuple(changes or ()), max_gap_h=max_gap,
    )  # fmt: skip


def _files(
    ticks: Sequence[Path], symbols: Sequence[str], store: Path | None, config: Path | None
) -> tuple[tuple[Path, str], ...]:
    """Return each source with its symbol: files, or folders of the tick store."""
    if ticks:
        return tuple(pair_symbols(list(ticks), list(symbols)))
    if not symbols:
        return ()
    folder = store if store is not None else Path(read_all(config)["system"].data_dir) / "ticks"
    return tuple((stored_folder(folder, symbol), symbol) for symbol in dict.fromkeys(symbols))
