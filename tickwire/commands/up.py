"""``tickwire up``: the whole stack until Ctrl-C."""

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.text import Text

from libs.common.bus.streams import SERVICES
from libs.common.config import BusConfig, SystemConfig
from libs.common.errors import ConfigError
from tickwire.console import out
from tickwire.log_lines import format_log_line
from tickwire.sections import read_all
from tickwire.stack import Stack, stop_signals, wait_for_stop
from tickwire.terminal import TerminalPlan, terminal_plan

APPS = {"up": typer.Typer(add_completion=False)}


@APPS["up"].command(name="up")
def up(
    config: Annotated[Path, typer.Option("--config", "-c", help="Config file.")] = Path("config.yaml"),
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Port of the embedded server; 0: a free one.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="Leave a service out (run it by hand). Repeatable.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No service logs, only starts and deaths.")] = False,
) -> None:
    """Run nats-server and all services until Ctrl-C."""
    sections = read_all(config)
    bus: BusConfig = sections["bus"]
    if port is not None:
        bus = msgspec.structs.replace(bus, port=port)
    services, terminal = services_without(without or ()), terminal_plan(sections)
    asyncio.run(_run(config, sections["system"], bus, services, terminal, quiet=quiet))


def services_without(names: list[str] | tuple[()]) -> tuple[str, ...]:
    """Return the services that are left, in flow order.

    Raises
    ------
    ConfigError : for a name that is no service
    """
    for name in names:
        if name not in SERVICES:
            raise ConfigError(f"--without {name}: no such service; known: {', '.join(SERVICES)}")
    return tuple(name for name in SERVICES if name not in names)


async def _run(
    config: Path, system: SystemConfig, bus: BusConfig, services: tuple[str, ...], terminal: TerminalPlan | None,
    *, quiet: bool,
) -> None:  # fmt: skip
    stack = Stack(
        config,
        system,
        bus,
        services=services,
        terminal=terminal,
        on_line=None if quiet else lambda name, line: out.print(format_log_line(name, line)),
        on_event=lambda name, text: out.print(Text(f"{name}: {text}", style="bold")),
    )
    stop = asyncio.Event()
    with stop_signals(stop):
        try:
            await stack.start()
            out.print(Text(f"tickwire: running at {stack.url}, state in {stack.data_dir}; Ctrl-C stops", style="bold"))
            await wait_for_stop(stack, stop)
        finally:
            await stack.stop()
    out.print(Text("tickwire: stopped", style="bold"))
