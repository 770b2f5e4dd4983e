"""Serves the room of a workshop (the trainers' live page of a class), and what the page's script requests.

The script follows an event stream, because the room changes all the time; without JavaScript there is no room. The hub
passes on what the workshops service sends, in the reader's language.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from tornado import web

from factorycommon.language import N_
from factorycommon.models import Problem
from factorycommon.service_address import ServiceAddress
from factorylink.client import LinkAddress
from factoryspawner import access
from factoryspawner.api.handler import NOTHING, PROBLEM, GatewayHandler
from factoryspawner.event_stream import Source
from factoryspawner.language import languages
from factoryspawner.pages.workshops.handler import SILENT, WorkshopHandler, client_of
from workshops.client import WorkshopsClient, WorkshopsProblem, WorkshopsSilent
from workshops.models.callers import WorkshopCaller
from workshops.models.room import BroadcastBody, BroadcastView, RoomChange, RoomView, SeatActKind

_ROOM, _CHANGE, _SENT = TypeAdapter(RoomView), TypeAdapter(RoomChange), TypeAdapter(BroadcastView)
_ACT = TypeAdapter[SeatActKind](SeatActKind)
_NO_TEXT = N_("Write a message of 1 to 1000 characters: everybody in the class reads it.")


class RoomPage(WorkshopHandler):
    """The page of a workshop's room."""

    @web.authenticated
    async def get(self, slug: str) -> None:
        """Answer HTML; 403 to people who may not see the room, 404 to people who may not see the workshop.

        Answer 503 if the workshops service does not answer. Query: ``names=no``: show no names, for a projector.
        """
        try:
            workshop = await self.client.one(self.caller, slug)
        except (WorkshopsProblem, WorkshopsSilent) as error:
            raise self.refusal(error) from error
        if "see-room" not in workshop.may:
            raise web.HTTPError(403)
        named = {one.code: one.name for one in languages(self._locale)}
        with_names = self.get_query_argument("names", "") != "no"
        await self.show("workshop_room/room.html", workshop=workshop, languages_named=named, with_names=with_names)


class RoomRequest(GatewayHandler):
    """The base class of the handlers that the script of a room's page calls. Each request needs a login by cookie."""

    def initialize(self, link_at: LinkAddress, locale: Path, service_at: ServiceAddress = Path()) -> None:
        """Store where link and workshops service listen.

        ``locale``: the folder of the translations.
        """
        super().initialize(link_at, locale)
        self._service_at = service_at

    @property
    def client(self) -> WorkshopsClient:
        """Return the client of the workshops service."""
        return client_of(self._service_at)

    @property
    def caller(self) -> WorkshopCaller:
        """Return the person who makes the request, with their groups, and whether they administer the hub.

        Groups whose names the link does not accept are left out.
        """
        user = self.current_user
        return WorkshopCaller(user.name, bool(user.admin), access.groups(group.name for group in user.groups))

    def refuse(self, error: WorkshopsProblem | WorkshopsSilent) -> None:
        """Answer a ``Problem`` after a failed request to the workshops service.

        Status and content are those of the service's refusal. If the service did not answer, the status is 503.
        """
        if isinstance(error, WorkshopsProblem):
            self.set_status(error.status)
            self.answer(PROBLEM, error.problem)
        else:
            self.set_status(503)
            self.answer(PROBLEM, Problem(kind="unreachable", message=SILENT))


class RoomData(RoomRequest):
    """Answers with the present state of the whole room."""

    async def get(self, slug: str) -> None:
        """Answer the whole room as a ``RoomView``, or the refusal of the workshops service."""
        try:
            room = await self.client.room(self.caller, slug)
        except (WorkshopsProblem, WorkshopsSilent) as error:
            self.refuse(error)
        else:
            self.answer(_ROOM, room)


class RoomEvents(RoomRequest):
    """Streams the room's changes to the page."""

    async def get(self, slug: str) -> None:
        """Answer server-sent events ``change``: the first has the whole room, each later one a change of the room.

        If the workshops service refuses the request or does not answer, answer a ``Problem`` instead.
        """
        async with aclosing(self.client.room_events(self.caller, slug)) as changes:
            try:
                first = await anext(changes)
            except (WorkshopsProblem, WorkshopsSilent) as error:
                self.refuse(error)
            except StopAsyncIteration:
                self.refuse(WorkshopsSilent(SILENT))
            else:
                await self.send(Source("change", _CHANGE, _all(first, changes)))


class RoomMessage(RoomRequest):
    """Sends messages to the class."""

    async def post(self, slug: str) -> None:
        """Send a message to the class.

        The request's body is a ``BroadcastBody``; the status is 400 if the body is not valid. Answer a
        ``BroadcastView`` (how many people get the message), or the refusal of the workshops service.
        """
        try:
            body = BroadcastBody.model_validate_json(self.request.body)
            sent = await self.client.broadcast(self.caller, slug, body)
        except ValidationError:
            self.set_status(400)
            self.answer(PROBLEM, Problem(kind="invalid", message=_NO_TEXT, field="text"))
        except (WorkshopsProblem, WorkshopsSilent) as error:
            self.refuse(error)
        else:
            self.answer(_SENT, sent)


class RoomSeat(RoomRequest):
    """Asks the workshops service to stop, start, restart or reset one seat."""

    async def post(self, slug: str, seat: str, act: str) -> None:
        """Ask the workshops service to do ``act`` with the session of a seat. ``seat``: the seat's number.

        ``stop``: end the session; ``start``: start a session if the seat has none; ``restart``: replace the session by
        a new one; ``reset``: replace the session, or start one if there is none, and deliver the workshop's material
        anew. Answer ``{}``, without waiting until the act is done, or the service's refusal.
        """
        try:
            if act == "stop":
                await self.client.stop_seat(self.caller, slug, int(seat))
            else:
                await self.client.act_on_seat(self.caller, slug, int(seat), _ACT.validate_python(act))
        except (WorkshopsProblem, WorkshopsSilent) as error:
            self.refuse(error)
        else:
            self.answer(NOTHING, {})


class RoomGoOn(RoomRequest):
    """Continues the warm-up (the start of seats before the class) after a halt."""

    async def post(self, slug: str) -> None:
        """Continue a warm-up that was halted because too many seats failed.

        Answer ``{}``, or the refusal of the workshops service.
        """
        try:
            await self.client.go_on(self.caller, slug)
        except (WorkshopsProblem, WorkshopsSilent) as error:
            self.refuse(error)
        else:
            self.answer(NOTHING, {})


async def _all(first: RoomChange, rest: AsyncGenerator[RoomChange]) -> AsyncGenerator[RoomChange]:
    """Yield ``first``, then ``rest``; end without an error if the service refuses or stops answering.

    The browser's script then connects again.
    """
    yield first
    try:
        async for change in rest:
            yield change
    except (WorkshopsProblem, WorkshopsSilent):
        return


def routes(slug: str, to_service: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return the routes of rooms. ``slug``: the pattern of a slug; ``to_service``: the arguments of the handlers."""
    return [
        (rf"/workshops/{slug}/room", RoomPage, to_service),
        (rf"/workshops/{slug}/room/seats", RoomData, to_service),
        (rf"/workshops/{slug}/room/events", RoomEvents, to_service),
        (rf"/workshops/{slug}/room/messages", RoomMessage, to_service),
        (rf"/workshops/{slug}/room/go-on", RoomGoOn, to_service),
        (rf"/workshops/{slug}/room/seats/([0-9]{{1,4}})/(stop|start|restart|reset)", RoomSeat, to_service),
    ]
