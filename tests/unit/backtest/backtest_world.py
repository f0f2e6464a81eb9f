"""Hand-made messages and small runs for the tests of the backtest."""

import copy
from typing import Any

import msgspec
import numpy as np

from backtest.result import Result, run_backtest
from backtest.wiring import Sections, build_cores
from libs.common.config import InstrumentConfig
from libs.common.messages.market import Side, TickBlock
from libs.common.messages.orders import (
    OrderApproved,
    OrderFilled,
    OrderPurpose,
    PositionClosed,
)
from libs.common.trading.instrument import Instrument
from services.ingest.adapters.synthetic import SyntheticMarket

S = 1_000_000_000
MIN, HOUR, DAY = 60 * S, 3_600 * S, 86_400 * S
NOON = 1_705_320_000 * S
"""Monday 2024-01-15 12:00 UTC."""
EURUSD = InstrumentConfig()
SPECIFICATIONS: dict[str, dict[str, Any]] = {
    "EURUSD": {}, "XAUUSD": {"digits": 2, "contract_size": 100.0, "margin_currency": "USD"},
}
INSTRUMENTS = {"EURUSD": Instrument("EURUSD", EURUSD)}


def block(times: list[int], bids: list[float], spread: float = 0.0001, first: int = 1, symbol: str = "EURUSD") -> TickBlock:
    bid = np.array(bids)
    return TickBlock(
        ts_event_ns=times[-1], ts_init_ns=times[-1], symbol=symbol, first_tick=first,
        time_ns=np.array(times, dtype=np.int64), bid=bid, ask=bid + spread,
    )


def _stamp(ts_ns: int) -> dict[str, Any]:
    return {"ts_event_ns": ts_ns, "ts_init_ns": ts_ns, "account": "paper", "symbol": "EURUSD"}


def approved(ts_ns: int, order: str, *, sl: float = 0.0, tp: float = 0.0, side: Side = Side.BUY) -> OrderApproved:
    return OrderApproved(
        **_stamp(ts_ns), order_id=order, side=side, volume_lots=1.0, price=1.1, sl=sl, tp=tp, purpose=OrderPurpose.OPEN,
        position_id=0, max_slippage_points=20, horizon_s=0, expires_ns=ts_ns + S, model="strategy-test", version=1,
    )


def filled(
    ts_ns: int, order: str, position: int, *, side: Side = Side.BUY, lots: float = 1.0, price: float = 1.1,
    slippage: float = 0.0, commission: float = 0.0,
) -> OrderFilled:
    return OrderFilled(
        **_stamp(ts_ns), order_id=order, side=side, volume_lots=lots, price=price, deal=ts_ns % 10_000,
        position_id=position, slippage_points=slippage, commission_ccy=commission,
    )


def closed(
    ts_ns: int, position: int, *, order: str = "one", side: Side = Side.BUY, lots: float = 1.0, opened: int = NOON,
    at: tuple[float, float] = (1.1, 1.101), profit: float = 100.0, swap: float = 0.0, commission: float = 0.0,
    reason: str = "order",
) -> PositionClosed:
    return PositionClosed(
        **_stamp(ts_ns), order_id=order, position_id=position, side=side, volume_lots=lots, price_open=at[0],
        price_close=at[1], opened_ns=opened, profit_ccy=profit, swap_ccy=swap, commission_ccy=commission, reason=reason,
    )


def sections(
    changes: dict[str, Any] | None = None, *, hours: float = 12.0, symbols: tuple[str, ...] = ("EURUSD",)
) -> Sections:
    """Return the sections of a small synthetic market; ``changes`` are nested plain values."""
    plain: dict[str, Any] = {
        "system": {"symbols": symbols, "decide_on": {"kind": "bar", "every": 60}},
        "instruments": {name: SPECIFICATIONS[name] for name in symbols},
        "ingest": {"synthetic": {"duration_s": hours * 3_600.0, "ticks_per_second": 0.5}},
        "features": {}, "executor": {},
        "inference": {"strategy": {"name": "mean_reversion", "params": {
            "position": "bollinger_20", "threshold": 0.8,
            "protection": {"feature": "atr_14", "unit": "basis_points", "stop": 4.0, "target": 4.0},
        }}},
        "risk": {"max_spread_points": 500.0, "max_daily_loss_pct": 50.0, "max_drawdown_pct": 80.0},
    }
    # Plain values of their own, for the changes are merged in.
    plain = copy.deepcopy(plain)
    _merge(plain, changes or {})
    return msgspec.convert(plain, Sections)


def _merge(into: dict[str, Any], changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value


def run(changed: Sections, **options: Any) -> Result:
    market = SyntheticMarket(changed.ingest.synthetic, changed.system.seed)
    sources = {symbol: market.open(symbol) for symbol in changed.system.symbols}
    return run_backtest(changed, build_cores(changed), sources, **options)
