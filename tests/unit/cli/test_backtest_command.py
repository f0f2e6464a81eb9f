"""``tickwire backtest`` as a person uses it: what it writes, and what it says of bad input."""

import json
import os
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from libs.common.config import DecideOn
from libs.common.models.bundle import GOLDEN_FILE, MODEL_FILE, golden_file, pack
from libs.common.storage.tables import read_table
from libs.common.storage.ticks import TickColumns, TickStore
from services.features.config import FeaturesConfig
from services.features.core import FeaturesCore
from services.ingest.raw import RawTicks
from tests.unit.models.small_models import SIGNER, STRANGER, archive, manifest
from tickwire.backtest_sources import Window, wanted
from tickwire.main import app

runner = CliRunner()
START_MS = 1_705_276_800_000
"""Monday 2024-01-15 00:00 UTC."""
DECIDES = (
    "--strategy", "mean_reversion", "-p", "position=bollinger_20", "-p", "threshold=0.8", "-p", "protection.feature=atr_14",
    "-p", "protection.stop=4", "-p", "protection.target=4", "--set", "risk.max_spread_points=500",
    "--set", "risk.max_daily_loss_pct=50",
)
WRITTEN = {"config.yaml", "equity.parquet", "metrics.json", "orders.jsonl", "report.html", "trades.parquet"}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("TICKWIRE_"):
            monkeypatch.delenv(name)


def market(count: int, seed: int = 1, step_ms: int = 3_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    bid = np.round(1.1 + np.cumsum(random.normal(0.0, 3e-5, count)), 5)
    return START_MS + np.arange(count) * step_ms, bid, np.round(bid + 0.0001, 5)


def tick_file(name: str = "eurusd.csv", count: int = 9_000, **options: Any) -> str:
    times, bid, ask = market(count, **options)
    rows = "\n".join(f"{t},{b:.5f},{a:.5f}" for t, b, a in zip(times.tolist(), bid.tolist(), ask.tolist(), strict=True))
    Path(name).write_text(f"time_msc,bid,ask\n{rows}\n")
    return name


def bar_file(name: str = "eurusd_m1.csv", count: int = 1_500) -> str:
    random = np.random.default_rng(2)
    close = 1.1 + np.cumsum(random.normal(0.0, 2e-4, count))
    first = np.concatenate(([1.1], close[:-1]))
    wide = np.abs(random.normal(0.0, 2e-4, count))
    lines = [
        f"{START_MS // 1_000 + 60 * k},{o:.5f},{max(o, c) + w:.5f},{min(o, c) - w:.5f},{c:.5f},12"
        for k, (o, c, w) in enumerate(zip(first.tolist(), close.tolist(), wide.tolist(), strict=True))
    ]
    Path(name).write_text("time,open,high,low,close,spread\n" + "\n".join(lines) + "\n")
    return name


def call(*arguments: str) -> Any:
    return runner.invoke(app, ["backtest", *arguments], env={"COLUMNS": "200"})


def run(*arguments: str) -> Path:
    before = set(Path("runs").glob("*")) if Path("runs").exists() else set()
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    made, = set(Path("runs").glob("*")) - before
    return made


def refused(*arguments: str) -> str:
    """Return what the command says of bad input; it must end with 2 and leave nothing."""
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert not Path("runs").exists() or not list(Path("runs").iterdir()), "a broken run left something"
    return " ".join(result.output.split())


def test_a_run_leaves_its_folder_and_the_folders_config_repeats_it() -> None:
    file = tick_file()
    first = run("--ticks", file, "--symbol", "EURUSD", *DECIDES)
    assert {path.name for path in first.iterdir()} == WRITTEN
    metrics = json.loads((first / "metrics.json").read_text())
    trades, equity = read_table(first / "trades.parquet"), read_table(first / "equity.parquet")
    assert metrics["summary"]["trades"]["trades"] == len(trades["net_ccy"]) > 10
    earned = sum(trades["net_ccy"]) + metrics["open"]["net_ccy"]
    assert earned == pytest.approx(equity["equity_ccy"][-1] - 10_000.0, abs=0.03)
    orders = [json.loads(line) for line in (first / "orders.jsonl").read_text().splitlines()]
    assert sum(order["type"] == "PositionClosed" for order in orders) == len(trades["net_ccy"])
    again = run("--ticks", file, "--symbol", "EURUSD", "--config", str(first / "config.yaml"))
    same = json.loads((again / "metrics.json").read_text())
    for name in ("data_sha256", "config_sha256", "summary", "costs"):
        assert same[name] == metrics[name]
    assert (first / "orders.jsonl").read_bytes() == (again / "orders.jsonl").read_bytes()
    walked = run("--ticks", file, "--symbol", "EURUSD", *DECIDES, "--careful")
    assert read_table(walked / "trades.parquet") == trades


def test_two_runs_are_put_side_by_side() -> None:
    file = tick_file()
    a = run("--ticks", file, "--symbol", "EURUSD", *DECIDES)
    b = run("--ticks", file, "--symbol", "EURUSD", *DECIDES, "-p", "protection.target=2")
    result = call("--compare", str(a), str(b))
    assert result.exit_code == 0, result.output
    assert "ended differently" in result.output
    page = (Path("runs") / f"compare-{a.name}-{b.name}" / "compare.html").read_text()
    assert "comparePage" in page
    plain = json.loads(call("--compare", str(a), str(a), "--json").stdout)
    assert plain["same"] > 0
    assert plain["changed"]["all"] == plain["only_a"]["all"] == plain["only_b"]["all"] == 0
    assert all(figure["difference"] in (0.0, None) for figure in plain["metrics"])


def test_bars_can_be_run_with_the_high_first_and_with_the_low_first() -> None:
    made = run("--ticks", bar_file(), "--symbol", "EURUSD", *DECIDES, "--bar-path", "both")
    assert {path.name for path in made.iterdir()} == {"ohlc", "olhc", "compare.html"}
    assert {path.name for path in (made / "ohlc").iterdir()} == WRITTEN
    one, other = (json.loads((made / side / "metrics.json").read_text()) for side in ("ohlc", "olhc"))
    assert one["data_sha256"] != other["data_sha256"]
    assert "the high first" in " ".join(one["notes"])


def test_the_tick_store_is_read_by_symbol_and_a_window_cuts_it() -> None:
    times, bid, ask = market(9_000)
    store = TickStore(Path("state/ticks"))
    store.append("EURUSD", TickColumns(time_ns=times * 1_000_000, bid=bid, ask=ask))
    store.close()
    Path("config.yaml").write_text("system: {data_dir: state}\n")
    made = run("--symbol", "EURUSD", *DECIDES, "--from", "2024-01-15T01:00:00", "--to", "2024-01-15T03:00:00")
    assert json.loads((made / "metrics.json").read_text())["ticks"] == 2_400
    answer = call("--symbol", "GBPUSD", *DECIDES)
    assert answer.exit_code == 2
    assert "no ticks of GBPUSD; it holds EURUSD" in " ".join(answer.output.split())


def test_the_synthetic_market_of_the_config_will_do_where_it_ends() -> None:
    Path("config.yaml").write_text("system: {symbols: [EURUSD]}\n")
    made = run(*DECIDES, "--set", "ingest.synthetic.duration_s=7200")
    assert json.loads((made / "metrics.json").read_text())["ticks"] > 4_000
    answer = call(*DECIDES)
    assert answer.exit_code == 2
    assert "the synthetic market has no end" in answer.output


def test_json_is_what_the_metrics_file_holds() -> None:
    result = call("--ticks", tick_file(count=3_000), "--symbol", "EURUSD", *DECIDES, "--json")
    made, = Path("runs").iterdir()
    printed, written = json.loads(result.stdout), json.loads((made / "metrics.json").read_text())
    for one in (printed, written):
        one.pop("made_at")
        one.pop("notes")
    assert printed == written


def test_refused_suggestions_and_a_halt_are_told_with_their_limits() -> None:
    result = call("--ticks", tick_file(), "--symbol", "EURUSD", *DECIDES, "--set", "risk.max_spread_points=3")
    assert "Most suggestions were refused" in result.output
    assert "spread too wide (saw 10, limit 3)" in result.output
    halted = call("--ticks", tick_file(), "--symbol", "EURUSD", *DECIDES, "--set", "risk.max_daily_loss_pct=0.5")
    assert "Trading halted on 2024-01-15 (daily loss" in halted.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--ticks", "none.csv", "--symbol", "EURUSD", "--strategy", "mean_reversion"), "there is no such file"),
        (("--strategy", "mean_revision"), "there is no strategy 'mean_revision', only"),
        ((), "nobody decides"),
        (("-p", "threshold=1"), "--param needs --strategy"),
        (("--strategy", "mean_reversion", "-p", "treshold=1"), "treshold"),
        (("--strategy", "mean_reversion", "-p", "threshold"), "expected name=value"),
        (("--strategy", "mean_reversion", "--strategy-file", "own.py"), "own.py"),
        (("--strategy", "mean_reversion", "--bundle", "x.bundle"), "only one of them can decide"),
        (("--strategy", "mean_reversion", "--set", "risk.max_spread"), "--set risk.max_spread: expected"),
        (("--strategy", "mean_reversion", "--set", "risk.max_sprea_points=3"), "max_sprea"),
        (("--strategy", "mean_reversion", "--set", "risk.max_spread_points=-3"), "max_spread_points"),
        (("--strategy", "mean_reversion", "-p", "position=nothing"), "looks at nothing, which no row holds"),
        (("--strategy", "mean_reversion", "--bar-path", "hlco"), "--bar-path hlco: expected"),
        (("--strategy", "mean_reversion", "--bar-path", "both"), "there are no bars among the files"),
        (("--strategy", "mean_reversion", "--from", "yesterday"), "--from yesterday: expected a date"),
        (("--strategy", "mean_reversion", "--from", "2030-01-01"), "holds no tick in the time"),
        (("--strategy", "mean_reversion", "--zone", "Atlantis"), "Atlantis"),
    ],
)
def test_bad_input_is_named_with_its_remedy_and_leaves_nothing(arguments: tuple[str, ...], said: str) -> None:
    if "none.csv" not in arguments:
        arguments = ("--ticks", tick_file(count=200), "--symbol", "EURUSD", *arguments)
    assert said in refused(*arguments)


def test_data_that_is_no_market_is_refused() -> None:
    decides = ("--symbol", "EURUSD", "--strategy", "mean_reversion", "-p", "position=bollinger_20")
    Path("empty.csv").write_text("time_msc,bid,ask\n")
    assert "holds a header and no data" in refused("--ticks", "empty.csv", *decides)
    times, bid, ask = market(400)
    rows = "\n".join(f"{t},{b},{a}" for t, b, a in zip(times[::-1], bid, ask, strict=True))
    Path("backwards.csv").write_text(f"time_msc,bid,ask\n{rows}\n")
    assert "earlier than the tick before them. Sort the file by time" in refused("--ticks", "backwards.csv", *decides)
    rows = "\n".join(f"{t},{a},{b}" for t, b, a in zip(times, bid, ask, strict=True))
    Path("crossed.csv").write_text(f"time_msc,bid,ask\n{rows}\n")
    assert "only 0 of 400 ticks are good; kept back: crossed 400" in refused("--ticks", "crossed.csv", *decides)
    Path("broken.csv").write_text("time_msc,bid,ask\n1,1.1,1.2\n2,1.1,what\n")
    assert "broken.csv, line 3" in refused("--ticks", "broken.csv", *decides)


def test_a_hole_in_the_middle_is_refused_until_it_is_allowed() -> None:
    times, bid, ask = market(400)
    times[200:] += 10 * 3_600_000
    rows = "\n".join(f"{t},{b},{a}" for t, b, a in zip(times, bid, ask, strict=True))
    Path("hole.csv").write_text(f"time_msc,bid,ask\n{rows}\n")
    arguments = ("--ticks", "hole.csv", "--symbol", "EURUSD", *DECIDES, "--max-gap")
    said = refused(*arguments, "4")
    assert "EURUSD: no tick between 2024-01-15 00:09 and 2024-01-15 10:10, 10 hours of an open market" in said
    assert call(*arguments, "12").exit_code == 0


def test_prices_finer_than_the_symbols_are_taken_for_another_symbols() -> None:
    Path("config.yaml").write_text("instruments: {EURUSD: {digits: 2}}\n")
    said = refused("--ticks", tick_file(count=200), "--symbol", "EURUSD", "--strategy", "mean_reversion")
    assert "prices have 5 decimals, instruments.EURUSD.digits is 2" in said


def test_a_strategy_that_raises_ends_the_run_without_a_report() -> None:
    Path("own.py").write_text(
        "class Falls:\n    needs, lookback, horizon_s = (), 0, 0\n"
        "    def decide(self, rows):\n        raise ZeroDivisionError('x')\n"
    )
    arguments = ("--ticks", tick_file(), "--symbol", "EURUSD", "--strategy", "falls", "--strategy-file", "own.py")
    for way in ((), ("--careful",)):
        said = refused(*arguments, *way)
        assert "falls" in said
        assert "ZeroDivisionError: x" in said


def test_a_bundle_that_does_not_fit_is_refused_before_a_tick_is_read() -> None:
    Path("model.bundle").write_bytes(archive())
    Path("trainer.pub").write_bytes(SIGNER.public_bytes)
    arguments = ("--ticks", tick_file(count=200), "--bundle", "model.bundle")
    said = refused(*arguments, "--symbol", "EURUSD", "--key", "trainer.pub")
    assert "model.bundle: the model was trained on rows of schema schema-of-six" in said
    assert "lacks ret_1, ret_5, sigma, spread" in said
    gold = ("--symbol", "XAUUSD", "--set", "instruments.XAUUSD.digits=5")
    said = refused(*arguments, *gold, "--key", "trainer.pub")
    assert "the model is for EURUSD, the ticks are of XAUUSD" in said
    Path("trainer.pub").write_bytes(STRANGER.public_bytes)
    assert "model.bundle: " in refused(*arguments, "--symbol", "EURUSD", "--key", "trainer.pub")
    assert "Run `tickwire keys init`" in refused(*arguments, "--symbol", "EURUSD")


def test_comparing_needs_two_finished_runs_of_this_format() -> None:
    Path("not_a_run").mkdir()
    assert "not_a_run: holds no finished run" in refused("--compare", "not_a_run", "not_a_run")
    Path("not_a_run/metrics.json").write_text("{}")
    assert "is of another format" in refused("--compare", "not_a_run", "not_a_run")


def test_the_config_of_a_run_is_a_config(tmp_path: Path) -> None:
    made = run("--ticks", tick_file(count=2_000), "--symbol", "EURUSD", *DECIDES)
    held = yaml.safe_load((made / "config.yaml").read_text())
    assert held["inference"]["strategy"]["params"]["protection"]["stop"] == 4
    assert held["risk"]["max_spread_points"] == 500


def test_a_window_takes_what_lies_in_it_and_no_more_than_its_limit() -> None:
    def chunks() -> Any:
        for start in (0, 10, 20):
            times = np.arange(start, start + 10, dtype=np.int64)
            yield RawTicks(symbol="X", file="f", first_line=1, time_ns=times, bid=times * 1.0, ask=times * 1.0)

    def taken(window: Window) -> list[int]:
        return [t for chunk in wanted(chunks(), window) for t in chunk.time_ns.tolist()]

    assert taken(Window()) == list(range(30))
    assert taken(Window(from_ns=7, to_ns=23)) == list(range(7, 23))
    assert taken(Window(from_ns=7, limit=5)) == list(range(7, 12))
    assert taken(Window(from_ns=12, to_ns=25, limit=100)) == list(range(12, 25))
    assert taken(Window(limit=10)) == list(range(10))
    assert taken(Window(from_ns=40)) == []


def fitting_bundle() -> bytes:
    """Return a signed model of the default features; it follows the last return."""
    features = FeaturesCore(FeaturesConfig(), ("EURUSD",), DecideOn(), {})
    rows = np.random.default_rng(0).normal(size=(600, len(features.names)))
    label = np.digitize(rows[:, 0], (-0.5, 0.5))
    booster = lightgbm.train(
        {"objective": "multiclass", "num_class": 3, "num_leaves": 7, "verbosity": -1, "num_threads": 1},
        lightgbm.Dataset(rows, label, feature_name=list(features.names)), 5,
    )
    golden = golden_file(rows[:8], booster.predict(rows[:8]))
    whole = manifest(
        schema_id=features.schema_id, feature_names=features.names, sigma_feature="sigma_60", sigma_unit="price", drift={}
    )
    return pack(whole, {MODEL_FILE: booster.model_to_string().encode(), GOLDEN_FILE: golden}, SIGNER)


def test_a_bundle_that_fits_decides() -> None:
    Path("model.bundle").write_bytes(fitting_bundle())
    Path("trainer.pub").write_bytes(SIGNER.public_bytes)
    made = run(
        "--ticks", tick_file(), "--symbol", "EURUSD", "--bundle", "model.bundle", "--key", "trainer.pub",
        "--set", "inference.signals.confirmation.enabled=false", "--set", "inference.signals.min_confidence=0.01",
        "--set", "inference.signals.min_expected_return_pct=-100",
    )
    metrics = json.loads((made / "metrics.json").read_text())
    assert metrics["title"] == "direction-EURUSD v1"
    assert metrics["messages"]["OrderApproved"] > 0
    assert set(read_table(made / "trades.parquet")["model"]) == {"direction-EURUSD"}
