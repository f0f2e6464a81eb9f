"""Cards about arguments: what the package takes and what it refuses before anything is sent."""

import datetime
import functools

import numpy as np

from libs.common.mt5.cards.card import Bench, Deck

requests = Deck("request fields")
arguments = Deck("arguments")

_LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
# Refused by the server at the latest (no such action), so that no card about arguments ever trades.
_HARMLESS = {"action": 0, "symbol": "EURUSD", "volume": 0.01, "type": 0, "price": 1.0}


def _refused_fields(name: str, stimulus: str, field: str, value: object) -> None:
    def check(bench: Bench) -> None:
        bench.refused(lambda: bench.mt5.order_send({**_HARMLESS, field: value}), f'Invalid "{field}" argument')

    requests.add(name, stimulus, f'None, -2 Invalid "{field}" argument: not sent', check)


_refused_fields("volume-int", "order_send with volume=1", "volume", 1)
_refused_fields("volume-float32", "order_send with volume=np.float32(0.1)", "volume", np.float32(0.1))
_refused_fields("volume-text", "order_send with volume='0.1'", "volume", "0.1")
_refused_fields("price-none", "order_send with price=None", "price", None)
_refused_fields("sl-int", "order_send with sl=0", "sl", 0)
_refused_fields("tp-int", "order_send with tp=0", "tp", 0)
_refused_fields("action-int64", "order_send with action=np.int64(1)", "action", np.int64(1))
_refused_fields("magic-float", "order_send with magic=1.0", "magic", 1.0)
_refused_fields("position-none", "order_send with position=None", "position", None)
_refused_fields("deviation-float", "order_send with deviation=1.0", "deviation", 1.0)
_refused_fields("expiration-datetime", "order_send with expiration=datetime", "expiration", _LONG_AGO)
_refused_fields("symbol-30", "order_send with a symbol of 30 characters", "symbol", "x" * 30)
_refused_fields("comment-30", "order_send with a comment of 30 characters", "comment", "x" * 30)
_refused_fields("comment-units", "order_send with a comment of 15 emoji (30 UTF-16 units)", "comment", "\U0001f600" * 15)


def _raising_field(name: str, field: str, value: int) -> None:
    def check(bench: Bench) -> None:
        bench.raises(lambda: bench.mt5.order_send({**_HARMLESS, field: value}), SystemError, OverflowError)
        bench.equal("last_error()", bench.mt5.last_error(), (-2, f'Invalid "{field}" argument'))

    requests.add(name, f"order_send with {field}={value}", "SystemError from OverflowError, last_error() -2", check)


_raising_field("magic-negative", "magic", -1)
_raising_field("magic-too-big", "magic", 2**64)
_raising_field("type-negative", "type", -1)
_raising_field("deviation-negative", "deviation", -1)
_raising_field("position-negative", "position", -1)


@requests.card("order_send with a comment of 29 characters, an action nobody knows", "taken; the server answers 10013")
def comment_29(bench: Bench) -> None:
    bench.answered({**_HARMLESS, "comment": "x" * 29}, bench.mt5.TRADE_RETCODE_INVALID)


@requests.card("order_send with a key the package does not know", "ignored; the server answers 10013")
def unknown_key(bench: Bench) -> None:
    bench.answered({**_HARMLESS, "foo": 1}, bench.mt5.TRADE_RETCODE_INVALID)


@requests.card("order_send({})", "sent as it is; the server answers 10013")
def empty_request(bench: Bench) -> None:
    bench.answered({}, bench.mt5.TRADE_RETCODE_INVALID)


@requests.card("order_send(action=0, ...) with fields as keywords", "the same as a dictionary: 10013")
def fields_as_keywords(bench: Bench) -> None:
    answer = bench.mt5.order_send(**_HARMLESS)
    bench.equal("retcode", answer.retcode, bench.mt5.TRADE_RETCODE_INVALID)


@requests.card("order_send()", "None, -2 Invalid number of arguments")
def request_missing(bench: Bench) -> None:
    bench.refused(bench.mt5.order_send, "Invalid number of arguments")


@requests.card("order_send(dict, x=1)", "None, -2 Unnamed arguments not allowed")
def request_twice(bench: Bench) -> None:
    bench.refused(lambda: bench.mt5.order_send(_HARMLESS, x=1), "Unnamed arguments not allowed")


@requests.card("order_send([])", "None, -2 Invalid arguments")
def request_list(bench: Bench) -> None:
    bench.refused(lambda: bench.mt5.order_send([]), "Invalid arguments")


@arguments.card("symbol_info(symbol='EURUSD')", "TypeError: it takes no keyword arguments")
def positional_only(bench: Bench) -> None:
    bench.raises(lambda: bench.mt5.symbol_info(symbol="EURUSD"), TypeError, None)


@arguments.card("positions_get('EURUSD')", "None, -2 Unnamed arguments not allowed")
def keywords_only(bench: Bench) -> None:
    bench.refused(lambda: bench.mt5.positions_get("EURUSD"), "Unnamed arguments not allowed")


@arguments.card("positions_get(magic=1)", "unknown keywords are ignored: all positions")
def unknown_keyword(bench: Bench) -> None:
    bench.equal("number", len(bench.mt5.positions_get(magic=1)), bench.mt5.positions_total())


@arguments.card("positions_get(ticket=1)", "(): nothing found is no error")
def nothing_found(bench: Bench) -> None:
    bench.equal("answer", bench.mt5.positions_get(ticket=1), ())
    bench.succeeds()


@arguments.card("orders_get(symbol='NOPE')", "(): nothing found is no error")
def nothing_found_for_a_symbol(bench: Bench) -> None:
    bench.equal("answer", bench.mt5.orders_get(symbol="NOPE"), ())
    bench.succeeds()


@arguments.card("positions_get(symbol=None)", 'None, -2 Invalid "symbol" argument')
def none_is_no_default(bench: Bench) -> None:
    bench.refused(lambda: bench.mt5.positions_get(symbol=None), 'Invalid "symbol" argument')


@arguments.card("positions_get(ticket='x', symbol='EURUSD')", 'None, -2 Invalid "ticket" argument: it is read first')
def ticket_before_symbol(bench: Bench) -> None:
    bench.refused(lambda: bench.mt5.positions_get(ticket="x", symbol="EURUSD"), 'Invalid "ticket" argument')


@arguments.card("orders_get(ticket=-5)", "SystemError from OverflowError")
def ticket_negative(bench: Bench) -> None:
    bench.raises(lambda: bench.mt5.orders_get(ticket=-5), SystemError, OverflowError)


@arguments.card("symbols_get(5)", "False (not None), -2 Invalid 1st unnamed argument")
def group_number(bench: Bench) -> None:
    bench.refused(lambda: bench.mt5.symbols_get(5), "Invalid 1st unnamed argument", False)


@arguments.card("positions_get(group=) with 2,000 characters", 'None, -2 Invalid "group" argument')
def group_too_long(bench: Bench) -> None:
    bench.refused(lambda: bench.mt5.positions_get(group="x" * 2_000), 'Invalid "group" argument')


@arguments.card("history_deals_get(date)", "None, -2 Invalid arguments: two dates, or ticket, or position")
def one_date(bench: Bench) -> None:
    bench.refused(lambda: bench.mt5.history_deals_get(_LONG_AGO), "Invalid arguments")


@arguments.card("history_deals_get(date_from=, date_to=)", "None, -2 Invalid arguments: dates have no names")
def named_dates(bench: Bench) -> None:
    bench.refused(lambda: bench.mt5.history_deals_get(date_from=_LONG_AGO, date_to=_LONG_AGO), "Invalid arguments")


@arguments.card("history_deals_get(date, ticket=1)", "None, -2 Unnamed arguments not allowed")
def date_and_ticket(bench: Bench) -> None:
    bench.refused(lambda: bench.mt5.history_deals_get(_LONG_AGO, ticket=1), "Unnamed arguments not allowed")


@arguments.card("copy_rates_from with a text, a date, an np.int64 as date", "None, -2 Invalid arguments")
def dates_of_other_types(bench: Bench) -> None:
    ask = functools.partial(bench.mt5.copy_rates_from, bench.symbol, 1)
    for date in ("2024", _LONG_AGO.date(), np.int64(1_577_836_800)):
        bench.refused(functools.partial(ask, date, 1), "Invalid arguments")


@arguments.card("copy_rates_from with the date 2**31", "SystemError from OverflowError: a C long of 32 bits")
def date_too_big(bench: Bench) -> None:
    bench.raises(lambda: bench.mt5.copy_rates_from(bench.symbol, 1, 2**31, 1), SystemError, OverflowError)


@arguments.card("copy_rates_from_pos with count=10.0", "SystemError from TypeError")
def count_float(bench: Bench) -> None:
    bench.raises(lambda: bench.mt5.copy_rates_from_pos(bench.symbol, 1, 0, 10.0), SystemError, TypeError)


@arguments.card("copy_rates_from_pos with 3 arguments", "None, -2 Invalid arguments")
def arguments_missing(bench: Bench) -> None:
    bench.refused(lambda: bench.mt5.copy_rates_from_pos(bench.symbol, 1, 0), "Invalid arguments")


@arguments.card("order_calc_margin with volume='1'", "SystemError from TypeError")
def margin_of_text(bench: Bench) -> None:
    bench.raises(lambda: bench.mt5.order_calc_margin(0, bench.symbol, "1", 1.1), SystemError, TypeError)
