"""Somebody's MetaTrader 5 script, unchanged, on the simulated terminal."""

import contextlib
import runpy
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from libs.common.errors import ConfigError
from tickwire.market_time import market_time
from tickwire.mt5_market import OpenMarket

PACKAGE = "MetaTrader5"


def run_script(script: Path, arguments: Sequence[str], market: OpenMarket) -> int:
    """Run a script in this process; ``import MetaTrader5`` gives it the simulated package.

    Parameters
    ----------
    arguments : the script's own

    Returns
    -------
    Its exit code: what it gave ``sys.exit``, 0 when it or the market came to its end. An exception it does not catch
    comes out of here.

    Raises
    ------
    ConfigError : when there is no such file
    """
    if not script.is_file():
        raise ConfigError(f"{script}: no such script. Give the path of a Python file.")
    on_time = market_time(market.clock) if market.clock is not None else contextlib.nullcontext()
    with _package(market.module), _command_line(script, arguments), on_time:
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as ended:
            return _exit_code(ended)
    return 0


def _exit_code(ended: SystemExit) -> int:
    if ended.code is None or isinstance(ended.code, int):
        return ended.code or 0
    print(ended.code, file=sys.stderr)
    return 1


@contextlib.contextmanager
def _package(module: ModuleType) -> Iterator[None]:
    names = {PACKAGE: module, f"{PACKAGE}._core": vars(module)["_core"]}
    before = {name: sys.modules.get(name) for name in names}
    sys.modules.update(names)
    try:
        yield
    finally:
        for name, own in before.items():
            if own is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = own


@contextlib.contextmanager
def _command_line(script: Path, arguments: Sequence[str]) -> Iterator[None]:
    argv, path = sys.argv, sys.path
    sys.argv, sys.path = [str(script), *arguments], [str(script.resolve().parent), *path]
    try:
        yield
    finally:
        sys.argv, sys.path = argv, path
