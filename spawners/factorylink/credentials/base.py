"""The interface of all credentials, which return a valid login for a site account."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import asyncssh

from factorycommon.private_files import of_root_or_own, open_to_others

_MOST_BYTES = 65536  # of a secret


@dataclass(frozen=True)
class Login:
    """The key, certificate and user name with which to log in for a site account now."""

    username: str  # the user name at the login host
    key: asyncssh.SSHKey
    certificate: asyncssh.SSHCertificate | None
    key_id: str  # for the audit: the certificate's key id, or the key's fingerprint
    expires: datetime | None  # UTC; None: does not expire
    act: tuple[str, ...] = ()  # argv to put before every command; () if the link logs in as the account itself


class Credentials(Protocol):
    """The credentials of a factory.

    Private keys are passed to the SSH client only, and never logged, stored or sent.
    """

    async def login(self, account: str | None) -> Login:
        """Return the login for an account; ``account`` None: for the watcher.

        The watcher is the site account that asks the scheduler about all jobs. Raises Expired, with an explanation for
        the person, if the account has no valid credential; Refused if the gateway has no usable key for the account.
        """

    def valid_until(self, account: str | None) -> datetime | None:
        """Return until when an account's login is valid (UTC), without any request; None if no limit is known.

        A time in the past: the account has no valid login. ``account`` None: the watcher's login.
        """


def read_private_key(path: Path) -> asyncssh.SSHKey:
    """Read a private key without passphrase.

    Raises OSError; ValueError if the file holds no key, if it is no regular file or too large, if others may use it, or
    if its owner is neither the account of this process nor root.
    """
    try:
        return asyncssh.import_private_key(read_secret(path))
    except asyncssh.KeyImportError as error:
        raise ValueError(f"{path} is not a private key without passphrase: {error}") from error


def read_secret(path: Path) -> bytes:
    """Return the content of a file that belongs to this process's account or to root, and that nobody else may use.

    Raises OSError; ValueError if it is no regular file, if others may use it (``open_to_others``), if its owner is
    neither the account of this process nor root, or if it is larger than 64 KiB.
    """
    # The check and the reading use the same file descriptor, so that both see the same file.
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{path} is not a file.")
        if not of_root_or_own(found):
            raise ValueError(f"{path} belongs to another user than the one the link runs as.")
        if open_to_others(found):
            mode = stat.S_IMODE(found.st_mode)
            raise ValueError(f"{path} may be used by others (mode {mode:04o}): run chmod 600 {path}")
        if len(content := file.read(_MOST_BYTES + 1)) > _MOST_BYTES:
            raise ValueError(f"{path} is larger than {_MOST_BYTES} bytes.")
        return content
