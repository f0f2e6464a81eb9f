"""The ``tickwire`` command: what commands there are, and how an error reaches a person.

Commands are imported when they are asked for, so that ``tickwire halt`` does not wait for numba and ``tickwire env``
works where half of the packages are missing.
"""

import importlib
from typing import Any

import typer
from typer.core import TyperGroup

from libs.common.errors import TickwireError
from tickwire.console import print_error, print_hint

COMMANDS = {
    "demo": "demo",
    "up": "up",
    "run": "run",
    "tail": "tail",
    "status": "status",
    "halt": "control",
    "resume": "control",
    "flatten": "control",
    "models": "models",
    "features": "features",
    "config": "config",
    "env": "env",
    "doctor": "doctor",
    "keys": "keys",
    "nats-config": "nats_config",
    "provision": "provision",
    "history": "history",
    "backtest": "backtest",
    "sweep": "sweep",
    "walk-forward": "walk_forward",
    "leakcheck": "leakcheck",
    "verify": "verify",
    "warm": "warm",
    "mt5-sim": "mt5_sim",
    "mql": "mql",
    "conformance": "conformance",
}
"""Command -> the module of ``tickwire.commands`` that holds its ``app`` (one app per command name, or one group)."""

EXIT_ERROR = 2
"""Exit code of every error a user can mend."""


class CommandGroup(TyperGroup):
    """The commands of ``COMMANDS``, imported one by one, with errors as one line."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return all command names in the order of the help page."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import a command; a missing package is an error with a remedy, not a traceback."""
        module_name = COMMANDS.get(cmd_name)
        if module_name is None:
            return None
        try:
            module = importlib.import_module(f"tickwire.commands.{module_name}")
        except ModuleNotFoundError as error:
            return _unavailable(cmd_name, error)
        return typer.main.get_command(module.APPS[cmd_name])

    def invoke(self, ctx: Any) -> Any:
        """Run the command; errors a user can mend end as one line on stderr and exit code 2."""
        try:
            return super().invoke(ctx)
        except TickwireError as error:
            if ctx.params.get("debug"):
                raise
            print_error(str(error))
            raise typer.Exit(EXIT_ERROR) from None


def _unavailable(name: str, error: ModuleNotFoundError) -> Any:
    broken = typer.Typer(add_completion=False)

    @broken.command(name=name, help=f"Not available: package {error.name} is missing (see `tickwire env`).")
    def report() -> None:
        print_error(f"{name}: package {error.name} is missing. Run `tickwire env`, then `make install`.")
        raise typer.Exit(EXIT_ERROR)

    return typer.main.get_command(broken)


app = typer.Typer(
    cls=CommandGroup,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Tickwire: from ticks to trades over NATS, learning as it goes."""


def main() -> None:
    """Run the command line (entry point of the console script)."""
    try:
        app()
    except KeyboardInterrupt:
        print_hint("interrupted")
        raise SystemExit(130) from None
