"""What a client sees of the terminal while something about the terminal itself is wrong.

The server's truth is untouched: questions are translated on their way in and answers on their way out.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from libs.common.mt5.results import Tick
from libs.common.mt5.sim.faults import (
    ClockJump,
    Condition,
    FrozenFeed,
    HistoryLate,
    HistoryShuffled,
    NotFound,
    SymbolRenamed,
)

_HISTORY = ("history_orders_get", "history_deals_get")
_HIDES = ("orders_get", "positions_get", *_HISTORY)
_DATES = {
    "history_orders_get": (0, 1), "history_deals_get": (0, 1), "copy_ticks_from": (1,), "copy_ticks_range": (1, 2),
    "copy_rates_from": (2,), "copy_rates_range": (2, 3),
}  # fmt: skip
"""Where a question names times of the server's clock."""
TOTALS = {
    "orders_total": "orders_get", "positions_total": "positions_get", "history_orders_total": "history_orders_get",
    "history_deals_total": "history_deals_get",
}  # fmt: skip
"""Counts, and the question whose answer they count."""
_RENAMED = "\N{REPLACEMENT CHARACTER}renamed"
Frozen = Mapping[str, Tick]


def asked(conditions: Iterable[Condition], function: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the positional arguments as the server without the conditions would have been given them."""
    found = list(arguments)
    for condition in conditions:
        if isinstance(condition, ClockJump):
            for place in _DATES.get(function, ()):
                if place < len(found):
                    found[place] = _shifted(found[place], -condition.by_s)
        if isinstance(condition, SymbolRenamed):
            found = [true_symbol(condition, value) for value in found]
    return tuple(found)


def requested(conditions: Iterable[Condition], named: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trade request, or named arguments, as the server would have been given them."""
    found = dict(named)
    for condition in conditions:
        if isinstance(condition, ClockJump) and found.get("expiration"):
            found["expiration"] -= condition.by_s
        if isinstance(condition, SymbolRenamed) and "symbol" in found:
            found["symbol"] = true_symbol(condition, found["symbol"])
    return found


def seen(
    conditions: Iterable[Condition], frozen: Frozen, clock_msc: int, function: str, symbol: Any, answer: Any
) -> Any:
    """Return an answer as the client sees it.

    Parameters
    ----------
    conditions : in force
    frozen : the ticks of the moment the feed froze, by symbol
    clock_msc : the server's clock, ms
    symbol : the first argument of the question, the server's name of it
    answer : a record, a tuple of records, an array, or a plain value
    """
    for condition in conditions:
        if isinstance(condition, FrozenFeed):
            answer = _frozen(frozen, function, symbol, answer)
        elif isinstance(condition, HistoryLate) and function in _HISTORY:
            latest_msc = clock_msc - round(condition.by_s * 1_000)
            answer = tuple(record for record in answer or () if _done_msc(record) <= latest_msc)
        elif isinstance(condition, HistoryShuffled) and function in _HISTORY:
            answer = tuple(reversed(answer or ()))
        elif isinstance(condition, NotFound) and function in _HIDES:
            answer = tuple(r for r in answer or () if condition.magic not in (0, r.magic))
        elif isinstance(condition, SymbolRenamed):
            answer = _renamed(condition, answer)
        elif isinstance(condition, ClockJump):
            answer = _with_clock(condition.by_s, answer)
    return answer


def true_symbol(condition: SymbolRenamed, name: Any) -> Any:
    """Return the server's own name of a symbol; the old name stands for nothing any more."""
    if name == condition.to:
        return condition.symbol
    return _RENAMED if name == condition.symbol else name


def _done_msc(record: Any) -> int:
    return int(record.time_done_msc if hasattr(record, "time_done_msc") else record.time_msc)


def _shifted(seconds: Any, by_s: int) -> Any:
    return seconds + by_s if isinstance(seconds, int | float) else seconds


def _frozen(frozen: Frozen, function: str, symbol: Any, answer: Any) -> Any:
    tick = frozen.get(symbol)
    if function == "symbol_info_tick":
        return tick if tick is not None and answer is not None else answer
    if function in ("symbol_info", "symbols_get"):
        return _each(answer, lambda record: _quote_frozen(frozen.get(record.name), record))
    if tick is not None and isinstance(answer, np.ndarray) and answer.dtype.names:
        return answer[answer["time"] <= tick.time]
    return answer


def _quote_frozen(tick: Tick | None, record: Any) -> Any:
    return record if tick is None else record._replace(bid=tick.bid, ask=tick.ask, last=tick.last, time=tick.time)


def _renamed(condition: SymbolRenamed, answer: Any) -> Any:
    def rename(record: Any) -> Any:
        for field in ("symbol", "name"):
            if getattr(record, field, None) == condition.symbol:
                record = record._replace(**{field: condition.to})
        inner = getattr(record, "request", None)
        return record if inner is None else record._replace(request=rename(inner))

    return _each(answer, rename)


def _with_clock(by_s: int, answer: Any) -> Any:
    if isinstance(answer, np.ndarray) and answer.dtype.names:
        moved = answer.copy()
        for field, step in (("time", by_s), ("time_msc", by_s * 1_000)):
            if field in (moved.dtype.names or ()):
                moved[field] += step
        return moved

    def move(record: Any) -> Any:
        times = {
            field: getattr(record, field) + by_s * (1_000 if field.endswith("_msc") else 1)
            for field in record._fields if field.startswith("time") and getattr(record, field)
        }  # fmt: skip
        return record._replace(**times)

    return _each(answer, move)


def _each(answer: Any, change: Any) -> Any:
    """Apply a change to a record or to each record of a tuple; leave anything else alone."""
    if hasattr(answer, "_replace"):
        return change(answer)
    if isinstance(answer, tuple):
        return tuple(change(item) if hasattr(item, "_replace") else item for item in answer)
    return answer
