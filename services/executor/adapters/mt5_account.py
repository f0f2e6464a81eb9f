"""Guards which account is traded: the one the configuration names, or else the one that was there first."""

from pathlib import Path
from typing import Any

import msgspec

from libs.common.errors import BrokerError, ConfigError
from libs.common.storage.keys import write_private
from services.executor.config import Mt5Account
from services.executor.identity import AccountIdentity, refusal_of_account


class AccountGuard:
    """Approves an account or raises.

    Parameters
    ----------
    pins : the configuration's; fields that are 0 or empty are filled in at first sight and kept in ``path``
    mode : ``system.mode``
    path : where the first sight is kept

    Raises
    ------
    ConfigError : when the kept file is broken, or contradicts the configuration
    """

    def __init__(self, pins: Mt5Account, mode: str, path: Path, log: Any = None) -> None:
        self._mode, self._path, self._log = mode, path, log
        self._pinned: dict[str, object] = msgspec.to_builtins(pins)
        self._complete = False
        if path.exists():
            self._take(self._read(path))

    def approve(self, seen: AccountIdentity) -> None:
        """Return when this account may be traded; pin it when it is the first one seen.

        Raises
        ------
        BrokerError : naming what is wrong and the remedy
        """
        problem = refusal_of_account(seen, self._mode, self._pinned)
        if problem:
            raise BrokerError(problem)
        if not self._complete:
            write_private(self._path, msgspec.json.encode(seen) + b"\n")
            self._take(seen)
            if self._log is not None:
                self._log.info("account_pinned", **msgspec.to_builtins(seen))

    def _take(self, seen: AccountIdentity) -> None:
        for name, value in msgspec.to_builtins(seen).items():
            if self._pinned.get(name) and self._pinned[name] != value:
                raise ConfigError(
                    f"{self._path}: the account traded so far has {name} {value}, executor.mt5.account.{name} says "
                    f"{self._pinned[name]}. Mend the setting; or, if another account is meant, remove the file once "
                    "no order is in doubt."
                )
            self._pinned[name] = value
        self._complete = True

    @staticmethod
    def _read(path: Path) -> AccountIdentity:
        try:
            return msgspec.json.decode(path.read_bytes(), type=AccountIdentity)
        except msgspec.MsgspecError as error:
            raise ConfigError(
                f"{path}: not the account's identity ({error}). Remove it once no order is in doubt; the account is "
                "pinned again at first sight."
            ) from error
