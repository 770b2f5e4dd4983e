"""The pages of workshops: a person's workshops, one workshop, and the form for a new or changed workshop."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import available_timezones

from pydantic import ValidationError
from tornado import web
from tornado.httputil import url_concat

from factorycommon.language import N_
from factorycommon.models.plain import plain_lines, plain_text
from factorycommon.models.workshops.help import MOST_QUESTION, HandBody, HelpState
from factorycommon.service_address import ServiceAddress
from factorylink.client import LinkAddress
from factoryspawner.pages.workshops import forms, helping, room
from factoryspawner.pages.workshops.handler import WorkshopHandler, keep_code, take_code
from factoryspawner.pages.workshops.moving import read_move
from workshops.client import WorkshopsProblem, WorkshopsSilent
from workshops.models.bodies import CodeBody
from workshops.models.ending import ClosingView
from workshops.models.moving import MovingView
from workshops.models.rehearsal import RehearsalsView
from workshops.models.seats import SeatingView
from workshops.models.views import Action, LogEvent, WorkshopView

SLUG = r"([a-z0-9][a-z0-9-]{0,47})"
STATES = {
    "draft": N_("Draft"),
    "approved": N_("Approved"),
    "scheduled": N_("Scheduled"),
    "warming": N_("Warming up"),
    "open": N_("Open now"),
    "closing": N_("Closing"),
    "archived": N_("Over"),
    "cancelled": N_("Cancelled"),
}
ROLES = {
    "lead": N_("Lead"),
    "instructor": N_("Instructor"),
    "helper": N_("Helper"),
    "observer": N_("Observer"),
    "participant": N_("Participant"),
}
SEATS = {
    "seated": N_("has a seat"),
    "waiting": N_("waits for a seat"),
    "staff": "",
    "left": N_("has left"),
    "banned": N_("banned"),
}
PROGRESS = {
    "running": N_("ready"),
    "begun": N_("starting"),
    "asked": N_("asked for"),
    "none": N_("not started yet"),
    "failed": N_("failed"),
    "refused": N_("refused"),
    "over": N_("ended"),
}
HAPPENED: dict[LogEvent, str] = {
    "created": N_("created"),
    "changed": N_("changed"),
    "submitted": N_("submitted for approval"),
    "approved": N_("approved"),
    "declined": N_("declined"),
    "withdraw": N_("withdrawn"),
    "schedule": N_("scheduled"),
    "warm": N_("warming up"),
    "open": N_("opened"),
    "close": N_("closed"),
    "archive": N_("archived"),
    "cancel": N_("cancelled"),
    "new code": N_("new code"),
    "role": N_("role"),
    "removed": N_("removed"),
    "erased": N_("the data of its people were deleted"),
    "extended": N_("goes on for longer, in minutes"),
    "certificates": N_("sent certificates by mail"),
    "joined": N_("joined"),
    "left": N_("left"),
    "promoted": N_("got a seat from the waiting list"),
    "banned": N_("banned a person"),
    "readmitted": N_("ended a ban"),
    "list": N_("sent a list of people"),
    "guesses": N_("many wrong codes were tried"),
    "message": N_("sent a message to the class"),
    "stopped": N_("stopped the session of a seat"),
    "seat start": N_("started the session of a seat"),
    "seat restart": N_("restarted the session of a seat"),
    "seat reset": N_("reset a seat"),
    "halted": N_("warming up was halted: seats failed"),
    "go on": N_("let warming up go on"),
    "moved": N_("moved the class, or some seats, to plan"),
    "material": N_("its material"),
    "rehearsal": N_("began a rehearsal"),
    "rehearsal stopped": N_("stopped the rehearsal"),
    "rehearsed": N_("a rehearsal with seats has ended"),
    "hand": N_("raised a hand"),
    "lowered": N_("lowered the hand"),
    "comes": N_("comes to help"),
    "helped": N_("has helped"),
    "asks to look": N_("asks to see a notebook"),
    "look": N_("lets helpers see a notebook"),
    "looked": N_("saw a notebook"),
    "look ended": N_("nobody may see the notebook any more"),
}
DONE = {
    "draft": N_("The draft is stored."),
    "submit": N_("The workshop waits for an operator’s approval."),
    "approve": N_("The workshop is approved."),
    "decline": N_("The workshop went back to its trainer."),
    "withdraw": N_("The workshop is a draft again."),
    "cancel": N_("The workshop is cancelled."),
    "warm": N_("Its seats may start now."),
    "close": N_("The workshop closes: its sessions end in a few minutes."),
    "extend": N_("The class goes on for longer."),
    "certificates": N_("Certificates are on their way to the guests who have earned one."),
    "change": N_("The changes are stored."),
    "role": N_("The role is stored."),
    "remove": N_("The person is removed."),
    "ban": N_("The person cannot join any more, and what they run for the workshop ends."),
    "readmit": N_("The person may join again with the code."),
    "go-on": N_("Warming up goes on: seats that failed begin again."),
    "move": N_("The seats begin at the other place. This takes a few minutes."),
    "list": N_("The list is stored. Guests who join with these mail addresses get their roles."),
    "restore": N_("What the person had deleted of the material is there again."),
    "raise": N_("Your hand is up."),
    "lower": N_("Your hand is down."),
    "end-look": N_("Nobody may see your notebook any more. The gateway’s copy is deleted."),
    "fetch": N_("The material is being fetched. Reload this page to see how it went."),
}
MATERIAL = {
    "waiting": N_("It waits to be fetched."),
    "fetching": N_("It is being fetched."),
    "ready": N_("It is ready."),
    "failed": N_("It could not be fetched."),
}
TESTS = {
    "browser": N_("Browser"),
    "cookies": N_("Cookies"),
    "trip": N_("Answers of the gateway"),
    "download": N_("Download"),
    "upload": N_("Upload"),
    "stream": N_("Live updates"),
    "socket": N_("WebSocket, the connection to a notebook"),
}
_TAKEN: dict[str, Action] = {name: name for name in ("submit", "approve", "withdraw", "cancel", "warm", "close")}
_NO_REASON = N_("Write a reason of 1 to 500 characters: the trainer reads it.")
_NO_MINUTES = N_("Give a number of minutes from 1 to 1,440.")
_NO_NAME = N_("Give the person’s name at this hub.")
_NO_SEATS = N_("Give numbers of seats, such as 3, 5-8, or leave this empty.")
# The field of an order that may be wrong, and what is then said.
FIELDS = {
    "decline": "reason",
    "role": "person",
    "list": "list",
    "extend": "minutes",
    "move": "seats",
    "code": "domains",
}
_WRONG = {"reason": _NO_REASON, "minutes": _NO_MINUTES, "seats": _NO_SEATS, "domains": forms.WRONG["code"]}
# The action that a person must be allowed to take, so that the page shows the field.
_ALLOWS: dict[str, Action] = {
    "reason": "decline",
    "person": "people",
    "list": "people",
    "minutes": "extend",
    "seats": "move",
    "domains": "code",
}
_NOT_UNDERSTOOD = N_("This request is not understood.")


class WorkshopsPage(WorkshopHandler):
    """The list of a person's workshops; operators see all workshops."""

    @web.authenticated
    async def get(self) -> None:
        """Answer HTML."""
        try:
            access, found = await self.client.access(self.caller), await self.client.all(self.caller)
        except (WorkshopsProblem, WorkshopsSilent) as error:
            await self.show("workshops.html", silent=self.words_of(error), access=None, groups=[], states=STATES)
            return
        await self.show(
            "workshops.html",
            silent="",
            access=access,
            groups=_grouped(found),
            states=STATES,
            roles=ROLES,
            when=self.when,
        )

    def when(self, workshop: WorkshopView, field: str) -> str:
        """Return a time of a workshop as local time of its zone, in the reader's language.

        ``field``: the name of this time in ``WorkshopView``, such as ``starts``.
        """
        return _when(self, workshop, field)


class _FormPage(WorkshopHandler):
    async def form(self, values: Mapping[str, Any], wrong: Mapping[str, str], workshop: WorkshopView | None) -> None:
        """Answer with the form. ``workshop``: the workshop that is changed; None: a new one.

        ``values``: the values that the fields show; ``wrong``: what is wrong, by the field's name ("" for the whole
        form). Raises WorkshopsProblem or WorkshopsSilent if the service does not say which pools the person may use.
        """
        pools = await self.client.pools(self.caller, workshop.slug if workshop else None)
        await self.show(
            "workshop_form.html",
            values=values,
            wrong=wrong,
            workshop=workshop,
            options=forms.options(pools),
            reservations=forms.reservations(pools),
            places=range(1, forms.PLACES + 1),
            zones=sorted(available_timezones()),
        )

    def values(self) -> dict[str, Any]:
        """Return the fields as the browser sent them, to show them again.

        ``languages`` is a list; of every other field, only the first value is returned.
        """
        return {name: self.get_body_arguments(name)[0] for name in self.request.body_arguments} | {
            "languages": self.get_body_arguments("languages")
        }

    def fields(self) -> dict[str, Any]:
        """Return the posted fields, named and nested as in ``WorkshopBody``; nothing is checked here."""
        return forms.read(lambda name: self.get_body_argument(name, ""), self.get_body_arguments)


class NewWorkshopPage(_FormPage):
    """The form of a new workshop."""

    @web.authenticated
    async def get(self) -> None:
        """Answer HTML."""
        try:
            start = {
                "languages": [self.language.code],
                "retention_days": "30",
                "certificate_percent": "75",
                "zone": "",
                "seat_on_join": "yes",
            }
            await self.form(start, {}, None)
        except (WorkshopsProblem, WorkshopsSilent) as error:
            await self.show("workshops.html", silent=self.words_of(error), access=None, groups=[], states=STATES)

    @web.authenticated
    async def post(self) -> None:
        """Create a workshop from the posted form. Answer 302 to its page, or the form with what is wrong, by field.

        The form's status is 400 if a field is not valid, 503 if the workshops service does not answer, or else the
        status of the service's refusal, such as 409. If the service does not say which pools the form can offer, a page
        without the form shows what is wrong. Field ``order``: ``submit`` also asks for an approval, ``draft`` does not.
        """
        order = self.get_body_argument("order", "")
        wrong: dict[str, str] = {}
        try:
            created = await self.client.create(self.caller, forms.body(self.fields(), order == "submit"))
            key = keep_code(self.caller.person, created)
            done = "submit" if created.state == "draft" and order == "submit" else "draft"
            done = "approve" if created.state == "approved" else done
            self.to(str(url_concat(f"/{created.slug}", {"done": done, "code": key})))
        except ValidationError as error:
            self.set_status(400)
            wrong = forms.wrong(error)
        except WorkshopsProblem as error:
            wrong = {forms.wrong_field(error.problem.field): self.words_of(error)}
        except WorkshopsSilent as error:
            wrong = {"": self.words_of(error)}
        if wrong:
            await self._again(wrong)

    async def _again(self, wrong: dict[str, str]) -> None:
        try:
            await self.form(self.values(), wrong, None)
        except (WorkshopsProblem, WorkshopsSilent):
            await self.show("workshops.html", silent=next(iter(wrong.values())), access=None, groups=[], states=STATES)


class ChangeWorkshopPage(_FormPage):
    """The form with which a person changes a workshop."""

    @web.authenticated
    async def get(self, slug: str) -> None:
        """Answer HTML; 403 to people who may not change the workshop."""
        workshop = await self._workshop(slug)
        await self._form(forms.filled(workshop), {}, workshop)

    @web.authenticated
    async def post(self, slug: str) -> None:
        """Change the workshop. Answer 302, or the form with what is wrong, by field.

        The form's status is 400 if a field is not valid, or the status of the service's refusal, such as 409. Raises
        HTTPError: 403 if the person may not change the workshop, 404 if they may not see it, 503 if the service does
        not answer.
        """
        try:
            await self.client.change(
                self.caller, slug, forms.change(self.fields(), self.get_body_argument("version", ""))
            )
        except ValidationError as error:
            self.set_status(400)
            wrong = forms.wrong(error)
        except WorkshopsProblem as error:
            wrong = {forms.wrong_field(error.problem.field): self.words_of(error)}
        except WorkshopsSilent as error:
            raise self.refusal(error) from error
        else:
            self.to(f"/{slug}?done=change")
            return
        await self._form(self.values(), wrong, await self._workshop(slug))

    async def _form(self, values: Mapping[str, Any], wrong: Mapping[str, str], workshop: WorkshopView) -> None:
        try:
            await self.form(values, wrong, workshop)
        except (WorkshopsProblem, WorkshopsSilent) as error:
            raise self.refusal(error) from error

    async def _workshop(self, slug: str) -> WorkshopView:
        try:
            workshop = await self.client.one(self.caller, slug)
        except (WorkshopsProblem, WorkshopsSilent) as error:
            raise self.refusal(error) from error
        if "change" not in workshop.may:
            raise web.HTTPError(403)
        return workshop


class PeopleList(WorkshopHandler):
    """The people of a workshop as a CSV file."""

    @web.authenticated
    async def get(self, slug: str) -> None:
        """Answer CSV; 403 to people who may not give roles."""
        try:
            text = await self.client.get_list(self.caller, slug)
        except (WorkshopsProblem, WorkshopsSilent) as error:
            raise self.refusal(error) from error
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="{slug}.csv"')
        self.set_header("Cache-Control", "no-store")
        self.finish(text)


class WorkshopPage(WorkshopHandler):
    """One workshop, with buttons and forms for what the person may do with it."""

    @web.authenticated
    async def get(self, slug: str) -> None:
        """Answer HTML.

        Query: ``done``: the order that was just carried out; ``code``: the key under which the hub keeps a new join
        code, which the page shows only this once.
        """
        await self._show(slug, self.get_query_argument("done", ""), {})

    @web.authenticated
    async def post(self, slug: str) -> None:
        """Do what the posted field ``order`` names. Answer 302, or the page with what is wrong, by field.

        ``order`` is ``code``, which makes a new join code, or a key of ``DONE`` except ``draft`` and ``change``. Raises
        HTTPError 400 for any other order.
        """
        order = self.get_body_argument("order", "")
        field = FIELDS.get(order, "")
        try:
            query = await self._order(slug, order)
        except ValidationError:
            self.set_status(400)
            await self._show(slug, "", {field: _WRONG.get(field, _NO_NAME)})
        except (WorkshopsProblem, WorkshopsSilent) as error:
            await self._show(slug, "", {field: self.words_of(error)})
        else:
            self.to(str(url_concat(f"/{slug}", query)))

    async def _order(self, slug: str, order: str) -> dict[str, str]:
        """Carry out an order; return the query of the URL at which the page then says what was done.

        Raises HTTPError 400 for an unknown order, ValidationError for a field that is not valid, and the service's
        WorkshopsProblem and WorkshopsSilent.
        """
        caller, client = self.caller, self.client
        match order:
            case _ if order in _TAKEN:
                await client.take(caller, slug, _TAKEN[order])
            case "decline":
                await client.decline(caller, slug, plain_text(self.get_body_argument("reason", "")))
            case "extend":
                minutes: Any = self.get_body_argument("minutes", "").strip()
                await client.extend(caller, slug, minutes)
            case "certificates":
                await client.mail_certificates(caller, slug)
            case "code":
                domains = [one for one in self.get_body_argument("domains", "").replace(" ", "").split(",") if one]
                created = await client.new_code(caller, slug, CodeBody.model_validate({"domains": domains}))
                return {"code": keep_code(caller.person, created)}
            case "role":
                role: Any = self.get_body_argument("role", "participant")
                await client.put_member(caller, slug, self.get_body_argument("person", "").strip() or "\x00", role)
            case "ban":
                await client.ban(caller, slug, self.get_body_argument("person", ""))
            case "go-on":
                await client.go_on(caller, slug)
            case "move":
                await client.move(caller, slug, read_move(self.get_body_argument))
            case "readmit":
                await client.readmit(caller, slug, self.get_body_argument("person", ""))
            case "list":
                files = self.request.files.get("list", [])
                await client.put_list(caller, slug, files[0].body if files else b"")
            case "fetch":
                await client.fetch_material(caller, slug)
            case "raise":
                question = plain_lines(self.get_body_argument("question", ""), MOST_QUESTION)
                await client.raise_hand(caller, slug, HandBody(question=question))
            case "lower":
                await client.lower_hand(caller, slug)
            case "end-look":
                await client.end_look(caller, slug)
            case "restore":
                await client.restore_material(caller, slug, self.get_body_argument("person", ""))
            case "remove":
                await client.drop_member(caller, slug, self.get_body_argument("person", ""))
            case _:
                raise web.HTTPError(400, _NOT_UNDERSTOOD)
        return {"done": order}

    async def _show(self, slug: str, order: str, wrong: dict[str, str]) -> None:
        """Answer with the page of a workshop. Raises HTTPError if the service refuses or does not answer.

        ``order``: what was done right before, "" if nothing was; ``wrong``: by field, why nothing was done.
        """
        try:
            workshop = await self.client.one(self.caller, slug)
            staff = "see-people" in workshop.may
            people = await self.client.members(self.caller, slug) if staff else []
            events = await self.client.events(self.caller, slug) if staff else []
            material = await self.client.material(self.caller, slug) if staff and workshop.material else None
            checks = await self.client.checks(self.caller, slug) if staff else None
        except (WorkshopsProblem, WorkshopsSilent) as error:
            raise self.refusal(error) from error
        moving = await self._moving(slug) if "move" in workshop.may else None
        helped = await self._help(workshop)
        seating = await self._seating(slug) if staff and workshop.state in ("warming", "open") else None
        submitted = workshop.staff is not None and workshop.staff.submitted is not None
        waits = workshop.state == "draft" and submitted and "approve" not in workshop.may
        await self.show(
            "workshop.html",
            workshop=workshop,
            people=people,
            events=events,
            seating=seating,
            moving=moving,
            progress={} if seating is None else Counter(str(one.state or "none") for one in seating.seats),
            steps=PROGRESS,
            material=material,
            material_states=MATERIAL,
            checks=checks,
            helped=helped,
            most_question=MOST_QUESTION,
            tests=TESTS,
            waits=waits,
            # the page has a text of its own for a workshop that waits for approval; an approved one does not wait
            done="" if order == "submit" and (waits or workshop.state != "draft") else DONE.get(order, ""),
            # the page says at its top what is wrong with a field that it no longer shows
            wrong={field if _ALLOWS.get(field) in workshop.may else "": words for field, words in wrong.items()},
            closing=await self._closing(workshop),
            rehearsals=await self._rehearsals(workshop) if staff else None,
            countdown=countdown(workshop, datetime.now(UTC)),
            class_is_over=workshop.state in ("closing", "archived")
            or (workshop.state == "open" and workshop.ends <= datetime.now(UTC)),
            created=take_code(self.caller.person, self.get_query_argument("code", "")),
            states=STATES,
            roles=ROLES,
            seats=SEATS,
            happened=HAPPENED,
            when=lambda field: _when(self, workshop, field),
        )

    async def _help(self, workshop: WorkshopView) -> HelpState | None:
        """Return what the person has asked the helpers for.

        None if the person is no participant, if the class is not open or warming up, or if the service does not say.
        """
        if workshop.role != "participant" or workshop.state not in ("warming", "open"):
            return None
        try:
            return await self.client.own_help(self.caller, workshop.slug)
        except (WorkshopsProblem, WorkshopsSilent) as error:
            self.log.warning("Help in %s cannot be shown: %s", workshop.slug, error)
            return None

    async def _seating(self, slug: str) -> SeatingView | None:
        """Return the progress of the warm-up; None if the service does not say: the page is then shown without it."""
        try:
            return await self.client.seating(self.caller, slug)
        except (WorkshopsProblem, WorkshopsSilent) as error:
            self.log.warning("How %s warms up cannot be shown: %s", slug, error)
            return None

    async def _moving(self, slug: str) -> MovingView | None:
        """Return the places of the class (plan A, plan B) with their seats, and the last moves between places.

        None if the service does not say.
        """
        try:
            return await self.client.moving(self.caller, slug)
        except (WorkshopsProblem, WorkshopsSilent) as error:
            self.log.warning("Where the seats of %s are cannot be shown: %s", slug, error)
            return None

    async def _rehearsals(self, workshop: WorkshopView) -> RehearsalsView | None:
        """Return the rehearsals of a scheduled or warming workshop.

        None if the workshop is in another state, or if the service does not say.
        """
        if workshop.state not in ("scheduled", "warming"):
            return None
        try:
            return await self.client.rehearsals(self.caller, workshop.slug)
        except (WorkshopsProblem, WorkshopsSilent) as error:
            self.log.warning("The rehearsals of %s cannot be shown: %s", workshop.slug, error)
            return None

    async def _closing(self, workshop: WorkshopView) -> ClosingView | None:
        """Return what would end if the workshop were closed now.

        None if this person may not close the workshop, or if the service does not say.
        """
        if "close" not in workshop.may:
            return None
        try:
            return await self.client.closing(self.caller, workshop.slug)
        except (WorkshopsProblem, WorkshopsSilent):
            return None


class Countdown(NamedTuple):
    """The time until a class begins, ends or closes.

    ``text``: which of these is next ("Until the class begins:"); ``until``: its time; ``left``: the hours and minutes
    until then, such as 1:05.
    """

    text: str
    until: datetime
    left: str


def countdown(workshop: WorkshopView, now: datetime) -> Countdown | None:
    """Return the time until a class begins, ends or closes, whichever is next.

    None if the workshop is neither ``warming`` nor ``open``, or if all of these times have passed.
    """
    if workshop.state not in ("warming", "open"):
        return None
    steps = (
        (N_("Until the class begins:"), workshop.starts),
        (N_("Until the class ends:"), workshop.ends),
        (N_("Until all sessions end:"), workshop.closes),
    )
    found = next(((text, at) for text, at in steps if at > now), None)
    if found is None:
        return None
    minutes = math.ceil((found[1] - now).total_seconds() / 60)
    return Countdown(*found, f"{minutes // 60}:{minutes % 60:02}")


def _when(handler: WorkshopHandler, workshop: WorkshopView, field: str) -> str:
    return handler.language.moment_in(getattr(workshop, field), workshop.zone)


def _grouped(found: list[WorkshopView]) -> list[tuple[str, list[WorkshopView]]]:
    """Return (heading, workshops) of three groups: to be approved, to come or open, over; without empty groups."""
    over = ("archived", "cancelled")
    waits = [one for one in found if one.staff is not None and one.staff.submitted and one.state == "draft"]
    rest = [one for one in found if one not in waits and one.state not in over]
    groups = [
        (N_("Waiting for approval"), waits),
        (N_("Not over yet"), sorted(rest, key=lambda one: one.starts)),
        (N_("Over or cancelled"), [one for one in found if one.state in over]),
    ]
    return [(title, ones) for title, ones in groups if ones]


def routes(link_at: LinkAddress, pages: Path, service_at: ServiceAddress | None) -> list[tuple[Any, ...]]:
    """Return the routes for ``c.JupyterHub.extra_handlers``; none if there is no workshops service.

    ``link_at``, ``service_at``: where link and workshops service listen; ``service_at`` None: there is no workshops
    service. ``pages``: the folder that contains the folder of the translations, ``locale``.
    """
    if service_at is None:
        return []
    to_service = {"link_at": link_at, "locale": pages / "locale", "service_at": service_at}
    return [
        (r"/workshops/?", WorkshopsPage, to_service),
        (r"/workshops/new", NewWorkshopPage, to_service),
        (rf"/workshops/{SLUG}", WorkshopPage, to_service),
        (rf"/workshops/{SLUG}/people\.csv", PeopleList, to_service),
        (rf"/workshops/{SLUG}/change", ChangeWorkshopPage, to_service),
        *room.routes(SLUG, to_service),
        *helping.routes(SLUG, to_service),
    ]
