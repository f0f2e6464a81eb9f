"""``tickwire backtest``: the live cores over recorded ticks, as fast as the machine goes, and a page about it."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from backtest.compare import Figure, Side, comparison, figures
from backtest.result import Result
from libs.common.errors import ConfigError
from services.ingest.bars import BarPath
from tickwire import plan_options as options
from tickwire.backtest_run import Prepared, config_text, prepare_run, run_prepared
from tickwire.console import err, out, print_hint, print_json
from tickwire.report.page import compare_html
from tickwire.run_folder import REPORT, SavedRun, facts_of, metrics_of, read_run, whole_folder, write_run

APPS = {"backtest": typer.Typer(add_completion=False)}
BOTH = "both"
COMPARISON = "compare.html"
_SIDES = ("ohlc", "olhc")
_MOSTLY = 0.5


@APPS["backtest"].command(name="backtest")
def backtest(
    config: options.Config = None,
    ticks: options.Ticks = None,
    symbol: options.Symbols = None,
    store: options.Store = None,
    zone: options.Zone = "",
    from_: options.From = "",
    to: options.To = "",
    limit: options.Limit = 0,
    bar_path: Annotated[
        str,
        typer.Option("--bar-path", help="What comes first in a bar: direction, ohlc, olhc, or both in two runs."),
    ] = "direction",
    strategy: options.StrategyName = "",
    strategy_file: options.StrategyFile = "",
    param: Annotated[list[str] | None, typer.Option("--param", "-p", help="Its parameter, name=value.")] = None,
    bundle: Annotated[Path | None, typer.Option("--bundle", help="Model archive that decides instead.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="Who signed it; default: <data_dir>/keys/trainer.pub.")] = None,
    changes: options.Changes = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Settings you tried, for the deflated Sharpe.")] = 1,
    max_gap: options.MaxGap = 96.0,
    careful: Annotated[bool, typer.Option("--careful", help="Walk every step, pass over none: slower, the same.")] = False,
    out_dir: Annotated[Path, typer.Option("--out", help="Where the run's folder is made.")] = Path("runs"),
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option("--compare", help="Instead: put two finished runs side by side.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics.json.")] = False,
) -> None:
    """Run the live cores over recorded ticks and write a report."""
    if compare is not None:
        _compare(read_run(compare[0]), read_run(compare[1]), out_dir, as_json)
        return
    if bar_path != BOTH and bar_path not in get_args(BarPath):
        raise ConfigError(f"--bar-path {bar_path}: expected {', '.join(get_args(BarPath))} or {BOTH}")
    plan = options.plan_of(
        config=config, ticks=ticks, symbol=symbol, store=store, zone=zone, from_=from_, to=to, limit=limit,
        bar_path="direction" if bar_path == BOTH else bar_path, strategy=strategy, strategy_file=strategy_file,
        changes=changes, max_gap=max_gap,
    )  # fmt: skip
    plan = replace(plan, params=tuple(param or ()), bundle=bundle, key=key, trials=trials, careful=careful)
    spinner = (TextColumn("{task.description}"), SpinnerColumn())
    with Progress(*spinner, console=err, transient=True, disable=not err.is_terminal) as progress:
        progress.add_task("reading the data through")
        prepared = prepare_run(plan)
    if bar_path == BOTH:
        _run_both(prepared, out_dir, as_json)
        return
    with whole_folder(out_dir) as made:
        result = _run_into(made.path, prepared, plan.bar_path)
    _tell(result, prepared, made.target, as_json)


def _as_path(text: str) -> BarPath:
    found: BarPath = next(known for known in get_args(BarPath) if known == text)
    return found


def _run_into(folder: Path, prepared: Prepared, bar_path: BarPath) -> Result:
    """Run with a progress bar and write everything into a folder."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f} ticks"), TimeElapsedColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(prepared.title, total=prepared.ticks or None)
        result = run_prepared(prepared, lambda seen: progress.update(task, completed=seen), bar_path)
        progress.update(task, description="writing")
        notes = notes_of(result, prepared, bar_path)
        write_run(folder, result, facts_of(prepared.title, prepared.source, config_text(prepared.sections), notes))
    return result


def _run_both(prepared: Prepared, out_dir: Path, as_json: bool) -> None:
    """Run with either order of highs and lows, and put the two side by side."""
    if not any(file.is_bars for file in prepared.files):
        raise ConfigError("--bar-path both: there are no bars among the files, ticks come in one order only")
    with whole_folder(out_dir) as made:
        results = {}
        for side in _SIDES:
            (made.path / side).mkdir()
            results[side] = _run_into(made.path / side, prepared, _as_path(side))
        a, b = (_side(read_run(made.path / side), side) for side in _SIDES)
        (made.path / COMPARISON).write_text(compare_html(comparison(a, b)), encoding="utf-8")
    if as_json:
        print_json({side: _metrics(result, prepared) for side, result in results.items()})
        return
    _print_figures(figures(a, b), *_SIDES)
    print_hint(f"both reports and {COMPARISON}: {made.target}")


def _compare(first: SavedRun, second: SavedRun, out_dir: Path, as_json: bool) -> None:
    a, b = _side(first), _side(second)
    found = figures(a, b)
    if as_json:
        page = comparison(a, b)
        print_json({name: page[name] for name in ("metrics", "only_a", "only_b", "changed", "same", "notes")})
        return
    with whole_folder(out_dir, f"compare-{a.name}-{b.name}") as made:
        page = comparison(a, b)
        (made.path / COMPARISON).write_text(compare_html(page), encoding="utf-8")
    for note in page["notes"]:
        print_hint(note)
    _print_figures(found, a.name, b.name)
    out.print(
        f"{page['same']:,} trades are the same, {page['changed']['all']:,} ended differently, "
        f"{page['only_a']['all']:,} only in {a.name}, {page['only_b']['all']:,} only in {b.name}", markup=False
    )
    print_hint(f"side by side: {made.target / COMPARISON}")


def _side(run: SavedRun, name: str = "") -> Side:
    return Side(
        name=name or run.folder.resolve().name, folder=name or str(run.folder), metrics=run.metrics, trades=run.trades,
        equity=run.equity,
    )


def notes_of(result: Result, prepared: Prepared, bar_path: BarPath) -> tuple[str, ...]:
    """Return what a reader of the report must know before believing it."""
    notes = []
    refused = sum(one.count for one in result.refusals)
    if result.halts:
        when, reason, detail = result.halts[0]
        notes.append(
            f"Trading halted on {_day(when)} ({reason.replace('_', ' ')}: {detail}) and stayed so, as it would live until a "
            "person resumes. Limits: risk.max_daily_loss_pct, risk.max_drawdown_pct."
        )
    if refused and refused > _MOSTLY * (refused + len(result.trades)) and not result.halts:
        most = result.refusals[0]
        seen = "" if most.observed is None else f" (saw {most.observed:,.5g}, limit {most.limit:,.5g})"
        notes.append(f"Most suggestions were refused, {most.count:,} of them for {most.reason.replace('_', ' ')}{seen}.")
    if any(file.is_bars for file in prepared.files):
        way = {"direction": "as each bar's direction suggests", "ohlc": "the high first", "olhc": "the low first"}[bar_path]
        notes.append(
            f"The ticks were made of bars, four each, {way}: a stop and a target within one bar are told apart by "
            "assumption. See both ways with --bar-path both."
        )
    if not result.trades:
        notes.append("No trade was closed.")
    return tuple(notes)


def _metrics(result: Result, prepared: Prepared) -> dict[str, Any]:
    return metrics_of(result, facts_of(prepared.title, prepared.source, config_text(prepared.sections)))


def _tell(result: Result, prepared: Prepared, folder: Path, as_json: bool) -> None:
    if as_json:
        print_json(_metrics(result, prepared))
        return
    summary, trades = result.summary, result.summary.trades
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column(style="dim")
    table.add_column(justify="right")
    net = float(result.equity.equity[-1]) - float(result.equity.equity[0])
    rows = (
        ("net result", f"{net:+,.2f} {result.currency}", "return", _text(summary.return_pct, " %")),
        ("deepest drawdown", _text(summary.max_drawdown_pct, " %"), "Sharpe", _text(summary.sharpe)),
        ("profit factor", _text(trades.profit_factor), "p value of the Sharpe", _text(summary.sharpe_p)),
        ("trades", f"{trades.trades:,}", "won", _text(None if trades.win_rate is None else trades.win_rate * 100, " %")),
        ("refused", f"{sum(one.count for one in result.refusals):,}", "still open", f"{len(result.still_open):,}"),
    )
    for row in rows:
        table.add_row(*row)
    out.print(f"[bold]{escape(prepared.title)}[/] on {escape(', '.join(result.tape.symbols))}, {result.ticks:,} ticks, "
              f"{_day(result.tape.first_ns)} to {_day(result.tape.last_ns)}")  # fmt: skip
    out.print(table)
    for note in notes_of(result, prepared, prepared.plan.bar_path):
        print_hint(note)
    print_hint(f"report: {folder / REPORT}")


def _print_figures(found: Sequence[Figure], a: str, b: str) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name in (a, b, "difference"):
        table.add_column(name, justify="right")
    for one in found:
        unit = "" if one.unit in ("", "count") else f" {one.unit}"
        digits = 0 if one.unit == "count" else 3
        shade = "" if not one.difference or not one.better else "green" if one.difference * one.better > 0 else "red"
        values = [_text(value, unit, digits) for value in (one.a, one.b, one.difference)]
        table.add_row(one.name, values[0], values[1], f"[{shade}]{values[2]}[/]" if shade else values[2])
    out.print(table)


def _text(value: float | None, unit: str = "", digits: int = 2) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:,.{digits}f}{unit}"


def _day(ts_ns: int) -> str:
    return f"{datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC):%Y-%m-%d}"

