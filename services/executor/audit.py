"""The verdict on a period of trading: was every intent executed at most once, and is what became of it written down?

It believes two witnesses only: the broker's own records, and the order journal. What the executor says or remembers is
not asked.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from services.executor.broker import LOTS_TOLERANCE, BrokerDeal, BrokerOrder, DealEntry, is_ours
from services.executor.order_state import OrderState
from services.executor.reconcile import is_execution_of_its_magic

SENDING = "sending"
"""The journal's mark that an order was about to leave us; not a state of its life."""
_EXECUTED = (OrderState.FILLED, OrderState.PARTIALLY_FILLED, OrderState.RESOLVED_EXECUTED)
_NOT_EXECUTED = (OrderState.REJECTED, OrderState.RESOLVED_NOT_EXECUTED)


class IntentLine(Protocol):
    """What the journal holds of an intent."""

    @property
    def order_id(self) -> str: ...

    @property
    def magic(self) -> int: ...

    @property
    def request(self) -> str: ...


class StateLine(Protocol):
    """What the journal holds of a state an order has reached."""

    @property
    def state(self) -> str: ...


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What an audit found; every tuple empty is an acquittal.

    Parameters
    ----------
    duplicates : intents the broker has more than one order of, or has executed beyond what was wanted
    lost : executions the journal says did not happen, executions it claims that the broker does not know, and
        approvals the journal never heard of
    unresolved : intents whose outcome is not written down
    strangers : orders with our key that no intent explains, or that were never marked as being sent
    """

    duplicates: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    unresolved: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        return not (self.duplicates or self.lost or self.unresolved or self.strangers)


def audit(
    intents: Iterable[IntentLine],
    histories: Mapping[str, Sequence[StateLine]],
    orders: Iterable[BrokerOrder],
    deals: Iterable[BrokerDeal],
    namespace: int,
    approved: Iterable[str] = (),
) -> Verdict:
    """Judge a journal by the broker's records.

    Parameters
    ----------
    intents, histories : the journal's; states by order id, in the order they were written
    orders, deals : everything the broker has, working orders and history
    namespace : whose magic numbers are ours
    approved : order ids that were approved, where they are known; each must be in the journal
    """
    known = {intent.magic: intent for intent in intents}
    tickets, executed = _by_magic(orders, deals, namespace)
    duplicates, lost, unresolved, strangers = [], [], [], []
    for magic in sorted({*tickets, *executed} - known.keys()):
        strangers.append(f"magic {magic}: broker orders {sorted(tickets.get(magic, ()))} without an intent")
    for magic, intent in sorted(known.items()):
        states = [outcome.state for outcome in histories.get(intent.order_id, ())]
        wanted = float(msgspec.json.decode(intent.request)["volume"])
        found = executed.get(magic, 0.0)
        broker_orders = tickets.get(magic, set())
        who = f"order {intent.order_id}"
        if len(broker_orders) > 1 or found > wanted + LOTS_TOLERANCE:
            duplicates.append(f"{who}: broker orders {sorted(broker_orders)}, {found:g} of {wanted:g} lots executed")
        if broker_orders and SENDING not in states:
            strangers.append(f"{who}: broker orders {sorted(broker_orders)}, but it was never marked as being sent")
        last = _last(states)
        if last in _EXECUTED and found <= LOTS_TOLERANCE:
            lost.append(f"{who} is {last}, the broker has no deal of it")
        elif last in _NOT_EXECUTED and found > LOTS_TOLERANCE:
            lost.append(f"{who} is {last}, the broker has executed {found:g} lots of it")
        elif last == OrderState.FILLED and found < wanted - LOTS_TOLERANCE:
            lost.append(f"{who} is {last}, of {wanted:g} lots the broker has executed {found:g}")
        elif last not in _EXECUTED + _NOT_EXECUTED:
            unresolved.append(f"{who} is {last or 'recorded'}")
    in_journal = {intent.order_id for intent in known.values()} | set(histories)
    lost.extend(f"order {order_id} was approved, the journal never heard of it" for order_id in approved
                if order_id not in in_journal)
    return Verdict(
        duplicates=tuple(duplicates), lost=tuple(lost), unresolved=tuple(unresolved), strangers=tuple(strangers)
    )


def _by_magic(
    orders: Iterable[BrokerOrder], deals: Iterable[BrokerDeal], namespace: int
) -> tuple[dict[int, set[int]], dict[int, float]]:
    """Return, by magic number, the broker's order tickets and the executed lots; stops and stop-outs are not ours."""
    tickets: dict[int, set[int]] = {}
    executed: dict[int, float] = {}
    by_broker = set()
    seen = set()
    deals = tuple(deals)
    opened = {(deal.magic, deal.position_id) for deal in deals if deal.entry in (DealEntry.IN, DealEntry.INOUT)}
    for deal in deals:
        if deal.ticket in seen or not is_ours(deal.magic, namespace):
            continue
        seen.add(deal.ticket)
        closes_its_own = deal.entry in (DealEntry.OUT, DealEntry.OUT_BY) and (deal.magic, deal.position_id) in opened
        # A person who closes our position by hand may leave our number on the deal.
        if closes_its_own or not is_execution_of_its_magic(deal):
            by_broker.add(deal.order)
            continue
        executed[deal.magic] = executed.get(deal.magic, 0.0) + deal.volume_lots
        tickets.setdefault(deal.magic, set()).add(deal.order)
    for order in orders:
        if is_ours(order.magic, namespace) and order.ticket not in by_broker:
            tickets.setdefault(order.magic, set()).add(order.ticket)
    return tickets, executed


def _last(states: Sequence[str]) -> str:
    """Return the last state that is one of an order's life; the mark of sending is none."""
    return next((state for state in reversed(states) if state != SENDING), "")
