"""Delivers a workshop's material into a person's folder: plans, writes all files to a stage, then moves each file.

The stage is a folder for files that wait to be moved. If the disk is full while the stage is written, the person's
files stay as they were. If a delivery is cut short later, each file is either the old or the new one, and the next
delivery updates the remaining files. If the file system cannot exchange two files, the file that was being replaced
when the delivery was cut short may be missing; its old version is below ``.factorygate``.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from factorycommon.material.archive import MaterialFile, unpack
from factorycommon.material.steps import steps_of
from factorygate.material.file_moves import move_new
from factorygate.material.keeping import keep_aside
from factorygate.material.person_folder import (
    FolderBlocked,
    PersonFolder,
    move_away,
    read_file,
    remove_tree,
    replace_file,
    staging,
    write_file,
)
from factorygate.material.planning import DeliveredFile, MaterialOutcome, MaterialStep, beside, name_beside, plan
from factorygate.material.records import RECORD, drop_bases, read_base, read_record, record_of, write_bases
from factorygate.material.step_files import STEPS, write_steps

_MOST_BESIDE = 50  # versions of one file beside the person's
_MOST_LISTED = 50  # paths of each list in a report
_MOST_SHOWN = 200  # characters of a path in a report
_MOST_BYTES = 2500  # of each list, since the link reads a line of 16 KiB at most
# Errors that concern one file only.
_CLOSED = frozenset({errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOENT})

O = MaterialOutcome  # noqa: E741  (as the table of states has it)


class DeliveryFailed(Exception):
    """Raised if the material could not be delivered, or not completely; the text says why."""


@dataclass
class DeliveryReport:
    """What a delivery did.

    ``commit``: the version of the material; ``outcomes``: what happened to each file, by path; ``besides``: maps the
    path of a file in conflict to the path of the material's version, which is now beside this file; ``aside``: the name
    of the folder to which the person's earlier folder was moved, "" if there was no earlier folder, None if the
    delivery was not to move a folder.
    """

    commit: str
    outcomes: dict[str, MaterialOutcome] = field(default_factory=dict)
    besides: dict[str, str] = field(default_factory=dict)
    aside: str | None = None

    def as_json(self) -> dict[str, object]:
        """Return the report as an object for JSON, without ``besides``.

        The object has ``commit``; ``counts``: the number of files by outcome; ``aside``, unless this is None; and for
        each of the outcomes ``conflict``, ``blocked``, ``merged`` and ``removed`` a list of the first paths, perhaps
        not all. Long paths are cut.
        """
        counts = Counter(self.outcomes.values())
        listed = {str(kind): self._listed(kind) for kind in (O.CONFLICT, O.BLOCKED, O.MERGED, O.REMOVED)}
        aside = {} if self.aside is None else {"aside": self.aside}
        return {"commit": self.commit, "counts": {str(kind): counts[kind] for kind in O}, **listed, **aside}

    def _listed(self, kind: MaterialOutcome) -> list[str]:
        """Return the first paths with an outcome, as many as fit into a report; long paths are cut."""
        found: list[str] = []
        left = _MOST_BYTES
        for path in (path[:_MOST_SHOWN] for path, outcome in self.outcomes.items() if outcome == kind):
            left -= len(json.dumps(path)) + 2
            if left < 0 or len(found) >= _MOST_LISTED:
                break
            found.append(path)
        return found


def deliver(
    root: Path, name: str, archive: bytes, commit: str, restore: bool = False, aside: str | None = None
) -> DeliveryReport:
    """Bring the material into the folder ``name`` below ``root``; return what was done.

    ``archive``: a tar.gz of the material's files; ``commit``: the material's version; ``restore``: write files and
    cells again that the person deleted; ``aside``: move the person's folder to ``NAME-ASIDE`` before the delivery,
    unless ``NAME-ASIDE`` exists already; None: do not move the folder. Raises DeliveryFailed, BadArchive,
    FolderBlocked, FolderBusy; OSError if the folder cannot be used.
    """
    files = unpack(archive)
    kept = None if aside is None else keep_aside(root, name, aside)
    folder = PersonFolder(root, name)
    try:
        report = _Delivery(folder, files, commit, restore).run()
        with contextlib.suppress(OSError):  # a full disk: the room shows no steps of this person then
            write_steps(folder.own, STEPS, steps_of({path: file.content for path, file in files.items()}))
    except DeliveryFailed as error:
        if kept:
            raise DeliveryFailed(f"{error} Your own files are in the folder {kept}.") from error
        raise
    finally:
        folder.close()
    report.aside = kept
    return report


class _Delivery:
    def __init__(self, folder: PersonFolder, files: Mapping[str, MaterialFile], commit: str, restore: bool) -> None:
        self._folder = folder
        self._files = files
        self._commit = commit
        self._last = read_record(folder)
        self._steps = plan(self._last, files, folder.look, lambda wanted: read_base(folder, wanted), restore)
        self._known: dict[str, DeliveredFile] = {}
        self._report = DeliveryReport(commit)

    def run(self) -> DeliveryReport:
        with staging(self._folder) as (stage, name):
            self._stage = stage
            try:
                self._prepare()
            except (OSError, FolderBlocked) as error:
                remove_tree(self._folder, name)
                drop_bases(self._folder, self._last.values())
                self._folder.forget_made()
                why = error.strerror if isinstance(error, OSError) else str(error)
                raise DeliveryFailed(f"Nothing was changed: {why}.") from error
            number = -1
            try:
                for number, step in enumerate(self._steps):
                    self._take(step, str(number))
                self._remember()
            except OSError as error:
                for later in range(number + 1, len(self._steps)):
                    self._unstage(str(later))
                self._unstage(RECORD)
                raise DeliveryFailed(f"Not all files could be updated: {error.strerror}. Try again.") from error
        return self._report

    def _prepare(self) -> None:
        """Write to the stage everything that needs space on the disk, and make the folders that the steps need.

        Store also the copies of the material's files that later merges need.
        """
        write_bases(self._folder, self._files)
        for number, step in enumerate(self._steps):
            if step.content is not None:
                write_file(self._stage, str(number), step.content, 0o777 if step.executable else 0o666)
            if step.outcome is O.NEW:
                self._make_if_possible(self._names(step))
            if step.outcome is O.MERGED or step.outcome is O.REMOVED:
                self._made(self._names_away(step), own=True)
        planned = {step.path: step.known for step in self._steps if step.known is not None}
        write_file(self._stage, RECORD, record_of(self._commit, planned), 0o600)

    def _made(self, names: list[str], own: bool = False) -> None:
        with self._folder.folder(names, make=True, own=own):
            pass

    def _make_if_possible(self, names: list[str]) -> None:
        try:
            self._made(names)
        except FolderBlocked:
            return
        except OSError as error:
            if error.errno not in _CLOSED:
                raise

    @staticmethod
    def _names(step: MaterialStep) -> list[str]:
        return step.path.split("/")[:-1]

    def _names_away(self, step: MaterialStep) -> list[str]:
        top = "removed" if step.outcome is O.REMOVED else "replaced"
        return [top, self._commit, *self._names(step)]

    # --- the steps

    def _take(self, step: MaterialStep, staged: str) -> None:
        try:
            outcome, known = self._done(step, staged)
        except FolderBlocked:
            outcome, known = O.BLOCKED, self._last.get(step.path)
        except OSError as error:
            if error.errno not in _CLOSED:
                raise
            outcome, known = O.BLOCKED, self._last.get(step.path)
        self._report.outcomes[step.path] = outcome
        if known is not None:
            self._known[step.path] = known
        if outcome is O.BLOCKED:
            self._unstage_ours(step, staged)

    def _done(self, step: MaterialStep, staged: str) -> tuple[MaterialOutcome, DeliveredFile | None]:
        match step.outcome:
            case O.NEW:
                return self._new(step, staged)
            case O.UPDATED | O.MERGED:
                return self._replaced(step, staged)
            case O.REMOVED:
                return self._removed(step), None
            case O.CONFLICT:
                return self._beside(step, staged)
            case _:
                return step.outcome, step.known

    def _new(self, step: MaterialStep, staged: str) -> tuple[MaterialOutcome, DeliveredFile | None]:
        name = step.path.rpartition("/")[2]
        with self._folder.folder(self._names(step), make=True) as folder:
            try:
                move_new(self._stage, staged, folder, name)
            except FileExistsError:
                return self._beside(step, staged)
        return O.NEW, step.known

    def _replaced(self, step: MaterialStep, staged: str) -> tuple[MaterialOutcome, DeliveredFile | None]:
        name = step.path.rpartition("/")[2]
        with self._folder.folder(self._names(step)) as folder:
            if not replace_file(folder, name, self._stage, staged, step.expected or ""):
                return self._changed_meanwhile(step, staged)
        if step.outcome is O.UPDATED:
            self._unstage(staged)  # the version of an earlier delivery, which the person had not changed
        else:
            with contextlib.suppress(OSError, FolderBlocked):  # otherwise it stays in the stage, which is kept
                self._away(step, staged)
        return step.outcome, step.known

    def _changed_meanwhile(self, step: MaterialStep, staged: str) -> tuple[MaterialOutcome, DeliveredFile | None]:
        self._unstage_ours(step, staged)
        file, known = self._files[step.path], self._last.get(step.path)
        fresh = f"{staged}.new"
        write_file(self._stage, fresh, file.content, 0o777 if file.executable else 0o666)
        return self._beside(beside(step.path, file, known), fresh)

    def _away(self, step: MaterialStep, staged: str) -> None:
        """Move the person's file, as it was before a merge, from the stage to a folder below ``.factorygate/replaced``.

        ``staged``: the file's name in the stage.
        """
        with self._folder.folder(self._names_away(step), make=True, own=True) as target:
            for new_name in self._free_names(step):
                with contextlib.suppress(FileExistsError):
                    move_new(self._stage, staged, target, new_name)
                    return

    def _removed(self, step: MaterialStep) -> MaterialOutcome:
        name = step.path.rpartition("/")[2]
        with (
            self._folder.folder(self._names(step)) as folder,
            self._folder.folder(self._names_away(step), make=True, own=True) as target,
        ):
            for new_name in self._free_names(step):
                try:
                    if not move_away(folder, name, target, new_name, step.expected or ""):
                        return O.KEPT
                except FileExistsError:
                    continue
                break
            else:
                return O.KEPT
        self._folder.drop_empty(self._names(step))
        return O.REMOVED

    @staticmethod
    def _free_names(step: MaterialStep) -> list[str]:
        name = step.path.rpartition("/")[2]
        return [name, *(f"{name}.{number}" for number in range(2, _MOST_BESIDE))]

    def _beside(self, step: MaterialStep, staged: str) -> tuple[MaterialOutcome, DeliveredFile | None]:
        """Write the material's version beside the person's file; return what happened, and the file's new record.

        If the file is missing and was never delivered, write the version to the file's own path. Write nothing if the
        person has deleted a delivered file, if the person's file or a file beside it is this version already, or if all
        names for versions beside the file are taken (see ``name_beside``; there are ``_MOST_BESIDE`` - 1). The record
        is never None. ``staged``: the version's name in the stage.
        """
        *names, name = step.path.split("/")
        file = self._files[step.path]
        with self._folder.folder(names) as folder:
            found = read_file(folder, name)
            known = self._last.get(step.path)
            if found is None and known is None:
                move_new(self._stage, staged, folder, name)
                return O.NEW, DeliveredFile(file.hash, file.hash)
            later = DeliveredFile(None if known is None else known.base, file.hash)
            if found is None:
                self._unstage(staged)
                return O.DELETED, later
            if found.hash == file.hash:
                self._unstage(staged)
                return O.UNCHANGED, DeliveredFile(file.hash, file.hash)
            for number in range(1, _MOST_BESIDE):
                new_name = name_beside(name, self._commit, number)
                try:
                    move_new(self._stage, staged, folder, new_name)
                except FileExistsError:
                    there = read_file(folder, new_name)
                    if there is None or there.hash != file.hash:
                        continue
                    self._unstage(staged)
                self._report.besides[step.path] = "/".join((*names, new_name))
                break
            else:
                self._unstage(staged)
        return O.CONFLICT, later

    def _unstage(self, staged: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(staged, dir_fd=self._stage)

    def _unstage_ours(self, step: MaterialStep, staged: str) -> None:
        """Remove the file ``staged`` from the stage if it has the content that the step was to write.

        Otherwise the file may belong to the person: an exchange can have brought it into the stage.
        """
        found = read_file(self._stage, staged)
        if found is not None and step.content is not None and found.content == step.content:
            self._unstage(staged)

    # --- afterwards

    def _remember(self) -> None:
        planned = {step.path: step.known for step in self._steps if step.known is not None}
        if planned != self._known:
            self._unstage(RECORD)
            write_file(self._stage, RECORD, record_of(self._commit, self._known), 0o600)
        os.rename(RECORD, RECORD, src_dir_fd=self._stage, dst_dir_fd=self._folder.own)
        drop_bases(self._folder, self._known.values())
