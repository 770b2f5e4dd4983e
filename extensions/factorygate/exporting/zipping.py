"""Makes a zip of a folder piece by piece.

The zip is never written to a disk, so an export that is cancelled leaves no file.
"""

from __future__ import annotations

import os
import re
import stat
import time
import zipfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

from factorygate.exporting.walking import FoundEntry, walk

MOST_BYTES = 5 << 30  # of all files before compression
MOST_FILES = 50_000  # and folders
MOST_LISTED = 1000  # lines of each part of the report in the zip
REPORT = "what-is-not-in-this-zip.txt"
_PIECE = 256 << 10  # bytes
_LEVEL = 4  # of deflate: most of the gain for a third of the time
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FIRST_YEAR, _LAST_YEAR = 1980, 2107  # that a zip can name
_UNSAFE = re.compile(r"[\\\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # a separator elsewhere, invisible, or no text at all
_DRIVE = re.compile(r"^([A-Za-z]):")
_HEADS = {  # of the report in the zip, by kind of entry
    "link": "Links, which are not followed",
    "special": "No files (sockets, devices and the like)",
    "closed": "Not readable for you",
    "deep": "Folders that are too deep",
    "changed": "Changed or cut off while they were read",
    "limit": "Beyond the limit of an export",
    "renamed": "Renamed, since the name is not safe on every system",
}


@dataclass
class ExportSum:
    """What the zip of an export contains so far, or would contain.

    ``bytes``: of all files before compression; ``whole``: whether the export is within the limits. ``left_out`` has,
    for each kind (see ``_HEADS``), the first ``MOST_LISTED`` paths of entries that are missing from the zip, were
    renamed in the zip, changed while they were read, or could not be read to their end. ``counts`` has, for each kind,
    the number of all these entries, also of those that ``left_out`` does not list. Of the entries beyond the limits, at
    most the first is listed and counted.
    """

    files: int = 0
    folders: int = 0
    bytes: int = 0
    whole: bool = True
    left_out: dict[str, list[str]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def note(self, kind: str, line: str) -> None:
        """Count an entry that is missing from the zip, was renamed, changed, or could not be read to its end.

        List its path, too, unless ``MOST_LISTED`` paths of its kind are listed already. ``kind``: why, for example
        ``link``, ``changed`` or ``renamed`` (a key of ``_HEADS``); ``line``: the path, as the report shows it.
        """
        self.counts[kind] = self.counts.get(kind, 0) + 1
        lines = self.left_out.setdefault(kind, [])
        if len(lines) < MOST_LISTED:
            lines.append(line)

    def report(self) -> str:
        """Return a text for the person that lists the paths in ``left_out`` by kind; "" if there are none."""
        parts = []
        for kind, head in _HEADS.items():
            if (count := self.counts.get(kind, 0)) == 0:
                continue
            lines = self.left_out[kind]
            more = [] if count == len(lines) else [f"and {count - len(lines)} more"]
            parts.append("\n".join([f"{head}:", *(f"  {line}" for line in (*lines, *more))]))
        return "\n\n".join(parts) + "\n" if parts else ""


def measure(folder: int) -> ExportSum:
    """Return what a zip of an open folder would contain.

    ``folder``: its descriptor. At the limits of an export, counting ends, and ``whole`` of the result is False. No file
    is opened, so files that cannot be read count like all others. ``left_out`` and ``counts`` of the result never have
    the kinds ``changed``, ``limit`` and ``renamed``, which are found only while a zip is made. Raises OSError if the
    folder, or a folder below it that could be opened, cannot be listed.
    """
    found = ExportSum()
    for entry in walk(folder):
        if not _fits(found, entry):
            found.whole = False
            break
        if entry.kind == "file":
            found.files, found.bytes = found.files + 1, found.bytes + entry.size
        elif entry.kind == "folder":
            found.folders += 1
        else:
            found.note(entry.kind, _line(entry))
    return found


class ZipNames:
    """Makes the paths in one zip from the paths in the folder; each path in the zip is unique.

    A backslash, a control character or a surrogate becomes ``_``, and so does the colon of a drive at the beginning
    (``C:``).
    """

    def __init__(self, top: str) -> None:
        self._top = top
        self._taken: set[str] = set()
        self._paths: dict[tuple[str, ...], str] = {}  # in the zip, by the path in the folder

    def of(self, names: tuple[str, ...]) -> tuple[str, bool]:
        """Return the path in the zip, and whether it differs from the path in the folder.

        ``names``: the path in the folder; ``()`` is the folder itself. Call this method for a folder before its
        content.
        """
        plain = "/".join((self._top, *names))
        safe = _UNSAFE.sub("_", names[-1] if names else self._top)
        first = f"{self._paths[names[:-1]]}/{safe}" if names else _DRIVE.sub(r"\1_", safe)
        path, number = first, 1
        while path in self._taken:
            number += 1
            path = f"{first}~{number}"
        self._taken.add(path)
        self._paths[names] = path
        return path, path != plain


class _Pieces:
    """A file that can only be written, and that keeps the written bytes until they are taken."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def write(self, data: bytes) -> int:
        self._kept += data
        return len(data)

    def flush(self) -> None:
        """Do nothing: the bytes stay in memory."""

    def close(self) -> None:
        """Do nothing."""

    def take(self, least: int = _PIECE) -> bytes:
        """Return all kept bytes, and forget them.

        If there are fewer than ``least`` bytes, keep them and return no bytes.
        """
        if len(self._kept) < least:
            return b""
        taken, self._kept = bytes(self._kept), bytearray()
        return taken


def stream(folder: int, top: str, done: ExportSum) -> Generator[bytes, None, None]:
    """Yield a zip of an open folder in pieces.

    ``folder``: its descriptor; ``top``: the folder's name in the zip, which ``ZipNames`` makes safe; ``done``: counts
    what is in the zip so far. If the folder exceeds the limits of an export, the zip ends at the limits, and
    ``done.whole`` is False. If a file grows while it is read, the bytes that were added since it was opened are not in
    the zip. If ``done.report()`` is not empty, the zip's last file contains this report; its name is ``REPORT``, or a
    similar one if this name is taken. Raises OSError if the folder, or a folder below it that could be opened, cannot
    be listed.
    """
    pieces, names = _Pieces(), ZipNames(top)
    with zipfile.ZipFile(pieces, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as zipped:
        zipped.writestr(_info(f"{names.of(())[0]}/", stat.S_IFDIR | 0o755, time.time()), b"")
        for entry in walk(folder):
            if not _fits(done, entry):
                done.whole = False
                done.note("limit", _line(entry))
                break
            if entry.kind in ("file", "folder"):
                path, changed = names.of(entry.names)
                if changed:
                    done.note("renamed", f"{_line(entry)} -> {path}")
                if entry.kind == "folder":
                    done.folders += 1
                    zipped.writestr(_info(f"{path}/", stat.S_IFDIR | 0o755, time.time()), b"")
                else:
                    yield from _file(zipped, pieces, entry, path, done)
            else:
                done.note(entry.kind, _line(entry))
            if piece := pieces.take():
                yield piece
        if said := done.report():
            zipped.writestr(_info(names.of((REPORT,))[0], stat.S_IFREG | 0o644, time.time()), said.encode())
    yield pieces.take(0)


def _file(zipped: zipfile.ZipFile, pieces: _Pieces, entry: FoundEntry, path: str, done: ExportSum) -> Iterator[bytes]:
    """Add one file to the zip, and yield the bytes of the zip whenever there are enough for a piece.

    The other bytes stay in ``pieces``, for the caller. A file that cannot be opened, or that is no regular file any
    more, is left out. ``path``: the file's path in the zip; ``done``: counts the file, and notes if it was left out or
    changed while it was read.
    """
    try:
        descriptor = os.open(entry.names[-1], _FILE, dir_fd=entry.above)
    except OSError:
        done.note("closed", _line(entry))
        return
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):  # it was replaced meanwhile
            done.note("special", _line(entry))
            return
        left = before.st_size
        info = _info(path, stat.S_IFREG | (before.st_mode & 0o777), before.st_mtime)
        with zipped.open(info, "w", force_zip64=True) as target:
            while left > 0 and (data := _read(descriptor, min(left, _PIECE))):
                left -= len(data)
                done.bytes += len(data)
                target.write(data)
                if piece := pieces.take():
                    yield piece
        done.files += 1
        after = os.fstat(descriptor)
        if left > 0 or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            done.note("changed", _line(entry))
    finally:
        os.close(descriptor)


def _read(descriptor: int, most: int) -> bytes:
    """Return the next bytes of a file; none at its end, and none if it cannot be read any more."""
    try:
        return os.read(descriptor, most)
    except OSError:
        return b""


def _fits(found: ExportSum, entry: FoundEntry) -> bool:
    size = entry.size if entry.kind == "file" else 0
    # what was renamed or changed is in the zip, and counted as a file or folder
    left_out = sum(number for kind, number in found.counts.items() if kind not in ("renamed", "changed"))
    counted = found.files + found.folders + left_out
    return counted < MOST_FILES and found.bytes + size <= MOST_BYTES


def _info(path: str, mode: int, changed: float) -> zipfile.ZipInfo:
    at = time.gmtime(max(0.0, min(changed, 2**32)))
    year = min(max(at.tm_year, _FIRST_YEAR), _LAST_YEAR)
    info = zipfile.ZipInfo(path, (year, at.tm_mon, at.tm_mday, at.tm_hour, at.tm_min, min(at.tm_sec, 59)))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3  # Unix, so that modes are read
    info.external_attr = (mode << 16) | (0x10 if stat.S_ISDIR(mode) else 0)
    return info


def _line(entry: FoundEntry) -> str:
    """Return an entry's path for the report, printable and cut to 500 characters; for a link also the link's target."""
    path = "/".join(entry.names)
    shown = path if path.isprintable() else ascii(path)[1:-1]
    target = entry.target if entry.target.isprintable() else ascii(entry.target)[1:-1]
    return f"{shown} -> {target}"[:500] if entry.kind == "link" else shown[:500]
