"""From the frames of an answer to our own records."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Protocol, get_type_hints

from libs.common.mt5.adapters.frames import Answer, Columns, FrameError, Part

MAX_ROWS = 50_000_000
NUMBER_BYTES = {f"{kind}{size}": size for kind in "iu" for size in (1, 2, 4, 8)} | {"f4": 4, "f8": 8}
"""Formats a column may have, with their sizes."""


class Filling(Protocol):
    """An array that is filled piece by piece."""

    def add(self, data: bytes) -> None: ...

    def finish(self) -> Any: ...


class Gathering:
    """Puts the parts of one answer together as they come.

    Parameters
    ----------
    record : type of the records; None leaves plain values as they are
    array : makes what an array's bytes are filled into; None where no array is expected
    """

    def __init__(self, record: Any, array: Callable[[Columns], Filling] | None = None) -> None:
        self._record, self._make = record, array
        self._rows: list[Any] = []
        self._array: Filling | None = None

    def add(self, part: Part) -> None:
        """Take the next part.

        Raises
        ------
        FrameError : when it is not what the answer began as
        """
        if part.array is not None:
            self._begin(part.array)
        if part.data:
            if self._array is None:
                raise FrameError("bytes of an array that was not announced")
            self._array.add(part.data)
        self._rows += [self._read(row) for row in part.rows]

    def finish(self, answer: Answer) -> Any:
        """Return the whole result: a value, a record, a tuple of records, an array.

        Raises
        ------
        FrameError : when something is missing
        """
        if answer.many:
            return tuple(self._rows)
        if answer.array is None:
            return answer.result if answer.result is None else self._read(answer.result)
        if self._array is None:
            self._begin(answer.array)
        assert self._array is not None
        return self._array.finish()

    def _begin(self, columns: Columns) -> None:
        if self._make is None:
            raise FrameError("an array where none was expected")
        self._array = self._make(columns)

    def _read(self, value: Any) -> Any:
        if self._record is not None and isinstance(value, dict):
            return to_record(self._record, value)
        if isinstance(value, list):
            return tuple(self._read(item) for item in value)
        return float(value) if value in ("nan", "inf", "-inf") else value


class RawArray:
    """An array as its bytes: for passing it on without numpy."""

    class Type:
        """What ``numpy.dtype`` would say of the columns."""

        def __init__(self, descr: list[tuple[str, str]]) -> None:
            self.descr = descr

    def __init__(self, columns: Columns) -> None:
        self.dtype = self.Type(columns.columns)
        self._rows, self._bytes = columns.rows, array_bytes(columns)
        self._data = bytearray()

    def add(self, data: bytes) -> None:
        self._data += data

    def finish(self) -> "RawArray":
        if len(self._data) != self._bytes:
            raise FrameError(f"an array of {len(self._data)} bytes, {self._bytes} were announced")
        return self

    def tobytes(self) -> bytes:
        return bytes(self._data)

    def __len__(self) -> int:
        return self._rows


def array_bytes(columns: Columns) -> int:
    """Return how many bytes the rows take.

    Raises
    ------
    FrameError : when a column is not a plain number, or there are more rows than anybody asks for
    """
    if not 0 <= columns.rows <= MAX_ROWS:
        raise FrameError(f"an array of {columns.rows} rows was announced, at most {MAX_ROWS} are taken")
    row = 0
    for name, kind in columns.columns:
        if kind[:1] not in ("<", "|") or kind[1:] not in NUMBER_BYTES:
            raise FrameError(f"column {name} is of format {kind}, plain numbers were expected")
        row += NUMBER_BYTES[kind[1:]]
    return row * columns.rows


def to_record(kind: Any, fields: Mapping[str, Any]) -> Any:
    """Return an answer as one of the types of ``libs.common.mt5.results``.

    Fields the type does not know (a newer package) are left out, missing ones get its defaults.

    Raises
    ------
    FrameError : when a field is of another kind
    """
    values = {}
    for name, reader in _readers(kind):
        if name not in fields:
            continue
        try:
            values[name] = fields[name] if reader is None else reader(fields[name])
        except (TypeError, ValueError) as error:
            raise FrameError(f"{kind.__name__}.{name}: {error}") from error
    return kind(**values)


@functools.cache
def _readers(kind: Any) -> tuple[tuple[str, Callable[[Any], Any] | None], ...]:
    """Return field by field what makes a JSON value the field's type again."""
    hints = get_type_hints(kind)
    return tuple((name, _reader(hints.get(name))) for name in kind.__match_args__)


def _reader(hint: Any) -> Callable[[Any], Any] | None:
    if hint in (int, float, bool, str):
        return functools.partial(_plain_value, hint)
    if hasattr(hint, "__match_args__"):
        return functools.partial(_nested, hint)
    return None


def _plain_value(kind: type, value: Any) -> Any:
    if type(value) is kind:
        return value
    if kind is str or (isinstance(value, str) and kind is not float):
        raise ValueError(f"{value!r:.60} is no {kind.__name__}")
    return kind(value)


def _nested(kind: Any, value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r:.60} is no {kind.__name__}")
    return to_record(kind, value)
