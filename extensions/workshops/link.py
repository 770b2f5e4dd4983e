"""The client of the link's socket for this service: reads the sessions of workshops' people, and acts on them.

Every answer is limited in size and parsed; fields that this service does not know are ignored. If the link refuses a
request, callers get a ``LinkRefused`` with the link's reason. If the link does not answer, callers get a ``LinkAway``,
and the class goes on without this service. If link and service do not understand each other because they are of
different releases, the error says so, and asks to update the older of the two.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from factorycommon import request_id
from factorycommon.connections import IDLE_SECONDS
from factorycommon.event_stream import StreamEvent, read_events
from factorycommon.messages import Message
from factorycommon.models import Model, Problem
from factorycommon.service.problems import ProblemError, conflict, unreachable

log = logging.getLogger("workshops")

T = TypeVar("T")
Query = Mapping[str, str | int | float | bool]

MOST_BYTES = 32 * 2**20  # of one answer, and of one event
_SECONDS = 10.0  # for an answer
_QUIET_SECONDS = 40.0  # a stream has a heartbeat every 15 s

NOTHING = TypeAdapter[None](None)
_AWAY = Message("workshop-link-away", "The gateway’s link does not answer just now. Sessions go on.")


_MISMATCH = Message(
    "workshop-link-other-release",
    "The gateway’s link and its service for workshops are of different releases and do not understand each other. Ask "
    "this gateway’s operators to update the older of the two, and to start it again.",
)
MISMATCH = Problem(kind="unreachable", message=_MISMATCH, whose="operator")


class LinkAway(ProblemError):
    """Raised if the link does not answer, reports an error of its own (5xx), or sends an answer that cannot be used.

    In each case the link may have done what was requested. An answer cannot be used if it is too long or cannot be
    parsed.
    """

    def __init__(self, problem: Problem | None = None) -> None:
        super().__init__(unreachable(_AWAY).problem if problem is None else problem)


class LinkUnread(LinkAway):
    """Raised if the link's answer cannot be parsed, which happens if the link is of another release."""

    def __init__(self) -> None:
        super().__init__(MISMATCH)


class LinkRefused(ProblemError):
    """Raised if the link refuses a request. ``problem``: the link's reason."""


class LinkMismatch(LinkRefused):
    """Raised if the link does not know an operation or the form of its body, since the link is of another release.

    ``said``: the message of the link's answer.
    """

    def __init__(self, said: str = "") -> None:
        super().__init__(MISMATCH)
        self.said = said


def is_mismatch(error: ProblemError) -> bool:
    """Return whether an error says that link and service are of different releases."""
    return isinstance(error, LinkUnread | LinkMismatch)


class LinkSocket:
    """Makes requests to the link about the projects of workshops. Requests raise LinkAway and LinkRefused.

    ``socket``: the link's Unix socket; None: this service has no link, so each method that makes a request raises
    ProblemError. Parameters of methods: ``shape`` parses the answer; ``project`` is the id of a workshop's project;
    ``path`` is what follows ``/projects/ID`` in the URL, unless the method says otherwise.
    """

    def __init__(self, socket: Path | None) -> None:
        self._http: httpx.AsyncClient | None = None
        self._mismatches: set[tuple[str, str]] = set()  # operations that the link does not understand, as the log says
        if socket is not None:
            limits = httpx.Limits(max_connections=None, keepalive_expiry=IDLE_SECONDS)
            self._http = httpx.AsyncClient(
                base_url="http://link",
                transport=httpx.AsyncHTTPTransport(uds=str(socket), limits=limits),
                timeout=_SECONDS,
            )

    @property
    def there(self) -> bool:
        """Return whether the configuration names a link for this service."""
        return self._http is not None

    async def close(self) -> None:
        """Close all connections."""
        if self._http is not None:
            await self._http.aclose()

    async def get(
        self, shape: TypeAdapter[T], project: str, path: str, query: Query | None = None, seconds: float = _SECONDS
    ) -> T:
        """Return the answer to a GET request about a project, parsed by ``shape``.

        ``path``: what follows ``/projects/ID`` in the URL; ``seconds``: timeout of each step, such as connecting.
        Raises LinkAway, LinkRefused.
        """
        return await self._ask(shape, "GET", project, path, query=query, seconds=seconds)

    async def post(
        self,
        shape: TypeAdapter[T],
        project: str,
        path: str,
        body: Model | None = None,
        seconds: float = _SECONDS,
    ) -> T:
        """Return the answer to a POST request about a project, parsed by ``shape``.

        ``path``: what follows ``/projects/ID`` in the URL; ``seconds``: timeout of each step, such as connecting.
        Raises LinkAway, LinkRefused.
        """
        return await self._ask(shape, "POST", project, path, body=body, seconds=seconds)

    async def get_of_all(self, shape: TypeAdapter[T], path: str, seconds: float = _SECONDS) -> T:
        """Return the answer to a GET request about all projects, parsed by ``shape``. ``path``: the whole path.

        ``seconds``: timeout of each step, such as connecting. Raises LinkAway, LinkRefused.
        """
        return await self._ask(shape, "GET", None, path, seconds=seconds)

    async def put(self, shape: TypeAdapter[T], project: str, path: str, body: Model) -> T:
        """Return the answer to a PUT request about a project, parsed by ``shape``.

        ``path``: what follows ``/projects/ID`` in the URL. Raises LinkAway, LinkRefused.
        """
        return await self._ask(shape, "PUT", project, path, body=body)

    async def delete(self, shape: TypeAdapter[T], project: str, path: str) -> T:
        """Return the answer to a DELETE request about a project, parsed by ``shape``.

        ``path``: what follows ``/projects/ID`` in the URL. Raises LinkAway, LinkRefused.
        """
        return await self._ask(shape, "DELETE", project, path)

    async def stream(self, path: str) -> AsyncGenerator[StreamEvent]:
        """Yield the events of a stream about all projects, until the stream ends. ``path``: the whole path.

        Events of more than ``MOST_BYTES`` bytes are left out. Raises LinkAway, LinkRefused.
        """
        timeout = httpx.Timeout(_SECONDS, read=_QUIET_SECONDS)
        try:
            async with self._client().stream("GET", path, timeout=timeout, headers=_headers()) as response:
                if response.is_error:
                    raise self._refused(_operation("GET", path), response, await _bounded(response))
                self._note(_operation("GET", path), None)
                async for event in read_events(response.aiter_bytes(), MOST_BYTES):
                    yield event
        except httpx.HTTPError as error:
            raise LinkAway from error

    async def _ask(
        self,
        shape: TypeAdapter[T],
        method: str,
        project: str | None,
        path: str,
        query: Query | None = None,
        body: Model | None = None,
        seconds: float = _SECONDS,
    ) -> T:
        content = None if body is None else body.model_dump_json().encode()
        headers = _headers() | ({} if content is None else {"Content-Type": "application/json"})
        url = path if project is None else f"/projects/{quote(project, safe='')}{path}"
        params = None if query is None else dict(query)
        try:
            async with self._client().stream(
                method, url, params=params, content=content, headers=headers, timeout=seconds
            ) as response:
                answer = await _bounded(response)
        except httpx.HTTPError as error:
            raise LinkAway from error
        operation = _operation(method, path)
        if response.is_error:
            raise self._refused(operation, response, answer)
        try:
            # a link of a newer release may say more than this service knows
            found = shape.validate_json(answer, extra="ignore") if answer else shape.validate_python(None)
        except ValidationError as error:
            self._note(operation, error)
            raise LinkUnread from error
        self._note(operation, None)
        return found

    def _refused(self, operation: tuple[str, str], response: httpx.Response, content: bytes) -> ProblemError:
        """Return the error for a response with an error status.

        If the error means that the link is of another release, log it (see ``_note``). ``operation``: a result of
        ``_operation``.
        """
        refusal = _refusal(response, content)
        if not isinstance(refusal, LinkAway):
            self._note(operation, refusal if isinstance(refusal, LinkMismatch) else None)
        return refusal

    def _note(self, operation: tuple[str, str], mismatch: LinkMismatch | ValidationError | None) -> None:
        """Log that link and service do not understand each other in an operation.

        This is logged once, and again only if link and service understood each other in the operation in between.
        ``operation``: a result of ``_operation``; ``mismatch``: the link does not know the operation (LinkMismatch), or
        its answer cannot be parsed (ValidationError); None: neither.
        """
        if mismatch is None:
            self._mismatches.discard(operation)
        elif operation not in self._mismatches:
            self._mismatches.add(operation)
            said = mismatch.said if isinstance(mismatch, LinkMismatch) else f"its answer cannot be parsed: {mismatch}"
            log.info("The link does not understand %s /%s: %s", *operation, said)

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            raise conflict(
                Message(
                    "workshop-no-link", "This gateway’s service for workshops sees no sessions: it has no link socket."
                )
            )
        return self._http


def _headers() -> dict[str, str]:
    current = request_id.current()
    return {request_id.HEADER: current} if current else {}


def _operation(method: str, path: str) -> tuple[str, str]:
    """Return the method of a request and the first part of its path, which contains no id."""
    return method, path.strip("/").partition("/")[0]


async def _bounded(response: httpx.Response) -> bytes:
    """Return the body of a response. Raises LinkAway if it is too long."""
    content = bytearray()
    async for piece in response.aiter_bytes():
        content += piece
        if len(content) > MOST_BYTES:
            raise LinkAway
    return bytes(content)


def _refusal(response: httpx.Response, content: bytes) -> ProblemError:
    """Return the error for a response with an error status: a LinkAway, or a LinkRefused, perhaps a LinkMismatch.

    LinkAway: the status is at least 500, or ``content``, the response's body, is no Problem. LinkMismatch: the status
    is 400 or 405, or the status is 404 and the Problem's field ``code`` is empty.
    """
    if response.status_code >= 500:
        return LinkAway()
    try:
        problem = Problem.model_validate_json(content, extra="ignore")
    except ValidationError:
        return LinkAway()
    # A link of this service's release finds each request valid, and its answer 404 has a code.
    unknown = response.status_code == 404 and not problem.code
    if unknown or response.status_code in (400, 405):
        return LinkMismatch(problem.message)
    return LinkRefused(problem)
