"""What the machine offers, read from made-up files."""

from pathlib import Path

import pytest

from tickwire.environment import (
    Check,
    available_cores,
    available_memory_bytes,
    check_cores,
    check_cpu_flags,
    check_disk,
    check_memory,
    check_package,
    check_python,
    cpu_flags,
    is_usable,
    judge_server_version,
    pinned_versions,
    report,
)

GIB = 2**30


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def own_groups(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "cgroup"
    file.write_text(text)
    return file


def test_a_version_two_limit_anywhere_above_us_counts(tmp_path: Path) -> None:
    own = own_groups(tmp_path, "0::/pod/box\n")
    root = write(
        tmp_path / "fs",
        {
            "pod/box/memory.max": "max\n", "pod/memory.max": f"{3 * GIB}\n",
            "pod/box/cpu.max": "max 100000\n", "pod/cpu.max": "50000 100000\n",
        },
    )
    assert available_memory_bytes(root, own, total=16 * GIB) == 3 * GIB
    assert available_cores(root, own) == 0.5


def test_in_a_container_the_limit_stands_at_the_root(tmp_path: Path) -> None:
    own = own_groups(tmp_path, "0::/../../kubepods/pod1\n")
    root = write(tmp_path / "fs", {"memory.max": f"{GIB}\n", "cpu.max": "20000 100000\n"})
    assert available_memory_bytes(root, own, total=16 * GIB) == GIB
    assert available_cores(root, own) == pytest.approx(0.2)


def test_version_one_limits_count_and_unlimited_ones_do_not(tmp_path: Path) -> None:
    own = own_groups(tmp_path, "4:memory:/box\n2:cpu,cpuacct:/box\n1:freezer:/\n")
    root = write(
        tmp_path / "fs",
        {
            "memory/box/memory.limit_in_bytes": f"{2 * GIB}\n", "memory/memory.limit_in_bytes": "9223372036854771712\n",
            "cpu/box/cpu.cfs_quota_us": "-1\n", "cpu/box/cpu.cfs_period_us": "100000\n",
            "cpu/cpu.cfs_quota_us": "30000\n", "cpu/cpu.cfs_period_us": "100000\n",
        },
    )
    assert available_memory_bytes(root, own, total=16 * GIB) == 2 * GIB
    assert available_cores(root, own) == pytest.approx(0.3)


def test_without_cgroups_the_machine_counts(tmp_path: Path) -> None:
    nowhere = tmp_path / "nothing"
    assert available_memory_bytes(nowhere, nowhere, total=5 * GIB) == 5 * GIB
    assert available_cores(nowhere, nowhere) >= 1.0


@pytest.mark.parametrize(
    ("check", "state"),
    [
        (check_python((3, 10, 9)), "missing"),
        (check_python((3, 11, 7)), "ok"),
        (check_python((3, 13, 0)), "warning"),
        (check_memory(GIB), "missing"),
        (check_memory(4 * GIB), "warning"),
        (check_memory(8 * GIB), "ok"),
        (check_cores(0.5), "missing"),
        (check_cores(2.0), "warning"),
        (check_cores(4.0), "ok"),
        (check_cpu_flags(frozenset({"avx2", "fma"}), "x86_64"), "ok"),
        (check_cpu_flags(frozenset({"sse2"}), "x86_64"), "warning"),
        (check_cpu_flags(frozenset(), "aarch64"), "ok"),
        (judge_server_version("nats-server: v2.15.1"), "ok"),
        (judge_server_version("nats-server: v2.10.4"), "missing"),
        (check_package("no-such-package-at-all", "nothing", {}), "missing"),
        (check_package("typer", "typer", {"typer": "0.0.1"}), "warning"),
        (check_package("typer", "typer", {}), "ok"),
        (check_package("typer", "a_module_that_is_not_there", {}), "missing"),
    ],
)
def test_each_finding_is_judged_and_has_a_remedy_when_not_well(check: Check, state: str) -> None:
    assert check.state == state
    assert bool(check.remedy) is (state != "ok")


def test_one_missing_thing_makes_it_unusable_and_a_warning_does_not() -> None:
    fine, doubtful, bad = Check("a", ""), Check("b", "", "warning", "x"), Check("c", "", "missing", "y")
    assert is_usable([fine, doubtful])
    assert not is_usable([fine, bad])
    assert report([bad]) == {
        "usable": False, "checks": [{"name": "c", "found": "", "state": "missing", "remedy": "y"}]
    }


def test_a_disk_check_looks_at_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    assert str(tmp_path) in check_disk(tmp_path / "not" / "yet").found


def test_flags_and_pins_are_read_from_their_files(tmp_path: Path) -> None:
    cpuinfo, pins = tmp_path / "cpuinfo", tmp_path / "constraints.txt"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx2 fma\n")
    pins.write_text("# tested\nnats-py==2.16.0\nPyYAML==6.0.3 ; python_version > '3'\n\n")
    assert cpu_flags(cpuinfo) == {"fpu", "avx2", "fma"}
    assert cpu_flags(tmp_path / "none") == frozenset()
    assert pinned_versions(pins) == {"nats-py": "2.16.0", "pyyaml": "6.0.3"}
