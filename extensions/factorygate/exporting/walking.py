"""Walks through a folder by open descriptors, so that no link leads out of the folder, whatever changes meanwhile."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MOST_DEPTH = 60  # folders in folders: each level keeps a descriptor open
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LEFT_OUT = (".factorygate", "bases")  # the gateway's own copies of the material, below a workshop's folder

FoundKind = Literal["file", "folder", "link", "special", "closed", "deep"]


class NoFolder(Exception):
    """Raised if a path names no folder below the notebook's root folder, or cannot be opened. The text says why."""


@dataclass(frozen=True)
class FoundEntry:
    """One file, folder or other entry that ``walk`` has found.

    ``kind``: ``special`` is a socket, a device or the like; ``closed`` is a folder that cannot be opened, or an entry
    that cannot be examined; ``deep`` is a folder more than ``MOST_DEPTH`` levels deep; ``file`` may also be a file that
    cannot be read. ``names``: the names in its path; ``above``: the descriptor of the folder that contains the entry,
    open until the next entry is taken. ``size`` (bytes), ``mode`` and ``changed`` (seconds since the epoch) are set for
    a file, ``target`` for a link.
    """

    kind: FoundKind
    names: tuple[str, ...]
    above: int
    size: int = 0
    mode: int = 0
    changed: float = 0.0
    target: str = ""


@contextmanager
def opened(root: Path, path: str) -> Iterator[int]:
    """Open a folder below ``root``, and yield its descriptor, which is closed at the end of the ``with`` block.

    ``path``: relative to ``root``; no link in it is followed. Raises NoFolder, also if ``path`` names ``root`` itself.
    """
    names = path.strip("/").split("/")
    if any(name in ("", ".", "..") or "\0" in name for name in names):
        raise NoFolder("This is no folder of your files.")
    descriptor = -1
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for name in names:
            below = os.open(name, FOLDER_FLAGS, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
    except OSError as error:
        if descriptor >= 0:
            os.close(descriptor)
        raise NoFolder(error.strerror or type(error).__name__) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def walk(folder: int, names: tuple[str, ...] = ()) -> Iterator[FoundEntry]:
    """Yield the entries below an open folder, each folder before its content.

    ``folder``: the folder's descriptor; ``names``: the folder's path, with which the entries' paths begin. Entries that
    disappear before they are examined are left out, and so is the subfolder ``.factorygate/bases``, in which the
    gateway keeps copies of a workshop's material. Raises OSError if an opened folder cannot be listed.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            path = (*names, entry.name)
            try:
                found = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
                target = os.readlink(entry.name, dir_fd=folder) if stat.S_ISLNK(found.st_mode) else ""
            except FileNotFoundError:  # gone meanwhile
                continue
            except OSError:  # such as in a folder that may be listed, but not entered
                yield FoundEntry("closed", path, folder)
                continue
            if stat.S_ISLNK(found.st_mode):
                yield FoundEntry("link", path, folder, target=target)
            elif stat.S_ISREG(found.st_mode):
                yield FoundEntry("file", path, folder, found.st_size, found.st_mode & 0o777, found.st_mtime)
            elif not stat.S_ISDIR(found.st_mode):
                yield FoundEntry("special", path, folder)
            elif path != _LEFT_OUT:
                yield from _folder(folder, path)


def _folder(above: int, path: tuple[str, ...]) -> Iterator[FoundEntry]:
    if len(path) > MOST_DEPTH:
        yield FoundEntry("deep", path, above)
        return
    try:
        below = os.open(path[-1], FOLDER_FLAGS, dir_fd=above)
    except OSError:
        yield FoundEntry("closed", path, above)
        return
    try:
        yield FoundEntry("folder", path, above)
        yield from walk(below, path)
    finally:
        os.close(below)
