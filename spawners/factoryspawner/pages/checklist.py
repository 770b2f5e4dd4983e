"""The page of the checklist: shows what a person must have and accept to start a session, and records what they accept.

After a login, the hub shows the checklist first if there is anything that the person must accept.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

from jupyterhub.handlers import BaseHandler
from jupyterhub.handlers.login import LoginHandler
from tornado import web
from tornado.httputil import url_concat

from factorycommon.language import N_
from factorycommon.models import ChecklistView
from factorylink.client import LinkAddress, LinkClient, LinkProblem, LinkSilent
from factoryspawner import access
from factoryspawner.access import KeepsTerms, TermsOf
from factoryspawner.config import hub_config
from factoryspawner.errors import LINK_SILENT
from factoryspawner.gateway import gateway
from factoryspawner.pages.public import PublicHandler

_LOGIN_SECONDS = 2.0  # seconds that a login waits for the link before it continues without its answer
_TICK = N_("Tick this to continue: without it you cannot start a session here.")
_CHANGED = N_("The terms have changed since you read them. Read them again.")


class ChecklistState(NamedTuple):
    """The content of a person's checklist.

    ``terms``: the gateway's terms; None: there are none. ``view``: the link's part, with the rules of sites; None: the
    link does not answer, or refuses.
    """

    terms: TermsOf | None
    view: ChecklistView | None

    @property
    def terms_open(self) -> bool:
        """Return whether the person has to accept the terms."""
        return self.terms is not None and self.terms.accepted_at is None

    @property
    def awaits(self) -> bool:
        """Return whether the person has to accept anything.

        If ``view`` is None, this depends on the gateway's terms only.
        """
        return self.terms_open or any(site.awaits for site in (self.view.sites if self.view else ()))

    @property
    def to_tick(self) -> bool:
        """Return whether the page has a box to tick.

        Rules of sites at which the person has no account yet have a box, too, although they block nothing.
        """
        sites = self.view.sites if self.view is not None else ()
        return self.terms_open or any(site.rules_open for site in sites)


async def find(link: LinkClient, authenticator: object, name: str) -> ChecklistState:
    """Return the present checklist of the person ``name``."""
    terms = authenticator.terms_of(name) if isinstance(authenticator, KeepsTerms) else None
    try:
        return ChecklistState(terms, await link.checklist(name))
    except (LinkSilent, LinkProblem):
        return ChecklistState(terms, None)


class ChecklistFirst(BaseHandler):  # type: ignore[misc]  # jupyterhub is untyped
    """The base class of login handlers: after the login, redirects to the page that the person asked for.

    If there is anything that the person must accept, redirects to the checklist first.
    """

    _by_checklist = False

    async def login_user(self, data: Any = None) -> Any:
        """Log the user in as JupyterHub does, and return the user; None: the login is refused.

        After the login, send an update about the user (see ``access.status``) to the link. If there is anything that
        the user must accept, ``get_next_url`` then returns the checklist's URL. If the link refuses, or does not answer
        in ``_LOGIN_SECONDS``, only the gateway's terms count. ``data``: as for JupyterHub's method.
        """
        user = await super().login_user(data)
        if user is not None:
            self._by_checklist = await self._awaits(user)
        return user

    async def _awaits(self, user: Any) -> bool:
        link = gateway(hub_config.loaded().link_at).link
        try:
            async with asyncio.timeout(_LOGIN_SECONDS):
                # The person's groups decide their projects, and so the sites' rules that they must accept.
                update, _ = await access.status(self.authenticator, user, access.options_of(user))
                await access.tell(link, user.name, update)
                return (await find(link, self.authenticator, user.name)).awaits
        except (LinkSilent, LinkProblem, TimeoutError):
            terms = self.authenticator.terms_of(user.name) if isinstance(self.authenticator, KeepsTerms) else None
            return ChecklistState(terms, None).awaits

    def get_next_url(self, *args: Any, **kwargs: Any) -> str:
        """Return the URL to which the login redirects: the checklist, or the page that the person asked for.

        The checklist's URL has that page as ``next``. The arguments differ between JupyterHub and oauthenticator.
        """
        wanted = str(super().get_next_url(*args, **kwargs))
        if not self._by_checklist:
            return wanted
        return str(url_concat(f"{self.hub.base_url}checklist", {"next": wanted}))


class FormLogin(ChecklistFirst, LoginHandler):  # type: ignore[misc]  # untyped
    """JupyterHub's login form, followed by the checklist if there is anything that the person must accept."""


class ChecklistPage(PublicHandler):
    """The page that lists what a person must have and accept (the gateway's terms, sites' rules) to start a session.

    It requires a login, and works without JavaScript. What the person accepts is recorded before the redirect to
    ``next``.
    """

    @web.authenticated
    async def get(self) -> None:
        """Answer HTML; 302 to ``next`` if it is given and there is nothing that the person must accept."""
        found = await self._find()
        if self._wanted and not found.awaits:
            self.redirect(self.get_next_url(self.current_user))
        else:
            await self._show(found, {})

    @web.authenticated
    async def post(self) -> None:
        """Record what the person accepts by the form's fields ``terms`` and ``rules-FACTORY``.

        The value of each field is the version that the person has read. Answer 302 to ``next`` (if it is not given, to
        this page). If something is wrong, answer the page with the errors by field: with 503 if the link does not
        answer, else with 400.
        """
        found = await self._find()
        wrong = self._accept_terms(found) | await self._accept_rules(found)
        if found.terms_open and "terms" not in wrong:  # accepted first, so that the person may start something
            update, _ = await access.status(self.authenticator, self.current_user)
            gateway(self._link_at).background(access.tell_surely(self._link, self.current_user.name, update))
        if not wrong:
            self.redirect(self.get_next_url(self.current_user, default=f"{self.hub.base_url}checklist"))
            return
        self.set_status(503 if LINK_SILENT.what in wrong.values() else 400)
        await self._show(await self._find(), wrong)

    def _accept_terms(self, found: ChecklistState) -> dict[str, str]:
        if found.terms is None or not found.terms_open:
            return {}
        read, version = self.get_body_argument("terms", ""), found.terms.terms.version
        if read != version:
            return {"terms": _CHANGED if read else _TICK}
        self.authenticator.accept_terms(self.current_user.name, version)
        return {}

    async def _accept_rules(self, found: ChecklistState) -> dict[str, str]:
        """Record the acceptance of the rules that were ticked, and return what is wrong, by field of the form.

        Rules that were not ticked stay open, which is no error. If rules were ticked but the link gave no checklist, no
        acceptance of rules is recorded, and the only error has the field "".
        """
        wrong: dict[str, str] = {}
        if found.view is None and any(name.startswith("rules-") for name in self.request.body_arguments):
            return {"": LINK_SILENT.what}
        for site in found.view.sites if found.view is not None else ():
            field = f"rules-{site.factory}"
            read = self.get_body_argument(field, "")
            if not read or site.rules is None or site.accepted_at is not None:
                continue
            if read != site.rules.version:
                wrong[field] = _CHANGED
                continue
            try:
                await self._link.accept(self.current_user.name, site.factory, read)
            except LinkSilent:
                wrong[field] = LINK_SILENT.what
            except LinkProblem as error:
                wrong[field] = error.problem.as_message("message")
        return wrong

    async def _show(self, found: ChecklistState, wrong: dict[str, str]) -> None:
        view = self.language.spoken(found.view) if found.view is not None else None
        await self.page(
            "checklist.html",
            terms=found.terms,
            view=view,
            awaits=found.awaits,
            to_tick=found.to_tick,
            wrong=wrong,
            machines={f"rules-{site.factory}": site.machine for site in view.sites} if view is not None else {},
            silent=LINK_SILENT,
            going_on=bool(self._wanted),
            action=url_concat(f"{self.hub.base_url}checklist", {"next": self._wanted} if self._wanted else {}),
            xsrf=self.xsrf_token.decode(),
        )

    async def _find(self) -> ChecklistState:
        return await find(self._link, self.authenticator, self.current_user.name)

    @property
    def _link(self) -> LinkClient:
        return gateway(self._link_at).link

    @property
    def _wanted(self) -> str:
        """Return the page that the person asked for, from the URL's ``next``; "" if there is none.

        JupyterHub checks it before it redirects there.
        """
        return str(self.get_query_argument("next", ""))


def routes(link_at: LinkAddress, pages: Path) -> list[tuple[Any, ...]]:
    """Return the page's route for ``c.JupyterHub.extra_handlers``.

    ``link_at``: where the link listens; ``pages``: the folder whose subfolder ``locale`` has the translations.
    """
    return [(r"/checklist", ChecklistPage, {"link_at": link_at, "locale": pages / "locale"})]
