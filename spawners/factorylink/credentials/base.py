"""What every kind of credentials gives: a way to log in for a site account, good at this moment."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import asyncssh


@dataclass(frozen=True)
class Login:
    """How to log in for a site account, now."""

    username: str  # whom to log in as at the login host
    key: asyncssh.SSHKey
    certificate: asyncssh.SSHCertificate | None
    key_id: str  # for the audit: the certificate's key id, or the key's fingerprint
    expires: datetime | None  # UTC; None: does not expire
    act: tuple[str, ...] = ()  # argv before every command; () where we log in as the account itself


class Credentials(Protocol):
    """Private keys live here only: they are handed to the SSH client, and are never logged, stored or sent."""

    async def login(self, account: str | None) -> Login:
        """How to log in; None: as the watcher. Raises Expired in words fit for a person, Refused for an account that
        we may not act for, and Unreachable where the credential must be fetched and nobody answers."""

    def valid_until(self, account: str | None) -> datetime | None:
        """What is known now, without asking anybody; UTC. None: no limit is known."""


def read_private_key(path: Path) -> asyncssh.SSHKey:
    """A private key without passphrase. Raises as ``read_secret``; ValueError, too, where it is no key."""
    try:
        return asyncssh.import_private_key(read_secret(path))
    except asyncssh.KeyImportError as error:
        raise ValueError(f"{path} is not a private key without passphrase: {error}") from error


def read_secret(path: Path) -> bytes:
    """A file of at most 64 KiB. Raises OSError; ValueError where others may read it, or it is not ours."""
    # Looked at and read through one descriptor: the file that was judged is the file that is read.
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{path} is not a file.")
        if found.st_uid != os.geteuid():
            raise ValueError(f"{path} belongs to another user than the one the link runs as.")
        if found.st_mode & 0o077:
            mode = stat.S_IMODE(found.st_mode)
            raise ValueError(f"{path} may be used by others (mode {mode:04o}): run chmod 600 {path}")
        return file.read(65536)
