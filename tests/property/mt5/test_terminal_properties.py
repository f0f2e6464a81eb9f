"""What must hold for the simulated terminal whatever the market and the orders do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.config import InstrumentConfig
from libs.common.messages.market import TickBlock
from libs.common.mt5 import constants as mt5
from libs.common.mt5.sim import DealAdded, RequestAnswered, SimulatedTerminal, TerminalSettings, kernel
from libs.common.trading.instrument import Instrument

CONFIGS = {
    "EURGBP": InstrumentConfig(profit_currency="GBP", swap_long_points=-4.0, swap_short_points=1.0),
    "EURUSD": InstrumentConfig(swap_long_points=-6.5, swap_short_points=1.2),
    "GBPUSD": InstrumentConfig(margin_currency="GBP"),
    "USDJPY": InstrumentConfig(digits=3, margin_currency="USD", profit_currency="JPY", swap_long_points=3.0),
}
SYMBOLS = tuple(CONFIGS)
FIRST_PRICES = {"EURGBP": 0.8, "EURUSD": 1.3, "GBPUSD": 1.6, "USDJPY": 100.0}
START_NS = 1_398_938_400_000_000_000
SECOND_NS = 1_000_000_000
SETTINGS = st.builds(
    TerminalSettings,
    balance_ccy=st.sampled_from([1_500.0, 20_000.0]),
    hedging=st.booleans(),
    latency_ms=st.sampled_from([0.0, 700.0, 5_000.0]),
    latency_sigma=st.sampled_from([0.0, 0.5]),
    slippage=st.sampled_from(["none", "half_normal"]),
    slippage_points=st.just(3.0),
)


class Story:
    """A merged stream of ticks of four symbols with requests between some of them, all from one seed."""

    def __init__(self, seed, length=160):
        rng = np.random.default_rng(seed)
        self.symbols = [SYMBOLS[k] for k in np.sort(rng.integers(0, 4, 4))] + list(SYMBOLS)
        while len(self.symbols) < length:
            # Runs of one symbol, so that there are blocks to cut.
            self.symbols += [SYMBOLS[rng.integers(0, 4)]] * int(rng.integers(1, 12))
        self.length = len(self.symbols)
        self.quotes, self.requests = [], {}
        last = {symbol: round(FIRST_PRICES[symbol] * 10 ** CONFIGS[symbol].digits) for symbol in SYMBOLS}
        now_ns = START_NS
        for k, symbol in enumerate(self.symbols):
            pause = rng.choice([0, 1, 7, 3_600, 40_000], p=[0.2, 0.5, 0.25, 0.04, 0.01])
            now_ns += int(pause) * SECOND_NS
            jump = 100 if rng.random() < 0.03 else 1
            last[symbol] += int(rng.normal(0.0, 12.0)) * jump
            unit = 10 ** CONFIGS[symbol].digits
            spread = int(rng.integers(1, 25))
            self.quotes.append((now_ns, last[symbol] / unit, (last[symbol] + spread) / unit))
            if rng.random() < 0.25:
                self.requests[k] = self._request(rng, symbol, last[symbol], spread)

    @staticmethod
    def _request(rng, symbol, bid_points, spread):
        unit = 10 ** CONFIGS[symbol].digits

        def at(points):
            return float(points / unit)

        side = int(rng.integers(0, 2))
        away = int(rng.integers(5, 80))
        below, above = at(bid_points - away), at(bid_points + spread + away)
        request = {"symbol": symbol, "volume": int(rng.integers(1, 120)) / 100, "magic": int(rng.integers(1, 2**62))}
        match rng.integers(0, 6):
            case 0 | 1 | 2:
                stops = {"sl": (below, above)[side], "tp": (above, below)[side]} if rng.random() < 0.7 else {}
                return request | {"action": mt5.TRADE_ACTION_DEAL, "type": side} | stops
            case 3:
                kind = int(rng.integers(mt5.ORDER_TYPE_BUY_LIMIT, mt5.ORDER_TYPE_SELL_STOP + 1))
                falls = kind in (mt5.ORDER_TYPE_BUY_LIMIT, mt5.ORDER_TYPE_SELL_STOP)
                return request | {"action": mt5.TRADE_ACTION_PENDING, "type": kind, "price": below if falls else above,
                                  "type_time": int(rng.integers(0, 2))}
            case 4:
                return request | {"action": "close", "which": int(rng.integers(0, 50))}
            case _:
                return request | {"action": "stops", "which": int(rng.integers(0, 50)), "sl": below, "tp": 0.0}


def play(story, terminal, cuts=frozenset(), restart=False):
    """Play the story, cut where it must be and where ``cuts`` says; return all events and the last snapshot."""
    events, first = [], 0
    settings_, seed = terminal.settings, 5
    for k in range(story.length):
        last = k + 1 == story.length
        if not (last or k in cuts or k in story.requests or story.symbols[k + 1] != story.symbols[k]):
            continue
        columns = list(zip(*story.quotes[first:k + 1], strict=True))
        told = terminal.advance(TickBlock(
            symbol=story.symbols[k], first_tick=1, time_ns=np.array(columns[0]), bid=np.array(columns[1]),
            ask=np.array(columns[2]), ts_event_ns=columns[0][-1], ts_init_ns=columns[0][-1],
        ))
        assert [e.ts_ns for e in told] == sorted(e.ts_ns for e in told)
        events += told
        first = k + 1
        if k in story.requests:
            events += terminal.submit(concrete(story.requests[k], terminal), f"{k}", columns[0][-1])
        if restart:
            successor = fresh(settings_, seed)
            successor.restore(terminal.snapshot())
            assert successor.snapshot() == terminal.snapshot()
            terminal = successor
    return events, terminal.snapshot(), terminal


def concrete(request, terminal):
    """Turn "close or change the n-th position" into a request."""
    request = dict(request)
    which = request.pop("which", None)
    if which is None:
        return request
    open_now = terminal.positions_get()
    if not open_now:
        return request | {"action": mt5.TRADE_ACTION_SLTP, "position": 1}
    position = open_now[which % len(open_now)]
    if request["action"] == "stops":
        return request | {"action": mt5.TRADE_ACTION_SLTP, "symbol": position.symbol, "position": position.ticket}
    return request | {"action": mt5.TRADE_ACTION_DEAL, "symbol": position.symbol, "position": position.ticket,
                      "type": 1 - position.type, "volume": min(request["volume"], position.volume)}


def fresh(settings_, seed=5):
    return SimulatedTerminal(settings_, {s: Instrument(s, CONFIGS[s]) for s in SYMBOLS}, seed)


@settings(max_examples=40, deadline=None)
@given(settings_=SETTINGS, seed=st.integers(0, 10_000), data=st.data())
def test_cutting_the_stream_otherwise_changes_nothing(settings_, seed, data):
    story = Story(seed)
    cuts = data.draw(st.frozensets(st.integers(0, story.length - 1)))
    whole = play(story, fresh(settings_))
    assert play(story, fresh(settings_), cuts)[:2] == whole[:2]
    assert play(story, fresh(settings_), frozenset(range(story.length)))[:2] == whole[:2]


@settings(max_examples=25, deadline=None)
@given(settings_=SETTINGS, seed=st.integers(0, 10_000), data=st.data())
def test_a_restart_between_any_two_blocks_is_invisible(settings_, seed, data):
    story = Story(seed)
    cuts = data.draw(st.frozensets(st.integers(0, story.length - 1)))
    whole = play(story, fresh(settings_))
    assert play(story, fresh(settings_), cuts, restart=True)[:2] == whole[:2]


@settings(max_examples=40, deadline=None)
@given(settings_=SETTINGS, seed=st.integers(0, 10_000))
def test_the_compiled_walk_skips_no_tick_at_which_something_happens(settings_, seed):
    """Looking at every single tick in Python gives the same events and the same state."""
    story = Story(seed)
    events, _, quick = play(story, fresh(settings_))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "scan", lambda time_ns, bid, ask, start, *rest: start)
        slow_events, _, slow = play(story, fresh(settings_))
    assert slow_events == events
    assert slow.positions_get() == quick.positions_get()
    assert slow.account_info() == quick.account_info()
    assert slow.peak_equity_ccy == pytest.approx(quick.peak_equity_ccy, abs=0.011)


@settings(max_examples=40, deadline=None)
@given(settings_=SETTINGS, seed=st.integers(0, 10_000))
def test_money_adds_up(settings_, seed):
    events, _, terminal = play(Story(seed), fresh(settings_))
    deals = [e.deal for e in events if isinstance(e, DealAdded)]
    assert deals == list(terminal.history_deals_get(0, 2**31 - 1))
    cents = sum(round(100 * amount) for d in deals for amount in (d.profit, d.swap, d.commission, d.fee))
    assert round(100 * terminal.balance_ccy) == round(100 * settings_.balance_ccy) + cents
    account, positions = terminal.account_info(), terminal.positions_get()
    assert account.balance == terminal.balance_ccy
    assert account.equity == round(account.balance + sum(p.profit + p.swap for p in positions), 2)
    assert account.margin_free == round(account.equity - account.margin, 2)
    assert terminal.peak_equity_ccy >= account.balance - 1e-9 or positions
    assert account.margin == 0.0 or account.equity / account.margin > 0.5


@settings(max_examples=40, deadline=None)
@given(settings_=SETTINGS, seed=st.integers(0, 10_000))
def test_open_volume_is_what_the_deals_say_and_every_request_is_answered_once(settings_, seed):
    events, _, terminal = play(Story(seed), fresh(settings_))
    expected: dict[str, float] = {}
    for deal in (e.deal for e in events if isinstance(e, DealAdded)):
        sign = 1 if deal.type == mt5.DEAL_TYPE_BUY else -1
        expected[deal.symbol] = expected.get(deal.symbol, 0.0) + sign * deal.volume
    held: dict[str, float] = {}
    for position in terminal.positions_get():
        sign = 1 if position.type == mt5.POSITION_TYPE_BUY else -1
        held[position.symbol] = held.get(position.symbol, 0.0) + sign * position.volume
    assert {s: round(v, 8) for s, v in expected.items() if round(v, 8)} == {
        s: round(v, 8) for s, v in held.items() if round(v, 8)}
    tickets = [e.deal.ticket for e in events if isinstance(e, DealAdded)]
    assert tickets == sorted(set(tickets))
    answered = [e.request_key for e in events if isinstance(e, RequestAnswered)]
    assert len(answered) == len(set(answered))


def test_the_stories_are_eventful():
    """The properties above would mean little if nothing ever happened in them."""
    reasons, kinds, codes = set(), set(), set()
    for seed in range(40):
        settings_ = TerminalSettings(balance_ccy=1_500.0 if seed % 2 else 20_000.0, hedging=seed % 3 > 0)
        events, _, terminal = play(Story(seed), fresh(settings_))
        reasons |= {e.deal.reason for e in events if isinstance(e, DealAdded)}
        kinds |= {e.deal.entry for e in events if isinstance(e, DealAdded)}
        codes |= {e.result.retcode for e in events if isinstance(e, RequestAnswered)}
        kinds |= {"swap" for e in events if isinstance(e, DealAdded) and e.deal.swap}
        kinds |= {o.state + 100 for o in terminal.history_orders_get(0, 2**31 - 1)}
    assert reasons == {mt5.DEAL_REASON_EXPERT, mt5.DEAL_REASON_SL, mt5.DEAL_REASON_TP, mt5.DEAL_REASON_SO}
    assert {mt5.DEAL_ENTRY_IN, mt5.DEAL_ENTRY_OUT, mt5.DEAL_ENTRY_INOUT, "swap", 104, 106} <= kinds
    assert {10009, 10016, 10018, 10019} <= codes
