"""Ids derived from their cause: the same cause gives the same id, in every run and on every machine."""

import hashlib
import re

ORDER_ID = re.compile(r"[0-9a-f]{12,64}")
"""What an order id looks like: its first twelve digits travel in the magic number."""


def derived_id(*cause: str | int | float) -> str:
    """Return 24 hex digits that stand for the cause, for ever.

    >>> derived_id("risk", "EURUSD", 42) == derived_id("risk", "EURUSD", 42)
    True
    """
    text = "\x1f".join(map(repr, cause))
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def magic_of(order_id: str, namespace: int) -> int:
    """Return the 63-bit magic number that carries an order id in the broker's records.

    Parameters
    ----------
    order_id : hex digits from ``derived_id``
    namespace : 15 bits that tell our installations apart

    Returns
    -------
    ``namespace`` in the upper 15 bits, the first 48 bits of the order id below.
    """
    return ((namespace & 0x7FFF) << 48) | int(order_id[:12], 16)
