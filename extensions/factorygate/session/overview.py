"""Collects the overview of a session, once for all pages that show it.

The deadlines and the resource use come from this node and are always available. The gateway's data (the person's
sessions and clusters) are requested only while a page asks for them, at most every ``FRESH`` seconds, and earlier only
after a new message or an ``extend``. If the gateway does not answer or refuses, its last answer stays, and ``trouble``
describes the error; if only the request for clusters fails, neither clusters nor an error are shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel

from factorycommon.messages import of_error
from factorycommon.models import Cluster, ExtendBody, FactoryView, ResolvedChoice, Session
from factorycommon.models.workshops import PREFIX
from factorygate import language
from factorygate.link import Link, LinkError, NoLinkError
from factorygate.session.resource_usage import Gauge
from factorygate.session.status import moment

FRESH = 30.0  # seconds; for each request the gateway must look up a token
NAMES_FRESH = 3600.0  # seconds; names of machines and sizes change only when an operator changes them
PATIENCE = 2.0  # seconds that a page waits for the gateway's first answer
_SESSION = {"id", "server", "state", "created", "started", "ends", "notice", "extend_hours", "position"}
_CLUSTER = {"id", "name", "state", "counts"}


def _pick(view: BaseModel, fields: set[str]) -> dict[str, Any]:
    return view.model_dump(mode="json", include=fields, exclude_none=True)


class Overview:
    """Collects what pages show of one notebook server.

    ``clock``: the file that the door writes (see the module ``clock``); ``gauge``: measures the resource use; ``home``:
    URL of the gateway's page of the person's sessions; ``servers``: path or URL of the person's default session; for a
    named session, the server's quoted name and ``/`` are appended; ``link``: makes the client of the link; ``helps``:
    returns the state of the person's requests for help in the session's workshop, None if it is not known, or if the
    session is not for a workshop.
    """

    def __init__(
        self,
        clock: Path,
        gauge: Gauge,
        home: str,
        servers: str,
        link: Callable[[], Link] = Link.here,
        helps: Callable[[], Awaitable[dict[str, Any] | None]] | None = None,
    ) -> None:
        self._clock = clock
        self._gauge = gauge
        self._home = home
        self._servers = servers
        self._link_of = link
        self._helps = helps
        self._link: Link | None = None
        self._asking: asyncio.Task[None] | None = None
        self._asked = self._named = -NAMES_FRESH  # on the monotonic clock
        # by factory: the machine's name, and names of its sizes
        self._names: dict[str, tuple[str, dict[str, str]]] = {}
        self._messages: set[str] = set()  # ids of the messages in the last clock
        self._last: dict[str, Any] = {"sessions": [], "clusters": [], "trouble": ""}

    async def now(self) -> dict[str, Any]:
        """Return everything that pages show of the session, as an object for JSON.

        It has the fields of the file that the door writes (``session``, ``ends``, ``messages`` and so on, see the
        module ``clock``), if this file exists yet. Further fields: ``now``: the time; ``use``: the resource use, None:
        not measured yet; ``home``: URL of the gateway's page of the person's sessions; ``sessions``: the person's live
        sessions; ``clusters``: the person's live clusters (with the session's own token, only those of the session's
        factory and project); ``trouble``: the error of the last requests to the gateway, "" if there was none;
        ``help``: the state of the person's requests for help, None: not known, or the session is not for a workshop. If
        only the request for clusters fails, ``clusters`` is empty and ``trouble`` is "".
        """
        clock = await asyncio.to_thread(self._read_clock)
        messages = {str(one.get("id")) for one in clock.get("messages", ()) if isinstance(one, dict)}
        if messages - self._messages:  # a new message means that something happened, perhaps to the session itself
            self._asked = -NAMES_FRESH
        self._messages = messages
        first = self._asking is None
        if (self._asking is None or self._asking.done()) and time.monotonic() - self._asked > FRESH:
            self._asked = time.monotonic()
            self._asking = asyncio.create_task(self._ask())
        if first and self._asking is not None:
            await asyncio.wait([self._asking], timeout=PATIENCE)
        use = self._gauge.use
        return {
            **clock,
            **self._last,
            "use": asdict(use) if use is not None else None,
            "help": await self._helps() if self._helps is not None else None,
            "home": self._home,
            "now": moment(time.time()),
        }

    async def extend(self, hours: float) -> dict[str, Any]:
        """Ask the gateway for ``hours`` more hours for this session; return the changed session for pages.

        The result is like an item of ``sessions`` in the result of ``now``, but without ``machine``, ``size``, ``url``
        and ``folder``. Raises LinkError if the gateway refuses or does not answer.
        """
        session = (await asyncio.to_thread(self._read_clock)).get("session", "")
        answer = await self._reached().post(f"/sessions/{session}/extend", ExtendBody(hours=hours), Session)
        self._asked = -NAMES_FRESH  # so that the next reader gets the changed session
        return _pick(answer, _SESSION)

    def _read_clock(self) -> dict[str, Any]:
        try:
            content = json.loads(self._clock.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}  # the door has not written the file yet
        return content if isinstance(content, dict) else {}

    def _reached(self) -> Link:
        self._link = self._link or self._link_of()
        return self._link

    async def _ask(self) -> None:
        try:
            link = self._reached()
            if time.monotonic() - self._named > NAMES_FRESH:
                self._names = _names(await link.get("/factories", list[FactoryView]))
                self._named = time.monotonic()
            sessions = await link.get("/sessions", list[Session], live="true")
            clusters: list[Cluster] = []
            with contextlib.suppress(LinkError):  # the gateway may have no answer now
                clusters = await link.get("/clusters", list[Cluster], live="true")
            self._last = {
                "sessions": [self._session(one) for one in sessions],
                "clusters": [_pick(one, _CLUSTER) | self._named_as(one.choice) for one in clusters],
                "trouble": "",
            }
        except NoLinkError:
            pass  # a server without a gateway shows only its clock
        except LinkError as error:
            self._last = self._last | {"trouble": language.here().said(of_error(error))}
        if self._asked >= 0:  # otherwise something happened in the meantime that the answers may lack
            self._asked = time.monotonic()

    def _session(self, view: Session) -> dict[str, Any]:
        server = quote(view.server, safe="")
        url = f"{self._servers}{server}/" if server else self._servers
        project = view.choice.project or ""
        folder = project.removeprefix(PREFIX) if project.startswith(PREFIX) else ""  # of the class, if it is for one
        return _pick(view, _SESSION) | self._named_as(view.choice) | {"url": url, "folder": folder}

    def _named_as(self, choice: ResolvedChoice) -> dict[str, str]:
        machine, sizes = self._names.get(choice.factory, (choice.factory, {}))
        return {"machine": machine, "size": sizes.get(choice.size, choice.size)}


def _names(factories: list[FactoryView]) -> dict[str, tuple[str, dict[str, str]]]:
    said = language.here().said
    return {
        one.id: (one.site.machine, {view.size.id: said(view.gpu_label_message) for view in one.sizes})
        for one in factories
    }
