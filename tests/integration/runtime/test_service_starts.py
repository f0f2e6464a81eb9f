"""What cannot be started says why in one line on standard error and ends with a code that is not 0."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest
import yaml

from libs.common.bus.server import EmbeddedServer
from libs.common.bus.streams import SERVICES
from libs.common.storage.keys import ensure_keys

ROOT = Path(__file__).resolve().parents[3]
PASSWORD = "a-password-nobody-may-read"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = EmbeddedServer(tmp_path_factory.mktemp("server"))
    asyncio.run(made.start())
    yield made
    asyncio.run(made.stop())


async def start(service, folder, config, *, path=None, **environment):
    """Run a service until it gives up; return (exit code, standard error, standard output)."""
    folder.mkdir(parents=True, exist_ok=True)
    file = path or folder / "config.yaml"
    if path is None:
        file.write_text(yaml.safe_dump({"system": {"data_dir": str(folder / "state")}, **config}))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"services.{service}", "--config", str(file), cwd=folder,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TICKWIRE_NATS_PASSWORD": PASSWORD, **environment},
    )
    try:
        out, error = await asyncio.wait_for(process.communicate(), 40)
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, error.decode(), out.decode()


def assert_one_clear_line(result, code, *parts):
    returned, error, out = result
    assert returned == code, (error, out)
    assert len(error.splitlines()) == 1, error
    assert error.startswith("error: ")
    for part in parts:
        assert part in error
    assert PASSWORD not in error + out
    assert "Traceback" not in error + out


async def test_a_misspelt_key_ends_every_service_with_the_right_spelling(tmp_path):
    results = await asyncio.gather(*(
        start(service, tmp_path / service, {"system": {"symbol": ["EURUSD"]}}) for service in SERVICES
    ))
    for service, result in zip(SERVICES, results, strict=True):
        assert_one_clear_line(
            result, 2, str(tmp_path / service / "config.yaml"), "unknown key 'symbol'", "did you mean 'symbols'"
        )


async def test_what_is_wrong_before_the_bus_is_reached_is_named(tmp_path):
    (tmp_path / "a_file").write_text("")
    cases = [
        ({"risk": {"no_such_limit_at_all": 1}}, {}, 2, ["risk", "unknown key 'no_such_limit_at_all'"]),
        ({}, {"path": tmp_path / "nowhere.yaml"}, 2, ["nowhere.yaml", "No such file", "--config"]),
        ({}, {}, 2, ["bus.url is empty", "TICKWIRE_BUS__URL"]),
        ({"bus": {"url": "nats://127.0.0.1:port"}}, {}, 1, ["nats://127.0.0.1:port", "bus.url looks like"]),
        ({"system": {"data_dir": str(tmp_path / "a_file")}}, {}, 2, ["a_file", "Set system.data_dir"]),
        ({"bus": {"password": "secret://NOWHERE"}}, {}, 2, ["bus.password", "secret 'NOWHERE' not found"]),
        ({}, {"TICKWIRE_RISK__MAX_SPREAD_POINTS": "-1"}, 2, ["max_spread_points"]),
    ]
    results = await asyncio.gather(*(
        start("risk", tmp_path / str(number), config, **more) for number, (config, more, *_) in enumerate(cases)
    ))
    for result, (_, _, code, parts) in zip(results, cases, strict=True):
        assert_one_clear_line(result, code, *parts)


KEYS = {"risk": "risk.key", "executor": "risk.pub", "inference": "trainer.pub", "trainer": "trainer.key"}


async def test_what_is_wrong_once_the_bus_is_reached_is_named(server, tmp_path):
    taken = socket.create_server(("127.0.0.1", 0))
    port = str(taken.getsockname()[1])
    bus = {"bus": {"url": server.url}, "instruments": {"EURUSD": {}}}

    def password(service):
        return {"TICKWIRE_NATS_PASSWORD": server.passwords[service]}

    cases = [("features", {}, 1, [server.url, "refuses user 'features'", "TICKWIRE_NATS_PASSWORD"])]
    cases += [(service, password(service), 2, [name, "tickwire keys init"]) for service, name in KEYS.items()]
    cases += [
        ("features", password("features") | {"TICKWIRE_HTTP_PORT": port}, 2, [f"127.0.0.1:{port}", "TICKWIRE_HTTP_PORT"]),
        ("features", password("features") | {"TICKWIRE_HTTP_PORT": "http"}, 2, ["127.0.0.1:http", "TICKWIRE_HTTP_PORT"]),
    ]
    results = await asyncio.gather(*(
        start(service, tmp_path / str(number), bus, **environment)
        for number, (service, environment, *_) in enumerate(cases)
    ))
    taken.close()
    for result, (service, _, code, parts) in zip(results, cases, strict=True):
        assert_one_clear_line(result, code, *parts)
        assert server.passwords[service] not in "".join(map(str, result))


async def test_damaged_state_is_refused_with_the_remedy_and_left_as_it_is(server, tmp_path):
    ensure_keys(tmp_path / "state")
    folder = tmp_path / "state" / "features" / "inputs"
    folder.mkdir(parents=True)
    (folder / "snapshot").write_bytes(b"x" * 100)
    result = await start(
        "features", tmp_path, {"bus": {"url": server.url}}, TICKWIRE_NATS_PASSWORD=server.passwords["features"]
    )
    assert result[0] != 0
    assert_one_clear_line(result, result[0], "snapshot", "damaged", "away")
    assert (folder / "snapshot").read_bytes() == b"x" * 100
