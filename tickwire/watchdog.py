"""Kills what the supervisor started when the supervisor itself was killed.

Runs as its own small process. The supervisor holds the other end of its stdin and names the process groups it
starts (``add 1234``) and reaps (``drop 1234``). When stdin ends, the groups still named are orphans.
"""

import contextlib
import os
import signal
import sys
import time

GRACE_S = 2.0


def main() -> None:
    """Read the names of process groups until the supervisor is gone, then end the ones left."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        # Only the end of stdin counts: a signal to the whole terminal must not disarm the watchdog.
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        word, _, number = line.strip().partition(" ")
        if word == "add":
            groups.add(int(number))
        elif word == "drop":
            groups.discard(int(number))
    _signal(groups, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while _alive(groups) and time.monotonic() < deadline:
        time.sleep(0.05)
    _signal(groups, signal.SIGKILL)


def _signal(groups: set[int], number: int) -> None:
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)


def _alive(groups: set[int]) -> bool:
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, 0)
            return True
    return False


if __name__ == "__main__":
    main()
