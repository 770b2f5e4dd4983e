"""Finds which steps a workshop's folder has, and stores which of them the session's person has done.

A step is a tagged cell of a notebook in the workshop's material. The steps that were done are stored in a file of the
folder, so that a later session finds them, too.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from factorycommon.material.steps import KnownStep
from factorygate.exporting.walking import NoFolder, opened
from factorygate.material.person_folder import OWN
from factorygate.material.step_files import DONE, STEPS, read_steps, write_steps

_FOLDER = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_MOST_FOLDERS = 20


@dataclass(frozen=True)
class FolderSteps:
    """The steps (tagged cells) of a workshop's folder. ``done``: the numbers, from 0, of the steps that were done."""

    steps: tuple[KnownStep, ...] = ()
    done: tuple[int, ...] = ()


class StepBook:
    """Knows, for one notebook server, the steps in the folders of workshops, and which of them were done.

    ``root``: the notebook's root folder; ``done``: numbers, from 0, of the steps that were done in the folder of the
    last call of ``look`` or ``mark``; ``on_change``: called by handlers when ``done`` has changed.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._marked: defaultdict[str, set[KnownStep]] = defaultdict(set)  # in this session, by folder
        self.done: tuple[int, ...] = ()
        self.on_change: Callable[[], None] = lambda: None

    def look(self, folder: str) -> FolderSteps:
        """Return the steps of a workshop's folder, and set ``done``; no steps if the folder is missing.

        ``folder``: the folder's name in the notebook's root folder. If no workshop can have this name, return no steps,
        and leave ``done`` as it is. If ``mark`` could store done steps of the folder in memory only, this method tries
        again to write them to the folder's file.
        """
        return self._with(folder, None)

    def mark(self, folder: str, index: int) -> FolderSteps:
        """Store that the step with the number ``index`` (from 0) was done, and set ``done``; return the folder's steps.

        The step is stored in a file of the folder or, if the file cannot be written (for example on a full disk), only
        in memory. A number that the material does not have is ignored. Once steps of ``_MOST_FOLDERS`` folders were
        marked, steps of any other folder are ignored, too.
        """
        return self._with(folder, index)

    def _with(self, folder: str, index: int | None) -> FolderSteps:
        if not _FOLDER.fullmatch(folder):
            return FolderSteps()
        with self._lock:
            try:
                with opened(self._root, f"{folder}/{OWN}") as own:
                    steps, before = read_steps(own, STEPS), read_steps(own, DONE)
                    room = folder in self._marked or len(self._marked) < _MOST_FOLDERS
                    if index is not None and index < len(steps) and room:
                        self._marked[folder].add(steps[index])
                    known = {*before, *self._marked.get(folder, ())}
                    done = tuple(one for one in steps if one in known)
                    if set(done) - set(before):
                        with contextlib.suppress(OSError):  # a full disk: they are known until the session ends
                            write_steps(own, DONE, done)
            except NoFolder:
                steps, done = (), ()
            numbers = self.done = tuple(number for number, one in enumerate(steps) if one in done)
        return FolderSteps(steps, numbers)
