"""Who takes the other side: at what prices, and how much of it there is."""

from typing import NamedTuple

import msgspec

from libs.common.mt5.sim.draws import slippage_points
from libs.common.mt5.sim.ledger import Ledger
from libs.common.mt5.sim.traded import TradedSymbol
from libs.common.mt5.sim.treatment import PLAIN, Treatment


class Offer(NamedTuple):
    """So much volume at one price."""

    price: float
    lots: float


def market_price(
    ledger: Ledger, symbol: str, sign: int, order_ticket: int, treatment: Treatment = PLAIN
) -> float:
    """Return what a market order is filled at now: ask or bid, made worse by the slippage of its ticket."""
    quote = ledger.state.quotes[symbol]
    slip = treatment.slippage_points
    if slip is None:
        if ledger.settings.slippage == "none":
            return ledger.symbols[symbol].instrument.round_price(quote.ask if sign > 0 else quote.bid)
        slip = slippage_points(ledger.settings, ledger.seed, order_ticket)
    return ledger.symbols[symbol].instrument.shift(quote.ask if sign > 0 else quote.bid, sign * slip)


def book_levels(ledger: Ledger, symbol: str) -> tuple[list[Offer], list[Offer]]:
    """Return what the book offers to buyers and to sellers, best price first; empty lists without a book.

    What has been taken from this quote is gone; the next quote brings a full book again.
    """
    traded, quote = ledger.symbols[symbol], ledger.state.quotes[symbol]
    if not traded.terms.depth_lots or quote.bid <= 0.0:
        return [], []
    return _side(traded, quote.ask, 1, quote.bought_lots), _side(traded, quote.bid, -1, quote.sold_lots)


def _side(traded: TradedSymbol, best: float, sign: int, taken_lots: float) -> list[Offer]:
    offers = []
    instrument = traded.instrument
    for level, lots in enumerate(traded.terms.depth_lots):
        left = instrument.add_volumes(lots, -min(taken_lots, lots))
        taken_lots = max(0.0, instrument.add_volumes(taken_lots, -lots))
        if left > 0.0:
            offers.append(Offer(instrument.shift(best, sign * level * traded.terms.depth_step_points), left))
    return offers


def offers_for(
    ledger: Ledger, traded: TradedSymbol, sign: int, lots: float, price: float, treatment: Treatment = PLAIN
) -> list[Offer]:
    """Return at what prices an order would be filled now; together they hold ``lots`` or what there is.

    Parameters
    ----------
    price : of the best level, slippage in it
    """
    wanted = lots
    if treatment.fill_lots is not None:
        wanted = min(lots, traded.instrument.round_volume_down(treatment.fill_lots))
    if not traded.terms.depth_lots:
        return [Offer(price, wanted)] if wanted > 0.0 else []
    quote = ledger.state.quotes[traded.symbol]
    found: list[Offer] = []
    for offer in _side(traded, price, sign, quote.bought_lots if sign > 0 else quote.sold_lots):
        part = min(offer.lots, wanted)
        if part > 0.0:
            found.append(Offer(offer.price, part))
        wanted = traded.instrument.add_volumes(wanted, -part)
    return _on_volume_grid(traded, found, lots)


def _on_volume_grid(traded: TradedSymbol, offers: list[Offer], lots: float) -> list[Offer]:
    """Leave out of the last offers what would leave the filled volume off the grid of volumes."""
    total = sum(offer.lots for offer in offers)
    excess = traded.instrument.add_volumes(total, -traded.instrument.round_volume_down(min(total, lots)))
    while offers and excess > 0.0:
        last = offers.pop()
        if last.lots > excess + 5e-9:
            offers.append(Offer(last.price, traded.instrument.add_volumes(last.lots, -excess)))
            break
        excess = traded.instrument.add_volumes(excess, -last.lots)
    return offers


def take(ledger: Ledger, traded: TradedSymbol, sign: int, lots: float) -> None:
    """Take volume out of the book of the quote in force."""
    if not traded.terms.depth_lots:
        return
    quote = ledger.state.quotes[traded.symbol]
    add = traded.instrument.add_volumes
    bought, sold = quote.bought_lots, quote.sold_lots
    ledger.state.quotes[traded.symbol] = msgspec.structs.replace(
        quote, bought_lots=add(bought, lots) if sign > 0 else bought,
        sold_lots=add(sold, lots) if sign < 0 else sold,
    )
