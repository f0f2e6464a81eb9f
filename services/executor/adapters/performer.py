"""Does what the executor's core may not: writes the journal, and talks to an external broker."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from libs.common.core import Effect, EffectResult
from libs.common.errors import BrokerError, OutcomeUncertain, StorageError
from libs.common.storage.journal import SENDING, Intent, OrderJournal, Outcome
from services.executor.adapters.broker import Broker, FedBroker, PreparingBroker, RunningBroker
from services.executor.broker import Standing
from services.executor.effects import (
    AdvanceMarket,
    BrokerAnswer,
    BrokerRead,
    IntentRecorded,
    MarketAdvanced,
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
        able: object = broker
        self._running = able if isinstance(able, RunningBroker) else None
        self._preparing = able if isinstance(able, PreparingBroker) else None
        self._fed = able if isinstance(able, FedBroker) else None
        self._log = log
        self._journal: OrderJournal | None = None
        self._market = asyncio.Lock()
        self._performers: dict[type[Effect], Callable[[Any], Awaitable[EffectResult]]] = {
            RecordIntent: self._record_intent,
            RecordStates: self._record_states,
            SendOrder: self._send_order,
            MoveStops: self._move_stops,
            ReadBroker: self._read_broker,
            AdvanceMarket: self._advance_market,
        }

    async def prepare(self) -> None:
        """Open the journal and start the broker.

        Raises
        ------
        StorageError : when the journal is damaged or cannot be written
        ConfigError : when the broker can never work as configured
        """
        self._journal = await OrderJournal.open(self._path)
        if self._running is not None:
            await self._running.start()

    async def perform(self, effect: Effect) -> EffectResult:
        return await self._performers[type(effect)](effect)

    async def close(self) -> None:
        if self._running is not None:
            await self._running.close()
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
        key = effect.order_id
        try:
            request = await self._prepare(key, effect.request)
            final = "" if request is effect.request else msgspec.json.encode(request).decode()
            first = await self.journal.begin_sending(key, time.time_ns(), final)
        except (BrokerError, StorageError, TimeoutError) as error:
            self._warn("order_not_sent", key, error)
            return await self._not_sent(effect, str(error) or "the broker did not answer in time")
        if not first:
            return _no_answer(effect, key, "uncertain", _CRASHED)
        return await self._ask(effect, key, request)

    async def _not_sent(self, effect: SendOrder, problem: str) -> BrokerAnswer:
        """Say that an order stays here, unless an earlier process may have sent it."""
        try:
            states = [outcome.state for outcome in await self.journal.history(effect.order_id)]
        except StorageError as error:
            return _no_answer(effect, effect.order_id, "uncertain", f"{problem}; and {error}")
        if SENDING in states:
            return _no_answer(effect, effect.order_id, "uncertain", _CRASHED)
        return _no_answer(effect, effect.order_id, "not_sent", problem)

    async def _move_stops(self, effect: MoveStops) -> BrokerAnswer:
        try:
            request = await self._prepare(effect.key, effect.request)
        except (BrokerError, TimeoutError) as error:
            return _no_answer(effect, effect.key, "not_sent", str(error) or "the broker did not answer in time")
        return await self._ask(effect, effect.key, request)

    async def _prepare(self, key: str, request: dict[str, Any]) -> dict[str, Any]:
        """Return the request as it will be sent; nothing has left us yet."""
        return request if self._preparing is None else await self._preparing.prepare(key, request)

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
        answer, standing = reply.answer, reply.standing
        if not answer.ts_ns:
            answer = msgspec.structs.replace(answer, ts_ns=effect.ts_event_ns)
        if standing is not None and not standing.asked_ns:
            standing = standing_at(standing, effect.ts_event_ns)
        return BrokerAnswer(
            key=key, outcome="answered", answer=answer, deals=reply.deals, standing=standing, **_stamp(effect)
        )

    async def _advance_market(self, effect: AdvanceMarket) -> MarketAdvanced:
        assert self._fed is not None, "the desk is fed, the broker cannot be"
        symbol, stamp = effect.block.symbol, _stamp(effect)
        # Blocks go out in the order in which they came.
        async with self._market:
            try:
                moved = await self._fed.advance(effect.block, effect.ts_event_ns)
            except (BrokerError, TimeoutError) as error:
                return MarketAdvanced(symbol=symbol, problem=str(error) or "no answer in time", **stamp)
        return MarketAdvanced(symbol=symbol, deals=moved.deals, standing=moved.standing, **stamp)

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


def standing_at(standing: Standing, asked_ns: int) -> Standing:
    """Return a standing with the time at which it was asked for."""
    account = msgspec.structs.replace(standing.account, as_of_ns=asked_ns)
    return msgspec.structs.replace(standing, asked_ns=asked_ns, account=account)


def _no_answer(effect: Effect, key: str, outcome: Any, problem: str) -> BrokerAnswer:
    return BrokerAnswer(key=key, outcome=outcome, problem=problem, **_stamp(effect))


def _stamp(effect: Effect) -> dict[str, Any]:
    """Return what every result carries of the effect it answers."""
    return {"ts_event_ns": effect.ts_event_ns, "ts_init_ns": effect.ts_init_ns, "effect_id": effect.effect_id}
