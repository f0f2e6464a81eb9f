"""``tickwire run``: one service in the foreground."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from libs.common.bus.streams import SERVICES, USERS
from libs.common.config import BusConfig, SystemConfig
from libs.common.errors import ConfigError
from libs.common.storage.keys import ensure_passwords
from tickwire.runfile import read_run_file
from tickwire.sections import read_all
from tickwire.stack import service_command, service_environment

APPS = {"run": typer.Typer(add_completion=False)}


@APPS["run"].command(name="run")
def run(
    service: Annotated[str, typer.Argument(help=f"One of {', '.join(SERVICES)}.")],
    config: Annotated[Path, typer.Option("--config", "-c", help="Config file.")] = Path("config.yaml"),
) -> None:
    """Run one service in the foreground, against the running stack or the server of bus.url."""
    if service not in SERVICES:
        raise ConfigError(f"'{service}' is no service; known: {', '.join(SERVICES)}")
    sections = read_all(config)
    url, password = _where_and_as_whom(service, sections["system"], sections["bus"])
    command = service_command(service, config)
    environment = service_environment(url, password, Path(sections["system"].data_dir))
    sys.stdout.flush()
    if os.name == "posix":
        os.execve(command[0], command, environment)
    raise typer.Exit(subprocess.call(command, env=environment))


def _where_and_as_whom(service: str, system: SystemConfig, bus: BusConfig) -> tuple[str, str]:
    data_dir = Path(system.data_dir)
    running = read_run_file(data_dir)
    url = bus.url or (running.url if running is not None else "")
    if not url:
        raise ConfigError(
            f"no bus: nothing runs in {data_dir} and bus.url is empty. Start `tickwire up --without {service}` in "
            "another terminal, or set bus.url."
        )
    if running is not None and service in running.services:
        raise ConfigError(
            f"{service} already runs (pid {running.services[service]}) in the stack of {data_dir}. Start that one "
            f"with `tickwire up --without {service}`."
        )
    given = os.environ.get("TICKWIRE_NATS_PASSWORD", "")
    return url, given or ensure_passwords(data_dir, USERS)[service]
