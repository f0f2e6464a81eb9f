"""``tickwire nats-config``: the server's configuration for a server that is not the embedded one."""

from typing import Annotated

import typer

from libs.common.bus.server_config import render_server_config
from libs.common.bus.streams import STREAMS, USERS
from libs.common.config import BusConfig
from tickwire.console import out
from tickwire.stack import password_variable

APPS = {"nats-config": typer.Typer(add_completion=False)}


@APPS["nats-config"].command(name="nats-config")
def nats_config(
    listen: Annotated[str, typer.Option("--listen", help="host:port the server listens on.")] = "0.0.0.0:4222",
    store_dir: Annotated[str, typer.Option("--store-dir", help="Where JetStream keeps its files.")] = "/data/jetstream",
    monitor: Annotated[
        str, typer.Option("--monitor", help="host:port of the HTTP monitor; empty: none.")
    ] = "0.0.0.0:8222",
    max_store_bytes: Annotated[
        int, typer.Option("--max-store-bytes", min=1_000_000, help="Most bytes JetStream may use on disk.")
    ] = BusConfig().max_stream_bytes * 6,
) -> None:
    """Print nats.conf with all users and permissions; passwords come from the server's environment."""
    passwords = {user: f"${password_variable(user)}" for user in USERS}
    out.print(f"# Printed by `tickwire nats-config`: {len(USERS)} users, JetStream for {len(STREAMS)} streams.")
    out.print(
        render_server_config(
            listen=listen, store_dir=store_dir, passwords=passwords, max_store_bytes=max_store_bytes, monitor=monitor
        ),
        end="",
        markup=False,
    )
