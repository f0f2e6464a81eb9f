"""The rule of place and the rules of import, read off the syntax trees of the files."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
HOUSES = tuple(name for name in ("libs", "services", "backtest", "tickwire") if (ROOT / name).is_dir())
SERVICES = sorted(p.name for p in (ROOT / "services").iterdir() if p.is_dir() and any(p.glob("*.py")))
CORE_SERVICES = ("ingest", "features", "inference", "risk", "executor", "trainer")

TOUCHES_THE_WORLD = frozenset({
    "aiohttp", "aiosqlite", "asyncio", "concurrent", "fcntl", "getpass", "glob", "http", "logging", "multiprocessing",
    "nats", "os", "pathlib", "platform", "polars", "prometheus_client", "psutil", "pyarrow", "queue", "random",
    "requests", "resource", "rich", "secrets", "select", "selectors", "shutil", "signal", "socket", "sqlite3",
    "ssl", "structlog", "subprocess", "sys", "tempfile", "threading", "time", "typer", "uuid", "uvloop", "yaml",
    "MetaTrader5",
})  # fmt: skip
"""A pure file has no clock, logger, I/O, chance or waiting, so it imports none of these."""
IMPURE_CALLS = frozenset({"open", "print", "input", "exec", "eval", "breakpoint"})
CLOCK_METHODS = frozenset({"now", "utcnow", "today"})
ONE_IMPORTER = {
    "nats": ("libs/common/bus/nats.py",),
    "prometheus_client": ("libs/common/runtime/metrics.py",),
    "MetaTrader5": ("libs/common/mt5/adapters/",),
    "lightgbm": ("libs/common/models/", "services/trainer/"),
    "torch": ("libs/common/models/", "services/trainer/"),
    "stable_baselines3": ("libs/common/models/", "services/trainer/"),
    "onnx": ("libs/common/models/", "services/trainer/"),
    "onnxruntime": ("libs/common/models/",),
    "polars": ("libs/common/storage/", "services/ingest/adapters/"),
    "aiosqlite": ("libs/common/storage/",),
}
"""Outside world -> the only places that may import it."""
VAGUE_NAMES = frozenset({"util", "utils", "helper", "helpers", "manager", "data", "info", "misc", "common"})


def files(*houses: str) -> list[str]:
    """Return the Python files of some houses, relative to the repository."""
    return sorted(str(p.relative_to(ROOT)) for house in houses for p in (ROOT / house).rglob("*.py"))


def is_pure(path: str) -> bool:
    """Tell whether the rule of place wants a file pure."""
    parts = Path(path).parts
    return not (
        parts[-1] in ("shell.py", "__main__.py")
        or "adapters" in parts[:-1]
        or parts[0] == "tickwire"
        or parts[:2] == ("services", "api")
        or (parts[:2] == ("libs", "common") and parts[2] in ("bus", "storage", "runtime", "config.py"))
    )


class Import(NamedTuple):
    """One imported module, with the line it is on."""

    module: str
    line: int


@cache
def tree(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), filename=path)


def imports(path: str) -> Iterator[Import]:
    """Yield every module a file imports, wherever in it; ``from a import b`` counts as ``a.b`` too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            yield Import(node.module or "", node.lineno)
            yield from (Import(f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


PURE = [path for path in files(*HOUSES) if is_pure(path)]


SPECIFICATIONS = ("libs/common/config.py", "libs/common/bus/streams.py")
"""In impure folders, but what cores take from them is data: section types, stream specifications."""


def imported_files(path: str) -> Iterator[tuple[str, Import]]:
    """Yield our own files that a file imports."""
    for imported in imports(path):
        file = imported.module.replace(".", "/") + ".py"
        if imported.module.split(".")[0] in HOUSES and (ROOT / file).is_file():
            yield file, imported


def test_a_pure_file_imports_nothing_that_touches_the_world() -> None:
    wrong = [
        f"{path}:{i.line}: {i.module}; move it to shell.py or adapters/"
        for path in PURE for i in imports(path) if i.module.split(".")[0] in TOUCHES_THE_WORLD
    ]  # fmt: skip
    assert not wrong, "\n".join(wrong)


def test_a_pure_file_imports_no_impure_one() -> None:
    wrong = [
        f"{path}:{i.line}: {file}"
        for path in PURE for file, i in imported_files(path) if not is_pure(file) and file not in SPECIFICATIONS
    ]  # fmt: skip
    assert not wrong, "\n".join(wrong)


def test_a_pure_file_reads_no_clock_no_file_and_no_unseeded_chance() -> None:
    wrong = [
        f"{path}:{node.lineno}: {ast.unparse(node.func)}"
        for path in PURE for node in ast.walk(tree(path)) if isinstance(node, ast.Call) and _is_impure(node)
    ]  # fmt: skip
    assert not wrong, "\n".join(wrong)


def _is_impure(node: ast.Call) -> bool:
    call = ast.unparse(node.func)
    name = call.rsplit(".", 1)[-1]
    unseeded = name == "default_rng" and not (node.args or node.keywords)
    legacy = re.fullmatch(r"(np|numpy)\.random\.(?!default_rng)[a-z]\w*", call) is not None
    clock = name in CLOCK_METHODS and ("datetime" in call or "date." in call)
    return call in IMPURE_CALLS or unseeded or legacy or clock


def test_a_pure_file_never_waits() -> None:
    wrong = [
        f"{path}:{node.lineno}"
        for path in PURE
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Await) or (isinstance(node, ast.AsyncFunctionDef) and not _is_only_a_shape(node))
    ]
    assert not wrong, "\n".join(wrong)


def _is_only_a_shape(node: ast.AsyncFunctionDef) -> bool:
    """Tell whether an async function is a protocol's: a docstring and dots."""
    return isinstance(node.body[-1], ast.Expr) and isinstance(node.body[-1].value, ast.Constant)


def test_libs_import_no_service_no_backtest_and_no_command() -> None:
    wrong = [
        f"{path}:{i.line}: {i.module}"
        for path in files("libs")
        for i in imports(path)
        if i.module.split(".")[0] in ("services", "backtest", "tickwire", "tests")
    ]
    assert not wrong, "\n".join(wrong)


def test_a_service_imports_no_other_service() -> None:
    wrong = []
    for path in files("services"):
        service = Path(path).parts[1]
        for imported in imports(path):
            house, *inner = imported.module.split(".")
            stranger = house in ("tickwire", "tests") or (house == "backtest" and service != "trainer")
            if stranger or (house == "services" and inner and inner[0] != service):
                wrong.append(f"{path}:{imported.line}: {imported.module}")
    assert not wrong, "\n".join(wrong)


def test_backtest_imports_pure_files_only() -> None:
    wrong = [
        f"{path}:{i.line}: {file}"
        for path in (files("backtest") if "backtest" in HOUSES else [])
        for file, i in imported_files(path)
        if not is_pure(file) and file not in SPECIFICATIONS
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("outside", ONE_IMPORTER)
def test_an_outside_world_has_one_importer(outside: str) -> None:
    importers = {
        path for path in files(*HOUSES) for imported in imports(path) if imported.module.split(".")[0] == outside
    }
    strangers = {path for path in importers if not path.startswith(ONE_IMPORTER[outside])}
    assert not strangers, f"{outside} is imported by {sorted(strangers)}, allowed is {ONE_IMPORTER[outside]}"


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("name", ["README.md", "config.py", "core.py", "shell.py", "__main__.py"])
def test_every_service_has_the_same_shape(service: str, name: str) -> None:
    assert (ROOT / "services" / service / name).is_file()


def test_all_services_of_the_flow_exist() -> None:
    assert set(CORE_SERVICES) <= set(SERVICES)


def test_a_file_says_what_it_knows_and_is_named_after_it() -> None:
    mute = [path for path in files(*HOUSES) if not ast.get_docstring(tree(path))]
    assert not mute, "a module starts with a sentence on what it knows"
    assert not [path for path in files(*HOUSES) if Path(path).stem in VAGUE_NAMES], "name it after what it knows"


def test_no_unfinished_business() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "X" + "XX")
    found = [
        f"{path}:{number}"
        for path in files(*HOUSES, "tests")
        for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1)
        if any(mark in line.split() or f"{mark}:" in line for mark in marks)
    ]
    assert not found
