"""What is installed, pinned and offered as commands."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.architecture.test_place import HOUSES, files, imports

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONSTRAINTS = (ROOT / "requirements" / "constraints.txt").read_text(encoding="utf-8").splitlines()


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: list[str]) -> set[str]:
    return {canonical(match[0]) for item in requirements if (match := re.match(r"[A-Za-z0-9._-]+", item))}


def required() -> set[str]:
    """Return every package any extra asks for."""
    groups = PROJECT["optional-dependencies"].values()
    return names(PROJECT["dependencies"]) | {name for group in groups for name in names(group)} - {"tickwire"}


@pytest.mark.parametrize("line", CONSTRAINTS)
def test_a_constraint_is_a_name_and_a_version_and_nothing_else(line: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)


def test_every_required_package_is_pinned_once() -> None:
    pinned = [canonical(line.split("==")[0]) for line in CONSTRAINTS]
    assert len(pinned) == len(set(pinned))
    # MetaTrader5 exists for Windows only; its version is the terminal's business.
    assert required() - {"metatrader5"} <= set(pinned)
    assert "torch==2.13.0" in CONSTRAINTS


def test_every_import_is_of_a_required_package() -> None:
    owners = packages_distributions()
    missing = set()
    for path in files(*HOUSES):
        for imported in imports(path):
            root = imported.module.split(".")[0]
            if root in sys.stdlib_module_names or root in HOUSES or root == "tests":
                continue
            distributions = {canonical(name) for name in owners.get(root, [root])}
            if not distributions & required():
                missing.add((root, path))
    assert not missing


SERVICES = ("ingest", "features", "inference", "risk", "executor", "trainer")


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_an_extra(service: str) -> None:
    assert service in PROJECT["optional-dependencies"]


WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
import {modules}
"""
TOOLS = ("provision", "status", "tail", "control", "nats_config", "keys", "env")


@pytest.mark.parametrize(("extra", "modules"), [
    *((service, f"services.{service}.__main__, services.{service}.shell")
      for service in SERVICES),
    *(("", f"tickwire.commands.{command}") for command in TOOLS),
])  # fmt: skip
def test_what_an_image_runs_needs_no_package_that_the_image_lacks(extra: str, modules: str) -> None:
    """An image holds the packages of one extra, the tools' image those that all services need."""
    extras = PROJECT["optional-dependencies"]
    there = names(PROJECT["dependencies"]) | names(extras.get(extra, []))
    elsewhere = {name for service in (*SERVICES, "backtest") for name in names(extras[service])} - there - {"tickwire"}
    absent = sorted(
        root for root, owners in packages_distributions().items() if {canonical(name) for name in owners} & elsewhere
    )
    assert "optuna" in absent, "the search over parameters is in no image"
    code = WITHOUT.format(absent=absent, modules=modules)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-600:]


def test_help_lists_every_target_of_the_makefile() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.findall(r"^\.PHONY: (.*)$", text, re.M)[0].split())
    # Under `make test` this is a make within a make, which would announce its directory.
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--no-print-directory", "help"]
    shown = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=True).stdout
    assert {line.split()[0] for line in shown.splitlines()[1:]} == phony
    assert phony == set(re.findall(r"^([a-z]+):.*##", text, re.M))
