"""The handlers for help in a workshop's room, the page for the people who run a class.

They show raised hands with their questions, carry out what helpers do at a seat, and show notebooks that helpers may
see. A notebook is drawn from a strict model as text and PNG images, in a frame without scripts and without this page's
origin, so nothing that a participant wrote can run here.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import TypeAdapter
from tornado import web

from factoryspawner.api.handler import NOTHING
from factoryspawner.pages.workshops.handler import WorkshopHandler
from factoryspawner.pages.workshops.room import RoomRequest
from workshops.client import WorkshopsProblem, WorkshopsSilent
from workshops.models.helping import HandContent

_HAND = TypeAdapter(HandContent)
# The style of the frame, which loads nothing.
_STYLE = """
body { margin: 1rem; background: #fff; color: #1a1a1a; font: 16px/1.5 system-ui, sans-serif; }
section { margin: 0 0 1.25rem; }
pre { margin: 0 0 0.25rem; padding: 0.5rem 0.75rem; overflow-x: auto; font: 14px/1.45 ui-monospace, monospace; }
pre.source { border: 1px solid #767676; background: #f6f6f6; }
pre.markdown { white-space: pre-wrap; font-family: inherit; }
pre.error { border-left: 4px solid #a3211a; }
p { margin: 0 0 0.25rem; color: #595959; }
img { max-width: 100%; height: auto; }
"""


class RoomHand(RoomRequest):
    """Answers with what a person sent with their raised hand: the question, and the source and error of a cell."""

    async def get(self, slug: str, seat: str) -> None:
        """Answer what the seat's person sent with their raised hand (a ``HandContent``).

        If the workshops service refuses, answer its refusal; answer 503 if the service does not answer.
        """
        self.set_header("Cache-Control", "no-store")
        try:
            hand = await self.client.hand(self.caller, slug, int(seat))
        except (WorkshopsProblem, WorkshopsSilent) as error:
            self.refuse(error)
        else:
            self.answer(_HAND, hand)


class RoomHelp(RoomRequest):
    """Carries out what a helper does at a seat."""

    async def post(self, slug: str, seat: str, act: Literal["come", "done", "ask-look"]) -> None:
        """Carry out ``act`` at a seat; answer ``{}``.

        ``come``: tell the seat's person that the helper comes; ``done``: lower the person's hand; ``ask-look``: ask the
        person to let helpers see a notebook. If the workshops service refuses, answer its refusal; answer 503 if the
        service does not answer.
        """
        try:
            await self.client.help_seat(self.caller, slug, int(seat), act)
        except (WorkshopsProblem, WorkshopsSilent) as error:
            self.refuse(error)
        else:
            self.answer(NOTHING, {})


class LookPage(WorkshopHandler):
    """Answers with a page that shows the last saved state of a notebook whose person lets helpers see it."""

    @web.authenticated
    async def get(self, slug: str, seat: str) -> None:
        """Answer the page with the notebook that the seat's person lets helpers see.

        Answer 403 to people who may not help, 409 if the workshop's state allows no help, and 503 if the workshops
        service does not answer. Answer 404 if nobody has the seat, if the seat's person does not let helpers see a
        notebook, or if the requesting person may not see the workshop.
        """
        try:
            look = await self.client.look(self.caller, slug, int(seat))
        except WorkshopsProblem as error:
            raise web.HTTPError(error.status, error.problem.as_message("message")) from error
        except WorkshopsSilent as error:
            raise self.refusal(error) from error
        self.set_header("Cache-Control", "no-store")
        await self.show("workshop_room/look.html", look=look, slug=slug, style=_STYLE)


def routes(slug: str, to_service: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return Tornado's routes for help: for each, the pattern of its path, the handler, and the handler's arguments.

    ``slug``: the regular expression of a workshop's slug, as a group; ``to_service``: the arguments of ``initialize``
    of each handler.
    """
    seat = rf"/workshops/{slug}/room/seats/([0-9]{{1,4}})"
    return [
        (rf"{seat}/hand", RoomHand, to_service),
        (rf"{seat}/(come|done|ask-look)", RoomHelp, to_service),
        (rf"{seat}/look", LookPage, to_service),
    ]
