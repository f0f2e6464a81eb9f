"""Order out of a bus that may lose, repeat and reorder: the reader's joiner and the publisher's ring. No I/O here."""

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from libs.common import subjects

Item = TypeVar("Item")
KEEP_S = 3.0
"""How long a message is kept after a stream was seen to hold it: far longer than a server takes to write it down."""
SETTLED_S = 0.5
"""After so long a stream's server has written down what it held, also where it acknowledges before that."""


class Joiner(Generic[Item]):
    """Joins what is heard live with what a stream holds, per subject, without a hole or a repeat.

    Every subject has one writer that numbers its messages 1, 2, 3, ... While a pattern is being caught up, or a
    subject has a hole, live messages wait in ``pending``; what the stream returns goes first.

    Parameters
    ----------
    after : last sequence number already handled, by subject
    from_start : whether an unseen subject is expected to begin at 1 (else: wherever it is met first)
    max_pending : most live messages kept per subject while it waits; later ones are left to the stream
    """

    def __init__(self, after: dict[str, int], *, from_start: bool = True, max_pending: int = 10_000) -> None:
        self.last: dict[str, int] = dict(after)
        self.duplicates = 0
        self.holes_seen = 0
        self.holes_filled = 0
        self.lost = 0
        self._from_start = from_start
        self._max_pending = max_pending
        self._pending: dict[str, dict[int, Item]] = {}
        self._left: dict[str, int] = {}
        self._holes: set[str] = set()
        self._catching: list[str] = []

    def begin(self, pattern: str) -> None:
        """Note that a pattern is being read from its stream: live messages wait until ``end``."""
        self._catching.append(pattern)

    def end(self, pattern: str) -> list[Item]:
        """Note that the stream has been read to its end; return what waited and now follows."""
        self._catching.remove(pattern)
        ready: list[Item] = []
        for subject in [name for name in self._pending if subjects.matches(pattern, name)]:
            if not self._is_caught(subject):
                ready += self._drain(subject)
        return ready

    def live(self, subject: str, seq: int, item: Item) -> list[Item]:
        """Take a message heard live; return what may be handled now, in order."""
        last = self.last.get(subject)
        if last is not None and seq <= last:
            self.duplicates += 1
            return []
        if subject not in self._holes and not (self._catching and self._is_caught(subject)):
            if last is None and not self._from_start:
                last = seq - 1
            if seq == (last or 0) + 1:
                self.last[subject] = seq
                return [item]
            self._holes.add(subject)
            self.holes_seen += 1
        elif seq == (last or 0) + 1 and subject in self._holes:
            # The publisher has sent the missing one again.
            self._pending.setdefault(subject, {})[seq] = item
            return self._drain(subject)
        if seq in self._pending.get(subject, ()):
            self.duplicates += 1
        else:
            self._hold(subject, seq, item)
        return []

    def stored(self, subject: str, seq: int, item: Item) -> list[Item]:
        """Take a message read from the stream; return what may be handled now, in order."""
        last = self.last.get(subject)
        if last is None and not self._from_start:
            last = seq - 1
        last = last or 0
        if seq <= last:
            return []
        if seq > last + 1:
            if subject not in self._holes:
                self._holes.add(subject)
                self.holes_seen += 1
            self._hold(subject, seq, item)
            return []
        self.last[subject] = seq
        if subject in self._holes:
            return [item, *self._drain(subject)]
        return [item]

    def holes(self) -> tuple[str, ...]:
        """Return the subjects that wait for a missing message."""
        return tuple(self._holes)

    def give_up(self, subject: str) -> list[Item]:
        """Accept that what is missing will not come; go on with the first message held."""
        waiting = self._pending.get(subject)
        if not waiting:
            last = self.last.get(subject, 0)
            newest = max(self._left.pop(subject, last), last)
            self.lost += newest - last
            self.last[subject] = newest
            self._holes.discard(subject)
            return []
        first = min(waiting)
        self.lost += first - self.last.get(subject, 0) - 1
        self.last[subject] = first - 1
        return self._drain(subject)

    def stray(self, subject: str, stood: int, reach: int) -> Item | None:
        """Take out the one message that waits behind a hole when its number cannot be the writer's, else ``None``.

        A number far ahead must not be gone on with: everything the writer says until it gets there would be taken
        for a repeat. One message is no proof of such a jump when numbers below it go on coming, nor when the stream
        has never held so many messages; two in a row are.

        Parameters
        ----------
        stood : the last number handled when the hole was looked at before
        reach : how many messages the stream has held so far
        """
        waiting = self._pending.get(subject, {})
        if len(waiting) != 1 or subject in self._left:
            return None
        [(seq, item)] = waiting.items()
        if self.last.get(subject, 0) <= stood and seq <= reach:
            return None
        del self._pending[subject]
        self._holes.discard(subject)
        return item

    def _hold(self, subject: str, seq: int, item: Item) -> None:
        """Let a message wait; where there is no room, remember that the stream has more."""
        waiting = self._pending.setdefault(subject, {})
        if len(waiting) < self._max_pending or seq in waiting:
            waiting[seq] = item
        else:
            self._left[subject] = max(self._left.get(subject, 0), seq)

    def _is_caught(self, subject: str) -> bool:
        return any(subjects.matches(pattern, subject) for pattern in self._catching)

    def _drain(self, subject: str) -> list[Item]:
        waiting = self._pending.get(subject, {})
        last = self.last.get(subject)
        if last is None:
            last = min(waiting, default=1) - 1 if not self._from_start else 0
        ready = []
        while last + 1 in waiting:
            last += 1
            ready.append(waiting.pop(last))
        self.last[subject] = last
        for seq in [seq for seq in waiting if seq <= last]:
            del waiting[seq]
        if self._left.get(subject, 0) <= last:
            self._left.pop(subject, None)
        if not waiting:
            self._pending.pop(subject, None)
        if waiting or subject in self._left:
            if subject not in self._holes:
                self._holes.add(subject)
                self.holes_seen += 1
        elif subject in self._holes:
            self._holes.discard(subject)
            self.holes_filled += 1
        return ready


class Ring:
    """What one publisher has sent on one subject and the stream may yet lose.

    A stream that writes to its file behind the acknowledgement can say that it holds a message and, killed in the
    next moment, come back without it. So what is held is kept for a while longer, and given back by ``restarted``.

    Parameters
    ----------
    held : the last sequence number the stream was known to hold when the ring was made
    keep_s : how long a message is kept after the stream was seen to hold it (up to twice as long)
    keep_bytes : most bytes of such messages; the oldest go first
    """

    def __init__(self, held: int, keep_s: float = 0.0, keep_bytes: int = 0) -> None:
        self.held = held
        self.newest = held
        self.bytes = 0
        self._keep_s = keep_s
        self._keep_bytes = keep_bytes
        self._entries: deque[tuple[int, bytes, float]] = deque()
        self._kept: deque[tuple[int, bytes, float]] = deque()
        self._kept_bytes = 0
        self._safe_next, self._safe_from_s = 0, 0.0

    def add(self, seq: int, payload: bytes, at_s: float) -> bool:
        """Keep a message; return False when the stream holds it already (it is not to be sent)."""
        if seq <= self.held:
            if self._keep_s > 0.0 and (not self._kept or seq > self._kept[-1][0]):
                self._kept.append((seq, payload, at_s))
                self._kept_bytes += len(payload)
            return False
        self._entries.append((seq, payload, at_s))
        self.newest = seq
        self.bytes += len(payload)
        return True

    def confirm(self, held: int, at_s: float) -> None:
        """Note what the stream holds now, and forget what it has held for long enough.

        A number beyond what was ever sent is not ours: to believe it would be to send nothing more.
        """
        self.held = max(self.held, min(held, self.newest))
        while self._entries and self._entries[0][0] <= self.held:
            entry = self._entries.popleft()
            self.bytes -= len(entry[1])
            self._kept.append(entry)
            self._kept_bytes += len(entry[1])
        if at_s >= self._safe_from_s:
            self._forget(self._safe_next)
            self._safe_next, self._safe_from_s = self.held, at_s + self._keep_s
        if self._keep_s <= 0.0:
            self._forget(self.held)
        while self._kept_bytes > self._keep_bytes:
            self._forget(self._kept[0][0])

    def restarted(self, held: int) -> None:
        """Note what the stream holds after its server may have been killed; what it lost is missing again."""
        self.held = held = min(held, self.newest)
        while self._kept and self._kept[-1][0] > held:
            entry = self._kept.pop()
            self._kept_bytes -= len(entry[1])
            self._entries.appendleft(entry)
            self.bytes += len(entry[1])
        self._safe_next = min(self._safe_next, held)

    def missing(self, sent_before_s: float) -> Iterable[tuple[int, bytes]]:
        """Return what was sent before a moment and is still not held, in order."""
        return [(seq, payload) for seq, payload, at_s in self._entries if at_s <= sent_before_s]

    def _forget(self, held: int) -> None:
        while self._kept and self._kept[0][0] <= held:
            self._kept_bytes -= len(self._kept.popleft()[1])

    def __len__(self) -> int:
        """Return how many messages the stream is not known to hold."""
        return len(self._entries)

    @property
    def kept(self) -> int:
        """How many messages are kept although the stream holds them."""
        return len(self._kept)
