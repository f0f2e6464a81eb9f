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
        self._cores = dict(cores)
        self._performers = dict(performers)
        self._witness = witness
        self._clocks_ns = dict.fromkeys(self._cores, 0)
        self._hearers: dict[tuple[type[Message], str], tuple[str, ...]] = {}
        self._handlers: dict[tuple[str, type[Message]], Handler] = {}
        self._queue: deque[Message] = deque()
        self.step = 0

    def hear_ticks(self, block: TickBlock, services: Iterable[str]) -> None:
        """Let services handle a tick block, one after the other; what they say waits for ``settle``."""
        for name in services:
            self.hand(name, block)

    def hand(self, name: str, message: Message) -> None:
        """Hand one message to one core; its effects are performed and answered before anything else is handled."""
        clocks_ns = self._clocks_ns
        clocks_ns[name] = max(clocks_ns[name], message.ts_event_ns)
        said = self._handler(name, type(message))(message, clocks_ns[name])
        asked = self._take(name, said) if said else None
        while asked:
            result = self._performers[name](asked.pop(0))
            said = self._handler(name, type(result))(result, clocks_ns[name])
            if said:
                asked += self._take(name, said)

    def say(self, name: str, message: Message) -> None:
        """Queue what a service said by another way than through ``hand``."""
        self._witness(name, message, self.step)
        self._queue.append(message)

    def settle(self) -> None:
        """Carry what was said, and what that leads to, until nobody has anything more to say."""
        queue = self._queue
        while queue:
            message = queue.popleft()
            for name in self._hearers_of(message):
                self.hand(name, message)

    def now_ns(self, name: str) -> int:
        """Return how late it is for a service, ns UTC."""
        return self._clocks_ns[name]

    def _handler(self, name: str, kind: type[Message]) -> Handler:
        handler = self._handlers.get((name, kind))
        if handler is None:
            handler = self._handlers[name, kind] = getattr(self._cores[name], handler_name(kind))
        return handler

    def _take(self, name: str, said: tuple[Message, ...]) -> list[Effect]:
        """Pass on what was said and return the effects asked for."""
        asked = []
        for message in said:
            if isinstance(message, Effect):
                asked.append(message)
            else:
                self._witness(name, message, self.step)
                self._queue.append(message)
        return asked

    def _hearers_of(self, message: Message) -> tuple[str, ...]:
        subject = subject_of(message)
        key = (type(message), subject)
        found = self._hearers.get(key)
        if found is None:
            found = self._hearers[key] = tuple(
                name for name, core in self._cores.items() if _hears(core, subject, type(message))
            )
        return found


def _hears(core: Any, subject: str, kind: type[Message]) -> bool:
    return any(kind in route.kinds and subjects.matches(route.pattern, subject) for route in core.HEARS)
