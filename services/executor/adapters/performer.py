"""Does what the executor's core may not: writes the journal, and talks to an external broker."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from libs.common.core import Effect, EffectResult
from libs.common.errors import BrokerError, OutcomeUncertain, StorageError
from libs.common.storage.journal import Intent, OrderJournal, Outcome
from services.executor.adapters.broker import Broker
from services.executor.effects import (
    BrokerAnswer,
    BrokerRead,
    IntentRecorded,
    MoveStops,
    ReadBroker,
    RecordIntent,
    RecordStates,
    SendOrder,
    StatesRecorded,
)

_CRASHED = "it was being sent when an earlier process ended"


class ExecutorEffects:
    """Performs the executor's effects. Every one may come again after a crash; none sends an order twice.

    Parameters
    ----------
    path : the journal file
    broker : the external broker; None when the terminal is part of the core
    """

    def __init__(self, path: Path, broker: Broker | None = None, log: Any = None) -> None:
        self._path = path
        self._broker = broker
        self._log = log
        self._journal: OrderJournal | None = None
        self._performers: dict[type[Effect], Callable[[Any], Awaitable[EffectResult]]] = {
            RecordIntent: self._record_intent,
            RecordStates: self._record_states,
            SendOrder: self._send_order,
            MoveStops: self._move_stops,
            ReadBroker: self._read_broker,
        }

    async def prepare(self) -> None:
        """Open the journal.

        Raises
        ------
        StorageError : when it is damaged or cannot be written
        """
        self._journal = await OrderJournal.open(self._path)

    async def perform(self, effect: Effect) -> EffectResult:
        return await self._performers[type(effect)](effect)

    async def close(self) -> None:
        if self._journal is not None:
            await self._journal.close()
            self._journal = None

    @property
    def journal(self) -> OrderJournal:
        """The open journal."""
        assert self._journal is not None, "prepare() opens the journal before anything is performed"
        return self._journal

    async def _record_intent(self, effect: RecordIntent) -> IntentRecorded:
        stamp = _stamp(effect)
        intent = Intent(
            order_id=effect.order_id, magic=effect.magic, account=effect.account, symbol=effect.symbol,
            request=msgspec.json.encode(effect.request).decode(), ts_ns=effect.ts_event_ns,
        )
        try:
            known = await self.journal.record_intent(intent)
        except StorageError as error:
            self._warn("intent_not_recorded", effect.order_id, error)
            return IntentRecorded(order_id=effect.order_id, new=False, state="", problem=str(error), **stamp)
        return IntentRecorded(order_id=effect.order_id, new=known.new, state=known.state, **stamp)

    async def _record_states(self, effect: RecordStates) -> StatesRecorded:
        outcomes = [
            Outcome(order_id=change.order_id, state=change.state, detail=change.detail, ts_ns=change.ts_ns)
            for change in effect.changes
        ]
        problem = ""
        try:
            await self.journal.record_outcomes(outcomes)
        except StorageError as error:
            self._warn("outcome_not_recorded", effect.changes[0].order_id, error)
            problem = str(error)
        return StatesRecorded(problem=problem, **_stamp(effect))

    async def _send_order(self, effect: SendOrder) -> BrokerAnswer:
        try:
            first = await self.journal.begin_sending(effect.order_id, time.time_ns())
        except StorageError as error:
            self._warn("order_not_sent", effect.order_id, error)
            return _no_answer(effect, effect.order_id, "not_sent", str(error))
        if not first:
            return _no_answer(effect, effect.order_id, "uncertain", _CRASHED)
        return await self._ask(effect, effect.order_id, effect.request)

    async def _move_stops(self, effect: MoveStops) -> BrokerAnswer:
        return await self._ask(effect, effect.key, effect.request)

    async def _ask(self, effect: Effect, key: str, request: dict[str, Any]) -> BrokerAnswer:
        assert self._broker is not None, "the core was given an external desk, the effects no broker"
        try:
            reply = await self._broker.send(key, request)
        except (OutcomeUncertain, TimeoutError) as error:
            self._warn("outcome_uncertain", key, error)
            return _no_answer(effect, key, "uncertain", str(error) or "no answer in time")
        except BrokerError as error:
            self._warn("order_not_sent", key, error)
            return _no_answer(effect, key, "not_sent", str(error))
        return BrokerAnswer(
            key=key, outcome="answered", answer=reply.answer, deals=reply.deals, **_stamp(effect)
        )

    async def _read_broker(self, effect: ReadBroker) -> BrokerRead:
        assert self._broker is not None, "the core was given an external desk, the effects no broker"
        stamp = _stamp(effect)
        try:
            report = await self._broker.read(effect.asked_ns, effect.since_ns)
        except (BrokerError, TimeoutError) as error:
            return BrokerRead(report=None, problem=str(error) or "no answer in time", **stamp)
        return BrokerRead(report=report, **stamp)

    def _warn(self, event: str, order_id: str, error: Exception) -> None:
        if self._log is not None:
            self._log.error(event, order_id=order_id, error=str(error))


def _no_answer(effect: Effect, key: str, outcome: Any, problem: str) -> BrokerAnswer:
    return BrokerAnswer(key=key, outcome=outcome, problem=problem, **_stamp(effect))


def _stamp(effect: Effect) -> dict[str, Any]:
    """Return what every result carries of the effect it answers."""
    return {"ts_event_ns": effect.ts_event_ns, "ts_init_ns": effect.ts_init_ns, "effect_id": effect.effect_id}
