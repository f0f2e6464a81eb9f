"""``tickwire config``: is the file right, and what does every key mean."""

from pathlib import Path
from typing import Annotated

import typer
import yaml

from tickwire.config_reference import STARTER, markdown, yaml_reference
from tickwire.console import out, print_hint, print_json
from tickwire.sections import masked_config, read_all

group = typer.Typer(name="config", help="Check the config file, or explain its keys.", add_completion=False)
group.info.no_args_is_help = True
APPS = {"config": group}


@group.command()
def check(
    file: Annotated[Path, typer.Argument(help="The config file.")] = Path("config.yaml"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the resolved config as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Check only.")] = False,
) -> None:
    """Check all sections of all services and print the resolved config, secrets masked."""
    read_all(file)
    if quiet:
        return
    plain = masked_config(file)
    if as_json:
        print_json(plain)
        return
    out.print(yaml.safe_dump(plain, sort_keys=False), end="", markup=False)
    print_hint(f"{file}: every key is known and every value allowed")


@group.command()
def reference(
    as_yaml: Annotated[bool, typer.Option("--yaml", help="As a config file to start from.")] = False,
) -> None:
    """Print what every key means (the text of docs/config.md)."""
    out.print(yaml_reference(STARTER) if as_yaml else markdown(), end="", markup=False)
