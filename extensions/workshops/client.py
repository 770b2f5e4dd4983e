"""The client of the workshops service, for the hub and the operator's command: over a Unix socket, or over TLS."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from factorycommon import request_id
from factorycommon.connections import IDLE_SECONDS
from factorycommon.event_stream import read_events
from factorycommon.models import Model, Problem
from factorycommon.models.workshops.help import HandBody, HelpState
from factorycommon.service_address import ServiceAddress, transport_to
from workshops.models.bodies import CodeBody, DeclineBody, MemberBody, Role, WorkshopBody, WorkshopChange
from workshops.models.callers import MOST_GROUPS, WorkshopCaller
from workshops.models.checks import CheckBody, ChecksView
from workshops.models.ending import (
    CertificateBody,
    CertificateCheck,
    ClosingView,
    ExtendWorkshopBody,
    MailedView,
    PrivacyView,
    ReportView,
)
from workshops.models.helping import HandContent, LookView
from workshops.models.material import MaterialRoom, MaterialStatus, RestoreBody
from workshops.models.moving import MoveBody, MovingView
from workshops.models.rehearsal import RehearsalBody, RehearsalsView
from workshops.models.room import BroadcastBody, BroadcastView, RoomChange, RoomHead, RoomView, SeatActKind
from workshops.models.seats import SeatingView
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

WorkshopFile = Literal["report.csv", "certificate", "certificates.zip"]

_SECONDS, _SLOW_SECONDS = 10.0, 30.0  # for an answer; for one that waits for sessions
_QUIET_SECONDS = 60.0  # a stream shows from time to time that it is alive
_MOST_BYTES = 8 * 2**20  # of one event
_FILE_SECONDS = 180.0  # for a file: a thousand certificates take two minutes
_ACCESS = TypeAdapter(AccessView)
_POOLS = TypeAdapter(list[PoolView])
_VIEW, _VIEWS = TypeAdapter(WorkshopView), TypeAdapter(list[WorkshopView])
_CREATED = TypeAdapter(CreatedView)
_MEMBER, _MEMBERS = TypeAdapter(MemberView), TypeAdapter(list[MemberView])
_EVENTS = TypeAdapter(list[EventView])
_LISTED = TypeAdapter(ListedView)
_REPORT, _CLOSING = TypeAdapter(ReportView), TypeAdapter(ClosingView)
_MAILED = TypeAdapter(MailedView)
_CHECK, _PRIVACY = TypeAdapter(CertificateCheck), TypeAdapter(PrivacyView)
_ROOM, _CHANGE, _BROADCAST = TypeAdapter(RoomView), TypeAdapter(RoomChange), TypeAdapter(BroadcastView)
_SEATING, _MOVING = TypeAdapter(SeatingView), TypeAdapter(MovingView)
_MATERIAL, _STATUS = TypeAdapter(MaterialRoom), TypeAdapter(MaterialStatus)
_CHECKS = TypeAdapter(ChecksView)
_REHEARSALS = TypeAdapter(RehearsalsView)
_HELP, _HAND, _LOOK = TypeAdapter(HelpState), TypeAdapter(HandContent), TypeAdapter(LookView)
_NOTHING = TypeAdapter[None](None)


class WorkshopsSilent(Exception):
    """Raised if the service does not answer, answers with status 500, or sends an answer that cannot be parsed."""


class WorkshopsProblem(Exception):
    """Raised if the service answers a request with an error status other than 500, for example a refusal.

    ``status``: the HTTP status; ``problem``: the service's explanation.
    """

    def __init__(self, status: int, problem: Problem) -> None:
        super().__init__(problem.message)
        self.status = status
        self.problem = problem


class WorkshopsClient:
    """Makes requests to the workshops service for people. Requests raise WorkshopsSilent and WorkshopsProblem.

    ``at``: where the service listens for the hub. In each method, ``caller`` is the person for whom the request is
    made, and ``slug`` is the id of a workshop.
    """

    def __init__(self, at: ServiceAddress) -> None:
        base_url, transport = transport_to(at, "workshops", httpx.Limits(keepalive_expiry=IDLE_SECONDS))
        self._http = httpx.AsyncClient(base_url=base_url, transport=transport, timeout=_SECONDS, trust_env=False)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def access(self, caller: WorkshopCaller) -> AccessView:
        """Return the caller's rights, and whether an operator must approve workshops.

        The rights: whether the caller is an operator, and whether the caller may create workshops.
        """
        return await self._ask(_ACCESS, caller, "GET", "/access")

    async def pools(self, caller: WorkshopCaller, slug: str | None = None) -> list[PoolView]:
        """Return the pools that the caller may choose for a new workshop, or for the workshop ``slug``.

        A pool is what an operator lets workshops use at one factory.
        """
        more = [] if slug is None else [("workshop", slug)]
        return _parsed(_POOLS, await self._send(caller, "GET", "/pools", None, more=more))

    async def all(self, caller: WorkshopCaller) -> list[WorkshopView]:
        """Return the workshops in which the caller has a role or a seat, or waits for a seat; operators get all."""
        return await self._ask(_VIEWS, caller, "GET", "/workshops")

    async def one(self, caller: WorkshopCaller, slug: str) -> WorkshopView:
        """Return the workshop ``slug`` as the caller may see it."""
        return await self._ask(_VIEW, caller, "GET", _path(slug))

    async def create(self, caller: WorkshopCaller, body: WorkshopBody) -> CreatedView:
        """Create a workshop that the caller leads; only this result has the workshop's join code."""
        return await self._ask(_CREATED, caller, "POST", "/workshops", body)

    async def change(self, caller: WorkshopCaller, slug: str, body: WorkshopChange) -> WorkshopView:
        """Change a workshop: set the values in ``body``, and return the changed workshop.

        Raises WorkshopsProblem with status 409 if the workshop was changed after the version that ``body`` names.
        """
        return await self._ask(_VIEW, caller, "PATCH", _path(slug), body)

    async def take(self, caller: WorkshopCaller, slug: str, action: Action) -> WorkshopView:
        """Change a workshop's state as ``action`` says; return the changed workshop.

        ``action``: ``submit``, ``approve``, ``withdraw``, ``cancel``, ``warm`` (warm up) or ``close``.
        """
        return await self._ask(_VIEW, caller, "POST", _path(slug, action))

    async def decline(self, caller: WorkshopCaller, slug: str, reason: str) -> WorkshopView:
        """Refuse the approval of a workshop; return the workshop, which stays a draft.

        ``reason``: a text that the workshop's trainer sees.
        """
        return await self._ask(_VIEW, caller, "POST", _path(slug, "decline"), DeclineBody(reason=reason))

    async def new_code(self, caller: WorkshopCaller, slug: str, body: CodeBody) -> CreatedView:
        """Make a new join code for a workshop; the workshop's earlier codes are not valid any more.

        Only this result has the new code: it cannot be read later.
        """
        return await self._ask(_CREATED, caller, "POST", _path(slug, "code"), body)

    async def material(self, caller: WorkshopCaller, slug: str) -> MaterialRoom:
        """Return the state of a workshop's material, and its last delivery to each person."""
        return await self._ask(_MATERIAL, caller, "GET", _path(slug, "material"))

    async def fetch_material(self, caller: WorkshopCaller, slug: str) -> None:
        """Make the service fetch the material of a workshop again, in the background."""
        await self._ask(_STATUS, caller, "POST", _path(slug, "material", "fetch"))

    async def restore_material(self, caller: WorkshopCaller, slug: str, person: str) -> None:
        """Deliver the material to a person's open sessions again, with files and cells that the person has deleted."""
        await self._ask(
            _NOTHING, caller, "POST", _path(slug, "material", "restore"), RestoreBody(person=person), _SLOW_SECONDS
        )

    async def members(self, caller: WorkshopCaller, slug: str) -> list[MemberView]:
        """Return the people of a workshop, also those who wait for a seat, have left, or are banned."""
        return await self._ask(_MEMBERS, caller, "GET", _path(slug, "members"))

    async def put_member(self, caller: WorkshopCaller, slug: str, person: str, role: Role) -> MemberView:
        """Give a person a role in a workshop; a person who is not in it, or is banned, becomes a member."""
        return await self._ask(_MEMBER, caller, "PUT", _path(slug, "members", person), MemberBody(role=role))

    async def drop_member(self, caller: WorkshopCaller, slug: str, person: str) -> None:
        """Remove a person from a workshop; the person may join again with a code."""
        await self._ask(_NOTHING, caller, "DELETE", _path(slug, "members", person))

    async def ban(self, caller: WorkshopCaller, slug: str, person: str) -> None:
        """Remove a person from a workshop, so that they cannot join it again."""
        await self._ask(_NOTHING, caller, "POST", _path(slug, "members", person, "ban"))

    async def readmit(self, caller: WorkshopCaller, slug: str, person: str) -> None:
        """End the ban of a person, who may then join the workshop again with a code."""
        await self._ask(_NOTHING, caller, "DELETE", _path(slug, "members", person, "ban"))

    async def put_list(self, caller: WorkshopCaller, slug: str, text: bytes) -> ListedView:
        """Replace a workshop's list of invited people; return how many people the new list has.

        ``text``: a CSV file with the column ``mail``, and optionally the columns ``name`` and ``role``.
        """
        return _parsed(_LISTED, await self._send(caller, "PUT", _path(slug, "list"), text, "text/csv"))

    async def get_list(self, caller: WorkshopCaller, slug: str) -> str:
        """Return a CSV list of a workshop's people, and of the people who are invited and have not joined.

        People who wait for a seat, have left, or are banned are in the list, too.
        """
        response = await self._send(caller, "GET", _path(slug, "list"), None)
        if response.is_error:
            _parsed(_NOTHING, response)
        return response.text

    async def room(self, caller: WorkshopCaller, slug: str) -> RoomView:
        """Return the room of a workshop: its seats with their sessions."""
        return await self._ask(_ROOM, caller, "GET", _path(slug, "room"))

    async def room_events(self, caller: WorkshopCaller, slug: str) -> AsyncGenerator[RoomChange]:
        """Yield the whole room, then what changes in it, until the service ends the stream."""
        timeout = httpx.Timeout(_SECONDS, read=_QUIET_SECONDS)
        path = _path(slug, "room", "events")
        try:
            async with self._http.stream("GET", path, params=_params(caller), timeout=timeout) as response:
                if response.is_error:
                    await response.aread()
                    _parsed(_NOTHING, response)
                async for event in read_events(response.aiter_bytes(), _MOST_BYTES):
                    if event.name == "room":
                        yield _whole(_ROOM.validate_json(event.data, extra="ignore"))
                    elif event.name == "change":
                        yield _CHANGE.validate_json(event.data, extra="ignore")
        except (httpx.HTTPError, ValidationError) as error:
            raise _silent(error) from error

    async def broadcast(self, caller: WorkshopCaller, slug: str, body: BroadcastBody) -> BroadcastView:
        """Send a message to the class; return the message's id, and how many people get the message.

        The result also says how many people's sessions have taken the message already.
        """
        return await self._ask(_BROADCAST, caller, "POST", _path(slug, "broadcast"), body, _SLOW_SECONDS)

    async def stop_seat(self, caller: WorkshopCaller, slug: str, seat: int) -> None:
        """Request the end of the sessions that the person on a seat has for the workshop."""
        await self._ask(_NOTHING, caller, "POST", _path(slug, "room", seat, "stop"))

    # --- help

    async def own_help(self, caller: WorkshopCaller, slug: str) -> HelpState:
        """Return whether the caller's hand is up in a workshop, and which notebook of theirs helpers may see."""
        return await self._ask(_HELP, caller, "GET", _path(slug, "hand"))

    async def raise_hand(self, caller: WorkshopCaller, slug: str, body: HandBody) -> HelpState:
        """Raise the caller's hand; return the new state of the caller's requests for help."""
        return await self._ask(_HELP, caller, "PUT", _path(slug, "hand"), body)

    async def lower_hand(self, caller: WorkshopCaller, slug: str) -> HelpState:
        """Lower the caller's hand; return the new state of the caller's requests for help."""
        return await self._ask(_HELP, caller, "DELETE", _path(slug, "hand"))

    async def end_look(self, caller: WorkshopCaller, slug: str) -> HelpState:
        """Let nobody see the caller's notebook any more; return the new state of the caller's requests for help."""
        return await self._ask(_HELP, caller, "DELETE", _path(slug, "look"))

    async def hand(self, caller: WorkshopCaller, slug: str, seat: int) -> HandContent:
        """Return what the person on a seat sent with the raised hand."""
        return await self._ask(_HAND, caller, "GET", _path(slug, "room", seat, "hand"))

    async def help_seat(
        self, caller: WorkshopCaller, slug: str, seat: int, act: Literal["come", "done", "ask-look"]
    ) -> None:
        """Do what ``act`` says about the raised hand of the person on a seat.

        ``come``: tell the person that the caller comes; ``done``: lower the hand; ``ask-look``: ask the person to let
        helpers see a notebook.
        """
        await self._ask(_NOTHING, caller, "POST", _path(slug, "room", seat, "hand", act))

    async def look(self, caller: WorkshopCaller, slug: str, seat: int) -> LookView:
        """Return the notebook that the person on a seat lets helpers see."""
        return await self._ask(_LOOK, caller, "GET", _path(slug, "room", seat, "look"))

    async def act_on_seat(self, caller: WorkshopCaller, slug: str, seat: int, act: SeatActKind) -> None:
        """Request that a seat's session is started, restarted or reset; the service does this after the response.

        ``start``: start a session on a seat that has none; ``restart``: stop the session and start a new one;
        ``reset``: stop the session if there is one, start a new one, and deliver the workshop's material anew.
        """
        await self._ask(_NOTHING, caller, "POST", _path(slug, "room", seat, act))

    async def put_check(self, caller: WorkshopCaller, slug: str, body: CheckBody) -> None:
        """Send a workshop the result of the caller's connection check (``/hub/check``)."""
        await self._ask(_NOTHING, caller, "PUT", _path(slug, "check"), body)

    async def checks(self, caller: WorkshopCaller, slug: str) -> ChecksView:
        """Return the results of the connection check (``/hub/check``) that a workshop's people have sent."""
        return await self._ask(_CHECKS, caller, "GET", _path(slug, "checks"))

    async def events(self, caller: WorkshopCaller, slug: str) -> list[EventView]:
        """Return the last lines of a workshop's log, the newest first."""
        return await self._ask(_EVENTS, caller, "GET", _path(slug, "events"))

    async def seating(self, caller: WorkshopCaller, slug: str) -> SeatingView:
        """Return how far each seat of a workshop has started, and whether the start of seats is halted."""
        return await self._ask(_SEATING, caller, "GET", _path(slug, "seats"))

    async def go_on(self, caller: WorkshopCaller, slug: str) -> None:
        """Continue to start a workshop's seats after the service halted this because too many seats failed."""
        await self._ask(_NOTHING, caller, "POST", _path(slug, "seats", "go-on"))

    async def moving(self, caller: WorkshopCaller, slug: str) -> MovingView:
        """Return at which of a workshop's places its seats are, and whether the class should be moved.

        A place is a factory with a node size.
        """
        return await self._ask(_MOVING, caller, "GET", _path(slug, "move"))

    async def move(self, caller: WorkshopCaller, slug: str, body: MoveBody) -> MovingView:
        """Order the move of a class, or of some of its seats, to one of the workshop's places (factory and node size).

        The service moves the seats after the response. Return the places, with the number of seats that belong to each,
        and the last orders.
        """
        return await self._ask(_MOVING, caller, "POST", _path(slug, "move"), body)

    async def rehearsals(self, caller: WorkshopCaller, slug: str) -> RehearsalsView:
        """Return the last rehearsals at each of a workshop's places (factory and node size)."""
        return await self._ask(_REHEARSALS, caller, "GET", _path(slug, "rehearsals"), seconds=_SLOW_SECONDS)

    async def rehearse(self, caller: WorkshopCaller, slug: str, body: RehearsalBody) -> RehearsalsView:
        """Rehearse a workshop at one of its places (factory and node size); return the last rehearsals by place.

        A rehearsal of the kind ``dry`` starts no seats. Rehearsals of the kinds ``seats`` and ``wave`` start seats, and
        go on after the response, unless no seat can start.
        """
        return await self._ask(_REHEARSALS, caller, "POST", _path(slug, "rehearsals"), body, _SLOW_SECONDS)

    async def stop_rehearsal(self, caller: WorkshopCaller, slug: str) -> RehearsalsView:
        """Stop the running rehearsal of a workshop; return the last rehearsals by place."""
        return await self._ask(_REHEARSALS, caller, "POST", _path(slug, "rehearsals", "stop"), seconds=_SLOW_SECONDS)

    # --- the end of a workshop

    async def extend(self, caller: WorkshopCaller, slug: str, minutes: int) -> WorkshopView:
        """Let a class go on for some minutes more; return the changed workshop."""
        body = ExtendWorkshopBody(minutes=minutes)
        return await self._ask(_VIEW, caller, "POST", _path(slug, "extend"), body)

    async def closing(self, caller: WorkshopCaller, slug: str) -> ClosingView:
        """Return what would end if a workshop were closed now."""
        return await self._ask(_CLOSING, caller, "GET", _path(slug, "closing"))

    async def report(self, caller: WorkshopCaller, slug: str) -> ReportView:
        """Return the report of a workshop: who took part, the sessions' hours, waits and failures, and the costs."""
        return await self._ask(_REPORT, caller, "GET", _path(slug, "report"))

    async def file(self, caller: WorkshopCaller, slug: str, name: WorkshopFile, language: str | None = None) -> bytes:
        """Return a file of a workshop: its report as CSV, the caller's certificate as PDF, or all certificates as zip.

        ``language``: the code of the language of the caller's certificate; None: the caller's own language.
        """
        more = [] if language is None else [("language", language)]
        response = await self._send(caller, "GET", _path(slug, name), None, seconds=_FILE_SECONDS, more=more)
        if response.is_error:
            _parsed(_NOTHING, response)
        return response.content

    async def mail_certificates(self, caller: WorkshopCaller, slug: str) -> MailedView:
        """Send guests (people without an account) their certificates by mail; this can be done once for a workshop.

        The mails are sent in the background. Return how many mails are sent, and how many people get no mail although
        they have earned a certificate, because they have an account.
        """
        content = await self._send(caller, "POST", _path(slug, "certificates", "mail"), None, seconds=_FILE_SECONDS)
        return _parsed(_MAILED, content)

    async def check_certificate(self, body: CertificateBody) -> CertificateCheck:
        """Return whether a certificate is valid; if the certificate is valid, return also its workshop.

        If ``body`` has a name, the result also says whether the certificate is for this name.
        """
        content = body.model_dump_json().encode()
        return _parsed(_CHECK, await self._send(None, "POST", "/certificates", content, "application/json"))

    async def privacy(self, slug: str) -> PrivacyView:
        """Return when the data of a workshop's people are deleted."""
        return _parsed(_PRIVACY, await self._send(None, "GET", f"/privacy/{quote(slug, safe='')}", None))

    async def _ask(
        self,
        shape: TypeAdapter[T],
        caller: WorkshopCaller,
        method: str,
        path: str,
        body: Model | None = None,
        seconds: float = _SECONDS,
    ) -> T:
        content = None if body is None else body.model_dump_json(exclude_unset=True).encode()
        return _parsed(shape, await self._send(caller, method, path, content, "application/json", seconds))

    async def _send(
        self,
        caller: WorkshopCaller | None,
        method: str,
        path: str,
        content: bytes | None,
        kind: str = "",
        seconds: float = _SECONDS,
        more: Sequence[tuple[str, str]] = (),
    ) -> httpx.Response:
        """Send a request, and return the response, also one with an error status.

        ``caller`` None: the operation needs no login; ``kind``: the content type of ``content``; ``seconds``: how long
        to wait for the response; ``more``: further parameters of the query. Raises WorkshopsSilent.
        """
        params: list[tuple[str, str | int | float | bool | None]] = [*more]
        if caller is not None:
            params += _params(caller)
        headers = {"Content-Type": kind} if content is not None else {}
        if current := request_id.current():
            headers[request_id.HEADER] = current
        try:
            return await self._http.request(
                method, path, params=params, content=content, headers=headers, timeout=seconds
            )
        except httpx.HTTPError as error:
            raise _silent(error) from error


def _params(caller: WorkshopCaller) -> list[tuple[str, str | int | float | bool | None]]:
    groups = sorted(caller.groups)[:MOST_GROUPS]
    return [("as", caller.person), ("operator", caller.operator), *(("group", one) for one in groups)]


def _silent(error: Exception) -> WorkshopsSilent:
    if isinstance(error, ValidationError):
        return WorkshopsSilent("The workshops service sent an event that cannot be read.")
    return WorkshopsSilent(f"The workshops service does not answer: {str(error) or type(error).__name__}")


def _whole(room: RoomView) -> RoomChange:
    """Return a change that contains the whole room."""
    head = RoomHead(**{name: getattr(room, name) for name in RoomHead.model_fields})
    return RoomChange(head=head, seats=room.seats)


def _parsed(shape: TypeAdapter[T], response: httpx.Response) -> T:
    try:
        if response.is_error:
            problem = Problem.model_validate_json(response.content, extra="ignore")
            if response.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
                raise WorkshopsSilent(problem.message)
            raise WorkshopsProblem(response.status_code, problem)
        if not response.content:
            return shape.validate_python(None)
        return shape.validate_json(response.content, extra="ignore")
    except ValidationError as error:
        raise WorkshopsSilent(f"The workshops service answered {response.status_code} without words.") from error


def _path(*parts: Any) -> str:
    return "/workshops/" + "/".join(quote(str(part), safe="") for part in parts)
