"""The recipe for a real terminal: the installer stays the user's, secrets stay out, the settings are ones we know."""

import re
import subprocess
from pathlib import Path

import yaml

from tickwire.sections import read_all

ROOT = Path(__file__).parents[3]
RECIPE = ROOT / "deploy" / "mt5"
TEXTS = {file.name: file.read_text(encoding="utf-8") for file in RECIPE.iterdir() if file.is_file()}


def test_no_terminal_is_downloaded() -> None:
    addresses = {address for text in TEXTS.values() for address in re.findall(r"https?://([^/\s\"']+)", text)}
    assert addresses <= {"www.python.org", "dl.winehq.org"}
    assert "download.mql5.com" not in "".join(TEXTS.values())


def test_the_windows_python_is_checked_by_its_sum() -> None:
    assert "sha256sum -c" in TEXTS["Dockerfile"]
    assert 'test -n "$PYTHON_EMBED_SHA256"' in TEXTS["Dockerfile"]


def test_the_container_runs_without_rights_and_without_a_screen_on_the_network() -> None:
    service = yaml.safe_load(TEXTS["compose.yaml"])["services"]["mt5"]
    assert service["cap_drop"] == ["ALL"]
    assert "ports" not in service
    assert "USER tickwire" in TEXTS["Dockerfile"]
    assert "-nolisten tcp" in TEXTS["entrypoint.sh"]


def test_both_services_leave_the_other_stack_and_use_its_volume_of_public_keys() -> None:
    recipe = yaml.safe_load(TEXTS["compose.yaml"])
    assert all(recipe["services"][name]["profiles"] for name in ("ingest", "executor"))
    volumes = yaml.safe_load((ROOT / "compose.yaml").read_text())["volumes"]
    used = {volume.partition(":")[0] for volume in recipe["services"]["mt5"]["volumes"] if not volume.startswith(".")}
    assert used <= set(volumes) | set(recipe["volumes"])


def test_the_config_is_one_the_services_accept_and_holds_no_password() -> None:
    raw = yaml.safe_load(TEXTS["config.yaml"])
    assert raw["mt5"]["password"] == "secret://TICKWIRE_MT5_PASSWORD"
    sections = read_all(RECIPE / "config.yaml", {"TICKWIRE_MT5_PASSWORD": "x"})
    assert (sections["executor"].broker, sections["ingest"].adapter) == ("mt5", "mt5")
    assert (sections["system"].mode, sections["executor"].mt5.account.trade_mode) == ("paper", "demo")


def test_the_environment_of_the_image_is_read_as_settings() -> None:
    found = {
        name: text.strip("'") for name, text in re.findall(r"(TICKWIRE_MT5__\w+)=('[^']*'|\S+)", TEXTS["Dockerfile"])
    }
    sections = read_all(RECIPE / "config.yaml", {"TICKWIRE_MT5_PASSWORD": "x", **found})
    assert sections["mt5"].python == ("wine", "/opt/winpython/python.exe")
    assert sections["mt5"].portable


def test_the_scripts_are_valid_shell() -> None:
    for file in RECIPE.glob("*.sh"):
        subprocess.run(["sh", "-n", str(file)], check=True)
        assert file.stat().st_mode & 0o111
