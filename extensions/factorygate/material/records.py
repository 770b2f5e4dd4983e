"""Keeps records of earlier deliveries in ``.factorygate``: a list of files, and the versions that merges need.

These files belong to the person, so they are read with care: a damaged one counts as missing, and the person's files
are left alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Mapping

from factorycommon.material.archive import MaterialFile
from factorycommon.material.names import fault_of
from factorygate.material.merging import MOST_BYTES
from factorygate.material.person_folder import FolderBlocked, PersonFolder, read_file, write_file
from factorygate.material.planning import DeliveredFile

RECORD = "delivered.json"
_BASES = "bases"
_MOST_FILES = 20_000
_MOST_RECORD = 16 << 20  # bytes
_HASH = re.compile(r"[0-9a-f]{64}")


def read_record(folder: PersonFolder) -> dict[str, DeliveredFile]:
    """Return the records of the files that were delivered earlier, by path; {} if their list is missing or damaged."""
    found = read_file(folder.own, RECORD, _MOST_RECORD)
    try:
        content = json.loads(found.content if found is not None and found.content is not None else b"")
        files = content["files"]
        return {path: _delivered(path, files[path]) for path in files} if len(files) <= _MOST_FILES else {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _delivered(path: object, found: Mapping[str, object]) -> DeliveredFile:
    base, offered = found["base"], found["offered"]
    if not isinstance(path, str) or fault_of(path) is not None:
        raise ValueError("no path of a file")
    if not isinstance(offered, str) or not _HASH.fullmatch(offered):
        raise ValueError("no hash")
    if base is not None and not (isinstance(base, str) and _HASH.fullmatch(base)):
        raise ValueError("no hash")
    return DeliveredFile(base, offered)


def record_of(commit: str, known: Mapping[str, DeliveredFile]) -> bytes:
    """Return the content of the file that ``read_record`` reads.

    ``commit``: the delivered version of the material; ``known``: the records of the delivered files, by path.
    """
    files = {path: {"base": known[path].base, "offered": known[path].offered} for path in sorted(known)}
    return json.dumps({"commit": commit, "files": files}, indent=1).encode()


def read_base(folder: PersonFolder, wanted: str) -> bytes | None:
    """Return the content with the hash ``wanted`` from an earlier delivery; None if that content is not kept."""
    try:
        with folder.folder([_BASES], own=True) as bases:
            found = read_file(bases, wanted, MOST_BYTES)
    except (OSError, FolderBlocked):
        return None
    return found.content if found is not None and found.hash == wanted else None


def write_bases(folder: PersonFolder, files: Mapping[str, MaterialFile]) -> None:
    """Store a copy of each file of the material that a later merge may need.

    Raises OSError; the copies that this call has stored are then removed. Raises FolderBlocked if
    ``.factorygate/bases`` is no folder.
    """
    made: list[str] = []
    with folder.folder([_BASES], make=True, own=True) as bases:
        there = set(os.listdir(bases))
        try:
            for file in files.values():
                if file.hash not in there and _is_mergeable(file.content):
                    made.append(file.hash)
                    there.add(file.hash)
                    write_file(bases, file.hash, file.content, 0o600)
        except OSError:
            for name in made:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=bases)
            raise


def drop_bases(folder: PersonFolder, known: Iterable[DeliveredFile]) -> None:
    """Remove the stored copies of the material's files that no later merge needs.

    A copy that cannot be removed stays, without an error. ``known``: the records of all delivered files; the copy with
    the hash ``base`` of each record is kept.
    """
    needed = {one.base for one in known}
    with contextlib.suppress(OSError, FolderBlocked), folder.folder([_BASES], own=True) as bases:
        for name in set(os.listdir(bases)) - needed:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=bases)


def _is_mergeable(content: bytes) -> bool:
    if len(content) > MOST_BYTES or b"\x00" in content:
        return False
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
