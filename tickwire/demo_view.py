"""The demo's face: a live table on a terminal, plain lines elsewhere, and the summary at the end."""

import time
from collections.abc import Sequence
from typing import Any

from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from libs.common.bus.streams import SERVICES
from tickwire.demo_counts import DemoCounts
from tickwire.flow import sequence_lags
from tickwire.tail_format import clock
from tickwire.tally import Summary

PLAIN_EVERY_S = 5.0
_DECISIONS = {"promoted": "green", "refused": "yellow", "rejected": "red", "shadowed": "default"}
_FIGURES = ("rows", "auc", "log_loss", "base_log_loss", "trades", "hit_rate", "net_pct")


class DemoView:
    """Shows the counts of a running demo.

    Parameters
    ----------
    counts : what is heard
    symbols : symbols of the run
    duration_s : planned real seconds of flow, 0 when nobody knows
    console : where to; a terminal gets a live table, anything else a line every five seconds
    """

    def __init__(self, counts: DemoCounts, symbols: Sequence[str], duration_s: float, console: Console) -> None:
        self._counts, self._symbols, self._duration_s, self._console = counts, tuple(symbols), duration_s, console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._phase = "starting"
        self._flow_began_s = time.monotonic()
        self._last_plain_s = 0.0
        self._last_line = ""
        self._last_rate = (time.monotonic(), 0, 0.0)

    def __enter__(self) -> "DemoView":
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._live is not None:
            self._live.__exit__(*error)

    def phase(self, text: str) -> None:
        """Say what is going on now."""
        if text == "flowing":
            self._flow_began_s = time.monotonic()
            self._last_rate = (time.monotonic(), self._counts.ticks_published, 0.0)
        if text != self._phase and self._live is None:
            self._console.print(Text(f"-- {text}"))
        self._phase = text

    def refresh(self) -> None:
        """Draw the present state (terminal), or print what is new (elsewhere)."""
        counts = self._counts
        rate = self._rate()
        if self._live is not None:
            counts.new_events.clear()
            self._live.update(self._picture(rate), refresh=True)
            return
        while counts.new_events:
            self._console.print(Text(f"   {counts.new_events.popleft()}"))
        line = plain_line(counts, rate)
        if time.monotonic() - self._last_plain_s >= PLAIN_EVERY_S and line != self._last_line and counts.feeds:
            self._last_plain_s, self._last_line = time.monotonic(), line
            self._console.print(Text(line))

    def _rate(self) -> float:
        at_s, ticks, rate = self._last_rate
        now_s, now_ticks = time.monotonic(), self._counts.ticks_published
        if now_s - at_s < 1.0:
            return rate
        rate = (now_ticks - ticks) / (now_s - at_s)
        self._last_rate = (now_s, now_ticks, rate)
        return rate

    def _picture(self, rate: float) -> Panel:
        counts = self._counts
        events = Text("\n".join(counts.events) or "nothing yet", style="bright_blue", no_wrap=True, overflow="ellipsis")
        body = Group(
            self._progress(),
            Columns([_flow_table(counts, rate), _trade_table(counts)], padding=(0, 4)),
            _lag_table(counts),
            Text("events", style="bold"),
            events,
        )
        title = f"tickwire demo: {', '.join(self._symbols)}: {self._phase}"
        return Panel(body, title=title, border_style="red" if counts.halted else "green")

    def _progress(self) -> Any:
        elapsed_s = time.monotonic() - self._flow_began_s if self._phase == "flowing" else 0.0
        if not self._duration_s:
            return Text(f"{elapsed_s:.0f} s", style="dim")
        return ProgressBar(total=self._duration_s, completed=min(elapsed_s, self._duration_s), width=60)


def plain_line(counts: DemoCounts, rate: float) -> str:
    """Return the state of a run as one line."""
    account = counts.account
    equity = "-" if account is None else f"{account.equity_ccy:.2f}"
    refused = ", ".join(f"{reason} {number}" for reason, number in counts.refusals.most_common(3))
    fills = counts.executions["OrderFilled"] + counts.executions["OrderPartiallyFilled"]
    return (
        f"{_market_time(counts)}  ticks {counts.ticks_published:,} ({rate:,.0f}/s), decisions "
        f"{counts.roots['features']:,}, predictions {counts.roots['predictions']:,}, "
        f"approved {counts.orders['OrderApproved']:,}, refused "
        f"{counts.orders['OrderRefused']:,}{f' ({refused})' if refused else ''}, fills {fills:,}, closed "
        f"{counts.executions['PositionClosed']:,}, equity {equity}"
    )


def _market_time(counts: DemoCounts) -> str:
    account = counts.account
    newest = max((status.last_tick_ns for status in counts.feeds.values()), default=0)
    return clock(max(newest, account.ts_event_ns if account is not None else 0))[:16]


def _flow_table(counts: DemoCounts, rate: float) -> Table:
    table = Table.grid(padding=(0, 2))
    rows = (
        ("market time", _market_time(counts)),
        ("ticks published", f"{counts.ticks_published:,}"),
        ("ticks per second", f"{rate:,.0f}"),
        ("seen by features", f"{counts.ticks_seen:,}"),
        ("decisions", f"{counts.roots['features']:,}"),
        ("predictions", f"{counts.roots['predictions']:,}"),
        ("kept back (bad ticks)", f"{sum(sum(feed.quarantined.values()) for feed in counts.feeds.values()):,}"),
    )
    for name, value in rows:
        table.add_row(name, Text(value, style="cyan", justify="right"))
    return table


def _trade_table(counts: DemoCounts) -> Table:
    table = Table.grid(padding=(0, 2))
    account = counts.account
    fills = counts.executions["OrderFilled"] + counts.executions["OrderPartiallyFilled"]
    table.add_row("orders approved", Text(f"{counts.orders['OrderApproved']:,}", style="green", justify="right"))
    table.add_row("orders refused", Text(f"{counts.orders['OrderRefused']:,}", style="yellow", justify="right"))
    for reason, number in counts.refusals.most_common(3):
        table.add_row(f"  {reason}", Text(f"{number:,}", style="dim", justify="right"))
    table.add_row("fills", Text(f"{fills:,}", style="green", justify="right"))
    table.add_row("positions closed", Text(f"{counts.executions['PositionClosed']:,}", justify="right"))
    if account is not None:
        peak = max(account.peak_equity_ccy, account.equity_ccy)
        drawdown = 100.0 * (peak - account.equity_ccy) / peak if peak > 0.0 else 0.0
        table.add_row("equity", Text(f"{account.equity_ccy:,.2f} {account.currency}", style="bold", justify="right"))
        table.add_row("drawdown", Text(f"{drawdown:.2f} %", justify="right"))
        table.add_row("open positions", Text(str(len(account.positions)), justify="right"))
    return table


def _lag_table(counts: DemoCounts) -> Table:
    lags = sequence_lags(counts.beats.latest)
    table = Table("service", "state", "messages behind", "loop lag", box=None, pad_edge=False)
    now_s = time.monotonic()
    for name in SERVICES:
        beat = counts.beats.latest.get(name)
        if beat is None:
            table.add_row(name, Text("starting", style="yellow"), "-", "-")
            continue
        silent_s = now_s - counts.beats.heard_s[name]
        state = Text("ready", style="green") if beat.ready else Text("joining", style="yellow")
        if silent_s > 3.0:
            state = Text(f"silent {silent_s:.0f} s", style="bold red")
        table.add_row(name, state, f"{sum(lags.get(name, {}).values()):,}", f"{beat.lag_ms:.1f} ms")
    return table


def summary_table(summary: Summary, problems: Sequence[str], wall_s: float) -> Group:
    """Return the end of a demo as something rich can print."""
    table = Table(title=f"tickwire demo, {wall_s:.0f} s", box=None, pad_edge=False, show_header=False)
    latency = summary.latency_us["tick_to_order"]
    p50, p99 = latency["p50"], latency["p99"]
    refused = ", ".join(f"{reason} {count}" for reason, count in summary.orders_refused.items()) or "none"
    rows = (
        ("ticks published", f"{summary.ticks_published:,}"),
        ("ticks seen by features", f"{summary.ticks_seen_by_features:,}"),
        ("sequence gaps", f"{summary.gaps_detected} found, {summary.gaps_filled} filled"),
        ("decisions, predictions", f"{summary.decisions:,}, {summary.predictions:,}"),
        ("orders approved", f"{summary.orders_approved:,}"),
        ("orders refused", refused),
        ("orders sent, filled", f"{summary.orders_sent:,}, {summary.orders_filled:,}"),
        ("orders unknown, duplicate", f"{summary.orders_unknown}, {summary.duplicate_orders}"),
        ("trades", f"{summary.trades:,}"),
        ("final equity", f"{summary.final_equity:,.2f}"),
        ("largest drawdown", f"{summary.max_drawdown_pct:.2f} %"),
        ("tick to order", "-" if p50 is None else f"p50 {p50 / 1000:.1f} ms, p99 {(p99 or 0.0) / 1000:.1f} ms"),
        ("orders sha256", summary.orders_sha256),
    )
    for name, value in rows:
        table.add_row(name, Text(value, overflow="fold"))
    parts: list[Any] = [table]
    if summary.models:
        parts.append(_models_table(summary.models))
    parts += [Text(f"FAILED: {problem}", style="bold red") for problem in problems]
    return Group(*parts)


def _models_table(events: Sequence[dict[str, Any]]) -> Table:
    table = Table("model", "version", "event", "out-of-fold figures", box=None, pad_edge=False)
    for event in events:
        if event["event"] not in _DECISIONS:
            continue  # what was trained is decided upon next; what was promoted is loaded next
        figures = " ".join(f"{name} {event['metrics'][name]:.4g}" for name in _FIGURES if name in event["metrics"])
        table.add_row(
            event["name"], str(event["version"]), Text(event["event"], style=_DECISIONS[event["event"]]),
            Text(figures, style="dim", no_wrap=True, overflow="ellipsis"),
        )
    return table
