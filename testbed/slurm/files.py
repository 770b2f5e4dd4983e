"""Writes the files of one cluster anew at every clean start; logs of earlier starts are kept."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from testbed.install.packages import Packages
from testbed.slurm import database

DAEMONS = ("munged", "slurmctld", "slurmd", "slurmstepd")
ACCOUNTING_DAEMONS = ("slurmdbd", "mariadbd")
SLURMDBD_CONF = "slurmdbd.conf"  # slurmdbd requires that others cannot read it
FAULTS = "faults.json"  # the present faults
_LONGEST_BASE = 50  # of the 107 characters in a Unix socket's path, job steps use up to 50
_KEY_BYTES = 128


def short_path(folder: Path) -> Path:
    """Return ``folder``, or a symbolic link to it if its own path is too long for Unix sockets.

    The link is in the temporary folder.
    """
    if len(str(folder)) <= _LONGEST_BASE:
        return folder
    while True:
        link = Path(tempfile.gettempdir()) / f"factorygate-{secrets.token_hex(4)}"
        try:
            link.symlink_to(folder)
        except FileExistsError:
            continue
        return link


def prepare(
    folder: Path,
    base: Path,
    slurm: Packages,
    configuration: Mapping[str, str],
    nodes: Iterable[str],
    gpus: Iterable[str],
    accounting: Packages | None = None,
) -> None:
    """Prepare ``folder`` for a start with an empty queue.

    ``base``: the path from :func:`short_path`; ``configuration``: the text of each file below etc, by file name;
    ``gpus``: names of device files; ``accounting``: slurmdbd and its database, if the cluster has them.
    """
    for name in ("etc", "sbin", "dev", "munge", "ctld", "spool", "run"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(mode=0o755)
    (folder / FAULTS).unlink(missing_ok=True)
    (folder / "log").mkdir(mode=0o755, exist_ok=True)
    if base != folder and not (base.is_symlink() and Path(os.readlink(base)) == folder):
        base.symlink_to(folder)
    for node in nodes:
        (folder / "spool" / node).mkdir(mode=0o755)
    (folder / "lib").unlink(missing_ok=True)
    (folder / "lib").symlink_to(slurm.libraries)
    for name in DAEMONS:
        shutil.copy(slurm.daemon(name), folder / "sbin" / name)
    database.remove(folder)
    if accounting is not None:
        for name in ACCOUNTING_DAEMONS:
            shutil.copy(accounting.daemon(name), folder / "sbin" / name)
        database.lay(accounting, folder)
    for gpu in gpus:
        # Slurm requires existing device files, and opens none of them.
        (folder / "dev" / gpu).symlink_to("/dev/null")
    for name, text in configuration.items():
        file = folder / "etc" / name
        file.write_text(text)
        file.chmod(0o600 if name == SLURMDBD_CONF else 0o755 if text.startswith("#!") else 0o644)
    key = folder / "munge" / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(_KEY_BYTES))


def log_tails(folder: Path, lines: int = 12) -> str:
    """Return the last lines of every log, for an error message."""
    parts = []
    for file in sorted((folder / "log").glob("*")):
        tail = file.read_text(errors="replace").splitlines()[-lines:]
        parts.append("\n".join([f"--- {file.name}", *tail]))
    return "\n".join(parts)
