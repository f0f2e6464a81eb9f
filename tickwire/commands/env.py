"""``tickwire env``: can Tickwire run here, and what is missing."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from tickwire.console import err, out, print_json
from tickwire.environment import Check, all_checks, is_usable, report

APPS = {"env": typer.Typer(add_completion=False)}
_COLOURS = {"ok": "green", "warning": "yellow", "missing": "bold red"}


@APPS["env"].command(name="env")
def env(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Where state will be kept.")] = Path(".tickwire"),
) -> None:
    """Check Python, packages, CPU, memory, disk and nats-server; exit code 1 when Tickwire cannot run here."""
    checks = _collect(data_dir, quiet=as_json)
    if as_json:
        print_json(report(checks))
    else:
        _print(checks, out)
    if not is_usable(checks):
        raise typer.Exit(1)


def _collect(data_dir: Path, *, quiet: bool) -> list[Check]:
    checks: list[Check] = []
    columns = (SpinnerColumn(), TextColumn("looking at {task.description}"))
    with Progress(*columns, console=err, transient=True, disable=quiet) as progress:
        task = progress.add_task("python")
        for check in all_checks(data_dir):
            checks.append(check)
            progress.update(task, description=check.name)
    return checks


def _print(checks: list[Check], console: Console) -> None:
    table = Table("", "found", "", "remedy", box=None, pad_edge=False)
    for check in checks:
        table.add_row(check.name, Text(check.found), Text(check.state, style=_COLOURS[check.state]), check.remedy)
    console.print(table)
    missing = [check.name for check in checks if check.state == "missing"]
    if missing:
        console.print(Text(f"not usable: {', '.join(missing)}", style="bold red"))
    else:
        console.print(Text("usable", style="bold green"))
