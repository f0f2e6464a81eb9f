"""Our positions as deals make them, and what their closing was worth."""

import msgspec

from libs.common.messages.orders import PositionClosed
from services.executor.broker import (
    LOTS_TOLERANCE,
    BrokerDeal,
    BrokerPosition,
    DealEntry,
    DealReason,
    is_ours,
)
from services.executor.reconcile import Held
from services.executor.state import ActiveOrder, OwnPosition

_REASONS: dict[int, str] = {DealReason.SL: "sl", DealReason.TP: "tp", DealReason.STOP_OUT: "stop_out"}


class PositionBook:
    """Counts deals into positions.

    Parameters
    ----------
    positions : position id -> position; the caller's dict, changed in place
    """

    def __init__(self, positions: dict[int, OwnPosition], account: str, namespace: int) -> None:
        self._positions = positions
        self._account = account
        self._namespace = namespace

    def holds(self, deal: BrokerDeal) -> bool:
        """Tell whether a deal concerns us: our magic number, or a position of ours."""
        return is_ours(deal.magic, self._namespace) or deal.position_id in self._positions

    def count(self, deal: BrokerDeal, order: ActiveOrder | None, order_id: str, now_ns: int) -> PositionClosed | None:
        """Count a deal in.

        Parameters
        ----------
        order : the active order the deal executes, if any; brings stop loss and horizon
        order_id : the order its magic number names, "" for none

        Returns
        -------
        What was closed by it, if anything.
        """
        own = self._positions.get(deal.position_id)
        if deal.entry == DealEntry.IN:
            self._open(deal, own, order, order_id)
            return None
        if own is None:
            return None
        if deal.entry == DealEntry.INOUT:
            return self._turn_round(own, deal, order, order_id, now_ns)
        closed = self._close(own, deal, deal.volume_lots, deal.commission_ccy, now_ns)
        if not own.unclosed_lots:
            del self._positions[own.position_id]
        return closed

    def adopt(self, position_id: int, position: BrokerPosition | None, order_id: str, asked_ns: int) -> None:
        """Make a position what the broker's books say it is; ``None`` when it is gone.

        Deals until ``asked_ns`` are in that volume already, however late they are heard.
        """
        own = self._positions.get(position_id)
        if position is None:
            if own is not None:
                own.lots, own.adopted_ns = 0.0, asked_ns
            return
        if own is None:
            distance = abs(position.price_open - position.sl) if position.sl else 0.0
            own = self._positions[position_id] = OwnPosition(
                position_id=position_id, order_id=order_id, symbol=position.symbol, side=position.side, lots=0.0,
                unclosed_lots=0.0, price_open=position.price_open, opened_ns=position.opened_ns,
                stop_distance=distance, deadline_ns=0,
            )
        own.side, own.lots, own.price_open = position.side, position.volume_lots, position.price_open
        own.unclosed_lots = max(own.unclosed_lots, own.lots)
        own.adopted_ns = asked_ns

    def held(self) -> dict[int, Held]:
        """Return what we believe of our positions, by id."""
        return {
            own.position_id: Held(own.side.sign * own.lots, own.adopted_ns) for own in self._positions.values()
        }

    def _open(self, deal: BrokerDeal, own: OwnPosition | None, order: ActiveOrder | None, order_id: str) -> None:
        if own is None:
            self._positions[deal.position_id] = own = OwnPosition(
                position_id=deal.position_id, order_id=order_id, symbol=deal.symbol, side=deal.side, lots=0.0,
                unclosed_lots=0.0, price_open=deal.price, opened_ns=deal.ts_ns, stop_distance=0.0, deadline_ns=0,
            )
        own.commission_ccy += deal.commission_ccy
        if deal.ts_ns <= own.adopted_ns:
            # Its volume came with the broker's books; only the late deal's costs were missing.
            own.order_id = own.order_id or order_id
            return
        lots = own.lots + deal.volume_lots
        own.price_open = (own.price_open * own.lots + deal.price * deal.volume_lots) / lots
        own.lots = lots
        own.unclosed_lots += deal.volume_lots
        _take_terms(own, order, deal)

    def _close(
        self, own: OwnPosition, deal: BrokerDeal, lots: float, commission_ccy: float, now_ns: int
    ) -> PositionClosed:
        if deal.ts_ns > own.adopted_ns:
            own.lots = max(own.lots - lots, 0.0)
            if own.lots <= LOTS_TOLERANCE:
                own.lots = 0.0
        left = max(own.unclosed_lots - lots, own.lots)
        own.unclosed_lots = left if left > LOTS_TOLERANCE else 0.0
        share_ccy = own.commission_ccy
        if own.unclosed_lots:
            share_ccy *= lots / (lots + own.unclosed_lots)
        own.commission_ccy -= share_ccy
        return PositionClosed(
            ts_event_ns=deal.ts_ns, ts_init_ns=now_ns, order_id=own.order_id, account=self._account,
            symbol=own.symbol, position_id=own.position_id, side=own.side, volume_lots=lots,
            price_open=own.price_open, price_close=deal.price, opened_ns=own.opened_ns,
            profit_ccy=deal.profit_ccy, swap_ccy=deal.swap_ccy, commission_ccy=share_ccy + commission_ccy,
            reason=self._reason(deal),
        )

    def _turn_round(
        self, own: OwnPosition, deal: BrokerDeal, order: ActiveOrder | None, order_id: str, now_ns: int
    ) -> PositionClosed:
        """Close one direction and begin the other under the same position id (netting)."""
        if deal.ts_ns <= own.adopted_ns:
            # The books told of the new direction before; what the deal closed is the rest of its volume.
            closed_lots = deal.volume_lots - own.lots if own.side is deal.side else deal.volume_lots
            closed = self._close(own, deal, max(closed_lots, 0.0), deal.commission_ccy, now_ns)
            return msgspec.structs.replace(closed, side=deal.side.opposite)
        closed_lots = own.lots
        share = closed_lots / deal.volume_lots
        closed = self._close(own, deal, closed_lots, deal.commission_ccy * share, now_ns)
        own.order_id, own.side = order_id, deal.side
        own.lots = own.unclosed_lots = deal.volume_lots - closed_lots
        own.price_open, own.opened_ns = deal.price, deal.ts_ns
        own.commission_ccy = deal.commission_ccy * (1.0 - share)
        own.stop_distance, own.deadline_ns = 0.0, 0
        own.refused_sl = 0.0
        _take_terms(own, order, deal)
        return closed

    def _reason(self, deal: BrokerDeal) -> str:
        known = _REASONS.get(deal.reason)
        if known is not None:
            return known
        return "order" if deal.reason == DealReason.EXPERT and is_ours(deal.magic, self._namespace) else "manual"


def _take_terms(own: OwnPosition, order: ActiveOrder | None, deal: BrokerDeal) -> None:
    """Take stop distance and deadline from the order; the last order of a netting position decides."""
    if order is None:
        return
    own.stop_distance = abs(own.price_open - order.sl) if order.sl else 0.0
    own.deadline_ns = deal.ts_ns + order.horizon_s * 1_000_000_000 if order.horizon_s else 0
