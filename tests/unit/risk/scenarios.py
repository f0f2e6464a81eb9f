"""A small world around the risk core: real messages in, through the wire format, messages out."""

from typing import Any

import msgspec
import numpy as np

from libs.common.codec import Codec, encode
from libs.common.config import InstrumentConfig
from libs.common.core import dispatch
from libs.common.messages.account import AccountSnapshot, Position
from libs.common.messages.base import Message
from libs.common.messages.control import Flatten, Halt, Resume
from libs.common.messages.features import Prediction
from libs.common.messages.market import Side, TickBlock
from libs.common.messages.orders import OrderApproved, OrderRefused
from libs.common.signing import Signer
from services.risk.checks import CHECKS, Check
from services.risk.config import RiskConfig
from services.risk.core import RiskCore

MS = 1_000_000
SECOND = 1_000 * MS
WEDNESDAY_NOON = 1_400_068_800 * SECOND
"""2014-05-14 12:00:00 UTC, a Wednesday."""
SATURDAY_NOON = WEDNESDAY_NOON + 3 * 86_400 * SECOND
SEED = bytes(range(32))
ACCOUNT = "paper"
MID = {"EURUSD": 1.37, "GBPUSD": 1.68, "USDJPY": 102.0, "EURGBP": 0.815}
INSTRUMENTS = {
    "EURUSD": InstrumentConfig(),
    "GBPUSD": InstrumentConfig(margin_currency="GBP"),
    "USDJPY": InstrumentConfig(digits=3, margin_currency="USD", profit_currency="JPY"),
    "EURGBP": InstrumentConfig(margin_currency="EUR", profit_currency="GBP"),
}
_codec = Codec()


def config(**changes: Any) -> RiskConfig:
    return RiskConfig(**changes)


def new_core(limits: RiskConfig | None = None, checks: tuple[Check, ...] = CHECKS) -> RiskCore:
    return RiskCore(limits or RiskConfig(), ACCOUNT, tuple(INSTRUMENTS), INSTRUMENTS, Signer(SEED), checks)


def ticks(
    symbol: str = "EURUSD", ts_ns: int = WEDNESDAY_NOON, spread_points: float = 10, mid: float = 0.0
) -> TickBlock:
    price = mid or MID[symbol]
    half = spread_points * INSTRUMENTS[symbol].point / 2
    digits = INSTRUMENTS[symbol].digits
    return TickBlock(
        symbol=symbol, first_tick=1, time_ns=np.array([ts_ns]), bid=np.array([round(price - half, digits)]),
        ask=np.array([round(price + half, digits)]), ts_event_ns=ts_ns, ts_init_ns=ts_ns,
    )


def account(ts_ns: int = WEDNESDAY_NOON, **changes: Any) -> AccountSnapshot:
    fields: dict[str, Any] = {
        "account": ACCOUNT, "currency": "USD", "hedging": True, "leverage": 100.0, "balance_ccy": 10_000.0,
        "equity_ccy": 10_000.0, "margin_ccy": 0.0, "margin_free_ccy": 10_000.0, "positions": (), "unknown_lots": {},
        "day_start_equity_ccy": 10_000.0, "peak_equity_ccy": 10_000.0, "ts_event_ns": ts_ns, "ts_init_ns": ts_ns,
    }
    return AccountSnapshot(**(fields | changes))


def position(symbol: str = "EURUSD", side: Side = Side.BUY, lots: float = 0.1, **changes: Any) -> Position:
    fields: dict[str, Any] = {
        "position_id": 7, "symbol": symbol, "side": side, "volume_lots": lots, "price_open": MID[symbol], "sl": 0.0,
        "tp": 0.0, "magic": 0, "opened_ns": WEDNESDAY_NOON, "profit_ccy": 0.0, "swap_ccy": 0.0,
    }
    return Position(**(fields | changes))


def prediction(
    symbol: str = "EURUSD", side: Side | None = Side.BUY, ts_ns: int = WEDNESDAY_NOON, **changes: Any
) -> Prediction:
    point = INSTRUMENTS[symbol].point if symbol in INSTRUMENTS else 1e-5
    fields: dict[str, Any] = {
        "symbol": symbol, "p_down": 0.2, "p_flat": 0.2, "p_up": 0.6, "expected_return_pct": 0.01, "confidence": 0.4,
        "side": side, "stop_distance": 200 * point, "target_distance": 300 * point, "volatility": 150 * point,
        "horizon_s": 600, "model": f"direction-{symbol}", "version": 3, "bid": 1.0, "ask": 1.0,
        "ts_event_ns": ts_ns, "ts_init_ns": ts_ns,
    }
    return Prediction(**(fields | changes))


def halt(ts_ns: int = WEDNESDAY_NOON, command_id: str = "h1") -> Halt:
    return Halt(command_id=command_id, issued_by="ann", reason="lunch", ts_event_ns=ts_ns, ts_init_ns=ts_ns)


def resume(ts_ns: int = WEDNESDAY_NOON, command_id: str = "r1") -> Resume:
    return Resume(command_id=command_id, issued_by="ann", reason="back", ts_event_ns=ts_ns, ts_init_ns=ts_ns)


def flatten(ts_ns: int = WEDNESDAY_NOON, command_id: str = "f1") -> Flatten:
    return Flatten(command_id=command_id, issued_by="ann", reason="leaving", ts_event_ns=ts_ns, ts_init_ns=ts_ns)


class World:
    """A risk core, the time, and everything it has said.

    Messages go through JSON as they do on the bus; time is the highest event time so far.
    """

    def __init__(self, limits: RiskConfig | None = None, checks: tuple[Check, ...] = CHECKS) -> None:
        self.core = new_core(limits, checks)
        self.now_ns = 0
        self.said: list[Message] = []

    def hear(self, *messages: Message, wire: bool = True) -> tuple[Message, ...]:
        """Hand messages to the core and return what it said to the last."""
        outputs: tuple[Message, ...] = ()
        for message in messages:
            heard = _codec.decode(encode(message)) if wire else message
            self.now_ns = max(self.now_ns, heard.ts_event_ns)
            outputs = dispatch(self.core, heard, self.now_ns)
            for output in outputs:
                assert _codec.decode(encode(output)) == output, "what risk says survives the wire"
            self.said += outputs
        return outputs

    def ready(self, ts_ns: int = WEDNESDAY_NOON, **account_changes: Any) -> "World":
        """Let ticks of all symbols and an account snapshot come."""
        self.hear(*(ticks(symbol, ts_ns) for symbol in INSTRUMENTS))
        self.hear(account(ts_ns, **account_changes), wire=False)
        return self

    def restarted(self, limits: RiskConfig | None = None) -> "World":
        """Return a world whose core was built anew and restored from this one's snapshot."""
        other = World(limits)
        other.core.restore(self.core.snapshot())
        other.now_ns = self.now_ns
        return other


def approved(outputs: tuple[Message, ...]) -> list[OrderApproved]:
    return [output for output in outputs if isinstance(output, OrderApproved)]


def only_approval(outputs: tuple[Message, ...]) -> OrderApproved:
    assert len(outputs) == 1, outputs
    assert isinstance(outputs[0], OrderApproved), outputs[0]
    return outputs[0]


def only_refusal(outputs: tuple[Message, ...]) -> OrderRefused:
    assert len(outputs) == 1, outputs
    assert isinstance(outputs[0], OrderRefused), outputs[0]
    return outputs[0]


def changed(message: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(message, **changes)
