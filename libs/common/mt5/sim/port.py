"""The pipe between the package and its terminal: what goes through it, and how it breaks.

The real package is a thin client: it checks arguments, writes a question to a named pipe, waits for the answer and
shapes it. ``Package`` (package.py) is that client; a ``TerminalPort`` is the pipe; a ``PackageFace`` is the terminal at
its other end. In one process the pipe is ``InProcessPort``; over a socket it is whatever puts ``ask`` on the wire.
"""

from typing import Any, Protocol

import msgspec

from libs.common.mt5 import constants as mt5

LastError = tuple[int, str]
"""What ``last_error()`` says: code and text."""

SUCCESS: LastError = (mt5.RES_S_OK, "Success")
NO_CONNECTION: LastError = (mt5.RES_E_INTERNAL_FAIL_CONNECT, "No IPC connection")
INVALID_PARAMS: LastError = (mt5.RES_E_INVALID_PARAMS, "Terminal: Invalid params")
NOT_FOUND: LastError = (mt5.RES_E_NOT_FOUND, "Terminal: Not found")
FAILED: LastError = (mt5.RES_E_FAIL, "Terminal: Call failed")
NO_VERSION: LastError = (
    mt5.RES_E_INVALID_VERSION,
    "Terminal: Incompatible versions, please install the latest version of Terminal and Python module",
)
AUTH_FAILED: LastError = (mt5.RES_E_AUTH_FAILED, "Terminal: Authorization failed")
TRADING_DISABLED: LastError = (
    mt5.RES_E_AUTO_TRADING_DISABLED, "Auto-Trading using Python API disabled in Terminal",
)
CALL_FAILED: LastError = (mt5.RES_E_INTERNAL_FAIL, "IPC call failed")
SEND_FAILED: LastError = (mt5.RES_E_INTERNAL_FAIL_SEND, "IPC send failed")
RECEIVE_FAILED: LastError = (mt5.RES_E_INTERNAL_FAIL_RECEIVE, "IPC recv failed")
LOGIN_TIMEOUT: LastError = (mt5.RES_E_INTERNAL_FAIL_TIMEOUT, "IPC timeout")
NO_TERMINAL: LastError = (
    mt5.RES_E_INTERNAL_FAIL_INIT, "IPC initialize failed, MetaTrader 5 x64 not found",
)


class ConnectOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What ``initialize`` (and ``login``, without path and portable) was given.

    Parameters
    ----------
    path : of the terminal; empty: find one
    login : account number; 0: the last used
    password, server : empty: those saved
    timeout_ms : for the login
    """

    path: str = ""
    login: int = 0
    password: str = ""
    server: str = ""
    timeout_ms: int = 60_000
    portable: bool = False


class PipeBroken(Exception):
    """The connection to the terminal is gone; the package forgets it and reports ``error``.

    Parameters
    ----------
    error : ``RECEIVE_FAILED`` when the question may have been read, ``SEND_FAILED`` when it was not sent,
        ``CALL_FAILED`` when the answer was of the wrong kind
    """

    def __init__(self, error: LastError = RECEIVE_FAILED) -> None:
        super().__init__(error[1])
        self.error = error


class TerminalPort(Protocol):
    """A way to a terminal."""

    def connect(self, options: ConnectOptions) -> LastError:
        """Open the connection and log in; ``SUCCESS`` or why not."""
        ...

    def login(self, options: ConnectOptions) -> LastError:
        """Change the account over an open connection; ``SUCCESS`` or why not."""
        ...

    def ask(self, function: str, *arguments: Any, **named: Any) -> tuple[Any, LastError]:
        """Have the terminal answer one question.

        Parameters
        ----------
        function : a name of ``package_functions.QUESTIONS``
        arguments, named : as ``PackageFace`` takes them, already of the right types

        Returns
        -------
        The answer (a record of ``mt5/results.py``, a tuple of them, an array or a plain value; ``None`` or ``False``
        for an error) and what ``last_error`` has to say.

        Raises
        ------
        PipeBroken : when the terminal is gone
        """
        ...

    def close(self) -> None:
        """Let go of the connection; never fails."""
        ...


class TerminalSide(Protocol):
    """The terminal's end, as ``PackageFace`` has it."""

    def accept_login(self, options: ConnectOptions) -> LastError: ...

    def last_error(self) -> LastError: ...


class InProcessPort:
    """The pipe within one process: a method call.

    Parameters
    ----------
    terminal : who answers
    """

    def __init__(self, terminal: TerminalSide) -> None:
        self.terminal = terminal

    def connect(self, options: ConnectOptions) -> LastError:
        return self.terminal.accept_login(options)

    def login(self, options: ConnectOptions) -> LastError:
        return self.terminal.accept_login(options)

    def ask(self, function: str, *arguments: Any, **named: Any) -> tuple[Any, LastError]:
        answer = getattr(self.terminal, function)(*arguments, **named)
        return answer, self.terminal.last_error()

    def close(self) -> None:
        """Nothing to let go of."""


class NoTerminal:
    """A machine without a terminal: ``initialize`` fails as it does there."""

    def connect(self, options: ConnectOptions) -> LastError:
        return NO_TERMINAL

    def login(self, options: ConnectOptions) -> LastError:
        return NO_TERMINAL

    def ask(self, function: str, *arguments: Any, **named: Any) -> tuple[Any, LastError]:
        raise PipeBroken(SEND_FAILED)

    def close(self) -> None:
        """Nothing to let go of."""
