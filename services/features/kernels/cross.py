"""What related symbols say. Computed when a row is let go, from whole bars that all symbols have in common.

Each takes its parameters ``p``, the symbol's own ``closes`` (n,) of the mid and those of the ``related`` symbols
(m, n), oldest first, and writes one value per output into ``out``. The related symbols count as a basket: the mean of
their log-returns.
"""

import math

from libs.common.messages.base import Floats
from libs.common.trading.compiled import kernel_part

BASIS_POINTS = 1e4
STILL = 1e-16
"""Variances of log-returns below this are rounding."""


@kernel_part
def own_return(closes: Floats, k: int, back: int) -> float:
    """Return the log-return to bar ``k`` over ``back`` bars."""
    return math.log(closes[k] / closes[k - back])


@kernel_part
def basket_return(related: Floats, k: int, back: int) -> float:
    """Return the basket's log-return to bar ``k`` over ``back`` bars."""
    total = 0.0
    for m in range(related.shape[0]):
        total += math.log(related[m, k] / related[m, k - back])
    return total / float(related.shape[0])


@kernel_part
def cross_momentum(p: Floats, closes: Floats, related: Floats, out: Floats) -> None:
    """The basket's log-return over ``bars`` bars, and how much more the symbol itself made; basis points."""
    back, newest = int(p[0]), len(closes) - 1
    basket = basket_return(related, newest, back)
    out[0] = BASIS_POINTS * basket
    out[1] = BASIS_POINTS * (own_return(closes, newest, back) - basket)


@kernel_part
def comoments(
    closes: Floats, related: Floats, window: int, own_lag: int, basket_lag: int
) -> tuple[float, float, float]:
    """Return covariance, own variance and basket's variance of the last ``window`` pairs of one-bar returns."""
    newest = len(closes) - 1
    own_mean, basket_mean = 0.0, 0.0
    for j in range(window):
        own_mean += own_return(closes, newest - own_lag - j, 1)
        basket_mean += basket_return(related, newest - basket_lag - j, 1)
    own_mean, basket_mean = own_mean / window, basket_mean / window
    both, own, basket = 0.0, 0.0, 0.0
    for j in range(window):
        a = own_return(closes, newest - own_lag - j, 1) - own_mean
        b = basket_return(related, newest - basket_lag - j, 1) - basket_mean
        both += a * b
        own += a * a
        basket += b * b
    return both / window, own / window, basket / window


@kernel_part
def correlation_of(both: float, own: float, basket: float) -> float:
    """Return the correlation, 0 where one side does not move."""
    return both / math.sqrt(own * basket) if own > STILL and basket > STILL else 0.0


@kernel_part
def cross_correlation(p: Floats, closes: Floats, related: Floats, out: Floats) -> None:
    """Correlation of the symbol's one-bar log-returns with the basket's over ``window`` bars, and its beta."""
    both, own, basket = comoments(closes, related, int(p[0]), 0, 0)
    out[0] = correlation_of(both, own, basket)
    out[1] = both / basket if basket > STILL else 0.0


@kernel_part
def lead_lag(p: Floats, closes: Floats, related: Floats, out: Floats) -> None:
    """Correlation with the basket's return ``lag`` bars earlier (it leads), and the reverse subtracted from it."""
    window, lag = int(p[0]), int(p[1])
    both, own, basket = comoments(closes, related, window, 0, lag)
    leads = correlation_of(both, own, basket)
    both, own, basket = comoments(closes, related, window, lag, 0)
    out[0] = leads
    out[1] = leads - correlation_of(both, own, basket)


@kernel_part
def basket_residual(p: Floats, closes: Floats, related: Floats, out: Floats) -> None:
    """What beta does not explain: the last bar's residual return, and the standard score of the price's residual.

    The second is the last residual of a regression of the log price on the basket's over ``window`` bars, divided
    by the residuals' deviation: a spread trader's score.
    """
    window, newest = int(p[0]), len(closes) - 1
    first = newest - window
    both, _, basket = comoments(closes, related, window, 0, 0)
    beta = both / basket if basket > STILL else 0.0
    out[0] = BASIS_POINTS * (own_return(closes, newest, 1) - beta * basket_return(related, newest, 1))
    x_mean, y_mean = 0.0, 0.0
    for k in range(first, newest + 1):
        x_mean += basket_return(related, k, k - first)
        y_mean += own_return(closes, k, k - first)
    x_mean, y_mean = x_mean / (window + 1), y_mean / (window + 1)
    xx, xy, yy = 0.0, 0.0, 0.0
    for k in range(first, newest + 1):
        x, y = basket_return(related, k, k - first) - x_mean, own_return(closes, k, k - first) - y_mean
        xx += x * x
        xy += x * y
        yy += y * y
    slope = xy / xx if xx > STILL else 0.0
    variance = (yy - slope * xy) / (window + 1)
    last = own_return(closes, newest, window) - y_mean - slope * (basket_return(related, newest, window) - x_mean)
    out[1] = last / math.sqrt(variance) if variance > STILL else 0.0
