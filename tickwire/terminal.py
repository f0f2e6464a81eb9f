"""The simulated terminal as a process of the stack: where orders of ``--broker mt5`` go without a MetaTrader."""

import os
import secrets
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from libs.common.errors import ConfigError
from libs.common.mt5.adapters.simulated_package import TOKEN_VARIABLE
from libs.common.storage.keys import write_private

if TYPE_CHECKING:
    # It brings the compiled terminal with it, which the image of the command line does not have.
    from libs.common.mt5.adapters.simulated_broker import BrokerOptions

HARNESS = Path(__file__).resolve().parent.parent / "tests" / "mql" / "harness"
"""What builds Expert Advisors without MetaEditor."""
FOLDER = "terminal"
"""Its folder in the system's data folder: records, snapshots, options."""
USERS = ("ingest", "executor")
"""The services that speak to it."""


@dataclass(frozen=True)
class TerminalPlan:
    """A simulated terminal to be run.

    Parameters
    ----------
    listen : host:port
    options : its account, instruments and seed
    token : what its clients must show
    """

    listen: str
    options: "BrokerOptions"
    token: str

    def command(self, data_dir: Path) -> tuple[str, ...]:
        """Write the options into its folder and return its command line."""
        folder = data_dir / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        options = folder / "options.json"
        write_private(options, msgspec.json.format(msgspec.json.encode(self.options)))
        module = "libs.common.mt5.adapters.host"
        return (
            sys.executable, "-m", module, "--listen", self.listen, "--state", str(folder), "--options", str(options),
        )

    def environment(self, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Return what is added to the environment of the terminal and of the services that speak to it."""
        return {TOKEN_VARIABLE: environ.get(TOKEN_VARIABLE) or self.token}


def terminal_plan(sections: Mapping[str, Any]) -> TerminalPlan | None:
    """Return the simulated terminal a configuration needs on this machine; None when it needs none.

    Parameters
    ----------
    sections : all of them; the terminal has the account of ``executor.terminal``
    """
    mt5, executor = sections["mt5"], sections["executor"]
    if executor.broker == "sim" or mt5.backend != "sim" or not mt5.connect.startswith("127.0.0.1:"):
        return None
    from libs.common.mt5.adapters.simulated_broker import BrokerOptions

    options = BrokerOptions(
        terminal=executor.terminal, instruments=sections["instruments"], seed=sections["system"].seed
    )
    return TerminalPlan(listen=mt5.connect, options=options, token=secrets.token_urlsafe(24))


@dataclass(frozen=True)
class ExpertPlan:
    """An Expert Advisor on the simulated terminal, built with g++ by the harness of the tests.

    Parameters
    ----------
    connect : host:port of the terminal
    account : account key
    symbols : what it publishes
    """

    connect: str
    account: str
    symbols: tuple[str, ...]

    def command(self, url: str, data_dir: Path) -> tuple[str, ...]:
        """Return its command line."""
        return (
            sys.executable, "-m", "tests.mql.terminal_program", "--terminal", self.connect, "--bus", url,
            "--data-dir", str(data_dir), "--account", self.account, "--symbols", ",".join(self.symbols),
            "--folder", str(data_dir / FOLDER / "expert"),
        )


def expert_plan(sections: Mapping[str, Any]) -> ExpertPlan | None:
    """Return the Expert Advisor that a configuration with a simulated terminal needs; None when it needs none.

    Raises
    ------
    ConfigError : when it cannot be built here
    """
    mt5, system = sections["mt5"], sections["system"]
    if sections["executor"].broker != "ea" or mt5.backend != "sim":
        return None
    if shutil.which("g++") is None or not HARNESS.is_dir():
        raise ConfigError(
            "an Expert Advisor on a simulated terminal is built with g++ from a checkout of the repository "
            f"({HARNESS} must be there). Install g++ (apt-get install g++), or take --broker mt5."
        )
    return ExpertPlan(connect=mt5.connect, account=system.account, symbols=tuple(system.symbols))


def free_port() -> int:
    """Return a port of the loopback interface nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
