"""What an Expert Advisor hears of its account: the differences between two looks at the terminal, as transactions."""

import itertools
from collections.abc import Callable
from typing import Any

from libs.common.mt5.adapters.frames import plain
from libs.common.mt5.sim.terminal import SimulatedTerminal

_FOR_EVER = (0, 2**31 - 1)


class TransactionWatch:
    """Turns changes of orders, deals and positions into events.

    Parameters
    ----------
    terminal : whose account is followed; the first look is the present
    """

    def __init__(self, terminal: SimulatedTerminal) -> None:
        self._terminal = terminal
        self._orders: dict[int, Any] = {}
        self._positions: dict[int, Any] = {}
        self._last: dict[str, Any] = {}
        self._clock_ns = -1
        self.changes()

    def changes(self) -> list[dict[str, Any]]:
        """Return what has happened since the last look.

        Returns
        -------
        Events with ``ev`` ``tick`` (the clock has moved) or ``transaction``. A transaction has a ``type`` named like
        MQL5's without its prefix: ``ORDER_ADD``, ``ORDER_UPDATE``, ``ORDER_DELETE`` (field ``order``), ``HISTORY_ADD``
        (``order``), ``DEAL_ADD`` (``deal``), ``POSITION`` (``position``; ``closed`` when it is gone).
        """
        terminal = self._terminal
        old_orders, old_positions = self._orders, self._positions
        self._orders = {order.ticket: order for order in terminal.orders_get()}
        self._positions = {position.ticket: position for position in terminal.positions_get()}
        events = [*_changed("order", "ORDER_ADD", "ORDER_UPDATE", old_orders, self._orders, _terms)]
        events += [_transaction("DEAL_ADD", deal=deal) for deal in self._newest("deal", terminal.history_deals_get)]
        events += [_transaction("ORDER_DELETE", order=o) for t, o in old_orders.items() if t not in self._orders]
        done = self._newest("order", terminal.history_orders_get)
        events += [_transaction("HISTORY_ADD", order=order) for order in done]
        events += _changed("position", "POSITION", "POSITION", old_positions, self._positions, _stake)
        gone = [position for ticket, position in old_positions.items() if ticket not in self._positions]
        events += [{**_transaction("POSITION", position=position), "closed": True} for position in gone]
        if terminal.clock_ns != self._clock_ns:
            self._clock_ns = terminal.clock_ns
            events.append({"ev": "tick", "time_msc": terminal.server_msc()})
        return events

    def _newest(self, kind: str, history: Callable[..., tuple[Any, ...]]) -> list[Any]:
        """Return the records of a history that were not there at the last look, oldest first."""
        records = history(*_FOR_EVER)
        last = self._last.get(kind)
        found = list(itertools.takewhile(lambda record: record != last, reversed(records)))
        if records:
            self._last[kind] = records[-1]
        return found[::-1]


def _changed(
    field: str, added: str, updated: str, old: dict[int, Any], new: dict[int, Any], essence: Callable[[Any], Any]
) -> list[dict[str, Any]]:
    events = []
    for ticket, record in new.items():
        if ticket not in old:
            events.append(_transaction(added, **{field: record}))
        elif essence(old[ticket]) != essence(record):
            events.append(_transaction(updated, **{field: record}))
    return events


def _transaction(kind: str, **record: Any) -> dict[str, Any]:
    return {"ev": "transaction", "type": kind, **{name: plain(value) for name, value in record.items()}}


def _terms(order: Any) -> tuple[Any, ...]:
    return order.price_open, order.sl, order.tp, order.volume_current, order.state, order.time_expiration


def _stake(position: Any) -> tuple[Any, ...]:
    return position.volume, position.price_open, position.sl, position.tp
