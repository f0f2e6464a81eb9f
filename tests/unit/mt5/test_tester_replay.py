"""A recorded strategy-tester report, played again: the simulator makes the tester's deals, to the cent.

The report (2,790 deals of gold) holds orders and deals, not the ticks between. So the market here is the tester's own
ticks where it dealt, and the M1 bars of the same broker elsewhere. How the expert trailed its SL is not recorded: the
level at which a position was closed is set just before.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from libs.common.config import InstrumentConfig
from libs.common.messages.market import TickBlock
from libs.common.mt5 import constants as mt5
from libs.common.mt5.sim import SimulatedTerminal, TerminalSettings
from libs.common.trading.instrument import Instrument

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
DEALS, ORDERS = DATA / "trades/mt5_tester_deals_xauusd_2026.csv", DATA / "trades/mt5_tester_orders_xauusd_2026.csv"
STATEMENT = DATA / "trades/mt4_statement_xauusd_2026.csv"
BARS = DATA / "bars/xauusd_m1_mt5_2025-12_2026-03.parquet"
pytestmark = pytest.mark.skipif(
    not DEALS.exists(), reason=f"the tester's report is not at {DEALS}: see the data folder's README for its source"
)
GOLD = InstrumentConfig(
    digits=2, contract_size=100.0, margin_currency="XAU", commission_per_lot_ccy=0.0, swap_long_points=-71.55,
    swap_short_points=31.12,
)
CENT, SPREAD = 0.01, 0.35
NS = 1_000_000_000
IN, OUT = mt5.DEAL_ENTRY_IN, mt5.DEAL_ENTRY_OUT


class Replay:
    """Plays orders and deals of the report on a simulated terminal, one event after the other."""

    def __init__(self, bars=None):
        # The report does not tell leverage and stop-out level; the tester's account was never short of money.
        settings = TerminalSettings(leverage=100_000.0, stop_out_pct=0.0, margin_call_pct=0.0, limit_fill="better")
        self.terminal = SimulatedTerminal(settings, {"XAUUSD": Instrument("XAUUSD", GOLD)}, seed=1)
        self.tickets, self.deals, self.dropped, self.fed = {}, [], 0, 0
        self.bars = bars
        self.next_bar = 0
        self.told = []

    def tick(self, second, bid, ask):
        when = max(second * NS, self.terminal.clock_ns)
        events = self.terminal.advance(TickBlock(
            symbol="XAUUSD", first_tick=1, time_ns=np.array([when]), bid=np.array([bid]), ask=np.array([ask]),
            ts_event_ns=when, ts_init_ns=when,
        ))
        self.deals += [event.deal for event in events]

    def bars_until(self, second, busy):
        """Let the bars pass that end before a moment, except minutes in which the tester dealt."""
        if self.bars is None:
            return
        while self.next_bar < len(self.bars) and self.bars[self.next_bar][0] + 60 <= second:
            start, *prices, spread = self.bars[self.next_bar]
            self.next_bar += 1
            if start // 60 in busy:
                continue
            for place, bid in enumerate(prices):
                ask = round(bid + max(spread, 1) * CENT, 2)
                self.fed += 1
                if self._would_deal(bid, ask):
                    self.dropped += 1
                else:
                    self.tick(start + place, bid, ask)

    def _would_deal(self, bid, ask):
        exposure = self.terminal._ledger.exposure("XAUUSD")
        low_bid, high_bid, low_ask, high_ask = exposure.lines()
        return bid <= low_bid or bid >= high_bid or ask <= low_ask or ask >= high_ask

    def place(self, order):
        kind = mt5.ORDER_TYPE_BUY_STOP if order["type"] == "buy stop" else mt5.ORDER_TYPE_SELL_STOP
        quote = self.terminal.symbol_info_tick("XAUUSD")
        sign = 1 if kind == mt5.ORDER_TYPE_BUY_STOP else -1
        if quote is None or sign * (order["price"] - (quote.ask if sign > 0 else quote.bid)) < CENT / 2:
            # The last quote we know is older than the order: the market was on its other side by then.
            level = order["price"] - sign * 1.0
            self.tick(order["open_time"], level, round(level + CENT, 2))
        answer = self.terminal.order_send({
            "action": mt5.TRADE_ACTION_PENDING, "symbol": "XAUUSD", "volume": order["volume"], "type": kind,
            "price": order["price"], "sl": order["sl"], "tp": order["tp"], "comment": order["comment"],
        })
        assert answer.retcode == mt5.TRADE_RETCODE_DONE, answer
        self.tickets[order["order"]] = answer.order

    def deal(self, deals):
        """Give the market the price of deals made in one second at one price; set the SLs they were closed at."""
        first = deals[0]
        buys = first["type"] == "buy"
        taken = set()
        for deal in deals:
            if deal["direction"] == "out" and deal["comment"].startswith("sl"):
                position = self._closed_position(deal, taken)
                taken.add(position.ticket)
                self._trail(position, float(deal["comment"][3:]), first["time"])
        bid = round(first["price"] - SPREAD, 2) if buys else first["price"]
        self.tick(first["time"], bid, round(bid + SPREAD, 2))

    def _closed_position(self, deal, taken):
        sign = -1 if deal["type"] == "buy" else 1
        opened = round(deal["price"] - sign * deal["profit"] / 100.0, 2)
        level = float(deal["comment"][3:])
        held = [p for p in self.terminal.positions_get()
                if p.ticket not in taken and (p.type == 0) == (sign > 0) and round(p.price_open, 2) == opened]
        by_tp = Counter(p.tp for p in held)

        def is_needed_later(position):
            return by_tp[position.tp] <= deal["later"][f"tp {position.tp:.2f}"]

        # One whose TP is reached later cannot be the one; of the rest, one that stands at this level already.
        return min(held, key=lambda p: (is_needed_later(p), p.sl != level, p.ticket))

    def _trail(self, position, level, second):
        if position.sl == level:
            return
        quote, sign = self.terminal.symbol_info_tick("XAUUSD"), 1 if position.type == 0 else -1
        if sign * ((quote.bid if sign > 0 else quote.ask) - level) < CENT / 2:
            side = round(level + sign * CENT, 2)
            self.tick(second, side if sign > 0 else round(side - CENT, 2), round(side + CENT, 2) if sign > 0 else side)
        answer = self.terminal.modify_stops(position.ticket, level, position.tp)
        assert answer.retcode == mt5.TRADE_RETCODE_DONE, answer

    def remove(self, order):
        answer = self.terminal.order_send({"action": mt5.TRADE_ACTION_REMOVE, "order": self.tickets[order["order"]]})
        assert answer.retcode == mt5.TRADE_RETCODE_DONE, answer


def report():
    deals = pl.read_csv(DEALS, infer_schema_length=5_000).filter(pl.col("type") != "balance").sort("deal").to_dicts()
    orders = pl.read_csv(ORDERS, infer_schema_length=5_000).to_dicts()
    for k, deal in enumerate(deals):
        deal["later"] = Counter(other["comment"] for other in deals[k + 1:k + 60])
    return deals, orders


def happenings(deals, orders):
    """Return (second, rank, what, record): orders come, deals are made, orders go, in the report's order."""
    groups: list[list[dict]] = []
    for deal in deals:
        last = groups[-1][0] if groups else None
        alike = last is not None and all(last[k] == deal[k] for k in ("time", "type", "direction", "price"))
        (groups[-1].append(deal) if alike else groups.append([deal]))
    steps = [(group[0]["time"], 1, group[0]["deal"], "deal", group) for group in groups]
    for order in orders:
        if order["type"].endswith("stop"):
            steps.append((order["open_time"], 0, order["order"], "place", order))
            if order["state"] == "canceled":
                steps.append((order["done_time"], 2, order["order"], "remove", order))
    return sorted(steps, key=lambda step: step[:3])


def replayed(bars, until=10**12):
    deals, orders = report()
    deals = [d for d in deals if d["time"] < until]
    orders = [o for o in orders if o["open_time"] < until]
    replay = Replay(bars)
    busy = {deal["time"] // 60 for deal in deals} | {order["open_time"] // 60 for order in orders}
    for second, _, _, what, record in happenings(deals, orders):
        if second >= until:
            break
        replay.bars_until(second, busy)
        getattr(replay, what)(record)
    return replay, deals


def comparable(deal):
    sides = {("buy", "in"): (0, IN), ("sell", "in"): (1, IN), ("buy", "out"): (0, OUT), ("sell", "out"): (1, OUT)}
    return (*sides[deal["type"], deal["direction"]], deal["volume"], deal["price"])


def test_every_deal_of_the_tester_is_made_again_to_the_cent():
    replay, deals = replayed(None)
    assert [(d.type, d.entry, d.volume, d.price) for d in replay.deals] == [comparable(deal) for deal in deals]
    assert [(d.profit, d.swap, d.commission) for d in replay.deals] == [
        (deal["profit"], deal["swap"], deal["commission"]) for deal in deals]
    assert len(deals) == 2_790
    assert replay.terminal.balance_ccy == 217_457.32
    assert sorted(d.swap for d in replay.deals if d.swap) == [-71.55] * 8 + [31.12] * 6
    assert {d.reason for d in replay.deals} == {mt5.DEAL_REASON_EXPERT, mt5.DEAL_REASON_SL, mt5.DEAL_REASON_TP}


@pytest.mark.skipif(not BARS.exists(), reason=f"the broker's M1 bars are not at {BARS}")
def test_the_brokers_own_bars_between_the_deals_set_off_nothing_else():
    bars = pl.read_parquet(BARS).filter(pl.col("time") >= 1_767_225_600)
    rows = bars.select("time", "open", "high", "low", "close", "spread").rows()
    replay, deals = replayed(rows, until=rows[-1][0])
    assert [(d.type, d.entry, d.volume, d.price, d.profit, d.swap) for d in replay.deals] == [
        (*comparable(deal), deal["profit"], deal["swap"]) for deal in deals]
    assert len(deals) == 1_548
    # A bar knows its smallest spread only, and the tester's ticks are not quite the bars' ticks.
    assert replay.fed > 280_000
    assert replay.dropped <= 8
    by_minute = {row[0]: row for row in rows}
    seen = [(deal["price"], by_minute[deal["time"] // 60 * 60]) for deal in deals if deal["time"] // 60 * 60 in by_minute]
    inside = sum(low - CENT <= price <= high + spread * CENT + CENT for price, (_, _, high, low, _, spread) in seen)
    assert len(seen) > 1_500
    assert inside / len(seen) > 0.97


@pytest.mark.skipif(not STATEMENT.exists(), reason=f"the account statement is not at {STATEMENT}")
def test_profits_and_swapped_nights_of_a_real_statement_are_worked_out_alike():
    """422 closed trades: every profit to the cent; every swap is as many nights as we count, three on Wednesday's."""
    euro = InstrumentConfig(commission_per_lot_ccy=0.0, swap_long_points=-1.0, swap_short_points=-1.0)
    configs = {"xauusd": InstrumentConfig(**{f: getattr(GOLD, f) for f in ("digits", "contract_size")},
                                          margin_currency="XAU", swap_long_points=-1.0, swap_short_points=-1.0,
                                          commission_per_lot_ccy=0.0), "eurusd": euro}
    trades = pl.read_csv(STATEMENT, infer_schema_length=5_000).filter(
        (pl.col("section") == "closed") & pl.col("type").is_in(["buy", "sell"])).to_dicts()
    rates: dict[tuple[str, str], list[float]] = {}
    for trade in trades:
        symbol, side = trade["symbol"], int(trade["type"] == "sell")
        settings = TerminalSettings(leverage=100_000.0, stop_out_pct=0.0)
        terminal = SimulatedTerminal(settings, {symbol: Instrument(symbol, configs[symbol])}, seed=1)

        def tick(second, price, terminal=terminal, symbol=symbol):
            terminal.advance(TickBlock(
                symbol=symbol, first_tick=1, time_ns=np.array([second * NS]), bid=np.array([price]),
                ask=np.array([price]), ts_event_ns=second * NS, ts_init_ns=second * NS,
            ))

        tick(trade["open_time"], trade["open_price"])
        deal = {"action": mt5.TRADE_ACTION_DEAL, "symbol": symbol, "volume": trade["lots"]}
        opened = terminal.order_send(deal | {"type": side})
        tick(trade["close_time"], trade["close_price"])
        nights = -terminal.positions_get()[0].swap / trade["lots"]
        terminal.order_send(deal | {"type": 1 - side, "position": opened.order})
        assert terminal.history_deals_get(position=opened.order)[-1].profit == trade["profit"]
        assert (nights == 0) == (trade["swap"] == 0)
        if nights:
            rates.setdefault((symbol, trade["type"]), []).append(trade["swap"] / trade["lots"] / nights)
    assert len(trades) == 422
    for found in rates.values():
        # The broker changed its rates a little during these months, but never by a whole night.
        assert max(found, key=abs) / min(found, key=abs) < 1.35
        assert len({rate > 0 for rate in found}) == 1
