"""How a service process starts and ends."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from libs.common.bus.nats import NatsBus
from libs.common.config import read_config
from libs.common.errors import ConfigError, DataError, TickwireError
from libs.common.runtime.http import HealthServer
from libs.common.runtime.log import configure_log
from libs.common.runtime.metrics import Metrics
from libs.common.runtime.runner import Runner
from libs.common.runtime.service import Service, ServiceContext

Build = Callable[[dict[str, Any], ServiceContext], Service]


def main(name: str, section: type[msgspec.Struct], build: Build) -> None:
    """Run a service with a core: read the config, connect, run until SIGTERM; the exit code tells how it went."""

    async def serve(config: dict[str, Any], context: ServiceContext) -> None:
        service = build(config, context)
        runner = Runner(
            name, service, config["system"], context.bus, context.data_dir, context.log, context.metrics, code_version()
        )
        await with_health(context, runner.alive, runner.ready, runner.run, runner.stop)

    run_process(name, section, serve)


def run_process(
    name: str, section: type[msgspec.Struct], serve: Callable[[dict[str, Any], ServiceContext], Awaitable[None]]
) -> None:
    """Read the config, connect to the bus and serve.

    The exit code is 0 after a clean stop, 2 for a wrong setting or unusable data, 1 for a failure.
    """
    parser = argparse.ArgumentParser(prog=f"python -m services.{name}")
    parser.add_argument("--config", default=None, help="config file (YAML)")
    arguments = parser.parse_args()
    try:
        config = read_config(arguments.config, {name: section})
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    use_fast_loop()
    raise SystemExit(asyncio.run(_run(name, config, serve)))


async def _run(
    name: str, config: dict[str, Any], serve: Callable[[dict[str, Any], ServiceContext], Awaitable[None]]
) -> int:
    system, bus_config = config["system"], config["bus"]
    try:
        root, data_dir = _folders(system.data_dir, name)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    log = configure_log(name, root / "logs", system.log_level)
    bus: NatsBus | None = None
    try:
        if not bus_config.url:
            raise ConfigError("bus.url is empty. Set it (TICKWIRE_BUS__URL) or start the whole stack with `tickwire up`.")
        password = bus_config.password or os.environ.get("TICKWIRE_NATS_PASSWORD", "")
        bus = await NatsBus.connect(bus_config.url, user=name, password=password)
        context = ServiceContext(
            name=name, data_dir=data_dir, root_dir=root, bus=bus, log=log, metrics=Metrics()
        )
        await serve(config, context)
    except (ConfigError, DataError) as error:
        # Starting again would end the same way.
        log.error("unusable_input", error=str(error))
        print(f"error: {error}", file=sys.stderr)
        return 2
    except TickwireError as error:
        log.error("failed", error=str(error))
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Exception:
        log.exception("crashed")
        return 1
    finally:
        if bus is not None:
            await bus.close()
    log.info("stopped")
    return 0


def _folders(data_dir: str, name: str) -> tuple[Path, Path]:
    root = Path(data_dir).resolve()
    own = root / name
    try:
        for folder in (own, root / "logs"):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be created ({error.strerror}). Set system.data_dir.") from error
    return root, own


async def with_health(
    context: ServiceContext,
    alive: Callable[[], str],
    ready: Callable[[], str],
    run: Callable[[], Awaitable[None]],
    stop: Callable[[], None],
) -> None:
    """Run with HTTP probes, discovery and signal handlers."""
    name, metrics = context.name, context.metrics
    health = HealthServer(metrics, alive, ready)
    host, port = os.environ.get("TICKWIRE_HTTP_HOST", "127.0.0.1"), os.environ.get("TICKWIRE_HTTP_PORT", "0")
    try:
        await health.start(host, int(port), context.data_dir / "http.json")
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"{host}:{port}: cannot listen ({error}). Set TICKWIRE_HTTP_HOST and TICKWIRE_HTTP_PORT (0 takes a free port)."
        ) from error
    metrics.gauge("tickwire_service_info").labels(service=name, version=code_version()).set(1)
    metrics.gauge("tickwire_service_start_seconds").labels(service=name).set_to_current_time()
    await context.bus.announce(f"tickwire-{name}", code_version(), f"Tickwire's {name} service")
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop)
    context.log.info("started", pid=os.getpid(), http_port=health.port, version=code_version())
    try:
        await run()
    finally:
        await health.stop()


def use_fast_loop() -> None:
    """Use uvloop where it exists (not on Windows)."""
    try:
        import uvloop  # noqa: PLC0415 - absent on Windows
    except ImportError:
        return
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


def code_version() -> str:
    """Return the installed version of Tickwire."""
    try:
        return version("tickwire")
    except PackageNotFoundError:
        return "0.0.0"
