"""The demo's config, its counts and its tables."""

import io
import math
from pathlib import Path

import msgspec
import pytest
import yaml
from rich.console import Console

from libs.common.codec import encode
from libs.common.errors import ConfigError, DataError
from libs.common.messages.base import Message
from libs.common.messages.control import Alert, Heartbeat, Severity, TradingHalted, TradingResumed
from libs.common.messages.market import FeedStatus
from libs.common.messages.models import ModelRefused
from libs.common.messages.orders import OrderRefused, RefusalReason
from libs.common.routing import subject_of
from tickwire.demo_config import DemoOptions, TickFile, demo_config, instrument_for, symbol_of_file
from tickwire.demo_counts import DemoCounts
from tickwire.demo_run import checked_file, new_run_dir, write_summary
from tickwire.demo_view import DemoView, plain_line, summary_table
from tickwire.sections import read_all
from tickwire.tally import Tally

TIMES = {"ts_event_ns": 1_700_000_000_000_000_000, "ts_init_ns": 1_700_000_000_000_000_000}


def resolved(options: DemoOptions, tmp_path: Path) -> dict[str, object]:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(demo_config(options, tmp_path / "state")))
    return read_all(file, {})


@pytest.mark.parametrize(
    "options",
    [
        DemoOptions(),
        DemoOptions(lockstep=True),
        DemoOptions(speed="max"),
        DemoOptions(speed=1.0, duration_s=10.0),
        DemoOptions(files=(TickFile(Path("a.csv"), "USDJPY", "NY+7", 3),), limit=100, duration_s=0.0),
    ],
    ids=["default", "lockstep", "max", "real time", "own file"],
)
def test_every_demo_config_is_a_right_one(options: DemoOptions, tmp_path: Path) -> None:
    sections = resolved(options, tmp_path)
    assert set(sections["instruments"]) == set(options.symbols)  # type: ignore[call-overload]


def test_the_default_market_passes_in_the_duration() -> None:
    options = DemoOptions(duration_s=75.0)
    plain = demo_config(options, Path("state"))
    market_s = plain["ingest"]["synthetic"]["duration_s"]
    assert plain["ingest"]["speed"] == pytest.approx(market_s / 75.0)


def test_in_lockstep_no_limit_is_stretched_and_in_an_accelerated_market_ages_are() -> None:
    assert "prediction_max_age_ms" not in demo_config(DemoOptions(lockstep=True), Path("s"))["risk"]
    slow = demo_config(DemoOptions(speed=1.0), Path("s"))["risk"]
    fast = demo_config(DemoOptions(speed=1_000.0), Path("s"))["risk"]
    assert slow["prediction_max_age_ms"] < 10_000 < fast["prediction_max_age_ms"]
    assert math.isinf(DemoOptions(speed="max").speed_factor)


def test_own_files_are_replayed_with_their_zone_limit_and_digits(tmp_path: Path) -> None:
    file = TickFile(tmp_path / "x.csv", "XAUUSD", "EET", 3, first_ns=0, last_ns=7_500_000_000_000)
    options = DemoOptions(files=(file,), limit=7, duration_s=75.0)
    plain = demo_config(options, Path("state"))
    assert plain["ingest"]["files"] == [
        {"path": str(tmp_path / "x.csv"), "symbol": "XAUUSD", "zone": "EET", "limit": 7}
    ]
    assert plain["ingest"]["speed"] == 100.0
    assert demo_config(DemoOptions(files=(file,), duration_s=0.0), Path("s"))["ingest"]["speed"] == "max"
    assert plain["instruments"]["XAUUSD"]["digits"] == 3
    assert plain["instruments"]["XAUUSD"]["contract_size"] == 100.0


def test_instruments_are_guessed_from_their_names() -> None:
    usdjpy, us30 = instrument_for("USDJPY"), instrument_for("US30.cash", 1)
    assert (usdjpy.digits, usdjpy.margin_currency, usdjpy.profit_currency) == (3, "USD", "JPY")
    assert (us30.digits, us30.contract_size, us30.profit_currency) == (1, 1.0, "USD")


def test_a_file_name_tells_its_symbol_or_a_person_must() -> None:
    assert symbol_of_file(Path("eurusd_oanda_2014-05.parquet")) == "EURUSD"
    assert symbol_of_file(Path("mt5_bars_XAUUSD_M1_2026.csv")) == "XAUUSD"
    with pytest.raises(ConfigError, match="--symbol"):
        symbol_of_file(Path("my_ticks.csv"))


def test_a_file_is_read_through_and_its_digits_are_found(tmp_path: Path) -> None:
    file = tmp_path / "usdjpy.csv"
    rows = (f"2024-01-02 10:00:{second:02d},101.{second:03d},102.{second:03d}\n" for second in range(20))
    file.write_text("time,bid,ask\n" + "".join(rows))
    found = checked_file(file, "USDJPY", "UTC", 0)
    assert found.digits == 3
    assert (found.last_ns - found.first_ns) / 1e9 == 19.0
    with pytest.raises(ConfigError):
        checked_file(file, "USDJPY", "Nowhere/Town", 0)


def test_a_run_gets_a_folder_of_its_own_even_in_the_same_second(tmp_path: Path) -> None:
    folders = {new_run_dir(tmp_path) for _ in range(3)}
    assert len(folders) == 3
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="--out"):
        new_run_dir(tmp_path / "file" / "inside")


def hear(counts: DemoCounts, *messages: Message) -> DemoCounts:
    for message in messages:
        counts.hear(subject_of(message), encode(message))
    return counts


def some_counts() -> DemoCounts:
    refusal = {"account": "paper", "symbol": "EURUSD", "observed": 1.0, "limit": 2.0, **TIMES}
    return hear(
        DemoCounts(),
        Heartbeat(
            service="ingest", instance="i", version="0", ready=True, lag_ms=0.1, seen={}, sent={"ticks.EURUSD": 3},
            details={"ticks": 1_234.0, "EURUSD ticks": 1_300.0}, **TIMES,
        ),
        Heartbeat(
            service="features", instance="i", version="0", ready=True, lag_ms=0.1, seen={"ticks.EURUSD": 1}, sent={},
            details={"ticks_seen": 1_200.0, "gaps_detected": 2, "gaps_filled": 2}, **TIMES,
        ),
        FeedStatus(symbol="EURUSD", last_tick_ns=1, ticks=5, quarantined={"crossed": 4}, gaps=0, stale=False, **TIMES),
        OrderRefused(reason=RefusalReason.MARGIN, **refusal),
        OrderRefused(reason=RefusalReason.MARGIN, **refusal),
        OrderRefused(reason=RefusalReason.HALTED, **refusal),
        ModelRefused(
            name="direction-EURUSD", version=2, symbol="EURUSD", bundle_sha256="x", metrics={"auc": 0.5},
            reason="no_skill", **TIMES,
        ),
        TradingHalted(account="paper", reason="daily_loss", **TIMES),
        Alert(severity=Severity.CRITICAL, service="ingest", name="tick_store_not_written", detail="disk full", **TIMES),
    )


def test_counts_follow_what_is_heard() -> None:
    counts = some_counts()
    assert (counts.ticks_published, counts.ticks_seen) == (1_234, 1_200)
    assert counts.refusals == {"margin": 2, "halted": 1}
    assert counts.gaps.total() == (2, 2)
    assert counts.halted == "daily_loss"
    assert list(counts.events) == [
        "model direction-EURUSD v2 refused: no_skill auc=0.5",
        "risk HALTED: daily_loss",
        "alert (critical) ingest tick_store_not_written: disk full",
    ]
    hear(counts, TradingResumed(account="paper", issued_by="me", **TIMES))
    assert counts.halted == ""


def test_malformed_messages_are_counted_and_do_no_harm() -> None:
    counts = DemoCounts()
    for subject in ("orders.refused.a.b", "models.x.promoted", "feed.EURUSD", "health.risk", "account.paper"):
        for payload in (b"", b"\xff", b"[]", b'{"type": "Nothing"}'):
            counts.hear(subject, payload)
    assert counts.account is None
    assert counts.roots["malformed"] > 0


def test_a_feed_is_finished_when_every_symbol_is() -> None:
    common = {"last_tick_ns": 1, "ticks": 1, "quarantined": {}, "gaps": 0, "stale": False, **TIMES}
    counts = DemoCounts()
    hear(counts, FeedStatus(symbol="EURUSD", finished=True, **common))
    assert not counts.feeds_finished(("EURUSD", "XAUUSD"))
    hear(counts, FeedStatus(symbol="XAUUSD", finished=True, **common))
    assert counts.feeds_finished(("EURUSD", "XAUUSD"))


def test_without_a_terminal_plain_lines_come_out() -> None:
    written = io.StringIO()
    console = Console(file=written, width=200)
    counts = some_counts()
    with DemoView(counts, ("EURUSD",), 10.0, console) as view:
        view.phase("flowing")
        view.refresh()
        view.refresh()
    lines = written.getvalue().splitlines()
    assert lines[0] == "-- flowing"
    assert "   risk HALTED: daily_loss" in lines
    assert sum("ticks 1,234" in line for line in lines) == 1
    assert "margin 2" in plain_line(counts, 0.0)


def test_on_a_terminal_a_table_is_drawn() -> None:
    written = io.StringIO()
    console = Console(file=written, width=120, height=50, force_terminal=True)
    with DemoView(some_counts(), ("EURUSD",), 10.0, console) as view:
        view.phase("flowing")
        view.refresh()
    picture = written.getvalue()
    for text in ("ticks published", "1,234", "orders refused", "margin", "messages behind", "daily_loss", "no_skill"):
        assert text in picture


def test_the_summary_is_printed_and_written_whole(tmp_path: Path) -> None:
    summary = Tally().summary({}, (0, 0))
    written = io.StringIO()
    Console(file=written, width=120).print(summary_table(summary, ["2 orders were sent twice"], 90.0))
    assert summary.orders_sha256 in written.getvalue()
    assert "FAILED: 2 orders were sent twice" in written.getvalue()
    write_summary(tmp_path / "summary.json", summary)
    assert msgspec.json.decode((tmp_path / "summary.json").read_bytes()) == msgspec.to_builtins(summary)
    assert [file.name for file in tmp_path.iterdir()] == ["summary.json"]
