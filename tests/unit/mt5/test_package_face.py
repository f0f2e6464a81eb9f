"""The simulated terminal answers the package's questions in the package's shapes."""

import datetime

import pytest

from libs.common.mt5 import constants as mt5
from libs.common.mt5 import results


@pytest.fixture
def trading(market):
    desk = market(("EURUSD", "GBPUSD", "USDJPY"))
    desk.ticks((1.1000, 1.1002))
    desk.ticks((1.6, 1.6001), symbol="GBPUSD")
    return desk


@pytest.mark.parametrize(("kind", "fields", "first", "last"), [
    (results.AccountInfo, 28, "login", "company"), (results.TerminalInfo, 22, "community_account", "commondata_path"),
    (results.SymbolInfo, 96, "custom", "path"), (results.Tick, 8, "time", "volume_real"),
    (results.TradePosition, 19, "ticket", "external_id"), (results.TradeOrder, 24, "ticket", "external_id"),
    (results.TradeDeal, 18, "ticket", "external_id"), (results.TradeRequest, 17, "action", "position_by"),
    (results.OrderSendResult, 11, "retcode", "request"), (results.OrderCheckResult, 9, "retcode", "request"),
])
def test_answers_have_the_packages_fields(kind, fields, first, last):
    assert (len(kind._fields), kind._fields[0], kind._fields[-1]) == (fields, first, last)


def test_positions_are_found_by_ticket_before_symbol_before_group(trading):
    euro, pound = trading.buy().order, trading.buy(symbol="GBPUSD").order
    find = trading.terminal.positions_get
    assert [p.ticket for p in find()] == [euro, pound]
    assert [p.ticket for p in find(symbol="GBPUSD")] == [pound]
    assert [p.ticket for p in find(ticket=euro, symbol="GBPUSD")] == [euro]
    assert [p.ticket for p in find(group="*USD,!GBP*")] == [euro]
    assert find(ticket=5) == ()
    assert trading.terminal.positions_total() == 2


def test_history_is_found_by_server_time_order_or_position(trading):
    opened = trading.buy()
    closed = trading.sell(position=opened.order)
    deals, orders = trading.terminal.history_deals_get, trading.terminal.history_orders_get
    server_s = trading.terminal.symbol_info_tick("GBPUSD").time
    assert [d.ticket for d in deals(server_s, server_s)] == [opened.deal, closed.deal]
    assert deals(0, server_s - 1) == ()
    moment = datetime.datetime.fromtimestamp(server_s, datetime.UTC)
    assert len(deals(moment, moment + datetime.timedelta(seconds=1), group="EUR*")) == 2
    assert [d.ticket for d in deals(ticket=closed.order)] == [closed.deal]
    assert [d.ticket for d in deals(position=opened.order)] == [opened.deal, closed.deal]
    assert [o.ticket for o in orders(position=opened.order)] == [opened.order, closed.order]
    assert trading.terminal.history_deals_total(0, 2**31 - 1) == 2
    assert trading.terminal.history_orders_total(0, 2**31 - 1) == 2


def test_symbols_describe_instrument_and_quote(trading):
    info = trading.terminal.symbol_info("EURUSD")
    assert (info.bid, info.ask, info.spread, info.digits, info.point) == (1.1, 1.1002, 20, 5, 1e-5)
    assert (info.trade_tick_value, info.trade_contract_size, info.swap_long) == (pytest.approx(1.0), 100_000.0, -6.5)
    assert (info.name, info.currency_base, info.currency_profit) == ("EURUSD", "EUR", "USD")
    assert trading.terminal.symbol_info("NOPE") is None
    assert trading.terminal.last_error() == (-4, "Terminal: Not found")
    assert trading.terminal.symbol_info_tick("USDJPY") is None
    assert [s.name for s in trading.terminal.symbols_get(group="*,!*JPY")] == ["EURUSD", "GBPUSD"]
    tick = trading.terminal.symbol_info_tick("EURUSD")
    assert tick.time_msc == 1_398_938_400_000 + 3 * 3_600_000  # summer: the broker runs three hours before UTC


def test_the_account_names_its_kind(trading):
    account = trading.terminal.account_info()
    assert (account.balance, account.equity, account.margin_level) == (10_000.0, 10_000.0, 0.0)
    assert (account.currency, account.leverage, account.margin_mode) == ("USD", 100, 2)
    assert (account.margin_so_call, account.margin_so_so) == (100.0, 50.0)


def test_order_check_says_what_would_happen_and_changes_nothing(trading):
    before = trading.terminal.snapshot()
    request = {"action": 1, "symbol": "EURUSD", "volume": 1.0, "type": mt5.ORDER_TYPE_BUY}
    check = trading.terminal.order_check(request)
    assert (check.retcode, check.comment, check.margin, check.balance) == (0, "Done", 1_100.2, 9_996.5)
    assert check.profit == -20.0
    assert trading.terminal.order_check({**request, "volume": 50.0}).retcode == mt5.TRADE_RETCODE_NO_MONEY
    assert trading.terminal.order_check({"volume": 1}) is None
    assert trading.terminal.snapshot() == before
    answer = trading.send(**request)
    assert (answer.retcode, trading.terminal.margin_ccy) == (10009, check.margin)


def test_calculators_give_profit_and_margin_or_none(trading):
    terminal = trading.terminal
    assert terminal.order_calc_profit(mt5.ORDER_TYPE_SELL, "EURUSD", 0.5, 1.1, 1.09) == 500.0
    assert terminal.order_calc_profit(mt5.ORDER_TYPE_BUY, "USDJPY", 1.0, 100.0, 101.0) == 990.1
    assert terminal.order_calc_margin(mt5.ORDER_TYPE_BUY, "EURUSD", 0.5, 1.1) == 550.0
    assert terminal.order_calc_margin(mt5.ORDER_TYPE_BUY, "NOPE", 0.5, 1.1) is None
    assert terminal.last_error() == (-1, "Terminal: Call failed")


def test_snapshots_are_refused_when_they_cannot_be_used(trading, market):
    trading.buy(symbol="GBPUSD")
    with pytest.raises(ValueError, match="GBPUSD"):
        market().terminal.restore(trading.terminal.snapshot())
    with pytest.raises(ValueError, match="not a snapshot"):
        market().terminal.restore(b"\x01")


def test_history_keeps_the_newest_and_the_balance_stays_right(market):
    desk = market(history_limit=100, balance_ccy=1_000_000.0)
    desk.ticks((1.1, 1.1))
    for _ in range(80):
        desk.sell(position=desk.buy().order)
    deals = desk.deals
    assert 90 <= len(deals) <= 100
    assert deals[-1].ticket - deals[0].ticket == len(deals) - 1
    assert desk.terminal.balance_ccy == round(1_000_000.0 - 160 * 0.35, 2)


def test_a_restored_terminal_forgets_what_it_held_before(trading, market):
    trading.buy(sl=1.09)
    other = market(("EURUSD", "GBPUSD", "USDJPY"))
    other.ticks((1.1, 1.1002))
    other.sell()
    assert other.terminal.margin_ccy > 0.0
    other.terminal.restore(trading.terminal.snapshot())
    other.now_ns = trading.now_ns
    assert other.terminal.margin_ccy == trading.terminal.margin_ccy
    other.buy(volume=0.1)
    trading.buy(volume=0.1)
    assert other.ticks((1.08, 1.0801)) == trading.ticks((1.08, 1.0801))
    assert other.terminal.snapshot() == trading.terminal.snapshot()
