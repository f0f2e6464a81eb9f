"""Carries messages between the cores in the order a lockstep replay carries them, without a bus."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from libs.common import subjects
from libs.common.core import Core, Effect, EffectResult, handler_name
from libs.common.messages.base import Message
from libs.common.messages.market import TickBlock
from libs.common.routing import subject_of

Performer = Callable[[Effect], EffectResult]
"""Does what a core asked for and returns what came of it."""
Handler = Callable[[Any, int], tuple[Message, ...]]
Witness = Callable[[str, Message, int], None]
"""Told of everything a core says: by whom, what, in which step."""


class _Seat:
    """One core with its clock and its handlers."""

    __slots__ = ("clock_ns", "core", "handlers", "name", "perform")

    def __init__(self, name: str, core: Core, perform: Performer | None) -> None:
        self.name, self.core, self.perform = name, core, perform
        self.clock_ns = 0
        self.handlers: dict[type[Message], Handler] = {}

    def handler(self, kind: type[Message]) -> Handler:
        """Return the core's method for a message type."""
        found = self.handlers.get(kind)
        if found is None:
            found = self.handlers[kind] = getattr(self.core, handler_name(kind))
        return found


class Exchange:
    """Hands every message to the cores that hear it, each at its own event time.

    Parameters
    ----------
    cores : by service name, in the order they handle a tick block: features and executor before risk
    performers : service name -> who performs its effects
    witness : told of everything said
    """

    def __init__(
        self, cores: Mapping[str, Core], performers: Mapping[str, Performer], witness: Witness
    ) -> None:
        self._seats = {name: _Seat(name, core, performers.get(name)) for name, core in cores.items()}
        self._witness = witness
        self._hearers: dict[type[Message], dict[str, tuple[_Seat, ...]]] = {}
        self._queue: deque[Message] = deque()
        self.step = 0

    def hear_ticks(self, block: TickBlock, services: Iterable[str]) -> None:
        """Let services handle a tick block, one after the other; what they say waits for ``settle``."""
        for name in services:
            self.hand(name, block)

    def hand(self, name: str, message: Message) -> None:
        """Hand one message to one core; its effects are performed and answered before anything else is handled."""
        self._serve(self._seats[name], message)

    def say(self, name: str, message: Message) -> None:
        """Queue what a service said by another way than through ``hand``."""
        self._witness(name, message, self.step)
        self._queue.append(message)

    def settle(self) -> None:
        """Carry what was said, and what that leads to, until nobody has anything more to say."""
        queue = self._queue
        while queue:
            message = queue.popleft()
            for seat in self._hearers_of(message):
                self._serve(seat, message)

    def _serve(self, seat: _Seat, message: Message) -> None:
        seat.clock_ns = max(seat.clock_ns, message.ts_event_ns)
        said = seat.handler(type(message))(message, seat.clock_ns)
        if not said:
            return
        asked = self._take(seat, said)
        while asked:
            assert seat.perform is not None, f"{seat.name} asks for an effect that nobody performs"
            result = seat.perform(asked.pop(0))
            said = seat.handler(type(result))(result, seat.clock_ns)
            if said:
                asked += self._take(seat, said)

    def _take(self, seat: _Seat, said: tuple[Message, ...]) -> list[Effect]:
        """Pass on what was said and return the effects asked for."""
        asked = []
        for message in said:
            if isinstance(message, Effect):
                asked.append(message)
            else:
                self._witness(seat.name, message, self.step)
                self._queue.append(message)
        return asked

    def _hearers_of(self, message: Message) -> tuple[_Seat, ...]:
        kind, subject = type(message), subject_of(message)
        known = self._hearers.setdefault(kind, {})
        found = known.get(subject)
        if found is None:
            found = known[subject] = tuple(
                seat for seat in self._seats.values() if _hears(seat.core, subject, kind)
            )
        return found


def _hears(core: Any, subject: str, kind: type[Message]) -> bool:
    return any(kind in route.kinds and subjects.matches(route.pattern, subject) for route in core.HEARS)
