"""Whether a file with a secret (a key, a token, passwords) is kept from everybody but its owner."""

from __future__ import annotations

import os
import stat

_GROUP_READS = stat.S_IRGRP


def open_to_others(found: os.stat_result) -> bool:
    """Return whether more than the file's owner may use the file.

    A file of root's may be read by its group and by nobody else, where this process is not root: a Secret volume of
    Kubernetes (0440, the pod's ``fsGroup``) and a credential of systemd look like that, and no process of that group
    can change them."""
    allowed = _GROUP_READS if found.st_uid == 0 != os.geteuid() else 0
    return bool(stat.S_IMODE(found.st_mode) & 0o077 & ~allowed)


def of_root_or_own(found: os.stat_result) -> bool:
    """Return whether the file belongs to this process's account or to root."""
    return found.st_uid in (0, os.geteuid())
