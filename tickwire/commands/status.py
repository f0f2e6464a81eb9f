"""``tickwire status``: what runs, how far behind it is, what it trades with, what it holds."""

import asyncio
import contextlib
import time
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live

from libs.common import subjects
from libs.common.bus.nats import NatsBus
from libs.common.bus.streams import SERVICES
from libs.common.errors import BusError
from tickwire.connect import (
    DataDirOption,
    Heartbeats,
    PasswordOption,
    Target,
    UrlOption,
    connected,
    find_target,
)
from tickwire.console import out, print_json
from tickwire.models_history import ModelHistory
from tickwire.runfile import read_run_file
from tickwire.status_report import collect_status, render_status

APPS = {"status": typer.Typer(add_completion=False)}
LISTEN_S = 2.5
"""Two heartbeats: a service that says nothing for this long is called silent."""


@APPS["status"].command(name="status")
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh every second until Ctrl-C.")] = False,
    data_dir: DataDirOption = None,
    url: UrlOption = "",
    password: PasswordOption = "",
    account: Annotated[str, typer.Option("--account", help="Account key; default: the running stack's.")] = "",
) -> None:
    """Show services, sequence lag, models, risk state and positions; exit code 1 when something is not ready."""
    target = find_target(data_dir, url, password, account)
    if watch and not as_json:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_watch(target))
        return
    report = asyncio.run(_once(target))
    if as_json:
        print_json(report)
    else:
        out.print(Group(*render_status(report)))
    if not report["ready"]:
        raise typer.Exit(1)


class _Observer:
    """Hears heartbeats and keeps what else a status needs."""

    def __init__(self, bus: NatsBus, target: Target) -> None:
        self._bus, self._target = bus, target
        self.beats = Heartbeats()
        self.models = ModelHistory()

    async def start(self) -> None:
        await self._bus.on_message("health.*", self.beats.hear)
        await self.models.load(self._bus)
        await self._bus.on_message("models.*.*", self.models.hear)

    async def report(self) -> dict[str, Any]:
        folder = self._target.data_dir
        return collect_status(
            target_url=self._target.url,
            run=None if folder is None else read_run_file(folder),
            beats=self.beats.latest,
            ages_s={name: time.monotonic() - heard for name, heard in self.beats.heard_s.items()},
            account=await self._last(subjects.account(self._target.account)),
            risk=await self._last(subjects.risk_state(self._target.account)),
            champions=self.models.champions(),
        )

    async def _last(self, subject: str) -> Any:
        try:
            return await asyncio.wait_for(self._bus.last(subject), 2.0)
        except TimeoutError:
            raise BusError(f"{self._target.url}: the stream of {subject} does not answer") from None


async def _once(target: Target) -> dict[str, Any]:
    async with connected(target, "observer") as bus:
        observer = _Observer(bus, target)
        await observer.start()
        await observer.beats.wait_for_all(SERVICES, LISTEN_S)
        return await observer.report()


async def _watch(target: Target) -> None:
    async with connected(target, "observer") as bus:
        observer = _Observer(bus, target)
        await observer.start()
        await asyncio.sleep(1.1)
        with Live(console=out, auto_refresh=False, screen=False) as live:
            while True:
                live.update(Group(*render_status(await observer.report())), refresh=True)
                await asyncio.sleep(1.0)
