"""Finds a user's own rule strategies: in a Python file of the config, or in installed packages."""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from libs.common.errors import ConfigError
from libs.common.runtime.user_code import load_entry_points, load_user_file
from services.inference.config import StrategyConfig
from services.inference.strategies import TEMPLATES, Strategy

GROUP = "tickwire.strategies"
"""Entry points of this group name strategies: classes, or functions that make one of their parameters."""
KEY = "inference.strategy.file"
PARTS = ("needs", "lookback", "horizon_s", "decide")
"""What makes a class a strategy."""


def strategies_of(config: StrategyConfig) -> Mapping[str, Callable[..., Strategy]]:
    """Return the strategies there are, by name: Tickwire's, those of installed packages, those of the config's file.

    A file may name them itself in a dict ``STRATEGIES``; otherwise every class in it with ``needs``, ``lookback``,
    ``horizon_s`` and ``decide`` is one, under its own name written with underscores. Of two with one name the file's
    counts.

    Raises
    ------
    ConfigError : naming the file, the line where it can be told, and the problem
    """
    found = {**TEMPLATES, **_installed()}
    if not config.file:
        return found
    module = load_user_file(config.file, KEY, "tickwire_strategy")
    own = getattr(module, "STRATEGIES", None)
    if own is None:
        own = {_snake(name): kind for name, kind in vars(module).items() if _is_strategy(kind, module)}
    if not isinstance(own, dict) or not own:
        raise ConfigError(
            f"{KEY}: {config.file} has no strategy: a class with {', '.join(PARTS)}; examples/strategy_example.py is "
            "one to copy"
        )
    for name, kind in own.items():
        if not isinstance(name, str) or not callable(kind):
            raise ConfigError(f"{KEY}: {config.file}: STRATEGIES must hold name: class, not {name!r}: {kind!r}")
    return {**found, **own}


def _installed() -> dict[str, Callable[..., Strategy]]:
    found = load_entry_points(GROUP)
    for name, kind in found.items():
        if not callable(kind):
            raise ConfigError(f"plugin {name}: an entry point of {GROUP} must name a class, not {kind!r}")
    return found


def _is_strategy(kind: Any, module: ModuleType) -> bool:
    return isinstance(kind, type) and kind.__module__ == module.__name__ and all(hasattr(kind, part) for part in PARTS)


def _snake(name: str) -> str:
    """Return a class's name with underscores.

    >>> _snake("MaCrossover")
    'ma_crossover'
    """
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
