"""``tickwire doctor``: what is wrong with the way to the market, and how to mend it."""

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from libs.common.errors import ConfigError
from tickwire.console import err, out, print_json
from tickwire.doctor_checks import Finding, is_well

group = typer.Typer(name="doctor", help="Find out what is wrong with the way to the market.", add_completion=False)
group.info.no_args_is_help = True
APPS = {"doctor": group}
_COLOURS = {"ok": "green", "warning": "yellow", "problem": "bold red", "skipped": "dim"}


@group.callback()
def root() -> None:
    """Find out what is wrong with the way to the market, and how to mend it."""


@group.command(name="mt5")
def mt5(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Config file (YAML).")] = None,
    backend: Annotated[
        str, typer.Option("--backend", help="real or sim, whatever the config says.")
    ] = "",
    connect: Annotated[str, typer.Option("--connect", help="host:port of the simulated terminal.")] = "",
    wait_s: Annotated[float, typer.Option("--wait", min=1.0, help="Seconds the terminal may take to connect.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask the MetaTrader 5 terminal everything that must be right; exit code 1 when it could not trade."""
    sections = _sections(config, backend, connect)
    findings = asyncio.run(_collect(sections, wait_s, quiet=as_json))
    if as_json:
        print_json({"well": is_well(findings), "findings": [finding.plain() for finding in findings]})
    else:
        _print(findings)
    if not is_well(findings):
        raise typer.Exit(1)


def _sections(config: Path | None, backend: str, connect: str) -> dict[str, Any]:
    from libs.common.config import Mt5Config, read_config
    from services.executor.config import ExecutorConfig
    from tickwire.sections import with_placeholder_password

    if backend not in ("", "real", "sim"):
        raise ConfigError(f"--backend {backend}: expected real or sim")
    environ = dict(with_placeholder_password(os.environ))
    if connect:
        environ |= {"TICKWIRE_MT5__CONNECT": connect}
    if backend:
        environ |= {"TICKWIRE_MT5__BACKEND": backend}
    if environ.get("TICKWIRE_TERMINAL_TOKEN"):
        environ.setdefault("TICKWIRE_MT5__TOKEN", "secret://TICKWIRE_TERMINAL_TOKEN")
    sections = read_config(config, {"executor": ExecutorConfig}, environ)
    password = os.environ.get("TICKWIRE_MT5_PASSWORD", "")
    mt5: Mt5Config = sections["mt5"]
    if password and not mt5.password:
        sections["mt5"] = msgspec.structs.replace(mt5, password=password)
    return sections


async def _collect(sections: dict[str, Any], wait_s: float, *, quiet: bool) -> list[Finding]:
    from tickwire.doctor_mt5 import examine

    findings = []
    with err.status("asking the terminal ...", spinner="dots") if not quiet else _Silent():
        async for finding in examine(sections, wait_s):
            findings.append(finding)
    return findings


class _Silent:
    def __enter__(self) -> None: ...

    def __exit__(self, *_exception: object) -> None: ...


def _print(findings: list[Finding]) -> None:
    table = Table("", "found", "", "remedy", box=None, pad_edge=False)
    for finding in findings:
        table.add_row(finding.what, Text(finding.found), Text(finding.state, style=_COLOURS[finding.state]),
                      Text(finding.remedy))
    out.print(table)
    problems = sum(finding.state == "problem" for finding in findings)
    if problems:
        out.print(Text(f"{problems} problem{'s' if problems > 1 else ''}: it could not trade", style="bold red"))
    else:
        out.print(Text("it can trade", style="bold green"))

