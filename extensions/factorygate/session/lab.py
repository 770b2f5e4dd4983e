"""The HTTP handlers of the notebook server for the JupyterLab extension.

``GET api/factorygate/overview`` answers what JupyterLab shows of the session; ``POST api/factorygate/extend`` with
``{"hours": H}`` requests more time; ``POST api/factorygate/examples`` copies the example notebooks; and ``GET
api/factorygate/texts?language=CODE`` answers the extension's texts. The handlers for help in a workshop are in
``helping.handlers``, those for exports in ``exporting.handlers``, and those for steps in ``steps.handlers``. Only users
with access to the server may make these requests; requests that change something carry JupyterLab's XSRF token.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from tornado import web

from factorycommon.messages import of_error
from factorygate import language
from factorygate.examples import FIRST, FOLDER, copy_examples
from factorygate.exporting import handlers as exporting
from factorygate.helping import handlers
from factorygate.helping.desk import HelpDesk
from factorygate.link import LinkError
from factorygate.session import clock
from factorygate.session.clock import Polled
from factorygate.session.jupyter.contents import in_words
from factorygate.session.overview import Overview
from factorygate.session.resource_usage import Gauge
from factorygate.steps import handlers as steps
from factorygate.steps.book import StepBook

_SCRIPTS = ("extensions/lab/", "extensions/frontend/common/state_words.js")
_MOST_HOURS = 1000.0  # longer than any walltime; the link checks the true limit
# HTTP status by the kind of an error; 409 for all others
_STATUS = {"invalid": 400, "forbidden": 403, "gone": 404, "unreachable": 503, "draining": 503}


class Look(Polled):
    """Answers with everything that JupyterLab shows of the session."""

    def initialize(self, overview: Overview) -> None:
        """Keep ``overview``, which collects what JupyterLab shows of the session."""
        self._overview = overview

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer with everything that JupyterLab shows of the session, which ``Overview.now`` describes."""
        self.set_header("Cache-Control", "no-store")
        await self.finish(await self._overview.now())


class Texts(Polled):
    """Answers with the extension's texts in the language that JupyterLab names, else in the person's own language."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer with the texts of the JupyterLab extension in one language, in the form of ``Language.page``.

        ``language`` of the query: the code of the language; if it is missing, the person's own language is used. For
        English, and for a language into which the texts are not translated, the answer's ``texts`` are empty.
        """
        wanted = self.get_query_argument("language", "").replace("_", "-")
        found = await asyncio.to_thread(language.wanted, wanted) if wanted else language.here()
        self.set_header("Cache-Control", "no-store")
        await self.finish(found.page(lambda file: file.startswith(_SCRIPTS)))


class Extend(APIHandler):
    """Requests more time for this session."""

    auth_resource = "contents"

    def initialize(self, overview: Overview) -> None:
        """Keep ``overview``, which collects what JupyterLab shows of the session."""
        self._overview = overview

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Request more time for this session; the request's body is ``{"hours": H}``, the number of further hours.

        Answer with the session's new data, or with an error status and a ``message``: why the gateway gives no more
        time, or that it does not answer. Raises HTTPError 400 if H is no number above 0, or is too large.
        """
        body = self.get_json_body()
        hours = body.get("hours") if isinstance(body, dict) else None
        if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 < hours <= _MOST_HOURS:
            raise web.HTTPError(400, "`hours`: a number above 0 is needed")
        try:
            answer = await self._overview.extend(hours)
        except LinkError as error:
            self.set_status(_STATUS.get(error.kind, 409))
            answer = {"message": language.here().said(of_error(error))}
        await self.finish(answer)


class Examples(APIHandler):
    """Copies the example notebooks into the person's files."""

    auth_resource = "contents"

    def initialize(self, root: Path) -> None:
        """Keep ``root``, the notebook's root folder."""
        self._root = root

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Copy the example notebooks that are missing; answer with ``{"path": PATH}``.

        PATH is the path of the example ``FIRST`` in the contents API. Raises HTTPError if the notebooks cannot be
        copied.
        """
        with in_words(FOLDER):
            await asyncio.to_thread(copy_examples, self._root / FOLDER)
        await self.finish({"path": f"{FOLDER}/{FIRST}"})


def addresses(environment: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """Return the URL of the hub's page that lists the person's sessions, and the path of the default session.

    The path has the form ``/BASE/user/NAME/``, also if this session is a named one. The path of a named session is this
    path, followed by the server's quoted name and ``/``. The URL has a scheme and a host if the hub has set
    ``JUPYTERHUB_HOST``; otherwise the URL is a path. Both are "" without a hub.
    """
    base = environment.get("JUPYTERHUB_BASE_URL", "")
    if not base:
        return "", ""
    servers = f"{base}user/{quote(environment.get('JUPYTERHUB_USER', ''), safe='')}/"
    return f"{environment.get('JUPYTERHUB_HOST', '')}{base}hub/home", servers


def serve(server: ServerApp, gauge: Gauge, book: StepBook) -> None:
    """Add all handlers for the JupyterLab extension to ``server``, if the server runs behind a door.

    These are the handlers of this module, and those for help, exports and steps. ``gauge``: measures what the session
    uses; ``book``: knows the steps that were done.
    """
    file = clock.place()
    if file is None:
        return
    desk = HelpDesk(handlers.files_of(server))
    overview = Overview(file, gauge, *addresses(), helps=desk.shown)
    handlers.serve(server, desk)
    base = url_path_join(server.web_app.settings["base_url"], "api/factorygate")
    added: list[tuple[str, Any, dict[str, Any]]] = [
        (f"{base}/overview", Look, {"overview": overview}),
        (f"{base}/texts", Texts, {}),
        (f"{base}/extend", Extend, {"overview": overview}),
        (f"{base}/examples", Examples, {"root": Path(server.root_dir)}),
        *exporting.routes(base, Path(server.root_dir)),
        *steps.routes(base, book),
    ]
    server.web_app.add_handlers(".*$", added)  # type: ignore[no-untyped-call]
