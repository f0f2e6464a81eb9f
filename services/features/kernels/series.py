"""Feature families that follow another feature from row to row.

Each takes its state ``f`` and ``i`` (``i[0]`` counts the rows seen), its parameters ``p`` and the values the feature it
follows has in ``n`` rows, and writes one value per row and output into ``out``; NaN where its window is not full yet.
"""

from libs.common.messages.base import Floats, Ints
from libs.common.trading.compiled import kernel_part
from services.features.kernels.averages import tell_nothing
from services.features.kernels.on_bars import moments_around

STILL = 1e-12
"""A deviation below this share of the values' size is rounding."""


@kernel_part
def lag(f: Floats, i: Ints, p: Floats, values: Floats, out: Floats) -> None:
    """The value ``rows`` rows earlier, and the change since."""
    back = int(p[0])
    for r in range(len(values)):
        slot = i[0] % back
        tell_nothing(2, r, out)
        if i[0] >= back:
            out[0, r], out[1, r] = f[slot], values[r] - f[slot]
        f[slot] = values[r]
        i[0] += 1


@kernel_part
def rolling(f: Floats, i: Ints, p: Floats, values: Floats, out: Floats) -> None:
    """Mean, deviation, minimum, maximum of the last ``window`` values; standard score and rank of the newest.

    The rank is the share of the window below the value, equal ones counting half: 0 to 1, 0.5 at rest.
    """
    window = int(p[0])
    for r in range(len(values)):
        value = values[r]
        f[i[0] % window] = value
        i[0] += 1
        tell_nothing(6, r, out)
        if i[0] < window:
            continue
        mean, deviation = moments_around(f, i[0] % window, value)
        low, high, below = value, value, 0.0
        for j in range(window):
            low, high = min(low, f[j]), max(high, f[j])
            below += 1.0 if f[j] < value else (0.5 if f[j] == value else 0.0)
        out[0, r], out[1, r], out[2, r], out[3, r] = mean + value, deviation, low, high
        out[4, r] = -mean / deviation if deviation > STILL * max(abs(low), abs(high)) else 0.0
        out[5, r] = below / window


@kernel_part
def scaled(f: Floats, i: Ints, p: Floats, values: Floats, out: Floats) -> None:
    """Standard score against a mean and a deviation fitted on training rows, cut off at ``limit``."""
    for r in range(len(values)):
        out[0, r] = max(-p[2], min(p[2], (values[r] - p[0]) / p[1]))
        i[0] += 1
