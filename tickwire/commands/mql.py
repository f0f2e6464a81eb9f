"""``tickwire mql install``: the Expert Advisors' sources into a terminal's data folder."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from libs.common.bus.streams import USERS
from tickwire.console import out
from tickwire.mql_install import find_data_folder, install, install_secrets

group = typer.Typer(name="mql", add_completion=False, help="Expert Advisors for MetaTrader 5.")
group.info.no_args_is_help = True

_CLICKS = """\
Copied is not compiled: MetaEditor is the only compiler there is, and it was not run. What is left to do by hand:

  1. Terminal, F4 opens MetaEditor. Open Experts/TickwireBridge.mq5 and press F7. The same for
     Experts/TickwireOnnx.mq5 and Scripts/TickwireExport.mq5 where you want them.
  2. Terminal, Tools, Options, Expert Advisors: tick "Allow algorithmic trading"; tick "Allow WebRequest for listed
     URL" and add the bus's address: {host}
     (also when it is this machine; no program can do this click).
  3. Drag TickwireBridge from the Navigator onto one chart. Common: "Allow Algo Trading". Inputs: InpHost={host},
     InpPort={port}, InpAccount={account}, InpSymbols (comma-separated, as your broker spells them), and your limits.
  4. Press "Algo Trading" in the toolbar. The journal (Toolbox, Experts) says what it does;
     `tickwire tail 'ea.>'` shows what it tells.
  5. In config.yaml: executor.broker: ea, ingest.adapter: ea, system.clock: wall."""


@group.callback()
def mql() -> None:
    """Expert Advisors for MetaTrader 5."""


@group.command(name="install")
def install_command(
    folder: Annotated[Path, typer.Argument(help="The terminal's data folder (File, Open Data Folder).")],
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Tickwire's data folder: also write password and key out of its keys/.")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Where the bus will be reached, for the printed steps.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Its port.", min=1, max=65535)] = 4222,
    account: Annotated[str, typer.Option("--account", help="system.account, for the printed steps.")] = "paper",
) -> None:
    """Copy Experts, Include and Scripts into a MetaTrader 5 data folder and say what is left to click."""
    found = find_data_folder(folder)
    done = install(found)
    secrets = install_secrets(found, data_dir, USERS) if data_dir is not None else ()
    out.print(Text(f"{found}: {len(done.new)} new, {len(done.changed)} changed, {len(done.same)} the same"))
    for name in (*done.new, *done.changed, *secrets):
        out.print(Text(f"  {name}"))
    if not secrets:
        out.print(Text(
            "  no password and no key written: give --data-dir, or put them into MQL5/Files/tickwire/ea.password and ea.key"
        ))
    out.print()
    out.print(Text(_CLICKS.format(host=host, port=port, account=account)))


APPS = {"mql": group}
