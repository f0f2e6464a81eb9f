"""The simulated package in a worker: the same thin client, whose pipe is a socket to the simulated terminal's process.

As with the real pipe there is no timeout: a terminal that hangs hangs the worker for ever. One that dies gives -10002,
and -10004 from then on until ``initialize``.
"""

import io
import os
import socket
from typing import Any

from libs.common.mt5.adapters.frames import (
    Answer,
    Call,
    FrameError,
    Hello,
    decode_reply,
    encode_frame,
    read_frame,
)
from libs.common.mt5.adapters.functions import FUNCTIONS
from libs.common.mt5.adapters.package_backend import PackageBackend
from libs.common.mt5.adapters.records import Gathering, RawArray
from libs.common.mt5.address import host_and_port
from libs.common.mt5.sim.drop_in import VERSION
from libs.common.mt5.sim.package import Package
from libs.common.mt5.sim.port import (
    CALL_FAILED,
    NO_TERMINAL,
    RECEIVE_FAILED,
    SEND_FAILED,
    ConnectOptions,
    LastError,
    PipeBroken,
)

TOKEN_VARIABLE = "TICKWIRE_TERMINAL_TOKEN"
"""Environment variable that carries the token of the simulated terminal."""
_CONNECT_S = 5.0


def simulated_package(address: str) -> PackageBackend:
    """Return the simulated package behind the worker's interface.

    Parameters
    ----------
    address : host:port of the simulated terminal

    Raises
    ------
    ValueError : when it is no address
    """
    return PackageBackend(Package(SocketPort(address, os.environ.get(TOKEN_VARIABLE, ""))), "sim", VERSION)


class SocketPort:
    """A way to a simulated terminal in another process.

    Parameters
    ----------
    address : host:port
    token : proves that we may speak to it
    """

    def __init__(self, address: str, token: str) -> None:
        self._address, self._token = host_and_port(address), token
        self._socket: socket.socket | None = None
        self._stream: io.BufferedReader | None = None
        self._number = 0

    def connect(self, options: ConnectOptions) -> LastError:
        self.close()
        try:
            self._socket = socket.create_connection(self._address, _CONNECT_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.settimeout(None)
            self._stream = self._socket.makefile("rb")
            hello = self._exchange_greetings()
        except (OSError, FrameError):
            self.close()
            return NO_TERMINAL
        if hello.problem:
            self.close()
            return NO_TERMINAL[0], f"IPC initialize failed, {hello.problem}"
        return self._enter("initialize", options)

    def login(self, options: ConnectOptions) -> LastError:
        return self._enter("login", options)

    def ask(self, function: str, *arguments: Any, **named: Any) -> tuple[Any, LastError]:
        known = FUNCTIONS.get(function)
        gathering = Gathering(known.record if known else None, RawArray)
        answer = self._exchange(function, arguments, named, gathering)
        try:
            return gathering.finish(answer), answer.last_error
        except FrameError as error:
            raise self._broken(CALL_FAILED) from error

    def close(self) -> None:
        for open_end in (self._stream, self._socket):
            if open_end is not None:
                open_end.close()
        self._stream = self._socket = None

    def _enter(self, function: str, options: ConnectOptions) -> LastError:
        named = {
            "path": options.path, "login": options.login, "password": options.password, "server": options.server,
            "timeout_ms": options.timeout_ms, "portable": options.portable,
        }  # fmt: skip
        try:
            answer = self._exchange(function, (), named, Gathering(None))
        except PipeBroken as broken:
            return broken.error
        return answer.last_error

    def _exchange_greetings(self) -> Hello:
        assert self._socket is not None
        assert self._stream is not None
        self._socket.sendall(encode_frame(Hello(role="package", token=self._token, pid=os.getpid())))
        payload = read_frame(self._stream.read)
        frame = decode_reply(payload) if payload else None
        return frame if isinstance(frame, Hello) else Hello(role="terminal", problem="it closed the connection")

    def _exchange(
        self, function: str, arguments: tuple[Any, ...], named: dict[str, Any], gathering: Gathering
    ) -> Answer:
        if self._socket is None or self._stream is None:
            raise PipeBroken(SEND_FAILED)
        self._number += 1
        try:
            self._socket.sendall(encode_frame(Call(id=self._number, call=function, args=list(arguments), kwargs=named)))
        except OSError as error:
            raise self._broken(SEND_FAILED) from error
        try:
            return self._answer(gathering)
        except OSError as error:
            raise self._broken(RECEIVE_FAILED) from error
        except FrameError as error:
            raise self._broken(CALL_FAILED) from error

    def _answer(self, gathering: Gathering) -> Answer:
        assert self._stream is not None
        while True:
            payload = read_frame(self._stream.read)
            if payload is None:
                raise self._broken(RECEIVE_FAILED)
            frame = decode_reply(payload)
            if isinstance(frame, Hello) or frame.id != self._number:
                raise FrameError("an answer to another question")
            if isinstance(frame, Answer):
                return frame
            gathering.add(frame)

    def _broken(self, error: LastError) -> PipeBroken:
        self.close()
        return PipeBroken(error)
