"""The worker: calls the MetaTrader5 package on behalf of a driver, over its standard streams.

``python -m libs.common.mt5.adapters.worker --backend real`` (on Windows, or under Wine) calls the package;
``--backend sim --connect host:port`` speaks to the simulated terminal in the package's place. One call at a time, only
functions of a fixed table, nothing evaluated. Standard output carries frames and nothing else: what anybody prints
goes to standard error. It ends when its input ends.
"""

import contextlib
import faulthandler
import os
import sys
from collections.abc import Iterator
from typing import BinaryIO, Protocol

import msgspec

from libs.common.mt5.adapters.frames import (
    Answer,
    Call,
    FrameError,
    Hello,
    Raised,
    decode_as,
    encode_frame,
    read_frame,
)

USAGE = "usage: python -m libs.common.mt5.adapters.worker [--backend real] | --backend sim --connect host:port"
_calls = msgspec.json.Decoder(Call)
_GRACE_S = 5.0


class Backend(Protocol):
    """What a worker calls."""

    def greeting(self) -> Hello:
        """Return the worker's first words."""
        ...

    def perform(self, call: Call) -> Iterator[bytes]:
        """Call a function and yield the frames of its answer."""
        ...


def main(arguments: list[str]) -> int:
    """Serve until the input ends; 2 for wrong arguments, 1 when the package cannot be loaded."""
    options = _options(arguments)
    if options is None:
        print(USAGE, file=sys.stderr)
        return 2
    incoming, outgoing = private_streams()
    _end_with_parent()
    try:
        backend = _backend(options)
    except (ImportError, ValueError) as error:
        outgoing.write(encode_frame(Hello(role="worker", backend=options["backend"], problem=str(error))))
        outgoing.flush()
        return 1
    try:
        # Linux ends an orphan by itself, and setting a limit costs every call about 25 us.
        serve(backend, incoming, outgoing, limits_calls=sys.platform != "linux")
    except BrokenPipeError:
        return 0  # the driver is gone
    return 0


def serve(backend: Backend, incoming: BinaryIO, outgoing: BinaryIO, *, limits_calls: bool = False) -> None:
    """Greet, then answer call after call until the input ends or makes no sense.

    Parameters
    ----------
    limits_calls : end this process when a call lasts longer than its driver can still be waiting for it
    """
    outgoing.write(encode_frame(backend.greeting()))
    outgoing.flush()
    while (payload := read_frame(incoming.read)) is not None:
        call = decode_as(payload, _calls)
        with _limited(call.deadline_s if limits_calls else 0.0):
            try:
                for frame in backend.perform(call):
                    outgoing.write(frame)
            except FrameError as error:
                # Its frames so far are dropped by the driver with the answer.
                raised = Raised(kind="FrameError", text=str(error))
                outgoing.write(encode_frame(Answer(id=call.id, raised=raised)))
            outgoing.flush()


@contextlib.contextmanager
def _limited(deadline_s: float) -> Iterator[None]:
    """End this process some seconds after a deadline its driver did not end it at: the driver is gone.

    The package keeps Python's lock for as long as a call lasts, so no thread of ours could notice that the input has
    ended. ``faulthandler``'s watchdog needs no lock.
    """
    if deadline_s <= 0.0:
        yield
        return
    faulthandler.dump_traceback_later(deadline_s + _GRACE_S, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def private_streams() -> tuple[BinaryIO, BinaryIO]:
    """Take standard input and output for frames; point everybody else's output at standard error."""
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415

        for stream in (0, 1):
            msvcrt.setmode(stream, os.O_BINARY)
    incoming = os.fdopen(os.dup(0), "rb", buffering=64 * 1024)
    outgoing = os.fdopen(os.dup(1), "wb", buffering=64 * 1024)
    # The descriptors, not only Python's objects: the package's own library may print too.
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    sys.stdout = sys.stderr
    return incoming, outgoing


def _options(arguments: list[str]) -> dict[str, str] | None:
    """Read the command line by hand: argparse would cost half of the start."""
    options = {"backend": "real", "connect": ""}
    names = iter(arguments)
    for name in names:
        key = name.removeprefix("--")
        value = next(names, None)
        if key not in options or not name.startswith("--") or value is None:
            return None
        options[key] = value
    is_sim = options["backend"] == "sim"
    return options if is_sim == bool(options["connect"]) and options["backend"] in ("sim", "real") else None


def _backend(options: dict[str, str]) -> Backend:
    if options["backend"] == "real":
        from libs.common.mt5.adapters.real_package import real_package  # noqa: PLC0415

        return real_package()
    from libs.common.mt5.adapters.simulated_package import simulated_package  # noqa: PLC0415

    return simulated_package(options["connect"])


def _end_with_parent() -> None:
    """Ask Linux to end a worker that hangs in a call when its driver dies; others end by the call's limit."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415
        import signal  # noqa: PLC0415

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
