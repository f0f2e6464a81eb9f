"""Signing keys and bus passwords on disk, readable by their owner alone."""

import json
import os
import secrets
from pathlib import Path

from libs.common.errors import ConfigError
from libs.common.signing import Signer

SIGNERS = ("risk", "trainer")
"""Who signs: risk its approvals, trainer its bundles."""
AUDITOR = "auditor"
"""Who signs what a comparison found; no service, so its key is made when it is first needed."""
EA_KEY = "ea.key"
"""The secret that executor and Expert Advisor share, for the message codes of orders."""


def ensure_keys(root_dir: Path) -> None:
    """Create ``keys/<signer>.key`` (32 bytes, mode 0600) and ``keys/<signer>.pub`` where they are missing, and
    ``keys/ea.key``, the secret shared with Expert Advisors.
    """
    folder = _folder(root_dir)
    for signer in SIGNERS:
        ensure_signer(root_dir, signer)
    if not (folder / EA_KEY).exists():
        write_private(folder / EA_KEY, secrets.token_bytes(32))


def ensure_signer(root_dir: Path, signer: str) -> None:
    """Create one signer's key pair in ``keys`` where it is missing."""
    folder = _folder(root_dir)
    private = folder / f"{signer}.key"
    if not private.exists():
        write_private(private, secrets.token_bytes(32))
    (folder / f"{signer}.pub").write_bytes(Signer(private.read_bytes()).public_bytes)


def ensure_passwords(root_dir: Path, users: tuple[str, ...]) -> dict[str, str]:
    """Return a password per user, created at the first start and kept in ``keys/passwords.json`` (mode 0600)."""
    folder = _folder(root_dir)
    file = folder / "passwords.json"
    try:
        passwords: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    except ValueError as error:
        raise ConfigError(f"{file}: damaged ({error}). Delete it; new passwords are made at the next start.") from error
    missing = [user for user in users if user not in passwords]
    if missing:
        # A letter first: nats-server would read a value that begins with digits from its environment as a number.
        passwords |= {user: f"p{secrets.token_urlsafe(24)}" for user in missing}
        write_private(file, json.dumps(passwords, indent=1).encode())
    return passwords


def read_key(root_dir: Path, name: str) -> bytes:
    """Return the 32 bytes of ``keys/<name>``.

    Raises
    ------
    ConfigError : when the file is missing, is no key, or a private key is readable by others
    """
    file = root_dir / "keys" / name
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}. Run `tickwire keys init`.") from error
    if len(content) != 32:
        raise ConfigError(f"{file}: {len(content)} bytes, a key has 32. Run `tickwire keys init`.")
    if name.endswith(".key") and os.name == "posix" and file.stat().st_mode & 0o077:
        raise ConfigError(f"{file}: readable by other users. Run `chmod 600 {file}`.")
    return content


def _folder(root_dir: Path) -> Path:
    folder = root_dir / "keys"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be made ({error.strerror}). Name a data folder that can be written to."
        ) from error
    return folder


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
