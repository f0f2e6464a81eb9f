"""The whole rule book at once: books with depth, stop-limits, close-by, swaps that reopen, costs, treatments.

Whatever happens, the money is what the deals say, volumes are what the orders say, and neither the cutting of the ticks
nor a restart can be seen.
"""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.config import InstrumentConfig
from libs.common.messages.market import TickBlock
from libs.common.mt5 import constants as mt5
from libs.common.mt5.sim import DealAdded, RequestAnswered, SimulatedTerminal, SymbolTerms, TerminalSettings, Treatment
from libs.common.mt5.sim.exposure import Exposure
from libs.common.trading.instrument import Instrument

CONFIGS = {
    "EURGBP": InstrumentConfig(profit_currency="GBP", swap_long_points=-4.0, swap_short_points=1.0),
    "EURUSD": InstrumentConfig(swap_long_points=-6.5, swap_short_points=1.2, stops_level_points=3),
    "GBPUSD": InstrumentConfig(margin_currency="GBP"),
}
FIRST_POINTS = {"EURGBP": 80_000, "EURUSD": 130_000, "GBPUSD": 160_000}
SYMBOLS = tuple(CONFIGS)
START_NS = 1_398_938_400_000_000_000
SECOND_NS = 1_000_000_000
TERMS = st.builds(
    SymbolTerms,
    execution=st.sampled_from(["market", "instant", "exchange"]),
    filling_mode=st.just(7),
    freeze_level_points=st.sampled_from([0, 4]),
    volume_limit_lots=st.sampled_from([0.0, 6.0]),
    margin_rate_pending=st.sampled_from([0.0, 0.5]),
    margin_hedged_use_leg=st.booleans(),
    margin_hedged=st.sampled_from([0.0, 50_000.0]),
    swap_mode=st.sampled_from(["points", "interest_open", "reopen_close", "base_currency"]),
    depth_lots=st.sampled_from([(), (0.3,), (0.2, 0.5, 1.0)]),
    commission_pct=st.sampled_from([0.0, 0.002]),
    fee_per_lot_ccy=st.sampled_from([0.0, 0.3]),
    gtc_mode=st.sampled_from(["gtc", "daily"]),
    trigger=st.sampled_from(["quote", "last"]),
)
SETTINGS = st.builds(
    TerminalSettings,
    balance_ccy=st.sampled_from([2_500.0, 40_000.0]),
    credit_ccy=st.sampled_from([0.0, 100.0]),
    hedging=st.booleans(),
    latency_ms=st.sampled_from([0.0, 1_500.0]),
    latency_sigma=st.sampled_from([0.0, 0.5]),
    slippage=st.sampled_from(["none", "half_normal"]),
    slippage_points=st.just(3.0),
    limit_fill=st.sampled_from(["level", "better"]),
    stop_out_mode=st.sampled_from(["percent", "money"]),
    stop_out_ccy=st.just(400.0),
    fifo_close=st.booleans(),
    requests_per_s=st.sampled_from([0, 2]),
    server_zone=st.sampled_from(["NY+7", "EET", "UTC+3"]),
    symbols=st.fixed_dictionaries({symbol: TERMS for symbol in SYMBOLS}),
)
TREATMENTS = (
    Treatment(), Treatment(fill_lots=0.2, rest="cancel"), Treatment(fill_lots=0.1, rest="reject"),
    Treatment(answer_with=10012), Treatment(refuse_with=10004), Treatment(skip_tickets=3, comment="x", magic=0),
    Treatment(latency_ns=9 * SECOND_NS), Treatment(latency_ns=SECOND_NS, overtakes=True),
)


def story(seed, length=130):
    """Return ticks (symbol, time, bid, ask, last) and what is asked after some of them."""
    rng = np.random.default_rng(seed)
    order = list(SYMBOLS)
    while len(order) < length:
        order += [SYMBOLS[rng.integers(0, 3)]] * int(rng.integers(1, 10))
    points, now_ns, ticks, asked = dict(FIRST_POINTS), START_NS, [], {}
    for k, symbol in enumerate(order):
        now_ns += int(rng.choice([0, 1, 7, 3_600, 40_000], p=[0.2, 0.5, 0.25, 0.03, 0.02])) * SECOND_NS
        points[symbol] += int(rng.normal(0.0, 12.0)) * (80 if rng.random() < 0.03 else 1)
        spread = int(rng.integers(1, 20))
        bid, ask = points[symbol] / 1e5, (points[symbol] + spread) / 1e5
        ticks.append((symbol, now_ns, bid, ask, bid if rng.random() < 0.6 else 0.0))
        if rng.random() < 0.35:
            asked[k] = [int(value) for value in rng.integers(0, 1_000_000, 10)]
    return ticks, asked


def request_from(numbers, symbol, terminal):
    """Turn a handful of numbers into a request that is sensible more often than not."""
    quote = terminal.symbol_info_tick(symbol)
    bid, ask = round(quote.bid * 1e5), round(quote.ask * 1e5)
    what, side, away, lots, filling, pick, extra, more, life, treated = numbers
    side, away, volume = side % 2, 3 + away % 60, (1 + lots % 150) / 100
    below, above = (bid - away) / 1e5, (ask + away) / 1e5
    treatment = TREATMENTS[treated % len(TREATMENTS)] if treated % 3 == 0 else Treatment()
    base = {"symbol": symbol, "volume": volume, "magic": extra + 1, "type_filling": filling % 3}
    held = terminal.positions_get()
    waiting = terminal.orders_get()
    deal = {"action": mt5.TRADE_ACTION_DEAL, "price": ask / 1e5 if side == 0 else bid / 1e5, "deviation": 5}
    if what % 10 < 4:
        stops = {"sl": (below, above)[side], "tp": (above, below)[side]} if extra % 3 else {}
        return base | deal | {"type": side} | stops, treatment
    if what % 10 < 7:
        kind = 2 + pick % 6
        falls = kind in (2, 5, 7)
        price = below if falls else above
        nearer = round(price + (1e-5 if falls else -1e-5) * min(away - 1, more % 20), 5)
        return base | {"action": mt5.TRADE_ACTION_PENDING, "type": kind, "price": price, "stoplimit": nearer,
                       "type_filling": filling % 4, "type_time": life % 2}, treatment
    if what % 10 == 7 and held:
        position = held[pick % len(held)]
        return base | deal | {"symbol": position.symbol, "position": position.ticket, "type": 1 - position.type,
                              "volume": min(volume, position.volume), "price": 0.0001 if position.type == 0 else 9.0,
                              "deviation": 2**31}, treatment
    if what % 10 == 8 and len(held) > 1:
        return {"action": mt5.TRADE_ACTION_CLOSE_BY, "position": held[pick % len(held)].ticket,
                "position_by": held[more % len(held)].ticket}, treatment
    if waiting:
        order = waiting[pick % len(waiting)]
        if more % 2:
            return {"action": mt5.TRADE_ACTION_REMOVE, "order": order.ticket}, treatment
        return {"action": mt5.TRADE_ACTION_MODIFY, "order": order.ticket, "stoplimit": order.price_stoplimit,
                "price": round(order.price_open + (more % 5 - 2) * 1e-5, 5), "sl": 0.0, "tp": 0.0}, treatment
    if held:
        position = held[pick % len(held)]
        return {"action": mt5.TRADE_ACTION_SLTP, "symbol": position.symbol, "position": position.ticket, "sl": below,
                "tp": 0.0}, treatment
    return base | deal | {"type": side}, treatment


def play(seed, settings_, cuts=frozenset(), restart=False):
    """Return all events, the last snapshot and the terminal."""
    def fresh():
        return SimulatedTerminal(settings_, {s: Instrument(s, CONFIGS[s]) for s in SYMBOLS}, 5)

    terminal, events, first = fresh(), [], 0
    ticks, asked = story(seed)
    for k, tick in enumerate(ticks):
        ends = k + 1 == len(ticks) or k in cuts or k in asked or ticks[k + 1][0] != tick[0]
        if not ends:
            continue
        symbols, times, bids, asks, lasts = zip(*ticks[first:k + 1], strict=True)
        events += terminal.advance(TickBlock(
            symbol=symbols[0], first_tick=1, time_ns=np.array(times), bid=np.array(bids), ask=np.array(asks),
            last=np.array(lasts), ts_event_ns=times[-1], ts_init_ns=times[-1],
        ))
        first = k + 1
        if k in asked:
            request, treatment = request_from(asked[k], tick[0], terminal)
            events += terminal.submit(request, f"{k}", times[-1], treatment)
        if restart:
            successor = fresh()
            successor.restore(terminal.snapshot())
            assert successor.snapshot() == terminal.snapshot()
            terminal = successor
    return events, terminal.snapshot(), terminal


@settings(max_examples=25, deadline=None)
@given(settings_=SETTINGS, seed=st.integers(0, 100_000), cuts=st.frozensets(st.integers(0, 140)))
def test_neither_cuts_nor_restarts_can_be_seen(settings_, seed, cuts):
    whole = play(seed, settings_)[:2]
    assert play(seed, settings_, cuts)[:2] == whole
    assert play(seed, settings_, cuts, restart=True)[:2] == whole


@settings(max_examples=40, deadline=None)
@given(settings_=SETTINGS, seed=st.integers(0, 100_000))
def test_money_volumes_and_sums_agree(settings_, seed):
    events, _, terminal = play(seed, settings_)
    deals = [event.deal for event in events if isinstance(event, DealAdded)]
    _money_is_what_the_deals_say(deals, terminal)
    _positions_are_what_the_deals_say(deals, terminal)
    _sums_are_those_of_the_positions(terminal)
    for order in (*terminal.orders_get(), *terminal.history_orders_get(0, 2**31 - 1)):
        done = sum(round(d.volume * 1e8) for d in deals if d.order == order.ticket and d.entry != mt5.DEAL_ENTRY_OUT_BY)
        if order.type != mt5.ORDER_TYPE_CLOSE_BY:
            assert done == round((order.volume_initial - order.volume_current) * 1e8)
        assert order.volume_current >= 0.0
    tickets = [deal.ticket for deal in deals]
    assert tickets == sorted(set(tickets))
    answered = [event.request_key for event in events if isinstance(event, RequestAnswered)]
    assert len(answered) == len(set(answered))


def _money_is_what_the_deals_say(deals, terminal):
    cents = sum(round((d.profit + d.swap + d.commission + d.fee) * 100) for d in deals)
    assert round(terminal.balance_ccy * 100) == round(terminal.settings.balance_ccy * 100) + cents
    floating = sum(p.profit + p.swap for p in terminal.positions_get())
    account = terminal.account_info()
    assert abs(account.equity - (terminal.balance_ccy + terminal.settings.credit_ccy + floating)) < 0.006
    assert abs(account.margin_free - (account.equity - account.margin)) < 0.006
    assert account.margin >= 0.0


def _positions_are_what_the_deals_say(deals, terminal):
    volumes: dict[int, int] = {}
    for deal in deals:
        sign = 1 if deal.type == mt5.DEAL_TYPE_BUY else -1
        volumes[deal.position_id] = volumes.get(deal.position_id, 0) + sign * round(deal.volume * 1e8)
    held = {p.identifier: round(p.volume * 1e8) * (1 if p.type == 0 else -1) for p in terminal.positions_get()}
    assert len(held) == len(terminal.positions_get())
    assert {key: volume for key, volume in volumes.items() if volume} == held
    assert all(p.volume > 0.0 for p in terminal.positions_get())
    if not terminal.settings.hedging:
        assert len({p.symbol for p in terminal.positions_get()}) == len(terminal.positions_get())


def _sums_are_those_of_the_positions(terminal):
    ledger = terminal._ledger
    for symbol, traded in ledger.symbols.items():
        anew = Exposure(traded.instrument, traded.value_per_lot, traded.value_per_lot)
        for position in ledger.positions(symbol):
            anew.enter(position)
        for order in ledger.orders(symbol):
            anew.place(order)
        kept = traded.exposure
        for ours, theirs in ((kept.long, anew.long), (kept.short, anew.short)):
            assert [getattr(ours, n) for n in ("units", "cost", "margin_ccy", "lots", "count")] == [
                getattr(theirs, n) for n in ("units", "cost", "margin_ccy", "lots", "count")]
        assert (kept.swap_ccy, kept.pending_margin_ccy) == (anew.swap_ccy, anew.pending_margin_ccy)
        assert list(kept.lines()) == list(anew.lines())
        assert kept.expiries == anew.expiries


def test_the_stories_show_everything():
    """The properties above would mean little if nothing ever happened in them."""
    seen, codes = set(), set()
    for seed in range(80):
        rng = np.random.default_rng(seed)
        terms = SymbolTerms(
            execution=("market", "exchange")[seed % 2], filling_mode=7, depth_lots=((), (0.2, 0.5))[seed % 3 > 0],
            swap_mode=("points", "reopen_close")[seed % 5 == 0], freeze_level_points=4 * (seed % 2),
        )
        settings_ = TerminalSettings(
            balance_ccy=float(rng.choice([2_500.0, 40_000.0])), hedging=seed % 4 > 0, requests_per_s=2,
            symbols=dict.fromkeys(SYMBOLS, terms),
        )
        events, _, terminal = play(seed, settings_)
        codes |= {e.result.retcode for e in events if isinstance(e, RequestAnswered)}
        seen |= {("reason", e.deal.reason) for e in events if isinstance(e, DealAdded)}
        seen |= {("entry", e.deal.entry) for e in events if isinstance(e, DealAdded)}
        seen |= {("state", o.state) for o in terminal.history_orders_get(0, 2**31 - 1)}
        seen |= {("type", o.type) for o in terminal.history_orders_get(0, 2**31 - 1)}
    assert {("reason", reason) for reason in (3, 4, 5, 6, 7)} <= seen
    assert {("entry", entry) for entry in range(4)} <= seen
    assert {("state", state) for state in (2, 4, 5, 6)} <= seen
    assert {("type", kind) for kind in (0, 1, 2, 3, 4, 5, 8)} <= seen
    assert {10004, 10006, 10009, 10010, 10012, 10015, 10018, 10019, 10024, 10029, 10030} <= codes
