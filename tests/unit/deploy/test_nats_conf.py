"""deploy/nats/nats.conf, run by a real server, and `tickwire provision` against it."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from libs.common.bus.nats import NatsBus
from libs.common.bus.server import die_with_parent, free_port, server_program
from libs.common.bus.streams import USERS
from libs.common.errors import ConfigError
from libs.common.messages.control import Halt
from libs.common.signing import Signer, Verifier
from libs.common.storage.keys import read_key
from tests.unit.deploy.deployment import DEPLOY
from tickwire.commands.provision import deal_keys
from tickwire.main import app
from tickwire.stack import password_variable

CONF = DEPLOY / "nats" / "nats.conf"
PASSWORDS = {user: f"p{number}e{number}" for number, user in enumerate(USERS)}
runner = CliRunner()


@pytest.fixture(autouse=True)
def _as_in_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("TICKWIRE_"):
            monkeypatch.delenv(name)
    for user in ("admin", "system"):
        monkeypatch.setenv(password_variable(user), PASSWORDS[user])


class Server:
    """A nats-server on a configuration text, its addresses and store moved to where a test may have them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, text: str) -> str:
        """Start it and return its URL."""
        text = text.replace('"0.0.0.0:4222"', f'"127.0.0.1:{self.port}"').replace('http: "0.0.0.0:8222"', "")
        file = self._folder / "nats.conf"
        file.write_text(text.replace("/data/jetstream", str(self._folder / "jetstream")), encoding="utf-8")
        variables = {password_variable(user): password for user, password in PASSWORDS.items()}
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [server_program(), "-c", str(file)], env={**os.environ, **variables}, stdout=log, stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - a prctl and nothing else
            )
        return f"nats://127.0.0.1:{self.port}"

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.stop()


def provision(url: str, *arguments: str) -> tuple[int, str]:
    result = runner.invoke(app, ["provision", *arguments], env={"TICKWIRE_BUS__URL": url, "COLUMNS": "200"})
    return result.exit_code, result.output


def test_the_committed_configuration_is_what_the_command_prints() -> None:
    result = runner.invoke(app, ["nats-config"])
    assert result.exit_code == 0
    assert result.output == CONF.read_text(encoding="utf-8"), "run: tickwire nats-config > deploy/nats/nats.conf"


async def test_the_committed_configuration_is_provisioned_and_keeps_users_apart(server: Server, tmp_path: Path) -> None:
    url = server.start(CONF.read_text(encoding="utf-8"))
    code, output = await _in_thread(url, "--keys", str(tmp_path / "keys"))
    assert code == 0, output
    assert "syncs every write" in output
    code, output = await _in_thread(url, "--keys", str(tmp_path / "keys"))
    assert code == 0, output

    halt = Halt(ts_event_ns=1, ts_init_ns=1, command_id="a", issued_by="test", reason="test")
    operator = await NatsBus.connect(url, user="operator", password=PASSWORDS["operator"])
    await operator.publish(halt)
    await operator.close()
    observer = await NatsBus.connect(url, user="observer", password=PASSWORDS["observer"])
    observer._js._timeout = 0.3
    with pytest.raises(TimeoutError):  # the server drops it and says nothing
        await observer.publish(halt)
    await observer.close()


async def test_a_server_that_does_not_sync_its_writes_is_refused(server: Server) -> None:
    url = server.start(CONF.read_text(encoding="utf-8").replace("sync_interval: always", "sync_interval: 2m"))
    code, output = await _in_thread(url)
    assert code == 2
    assert "does not sync every write" in output


async def test_wrong_passwords_and_missing_servers_end_with_the_remedy(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, output = await _in_thread(f"nats://127.0.0.1:{server.port}", "--wait", "0.2")
    assert code == 2
    assert "no NATS server answers" in output

    url = server.start(CONF.read_text(encoding="utf-8"))
    monkeypatch.setenv(password_variable("admin"), "wrong")
    code, output = await _in_thread(url)
    assert code == 2
    assert "refuses user 'admin'" in output

    monkeypatch.delenv(password_variable("system"))
    assert "Set TICKWIRE_NATS_SYSTEM_PASSWORD" in (await _in_thread(url))[1]


async def _in_thread(url: str, *arguments: str) -> tuple[int, str]:
    # The command has an event loop of its own.
    return await asyncio.to_thread(provision, url, *arguments)


def test_keys_are_dealt_apart_and_kept(tmp_path: Path) -> None:
    deal_keys(tmp_path)
    deal_keys_again = {path.name: path.read_bytes() for path in tmp_path.glob("*/*")}
    deal_keys(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*/*")} == deal_keys_again
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("*/*")) == [
        "executor/ea.key", "executor/risk.pub", "public/risk.pub", "public/trainer.pub", "risk/risk.key",
        "trainer/trainer.key",
    ]
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "keys").symlink_to(tmp_path / "risk")
    signer = Signer(read_key(tmp_path / "state", "risk.key"))
    assert signer.public_bytes == (tmp_path / "public" / "risk.pub").read_bytes()
    Verifier((tmp_path / "executor" / "risk.pub").read_bytes())
    for secret in ("executor/ea.key", "risk/risk.key", "trainer/trainer.key"):
        assert (tmp_path / secret).stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_no_key_is_not_overwritten(tmp_path: Path) -> None:
    deal_keys(tmp_path)
    (tmp_path / "risk" / "risk.key").write_bytes(b"short")
    with pytest.raises(ConfigError, match=r"5 bytes, a key has 32\. Move it away"):
        deal_keys(tmp_path)


def test_provisioning_needs_an_address() -> None:
    result = runner.invoke(app, ["provision"])
    assert result.exit_code == 2
    assert "bus.url is empty" in result.output
