"""What a core is: a plain object that takes messages and the time and returns messages.

A core never waits. What needs waiting (a disk, a broker, a child process) it asks for with an ``Effect``; the
runtime performs it and hands the ``EffectResult`` back as one more input, so a replay of the inputs rebuilds the
core bit for bit without doing anything twice.
"""

import re
from typing import Any, ClassVar, Protocol

import msgspec

from libs.common.messages.base import Message


class Effect(Message, frozen=True, kw_only=True):
    """Something the shell must do for the core. Never goes on the bus.

    Parameters
    ----------
    effect_id : derived from its cause; performing the same id twice must be harmless
    """

    effect_id: str


class EffectResult(Message, frozen=True, kw_only=True):
    """What came of an effect; journaled like any other input.

    Parameters
    ----------
    effect_id : of the effect it answers
    """

    effect_id: str


class Timer(Message, frozen=True, kw_only=True):
    """A second has passed. Only sent where the clock is the wall's; in event time ticks carry the time."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of message a core hears.

    Parameters
    ----------
    pattern : subject pattern
    kinds : the message types that may arrive on it
    after : marks that must have reached a message's ``step`` before it is handled in lockstep: ``ticks`` (our
        own handling of the step's tick block), or ``<service>.<stage>`` (that watermark has come and everything
        it says was sent to us has been handled)
    """

    pattern: str
    kinds: tuple[type[Message], ...]
    after: tuple[str, ...] = ()


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A watermark a core's runtime publishes.

    Parameters
    ----------
    name : ``settled``, or an earlier stage others wait for
    after : marks (as in ``Route.after``) that must have reached the step
    """

    name: str
    after: tuple[str, ...]


class Core(Protocol):
    """The contract of every service's core.

    Besides these members a core has one method per message type it hears or result it awaits:
    ``on_<message_name_in_snake_case>(self, message, now_ns) -> tuple[Message, ...]``, synchronous and
    deterministic. It refuses with a message; an exception is a bug and ends the process.
    """

    HEARS: ClassVar[tuple[Route, ...]]
    RESULTS: ClassVar[tuple[type[EffectResult], ...]]
    STAGES: ClassVar[tuple[Stage, ...]]

    def snapshot(self) -> bytes:
        """Return the whole state."""
        ...

    def restore(self, state: bytes) -> None:
        """Become what ``snapshot`` described."""
        ...

    def details(self) -> dict[str, float | str]:
        """Return figures for ``tickwire status``: numbers and short texts."""
        ...


_WORD_START = re.compile(r"(?<!^)(?=[A-Z])")
_handler_names: dict[type, str] = {}


def handler_name(kind: type) -> str:
    """Return the name of the method that hears a message type.

    >>> from libs.common.messages.market import TickBlock
    >>> handler_name(TickBlock)
    'on_tick_block'
    """
    name = _handler_names.get(kind)
    if name is None:
        name = _handler_names[kind] = "on_" + _WORD_START.sub("_", kind.__name__).lower()
    return name


def dispatch(core: Any, message: Message, now_ns: int) -> tuple[Message, ...]:
    """Hand a message to the core and return what it says."""
    result: tuple[Message, ...] = getattr(core, handler_name(type(message)))(message, now_ns)
    return result
