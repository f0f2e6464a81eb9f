"""``tickwire keys``: the signing keys and bus passwords of a data folder."""

from pathlib import Path
from typing import Annotated

import typer

from libs.common.bus.streams import USERS
from libs.common.config import read_config
from libs.common.storage.keys import SIGNERS, ensure_keys, ensure_passwords
from tickwire.console import out

group = typer.Typer(name="keys", help="Signing keys and bus passwords.", add_completion=False)
group.info.no_args_is_help = True
APPS = {"keys": group}


@group.callback()
def keys() -> None:
    """Signing keys and bus passwords."""


@group.command()
def init(
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Where `keys/` is made; default: system.data_dir.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Config file that names system.data_dir.")
    ] = None,
) -> None:
    """Create the keys and passwords that are missing; what is there stays."""
    folder = data_dir or Path(read_config(config, {})["system"].data_dir)
    ensure_keys(folder)
    ensure_passwords(folder, USERS)
    out.print(f"{folder / 'keys'}: signing keys of {', '.join(SIGNERS)} and passwords of {len(USERS)} users, mode 0600")
