"""Builds a program once per source: translate, compile with g++, keep the result."""

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.mql.harness.constants import constants_header
from tests.mql.harness.prepass import Program, translate

REPOSITORY = Path(__file__).resolve().parents[3]
SOURCES = (REPOSITORY / "mql" / "Experts", REPOSITORY / "mql" / "Scripts", REPOSITORY / "tests" / "mql" / "experts")
INCLUDE = REPOSITORY / "mql" / "Include"
SHIM = Path(__file__).parent / "shim"
_FLAGS = (
    "-std=c++17",
    "-g1",
    "-pthread",
    "-fno-strict-aliasing",
    "-Wall",
    "-Wextra",
    "-Wshadow",
    "-Wno-unused-parameter",
    "-Wno-sign-compare",
    "-Wno-parentheses",
    "-Wno-unused-function",
    "-Wno-type-limits",
)
_PLAIN = ("-O1",)
_SANITIZE = ("-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
_refused: dict[Path, str] = {}


class BuildError(AssertionError):
    """The program does not build, or the lint or the compiler has something to say about it."""


def missing_compiler() -> str:
    """Return why nothing can be built here, empty when it can."""
    return "" if shutil.which("g++") else "g++ is missing: apt-get install g++"


@functools.cache
def has_tls() -> bool:
    """Tell whether OpenSSL's headers are here, so that the shim's TLS functions work."""
    found = subprocess.run(
        ["g++", "-E", "-x", "c++", "-", "-o", os.devnull],
        input=b"#include <openssl/ssl.h>\n",
        capture_output=True,
        check=False,
    )
    return found.returncode == 0


def find_source(name: str | Path) -> Path:
    """Return the path of a program of ours by its file name."""
    if Path(name).is_file():
        return Path(name)
    for folder in SOURCES:
        if (folder / name).is_file():
            return folder / name
    raise BuildError(f"{name} is in none of {', '.join(str(folder) for folder in SOURCES)}")


def cache_folder() -> Path:
    """Return where built programs are kept (MQL_CACHE, or under the user's cache folder)."""
    folder = (
        os.environ.get("MQL_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tickwire-mql"
    )
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)


def translated(name: str | Path) -> Program:
    """Translate a program of ours and everything it includes."""
    return translate(find_source(name), (INCLUDE,))


def build(name: str | Path, *, sanitized: bool = False, strict: bool = True) -> Path:
    """Return the executable of a program, built now or kept from before.

    Parameters
    ----------
    sanitized : with AddressSanitizer and UBSan
    strict : refuse a program that the lint or the compiler's warnings speak of

    Raises
    ------
    BuildError : with what was said
    """
    program = translated(name)
    if strict and program.problems:
        raise BuildError("MetaEditor would refuse this:\n" + "\n".join(program.problems))
    flags = [*_FLAGS, *(_SANITIZE if sanitized else _PLAIN), *(("-DMQL_TLS",) if has_tls() else ())]
    shim = _shim_folder()
    digest = hashlib.sha256(repr((program.code, flags, shim.name, strict)).encode()).hexdigest()[:24]
    target = cache_folder() / f"{Path(name).stem}-{digest}"
    if target.exists():
        os.utime(target)
        return target
    if target in _refused:
        raise BuildError(_refused[target])
    _precompile(flags, shim)
    try:
        _compile(program.code, flags, shim, target, strict)
    except BuildError as error:
        _refused[target] = str(error)
        raise
    _forget_old()
    return target


def _precompile(flags: list[str], shim: Path) -> None:
    """Compile the shim's headers once per set of flags: most of a program's build is theirs."""
    folder = shim / "mql.hpp.gch"
    target = folder / hashlib.sha256(repr(flags).encode()).hexdigest()[:16]
    if target.exists():
        return
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=shim.parent) as scratch:
        made = Path(scratch) / "made"
        # Without it a build takes longer, nothing more: a failure here shows again where it matters.
        command = ["g++", *flags, "-w", "-x", "c++-header", str(shim / "mql.hpp"), "-o", str(made)]
        done = subprocess.run(command, check=False, capture_output=True)
        if done.returncode == 0:
            os.replace(made, target)


def _compile(code: str, flags: list[str], shim: Path, target: Path, strict: bool) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        source, made = Path(folder) / "program.cpp", Path(folder) / "program"
        source.write_text(code)
        libraries = ["-lssl", "-lcrypto"] if has_tls() else []
        done = subprocess.run(
            ["g++", *flags, "-isystem", str(shim), str(source), "-o", str(made), *libraries],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or (strict and done.stderr.strip()):
            raise BuildError(done.stderr[:6000])
        os.replace(made, target)


def _shim_folder() -> Path:
    """Return a folder with the shim and the constants' header, named after what is in them."""
    texts = {path.name: path.read_text() for path in sorted(SHIM.glob("*.hpp"))}
    texts["constants.hpp"] = constants_header()
    folder = cache_folder() / ("shim-" + hashlib.sha256(repr(sorted(texts.items())).encode()).hexdigest()[:16])
    if not (folder / "ready").exists():
        folder.mkdir(exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text)
        (folder / "ready").touch()
    os.utime(folder)
    return folder


def _forget_old(keep: int = 60) -> None:
    found = sorted(cache_folder().iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found[keep:]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
