"""Conformance cards: what a MetaTrader5 package must do, as data and functions over its own API."""

from libs.common.mt5.cards import calls, orders, packages, prices, trades
from libs.common.mt5.cards.card import Bench, Card, Outcome, Verdict, run_card

_DECKS = (
    packages.names, packages.records, packages.unconnected, packages.connection, calls.arguments, calls.requests,
    prices.symbols, prices.bars, prices.ticks, prices.depth, prices.calculators, trades.checking, trades.market,
    trades.stops, orders.pending, orders.history, orders.short_calls,
)  # fmt: skip

CARDS: tuple[Card, ...] = tuple(card for deck in _DECKS for card in deck.cards)
"""Every card, area by area."""

__all__ = ["CARDS", "Bench", "Card", "Outcome", "Verdict", "run_card"]
