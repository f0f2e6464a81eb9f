"""What a bus does, whichever way it is built."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

import msgspec

from libs.common.codec import Codec
from libs.common.errors import MalformedMessage
from libs.common.messages.base import Message
from libs.common.messages.sense import nonsense
from libs.common.routing import subject_of


class Delivered(msgspec.Struct, frozen=True):
    """One message as a reader gets it.

    Parameters
    ----------
    subject : where it was published
    payload : the bytes on the wire
    message : decoded; ``None`` when it could not be, and ``error`` says why
    seq : the publisher's number (sequenced subjects), the stream's (commanded), 0 (ephemeral)
    """

    subject: str
    payload: bytes
    message: Message | None
    seq: int
    error: str = ""


def opened(codec: Codec, subject: str, payload: bytes, seq: int | None = None) -> Delivered:
    """Decode what came on a subject; what is no message, makes no sense or does not belong there comes back as an error.

    Parameters
    ----------
    seq : the number to note; the message's own when not given
    """
    try:
        message = codec.decode(payload, subject)
        belongs = subject_of(message) == subject
    except MalformedMessage as error:
        return Delivered(subject, payload, None, 0, error.problem)
    except (KeyError, ValueError) as error:
        return Delivered(subject, payload, None, 0, f"belongs on no subject ({error})")
    if not belongs:
        return Delivered(subject, payload, None, 0, f"{type(message).__name__} does not belong on this subject")
    problem = nonsense(message)
    if problem:
        return Delivered(subject, payload, None, 0, f"{type(message).__name__}: {problem}")
    return Delivered(subject, payload, message, message.seq if seq is None else seq)


class ReaderCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader went through."""

    gaps_detected: int
    gaps_filled: int
    duplicates: int
    lost: int


class Reader(Protocol):
    """Hears subjects: in order per subject, nothing twice, holes filled from the stream."""

    async def batch(self) -> list[Delivered]:
        """Wait until there is something to handle and return all of it."""
        ...

    def counts(self) -> ReaderCounts: ...

    @property
    def joined(self) -> bool:
        """True once the streams have been read to their ends and only live messages are awaited."""
        ...

    async def close(self) -> None: ...


async def one_by_one(reader: Reader) -> AsyncIterator[Delivered]:
    """Yield what a reader hears, one message at a time; the reader is closed with the iterator."""
    try:
        while True:
            for delivered in await reader.batch():
                yield delivered
    finally:
        await reader.close()


class Bus(Protocol):
    """Publishes messages and hears them."""

    async def publish(self, message: Message) -> None:
        """Publish a message on its own subject.

        A sequenced message must carry its ``seq``; it is kept until the stream holds it, and left unsent when the
        stream holds it already. A command returns once the stream has stored it. Anything else goes out at most once.
        """
        ...

    async def reader(
        self,
        patterns: Sequence[str],
        *,
        after: Mapping[str, int] | None = None,
        since_ns: int = 0,
        from_start: bool = True,
        codec: Codec | None = None,
    ) -> Reader:
        """Hear patterns.

        Parameters
        ----------
        after : last number handled, by subject (by ``streams.COMMANDS_SEEN`` for commands)
        since_ns : nothing before this wall-clock time is missing; 0 reads streams from their start
        from_start : begin with what the streams hold; False hears only what comes from now on
        codec : decodes; all message types when not given
        """
        ...

    def deliveries(
        self, patterns: Sequence[str], *, after: Mapping[str, int] | None = None, from_start: bool = True
    ) -> AsyncIterator[Delivered]:
        """Hear patterns, one message at a time, until the iterator is closed."""
        ...

    async def last(self, subject: str) -> Message | None:
        """Return the newest message the stream holds on a subject."""
        ...

    async def put_object(self, name: str, content: bytes) -> None:
        """Store a model bundle."""
        ...

    async def get_object(self, name: str) -> bytes:
        """Return a stored model bundle; raises ``ArtifactError`` when there is none."""
        ...

    async def flush(self, *, for_s: float = 0.0) -> None:
        """Return once the server has everything published so far and the streams hold what is sequenced.

        Parameters
        ----------
        for_s : and have held it for so long on one unbroken connection: before a process ends, long enough for the
            server to have written it down
        """
        ...

    async def close(self) -> None: ...
