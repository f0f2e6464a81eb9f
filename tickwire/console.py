"""Where the command prints: answers on stdout, everything about them on stderr."""

import json
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape

out = Console(highlight=False, soft_wrap=True)
"""Answers. Follows a redirected stdout; colours only on a terminal."""
err = Console(stderr=True, highlight=False, soft_wrap=True)
"""Progress, hints and errors."""


def print_error(text: str) -> None:
    """Print one ``error: ...`` line (and the lines that belong to it) on stderr."""
    err.print(f"[bold red]error:[/] {escape(text)}")


def print_hint(text: str) -> None:
    """Print a remark that is no part of the answer on stderr."""
    err.print(f"[dim]{escape(text)}[/]")


def print_json(value: Any) -> None:
    """Print a value as indented JSON on stdout, without colour or wrapping."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
    sys.stdout.flush()
