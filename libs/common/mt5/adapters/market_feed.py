"""The market's side of a simulated terminal in another process: moves it by tick blocks, in event time."""

import asyncio
import contextlib
from typing import Any

import msgspec

from libs.common.codec import encode
from libs.common.errors import BrokerError, OutcomeUncertain
from libs.common.messages.market import TickBlock
from libs.common.mt5.adapters.arrays import ArrayFilling
from libs.common.mt5.adapters.frames import (
    HEADER_BYTES,
    Answer,
    Call,
    FrameError,
    Hello,
    Part,
    decode_reply,
    encode_frame,
    frame_length,
)
from libs.common.mt5.adapters.functions import FUNCTIONS
from libs.common.mt5.adapters.records import Gathering
from libs.common.mt5.adapters.simulated_broker import Told
from libs.common.mt5.address import host_and_port
from libs.common.mt5.sim.faults import FaultPlan
from libs.common.mt5.sim.faulty_terminal import cut_block

MOST_TICKS = 20_000
"""Ticks of one block that go out at once; a longer one is cut, which changes nothing."""


class TerminalFeed:
    """A control connection to a simulated terminal, opened when it is needed and again after it broke.

    Everything may be asked again after an error: the terminal knows the blocks and keys it has had.

    Parameters
    ----------
    address : host:port
    token : proves that we may speak to it
    timeout_s : for one answer
    """

    def __init__(self, address: str, token: str, timeout_s: float = 30.0) -> None:
        try:
            self._host, self._port = host_and_port(address)
        except ValueError as error:
            raise BrokerError(str(error)) from None
        self._token, self._timeout_s = token, timeout_s
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._turn = asyncio.Lock()
        self._number = 0

    async def advance(self, block: TickBlock) -> Told:
        """Let the market move; the same block again changes nothing and tells the same.

        Raises
        ------
        BrokerError : the terminal is not there, or does not know the symbol
        """
        events: list[Any] = []
        told = Told()
        for start in range(0, len(block), MOST_TICKS):
            piece = cut_block(block, start, min(start + MOST_TICKS, len(block)))
            told = msgspec.convert(await self.call("advance", msgspec.Raw(encode(piece))), Told)
            events += told.events
        return msgspec.structs.replace(told, events=tuple(events))

    async def submit(self, request: dict[str, Any], key: str, now_ns: int) -> Told:
        """Send a trade request on its way in event time; the same key again changes nothing and tells the same.

        Raises
        ------
        OutcomeUncertain : it may have arrived; ask again with the same key
        BrokerError : it was refused as malformed
        """
        try:
            return msgspec.convert(await self.call("submit", request, key, now_ns), Told)
        except _Broken as error:
            raise OutcomeUncertain(key, None, str(error)) from error

    async def marks(self) -> Told:
        """Return the clock and the equity's marks."""
        return msgspec.convert(await self.call("marks"), Told)

    async def use_plan(self, plan: FaultPlan) -> None:
        """Have the terminal go on with other faults."""
        await self.call("plan", msgspec.to_builtins(plan))

    async def call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        """Ask the terminal as it truly is: any question of the package but trading ones, or a control call.

        Raises
        ------
        BrokerError : when it does not answer, or refuses
        """
        async with self._turn:
            for is_last in (self._streams is None, True):
                try:
                    async with asyncio.timeout(self._timeout_s):
                        return await self._exchange(function, args, kwargs)
                except (OSError, EOFError, FrameError, TimeoutError) as error:
                    await self._drop()
                    if is_last or isinstance(error, TimeoutError):
                        reason = str(error) or type(error).__name__
                        raise _Broken(f"the simulated terminal at {self._host}:{self._port}: {reason}") from error
                    # A connection from before the terminal was restarted: everything here may be asked again.
                except asyncio.CancelledError:
                    # An answer that nobody waits for must not be taken for the next one.
                    await self._drop()
                    raise
            raise AssertionError("the last attempt returns or raises")

    async def close(self) -> None:
        """Close the connection."""
        await self._drop()

    async def _exchange(self, function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        reader, writer = self._streams or await self._connect()
        self._number += 1
        writer.write(encode_frame(Call(id=self._number, call=function, args=list(args), kwargs=kwargs)))
        await writer.drain()
        known = FUNCTIONS.get(function)
        gathering = Gathering(known.record if known else None, ArrayFilling)
        while True:
            frame = decode_reply(await _read(reader))
            if isinstance(frame, Part):
                gathering.add(frame)
            elif isinstance(frame, Answer) and frame.id == self._number:
                if frame.raised is not None:
                    raise BrokerError(f"{function}: {frame.raised.text}")
                return gathering.finish(frame)
            else:
                raise FrameError("an answer to another question")

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        streams = await asyncio.open_connection(self._host, self._port)
        self._streams = streams
        streams[1].write(encode_frame(Hello(role="control", token=self._token)))
        hello = decode_reply(await _read(streams[0]))
        if not isinstance(hello, Hello) or hello.problem:
            await self._drop()
            problem = hello.problem if isinstance(hello, Hello) else "it is no simulated terminal"
            raise BrokerError(f"the simulated terminal at {self._host}:{self._port}: {problem}")
        return streams

    async def _drop(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()
            with contextlib.suppress(OSError):
                await streams[1].wait_closed()


class _Broken(BrokerError):
    """No answer came."""


async def _read(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(frame_length(await reader.readexactly(HEADER_BYTES)))
