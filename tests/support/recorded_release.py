"""The recorded previous release: its packages and the hub's configuration, to run its processes."""

from __future__ import annotations

import os
import sys
import tarfile
from pathlib import Path

VERSION = "0.1.0"
ARCHIVE = Path(__file__).parents[1] / "unit" / "recorded" / f"release-{VERSION}.tar.xz"


def unpack(folder: Path) -> Path:
    """Unpack the release below ``folder``, readable by every account; return the folder with ``spawners`` and
    ``hub_config``."""
    target = folder / f"release-{VERSION}"
    if not target.exists():
        with tarfile.open(ARCHIVE, "r:xz") as tar:
            tar.extractall(target, filter="data")
    return target


def search_path(release: Path) -> str:
    """Return the PYTHONPATH by which a release's packages precede installed ones."""
    return os.pathsep.join(str(release / part) for part in ("spawners", "extensions"))


def python_of(release: Path, file: Path, python: str = sys.executable) -> Path:
    """Write a program that runs ``python`` with a release's packages instead of the installed ones; return its path."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'#!/bin/sh\nPYTHONPATH={search_path(release)} exec {python} "$@"\n')
    file.chmod(0o755)
    return file
