"""Files with a secret (a key, a token, passwords): checks who may read them, and makes keys."""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path

_GROUP_READS = stat.S_IRGRP


def open_to_others(found: os.stat_result) -> bool:
    """Return True if other accounts than the file's owner may use the file.

    There is one exception: if this process is not root, return False for a file of root that, besides root, only a
    group may read. Secret volumes of Kubernetes (0440, the pod's ``fsGroup``) and systemd credentials are such files,
    and no process of the group can change them.
    """
    allowed = _GROUP_READS if found.st_uid == 0 != os.geteuid() else 0
    return bool(stat.S_IMODE(found.st_mode) & 0o077 & ~allowed)


def of_root_or_own(found: os.stat_result) -> bool:
    """Return True if the file belongs to this process's account or to root."""
    return found.st_uid in (0, os.geteuid())


def read_or_make_key(path: Path) -> bytes:
    """Return the key in a file: 32 random bytes, which the file has as hexadecimal digits.

    If the file is missing, create it (mode 0600) with a new key. Raises OSError; ValueError if the file does not have
    this form, or if other accounts may use it (see ``open_to_others``).
    """
    if not path.exists():
        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    if open_to_others(path.stat()):
        raise ValueError(f"{path} must be 0600")
    text = path.read_text(encoding="ascii").strip()
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError(f"{path} is not a key; restore it from your backup")
    return bytes.fromhex(text)
