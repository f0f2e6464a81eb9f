"""Cards about symbols, bars, ticks, depth and the two calculators."""

import datetime
from typing import Any

import numpy as np

from libs.common.mt5.cards.card import Bench, Deck, NotHere

symbols = Deck("symbols")
bars = Deck("bars")
ticks = Deck("ticks")
depth = Deck("depth")
calculators = Deck("calculators")

_RATES = [
    ("time", "<i8"), ("open", "<f8"), ("high", "<f8"), ("low", "<f8"), ("close", "<f8"), ("tick_volume", "<u8"),
    ("spread", "<i4"), ("real_volume", "<u8"),
]  # fmt: skip
_TICKS = [
    ("time", "<i8"), ("bid", "<f8"), ("ask", "<f8"), ("last", "<f8"), ("volume", "<u8"), ("time_msc", "<i8"),
    ("flags", "<u4"), ("volume_real", "<f8"),
]  # fmt: skip
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400
_NOPE = "NOPE.card"


# Symbols.


@symbols.card("symbols_total() and symbols_get()", "as many symbols as counted, no name twice")
def symbols_counted(bench: Bench) -> None:
    found = bench.mt5.symbols_get()
    bench.equal("number", len(found), bench.mt5.symbols_total())
    bench.equal("different names", len({symbol.name for symbol in found}), len(found))


@symbols.card("symbols_get(group=) with the first letters and *, in lower case", "exactly the symbols that begin so")
def group_wildcard(bench: Bench) -> None:
    start = bench.symbol[:3]
    found = [symbol.name for symbol in bench.mt5.symbols_get(group=f"{start.lower()}*")]
    wanted = [s.name for s in bench.mt5.symbols_get() if s.name.lower().startswith(start.lower())]
    bench.equal("names", sorted(found), sorted(wanted))
    bench.true(f"{bench.symbol} among them", bench.symbol in found)


@symbols.card("symbols_get(group='*,!SYMBOL')", "all but the one: masks apply in their order")
def group_exclusion(bench: Bench) -> None:
    found = [symbol.name for symbol in bench.mt5.symbols_get(group=f"*,!{bench.symbol}")]
    bench.equal("names", sorted([*found, bench.symbol]), sorted(s.name for s in bench.mt5.symbols_get()))


@symbols.card("symbols_get(group=) that nothing matches", "()")
def group_of_nothing(bench: Bench) -> None:
    bench.equal("answer", bench.mt5.symbols_get(group=_NOPE), ())


@symbols.card("symbol_info() of an unknown symbol", "None, -4 Terminal: Not found")
def symbol_unknown(bench: Bench) -> None:
    bench.equal("answer", bench.mt5.symbol_info(_NOPE), None)
    bench.equal("last_error()", bench.mt5.last_error(), (-4, "Terminal: Not found"))


@symbols.card("symbol_info_tick() of an unknown symbol", "None")
def tick_unknown(bench: Bench) -> None:
    bench.equal("answer", bench.mt5.symbol_info_tick(_NOPE), None)
    bench.true("an error", bench.mt5.last_error()[0] < 0)


@symbols.card("symbol_select() of an unknown symbol", "False")
def select_unknown(bench: Bench) -> None:
    bench.true("False", bench.mt5.symbol_select(_NOPE, True) is False)
    bench.true("an error", bench.mt5.last_error()[0] < 0)


@symbols.card("symbol_select(), then symbol_info()", "select and visible are set")
def select_shows(bench: Bench) -> None:
    info = bench.info
    bench.true("selected and visible", info.select and info.visible)


@symbols.card("symbol_info(): digits, point, tick size", "point = 10 ** -digits, tick size a positive number of points")
def point_and_digits(bench: Bench) -> None:
    info = bench.info
    bench.near("point", info.point, 10.0**-info.digits, 1e-12)
    steps = info.trade_tick_size / info.point
    bench.true("tick size is whole points", steps > 0.5 and abs(steps - round(steps)) < 1e-6)


@symbols.card("symbol_info(): spread", "the distance of bid and ask in points")
def spread_in_points(bench: Bench) -> None:
    info = bench.info
    bench.near("spread", info.spread, (info.ask - info.bid) / info.point, 1e-3)


@symbols.card("symbol_info(): volumes", "0 < step, min <= max, min a number of steps")
def volume_limits(bench: Bench) -> None:
    info = bench.info
    bench.true("0 < step and min <= max", info.volume_step > 0 and 0 < info.volume_min <= info.volume_max)
    steps = info.volume_min / info.volume_step
    bench.near("min in steps", steps, round(steps), 1e-6)


@symbols.card("symbol_info_tick() and symbol_info()", "the same quote, or a later one")
def tick_is_the_quote(bench: Bench) -> None:
    before, info, after = bench.tick, bench.info, bench.tick
    bench.true("info between two ticks", before.time <= info.time <= after.time)
    if before.time_msc == after.time_msc:
        bench.equal("bid and ask", (info.bid, info.ask), (before.bid, before.ask))


@symbols.card("symbol_info_tick(): time and time_msc", "the same moment, seconds and milliseconds")
def tick_times(bench: Bench) -> None:
    tick = bench.tick
    bench.equal("time", tick.time, tick.time_msc // 1_000)
    bench.true("0 < bid <= ask", 0 < tick.bid <= tick.ask)


# Bars.


@bars.card("copy_rates_from_pos: dtype", "8 columns, packed, 60 bytes a row")
def rates_dtype(bench: Bench) -> None:
    rates = bench.bars(bench.mt5.TIMEFRAME_M1, 3)
    bench.equal("dtype", rates.dtype.descr, _RATES)
    bench.equal("bytes a row", rates.dtype.itemsize, 60)


@bars.card("copy_rates_from_pos(symbol, M1, 0, 50)", "50 bars, oldest first, the last one still forming")
def rates_from_position(bench: Bench) -> None:
    rates = bench.bars(bench.mt5.TIMEFRAME_M1, 50)
    bench.equal("number", len(rates), 50)
    bench.true("times rise", bool((np.diff(rates["time"]) >= _MINUTE_S).all()))
    bench.true("the last holds the newest tick", int(rates["time"][-1]) > bench.tick.time - 2 * _MINUTE_S)


@bars.card("copy_rates_from_pos at positions 0 and 1", "position counts back from the forming bar")
def rates_positions(bench: Bench) -> None:
    older, newer = bench.bars(bench.mt5.TIMEFRAME_H1, 4, 1), bench.bars(bench.mt5.TIMEFRAME_H1, 5, 0)
    bench.equal("shifted by one", older["time"].tolist(), newer["time"][:4].tolist())


@bars.card("open, high, low, close, tick_volume", "low <= open, close <= high; at least one tick")
def rates_are_bars(bench: Bench) -> None:
    rates = bench.bars(bench.mt5.TIMEFRAME_M5, 30)
    low, high = np.minimum(rates["open"], rates["close"]), np.maximum(rates["open"], rates["close"])
    bench.true("low <= open, close <= high", bool(((rates["low"] <= low) & (high <= rates["high"])).all()))
    bench.true("ticks and spread", bool((rates["tick_volume"] >= 1).all() and (rates["spread"] >= 0).all()))


@bars.card("copy_rates_from(symbol, M1, date, 5)", "5 bars, the last opened at or before the date")
def rates_from_date(bench: Bench) -> None:
    known = bench.bars(bench.mt5.TIMEFRAME_M1, 20)
    date = int(known["time"][9]) + 30
    found = bench.mt5.copy_rates_from(bench.symbol, bench.mt5.TIMEFRAME_M1, date, 5)
    bench.equal("times", found["time"].tolist(), known["time"][5:10].tolist())


@bars.card("copy_rates_range(symbol, M1, open of a bar, open of a later one)", "both ends are included")
def rates_range(bench: Bench) -> None:
    known = bench.bars(bench.mt5.TIMEFRAME_M1, 20)
    start, end = int(known["time"][4]), int(known["time"][12])
    found = bench.mt5.copy_rates_range(bench.symbol, bench.mt5.TIMEFRAME_M1, start, end)
    bench.equal("times", found["time"].tolist(), known["time"][4:13].tolist())


@bars.card("copy_rates_range with aware datetimes and with seconds", "the same bars")
def rates_dates(bench: Bench) -> None:
    known = bench.bars(bench.mt5.TIMEFRAME_M1, 10)
    ends = [int(known["time"][2]), int(known["time"][6])]
    moments = [datetime.datetime.fromtimestamp(end, datetime.UTC) for end in ends]
    by_seconds = bench.mt5.copy_rates_range(bench.symbol, bench.mt5.TIMEFRAME_M1, *ends)
    by_moments = bench.mt5.copy_rates_range(bench.symbol, bench.mt5.TIMEFRAME_M1, *moments)
    bench.equal("bars", by_moments.tolist(), by_seconds.tolist())


@bars.card("copy_rates_from_pos with count=np.int64(3)", "3 bars: what has __index__ is a count")
def rates_numpy_count(bench: Bench) -> None:
    bench.bars(bench.mt5.TIMEFRAME_M1, 3)
    found = bench.mt5.copy_rates_from_pos(bench.symbol, bench.mt5.TIMEFRAME_M1, 0, np.int64(3))
    bench.equal("number", len(found), 3)


@bars.card("copy_rates_from_pos of an unknown symbol", "None, -1 Terminal: Call failed")
def rates_unknown_symbol(bench: Bench) -> None:
    bench.equal("answer", bench.mt5.copy_rates_from_pos(_NOPE, bench.mt5.TIMEFRAME_M1, 0, 1), None)
    bench.equal("last_error()", bench.mt5.last_error(), (-1, "Terminal: Call failed"))


@bars.card("copy_rates_from_pos with the timeframe 7", "None, -2 Terminal: Invalid params")
def rates_unknown_timeframe(bench: Bench) -> None:
    bench.equal("answer", bench.mt5.copy_rates_from_pos(bench.symbol, 7, 0, 1), None)
    bench.equal("last_error()", bench.mt5.last_error(), (-2, "Terminal: Invalid params"))


def _whole(bench: Bench, timeframe: int, length_s: int) -> None:
    opens = bench.bars(timeframe, 2)["time"]
    bench.equal("remainders of the opening times", (opens % length_s).tolist(), [0] * len(opens))


@bars.card("copy_rates_from_pos with M5, H4, D1", "bars open on whole lengths of the server's clock")
def rates_whole_lengths(bench: Bench) -> None:
    _whole(bench, bench.mt5.TIMEFRAME_M5, 5 * _MINUTE_S)
    _whole(bench, bench.mt5.TIMEFRAME_H4, 4 * _HOUR_S)
    _whole(bench, bench.mt5.TIMEFRAME_D1, _DAY_S)


@bars.card("copy_rates_from_pos with W1", "weeks open on Sunday")
def rates_weeks(bench: Bench) -> None:
    opened = int(bench.bars(bench.mt5.TIMEFRAME_W1, 1)["time"][-1])
    bench.equal("weekday", datetime.datetime.fromtimestamp(opened, datetime.UTC).strftime("%A"), "Sunday")


@bars.card("copy_rates_from_pos with MN1", "months open on their first day")
def rates_months(bench: Bench) -> None:
    opened = datetime.datetime.fromtimestamp(int(bench.bars(bench.mt5.TIMEFRAME_MN1, 1)["time"][-1]), datetime.UTC)
    bench.equal("day and hour", (opened.day, opened.hour, opened.minute), (1, 0, 0))


@bars.card("a closed M5 bar and the M1 bars in it", "first open, highest high, lowest low, last close, sum of ticks")
def rates_nest(bench: Bench) -> None:
    whole = bench.bars(bench.mt5.TIMEFRAME_M5, 1, 2)[0]
    start = int(whole["time"])
    parts = bench.mt5.copy_rates_range(bench.symbol, bench.mt5.TIMEFRAME_M1, start, start + 5 * _MINUTE_S - 1)
    made = (parts["open"][0], parts["high"].max(), parts["low"].min(), parts["close"][-1], parts["tick_volume"].sum())
    names = ("open", "high", "low", "close", "tick_volume")
    bench.equal("bar", tuple(float(v) for v in made), tuple(float(whole[name]) for name in names))


# Ticks.


def _recent(bench: Bench, seconds: int = 300) -> tuple[int, Any]:
    start = bench.tick.time - seconds
    choice = bench.mt5.COPY_TICKS_ALL
    return start, bench.eventually(
        "copy_ticks_from", lambda: bench.mt5.copy_ticks_from(bench.symbol, start, 10_000, choice)
    )


@ticks.card("copy_ticks_from: dtype", "8 columns, packed, 60 bytes a row")
def ticks_dtype(bench: Bench) -> None:
    _, found = _recent(bench)
    bench.equal("dtype", found.dtype.descr, _TICKS)
    bench.equal("bytes a row", found.dtype.itemsize, 60)


@ticks.card("copy_ticks_from(symbol, five minutes ago, 10000, ALL)", "in order of time, none before the date")
def ticks_from_date(bench: Bench) -> None:
    start, found = _recent(bench)
    bench.true("none before the date", int(found["time"][0]) >= start)
    bench.true("times never fall", bool((np.diff(found["time_msc"]) >= 0).all()))
    bench.equal("time", found["time"].tolist(), (found["time_msc"] // 1_000).tolist())


@ticks.card("copy_ticks_from with count=3", "the first 3 from the date on")
def ticks_count(bench: Bench) -> None:
    start, found = _recent(bench)
    few = bench.mt5.copy_ticks_from(bench.symbol, start, 3, bench.mt5.COPY_TICKS_ALL)
    bench.equal("ticks", few.tolist(), found[:3].tolist())


@ticks.card("copy_ticks_from with a date within a second", "the fraction is cut: paging starts at the whole second")
def ticks_whole_second(bench: Bench) -> None:
    start, found = _recent(bench)
    again = bench.mt5.copy_ticks_from(bench.symbol, start + 0.9, 1, bench.mt5.COPY_TICKS_ALL)
    bench.equal("first tick", again.tolist(), found[:1].tolist())


@ticks.card("copy_ticks_range over three minutes", "the ticks of copy_ticks_from between the two dates")
def ticks_range(bench: Bench) -> None:
    start, found = _recent(bench)
    end = start + 180
    between = bench.mt5.copy_ticks_range(bench.symbol, start, end, bench.mt5.COPY_TICKS_ALL)
    bench.equal("ticks", between.tolist(), found[found["time_msc"] <= end * 1_000].tolist())


@ticks.card("copy_ticks_from with COPY_TICKS_INFO", "ticks that changed bid or ask")
def ticks_of_quotes(bench: Bench) -> None:
    start, _ = _recent(bench)
    found = bench.mt5.copy_ticks_from(bench.symbol, start, 100, bench.mt5.COPY_TICKS_INFO)
    wanted = bench.mt5.TICK_FLAG_BID | bench.mt5.TICK_FLAG_ASK
    bench.true("flags", len(found) > 0 and bool(((found["flags"] & wanted) != 0).all()))


@ticks.card("copy_ticks_from with COPY_TICKS_TRADE", "ticks that changed last or volume, possibly none")
def ticks_of_trades(bench: Bench) -> None:
    start, _ = _recent(bench)
    found = bench.mt5.copy_ticks_from(bench.symbol, start, 100, bench.mt5.COPY_TICKS_TRADE)
    wanted = bench.mt5.TICK_FLAG_LAST | bench.mt5.TICK_FLAG_VOLUME
    bench.true("flags", found is not None and bool(((found["flags"] & wanted) != 0).all()))


@ticks.card("copy_ticks_from of tomorrow", "an empty array")
def ticks_of_tomorrow(bench: Bench) -> None:
    _recent(bench)
    found = bench.mt5.copy_ticks_from(bench.symbol, bench.tick.time + _DAY_S, 10, bench.mt5.COPY_TICKS_ALL)
    bench.true("an array without rows", found is not None and len(found) == 0)


@ticks.card("copy_ticks_from of an unknown symbol", "None and an error")
def ticks_unknown_symbol(bench: Bench) -> None:
    bench.equal("answer", bench.mt5.copy_ticks_from(_NOPE, bench.tick.time, 1, bench.mt5.COPY_TICKS_ALL), None)
    bench.true("an error", bench.mt5.last_error()[0] < 0)


@ticks.card("the newest tick of copy_ticks_from", "the one symbol_info_tick gives, or a later one")
def ticks_reach_now(bench: Bench) -> None:
    before = bench.tick
    newest = bench.mt5.copy_ticks_from(bench.symbol, before.time, 10_000, bench.mt5.COPY_TICKS_ALL)[-1]
    bench.true("not older", int(newest["time_msc"]) >= before.time_msc)
    if int(newest["time_msc"]) == before.time_msc:
        bench.equal("bid and ask", (float(newest["bid"]), float(newest["ask"])), (before.bid, before.ask))


# Depth.


@depth.card("market_book_add, market_book_get, market_book_release", "asks first, dearest first; True, tuple, True")
def depth_of_a_symbol(bench: Bench) -> None:
    mt5 = bench.mt5
    if bench.info.ticks_bookdepth == 0 or not mt5.market_book_add(bench.symbol):
        raise NotHere(f"{bench.symbol} has no depth")
    lines = bench.eventually("market_book_get", lambda: mt5.market_book_get(bench.symbol))
    prices = [line.price for line in lines]
    bench.equal("prices", prices, sorted(prices, reverse=True))
    sides = [line.type in (mt5.BOOK_TYPE_SELL, mt5.BOOK_TYPE_SELL_MARKET) for line in lines]
    bench.equal("asks first", sides, sorted(sides, reverse=True))
    bench.true("release", mt5.market_book_release(bench.symbol) is True)


@depth.card("market_book_add of an unknown symbol", "False with (1, 'Success')")
def depth_unknown_symbol(bench: Bench) -> None:
    bench.true("False", bench.mt5.market_book_add(_NOPE) is False)
    bench.succeeds()


@depth.card("market_book_add(5)", "None (not False), -2 Invalid arguments")
def depth_of_a_number(bench: Bench) -> None:
    bench.refused(lambda: bench.mt5.market_book_add(5), "Invalid arguments")


# Calculators.


@calculators.card("order_calc_profit of one lot over 100 points up", "100 points in tick values")
def profit_identity(bench: Bench) -> None:
    info = bench.info
    price = info.ask
    profit = bench.mt5.order_calc_profit(bench.mt5.ORDER_TYPE_BUY, bench.symbol, 1.0, price, price + 100 * info.point)
    wanted = 100 * info.point / info.trade_tick_size * info.trade_tick_value_profit
    bench.near("profit", profit, wanted, max(0.01, 0.005 * abs(wanted)))


@calculators.card("order_calc_profit of a sell", "the opposite of the buy's")
def profit_of_a_sell(bench: Bench) -> None:
    info, mt5 = bench.info, bench.mt5
    ends = (info.ask, info.ask + 50 * info.point)
    bought = mt5.order_calc_profit(mt5.ORDER_TYPE_BUY, bench.symbol, 1.0, *ends)
    sold = mt5.order_calc_profit(mt5.ORDER_TYPE_SELL, bench.symbol, 1.0, *ends)
    bench.near("profit", sold, -bought, max(0.01, 0.01 * abs(bought)))


@calculators.card("order_calc_margin of 1 and of 2 lots", "twice as much, above 0")
def margin_is_linear(bench: Bench) -> None:
    info, mt5 = bench.info, bench.mt5
    one = mt5.order_calc_margin(mt5.ORDER_TYPE_BUY, bench.symbol, 1.0, info.ask)
    two = mt5.order_calc_margin(mt5.ORDER_TYPE_BUY, bench.symbol, 2.0, info.ask)
    bench.true("above 0", one > 0)
    bench.near("margin of two lots", two, 2 * one, 0.02 + 0.02 * one)


@calculators.card("order_calc_margin with a volume of type int", "taken: the calculators want numbers, not floats")
def margin_of_an_int(bench: Bench) -> None:
    info, mt5 = bench.info, bench.mt5
    one = mt5.order_calc_margin(mt5.ORDER_TYPE_BUY, bench.symbol, 1, info.ask)
    bench.true("a number", isinstance(one, float) and one > 0)


@calculators.card("order_calc_margin of an unknown symbol", "None, -1 Terminal: Call failed")
def margin_unknown_symbol(bench: Bench) -> None:
    bench.equal("answer", bench.mt5.order_calc_margin(bench.mt5.ORDER_TYPE_BUY, _NOPE, 1.0, 1.0), None)
    bench.failed_with(-1)
