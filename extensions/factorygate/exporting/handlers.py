"""The HTTP handlers of the notebook server for exports.

``GET api/factorygate/export?path=FOLDER`` answers what a zip of the folder would contain; ``GET
api/factorygate/export/zip?path=FOLDER&id=ID`` sends the zip; ``GET api/factorygate/export/progress?id=ID`` answers how
far the export with this id is. Only users with access to the server may make these requests.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web
from tornado.iostream import StreamClosedError

from factorycommon.messages import Message
from factorygate import language
from factorygate.exporting.walking import NoFolder, opened
from factorygate.exporting.zipping import MOST_BYTES, MOST_FILES, ExportSum, measure, stream

AT_ONCE = 2  # exports of one server
_SHOWN = 20  # paths of each list in an answer
_KEPT = 20  # exports whose progress is known
_ID = re.compile(r"[A-Za-z0-9-]{8,40}")
_NO_FOLDER = Message("export-no-folder", "The folder {name} cannot be read: {why}")
_TOO_LARGE = Message(
    "export-too-large", "The folder has more than {gib} GiB or {files} files, so it is not exported as one zip."
)
_TOO_MANY = Message("export-too-many", "Two downloads of this session go on already. Wait until one has ended.")
_NO_ID = Message("export-no-id", "This download is not known.")


class Exports:
    """Counts the running exports of one notebook server, and knows how far the last ``_KEPT`` exports are.

    ``root``: the notebook's root folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.running = 0
        self._known: dict[str, tuple[ExportSum, str]] = {}  # by id: how far it is, and its state

    def tell(self, name: str, done: ExportSum, state: str) -> None:
        """Store how far an export is.

        ``name``: the export's id; ``done``: what the zip contains so far, which may still grow; ``state``: ``running``,
        ``done``, or ``cut`` if the export was broken off.
        """
        self._known.pop(name, None)
        self._known[name] = (done, state)
        while len(self._known) > _KEPT:
            del self._known[next(iter(self._known))]

    def progress(self, name: str) -> dict[str, Any] | None:
        """Return ``files``, ``bytes`` and ``state`` of the export with the id ``name``; None if the id is not known."""
        found = self._known.get(name)
        if found is None:
            return None
        done, state = found
        return {"files": done.files, "bytes": done.bytes, "state": state}


class _ExportHandler(APIHandler):
    """The base class of this module's handlers; answers refusals as JSON with a ``message``."""

    auth_resource = "contents"

    def initialize(self, exports: Exports) -> None:
        """Keep ``exports``, the exports of this server."""
        self._exports = exports

    async def refuse(self, status: int, message: Message) -> None:
        """Finish the response with ``status`` and a message for the person."""
        self.set_status(status)
        self.set_header("Cache-Control", "no-store")
        await self.finish({"message": language.here().said(message)})

    async def measured(self, path: str) -> ExportSum | None:
        """Return what a zip of the folder ``path`` would contain; the path is relative to the notebook's root folder.

        If the folder cannot be read, answer 404 with a message for the person, and return None.
        """

        def look() -> ExportSum:
            with opened(self._exports.root, path) as folder:
                return measure(folder)

        try:
            return await asyncio.to_thread(look)
        except (NoFolder, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            await self.refuse(404, _NO_FOLDER.format(name=path[:200], why=why))
            return None


class ExportPlan(_ExportHandler):
    """Answers what a zip of a folder would contain."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer how much a zip of a folder would contain, the limits, and what would be left out.

        ``path`` of the query: the folder. The answer is JSON. ``files``: the number of files; ``bytes``: their size
        before compression. ``most_files``, ``most_bytes``: the limits; folders, and entries that are left out, count
        for ``most_files``, too. ``whole``: whether the folder is within the limits; if not, all numbers are those of
        the part up to the limits. ``counts``, ``paths``: for each kind of entry that is left out (``link``,
        ``special``, ``closed`` or ``deep``, see ``FoundEntry``), how many there are, and the first ``_SHOWN`` paths.
        404 if the folder cannot be read.
        """
        found = await self.measured(self.get_query_argument("path", ""))
        if found is None:
            return
        self.set_header("Cache-Control", "no-store")
        await self.finish(
            {
                "files": found.files,
                "bytes": found.bytes,
                "whole": found.whole,
                "most_files": MOST_FILES,
                "most_bytes": MOST_BYTES,
                "counts": found.counts,
                "paths": {kind: [_text(line) for line in lines[:_SHOWN]] for kind, lines in found.left_out.items()},
            }
        )


class ExportProgress(_ExportHandler):
    """Answers how far an export is."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer ``files`` and ``bytes`` of the zip so far, and ``state``.

        ``id`` of the query: the export's id. ``bytes``: before compression. ``state``: ``running``, ``done``, or
        ``cut`` if the export was broken off. 404 if the id is not known.
        """
        found = self._exports.progress(self.get_query_argument("id", ""))
        if found is None:
            await self.refuse(404, _NO_ID)
            return
        self.set_header("Cache-Control", "no-store")
        await self.finish(found)


class ExportZip(_ExportHandler):
    """Sends a folder as a zip, which is made while it is sent."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Send a zip of the folder that ``path`` of the query names.

        ``id`` of the query: the page's name for this export, to ask for its progress. If the zip cannot be completed,
        the connection is closed without the end of the response, which the browser notices. Refusals: 400 if the id is
        invalid, 404 if the folder cannot be read, 413 if the folder exceeds the limits, 429 if ``AT_ONCE`` exports of
        this server are running.
        """
        path, name = self.get_query_argument("path", ""), self.get_query_argument("id", "")
        if not _ID.fullmatch(name):
            await self.refuse(400, _NO_ID)
            return
        if self._exports.running >= AT_ONCE:
            await self.refuse(429, _TOO_MANY)
            return
        self._exports.running += 1
        try:
            found = await self.measured(path)
            if found is None:
                return
            if not found.whole:
                await self.refuse(413, _TOO_LARGE.format(gib=MOST_BYTES >> 30, files=MOST_FILES))
                return
            await self._send(path, name)
        finally:
            self._exports.running -= 1

    async def _send(self, path: str, name: str) -> None:
        top, done, state = path.strip("/").rpartition("/")[2], ExportSum(), "cut"
        self._exports.tell(name, done, "running")
        self.set_header("Content-Type", "application/zip")
        self.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{quote(_text(top), safe='')}.zip")
        self.set_header("Cache-Control", "no-store")
        with ExitStack() as held:
            held.callback(lambda: self._exports.tell(name, done, state))
            try:
                folder = held.enter_context(opened(self._exports.root, path))
                pieces = stream(folder, top, done)
                held.callback(pieces.close)
                while (piece := await asyncio.to_thread(_next, pieces)) is not None:
                    self.write(piece)
                    await self.flush()  # wait until the browser has read the piece
            except StreamClosedError:
                self.log.info("An export was cancelled")
                return
            except (NoFolder, OSError) as error:
                self.log.warning("An export was cut off: %s", error)
                if self.request.connection is not None:
                    self.request.connection.stream.close()  # type: ignore[attr-defined]
                return
            state = "done"
        await self.finish()


def routes(base: str, root: Path) -> list[tuple[str, type[APIHandler], dict[str, Any]]]:
    """Return the handlers with their URLs, for Tornado.

    ``base``: the URL path ``…/api/factorygate``; ``root``: the folder of the notebook's files.
    """
    shared = {"exports": Exports(root)}
    return [
        (f"{base}/export", ExportPlan, shared),
        (f"{base}/export/zip", ExportZip, shared),
        (f"{base}/export/progress", ExportProgress, shared),
    ]


def _next(pieces: Iterator[bytes]) -> bytes | None:
    return next(pieces, None)


def _text(name: str) -> str:
    """Return ``name`` with a question mark for each character that cannot be encoded."""
    return name.encode(errors="replace").decode()
