"""Cards about positions; they trade: the least volume, on a demo account, and everything is closed again."""

from typing import Any

from libs.common.mt5.cards.card import MAGIC, Bench, Deck, NotHere

checking = Deck("order check", trades=True)
market = Deck("market orders", trades=True)
stops = Deck("SL and TP", trades=True)

_CLOSE_BY_FLAG = 64
_MARKET_EXECUTION, _HEDGING = 2, 2


def _needs_hedging(bench: Bench) -> None:
    if bench.mt5.account_info().margin_mode != _HEDGING:
        raise NotHere("not a hedging account")


# order_check.


@checking.card("order_check of an order that can be sent", "retcode 0, comment Done")
def check_accepts(bench: Bench) -> None:
    answer = bench.mt5.order_check(bench.deal(bench.mt5.ORDER_TYPE_BUY))
    bench.equal("retcode and comment", (answer.retcode, answer.comment), (0, "Done"))


@checking.card("order_check", "nothing is opened, the balance stays")
def check_changes_nothing(bench: Bench) -> None:
    before = (bench.mt5.positions_total(), bench.mt5.account_info().balance)
    bench.mt5.order_check(bench.deal(bench.mt5.ORDER_TYPE_BUY))
    bench.equal("positions and balance", (bench.mt5.positions_total(), bench.mt5.account_info().balance), before)


@checking.card("order_check with volume 0", "10014 Invalid volume")
def check_volume(bench: Bench) -> None:
    answer = bench.mt5.order_check(bench.deal(bench.mt5.ORDER_TYPE_BUY, volume=0.0))
    bench.equal("retcode", answer.retcode, bench.mt5.TRADE_RETCODE_INVALID_VOLUME)


@checking.card("order_check: request", "what was asked, as a TradeRequest")
def check_returns_the_request(bench: Bench) -> None:
    request = bench.deal(bench.mt5.ORDER_TYPE_SELL)
    told = bench.mt5.order_check(request).request
    bench.equal("fields", {name: getattr(told, name) for name in request}, request)


@checking.card("order_check: margin", "what is tied up grows by order_calc_margin")
def check_margin(bench: Bench) -> None:
    mt5, before = bench.mt5, bench.mt5.account_info().margin
    request = bench.deal(mt5.ORDER_TYPE_BUY)
    wanted = mt5.order_calc_margin(mt5.ORDER_TYPE_BUY, bench.symbol, request["volume"], request["price"])
    bench.near("margin", mt5.order_check(request).margin, before + wanted, 0.02 + 0.01 * wanted)


# Market orders.


@market.card("a market buy", "10009 with deal, order, volume, price and the request")
def buy_is_done(bench: Bench) -> None:
    request = bench.deal(bench.mt5.ORDER_TYPE_BUY)
    answer = bench.answered(request, bench.mt5.TRADE_RETCODE_DONE)
    bench.true("deal and order tickets", answer.deal > 0 and answer.order > 0)
    bench.equal("volume", answer.volume, request["volume"])
    bench.equal("request.magic", answer.request.magic, MAGIC)


@market.card("a market buy: its position", "type, volume, magic, comment, reason EXPERT; ticket = identifier = order")
def buy_opens_a_position(bench: Bench) -> None:
    answer = bench.done(bench.deal(bench.mt5.ORDER_TYPE_BUY))
    position = bench.eventually("the position", lambda: bench.mt5.positions_get(ticket=answer.order))[0]
    bench.equal("ticket and identifier", (position.ticket, position.identifier), (answer.order, answer.order))
    found = (position.type, position.volume, position.magic, position.comment, position.reason)
    bench.equal("fields", found, (0, answer.volume, MAGIC, "card", bench.mt5.POSITION_REASON_EXPERT))


@market.card("a market sell: its position", "type 1, opened at the bid, valued at the ask")
def sell_opens_a_position(bench: Bench) -> None:
    position = bench.opened(bench.mt5.ORDER_TYPE_SELL)
    bench.equal("type", position.type, bench.mt5.POSITION_TYPE_SELL)
    bench.true("price_current is an ask", position.price_current >= bench.tick.ask - 50 * bench.info.point)


@market.card("a position's profit", "that of order_calc_profit, without commission and swap")
def profit_of_a_position(bench: Bench) -> None:
    mt5, position = bench.mt5, bench.opened(bench.mt5.ORDER_TYPE_BUY)
    ends = (position.price_open, position.price_current)
    wanted = mt5.order_calc_profit(mt5.ORDER_TYPE_BUY, bench.symbol, position.volume, *ends)
    bench.near("profit", position.profit, wanted, 0.02 + 0.02 * abs(wanted))


@market.card("positions_get by ticket, by symbol, by group", "the position, each time")
def position_is_found(bench: Bench) -> None:
    position = bench.opened(bench.mt5.ORDER_TYPE_BUY)
    for where in ({"ticket": position.ticket}, {"symbol": bench.symbol}, {"group": f"*{bench.symbol[1:]}"}):
        tickets = [found.ticket for found in bench.mt5.positions_get(**where)]
        bench.true(f"found by {next(iter(where))}", position.ticket in tickets)


@market.card("the opposite deal with position=ticket", "closes it: positions_get(ticket=) is ()")
def close_by_ticket(bench: Bench) -> None:
    position = bench.opened(bench.mt5.ORDER_TYPE_BUY)
    bench.close(position)
    bench.vanishes("the position", lambda: bench.mt5.positions_get(ticket=position.ticket))


@market.card("closing half of a position", "the rest stays, under the same ticket")
def close_half(bench: Bench) -> None:
    least = bench.info.volume_min
    position = bench.opened(bench.mt5.ORDER_TYPE_BUY, volume=2 * least)
    bench.close(position, volume=least)
    rest = bench.eventually("the rest", lambda: bench.mt5.positions_get(ticket=position.ticket))[0]
    bench.near("volume", rest.volume, least, 1e-8)


@market.card("closing more than a position has", "10038 Invalid close volume (hedging)")
def close_too_much(bench: Bench) -> None:
    _needs_hedging(bench)
    position = bench.opened(bench.mt5.ORDER_TYPE_BUY)
    request = bench.deal(bench.mt5.ORDER_TYPE_SELL, volume=2 * position.volume, position=position.ticket)
    bench.answered(request, bench.mt5.TRADE_RETCODE_INVALID_CLOSE_VOLUME)


@market.card("closing a position that is gone", "10036 Position doesn't exist")
def close_twice(bench: Bench) -> None:
    position = bench.opened(bench.mt5.ORDER_TYPE_BUY)
    bench.close(position)
    bench.vanishes("the position", lambda: bench.mt5.positions_get(ticket=position.ticket))
    request = bench.deal(bench.mt5.ORDER_TYPE_SELL, volume=position.volume, position=position.ticket)
    bench.answered(request, bench.mt5.TRADE_RETCODE_POSITION_CLOSED)


@market.card("a buy, then a sell without position=", "hedging: two positions; netting: none")
def opposite_deals(bench: Bench) -> None:
    mt5, first = bench.mt5, bench.opened(bench.mt5.ORDER_TYPE_BUY)
    bench.done(bench.deal(mt5.ORDER_TYPE_SELL, volume=first.volume))
    if mt5.account_info().margin_mode == _HEDGING:
        mine = [p.type for p in mt5.positions_get(symbol=bench.symbol) if p.magic == MAGIC]
        bench.equal("types", sorted(mine), [0, 1])
    else:
        bench.vanishes("the position", lambda: mt5.positions_get(ticket=first.ticket))


@market.card("volume below the least", "10014 Invalid volume")
def volume_too_small(bench: Bench) -> None:
    request = bench.deal(bench.mt5.ORDER_TYPE_BUY, volume=bench.info.volume_min / 2)
    bench.answered(request, bench.mt5.TRADE_RETCODE_INVALID_VOLUME)


@market.card("volume off the step", "10014 Invalid volume")
def volume_off_step(bench: Bench) -> None:
    info = bench.info
    request = bench.deal(bench.mt5.ORDER_TYPE_BUY, volume=info.volume_min + 0.4 * info.volume_step)
    bench.answered(request, bench.mt5.TRADE_RETCODE_INVALID_VOLUME)


@market.card("volume above the most", "10014 Invalid volume")
def volume_too_large(bench: Bench) -> None:
    request = bench.deal(bench.mt5.ORDER_TYPE_BUY, volume=bench.info.volume_max + bench.info.volume_step)
    bench.answered(request, bench.mt5.TRADE_RETCODE_INVALID_VOLUME)


@market.card("filling RETURN on a symbol with market execution", "10030 Unsupported filling mode")
def filling_unsupported(bench: Bench) -> None:
    if bench.info.trade_exemode != _MARKET_EXECUTION:
        raise NotHere("not market execution")
    request = bench.deal(bench.mt5.ORDER_TYPE_BUY, type_filling=bench.mt5.ORDER_FILLING_RETURN)
    bench.answered(request, bench.mt5.TRADE_RETCODE_INVALID_FILL)


@market.card("a magic number of 63 bits", "order, deal and position carry it")
def magic_travels(bench: Bench) -> None:
    answer = bench.done(bench.deal(bench.mt5.ORDER_TYPE_BUY))
    position = bench.eventually("the position", lambda: bench.mt5.positions_get(ticket=answer.order))[0]
    deal = bench.deals(ticket=answer.order)[0]
    orders = bench.eventually("the order", lambda: bench.mt5.history_orders_get(ticket=answer.order))
    bench.equal("magic", (orders[0].magic, deal.magic, position.magic), (MAGIC, MAGIC, MAGIC))


@market.card("closing by CLOSE_BY", "both positions are gone (hedging, where the symbol allows it)")
def close_by_opposite(bench: Bench) -> None:
    _needs_hedging(bench)
    if not bench.info.order_mode & _CLOSE_BY_FLAG:
        raise NotHere(f"{bench.symbol} has no close-by")
    mt5 = bench.mt5
    bought, sold = bench.opened(mt5.ORDER_TYPE_BUY), bench.opened(mt5.ORDER_TYPE_SELL)
    request = {
        "action": mt5.TRADE_ACTION_CLOSE_BY, "position": bought.ticket, "position_by": sold.ticket, "magic": MAGIC,
    }  # fmt: skip
    bench.done(request)
    bench.vanishes("the first", lambda: mt5.positions_get(ticket=bought.ticket))
    bench.vanishes("the second", lambda: mt5.positions_get(ticket=sold.ticket))


# SL and TP.


def _levels(bench: Bench, position: Any, sl_points: int, tp_points: int) -> dict[str, Any]:
    info = bench.info
    sl = round(info.bid - sl_points * info.point, info.digits) if sl_points else 0.0
    tp = round(info.bid + tp_points * info.point, info.digits) if tp_points else 0.0
    return {
        "action": bench.mt5.TRADE_ACTION_SLTP, "symbol": bench.symbol, "position": position.ticket, "sl": sl, "tp": tp,
    }  # fmt: skip


@stops.card("a market buy with SL and TP", "the position has them")
def stops_with_the_order(bench: Bench) -> None:
    info, away = bench.info, bench.far()
    sl, tp = round(info.bid - away * info.point, info.digits), round(info.ask + away * info.point, info.digits)
    position = bench.opened(bench.mt5.ORDER_TYPE_BUY, sl=sl, tp=tp)
    bench.equal("sl and tp", (position.sl, position.tp), (sl, tp))


@stops.card("action SLTP", "the position has the new levels")
def stops_moved(bench: Bench) -> None:
    position, away = bench.opened(bench.mt5.ORDER_TYPE_BUY), bench.far()
    request = _levels(bench, position, away, away)
    bench.done(request)
    found = bench.mt5.positions_get(ticket=position.ticket)[0]
    bench.equal("sl and tp", (found.sl, found.tp), (request["sl"], request["tp"]))


@stops.card("action SLTP with the levels it has", "10025 No changes")
def stops_unchanged(bench: Bench) -> None:
    position, away = bench.opened(bench.mt5.ORDER_TYPE_BUY), bench.far()
    request = _levels(bench, position, away, away)
    bench.done(request)
    bench.answered(request, bench.mt5.TRADE_RETCODE_NO_CHANGES)


@stops.card("action SLTP with 0", "the levels are removed")
def stops_removed(bench: Bench) -> None:
    position, away = bench.opened(bench.mt5.ORDER_TYPE_BUY), bench.far()
    bench.done(_levels(bench, position, away, away))
    bench.done(_levels(bench, position, 0, 0))
    found = bench.mt5.positions_get(ticket=position.ticket)[0]
    bench.equal("sl and tp", (found.sl, found.tp), (0.0, 0.0))


@stops.card("SL of a buy above the bid", "10016 Invalid stops")
def stop_on_the_wrong_side(bench: Bench) -> None:
    position = bench.opened(bench.mt5.ORDER_TYPE_BUY)
    bench.answered(_levels(bench, position, -bench.far(), 0), bench.mt5.TRADE_RETCODE_INVALID_STOPS)


@stops.card("a market sell with its SL below the ask", "10016 Invalid stops, nothing is opened")
def stop_with_the_order_wrong(bench: Bench) -> None:
    info = bench.info
    sl = round(info.bid - bench.far() * info.point, info.digits)
    request = bench.deal(bench.mt5.ORDER_TYPE_SELL, sl=sl)
    bench.answered(request, bench.mt5.TRADE_RETCODE_INVALID_STOPS)
    mine = [p for p in bench.mt5.positions_get(symbol=bench.symbol) if p.magic == MAGIC]
    bench.equal("positions", mine, [])


@stops.card("action SLTP on a position that is gone", "10036 Position doesn't exist")
def stops_of_no_position(bench: Bench) -> None:
    position = bench.opened(bench.mt5.ORDER_TYPE_BUY)
    request = _levels(bench, position, bench.far(), 0)
    bench.close(position)
    bench.vanishes("the position", lambda: bench.mt5.positions_get(ticket=position.ticket))
    bench.answered(request, bench.mt5.TRADE_RETCODE_POSITION_CLOSED, bench.mt5.TRADE_RETCODE_INVALID)
