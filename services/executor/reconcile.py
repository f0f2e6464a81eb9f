"""What we believe against what the broker's books say: the differences, as findings.

Pure, and at rest once its findings have been applied: a second pass over the same books finds nothing. It never
asks for anything to be sent.
"""

from collections.abc import Container, Iterable, Mapping, Sequence

import msgspec

from services.executor.broker import (
    LOTS_TOLERANCE,
    BrokerDeal,
    BrokerOrder,
    BrokerPosition,
    DealEntry,
    OrderPlace,
    is_ours,
    signed_lots,
)

_WORKING = (OrderPlace.STARTED, OrderPlace.PLACED, OrderPlace.PARTIAL)
_DEAD = (OrderPlace.CANCELED, OrderPlace.REJECTED, OrderPlace.EXPIRED)


class OrderInQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """An order whose outcome nobody knows yet.

    Parameters
    ----------
    filled_lots : what deals already heard of add up to
    doubt_ns : since when it is in doubt
    """

    order_id: str
    magic: int
    filled_lots: float
    doubt_ns: int


class Held(msgspec.Struct, frozen=True):
    """A position as we believe it.

    Parameters
    ----------
    lots : signed; 0.0 for one that vanished and whose closing deals are still to come
    as_of_ns : deals until then are in the volume, however late they are heard; 0 while deals alone made it
    """

    lots: float
    as_of_ns: int = 0


class Belief(msgspec.Struct, frozen=True, kw_only=True):
    """What we hold to be true.

    Parameters
    ----------
    namespace : which magic numbers are ours
    orders : those in doubt
    positions : by position id, every position we count as ours
    deals : tickets of the deals already counted in
    """

    namespace: int
    orders: tuple[OrderInQuestion, ...]
    positions: Mapping[int, Held]
    deals: Container[int]


class MissedDeal(msgspec.Struct, frozen=True, kw_only=True):
    """A deal of ours we never heard of; to be counted in with its own time."""

    deal: BrokerDeal


class Executed(msgspec.Struct, frozen=True, kw_only=True):
    """An order in doubt was executed."""

    order_id: str
    volume_lots: float
    evidence: str


class NotExecuted(msgspec.Struct, frozen=True, kw_only=True):
    """An order in doubt was not executed."""

    order_id: str
    evidence: str


class PositionIs(msgspec.Struct, frozen=True, kw_only=True):
    """A position is not what deals made us believe.

    Parameters
    ----------
    position : as the broker has it; None when it is gone
    """

    position_id: int
    position: BrokerPosition | None


Finding = MissedDeal | Executed | NotExecuted | PositionIs


def reconcile(
    believed: Belief,
    broker_orders: Sequence[BrokerOrder],
    broker_positions: Sequence[BrokerPosition],
    broker_deals: Sequence[BrokerDeal],
    now_ns: int,
    quiet_period_ns: int,
    whole_since_ns: int = 0,
) -> tuple[Finding, ...]:
    """Return what must change in our belief to be the broker's truth.

    Parameters
    ----------
    now_ns : when the books were asked for
    quiet_period_ns : "not found" proves nothing until an order has been in doubt for so long
    whole_since_ns : since when the books could be read without a break; the quiet period begins no earlier

    Returns
    -------
    Missed deals first (by time, then ticket), then orders in doubt, then positions.
    """
    missed = _missed_deals(believed, broker_positions, broker_deals)
    findings: list[Finding] = [MissedDeal(deal=deal) for deal in missed]
    for order in believed.orders:
        verdict = _judge(order, believed, broker_orders, broker_positions, missed)
        waited_ns = now_ns - max(order.doubt_ns, whole_since_ns)
        if verdict is None and waited_ns >= quiet_period_ns and not _is_working(order, broker_orders):
            waited_s = waited_ns // 1_000_000_000
            verdict = NotExecuted(order_id=order.order_id, evidence=f"in no book of the broker after {waited_s} s")
        if verdict is not None:
            findings.append(verdict)
    findings.extend(_wrong_positions(believed, broker_positions, missed))
    return tuple(findings)


def _missed_deals(
    believed: Belief, broker_positions: Iterable[BrokerPosition], broker_deals: Iterable[BrokerDeal]
) -> list[BrokerDeal]:
    ours = {p.position_id for p in broker_positions if is_ours(p.magic, believed.namespace)} | set(believed.positions)
    missed = []
    for deal in sorted(broker_deals, key=lambda deal: (deal.ts_ns, deal.ticket)):
        if is_ours(deal.magic, believed.namespace):
            ours.add(deal.position_id)
        elif deal.position_id not in ours:
            continue
        if deal.ticket not in believed.deals:
            missed.append(deal)
    return missed


def _judge(
    order: OrderInQuestion,
    believed: Belief,
    broker_orders: Sequence[BrokerOrder],
    broker_positions: Sequence[BrokerPosition],
    missed: Sequence[BrokerDeal],
) -> Executed | NotExecuted | None:
    if _is_working(order, broker_orders):
        return None
    deals = [deal for deal in missed if deal.magic == order.magic and is_execution_of_its_magic(deal)]
    filled_lots = order.filled_lots + sum(deal.volume_lots for deal in deals)
    if filled_lots > LOTS_TOLERANCE:
        last = f"deal {deals[-1].ticket}" if deals else "deals"
        return Executed(order_id=order.order_id, volume_lots=filled_lots, evidence=last)
    for position in broker_positions:
        if position.magic == order.magic and position.position_id not in believed.positions:
            return Executed(
                order_id=order.order_id, volume_lots=position.volume_lots,
                evidence=f"position {position.position_id}",
            )
    for record in broker_orders:
        if record.magic != order.magic:
            continue
        if record.executed_lots > LOTS_TOLERANCE:
            return Executed(
                order_id=order.order_id, volume_lots=record.executed_lots, evidence=f"order {record.ticket}"
            )
        if record.place in _DEAD:
            word = OrderPlace(record.place).name.lower()
            return NotExecuted(order_id=order.order_id, evidence=f"order {record.ticket} {word}")
    return None


def is_execution_of_its_magic(deal: BrokerDeal) -> bool:
    """Tell whether the deal executes the very order its magic number names.

    A stop loss, take profit or stop-out deal carries the magic of the order that *opened* the position.
    """
    return deal.reason not in (4, 5, 6)


def _is_working(order: OrderInQuestion, broker_orders: Iterable[BrokerOrder]) -> bool:
    return any(record.magic == order.magic and record.place in _WORKING for record in broker_orders)


def _wrong_positions(
    believed: Belief, broker_positions: Sequence[BrokerPosition], missed: Iterable[BrokerDeal]
) -> list[PositionIs]:
    lots = {position_id: held.lots for position_id, held in believed.positions.items()}
    for deal in missed:
        held = believed.positions.get(deal.position_id)
        if held is None or deal.ts_ns > held.as_of_ns:
            lots[deal.position_id] = lots_after(lots.get(deal.position_id, 0.0), deal)
    real = {
        position.position_id: position
        for position in broker_positions
        if position.position_id in lots or is_ours(position.magic, believed.namespace)
    }
    wrong = []
    for position_id in sorted({*lots, *real}):
        position = real.get(position_id)
        real_lots = 0.0 if position is None else signed_lots(position)
        if abs(lots.get(position_id, 0.0) - real_lots) > LOTS_TOLERANCE:
            wrong.append(PositionIs(position_id=position_id, position=position))
    return wrong


def lots_after(lots: float, deal: BrokerDeal) -> float:
    """Return a position's signed lots after a deal.

    >>> from libs.common.messages.market import Side
    >>> deal = BrokerDeal(ticket=1, order=1, position_id=1, symbol="S", magic=0, side=Side.SELL, entry=1, reason=3,
    ...     volume_lots=0.25, price=1.0, commission_ccy=0.0, swap_ccy=0.0, profit_ccy=0.0, ts_ns=0)
    >>> lots_after(1.0, deal)
    0.75
    """
    if deal.entry in (DealEntry.OUT, DealEntry.OUT_BY):
        left = max(abs(lots) - deal.volume_lots, 0.0)
        return left if lots >= 0.0 else -left
    return lots + deal.side.sign * deal.volume_lots
