"""Decides for each file of the material what happens in a person's folder. Pure functions.

For each file three versions count: what the person last got (the base), what is in the folder, and what is in the
material now. The person's changes always win: nothing that the person wrote is replaced, except by a merge that
contains it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from factorycommon.material.archive import MaterialFile, hash_of
from factorygate.material.merging import merge

_COMMIT_DIGITS = 7


class MaterialOutcome(StrEnum):
    """What happens to one file in a delivery."""

    NEW = "new"  # it is written
    UNCHANGED = "unchanged"  # the person has it already
    UPDATED = "updated"  # the person left it alone: the material's new version replaces it
    KEPT = "kept"  # the person changed it, and the material did not
    MERGED = "merged"  # both changed it, in different lines or cells
    CONFLICT = "conflict"  # both changed it: the person's stays, and the material's is written beside it
    DELETED = "deleted"  # the person deleted it, and it stays deleted
    REMOVED = "removed"  # the material has it no more: the person's unchanged file goes to a folder for such files
    BLOCKED = "blocked"  # a file or a link is where the material has a folder


@dataclass(frozen=True)
class DeliveredFile:
    """The record of a file after a delivery.

    ``base``: the hash of the newest version of the material's file that went into the person's file, as a copy or by a
    merge; None: no version did. ``offered``: the hash of the newest version that was offered. An offered version may
    have been written beside the person's file, or not at all, for example since the person had deleted the file.
    """

    base: str | None
    offered: str


@dataclass(frozen=True)
class FolderFile:
    """A file in the person's folder. ``content`` None: it is no regular file, is too large, or cannot be read."""

    content: bytes | None

    @cached_property
    def hash(self) -> str | None:
        """Return the SHA-256 of the content; None if the content is not known."""
        return None if self.content is None else hash_of(self.content)


@dataclass(frozen=True)
class MaterialStep:
    """What is to be done with one file.

    ``content``: what is to be written, to the file itself or, in a conflict, beside it; None if nothing is written.
    ``expected``: the hash of the person's file that the step replaces or moves away; None if it does neither.
    ``known``: the record of the file after the step; None if the material no longer has the file, so that there is no
    record.
    """

    path: str
    outcome: MaterialOutcome
    content: bytes | None = None
    executable: bool = False
    expected: str | None = None
    known: DeliveredFile | None = None


def plan(
    last: Mapping[str, DeliveredFile],
    material: Mapping[str, MaterialFile],
    look: Callable[[str], FolderFile | None],
    base_of: Callable[[str], bytes | None],
    restore: bool = False,
) -> tuple[MaterialStep, ...]:
    """Return the steps for a delivery: first for files that the material no longer has, then for the material's files.

    ``last``: the records of the files that were delivered earlier; ``material``: the material's files now; both by
    path. ``look``: returns the file at a path of the person's folder; None: nothing is there; ``base_of``: returns the
    content with a given hash from an earlier delivery; None: that content is not stored. ``restore``: write files and
    cells again that the person deleted.
    """
    gone = [_upstream_deleted(path, last[path], look(path)) for path in sorted(last.keys() - material.keys())]
    there = [_decided(path, last.get(path), material[path], look(path), base_of, restore) for path in sorted(material)]
    return (*(step for step in gone if step is not None), *there)


def _upstream_deleted(path: str, known: DeliveredFile, found: FolderFile | None) -> MaterialStep | None:
    if found is None:
        return None
    if found.hash is not None and found.hash in (known.base, known.offered):
        return MaterialStep(path, MaterialOutcome.REMOVED, expected=found.hash)
    return MaterialStep(path, MaterialOutcome.KEPT)


def _decided(
    path: str,
    known: DeliveredFile | None,
    file: MaterialFile,
    found: FolderFile | None,
    base_of: Callable[[str], bytes | None],
    restore: bool,
) -> MaterialStep:
    new = file.hash
    current = DeliveredFile(new, new)
    if found is None:
        if known is not None and not restore:
            return MaterialStep(path, MaterialOutcome.DELETED, known=DeliveredFile(known.base, new))
        return MaterialStep(path, MaterialOutcome.NEW, file.content, file.executable, known=current)
    base = None if known is None else known.base
    if found.hash == new:
        return MaterialStep(path, MaterialOutcome.UNCHANGED, known=current)
    if found.hash is not None and found.hash == base:
        return MaterialStep(path, MaterialOutcome.UPDATED, file.content, file.executable, found.hash, current)
    kept = MaterialStep(path, MaterialOutcome.KEPT, known=known)
    has_it = known is not None and known.offered == new
    if has_it and not restore:
        return kept
    old = None if base is None else base_of(base)
    if found.content is not None and old is not None:
        merged = merge(path, old, found.content, file.content, restore)
        if merged == found.content and has_it:
            return kept
        if merged is not None:
            return MaterialStep(path, MaterialOutcome.MERGED, merged, file.executable, found.hash, current)
    return kept if has_it else beside(path, file, known)


def beside(path: str, file: MaterialFile, known: DeliveredFile | None) -> MaterialStep:
    """Return the step that leaves the person's file alone and writes the material's version beside it.

    ``known``: the file's record from the last delivery; None: there is none.
    """
    later = DeliveredFile(None if known is None else known.base, file.hash)
    return MaterialStep(path, MaterialOutcome.CONFLICT, file.content, file.executable, known=later)


def name_beside(name: str, commit: str, number: int = 1) -> str:
    """Return the name under which a version of the material is written beside the person's file ``name``.

    For ``notebook.ipynb`` this is ``notebook.new-0123456.ipynb``, with the first digits of ``commit``. If the person
    already has another file of this name, pass 2, 3, ... as ``number``, for ``notebook.new-0123456-2.ipynb`` and so on.
    """
    stem, dot, ending = name.rpartition(".")
    if not stem:
        stem, dot, ending = name, "", ""
    counted = "" if number == 1 else f"-{number}"
    return f"{stem}.new-{commit[:_COMMIT_DIGITS]}{counted}{dot}{ending}"
