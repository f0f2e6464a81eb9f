"""Candle patterns: +1 bullish, -1 bearish, 0 absent. The conventions are those of ``on_bars``.

What "long", "short", "near" mean is measured against the last bars: a body is long when it is longer than the mean of
the ten bodies before it, a shadow very short below a tenth of the mean range, and so on; the thresholds are those of
the open-source TA-Lib, against which the tests hold every pattern. State ``f`` holds the last 16 bars, newest first,
as open, high, low, close.

References: Nison (1991), Japanese Candlestick Charting Techniques; Morris (2006), Candlestick Charting Explained.
"""

from libs.common.messages.base import Floats, Ints
from libs.common.trading.compiled import kernel_part
from services.features.kernels.averages import tell_nothing
from services.features.kernels.layout import CLOSE, HIGH, LOW, OPEN

KEPT = 16
"""Bars a pattern looks back on: four of its own and ten to measure against, and room."""
MEMORY = 4 * KEPT
TEN, FIVE = 10, 5
PENETRATION, HALF = 0.3, 0.5


@kernel_part
def remember(f: Floats, i: Ints, bars: Floats, b: int) -> None:
    """Put bar ``b`` in front of the remembered ones."""
    for j in range(MEMORY - 1, 3, -1):
        f[j] = f[j - 4]
    f[0], f[1], f[2], f[3] = bars[OPEN, b], bars[HIGH, b], bars[LOW, b], bars[CLOSE, b]
    i[0] += 1


@kernel_part
def open_of(f: Floats, back: int) -> float:
    """Return the open of the bar ``back`` bars ago."""
    return float(f[4 * back])


@kernel_part
def high_of(f: Floats, back: int) -> float:
    """Return the high of the bar ``back`` bars ago."""
    return float(f[4 * back + 1])


@kernel_part
def low_of(f: Floats, back: int) -> float:
    """Return the low of the bar ``back`` bars ago."""
    return float(f[4 * back + 2])


@kernel_part
def close_of(f: Floats, back: int) -> float:
    """Return the close of the bar ``back`` bars ago."""
    return float(f[4 * back + 3])


@kernel_part
def body(f: Floats, back: int) -> float:
    """Return the length of a candle's body."""
    return float(abs(f[4 * back + 3] - f[4 * back]))


@kernel_part
def colour(f: Floats, back: int) -> int:
    """Return 1 for a candle that did not fall, -1 for one that did."""
    return 1 if f[4 * back + 3] >= f[4 * back] else -1


@kernel_part
def top(f: Floats, back: int) -> float:
    """Return the upper end of a candle's body."""
    return float(max(f[4 * back], f[4 * back + 3]))


@kernel_part
def bottom(f: Floats, back: int) -> float:
    """Return the lower end of a candle's body."""
    return float(min(f[4 * back], f[4 * back + 3]))


@kernel_part
def upper(f: Floats, back: int) -> float:
    """Return the length of a candle's upper shadow."""
    return float(f[4 * back + 1] - top(f, back))


@kernel_part
def lower(f: Floats, back: int) -> float:
    """Return the length of a candle's lower shadow."""
    return float(bottom(f, back) - f[4 * back + 2])


@kernel_part
def mean_body(f: Floats, back: int) -> float:
    """Return the mean body of the ten bars before one: longer is a long body, shorter a short one."""
    total = 0.0
    for j in range(back + TEN, back, -1):
        total += body(f, j)
    return total / TEN


@kernel_part
def mean_range(f: Floats, back: int, count: int) -> float:
    """Return the mean range of the ``count`` bars before one."""
    total = 0.0
    for j in range(back + count, back, -1):
        total += f[4 * j + 1] - f[4 * j + 2]
    return total / count


@kernel_part
def is_long(f: Floats, back: int) -> bool:
    """Tell whether a body is longer than the ten before it on average."""
    return body(f, back) > mean_body(f, back)


@kernel_part
def is_doji(f: Floats, back: int) -> bool:
    """Tell whether a body is at most a tenth of the mean range."""
    return body(f, back) <= 0.1 * mean_range(f, back, TEN)


@kernel_part
def hair(f: Floats, back: int) -> float:
    """Return below which length a shadow is very short."""
    return 0.1 * mean_range(f, back, TEN)


@kernel_part
def near(f: Floats, back: int) -> float:
    """Return within which distance prices are near each other."""
    return 0.2 * mean_range(f, back, FIVE)


@kernel_part
def far(f: Floats, back: int) -> float:
    """Return beyond which distance prices are far from each other."""
    return 0.6 * mean_range(f, back, FIVE)


@kernel_part
def flag(found: bool, direction: int) -> float:
    """Return the direction of a pattern that was found, else 0."""
    return float(direction) if found else 0.0


@kernel_part
def candle(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Patterns of one candle: doji, dragonfly and gravestone and long-legged doji, marubozu, spinning top."""
    for b in range(n):
        remember(f, i, bars, b)
        tell_nothing(6, b, out)
        if i[0] < KEPT:
            continue
        doji, thin = is_doji(f, 0), hair(f, 0)
        above, below, size = upper(f, 0), lower(f, 0), body(f, 0)
        out[0, b] = flag(doji, 1)
        out[1, b] = flag(doji and above < thin < below, 1)
        out[2, b] = flag(doji and below < thin < above, -1)
        out[3, b] = flag(doji and (above > size or below > size), 1)
        out[4, b] = flag(is_long(f, 0) and above < thin and below < thin, colour(f, 0))
        out[5, b] = flag(size < mean_body(f, 0) and above > size and below > size, colour(f, 0))


@kernel_part
def hammer(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Short bodies with one long shadow: hammer, hanging man, inverted hammer, shooting star."""
    for b in range(n):
        remember(f, i, bars, b)
        tell_nothing(4, b, out)
        if i[0] < KEPT:
            continue
        thin, size = hair(f, 0), body(f, 0)
        short = size < mean_body(f, 0)
        hanging = short and lower(f, 0) > size and upper(f, 0) < thin
        standing = short and upper(f, 0) > size and lower(f, 0) < thin
        out[0, b] = flag(hanging and bottom(f, 0) <= low_of(f, 1) + near(f, 1), 1)
        out[1, b] = flag(hanging and bottom(f, 0) >= high_of(f, 1) - near(f, 1), -1)
        out[2, b] = flag(standing and top(f, 0) < bottom(f, 1), 1)
        out[3, b] = flag(standing and bottom(f, 0) > top(f, 1), -1)


@kernel_part
def engulfs(f: Floats) -> bool:
    """Tell whether the last body encloses the opposite one before it, with at most one end in common."""
    if colour(f, 0) == colour(f, 1):
        return False
    encloses = top(f, 0) >= top(f, 1) and bottom(f, 0) <= bottom(f, 1)
    return encloses and (top(f, 0) > top(f, 1) or bottom(f, 0) < bottom(f, 1))


@kernel_part
def pair(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Patterns of two candles: engulfing, harami, piercing line, dark cloud cover."""
    for b in range(n):
        remember(f, i, bars, b)
        tell_nothing(4, b, out)
        if i[0] < KEPT:
            continue
        before_long = is_long(f, 1)
        within = top(f, 0) <= top(f, 1) and bottom(f, 0) >= bottom(f, 1)
        out[0, b] = flag(engulfs(f), colour(f, 0))
        out[1, b] = flag(before_long and body(f, 0) <= mean_body(f, 0) and within, -colour(f, 1))
        piercing = before_long and colour(f, 1) == -1 and colour(f, 0) == 1 and is_long(f, 0)
        piercing = piercing and open_of(f, 0) < low_of(f, 1)
        piercing = piercing and close_of(f, 1) + HALF * body(f, 1) < close_of(f, 0) < open_of(f, 1)
        out[2, b] = flag(piercing, 1)
        cloud = before_long and colour(f, 1) == 1 and colour(f, 0) == -1 and open_of(f, 0) > high_of(f, 1)
        cloud = cloud and open_of(f, 1) < close_of(f, 0) < close_of(f, 1) - HALF * body(f, 1)
        out[3, b] = flag(cloud, -1)


@kernel_part
def is_star(f: Floats, up: int) -> bool:
    """Tell whether the last three candles are a morning star (``up`` 1) or an evening star (-1)."""
    if colour(f, 2) != -up or colour(f, 0) != up or not is_long(f, 2):
        return False
    if body(f, 1) > mean_body(f, 1) or body(f, 0) <= mean_body(f, 0):
        return False
    if up == 1:
        return top(f, 1) < bottom(f, 2) and close_of(f, 0) > close_of(f, 2) + PENETRATION * body(f, 2)
    return bottom(f, 1) > top(f, 2) and close_of(f, 0) < close_of(f, 2) - PENETRATION * body(f, 2)


@kernel_part
def are_soldiers(f: Floats) -> bool:
    """Tell whether the last three candles are three white soldiers."""
    for back in range(3):
        if colour(f, back) != 1 or upper(f, back) >= hair(f, back):
            return False
    for back in range(2):
        opened, before = open_of(f, back), back + 1
        if close_of(f, back) <= close_of(f, before) or opened <= open_of(f, before):
            return False
        if opened > close_of(f, before) + near(f, before) or body(f, back) <= body(f, before) - far(f, before):
            return False
    return body(f, 0) > mean_body(f, 0)


@kernel_part
def are_crows(f: Floats) -> bool:
    """Tell whether the last three candles are three black crows after a white one."""
    if colour(f, 3) != 1 or high_of(f, 3) <= close_of(f, 2):
        return False
    for back in range(3):
        if colour(f, back) != -1 or lower(f, back) >= hair(f, back):
            return False
    for back in range(2):
        before = back + 1
        if not close_of(f, before) < open_of(f, back) < open_of(f, before):
            return False
        if close_of(f, back) >= close_of(f, before):
            return False
    return True


@kernel_part
def three_inside(f: Floats) -> int:
    """Return 1 for three inside up, -1 for three inside down, else 0."""
    if not is_long(f, 2) or body(f, 1) > mean_body(f, 1):
        return 0
    if top(f, 1) >= top(f, 2) or bottom(f, 1) <= bottom(f, 2):
        return 0
    if colour(f, 2) == 1 and colour(f, 0) == -1 and close_of(f, 0) < open_of(f, 2):
        return -1
    if colour(f, 2) == -1 and colour(f, 0) == 1 and close_of(f, 0) > open_of(f, 2):
        return 1
    return 0


@kernel_part
def trio(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Patterns of three candles: morning and evening star, white soldiers, black crows, three inside."""
    for b in range(n):
        remember(f, i, bars, b)
        tell_nothing(5, b, out)
        if i[0] < KEPT:
            continue
        out[0, b] = flag(is_star(f, 1), 1)
        out[1, b] = flag(is_star(f, -1), -1)
        out[2, b] = flag(are_soldiers(f), 1)
        out[3, b] = flag(are_crows(f), -1)
        out[4, b] = three_inside(f)
