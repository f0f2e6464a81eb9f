"""A terminal with which things go wrong under the package's face, in one process.

A broken pipe breaks here too. A call that would hang for ever raises ``TerminalHangs``, because nobody could kill it.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from libs.common.mt5.sim.faulty_terminal import Answered, FaultyTerminal, Outcome
from libs.common.mt5.sim.port import RECEIVE_FAILED, ConnectOptions, LastError, PipeBroken


class TerminalHangs(Exception):
    """The call would never return. Only a process of its own can be killed; see ``adapters.host``."""


class FaultyPort:
    """The pipe to a faulty terminal within one process.

    Parameters
    ----------
    faulty : the terminal
    """

    def __init__(self, faulty: FaultyTerminal) -> None:
        self._faulty = faulty
        self._generation = faulty.generation

    def connect(self, options: ConnectOptions) -> LastError:
        outcome = self._faulty.handle("initialize", (), msgspec.structs.asdict(options))
        self._generation = self._faulty.generation
        return _reached(outcome).last_error

    def login(self, options: ConnectOptions) -> LastError:
        return self._asked("login", (), msgspec.structs.asdict(options)).last_error

    def ask(self, function: str, *arguments: Any, **named: Any) -> tuple[Any, LastError]:
        return self._asked(function, arguments, named)

    def close(self) -> None:
        """Nothing to let go of."""

    def _asked(self, function: str, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Answered:
        if self._generation != self._faulty.generation:
            raise PipeBroken(RECEIVE_FAILED)
        return _reached(self._faulty.handle(function, arguments, named))


def _reached(outcome: Outcome) -> Answered:
    if isinstance(outcome, Answered):
        return outcome
    if outcome.how == "hang":
        raise TerminalHangs
    raise PipeBroken(RECEIVE_FAILED)
