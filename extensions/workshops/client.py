"""The client of the service's socket, for the hub's pages and the operator's command."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from factorycommon import request_id
from factorycommon.connections import IDLE_SECONDS
from factorycommon.models import Model, Problem
from workshops.models.bodies import CodeBody, DeclineBody, MemberBody, Role, WorkshopBody, WorkshopChange
from workshops.models.callers import MOST_GROUPS, WorkshopCaller
from workshops.models.checks import CheckBody, ChecksView
from workshops.models.views import (
    AccessView,
    Action,
    CreatedView,
    EventView,
    ListedView,
    MemberView,
    PoolView,
    WorkshopView,
)

T = TypeVar("T")

_SECONDS = 10.0  # for an answer
_ACCESS = TypeAdapter(AccessView)
_POOLS = TypeAdapter(list[PoolView])
_VIEW, _VIEWS = TypeAdapter(WorkshopView), TypeAdapter(list[WorkshopView])
_CREATED = TypeAdapter(CreatedView)
_MEMBER, _MEMBERS = TypeAdapter(MemberView), TypeAdapter(list[MemberView])
_EVENTS = TypeAdapter(list[EventView])
_LISTED = TypeAdapter(ListedView)
_CHECKS = TypeAdapter(ChecksView)
_NOTHING = TypeAdapter[None](None)


class WorkshopsSilent(Exception):
    """Raised if the service does not answer, or its answer cannot be parsed."""


class WorkshopsProblem(Exception):
    """Raised if the service refuses a request. ``status``: the HTTP status; ``problem``: its explanation."""

    def __init__(self, status: int, problem: Problem) -> None:
        super().__init__(problem.message)
        self.status = status
        self.problem = problem


class WorkshopsClient:
    """Makes requests for people. ``socket``: the service's Unix socket. Every method raises WorkshopsSilent and
    WorkshopsProblem."""

    def __init__(self, socket: Path) -> None:
        self._http = httpx.AsyncClient(
            base_url="http://workshops",
            transport=httpx.AsyncHTTPTransport(uds=str(socket), limits=httpx.Limits(keepalive_expiry=IDLE_SECONDS)),
            timeout=_SECONDS,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def access(self, caller: WorkshopCaller) -> AccessView:
        """Return what the caller may do."""
        return await self._ask(_ACCESS, caller, "GET", "/access")

    async def pools(self, caller: WorkshopCaller) -> list[PoolView]:
        """Return what a trainer may choose for a place."""
        return await self._ask(_POOLS, caller, "GET", "/pools")

    async def all(self, caller: WorkshopCaller) -> list[WorkshopView]:
        """Return the caller's workshops; for an operator, all."""
        return await self._ask(_VIEWS, caller, "GET", "/workshops")

    async def one(self, caller: WorkshopCaller, slug: str) -> WorkshopView:
        """Return a workshop."""
        return await self._ask(_VIEW, caller, "GET", _path(slug))

    async def create(self, caller: WorkshopCaller, body: WorkshopBody) -> CreatedView:
        """Create a workshop that the caller leads."""
        return await self._ask(_CREATED, caller, "POST", "/workshops", body)

    async def change(self, caller: WorkshopCaller, slug: str, body: WorkshopChange) -> WorkshopView:
        """Change a workshop."""
        return await self._ask(_VIEW, caller, "PATCH", _path(slug), body)

    async def take(self, caller: WorkshopCaller, slug: str, action: Action) -> WorkshopView:
        """Submit, approve, withdraw, cancel, warm or close a workshop."""
        return await self._ask(_VIEW, caller, "POST", _path(slug, action))

    async def decline(self, caller: WorkshopCaller, slug: str, reason: str) -> WorkshopView:
        """Return a workshop to its trainer."""
        return await self._ask(_VIEW, caller, "POST", _path(slug, "decline"), DeclineBody(reason=reason))

    async def new_code(self, caller: WorkshopCaller, slug: str, body: CodeBody) -> CreatedView:
        """Make a new code for joining."""
        return await self._ask(_CREATED, caller, "POST", _path(slug, "code"), body)

    async def members(self, caller: WorkshopCaller, slug: str) -> list[MemberView]:
        """Return the people of a workshop."""
        return await self._ask(_MEMBERS, caller, "GET", _path(slug, "members"))

    async def put_member(self, caller: WorkshopCaller, slug: str, person: str, role: Role) -> MemberView:
        """Give a person a role."""
        return await self._ask(_MEMBER, caller, "PUT", _path(slug, "members", person), MemberBody(role=role))

    async def drop_member(self, caller: WorkshopCaller, slug: str, person: str) -> None:
        """Remove a person from a workshop."""
        await self._ask(_NOTHING, caller, "DELETE", _path(slug, "members", person))

    async def ban(self, caller: WorkshopCaller, slug: str, person: str) -> None:
        """Keep a person out of a workshop."""
        await self._ask(_NOTHING, caller, "POST", _path(slug, "members", person, "ban"))

    async def readmit(self, caller: WorkshopCaller, slug: str, person: str) -> None:
        """End a ban."""
        await self._ask(_NOTHING, caller, "DELETE", _path(slug, "members", person, "ban"))

    async def put_list(self, caller: WorkshopCaller, slug: str, text: bytes) -> ListedView:
        """Replace the list of invited people by a CSV file."""
        return _parsed(_LISTED, await self._send(caller, "PUT", _path(slug, "list"), text, "text/csv"))

    async def get_list(self, caller: WorkshopCaller, slug: str) -> str:
        """Return everybody in a workshop as CSV."""
        response = await self._send(caller, "GET", _path(slug, "list"), None)
        if response.is_error:
            _parsed(_NOTHING, response)
        return response.text

    async def put_check(self, caller: WorkshopCaller, slug: str, body: CheckBody) -> None:
        """Send the caller's connection check to a workshop."""
        await self._ask(_NOTHING, caller, "PUT", _path(slug, "check"), body)

    async def checks(self, caller: WorkshopCaller, slug: str) -> ChecksView:
        """Return the connection checks of a workshop's people."""
        return await self._ask(_CHECKS, caller, "GET", _path(slug, "checks"))

    async def events(self, caller: WorkshopCaller, slug: str) -> list[EventView]:
        """Return the last lines of a workshop's log."""
        return await self._ask(_EVENTS, caller, "GET", _path(slug, "events"))

    async def _ask(
        self, shape: TypeAdapter[T], caller: WorkshopCaller, method: str, path: str, body: Model | None = None
    ) -> T:
        content = None if body is None else body.model_dump_json(exclude_unset=True).encode()
        return _parsed(shape, await self._send(caller, method, path, content, "application/json"))

    async def _send(
        self, caller: WorkshopCaller, method: str, path: str, content: bytes | None, kind: str = ""
    ) -> httpx.Response:
        groups = sorted(caller.groups)[:MOST_GROUPS]
        params: list[tuple[str, str | int | float | bool | None]] = [
            ("as", caller.person), ("operator", caller.operator), *(("group", one) for one in groups)
        ]  # fmt: skip
        headers = {"Content-Type": kind} if content is not None else {}
        if current := request_id.current():
            headers[request_id.HEADER] = current
        try:
            return await self._http.request(method, path, params=params, content=content, headers=headers)
        except httpx.HTTPError as error:
            raise WorkshopsSilent(
                f"The workshops service does not answer: {str(error) or type(error).__name__}"
            ) from error


def _parsed(shape: TypeAdapter[T], response: httpx.Response) -> T:
    try:
        if response.is_error:
            raise WorkshopsProblem(response.status_code, Problem.model_validate_json(response.content, extra="ignore"))
        if not response.content:
            return shape.validate_python(None)
        return shape.validate_json(response.content, extra="ignore")
    except ValidationError as error:
        raise WorkshopsSilent(f"The workshops service answered {response.status_code} without words.") from error


def _path(*parts: Any) -> str:
    return "/workshops/" + "/".join(quote(str(part), safe="") for part in parts)
