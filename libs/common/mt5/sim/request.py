"""From a request dictionary to the package's ``TradeRequest``, as strictly as the package does it."""

from collections.abc import Mapping
from typing import Any

from libs.common.mt5.constants import MAX_TEXT_UNITS
from libs.common.mt5.results import TradeRequest

_FLOATS = ("volume", "price", "stoplimit", "sl", "tp")
_SMALL = ("action", "type", "type_filling", "type_time")
_LARGE = ("magic", "order", "deviation", "position", "position_by")
_TEXTS = ("symbol", "comment")
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
    for name in TradeRequest._fields:
        if name not in request:
            continue
        value = request[name]
        if not _is_accepted(name, value):
            return f'Invalid "{name}" argument'
        # Subclasses (numpy's float64, bool) are taken, and become what they stand for.
        fields[name] = value if name in _TEXTS else float(value) if name in _FLOATS else int(value)
    return TradeRequest(**fields)


def _is_accepted(name: str, value: Any) -> bool:
    if name in _FLOATS:
        return isinstance(value, float)
    if name in _TEXTS:
        return isinstance(value, str) and len(value.encode("utf-16-le", "surrogatepass")) // 2 <= MAX_TEXT_UNITS
    low, high = _RANGES[name]
    return isinstance(value, int) and low <= value < high
