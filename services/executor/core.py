"""The executor's core: what is sent, when, and never twice."""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from libs.common.core import EffectResult, Route, Stage, Timer
from libs.common.ids import ORDER_ID, magic_of
from libs.common.messages.base import Message
from libs.common.messages.control import Flatten, Halt, Resume, Severity
from libs.common.messages.market import TickBlock
from libs.common.messages.orders import OrderApproved, OrderPurpose, OrderRejected
from libs.common.signing import Verifier, approval_is_genuine
from libs.common.trading.instrument import Instrument
from services.executor.account import account_snapshot, foreign_positions
from services.executor.admission import ours, position_meant, refusal_of
from services.executor.broker import BrokerPosition, BrokerReport, DeskEvent
from services.executor.care import closing_order, due_positions, stop_moves
from services.executor.config import ExecutorConfig
from services.executor.desk import Desk, Handed
from services.executor.effects import (
    BrokerAnswer,
    BrokerRead,
    IntentRecorded,
    MarketAdvanced,
    RecordIntent,
    StatesRecorded,
)
from services.executor.ledger import Ledger
from services.executor.order_state import OrderState
from services.executor.requests import market_order, stops_change
from services.executor.state import ActiveOrder, CoreSnapshot, ExecutorState, Quote, StopsOnTheirWay
from services.executor.turn import Turn

_NS_PER_S = 1_000_000_000
_NEVER_NS = 2**63 - 1


class ExecutorCore:
    """Turns approvals into at most one broker order each and tells what became of them.

    Parameters
    ----------
    config : the executor's section
    account : the account we trade; approvals for others are not ours
    instruments : by symbol
    desk : the broker
    verifier : of risk's public key
    """

    HEARS: ClassVar[tuple[Route, ...]] = (
        Route(pattern="ticks.*", kinds=(TickBlock,)),
        Route(pattern="orders.approved.>", kinds=(OrderApproved,), after=("ticks",)),
        Route(pattern="control.halt", kinds=(Halt,)),
        Route(pattern="control.flatten", kinds=(Flatten,)),
        Route(pattern="control.resume", kinds=(Resume,)),
    )
    RESULTS: ClassVar[tuple[type[EffectResult], ...]] = (
        IntentRecorded, StatesRecorded, BrokerAnswer, BrokerRead, MarketAdvanced,
    )
    STAGES: ClassVar[tuple[Stage, ...]] = (
        Stage(name="market", after=("ticks",)),
        Stage(name="settled", after=("ticks", "risk.settled")),
    )

    def __init__(
        self,
        config: ExecutorConfig,
        account: str,
        instruments: Mapping[str, Instrument],
        desk: Desk,
        verifier: Verifier,
    ) -> None:
        self._config = config
        self._account = account
        self._instruments = dict(instruments)
        self._desk = desk
        self._verifier = verifier
        self._answer_timeout_ns = round(config.answer_timeout_s * _NS_PER_S)
        self._account_every_ns = round(config.account_every_s * _NS_PER_S)
        self._become(ExecutorState())

    # What is heard ---------------------------------------------------------------------------------------------

    def on_tick_block(self, message: TickBlock, now_ns: int) -> tuple[Message, ...]:
        """Let the market move, then look after positions, doubts and the account."""
        if message.symbol not in self._instruments:
            self._state.counters.strange_ticks += len(message)
            return ()
        handed = self._desk.advance(message, now_ns)
        self._state.quotes[message.symbol] = Quote(float(message.bid[-1]), float(message.ask[-1]))
        if handed.effects:
            # The market moves elsewhere; the rest follows once it has.
            return handed.effects
        return self._after_market(message.symbol, handed.events, Turn(now_ns))

    def on_timer(self, message: Timer, now_ns: int) -> tuple[Message, ...]:
        """Look after doubts and the account while no tick comes."""
        return self._finish(Turn(now_ns))

    def on_order_approved(self, message: OrderApproved, now_ns: int) -> tuple[Message, ...]:
        """Take up an approval once, or say why not; nothing is sent before its intent is recorded."""
        counters = self._state.counters
        if message.account != self._account:
            counters.foreign_account += 1
            return ()
        turn = Turn(now_ns)
        if not ORDER_ID.fullmatch(message.order_id) or not approval_is_genuine(message, self._verifier):
            counters.forged += 1
            turn.alert(Severity.CRITICAL, "forged_approval", f"{message.symbol} order {message.order_id[:64]}")
            if not self._is_known(message.order_id):
                turn.say(self._rejection(message, "bad_signature", now_ns))
            return self._finish(turn)
        magic = magic_of(message.order_id, self._config.namespace)
        known = self._state.known.get(magic)
        if known is not None:
            counters.duplicates += 1
            if known.order_id == message.order_id:
                return ()
            turn.say(self._rejection(message, "magic_taken", now_ns))
            return self._finish(turn)
        counters.approved += 1
        self._take_up(_order_of(message, magic), turn)
        return self._finish(turn)

    def on_halt(self, message: Halt, now_ns: int) -> tuple[Message, ...]:
        """Open nothing more until a person resumes."""
        self._state.halted = True
        return self._finish(Turn(now_ns))

    def on_resume(self, message: Resume, now_ns: int) -> tuple[Message, ...]:
        """A person says: trade again."""
        self._state.halted = False
        self._state.flatten = self._state.flatten_symbol = ""
        return self._finish(Turn(now_ns))

    def on_flatten(self, message: Flatten, now_ns: int) -> tuple[Message, ...]:
        """Halt, and close every position of ours, those that are still on their way included."""
        self._state.halted = True
        self._state.flatten, self._state.flatten_symbol = message.command_id, message.symbol
        for own in self._state.positions.values():
            own.retry_ns = 0
        return self._finish(Turn(now_ns))

    # What effects brought --------------------------------------------------------------------------------------

    def on_intent_recorded(self, message: IntentRecorded, now_ns: int) -> tuple[Message, ...]:
        """The intent lies on the disk: send the order, unless it is too late or went out in an earlier life."""
        order = self._state.active.get(message.order_id)
        if order is None or order.state is not OrderState.APPROVED:
            return ()
        turn = Turn(now_ns)
        if message.problem:
            self._ledger.refuse(order, "journal", turn)
            self._journal_broke(message.problem, turn)
        elif not message.new and message.state not in ("", OrderState.RECORDED):
            self._ledger.doubt(order, f"the journal has it as {message.state} already", turn)
        else:
            self._ledger.recorded(order)
            self._state.journal_broken = False
            refusal = refusal_of(order, self._state, self._position_of(order), self._instruments, now_ns)
            if refusal:
                self._ledger.refuse(order, refusal, turn)
            else:
                self._send(order, turn)
        return self._finish(turn)

    def on_states_recorded(self, message: StatesRecorded, now_ns: int) -> tuple[Message, ...]:
        """The journal has the changes of state, or cannot take them."""
        if not message.problem:
            return ()
        turn = Turn(now_ns)
        self._journal_broke(message.problem, turn)
        return self._finish(turn)

    def on_broker_answer(self, message: BrokerAnswer, now_ns: int) -> tuple[Message, ...]:
        """An external broker answered, or nobody knows."""
        turn = Turn(now_ns)
        if message.standing is not None:
            self._desk.take(message.standing)
            turn.account_changed = True
        for deal in message.deals:
            self._ledger.on_deal(deal, turn)
        order = self._state.active.get(message.key)
        if message.outcome == "answered" and message.answer is not None:
            self._ledger.on_answer(message.answer, turn)
        elif order is not None and order.state is OrderState.SENT:
            if message.outcome == "not_sent":
                self._ledger.not_sent(order, message.problem, turn)
            else:
                self._ledger.doubt(order, message.problem or "no answer", turn)
        elif order is None:
            self._ledger.forget_move(message.key)
        return self._finish(turn)

    def on_broker_read(self, message: BrokerRead, now_ns: int) -> tuple[Message, ...]:
        """An external broker's books."""
        turn = Turn(now_ns)
        self._state.looking = False
        self._note_problem(message.problem, turn)
        if message.report is not None:
            self._state.read_ns = message.report.asked_ns
            self._desk.take(message.report)
            self._take_report(message.report, turn)
            turn.account_changed = True
        return self._finish(turn)

    def on_market_advanced(self, message: MarketAdvanced, now_ns: int) -> tuple[Message, ...]:
        """The market of an external simulated terminal has moved, or could not."""
        turn = Turn(now_ns)
        self._note_problem(message.problem, turn)
        if message.standing is not None:
            self._desk.take(message.standing)
        return self._after_market(message.symbol, message.deals, turn)

    # What a replay may pass over -------------------------------------------------------------------------------

    @property
    def account_told_ns(self) -> int:
        """When the account was published last, ns UTC; 0 for never."""
        return self._state.account_sent_ns or 0

    def quiet_until_ns(self, symbol: str) -> int:
        """Return until when only a deal or a message of somebody else can make us act, ns UTC; 0: not even now.

        Until then, of the turns that ticks cause, only the last one's account snapshot matters.
        """
        state, config = self._state, self._config
        in_hand = state.active or state.moving or state.flatten or state.looking or state.account_sent_ns is None
        follows = (config.break_even or config.trailing) and state.positions
        if in_hand or follows or symbol not in state.quotes:
            return 0
        return min(
            (max(own.deadline_ns, own.retry_ns) for own in state.positions.values() if own.deadline_ns > 0),
            default=_NEVER_NS,
        )

    # State -----------------------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """Return the whole state, the simulated terminal's included."""
        return msgspec.msgpack.encode(CoreSnapshot(state=self._state, desk=self._desk.snapshot()))

    def restore(self, state: bytes) -> None:
        """Become what ``snapshot`` described."""
        snapshot = msgspec.msgpack.decode(state, type=CoreSnapshot)
        self._desk.restore(snapshot.desk)
        self._become(snapshot.state)

    @property
    def orders_in_doubt(self) -> int:
        """How many orders nobody knows the outcome of."""
        return sum(order.state is OrderState.UNKNOWN for order in self._state.active.values())

    def details(self) -> dict[str, float | str]:
        """Return figures for ``tickwire status``."""
        state = self._state
        figures: dict[str, float | str] = {
            name: float(value) for name, value in msgspec.structs.asdict(state.counters).items()
        }
        return figures | {
            "orders_in_doubt": float(self.orders_in_doubt),
            "orders_on_their_way": float(len(state.active) - self.orders_in_doubt),
            "positions": float(sum(own.lots > 0.0 for own in state.positions.values())),
            "foreign_positions": float(len(state.foreign)),
            "halted": "yes" if state.halted else "no",
        }

    def _become(self, state: ExecutorState) -> None:
        self._state = state
        self._ledger = Ledger(
            state, self._account, self._config.namespace, self._instruments,
            round(self._config.close_retry_s * _NS_PER_S),
        )

    # Orders ----------------------------------------------------------------------------------------------------

    def _take_up(self, order: ActiveOrder, turn: Turn) -> None:
        """Enter an order and have its intent recorded, or refuse it."""
        position = self._position_of(order)
        refusal = refusal_of(order, self._state, position, self._instruments, turn.now_ns)
        self._ledger.enter(order)
        if refusal:
            self._ledger.refuse(order, refusal, turn)
            return
        if position is not None:
            self._ledger.reserve(position.position_id, order)
        reduced = position if order.purpose is OrderPurpose.REDUCE else None
        order.request = self._request(order, 0 if reduced is None else reduced.ticket)
        turn.say(RecordIntent(
            ts_event_ns=turn.now_ns, ts_init_ns=turn.now_ns, effect_id=f"intent:{order.order_id}",
            order_id=order.order_id, magic=order.magic, account=self._account, symbol=order.symbol,
            request=order.request,
        ))

    def _position_of(self, order: ActiveOrder) -> BrokerPosition | None:
        """Return the position of ours that an order reduces or turns round; ``None`` for one that only opens."""
        if order.purpose is OrderPurpose.OPEN and not order.position_id:
            return None
        return position_meant(order, self._own_positions(order.symbol))

    def _request(self, order: ActiveOrder, position_ticket: int) -> dict[str, Any]:
        return market_order(
            order_id=order.order_id, magic=order.magic, symbol=order.symbol, side=order.side,
            volume_lots=order.lots, price=order.price, sl=order.sl, tp=order.tp,
            deviation_points=order.deviation_points, filling=self._config.filling, position_ticket=position_ticket,
        )

    def _send(self, order: ActiveOrder, turn: Turn) -> None:
        self._ledger.sent(order, turn)
        self._hand_over(self._desk.send(order.order_id, order.request, turn.now_ns), turn)

    def _hand_over(self, handed: Handed, turn: Turn) -> None:
        self._take_events(handed.events, turn)
        for effect in handed.effects:
            turn.say(effect)

    def _take_events(self, events: tuple[DeskEvent, ...], turn: Turn) -> None:
        for event in events:
            self._ledger.on_event(event, turn)

    def _is_known(self, order_id: str) -> bool:
        if not ORDER_ID.fullmatch(order_id):
            return False
        known = self._state.known.get(magic_of(order_id, self._config.namespace))
        return known is not None and known.order_id == order_id

    def _rejection(self, message: OrderApproved, reason: str, now_ns: int) -> OrderRejected:
        return OrderRejected(
            ts_event_ns=now_ns, ts_init_ns=now_ns, order_id=message.order_id, account=self._account,
            symbol=message.symbol, retcode=0, reason=reason,
        )

    def _journal_broke(self, problem: str, turn: Turn) -> None:
        if not self._state.journal_broken:
            self._state.journal_broken = True
            turn.alert(Severity.CRITICAL, "order_journal_broken", problem)

    def _note_problem(self, problem: str, turn: Turn) -> None:
        """Tell a person once that the broker cannot be read, and once that it can be again."""
        known, self._state.broker_problem = self._state.broker_problem, problem
        if problem and not known:
            turn.alert(Severity.CRITICAL, "broker_out_of_reach", problem)
        elif known and not problem:
            turn.alert(Severity.INFO, "broker_back", "the broker's books can be read again")

    # Positions -------------------------------------------------------------------------------------------------

    def _after_market(self, symbol: str, events: tuple[DeskEvent, ...], turn: Turn) -> tuple[Message, ...]:
        """Count in what the market caused, then look after positions, doubts and the account."""
        self._take_events(events, turn)
        self._close_what_is_due(symbol, turn)
        self._move_stops(symbol, turn)
        return self._finish(turn)

    def _own_positions(self, symbol: str = "") -> list[BrokerPosition]:
        return ours(self._desk.positions(), self._state, self._config.namespace, symbol)

    def _close_what_is_due(self, symbol: str, turn: Turn) -> None:
        due = due_positions(self._state, symbol, turn.now_ns)
        if not due:
            return
        real = {position.position_id: position for position in self._own_positions()}
        for own in due:
            if own.position_id in real:
                order = closing_order(own, real[own.position_id], self._state, self._config)
                self._take_up(order, turn)

    def _move_stops(self, symbol: str, turn: Turn) -> None:
        config, instrument = self._config, self._instruments[symbol]
        if config.break_even is None and config.trailing is None:
            return
        if not any(own.symbol == symbol for own in self._state.positions.values()):
            return
        for move in stop_moves(self._state, self._own_positions(symbol), instrument, config):
            self._state.moves += 1
            key = f"stops:{move.own.position_id}:{self._state.moves}"
            move.own.moving = key
            self._state.moving[key] = StopsOnTheirWay(
                move.own.position_id, move.sl, move.position.tp, move.rule, turn.now_ns
            )
            self._hand_over(self._desk.move_stops(key, stops_change(move.position, move.sl), turn.now_ns), turn)

    # Doubts, the broker's books, the account -------------------------------------------------------------------

    def _finish(self, turn: Turn) -> tuple[Message, ...]:
        """Do what every turn ends with and return what it led to."""
        if self._state.flatten:
            self._close_what_is_due("", turn)
        if self._state.active or self._state.moving:
            self._doubt_what_waits_too_long(turn)
        self._look_if_needed(turn)
        self._tell_account(turn)
        return turn.outputs()

    def _doubt_what_waits_too_long(self, turn: Turn) -> None:
        limit_ns = self._answer_timeout_ns
        late = [
            order for order in self._state.active.values()
            if order.state is OrderState.SENT and turn.now_ns - order.sent_ns >= limit_ns
        ]
        for order in late:
            said = "no answer" if order.answer is None else "an answer but no deal"
            self._ledger.doubt(order, f"{said} within {self._config.answer_timeout_s:g} s", turn)
        for key in [key for key, change in self._state.moving.items() if turn.now_ns - change.sent_ns >= limit_ns]:
            self._ledger.forget_move(key)

    def _look_if_needed(self, turn: Turn) -> None:
        state = self._state
        if state.looking or turn.now_ns < state.next_look_ns or (self._desk.tells_by_itself and not state.active):
            return
        in_doubt = [order for order in state.active.values() if order.state is OrderState.UNKNOWN]
        if self._desk.tells_by_itself and not in_doubt:
            return
        state.next_look_ns = turn.now_ns + round(self._config.look_every_s * _NS_PER_S)
        state.looks += 1
        seen = self._desk.look(f"{state.looks}", self._oldest_question_ns(in_doubt, turn.now_ns), turn.now_ns)
        if isinstance(seen, BrokerReport):
            self._take_report(seen, turn)
        else:
            state.looking = True
            turn.say(seen)

    def _oldest_question_ns(self, in_doubt: list[ActiveOrder], now_ns: int) -> int:
        """Return how far back the books must be read: to the last look, and to what is still unexplained."""
        state = self._state
        questions = [order.sent_ns or order.doubt_ns for order in in_doubt]
        questions += [own.adopted_ns for own in state.positions.values() if own.unclosed_lots > own.lots]
        # An hour on top, as the broker's clock and ours may differ, and history may show late.
        return min([*questions, state.read_ns or now_ns, now_ns]) - 3_600 * _NS_PER_S

    def _take_report(self, report: BrokerReport, turn: Turn) -> None:
        self._ledger.on_report(report, round(self._config.quiet_period_s * _NS_PER_S), turn)

    def _tell_account(self, turn: Turn) -> None:
        sent_ns = self._state.account_sent_ns
        due = sent_ns is None or turn.now_ns - sent_ns >= self._account_every_ns
        if not due and not turn.account_changed:
            return
        account = self._desk.account(turn.now_ns)
        if account is None:
            return
        self._state.account_sent_ns = turn.now_ns
        positions = self._desk.positions()
        self._report_foreign(positions, turn)
        turn.say(account_snapshot(self._account, account, positions, self._state, turn.now_ns))

    def _report_foreign(self, positions: tuple[BrokerPosition, ...], turn: Turn) -> None:
        if not positions and not self._state.foreign:
            return
        foreign = foreign_positions(positions, self._state, self._config.namespace)
        for position_id, position in foreign.items():
            if position_id not in self._state.foreign:
                turn.alert(
                    Severity.WARNING, "foreign_position",
                    f"{position.symbol}: position {position_id} (magic {position.magic}) is not ours; left alone",
                )
        self._state.foreign = dict.fromkeys(foreign)


def _order_of(message: OrderApproved, magic: int) -> ActiveOrder:
    return ActiveOrder(
        order_id=message.order_id, magic=magic, symbol=message.symbol, side=message.side,
        lots=message.volume_lots, price=message.price, sl=message.sl, tp=message.tp, purpose=message.purpose,
        position_id=message.position_id, deviation_points=message.max_slippage_points,
        horizon_s=message.horizon_s, expires_ns=message.expires_ns,
    )
