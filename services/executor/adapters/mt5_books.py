"""The terminal's records as ours: broker spelling and server clock stay on this side."""

import re
from collections.abc import Callable
from typing import Protocol

import msgspec

from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import AccountInfo, TradeDeal, TradeOrder, TradePosition
from services.executor.broker import BrokerDeal, BrokerOrder, BrokerPosition, DealEntry, Standing, is_ours
from services.executor.desk import account_record, deal_record, order_record, position_record
from services.executor.requests import COMMENT_PREFIX

_OUR_COMMENT = re.compile(rf"^{COMMENT_PREFIX}([0-9a-f]{{12}})")


class Clock(Protocol):
    """The broker's clock."""

    def utc_ns(self, server_msc: int) -> int: ...


class BookTranslator:
    """Translates the terminal's records.

    Parameters
    ----------
    namespace : whose magic numbers are ours
    canonical : our spelling of a broker's symbol; its own where we have none
    clock : of this broker
    """

    def __init__(self, namespace: int, canonical: Callable[[str], str], clock: Clock) -> None:
        self._namespace, self._canonical, self._clock = namespace, canonical, clock

    def standing(self, account: AccountInfo, positions: tuple[TradePosition, ...], asked_ns: int) -> Standing:
        """Return account and positions as of ``asked_ns``."""
        return Standing(
            asked_ns=asked_ns, account=account_record(account, asked_ns),
            positions=tuple(self.position(position) for position in positions),
        )

    def position(self, position: TradePosition) -> BrokerPosition:
        """Return an open position."""
        record = position_record(position, self._clock.utc_ns(position.time_msc))
        return msgspec.structs.replace(
            record, symbol=self._canonical(position.symbol), magic=self._magic(position.magic, position.comment)
        )

    def order(self, order: TradeOrder) -> BrokerOrder:
        """Return an order, working or from history."""
        return msgspec.structs.replace(
            order_record(order), symbol=self._canonical(order.symbol),
            magic=self._magic(order.magic, order.comment),
        )

    def deal(self, deal: TradeDeal, ts_ns: int | None = None) -> BrokerDeal:
        """Return a deal of type buy or sell; ``ts_ns`` where its time is known better than to the millisecond."""
        record = deal_record(deal, self._clock.utc_ns(deal.time_msc) if ts_ns is None else ts_ns)
        return msgspec.structs.replace(
            record, symbol=self._canonical(deal.symbol), magic=self._magic(deal.magic, deal.comment)
        )

    def orders(self, *books: tuple[TradeOrder, ...]) -> tuple[BrokerOrder, ...]:
        """Return the orders that are ours; a working order that reached history meanwhile counts as finished."""
        found = {order.ticket: self.order(order) for book in books for order in book}
        return tuple(order for order in found.values() if is_ours(order.magic, self._namespace))

    def deals(self, deals: tuple[TradeDeal, ...]) -> tuple[BrokerDeal, ...]:
        """Return the deals that may concern us: ours, and every one that closed something, each once."""
        found = {deal.ticket: self.deal(deal) for deal in deals if is_trade(deal)}
        return tuple(
            deal for deal in found.values()
            if is_ours(deal.magic, self._namespace) or deal.entry != DealEntry.IN
        )

    def _magic(self, magic: int, comment: str) -> int:
        """Return whose record it is; the comment tells where a broker dropped the magic number."""
        if magic:
            return magic
        match = _OUR_COMMENT.match(comment)
        return ((self._namespace & 0x7FFF) << 48) | int(match[1], 16) if match else 0


def is_trade(deal: TradeDeal) -> bool:
    """Tell whether a deal bought or sold something; the others move money (deposits, corrections)."""
    return deal.type in (mt5.DEAL_TYPE_BUY, mt5.DEAL_TYPE_SELL)
