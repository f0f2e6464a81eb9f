"""Which of the broker's symbols is which of ours: found once, written down, checked at every start.

The file is ``<data_dir>/mt5/symbols.json``, by trade server. A name that the terminal no longer knows is forgotten and
sought again, so a symbol renamed overnight is found under its new name, or reported.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from libs.common.errors import BrokerError, ConfigError, StorageError
from libs.common.mt5 import constants as mt5
from libs.common.mt5.adapters.calls import PackageError, TerminalCalls
from libs.common.mt5.results import SymbolInfo
from libs.common.mt5.symbol_names import candidates, choice
from libs.common.storage.whole_file import write_whole


class SymbolMissing(BrokerError):
    """The broker offers nothing that is the symbol. Asking again later is safe; a setting may be the remedy."""


class SymbolRegistry:
    """Canonical symbols and the broker's names of them.

    Parameters
    ----------
    path : file the findings are kept in; ``None`` keeps them in memory only
    server : trade server, ``account_info().server``
    named : names a person has given, canonical -> broker's (``mt5.symbols``); they go before anything found
    """

    def __init__(self, path: Path | None, server: str, named: Mapping[str, str]) -> None:
        self._path, self._server = path, server
        self._named = dict(named)
        self._found = dict(_read(path).get(server, {}))

    def broker_name(self, canonical: str) -> str | None:
        """Return the broker's name of a symbol, ``None`` while it is not known."""
        return self._named.get(canonical) or self._found.get(canonical)

    def canonical_name(self, broker_name: str) -> str | None:
        """Return our name of one of the broker's symbols, ``None`` where it is none of ours."""
        for known in (self._named, self._found):
            for canonical, name in known.items():
                if name == broker_name:
                    return canonical
        return None

    async def resolve(self, terminal: TerminalCalls, canonical: str) -> SymbolInfo:
        """Return the broker's symbol, selected in the Market Watch; seek it where it is not known or is gone.

        Raises
        ------
        ConfigError : when a name given by a person is not there, or several symbols are equally good
        SymbolMissing : when the broker offers none
        BrokerError : when the terminal does not answer
        """
        name = self.broker_name(canonical)
        info = None if name is None else await self._selected(terminal, name)
        if info is not None:
            return info
        if canonical in self._named:
            raise ConfigError(await _unknown_name(terminal, canonical, self._named[canonical]))
        if name is not None:
            self.forget(canonical)
        info = await self._selected(terminal, await self._seek(terminal, canonical))
        if info is None:
            raise SymbolMissing(f"{canonical}: the broker's symbol could not be selected in the Market Watch")
        self._found[canonical] = info.name
        self._write()
        return info

    def forget(self, canonical: str) -> None:
        """Drop what was found for a symbol; the next ``resolve`` seeks it again."""
        if self._found.pop(canonical, None) is not None:
            self._write()

    async def _seek(self, terminal: TerminalCalls, canonical: str) -> str:
        offered = await terminal.symbols_get()
        found = candidates(canonical, offered)
        name = choice(found)
        if name is not None:
            return name
        if found:
            names = ", ".join(candidate.name for candidate in found[:8])
            raise ConfigError(
                f"{canonical}: the broker offers several symbols that may be it: {names}. Name one under "
                f"mt5.symbols.{canonical}, or show only one of them in the Market Watch."
            )
        close = difflib.get_close_matches(canonical, [info.name for info in offered], n=3, cutoff=0.4)
        hint = f" Nearest names: {', '.join(close)}." if close else ""
        raise SymbolMissing(
            f"{canonical}: the broker offers no such symbol among {len(offered)}.{hint} Name it under "
            f"mt5.symbols.{canonical}."
        )

    async def _selected(self, terminal: TerminalCalls, name: str) -> SymbolInfo | None:
        """Return a symbol once it is in the Market Watch; ``None`` where the terminal does not know it."""
        try:
            info = await terminal.symbol_info(name)
            if not info.select:
                if not await terminal.symbol_select(name, True):
                    return None
                info = await terminal.symbol_info(name)
        except PackageError as error:
            if error.code in (mt5.RES_E_NOT_FOUND, mt5.RES_E_FAIL, mt5.RES_E_INVALID_PARAMS):
                return None
            raise
        return info

    def _write(self) -> None:
        if self._path is None:
            return
        known = _read(self._path) | {self._server: dict(sorted(self._found.items()))}
        try:
            write_whole(self._path, msgspec.json.format(msgspec.json.encode(known)))
        except OSError as error:
            raise StorageError(f"{self._path}: cannot be written ({error.strerror})") from error


async def _unknown_name(terminal: TerminalCalls, canonical: str, name: str) -> str:
    names = [info.name for info in await terminal.symbols_get()]
    close = difflib.get_close_matches(name, names, n=3)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    return f"mt5.symbols.{canonical}: the broker knows no symbol '{name}'.{hint}"


def _read(path: Path | None) -> dict[str, dict[str, str]]:
    """Return what was found before, by server; a file that is none is as good as none: symbols are sought again."""
    if path is None:
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, str]])
    except (OSError, msgspec.MsgspecError):
        return {}
