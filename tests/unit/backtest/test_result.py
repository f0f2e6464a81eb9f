"""A run and its report: what is shown is what happened, and nothing of it is taken for markup."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from backtest.record import Record
from backtest.report import RunFacts, distribution, page_of, thinned, trade_columns
from backtest.result import Result, equity_of
from backtest.tape import Tape
from libs.common.errors import DataError
from tests.unit.backtest.backtest_world import DAY, EURUSD, HOUR, NOON, S, block, run, sections
from tickwire.report.page import report_html

EVIL = "</script><img src=x onerror=alert(1)>&\u2028"
FACTS = RunFacts(
    title=EVIL, made_at="2026-01-01T00:00:00+00:00", source="here", code_version="1", source_sha256="0" * 64, config="a: 1\n"
)


@pytest.fixture(scope="module")
def result() -> Result:
    return run(sections(hours=30.0))


def test_the_page_holds_plain_finite_values_only(result: Result) -> None:
    page = page_of(result, FACTS)
    json.dumps(page, allow_nan=False)
    assert page["trades"]["all"] == len(result.trades) == len(page["trades"]["net"])
    assert page["equity"]["equity"][-1] == round(float(result.equity.equity[-1]), 2)
    assert sum(page["distribution"]["counts"]) == len(result.trades)
    assert sum(row[2] for row in page["clock"]) == len(result.trades)
    assert page["facts"]["ticks"] == result.ticks


def test_candles_come_out_of_the_page_as_they_went_in(result: Result) -> None:
    packed, = page_of(result, FACTS)["candles"]
    table = result.tape.candles("EURUSD")
    times, before, closes, highs = packed["start"], packed["first"], [], []
    opened = []
    for k, step in enumerate(packed["t"]):
        times += step * packed["step"]
        opened.append(times)
        highs.append(before + packed["high"][k])
        before += packed["close"][k]
        closes.append(before)
    assert opened == (table.open_ns // 10**9).tolist()
    assert closes == np.rint(table.close * 1e5).astype(int).tolist()
    assert highs == np.rint(table.high * 1e5).astype(int).tolist()


def test_nothing_in_the_page_can_leave_its_place_or_ask_for_anything_outside(result: Result) -> None:
    page = page_of(result, FACTS)
    page["groups"]["symbol"][0]["name"] = EVIL
    text = report_html(page)
    assert "<img" not in text
    assert text.count("</script>") == 2
    assert "default-src" in text
    assert not re.search(r"(?:https?:)?//[a-z0-9-]+\.[a-z]{2,}", text.replace("\\", ""), re.IGNORECASE)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|fetch\(|XMLHttp|import\(", text)
    payload = re.search(r'id="payload">(.*?)</script>', text, re.DOTALL)
    assert payload
    assert json.loads(payload[1])["facts"]["title"] == EVIL


def test_a_day_on_which_nothing_happened_still_has_its_point_of_equity(result: Result) -> None:
    days = set((result.equity.time_ns // (86_400 * 10**9)).tolist())
    assert days >= set((result.tape.day_ends() // (86_400 * 10**9)).tolist())
    quiet = run(sections({"inference": {"strategy": {"params": {"threshold": 1e9}}}}, hours=60.0))
    assert not quiet.trades
    assert len(quiet.equity.equity) >= 3
    assert set(quiet.equity.equity.tolist()) == {10_000.0}
    assert quiet.summary.sharpe is None


def test_a_day_without_a_word_of_the_account_has_the_last_word() -> None:
    tape = Tape({"EURUSD": EURUSD})
    for start in (NOON, NOON + DAY, NOON + 2 * DAY):
        tape.see(block([start, start + HOUR], [1.1, 1.1]))
    record = Record()
    record.equity.append((NOON + 2 * S, 990.0, 995.0))
    terminal = SimpleNamespace(equity=lambda: 1_010.0, balance_ccy=1_005.0)
    curve = equity_of(record, tape, 1_000.0, SimpleNamespace(terminal=terminal))  # type: ignore[arg-type]
    assert curve.time_ns.tolist() == [NOON - 1, NOON + 2 * S, NOON + HOUR, NOON + DAY + HOUR, NOON + 2 * DAY + HOUR]
    assert curve.equity.tolist() == [1_000.0, 990.0, 990.0, 990.0, 1_010.0]
    assert curve.balance.tolist() == [1_000.0, 995.0, 995.0, 995.0, 1_005.0]


def test_too_many_trades_show_the_largest_in_order_of_time(result: Result) -> None:
    shown = trade_columns(result.trades, most=10)
    largest = sorted((abs(trade.net_ccy) for trade in result.trades), reverse=True)[:10]
    assert sorted((abs(net) for net in shown["net"]), reverse=True) == pytest.approx(largest, abs=0.01)
    assert shown["closed"] == sorted(shown["closed"])
    assert shown["all"] == len(result.trades)


def test_a_thinned_curve_keeps_its_ends_its_lowest_and_its_highest_point() -> None:
    values = np.random.default_rng(1).normal(size=10_000).cumsum()
    kept = thinned(values, 500)
    assert len(kept) <= 504
    assert {0, 9_999, int(values.argmin()), int(values.argmax())} <= set(kept.tolist())


def test_no_bin_of_the_distribution_holds_gains_and_losses() -> None:
    found = distribution([-5.0, -1.0, 0.5, 2.0, 9.0])
    assert min(abs(edge) for edge in found["edges"]) == 0.0
    assert sum(found["counts"]) == 5
    assert distribution([]) == {"edges": [], "counts": []}
    assert sum(distribution([3.0, 3.0])["counts"]) == 2


def test_a_run_without_a_tick_is_an_error() -> None:
    empty = sections(hours=0.0001)
    from backtest.result import run_backtest
    from backtest.wiring import build_cores

    with pytest.raises(DataError, match="no tick lies in the time"):
        run_backtest(empty, build_cores(empty), {"EURUSD": iter(())})
