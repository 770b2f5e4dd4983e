"""Reads and writes the file with the names and password hashes of people who log in by password.

Such logins are for demos and first trials. The file is JSON, 0600: ``{"NAME": "scrypt$N$r$p$SALT$HASH"}`` (salt and
hash in hex). ``write_passwords`` makes the file. The command ``factorygate`` also writes the file, perhaps where the
hub's packages are missing, so this module imports none of them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from factorycommon.private_files import open_to_others
from factoryspawner.config.errors import ConfigurationError

_N, _R, _P = 2**14, 8, 1  # a check needs 16 MB and about 50 ms
_MEMORY = 64 * 2**20
_BYTES = 32


class PasswordFileError(ConfigurationError):
    """Raised if the file, or the hash of a password in it, cannot be used; the message says why."""


def hash_password(password: str) -> str:
    """Return the hash of a password as ``scrypt$N$r$p$SALT$HASH``, with a new salt; salt and hash are in hex."""
    salt = secrets.token_bytes(16)
    return f"scrypt${_N}${_R}${_P}${salt.hex()}${_scrypt(password, salt, _N, _R, _P).hex()}"


def check_password(password: str, line: str) -> bool:
    """Return whether the password matches the hash ``line``.

    Raises PasswordFileError if ``line`` is not a valid ``scrypt$N$r$p$SALT$HASH``.
    """
    try:
        name, n, r, p, salt, expected = line.split("$")
        if name != "scrypt":
            raise PasswordFileError(f"unknown kind of hash: {name!r}")
        found = _scrypt(password, bytes.fromhex(salt), int(n), int(r), int(p))
        return hmac.compare_digest(found, bytes.fromhex(expected))
    except ValueError as error:
        raise PasswordFileError("a line is not scrypt$N$r$p$SALT$HASH") from error


def write_passwords(path: Path, passwords: Mapping[str, str]) -> None:
    """Replace the file atomically by one (0600) with these names and the hashes of their passwords."""
    write_lines(path, {name: hash_password(password) for name, password in passwords.items()})


def write_lines(path: Path, lines: Mapping[str, str], owner: tuple[int, int] | None = None) -> None:
    """Replace the file atomically by one (0600) with ``lines``, the hash of each name's password.

    ``owner``: uid and gid of the file; None: those of this process.
    """
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)  # what a process that was killed has left
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        if owner is not None:
            os.fchown(descriptor, *owner)
        json.dump(dict(lines), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def read_passwords(path: Path) -> dict[str, str]:
    """Return the names in the file, each with the hash of its password.

    Raises PasswordFileError if the file cannot be read, may be used by other accounts, or does not have the required
    form.
    """
    try:
        found = path.stat()
        if open_to_others(found):
            raise PasswordFileError(f"{path} must be 0600, is {stat.S_IMODE(found.st_mode):04o}")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PasswordFileError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise PasswordFileError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(line, str) for line in content.values()):
        raise PasswordFileError(f"{path} is not an object of names and lines")
    return content


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=_MEMORY, dklen=_BYTES)
