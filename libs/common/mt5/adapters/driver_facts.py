"""What a driver is told and what it tells: deadlines, the account to open, health, facts of a call."""

from typing import Any, Literal

import msgspec

from libs.common.mt5.adapters.functions import FUNCTIONS, Pace

State = Literal["stopped", "starting", "ready", "waiting"]


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """How long a call may take before its worker is killed, seconds.

    Parameters
    ----------
    start_s : from the start of the process to its first words (Wine takes seconds)
    connect_s : ``initialize`` and ``login``; the package itself waits up to 100 s for a terminal to start
    read_s : questions
    ticks_s : ticks and bars, for which the terminal may wait 45 s
    send_s : ``order_send``
    """

    start_s: float = 60.0
    connect_s: float = 120.0
    read_s: float = 10.0
    ticks_s: float = 60.0
    send_s: float = 15.0

    def of(self, function: str) -> float:
        """Return the deadline of a function."""
        known = FUNCTIONS.get(function)
        pace = Pace.READ if known is None else known.pace
        return {Pace.CONNECT: self.connect_s, Pace.READ: self.read_s, Pace.TICKS: self.ticks_s,
                Pace.SEND: self.send_s}[pace]  # fmt: skip


DEADLINES = Deadlines()


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Which terminal and account ``initialize`` is to open; empty fields are left to the terminal.

    Parameters
    ----------
    path : of terminal64.exe
    login, password, server : of the account; the password is never logged
    portable : start the terminal with ``/portable``
    timeout_ms : how long the package waits for the login
    """

    path: str = ""
    login: int = 0
    password: str = ""
    server: str = ""
    portable: bool = False
    timeout_ms: int = 60_000

    def __repr__(self) -> str:
        return f"Account(path={self.path!r}, login={self.login}, server={self.server!r})"

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the positional and the named arguments of ``initialize``."""
        named: dict[str, Any] = {"timeout": self.timeout_ms}
        if self.login:
            named |= {"login": self.login, "password": self.password, "server": self.server}
        if self.portable:
            named["portable"] = True
        return ((self.path,) if self.path else ()), named


ANY_ACCOUNT = Account()


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What one may want to know of a driver.

    Parameters
    ----------
    state : ``ready`` when calls go through; ``waiting`` between two attempts
    problem : why it is not ready, or what last went wrong; empty when nothing did
    pid : of the worker; 0 without one
    session : counts successful ``initialize``; another number means that the account must be looked at again
    restarts : workers started after the first
    kills : workers killed because a deadline had passed
    calls, failures : calls made, and those that raised
    waiting : calls in line
    last_error : of the last answer
    round_trip_s : of the last answered call; average_s the same smoothed over about 20 calls
    """

    state: State
    problem: str
    pid: int
    session: int
    restarts: int
    kills: int
    calls: int
    failures: int
    waiting: int
    last_error: tuple[int, str]
    round_trip_s: float
    average_s: float


class CallFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one call, for metrics; ``outcome`` is ``ok`` or the name of the exception."""

    function: str
    seconds: float
    outcome: str
