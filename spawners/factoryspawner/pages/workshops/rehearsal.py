"""The page of a workshop's rehearsals: the results for each place (plan A, plan B), and buttons to rehearse again.

The page is complete without JavaScript. With JavaScript, the page updates the results of a running rehearsal.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from tornado import web

from factorycommon.language import N_
from factorycommon.service_address import ServiceAddress
from factorylink.client import LinkAddress
from factoryspawner.pages.workshops.handler import WorkshopHandler
from factoryspawner.pages.workshops.pages import PROGRESS, SLUG
from workshops.client import WorkshopsProblem, WorkshopsSilent
from workshops.models.rehearsal import RehearsalBody

COLOURS = {"green": N_("Green"), "yellow": N_("Yellow"), "red": N_("Red")}
STYLES = {"green": "fg-status-free", "yellow": "fg-status-wait", "red": "fg-bad"}
KINDS = {"dry": N_("Without seats"), "seats": N_("With three seats"), "wave": N_("With the whole class")}
CHECKS = {
    "participants": N_("Participants"),
    "terms": N_("Terms"),
    "rules": N_("The site’s rules"),
    "budget": N_("Budget"),
    "reservation": N_("Reservation"),
    "maintenance": N_("Maintenance"),
    "place": N_("The factory"),
    "prestart": N_("Early starts"),
    "accounts": N_("Accounts"),
    "wipe": N_("Emptying of accounts"),
    "size": N_("Node size"),
    "environment": N_("Environment"),
    "material": N_("Material"),
    "pace": N_("Pace"),
    "versions": N_("Releases"),
    "connections": N_("Connection checks"),
    "seat": N_("Seat"),
    "wave": N_("The whole class"),
    "warm": N_("Warm-up"),
    "stopped": N_("Stopped"),
}
_NOT_UNDERSTOOD = N_("This request is not understood.")


class RehearsalPage(WorkshopHandler):
    """The page of a workshop's rehearsals."""

    @web.authenticated
    async def get(self, slug: str) -> None:
        """Answer HTML; 403 to people who may not see the rehearsals, 404 to people who may not see the workshop.

        Operators and the people who run the workshop may see the rehearsals.
        """
        await self._show(slug, "")

    @web.authenticated
    async def post(self, slug: str) -> None:
        """Start a rehearsal or, if the form's field ``order`` is ``stop``, stop the running one.

        The form's other fields are for a start. ``place``: the number of the workshop's place to rehearse, 1 is plan A;
        ``kind``: a key of ``KINDS``. Answer 302 to the page, or the page with what is wrong. Raises HTTPError 400 if
        ``place`` or ``kind`` is not valid.
        """
        try:
            if self.get_body_argument("order", "") == "stop":
                await self.client.stop_rehearsal(self.caller, slug)
                self.to(f"/{slug}/rehearsal")
                return
            asked = {name: self.get_body_argument(name, "") for name in ("place", "kind")}
            await self.client.rehearse(self.caller, slug, RehearsalBody.model_validate(asked))
        except ValidationError as error:
            raise web.HTTPError(400, _NOT_UNDERSTOOD) from error
        except (WorkshopsProblem, WorkshopsSilent) as error:
            do = error.problem.as_message("do") if isinstance(error, WorkshopsProblem) else ""
            await self._show(slug, self.words_of(error), do)
        else:
            self.to(f"/{slug}/rehearsal")

    async def _show(self, slug: str, wrong: str, do: str = "") -> None:
        try:
            workshop = await self.client.one(self.caller, slug)
            if "see-people" not in workshop.may:
                raise web.HTTPError(403)
            rehearsals = await self.client.rehearsals(self.caller, slug)
        except (WorkshopsProblem, WorkshopsSilent) as error:
            raise self.refusal(error) from error
        await self.show(
            "workshop_end/rehearsal.html",
            workshop=workshop,
            rehearsals=rehearsals,
            colours=COLOURS,
            styles=STYLES,
            kinds=KINDS,
            checks=CHECKS,
            steps=PROGRESS,
            wrong=wrong,
            do=do,
        )


def routes(link_at: LinkAddress, pages: Path, service_at: ServiceAddress | None) -> list[tuple[Any, ...]]:
    """Return the route for ``c.JupyterHub.extra_handlers``; none if there is no workshops service.

    ``link_at``, ``service_at``: where link and workshops service listen; ``service_at`` None: there is no workshops
    service. ``pages``: the folder that contains the folder of the translations, ``locale``.
    """
    if service_at is None:
        return []
    to_service = {"link_at": link_at, "locale": pages / "locale", "service_at": service_at}
    return [(rf"/workshops/{SLUG}/rehearsal", RehearsalPage, to_service)]
