"""``GET api/factorygate/clock`` of the notebook server: when the session ends, and the warning before its end.

JSON: ``session``: the session's id; ``ends``: the end by walltime, and ``ends_idle``: the end if nobody uses the
session, each RFC 3339 or null; ``notice``: the warning, null or ``{"kind": "walltime" | "idle" | "unopened", "at": RFC
3339, "minutes": how many minutes before "at" this warning begins}``; ``messages``: the last messages for the person,
each ``{"id", "text", "kind", "at"}``. Only users with access to the server may make the request. The door writes this
JSON to a file beside the server's socket (the clock's file).
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from tornado import web


class Polled(APIHandler):
    """A handler for requests that pages repeat by themselves, which do not count as activity of the session."""

    auth_resource = "contents"

    def update_api_activity(self) -> None:
        """Record no activity."""


class Clock(Polled):
    """Answers with the file that the door writes: the time of the session's end, and messages for the person."""

    def initialize(self, file: Path) -> None:
        """Keep ``file``, the path of the clock's file, which the door writes."""
        self._file = file

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer with the file's content, or 404 if the door has written no file."""
        try:
            content = await asyncio.to_thread(self._file.read_text, encoding="utf-8")
        except FileNotFoundError as error:
            raise web.HTTPError(404, "Nothing is known of this session's end.") from error
        self.set_header("Cache-Control", "no-store")
        await self.finish(content)


def place() -> Path | None:
    """Return the path of the file with the session's end, which the door writes; None if this server has no door."""
    found = os.environ.get("FACTORYGATE_CLOCK", "")
    return Path(found) if found else None


def serve(server: ServerApp) -> None:
    """Add the handler ``Clock`` to ``server``, if the server runs behind a door."""
    file = place()
    if file is not None:
        url = url_path_join(server.web_app.settings["base_url"], "api/factorygate/clock")
        server.web_app.add_handlers(".*$", [(url, Clock, {"file": file})])  # type: ignore[no-untyped-call]
