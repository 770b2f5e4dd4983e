"""The notebook server's contents manager and files handler; an incomplete upload never replaces a file.

jupyter_server appends each piece of a large upload to the file itself, so that an interrupted upload leaves an
incomplete file under the full name. Here the pieces go to a hidden file (see ``partial_uploads``). A file is not read
while it is saved, so no save is lost. Downloads get what a browser needs to resume them: a strong ETag, and a server
that obeys If-Range.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import errno
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from jupyter_core.paths import jupyter_data_dir
from jupyter_server.base.handlers import AuthenticatedFileHandler
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from tornado.web import HTTPError
from traitlets import default

from factorygate.session.jupyter.partial_uploads import LAST, OutOfOrder, Part, Parts

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_UNDER_WAY = "The upload of {name} was cut, and what had arrived is gone; the file is as before. Upload it again."


class Downloads(AuthenticatedFileHandler):
    """Serves files so that a browser can resume a download without joining parts of two versions of a file."""

    def compute_etag(self) -> str | None:
        """Return an ETag made from the file's inode, size and modification time; the content is not read."""
        found = os.stat(self.absolute_path or "")
        return f'"{found.st_ino:x}-{found.st_size:x}-{found.st_mtime_ns:x}"'

    def set_headers(self) -> None:
        """Set the response's headers; if If-Range names another version of the file, remove the request's Range.

        Without a Range, the whole file is sent. Tornado itself does not read If-Range.
        """
        super().set_headers()
        meant = self.request.headers.get("If-Range")
        if meant is not None and meant not in (self._headers.get("Etag"), self._headers.get("Last-Modified")):
            self.request.headers.pop("Range", None)


class Contents(AsyncLargeFileManager):
    """Reads and saves the files below the notebook's root folder, for jupyter_server.

    A large upload replaces the file at its last piece, and not before.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._parts = Parts(Path(jupyter_data_dir()) / "factorygate-uploads")
        self._uploads: dict[Path, Part] = {}
        # a lock is removed with its last user
        self._locks: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()
        self._users: dict[Path, asyncio.Task[Any] | None] = {}  # the tasks that have the locks

    @default("files_handler_class")
    def _downloads(self) -> type[Downloads]:
        return Downloads

    async def get(self, path: str, content: bool = True, *more: Any, **options: Any) -> dict[str, Any]:
        """Return the model of a file or folder, as jupyter_server does.

        If the model of a file is to have the content or a hash, wait until nobody saves the file. ``more``,
        ``options``: the other arguments that the installed release of jupyter_server has, such as ``type`` and
        ``require_hash``. Without the wait, jupyter_server could read a notebook while another request writes it, treat
        it as broken, move the new content to a file ``.invalid``, and restore the old content (jupyter_server's issue
        1416).
        """
        if content or options.get("require_hash"):
            target = await self._target(path)
            if not await asyncio.to_thread(target.is_dir):
                async with self._alone(target):
                    return await self._found(path, content, *more, **options)
        return await self._found(path, content, *more, **options)

    async def _found(self, path: str, content: bool, *more: Any, **options: Any) -> dict[str, Any]:
        found: dict[str, Any] = await super().get(path, content, *more, **options)
        return found

    async def save(self, model: dict[str, Any], path: str = "") -> dict[str, Any]:
        """Save a file, or one piece of it if ``model`` has ``chunk``: 1, 2, 3, ..., -1 for the last piece.

        Return the file's model without content. Raises HTTPError if the file or the piece cannot be saved. If a piece
        is invalid (status 400) or out of order (409), the earlier pieces stay; any other error in writing a piece
        discards them.
        """
        number = model.get("chunk")
        target = await self._target(path)
        if number is None:
            async with self._alone(target):
                saved: dict[str, Any] = await super().save(model, path)
            return saved
        path = path.strip("/")
        data = _piece(model, number)
        async with self._alone(target):
            if number == 1:
                self.run_pre_save_hooks(model=model, path=path)
                await self._begin(target)
            part = self._uploads.get(target)
            if part is None:
                raise HTTPError(409, _NOT_UNDER_WAY.format(name=target.name))
            try:
                with in_words(target.name):
                    await asyncio.to_thread(self._take, part, number, data)
            except HTTPError as error:
                if error.status_code != 409:
                    await self._forget(part)
                raise
            if number != LAST:
                return _unfinished(path, part)
            del self._uploads[target]
        saved = await self.get(path, content=False)
        self.run_post_save_hooks(model=saved, os_path=str(target))
        self.emit(data={"action": "save", "path": path})
        return saved

    async def _target(self, path: str) -> Path:
        """Return the absolute path of the file or folder that ``path`` of the API names, with symbolic links resolved.

        It need not exist. Raises HTTPError 404 if ``path`` leads out of the notebook's root folder by ``..``, or
        contains a NUL. A link in the root folder may lead out of it.
        """
        try:
            return Path(await asyncio.to_thread(os.path.realpath, self._get_os_path(path.strip("/"))))
        except ValueError as error:  # the path contains a NUL
            raise HTTPError(404, "No such file or directory") from error

    @asynccontextmanager
    async def _alone(self, target: Path) -> AsyncIterator[None]:
        """Keep all other tasks from reading and writing the file within the block.

        A task may enter again: a save may read the file.
        """
        task = asyncio.current_task()
        if self._users.get(target) is task:
            yield
            return
        async with self._locks.setdefault(target, asyncio.Lock()):
            self._users[target] = task
            try:
                yield
            finally:
                del self._users[target]

    async def _begin(self, target: Path) -> None:
        old = self._uploads.pop(target, None)
        if old is not None:
            await asyncio.to_thread(self._parts.drop, old)
        with in_words(target.name):
            self._uploads[target] = await asyncio.to_thread(self._parts.open, target)

    def _take(self, part: Part, number: int, data: bytes) -> None:
        self._parts.write(part, number, data)
        if number == LAST:
            self._parts.finish(part)

    async def _forget(self, part: Part) -> None:
        self._uploads.pop(part.target, None)
        await asyncio.to_thread(self._parts.drop, part)

    async def sweep(self) -> None:
        """Remove the hidden files of uploads that have received nothing for ``STALE_SECONDS``.

        Called at the server's start and periodically.
        """
        removed = await asyncio.to_thread(self._parts.sweep, time.time())
        for path in removed:
            self.log.info("An upload was cut and is removed: %s", path)
        self._uploads = {target: part for target, part in self._uploads.items() if part.path not in removed}


def _piece(model: dict[str, Any], number: object) -> bytes:
    """Return the bytes of a piece. Raises HTTPError 400 if ``model`` is not a piece of a file."""
    if not isinstance(number, int) or isinstance(number, bool) or not (number >= 1 or number == LAST):
        raise HTTPError(400, f"chunk: {number!r} is no number of a piece")
    if model.get("type") != "file":
        raise HTTPError(400, "Only a file comes in pieces")
    content = model.get("content")
    if not isinstance(content, str) or model.get("format") not in ("text", "base64"):
        raise HTTPError(400, "A piece needs a content, and as its format `text` or `base64`")
    if model["format"] == "text":
        return content.encode()
    try:
        return base64.b64decode(content.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise HTTPError(400, f"The piece is not base64: {error}") from error


@contextmanager
def in_words(name: str) -> Iterator[None]:
    """Turn an OutOfOrder or OSError of the ``with`` block into an HTTPError with a message for the person.

    ``name``: the file or folder that the block writes. Other errors of the block are raised unchanged.
    """
    try:
        yield
    except OutOfOrder as error:
        raise HTTPError(409, str(error)) from error
    except FileNotFoundError as error:
        raise HTTPError(410, f"The folder of {name}, or what had arrived of it, is gone. Upload it again.") from error
    except (PermissionError, IsADirectoryError) as error:
        raise HTTPError(403, f"{name} cannot be written: {error.strerror or error}") from error
    except OSError as error:
        if error.errno in _FULL:
            raise HTTPError(
                507,
                f"There is no room for {name}: the disk or your quota at this factory is full. Nothing of it stays.",
            ) from error
        raise HTTPError(500, f"{name} cannot be written: {error.strerror}. Nothing of it stays.") from error


def _unfinished(path: str, part: Part) -> dict[str, Any]:
    """Return the contents model of a file whose upload is not complete."""
    now = datetime.now(UTC)
    return {
        "name": path.rpartition("/")[2],
        "path": path,
        "type": "file",
        "writable": True,
        "created": now,
        "last_modified": now,
        "size": part.size,
        "mimetype": None,
        "content": None,
        "format": None,
    }
