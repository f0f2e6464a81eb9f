"""The base of every message and the column types that ride in blocks.

A message is a frozen struct, JSON on the wire, tagged with its class name in ``type``. Readers tolerate
unknown fields; new fields carry defaults; types never change.
"""

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""A column of doubles. JSON array of numbers on the wire."""
Ints = NDArray[np.int64]
"""A column of 64-bit integers. JSON array of integers on the wire."""
NO_FLOATS: Floats = np.empty(0, dtype=np.float64)
NO_INTS: Ints = np.empty(0, dtype=np.int64)
"""The empty columns: the feed does not carry this value."""
NO_FLOATS.flags.writeable = NO_INTS.flags.writeable = False


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=True, gc=False):
    """What every message says about itself.

    Messages hold data only, never each other in a circle, so the garbage collector need not look at them.

    Parameters
    ----------
    ts_event_ns : when it happened, nanoseconds UTC
    ts_init_ns : when we built it, nanoseconds UTC
    seq : the publisher's own number on this subject, 1, 2, 3, ...; 0 where the subject is not sequenced.
        Stamped by the runtime, never by a core.
    step : number of the tick block whose handling caused the message, counted by ingest from 1; 0 where no
        tick block did. In lockstep it orders what arrives over several subjects.
    """

    ts_event_ns: int
    ts_init_ns: int
    seq: int = 0
    step: int = 0


def column_to_json(value: Any) -> Any:
    """Encode a numpy column as a list (the ``enc_hook`` of the codec)."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise NotImplementedError(f"{type(value).__name__} has no place in a message")


def column_from_json(kind: Any, value: Any) -> Any:
    """Decode a JSON array into the declared column type (the ``dec_hook`` of the codec).

    Raises
    ------
    ValueError : when an element is not a number, not finite, or does not fit the declared type
    """
    if not isinstance(value, list):
        raise ValueError("expected an array of numbers")
    # By identity first: comparing these types costs more than a whole live tick's numbers.
    whole = kind is Ints or (kind is not Floats and kind == Ints)
    if not whole and kind is not Floats and kind != Floats:
        raise ValueError(f"unknown column type {kind!r}")
    if not value:
        return NO_INTS if whole else NO_FLOATS
    if len(value) == 1:
        return _one(whole, value[0])
    column = np.array(value)
    if column.ndim != 1 or column.dtype.kind not in ("i" if whole else "iuf"):
        # null (how JSON spells NaN), text, nesting and integers beyond 64 bits all end here.
        raise ValueError(
            "expected a flat array of 64-bit integers" if whole else "expected a flat array of finite numbers"
        )
    if whole:
        return column.astype(np.int64, copy=False)
    column = column.astype(np.float64, copy=False)
    if not np.isfinite(column).all():
        raise ValueError("expected a flat array of finite numbers")
    return column


def _one(whole: bool, element: Any) -> Any:
    """Decode a column of one element: the live tick, where every microsecond is paid a thousand times a second."""
    if whole:
        if type(element) is not int or not -(2**63) <= element < 2**63:
            raise ValueError("expected a flat array of 64-bit integers")
        return np.array([element], dtype=np.int64)
    if type(element) is int and -(2**63) <= element < 2**63:
        element = float(element)
    if type(element) is not float or not math.isfinite(element):
        raise ValueError("expected a flat array of finite numbers")
    return np.array([element], dtype=np.float64)
