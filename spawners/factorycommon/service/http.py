"""Parts of the HTTP apps of link and workshops service: errors as ``Problem``, request ids, limits, event streams."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from factorycommon import request_id
from factorycommon.language import N_
from factorycommon.models import Problem
from factorycommon.service.problems import ProblemError, invalid

Refused = Callable[[str], None]

_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_FAULT = N_("The gateway could not process this request because of an error of its own.")
_TELL = N_("Try again. If it fails again, tell the operators the id of this request.")


class EventStream(StreamingResponse):
    """A response of server-sent events."""

    media_type = "text/event-stream"


class App(FastAPI):
    """A FastAPI app whose OpenAPI description says that every error is answered with a Problem.

    ``new_app`` makes such an app, adds the handlers that give these answers, and leaves out FastAPI's documentation
    pages.
    """

    def openapi(self) -> dict[str, Any]:
        """Return FastAPI's OpenAPI description with two corrections.

        Invalid input is answered by 400 and not by 422. A Problem is JSON also if the successful answer is a stream.
        """
        schema = super().openapi()
        for operations in schema["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
                for status, response in operation["responses"].items():
                    if status >= "400":
                        response["content"] = {"application/json": {"schema": _PROBLEM}}
        return schema


class OneLength:
    """Refuses a request with both Content-Length and Transfer-Encoding, with status 400.

    Two servers could find different ends of its body (RFC 9112, 6.1).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request with both Content-Length and Transfer-Encoding; pass on any other request."""
        names = {name for name, _ in scope.get("headers", ())}
        if scope["type"] == "http" and {b"content-length", b"transfer-encoding"} <= names:
            refusal = answer(invalid("A request has Content-Length or Transfer-Encoding, not both.", None))
            refusal.headers["Connection"] = "close"
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class Bounded:
    """Refuses a request whose body is longer than ``most`` bytes, with status 413.

    This holds for every sender, because a body is read before the app checks who sends it.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the app.

        If the app reads more than the allowed bytes of the request's body, this read raises HTTPException 413.
        """
        left = self._most

        async def some() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, f"The body is too long; allowed: {self._most} bytes.")
            return message

        await self._app(scope, some if scope["type"] == "http" else receive, send)


class RequestIds:
    """Gives each request an id: the client's, or a new one.

    The id is in the response's header, in the log, and in the body of an error. Each request that changes something or
    is refused gets a log line. The line has the route's path template, which contains no text of the client.
    """

    def __init__(self, app: ASGIApp, log: logging.Logger) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Set the request's id, and add it to the response's header.

        When the response begins, also log the request if it changes something or is refused.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope.get("headers", ())).get(request_id.HEADER.lower().encode(), b"")
        mine = request_id.begin(given.decode("latin-1"))
        scope[_BEGAN] = asyncio.get_running_loop().time()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                named = [(name, value) for name, value in message.get("headers", ()) if name != _ID_HEADER]
                message = {**message, "headers": [*named, (_ID_HEADER, mine.encode())]}
                _log_request(self._log, scope, message["status"])
            await send(message)

        await self._app(scope, receive, send_with_id)


_ID_HEADER = request_id.HEADER.lower().encode()
_BEGAN = "factorygate.began"  # in the scope: when the request began, by the event loop's clock


def _log_request(log: logging.Logger, scope: Scope, status: int) -> None:
    if scope["method"] in ("GET", "HEAD") and status < 400:
        return
    path = getattr(scope.get("route"), "path", "?")
    seconds = asyncio.get_running_loop().time() - scope[_BEGAN]
    log.info("%s %s: %d in %.0f ms", scope["method"], path, status, 1000 * seconds)


def new_app(title: str, log: logging.Logger, refused: Refused = lambda _code: None) -> App:
    """Return an app that has no operations yet, and answers every error with a Problem.

    An unexpected exception is answered with status 500, and the server logs its traceback. ``log``: for the lines about
    requests. ``refused`` is called, for metrics, with the code of each ProblemError (its kind if it has no code), with
    ``invalid`` for invalid input, and with ``fault`` for an unexpected exception. It is not called for an
    HTTPException, such as that for an unknown path.
    """
    app = App(title=title, docs_url=None, redoc_url=None, openapi_url=None, responses=says(400, 503))
    app.add_middleware(OneLength)
    app.add_middleware(RequestIds, log=log)

    @app.exception_handler(ProblemError)
    async def say_problem(_request: Request, error: ProblemError) -> Response:
        refused(error.problem.code or error.problem.kind)
        return answer(error)

    @app.exception_handler(RequestValidationError)
    async def say_invalid(_request: Request, error: RequestValidationError) -> Response:
        """Answer invalid input with the place and text of each mistake, but no copy of the input: it may be secret."""
        found = [(".".join(str(part) for part in e["loc"] if part != "body"), e["msg"]) for e in error.errors()]
        message = "; ".join(f"{where}: {what}" for where, what in found)
        refused("invalid")
        return answer(invalid(message, found[0][0] if found else None))

    app.exception_handler(HTTPException)(_say_http)

    @app.exception_handler(Exception)
    async def say_fault(request: Request, _error: Exception) -> Response:
        """Answer a request whose handler raised an unexpected exception; the server logs the traceback."""
        refused("fault")
        problem = Problem(kind="unreachable", message=_FAULT, do=_TELL, whose="operator")
        failed = answer(ProblemError(problem), 500, {request_id.HEADER: request_id.current()})
        _log_request(log, request.scope, failed.status_code)
        return failed

    return app


def events(body: AsyncIterator[bytes]) -> EventStream:
    """Return a response of server-sent events, with headers that keep proxies from holding them back."""
    return EventStream(body, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})


def says(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's ``responses`` for an operation that may answer with a Problem and one of these HTTP statuses."""
    return {status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses}


def tells(*names: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of an event stream with these event names; each event's data are JSON."""
    data = {"type": "string", "contentMediaType": "application/json"}
    event = {"type": "object", "required": ["event", "data"], "properties": {"event": {"enum": names}, "data": data}}
    return {200: {"description": "Events", "content": {EventStream.media_type: {"schema": event}}}}


def answer(error: ProblemError, status: int | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """Return the problem as a JSON response, with the id of the present request.

    ``status``: the HTTP status; None: that of the problem's kind. ``headers``: further headers.
    """
    problem = error.problem.model_copy(update={"request": request_id.current()})
    return Response(problem.model_dump_json(), status or error.status, headers, "application/json")


async def _say_http(request: Request, error: HTTPException) -> Response:
    headers = dict(error.headers or {})
    # for a path with several routes, the framework names only the methods of the first route
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    kind = {403: "forbidden", 404: "gone", 409: "conflict"}.get(error.status_code, "invalid")
    problem = Problem.model_validate({"kind": kind, "message": str(error.detail)})
    return answer(ProblemError(problem), error.status_code, headers)


def _methods(request: Request) -> set[str]:
    matching = [r for r in request.app.routes if isinstance(r, Route) and r.matches(request.scope)[0] != Match.NONE]
    return {method for route in matching for method in route.methods or ()}
