"""Cards about pending orders, history and the short calls; they trade like those of trades.py."""

import itertools

from libs.common.mt5.cards.card import MAGIC, Bench, Deck, NotHere

pending = Deck("pending orders", trades=True)
history = Deck("history", trades=True)
short_calls = Deck("Buy, Sell, Close", trades=True)

_STOP_LIMIT_FLAG, _SPECIFIED_FLAG = 8, 4
_EVER = 2**31 - 2


# Pending orders.


def _pending_card(name: str, words: str, kind_name: str) -> None:
    def check(bench: Bench) -> None:
        kind = getattr(bench.mt5, kind_name)
        request = bench.pending(kind, bench.far())
        ticket = bench.done(request).order
        order = bench.eventually("the order", lambda: bench.mt5.orders_get(ticket=ticket))[0]
        found = (order.type, order.state, order.price_open, order.volume_initial, order.volume_current, order.magic)
        volume = request["volume"]
        bench.equal("fields", found, (kind, bench.mt5.ORDER_STATE_PLACED, request["price"], volume, volume, MAGIC))

    pending.add(name, f"a {words} away from the market", "in orders_get: state PLACED, price, volumes, magic", check)


_pending_card("buy-limit", "buy limit", "ORDER_TYPE_BUY_LIMIT")
_pending_card("sell-limit", "sell limit", "ORDER_TYPE_SELL_LIMIT")
_pending_card("buy-stop", "buy stop", "ORDER_TYPE_BUY_STOP")
_pending_card("sell-stop", "sell stop", "ORDER_TYPE_SELL_STOP")


def _wrong_side_card(name: str, words: str, kind_name: str) -> None:
    def check(bench: Bench) -> None:
        request = bench.pending(getattr(bench.mt5, kind_name), -bench.far())
        bench.answered(request, bench.mt5.TRADE_RETCODE_INVALID_PRICE)

    pending.add(name, f"a {words} on the other side of the market", "10015 Invalid price", check)


_wrong_side_card("buy-limit-above", "buy limit", "ORDER_TYPE_BUY_LIMIT")
_wrong_side_card("sell-stop-above", "sell stop", "ORDER_TYPE_SELL_STOP")


@pending.card("a buy stop limit", "in orders_get with price_stoplimit (where the symbol allows it)")
def buy_stop_limit(bench: Bench) -> None:
    mt5, info = bench.mt5, bench.info
    if not info.order_mode & _STOP_LIMIT_FLAG:
        raise NotHere(f"{bench.symbol} has no stop-limit orders")
    away = bench.far()
    price = round(info.ask + away * info.point, info.digits)
    limit = round(info.ask + away / 2 * info.point, info.digits)
    request = bench.pending(mt5.ORDER_TYPE_BUY_STOP_LIMIT, away, price=price, stoplimit=limit)
    ticket = bench.done(request).order
    order = bench.eventually("the order", lambda: mt5.orders_get(ticket=ticket))[0]
    bench.equal("prices", (order.price_open, order.price_stoplimit), (price, limit))


@pending.card("action MODIFY with another price", "the order has it, under the same ticket")
def order_moved(bench: Bench) -> None:
    mt5, info = bench.mt5, bench.info
    order = bench.placed(mt5.ORDER_TYPE_BUY_LIMIT, bench.far())
    price = round(order.price_open - 50 * info.point, info.digits)
    bench.done({
        "action": mt5.TRADE_ACTION_MODIFY, "order": order.ticket, "price": price, "type_time": mt5.ORDER_TIME_GTC,
    })  # fmt: skip
    bench.equal("price", mt5.orders_get(ticket=order.ticket)[0].price_open, price)


@pending.card("action MODIFY with what it has", "10025 No changes")
def order_unchanged(bench: Bench) -> None:
    mt5 = bench.mt5
    order = bench.placed(mt5.ORDER_TYPE_BUY_LIMIT, bench.far())
    request = {
        "action": mt5.TRADE_ACTION_MODIFY, "order": order.ticket, "price": order.price_open,
        "type_time": mt5.ORDER_TIME_GTC,
    }  # fmt: skip
    bench.answered(request, mt5.TRADE_RETCODE_NO_CHANGES)


@pending.card("action REMOVE", "gone from orders_get, CANCELED in history")
def order_removed(bench: Bench) -> None:
    mt5, order = bench.mt5, bench.placed(bench.mt5.ORDER_TYPE_SELL_LIMIT, bench.far())
    bench.done({"action": mt5.TRADE_ACTION_REMOVE, "order": order.ticket})
    bench.vanishes("the order", lambda: mt5.orders_get(ticket=order.ticket))
    past = bench.eventually("the order", lambda: mt5.history_orders_get(ticket=order.ticket))[0]
    bench.equal("state", past.state, mt5.ORDER_STATE_CANCELED)
    bench.true("time_done is set", past.time_done > 0)


@pending.card("action REMOVE of an unknown order", "refused")
def order_removed_unknown(bench: Bench) -> None:
    mt5 = bench.mt5
    answer = mt5.order_send({"action": mt5.TRADE_ACTION_REMOVE, "order": 1})
    bench.true("refused", answer is not None and answer.retcode not in (mt5.TRADE_RETCODE_DONE, mt5.TRADE_RETCODE_PLACED))


@pending.card("a pending order until a moment", "time_expiration is that moment, on the server's clock")
def order_until(bench: Bench) -> None:
    mt5, info = bench.mt5, bench.info
    if not info.expiration_mode & _SPECIFIED_FLAG:
        raise NotHere(f"{bench.symbol} has no such expiry")
    # A whole minute: some servers cut the seconds.
    until = (bench.tick.time // 60 + 120) * 60
    order = bench.placed(
        mt5.ORDER_TYPE_BUY_LIMIT, bench.far(), type_time=mt5.ORDER_TIME_SPECIFIED, expiration=until
    )
    bench.equal("type_time and time_expiration", (order.type_time, order.time_expiration), (2, until))


@pending.card("a pending order until a moment that has passed", "10022 Invalid expiration")
def order_until_past(bench: Bench) -> None:
    mt5 = bench.mt5
    request = bench.pending(
        mt5.ORDER_TYPE_BUY_LIMIT, bench.far(), type_time=mt5.ORDER_TIME_SPECIFIED, expiration=bench.tick.time - 3_600
    )
    bench.answered(request, mt5.TRADE_RETCODE_INVALID_EXPIRATION)


@pending.card("a pending order with SL on the wrong side of its price", "10016 Invalid stops")
def order_stop_wrong(bench: Bench) -> None:
    mt5, info, away = bench.mt5, bench.info, bench.far()
    request = bench.pending(mt5.ORDER_TYPE_BUY_LIMIT, away)
    request["sl"] = round(request["price"] + away * info.point, info.digits)
    bench.answered(request, mt5.TRADE_RETCODE_INVALID_STOPS)


@pending.card("orders_total() and orders_get()", "as many orders as counted")
def orders_counted(bench: Bench) -> None:
    bench.placed(bench.mt5.ORDER_TYPE_BUY_LIMIT, bench.far())
    bench.equal("number", len(bench.mt5.orders_get()), bench.mt5.orders_total())


# History.


@history.card("history_deals_get(ticket=order)", "the deal of that order: entry IN, its price, position_id = order")
def deal_of_an_order(bench: Bench) -> None:
    answer = bench.done(bench.deal(bench.mt5.ORDER_TYPE_BUY))
    deal = bench.deals(ticket=answer.order)[0]
    found = (deal.ticket, deal.order, deal.entry, deal.type, deal.position_id)
    bench.equal("fields", found, (answer.deal, answer.order, bench.mt5.DEAL_ENTRY_IN, 0, answer.order))


@history.card("history_deals_get(position=)", "the deals that opened and closed it: IN, OUT")
def deals_of_a_position(bench: Bench) -> None:
    position = bench.opened(bench.mt5.ORDER_TYPE_BUY)
    closing = bench.close(position)
    bench.deals(ticket=closing.order)
    entries = [deal.entry for deal in bench.mt5.history_deals_get(position=position.identifier)]
    bench.equal("entries", entries, [bench.mt5.DEAL_ENTRY_IN, bench.mt5.DEAL_ENTRY_OUT])


@history.card("history_orders_get(ticket=)", "FILLED, nothing left, done at or after it was set up")
def order_in_history(bench: Bench) -> None:
    answer = bench.done(bench.deal(bench.mt5.ORDER_TYPE_BUY))
    order = bench.eventually("the order", lambda: bench.mt5.history_orders_get(ticket=answer.order))[0]
    bench.equal("state and rest", (order.state, order.volume_current), (bench.mt5.ORDER_STATE_FILLED, 0.0))
    bench.true("done after set up", order.time_done_msc >= order.time_setup_msc)


@history.card("balance before and after a round trip", "moved by profit, swap, commission and fee of its deals")
def balance_moves_by_deals(bench: Bench) -> None:
    before = bench.mt5.account_info().balance
    position = bench.opened(bench.mt5.ORDER_TYPE_BUY)
    closing = bench.close(position)
    bench.deals(ticket=closing.order)
    deals = bench.mt5.history_deals_get(position=position.identifier)
    moved = sum(deal.profit + deal.swap + deal.commission + deal.fee for deal in deals)
    bench.near("balance", bench.mt5.account_info().balance, before + moved, 0.011)


@history.card("history_deals_get(from, to) and history_deals_total(from, to)", "as many as counted, in order of time")
def deals_counted(bench: Bench) -> None:
    bench.done(bench.deal(bench.mt5.ORDER_TYPE_BUY))
    deals = bench.mt5.history_deals_get(1, _EVER)
    bench.equal("number", len(deals), bench.mt5.history_deals_total(1, _EVER))
    bench.true("times never fall", all(a.time_msc <= b.time_msc for a, b in itertools.pairwise(deals)))


@history.card("history_deals_get(from, to, group=)", "only deals of the group's symbols")
def deals_of_a_group(bench: Bench) -> None:
    bench.done(bench.deal(bench.mt5.ORDER_TYPE_BUY))
    found = bench.mt5.history_deals_get(1, _EVER, group=bench.symbol)
    bench.equal("symbols", {deal.symbol for deal in found}, {bench.symbol})
    bench.equal("of another group", bench.mt5.history_deals_get(1, _EVER, group="NOPE.card"), ())


@history.card("history_deals_get(from, to, ticket=1)", "dates go before the ticket: the same as without it")
def dates_before_ticket(bench: Bench) -> None:
    bench.done(bench.deal(bench.mt5.ORDER_TYPE_BUY))
    bench.equal("number", len(bench.mt5.history_deals_get(1, _EVER, ticket=1)), bench.mt5.history_deals_total(1, _EVER))


# Buy, Sell, Close.


def _buys_without_filling(bench: Bench) -> None:
    if bench.filling() != bench.mt5.ORDER_FILLING_FOK:
        raise NotHere("Buy and Sell name no filling mode, so they are FOK, which this symbol does not take")


@short_calls.card("Buy(symbol, volume), then Close(symbol)", "done; True and no position left")
def buy_and_close(bench: Bench) -> None:
    _buys_without_filling(bench)
    if bench.mt5.positions_get(symbol=bench.symbol):
        raise NotHere(f"there are other positions of {bench.symbol}, which Close would close")
    answer = bench.mt5.Buy(bench.symbol, bench.info.volume_min)
    bench.equal("retcode", answer.retcode, bench.mt5.TRADE_RETCODE_DONE)
    bench.eventually("the position", lambda: bench.mt5.positions_get(symbol=bench.symbol))
    bench.true("Close() is True", bench.mt5.Close(bench.symbol) is True)
    bench.vanishes("the position", lambda: bench.mt5.positions_get(symbol=bench.symbol))


@short_calls.card("Sell(symbol, volume, comment=), then Close(symbol, ticket=)", "done; True")
def sell_and_close(bench: Bench) -> None:
    _buys_without_filling(bench)
    answer = bench.mt5.Sell(bench.symbol, bench.info.volume_min, comment="card")
    bench.equal("retcode", answer.retcode, bench.mt5.TRADE_RETCODE_DONE)
    bench.eventually("the position", lambda: bench.mt5.positions_get(ticket=answer.order))
    bench.true("Close() is True", bench.mt5.Close(bench.symbol, ticket=answer.order) is True)


@short_calls.card("Close(symbol) without positions", "False")
def close_nothing(bench: Bench) -> None:
    if bench.mt5.positions_get(symbol=bench.symbol):
        raise NotHere(f"there are positions of {bench.symbol}")
    bench.true("False", bench.mt5.Close(bench.symbol) is False)


@short_calls.card("Buy(symbol, 1) with a volume of type int", "None, -2: it is an order_send like any other")
def buy_an_int(bench: Bench) -> None:
    bench.refused(lambda: bench.mt5.Buy(bench.symbol, 1), 'Invalid "volume" argument')
