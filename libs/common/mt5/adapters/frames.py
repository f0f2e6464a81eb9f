"""How driver, worker and simulated terminal talk: frames of four bytes of length (big-endian) and JSON.

A call is answered by any number of ``Part`` frames and one ``Answer``. Long answers travel in parts, so that no frame is
large and nobody has to decode much at once. numpy arrays travel as raw bytes (base64 in JSON) and a description of
their columns: nothing here evaluates or unpickles what it reads, and nothing here needs numpy.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

HEADER_BYTES = 4
MAX_FRAME_BYTES = 4_000_000
"""A longer frame is not one of ours: whoever sent it is cut off."""
CHUNK_BYTES = 192 * 1024
"""Bytes of an array in one part; a multiple of three, so that base64 needs no padding between."""
CHUNK_FIELDS = 1_500
"""Fields of records in one part: who reads them is busy for about a millisecond."""
PROTOCOL = 1

Frame = TypeVar("Frame", bound=msgspec.Struct)


class FrameError(Exception):
    """What arrived is not a frame of ours. The other end is broken: cut it off."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A function of the package to call.

    Parameters
    ----------
    id : comes back in all frames of the answer
    call : name of the function
    args, kwargs : its arguments; JSON keeps ``1`` and ``1.0`` apart, as the package does
    deadline_s : for how long the answer is waited for; 0 does not say
    """

    id: int
    call: str
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    deadline_s: float = 0.0


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """What the bytes of an array mean: name and numpy format of every column, without padding; number of rows."""

    columns: list[tuple[str, str]]
    rows: int


class Raised(msgspec.Struct, frozen=True, kw_only=True):
    """An exception the function raised: its class and its words."""

    kind: str
    text: str


class Part(msgspec.Struct, frozen=True, kw_only=True, tag_field="frame", tag="part"):
    """A piece of an answer: records, or bytes of an array, whose first part says what they mean."""

    id: int
    rows: list[Any] = []
    array: Columns | None = None
    data: bytes = b""


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag_field="frame", tag="answer"):
    """The end of an answer.

    Parameters
    ----------
    result : the plain value; None when it came in parts
    many : the result is the parts' ``rows``
    array : the result is the parts' ``data``, which mean this
    last_error : code and text, read right after the call
    raised : the exception, when there was one
    took_ns : how long the function took
    """

    id: int
    result: Any = None
    many: bool = False
    array: Columns | None = None
    last_error: tuple[int, str] = (0, "")
    raised: Raised | None = None
    took_ns: int = 0


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag_field="frame", tag="hello"):
    """The first frame of each side.

    Parameters
    ----------
    role : ``worker``, or what a client of the simulated terminal wants to be
    token : proves that a client may speak to the simulated terminal
    backend, package, pid : of a worker
    problem : why the other side is refused; empty when it is not
    """

    role: str
    token: str = ""
    backend: str = ""
    package: str = ""
    pid: int = 0
    protocol: int = PROTOCOL
    problem: str = ""


Reply = Hello | Part | Answer
_encoder = msgspec.json.Encoder()
_reply_decoder = msgspec.json.Decoder(Reply)


def encode_frame(message: msgspec.Struct) -> bytes:
    """Return a message as one frame.

    Raises
    ------
    FrameError : when it holds something JSON cannot carry, or is longer than a frame may be
    """
    try:
        payload = _encoder.encode(message)
    except (TypeError, ValueError, msgspec.MsgspecError, OverflowError) as error:
        raise FrameError(f"cannot be sent: {error}") from error
    if len(payload) > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {len(payload)} bytes, at most {MAX_FRAME_BYTES} are allowed")
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload


def decode_reply(payload: bytes | bytearray | memoryview) -> Reply:
    """Read a worker's or the simulated terminal's frame.

    Raises
    ------
    FrameError : when it is none
    """
    try:
        reply: Reply = _reply_decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError(f"not a frame: {error}") from error
    return reply


def decode_as(payload: bytes | bytearray, decoder: "msgspec.json.Decoder[Frame]") -> Frame:
    """Read a frame of a known kind.

    Raises
    ------
    FrameError : when it is none
    """
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError(f"not a frame: {error}") from error


def frame_length(header: bytes | bytearray | memoryview, limit: int = MAX_FRAME_BYTES) -> int:
    """Return the length a header announces.

    Raises
    ------
    FrameError : when no frame is so long
    """
    length = int.from_bytes(header, "big")
    if not 0 < length <= limit:
        raise FrameError(f"a frame of {length} bytes was announced, 1 to {limit} are allowed")
    return length


def read_frame(read: Callable[[int], bytes | None]) -> bytes | None:
    """Read one frame by blocking reads.

    Parameters
    ----------
    read : returns at most so many bytes, nothing at the end

    Returns
    -------
    The payload; None when the other side has closed, also in the middle of a frame.
    """
    header = _read_exactly(read, HEADER_BYTES)
    return None if header is None else _read_exactly(read, frame_length(header))


def _read_exactly(read: Callable[[int], bytes | None], count: int) -> bytes | None:
    found = read(count) or b""
    if len(found) == count or not found:
        return found or None
    pieces = bytearray(found)
    while len(pieces) < count:
        more = read(count - len(pieces))
        if not more:
            return None
        pieces += more
    return bytes(pieces)


class FrameBuffer:
    """Cuts a stream of bytes into frames, however the bytes come.

    Examples
    --------
    >>> buffer = FrameBuffer()
    >>> list(buffer.feed(b"\\x00\\x00")), list(buffer.feed(b"\\x00\\x02{}\\x00"))
    ([], [b'{}'])
    """

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self._limit = limit
        self._held = bytearray()

    def feed(self, received: bytes) -> Iterator[bytes]:
        """Yield the frames that are whole now.

        Raises
        ------
        FrameError : when a header announces what no frame can be
        """
        self._held += received
        start, held = 0, self._held
        try:
            while len(held) - start >= HEADER_BYTES:
                length = frame_length(held[start : start + HEADER_BYTES], self._limit)
                end = start + HEADER_BYTES + length
                if len(held) < end:
                    return
                payload = bytes(held[start + HEADER_BYTES : end])
                start = end
                yield payload
        finally:
            del held[:start]


def answer_frames(
    call_id: int, result: Any, last_error: tuple[int, str], raised: Raised | None = None, took_ns: int = 0
) -> Iterator[bytes]:
    """Yield the frames that carry what a function of the package returned.

    Parameters
    ----------
    result : a plain value, a record (it has ``_asdict``), a tuple of them, or a structured numpy array
    """
    end: dict[str, Any] = {"id": call_id, "last_error": last_error, "raised": raised, "took_ns": took_ns}
    if hasattr(result, "dtype") and hasattr(result, "tobytes"):
        data = result.tobytes()
        columns = Columns(columns=[(name, kind) for name, kind, *_ in result.dtype.descr], rows=len(result))
        for start in range(0, len(data), CHUNK_BYTES):
            piece = data[start : start + CHUNK_BYTES]
            yield encode_frame(Part(id=call_id, array=None if start else columns, data=piece))
        yield encode_frame(Answer(array=columns, **end))
        return
    if isinstance(result, tuple) and not hasattr(result, "_asdict") and result and hasattr(result[0], "_asdict"):
        at_once = max(1, CHUNK_FIELDS // len(result[0]))
        for start in range(0, len(result), at_once):
            rows = [plain(record) for record in result[start : start + at_once]]
            yield encode_frame(Part(id=call_id, rows=rows))
        yield encode_frame(Answer(many=True, **end))
        return
    yield encode_frame(Answer(result=plain(result), **end))


def plain(value: Any) -> Any:
    """Return a value as JSON can carry it: records as objects, numbers that are not finite as words.

    Examples
    --------
    >>> plain((1, 2.5, float("nan")))
    [1, 2.5, 'nan']
    """
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, str):
        # A broker's comment in a wrong code page may hold halves of characters.
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if hasattr(value, "_asdict"):
        return {name: plain(field) for name, field in value._asdict().items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(field) for name, field in value.items()}
    return value
