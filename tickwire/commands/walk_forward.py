"""``tickwire walk-forward``: chooses on the past, trades what comes after, all the way through the data."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from backtest.day_folds import OBJECTIVES
from backtest.result import Result, run_backtest
from backtest.search_space import STRATEGY_PARAMS, axes_of
from backtest.windows import Scheduled, ScheduledInference, Stretch, earned_in, span_ns, stretches, traded_from
from backtest.wiring import build_cores
from libs.common.errors import ConfigError, DataError
from libs.common.runtime.main import code_version
from services.inference.strategies import make_strategy
from tickwire import plan_options as options
from tickwire.backtest_run import Prepared, config_text, environment_of, prepare_run, sources_of
from tickwire.backtest_sources import Window
from tickwire.commands.sweep import check_axes, one_of, sweep_config
from tickwire.console import err, out, print_hint, print_json
from tickwire.run_folder import REPORT, facts_of, whole_folder, write_run
from tickwire.sections import read_all
from tickwire.study import SAMPLERS, Search, Tried, best_of, memory_study, run_search
from tickwire.trial import Rules, changed
from tickwire.trial_pool import TrialPool, pool_for
from tickwire.walk_forward_models import run_models

APPS = {"walk-forward": typer.Typer(add_completion=False)}
WALK = "walk_forward.json"


@APPS["walk-forward"].command(name="walk-forward")
def walk_forward(
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", help="Parameter of the strategy to choose: name=low:high, or a list a,b,c."),
    ] = None,
    train: Annotated[str, typer.Option("--train", help="Length to choose by: 30d, 2w, 12h.")] = "",
    test: Annotated[str, typer.Option("--test", help="Length to trade with what was chosen.")] = "",
    embargo: Annotated[str, typer.Option("--embargo", help="Time between the two that has no part in either.")] = "0h",
    anchored: Annotated[bool, typer.Option("--anchored", help="Choose by everything so far, not the last --train.")] = False,
    models: Annotated[
        bool, typer.Option("--models", help="Train models on the way, as section trainer says, instead of a strategy.")
    ] = False,
    config: options.Config = None,
    ticks: options.Ticks = None,
    symbol: options.Symbols = None,
    store: options.Store = None,
    zone: options.Zone = "",
    from_: options.From = "",
    to: options.To = "",
    limit: options.Limit = 0,
    bar_path: options.BarPathText = "direction",
    strategy: options.StrategyName = "",
    strategy_file: options.StrategyFile = "",
    changes: options.Changes = None,
    max_gap: options.MaxGap = 96.0,
    trials: Annotated[int, typer.Option("--trials", "-n", min=1, help="Trials in every window.")] = 30,
    sampler: Annotated[str, typer.Option("--sampler", help="Who proposes: tpe, random or grid.")] = "tpe",
    objective: Annotated[
        str, typer.Option("--objective", help="What shall be large: sharpe, return, return_over_drawdown, expectancy.")
    ] = "sharpe",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the proposals.")] = 123,
    workers: Annotated[int, typer.Option("--workers", "-j", min=0, help="Trials at once; 0: one per core.")] = 0,
    executor: Annotated[str, typer.Option("--executor", help="processes or ray, instead of sweep.executor.")] = "",
    out_dir: Annotated[Path, typer.Option("--out", help="Where the run's folder is made.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print walk_forward.json.")] = False,
) -> None:
    """Walk through the data: choose or train on what was known, trade what came next, one account all along."""
    plan = options.plan_of(
        config=config, ticks=ticks, symbol=symbol, store=store, zone=zone, from_=from_, to=to, limit=limit,
        bar_path=bar_path, strategy="stay_out" if models else strategy, strategy_file=strategy_file, changes=changes,
        max_gap=max_gap,
    )  # fmt: skip
    if models:
        if param or train or test or strategy:
            raise ConfigError(
                "--models: when models are trained, and on how many rows, is said by section trainer (--set "
                "trainer.retrain_every_rows=...); leave --strategy, --param, --train and --test out"
            )
        with err.status("reading the data through"):
            prepared = prepare_run(plan)
        result, summary = _walk_models(prepared)
        title, text = "models trained on the way", config_text(prepared.sections)
    else:
        if not train or not test:
            raise ConfigError("say how long to choose by and how long to trade: --train 30d --test 7d")
        search = Search(
            plan, axes_of(param or []), Rules(one_of(objective, OBJECTIVES, "--objective")),
            one_of(sampler, SAMPLERS, "--sampler"), trials, seed,
        )  # fmt: skip
        pool = pool_for(sweep_config(plan.config, executor), workers)
        with err.status("reading the data through"):
            prepared = prepare_run(plan)
            check_axes(prepared, search)
            windows = _windows(prepared, search, train, test, embargo, anchored)
        with pool:
            result, summary = _walk_strategy(prepared, search, windows, pool)
        title, text = f"{prepared.title}, chosen anew {len(windows)} times", config_text(prepared.sections)
    with whole_folder(out_dir) as made:
        notes = ("All figures are of the time after the first choice: nothing in them was chosen by what it shows.",)
        write_run(made.path, result, facts_of(title, prepared.source, text, notes))
        (made.path / WALK).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    if as_json:
        print_json(summary)
    else:
        _tell(summary, result, made.target)


def _windows(
    prepared: Prepared, search: Search, train: str, test: str, embargo: str, anchored: bool
) -> tuple[Stretch, ...]:
    outside = [axis.path for axis in search.axes if not axis.path.startswith(f"{STRATEGY_PARAMS}.")]
    if outside:
        raise ConfigError(
            f"--param {', '.join(outside)}: only parameters of the strategy are chosen anew on the way; the others: --set"
        )
    lengths = [span_ns(text, option) for text, option in ((train, "--train"), (test, "--test"), (embargo, "--embargo"))]
    first_ns, last_ns = _times(prepared)
    return stretches(first_ns, last_ns, *lengths, anchored=anchored)


def _times(prepared: Prepared) -> tuple[int, int]:
    """Return when the first and the last tick happened."""
    found = [
        (int(raw.time_ns[0]), int(raw.time_ns[-1]))
        for source in sources_of(prepared, prepared.plan.bar_path).values() for raw in source if len(raw)
    ]
    if not found:
        raise DataError(prepared.source, "no tick lies in the time that was asked for", remedy="Look at --from and --to")
    return min(first for first, _ in found), max(last for _, last in found)


def _walk_strategy(
    prepared: Prepared, search: Search, windows: tuple[Stretch, ...], pool: TrialPool
) -> tuple[Result, dict[str, Any]]:
    chosen: list[tuple[Tried, int]] = []
    with _progress() as progress:
        task = progress.add_task("choosing", total=len(windows) * search.trials)
        for window in windows:
            tried = run_search(
                memory_study(), _inside(search, window), pool, lambda _: progress.update(task, advance=1)
            )
            chosen.append((best_of(tried), len(tried)))
    rule = prepared.sections.inference.strategy
    strategies = [
        make_strategy(rule.name, changed(prepared, best.changes).sections.inference.strategy.params, prepared.strategies)
        for best, _ in chosen
    ]
    schedule = Scheduled([window.test_from_ns for window in windows], strategies)
    sections = prepared.sections
    cores = build_cores(sections, strategies=prepared.strategies, calendar=prepared.calendar)
    cores = msgspec.structs.replace(cores, inference=ScheduledInference(sections.inference, schedule))
    sources: dict[str, Any] = dict(sources_of(prepared, prepared.plan.bar_path))
    if len(sources) == 1:
        sources = {symbol: schedule.cut(source) for symbol, source in sources.items()}
    with _progress() as progress:
        task = progress.add_task("trading", total=prepared.ticks or None)
        whole = run_backtest(
            sections, cores, sources, max_gap_h=prepared.plan.max_gap_h,
            watch=lambda seen: progress.update(task, completed=seen),
        )
    result = traded_from(whole, windows[0].test_from_ns, sections.system.seed)
    return result, {
        **_head(result), "objective": search.rules.objective, "trials": sum(count for _, count in chosen),
        "windows": [
            {
                "train": [_instant(window.train_from_ns), _instant(window.train_to_ns)],
                "test": [_instant(window.test_from_ns), _instant(window.test_to_ns)], "changes": best.changes,
                "in_sample": best.score, "in_sample_return_pct": best.return_pct,
                "out_of_sample": msgspec.to_builtins(earned_in(result, window.test_from_ns, window.test_to_ns)),
            }
            for window, (best, _) in zip(windows, chosen, strict=True)
        ],
    }


def _inside(search: Search, window: Stretch) -> Search:
    inside = Window(window.train_from_ns, window.train_to_ns)
    return replace(search, plan=replace(search.plan, window=inside))


def _walk_models(prepared: Prepared) -> tuple[Result, dict[str, Any]]:
    plan = prepared.plan
    trainer = read_all(plan.config, environment_of(plan.changes))["trainer"]
    with _progress() as progress:
        task = progress.add_task("training and trading", total=prepared.ticks or None)
        whole, trainings, served = run_models(prepared, trainer, lambda seen: progress.update(task, completed=seen))
    result = traded_from(whole, served[0].from_ns, prepared.sections.system.seed)
    end_ns = int(result.equity.time_ns[-1]) + 1
    ends = [
        min((two.from_ns for two in served if two.symbol == one.symbol and two.from_ns > one.from_ns), default=end_ns)
        for one in served
    ]
    return result, {
        **_head(result),
        "trainings": [msgspec.to_builtins(one) | {"at": _instant(one.event_ns)} for one in trainings],
        "windows": [
            {
                "test": [_instant(one.from_ns), _instant(end)], "changes": {one.symbol: f"model {one.version}"},
                "out_of_sample": msgspec.to_builtins(earned_in(result, one.from_ns, end)),
            }
            for one, end in zip(served, ends, strict=True)
        ],
    }


def _head(result: Result) -> dict[str, Any]:
    return {
        "format": 1, "code_version": code_version(), "data_sha256": result.data_sha256,
        "out_of_sample": msgspec.to_builtins(result.summary), "trades": len(result.trades),
    }


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=err, transient=True)


def _tell(summary: dict[str, Any], result: Result, folder: Path) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("traded from", "to", "with", "in sample", "out of sample", "trades", "net"):
        table.add_column(heading, justify="left" if heading == "with" else "right")
    for window in summary["windows"]:
        with_ = ", ".join(f"{path.rsplit('.', 1)[-1]} {_short(v)}" for path, v in window["changes"].items())
        earned = window["out_of_sample"]
        inside = window.get("in_sample_return_pct")
        table.add_row(
            *(text[5:16].replace("T", " ") for text in window["test"]), with_, "" if inside is None else f"{inside:+.2f} %",
            f"{earned['return_pct']:+.2f} %", f"{earned['trades']:,}", f"{earned['net_ccy']:+,.2f}",
        )  # fmt: skip
    out.print(table)
    worth = result.summary
    ratio = "–" if worth.sharpe is None else f"{worth.sharpe:.2f}"
    out.print(
        f"out of sample: {worth.return_pct:+.2f} %, deepest drawdown {worth.max_drawdown_pct:.2f} %, Sharpe {ratio}, "
        f"{len(result.trades):,} trades", highlight=False,
    )
    print_hint(f"report: {folder / REPORT}; windows: {folder / WALK}")


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _instant(ts_ns: int) -> str:
    return f"{datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC):%Y-%m-%dT%H:%M:%SZ}"
