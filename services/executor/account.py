"""The account as it is told to the others."""

from collections.abc import Iterable

from libs.common.messages.account import AccountSnapshot, Position
from services.executor.broker import BrokerAccount, BrokerPosition, is_ours
from services.executor.order_state import OrderState
from services.executor.state import ExecutorState


def account_snapshot(
    name: str,
    account: BrokerAccount,
    positions: Iterable[BrokerPosition],
    state: ExecutorState,
    now_ns: int,
) -> AccountSnapshot:
    """Return the broker's figures with what only we know: which lots are in doubt."""
    unknown_lots: dict[str, float] = {}
    for order in state.active.values():
        if order.state is OrderState.UNKNOWN:
            # Worst case: it was executed whole, and no other order in doubt offsets it.
            unknown_lots[order.symbol] = unknown_lots.get(order.symbol, 0.0) + order.lots
    return AccountSnapshot(
        ts_event_ns=account.as_of_ns, ts_init_ns=now_ns, account=name, currency=account.currency,
        hedging=account.hedging, leverage=account.leverage, balance_ccy=account.balance_ccy,
        equity_ccy=account.equity_ccy, margin_ccy=account.margin_ccy, margin_free_ccy=account.margin_free_ccy,
        positions=tuple(_told(position, state) for position in positions), unknown_lots=unknown_lots,
        day_start_equity_ccy=account.day_start_equity_ccy, peak_equity_ccy=account.peak_equity_ccy,
    )


def _told(position: BrokerPosition, state: ExecutorState) -> Position:
    own = state.positions.get(position.position_id)
    return Position(
        position_id=position.position_id, symbol=position.symbol, side=position.side,
        volume_lots=position.volume_lots, price_open=position.price_open, sl=position.sl, tp=position.tp,
        magic=position.magic, opened_ns=position.opened_ns if own is None else own.opened_ns,
        profit_ccy=position.profit_ccy, swap_ccy=position.swap_ccy,
    )


def foreign_positions(
    positions: Iterable[BrokerPosition], state: ExecutorState, namespace: int
) -> dict[int, BrokerPosition]:
    """Return the positions that are not ours, by id; they are told of and left alone."""
    return {
        position.position_id: position for position in positions
        if not is_ours(position.magic, namespace) and position.position_id not in state.positions
    }
