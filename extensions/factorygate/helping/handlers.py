"""The HTTP handlers of the notebook server for help in a workshop.

``PUT`` and ``DELETE`` of ``api/factorygate/hand`` raise and lower the person's hand; ``PUT`` and ``DELETE`` of
``api/factorygate/look`` let helpers see a notebook, and end that. Only users with access to the server may make these
requests, with JupyterLab's XSRF token. After a request, the answer of ``api/factorygate/overview`` contains the change.
"""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Any, TypeVar, cast

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import ensure_async, url_path_join
from pydantic import Field, ValidationError
from tornado import web

from factorycommon.language import N_
from factorycommon.messages import of_error
from factorycommon.models import Model
from factorycommon.models.workshops.help import LOOK_MINUTES, HandBody, NotebookSnapshot
from factorygate import language
from factorygate.helping.desk import HelpDesk, SavedNotebook
from factorygate.helping.notebook import NotNotebook, snapshot_of
from factorygate.link import LinkError

_MOST_FILE = 50_000_000  # bytes of a notebook that is read
_TOO_LARGE = N_("This notebook is too large to be shown. Clear its outputs and save it again.")
# HTTP status by the kind of an error; 409 for all others
_STATUS = {"invalid": 400, "forbidden": 403, "too-many": 429, "unreachable": 503}

T = TypeVar("T", bound=Model)


class LookOrder(Model):
    """A person's consent that helpers see a notebook, for some minutes.

    ``path``: the notebook's path in the contents API.
    """

    path: str = Field(min_length=1, max_length=1000, pattern=r"\.ipynb$")
    minutes: int = Field(default=LOOK_MINUTES, ge=1, le=LOOK_MINUTES)


class _Asking(APIHandler):
    """The base class of the handlers for the person's hand, and for the consent that helpers see a notebook."""

    auth_resource = "contents"

    def initialize(self, desk: HelpDesk) -> None:
        """Keep ``desk``, which sends the person's requests for help to the gateway."""
        self.desk = desk

    def read(self, kind: type[T]) -> T:
        """Return the request's body as a ``kind``. Raises HTTPError 400 if the body is invalid."""
        try:
            return kind.model_validate_json(self.request.body)
        except ValidationError as error:
            raise web.HTTPError(400, "This request is not understood.") from error

    async def answer(self, act: Awaitable[None]) -> None:
        """Await ``act``, then answer with the new state of the person's requests for help.

        If ``act`` raises LinkError or NotNotebook, answer with an error status and ``message``, the reason.
        """
        try:
            await act
        except LinkError as error:
            self.set_status(_STATUS.get(error.kind, 409))
            await self.finish({"message": language.here().said(of_error(error))})
        except NotNotebook as error:
            self.set_status(400)
            await self.finish({"message": language.here().said(str(error))})
        else:
            await self.finish({"help": await self.desk.shown()})


class HandHandler(_Asking):
    """Raises and lowers the person's hand."""

    @web.authenticated
    @authorized
    async def put(self) -> None:
        """Raise the hand; the request's body is what the person sends to the helpers (a ``HandBody``)."""
        await self.answer(self.desk.raise_hand(self.read(HandBody)))

    @web.authenticated
    @authorized
    async def delete(self) -> None:
        """Lower the hand."""
        await self.answer(self.desk.lower())


class LookHandler(_Asking):
    """Gives and withdraws the person's consent that helpers see a notebook."""

    @web.authenticated
    @authorized
    async def put(self) -> None:
        """Let helpers see a notebook; the request's body says which one, and for how many minutes (a ``LookOrder``)."""
        order = self.read(LookOrder)
        await self.answer(self.desk.allow_look(order.path, order.minutes))

    @web.authenticated
    @authorized
    async def delete(self) -> None:
        """Withdraw the person's consent that helpers see a notebook."""
        await self.answer(self.desk.end_look())


def files_of(server: ServerApp) -> SavedNotebook:
    """Return the two functions of a ``SavedNotebook``; they read notebooks through the server's contents manager.

    Both functions raise HTTPError if the contents manager refuses a notebook. ``read`` raises NotNotebook if a notebook
    is larger than ``_MOST_FILE`` bytes, or not of format 4.
    """
    contents: Any = server.contents_manager

    async def changed(path: str) -> datetime:
        return cast(datetime, (await ensure_async(contents.get(path, content=False)))["last_modified"])

    async def read(path: str) -> NotebookSnapshot:
        if ((await ensure_async(contents.get(path, content=False))).get("size") or 0) > _MOST_FILE:
            raise NotNotebook(_TOO_LARGE)
        model = await ensure_async(contents.get(path, content=True, type="file", format="text"))
        return snapshot_of(str(model["content"]), path.rpartition("/")[2], model["last_modified"])

    return SavedNotebook(changed, read)


def serve(server: ServerApp, desk: HelpDesk) -> None:
    """Add the handlers ``HandHandler`` and ``LookHandler``, which use ``desk``, to ``server``."""
    base = url_path_join(server.web_app.settings["base_url"], "api/factorygate")
    handlers = [(f"{base}/hand", HandHandler, {"desk": desk}), (f"{base}/look", LookHandler, {"desk": desk})]
    server.web_app.add_handlers(".*$", handlers)  # type: ignore[no-untyped-call]
