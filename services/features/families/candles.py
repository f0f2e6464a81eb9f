"""Candle patterns and market structure."""

from services.features.family import Clock, Family, Parameter, WarmUp
from services.features.kernels import candles, structure

PATTERNS, STRUCTURE = "Candle patterns", "Structure"
STRENGTH = Parameter(3, 1, meaning="bars on each side", most=500, brief=2)
_SEEN = WarmUp(bars=candles.KEPT)

FAMILIES = (
    Family(
        "candle", Clock.BARS, candles.candle, 1,
        {
            "doji": "1: hardly a body", "dragonfly": "1: doji with a long lower shadow only",
            "gravestone": "-1: doji with a long upper shadow only", "long_legged": "1: doji with a long shadow",
            "marubozu": "±1: long body, hardly a shadow, by colour",
            "spinning_top": "±1: short body between longer shadows, by colour",
        },
        warm_up=lambda p: _SEEN, floats=lambda p: candles.MEMORY, ints=1, group=PATTERNS,
    ),
    Family(
        "hammer", Clock.BARS, candles.hammer, 1,
        {
            "hammer": "1: long lower shadow, short body near or below the low before",
            "hanging_man": "-1: the same near or above the high before",
            "inverted_hammer": "1: long upper shadow, short body below the body before",
            "shooting_star": "-1: the same above the body before",
        },
        warm_up=lambda p: _SEEN, floats=lambda p: candles.MEMORY, ints=1, group=PATTERNS,
    ),
    Family(
        "candle_pair", Clock.BARS, candles.pair, 1,
        {
            "engulfing": "±1: a body encloses the opposite one before it",
            "harami": "±1: a short body within the long one before it, against its colour",
            "piercing": "1: opens below the low and closes above the middle of a long black body",
            "dark_cloud": "-1: opens above the high and closes below the middle of a long white body",
        },
        warm_up=lambda p: _SEEN, floats=lambda p: candles.MEMORY, ints=1, group=PATTERNS,
    ),
    Family(
        "candle_trio", Clock.BARS, candles.trio, 1,
        {
            "morning_star": "1: long black, short body below it, white into the first",
            "evening_star": "-1: long white, short body above it, black into the first",
            "white_soldiers": "1: three white bodies, each opening in and closing above the one before",
            "black_crows": "-1: three black bodies after a white one, each opening in and closing below",
            "three_inside": "±1: a harami that the third close confirms",
        },
        warm_up=lambda p: _SEEN, floats=lambda p: candles.MEMORY, ints=1, group=PATTERNS,
    ),
    Family(
        "bar_shape", Clock.BARS, structure.bar_shape, 1,
        {
            "body": "(close - open) / (high - low); 0 if flat",
            "upper": "(high - max(open, close)) / (high - low)", "lower": "(min(open, close) - low) / (high - low)",
        },
        warm_up=lambda p: WarmUp(bars=1), ints=1, group=STRUCTURE,
    ),
    Family(
        "bar_relation", Clock.BARS, structure.bar_relation, 1,
        {
            "inside": "1: within the bar before", "outside": "1: encloses the bar before",
            "gap": "10⁴ · (open - close before) / close before",
            "void": "1: low above the high before; -1: high below the low before; else 0",
        },
        warm_up=lambda p: WarmUp(bars=2), floats=lambda p: 3, ints=1, group=STRUCTURE,
    ),
    Family(
        "swing", Clock.BARS, structure.swing, 1,
        {
            "high": "10⁴ · (last swing high - close) / close", "low": "10⁴ · (last swing low - close) / close",
            "break": "+1 or -1 at the first close beyond the last swing high or low, else 0",
            "direction": "direction of the last break",
        },
        {"strength": STRENGTH},
        warm_up=lambda p: WarmUp(bars=2 * int(p["strength"]) + 1, data=True),
        floats=lambda p: 4 * int(p["strength"]) + 4, ints=5, group=STRUCTURE,
    ),
    Family(
        "levels", Clock.BARS, structure.levels, 1,
        {
            "resistance": "10⁴ · distance of the close to the nearest swing price above it; at most `farthest`",
            "support": "10⁴ · distance to the nearest swing price below; at most `farthest`",
        },
        {
            "strength": STRENGTH, "swings": Parameter(5, 1, meaning="swings of each kind", most=100, brief=2),
            "farthest": Parameter(200.0, 1.0, whole=False, meaning="basis points"),
        },
        warm_up=lambda p: WarmUp(bars=2 * int(p["strength"]) + int(p["swings"]), data=True),
        floats=lambda p: 4 * int(p["strength"]) + 2 + 2 * int(p["swings"]), ints=3, group=STRUCTURE,
    ),
    Family(
        "session_range", Clock.BARS, structure.session_range, 1,
        {
            "position": "2 · (close - low) / (high - low) - 1 of the session's range; 0 if flat",
            "width": "10⁴ · (high - low) / close", "left": "+1 above the range, -1 below it, 0 within",
        },
        {"session": Parameter(2, 0, meaning="0 Sydney, 1 Tokyo, 2 London, 3 New York", most=3)},
        warm_up=lambda p: WarmUp(bars=2, data=True), floats=lambda p: 2, ints=3, group=STRUCTURE,
    ),
    Family(
        "day_range", Clock.BARS, structure.day_range, 1,
        {
            "high": "10⁴ · (high of the broker's day before - close) / close",
            "low": "10⁴ · (low of the day before - close) / close",
            "pivot": "10⁴ · (mean of that day's high, low and close - close) / close",
        },
        warm_up=lambda p: WarmUp(bars=3, data=True), floats=lambda p: 6, ints=3, group=STRUCTURE,
    ),
)
