"""Brings a workshop's material into sessions: keeps the archives that the workshops service uploads, and sends them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from factorycommon.models.workshops.material import DoorOrder, MaterialDelivered, MaterialPiece, MaterialUpload
from factorylink.problems import ProblemError
from factorylink.sessions.service import Sessions
from factorylink.state.live_session import LiveSession

log = logging.getLogger("factorylink")

_KEPT = 30  # archives; a later order for another one has it uploaded again
_AT_ONCE = 6  # doors that get an archive at the same time


class MaterialArchives:
    """Stores archives of workshops' material in ``folder``, by SHA-256 digest; the folder is created when needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = asyncio.Lock()

    async def add(self, digest: str, piece: MaterialPiece) -> MaterialUpload:
        """Append a piece to the archive with this SHA-256 digest; return how much is stored, and whether that is all.

        The next piece must begin at the returned number of bytes; any other piece is ignored. If the complete archive
        has another digest, the archive is deleted, and the upload must begin again. If there are too many archives, the
        first piece of a new one deletes those whose last use is the longest ago. Raises OSError.
        """
        async with self._lock:
            return await asyncio.to_thread(self._add, digest, piece)

    def find(self, digest: str) -> Path | None:
        """Return the path of an archive, and set its modification time to now; None if it is not stored completely.

        The modification time says when an archive was last used: archives with the oldest times are deleted first.
        """
        path = self._folder / digest
        if not path.exists():
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # so that it is kept longer than those that nobody uses
        return path

    def _add(self, digest: str, piece: MaterialPiece) -> MaterialUpload:
        if (found := self.find(digest)) is not None:
            return MaterialUpload(has=found.stat().st_size, whole=True)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        part = self._folder / f"{digest}.part"
        if not part.exists():
            self._drop_oldest()
        with part.open("ab") as file:
            has = file.tell()
            if piece.begin == has and has + len(piece.data) <= piece.total:
                file.write(piece.data)
                has += len(piece.data)
        if has < piece.total:
            return MaterialUpload(has=has, whole=False)
        with part.open("rb") as file:
            right = has == piece.total and hashlib.file_digest(file, "sha256").hexdigest() == digest
        if not right:
            part.unlink()
            return MaterialUpload(has=0, whole=False)
        part.replace(self._folder / digest)
        return MaterialUpload(has=has, whole=True)

    def _drop_oldest(self) -> None:
        """Delete the archives that were not used for the longest time, complete or not, to make room for one more."""
        there = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in there[_KEPT - 1 :]:
            path.unlink(missing_ok=True)


class MaterialSender:
    """Sends archives of workshops' material to sessions, to a few sessions at a time."""

    def __init__(self, sessions: Sessions, archives: MaterialArchives) -> None:
        self._sessions = sessions
        self.archives = archives
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def send(
        self, order: DoorOrder, archive: Path, there: Sequence[LiveSession]
    ) -> tuple[MaterialDelivered, ...]:
        """Send an archive to the sessions ``there``; return their outcomes, in the same order as the sessions.

        ``order``: the folder for the material, and how the material is written there (see ``DoorOrder``). If a session
        cannot take the archive, its outcome says why.
        """
        return tuple(await asyncio.gather(*(self._one(order, archive, one) for one in there)))

    async def _one(self, order: DoorOrder, archive: Path, live_session: LiveSession) -> MaterialDelivered:
        record = live_session.record
        try:
            async with self._slots:
                report = await self._sessions.deliver(record.id, order, archive)
        except ProblemError as error:
            log.info("Session %s has not taken the material: %s", record.id, error)
            return MaterialDelivered(session=record.id, person=record.user, problem=str(error))
        return MaterialDelivered(session=record.id, person=record.user, report=report)
