"""Serves the connection check: the page ``/hub/check`` and, below this path, the data that its tests request.

The browser does the tests, one after the other, over the same proxies as a notebook. Nobody needs a login. The answers
to the tests are small and bounded (``limits.py``), and contain nothing that the browser sent except numbers. A test's
request is refused if the browser says that no page of the same origin makes it. No result of a test is stored, unless a
person who is logged in sends the verdicts to a workshop of theirs.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from tornado import web
from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from factorycommon.models import Model
from factorycommon.models.workshops import WorkshopSlug
from factorycommon.service_address import ServiceAddress
from factorylink.client import LinkAddress
from factoryspawner.event_stream import begin_stream
from factoryspawner.pages.check.limits import CheckKind, CheckLimits
from factoryspawner.pages.public import PublicHandler
from factoryspawner.pages.workshops.handler import SILENT, WorkshopHandler
from workshops.client import WorkshopsProblem, WorkshopsSilent
from workshops.models.checks import CheckBody, CheckTests
from workshops.models.views import WorkshopView
from workshops.states import FINAL

COOKIE = "fg-check"
DOWNLOAD_BYTES = 2 * 1024 * 1024
DOWNLOAD_SECONDS = 5.0
UPLOAD_BYTES = 256 * 1024  # most bytes of the body
UPLOAD_SECONDS = 10.0
EVENTS = 3
EVENT_SECONDS = 0.3  # between two events
SOCKET_SECONDS = 10.0
SOCKET_MESSAGES = 5
SOCKET_BYTES = 16  # most bytes of a message
BUSY = 4429  # code with which a WebSocket is closed at once, since a browser does not tell a page the status 429
_PIECE = 64 * 1024
_COUNT = re.compile(r"[0-9]{1,4}")


class ResultBody(Model):
    """Body of ``POST /hub/check/result``: a check's result, and the workshop that gets the result."""

    workshop: WorkshopSlug
    tests: CheckTests


class CheckPage(WorkshopHandler):
    """The page of the connection check. It loads the script that does the tests."""

    def initialize(self, link_at: LinkAddress, locale: Path, service_at: ServiceAddress | None = None) -> None:
        """Keep ``service_at``: where the workshops service listens; None: there are no workshops."""
        super().initialize(link_at, locale, service_at or Path())
        self._has_workshops = service_at is not None

    async def get(self) -> None:
        """Answer HTML, and set the cookie that the test of cookies expects."""
        path = f"{self.hub.base_url}check"
        options = {**self.settings.get("cookie_options", {}), "httponly": True, "samesite": "Lax", "path": path}
        self.set_cookie(COOKIE, "1", **options)
        await self.page("check.html", classes=await self._classes())

    async def _classes(self) -> list[WorkshopView]:
        """Return the workshops to which the person may send the result.

        The person has a role in each of them, and none of them is archived or cancelled. The list is empty, too, if
        nobody is logged in, if there is no workshops service, or if the service refuses or does not answer.
        """
        if self.current_user is None or not self._has_workshops:
            return []
        try:
            found = await self.client.all(self.caller)
        except (WorkshopsProblem, WorkshopsSilent) as error:
            self.log.warning("The check page does not know the person's workshops: %s", error)
            return []
        return [one for one in found if one.role is not None and one.state not in FINAL]


class CheckResult(WorkshopHandler):
    """Takes the result of a check, which a person sends to one of their workshops by a click."""

    async def post(self) -> None:
        """Pass the verdict of each test on to the workshops service, and nothing else. Answer 204.

        Answer 401 without a login, 400 to a body that is no ``ResultBody``, 503 if the service does not answer; if the
        service refuses, answer its status and reason.
        """
        if self.current_user is None:
            raise web.HTTPError(401)
        try:
            body = ResultBody.model_validate_json(self.request.body)
        except ValidationError:
            raise web.HTTPError(400) from None
        try:
            await self.client.put_check(self.caller, body.workshop, CheckBody(tests=body.tests))
        except WorkshopsProblem as error:
            self._refuse(error.status, error.problem.as_message("message"))
        except WorkshopsSilent:
            self._refuse(503, SILENT)
        else:
            self.set_status(204)
            self.finish()

    def _refuse(self, status: int, why: str) -> None:
        self.set_status(status)
        self.finish({"message": self.language.said(why)})


class _TestHandler(PublicHandler):
    """The base of the handlers of all tests but the WebSocket's: refuses requests of other sites' pages."""

    def initialize(self, link_at: LinkAddress, locale: Path, limits: CheckLimits) -> None:  # type: ignore[override]
        """Keep ``limits``, the one object that says for all handlers how many tests are allowed, and counts them."""
        super().initialize(link_at, locale)
        self._limits = limits
        self._counted = ExitStack()

    async def prepare(self) -> None:
        """Refuse a request that, by its header ``Sec-Fetch-Site``, does not come from a page of the same origin.

        Raises HTTPError 403. A request without this header is allowed.
        """
        await super().prepare()
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        if self.request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise web.HTTPError(403)

    def write_error(self, status_code: int, **_kwargs: Any) -> None:
        """Answer the status only: an error page would be larger than the test."""
        self.set_status(status_code)
        self.finish()

    @contextmanager
    def admitted(self, kind: CheckKind) -> Iterator[bool]:
        """Count a test of this kind as open during the block, and yield True; yield False if it is not allowed now.

        Before this method yields False, it answers 429: too many tests are open, or were begun a short time ago.
        """
        with self._limits.one_more(kind, str(self.request.remote_ip)) as wait:
            if wait:
                self.set_status(429)
                self.set_header("Retry-After", str(wait))
                self.finish()
            yield not wait


class CheckTrip(_TestHandler):
    """Answers with a few bytes, to measure how long a request takes; says whether the request had the page's cookie."""

    async def get(self) -> None:
        """Answer ``{"cookie": true}`` if the browser sent the page's cookie, else ``{"cookie": false}``.

        Answer 429 if the test is not allowed now.
        """
        with self.admitted("trip") as admitted:
            if admitted:
                self.finish({"cookie": self.get_cookie(COOKIE, "") == "1"})


class CheckDownload(_TestHandler):
    """Sends random bytes, to measure how fast the browser gets data."""

    async def get(self) -> None:
        """Answer ``DOWNLOAD_BYTES`` bytes; stop after ``DOWNLOAD_SECONDS``, even if some bytes are not sent yet.

        Answer 429 if the test is not allowed now.
        """
        with self.admitted("download") as admitted:
            if not admitted:
                return
            self.set_header("Content-Type", "application/octet-stream")
            data = _random()
            try:
                async with asyncio.timeout(DOWNLOAD_SECONDS):
                    for start in range(0, len(data), _PIECE):
                        self.write(data[start : start + _PIECE])
                        await self.flush()
            except TimeoutError:
                pass
            except StreamClosedError:
                return
            self.finish()


@web.stream_request_body
class CheckUpload(_TestHandler):
    """Takes bytes and throws them away, to measure how fast the browser sends data."""

    async def prepare(self) -> None:
        """Refuse too large a body, and too many uploads, before the body is read. Raises HTTPError 403, 413.

        403: the request does not come from a page of the same origin; 413: the header ``Content-Length`` announces more
        than ``UPLOAD_BYTES``. Too many uploads, at once or in a short time, are answered with 429.
        """
        await super().prepare()
        connection: Any = self.request.connection
        connection.set_max_body_size(UPLOAD_BYTES)
        connection.set_body_timeout(UPLOAD_SECONDS)
        length = self.request.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) > UPLOAD_BYTES:
            raise web.HTTPError(413)
        self._counted.enter_context(self.admitted("upload"))

    def check_xsrf_cookie(self) -> None:
        """Require no XSRF token, because the request changes nothing.

        The token of a visitor without a login depends on their network address, and people behind several proxies have
        several addresses.
        """

    def data_received(self, chunk: bytes) -> None:
        """Throw the bytes away."""

    async def post(self) -> None:
        """Answer 204 once the whole body has arrived."""
        self.set_status(204)
        self.finish()

    def on_finish(self) -> None:
        """Stop counting the upload as open when its answer is complete."""
        self._counted.close()
        super().on_finish()

    def on_connection_close(self) -> None:
        """Stop counting the upload as open when the browser disconnects."""
        self._counted.close()
        super().on_connection_close()


class CheckStream(_TestHandler):
    """Sends events as the gateway's pages get them, to see whether a proxy holds them back."""

    async def get(self) -> None:
        """Send the event ``check`` ``EVENTS`` times, ``EVENT_SECONDS`` apart.

        Answer 429 if the test is not allowed now.
        """
        with self.admitted("stream") as admitted:
            if not admitted:
                return
            begin_stream(self)
            try:
                for number in range(EVENTS):
                    if number:
                        await asyncio.sleep(EVENT_SECONDS)
                    self.write(b"event: check\ndata: %d\n\n" % number)
                    await self.flush()
            except StreamClosedError:
                return
            self.finish()


class CheckSocket(WebSocketHandler):
    """A WebSocket that sends back the numbers that it gets. A notebook's kernel is reached over such a connection."""

    def initialize(self, limits: CheckLimits) -> None:
        """Keep ``limits``, the one object that says for all handlers how many tests are allowed, and counts them."""
        self._limits = limits
        self._counted = ExitStack()
        self._end: asyncio.TimerHandle | None = None
        self._messages = 0

    @property
    def max_message_size(self) -> int:
        """Return the maximum bytes of a message; a longer message ends the connection."""
        return SOCKET_BYTES

    def open(self, *_args: str, **_kwargs: str) -> None:
        """Count the connection as open, and close it after ``SOCKET_SECONDS``; if it is not allowed, close it at once.

        A connection is not allowed if too many are open, or were opened a short time ago. Tornado has already refused
        connections from pages of other sites.
        """
        if self._counted.enter_context(self._limits.one_more("socket", str(self.request.remote_ip))):
            self.close(BUSY, "busy")
            return
        self._end = asyncio.get_running_loop().call_later(SOCKET_SECONDS, self.close, 1000, "over")

    async def on_message(self, message: str | bytes) -> None:
        """Send a number back; close the connection at any other message.

        A message after the first ``SOCKET_MESSAGES`` messages closes the connection, too.
        """
        self._messages += 1
        if not isinstance(message, str) or not _COUNT.fullmatch(message) or self._messages > SOCKET_MESSAGES:
            self.close(1008, "numbers only")
            return
        with suppress(WebSocketClosedError):
            await self.write_message(message)

    def on_close(self) -> None:
        """Stop counting the connection as open."""
        if self._end is not None:
            self._end.cancel()
        self._counted.close()


@cache
def _random() -> bytes:
    """Return bytes that no proxy can compress, the same bytes at each call."""
    return os.urandom(DOWNLOAD_BYTES)


def routes(
    link_at: LinkAddress, locale: Path, limits: CheckLimits, service_at: ServiceAddress | None
) -> list[tuple[Any, ...]]:
    """Return the routes for ``c.JupyterHub.extra_handlers``; JupyterHub puts ``/hub`` before them.

    ``link_at``: where the link listens; ``locale``: the folder of the translations; ``service_at``: where the workshops
    service listens, to which people may send results; None: there is no such service.
    """
    to_link = {"link_at": link_at, "locale": locale}
    limited = {**to_link, "limits": limits}
    sent = [] if service_at is None else [(r"/check/result", CheckResult, {**to_link, "service_at": service_at})]
    return [
        *sent,
        (r"/check", CheckPage, {**to_link, "service_at": service_at}),
        (r"/check/trip", CheckTrip, limited),
        (r"/check/download", CheckDownload, limited),
        (r"/check/upload", CheckUpload, limited),
        (r"/check/stream", CheckStream, limited),
        (r"/check/socket", CheckSocket, {"limits": limits}),
    ]
