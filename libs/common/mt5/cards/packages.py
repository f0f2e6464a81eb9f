"""Cards about the package itself: its names and values, its types, and how it is without a terminal."""

import pickle
from typing import Any

from libs.common.mt5 import constants, results
from libs.common.mt5.cards.card import Bench, Broken, Deck

names = Deck("names", connected=False)
records = Deck("types", connected=False)
unconnected = Deck("no connection", connected=False)
connection = Deck("connection")

_GROUPS = {
    "timeframes": ("TIMEFRAME_", 21), "tick-choices": ("COPY_TICKS_", 3), "tick-flags": ("TICK_FLAG_", 6),
    "order-types": ("ORDER_TYPE_", 9), "order-states": ("ORDER_STATE_", 10), "trade-actions": ("TRADE_ACTION_", 6),
    "deal-types": ("DEAL_TYPE_", 15), "deal-reasons": ("DEAL_REASON_", 10), "return-codes": ("TRADE_RETCODE_", 40),
    "calculation-modes": ("SYMBOL_CALC_MODE_", 14), "swap-modes": ("SYMBOL_SWAP_MODE_", 9), "errors": ("RES_", 15),
    "account-modes": ("ACCOUNT_", 8), "book-types": ("BOOK_TYPE_", 4),
}  # fmt: skip


def _constants_card(prefix: str, count: int) -> Any:
    def check(bench: Bench) -> None:
        known = {name: value for name, value in constants.PACKAGE_CONSTANTS.items() if name.startswith(prefix)}
        bench.equal(f"number of {prefix}*", len(known), count)
        bench.equal("values", {name: getattr(bench.mt5, name, None) for name in known}, known)

    return check


for _name, (_prefix, _count) in _GROUPS.items():
    names.add(
        f"constants-{_name}", f"the {_count} names {_prefix}*", "the values of package 5.0.6231",
        _constants_card(_prefix, _count),
    )  # fmt: skip


@names.card("all constants of package 5.0.6231", "223 names, each with its value")
def constants_all(bench: Bench) -> None:
    bench.equal("number", len(constants.PACKAGE_CONSTANTS), 223)
    wrong = [name for name, value in constants.PACKAGE_CONSTANTS.items() if getattr(bench.mt5, name, None) != value]
    bench.equal("wrong or missing", wrong, [])


@names.card("SYMBOL_FILLING_FOK, SYMBOL_EXPIRATION_GTC, SYMBOL_ORDER_MARKET", "absent: the package leaves flags out")
def constants_absent(bench: Bench) -> None:
    for name in ("SYMBOL_FILLING_FOK", "SYMBOL_EXPIRATION_GTC", "SYMBOL_ORDER_MARKET"):
        bench.true(f"no {name}", not hasattr(bench.mt5, name))


def _type_card(name: str) -> Any:
    def check(bench: Bench) -> None:
        fields = getattr(results, name)._fields
        kind = getattr(bench.mt5, name)
        bench.equal("n_fields", kind.n_fields, len(fields))
        bench.equal("order of fields", tuple(kind.__match_args__), fields)
        record = kind(range(len(fields)))
        bench.equal("as a tuple", tuple(record), tuple(range(len(fields))))
        bench.equal("_asdict()", record._asdict(), dict(zip(fields, range(len(fields)), strict=True)))

    return check


for _name in (
    "AccountInfo", "BookInfo", "OrderCheckResult", "OrderSendResult", "SymbolInfo", "TerminalInfo", "Tick", "TradeDeal",
    "TradeOrder", "TradePosition", "TradeRequest",
):  # fmt: skip
    records.add(
        f"type-{_name}", f"{_name} made of a sequence", f"{len(getattr(results, _name)._fields)} fields in order, a tuple",
        _type_card(_name),
    )  # fmt: skip


@records.card("a Tick: _fields, _replace, _make, keyword constructor", "none of them: it is a struct sequence")
def type_is_no_named_tuple(bench: Bench) -> None:
    tick = bench.mt5.Tick(range(8))
    for name in ("_fields", "_replace", "_make"):
        bench.true(f"no {name}", not hasattr(tick, name))
    bench.raises(lambda: bench.mt5.Tick(time=1), TypeError, None)


@records.card("setting a field of a Tick", "AttributeError")
def type_is_read_only(bench: Bench) -> None:
    tick = bench.mt5.Tick(range(8))
    bench.raises(lambda: setattr(tick, "bid", 1.0), AttributeError, None)


@records.card("a Tick of 7 values", "TypeError")
def type_wants_all_fields(bench: Bench) -> None:
    bench.raises(lambda: bench.mt5.Tick(range(7)), TypeError, None)


@records.card("pickle.dumps of a Tick", "PicklingError: convert before sending anywhere")
def type_is_not_pickled(bench: Bench) -> None:
    bench.raises(lambda: pickle.dumps(bench.mt5.Tick(range(8))), pickle.PicklingError, None)


# Without a terminal.

_NO_PIPE = (-10004, "No IPC connection")


@unconnected.card("account_info() without initialize()", "None, -10004 No IPC connection")
def unconnected_account(bench: Bench) -> None:
    bench.equal("answer", bench.mt5.account_info(), None)
    bench.equal("last_error()", bench.mt5.last_error(), _NO_PIPE)


@unconnected.card("version() without initialize()", "(0, 0, '') and not None, -10004")
def unconnected_version(bench: Bench) -> None:
    bench.equal("answer", bench.mt5.version(), (0, 0, ""))
    bench.equal("last_error()", bench.mt5.last_error(), _NO_PIPE)


@unconnected.card("symbols_total() without initialize()", "None, -5 and not -10004")
def unconnected_symbols(bench: Bench) -> None:
    bench.equal("answer", bench.mt5.symbols_total(), None)
    bench.failed_with(-5)


@unconnected.card("market_book_add() without initialize()", "False with (1, 'Success')")
def unconnected_book(bench: Bench) -> None:
    bench.true("False", bench.mt5.market_book_add("EURUSD") is False)
    bench.succeeds()


@unconnected.card("symbol_select() without initialize()", "False, -10004")
def unconnected_select(bench: Bench) -> None:
    bench.true("False", bench.mt5.symbol_select("EURUSD", True) is False)
    bench.equal("last_error()", bench.mt5.last_error(), _NO_PIPE)


@unconnected.card("login() without initialize()", "False, -10004")
def unconnected_login(bench: Bench) -> None:
    bench.true("False", bench.mt5.login(1) is False)
    bench.equal("last_error()", bench.mt5.last_error(), _NO_PIPE)


@unconnected.card("order_send() without initialize()", "None, -10004: certainly not sent")
def unconnected_order(bench: Bench) -> None:
    bench.equal("answer", bench.mt5.order_send({"action": 1, "symbol": "EURUSD", "volume": 0.01}), None)
    bench.equal("last_error()", bench.mt5.last_error(), _NO_PIPE)


@unconnected.card("a bad argument without initialize()", "-2 before -10004: arguments are read first")
def unconnected_arguments_first(bench: Bench) -> None:
    bench.refused(lambda: bench.mt5.order_send({"volume": 1}), 'Invalid "volume" argument')


@unconnected.card("shutdown() twice", "True both times, (1, 'Success')")
def shutdown_never_fails(bench: Bench) -> None:
    for _ in range(2):
        bench.true("True", bench.mt5.shutdown() is True)
        bench.succeeds()


# With a terminal.


@connection.card("initialize() when already connected", "True: the connection is made anew")
def initialize_again(bench: Bench) -> None:
    bench.true("True", bench.mt5.initialize(**bench.connect) is True)
    bench.true("account_info() answers", bench.mt5.account_info() is not None)


@connection.card("shutdown(), then account_info()", "None, -10004")
def shutdown_disconnects(bench: Bench) -> None:
    bench.mt5.shutdown()
    unconnected_account(bench)


@connection.card("version()", "(500, build, date)")
def version_of_terminal(bench: Bench) -> None:
    found = bench.mt5.version()
    bench.equal("first number", found[0], 500)
    bench.true("build and date", found[1] > 0 and isinstance(found[2], str) and len(found) == 3)


@connection.card("terminal_info()", "connected, and its build is version()'s")
def terminal_is_connected(bench: Bench) -> None:
    info = bench.mt5.terminal_info()
    bench.true("connected", info.connected)
    bench.equal("build", info.build, bench.mt5.version()[1])


@connection.card("login('1')", "False, -2 Invalid 1st unnamed argument")
def login_wants_a_number(bench: Bench) -> None:
    bench.refused(lambda: bench.mt5.login("1"), "Invalid 1st unnamed argument", False)


@connection.card("login(-1)", "SystemError from OverflowError")
def login_negative(bench: Bench) -> None:
    bench.raises(lambda: bench.mt5.login(-1), SystemError, OverflowError)


@connection.card("last_error() after a failure and then a success", "(1, 'Success'): it is the last call's")
def last_error_is_the_last_calls(bench: Bench) -> None:
    bench.mt5.symbol_info(5)
    bench.failed_with(-2)
    bench.mt5.account_info()
    bench.succeeds()


@connection.card("version(1)", "TypeError, and last_error() stays")
def type_error_leaves_last_error(bench: Bench) -> None:
    bench.mt5.symbol_info(5)
    try:
        bench.mt5.version(1)
    except TypeError:
        bench.failed_with(-2)
        return
    raise Broken("no TypeError")


@connection.card("account_info()", "equity = balance + credit + profit (swap included), margin_free = equity - margin")
def account_adds_up(bench: Bench) -> None:
    account = bench.mt5.account_info()
    swaps = sum(position.swap for position in bench.mt5.positions_get())
    cent = 10.0**-account.currency_digits
    bench.near("equity", account.equity, account.balance + account.credit + account.profit + swaps, 2 * cent + abs(swaps))
    bench.near("margin_free", account.margin_free, account.equity - account.margin, 2 * cent)
