"""``GET api/factorygate/clock`` of the notebook server: when the session ends, and whether that is near.

JSON: ``session``; ``ends`` by walltime and ``ends_idle``, RFC 3339 or null; ``notice``, null or ``{"kind": "walltime" |
"idle" | "unopened", "at": RFC 3339, "minutes": the step that was passed}``; ``messages``, the last ones for the person,
each ``{"id", "text", "kind", "at"}``. For who may enter the server, like all of it. The door keeps the content in a
file beside the server's socket.
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
    """What pages ask again and again by themselves: to ask it is no use of the session."""

    auth_resource = "contents"

    def update_api_activity(self) -> None:
        """None."""


class Clock(Polled):
    """The file's content as it is now."""

    def initialize(self, file: Path) -> None:
        """``file``: where the door writes it."""
        self._file = file

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """404 where there is no door that tells."""
        try:
            content = await asyncio.to_thread(self._file.read_text, encoding="utf-8")
        except FileNotFoundError as error:
            raise web.HTTPError(404, "Nothing is known of this session's end.") from error
        self.set_header("Cache-Control", "no-store")
        await self.finish(content)


def place() -> Path | None:
    """Where this session's door writes it; None: this server runs behind no door."""
    found = os.environ.get("FACTORYGATE_CLOCK", "")
    return Path(found) if found else None


def serve(server: ServerApp) -> None:
    """Answer on ``server``."""
    file = place()
    if file is not None:
        url = url_path_join(server.web_app.settings["base_url"], "api/factorygate/clock")
        server.web_app.add_handlers(".*$", [(url, Clock, {"file": file})])  # type: ignore[no-untyped-call]
