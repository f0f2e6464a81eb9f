"""deploy/new-env: passwords for the compose stack."""

import re
import stat
import subprocess
from pathlib import Path

from tests.unit.deploy.deployment import DEPLOY, ROOT


def new_env(target: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", str(DEPLOY / "new-env"), str(target)], capture_output=True, text=True, check=False)


def values(file: Path) -> dict[str, str]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_every_password_is_filled_differently_and_readable_by_the_server(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    assert new_env(file).returncode == 0
    found = values(file)
    assert set(found) == set(values(ROOT / ".env.example"))
    passwords = [value for name, value in found.items() if name.endswith("_PASSWORD")]
    # A letter first: nats-server would read 12e4 as a number.
    assert all(re.fullmatch(r"[a-z][a-z0-9]{40}", password) for password in passwords)
    assert len(set(passwords)) == len(passwords) == 12
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_passwords_that_exist_are_kept(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("mine", encoding="utf-8")
    answer = new_env(file)
    assert answer.returncode == 1
    assert "stays as it is" in answer.stderr
    assert file.read_text(encoding="utf-8") == "mine"


def test_passwords_are_not_committed() -> None:
    answer = subprocess.run(["git", "check-ignore", "-q", ".env"], cwd=ROOT, check=False)
    assert answer.returncode in (0, 128), ".env must be in .gitignore"  # 128: not a repository (a source archive)
