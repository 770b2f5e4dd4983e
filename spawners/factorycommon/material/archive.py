"""Packs a workshop's material to one archive, and unpacks it. Pure.

The archive is a gzipped tar of regular files, of limited size. Equal files give equal bytes, and the SHA-256 of these
bytes identifies the archive.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from factorycommon.material.names import faults

_HEADERS = 8192  # maximum bytes of a file's headers and padding in the tar


class BadArchive(Exception):
    """Raised if an archive is damaged, too large, or has a file that material may not have; the text says what."""


@dataclass(frozen=True)
class MaterialFile:
    """One file of the material. ``executable``: True if git stores the file as executable."""

    content: bytes
    executable: bool = False

    @cached_property
    def hash(self) -> str:
        """Return the SHA-256 of the content, as hexadecimal digits."""
        return hash_of(self.content)


@dataclass(frozen=True)
class MaterialLimits:
    """The upper limits of a workshop's material.

    ``files``: the number of files; ``file_bytes``: of one file; ``total_bytes``: of all files together;
    ``archive_bytes``: of the packed archive.
    """

    files: int = 2000
    file_bytes: int = 32 << 20
    total_bytes: int = 64 << 20
    archive_bytes: int = 64 << 20


MOST = MaterialLimits()  # nothing larger is packed, carried or unpacked


def hash_of(content: bytes) -> str:
    """Return the SHA-256 of a content, as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def pack(files: Mapping[str, MaterialFile], limits: MaterialLimits = MOST) -> bytes:
    """Return the archive of ``files``, which are given by path.

    Raises BadArchive if the files exceed the limits, or their paths break the rules for names.
    """
    _check(files, limits)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(files):
            member = tarfile.TarInfo(path)
            member.size = len(files[path].content)
            member.mode = 0o755 if files[path].executable else 0o644
            tar.addfile(member, io.BytesIO(files[path].content))
    archive = gzip.compress(packed.getvalue(), mtime=0)
    if len(archive) > limits.archive_bytes:
        raise BadArchive(f"The material has more than {limits.archive_bytes} bytes when it is packed.")
    return archive


def unpack(archive: bytes, limits: MaterialLimits = MOST) -> dict[str, MaterialFile]:
    """Return the files of an archive, by path.

    Raises BadArchive if the archive is damaged, exceeds ``limits`` or has anything but regular files, or if a path is
    twice in it or breaks the rules for names.
    """
    if len(archive) > limits.archive_bytes:
        raise BadArchive(f"The archive has more than {limits.archive_bytes} bytes.")
    most = limits.total_bytes + limits.files * _HEADERS + (1 << 20)
    unzipping = zlib.decompressobj(wbits=31)
    try:
        raw = unzipping.decompress(archive, most)
    except zlib.error as error:
        raise BadArchive(f"The archive is damaged: {error}") from error
    if not unzipping.eof or unzipping.unused_data:
        raise BadArchive("The archive is incomplete, or larger than the material may be.")
    files: dict[str, MaterialFile] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as tar:
            while (member := tar.next()) is not None:
                if not member.isreg() or member.issparse() or member.name in files:
                    raise BadArchive("The archive has something that is no regular file, or a file twice.")
                if len(files) >= limits.files:
                    raise BadArchive(f"The material has more than {limits.files} files.")
                content = tar.extractfile(member)
                read = b"" if content is None else content.read()
                files[member.name] = MaterialFile(read, bool(member.mode & 0o100))
    except (tarfile.TarError, EOFError, ValueError, OSError, RecursionError) as error:
        raise BadArchive(f"The archive is damaged: {error}") from error
    _check(files, limits)
    return files


def _check(files: Mapping[str, MaterialFile], limits: MaterialLimits) -> None:
    if len(files) > limits.files:
        raise BadArchive(f"The material has more than {limits.files} files.")
    sizes = [len(file.content) for file in files.values()]
    if max(sizes, default=0) > limits.file_bytes:
        raise BadArchive(f"A file of the material has more than {limits.file_bytes} bytes.")
    if sum(sizes) > limits.total_bytes:
        raise BadArchive(f"The material has more than {limits.total_bytes} bytes.")
    for path, fault in faults(files).items():
        raise BadArchive(f"{path[:100]!r}: {fault}")
