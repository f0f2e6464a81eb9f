"""The questions that were put to the real package without a terminal, in their order; answers are in tests/golden."""

import datetime
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Probe = tuple[str, Callable[[], Any]]
UTC = datetime.UTC
DAY = datetime.datetime(2024, 1, 2, tzinfo=UTC)
REQUEST: dict[str, Any] = {
    "action": 1, "symbol": "E", "volume": 0.1, "type": 0, "price": 1.1, "sl": 0.0, "tp": 0.0, "deviation": 10, "magic": 1,
    "comment": "c", "type_time": 0, "type_filling": 1,
}
SECONDS = 1_704_153_600
FIELD_VALUES: dict[str, tuple[Any, ...]] = {
    "action": ("1", 1.0, -1, None, True, np.int64(1)),
    "magic": (-1, 2**64 - 1, 2**64, 1.0, "x"),
    "symbol": (5, None, "x" * 29, "x" * 30, ""),
    "volume": (1, "0.1", np.float64(0.1), np.float32(0.1), None, float("nan")),
    "price": (1, None, np.float64(1.1)),
    "sl": (0, None, 1.0),
    "tp": (0,),
    "stoplimit": (0,),
    "deviation": (-1, 1.0, "1", 10),
    "type": (-1, "0", 99),
    "type_filling": (None, 5, 1.0),
    "type_time": (None, 0.0),
    "expiration": (DAY, SECONDS, float(SECONDS), -1, 2**40),
    "comment": (5, None, "x" * 28, "x" * 29, "x" * 30, "x" * 31, "é" * 29, "\U0001f600" * 14, "\U0001f600" * 15),
    "position": (-1, "1", 1.0, None, 5),
    "position_by": (0, "1"),
    "order": (1.0, 5),
}


def probes(m: Any) -> Iterator[Probe]:
    """Yield (label, call) for a module or object ``m`` with the package's functions."""
    yield from _connection(m)
    yield from _symbols(m)
    yield from _copies(m)
    yield from _books(m)
    yield from _calculators(m)
    for name in ("order_send", "order_check"):
        yield from _requests(getattr(m, name), name)
    yield 'Buy("E",0.1,1.1)', lambda: m.Buy("E", 0.1, 1.1)
    yield 'Buy("E",0.1)', lambda: m.Buy("E", 0.1)
    yield 'Close("E")', lambda: m.Close("E")


def _connection(m: Any) -> Iterator[Probe]:
    yield "shutdown()", m.shutdown
    yield "version()", m.version
    yield "terminal_info()", m.terminal_info
    yield "account_info()", m.account_info
    yield "version(1)", lambda: m.version(1)
    yield "login()", m.login
    yield "login(1)", lambda: m.login(1)
    yield 'login("1")', lambda: m.login("1")
    yield 'login(login=1,password="p",server="s")', lambda: m.login(login=1, password="p", server="s")
    yield "login(-1)", lambda: m.login(-1)
    yield 'login(1,"p","s")', lambda: m.login(1, "p", "s")
    yield "login(1,2)", lambda: m.login(1, 2)
    yield "login(1,timeout=-5)", lambda: m.login(1, timeout=-5)
    yield 'login(1,timeout="x")', lambda: m.login(1, timeout="x")
    yield "login(1,bogus=3)", lambda: m.login(1, bogus=3)


def _symbols(m: Any) -> Iterator[Probe]:
    yield "symbols_total()", m.symbols_total
    yield "symbols_get()", m.symbols_get
    yield 'symbols_get("*")', lambda: m.symbols_get("*")
    yield 'symbols_get(group="*")', lambda: m.symbols_get(group="*")
    yield "symbols_get(5)", lambda: m.symbols_get(5)
    yield "symbols_get(group=5)", lambda: m.symbols_get(group=5)
    yield 'symbols_get("a","b")', lambda: m.symbols_get("a", "b")
    for name in ("symbol_info", "symbol_info_tick", "market_book_add", "market_book_get", "market_book_release"):
        ask = getattr(m, name)
        yield f'{name}("EURUSD")', lambda ask=ask: ask("EURUSD")
        yield f"{name}()", lambda ask=ask: ask()
        yield f"{name}(5)", lambda ask=ask: ask(5)
        yield f'{name}("x"*29)', lambda ask=ask: ask("x" * 29)
        yield f'{name}("x"*30)', lambda ask=ask: ask("x" * 30)
        yield f'{name}(symbol="EURUSD")', lambda ask=ask: ask(symbol="EURUSD")
    yield 'symbol_select("E")', lambda: m.symbol_select("E")
    yield 'symbol_select("E",True)', lambda: m.symbol_select("E", True)
    yield 'symbol_select("E",1)', lambda: m.symbol_select("E", 1)
    yield 'symbol_select("E","x")', lambda: m.symbol_select("E", "x")
    yield 'symbol_select("E",enable=True)', lambda: m.symbol_select("E", enable=True)
    yield "symbol_select(1,True)", lambda: m.symbol_select(1, True)


def _copies(m: Any) -> Iterator[Probe]:
    by_position = m.copy_rates_from_pos
    yield "copy_rates_from_pos ok", lambda: by_position("E", m.TIMEFRAME_M1, 0, 10)
    yield "copy_rates_from_pos 3 args", lambda: by_position("E", m.TIMEFRAME_M1, 0)
    yield "copy_rates_from_pos count float", lambda: by_position("E", m.TIMEFRAME_M1, 0, 10.0)
    yield "copy_rates_from_pos count np.int64", lambda: by_position("E", m.TIMEFRAME_M1, 0, np.int64(10))
    yield "copy_rates_from_pos kw", lambda: by_position(symbol="E", timeframe=1, start_pos=0, count=1)
    dates = {
        "dt": DAY, "int": SECONDS, "float": SECONDS + 0.5, "np.int64": np.int64(SECONDS), "date": DAY.date(),
        "str": "2024", "int 2**31": 2**31, "int 2**40": 2**40, "dt 2039": datetime.datetime(2039, 1, 1, tzinfo=UTC),
        "dt 1960 naive": datetime.datetime(1960, 1, 1),  # noqa: DTZ001 - the question is what a naive one does
    }
    for label, date in dates.items():
        yield f"copy_rates_from {label}", lambda date=date: m.copy_rates_from("E", 1, date, 10)
    yield "copy_rates_range", lambda: m.copy_rates_range("E", 1, DAY, DAY)
    yield "copy_rates_range 3", lambda: m.copy_rates_range("E", 1, DAY)
    yield "copy_ticks_from", lambda: m.copy_ticks_from("E", DAY, 10, m.COPY_TICKS_ALL)
    yield "copy_ticks_from pd-like", lambda: m.copy_ticks_from("E", np.datetime64("2024-01-01"), 10, m.COPY_TICKS_ALL)
    yield "copy_ticks_range", lambda: m.copy_ticks_range("E", DAY, DAY, m.COPY_TICKS_ALL)


def _books(m: Any) -> Iterator[Probe]:
    for name in ("orders_total", "positions_total"):
        ask = getattr(m, name)
        yield f"{name}()", lambda ask=ask: ask()
        yield f"{name}(1)", lambda ask=ask: ask(1)
    for name in ("orders_get", "positions_get"):
        ask = getattr(m, name)
        yield f"{name}()", lambda ask=ask: ask()
        yield f'{name}("E")', lambda ask=ask: ask("E")
        for label, named in (
            ('symbol="E"', {"symbol": "E"}), ("symbol=5", {"symbol": 5}), ("symbol=None", {"symbol": None}),
            ("ticket=5", {"ticket": 5}), ('ticket="5"', {"ticket": "5"}), ("ticket=-5", {"ticket": -5}),
            ("ticket=5.0", {"ticket": 5.0}), ("ticket=None", {"ticket": None}), ('group="*"', {"group": "*"}),
            ("magic=1", {"magic": 1}), ('ticket="x",symbol="E"', {"ticket": "x", "symbol": "E"}),
        ):  # fmt: skip
            yield f"{name}({label})", lambda ask=ask, named=named: ask(**named)
    for name in ("history_orders_total", "history_deals_total"):
        ask = getattr(m, name)
        yield f"{name}(D,D)", lambda ask=ask: ask(DAY, DAY)
        yield f"{name}()", lambda ask=ask: ask()
        yield f'{name}(1,"x")', lambda ask=ask: ask(1, "x")
        yield f"{name} kw", lambda ask=ask: ask(date_from=DAY, date_to=DAY)
    for name in ("history_orders_get", "history_deals_get"):
        yield from _history(getattr(m, name), name)


def _history(ask: Callable[..., Any], name: str) -> Iterator[Probe]:
    yield f"{name}(D,D)", lambda: ask(DAY, DAY)
    yield f'{name}(D,D,group="*")', lambda: ask(DAY, DAY, group="*")
    yield f'{name}(D,D,"*")', lambda: ask(DAY, DAY, "*")
    yield f"{name}()", ask
    yield f"{name}(D)", lambda: ask(DAY)
    yield f"{name}(ticket=1)", lambda: ask(ticket=1)
    yield f"{name}(position=1)", lambda: ask(position=1)
    yield f"{name}(D,D,ticket=1)", lambda: ask(DAY, DAY, ticket=1)
    yield f"{name}(D,D,position=1)", lambda: ask(DAY, DAY, position=1)
    yield f"{name}(D,ticket=1)", lambda: ask(DAY, ticket=1)
    yield f'{name}(group="*")', lambda: ask(group="*")
    yield f'{name}(ticket="1")', lambda: ask(ticket="1")
    yield f"{name}(date_from=D,date_to=D)", lambda: ask(date_from=DAY, date_to=DAY)


def _calculators(m: Any) -> Iterator[Probe]:
    yield "order_calc_margin", lambda: m.order_calc_margin(0, "E", 1.0, 1.1)
    yield "order_calc_margin ints", lambda: m.order_calc_margin(0, "E", 1, 1)
    yield "order_calc_margin 3", lambda: m.order_calc_margin(0, "E", 1.0)
    yield "order_calc_margin str", lambda: m.order_calc_margin(0, "E", "1", 1.1)
    yield "order_calc_profit", lambda: m.order_calc_profit(0, "E", 1.0, 1.1, 1.2)


def _requests(ask: Callable[..., Any], name: str) -> Iterator[Probe]:
    yield f"{name} ok", lambda: ask(REQUEST)
    yield f"{name}()", ask
    yield f"{name}(**R)", lambda: ask(**REQUEST)
    yield f"{name}(R,x=1)", lambda: ask(REQUEST, x=1)
    yield f"{name}([])", lambda: ask([])
    yield f"{name}({{}})", lambda: ask({})
    yield f"{name}(R,R)", lambda: ask(REQUEST, REQUEST)
    yield f"{name}(unknown key)", lambda: ask({**REQUEST, "foo": 1})
    for field, values in FIELD_VALUES.items():
        if name == "order_check" and field not in ("volume", "comment"):
            continue
        for value in values:
            yield f"{name} {field}", lambda field=field, value=value: ask({**REQUEST, field: value})
