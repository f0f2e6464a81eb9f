"""Orders and deals: every answer, deal and finding moved through the transition table, once."""

from typing import Any

from libs.common.messages.control import Severity
from libs.common.messages.orders import (
    OrderFilled,
    OrderPartiallyFilled,
    OrderRejected,
    OrderResolved,
    OrderSent,
    OrderUnknown,
    StopsMoved,
)
from libs.common.trading.instrument import Instrument
from services.executor.broker import LOTS_TOLERANCE, Answer, BrokerDeal, BrokerReport, DealEntry, DeskEvent
from services.executor.order_state import SETTLED, Happening, OrderState, next_state
from services.executor.positions import PositionBook
from services.executor.reconcile import (
    Belief,
    Executed,
    Finding,
    MissedDeal,
    NotExecuted,
    OrderInQuestion,
    PositionIs,
    is_execution_of_its_magic,
    reconcile,
)
from services.executor.state import ActiveOrder, ExecutorState, KnownOrder
from services.executor.turn import Turn

_COUNTED = {
    OrderState.SENT: "sent",
    OrderState.FILLED: "filled",
    OrderState.PARTIALLY_FILLED: "filled",
    OrderState.REJECTED: "rejected",
    OrderState.UNKNOWN: "unknown",
    OrderState.RESOLVED_EXECUTED: "resolved",
    OrderState.RESOLVED_NOT_EXECUTED: "resolved",
}


class Ledger:
    """Keeps orders and positions in step with what the broker tells.

    Parameters
    ----------
    state : the core's memory, changed in place
    close_retry_ns : pause before a position is asked closed again after a definite no
    """

    def __init__(
        self,
        state: ExecutorState,
        account: str,
        namespace: int,
        instruments: dict[str, Instrument],
        close_retry_ns: int,
    ) -> None:
        self._state = state
        self._account = account
        self._namespace = namespace
        self._instruments = instruments
        self._close_retry_ns = close_retry_ns
        self._book = PositionBook(state.positions, account, namespace)

    def enter(self, order: ActiveOrder) -> None:
        """Take up an order; its id is known from now on, for ever."""
        self._state.active[order.order_id] = order
        self._state.known[order.magic] = KnownOrder(order.order_id, order.state)

    def reserve(self, position_id: int, order: ActiveOrder) -> None:
        """Note that the order is to reduce the position or turn it round, so that no other one does meanwhile."""
        order.position_id = position_id
        own = self._state.positions.get(position_id)
        if own is not None:
            own.closing = order.order_id

    def refuse(self, order: ActiveOrder, reason: str, turn: Turn) -> None:
        """We ourselves will not send it."""
        self._move(order, Happening.REFUSE, turn.now_ns, reason, turn)
        turn.say(self._rejected(order, 0, reason, turn.now_ns, turn))

    def recorded(self, order: ActiveOrder) -> None:
        """Its intent lies in the journal, which notes that by itself."""
        order.state = next_state(order.state, Happening.RECORD)
        self._state.known[order.magic] = KnownOrder(order.order_id, order.state)

    def sent(self, order: ActiveOrder, turn: Turn) -> None:
        """It is being handed to the broker."""
        order.sent_ns = turn.now_ns
        self._move(order, Happening.SEND, turn.now_ns, "", turn)
        turn.say(OrderSent(
            ts_event_ns=turn.now_ns, ts_init_ns=turn.now_ns, order_id=order.order_id, account=self._account,
            symbol=order.symbol, side=order.side, volume_lots=order.lots, magic=order.magic,
        ))

    def doubt(self, order: ActiveOrder, reason: str, turn: Turn) -> None:
        """Nobody can say what became of it."""
        order.doubt_ns = turn.now_ns
        turn.account_changed = True
        self._move(order, Happening.DOUBT, turn.now_ns, reason, turn)
        turn.say(OrderUnknown(
            ts_event_ns=turn.now_ns, ts_init_ns=turn.now_ns, order_id=order.order_id, account=self._account,
            symbol=order.symbol, side=order.side, volume_lots=order.lots, reason=reason,
        ))
        turn.alert(Severity.CRITICAL, "order_unknown", f"{order.symbol} order {order.order_id}: {reason}")

    def not_sent(self, order: ActiveOrder, problem: str, turn: Turn) -> None:
        """It certainly never reached the broker."""
        self._move(order, Happening.REJECT, turn.now_ns, problem, turn)
        turn.say(self._rejected(order, 0, f"not sent: {problem}", turn.now_ns, turn))

    def forget_move(self, key: str) -> None:
        """Nobody knows what became of a change of stops; the rules will ask again where it is still needed."""
        change = self._state.moving.pop(key, None)
        own = None if change is None else self._state.positions.get(change.position_id)
        if own is not None and own.moving == key:
            own.moving = ""

    def on_event(self, event: DeskEvent, turn: Turn) -> None:
        """Take what a desk tells."""
        if isinstance(event, BrokerDeal):
            self.on_deal(event, turn)
        else:
            self.on_answer(event, turn)

    def on_answer(self, answer: Answer, turn: Turn) -> None:
        """Take an answer to an order or to a change of stops."""
        if answer.key in self._state.moving:
            self._on_stops_answered(answer, turn)
            return
        order = self._state.active.get(answer.key)
        if order is None or order.state not in (OrderState.SENT, OrderState.UNKNOWN):
            return
        order.answer = answer
        self._settle(order, answer.ts_ns, turn)

    def on_deal(self, deal: BrokerDeal, turn: Turn) -> None:
        """Count a deal in, once, if it concerns us."""
        if deal.ticket not in self._state.deals and self._book.holds(deal):
            self._count(deal, turn)

    def _count(self, deal: BrokerDeal, turn: Turn) -> None:
        self._state.deals[deal.ticket] = None
        turn.account_changed = True
        known = self._order_executed_by(deal)
        order = self._state.active.get(known.order_id) if known else None
        position_known = deal.position_id in self._state.positions
        closed = self._book.count(deal, order, known.order_id if known else "", turn.now_ns)
        if order is not None:
            order.filled_lots += deal.volume_lots
            order.filled_value += deal.volume_lots * deal.price
            order.commission_ccy += deal.commission_ccy
            order.deal, order.filled_position_id = deal.ticket, deal.position_id
            self._settle(order, deal.ts_ns, turn)
        elif known is not None:
            self._on_late_deal(known, deal, turn)
        if closed is not None:
            self._state.counters.closed += 1
            turn.say(closed)
        elif deal.entry != DealEntry.IN and not position_known:
            turn.alert(
                Severity.WARNING, "deal_without_position",
                f"{deal.symbol}: deal {deal.ticket} closes position {deal.position_id}, which we never saw open",
            )

    def _order_executed_by(self, deal: BrokerDeal) -> KnownOrder | None:
        """Return the order a deal executes; None for the broker's doing and for a person's."""
        if not is_execution_of_its_magic(deal):
            return None
        known = self._state.known.get(deal.magic)
        own = self._state.positions.get(deal.position_id)
        closes = deal.entry in (DealEntry.OUT, DealEntry.OUT_BY)
        # No order of ours closes what it opened itself: somebody closed the position, and our number stayed on the deal.
        return None if closes and known and own and own.order_id == known.order_id else known

    def on_report(self, report: BrokerReport, quiet_period_ns: int, turn: Turn) -> None:
        """Bring orders in doubt and positions to what the broker's books say."""
        findings = reconcile(
            self.belief(), report.orders, report.positions, report.deals, report.asked_ns, quiet_period_ns,
            report.whole_since_ns,
        )
        for finding in findings:
            self._apply(finding, report.asked_ns, turn)

    def belief(self) -> Belief:
        """Return what we hold to be true, for ``reconcile``."""
        return Belief(
            namespace=self._namespace,
            orders=tuple(
                OrderInQuestion(
                    order_id=order.order_id, magic=order.magic, filled_lots=order.filled_lots,
                    doubt_ns=order.doubt_ns,
                )
                for order in self._state.active.values() if order.state is OrderState.UNKNOWN
            ),
            positions=self._book.held(),
            deals=self._state.deals,
        )

    def _apply(self, finding: Finding, asked_ns: int, turn: Turn) -> None:
        if isinstance(finding, MissedDeal):
            self._count(finding.deal, turn)
        elif isinstance(finding, Executed):
            # A missed deal before it may have settled the order already.
            order = self._state.active.get(finding.order_id)
            if order is not None:
                self._resolve(order, Happening.FIND, finding.volume_lots, finding.evidence, turn)
        elif isinstance(finding, NotExecuted):
            self._resolve(self._state.active[finding.order_id], Happening.RULE_OUT, 0.0, finding.evidence, turn)
        else:
            self._adopt(finding, asked_ns, turn)

    def _adopt(self, finding: PositionIs, asked_ns: int, turn: Turn) -> None:
        turn.account_changed = True
        position = finding.position
        known = self._state.known.get(position.magic) if position is not None else None
        self._book.adopt(finding.position_id, position, known.order_id if known else "", asked_ns)
        what = "is gone" if position is None else f"is {position.side} {position.volume_lots} lots"
        turn.alert(
            Severity.WARNING, "position_corrected",
            f"position {finding.position_id} {what} in the broker's books, without the deals that explain it",
        )

    def _settle(self, order: ActiveOrder, ts_ns: int, turn: Turn) -> None:
        """Draw the conclusion from an order's deals and answer, as soon as one is certain."""
        answer = order.answer
        whole = order.filled_lots >= order.lots - LOTS_TOLERANCE
        if not whole and answer is None:
            return
        if order.state is OrderState.UNKNOWN:
            self._settle_doubt(order, whole, turn)
        elif whole:
            self._filled(order, ts_ns, turn)
        elif answer is not None and answer.verdict == "unknown":
            self.doubt(order, f"{answer.text or 'no clear answer'} ({answer.retcode})", turn)
        elif answer is not None and _says_no(answer):
            self._refused_by_broker(order, answer, ts_ns, turn)
        elif answer is not None and 0.0 < answer.volume_lots - LOTS_TOLERANCE <= order.filled_lots:
            self._filled(order, ts_ns, turn)

    def _settle_doubt(self, order: ActiveOrder, whole: bool, turn: Turn) -> None:
        answer = order.answer
        if whole:
            self._resolve(order, Happening.FIND, order.filled_lots, f"deal {order.deal}", turn)
        elif answer is not None and _says_no(answer) and order.filled_lots <= LOTS_TOLERANCE:
            evidence = f"late answer: {answer.text} ({answer.retcode})"
            self._resolve(order, Happening.RULE_OUT, 0.0, evidence, turn)

    def _refused_by_broker(self, order: ActiveOrder, answer: Answer, ts_ns: int, turn: Turn) -> None:
        if order.filled_lots > LOTS_TOLERANCE:
            # It says no, and yet there are deals: money has moved, so that is what counts.
            self._filled(order, ts_ns, turn)
            return
        self._move(order, Happening.REJECT, ts_ns, f"{answer.retcode} {answer.text}", turn)
        turn.say(self._rejected(order, answer.retcode, answer.text or str(answer.retcode), ts_ns, turn))

    def _filled(self, order: ActiveOrder, ts_ns: int, turn: Turn) -> None:
        whole = order.filled_lots >= order.lots - LOTS_TOLERANCE
        price = order.filled_value / order.filled_lots
        self._move(
            order, Happening.FILL if whole else Happening.PARTIAL, ts_ns,
            f"{order.filled_lots:g} lots at {price:.10g}", turn,
        )
        # In points to a thousandth: the rest is the dust of binary prices.
        slippage = order.side.sign * (price - order.price) / self._instruments[order.symbol].point
        told: dict[str, Any] = {
            "ts_event_ns": ts_ns, "ts_init_ns": turn.now_ns, "order_id": order.order_id, "account": self._account,
            "symbol": order.symbol, "side": order.side, "price": price, "deal": order.deal,
            "position_id": order.filled_position_id, "slippage_points": round(slippage, 3),
            "commission_ccy": order.commission_ccy,
        }
        if whole:
            turn.say(OrderFilled(volume_lots=order.lots, **told))
        else:
            turn.say(OrderPartiallyFilled(volume_lots=order.filled_lots, asked_lots=order.lots, **told))

    def _resolve(
        self, order: ActiveOrder, happening: Happening, volume_lots: float, evidence: str, turn: Turn
    ) -> None:
        turn.account_changed = True
        self._move(order, happening, turn.now_ns, evidence, turn)
        turn.say(OrderResolved(
            ts_event_ns=turn.now_ns, ts_init_ns=turn.now_ns, order_id=order.order_id, account=self._account,
            symbol=order.symbol, executed=happening is Happening.FIND, volume_lots=volume_lots, evidence=evidence,
        ))

    def _on_late_deal(self, known: KnownOrder, deal: BrokerDeal, turn: Turn) -> None:
        """A deal of an order that was settled without it."""
        if known.state is OrderState.RESOLVED_EXECUTED:
            return
        if known.state is OrderState.FILLED:
            turn.alert(
                Severity.CRITICAL, "executed_twice",
                f"{deal.symbol} order {known.order_id} was filled and yet has one more deal, {deal.ticket}",
            )
            return
        state = next_state(known.state, Happening.FIND)
        self._state.known[deal.magic] = KnownOrder(known.order_id, state)
        evidence = f"deal {deal.ticket}, after the order was {known.state}"
        turn.journal(known.order_id, state, evidence, deal.ts_ns)
        turn.say(OrderResolved(
            ts_event_ns=deal.ts_ns, ts_init_ns=turn.now_ns, order_id=known.order_id, account=self._account,
            symbol=deal.symbol, executed=True, volume_lots=deal.volume_lots, evidence=evidence,
        ))
        turn.alert(Severity.CRITICAL, "executed_after_all", f"{deal.symbol} order {known.order_id}: {evidence}")

    def _on_stops_answered(self, answer: Answer, turn: Turn) -> None:
        change = self._state.moving.pop(answer.key)
        own = self._state.positions.get(change.position_id)
        if own is None:
            return
        own.moving = ""
        if answer.verdict not in ("done", "partial", "placed"):
            own.refused_sl = change.sl
            return
        own.refused_sl = 0.0
        turn.account_changed = True
        self._state.counters.stops_moved += 1
        turn.say(StopsMoved(
            ts_event_ns=answer.ts_ns, ts_init_ns=turn.now_ns, account=self._account, symbol=own.symbol,
            position_id=own.position_id, sl=change.sl, tp=change.tp, rule=change.rule,
        ))

    def _move(self, order: ActiveOrder, happening: Happening, ts_ns: int, detail: str, turn: Turn) -> None:
        order.state = next_state(order.state, happening)
        self._state.known[order.magic] = KnownOrder(order.order_id, order.state)
        turn.journal(order.order_id, order.state, detail, ts_ns)
        counters = self._state.counters
        counted = _COUNTED[order.state]
        setattr(counters, counted, getattr(counters, counted) + 1)
        if order.state in SETTLED:
            del self._state.active[order.order_id]
            self._free_position(order, turn)

    def _free_position(self, order: ActiveOrder, turn: Turn) -> None:
        """Let a position be asked closed again once the order that should have closed it is settled."""
        own = self._state.positions.get(order.position_id)
        if own is not None and own.closing == order.order_id:
            own.closing = ""
            if order.state is not OrderState.FILLED:
                own.retry_ns = turn.now_ns + self._close_retry_ns

    def _rejected(self, order: ActiveOrder, retcode: int, reason: str, ts_ns: int, turn: Turn) -> OrderRejected:
        return OrderRejected(
            ts_event_ns=ts_ns, ts_init_ns=turn.now_ns, order_id=order.order_id, account=self._account,
            symbol=order.symbol, retcode=retcode, reason=reason,
        )


def _says_no(answer: Answer) -> bool:
    return answer.verdict in ("rejected", "retry_safe")
