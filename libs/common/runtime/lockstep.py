"""The order of a lockstep replay: who waits for whom within a step. Pure bookkeeping.

Ingest sends one tick block, a *step*, and the next only when every service has settled it. Within a step messages
race over several subjects; a route's ``after`` marks name what must have been handled before. A watermark of
another service counts once everything it says was sent to us has been handled.
"""

import heapq
from collections.abc import Iterable, Iterator

from libs.common import subjects
from libs.common.bus.protocol import Delivered
from libs.common.core import Route, Stage
from libs.common.messages.control import Watermark

TICKS = "ticks"


class Lockstep:
    """Holds what is early and releases it in one order, the same in every run."""

    def __init__(self, service: str, routes: Iterable[Route], stages: Iterable[Stage]) -> None:
        self._service = service
        self._routes = tuple(routes)
        self._stages = tuple(stages)
        self._held: list[tuple[int, int, str, int, int, Delivered]] = []
        self._count = 0
        self._marks: dict[str, Watermark] = {}
        self._own: dict[str, int] = {stage.name: 0 for stage in self._stages}
        self._ticks_step = 0

    def take(self, delivered: Delivered) -> None:
        """Hold a message until its turn."""
        message = delivered.message
        assert message is not None
        rank = self._rank(delivered.subject)
        self._count += 1
        heapq.heappush(
            self._held, (message.step, rank, delivered.subject, delivered.seq, self._count, delivered)
        )

    def mark(self, watermark: Watermark) -> None:
        """Note how far another service is."""
        key = f"{watermark.service}.{watermark.stage}"
        known = self._marks.get(key)
        if known is None or watermark.step >= known.step:
            self._marks[key] = watermark

    def release(self, seen: dict[str, int]) -> Delivered | None:
        """Return the next message whose turn it is, ``None`` while all must wait."""
        blocked: set[str] = set()
        for entry in sorted(self._held):
            step, rank, subject, _, _, delivered = entry
            if subject in blocked:
                continue
            if step == 0 or all(self._reached(mark, seen) >= step for mark in self._routes[rank].after):
                self._held.remove(entry)
                heapq.heapify(self._held)
                return delivered
            blocked.add(subject)
        return None

    def handled_ticks(self, step: int) -> None:
        """Note that a tick block has been handled."""
        self._ticks_step = max(self._ticks_step, step)

    def reached(self, seen: dict[str, int]) -> list[tuple[str, int]]:
        """Return the stages that have come further since the last call, with the step they have reached."""
        waiting = min((entry[0] for entry in self._held if entry[0] > 0), default=None)
        found = []
        for stage in self._stages:
            step = min(self._reached(mark, seen) for mark in stage.after)
            if waiting is not None:
                step = min(step, max(waiting - 1, self._own[stage.name]))
            if step > self._own[stage.name]:
                self._own[stage.name] = step
                found.append((stage.name, step))
        return found

    def stages(self) -> dict[str, int]:
        """Return every stage with the step it has reached."""
        return dict(self._own)

    def held(self) -> Iterator[Delivered]:
        """Return what waits for its turn."""
        return (entry[-1] for entry in self._held)

    def __len__(self) -> int:
        return len(self._held)

    def _rank(self, subject: str) -> int:
        for rank, route in enumerate(self._routes):
            if subjects.matches(route.pattern, subject):
                return rank
        return 0

    def _reached(self, mark: str, seen: dict[str, int]) -> int:
        if mark == TICKS:
            return self._ticks_step
        service, _, stage = mark.partition(".")
        if service == self._service:
            return self._own[stage]
        watermark = self._marks.get(mark)
        if watermark is None:
            return 0
        for subject, seq in watermark.sent.items():
            if seq > seen.get(subject, 0) and any(subjects.matches(route.pattern, subject) for route in self._routes):
                return watermark.step - 1
        return watermark.step
