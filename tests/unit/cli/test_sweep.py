"""`tickwire sweep` and `tickwire walk-forward` from end to end on a small market."""

import contextlib
import importlib
import json
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from libs.common.storage.tables import read_table
from tickwire import trial_pool
from tickwire.main import app
from tickwire.trial_pool import SamePlace

CONFIG = """
system: {symbols: [EURUSD], decide_on: {kind: bar, every: 900}}
instruments: {EURUSD: {}}
ingest: {adapter: synthetic, synthetic: {start: "2024-01-08T00:00:00", duration_s: 1036800, ticks_per_second: 0.01}}
features: {features: [{name: ma_cross, family: moving_average, output: cross, timeframe_s: 900, params: {fast: 3, slow: 9}}]}
inference: {strategy: {name: ma_crossover, params: {protection: {stop: 0.002}}}}
risk: {on_opposite: reverse, max_daily_loss_pct: 50.0, max_drawdown_pct: 50.0}
"""
STOP = ("-p", "protection.stop=0.0005:0.005:log")


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    (tmp_path / "my.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)


def tickwire(*arguments):
    return CliRunner().invoke(app, list(arguments))


def sweep(*arguments, workers=1):
    return tickwire("sweep", "-c", "my.yaml", *STOP, "-j", str(workers), "--folds", "2", "--to", "2024-01-12", *arguments)


def trials_of_newest():
    folder = max(Path("runs").glob("2*"), key=lambda path: path.stat().st_mtime_ns)
    return read_table(folder / "trials.parquet")


def test_a_sweep_leaves_a_run_with_every_trial_counted():
    run = sweep("-n", "6", "-p", "horizon_s=0,3600", "--json")
    assert run.exit_code == 0, run.output
    summary = json.loads(run.stdout)
    (folder,) = Path("runs").glob("2*")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert summary["trials"] == metrics["summary"]["trials"] == 6
    assert summary["deflated_sharpe"] == metrics["summary"]["deflated_sharpe"] < summary["probabilistic_sharpe"]
    table = read_table(folder / "trials.parquet")
    assert max(table["score"]) == summary["best"]["score"]
    assert summary["best"]["changes"].keys() == {
        "inference.strategy.params.protection.stop", "inference.strategy.params.horizon_s"
    }
    assert metrics["final_ccy"] - metrics["start_ccy"] == pytest.approx(summary["best"]["net_ccy"])
    assert len(summary["chosen_out_of_fold"]) == 2
    assert (folder / "report.html").stat().st_size > 10_000
    assert not list(Path("runs").glob(".*"))


def test_a_sweep_that_was_ended_early_or_interrupted_goes_on_as_if_it_never_had_been(monkeypatch):
    assert sweep("-n", "10", "--name", "whole").exit_code == 0
    whole = trials_of_newest()
    run = SamePlace.run

    def dies(self, jobs):
        for outcome in run(self, jobs):
            if outcome.number == 9:
                raise KeyboardInterrupt
            yield outcome

    assert sweep("-n", "3", "--name", "killed").exit_code == 0
    monkeypatch.setattr(SamePlace, "run", dies)
    assert sweep("-n", "10", "--name", "killed").exit_code == 130
    monkeypatch.setattr(SamePlace, "run", run)
    assert sweep("-n", "10", "--name", "killed").exit_code == 0
    assert trials_of_newest() == whole


@pytest.mark.chaos
def test_workers_change_nothing_but_the_time():
    assert sweep("-n", "5", "--name", "one").exit_code == 0
    one = trials_of_newest()
    assert sweep("-n", "5", "--name", "two", workers=2).exit_code == 0
    assert trials_of_newest() == one


def test_a_grid_is_gone_through_whole_and_a_trial_that_fails_counts():
    run = tickwire(
        "sweep", "-c", "my.yaml", "-p", "protection.stop=0.001,-1", "-p", "horizon_s=0:3600:1800", "--sampler", "grid",
        "-j", "1", "--folds", "1", "--to", "2024-01-11", "--json",
    )
    assert run.exit_code == 0, run.output
    summary = json.loads(run.stdout)
    assert (summary["trials"], summary["failed"]) == (6, 3)
    assert "protection.stop must be above 0" in summary["failures"][0]
    assert summary["out_of_fold"] is None


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["-p", "crss=a,b"], "unknown field `crss`"),
        (["-p", "risk.nothing=1:2"], "unknown field `nothing`"),
        (["-p", "horizon_s=5:1"], "a range goes from a lower to a higher number"),
        (["--objective", "luck"], "--objective luck: expected sharpe"),
        (["--sampler", "grid"], "has no step"),
        (["--folds", "20"], "fewer --folds"),
        (["--strategy", "nobody"], "there is no strategy 'nobody'"),
        (["--executor", "cloud"], "expected processes or ray"),
        (["-c", "none.yaml"], "none.yaml: cannot be read"),
    ],
)
def test_what_cannot_be_searched_is_refused_and_leaves_no_run(arguments, problem):
    run = sweep("-n", "2", *arguments)
    assert run.exit_code == 2
    assert problem in run.stderr
    assert not list(Path("runs").glob("2*"))
    assert not list(Path("runs").glob(".*"))


def test_a_study_of_another_search_config_or_version_is_refused(monkeypatch):
    assert sweep("-n", "2").exit_code == 0
    other = sweep("-n", "2", "--objective", "return")
    assert other.exit_code == 2
    assert "objective: sharpe there, return now" in other.stderr
    assert "Choose another --name, or delete runs/sweeps/sweep" in other.stderr
    assert "config:" in sweep("-n", "2", "--set", "risk.max_spread_points=9").stderr
    monkeypatch.setattr("tickwire.study.FORMAT", 2)
    assert "format: 1 there, 2 now" in sweep("-n", "2").stderr


def test_a_file_that_is_no_study_is_refused_and_left_alone():
    file = Path("runs/sweeps/sweep/study.sqlite3")
    file.parent.mkdir(parents=True)
    file.write_text("this is a shopping list, and it is longer than a header")
    run = sweep("-n", "2")
    assert run.exit_code == 2
    assert "no study file this version can use" in run.stderr
    assert file.read_text().startswith("this is a shopping list")


def test_a_database_of_something_else_is_refused_and_left_alone():
    file = Path("runs/sweeps/sweep/study.sqlite3")
    file.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE shopping (what TEXT)")
    content = file.read_bytes()
    assert "is a database of something else" in sweep("-n", "2").stderr
    assert file.read_bytes() == content


def test_ray_that_is_not_installed_is_an_error_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    Path("my.yaml").write_text(CONFIG + "sweep: {executor: ray}\n")
    run = sweep("-n", "2")
    assert run.exit_code == 2
    assert "pip install ray" in run.stderr


def test_with_ray_trials_are_its_tasks(monkeypatch):
    done = []

    def remote(function):
        return SimpleNamespace(remote=lambda job: done.append(job) or function(job))

    fake = SimpleNamespace(
        init=lambda **_: None, shutdown=lambda: None, remote=remote, get=list,
        wait=lambda running, num_returns: (running[:1], running[1:]), exceptions=SimpleNamespace(RayError=OSError),
    )
    real = importlib.import_module
    monkeypatch.setattr(trial_pool.importlib, "import_module", lambda name: fake if name == "ray" else real(name))
    assert sweep("-n", "3", "--name", "plain").exit_code == 0
    plain = trials_of_newest()
    assert sweep("-n", "3", "--name", "ray", "--executor", "ray").exit_code == 0
    assert len(done) == 3
    assert trials_of_newest() == plain


# ---- walk-forward


def walk(*arguments):
    return tickwire("walk-forward", "-c", "my.yaml", "-j", "1", "-n", "3", *arguments)


def test_a_walk_chooses_on_the_past_and_trades_one_account_through_all_windows():
    run = walk(*STOP, "--train", "4d", "--test", "3d", "--embargo", "6h", "--json")
    assert run.exit_code == 0, run.output
    summary = json.loads(run.stdout)
    windows = summary["windows"]
    assert [window["test"][0][:13] for window in windows] == ["2024-01-12T06", "2024-01-15T06", "2024-01-18T06"]
    assert all(window["train"][1] < window["test"][0] for window in windows)
    assert summary["trials"] == 9
    (folder,) = Path("runs").glob("2*")
    metrics, trades = json.loads((folder / "metrics.json").read_text()), read_table(folder / "trades.parquet")
    by_window = sum(window["out_of_sample"]["trades"] for window in windows)
    assert metrics["summary"]["trades"]["trades"] == len(trades["opened_ns"]) == by_window > 0
    assert min(trades["opened_ns"]) >= 1_705_039_200_000_000_000
    grown = 1.0
    for window in windows:
        grown *= 1.0 + window["out_of_sample"]["return_pct"] / 100.0
    assert (grown - 1.0) * 100.0 == pytest.approx(metrics["summary"]["return_pct"], abs=1e-9)


def test_a_walk_with_one_value_to_choose_is_the_plain_backtest_of_its_time():
    assert walk("-p", "protection.stop=0.002", "--train", "4d", "--test", "30d").exit_code == 0
    walked = read_table(next(Path("runs").glob("2*")) / "trades.parquet")
    assert tickwire("backtest", "-c", "my.yaml", "-p", "protection.stop=0.002", "--out", "plain").exit_code == 0
    plain = read_table(next(Path("plain").glob("2*")) / "trades.parquet")
    later = [k for k, ns in enumerate(plain["opened_ns"]) if ns >= min(walked["opened_ns"])]
    assert [plain["opened_ns"][k] for k in later] == list(walked["opened_ns"])
    assert [plain["price_open"][k] for k in later] == list(walked["price_open"])


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([*STOP], "--train 30d --test 7d"),
        ([*STOP, "--train", "40d", "--test", "1d"], "hold no window"),
        ([*STOP, "--train", "4x", "--test", "1d"], "--train 4x"),
        (["--train", "4d", "--test", "1d"], "nothing to search"),
        (["-p", "risk.max_spread_points=5:9", "--train", "4d", "--test", "1d"], "only parameters of the strategy"),
        (["--models", "--train", "4d"], "leave --strategy, --param, --train and --test out"),
        (["--models", "--set", "trainer.sigma_feature=ma_cross"], "no model was let serve"),
    ],
)
def test_what_cannot_be_walked_is_refused_and_leaves_no_run(arguments, problem):
    run = walk(*arguments)
    assert run.exit_code == 2
    assert problem in run.stderr
    assert not list(Path("runs").glob("*"))
