"""A search over parameters: Optuna proposes, a pool of trials answers, a SQLite file remembers.

Proposals come in generations of a fixed size and are answered in the order of their numbers, whoever was quicker, and
each has a seed of its own. So a search gives the same trials with one worker or twenty, and one that was interrupted, or
told to end early, goes on as if it never had been.
"""

import contextlib
import hashlib
import itertools
import math
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from backtest.day_folds import Judged
from backtest.search_space import Axis, Plain
from libs.common.errors import ConfigError, DataError, StorageError
from tickwire.backtest_run import Plan
from tickwire.trial import Job, Outcome, Rules
from tickwire.trial_pool import TrialPool

FORMAT = 1
"""Of what is written into a study file; another one is not read."""
GENERATION = 8
"""Proposals made before the first of them is answered."""
MOST_OF_A_GRID = 100_000
SAMPLERS = ("tpe", "random", "grid")
_IDENTITY = "tickwire"

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


@dataclass(frozen=True)
class Search:
    """What is searched, and how.

    Parameters
    ----------
    sampler : one of ``SAMPLERS``
    trials : how many, those of earlier runs included; a grid ends when it is through
    """

    plan: Plan
    axes: tuple[Axis, ...]
    rules: Rules
    sampler: str = "tpe"
    trials: int = 100
    seed: int = 123


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """A finished trial.

    Parameters
    ----------
    changes : dotted path -> value
    score : what was to be large; ``None`` where the trial failed
    failure : why it did
    """

    number: int
    changes: dict[str, Any]
    score: float | None
    failure: str = ""
    judged: Judged | None = None
    net_ccy: float = 0.0
    return_pct: float = 0.0
    drawdown_pct: float = 0.0
    trades: int = 0
    refused: str = ""


def identity_of(search: Search, everything: Mapping[str, Any]) -> dict[str, str]:
    """Return what makes two searches comparable, in parts that can be named.

    Parameters
    ----------
    everything : further parts: data, config, code
    """
    return {
        "format": str(FORMAT), "optuna": optuna.__version__.split(".")[0], **{k: str(v) for k, v in everything.items()},
        "parameters": hashlib.sha256(msgspec.json.encode(search.axes)).hexdigest()[:16],
        "objective": search.rules.objective, "folds": str(search.rules.folds),
        "embargo": str(search.rules.embargo_days), "sampler": search.sampler, "seed": str(search.seed),
    }


@contextmanager
def study_file(path: Path, identity: Mapping[str, str], again: str) -> Iterator[optuna.Study]:
    """Open a study file, or make one.

    Parameters
    ----------
    identity : what the trials in it depend on
    again : how to begin anew, for the error

    Raises
    ------
    DataError : when the file is none of ours, or of another version, config, data or search
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _refuse_strangers(path, again)
        storage = optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 10}})
        study = optuna.create_study(storage=storage, study_name="sweep", direction="maximize", load_if_exists=True)
        _check_identity(path, study, identity, again)
    except (sqlite3.Error, optuna.exceptions.StorageInternalError, RuntimeError) as error:
        raise DataError(str(path), f"no study file this version can use ({_line(error)})", remedy=again) from error
    try:
        yield study
    except (sqlite3.Error, optuna.exceptions.StorageInternalError) as error:
        raise StorageError(f"{path}: {_line(error)}. Make room on the disk; the same command goes on.") from error
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _refuse_strangers(path: Path, again: str) -> None:
    """Refuse a file that holds something else, before anything is written into it."""
    if not path.is_file():
        return
    with contextlib.closing(sqlite3.connect(path)) as file:
        tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and not {"studies", "version_info"} <= tables:
        raise DataError(str(path), "is a database of something else", remedy=again)


def _line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _check_identity(path: Path, study: optuna.Study, identity: Mapping[str, str], again: str) -> None:
    held = study.user_attrs.get(_IDENTITY)
    if held is None and not study.get_trials(deepcopy=False):
        study.set_user_attr(_IDENTITY, dict(identity))
        return
    if not isinstance(held, dict):
        raise DataError(str(path), "was not made by tickwire sweep", remedy=again)
    other = [name for name in identity if held.get(name) != identity[name]]
    if other:
        parts = "; ".join(f"{name}: {held.get(name, 'none')} there, {identity[name]} now" for name in other)
        raise DataError(str(path), f"holds trials of another search ({parts})", remedy=again)


def memory_study() -> optuna.Study:
    """Return a study that is forgotten with the process."""
    return optuna.create_study(direction="maximize")


def run_search(
    study: optuna.Study, search: Search, pool: TrialPool, told: Callable[[Tried], None] = lambda tried: None
) -> list[Tried]:
    """Run trials until there are as many as wanted; return all of the study, in order of their numbers.

    Raises
    ------
    ConfigError : when the first trials all fail
    DataError : when the ticks are no longer those of the study's first trials
    """
    grid = _grid(search.axes) if search.sampler == "grid" else []
    wanted = min(search.trials, len(grid)) if grid else search.trials
    while (left := wanted - len(finished(study))) > 0:
        if not _unanswered(study):
            _propose(study, search, grid)
        # What an earlier run left unanswered comes first.
        _answer(study, search, pool, _unanswered(study)[:left], told)
        _refuse_if_all_fail(study)
    return finished(study)


def finished(study: optuna.Study) -> list[Tried]:
    """Return every finished trial."""
    return [_tried(trial) for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def best_of(tried: Sequence[Tried]) -> Tried:
    """Return the trial with the highest score, of equals the first.

    Raises
    ------
    ConfigError : when none has a score
    """
    scored = [trial for trial in tried if trial.score is not None]
    if not scored:
        raise ConfigError(f"all {len(tried)} trials failed: {tried[0].failure if tried else 'there is none'}")
    return max(scored, key=lambda trial: (trial.score, -trial.number))


def jobs_of(search: Search, trials: Sequence[FrozenTrial]) -> list[Job]:
    """Return the jobs of some proposals."""
    return [Job(trial.number, search.plan, search.rules, tuple(sorted(trial.params.items()))) for trial in trials]


def _answer(
    study: optuna.Study, search: Search, pool: TrialPool, trials: Sequence[FrozenTrial], told: Callable[[Tried], None]
) -> None:
    outcomes: dict[int, Outcome] = {}
    waiting = [trial.number for trial in trials]
    for outcome in pool.run(jobs_of(search, trials)):
        outcomes[outcome.number] = outcome
        while waiting and waiting[0] in outcomes:
            told(_store(study, outcomes[waiting.pop(0)]))


def _store(study: optuna.Study, outcome: Outcome) -> Tried:
    trial = study.get_trials(deepcopy=False)[outcome.number]
    storage, key = study._storage, trial._trial_id
    if outcome.judged is None:
        storage.set_trial_user_attr(key, "failure", outcome.failure)
        study.tell(outcome.number, state=TrialState.FAIL)
    else:
        _check_data(study, outcome)
        kept = {
            "judged": msgspec.to_builtins(outcome.judged), "net_ccy": outcome.net_ccy, "trades": outcome.trades,
            "return_pct": outcome.return_pct, "drawdown_pct": outcome.drawdown_pct,
            "refused": outcome.refused,
        }
        storage.set_trial_user_attr(key, "outcome", kept)
        score = outcome.judged.score
        study.tell(outcome.number, score if math.isfinite(score) else None, skip_if_finished=False)
    return _tried(study.get_trials(deepcopy=False)[outcome.number])


def _check_data(study: optuna.Study, outcome: Outcome) -> None:
    held = study.user_attrs.get("data_sha256")
    if held is None:
        study.set_user_attr("data_sha256", outcome.data_sha256)
    elif held != outcome.data_sha256:
        raise DataError(
            "data", "the ticks are not those of the study's first trials: a file was changed, or a setting that is "
            "searched decides which ticks are good", remedy="Begin a new study with another --name",
        )


def _tried(trial: FrozenTrial) -> Tried:
    held = trial.user_attrs.get("outcome", {})
    return Tried(
        number=trial.number, changes=dict(sorted(trial.params.items())), score=trial.value,
        failure=trial.user_attrs.get("failure", ""),
        judged=msgspec.convert(held["judged"], Judged) if "judged" in held else None, net_ccy=held.get("net_ccy", 0.0),
        return_pct=held.get("return_pct", 0.0), drawdown_pct=held.get("drawdown_pct", 0.0), trades=held.get("trades", 0),
        refused=held.get("refused", ""),
    )


def _propose(study: optuna.Study, search: Search, grid: Sequence[Mapping[str, Plain]]) -> None:
    """Propose a whole generation, also when fewer trials are wanted: the rest waits for the next run."""
    there = len(study.get_trials(deepcopy=False))
    for number in range(there, there - there % GENERATION + GENERATION):
        if grid and number >= len(grid):
            return
        study.sampler = _sampler(search, number)
        if grid:
            study.enqueue_trial(dict(grid[number]))
        study.ask(_distributions(search.axes))


def _unanswered(study: optuna.Study) -> list[FrozenTrial]:
    return [trial for trial in study.get_trials(deepcopy=False) if not trial.state.is_finished()]


def _refuse_if_all_fail(study: optuna.Study) -> None:
    tried = finished(study)
    if all(trial.failure for trial in tried):
        raise ConfigError(f"all {len(tried)} trials failed, the first with: {tried[0].failure}")


def _sampler(search: Search, number: int) -> BaseSampler:
    """Return the sampler of one proposal: its seed is its own, so that going on repeats none."""
    seed = (search.seed * 1_000_003 + number) % 2**32
    if search.sampler == "tpe":
        return TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=2 * GENERATION)
    return RandomSampler(seed=seed)


def _grid(axes: Sequence[Axis]) -> list[dict[str, Plain]]:
    open_ended = [axis.path for axis in axes if not axis.grid]
    if open_ended:
        raise ConfigError(f"--sampler grid: {', '.join(open_ended)} has no step; write low:high:step, or a list")
    paths = [axis.path for axis in axes]
    points = itertools.islice(itertools.product(*(axis.grid for axis in axes)), MOST_OF_A_GRID)
    return [dict(zip(paths, values, strict=True)) for values in points]


def _distributions(axes: Sequence[Axis]) -> dict[str, BaseDistribution]:
    return {axis.path: _distribution(axis) for axis in axes}


def _distribution(axis: Axis) -> BaseDistribution:
    if axis.values:
        return CategoricalDistribution(axis.values)
    if axis.whole:
        low, stride = int(axis.low), int(axis.step) or 1
        return IntDistribution(low, low + (int(axis.high) - low) // stride * stride, log=axis.log, step=stride)
    high = float(axis.grid[-1]) if axis.step else axis.high
    return FloatDistribution(axis.low, high, log=axis.log, step=axis.step or None)
