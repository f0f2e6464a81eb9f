"""What the report page shows, as plain values: nothing here knows how it is drawn."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from backtest.breakdown import Group
from backtest.result import Equity, Result
from backtest.row_sample import DriftTable
from backtest.trades import OpenTrade, Trade
from libs.common.messages.base import Floats, Ints
from libs.common.stats.calendar_returns import daily_returns, trading_days_per_year
from libs.common.stats.drawdown import underwater_pct
from libs.common.stats.performance import sharpe
from libs.common.stats.trade_order import PERCENTILES, TradeOrderRisk

NS_PER_S = 1_000_000_000
MOST_POINTS = 2_400
MOST_TRADES = 5_000
MOST_DRIFT_ROWS = 24
ROLLING_DAYS = 20
LEAST_ROLLING_DAYS = 5
BINS = 41
_EDGES_PCT = (1.0, 99.0)


class RunFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was, beside its result.

    Parameters
    ----------
    title : who decided: a strategy or a model
    made_at : when, ISO 8601
    source : what the ticks were read from
    config : the configuration as text
    notes : sentences a reader must know
    """

    title: str
    made_at: str
    source: str
    code_version: str
    source_sha256: str
    config: str
    notes: tuple[str, ...] = ()


def page_of(result: Result, facts: RunFacts) -> dict[str, Any]:
    """Return everything the report page shows.

    Times are seconds since 1970 UTC; money is account currency.
    """
    summary = msgspec.to_builtins(result.summary)
    return {
        "kind": "run",
        "facts": {
            **msgspec.to_builtins(facts), "symbols": list(result.tape.symbols), "currency": result.currency,
            "from": seconds(result.tape.first_ns), "to": seconds(result.tape.last_ns), "ticks": result.ticks,
            "rows": result.rows, "data_sha256": result.data_sha256, "start_ccy": result.start_ccy,
            "final_ccy": float(result.equity.equity[-1]),
        },
        "summary": summary,
        "equity": curve(result.equity),
        "halts": [[seconds(ts_ns), reason, detail] for ts_ns, reason, detail in result.halts],
        "candles": [_candles(result, symbol) for symbol in result.tape.symbols],
        "trades": trade_columns(result.trades),
        "open": [_open_row(held) for held in result.still_open],
        "months": summary["months"],
        "distribution": distribution([trade.net_ccy for trade in result.trades]),
        "rolling": rolling_sharpe(result.equity),
        "clock": weekday_hours(result.trades),
        "order": trade_order(result.summary.trade_order),
        "costs": msgspec.to_builtins(result.costs),
        "refusals": msgspec.to_builtins(result.refusals),
        "groups": {kind: [_group(group) for group in groups] for kind, groups in result.groups.items()},
        "drift": [_drift(symbol, table) for symbol, table in result.drift.items() if table.names],
        "counts": result.counts,
        "feeds": msgspec.to_builtins(result.feeds),
        "kept_back": result.kept_back,
        "gap": _gap(result),
    }  # fmt: skip


def seconds(ts_ns: int) -> int:
    """Return whole seconds since 1970."""
    return ts_ns // NS_PER_S


def curve(equity: Equity, most: int = MOST_POINTS) -> dict[str, list[float]]:
    """Return the account over time with few enough points to draw: of every stretch its first, last, lowest and highest.

    Parameters
    ----------
    most : points at most, about
    """
    below = underwater_pct(equity.equity) if equity.equity[0] > 0.0 else np.zeros(len(equity.equity))
    kept = thinned(equity.equity, most)
    return {
        "t": (equity.time_ns[kept] // NS_PER_S).tolist(),
        "equity": np.round(equity.equity[kept], 2).tolist(),
        "balance": np.round(equity.balance[kept], 2).tolist(),
        "drawdown": np.round(below[kept], 3).tolist(),
    }


def thinned(values: Floats, most: int) -> Ints:
    """Return the places of values that keep a curve's look, rising: about ``most`` of them, or all where they are few.

    >>> thinned(np.array([1.0, 5.0, 2.0, 3.0, 0.0, 4.0, 1.0, 1.0]), 4).tolist()
    [0, 1, 4, 7]
    """
    count = len(values)
    if count <= most:
        return np.arange(count, dtype=np.int64)
    edges = np.linspace(0, count, max(most // 4, 1) + 1).astype(np.int64)
    kept = {0, count - 1}
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = values[start:stop]
        kept |= {start, stop - 1, start + int(part.argmin()), start + int(part.argmax())}
    return np.array(sorted(kept), dtype=np.int64)


def trade_columns(trades: Sequence[Trade], most: int = MOST_TRADES) -> dict[str, Any]:
    """Return trades as columns for the page; of too many those with the largest gains and losses, in order of time."""
    shown = list(trades)
    if len(shown) > most:
        by_size = sorted(range(len(shown)), key=lambda k: -abs(shown[k].net_ccy))[:most]
        shown = [trades[k] for k in sorted(by_size)]
    return {
        "all": len(trades),
        "symbol": [t.symbol for t in shown],
        "side": [t.side.sign for t in shown],
        "lots": [t.volume_lots for t in shown],
        "opened": [t.opened_ns / NS_PER_S for t in shown],
        "closed": [t.closed_ns / NS_PER_S for t in shown],
        "open": [t.price_open for t in shown],
        "close": [t.price_close for t in shown],
        "sl": [t.sl for t in shown],
        "tp": [t.tp for t in shown],
        "net": [round(t.net_ccy, 2) for t in shown],
        "cost": [round(t.spread_ccy + t.slippage_ccy + t.commission_ccy + t.swap_ccy, 2) for t in shown],
        "mae": [t.mae_points for t in shown],
        "mfe": [t.mfe_points for t in shown],
        "reason": [t.reason for t in shown],
        "model": [t.model for t in shown],
        "session": [t.session for t in shown],
        "regime": [t.regime for t in shown],
    }


def distribution(net_ccy: Sequence[float], bins: int = BINS) -> dict[str, list[float]]:
    """Return a histogram of trade results; what lies far outside is counted in the outermost bins.

    Returns
    -------
    ``edges`` (bins + 1) and ``counts`` (bins); both empty without trades.
    """
    values = np.array(net_ccy, dtype=np.float64)
    if not len(values):
        return {"edges": [], "counts": []}
    low, high = np.percentile(values, _EDGES_PCT).tolist()
    if not high > low:
        low, high = low - 0.5, high + 0.5
    # Zero is an edge, so that no bin holds gains and losses.
    width = (high - low) / bins
    first = np.floor(low / width)
    edges = (first + np.arange(int(np.ceil(high / width) - first) + 1)) * width
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), bins=edges)
    return {"edges": np.round(edges, 6).tolist(), "counts": counts.tolist()}


def rolling_sharpe(equity: Equity, days: int = ROLLING_DAYS) -> dict[str, Any]:
    """Return the annualised Sharpe ratio of the last so many trading days, day by day."""
    alive = equity.equity > 0.0
    numbers, returns = daily_returns(equity.time_ns[alive], equity.equity[alive])
    window = min(days, max(len(returns) // 3, LEAST_ROLLING_DAYS))
    per_year = trading_days_per_year(numbers)
    times, ratios = [], []
    for end in range(window, len(returns) + 1):
        times.append(int(numbers[end - 1]) * 86_400)
        ratios.append(_rounded(sharpe(returns[end - window : end], per_year)))
    return {"days": window, "t": times, "sharpe": ratios}


def weekday_hours(trades: Iterable[Trade]) -> list[list[Any]]:
    """Return [weekday (Monday 0), hour, trades, net] of every hour of the week (UTC) in which trades were opened."""
    cells: dict[tuple[int, int], list[float]] = {}
    for trade in trades:
        moment = datetime.fromtimestamp(trade.opened_ns // NS_PER_S, UTC)
        cells.setdefault((moment.weekday(), moment.hour), []).append(trade.net_ccy)
    return [[day, hour, len(net), round(sum(net), 2)] for (day, hour), net in sorted(cells.items())]


def trade_order(risk: TradeOrderRisk | None) -> dict[str, Any] | None:
    """Return the Monte Carlo over orders of the trades for the page."""
    if risk is None:
        return None
    return {"percentiles": list(PERCENTILES), **msgspec.to_builtins(risk)}


def _candles(result: Result, symbol: str) -> dict[str, Any]:
    table = result.tape.candles(symbol)
    digits = result.tape.digits(symbol)
    scale = 10**digits
    columns = {
        name: np.rint(getattr(table, name) * scale).astype(np.int64) for name in ("open", "high", "low", "close")
    }
    first = columns["close"]
    # Whole points, each as the distance from the close before it, so that the page stays small.
    base = np.concatenate((first[:1], first[:-1])) if len(first) else first
    return {
        "symbol": symbol, "digits": digits, "step": table.step_s, "t": _steps(table.open_ns, table.step_s),
        "start": seconds(int(table.open_ns[0])) if len(first) else 0, "first": int(first[0]) if len(first) else 0,
        **{name: (column - base).tolist() for name, column in columns.items()},
    }  # fmt: skip


def _steps(open_ns: Ints, step_s: int) -> list[int]:
    """Return the distance of every candle from the one before it, in candles."""
    steps: list[int] = np.diff(open_ns // NS_PER_S // step_s, prepend=open_ns[:1] // NS_PER_S // step_s).tolist()
    return steps


def _open_row(held: OpenTrade) -> dict[str, Any]:
    return {**msgspec.to_builtins(held), "opened": seconds(held.opened_ns), "net_ccy": held.net_ccy}


def _group(group: Group) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(group)
    return plain


def _drift(symbol: str, table: DriftTable) -> dict[str, Any]:
    return {
        "symbol": symbol, "features": list(table.names[:MOST_DRIFT_ROWS]), "all": len(table.names),
        "parts": (table.part_ns // NS_PER_S).tolist(), "psi": np.round(table.moved[:MOST_DRIFT_ROWS], 4).tolist(),
    }  # fmt: skip


def _gap(result: Result) -> list[Any] | None:
    gap = result.tape.longest_gap
    return None if gap is None else [gap.symbol, seconds(gap.from_ns), seconds(gap.to_ns), gap.open_ns / 3.6e12]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
