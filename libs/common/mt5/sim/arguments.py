"""How the package reads its arguments: what it takes, what it refuses, and with which words.

A refusal is the package's own: nothing is sent, ``last_error()`` is -2 with its text and the call gives ``None`` (or
``False``). Where the reading itself raised, the call raises ``SystemError`` chained from that exception.
"""

import datetime
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from libs.common.mt5.constants import MAX_TEXT_UNITS
from libs.common.mt5.results import TradeRequest
from libs.common.mt5.sim.request import parse_request

INVALID = "Invalid arguments"
WRONG_NUMBER = "Invalid number of arguments"
UNNAMED = "Unnamed arguments not allowed"
MAX_GROUP_UNITS = 1_999
_ORDINALS = ("1st", "2nd", "3rd")
_NEGATIVE_64 = "can't convert negative int to unsigned"
_NEGATIVE_32 = "can't convert negative value to unsigned int"
_SMALL_FIELDS = ("action", "type", "type_filling", "type_time")
_TEXT_FIELDS = ("symbol", "comment")
_FIRST_NAIVE = datetime.datetime(1970, 1, 2)  # noqa: DTZ001 - the bound of naive date-times
_MASK_32 = 2**32 - 1


class Refused(Exception):
    """An argument the package does not take.

    Parameters
    ----------
    text : its words
    cause : what the interpreter raised while the argument was read, if anything
    """

    def __init__(self, text: str, cause: BaseException | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.cause = cause


class ReadDate(NamedTuple):
    """A moment as the package reads it: server seconds, and an exception left pending while it goes on."""

    seconds: int
    pending: BaseException | None = None


def check_shape(kind: str, name: str, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Raise what the interpreter raises before a built-in of this kind is entered.

    Parameters
    ----------
    kind : ``0`` no arguments, ``P`` positional only, ``K`` takes keywords

    Raises
    ------
    TypeError : in the interpreter's words
    """
    if kind == "P" and named:
        raise TypeError(f"{name}() takes no keyword arguments")
    if kind == "0" and named:
        raise TypeError(f"MetaTrader5._core.{name}() takes no keyword arguments")
    if kind == "0" and arguments:
        raise TypeError(f"MetaTrader5._core.{name}() takes no arguments ({len(arguments)} given)")


def number_of(arguments: tuple[Any, ...], *allowed: int) -> None:
    """Refuse another number of positional arguments.

    Raises
    ------
    Refused : always with "Invalid arguments"
    """
    if len(arguments) not in allowed:
        raise Refused(INVALID)


def text(value: Any, words: str = INVALID, longest: int = MAX_TEXT_UNITS) -> str:
    """Read a text of so many UTF-16 units."""
    if not isinstance(value, str) or len(value.encode("utf-16-le", "surrogatepass")) // 2 > longest:
        raise Refused(words)
    return str(value)


def group(named: Mapping[str, Any]) -> str | None:
    """Read the keyword ``group``, ``None`` where it is not given."""
    return text(named["group"], 'Invalid "group" argument', MAX_GROUP_UNITS) if "group" in named else None


def unsigned_64(value: Any, words: str) -> int:
    """Read an id: a Python ``int`` from 0 to 2**64 - 1."""
    if not isinstance(value, int):
        raise Refused(words)
    if value < 0:
        raise Refused(words, OverflowError(_NEGATIVE_64))
    if value >= 2**64:
        raise Refused(words, OverflowError("int too big to convert"))
    return int(value)


def unsigned_32(value: Any, words: str) -> int:
    """Read a small number: a Python ``int`` from 0 to 2**32 - 1."""
    if not isinstance(value, int):
        raise Refused(words)
    if value < 0:
        raise Refused(words, OverflowError(_NEGATIVE_32))
    if value > _MASK_32:
        raise Refused(words, OverflowError("Python int too large to convert to C unsigned long"))
    return int(value)


def index(value: Any) -> int:
    """Read what has ``__index__`` (numpy's integers too), cut to 32 bits as C does."""
    try:
        return int(value.__index__()) & _MASK_32
    except AttributeError:
        kind = type(value).__name__
        raise Refused(INVALID, TypeError(f"'{kind}' object cannot be interpreted as an integer")) from None


def real(value: Any) -> float:
    """Read what has ``__float__`` (integers too)."""
    if isinstance(value, str | bytes) or not (hasattr(value, "__float__") or hasattr(value, "__index__")):
        raise Refused(INVALID, TypeError(f"must be real number, not {type(value).__name__}"))
    return float(value)


def date(value: Any) -> ReadDate:
    """Read a moment: server seconds as ``int`` or ``float`` (cut), or a ``datetime`` whose ``timestamp()`` is taken.

    Returns
    -------
    0 seconds is how the package says "not given", and its callers refuse it. An ``int`` that a C long of Windows (32
    bits) does not hold leaves an exception pending while the call goes on with -1.

    Raises
    ------
    Refused : for other types, for 0, and for a naive date-time that Windows has no time stamp for
    """
    seconds: float = 0
    if isinstance(value, int):
        if not -(2**31) <= value < 2**31:
            return ReadDate(-1, OverflowError("Python int too large to convert to C long"))
        seconds = value
    elif isinstance(value, float):
        seconds = value
    elif isinstance(value, datetime.datetime):
        if value.tzinfo is None and value < _FIRST_NAIVE:
            raise Refused(INVALID, OSError(22, "Invalid argument"))
        seconds = value.timestamp()
    whole = int(seconds) if math.isfinite(seconds) else 0
    if whole == 0:
        raise Refused(INVALID)
    return ReadDate(whole)


def ordinal(place: int) -> str:
    """Return the words for a wrong positional argument, counted from 0."""
    return f"Invalid {_ORDINALS[place]} unnamed argument"


def request(arguments: tuple[Any, ...], named: Mapping[str, Any]) -> TradeRequest:
    """Read a trade request: one dictionary, or its fields as keywords."""
    if len(arguments) > 1 or not (arguments or named):
        raise Refused(WRONG_NUMBER)
    if arguments and named:
        raise Refused(UNNAMED)
    fields = arguments[0] if arguments else named
    if not isinstance(fields, dict):
        raise Refused(INVALID)
    parsed = parse_request(fields)
    if isinstance(parsed, str):
        raise Refused(parsed, _overflow(parsed.split('"')[1], fields))
    return parsed


def _overflow(name: str, fields: Mapping[str, Any]) -> OverflowError | None:
    """Return what reading the refused field raised: for an ``int`` out of range, else nothing."""
    value = fields[name]
    if not isinstance(value, int) or name in _TEXT_FIELDS:
        return None
    try:
        if name in _SMALL_FIELDS:
            unsigned_32(value, "")
        elif name == "expiration":
            return OverflowError("int too big to convert")
        else:
            unsigned_64(value, "")
    except Refused as refused:
        return refused.cause if isinstance(refused.cause, OverflowError) else None
    return None
