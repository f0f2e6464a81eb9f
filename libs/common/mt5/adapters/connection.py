"""A driver for the terminal that section ``mt5`` names."""

from collections.abc import Mapping
from typing import Any

from libs.common.config import Mt5Config
from libs.common.mt5.adapters.driver import Account, Deadlines, Guard, Log, Mt5Driver, worker_command
from libs.common.mt5.adapters.simulated_package import TOKEN_VARIABLE


def driver_for(
    config: Mt5Config, *, guard: Guard | None = None, deadlines: Deadlines | None = None, log: Log | None = None,
    **options: Any,
) -> Mt5Driver:  # fmt: skip
    """Return a driver that is not started yet.

    Parameters
    ----------
    config : section ``mt5``
    guard, deadlines, log, options : see ``Mt5Driver``
    """
    account = Account(
        path=config.path, login=config.login, password=config.password, server=config.server, portable=config.portable
    )
    env: Mapping[str, str] = {TOKEN_VARIABLE: config.token} if config.token else {}
    return Mt5Driver(
        worker_command(config.backend, config.connect, config.python), account=account, guard=guard,
        deadlines=deadlines or Deadlines(), env=env, log=log, **options,
    )
