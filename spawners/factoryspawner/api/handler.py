"""The base class of the handlers for the gateway's pages: JSON and server-sent events for people who are logged in.

The handlers check the hub's cookie, and do not pass the cookie on to the link. The link gets the person's name from the
hub, over the link's listener for the hub.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar, cast

from jupyterhub.handlers import BaseHandler
from pydantic import TypeAdapter
from tornado import web

from factorycommon import request_id
from factorycommon.language import N_
from factorycommon.models import Problem, Session
from factorylink.client import LinkAddress, LinkProblem, LinkSilent
from factoryspawner.errors import LINK_SILENT
from factoryspawner.event_stream import Source, Stream, begin_stream
from factoryspawner.gateway import HubGateway, gateway
from factoryspawner.language import PageLanguage, languages

MOST_BYTES = 64 * 1024  # bytes of a request's body; tokens of a login are the longest, with some KiB
PROBLEM = TypeAdapter(Problem)
NOTHING: TypeAdapter[dict[str, str]] = TypeAdapter(dict[str, str])
T = TypeVar("T")


class GatewayHandler(BaseHandler):  # type: ignore[misc]  # jupyterhub is untyped
    """A handler that answers JSON to the person who is logged in by cookie.

    Errors are answered as a ``Problem``, with an explanation for the person.
    """

    def initialize(self, link_at: LinkAddress, locale: Path) -> None:
        """Store ``link_at`` (where the link listens) and ``locale`` (the folder of the translations)."""
        self._link_at = link_at
        self._locale = locale

    async def prepare(self) -> None:
        """Refuse requests without a login cookie, and bodies of more than ``MOST_BYTES``. Raises HTTPError 401, 413.

        Tokens are not accepted: scripts use the service ``factories`` instead.
        """
        await super().prepare()
        if self.current_user is None:
            raise web.HTTPError(401, N_("Log in to the hub first."))
        if len(self.request.body) > MOST_BYTES:
            raise web.HTTPError(413, N_("This request is longer than the 64 KiB that the gateway takes. Send less."))

    @property
    def gateway(self) -> HubGateway:
        """Return the objects that all handlers and spawners of this hub process share."""
        return gateway(self._link_at)

    @property
    def language(self) -> PageLanguage:
        """Return the language of the page that makes the request."""
        return languages(self._locale).of(self.request)

    @property
    def person(self) -> str:
        """Return the name of the person who makes the request."""
        return str(self.current_user.name)

    def answer(self, shape: TypeAdapter[T], value: T) -> None:
        """Finish the request with ``value`` as JSON, in the person's language; browsers must not store the answer.

        ``shape``: the type of ``value``.
        """
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Language", self.language.code)
        self.finish(shape.dump_json(self._seen(value)))

    async def send(self, *sources: Source) -> None:
        """Send the events of ``sources`` in the person's language until a source ends or the client disconnects.

        Raises HTTPError 429 if the person has too many open streams.
        """
        with self.gateway.streams.one_more(self.person) as allowed:
            if not allowed:
                raise web.HTTPError(
                    429,
                    N_(
                        "You have as many pages of the gateway open as one person may have. Close some of them, then "
                        "reload this one."
                    ),
                )
            await self._send(*sources)

    async def _send(self, *sources: Source) -> None:
        begin_stream(self)
        self.set_header("Content-Language", self.language.code)
        self._stream = Stream(*(one._replace(values=self._all_seen(one.values)) for one in sources))
        await self._stream.run(self)

    def _seen(self, value: T) -> T:
        """Return ``value`` as the person sees it: texts in their language, sessions with their URLs."""
        return self.language.spoken(_addressed(value, self.base_url))

    async def _all_seen(self, source: AsyncGenerator[T]) -> AsyncGenerator[T]:
        async with aclosing(source) as values:
            async for value in values:
                yield self._seen(value)

    def on_connection_close(self) -> None:
        """End the stream when the client disconnects."""
        stream = getattr(self, "_stream", None)
        if stream is not None:
            stream.stop()

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log the error, unless the link refused the request or did not answer."""
        if not isinstance(value, LinkProblem | LinkSilent):
            super().log_exception(typ, value, tb)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Answer a failed request with an error.

        The status is the link's own if the link refused the request, 503 if the link did not answer, and otherwise
        ``status_code``.
        """
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, LinkProblem):
            status_code = error.status
        elif isinstance(error, LinkSilent):
            status_code = 503
        super().send_error(status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write the response to a failed request: an explanation as JSON (a ``Problem``), instead of an error page."""
        self.set_status(status_code)
        problem = _problem(kwargs.get("exc_info", (None, None, None))[1])
        self.answer(PROBLEM, problem.model_copy(update={"request": request_id.current()}))


def _addressed(value: T, root: str) -> T:
    shown: Any = value
    if isinstance(value, list):
        shown = [_addressed(one, root) for one in value]
    elif isinstance(value, Session):
        shown = value.addressed(root)
    return cast("T", shown)


def _problem(error: BaseException | None) -> Problem:
    match error:
        case LinkProblem():
            return error.problem
        case LinkSilent():
            return Problem(kind="unreachable", code=LINK_SILENT.code, message=LINK_SILENT.what, do=LINK_SILENT.do)
        case web.HTTPError(status_code=401 | 403):
            return Problem(kind="forbidden", message=error.log_message or N_("Not allowed."))
        case web.HTTPError(status_code=409):
            return Problem(kind="conflict", message=error.log_message or N_("Not now."))
        case web.HTTPError(status_code=429):
            return Problem(kind="too-many", message=error.log_message or N_("Not now."))
        case web.HTTPError(status_code=503):
            return Problem(kind="unreachable", message=error.log_message or LINK_SILENT.what)
        case web.HTTPError():
            return Problem(kind="invalid", message=error.log_message or N_("This request is not understood."))
        case _:
            return Problem(
                kind="unreachable", message=N_("Something went wrong in the hub; the hub's log has the details.")
            )
