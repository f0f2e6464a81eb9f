"""``tickwire provision``: what must exist before the services start, where the bus is not the embedded server."""

import asyncio
import os
import secrets
from pathlib import Path
from typing import Annotated

import typer

from libs.common.bus.nats import NatsBus, prove_durability, provision
from libs.common.bus.streams import STREAMS
from libs.common.config import BusConfig, read_config
from libs.common.errors import ConfigError
from libs.common.signing import Signer
from libs.common.storage.keys import EA_KEY, SIGNERS, write_private
from tickwire.console import out
from tickwire.stack import password_variable

APPS = {"provision": typer.Typer(add_completion=False)}
KEY_BYTES = 32
PUBLIC, EXECUTOR = "public", "executor"
"""Folders: of all public keys; of the executor's, with the secret it shares with Expert Advisors. Every signer has one of
its name for its private key."""


@APPS["provision"].command(name="provision")
def command(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Config file; its section bus is used.")] = None,
    keys: Annotated[
        Path | None, typer.Option("--keys", help="Also make keys: KEYS/risk, KEYS/trainer, KEYS/executor, KEYS/public.")
    ] = None,
    wait_s: Annotated[float, typer.Option("--wait", min=0.0, help="Seconds to wait for the server.")] = 30.0,
) -> None:
    """Create streams (and keys) on the server of bus.url and have it prove that it syncs its writes."""
    bus: BusConfig = read_config(config, {})["bus"]
    if not bus.url:
        raise ConfigError("bus.url is empty. Set it (TICKWIRE_BUS__URL); the embedded server needs no provisioning.")
    admin, system = _password("admin"), _password("system")
    version = asyncio.run(_provision(bus, admin, system, wait_s))
    out.print(f"{bus.url}: nats-server {version} syncs every write; {len(STREAMS)} streams and the model store are there")
    if keys is not None:
        deal_keys(keys)
        out.print(f"{keys}: signing keys of {', '.join(SIGNERS)}, and {EA_KEY} for executor and Expert Advisors")


async def _provision(bus: BusConfig, admin: str, system: str, wait_s: float) -> str:
    connection = await NatsBus.connect(bus.url, user="admin", password=admin, wait_s=wait_s)
    try:
        await provision(connection, bus.max_stream_bytes)
    finally:
        await connection.close()
    return await prove_durability(bus.url, system)


def _password(user: str) -> str:
    variable = password_variable(user)
    password = os.environ.get(variable, "")
    if not password:
        raise ConfigError(f"no password for user '{user}'. Set {variable}.")
    return password


def deal_keys(folder: Path) -> None:
    """Give every signer a folder with its private key, one all public keys, and the executor its own; what exists stays.

    Parameters
    ----------
    folder : gets ``<signer>/<signer>.key`` (mode 0600), ``public/<signer>.pub``, ``executor/risk.pub`` and
        ``executor/ea.key`` (mode 0600), the secret shared with Expert Advisors

    Raises
    ------
    ConfigError : when a file that is there is no key
    """
    public = folder / PUBLIC
    public.mkdir(parents=True, exist_ok=True)
    for signer in SIGNERS:
        content = _secret(folder / signer / f"{signer}.key")
        (public / f"{signer}.pub").write_bytes(Signer(content).public_bytes)
    _secret(folder / EXECUTOR / EA_KEY)
    (folder / EXECUTOR / "risk.pub").write_bytes((public / "risk.pub").read_bytes())


def _secret(file: Path) -> bytes:
    """Return the bytes of a key, made where there is none."""
    file.parent.mkdir(mode=0o700, exist_ok=True)
    if not file.exists():
        write_private(file, secrets.token_bytes(KEY_BYTES))
    content = file.read_bytes()
    if len(content) != KEY_BYTES:
        raise ConfigError(f"{file}: {len(content)} bytes, a key has {KEY_BYTES}. Move it away to have a new one.")
    return content
