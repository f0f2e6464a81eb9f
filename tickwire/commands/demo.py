"""``tickwire demo``: ticks to trades before one's eyes."""

import asyncio
import shutil
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from libs.common.errors import ConfigError
from tickwire.console import err, out
from tickwire.demo_config import DURATION_S, DemoOptions, TickFile, symbol_of_file
from tickwire.demo_run import Demo, checked_file, new_run_dir

APPS = {"demo": typer.Typer(add_completion=False)}


@APPS["demo"].command(name="demo")
def demo(
    ticks: Annotated[
        list[Path] | None, typer.Option("--ticks", help="Your own tick or bar file instead of the synthetic market.")
    ] = None,
    symbol: Annotated[
        list[str] | None, typer.Option("--symbol", "-s", help="Symbol of the --ticks file in the same place.")
    ] = None,
    zone: Annotated[
        str, typer.Option("--zone", help="Clock of the files: UTC, NY+7, EET, +03:00, a name; empty: the format's.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", min=0, help="Most ticks per file; 0: all.")] = 0,
    speed: Annotated[
        str,
        typer.Option("--speed", help="max, or event seconds per second (1: as it was); default: fits --duration."),
    ] = "",
    lockstep: Annotated[
        bool, typer.Option("--lockstep", help="Step by step in event time: every run gives the same orders.")
    ] = False,
    duration: Annotated[
        float | None,
        typer.Option("--duration", min=0.0, help="Seconds of flow; default 75; 0: no limit, also with --lockstep."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2_147_483_647, help="Seed of everything random.")] = 123,
    out_dir: Annotated[Path, typer.Option("--out", help="Where the run's folder is made.")] = Path("runs"),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port of nats-server; 0: a free one.")] = 0,
    broker: Annotated[
        str,
        typer.Option("--broker", help="Who executes: sim, in the executor; mt5, a terminal by a worker; ea, by its EA."),
    ] = "sim",
    backend: Annotated[
        str, typer.Option("--backend", help="Which terminal with --broker mt5: sim, a simulated one.")
    ] = "sim",
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Keep the streams and service state (runs/<time>/state); --lockstep always does."),
    ] = False,
) -> None:
    """Run the whole stack on a synthetic market or your own ticks; ends by itself with a summary."""
    files = _read_files(ticks or [], symbol or [], zone, limit)
    unlimited = lockstep or bool(files and speed)
    options = DemoOptions(
        files=files,
        limit=limit,
        speed=read_speed(speed),
        lockstep=lockstep,
        duration_s=duration if duration is not None else 0.0 if unlimited else DURATION_S,
        seed=seed,
        port=port,
        broker=read_broker(broker, backend),
        backend=backend,
    )
    run_dir = new_run_dir(out_dir)
    code = asyncio.run(Demo(options, run_dir, out).run())
    # What was replayed in lockstep can be proved afterwards, by `tickwire verify`.
    if code == 0 and not keep and not lockstep:
        shutil.rmtree(run_dir / "state", ignore_errors=True)
    raise typer.Exit(code)


def read_speed(text: str) -> Literal["max"] | float | None:
    """Return what ``--speed`` says.

    Raises
    ------
    ConfigError : when it is neither ``max`` nor a number above 0
    """
    if text in ("", "max"):
        return "max" if text else None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.0 < speed <= 1_000_000.0:
        raise ConfigError(f"--speed {text}: expected 'max', or event seconds per second between 0 and 1,000,000")
    return speed


BROKERS = ("sim", "mt5", "ea")


def read_broker(broker: str, backend: str) -> str:
    """Return what ``--broker`` and ``--backend`` say.

    Raises
    ------
    ConfigError : for a broker nobody knows, or a real terminal: a demo trades on paper
    """
    if broker not in BROKERS:
        raise ConfigError(f"--broker {broker}: expected {' or '.join(BROKERS)}")
    if backend != "sim":
        raise ConfigError(
            f"--backend {backend}: the demo trades with a simulated terminal only. For a real one write a config file "
            "(deploy/mt5/config.yaml is one) and run `tickwire doctor mt5`, then `tickwire up`."
        )
    return broker


def pair_symbols(paths: list[Path], symbols: list[str]) -> list[tuple[Path, str]]:
    """Return each file with its symbol: one per file, one for all, or told from the file names.

    Raises
    ------
    ConfigError : when the numbers do not fit, or a name tells of no symbol
    """
    if symbols and not paths:
        raise ConfigError("--symbol needs --ticks FILE; the synthetic market trades EURUSD and XAUUSD")
    if len(symbols) not in (0, 1, len(paths)):
        raise ConfigError(f"{len(paths)} --ticks but {len(symbols)} --symbol: give one for each file, or one for all")
    if not symbols:
        return [(path, symbol_of_file(path)) for path in paths]
    return list(zip(paths, symbols * len(paths) if len(symbols) == 1 else symbols, strict=True))


def _read_files(paths: list[Path], symbols: list[str], zone: str, limit: int) -> tuple[TickFile, ...]:
    pairs = pair_symbols(paths, symbols)
    columns = (SpinnerColumn(), TextColumn("reading {task.description}"), TimeElapsedColumn())
    files = []
    with Progress(*columns, console=err, transient=True) as progress:
        for path, symbol in pairs:
            task = progress.add_task(path.name)
            files.append(checked_file(path, symbol, zone, limit))
            progress.remove_task(task)
    return tuple(files)
