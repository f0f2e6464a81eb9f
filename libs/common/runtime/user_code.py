"""Loads Python that users bring along: a file named in the config, or what an installed package registers."""

import importlib.util
import sys
from hashlib import blake2b
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from libs.common.errors import ConfigError, TickwireError, last_line_in


def load_user_file(file: str, key: str, prefix: str) -> ModuleType:
    """Import one Python file, once however often it is asked for.

    Parameters
    ----------
    file : path, ``~`` allowed
    key : of the config, for the error
    prefix : of the module's name, so that no file of the user's stands in the way of a package

    Raises
    ------
    ConfigError : naming the key, the file, the line where it can be told, and the problem
    """
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise ConfigError(f"{key}: there is no file {file}; write the path of a Python file")
    name = f"{prefix}_{path.stem}_{blake2b(str(path).encode(), digest_size=4).hexdigest()}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{key}: {file} is not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        line = error.lineno if isinstance(error, SyntaxError) else last_line_in(error, str(path))
        place = f"line {line}: " if line else ""
        raise ConfigError(f"{key}: {file}: {place}{type(error).__name__}: {error}") from error
    return module


def load_entry_points(group: str) -> dict[str, Any]:
    """Return what installed packages register under a group, by name.

    Raises
    ------
    ConfigError : naming the entry point that cannot be loaded
    """
    found: dict[str, Any] = {}
    for point in entry_points(group=group):
        try:
            found[point.name] = point.load()
        except TickwireError:
            raise
        except Exception as error:
            raise ConfigError(
                f"plugin {point.name} ({point.value}): {type(error).__name__}: {error}. Mend or uninstall the package."
            ) from error
    return found
