"""Makes and checks the two folders of a session.

One is in the shared home, for files that the link reads; the other is on the node, for sockets.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger(__name__)

SOCKET_PATH_LIMIT = 107  # bytes; the limit of sockaddr_un on Linux
_LONGEST_NAME = len("/run/kernel-") + 36 + len("-ipc-5")  # the longest path of a socket below the node's folder


class FolderError(Exception):
    """Raised if a folder cannot be used; the text says which folder and why."""


def write_private(path: Path, text: str) -> None:
    """Replace the content of ``path`` atomically with ``text``.

    The file is readable for its owner only, at any moment.
    """
    # mkstemp creates the file with mode 0600
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Replace the content of ``path`` atomically with one line of JSON, which only the file's owner can read."""
    write_private(path, json.dumps(content) + "\n")


def check_private(path: Path) -> None:
    """Check that ``path`` is a folder (not a link) of this account, and that its mode gives no rights to anybody else.

    Raises FolderError if not.
    """
    try:
        found = path.lstat()
    except OSError as error:
        raise FolderError(f"{path} cannot be used: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise FolderError(f"{path} is not a folder")
    if found.st_uid != os.getuid():
        raise FolderError(f"{path} belongs to another user")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise FolderError(f"{path} can be entered by others: its mode is {stat.S_IMODE(found.st_mode):04o}, not 0700")


def session_folder(path: Path) -> Path:
    """Return ``path``, the session's folder in the shared home, and make the folder if it is missing.

    Raises FolderError if it cannot be made, is a link, belongs to another account, or can be entered by others.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FolderError(f"{path} cannot be made: {error.strerror}") from error
    check_private(path)
    return path


def node_folder(tmp: Path, session: str) -> Path:
    """Make and return a 0700 folder below ``tmp`` for the session's sockets.

    The folder gets the subfolders ``run`` and ``config``. Folders of the session's earlier runs are removed.
    ``session``: the session's id. The folder's name ends in random characters, so that nobody else on the node can
    create the folder first; the link learns the sockets' paths from the door. Raises FolderError if the folder cannot
    be made, or if the path ``tmp`` is too long for Unix sockets.
    """
    prefix = f"factorygate-{os.getuid()}-{session[:8]}"
    try:
        leftovers = list(tmp.glob(f"{prefix}*"))
        for leftover in leftovers:
            if leftover.lstat().st_uid == os.getuid():
                shutil.rmtree(leftover, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=tmp))  # mkdtemp creates the folder with mode 0700
    except OSError as error:
        raise FolderError(f"no folder can be made in {tmp}: {error.strerror}") from error
    check_private(folder)
    if len(os.fsencode(folder)) + len("/notebook.sock") > SOCKET_PATH_LIMIT:
        folder.rmdir()
        raise FolderError(f"{tmp} is too long a path for sockets below it; choose a shorter node_tmp")
    for name in ("run", "config"):
        (folder / name).mkdir(mode=0o700)
    return folder


def kernels_fit(folder: Path) -> bool:
    """Return whether paths below ``folder`` are short enough for kernels' Unix sockets.

    If not, kernels use loopback ports.
    """
    return len(os.fsencode(folder)) + _LONGEST_NAME <= SOCKET_PATH_LIMIT


def remove(folder: Path) -> None:
    """Remove the session's folder on the node.

    If a file cannot be removed, only log that, since the session ends all the same.
    """
    shutil.rmtree(folder, onerror=lambda _call, path, error: log.warning("could not remove %s: %s", path, error[1]))
