"""``tickwire models``: what was trained, what serves, and a person's word on it."""

import asyncio
import getpass
import time
import uuid
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from libs.common import subjects
from libs.common.errors import ConfigError
from libs.common.messages.control import PromoteModel
from tickwire.connect import DataDirOption, PasswordOption, Target, UrlOption, connected, find_target
from tickwire.console import out, print_error, print_json
from tickwire.models_history import PATTERN, ModelHistory
from tickwire.tail_format import clock

group = typer.Typer(name="models", help="List models, promote one, or roll back.", add_completion=False)
group.info.no_args_is_help = True
APPS = {"models": group}
CONFIRM_WITHIN_S = 10.0

NameArgument = Annotated[str, typer.Argument(help="Model name, e.g. direction-EURUSD.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@group.command(name="list")
def list_models(
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
    url: UrlOption = "",
    password: PasswordOption = "",
) -> None:
    """List every version of every model with its state and figures."""
    history = asyncio.run(_history(find_target(data_dir, url, password)))
    rows = list(history.rows())
    if as_json:
        print_json(rows)
        return
    table = Table("model", "version", "symbol", "state", "loaded", "decided", "metrics", box=None, pad_edge=False)
    for row in rows:
        metrics = " ".join(f"{key}={value:.4g}" for key, value in sorted(row["metrics"].items()))
        state = "champion" if row["champion"] else row["state"]
        table.add_row(
            row["name"], str(row["version"]), row["symbol"],
            Text(state, style="bold green" if row["champion"] else "default"),
            "yes" if row["in_service"] else "no", clock(row["changed_ns"]),
            Text(" ".join(filter(None, (metrics, row["reason"]))), style="dim"),
        )
    out.print(table if rows else "no model was published yet")


@group.command()
def promote(
    name: NameArgument,
    version: Annotated[int, typer.Argument(min=1, help="Version to make the champion.")],
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
    url: UrlOption = "",
    password: PasswordOption = "",
) -> None:
    """Make a stored version the champion."""
    target = find_target(data_dir, url, password)
    history = asyncio.run(_history(target))
    if (name, version) not in history.versions:
        known = ", ".join(f"{held} {number}" for held, number in sorted(history.versions)) or "none"
        raise ConfigError(f"no model {name} version {version}; known: {known}")
    _promote(target, name, version, rollback=False, as_json=as_json)


@group.command()
def rollback(
    name: NameArgument,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
    url: UrlOption = "",
    password: PasswordOption = "",
) -> None:
    """Go back to the champion before the present one."""
    target = find_target(data_dir, url, password)
    history = asyncio.run(_history(target))
    if name not in history.promotions:
        known = ", ".join(sorted(history.promotions)) or "none"
        raise ConfigError(f"no model {name} was ever promoted; promoted so far: {known}")
    previous = history.previous(name)
    if previous is None:
        raise ConfigError(f"{name}: no other version was champion before, there is nothing to go back to")
    _promote(target, name, previous, rollback=True, as_json=as_json)


async def _history(target: Target) -> ModelHistory:
    history = ModelHistory()
    async with connected(target, "observer") as bus:
        await history.load(bus)
    return history


def _promote(target: Target, name: str, version: int, *, rollback: bool, as_json: bool) -> None:
    now_ns = time.time_ns()
    command = PromoteModel(
        ts_event_ns=now_ns, ts_init_ns=now_ns, command_id=uuid.uuid4().hex,
        issued_by=f"{getpass.getuser()}@tickwire", name=name, version=version, rollback=rollback,
    )
    outcome = asyncio.run(_send(target, command))
    if as_json:
        print_json({"name": name, "version": version, "rollback": rollback, "outcome": outcome})
    if outcome == "loaded":
        if not as_json:
            out.print(f"{name} version {version} is the champion, inference predicts with it")
        return
    problems = {
        "": f"the trainer did not answer within {CONFIRM_WITHIN_S:.0f} s",
        "promoted": f"promoted, but inference did not say within {CONFIRM_WITHIN_S:.0f} s that it loaded it",
        "rejected": "promoted, but inference rejected the bundle and keeps the old one",
    }
    print_error(f"{name} version {version}: {problems[outcome]}. Look at `tickwire models list`.")
    raise typer.Exit(1)


async def _send(target: Target, command: PromoteModel) -> str:
    """Publish the command; return how far it came: "", "promoted", "loaded" or "rejected"."""
    stage = ""
    finished = asyncio.Event()
    prefix = subjects.models(command.name, "")

    def heard(subject: str, payload: bytes) -> None:
        nonlocal stage
        probe = ModelHistory()
        probe.hear(subject, payload)
        if not subject.startswith(prefix) or (command.name, command.version) not in probe.versions:
            return
        event = subject.removeprefix(prefix)
        if event in ("promoted", "loaded", "rejected"):
            stage = event
        if event in ("loaded", "rejected"):
            finished.set()

    async with connected(target, "operator") as bus:
        await bus.on_message(PATTERN, heard)
        await bus.publish(command)
        try:
            await asyncio.wait_for(finished.wait(), CONFIRM_WITHIN_S)
        except TimeoutError:
            return stage
    return stage
