"""From a request dictionary to the package's ``TradeRequest``, as strictly as the package does it."""

from collections.abc import Mapping
from typing import Any

from libs.common.mt5.constants import MAX_TEXT_UNITS
from libs.common.mt5.results import TradeRequest

_FLOATS = ("volume", "price", "stoplimit", "sl", "tp")
_SMALL = ("action", "type", "type_filling", "type_time")
_LARGE = ("magic", "order", "deviation", "position", "position_by")
_TEXTS = ("symbol", "comment")
_SMALL_ID, _LARGE_ID = 2**32, 2**64
"""A number below the first is accepted wherever a number is, below the second in ids."""
_IDS = frozenset(_LARGE)
_KINDS: dict[str, type[Any]] = {
    name: float if name in _FLOATS else str if name in _TEXTS else int for name in TradeRequest._fields
}
_RANGES = {**dict.fromkeys(_SMALL, (0, 2**32)), **dict.fromkeys(_LARGE, (0, 2**64)), "expiration": (-(2**63), 2**63)}


def parse_request(request: Mapping[str, Any]) -> TradeRequest | str:
    """Read a request; missing keys are 0 or empty, unknown keys are ignored.

    Parameters
    ----------
    request : prices and volumes must be ``float``, ids and enums ``int``, texts at most 29 UTF-16 units

    Returns
    -------
    The request, or the package's words for the first argument it refuses (nothing is sent then).

    Examples
    --------
    >>> parse_request({"volume": 1})
    'Invalid "volume" argument'
    """
    fields: dict[str, Any] = {}
    for name, value in request.items():
        kind = _KINDS.get(name)
        if kind is None:
            continue
        if type(value) is kind and (
            kind is float
            or (kind is int and 0 <= value < (_LARGE_ID if name in _IDS else _SMALL_ID))
            or (kind is str and len(value) <= MAX_TEXT_UNITS and value.isascii())
        ):
            fields[name] = value
            continue
        if not _is_accepted(name, value, kind):
            # The package looks at its arguments in its own order.
            wrong = next(n for n, k in _KINDS.items() if n in request and not _is_accepted(n, request[n], k))
            return f'Invalid "{wrong}" argument'
        # Subclasses (numpy's float64, bool) are taken, and become what they stand for.
        fields[name] = kind(value)
    return TradeRequest(**fields)


def _is_accepted(name: str, value: Any, kind: type[Any]) -> bool:
    if not isinstance(value, kind):
        return False
    if kind is float:
        return True
    if kind is str:
        units = len(value) if value.isascii() else len(value.encode("utf-16-le", "surrogatepass")) // 2
        return bool(units <= MAX_TEXT_UNITS)
    low, high = _RANGES[name]
    return bool(low <= value < high)
