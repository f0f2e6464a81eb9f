"""The package's answer types as it has them: struct sequences, made by the interpreter itself.

They are tuples with read-only attributes, ``_asdict``, ``n_fields`` and ``__match_args__``, and like the real ones they
cannot be pickled and have no ``_fields``, ``_replace``, ``_make`` or keyword constructor. Inside our house the named
tuples of ``mt5/results.py`` stand for them.
"""

import ctypes
import warnings
from collections.abc import Mapping
from typing import Any

from libs.common.mt5 import results

_DOCUMENTS = {
    "AccountInfo": "The trading account",
    "BookInfo": "A line of the market's depth",
    "OrderCheckResult": "What a request would do",
    "OrderSendResult": "The server's answer to a request",
    "SymbolInfo": "What the broker says of a symbol",
    "TerminalInfo": "The terminal program",
    "Tick": "The last quote of a symbol",
    "TradeDeal": "An execution",
    "TradeOrder": "A pending order, or one in history",
    "TradePosition": "An open position",
    "TradeRequest": "What was asked of the terminal",
}


class _Field(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("doc", ctypes.c_char_p)]


class _Description(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("doc", ctypes.c_char_p),
        ("fields", ctypes.POINTER(_Field)),
        ("n_in_sequence", ctypes.c_int),
    ]


_new_type = ctypes.pythonapi.PyStructSequence_NewType
_new_type.restype = ctypes.py_object
_new_type.argtypes = [ctypes.POINTER(_Description)]
_kept: list[Any] = []
"""What the interpreter goes on pointing at for as long as the types live."""


def _as_dictionary(record: Any) -> dict[str, Any]:
    """Convert the record to a dictionary."""
    return dict(zip(record.__match_args__, record, strict=True))


def _struct_sequence(name: str, fields: tuple[str, ...]) -> Any:
    columns = (_Field * (len(fields) + 1))(*(_Field(field.encode(), b"") for field in fields), _Field(None, None))
    description = _Description(name.encode(), _DOCUMENTS[name].encode(), columns, len(fields))
    _kept.extend((columns, description))
    with warnings.catch_warnings():
        # A name without a module is what the real ones have.
        warnings.simplefilter("ignore", DeprecationWarning)
        made: Any = _new_type(ctypes.byref(description))
    made.__module__ = "builtins"
    made._asdict = _as_dictionary
    return made


TYPES: Mapping[str, Any] = {
    name: _struct_sequence(name, getattr(results, name)._fields) for name in sorted(_DOCUMENTS)
}
"""Name -> struct sequence type; each takes one sequence with all its fields."""

_BY_RECORD = {getattr(results, name): made for name, made in TYPES.items()}
_NESTED = (results.OrderSendResult, results.OrderCheckResult)


def as_package_type(answer: Any) -> Any:
    """Return a record of ``mt5/results.py`` (or a tuple of them) as the package gives it; others as they are."""
    made = _BY_RECORD.get(type(answer))
    if made is None:
        return tuple(as_package_type(one) for one in answer) if type(answer) is tuple else answer
    if isinstance(answer, _NESTED):
        # The last field is the request.
        return made((*answer[:-1], as_package_type(answer[-1])))
    return made(answer)
