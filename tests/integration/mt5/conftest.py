"""A simulated terminal per module, with a market."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.mt5.terminal_world import HostProcess, ticks


@pytest.fixture
def fresh_host(tmp_path: Path) -> Iterator[HostProcess]:
    """Give a host of one test, not started."""
    host = HostProcess(tmp_path)
    yield host
    host.kill()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    """Give a host that runs and has one tick."""
    host = HostProcess(tmp_path_factory.mktemp("host"))
    host.start()

    async def begin() -> None:
        feed = host.feed()
        await feed.advance(ticks(1, (1.1, 1.1001)))
        await feed.close()

    asyncio.run(begin())
    yield host
    host.kill()
