"""``tickwire tail``: what passes on the bus, readable."""

import asyncio
import contextlib
import sys
from typing import Annotated

import msgspec
import typer

from libs.common.bus.nats import NatsBus
from libs.common.bus.streams import Delivery, delivery_of
from libs.common.errors import ConfigError
from tickwire.connect import (
    DataDirOption,
    PasswordOption,
    UrlOption,
    connected,
    find_target,
    stored,
)
from tickwire.console import out, print_hint
from tickwire.tail_format import Filter, decode_record, format_message

APPS = {"tail": typer.Typer(add_completion=False)}
_QUEUE = 20_000


@APPS["tail"].command(name="tail")
def tail(
    subject: Annotated[str, typer.Argument(help="Subject or pattern, e.g. 'orders.>' or 'ticks.EURUSD'.")] = ">",
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", "-f", help="Only messages with field=value; also != > >= < <= ~. Repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line: subject and message.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="The bytes as on the wire, one message per line.")] = False,
    count: Annotated[int, typer.Option("--count", "-n", min=0, help="Stop after N messages; 0: never.")] = 0,
    history: Annotated[
        bool, typer.Option("--history", help="What the streams hold instead of what comes; then stop.")
    ] = False,
    data_dir: DataDirOption = None,
    url: UrlOption = "",
    user: Annotated[
        str, typer.Option("--user", envvar="TICKWIRE_USER", help="User to connect as.")
    ] = "observer",
    password: PasswordOption = "",
) -> None:
    """Print what passes on the bus: decoded, coloured, filtered."""
    conditions = [Filter(text) for text in filters or ()]
    printer = _Printer(conditions, count, as_json=as_json, raw=raw)
    target = find_target(data_dir, url, password)
    if history and any(delivery_of(subject) is kind for kind in (Delivery.EPHEMERAL, Delivery.COMMANDED)):
        raise ConfigError(f"--history: no stream is read for '{subject}'; leave the option out")

    async def run() -> None:
        async with connected(target, user) as bus:
            if history:
                await _print_history(bus, subject, printer)
            else:
                print_hint(f"listening on {target.url} for {subject} (Ctrl-C stops)")
                await _print_live(bus, subject, printer)

    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        asyncio.run(run())


class _Printer:
    """Prints the messages that pass the filters; ``full`` once enough were printed."""

    def __init__(self, conditions: list[Filter], count: int, *, as_json: bool, raw: bool) -> None:
        self._conditions, self._count, self._as_json, self._raw = conditions, count, as_json, raw
        self._printed = 0

    @property
    def full(self) -> bool:
        return bool(self._count) and self._printed >= self._count

    def show(self, subject: str, payload: bytes) -> None:
        if self._conditions:
            record = decode_record(payload)
            if record is None or not all(condition.passes(record) for condition in self._conditions):
                return
        self._printed += 1
        if self._raw:
            sys.stdout.buffer.write(payload + b"\n")
            sys.stdout.buffer.flush()
        elif self._as_json:
            sys.stdout.write(_json_line(subject, payload) + "\n")
            sys.stdout.flush()
        else:
            out.print(format_message(subject, payload))


def _json_line(subject: str, payload: bytes) -> str:
    record = decode_record(payload)
    message = {"malformed": payload.decode("utf-8", "backslashreplace")} if record is None else record
    return msgspec.json.encode({"subject": subject, "message": message}).decode()


async def _print_history(bus: NatsBus, subject: str, printer: _Printer) -> None:
    async for delivered in stored(bus, (subject,)):
        printer.show(delivered.subject, delivered.payload)
        if printer.full:
            return


async def _print_live(bus: NatsBus, subject: str, printer: _Printer) -> None:
    waiting: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(_QUEUE)
    dropped = 0

    def heard(on: str, payload: bytes) -> None:
        nonlocal dropped
        if waiting.full():
            dropped += 1  # a slow terminal must not slow the bus or fill our memory
        else:
            waiting.put_nowait((on, payload))

    await bus.on_message(subject, heard)
    while not printer.full:
        printer.show(*await waiting.get())
        if dropped:
            print_hint(f"{dropped} messages came faster than they could be printed and were left out")
            dropped = 0
