"""Loads the plugins named in the config and those of installed packages."""

from collections.abc import Iterable

from libs.common.runtime.user_code import load_entry_points, load_user_file

GROUP = "tickwire.features"
"""Entry points of this group name modules whose import registers families."""


def load_plugins(files: Iterable[str]) -> None:
    """Import every plugin of installed packages, then the named files; one that is loaded already is left alone.

    Raises
    ------
    ConfigError : naming the plugin and what is wrong with it
    """
    load_entry_points(GROUP)
    for file in files:
        load_file(file)


def load_file(file: str) -> str:
    """Import one plugin file and return the name of its module.

    Raises
    ------
    ConfigError : naming the file, the line where it can be told, and the problem
    """
    return load_user_file(file, "features.plugins", "tickwire_plugin").__name__
