"""The package's masks over symbol names."""

import re
from functools import lru_cache


def in_group(symbol: str, group: str) -> bool:
    """Tell whether a symbol matches comma-separated masks: ``*`` for anything, ``!`` excludes, applied in order.

    Examples
    --------
    >>> in_group("EURUSD", "*,!*JPY"), in_group("usdjpy", "*,!*JPY"), in_group("US30.cash", "US*,GER*")
    (True, False, True)
    """
    inside = False
    for excludes, mask in _masks(group):
        if mask.fullmatch(symbol):
            inside = not excludes
    return inside


@lru_cache(maxsize=256)
def _masks(group: str) -> tuple[tuple[bool, re.Pattern[str]], ...]:
    found = []
    for part in (part.strip() for part in group.split(",")):
        pattern = ".*".join(re.escape(piece) for piece in part.removeprefix("!").strip().split("*"))
        found.append((part.startswith("!"), re.compile(pattern, re.IGNORECASE | re.DOTALL)))
    return tuple(found)
