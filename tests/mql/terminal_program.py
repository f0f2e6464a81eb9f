"""Runs an Expert Advisor, built with g++, on the simulated terminal's own process: a terminal without MetaTrader.

``python -m tests.mql.terminal_program --terminal 127.0.0.1:4711 --bus nats://127.0.0.1:4222 --data-dir .tickwire --account
paper --symbols EURUSD,XAUUSD --folder /tmp/terminal``; the token is in TICKWIRE_TERMINAL_TOKEN. It runs until it is
told to stop (SIGTERM). ``tickwire demo --broker ea`` starts it.
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from libs.common.mt5.adapters.simulated_package import TOKEN_VARIABLE, SocketPort
from libs.common.mt5.sim.package import Package
from libs.common.storage.keys import EA_KEY, read_key, write_private
from tests.mql.harness.build import missing_compiler
from tests.mql.harness.expert import Expert
from tests.mql.package_answers import PackageAnswers

_RETRY_S = 0.2
_PAUSE_S = 0.0002
_NO_LIMITS = {"InpMaxLots": 0.0, "InpMaxPositions": 0, "InpMaxDailyLossPct": 0.0, "InpDeadManSeconds": 0.0}


class OneLook:
    """The package, asked the same thing once only, until somebody forgets what was seen.

    A program reads an account figure by figure; a terminal answers all of them from one moment.
    """

    def __init__(self, package: Package) -> None:
        self._package = package
        self._seen: dict[tuple[Any, ...], Any] = {}

    def forget(self) -> None:
        self._seen.clear()

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._package, name)

        def ask(*arguments: Any) -> Any:
            if name == "order_send":
                self._seen.clear()
                return function(*arguments)
            key = (name, *arguments)
            if key not in self._seen:
                self._seen[key] = self._asked(function, arguments)
            return self._seen[key]

        return ask

    def _asked(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """Ask; while the terminal's process is gone the program stands still, as it would in a terminal that hangs."""
        answer = function(*arguments)
        while answer is None and not self._package.connected:
            time.sleep(_RETRY_S)
            if self._package.initialize():
                answer = function(*arguments)
        return answer


class LiveAnswers(PackageAnswers):
    """Answers from a terminal whose market moves meanwhile: every question that begins a new look looks anew."""

    def TerminalInfoInteger(self, name: str) -> int:
        if name == "TERMINAL_CONNECTED":
            self.mt5.forget()
        return super().TerminalInfoInteger(name)

    def PositionSelectByTicket(self, ticket: int) -> dict[str, Any] | None:
        self.mt5.forget()
        return super().PositionSelectByTicket(ticket)


def main() -> int:
    """Build, connect, and run the program's timer until SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mql.terminal_program", description=__doc__)
    parser.add_argument("--program", default="TickwireBridge.mq5")
    for name in ("terminal", "bus", "data-dir", "account", "symbols", "folder"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--inputs", default="{}", help="further inputs, JSON")
    given = parser.parse_args()
    lacking = missing_compiler()
    if lacking:
        print(f"error: {lacking}", file=sys.stderr)
        return 2
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: stopped.append(number))
    package = Package(SocketPort(given.terminal, os.environ.get(TOKEN_VARIABLE, "")))
    while not package.initialize() and not stopped:
        time.sleep(_RETRY_S)
    expert = _started(given, package)
    try:
        assert expert.init() == 0, expert.prints
        print("the expert advisor runs", flush=True)
        _run(expert, package, stopped)
    finally:
        for text in expert.prints[-200:]:
            print(text)
        expert.end()
    return 0


def _started(given: argparse.Namespace, package: Package) -> Expert:
    folder, root = Path(given.folder), Path(given.data_dir)
    secrets = folder / "Files" / "tickwire"
    secrets.mkdir(parents=True, exist_ok=True)
    passwords = json.loads((root / "keys" / "passwords.json").read_text())
    write_private(secrets / "ea.password", passwords["ea"].encode() + b"\n")
    write_private(secrets / "ea.key", read_key(root, EA_KEY).hex().encode() + b"\n")
    bus = urlsplit(given.bus)
    inputs = {
        "InpHost": bus.hostname, "InpPort": bus.port, "InpAccount": given.account, "InpSymbols": given.symbols,
        "InpPublishTicks": False, **_NO_LIMITS, **json.loads(given.inputs),
    }
    return Expert.start(
        given.program, folder=folder, inputs=inputs, answers=LiveAnswers(OneLook(package)),
        symbol=given.symbols.split(",")[0],
    )


def _run(expert: Expert, package: Package, stopped: list[int]) -> None:
    looks = expert.answers
    assert isinstance(looks, LiveAnswers)
    while not stopped:
        looks.mt5.forget()
        if not package.connected and not package.initialize():
            time.sleep(_RETRY_S)
            continue
        expert.timer()
        time.sleep(_PAUSE_S)


if __name__ == "__main__":
    sys.exit(main())
