"""Connecting to a stack that runs, and reading what its streams hold."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from libs.common.bus.nats import NatsBus
from libs.common.bus.protocol import Delivered
from libs.common.bus.streams import USERS
from libs.common.errors import BusError, ConfigError
from libs.common.messages.control import Heartbeat
from libs.common.storage.keys import ensure_passwords
from tickwire.runfile import find_running
from tickwire.stack import password_variable

DataDirOption = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Data folder of the stack; default: the one started last from this folder."),
]
UrlOption = Annotated[
    str, typer.Option("--url", envvar="TICKWIRE_URL", help="nats://host:port of a server that is not found by itself.")
]
PasswordOption = Annotated[
    str, typer.Option("--password", envvar="TICKWIRE_PASSWORD", help="Password of the user; only with --url.")
]

CONNECT_WITHIN_S = 5.0
_POLL_S = 0.05


@dataclass(frozen=True)
class Target:
    """Which stack to talk to.

    Parameters
    ----------
    url : address without credentials
    account : account key, part of subjects
    symbols : symbols it trades; empty when not known
    data_dir : its data folder; ``None`` for a server that is not ours
    """

    url: str
    account: str
    symbols: tuple[str, ...]
    data_dir: Path | None
    passwords: dict[str, str]


def find_target(data_dir: Path | None, url: str, password: str, account: str = "") -> Target:
    """Return the stack a command means: a named server, or one that runs on this machine.

    Raises
    ------
    ConfigError : when none is found
    """
    if url:
        passwords = dict.fromkeys(USERS, password) if password else {}
        return Target(url=url, account=account or "paper", symbols=(), data_dir=None, passwords=passwords)
    folder, run = find_running(data_dir)
    return Target(
        url=run.url,
        account=account or run.account,
        symbols=run.symbols,
        data_dir=folder,
        passwords=ensure_passwords(folder, USERS),
    )


@asynccontextmanager
async def connected(target: Target, user: str) -> AsyncIterator[NatsBus]:
    """Connect as a user for the length of a ``with`` block.

    Raises
    ------
    ConfigError : when no password is known
    BusError : when the server does not answer or refuses
    """
    password = target.passwords.get(user) or os.environ.get(password_variable(user), "")
    if not password:
        raise ConfigError(
            f"no password for user '{user}' of {target.url}. Give --password or set {password_variable(user)}."
        )
    try:
        async with asyncio.timeout(CONNECT_WITHIN_S):
            bus = await NatsBus.connect(target.url, user=user, password=password, wait_s=CONNECT_WITHIN_S)
    except TimeoutError:
        raise BusError(
            f"{target.url}: no NATS server let user '{user}' in within {CONNECT_WITHIN_S:g} s. Is it running, and are "
            "address and password right?"
        ) from None
    try:
        yield bus
    finally:
        await bus.close()


async def stored(bus: NatsBus, patterns: Sequence[str]) -> AsyncIterator[Delivered]:
    """Yield everything the streams hold of sequenced patterns, in order per subject, up to their ends as of now."""
    reader = await bus.reader(patterns)
    try:
        while True:
            finished = reader.joined
            try:
                batch = await asyncio.wait_for(reader.batch(), _POLL_S)
            except TimeoutError:
                if finished:
                    return
                continue
            for delivered in batch:
                yield delivered
    finally:
        await reader.close()


class Heartbeats:
    """The newest heartbeat of every service, as they come in.

    ``latest`` is by service, ``heard_s`` when (monotonic seconds).
    """

    def __init__(self) -> None:
        self.latest: dict[str, Heartbeat] = {}
        self.heard_s: dict[str, float] = {}
        self._changed = asyncio.Event()

    def hear(self, subject: str, payload: bytes) -> None:
        """Take one message of ``health.*``; anything that is no heartbeat is ignored."""
        if subject.count(".") != 1:
            return
        try:
            beat = _heartbeats.decode(payload)
        except msgspec.MsgspecError:
            return
        self.latest[beat.service] = beat
        self.heard_s[beat.service] = time.monotonic()
        self._changed.set()

    async def wait_for_all(self, services: Sequence[str], timeout_s: float) -> None:
        """Return once every service was heard, or after a while."""
        deadline = time.monotonic() + timeout_s
        while not set(services) <= set(self.latest) and (left_s := deadline - time.monotonic()) > 0.0:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left_s)


_heartbeats = msgspec.json.Decoder(Heartbeat)
