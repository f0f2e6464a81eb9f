"""``tickwire history``: ticks and bars of the past from the terminal to files."""

import asyncio
import os
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from libs.common.config import InstrumentConfig, Mt5Config
from libs.common.errors import BrokerError, ConfigError, DataError
from libs.common.mt5.adapters.clock_file import clock_path, read_clock
from libs.common.mt5.adapters.connection import driver_for
from libs.common.mt5.adapters.driver import Mt5Driver
from libs.common.mt5.adapters.simulated_package import TOKEN_VARIABLE
from libs.common.mt5.adapters.symbol_registry import SymbolMissing, SymbolRegistry
from libs.common.mt5.convert import OffsetHistory
from libs.common.mt5.server_zone import parse_zone
from libs.common.storage.bars import BarFile
from libs.common.storage.ticks import NS_PER_DAY, TickStore
from tickwire.console import err, out, print_hint, print_json
from tickwire.history_bars import BarDownload, timeframe_of
from tickwire.history_report import HistoryReport, examine
from tickwire.history_ticks import TickDownload
from tickwire.sections import read_all

APPS = {"history": typer.Typer(add_completion=False)}
NS_PER_S = 1_000_000_000


@APPS["history"].command(name="history")
def history(
    symbol: Annotated[list[str], typer.Option("--symbol", "-s", help="Canonical symbol; give it once per symbol.")],
    from_: Annotated[str, typer.Option("--from", help="First day (UTC), YYYY-MM-DD.")],
    to: Annotated[str, typer.Option("--to", help="Last day (UTC), included; empty: today.")] = "",
    bars: Annotated[list[str] | None, typer.Option("--bars", help="Also bars of this timeframe: M1, H1, D1 ...")] = None,
    ticks: Annotated[bool, typer.Option("--ticks/--no-ticks", help="Load ticks.")] = True,
    out_dir: Annotated[Path | None, typer.Option("--out", help="Folder; default: <data_dir>/history.")] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Default: config.yaml if there is one.")] = None,
    backend: Annotated[str, typer.Option("--backend", help="real or sim; default: mt5.backend.")] = "",
    connect: Annotated[str, typer.Option("--connect", help="host:port of the simulated terminal.")] = "",
    zone: Annotated[str, typer.Option("--zone", help="The broker's clock; default: as measured.")] = "",
    silent_s: Annotated[float, typer.Option("--silent", min=1.0, help="Shortest silence reported, seconds.")] = 300.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Download ticks (and bars) from the terminal; run it again to go on after an interruption."""
    plan = _plan(symbol, from_, to, bars or [], ticks, out_dir, config, backend, connect, zone, silent_s)
    try:
        reports = asyncio.run(_run(plan))
    except KeyboardInterrupt:
        print_hint("interrupted; run the same command again to go on")
        raise typer.Exit(130) from None
    except (BrokerError, TimeoutError) as error:
        if isinstance(error, SymbolMissing):
            raise
        text = str(error).rstrip(".")
        raise BrokerError(f"{text}. What was loaded is kept: run the same command again to go on.") from error
    if as_json:
        print_json([msgspec.to_builtins(report) | {"is_whole": report.is_whole} for report in reports])
    else:
        for report in reports:
            out.print(report_text(report), markup=False)
        if ticks:
            for name in plan.symbols:
                print_hint(f"replay it with ingest.files: [{{path: {plan.out / 'ticks' / _folder(name)}, symbol: {name}}}]")
    if any(not report.is_whole for report in reports):
        raise typer.Exit(1)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for.

    Parameters
    ----------
    first_day, last_day : days since 1970, both included
    zone : named clock that overrules everything measured, empty for none
    """

    symbols: tuple[str, ...]
    first_day: int
    last_day: int
    timeframes: tuple[str, ...]
    ticks: bool
    out: Path
    data_dir: Path
    terminal: Mt5Config
    instruments: dict[str, InstrumentConfig]
    zone: str
    silent_s: float


def _plan(
    symbols: list[str], from_: str, to: str, bars: list[str], ticks: bool, out_dir: Path | None, config: Path | None,
    backend: str, connect: str, zone: str, silent_s: float,
) -> Plan:  # fmt: skip
    if config is None and Path("config.yaml").exists():
        config = Path("config.yaml")
    sections = read_all(config)
    changes: dict[str, Any] = {}
    if backend:
        changes["backend"] = backend
    if connect:
        changes["connect"] = connect
    if os.environ.get(TOKEN_VARIABLE):
        changes["token"] = os.environ[TOKEN_VARIABLE]
    try:
        terminal = msgspec.convert(msgspec.to_builtins(sections["mt5"]) | changes, Mt5Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"--backend, --connect: {error}") from None
    first, last = _day(from_, "--from"), _day(to, "--to") if to else int(time.time()) // 86_400
    if first > last:
        raise ConfigError(f"--from {from_} lies after --to {to or 'today'}")
    for name in bars:
        timeframe_of(name)
    if zone:
        parse_zone(zone)
    if not ticks and not bars:
        raise ConfigError("--no-ticks without --bars leaves nothing to load")
    data_dir = Path(sections["system"].data_dir)
    return Plan(
        symbols=tuple(dict.fromkeys(symbols)), first_day=first, last_day=last, timeframes=tuple(dict.fromkeys(bars)),
        ticks=ticks, out=out_dir or data_dir / "history", data_dir=data_dir, terminal=terminal,
        instruments=sections["instruments"], zone=zone, silent_s=silent_s,
    )  # fmt: skip


def _day(text: str, option: str) -> int:
    try:
        return (date.fromisoformat(text) - date(1970, 1, 1)).days
    except ValueError:
        raise ConfigError(f"{option} {text}: not a day; write it as 2024-01-31") from None


async def _run(plan: Plan) -> list[HistoryReport]:
    async with driver_for(plan.terminal) as driver:
        try:
            await driver.ready(120.0 if plan.terminal.backend == "real" else 20.0)
            account = await driver.account_info()
        except (BrokerError, TimeoutError) as error:
            raise ConfigError(f"the terminal cannot be asked: {error}") from error
        clock = _clock(plan, account.server)
        registry = SymbolRegistry(plan.data_dir / "mt5" / "symbols.json", account.server, plan.terminal.symbols)
        reports = []
        for symbol in plan.symbols:
            broker_name = (await registry.resolve(driver, symbol)).name
            reports += await _load(plan, driver, symbol, broker_name, clock)
        return reports


def _clock(plan: Plan, server: str) -> OffsetHistory:
    if plan.zone:
        return OffsetHistory(server=server, zone=plan.zone)
    clock = read_clock(clock_path(plan.data_dir), server, plan.terminal.server_zone)
    if clock.contradiction():
        print_hint(f"{clock.contradiction()} Name the clock with --zone, or set mt5.server_zone.")
    elif not clock.measured:
        print_hint(f"the broker's clock was never measured (ingest does); taken as {clock.zone}, --zone names another")
    return clock


async def _load(
    plan: Plan, driver: Mt5Driver, symbol: str, broker_name: str, clock: OffsetHistory
) -> list[HistoryReport]:
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    first_ns, end_ns = plan.first_day * NS_PER_DAY, (plan.last_day + 1) * NS_PER_DAY
    now_ns = time.time_ns()
    with Progress(*columns, console=err, transient=True) as progress:
        for timeframe in plan.timeframes:
            task = progress.add_task(f"{symbol} {timeframe}", total=None, note="")

            def bar_told(done: int, total: int, task: Any = task) -> None:
                progress.update(task, completed=done, total=total, note=f"{done}/{total}")

            loading = BarDownload(driver, plan.out / "bars", symbol, broker_name, timeframe, clock, told=bar_told)
            held = await loading.load(first_ns, end_ns, now_ns)
            progress.console.print(f"{symbol} {timeframe}: {held:,} bars in {loading.file.path}", markup=False)
        if not plan.ticks:
            return []
        total = min(end_ns, now_ns) / NS_PER_DAY - plan.first_day
        task = progress.add_task(f"{symbol} ticks", total=total, note="")

        def told(day: float, count: int) -> None:
            reached = datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d %H:%M")
            progress.update(task, completed=max(0.0, day - plan.first_day), note=f"{count:,} ticks, {reached}")

        download = TickDownload(driver, plan.out / "ticks", symbol, broker_name, clock, told=told)
        await download.load(plan.first_day, plan.last_day, now_ns)
        progress.update(task, description=f"{symbol} check", total=None)
        minutes = await _bar_minutes(plan, driver, symbol, broker_name, clock, now_ns)
        instrument = plan.instruments.get(symbol, InstrumentConfig())
        report = await asyncio.to_thread(
            examine, symbol, TickStore(plan.out / "ticks").read(symbol, first_ns, end_ns), session=instrument.session,
            silent_s=plan.silent_s, bar_minutes_ns=minutes,
        )  # fmt: skip
    if download.state.unusable or download.state.disordered:
        print_hint(
            f"{symbol}: {download.state.unusable} ticks without both prices were left out, {download.state.disordered} "
            "came out of order and were sorted in"
        )
    return [report]


async def _bar_minutes(
    plan: Plan, driver: Mt5Driver, symbol: str, broker_name: str, clock: OffsetHistory, now_ns: int
) -> Any:
    """Return the minutes the terminal has bars of, ``None`` where it gives none (they are limited by a setting)."""
    loading = BarDownload(driver, plan.out / "check", symbol, broker_name, "M1", clock, pauses_s=(0.5,))
    known = BarFile(plan.out / "bars", symbol, "M1")
    first_ns, end_ns = plan.first_day * NS_PER_DAY, (plan.last_day + 1) * NS_PER_DAY
    try:
        if "M1" not in [name.upper() for name in plan.timeframes]:
            known = loading.file
            await loading.load(first_ns, end_ns, now_ns)
        times = known.times()
    except (BrokerError, TimeoutError, DataError, OSError) as error:
        print_hint(f"{symbol}: not checked against bars ({error})")
        return None
    return times[(times >= first_ns) & (times < end_ns)]


def report_text(report: HistoryReport) -> str:
    """Return a report as lines for a person."""
    if not report.ticks:
        return f"{report.symbol}: no ticks"
    lines = [
        f"{report.symbol}: {report.ticks:,} ticks, {_clock_text(report.first_ns)} to {_clock_text(report.last_ns)} UTC",
        f"  {report.same_instant:,} share a millisecond with the one before, {report.duplicates:,} repeat it exactly, "
        f"{report.crossed:,} are crossed, {report.disordered:,} out of order",
        f"  {report.silences:,} silences of an open market longer than {report.silent_s:g} s",
    ]
    lines += [
        f"    {_clock_text(one.from_ns)} to {_clock_text(one.to_ns)}, {one.open_s / 60:.0f} min" for one in report.longest
    ]
    if report.minutes_checked >= 0:
        lines.append(f"  {report.minutes_without_ticks:,} of {report.minutes_checked:,} minutes with a bar have no tick")
    return "\n".join(lines)


def _clock_text(ts_ns: int) -> str:
    return datetime.fromtimestamp(ts_ns // NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _folder(symbol: str) -> str:
    from libs.common.subjects import encode_token

    return encode_token(symbol)
