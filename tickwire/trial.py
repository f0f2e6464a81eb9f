"""One trial of a search: a backtest with some values changed, run wherever there is a free core.

The function takes and returns plain frozen values, so that a worker process or another machine can run it. What it
read once, data and config, it keeps for the next trial.
"""

import os
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from backtest.day_folds import Judged, judge_folds
from backtest.result import Result, run_backtest
from backtest.search_space import with_changes
from libs.common.errors import TickwireError
from libs.common.stats.calendar_returns import NS_PER_DAY, daily_returns
from services.inference.adapters.strategy_file import strategies_of
from services.ingest.raw import RawTicks
from tickwire.backtest_run import Plan, Prepared, cores_of, prepare_run, sources_of

MOST_KEPT_TICKS = 8_000_000
"""So many ticks of the data are kept in a worker's memory, 24 bytes each; more are read again in every trial."""
_LEAST_EQUITY = 1e-9
"""What is left of a lost account, so that its days have returns: a share of the deposit."""


@dataclass(frozen=True)
class Rules:
    """How a trial is judged; see ``judge_folds``."""

    objective: str
    folds: int = 1
    embargo_days: int = 0


@dataclass(frozen=True)
class Job:
    """One trial to run.

    Parameters
    ----------
    number : of the trial
    plan : the backtest it is a change of
    changes : (dotted path, value) of every parameter
    """

    number: int
    plan: Plan
    rules: Rules
    changes: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Outcome:
    """What a trial came to.

    Parameters
    ----------
    failure : why there is no result; empty otherwise
    net_ccy, trades, drawdown_pct, return_pct : of the whole run
    refused : the commonest reason suggestions were refused for, and how often
    data_sha256 : of its ticks
    """

    number: int
    failure: str = ""
    judged: Judged | None = None
    net_ccy: float = 0.0
    return_pct: float = 0.0
    drawdown_pct: float = 0.0
    trades: int = 0
    refused: str = ""
    data_sha256: str = ""


@dataclass
class _Workshop:
    """What one process keeps between trials."""

    plan: Plan
    prepared: Prepared
    ticks: dict[str, list[RawTicks]] | None = field(default=None)

    def sources(self, prepared: Prepared) -> Any:
        """Return the ticks, from memory where they fit."""
        if not 0 < self.prepared.ticks <= MOST_KEPT_TICKS:
            return sources_of(prepared, self.plan.bar_path)
        if self.ticks is None:
            self.ticks = {symbol: list(raw) for symbol, raw in sources_of(self.prepared, self.plan.bar_path).items()}
        return self.ticks


_kept: dict[Plan, _Workshop] = {}


def run_trial(job: Job) -> Outcome:
    """Run one trial; what is wrong with its values is its outcome, not an error."""
    try:
        result = result_of_changes(job.plan, dict(job.changes))
        judged = judged_of(result, job.rules)
    except TickwireError as error:
        return Outcome(number=job.number, failure=str(error))
    return Outcome(
        number=job.number, judged=judged, net_ccy=float(result.equity.equity[-1] - result.equity.equity[0]),
        return_pct=result.summary.return_pct, drawdown_pct=result.summary.max_drawdown_pct,
        trades=len(result.trades), refused=_refused(result), data_sha256=result.data_sha256,
    )


def result_of_changes(plan: Plan, changes: dict[str, Any], **more: Any) -> Result:
    """Run a plan with some values changed.

    Parameters
    ----------
    more : of ``run_backtest``: ``trials``, ``trial_sharpes``, ``watch``

    Raises
    ------
    TickwireError : naming what is wrong
    """
    shop = _workshop(plan)
    prepared = changed(shop.prepared, changes)
    return run_backtest(
        prepared.sections, cores_of(prepared), shop.sources(prepared), max_gap_h=plan.max_gap_h, careful=plan.careful, **more
    )


def changed(prepared: Prepared, changes: dict[str, Any]) -> Prepared:
    """Return what was prepared, with some values of the config changed.

    Raises
    ------
    ConfigError : for a key there is not, or a value that may not be
    """
    sections = with_changes(prepared.sections, changes)
    strategies = prepared.strategies
    if sections.inference.strategy.file != prepared.sections.inference.strategy.file:
        strategies = strategies_of(sections.inference.strategy)
    return replace(prepared, sections=sections, strategies=strategies)


def judged_of(result: Result, rules: Rules) -> Judged:
    """Return a run's scores by folds of its days."""
    equity = np.maximum(result.equity.equity, result.start_ccy * _LEAST_EQUITY)
    days, returns = daily_returns(result.equity.time_ns, equity)
    return judge_folds(
        days, returns, np.array([trade.opened_ns // NS_PER_DAY for trade in result.trades], dtype=np.int64),
        np.array([trade.closed_ns // NS_PER_DAY for trade in result.trades], dtype=np.int64),
        np.array([trade.net_ccy for trade in result.trades]), folds=rules.folds, embargo=rules.embargo_days,
        objective=rules.objective,
    )


def _refused(result: Result) -> str:
    most = max(result.refusals, key=lambda one: one.count, default=None)
    return "" if most is None else f"{most.count:,} suggestions were refused for {most.reason.replace('_', ' ')}"


def _workshop(plan: Plan) -> _Workshop:
    shop = _kept.get(plan)
    if shop is None:
        _kept.clear()
        shop = _kept[plan] = _Workshop(plan, prepare_run(plan))
    return shop


def be_modest() -> None:
    """Step back behind other processes and use one thread: the workers are the parallelism."""
    os.environ["OMP_NUM_THREADS"] = os.environ["POLARS_MAX_THREADS"] = "1"
    if hasattr(os, "nice"):
        os.nice(5)
