"""``tickwire sweep``: tries many settings, and says what choosing the best of them is worth."""

import hashlib
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from backtest.day_folds import OBJECTIVES, Choice, choose
from backtest.search_space import STRATEGY_PARAMS, axes_of
from libs.common.config import SweepConfig, read_config
from libs.common.errors import ConfigError
from libs.common.messages.base import Floats
from libs.common.runtime.main import code_version
from libs.common.stats.significance import deflated_sharpe, period_sharpe
from libs.common.storage.tables import write_table
from libs.common.subjects import encode_token
from tickwire import plan_options as options
from tickwire.backtest_run import Prepared, config_text, cores_of, prepare_run
from tickwire.console import err, out, print_hint, print_json
from tickwire.run_folder import REPORT, facts_of, source_sha256, whole_folder, write_run
from tickwire.study import SAMPLERS, Search, Tried, best_of, identity_of, run_search, study_file
from tickwire.trial import Rules, changed, result_of_changes
from tickwire.trial_pool import TrialPool, pool_for

APPS = {"sweep": typer.Typer(add_completion=False)}
STUDY, SWEEP, TRIALS = "study.sqlite3", "sweep.json", "trials.parquet"
_SHOWN = 5
_DAY = datetime(1970, 1, 1, tzinfo=UTC)


@APPS["sweep"].command(name="sweep")
def sweep(
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param", "-p",
            help="name=low:high, low:high:step, low:high:log, or a list a,b,c. A strategy's parameter, or a dotted path "
            "into any section.",
        ),
    ] = None,
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
    name: Annotated[str, typer.Option("--name", help="Of the study: the same name goes on where it was left.")] = "sweep",
    trials: Annotated[int, typer.Option("--trials", "-n", min=1, help="How many in all, earlier runs included.")] = 100,
    sampler: Annotated[str, typer.Option("--sampler", help="Who proposes: tpe, random or grid.")] = "tpe",
    objective: Annotated[
        str, typer.Option("--objective", help="What shall be large: sharpe, return, return_over_drawdown, expectancy.")
    ] = "sharpe",
    folds: Annotated[int, typer.Option("--folds", min=1, max=50, help="Stretches of days to judge on; 1: no folds.")] = 5,
    embargo_days: Annotated[
        int, typer.Option("--embargo-days", min=0, help="Days after a fold that nothing is chosen by.")
    ] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the proposals.")] = 123,
    workers: Annotated[int, typer.Option("--workers", "-j", min=0, help="Trials at once; 0: one per core.")] = 0,
    executor: Annotated[str, typer.Option("--executor", help="processes or ray, instead of sweep.executor.")] = "",
    out_dir: Annotated[Path, typer.Option("--out", help="Where run and study are written.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print sweep.json.")] = False,
) -> None:
    """Search for better parameters, judge the choice on days it was not made by, and run the best one in full."""
    plan = options.plan_of(
        config=config, ticks=ticks, symbol=symbol, store=store, zone=zone, from_=from_, to=to, limit=limit,
        bar_path=bar_path, strategy=strategy, strategy_file=strategy_file, changes=changes, max_gap=max_gap,
    )  # fmt: skip
    search = Search(
        plan, axes_of(param or []), Rules(one_of(objective, OBJECTIVES, "--objective"), folds, embargo_days),
        one_of(sampler, SAMPLERS, "--sampler"), trials, seed,
    )  # fmt: skip
    pool = pool_for(sweep_config(plan.config, executor), workers)
    with err.status("reading the data through"):
        prepared = prepare_run(plan)
        check_axes(prepared, search)
    file = out_dir / "sweeps" / encode_token(name) / STUDY
    again = f"Choose another --name, or delete {file.parent} to begin anew"
    with pool, study_file(file, identity_of(search, _parts(prepared)), again) as study:
        tried = searched(study, search, pool, f"sweep {name}")
    with whole_folder(out_dir) as made, err.status("running the best one in full"):
        summary = write_best(made.path, prepared, search, tried)
    summary["study"] = str(file)
    if as_json:
        print_json(summary)
        return
    _tell(summary, tried, made.target)


def searched(study: Any, search: Search, pool: TrialPool, title: str) -> list[Tried]:
    """Run a search with a progress bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TimeRemainingColumn(), TextColumn("{task.fields[best]}"))  # fmt: skip
    with Progress(*columns, console=err, transient=True) as progress:
        earlier = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
        task = progress.add_task(title, total=max(search.trials, len(earlier)), completed=len(earlier), best="")
        best = [-math.inf]

        def told(trial: Tried) -> None:
            best[0] = max(best[0], -math.inf if trial.score is None else trial.score)
            text = "" if best[0] == -math.inf else f"best {search.rules.objective} {best[0]:.3f}"
            progress.update(task, advance=1, best=text)

        return run_search(study, search, pool, told)


def check_axes(prepared: Prepared, search: Search) -> None:
    """Refuse parameters there are not, or that neither end of a range allows, before anything is run.

    Raises
    ------
    ConfigError : naming the parameter
    """
    for axis in search.axes:
        problems = []
        for value in axis.ends:
            try:
                cores_of(changed(prepared, {axis.path: value}))
            except ConfigError as error:
                problems.append(str(error))
        if len(problems) == len(axis.ends):
            raise ConfigError(f"--param {axis.path.removeprefix(f'{STRATEGY_PARAMS}.')}: {problems[0]}")


def sweep_config(config: Path | None, executor: str) -> SweepConfig:
    """Return section ``sweep``, with another executor if one is named."""
    section: SweepConfig = read_config(config, {"sweep": SweepConfig})["sweep"]
    if not executor:
        return section
    if executor not in ("processes", "ray"):
        raise ConfigError(f"--executor {executor}: expected processes or ray")
    return msgspec.structs.replace(section, executor=executor)


def write_best(folder: Path, prepared: Prepared, search: Search, tried: list[Tried]) -> dict[str, Any]:
    """Run the best trial again in full and write run, trials and what the choice is worth."""
    best = best_of(tried)
    sharpes = daily_sharpes(tried)
    result = result_of_changes(search.plan, best.changes, trials=len(tried), trial_sharpes=sharpes)
    chosen = changed(prepared, best.changes)
    notes = (
        f"The best of {len(tried)} trials by {search.rules.objective}: its figures are those of a winner. The deflated "
        "Sharpe ratio takes that into account, sweep.json says what choosing was worth on days it was not made by.",
    )
    write_run(folder, result, facts_of(chosen.title, chosen.source, config_text(chosen.sections), notes))
    summary = summary_of(search, tried, best, sharpes) | {
        "deflated_sharpe": result.summary.deflated_sharpe, "probabilistic_sharpe": result.summary.probabilistic_sharpe,
    }
    (folder / SWEEP).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    write_table(folder / TRIALS, trial_table(tried))
    return summary


def daily_sharpes(tried: list[Tried]) -> Floats:
    """Return the Sharpe ratio per day of every trial that has one."""
    found = [period_sharpe(np.array(trial.judged.returns)) for trial in tried if trial.judged is not None]
    return np.array([ratio for ratio in found if ratio is not None])


def summary_of(search: Search, tried: list[Tried], best: Tried, sharpes: Floats) -> dict[str, Any]:
    """Return the content of ``sweep.json``."""
    judged = [trial for trial in tried if trial.judged is not None]
    choices, (_, stitched) = choose([trial.judged for trial in judged if trial.judged is not None])
    folded = search.rules.folds > 1
    return {
        "format": 1, "code_version": code_version(), "objective": search.rules.objective, "sampler": search.sampler,
        "seed": search.seed, "parameters": [msgspec.to_builtins(axis) for axis in search.axes],
        "trials": len(tried), "failed": len(tried) - len(judged),
        "failures": sorted({trial.failure for trial in tried if trial.failure})[:_SHOWN],
        "best": {"trial": best.number, "changes": best.changes, "score": best.score, "net_ccy": best.net_ccy,
                 "trades": best.trades, "return_pct": best.return_pct, "drawdown_pct": best.drawdown_pct},
        "chosen_out_of_fold": [_choice(choice, judged) for choice in choices] if folded else [],
        "out_of_fold": {
            "sharpe_per_day": period_sharpe(stitched),
            "return_pct": float((np.prod(1.0 + stitched) - 1.0) * 100.0),
            "deflated_sharpe": deflated_sharpe(stitched, len(tried), sharpes),
            "below_median_share": float(np.mean([choice.rank < 0.5 for choice in choices])),
        } if folded else None,
    }  # fmt: skip


def trial_table(tried: list[Tried]) -> dict[str, Any]:
    """Return all trials as columns; a failed one has no score."""
    names = sorted({path for trial in tried for path in trial.changes})
    return {
        "trial": [trial.number for trial in tried],
        **{path: _column([trial.changes.get(path) for trial in tried]) for path in names},
        "score": [math.nan if trial.score is None else trial.score for trial in tried],
        "net_ccy": [trial.net_ccy for trial in tried], "return_pct": [trial.return_pct for trial in tried],
        "drawdown_pct": [trial.drawdown_pct for trial in tried], "trades": [trial.trades for trial in tried],
        "failure": [trial.failure for trial in tried],
    }


def _column(values: list[Any]) -> list[Any]:
    kinds = {type(value) for value in values}
    if len(kinds) == 1:
        return values
    if kinds <= {int, float}:
        return [float(value) for value in values]
    return [str(value) for value in values]


def _choice(choice: Choice, judged: list[Tried]) -> dict[str, Any]:
    days = {name: f"{_DAY + timedelta(days=getattr(choice, name)):%Y-%m-%d}" for name in ("first_day", "last_day")}
    trial = judged[choice.trial]
    return {**msgspec.to_builtins(choice), **days, "trial": trial.number, "changes": trial.changes}


def _parts(prepared: Prepared) -> dict[str, str]:
    """Return what a trial's outcome depends on beside the search itself."""
    rule = prepared.sections.inference.strategy
    features = prepared.sections.features
    own = [Path(file).expanduser() for file in (rule.file, *features.plugins, features.calendar) if file]
    files = [(str(file.path), file.ticks, file.size) for file in prepared.files]
    return {
        "code": source_sha256()[:16],
        "config": hashlib.sha256(config_text(prepared.sections).encode()).hexdigest()[:16],
        "own files": hashlib.sha256(b"\0".join(path.read_bytes() for path in own)).hexdigest()[:16],
        "data": hashlib.sha256(repr((files, prepared.plan.window, prepared.plan.bar_path)).encode()).hexdigest()[:16],
    }


def one_of(text: str, known: Any, option: str) -> str:
    if text not in known:
        raise ConfigError(f"{option} {text}: expected {', '.join(known)}")
    return text


def _tell(summary: dict[str, Any], tried: list[Tried], folder: Path) -> None:
    ranked = sorted((trial for trial in tried if trial.score is not None), key=lambda trial: -(trial.score or 0.0))
    paths = sorted({path for trial in tried for path in trial.changes})
    table = Table(box=None, pad_edge=False)
    for heading in ("trial", *(path.removeprefix(f"{STRATEGY_PARAMS}.") for path in paths), summary["objective"], "net",
                    "deepest drawdown", "trades"):  # fmt: skip
        table.add_column(heading, justify="right")
    for trial in ranked[:_SHOWN]:
        values = [_short(trial.changes.get(path)) for path in paths]
        table.add_row(
            str(trial.number), *values, f"{trial.score:.3f}", f"{trial.net_ccy:+,.2f}", f"{trial.drawdown_pct:.2f} %",
            f"{trial.trades:,}",
        )  # fmt: skip
    out.print(table)
    if not any(trial.trades for trial in tried):
        print_hint(f"no trial closed a trade: {ranked[0].refused or 'nothing was suggested'}")
    worth, deflated = summary["out_of_fold"], summary["deflated_sharpe"]
    failed = f", {summary['failed']} failed: {summary['failures'][0]}" if summary["failed"] else ""
    out.print(f"{summary['trials']} trials{failed}", markup=False)
    if deflated is not None:
        out.print(f"deflated Sharpe {deflated:.2f}: the probability that the best is more than the luck of so many trials")
    if worth is not None:
        out.print(
            f"chosen by the other folds: {worth['return_pct']:+.2f} % out of fold, below the median trial in "
            f"{worth['below_median_share']:.0%} of the folds"
        )
    print_hint(f"report of the best: {folder / REPORT}; all trials: {folder / TRIALS}")
    print_hint(f"study: {summary['study']}; more --trials with the same command go on from here")


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
