"""What a service is to the runtime: a core, perhaps effects, and the context its shell is built in."""

from pathlib import Path
from typing import Any, Protocol

import msgspec

from libs.common.bus.nats import NatsBus
from libs.common.core import Core, Effect, EffectResult
from libs.common.runtime.metrics import Metrics


class ServiceContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a shell gets to build its service with.

    Parameters
    ----------
    name : service name
    data_dir : the service's own folder, exists
    root_dir : the system's folder; keys are in ``root_dir/keys``
    bus : connected
    log : structlog logger
    metrics : the declared metrics
    """

    name: str
    data_dir: Path
    root_dir: Path
    bus: NatsBus
    log: Any
    metrics: Metrics


class Effects(Protocol):
    """Does what a core may not: waits for disks, child processes, brokers."""

    async def prepare(self) -> None:
        """Open files and fill local caches; called before the core is restored."""
        ...

    async def perform(self, effect: Effect) -> EffectResult:
        """Do it. The same ``effect_id`` may come again after a crash and must do no harm."""
        ...

    async def close(self) -> None: ...


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A core and what its shell adds.

    Parameters
    ----------
    observe : called with every message the core was handed or returned, for metrics; never during replay
    """

    core: Core
    effects: Effects | None = None
    observe: Any = None
