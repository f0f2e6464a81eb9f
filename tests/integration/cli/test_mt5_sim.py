"""``tickwire mt5-sim run`` and ``tickwire conformance``: somebody's script unchanged, the cards as a table."""

import datetime
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from libs.common.errors import ConfigError
from libs.common.mt5.sim.settings import TerminalSettings
from tickwire.conformance import Plan, run_cards
from tickwire.main import app
from tickwire.mt5_market import MarketOptions, open_market
from tickwire.mt5_script import run_script

REPOSITORY = Path(__file__).resolve().parents[3]
EXAMPLE = REPOSITORY / "examples" / "mt5_breakout.py"
runner = CliRunner()


def written(folder: Path, text: str) -> Path:
    script = folder / "script.py"
    script.write_text(text, encoding="utf-8")
    return script


def test_the_example_trades_and_does_the_same_every_time() -> None:
    command = ["mt5-sim", "run", "--history", "6", str(EXAMPLE), "90"]
    first, second = runner.invoke(app, command), runner.invoke(app, command)
    assert first.exit_code == 0, first.output
    assert " at 1." in first.stdout
    assert "deals" in first.stdout
    assert first.stdout == second.stdout
    other = runner.invoke(app, [*command[:2], "--seed", "9", *command[2:]])
    assert other.stdout != first.stdout


def test_the_example_runs_as_a_process_with_a_plain_import() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tickwire", "mt5-sim", "run", "--history", "3", str(EXAMPLE), "5"],
        capture_output=True, text=True, cwd=REPOSITORY, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "deals" in done.stdout
    assert "balance" in done.stderr


def test_time_is_the_markets_inside_and_the_walls_again_outside(tmp_path) -> None:
    script = written(tmp_path, """
import asyncio, datetime, time
import MetaTrader5 as mt5
from MetaTrader5 import TIMEFRAME_M1
mt5.initialize()
began, tick = datetime.datetime.now(datetime.timezone.utc), mt5.symbol_info_tick("EURUSD")
assert isinstance(began, datetime.datetime) and isinstance(datetime.datetime(2020, 1, 1), datetime.datetime)
assert began.year == datetime.date.today().year == 2024
time.sleep(600)
asyncio.run(asyncio.sleep(600))
later = datetime.datetime.now(datetime.timezone.utc)
assert datetime.timedelta(minutes=20) <= later - began < datetime.timedelta(minutes=20, seconds=1)
assert mt5.symbol_info_tick("EURUSD").time - tick.time > 1_100
deadline = time.monotonic() + 0.5
while time.monotonic() < deadline:
    pass
raise SystemExit(7)
""")
    wall = time.monotonic()
    market = open_market(MarketOptions(history_h=1.0, terminal=TerminalSettings()))
    assert run_script(script, [], market) == 7
    assert time.monotonic() - wall < 20.0
    assert datetime.datetime.now(datetime.UTC).year >= 2025
    assert "MetaTrader5" not in sys.modules
    assert time.sleep.__module__ == "time"


def test_a_script_gets_its_arguments_its_folder_and_its_exit_code(tmp_path) -> None:
    (tmp_path / "beside.py").write_text("WORD = 'found'\n", encoding="utf-8")
    script = written(tmp_path, "import sys, beside\nprint(beside.WORD, sys.argv[1:])\nsys.exit(3)\n")
    done = runner.invoke(app, ["mt5-sim", "run", "--history", "1", str(script), "--symbol", "X", "-v"])
    assert (done.exit_code, done.stdout) == (3, "found ['--symbol', 'X', '-v']\n")


def test_a_script_that_watches_for_ever_ends_with_its_market(tmp_path) -> None:
    script = written(tmp_path, """
import MetaTrader5 as mt5, time
mt5.initialize()
while True:
    try:
        mt5.symbol_info_tick("EURUSD")
        time.sleep(1)
    except Exception:
        pass
""")
    done = runner.invoke(app, ["mt5-sim", "run", "--history", "1", "--duration", "120", str(script)])
    assert done.exit_code == 0, done.output


def test_an_error_of_the_script_is_not_swallowed(tmp_path) -> None:
    script = written(tmp_path, "raise RuntimeError('mine')\n")
    with pytest.raises(RuntimeError, match="mine"):
        run_script(script, [], open_market(MarketOptions(history_h=1.0)))
    with pytest.raises(ConfigError, match="no such script"):
        run_script(tmp_path / "nothing.py", [], open_market(MarketOptions(history_h=1.0)))


def test_a_file_of_ticks_is_a_market_too(tmp_path) -> None:
    rows = [f"2024-01-08T10:{second // 60:02d}:{second % 60:02d},1.1,{1.1001 + second / 1e5:.5f}" for second in range(600)]
    file = tmp_path / "eurusd.csv"
    file.write_text("\n".join(["time,bid,ask", *rows]) + "\n", encoding="utf-8")
    script = written(tmp_path, """
import MetaTrader5 as mt5, time
mt5.initialize()
print(len(mt5.symbols_get()), mt5.symbol_info_tick("EURUSD").ask)
time.sleep(60)
print(mt5.symbol_info_tick("EURUSD").ask, mt5.account_info().balance, mt5.account_info().margin_mode)
time.sleep(3600)
mt5.version(); mt5.version()
print("never reached")
""")
    command = ["mt5-sim", "run", "--ticks", str(file), "--history", "0", "--balance", "500", "--netting", str(script)]
    done = runner.invoke(app, command)
    assert (done.exit_code, done.stdout) == (0, "1 1.1001\n1.1007 500.0 0\n"), done.output


def test_the_wall_clock_moves_the_market_by_itself() -> None:
    mt5 = open_market(MarketOptions(history_h=1.0, clock="wall", speed=3_600.0)).module
    mt5.initialize()
    first = mt5.symbol_info_tick("EURUSD") or mt5.symbol_info_tick("XAUUSD")
    time.sleep(0.05)
    later = mt5.symbol_info_tick("EURUSD")
    assert later.time_msc - first.time_msc > 60_000


def test_the_module_to_import_instead_of_the_package() -> None:
    from tickwire import mt5

    assert mt5.initialize() is True
    assert mt5.TIMEFRAME_H1 == 0x4001
    assert mt5.symbol_info("EURUSD").digits == 5
    assert not hasattr(mt5, "SYMBOL_FILLING_FOK")


def test_conformance_prints_verdicts_and_its_exit_code_tells() -> None:
    done = runner.invoke(app, ["conformance", "--area", "no connection", "--json"])
    assert done.exit_code == 0
    assert {record["result"] for record in json.loads(done.stdout)} == {"passed"}
    table = runner.invoke(app, ["conformance", "--card", "volume-int", "--card", "unknown-key"])
    assert table.exit_code == 0
    assert "2 cards: 2 passed, 0 failed, 0 skipped" in table.stdout
    unknown = runner.invoke(app, ["conformance", "--card", "nope"])
    assert unknown.exit_code == 2
    listed = runner.invoke(app, ["conformance", "--list"])
    assert "bars: rates-dtype" in listed.stdout


def test_a_failed_card_makes_the_exit_code_1(monkeypatch) -> None:
    monkeypatch.setattr("libs.common.mt5.sim.market_face.MarketFace.symbol_info_tick", lambda *_: None)
    done = runner.invoke(app, ["conformance", "--card", "tick-times"])
    assert done.exit_code == 1
    assert "1 failed" in done.stdout


def test_without_the_real_package_the_error_says_what_to_do(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "MetaTrader5", None)
    monkeypatch.delitem(sys.modules, "libs.common.mt5.adapters.real_package", raising=False)
    with pytest.raises(ConfigError, match="pip install MetaTrader5"):
        run_cards(Plan(real=True))


@pytest.mark.parametrize("option", ["--trade", "--path=x"])
def test_what_is_meant_for_the_real_package_is_not_passed_over_without_it(option) -> None:
    done = runner.invoke(app, ["conformance", option, "--list"])
    assert done.exit_code == 2
    assert "add --real" in done.output


@pytest.mark.parametrize("option", ["--duration", "--balance"])
def test_an_endless_number_is_refused(tmp_path, option) -> None:
    script = tmp_path / "script.py"
    script.write_text("import MetaTrader5")
    done = runner.invoke(app, ["mt5-sim", "run", option, "inf", str(script)])
    assert done.exit_code == 2
    assert option in done.output


def test_a_clock_nobody_knows_is_refused_before_the_terminal_is_asked() -> None:
    asked = ["history", "-s", "EURUSD", "--from", "2024-02-01", "--backend", "sim", "--connect", "127.0.0.1:9"]
    done = runner.invoke(app, [*asked, "--zone", "Nowhere"])
    assert done.exit_code == 2
    assert "Nowhere" in done.output
