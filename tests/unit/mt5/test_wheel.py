"""Our names, values and ways to call against the package's own wheel for Windows, which pip downloads.

Optional, because it needs the package index: ``TICKWIRE_ONLINE_TESTS=1 make test ARGS=tests/unit/mt5/test_wheel.py``.
"""

import ast
import inspect
import operator
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from libs.common.mt5.constants import PACKAGE_CONSTANTS
from libs.common.mt5.sim.arguments import INVALID, UNNAMED, WRONG_NUMBER
from libs.common.mt5.sim.drop_in import VERSION
from libs.common.mt5.sim.package import FUNCTIONS, Package
from libs.common.mt5.sim.port import NO_CONNECTION, NO_VERSION, RECEIVE_FAILED, TRADING_DISABLED

pytestmark = pytest.mark.skipif(
    not os.environ.get("TICKWIRE_ONLINE_TESTS"), reason="needs the package index: set TICKWIRE_ONLINE_TESTS=1"
)
METH_KINDS = {1: "P", 3: "K", 4: "0"}
"""Flags of a compiled function's definition: VARARGS, VARARGS | KEYWORDS, NOARGS."""
IN_PYTHON = ("Buy", "Sell", "Close")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--platform", "win_amd64", "--python-version",
        "3.11", "--only-binary=:all:", "--dest", str(folder), f"MetaTrader5=={VERSION}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    if done.returncode != 0:
        pytest.skip(f"pip could not download MetaTrader5 {VERSION}: {done.stderr.strip().splitlines()[-1]}")
    [file] = folder.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder)
    return folder / "MetaTrader5"


@pytest.fixture(scope="module")
def source(wheel) -> ast.Module:
    return ast.parse((wheel / "__init__.py").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def compiled(wheel) -> bytes:
    [library] = wheel.glob("_core*.pyd")
    return library.read_bytes()


def value_of(node: ast.expr) -> int:
    """Work out a constant as it is written: a number, its negative, or two numbers joined by ``|``."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -value_of(node.operand)
    assert isinstance(node, ast.BinOp), ast.dump(node)
    assert isinstance(node.op, ast.BitOr), ast.dump(node)
    return operator.or_(value_of(node.left), value_of(node.right))


def test_constants_are_the_wheels(source) -> None:
    found = {
        node.targets[0].id: value_of(node.value)
        for node in source.body
        if isinstance(node, ast.Assign) and not node.targets[0].id.startswith("__")
    }
    assert found == PACKAGE_CONSTANTS


def test_the_calls_written_in_python_have_the_wheels_signatures(source) -> None:
    written = {node.name: node.args for node in source.body if isinstance(node, ast.FunctionDef)}
    for name in IN_PYTHON:
        theirs = written[name]
        ours = inspect.signature(getattr(Package, name)).parameters.values()
        by_kind = {kind: [p.name for p in ours if p.kind is kind and p.name != "self"] for kind in inspect._ParameterKind}
        assert by_kind[inspect.Parameter.POSITIONAL_OR_KEYWORD] == [argument.arg for argument in theirs.args]
        assert by_kind[inspect.Parameter.KEYWORD_ONLY] == [argument.arg for argument in theirs.kwonlyargs]


def method_flags(library: bytes) -> dict[str, int]:
    """Read the compiled functions' flags out of the library's method table (name, function, flags, text)."""
    header = struct.unpack_from("<I", library, 0x3C)[0]
    sections, optional = struct.unpack_from("<H", library, header + 6)[0], struct.unpack_from("<H", library, header + 20)[0]
    base = struct.unpack_from("<Q", library, header + 24 + 24)[0]
    places = []
    for number in range(sections):
        at = header + 24 + optional + 40 * number
        size, address, raw_size, raw = struct.unpack_from("<IIII", library, at + 8)
        places.append((base + address, max(size, raw_size), raw))

    def offset_of(address: int) -> int | None:
        return next((raw + address - start for start, size, raw in places if start <= address < start + size), None)

    flags = {}
    for at in range(0, len(library) - 32, 8):
        name_at, _, flag = struct.unpack_from("<QQI", library, at)
        offset = offset_of(name_at) if flag in METH_KINDS else None
        if offset is None or offset >= len(library):
            continue
        name = library[offset : library.find(b"\0", offset)]
        if name.decode("ascii", "replace") in FUNCTIONS:
            flags[name.decode("ascii")] = flag
    return flags


def test_every_compiled_function_is_called_the_wheels_way(compiled) -> None:
    found = {name: METH_KINDS[flag] for name, flag in method_flags(compiled).items()}
    assert found == {name: function.kind for name, function in FUNCTIONS.items() if name not in IN_PYTHON}


@pytest.mark.parametrize("words", [
    INVALID, UNNAMED, WRONG_NUMBER, NO_CONNECTION[1], NO_VERSION[1], RECEIVE_FAILED[1], TRADING_DISABLED[1],
    'Invalid "comment" argument', "Invalid 3rd unnamed argument", "Terminal: Call failed", "Terminal: Not found",
])  # fmt: skip
def test_our_words_are_the_wheels(compiled, words) -> None:
    assert words.encode() in compiled
