"""Keeps a person's folder under a dated name, so that the material can be delivered anew beside it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from factorygate.material.file_moves import move_new
from factorygate.material.person_folder import FolderBlocked, PersonFolder


def keep_aside(root: Path, name: str, stamp: str) -> str:
    """Move the folder ``name`` below ``root`` to ``NAME-STAMP``, with all that is in it; return the new name.

    A file or link called ``name`` is moved like a folder. If ``NAME-STAMP`` exists already, move nothing, and return
    ``NAME-STAMP``. If neither ``name`` nor ``NAME-STAMP`` exists, return "". Raises FolderBusy if another process is
    delivering material into the folder; OSError.
    """
    kept = f"{name}-{stamp}"
    above = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _is_there(above, kept):
            return kept
        if not _is_there(above, name):
            return ""
        with contextlib.ExitStack() as held:
            with contextlib.suppress(FolderBlocked):  # a link or a file, which is kept as it is
                held.callback(PersonFolder(root, name).close)  # its lock: no delivery into it goes on meanwhile
            with contextlib.suppress(FileExistsError):
                move_new(above, name, above, kept)
    finally:
        os.close(above)
    return kept


def _is_there(above: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=above, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
