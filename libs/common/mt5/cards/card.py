"""What a conformance card is, what it works with, and how it is judged.

A card asks a MetaTrader5 package (ours or the real one) something and says what the answer must be. It uses nothing but
the package's functions, so that the same cards run on the simulator and on somebody's broker.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import msgspec

Wait = Callable[[float], None]
MAGIC = 7_318_349_394_477_056
"""Marks the cards' own orders, so that they clean up theirs and nobody else's."""
PATIENCE_S = 10.0
"""How long a card waits for what a terminal shows a moment later than the answer."""
_PAUSE_S = 0.05
_FOK_FLAG, _IOC_FLAG = 1, 2


class Broken(Exception):
    """The package did not do what a card requires; the text says what it did."""


class NotHere(Exception):
    """The account or the symbol is not of the kind the card speaks of; the text says why."""


class Outcome(StrEnum):
    """How a card ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Bench:
    """A package under test, with what cards need to work on it.

    Parameters
    ----------
    mt5 : the package: a module, or anything with its functions and constants
    symbol : that cards look at and trade
    wait : lets seconds pass
    may_trade : whether cards may send orders; even then only on a demo account
    connect : keywords for ``initialize``
    """

    def __init__(
        self, mt5: Any, symbol: str, wait: Wait, *, may_trade: bool = False, connect: Mapping[str, Any] | None = None
    ) -> None:
        self.mt5 = mt5
        self.symbol = symbol
        self.wait = wait
        self.may_trade = may_trade
        self.connect = dict(connect or {})

    # Judging.

    def equal(self, what: str, found: Any, required: Any) -> None:
        """Require equality."""
        if found != required:
            raise Broken(f"{what} is {found!r}, required is {required!r}")

    def true(self, what: str, holds: Any) -> None:
        """Require that something holds; ``what`` says it."""
        if not holds:
            raise Broken(f"not so: {what}")

    def near(self, what: str, found: float, required: float, tolerance: float) -> None:
        """Require a number within a tolerance."""
        if not abs(found - required) <= tolerance:
            raise Broken(f"{what} is {found!r}, required is {required!r} within {tolerance!r}")

    def refused(self, call: Callable[[], Any], words: str, answer: Any = None) -> None:
        """Require the package's own refusal: this answer, and -2 with these words."""
        self.equal("answer", call(), answer)
        self.equal("last_error()", self.mt5.last_error(), (-2, words))

    def raises(self, call: Callable[[], Any], kind: type[BaseException], cause: type[BaseException] | None) -> None:
        """Require that a call raises, and what from."""
        try:
            answer = call()
        except Exception as error:
            self.equal("exception", type(error).__name__, kind.__name__)
            self.equal("its cause", type(error.__cause__), type(None) if cause is None else cause)
            return
        raise Broken(f"gave {answer!r}, required is {kind.__name__}")

    def succeeds(self) -> None:
        """Require that the last call reported success."""
        self.equal("last_error()", self.mt5.last_error(), (1, "Success"))

    def failed_with(self, code: int) -> None:
        """Require the code of the last call's error."""
        self.equal("last_error() code", self.mt5.last_error()[0], code)

    # Looking.

    @property
    def info(self) -> Any:
        """The symbol's specification, selected in Market Watch first."""
        self.true(f"symbol_select({self.symbol!r})", self.mt5.symbol_select(self.symbol, True))
        return self.eventually("symbol_info", lambda: self.mt5.symbol_info(self.symbol))

    @property
    def tick(self) -> Any:
        """The symbol's last tick."""
        self.mt5.symbol_select(self.symbol, True)
        return self.eventually("symbol_info_tick", lambda: self.mt5.symbol_info_tick(self.symbol))

    def bars(self, timeframe: int, count: int, start: int = 0) -> Any:
        """Return bars, waiting for the terminal to have loaded them."""
        return self.eventually(
            "copy_rates_from_pos", lambda: self.mt5.copy_rates_from_pos(self.symbol, timeframe, start, count)
        )

    def eventually(self, what: str, look: Callable[[], Any]) -> Any:
        """Return what ``look`` gives once it is neither ``None`` nor empty."""
        for _ in range(round(PATIENCE_S / _PAUSE_S)):
            found = look()
            if found is not None and not (hasattr(found, "__len__") and len(found) == 0):
                return found
            self.wait(_PAUSE_S)
        raise Broken(f"{what}: nothing within {PATIENCE_S:g} s, last_error() is {self.mt5.last_error()}")

    def vanishes(self, what: str, look: Callable[[], Any]) -> None:
        """Wait until ``look`` gives the empty tuple."""
        for _ in range(round(PATIENCE_S / _PAUSE_S)):
            if look() == ():
                return
            self.wait(_PAUSE_S)
        raise Broken(f"{what} is still there after {PATIENCE_S:g} s")

    # Trading.

    def filling(self) -> int:
        """Return a filling mode the symbol takes."""
        flags = self.info.filling_mode
        if flags & _FOK_FLAG:
            return int(self.mt5.ORDER_FILLING_FOK)
        return int(self.mt5.ORDER_FILLING_IOC if flags & _IOC_FLAG else self.mt5.ORDER_FILLING_RETURN)

    def deal(self, side: int, **changes: Any) -> dict[str, Any]:
        """Return a market order of the least volume; a change to ``None`` leaves the field out."""
        tick = self.tick
        request: dict[str, Any] = {
            "action": self.mt5.TRADE_ACTION_DEAL, "symbol": self.symbol, "volume": self.info.volume_min, "type": side,
            "price": tick.ask if side == self.mt5.ORDER_TYPE_BUY else tick.bid, "deviation": 50, "magic": MAGIC,
            "comment": "card", "type_filling": self.filling(),
        }
        return {name: value for name, value in {**request, **changes}.items() if value is not None}

    def pending(self, kind: int, points: int, **changes: Any) -> dict[str, Any]:
        """Return a pending order so many points away from the market, on the side its kind wants."""
        mt5, tick, info = self.mt5, self.tick, self.info
        above = kind in (mt5.ORDER_TYPE_SELL_LIMIT, mt5.ORDER_TYPE_BUY_STOP)
        market = tick.ask if kind in (mt5.ORDER_TYPE_BUY_LIMIT, mt5.ORDER_TYPE_BUY_STOP) else tick.bid
        price = round(market + (points if above else -points) * info.point, info.digits)
        request: dict[str, Any] = {
            "action": mt5.TRADE_ACTION_PENDING, "symbol": self.symbol, "volume": info.volume_min, "type": kind,
            "price": price, "magic": MAGIC, "comment": "card", "type_filling": mt5.ORDER_FILLING_RETURN,
            "type_time": mt5.ORDER_TIME_GTC,
        }
        return {**request, **changes}

    def done(self, request: dict[str, Any]) -> Any:
        """Send a request that must be executed and return the answer."""
        answer = self.mt5.order_send(request)
        if answer is None or answer.retcode not in (self.mt5.TRADE_RETCODE_DONE, self.mt5.TRADE_RETCODE_PLACED):
            said = self.mt5.last_error() if answer is None else (answer.retcode, answer.comment)
            raise Broken(f"order_send says {said}, required is done")
        return answer

    def answered(self, request: dict[str, Any], *retcodes: int) -> Any:
        """Send a request that must be answered with one of these codes, and return the answer."""
        answer = self.mt5.order_send(request)
        if answer is None:
            raise Broken(f"order_send gave None, last_error() is {self.mt5.last_error()}")
        if answer.retcode not in retcodes:
            raise Broken(f"retcode is {answer.retcode} ({answer.comment}), required is {' or '.join(map(str, retcodes))}")
        return answer

    def opened(self, side: int, **changes: Any) -> Any:
        """Open a position and return it once it shows."""
        ticket = self.done(self.deal(side, **changes)).order
        return self.eventually("the position", lambda: self.mt5.positions_get(ticket=ticket))[0]

    def placed(self, kind: int, points: int, **changes: Any) -> Any:
        """Place a pending order and return it once it shows."""
        ticket = self.done(self.pending(kind, points, **changes)).order
        return self.eventually("the order", lambda: self.mt5.orders_get(ticket=ticket))[0]

    def close(self, position: Any, **changes: Any) -> Any:
        """Close a position by its opposite deal and return the answer."""
        mt5 = self.mt5
        side = mt5.ORDER_TYPE_SELL if position.type == mt5.POSITION_TYPE_BUY else mt5.ORDER_TYPE_BUY
        return self.done(self.deal(side, **{"volume": position.volume, "position": position.ticket, **changes}))

    def deals(self, **where: int) -> Any:
        """Return deals once they show in history."""
        return self.eventually("history_deals_get", lambda: self.mt5.history_deals_get(**where))

    def far(self) -> int:
        """Return a distance from the market that no stops level forbids and no quick move reaches, points."""
        info = self.info
        return int(max(20 * info.spread, 2 * info.trade_stops_level, 500))

    def clean_up(self) -> None:
        """Take off the cards' own orders and close their own positions of the symbol."""
        mt5 = self.mt5
        for order in mt5.orders_get(symbol=self.symbol) or ():
            if order.magic == MAGIC:
                mt5.order_send({"action": mt5.TRADE_ACTION_REMOVE, "order": order.ticket})
        for position in mt5.positions_get(symbol=self.symbol) or ():
            if position.magic == MAGIC:
                self.close(position)


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One requirement.

    Parameters
    ----------
    name : unique, with words joined by hyphens
    area : what it is about
    stimulus, required : what is done and what must come of it, for people
    check : does it; raises ``Broken`` or ``NotHere``
    connected : whether ``initialize`` goes before it (else ``shutdown``)
    trades : whether it sends orders
    """

    name: str
    area: str
    stimulus: str
    required: str
    check: Callable[[Bench], None]
    connected: bool = True
    trades: bool = False


class Verdict(msgspec.Struct, frozen=True):
    """What became of a card; ``reason`` says why it failed or was skipped."""

    card: Card
    outcome: Outcome
    reason: str = ""


class Deck:
    """The cards of one area, collected by decorating their checks.

    Parameters
    ----------
    area : what they are about
    connected, trades : as in ``Card``, for all of them
    """

    def __init__(self, area: str, *, connected: bool = True, trades: bool = False) -> None:
        self.area = area
        self.connected = connected
        self.trades = trades
        self.cards: list[Card] = []

    def card(self, stimulus: str, required: str) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
        """Make a card of a function; its name becomes the card's."""

        def keep(check: Callable[[Bench], None]) -> Callable[[Bench], None]:
            self.add(check.__name__.replace("_", "-"), stimulus, required, check)
            return check

        return keep

    def add(self, name: str, stimulus: str, required: str, check: Callable[[Bench], None]) -> None:
        """Add a card."""
        self.cards.append(Card(
            name=name, area=self.area, stimulus=stimulus, required=required, check=check, connected=self.connected,
            trades=self.trades,
        ))  # fmt: skip


def run_card(card: Card, bench: Bench) -> Verdict:
    """Run one card; what it opened is closed again."""
    mt5 = bench.mt5
    mt5.shutdown()
    if card.connected and not mt5.initialize(**bench.connect):
        return Verdict(card, Outcome.FAILED, f"initialize() failed: {mt5.last_error()}")
    if card.trades:
        why_not = _why_not_trade(bench)
        if why_not:
            return Verdict(card, Outcome.SKIPPED, why_not)
    try:
        card.check(bench)
    except NotHere as reason:
        return Verdict(card, Outcome.SKIPPED, str(reason))
    except Exception as error:
        told = str(error) if isinstance(error, Broken) else f"{type(error).__name__}: {error}"
        return Verdict(card, Outcome.FAILED, told)
    finally:
        if card.trades:
            bench.clean_up()
    return Verdict(card, Outcome.PASSED)


def _why_not_trade(bench: Bench) -> str:
    if not bench.may_trade:
        return "trading was not allowed"
    account = bench.mt5.account_info()
    if account is None or account.trade_mode != bench.mt5.ACCOUNT_TRADE_MODE_DEMO:
        return "not a demo account"
    return "" if bench.info.trade_mode == bench.mt5.SYMBOL_TRADE_MODE_FULL else f"{bench.symbol} is not freely traded"
