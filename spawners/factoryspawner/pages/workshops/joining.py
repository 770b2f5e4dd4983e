"""The pages for joining a workshop: ``/hub/join/SLUG``, and ``/hub/join`` for guests who log in again.

A person enters the join code, then proves a mail address with a one-time code and gives a name, or logs in as usual.
The person accepts terms and rules, and gets to their session, or to the start page if they start the session
themselves. If no session can start yet, the person stays on the page for joining. The pages work without JavaScript. A
form without mistakes is answered with a redirect, so that a reload sends nothing twice. The service gives a browser
that enters a right join code a *ticket*, a random text by which the service knows the browser in the next steps; a
cookie keeps the ticket.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError
from tornado import web
from tornado.httputil import url_concat

from factorycommon.language import N_
from factorycommon.link_errors import LinkError
from factorycommon.models.joining import (
    MOST_NAME,
    JoinBody,
    JoinCodeBody,
    JoinedView,
    LeaveBody,
    ProofBody,
    ReturnBody,
    ReturnedBody,
    TicketView,
)
from factorycommon.service_address import ServiceAddress
from factorylink.client import LinkAddress, LinkClient, LinkProblem, LinkSilent
from factoryspawner import access
from factoryspawner.access import KeepsTerms
from factoryspawner.gateway import gateway
from factoryspawner.pages.public import PublicHandler
from factoryspawner.pages.workshops.joining_client import JoiningClient, joining
from factoryspawner.server_api import StartsServers

TICKET = "fg-join-ticket"
RETURN = "fg-join-return"
BROWSER = "fg-join-browser"
GUEST = "fg-join-guest"
_BROWSER_DAYS = 30
_PROJECT_SECONDS = 6.0  # the link reads the projects every 5 s
_LOOK_SECONDS = 0.3
_LINK_SECONDS = 2.0
_IN = ("seated", "waiting", "staff")  # states of people who are in a workshop, or wait for a seat

SILENT = N_("The workshops do not answer at the moment. Running sessions continue. Try again in a moment.")
_NO_CODE = N_("Enter the code that the people who run the workshop gave you.")
_NO_MAIL = N_("Enter your mail address.")
_NO_DIGITS = N_("Enter the code of eight digits from the mail.")
_NO_NAME = N_("Enter the name by which the people who run the workshop know you.")
_TICK = N_("Tick this to continue: without it you cannot join.")
_CHANGED = N_("The terms have changed since you read them. Read them again.")
_REFUSED = N_("You cannot be logged in. Ask the people who run your workshop.")

Step = Literal["code", "mail", "prove", "confirm", "member"]


class Document(NamedTuple):
    """A text that a person must accept before joining: terms of the gateway or the workshop, or rules of a site.

    ``key``: ``gateway``, ``workshop``, or a factory's id; ``machine``: the factory's machine, "" for terms.
    """

    key: str
    version: str
    text: str
    url: str | None
    machine: str = ""


class _JoiningHandler(PublicHandler):
    """The base of the two pages for joining."""

    def initialize(  # type: ignore[override]
        self, link_at: LinkAddress, locale: Path, workshops_at: ServiceAddress, guests: bool
    ) -> None:
        """Keep the arguments of the route.

        ``link_at``: where the link listens; ``locale``: the folder of the translations; ``workshops_at``: where the
        workshops service listens; ``guests``: whether people may join as guests.
        """
        super().initialize(link_at, locale)
        self._workshops_at = workshops_at
        self._guests = guests

    @property
    def _service(self) -> JoiningClient:
        return joining(self._workshops_at)

    @property
    def _link(self) -> LinkClient:
        return gateway(self._link_at).link

    @property
    def _spoken(self) -> str:
        """Return the code of the page's language, in which the person gets mails."""
        return self.language.code[:2]

    def _browser(self) -> str:
        """Return this browser's id from its signed cookie; without one, make a new id and set the cookie."""
        kept = self.get_secure_cookie(BROWSER, max_age_days=_BROWSER_DAYS)
        if kept is not None:
            return str(kept.decode("ascii", "replace"))
        made = secrets.token_hex(16)
        self.set_secure_cookie(BROWSER, made, expires_days=_BROWSER_DAYS, **self._cookie_options())
        return made

    def _known_guest(self) -> str | None:
        """Return the name of the guest who was the last to log in from this browser.

        None: nobody did within the last ``_BROWSER_DAYS`` days.
        """
        kept = self.get_secure_cookie(GUEST, max_age_days=_BROWSER_DAYS)
        return None if kept is None else str(kept.decode("ascii", "replace"))

    def _keep(self, name: str, value: str) -> None:
        self.set_cookie(name, value, **self._cookie_options())

    def _forget(self, name: str) -> None:
        self.clear_cookie(name, path=f"{self.hub.base_url}join")

    def _cookie_options(self) -> dict[str, Any]:
        return {**self.settings.get("cookie_options", {}), "httponly": True, "path": f"{self.hub.base_url}join"}

    def _typed(self, name: str) -> str:
        return str(self.get_body_argument(name, ""))[:300].strip()

    def _address(self) -> str:
        return str(self.request.remote_ip or "")[:64]

    def _words(self, error: LinkError) -> str:
        """Return why a request to the service failed, in the page's language: its refusal, or that it is silent."""
        if isinstance(error, LinkProblem):
            shown = self.language.spoken(error.problem)
            return f"{shown.message} {shown.do}".strip()
        return self.language.said(SILENT)

    def _status(self, error: LinkError) -> int:
        return error.status if isinstance(error, LinkProblem) else 503

    async def _log_in(self, name: str) -> bool:
        """Log in the guest who has proved their address; return False if the authenticator refuses."""
        self.joined_guest = name  # read by the authenticator
        user = await self.login_user()
        if user is None:
            return False
        await self.authenticator.refresh_user(user, self)  # so that each further request is checked, too
        self._jupyterhub_user = user  # the rest of this request is made by this person
        # strangers who ask for one-time codes for the guest's address then use up nothing of this browser's
        self.set_secure_cookie(GUEST, name, expires_days=_BROWSER_DAYS, **self._cookie_options())
        return True

    async def _tell_link(self) -> None:
        """Send the link the person's data and access status, which it needs before it starts anything for the person.

        If the link refuses, or does not answer within ``_LINK_SECONDS``, a background task repeats the request until
        the link takes the data.
        """
        user = self.current_user
        update, _ = await access.status(self.authenticator, user, access.options_of(user))
        try:
            async with asyncio.timeout(_LINK_SECONDS):
                await access.tell(self._link, user.name, update)
        except (LinkSilent, LinkProblem, TimeoutError):
            gateway(self._link_at).background(access.tell_surely(self._link, user.name, update))


class JoinPage(StartsServers, _JoiningHandler):
    """The page on which a person joins a workshop, and to which they return later."""

    async def get(self, slug: str) -> None:
        """Answer HTML. Query: ``anew``: if given, forget the browser's ticket, and redirect to this page.

        The browser got the ticket for a right join code. Without a ticket, a person who is not in the workshop must
        enter the code again.
        """
        self._browser()
        if self.get_query_argument("anew", None) is not None:
            self._forget(TICKET)
            self.redirect(self._here(slug))
            return
        await self._show(slug, {})

    async def post(self, slug: str) -> None:
        """Handle a posted form. Answer 302, or the page with the errors by field.

        The field ``step`` says which form it is: ``code``, ``mail``, ``join`` or ``leave``. Raises HTTPError: 400 for
        an unknown ``step``; 403 for ``leave`` without a login, or if a one-time code is to be sent by mail although
        people may not join as guests.
        """
        match self.get_body_argument("step", ""):
            case "code":
                await self._take_code(slug)
            case "mail":
                await self._take_mail(slug)
            case "join":
                await self._take_join(slug)
            case "leave":
                await self._take_leave(slug)
            case _:
                raise web.HTTPError(400)

    # --- the steps

    async def _take_code(self, slug: str) -> None:
        typed, other = self._typed("code"), bool(self._typed("other"))
        if not typed:
            await self._show(slug, {"code": _NO_CODE}, 400)
            return
        body = JoinCodeBody(slug=slug, code=typed, browser=self._browser(), address=self._address())
        try:
            view = await self._service.check_code(body)
        except LinkError as error:
            await self._show(slug, {"code": self._words(error)}, self._status(error))
            return
        self._keep(TICKET, view.ticket)
        if self.current_user is not None:
            if not await self._documents(view, self.current_user.name):
                joins = JoinBody(ticket=view.ticket, person=self.current_user.name, language=self._spoken)
                await self._join(slug, view, joins, [])
                return
        elif other:
            self.redirect(url_concat(self.settings["login_url"], {"next": self._here(slug)}))
            return
        elif self._typed("mail") and not await self._send(slug, view):
            return
        self.redirect(self._here(slug))

    async def _take_mail(self, slug: str) -> None:
        view = await self._ticket(slug)
        if view is None:
            self.redirect(self._here(slug))
        elif not self._typed("mail"):
            await self._show(slug, {"mail": _NO_MAIL}, 400)
        elif await self._send(slug, view):
            self.redirect(self._here(slug))

    async def _send(self, slug: str, view: TicketView) -> bool:
        """Have a one-time code sent to the typed address; return whether this succeeded.

        If the service refuses, or does not answer, this method answers the request with the page and the reason. Raises
        HTTPError 403 if people may not join as guests.
        """
        if not self._guests:
            raise web.HTTPError(403)
        try:
            body = ProofBody(ticket=view.ticket, mail=self._typed("mail"), language=self._spoken)
            await self._service.send_digits(body)
        except LinkError as error:
            await self._show(slug, {"mail": self._words(error)}, self._status(error), view)
            return False
        return True

    async def _take_join(self, slug: str) -> None:
        view = await self._ticket(slug)
        if view is None:
            self.redirect(self._here(slug))
            return
        person = None if self.current_user is None else str(self.current_user.name)
        wrong: dict[str, str] = {}
        documents = await self._documents(view, person)
        if person is None:
            wrong |= {} if self._typed("digits") else {"digits": _NO_DIGITS}
            wrong |= {} if self._typed("name") else {"name": _NO_NAME}
        read = self._typed("accept")
        if documents and read != _versions(documents):
            wrong["accept"] = _CHANGED if read else _TICK
        if wrong:
            await self._show(slug, wrong, 400, view)
            return
        terms = view.workshop.terms
        body = JoinBody(
            ticket=view.ticket,
            person=person,
            digits="" if person else self._typed("digits"),
            name="" if person else self._typed("name")[:MOST_NAME],
            terms=None if terms is None else terms.version,
            language=self._spoken,
        )
        await self._join(slug, view, body, documents)

    async def _join(self, slug: str, view: TicketView, body: JoinBody, documents: list[Document]) -> None:
        try:
            joined = await self._service.join(body)
        except LinkError as error:
            field = error.problem.field if isinstance(error, LinkProblem) and error.problem.field else ""
            await self._show(slug, {field: self._words(error)}, self._status(error), view)
            return
        self._forget(TICKET)
        name = joined.membership.person
        if self.current_user is None and not await self._log_in(name):
            await self._show(slug, {"": _REFUSED}, 403)
            return
        await self._accept(name, documents)
        await self._tell_link()
        self.redirect(await self._onward(slug, joined))

    async def _take_leave(self, slug: str) -> None:
        if self.current_user is None:
            raise web.HTTPError(403)
        try:
            await self._service.leave(LeaveBody(slug=slug, person=self.current_user.name))
        except LinkError as error:
            await self._show(slug, {"": self._words(error)}, self._status(error))
            return
        self.redirect(self._here(slug))

    # --- what there is to accept

    async def _documents(self, view: TicketView, person: str | None) -> list[Document]:
        """Return the workshop's terms, and the gateway's terms and sites' rules that the person has not accepted yet.

        ``person`` None: a guest who is not logged in yet. Rules of a site are left out if the link refuses or does not
        answer, because nothing starts at the site before its rules are accepted.
        """
        found: list[Document] = []
        terms = self.authenticator.terms_of(person or "") if isinstance(self.authenticator, KeepsTerms) else None
        if terms is not None and terms.accepted_at is None:
            found.append(Document("gateway", terms.terms.version, terms.terms.text, terms.terms.url))
        if (own := view.workshop.terms) is not None:
            found.append(Document("workshop", own.version, own.text, own.url))
        for factory in dict.fromkeys(place.factory for place in view.workshop.places):
            try:
                site = await self._link.site_rules(factory, person)
            except (LinkSilent, LinkProblem) as error:
                self.log.warning("The rules of %s are not known: %s", factory, error)
                continue
            if site.rules is not None and site.accepted_at is None:
                found.append(Document(factory, site.rules.version, site.rules.text, site.rules.url, site.machine))
        return found

    async def _accept(self, name: str, documents: list[Document]) -> None:
        """Make the hub and the link record what the person has accepted: the gateway's terms, and the sites' rules.

        The service has recorded already that the person accepts the workshop's terms. If the link does not answer or
        refuses, this is only logged.
        """
        for one in documents:
            if one.key == "gateway":
                self.authenticator.accept_terms(name, one.version)
            elif one.key != "workshop":
                try:
                    await self._link.accept(name, one.key, one.version)
                except (LinkSilent, LinkProblem) as error:  # the checklist asks again
                    self.log.warning("The rules of %s are not recorded as accepted: %s", one.key, error)

    # --- pages

    async def _onward(self, slug: str, joined: JoinedView) -> str:
        """Return the path of the page to which the person goes next.

        If the person cannot start a session now, this is the page for joining. Otherwise this method waits until the
        link knows the person as a member of the workshop, for ``_PROJECT_SECONDS`` at most; it stops waiting if the
        link refuses or does not answer. If the person has a seat, and the workshop starts seats when people join
        (``seat_on_join``), this method then starts the person's session at once, and returns the path of the session's
        page; the workshops service later finds this session. In all other cases, also if the session cannot be started,
        this is the path of the start page.
        """
        if not _may_start(joined):
            return self._here(slug)
        ticks = asyncio.get_running_loop().time
        end = ticks() + _PROJECT_SECONDS
        while ticks() < end:  # until the link has read the list of the workshop's people
            try:
                found = await self._link.projects(joined.membership.person)
            except (LinkSilent, LinkProblem):
                break
            if any(one.id == joined.workshop.project and one.usable for one in found):
                break
            await asyncio.sleep(_LOOK_SECONDS)
        if joined.workshop.seat_on_join and joined.membership.state == "seated" and await self._started(joined):
            return f"{self.hub.base_url}spawn-pending/{self.current_user.escaped_name}"
        return self._start_page(joined)

    async def _started(self, joined: JoinedView) -> bool:
        """Start the person's session, unless one starts or runs already; return False if it cannot be started now."""
        user = self.current_user
        if user.spawner.active:
            return True
        try:
            await self.spawn_single_user(user, options=_choice(joined))
        except web.HTTPError as error:  # the start page says why, if the person starts it there
            self.log.warning("The session of %s in %s does not start: %s", user.name, joined.workshop.slug, error)
            return False
        except Exception:  # any error: the person has joined
            self.log.exception("The session of %s in %s does not start", user.name, joined.workshop.slug)
            return False
        return True

    def _start_page(self, joined: JoinedView) -> str:
        options = {f"opt-{name}": value for name, value in _choice(joined).items()}
        return str(url_concat(f"{self.hub.base_url}spawn", options))

    def _here(self, slug: str) -> str:
        return f"{self.hub.base_url}join/{slug}"

    async def _ticket(self, slug: str) -> TicketView | None:
        """Return the service's data for this browser's ticket; None if there is no ticket for this workshop.

        None, too, if the ticket has expired, or if the service does not answer.
        """
        ticket = self.get_cookie(TICKET, "")
        if len(ticket) != 43:
            return None
        try:
            view = await self._service.ticket(ticket)
        except (LinkError, ValueError):
            return None
        return view if view.workshop.slug == slug else None

    async def _membership(self, slug: str) -> JoinedView | None:
        """Return the membership of the person who is logged in, with the workshop.

        None: nobody is logged in, or the person is neither in the workshop nor waits for a seat. Raises LinkError.
        """
        if self.current_user is None:
            return None
        found = await self._service.memberships(self.current_user.name)
        mine = (one for one in found.memberships if one.workshop.slug == slug)
        return next((one for one in mine if one.membership.state in _IN), None)

    async def _show(self, slug: str, wrong: dict[str, str], status: int = 200, view: TicketView | None = None) -> None:
        joined = None
        try:
            joined = await self._membership(slug)
        except LinkError as error:
            if not wrong:
                wrong, status = {"": self._words(error)}, self._status(error)
        view = None if joined is not None else view or await self._ticket(slug)
        person = None if self.current_user is None else str(self.current_user.name)
        step: Step = "member" if joined is not None else "code"
        if view is not None:
            step = "confirm" if person is not None else "prove" if view.mail else "mail"
        documents = await self._documents(view, person) if view is not None and step in ("confirm", "prove") else []
        workshop = joined.workshop if joined is not None else view.workshop if view is not None else None
        if "code" in wrong:
            step = "code"
        self.set_status(status)
        await self.page(
            "join.html",
            step=step,
            slug=slug,
            wrong={field: self.language.said(text) for field, text in wrong.items()},
            workshop=workshop,
            joined=joined,
            may_start=joined is not None and _may_start(joined),
            start_page=self._start_page(joined) if joined is not None else "",
            mail=view.mail if view is not None else "",
            documents=documents,
            versions=_versions(documents),
            person=person,
            guests=self._guests,
            typed={name: self._typed(name) for name in ("mail", "name", "accept")},
            most_name=MOST_NAME,
            action=self._here(slug),
            xsrf=self.xsrf_token.decode(),
        )


class ReturnPage(_JoiningHandler):
    """The page on which a guest logs in again with a one-time code by mail."""

    async def get(self) -> None:
        """Answer HTML.

        Query: ``next``: the path of the hub's page to show after the login; ``anew``: if given, forget the one-time
        code that was sent, and redirect to this page.
        """
        self._browser()
        if self.get_query_argument("anew", None) is not None:
            self._forget(RETURN)
            self.redirect(self._here())
            return
        await self._show({})

    async def post(self) -> None:
        """Handle a posted form. Answer 302, or the page with the errors by field.

        If the field ``step`` is ``digits``, the form has a one-time code, else the mail address to which to send one.
        """
        if self.get_body_argument("step", "") == "digits":
            await self._take_digits()
            return
        if not self._typed("mail"):
            await self._show({"mail": _NO_MAIL}, 400)
            return
        body = ReturnBody(
            mail=self._typed("mail"),
            browser=self._browser(),
            address=self._address(),
            language=self._spoken,
            guest=self._known_guest(),
        )
        try:
            self._keep(RETURN, await self._service.begin_return(body))
        except LinkError as error:
            await self._show({"mail": self._words(error)}, self._status(error))
            return
        self.redirect(self._here())

    async def _take_digits(self) -> None:
        ticket, digits = self.get_cookie(RETURN, ""), self._typed("digits")
        if len(ticket) != 43:
            self.redirect(self._here())
            return
        if not digits:
            await self._show({"digits": _NO_DIGITS}, 400)
            return
        try:
            body = ReturnedBody(ticket=ticket, digits=digits)
        except ValidationError:  # no ticket of ours
            self._forget(RETURN)
            self.redirect(self._here())
            return
        try:
            guest = await self._service.finish_return(body)
        except LinkError as error:
            await self._show({"digits": self._words(error)}, self._status(error))
            return
        self._forget(RETURN)
        if not await self._log_in(guest.person):
            await self._show({"": _REFUSED}, 403)
            return
        await self._tell_link()
        self.redirect(self.get_next_url(self.current_user, default=await self._mine(guest.person)))

    async def _mine(self, person: str) -> str:
        """Return the path of the page of the guest's workshop that begins last; the path of Home if there is none.

        Workshops that are over do not count. If the service does not answer, this is the path of Home, too.
        """
        try:
            found = (await self._service.memberships(person)).memberships
        except LinkError:
            found = ()
        live = [one.workshop for one in found if one.membership.state in _IN and not one.workshop.over]
        slug = max(live, key=lambda one: one.starts).slug if live else None
        return f"{self.hub.base_url}home" if slug is None else f"{self.hub.base_url}join/{slug}"

    def _here(self) -> str:
        wanted = self.get_query_argument("next", "")
        return str(url_concat(f"{self.hub.base_url}join", {"next": wanted} if wanted else {}))

    async def _show(self, wrong: dict[str, str], status: int = 200) -> None:
        self.set_status(status)
        sent = self.request.method != "POST" or "mail" not in wrong
        await self.page(
            "join_return.html",
            step="digits" if sent and len(self.get_cookie(RETURN, "")) == 43 else "mail",
            wrong={field: self.language.said(text) for field, text in wrong.items()},
            person=None if self.current_user is None else str(self.current_user.name),
            action=self._here(),
            xsrf=self.xsrf_token.decode(),
        )


def _versions(documents: list[Document]) -> str:
    """Return the value of the box that accepts these documents; "" if there are none.

    If the version of a document changes, the value changes, too, so that nobody accepts a text that they have not read.
    """
    named = " ".join(f"{one.key}={one.version}" for one in documents)
    return hashlib.sha256(named.encode()).hexdigest()[:32] if named else ""


def _choice(joined: JoinedView) -> dict[str, str]:
    """Return the options with which a person starts their session in a workshop.

    These are the workshop's project and hours, and the factory, size and environment of the place of the person's seat.
    """
    workshop = joined.workshop
    options = {"project": workshop.project, "hours": f"{workshop.hours:g}"}
    if workshop.places:
        first = workshop.places[0]
        options |= {"factory": first.factory, "size": first.size}
        options |= {} if first.environment is None else {"environment": first.environment}
    return options


def _may_start(joined: JoinedView) -> bool:
    workshop, mine = joined.workshop, joined.membership
    takes_part = mine.state in ("seated", "staff") and mine.role != "observer"  # an observer runs nothing
    return takes_part and workshop.begun and datetime.now(UTC) < workshop.closes


def routes(
    link_at: LinkAddress, pages: Path, workshops_at: ServiceAddress | None, guests: bool
) -> list[tuple[Any, ...]]:
    """Return the routes for ``c.JupyterHub.extra_handlers``; none if there is no workshops service.

    ``link_at``, ``workshops_at``: where link and workshops service listen; ``workshops_at`` None: there is no workshops
    service. ``pages``: the folder whose subfolder ``locale`` has the translations; ``guests``: whether people may join
    as guests; if not, there is no page on which guests log in again.
    """
    if workshops_at is None:
        return []
    given = {"link_at": link_at, "locale": pages / "locale", "workshops_at": workshops_at, "guests": guests}
    found: list[tuple[Any, ...]] = [(r"/join/([a-z0-9][a-z0-9-]{0,62})", JoinPage, given)]
    return [*found, (r"/join/?", ReturnPage, given)] if guests else found
