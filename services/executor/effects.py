"""What the executor's core asks its shell to do, and what comes back."""

from typing import Any, Literal

import msgspec

from libs.common.core import Effect, EffectResult
from libs.common.messages.market import TickBlock
from services.executor.broker import Answer, BrokerDeal, BrokerReport, Standing


class StateChange(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One step in an order's life, for the journal."""

    order_id: str
    state: str
    detail: str
    ts_ns: int


class RecordIntent(Effect, frozen=True, kw_only=True):
    """Write the intent to the journal and let it reach the disk; nothing is sent before that.

    Parameters
    ----------
    request : what will be handed to the broker, MetaTrader's names
    """

    order_id: str
    magic: int
    account: str
    symbol: str
    request: dict[str, Any]


class IntentRecorded(EffectResult, frozen=True, kw_only=True):
    """The intent lies on the disk.

    Parameters
    ----------
    new : False when the journal knew the order already
    state : the last state the journal holds of it
    problem : why it could not be written; empty when it was
    """

    order_id: str
    new: bool
    state: str
    problem: str = ""


class RecordStates(Effect, frozen=True, kw_only=True):
    """Write changes of state to the journal, all or none."""

    changes: tuple[StateChange, ...]


class StatesRecorded(EffectResult, frozen=True, kw_only=True):
    """The changes lie on the disk; ``problem`` says why not."""

    problem: str = ""


class SendOrder(Effect, frozen=True, kw_only=True):
    """Hand a recorded order to an external broker: at most once, however often this is performed."""

    order_id: str
    request: dict[str, Any]


class MoveStops(Effect, frozen=True, kw_only=True):
    """Ask an external broker to move a position's SL and TP; repeating it changes nothing."""

    key: str
    request: dict[str, Any]


class BrokerAnswer(EffectResult, frozen=True, kw_only=True):
    """What came of ``SendOrder`` or ``MoveStops``.

    Parameters
    ----------
    outcome : ``answered``; ``not_sent`` (it certainly never left us); ``uncertain`` (it may have)
    deals : the deals of the order, as far as the broker shows them already
    standing : account and positions after it, where the broker was asked for them at once
    problem : why there is no answer
    """

    key: str
    outcome: Literal["answered", "not_sent", "uncertain"]
    answer: Answer | None = None
    deals: tuple[BrokerDeal, ...] = ()
    standing: Standing | None = None
    problem: str = ""


class AdvanceMarket(Effect, frozen=True, kw_only=True):
    """Let the market of an external simulated terminal move; repeating it changes nothing."""

    block: TickBlock


class MarketAdvanced(EffectResult, frozen=True, kw_only=True):
    """The market has moved.

    Parameters
    ----------
    symbol : whose
    deals : what that caused, in order
    standing : account and positions after it
    problem : why it did not move
    """

    symbol: str
    deals: tuple[BrokerDeal, ...] = ()
    standing: Standing | None = None
    problem: str = ""


class ReadBroker(Effect, frozen=True, kw_only=True):
    """Read an external broker's books.

    Parameters
    ----------
    asked_ns : our time when we asked
    since_ns : how far back the history must reach
    """

    asked_ns: int
    since_ns: int


class BrokerRead(EffectResult, frozen=True, kw_only=True):
    """The books, or why they could not be read."""

    report: BrokerReport | None
    problem: str = ""
