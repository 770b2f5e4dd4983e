"""Opens and locks a workshop's folder among a person's files, and reads, writes, exchanges and moves files in it.

The functions follow no link below this folder, and overwrite no file of the person (``file_moves`` names an exception
on some file systems). The folder ``.factorygate`` in the workshop's folder contains records of earlier deliveries, and
the files that deliveries have moved away.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from factorygate.material.file_moves import exchange, move_new
from factorygate.material.planning import FolderFile

OWN = ".factorygate"
MOST_READ = 64 << 20  # bytes; a larger file of the person is never touched
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL})


class FolderBlocked(Exception):
    """Raised if a file or a link is where a folder has to be, or if ``.factorygate`` belongs to another account."""


class FolderBusy(Exception):
    """Raised if another delivery into the same folder is going on."""


class PersonFolder:
    """The open folder of a workshop, made if it is missing, and locked against other deliveries until ``close``.

    ``root``: the folder of the notebook's files; ``name``: the workshop's folder in it. Some network file systems have
    no locks; a folder there is not locked. ``fd`` and ``own``: descriptors of the workshop's folder, and of
    ``.factorygate`` in it. The constructor raises OSError, FolderBlocked or FolderBusy.
    """

    def __init__(self, root: Path, name: str) -> None:
        self._descriptors: list[int] = []
        # the folders that were made: whether below ``.factorygate``, the names of the path, and the inode
        self._made: list[tuple[bool, tuple[str, ...], tuple[int, int]]] = []
        try:
            top = self._keep(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            self.fd = self._keep(self._folder(top, name, make=True))
            self.own = self._keep(self._folder(self.fd, OWN, make=True))
            self._check_owner()
            self._lock()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all descriptors, which ends the lock."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _keep(self, descriptor: int) -> int:
        self._descriptors.append(descriptor)
        return descriptor

    def _check_owner(self) -> None:
        if os.fstat(self.own).st_uid != os.geteuid():
            raise FolderBlocked(f"{OWN} belongs to another account")

    def _lock(self) -> None:
        lock = self._keep(
            os.open("lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self.own)
        )
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderBusy("Another session of this person gets the material just now.") from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:  # some network file systems have no locks
                raise

    # --- folders

    def _folder(self, above: int, name: str, make: bool) -> int:
        try:
            return os.open(name, _FOLDER, dir_fd=above)
        except FileNotFoundError:
            if not make:
                raise
        except OSError as error:
            raise _blocked(error, name) from error
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700 if name == OWN else 0o777, dir_fd=above)
        try:
            found = os.open(name, _FOLDER, dir_fd=above)
        except OSError as error:
            raise _blocked(error, name) from error
        return found

    @contextlib.contextmanager
    def folder(self, names: Sequence[str], make: bool = False, own: bool = False) -> Iterator[int]:
        """Open the folder at the path ``names`` in the workshop's folder, or in ``.factorygate`` if ``own``.

        Yield its descriptor, which is closed after the block. ``make``: make the folders of the path that are missing.
        Raises FileNotFoundError if a folder is missing and ``make`` is False; FolderBlocked; OSError.
        """
        descriptor = os.dup(self.own if own else self.fd)
        try:
            for depth, name in enumerate(names, 1):
                new = make and not _is_there(descriptor, name)
                below = self._folder(descriptor, name, make)
                if new:
                    found = os.fstat(below)
                    self._made.append((own, tuple(names[:depth]), (found.st_dev, found.st_ino)))
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)

    def forget_made(self) -> None:
        """Remove the folders that calls of the method ``folder`` have made, as far as they are empty."""
        for own, names, inode in reversed(self._made):
            with contextlib.suppress(OSError, FolderBlocked), self.folder(names[:-1], own=own) as above:
                found = os.stat(names[-1], dir_fd=above, follow_symlinks=False)
                if (found.st_dev, found.st_ino) == inode:
                    os.rmdir(names[-1], dir_fd=above)
        self._made.clear()

    def drop_empty(self, names: Sequence[str]) -> None:
        """Remove the folder at the path ``names``, and the folders above it, as far as they are empty.

        ``names``: a path in the workshop's folder. The workshop's folder itself stays.
        """
        for depth in range(len(names), 0, -1):
            try:
                with self.folder(names[: depth - 1]) as above:
                    os.rmdir(names[depth - 1], dir_fd=above)
            except (OSError, FolderBlocked):
                return

    # --- files

    def look(self, path: str) -> FolderFile | None:
        """Return the file at ``path`` in the workshop's folder; its ``content`` is None if it cannot be read.

        Return None if nothing is at the path, or if a file or a link is where the path has a folder.
        """
        *names, name = path.split("/")
        try:
            with self.folder(names) as folder:
                return read_file(folder, name)
        except (FileNotFoundError, FolderBlocked):
            return None
        except OSError:  # the person may not enter the folder
            return FolderFile(None)


@contextlib.contextmanager
def staging(folder: PersonFolder) -> Iterator[tuple[int, str]]:
    """Make a fresh folder in ``.factorygate`` for files that are to be moved elsewhere; yield its descriptor and name.

    Files that are still in the folder after the block may be the person's. They are moved to ``.factorygate/replaced``,
    together with the folder. Before the block, the same is done with what interrupted deliveries have left. Raises
    OSError or FolderBlocked before the block; after the block, only the block's own errors are raised.
    """
    for name in os.listdir(folder.own):
        if name.startswith("staging-"):  # of a delivery that was cut short
            keep_rest(folder, name)
    name = f"staging-{secrets.token_hex(6)}"
    os.mkdir(name, 0o700, dir_fd=folder.own)
    descriptor = os.open(name, _FOLDER, dir_fd=folder.own)
    try:
        yield descriptor, name
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError, FolderBlocked):  # the next delivery tries again
            keep_rest(folder, name)


def keep_rest(folder: PersonFolder, name: str) -> None:
    """Remove the folder ``name`` of ``.factorygate`` if it is empty; otherwise move it to ``.factorygate/replaced``.

    Raises OSError; FolderBlocked if ``.factorygate/replaced`` is no folder.
    """
    try:
        os.rmdir(name, dir_fd=folder.own)
    except OSError:
        with folder.folder(["replaced"], make=True, own=True) as replaced:
            os.rename(name, name, src_dir_fd=folder.own, dst_dir_fd=replaced)


def remove_tree(folder: PersonFolder, name: str) -> None:
    """Remove a folder of ``.factorygate`` with all that is in it, as far as possible."""
    shutil.rmtree(name, ignore_errors=True, dir_fd=folder.own)


def read_file(folder: int, name: str, most: int = MOST_READ) -> FolderFile | None:
    """Return the file ``name`` in an open folder; None if nothing has this name.

    The result's ``content`` is None if the file is no regular file, cannot be read, or is larger than ``most`` bytes.
    ``folder``: the folder's descriptor.
    """
    try:
        descriptor = os.open(name, _FILE, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError:  # a link, a socket, or a file that the person may not read
        return FolderFile(None)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > most:
            return FolderFile(None)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(most + 1)
    except OSError:
        return FolderFile(None)
    finally:
        os.close(descriptor)
    return FolderFile(content if len(content) <= most else None)


def write_file(folder: int, name: str, content: bytes, mode: int = 0o666) -> None:
    """Write the new file ``name`` in an open folder, and wait until the disk has it. Raises FileExistsError, OSError.

    ``folder``: the folder's descriptor; ``mode``: the file's mode, less the umask.
    """
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=folder)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def replace_file(folder: int, name: str, stage: int, staged: str, expected: str) -> bool:
    """Exchange the files ``name`` and ``staged`` if ``name``, the person's file, has the SHA-256 ``expected``.

    ``staged`` then names the person's old file. ``folder``, ``stage``: descriptors of the folders that contain ``name``
    and ``staged``. Return whether the files were exchanged; False: the person has changed or deleted the file
    meanwhile, so it stays as the person left it. Raises OSError.
    """
    with contextlib.suppress(OSError):
        mode = stat.S_IMODE(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode) & 0o777
        os.chmod(staged, mode, dir_fd=stage)
    try:
        if exchange(stage, staged, folder, name):
            if _has(stage, staged, expected):
                return True
            exchange(stage, staged, folder, name)
            return False
    except FileNotFoundError:  # the person has deleted the file meanwhile
        return False
    return _replace_in_steps(folder, name, stage, staged, expected)


def _replace_in_steps(folder: int, name: str, stage: int, staged: str, expected: str) -> bool:
    old = f"{staged}.old"
    try:
        os.rename(name, old, src_dir_fd=folder, dst_dir_fd=stage)
    except FileNotFoundError:
        return False
    if not _has(stage, old, expected):
        with contextlib.suppress(FileExistsError):  # otherwise it stays in the stage, which is kept
            move_new(stage, old, folder, name)
        return False
    try:
        move_new(stage, staged, folder, name)
    except FileExistsError:  # the person has written another one in this moment; the old one is kept with the stage
        return False
    except OSError:
        move_new(stage, old, folder, name)
        raise
    os.rename(old, staged, src_dir_fd=stage, dst_dir_fd=stage)
    return True


def move_away(folder: int, name: str, target: int, new_name: str, expected: str) -> bool:
    """Move a file that has the SHA-256 ``expected`` to a free name in another folder; return whether it was moved.

    ``folder``, ``target``: descriptors of the folders that contain ``name`` and get ``new_name``. False: the person has
    changed or deleted the file meanwhile, so it stays as the person left it. Raises FileExistsError if ``new_name`` is
    taken; OSError.
    """
    try:
        move_new(folder, name, target, new_name)
    except FileNotFoundError:
        return False
    if _has(target, new_name, expected):
        return True
    with contextlib.suppress(FileExistsError):
        move_new(target, new_name, folder, name)
    return False


def _has(folder: int, name: str, expected: str) -> bool:
    try:
        descriptor = os.open(name, _FILE, dir_fd=folder)
    except OSError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == expected
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _is_there(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _blocked(error: OSError, name: str) -> Exception:
    if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.EMLINK):
        return FolderBlocked(f"{name} is no folder")
    return error
