"""Operation numbers of the feature families, and the three switches that turn a number into a call."""

from libs.common.messages.base import Floats, Ints
from libs.common.trading.compiled import kernel_part
from services.features.kernels import on_bars, on_rows, on_ticks

EMA_DISTANCE, SPREAD_SCORE, QUOTE_RATE, TICK_IMBALANCE, TRADED_VOLUME = 0, 1, 2, 3, 4
SPREAD, TIME_OF_DAY, DAY_OF_WEEK, SESSION, LAST_DISTANCE = 0, 1, 2, 3, 4
(
    LOG_RETURN, MOVING_AVERAGE, RSI, AVERAGE_TRUE_RANGE, REALISED_VOLATILITY, PRICE_SIGMA, MACD, BOLLINGER, DONCHIAN,
    KELTNER,
) = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9


@kernel_part
def run_on_ticks(
    op: int, f: Floats, i: Ints, p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, last: Floats,
    volume: Floats, out: Floats,
) -> None:
    """Advance a tick family over the chunk."""
    if op == EMA_DISTANCE:
        on_ticks.ema_distance(f, i, p, point, time_ns, bid, ask, last, volume, out)
    elif op == SPREAD_SCORE:
        on_ticks.spread_score(f, i, p, point, time_ns, bid, ask, last, volume, out)
    elif op == QUOTE_RATE:
        on_ticks.quote_rate(f, i, p, point, time_ns, bid, ask, last, volume, out)
    elif op == TICK_IMBALANCE:
        on_ticks.tick_imbalance(f, i, p, point, time_ns, bid, ask, last, volume, out)
    elif op == TRADED_VOLUME:
        on_ticks.traded_volume(f, i, p, point, time_ns, bid, ask, last, volume, out)


@kernel_part
def run_on_rows(
    op: int, p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, last: Floats, volume: Floats,
    out: Floats,
) -> None:
    """Compute a row family at the ticks of the rows."""
    if op == SPREAD:
        on_rows.spread(p, point, time_ns, bid, ask, last, volume, out)
    elif op == TIME_OF_DAY:
        on_rows.time_of_day(p, point, time_ns, bid, ask, last, volume, out)
    elif op == DAY_OF_WEEK:
        on_rows.day_of_week(p, point, time_ns, bid, ask, last, volume, out)
    elif op == SESSION:
        on_rows.session(p, point, time_ns, bid, ask, last, volume, out)
    elif op == LAST_DISTANCE:
        on_rows.last_distance(p, point, time_ns, bid, ask, last, volume, out)


@kernel_part
def run_on_bars(op: int, f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:  # noqa: C901
    """Advance a bar family over the closed bars of its timeframe."""
    if op == LOG_RETURN:
        on_bars.log_return(f, i, p, bars, n, out)
    elif op == MOVING_AVERAGE:
        on_bars.moving_average(f, i, p, bars, n, out)
    elif op == RSI:
        on_bars.rsi(f, i, p, bars, n, out)
    elif op == AVERAGE_TRUE_RANGE:
        on_bars.average_true_range(f, i, p, bars, n, out)
    elif op == REALISED_VOLATILITY:
        on_bars.realised_volatility(f, i, p, bars, n, out)
    elif op == PRICE_SIGMA:
        on_bars.price_sigma(f, i, p, bars, n, out)
    elif op == MACD:
        on_bars.macd(f, i, p, bars, n, out)
    elif op == BOLLINGER:
        on_bars.bollinger(f, i, p, bars, n, out)
    elif op == DONCHIAN:
        on_bars.donchian(f, i, p, bars, n, out)
    elif op == KELTNER:
        on_bars.keltner(f, i, p, bars, n, out)
