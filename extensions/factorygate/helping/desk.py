"""Sends the requests for help of the session's person to the gateway, and follows their state.

While the person's hand is raised, or helpers may see a notebook, the gateway is asked for the state every few seconds,
and the notebook is sent whenever its file has changed. Otherwise the gateway is asked only when a page asks for the
state, at most every ``RARELY`` seconds, and never again if the session is not for a workshop, if the link offers no
help, or if this program does not know how to reach the link (NoLinkError).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from tornado.web import HTTPError

from factorycommon.messages import of_error
from factorycommon.models.workshops.help import HandBody, HelpState, LookBody, NotebookSnapshot
from factorygate import language
from factorygate.link import Link, LinkError, NoLinkError

log = logging.getLogger(__name__)

FOLLOWED = 5.0  # seconds between two questions while a hand is up, or helpers may see a notebook
RARELY = 120.0  # seconds between two questions otherwise
PATIENCE = 2.0  # seconds that a page waits for the gateway's first answer
_NEVER = ("conflict", "gone")  # kinds of a refusal: the session is not for a workshop, or the link is older


class SavedNotebook(NamedTuple):
    """The functions that read a notebook of the session; both take the file's path.

    ``changed``: returns a value that differs after each save; ``read``: returns the saved state. ``read`` raises
    NotNotebook if the file is no notebook that can be shown. Both raise HTTPError if the file cannot be read.
    """

    changed: Callable[[str], Awaitable[object]]
    read: Callable[[str], Awaitable[NotebookSnapshot]]


class HelpDesk:
    """Sends the requests for help of the session's person to the gateway, and keeps their last known state.

    ``files``: reads the person's notebooks; ``link``: makes the client of the link. If the gateway refuses or does not
    answer, ``shown`` returns the last known state, if there is one, with the error in ``trouble``; the other methods
    raise LinkError.
    """

    def __init__(self, files: SavedNotebook, link: Callable[[], Link] = Link.here) -> None:
        self._files = files
        self._link_of = link
        self._link: Link | None = None
        self._state: HelpState | None = None  # None: not known, or no workshop's session
        self._trouble = ""
        self._never = False
        self._asked = float("-inf")
        self._path = ""  # of the notebook that helpers may see
        self._sent: object = None  # what ``changed`` returned for the state that was sent last
        self._following: asyncio.Task[None] | None = None

    async def shown(self) -> dict[str, Any] | None:
        """Return the state of the person's requests for help, as an object for JSON; None if no state is known.

        The object has the fields of ``HelpState``, and ``trouble``: the error of the last request for the state, "" if
        there was none. If helpers may see a notebook, ``look`` also has ``path``: the notebook's path, "" if the path
        is not known. No state is known if this session is not for a workshop, or if the gateway has given none yet.
        """
        if not self._never and self._following is None and time.monotonic() - self._asked > RARELY:
            self._asked = time.monotonic()
            self._following = asyncio.create_task(self._follow())
            if self._state is None:
                await asyncio.wait([self._following], timeout=PATIENCE)
        if self._state is None:
            return None
        look = self._state.look
        shown = self._state.model_dump(mode="json")
        if look is not None:
            shown["look"]["path"] = self._path
        return shown | {"trouble": self._trouble}

    async def raise_hand(self, body: HandBody) -> None:
        """Raise the person's hand, that is, ask the workshop's helpers for help. Raises LinkError.

        ``body``: what the person sends with the raised hand, such as a question.
        """
        self._take(await self._reached().put("/help/hand", body, HelpState))

    async def lower(self) -> None:
        """Lower the person's hand. Raises LinkError."""
        self._take(await self._reached().delete("/help/hand", HelpState))

    async def allow_look(self, path: str, minutes: int) -> None:
        """Let helpers see the notebook in the file ``path`` for ``minutes``.

        Raises NotNotebook if the file is no notebook that can be shown; HTTPError if the file cannot be read;
        LinkError if the gateway refuses or cannot be reached.
        """
        changed = await self._files.changed(path)
        body = LookBody(minutes=minutes, snapshot=await self._files.read(path))
        self._take(await self._reached().put("/help/look", body, HelpState))
        self._path, self._sent = path, changed

    async def end_look(self) -> None:
        """Withdraw the person's consent that helpers see a notebook. Raises LinkError."""
        self._take(await self._reached().delete("/help/look", HelpState))

    def _take(self, state: HelpState) -> None:
        self._state, self._trouble, self._asked = state, "", time.monotonic()
        if state.look is None:
            self._path = ""
        if self._active and self._following is None:
            self._following = asyncio.create_task(self._follow(FOLLOWED))

    @property
    def _active(self) -> bool:
        return self._state is not None and (self._state.hand is not None or self._state.look is not None)

    async def _follow(self, pause: float = 0) -> None:
        """Ask the gateway for the state repeatedly, until no hand is raised and helpers may see no notebook.

        ``pause``: seconds before the first question; ``FOLLOWED`` seconds are between two questions.
        """
        try:
            while True:
                await asyncio.sleep(pause)
                await self._look()
                if not self._active:
                    return
                pause = FOLLOWED
        finally:
            self._following = None

    async def _look(self) -> None:
        try:
            state = await self._renewed()
            self._take(state if state is not None else await self._reached().get("/help", HelpState))
        except NoLinkError:
            self._never = True
        except LinkError as error:
            self._never = self._state is None and error.kind in _NEVER
            if self._state is not None:
                self._trouble = language.here().said(of_error(error))
        except Exception:  # any error: the page goes on without help
            log.exception("The gateway cannot be asked for help")

    async def _renewed(self) -> HelpState | None:
        """Send the notebook if it was saved after it was last sent; return the gateway's answer.

        None: the notebook was not sent, or the gateway refused it. Raises LinkError if a later attempt may succeed.
        """
        if not self._path:
            return None
        try:
            changed = await self._files.changed(self._path)
            if changed == self._sent:
                return None
            snapshot = await self._files.read(self._path)
        except (HTTPError, OSError, ValueError) as error:  # the file may be gone, and come back with the next save
            log.info("A notebook that helpers may see cannot be read now: %s", error)
            return None
        try:
            state = await self._reached().post("/help/snapshot", snapshot, HelpState)
        except LinkError as error:
            if error.transient:
                raise
            self._path = ""  # helpers may not see it any more
            return None
        self._sent = changed
        return state

    def _reached(self) -> Link:
        self._link = self._link or self._link_of()
        return self._link
