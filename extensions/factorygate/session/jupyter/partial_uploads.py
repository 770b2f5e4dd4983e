"""Keeps unfinished uploads: the received bytes are in a hidden file (a part) in the target's folder.

A complete part is renamed to the target's name. Each part has a record: a symbolic link to the part, in a folder of the
session's Unix account. By the records, a later server finds the parts that an earlier server left, and need not search
the home. The functions block, so call them in a thread.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

STALE_SECONDS = 3600.0  # seconds; a part that has not grown for this time belongs to an interrupted upload
LAST = -1  # the number of the last piece, as JupyterLab counts: 1, 2, 3, ..., -1
_NAME_LIMIT = 255  # maximum bytes of a file's name
_MARK = ".part-"


class OutOfOrder(Exception):
    """Raised if a piece of an upload is not the one that comes next; the text explains this to a person."""


@dataclass
class Part:
    """An upload in progress.

    ``target``: the file that is uploaded; ``path``: the hidden file with the bytes received so far; ``record``: the
    symbolic link to ``path``. ``number``: the number of the piece that was written last, 0 before the first; ``begin``
    and ``size``: how many bytes were in ``path`` before and after this piece was written.
    """

    target: Path
    path: Path
    record: Path
    number: int = 0
    begin: int = 0
    size: int = 0


class Parts:
    """Makes, fills and removes parts, which are the hidden files of unfinished uploads.

    ``records``: the folder for the records (symbolic links to parts), the same for all sessions of the Unix account;
    made when it is needed.
    """

    def __init__(self, records: Path) -> None:
        self._records = records

    def open(self, target: Path) -> Part:
        """Make an empty part for ``target``.

        Raises PermissionError if ``target`` may not be replaced, IsADirectoryError if it is a folder, or another
        OSError.
        """
        if target.is_dir():
            raise IsADirectoryError(f"{target.name} is a folder")
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(f"{target.name} may not be written")
        key = secrets.token_hex(8)
        end = f"{_MARK}{key}"
        name = os.fsencode(target.name)[: _NAME_LIMIT - 1 - len(end)].decode(errors="ignore")
        part = Part(target, target.parent / f".{name}{end}", self._records / key)
        self._records.mkdir(mode=0o700, parents=True, exist_ok=True)
        part.record.symlink_to(part.path)  # first, since a part without a record would never be found again
        try:
            os.close(os.open(part.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            if target.exists():
                shutil.copymode(target, part.path)
        except OSError:
            self.drop(part)
            raise
        return part

    def write(self, part: Part, number: int, data: bytes) -> None:
        """Write a piece of the upload: the next piece, or the final one (``LAST``).

        If ``number`` is the number of the piece that the previous call wrote (and not ``LAST``), replace that piece,
        since browsers repeat requests that got no answer. Raises OutOfOrder for any other number; OSError if the piece
        cannot be written: the part then has its earlier length, but a piece that was to be replaced may be damaged.
        """
        again = number == part.number and number != LAST
        if not again and number not in (part.number + 1, LAST):
            raise OutOfOrder(
                f"The upload of {part.target.name} lost its order: piece {part.number + 1} was to come, not {number}. "
                "Perhaps it is uploaded twice at the same time. Upload it again."
            )
        at = part.begin if again else part.size
        with part.path.open("r+b") as file:
            try:
                file.seek(at)
                file.write(data)
                file.truncate()
                if number == LAST:
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    os.truncate(part.path, part.size)
                raise
        part.number, part.begin, part.size = number, at, at + len(data)

    def finish(self, part: Part) -> None:
        """Rename a complete part to its target's name, and delete its record; an existing file is replaced atomically.

        Raises OSError if the part cannot be renamed.
        """
        os.replace(part.path, part.target)
        part.record.unlink(missing_ok=True)

    def drop(self, part: Part) -> None:
        """Remove a part and its record."""
        part.path.unlink(missing_ok=True)
        part.record.unlink(missing_ok=True)

    def sweep(self, now: float) -> list[Path]:
        """Remove the parts, of all sessions of the account, that have not grown for STALE_SECONDS; return their paths.

        ``now``: seconds since the epoch.
        """
        removed = []
        for record in self._records.glob("*"):
            with contextlib.suppress(OSError):  # the record cannot be read now; try again later
                path = Path(os.readlink(record))
                try:
                    found = path.lstat()
                except FileNotFoundError:
                    if now - record.lstat().st_mtime > STALE_SECONDS:  # otherwise the part is being created now
                        record.unlink()
                    continue
                if now - found.st_mtime < STALE_SECONDS:
                    continue
                if path.name.endswith(f"{_MARK}{record.name}"):  # so that only parts are removed
                    path.unlink()
                    removed.append(path)
                record.unlink()
        return removed
