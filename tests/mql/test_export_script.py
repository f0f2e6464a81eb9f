"""TickwireExport writes what was traded into files that ingest reads as they are."""

import pytest

from services.ingest.adapters.replay import ReplayOptions, open_replay
from tests.mql.bridge_world import START_NS, Market, make_terminal
from tests.mql.package_answers import PackageAnswers


@pytest.fixture
def traded():
    """A terminal with a history in two symbols, one of which was traded."""
    terminal = make_terminal(server_zone="NY+7")
    market = Market(terminal)
    market.move("EURUSD", count=500, step_ms=997)
    market.move("XAUUSD", 2030.0, count=40)
    request = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "price": 1.2, "magic": 1}
    assert terminal.order_send(request).retcode == 10_009
    market.move("EURUSD", count=700, step_ms=0)
    market.move("EURUSD", count=300, step_ms=403)
    return terminal


def run(ea, terminal, **inputs):
    script = ea("TickwireExport.mq5", answers=PackageAnswers(terminal), inputs=inputs)
    script.script()
    return script, script.files / "tickwire" / "export"


def ticks_of(file, symbol="EURUSD"):
    """Return (time_ns, bid, ask) of an exported file, read by ingest."""
    chunks = list(open_replay(file, symbol, ReplayOptions()))
    assert chunks
    columns = ((chunk.time_ns.tolist(), chunk.bid.tolist(), chunk.ask.tolist()) for chunk in chunks)
    return [row for column in columns for row in zip(*column, strict=True)]


def test_the_symbols_of_the_accounts_history_come_out_tick_by_tick(ea, traded):
    script, folder = run(ea, traded)
    assert sorted(path.name for path in folder.iterdir()) == ["EURUSD_M1.csv", "EURUSD_ticks.csv"]
    shown = traded.copy_ticks_from("EURUSD", START_NS // 10**9, 10**6, -1)
    wanted = [(int(row["time_msc"]) * 10**6 - 7_200 * 10**9, float(row["bid"]), float(row["ask"])) for row in shown]
    assert ticks_of(folder / "EURUSD_ticks.csv") == wanted
    assert len(wanted) == 1_500
    assert "1 of 1 symbols" in script.prints[-1]


def test_bars_come_out_without_the_forming_one(ea, traded):
    _, folder = run(ea, traded, InpTicks=False)
    lines = (folder / "EURUSD_M1.csv").read_text().splitlines()
    assert lines[0] == "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>"
    bars = traded.copy_rates_from_pos("EURUSD", 1, 0, 1_000)
    assert len(lines) - 1 == len(bars) - 1
    assert lines[1].split("\t")[:2] == ["2024.01.08", "10:00:00"]
    assert sum(int(line.split("\t")[6]) for line in lines[1:]) == int(bars["tick_volume"][:-1].sum())
    assert list(open_replay(folder / "EURUSD_M1.csv", "EURUSD", ReplayOptions()))


def test_named_symbols_are_exported_and_unknown_ones_are_said(ea, traded):
    script, folder = run(ea, traded, InpSymbols=" XAUUSD , NOPE", InpBars=False)
    assert [path.name for path in folder.iterdir()] == ["XAUUSD_ticks.csv"]
    assert len(ticks_of(folder / "XAUUSD_ticks.csv", "XAUUSD")) == 40
    assert any("NOPE" in text for text in script.prints)


def test_a_file_that_is_there_stays_and_one_that_cannot_be_finished_does_not_appear(ea, traded):
    script, folder = run(ea, traded, InpBars=False)
    (folder / "EURUSD_ticks.csv").write_text("mine")
    script.script()
    assert (folder / "EURUSD_ticks.csv").read_text() == "mine"
    failing = ea("TickwireExport.mq5", answers=PackageAnswers(traded), inputs={"InpBars": False}, faults={"writes_fail": 1})
    failing.script()
    assert not list((failing.files / "tickwire" / "export").iterdir())
    assert any("disk refuses" in text for text in failing.prints)
