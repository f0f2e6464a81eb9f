"""Two runs side by side: figures with their differences, both equity curves, and the trades that differ."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from backtest.report import MOST_POINTS, NS_PER_S, thinned
from libs.common.messages.base import Floats, Ints

MOST_SHOWN = 200
_SAME_CCY = 0.005
_SAME_LOTS = 1e-9

Columns = Mapping[str, Sequence[Any]]


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two runs, as its folder tells it.

    Parameters
    ----------
    name : of its folder
    metrics : content of ``metrics.json``
    trades, equity : columns of ``trades.parquet`` and ``equity.parquet``
    """

    name: str
    folder: str
    metrics: dict[str, Any]
    trades: Columns
    equity: Columns


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of both runs.

    Parameters
    ----------
    unit : ``%``, ``count``, a currency, or empty
    difference : B minus A; ``None`` where one of them does not exist
    better : +1 where more is better, -1 where less is, 0 where neither
    """

    name: str
    unit: str
    a: float | None
    b: float | None
    difference: float | None
    better: int


_FIGURES: tuple[tuple[str, tuple[str, ...], str, int], ...] = (
    ("net result", ("costs", "net_ccy"), "ccy", 1),
    ("return", ("summary", "return_pct"), "%", 1),
    ("a year (CAGR)", ("summary", "cagr_pct"), "%", 1),
    ("deepest drawdown", ("summary", "max_drawdown_pct"), "%", -1),
    ("Sharpe", ("summary", "sharpe"), "", 1),
    ("Sortino", ("summary", "sortino"), "", 1),
    ("Calmar", ("summary", "calmar"), "", 1),
    ("p value of the Sharpe ratio", ("summary", "sharpe_p"), "", -1),
    ("profit factor", ("summary", "trades", "profit_factor"), "", 1),
    ("expectancy", ("summary", "trades", "expectancy_ccy"), "ccy", 1),
    ("won, share", ("summary", "trades", "win_rate"), "", 1),
    ("trades", ("summary", "trades", "trades"), "count", 0),
    ("time in the market, share", ("summary", "exposure_share"), "", 0),
    ("spread", ("costs", "spread_ccy"), "ccy", 1),
    ("slippage", ("costs", "slippage_ccy"), "ccy", 1),
    ("commission", ("costs", "commission_ccy"), "ccy", 1),
    ("swap", ("costs", "swap_ccy"), "ccy", 1),
    ("refused", ("refused",), "count", 0),
    ("ticks", ("ticks",), "count", 0),
)


class Pairing(msgspec.Struct, frozen=True, kw_only=True):
    """How the trades of two runs belong together; numbers are places in each run's list.

    Parameters
    ----------
    only_a, only_b : opened in one run alone
    changed : opened alike, but with another volume, closing or result
    same : how many are alike
    """

    only_a: tuple[int, ...]
    only_b: tuple[int, ...]
    changed: tuple[tuple[int, int], ...]
    same: int


def figures(a: Side, b: Side) -> tuple[Figure, ...]:
    """Return the figures of both runs."""
    found = []
    for name, path, unit, better in _FIGURES:
        left, right = _value(a.metrics, path), _value(b.metrics, path)
        found.append(Figure(
            name=name, unit=a.metrics["currency"] if unit == "ccy" else unit, a=left, b=right,
            difference=None if left is None or right is None else right - left, better=better,
        ))  # fmt: skip
    return tuple(found)


def pair_trades(a: Columns, b: Columns) -> Pairing:
    """Pair trades by symbol, side and instant of opening; parts of one position in order of closing."""
    waiting: dict[tuple[Any, ...], list[int]] = {}
    for k in range(len(b["symbol"])):
        waiting.setdefault(_opening(b, k), []).append(k)
    only_a, changed, same = [], [], 0
    for k in range(len(a["symbol"])):
        partners = waiting.get(_opening(a, k))
        if not partners:
            only_a.append(k)
            continue
        partner = partners.pop(0)
        if _alike(a, k, b, partner):
            same += 1
        else:
            changed.append((k, partner))
    only_b = sorted(k for left in waiting.values() for k in left)
    return Pairing(only_a=tuple(only_a), only_b=tuple(only_b), changed=tuple(changed), same=same)


def comparison(a: Side, b: Side) -> dict[str, Any]:
    """Return everything the comparison page shows."""
    pairing = pair_trades(a.trades, b.trades)
    return {
        "kind": "compare",
        "a": _head(a), "b": _head(b),
        "notes": _notes(a, b),
        "metrics": msgspec.to_builtins(figures(a, b)),
        "equity": _both_curves(a, b),
        "only_a": _listed([_row(a.trades, k) for k in pairing.only_a]),
        "only_b": _listed([_row(b.trades, k) for k in pairing.only_b]),
        "changed": _listed([(_row(a.trades, i), _row(b.trades, k)) for i, k in pairing.changed]),
        "same": pairing.same,
    }  # fmt: skip


def _notes(a: Side, b: Side) -> list[str]:
    """Return what makes two runs hard to compare."""
    notes = []
    if a.metrics["data_sha256"] != b.metrics["data_sha256"]:
        notes.append("The two runs saw different ticks.")
    if a.metrics["source_sha256"] != b.metrics["source_sha256"]:
        notes.append("The two runs were made by different versions of the code.")
    if a.metrics["currency"] != b.metrics["currency"]:
        notes.append("The two accounts are in different currencies.")
    return notes


def _value(metrics: Mapping[str, Any], path: tuple[str, ...]) -> float | None:
    if path == ("refused",):
        return float(sum(one["count"] for one in metrics["refusals"]))
    value: Any = metrics
    for key in path:
        value = value[key]
    return None if value is None else float(value)


def _opening(trades: Columns, k: int) -> tuple[Any, ...]:
    return trades["symbol"][k], trades["side"][k], trades["opened_ns"][k]


def _alike(a: Columns, i: int, b: Columns, k: int) -> bool:
    return bool(
        a["closed_ns"][i] == b["closed_ns"][k]
        and a["reason"][i] == b["reason"][k]
        and abs(a["volume_lots"][i] - b["volume_lots"][k]) <= _SAME_LOTS
        and abs(a["net_ccy"][i] - b["net_ccy"][k]) < _SAME_CCY
    )


def _head(side: Side) -> dict[str, Any]:
    return {"name": side.name, "folder": side.folder, "title": side.metrics["title"], "symbols": side.metrics["symbols"]}


def _row(trades: Columns, k: int) -> dict[str, Any]:
    return {
        "opened": trades["opened_ns"][k] // NS_PER_S, "symbol": trades["symbol"][k], "side": trades["side"][k],
        "lots": trades["volume_lots"][k], "open": trades["price_open"][k], "close": trades["price_close"][k],
        "reason": trades["reason"][k], "net": round(trades["net_ccy"][k], 2),
    }  # fmt: skip


def _listed(rows: Sequence[Any]) -> dict[str, Any]:
    return {"all": len(rows), "trades": list(rows[:MOST_SHOWN])}


def _both_curves(a: Side, b: Side) -> dict[str, list[Any]]:
    """Return both equity curves at the same instants, percent of each one's start; ``None`` before its first."""
    curves = [_percent(side.equity) for side in (a, b)]
    instants = np.union1d(curves[0][0], curves[1][0])
    columns = [_at(instants, *one) for one in curves]
    kept = np.union1d(*(thinned(np.nan_to_num(column), MOST_POINTS // 2) for column in columns))
    plain = [[None if np.isnan(value) else round(value, 4) for value in column[kept].tolist()] for column in columns]
    return {"t": (instants[kept] // NS_PER_S).tolist(), "a": plain[0], "b": plain[1]}


def _percent(equity: Columns) -> tuple[Ints, Floats]:
    values = np.array(equity["equity_ccy"], dtype=np.float64)
    return np.array(equity["time_ns"], dtype=np.int64), (values / values[0] - 1.0) * 100.0


def _at(instants: Ints, times: Ints, values: Floats) -> Floats:
    known = np.searchsorted(times, instants, side="right") - 1
    return np.where(known >= 0, values[np.maximum(known, 0)], np.nan)
