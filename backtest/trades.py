"""Trades out of a run's messages: what was opened, what was closed, what it cost."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from backtest.candles import VolatilityRegimes
from backtest.tape import Tape
from libs.common.messages.base import Message
from libs.common.messages.market import Side
from libs.common.messages.orders import (
    OrderApproved,
    OrderFilled,
    OrderPartiallyFilled,
    PositionClosed,
    StopsMoved,
)
from libs.common.trading.instrument import Instrument
from libs.common.trading.money import profit_ccy
from libs.common.trading.sessions import in_london, in_new_york, in_sydney, in_tokyo
from services.executor.broker import BrokerPosition

SESSIONS = (("Sydney", in_sydney), ("Tokyo", in_tokyo), ("London", in_london), ("New York", in_new_york))
NO_SESSION = "between sessions"
LOTS_TOLERANCE = 1e-9


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """A position, or the part of one, that was closed at once.

    Parameters
    ----------
    sl, tp : stop loss and take profit when it was closed, 0.0 for none
    profit_ccy : of the prices, account currency; ``net_ccy`` with swap and commission
    commission_ccy : opening share and closing, <= 0 is a cost
    spread_ccy : what half the spread at either end cost, <= 0; it is in the profit already
    slippage_ccy : what fills elsewhere than asked for brought, usually <= 0; it is in the profit already
    slippage_points : how much worse than asked for both fills were together
    mae_points, mfe_points : how far the price went against it and for it, points, >= 0; ``None`` where not known
    traded_ccy : value of entry and exit together, account currency
    reason : ``sl``, ``tp``, ``order``, ``stop_out``, ``manual``
    session : trading centres at work when it was opened
    regime : ``calm``, ``usual`` or ``wild``: how far prices ranged in the hour it was opened in
    """

    symbol: str
    side: Side
    volume_lots: float
    opened_ns: int
    closed_ns: int
    price_open: float
    price_close: float
    sl: float
    tp: float
    profit_ccy: float
    commission_ccy: float
    swap_ccy: float
    spread_ccy: float
    slippage_ccy: float
    slippage_points: float
    mae_points: float | None
    mfe_points: float | None
    traded_ccy: float
    reason: str
    model: str
    session: str
    regime: str
    order_id: str
    position_id: int

    @property
    def net_ccy(self) -> float:
        """What it brought in all, account currency."""
        return self.profit_ccy + self.commission_ccy + self.swap_ccy


class OpenTrade(msgspec.Struct, frozen=True, kw_only=True):
    """A position that was still open at the end.

    Parameters
    ----------
    profit_ccy, swap_ccy : floating, account currency
    commission_ccy : paid at the opening for what is still open
    """

    symbol: str
    side: Side
    volume_lots: float
    opened_ns: int
    price_open: float
    sl: float
    tp: float
    profit_ccy: float
    swap_ccy: float
    commission_ccy: float
    position_id: int

    @property
    def net_ccy(self) -> float:
        """What it would bring in all, account currency."""
        return self.profit_ccy + self.commission_ccy + self.swap_ccy


class _Position(msgspec.Struct):
    """What is known of an open position."""

    side: Side
    lots: float = 0.0
    commission_ccy: float = 0.0
    slippage_points: float = 0.0
    spread: float = 0.0
    sl: float = 0.0
    tp: float = 0.0
    turned: OrderFilled | OrderPartiallyFilled | None = None


class TradeFold:
    """Turns messages into trades.

    Parameters
    ----------
    instruments : by symbol
    currency : of the account
    tape : of the same run; without one, what hangs on quotes is 0 or unknown
    """

    def __init__(self, instruments: Mapping[str, Instrument], currency: str, tape: Tape | None = None) -> None:
        self._instruments, self._currency, self._tape = instruments, currency, tape
        self._regimes: dict[str, VolatilityRegimes] = (
            {symbol: tape.regimes(symbol) for symbol in tape.symbols} if tape is not None else {}
        )
        self._approved: dict[str, OrderApproved] = {}
        self._positions: dict[int, _Position] = {}
        self._closing: dict[tuple[int, int], float] = {}
        self.trades: list[Trade] = []

    def hear(self, message: Message) -> None:
        """Take in the next message."""
        if isinstance(message, OrderApproved):
            self._approved[message.order_id] = message
        elif isinstance(message, OrderFilled | OrderPartiallyFilled):
            self._filled(message)
        elif isinstance(message, StopsMoved) and message.position_id in self._positions:
            position = self._positions[message.position_id]
            position.sl, position.tp = message.sl, message.tp
        elif isinstance(message, PositionClosed):
            self._closed(message)

    def still_open(self, positions: Sequence[BrokerPosition]) -> tuple[OpenTrade, ...]:
        """Return what the broker says is open, with the commission paid for it."""
        return tuple(
            OpenTrade(
                symbol=held.symbol, side=held.side, volume_lots=held.volume_lots, opened_ns=held.opened_ns,
                price_open=held.price_open, sl=held.sl, tp=held.tp, profit_ccy=held.profit_ccy, swap_ccy=held.swap_ccy,
                commission_ccy=known.commission_ccy if (known := self._positions.get(held.position_id)) else 0.0,
                position_id=held.position_id,
            )
            for held in positions
        )

    # ---- inside

    def _filled(self, fill: OrderFilled | OrderPartiallyFilled) -> None:
        position = self._positions.get(fill.position_id)
        if position is None:
            position = self._positions[fill.position_id] = _Position(side=fill.side)
        if position.lots <= LOTS_TOLERANCE or position.side is fill.side:
            self._open(position, fill, fill.volume_lots)
            return
        self._closing[fill.position_id, fill.ts_event_ns] = fill.slippage_points
        if fill.volume_lots > position.lots + LOTS_TOLERANCE:
            # A netting position that turns round: the rest opens once what was there is closed.
            position.turned = fill

    def _open(self, position: _Position, fill: OrderFilled | OrderPartiallyFilled, lots: float) -> None:
        """Add to a position; slippage and spread are the mean over what it was made of."""
        share = lots / (position.lots + lots)
        spread = self._spread(fill.symbol, fill.ts_event_ns)
        position.slippage_points += (fill.slippage_points - position.slippage_points) * share
        position.spread += (spread - position.spread) * share
        position.commission_ccy += fill.commission_ccy * lots / fill.volume_lots
        position.side, position.lots = fill.side, position.lots + lots
        approved = self._approved.get(fill.order_id)
        if approved is not None:
            position.sl, position.tp = approved.sl, approved.tp

    def _closed(self, closed: PositionClosed) -> None:
        position = self._positions.get(closed.position_id) or _Position(side=closed.side, lots=closed.volume_lots)
        self.trades.append(self._trade(closed, position))
        position.commission_ccy *= max(1.0 - closed.volume_lots / position.lots, 0.0) if position.lots else 0.0
        position.lots -= closed.volume_lots
        if position.lots > LOTS_TOLERANCE:
            return
        turned = position.turned
        self._positions.pop(closed.position_id, None)
        if turned is not None:
            fresh = self._positions[closed.position_id] = _Position(side=turned.side)
            self._open(fresh, turned, turned.volume_lots - closed.volume_lots)

    def _trade(self, closed: PositionClosed, position: _Position) -> Trade:
        instrument = self._instruments[closed.symbol]
        opened = self._approved.get(closed.order_id)
        at_exit = self._exit_slippage(closed, position, instrument)
        value_ccy = self._value_of_price(closed, instrument)
        spread = position.spread + self._spread(closed.symbol, closed.ts_event_ns)
        slippage_points = position.slippage_points + at_exit
        adverse, favourable = self._excursions(closed, instrument)
        return Trade(
            symbol=closed.symbol, side=closed.side, volume_lots=closed.volume_lots, opened_ns=closed.opened_ns,
            closed_ns=closed.ts_event_ns, price_open=closed.price_open, price_close=closed.price_close,
            sl=position.sl, tp=position.tp, profit_ccy=closed.profit_ccy, commission_ccy=closed.commission_ccy,
            swap_ccy=closed.swap_ccy, spread_ccy=-spread / 2.0 * value_ccy,
            slippage_ccy=-slippage_points * instrument.point * value_ccy, slippage_points=round(slippage_points, 3),
            mae_points=adverse, mfe_points=favourable,
            traded_ccy=(closed.price_open + closed.price_close) * value_ccy, reason=closed.reason,
            model=opened.model if opened is not None else "", session=session_at(closed.opened_ns),
            regime=regimes.at(closed.opened_ns) if (regimes := self._regimes.get(closed.symbol)) else "",
            order_id=closed.order_id, position_id=closed.position_id,
        )

    def _exit_slippage(self, closed: PositionClosed, position: _Position, instrument: Instrument) -> float:
        """Return how much worse than asked for a position was closed, points: an order's price, or the stop's level."""
        level = {"sl": position.sl, "tp": position.tp}.get(closed.reason, 0.0)
        if level:
            return round(closed.side.sign * (level - closed.price_close) / instrument.point, 3)
        return self._closing.pop((closed.position_id, closed.ts_event_ns), 0.0)

    def _excursions(self, closed: PositionClosed, instrument: Instrument) -> tuple[float | None, float | None]:
        found = self._tape.extremes_of(closed.position_id, closed.ts_event_ns) if self._tape is not None else None
        if found is None:
            return None, None
        below = (closed.price_open - found.low) / instrument.point
        above = (found.high - closed.price_open) / instrument.point
        adverse, favourable = (below, above) if closed.side is Side.BUY else (above, below)
        return round(max(adverse, 0.0), 1), round(max(favourable, 0.0), 1)

    def _value_of_price(self, closed: PositionClosed, instrument: Instrument) -> float:
        """Return what a price one unit higher would have meant for the volume, account currency, >= 0."""
        lots, at = closed.volume_lots, closed.price_close
        found = profit_ccy(instrument, 1, lots, at - 1.0, at, self._currency, {})
        if found is not None:
            return found
        # A third currency: its rate is in the profit itself.
        moved = abs(closed.price_close - closed.price_open)
        return abs(closed.profit_ccy) / moved if moved else 0.0

    def _spread(self, symbol: str, ts_ns: int) -> float:
        return (self._tape.spread_at(symbol, ts_ns) or 0.0) if self._tape is not None else 0.0


def fold_trades(
    messages: Iterable[Message], instruments: Mapping[str, Instrument], currency: str, tape: Tape | None = None
) -> TradeFold:
    """Return the fold of all messages of a run, in order."""
    fold = TradeFold(instruments, currency, tape)
    for message in messages:
        fold.hear(message)
    return fold


def session_at(ts_ns: int) -> str:
    """Return the trading centres at work, joined by ``+``.

    >>> session_at(1_700_144_400_000_000_000)  # Thursday 2023-11-16 14:20 UTC
    'London + New York'
    """
    return " + ".join(name for name, at_work in SESSIONS if at_work(ts_ns)) or NO_SESSION
