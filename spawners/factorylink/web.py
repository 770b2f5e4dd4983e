"""What all of the link's apps share: errors as ``models.Problem``, and streams of events."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException

from factorylink import explain
from factorylink.ledger import LedgerError
from factorylink.models import Problem
from factorylink.problems import ProblemError, invalid, of_words

log = logging.getLogger("factorylink")


def new_app(title: str) -> FastAPI:
    """An app that answers every error with a Problem. It has no pages of its own."""
    app = FastAPI(title=title, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(ProblemError, _say_problem)
    app.add_exception_handler(RequestValidationError, _say_invalid)
    app.add_exception_handler(LedgerError, _say_ledger)
    app.add_exception_handler(HTTPException, _say_http)
    return app


def events(body: AsyncIterator[bytes]) -> StreamingResponse:
    """Server-sent events; proxies must not hold them back."""
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(body, media_type="text/event-stream", headers=headers)


def answer(error: ProblemError, status: int | None = None) -> Response:
    """The problem as a response."""
    return Response(error.problem.model_dump_json(), status or error.status, media_type="application/json")


async def _say_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)  # noqa: S101
    return answer(error)


async def _say_invalid(_request: Request, error: Exception) -> Response:
    """Only where and what: the values may be secrets."""
    assert isinstance(error, RequestValidationError)  # noqa: S101
    found = [(".".join(str(part) for part in e["loc"] if part != "body"), e["msg"]) for e in error.errors()]
    message = "; ".join(f"{where}: {what}" for where, what in found)
    return answer(invalid(message, found[0][0] if found else None))


async def _say_ledger(_request: Request, error: Exception) -> Response:
    log.error("%s", error)
    return answer(of_words("unreachable", explain.own("ledger")))


async def _say_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    kind = {403: "forbidden", 404: "gone", 409: "conflict"}.get(error.status_code, "invalid")
    problem = Problem.model_validate({"kind": kind, "message": str(error.detail)})
    return answer(ProblemError(problem), error.status_code)
