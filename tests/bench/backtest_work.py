"""The two workloads of the backtest benchmark: quotes, configuration and strategies, for us and for the peers."""

from collections.abc import Iterator

import msgspec
import numpy as np

from backtest.engine import Engine
from backtest.record import Record
from backtest.wiring import Cores, Sections, build_cores
from libs.common.config import Settings
from libs.common.messages.base import Floats, Ints
from libs.common.messages.market import TickBlock
from services.inference.strategies import BUY, SELL, STAY_OUT, TEMPLATES, Rows, Suggestions

START_NS = 1_704_787_200_000_000_000
"""Tuesday 2024-01-09 08:00 UTC; five million quotes later it is Friday morning."""
STEP_NS = 50_000_000
LOTS = 0.1
CHUNK = 65_536
"""Quotes in a block: as many as the sources hand over at once."""
HEAVY, SPARSE, QUIET = "order-heavy", "sparse", "no orders"


class Quotes(msgspec.Struct, frozen=True):
    """A symbol's quotes.

    Parameters
    ----------
    digits, contract_size : of the symbol
    time_ns, bid, ask : (n,)
    """

    symbol: str
    digits: int
    contract_size: float
    time_ns: Ints
    bid: Floats
    ask: Floats


def stop_points(quotes: Quotes) -> int:
    """Return how far SL and TP of the sparse workload are: about one order in a thousand ticks.

    Further than any spread of the quotes: no broker takes a stop inside the spread, so risk moves such a one out, and
    the peers, which know no such rule, would close at once what we hold.
    """
    return 25 if quotes.symbol == "EURUSD" else 3_000


def first(quotes: Quotes, n: int) -> Quotes:
    """Return the first quotes of many."""
    return Quotes(
        quotes.symbol, quotes.digits, quotes.contract_size, quotes.time_ns[:n], quotes.bid[:n], quotes.ask[:n]
    )


def synthetic_quotes(n: int) -> Quotes:
    """Return a random walk in whole points with a spread of 1 to 3 points, 20 quotes a second."""
    rng = np.random.default_rng(7)
    points = 110_000 + np.cumsum(rng.integers(-2, 3, n))
    spread = rng.integers(1, 4, n)
    time_ns = START_NS + np.arange(n, dtype=np.int64) * STEP_NS
    return Quotes("EURUSD", 5, 100_000.0, time_ns, points / 1e5, (points + spread) / 1e5)


def blocks(quotes: Quotes) -> Iterator[TickBlock]:
    """Yield the quotes as blocks of the size sources hand over."""
    for start in range(0, len(quotes.time_ns), CHUNK):
        part = slice(start, start + CHUNK)
        time_ns = quotes.time_ns[part]
        yield TickBlock(
            symbol=quotes.symbol, first_tick=start + 1, time_ns=time_ns, bid=quotes.bid[part], ask=quotes.ask[part],
            ts_event_ns=int(time_ns[-1]), ts_init_ns=int(time_ns[-1]),
        )


class AveragesCross(Settings, frozen=True, kw_only=True):
    """Always in the market: long while the average over 20 ticks is above the one over 50."""

    stop: float = 0.05
    horizon_s: int = 0

    @property
    def needs(self) -> tuple[str, ...]:
        return ("from_fast", "from_slow")

    @property
    def lookback(self) -> int:
        return 1

    def decide(self, rows: Rows) -> Suggestions:
        # The price is further from the average that lags more.
        above = rows.column("from_slow") > rows.column("from_fast")
        side = np.zeros(len(above), dtype=np.int8)
        side[1:][above[1:] & ~above[:-1]] = BUY
        side[1:][~above[1:] & above[:-1]] = SELL
        n = len(side)
        return Suggestions(side, np.full(n, self.stop), np.zeros(n), np.ones(n))


class Brackets(Settings, frozen=True, kw_only=True):
    """Enter by the last bar's direction whenever nothing is open; SL and TP close."""

    stop: float
    target: float
    horizon_s: int = 0

    @property
    def needs(self) -> tuple[str, ...]:
        return ("up",)

    @property
    def lookback(self) -> int:
        return 0

    def decide(self, rows: Rows) -> Suggestions:
        up = rows.column("up")
        side = np.where(up > 0.0, BUY, np.where(up < 0.0, SELL, STAY_OUT)).astype(np.int8)
        n = len(side)
        return Suggestions(side, np.full(n, self.stop), np.full(n, self.target), np.ones(n))


STRATEGIES = {**TEMPLATES, "averages_cross": AveragesCross, "brackets": Brackets}


def sections(quotes: Quotes, workload: str, **terminal: object) -> Sections:
    """Return the configuration of a workload: no commission, no swap, no slippage, the same volume always."""
    point = 10.0**-quotes.digits
    heavy = workload == HEAVY
    decide_on = {"kind": "tick", "every": 1} if heavy else {"kind": "bar", "every": 60}
    mid = float(quotes.bid[0])
    distance = stop_points(quotes) * point
    strategy: dict[str, object] = {
        HEAVY: {"name": "averages_cross", "params": {"stop": mid / 20.0}},
        SPARSE: {"name": "brackets", "params": {"stop": distance, "target": distance}},
        QUIET: {"name": "stay_out"},
    }[workload]
    features = [
        {"name": "from_fast", "family": "ema_distance", "params": {"span": 20}},
        {"name": "from_slow", "family": "ema_distance", "params": {"span": 50}},
    ] if heavy else [{"name": "up", "family": "log_return", "timeframe_s": 60, "params": {"bars": 1}}]
    return msgspec.convert({
        "system": {"symbols": [quotes.symbol], "decide_on": decide_on},
        "instruments": {quotes.symbol: {
            "digits": quotes.digits, "contract_size": quotes.contract_size, "commission_per_lot_ccy": 0.0,
            "margin_currency": quotes.symbol[:3], "profit_currency": "USD", "session": "always",
        }},
        "ingest": {"adapter": "synthetic"},
        "features": {"timeframes_s": [60], "features": features},
        "inference": {"strategy": strategy, "drift": {"enabled": False}},
        "risk": {
            "on_opposite": "reverse" if heavy else "hold", "max_order_lots": LOTS, "risk_per_trade_pct": 2.0,
            "max_spread_points": 1e6, "max_daily_loss_pct": 99.0, "max_drawdown_pct": 99.0,
            "max_orders_per_minute": 10**6, "repeat_window_ms": 0, "quote_max_age_ms": 10**9,
            "account_max_age_ms": 10**9, "max_open_positions": 1, "max_positions_per_symbol": 1,
        },
        "executor": {"terminal": {
            "balance_ccy": 10_000_000.0, "leverage": 500.0, "limit_fill": "better", "hedging": not heavy, **terminal,
        }},
    }, Sections)


def run(
    quotes: Quotes, workload: str, *, careful: bool = False, keep_everything: bool = False, **terminal: object
) -> tuple[Cores, Record]:
    """Drive the cores over the quotes."""
    configuration = sections(quotes, workload, **terminal)
    cores = build_cores(configuration, strategies=STRATEGIES)
    cores.features.warm()
    record = Record(keep_everything=keep_everything)
    Engine(configuration, cores, record, careful=careful).run(blocks(quotes))
    return cores, record
