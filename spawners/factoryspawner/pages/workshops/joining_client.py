"""Client of the service ``workshops`` for joining, and for the logins of guests.

The client has typed methods, over the service's Unix socket, or over TLS from another host. The methods raise
LinkProblem if the service refuses, with a reason, and LinkSilent if the service does not answer, fails by a fault of
its own, or gives an answer that cannot be parsed.
"""

from __future__ import annotations

import asyncio
from typing import TypeVar
from urllib.parse import quote
from weakref import WeakKeyDictionary

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from factorycommon import request_id
from factorycommon.connections import IDLE_SECONDS
from factorycommon.link_errors import LinkSilent, read_problem
from factorycommon.models.joining import (
    GuestView,
    JoinBody,
    JoinCodeBody,
    JoinedView,
    LeaveBody,
    MembershipsView,
    ProofBody,
    ReturnBody,
    ReturnedBody,
    TicketBody,
    TicketOnly,
    TicketView,
)
from factorycommon.service_address import ServiceAddress, transport_to

T = TypeVar("T")

_SECONDS = 10.0  # for an answer to a person who waits for a page
_STATUS_SECONDS = 2.0  # for an answer on which each request of a guest waits

_TICKET = TypeAdapter(TicketView)
_TICKET_ONLY = TypeAdapter(TicketOnly)
_JOINED = TypeAdapter(JoinedView)
_GUEST = TypeAdapter(GuestView)
_MEMBERSHIPS = TypeAdapter(MembershipsView)


class JoiningClient:
    """The hub's client of the workshops service, for joining. ``at``: where the service listens for the hub.

    Its methods raise LinkProblem if the service refuses; LinkSilent if the service does not answer, fails by a fault of
    its own, or gives an answer that cannot be parsed.
    """

    def __init__(self, at: ServiceAddress) -> None:
        limits = httpx.Limits(max_connections=None, keepalive_expiry=IDLE_SECONDS)
        base_url, transport = transport_to(at, "workshops", limits)
        self._http = httpx.AsyncClient(
            transport=transport,
            base_url=base_url,
            timeout=_SECONDS,
            trust_env=False,
        )

    async def check_code(self, body: JoinCodeBody) -> TicketView:
        """Return a ticket for a right join code; the requests for the person's next steps contain this ticket."""
        return await self._post(_TICKET, "code", body)

    async def ticket(self, ticket: str) -> TicketView:
        """Return a ticket's workshop, and the mail address for which the person last asked for a one-time code.

        The address is "" if the person has not asked for a code. Raises LinkProblem (404) if the ticket is unknown or
        no longer valid; ValueError if ``ticket`` does not have the form of a ticket.
        """
        return await self._post(_TICKET, "ticket", TicketBody(ticket=ticket))

    async def send_digits(self, body: ProofBody) -> None:
        """Have a one-time code sent to a mail address; the caller does not learn whether a mail was sent."""
        await self._ask("POST", "/joining/mail", body)

    async def join(self, body: JoinBody) -> JoinedView:
        """Have a person join a workshop, which uses up their ticket; return the membership, with the workshop."""
        return await self._post(_JOINED, "join", body)

    async def leave(self, body: LeaveBody) -> None:
        """Have a person leave a workshop; if they have a seat, the next person in the waiting list gets this seat."""
        await self._ask("POST", "/joining/leave", body)

    async def begin_return(self, body: ReturnBody) -> str:
        """Have a one-time code sent to a guest who logs in again; return a ticket for ``finish_return``.

        The ticket is returned even if no code is sent, for example because no guest has the mail address.
        """
        return (await self._post(_TICKET_ONLY, "return", body)).ticket

    async def finish_return(self, body: ReturnedBody) -> GuestView:
        """Return the guest who has proved their address by the one-time code in ``body``."""
        return await self._post(_GUEST, "returned", body)

    async def guest(self, name: str) -> GuestView:
        """Return the guest with the hub's user name ``name``. Raises LinkProblem (404) if there is no such guest."""
        found = await self._ask("GET", f"/joining/guests/{quote(name, safe='')}", seconds=_STATUS_SECONDS)
        return _read(_GUEST, found)

    async def memberships(self, person: str) -> MembershipsView:
        """Return all memberships of a person, each with its workshop.

        Memberships that have ended, and those in which the person waits for a seat, are included.
        """
        return _read(_MEMBERSHIPS, await self._ask("GET", f"/joining/people/{quote(person, safe='')}"))

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _post(self, answer: TypeAdapter[T], path: str, body: BaseModel) -> T:
        return _read(answer, await self._ask("POST", f"/joining/{path}", body))

    async def _ask(self, method: str, path: str, body: BaseModel | None = None, seconds: float = _SECONDS) -> bytes:
        # without keys that are not set: a service of an older release does not know all of them
        content = None if body is None else body.model_dump(mode="json", exclude_none=True)
        headers = {request_id.HEADER: current} if (current := request_id.current()) else {}
        try:
            response = await self._http.request(method, path, json=content, headers=headers, timeout=seconds)
        except httpx.HTTPError as error:
            raise LinkSilent(str(error) or type(error).__name__) from error
        if response.is_error:
            raise read_problem(response.status_code, response.content)
        return response.content


def _read(answer: TypeAdapter[T], content: bytes) -> T:
    try:
        # a service of a newer release may say more than this hub knows
        return answer.validate_json(content, extra="ignore")
    except ValidationError as error:
        raise LinkSilent(f"the answer is not understood: {error.error_count()} errors") from error


_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[ServiceAddress, JoiningClient]] = WeakKeyDictionary()


def joining(at: ServiceAddress) -> JoiningClient:
    """Return the client of the workshops service at the address ``at``; call this in the event loop.

    Each event loop has one client for each address, which later calls return again.
    """
    mine = _clients.setdefault(asyncio.get_running_loop(), {})
    if at not in mine:
        mine[at] = JoiningClient(at)
    return mine[at]
