"""Checks that a file with a secret (a key, a token, passwords) can be read by its owner only."""

from __future__ import annotations

import os
import stat

_GROUP_READS = stat.S_IRGRP


def open_to_others(found: os.stat_result) -> bool:
    """Return True if other accounts than the file's owner may use the file.

    A process that is not root accepts a file that belongs to root and that only a group may read. Secret volumes of
    Kubernetes (0440, the pod's ``fsGroup``) and systemd credentials look like this, and no process of the group can
    change them."""
    allowed = _GROUP_READS if found.st_uid == 0 != os.geteuid() else 0
    return bool(stat.S_IMODE(found.st_mode) & 0o077 & ~allowed)


def of_root_or_own(found: os.stat_result) -> bool:
    """Return True if the file belongs to this process's account or to root."""
    return found.st_uid in (0, os.geteuid())
