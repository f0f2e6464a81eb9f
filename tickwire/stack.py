"""The whole stack on this machine: an embedded nats-server and one process per service."""

import asyncio
import contextlib
import importlib
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from libs.common.bus.server import EmbeddedServer
from libs.common.bus.streams import SERVICES, USERS
from libs.common.config import BusConfig, SystemConfig
from libs.common.errors import BusError, ConfigError
from libs.common.storage.keys import ensure_keys, ensure_passwords
from tickwire.runfile import RunFile, read_run_file, remove_run_file, write_run_file
from tickwire.supervisor import LAST_LINES, ProcessUnit, RestartPolicy, Supervisor, Unit
from tickwire.terminal import USERS as TERMINAL_USERS
from tickwire.terminal import ExpertPlan, TerminalPlan

REPOSITORY = Path(__file__).resolve().parent.parent
"""Where ``services`` can be imported from, whatever the working folder is."""


_POLL_S = 0.05


class ServerUnit:
    """The embedded nats-server as something the supervisor keeps alive (same port, same store)."""

    name = "nats"

    def __init__(self, server: EmbeddedServer) -> None:
        self.server = server

    @property
    def last_lines(self) -> deque[str]:
        lines: list[str] = []
        with contextlib.suppress(OSError):
            log = self.server.folder / "nats-server.log"
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        return deque(lines, maxlen=LAST_LINES)

    @property
    def pid(self) -> int | None:
        process = self.server.process
        return None if process is None or process.poll() is not None else process.pid

    async def start(self) -> None:
        await self.server.start()

    async def wait(self) -> int:
        process = self.server.process
        if process is None:
            raise RuntimeError("nats-server was not started")
        # The server is no asyncio process, so that it can be started outside a loop; its end is polled for.
        while (code := process.poll()) is None:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)
        return code

    async def terminate(self) -> None:
        await self.server.stop()


class Stack:
    """Starts, keeps and stops everything one ``tickwire up`` or ``tickwire demo`` runs.

    Parameters
    ----------
    config_file : what the services read
    system, bus : its sections of these names, environment applied
    services : which ones to run
    on_line : called with (service, line) for every line a service writes
    on_event : called with (name, text) when a process starts or dies
    log_dir : the services' output is appended to ``<service>.log`` here as well
    terminal : a simulated terminal to run beside the bus
    expert : an Expert Advisor to run on it
    """

    def __init__(
        self,
        config_file: Path,
        system: SystemConfig,
        bus: BusConfig,
        *,
        services: tuple[str, ...] = SERVICES,
        on_line: Callable[[str, str], None] | None = None,
        on_event: Callable[[str, str], None] | None = None,
        log_dir: Path | None = None,
        policy: RestartPolicy | None = None,
        terminal: TerminalPlan | None = None,
        expert: ExpertPlan | None = None,
    ) -> None:
        self.data_dir = Path(system.data_dir)
        self.url = bus.url
        self.passwords: dict[str, str] = {}
        self._config_file, self._system, self._bus, self._names = config_file, system, bus, services
        self._on_line, self._log_dir, self._policy = on_line, log_dir, policy
        self._terminal = terminal
        self._expert = expert
        self._report = on_event or (lambda name, text: None)
        self._foundation: Supervisor | None = None
        self._services: Supervisor | None = None
        self._started_ns = time.time_ns()

    async def start(self) -> None:
        """Start the bus, then the services.

        Raises
        ------
        BusError : the port is in use, or the server does not start
        ConfigError : another stack runs in the same data folder
        """
        self._claim_data_dir()
        ensure_keys(self.data_dir)
        self.passwords = ensure_passwords(self.data_dir, USERS)
        await self._start_foundation()
        units = [self._service(name) for name in self._names]
        if self._expert is not None:
            units.append(self._expert_unit(self._expert))
        self._services = Supervisor(units, policy=self._policy, on_event=self._on_event)
        await self._services.start()
        self._write_run_file()

    async def wait(self) -> None:
        """Wait until something cannot be kept alive.

        Raises
        ------
        StackFailed : naming the process and its last lines
        """
        waiting = [asyncio.ensure_future(part.wait()) for part in (self._foundation, self._services) if part]
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in waiting:
                task.cancel()

    async def stop_service(self, name: str) -> None:
        """End one service for good; the others go on."""
        if self._services is not None:
            await self._services.stop_unit(name)

    async def stop_services(self) -> None:
        """End the services in upstream order; the bus stays."""
        if self._services is not None:
            await self._services.stop()
            self._services = None

    async def stop(self) -> None:
        """End the services, then the bus."""
        await self.stop_services()
        if self._foundation is not None:
            await self._foundation.stop()
            self._foundation = None
        remove_run_file(self.data_dir)

    @property
    def restarts(self) -> dict[str, int]:
        """How often each process was started again."""
        parts = [part.restarts for part in (self._foundation, self._services) if part is not None]
        return {name: count for part in parts for name, count in part.items()}

    def pid_of(self, name: str) -> int | None:
        """Return the process id of ``nats`` or of a service while it runs."""
        for part in (self._foundation, self._services):
            for unit in part.units if part is not None else ():
                if unit.name == name:
                    return unit.pid
        return None

    def _claim_data_dir(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        running = read_run_file(self.data_dir)
        if running is not None and running.pid != os.getpid():
            raise ConfigError(
                f"{self.data_dir}: another stack (pid {running.pid}) runs here. Stop it with Ctrl-C in its terminal, "
                "or set system.data_dir to another folder."
            )

    async def _start_foundation(self) -> None:
        """Start the bus, where it is ours, and the simulated terminal, where there is one."""
        units: list[Unit] = []
        server: EmbeddedServer | None = None
        if not self._bus.url:
            if self._bus.port:
                check_port_is_free(self._bus.port)
            server = EmbeddedServer(
                self.data_dir, port=self._bus.port, max_stream_bytes=self._bus.max_stream_bytes
            )
            units.append(ServerUnit(server))
        if self._terminal is not None:
            units.append(self._terminal_unit(self._terminal))
        if not units:
            return
        self._foundation = Supervisor(units, policy=self._policy, on_event=self._on_event)
        await self._foundation.start()
        if server is not None:
            self.url = server.url
            self._report("nats", f"nats-server {server.version} at {server.url}")

    def _terminal_unit(self, plan: TerminalPlan) -> ProcessUnit:
        check_port_is_free(int(plan.listen.rpartition(":")[2]))
        environment = service_environment("", "", self.data_dir) | plan.environment()
        return ProcessUnit(
            "terminal", plan.command(self.data_dir), environment, on_line=self._on_line,
            log_file=None if self._log_dir is None else self._log_dir / "terminal.log",
        )

    def _expert_unit(self, plan: ExpertPlan) -> ProcessUnit:
        environment = service_environment(self.url, "", self.data_dir)
        if self._terminal is not None:
            environment |= self._terminal.environment()
        return ProcessUnit(
            "expert", plan.command(self.url, self.data_dir), environment, on_line=self._on_line,
            log_file=None if self._log_dir is None else self._log_dir / "expert.log",
        )

    def _service(self, name: str) -> ProcessUnit:
        environment = service_environment(self.url, self._password(name), self.data_dir)
        if self._terminal is not None and name in TERMINAL_USERS:
            environment |= self._terminal.environment()
        return ProcessUnit(
            name,
            service_command(name, self._config_file),
            environment,
            on_line=self._on_line,
            log_file=None if self._log_dir is None else self._log_dir / f"{name}.log",
        )

    def _password(self, name: str) -> str:
        if self._bus.url:
            return os.environ.get(password_variable(name)) or self.passwords[name]
        return self.passwords[name]

    def _on_event(self, name: str, text: str) -> None:
        self._report(name, text)
        if self._services is not None and text.startswith("started"):
            self._write_run_file()

    def _write_run_file(self) -> None:
        pids = {name: pid for name in self._names if (pid := self.pid_of(name)) is not None}
        write_run_file(
            self.data_dir,
            RunFile(
                url=self.url,
                pid=os.getpid(),
                server_pid=self.pid_of("nats") or 0,
                account=self._system.account,
                symbols=self._system.symbols,
                config=str(self._config_file),
                started_ns=self._started_ns,
                services=pids,
            ),
        )


def service_command(name: str, config_file: Path) -> tuple[str, ...]:
    """Return the command line of a service."""
    return (sys.executable, "-m", f"services.{name}", "--config", str(config_file))


def service_environment(
    url: str, password: str, data_dir: Path, environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the environment a service process gets: ours, and where and as whom to connect."""
    path = os.pathsep.join(filter(None, (str(REPOSITORY), environ.get("PYTHONPATH", ""))))
    return {
        **environ,
        "PYTHONPATH": path,
        "PYTHONUNBUFFERED": "1",
        "TICKWIRE_BUS__URL": url,
        "TICKWIRE_SYSTEM__DATA_DIR": str(data_dir),
        "TICKWIRE_NATS_PASSWORD": password,
    }


def password_variable(user: str) -> str:
    """Return the environment variable that holds a user's password where the bus is not the embedded one.

    >>> password_variable("risk")
    'TICKWIRE_NATS_RISK_PASSWORD'
    """
    return f"TICKWIRE_NATS_{user.upper()}_PASSWORD"


def check_port_is_free(port: int) -> None:
    """Refuse a port somebody else listens on.

    Raises
    ------
    BusError : naming the port, who has it where that can be told, and the remedy
    """
    with socket.socket() as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise BusError(
                f"port {port} on 127.0.0.1 is in use{_owner(port)} ({error.strerror}). Stop that process, or set "
                "bus.port (--port) to another port, or to 0 for a free one."
            ) from error


def _owner(port: int) -> str:
    try:
        psutil = importlib.import_module("psutil")
    except ImportError:
        return ""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                if connection.pid is None:
                    return ""
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""


@contextlib.contextmanager
def stop_signals(stop: asyncio.Event) -> Iterator[None]:
    """Set the event on Ctrl-C, SIGTERM or a closed terminal while inside."""
    loop = asyncio.get_running_loop()
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    for name in names:
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt instead
            loop.add_signal_handler(getattr(signal, name), stop.set)
    try:
        yield
    finally:
        for name in names:
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(getattr(signal, name))


async def wait_for_stop(stack: Stack, stop: asyncio.Event) -> None:
    """Wait until asked to stop or until the stack fails.

    Raises
    ------
    StackFailed : when a process could not be kept alive
    """
    failing = asyncio.ensure_future(stack.wait())
    asked = asyncio.ensure_future(stop.wait())
    try:
        done, _ = await asyncio.wait((failing, asked), return_when=asyncio.FIRST_COMPLETED)
        if failing in done:
            failing.result()
    finally:
        failing.cancel()
        asked.cancel()
