"""How many decimals a price series has, read from the prices themselves."""

import numpy as np

from libs.common.messages.base import Floats

MAX_DIGITS = 8
SAMPLE = 5_000
ON_GRID_SHARE = 0.99


def infer_digits(prices: Floats) -> int:
    """Return the fewest decimals that 99 % of the prices agree with.

    Parameters
    ----------
    prices : (n,) price units; only the first 5,000 finite positive ones are looked at

    Returns
    -------
    0 .. 8; 8 where the prices lie on no decimal grid (averages, for example), 5 where there are none.

    Examples
    --------
    >>> infer_digits(np.array([1.38676, 1.3868, 1.38]))
    5
    >>> infer_digits(np.array([5010.5, 5014.78]))
    2
    """
    usable = prices[np.isfinite(prices) & (prices > 0.0)][:SAMPLE]
    if usable.size == 0:
        return 5
    for digits in range(MAX_DIGITS + 1):
        points = usable * 10.0**digits
        # A decimal read as a double is off by half an ulp, and so is the product: allow a few.
        tolerance = np.maximum(1e-6, points * 1e-15)
        if (np.abs(points - np.rint(points)) <= tolerance).mean() >= ON_GRID_SHARE:
            return digits
    return MAX_DIGITS
