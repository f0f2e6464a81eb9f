"""Python's own clocks on market time, while somebody's script runs in it.

``time.sleep`` lets the market move on at once, and ``time.time``, ``datetime.now`` and their like tell the market's
time. What waits in other ways (threads, sockets, an event loop's own timers other than ``asyncio.sleep``) still waits
by the wall.
"""

import asyncio
import contextlib
import datetime
import time
from collections.abc import Iterator
from typing import Any

from libs.common.mt5.sim.played_market import NS_PER_S, StepClock

_sleep_async = asyncio.sleep


@contextlib.contextmanager
def market_time(clock: StepClock) -> Iterator[None]:
    """Put Python's clocks on the market's time, and back afterwards."""
    began_ns = clock.now_ns
    replaced: list[tuple[Any, str, Any]] = [
        (time, "sleep", clock.sleep),
        (time, "time", lambda: clock.read_ns() / NS_PER_S),
        (time, "time_ns", clock.read_ns),
        (asyncio, "sleep", _async_sleep(clock)),
        (datetime, "date", _dates(clock)),
        (datetime, "datetime", _datetimes(clock)),
    ]
    for name in ("monotonic", "perf_counter"):
        replaced.append((time, name, lambda: (clock.read_ns() - began_ns) / NS_PER_S))
        replaced.append((time, f"{name}_ns", lambda: clock.read_ns() - began_ns))
    before = [(module, name, getattr(module, name)) for module, name, _ in replaced]
    try:
        for module, name, stand_in in replaced:
            setattr(module, name, stand_in)
        yield
    finally:
        for module, name, own in before:
            setattr(module, name, own)


def _async_sleep(clock: StepClock) -> Any:
    async def sleep(delay: float, result: Any = None) -> Any:
        clock.sleep(delay)
        await _sleep_async(0)
        return result

    return sleep


class _Kind(type):
    """The type of a stand-in: whatever is of the class it stands for is of it too."""

    own: type

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.own)


def _datetimes(clock: StepClock) -> Any:
    class MarketDatetime(datetime.datetime, metaclass=_Kind):
        own = datetime.datetime

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return cls.fromtimestamp(clock.read_ns() / NS_PER_S, tz)

        @classmethod
        def utcnow(cls) -> Any:
            return cls.now(datetime.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            return cls.now()

    MarketDatetime.__name__ = MarketDatetime.__qualname__ = "datetime"
    return MarketDatetime


def _dates(clock: StepClock) -> Any:
    class MarketDate(datetime.date, metaclass=_Kind):
        own = datetime.date

        @classmethod
        def today(cls) -> Any:
            return cls.fromtimestamp(clock.read_ns() / NS_PER_S)

    MarketDate.__name__ = MarketDate.__qualname__ = "date"
    return MarketDate
