"""What must hold before risk is taken: one small pure function per refusal reason, in the order they are asked.

Each takes (request, book, limits, now_ns) and returns ``None``, or the evidence: the two numbers a person asks for
first, in the unit the table gives. A missing, stale or non-finite input is evidence, never a reason to pass.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from libs.common.messages.account import AccountSnapshot
from libs.common.messages.features import Prediction
from libs.common.messages.orders import OrderPurpose, RefusalReason
from libs.common.trading.sessions import fx_market_open
from services.risk.book import Book
from services.risk.config import RiskConfig
from services.risk.request import OrderRequest
from services.risk.state import RecentOrder

_NS_PER_MS = 1_000_000
_RATE_WINDOW_NS = 60_000_000_000


class Evidence(NamedTuple):
    """What was seen and what is allowed, both finite and in the check's unit, and one sentence for people."""

    observed: float
    limit: float
    detail: str = ""


Test = Callable[[OrderRequest, Book, RiskConfig, int], Evidence | None]
Standing = Callable[[Book, RiskConfig], Evidence | None]


class Check(NamedTuple):
    """One check.

    Parameters
    ----------
    reason, unit : what it refuses for, and the unit of its two numbers
    test : the check on a request
    for_reduce : True when an order that only reduces risk must pass it too
    standing : the same limit on the account alone; tested with every account snapshot, and when it trips, trading
        halts
    """

    reason: RefusalReason
    unit: str
    test: Test
    for_reduce: bool = False
    standing: Standing | None = None


def direction(request: OrderRequest, book: Book, limits: RiskConfig, now_ns: int) -> Evidence | None:
    """Refuse a prediction that suggests no side."""
    if request.side is None:
        return Evidence(0.0, 1.0, request.prediction.reason or "the prediction suggests no side")
    return None


def halted(request: OrderRequest, book: Book, limits: RiskConfig, now_ns: int) -> Evidence | None:
    """Refuse while a halt is latched."""
    halt = book.state.halt
    return None if halt is None else Evidence(1.0, 0.0, f"{halt.reason}: {halt.detail}")


def symbol_allowed(request: OrderRequest, book: Book, limits: RiskConfig, now_ns: int) -> Evidence | None:
    """Refuse symbols that are not to be traded or whose specification is not known."""
    if request.symbol not in limits.allowed_symbols:
        return Evidence(0.0, 1.0, f"{request.symbol} is not among the allowed symbols")
    if request.instrument is None:
        return Evidence(0.0, 1.0, f"{request.symbol} has no entry in section instruments")
    return None


def account_known(request: OrderRequest, book: Book, limits: RiskConfig, now_ns: int) -> Evidence | None:
    """Refuse before the broker has told what we have."""
    return Evidence(0.0, 1.0, "no account snapshot has come yet") if book.state.account is None else None


def account_fresh(request: OrderRequest, book: Book, limits: RiskConfig, now_ns: int) -> Evidence | None:
    """Refuse on an old account snapshot."""
    account = book.state.account
    if account is None:
        return None
    return _too_old(account.ts_event_ns, now_ns, limits.account_max_age_ms, "the account snapshot")


def feed_fresh(request: OrderRequest, book: Book, limits: RiskConfig, now_ns: int) -> Evidence | None:
    """Refuse when the symbol's quote, or one that converts its currency, is old or never came."""
    oldest = min(book.needed_quote_times_ns(request.symbol))
    what = "a quote the order rests on" if oldest else "a quote the order rests on never came; it"
    return _too_old(oldest, now_ns, limits.quote_max_age_ms, what)


def prediction_fresh(request: OrderRequest, book: Book, limits: RiskConfig, now_ns: int) -> Evidence | None:
    """Refuse to act on an old prediction."""
    return _too_old(request.prediction.ts_event_ns, now_ns, limits.prediction_max_age_ms, "the prediction")


def _too_old(time_ns: int, now_ns: int, limit_ms: int, what: str) -> Evidence | None:
    # A time in the future is as wrong as an old one: some clock cannot be trusted.
    age_ms = abs(now_ns - time_ns) / _NS_PER_MS
    return Evidence(age_ms, float(limit_ms), f"{what} is {age_ms:.0f} ms away from now") if age_ms > limit_ms else None


def inputs_finite(request: OrderRequest, book: Book, limits: RiskConfig, now_ns: int) -> Evidence | None:
    """Refuse when any number the decision rests on is missing, not finite, or impossible."""
    standing = account_finite(book, limits)
    if standing is not None:
        return standing
    bad = _bad_prediction_fields(request.prediction)
    if request.quote is not None and not request.quote.is_usable:
        bad.append("quote")
    if request.purpose is OrderPurpose.OPEN:
        bad += [f"value of {symbol}" for symbol, exposure in request.exposures_x.items() if exposure is None]
    return _bad(bad)


def _bad_prediction_fields(prediction: Prediction) -> list[str]:
    p = prediction
    stop, target, volatility = p.stop_distance, p.target_distance, p.volatility
    whole = p.p_down + p.p_flat + p.p_up + p.expected_return_pct + p.confidence + stop + target + volatility + p.bid + p.ask
    if stop >= 0.0 and target >= 0.0 and volatility >= 0.0 and math.isfinite(whole):
        # A sum is finite only when all its terms are: the case of nearly every prediction.
        return []
    names = (
        "p_down", "p_flat", "p_up", "expected_return_pct", "confidence",
        "stop_distance", "target_distance", "volatility", "bid", "ask",
    )  # fmt: skip
    bad = [name for name in names if not math.isfinite(getattr(prediction, name))]
    unsigned = ("stop_distance", "target_distance", "volatility")
    return bad + [name for name in unsigned if getattr(prediction, name) < 0.0]


def account_finite(book: Book, limits: RiskConfig) -> Evidence | None:
    """Halt when the account's own figures are not finite, or there is no equity."""
    account = book.state.account
    return None if account is None or _is_sound(account) else _bad(_bad_account_fields(account))


def _is_sound(account: AccountSnapshot) -> bool:
    """Tell whether ``_bad_account_fields`` would surely find nothing: the case of nearly every snapshot."""
    worth = account.balance_ccy + account.equity_ccy + account.margin_ccy + account.margin_free_ccy
    worth += account.day_start_equity_ccy + account.peak_equity_ccy + account.leverage
    positive = account.equity_ccy > 0.0 and account.leverage > 0.0 and account.day_start_equity_ccy > 0.0
    if not positive or account.unknown_lots:
        return False
    for position in account.positions:
        if not position.volume_lots >= 0.0:
            return False
        worth += position.volume_lots + position.price_open + position.profit_ccy + position.swap_ccy
    # A sum is finite only when all its terms are.
    return math.isfinite(worth)


def _bad_account_fields(account: AccountSnapshot) -> list[str]:
    names = ("balance_ccy", "equity_ccy", "margin_ccy", "margin_free_ccy", "day_start_equity_ccy", "peak_equity_ccy")
    bad = [name for name in names if not math.isfinite(getattr(account, name))]
    positive = ("equity_ccy", "leverage", "day_start_equity_ccy")
    bad += [name for name in positive if name not in bad and not 0.0 < getattr(account, name) < math.inf]
    bad += [f"unknown_lots of {name}" for name, lots in account.unknown_lots.items() if not math.isfinite(lots)]
    for position in account.positions:
        figures = (position.volume_lots, position.price_open, position.profit_ccy, position.swap_ccy)
        if not all(math.isfinite(figure) for figure in figures) or position.volume_lots < 0.0:
            bad.append(f"position {position.position_id}")
    return bad


def _bad(names: list[str]) -> Evidence | None:
    return Evidence(float(len(names)), 0.0, "missing or impossible: " + ", ".join(names)) if names else None


def session_open(request: OrderRequest, book: Book, limits: RiskConfig, now_ns: int) -> Evidence | None:
    """Refuse while the symbol's market is closed."""
    if request.instrument is None or request.instrument.config.session == "always" or fx_market_open(now_ns):
        return None
    return Evidence(0.0, 1.0, f"the market of {request.symbol} is closed")


def spread_narrow(request: OrderRequest, book: Book, limits: RiskConfig, now_ns: int) -> Evidence | None:
    """Refuse when the spread would eat the trade."""
    if request.quote is None or request.instrument is None or not request.quote.is_usable:
        return None
    limit = limits.spread_limit_points(request.symbol)
    # Rounded to a millionth of a point: 1.10030 - 1.10000 is 29.99999999999 points to a computer.
    spread = round((request.quote.ask - request.quote.bid) * 10**request.instrument.digits, 6)
    return Evidence(spread, limit, f"spread of {request.symbol}") if spread > limit else None


def outcome_known(request: OrderRequest, book: Book, limits: RiskConfig, now_ns: int) -> Evidence | None:
    """Refuse while nobody can say what became of an earlier order of the symbol."""
    lots = book.unknown_lots(request.symbol)
    return Evidence(lots, 0.0, "an earlier order's outcome is unknown") if lots != 0.0 else None


def daily_loss_bounded(book: Book, limits: RiskConfig) -> Evidence | None:
    """Halt when the day's loss, floating included, reaches its limit."""
    loss = book.daily_loss_pct()
    limit = limits.max_daily_loss_pct
    return Evidence(loss, limit, "loss since the broker's midnight") if loss >= limit else None


def drawdown_bounded(book: Book, limits: RiskConfig) -> Evidence | None:
    """Halt when equity has fallen too far from its peak."""
    drawdown = book.drawdown_pct()
    limit = limits.max_drawdown_pct
    return Evidence(drawdown, limit, "fall from peak equity") if drawdown >= limit else None


def not_repeated(request: OrderRequest, book: Book, limits: RiskConfig, now_ns: int) -> Evidence | None:
    """Refuse an order that repeats one just approved: of the same cause, or of the same side at about the same price.

    The volume is not compared: it follows equity, and a runaway signal must not pass because it shrinks.
    """
    window_ms = float(limits.repeat_window_ms)
    if request.position_id and book.is_being_closed(request.position_id):
        return Evidence(0.0, window_ms, f"position {request.position_id} is already being closed")
    approved_ns = book.approved_at_ns(request.order_id)
    if approved_ns is not None:
        age_ms = (now_ns - approved_ns) / _NS_PER_MS
        return Evidence(age_ms, window_ms, "this prediction has already become an order")
    for earlier in reversed(book.state.recent):
        age_ms = (now_ns - earlier.approved_ns) / _NS_PER_MS
        if not age_ms < window_ms:
            return None
        if _is_alike(request, earlier, limits):
            return Evidence(age_ms, window_ms, "an order like this was approved just before")
    return None


def _is_alike(request: OrderRequest, earlier: RecentOrder, limits: RiskConfig) -> bool:
    if OrderPurpose.REDUCE in (request.purpose, earlier.purpose):
        return False
    if (request.symbol, request.side) != (earlier.symbol, earlier.side):
        return False
    if request.instrument is None or request.quote is None:
        return True
    distance_points = round(abs(request.quote.entry(earlier.side) - earlier.price) * 10**request.instrument.digits, 6)
    # Written so that a distance that is not a number counts as near.
    return not distance_points > limits.repeat_price_points


def order_rate_bounded(request: OrderRequest, book: Book, limits: RiskConfig, now_ns: int) -> Evidence | None:
    """Refuse when too many orders were approved in the last minute."""
    recent = book.state.recent
    count = 1 + len(recent) - book.recent_until(now_ns - _RATE_WINDOW_NS)
    limit = limits.max_orders_per_minute
    return Evidence(float(count), float(limit), "approvals in 60 s, this one included") if count > limit else None


def positions_bounded(request: OrderRequest, book: Book, limits: RiskConfig, now_ns: int) -> Evidence | None:
    """Refuse when there would be too many positions, of the symbol or in all."""
    for symbol, limit in ((request.symbol, limits.max_positions_per_symbol), (None, limits.max_open_positions)):
        count = 1 + book.position_count(symbol, request.closing)
        if count > limit:
            return Evidence(float(count), float(limit), f"positions {f'of {symbol}' if symbol else 'in all'}")
    return None


def volume_tradable(request: OrderRequest, book: Book, limits: RiskConfig, now_ns: int) -> Evidence | None:
    """Refuse when what we can afford is below the smallest volume."""
    if request.size.volume_lots > 0.0:
        return None
    least = request.instrument.config.volume_min if request.instrument is not None else 0.0
    wished = request.size.wished_lots
    return Evidence(wished if math.isfinite(wished) else 0.0, least, f"limited by: {request.size.bound}")


def symbol_exposure_bounded(request: OrderRequest, book: Book, limits: RiskConfig, now_ns: int) -> Evidence | None:
    """Refuse when the symbol's worst-case exposure would exceed its limit."""
    return _too_much(request.exposure_x, limits.max_symbol_exposure_x, f"worst-case exposure of {request.symbol}")


def total_exposure_bounded(request: OrderRequest, book: Book, limits: RiskConfig, now_ns: int) -> Evidence | None:
    """Refuse when the worst-case exposure of all symbols together would exceed its limit."""
    total = request.exposure_x
    for symbol, exposure in request.exposures_x.items():
        if symbol != request.symbol:
            total = None if total is None or exposure is None else total + exposure
    return _too_much(total, limits.max_total_exposure_x, "worst-case exposure in all")


def _too_much(exposure_x: float | None, limit_x: float, what: str) -> Evidence | None:
    if exposure_x is None:
        return Evidence(0.0, limit_x, f"{what} cannot be valued")
    return Evidence(exposure_x, limit_x, what) if exposure_x > limit_x else None


def margin_left(request: OrderRequest, book: Book, limits: RiskConfig, now_ns: int) -> Evidence | None:
    """Refuse when too little free margin would be left, with all orders on their way filled."""
    account, limit = book.state.account, limits.min_free_margin_pct
    if account is None:
        return None
    notional, in_flight = book.notional_ccy(request.symbol, request.size.volume_lots), book.in_flight_margin_ccy()
    if notional is None or in_flight is None or not (account.leverage > 0.0 and account.equity_ccy > 0.0):
        return Evidence(0.0, limit, "the margin cannot be calculated")
    free_ccy = account.margin_free_ccy - in_flight - notional / account.leverage
    left_pct = free_ccy / account.equity_ccy * 100.0
    return None if left_pct >= limit else Evidence(left_pct, limit, "free margin after the order")


def _standing(test: Standing) -> Test:
    def on_request(request: OrderRequest, book: Book, limits: RiskConfig, now_ns: int) -> Evidence | None:
        return test(book, limits)

    return on_request


CHECKS: tuple[Check, ...] = (
    Check(RefusalReason.NO_DIRECTION, "sides", direction, for_reduce=True),
    Check(RefusalReason.HALTED, "halts", halted),
    Check(RefusalReason.SYMBOL_NOT_ALLOWED, "symbols", symbol_allowed, for_reduce=True),
    Check(RefusalReason.ACCOUNT_UNKNOWN, "snapshots", account_known, for_reduce=True),
    Check(RefusalReason.ACCOUNT_STALE, "ms", account_fresh, for_reduce=True),
    Check(RefusalReason.FEED_STALE, "ms", feed_fresh, for_reduce=True),
    Check(RefusalReason.PREDICTION_STALE, "ms", prediction_fresh, for_reduce=True),
    Check(RefusalReason.NON_FINITE, "inputs", inputs_finite, for_reduce=True, standing=account_finite),
    Check(RefusalReason.SESSION_CLOSED, "markets", session_open, for_reduce=True),
    Check(RefusalReason.SPREAD_TOO_WIDE, "points", spread_narrow),
    Check(RefusalReason.OUTCOME_UNKNOWN, "lots", outcome_known, for_reduce=True),
    Check(
        RefusalReason.DAILY_LOSS, "% of the day's first equity", _standing(daily_loss_bounded),
        standing=daily_loss_bounded,
    ),
    Check(RefusalReason.MAX_DRAWDOWN, "% of peak equity", _standing(drawdown_bounded), standing=drawdown_bounded),
    Check(RefusalReason.REPEATED_ORDER, "ms", not_repeated, for_reduce=True),
    Check(RefusalReason.ORDER_RATE, "orders per minute", order_rate_bounded),
    Check(RefusalReason.MAX_OPEN_POSITIONS, "positions", positions_bounded),
    Check(RefusalReason.VOLUME_TOO_SMALL, "lots", volume_tradable, for_reduce=True),
    Check(RefusalReason.MAX_SYMBOL_EXPOSURE, "multiples of equity", symbol_exposure_bounded),
    Check(RefusalReason.MAX_TOTAL_EXPOSURE, "multiples of equity", total_exposure_bounded),
    Check(RefusalReason.MARGIN, "% of equity", margin_left),
)
"""Every check, in the order it is asked; the first that refuses gives the reason."""
