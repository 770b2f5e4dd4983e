"""The operators' page: pauses starts, drains factories and sets the banner; shows waiting sessions and failures.

Each waiting session and each failure has its reason. The page is for the hub's administrators only, and works without
JavaScript; the link's audit records each order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from tornado import web
from tornado.httputil import url_concat

from factorycommon.language import N_
from factorycommon.models import BannerBody, FailureCount, OperatorView
from factorycommon.models.plain import plain_text
from factorylink.client import LinkAddress, LinkClient, LinkProblem, LinkSilent
from factoryspawner.errors import LINK_SILENT
from factoryspawner.gateway import gateway
from factoryspawner.pages.public import PublicHandler

DONE = {
    "pause": N_("The pause has begun. Running and waiting sessions continue."),
    "resume": N_("This pause is over."),
    "banner": N_("All pages show the banner now."),
    "remove": N_("The banner is removed."),
}
_NO_MESSAGE = N_("Write a message of 1 to 500 characters: people read it.")
_NO_END = N_("Give a day and a time within the next year, or leave this empty.")
_LONGEST_DAYS = 366
_NO_ORDER = N_("This request is not understood.")
# Why sessions ended, in a few words.
REASONS = {
    "idle": N_("Ended: idle"),
    "unopened": N_("Ended: never opened"),
    "walltime": N_("Its time was over"),
    "out-of-memory": N_("Out of memory"),
    "node-failed": N_("The node failed"),
    "preempted": N_("Preempted"),
    "cancelled-by-site": N_("Cancelled by the factory"),
    "refused": N_("Refused"),
    "never-opened-door": N_("The notebook did not come up"),
    "access-lost": N_("Access lost"),
    "moved": N_("The class moved"),
    "failed": N_("Failed"),
    "finished": N_("Ended"),
}


_END_FORMAT, _END_LENGTH = "%Y-%m-%dT%H:%M", 16  # the form in which browsers send an input of type datetime-local


class _WrongEnd(ValueError):
    """Raised if the text for the end of a banner is not a time within the coming year."""


class OperatorPage(PublicHandler):
    """Shows the operators' page, and carries out the orders of its forms."""

    async def prepare(self) -> None:
        """Refuse people who are logged in and are no administrators. Raises HTTPError 403.

        People who are not logged in are handled by ``get`` and ``post``.
        """
        await super().prepare()
        if self.current_user is not None and not self.current_user.admin:
            raise web.HTTPError(403)

    @web.authenticated
    async def get(self) -> None:
        """Answer the page as HTML. Query: ``done``: the order that was just carried out (a key of ``DONE``)."""
        await self._show(DONE.get(self.get_query_argument("done", ""), ""), {})

    @web.authenticated
    async def post(self) -> None:
        """Pause or resume starts, or show, preview or remove the banner, as the form's ``order`` says.

        Answer 302 to the page; for a preview 200 and the page. If something is wrong, answer the page, which says what
        is wrong at each field, with 503 if the link does not answer, else with 400. Raises HTTPError 400 for an unknown
        order or factory.

        Fields: ``order``: a key of ``DONE``, or ``preview``, which shows the banner to the operator only; ``factory``:
        the id of the factory whose starts to pause or resume, "": pause the starts at all factories, or end such a
        pause; ``message``: the text of a pause or banner. For a banner also ``sessions``: if not empty, open sessions
        show the banner once; ``until``: when the banner ends, in UTC, such as ``2026-01-31T09:00``, "": it does not end
        by itself.
        """
        order, factory = self.get_body_argument("order", ""), self.get_body_argument("factory", "")
        message = plain_text(self.get_body_argument("message", "").strip())
        field = "banner" if order == "preview" else f"{order}-{factory}" if factory else order
        wrong: dict[str, Any] = {}
        try:
            if order in ("pause", "banner", "preview"):
                BannerBody(message=message)
            until = self._until() if field == "banner" else None
            if order == "preview" and not factory:
                await self._show("", {}, message, until)
                return
            await self._order(order, factory, message, until)()
        except ValidationError:
            wrong = {field: _NO_MESSAGE}
        except _WrongEnd:
            wrong = {"until": _NO_END}
        except LinkSilent:
            wrong = {"": LINK_SILENT.what}
        except LinkProblem as error:
            wrong = {"": error.problem.as_message("message")}
        if wrong:
            self.set_status(503 if LINK_SILENT.what in wrong.values() else 400)
            await self._show("", wrong, message)
        else:
            self.redirect(url_concat(f"{self.hub.base_url}operator", {"done": order}))

    def _until(self) -> datetime | None:
        """Return when the banner is to end; None if it does not end by itself. Raises _WrongEnd."""
        text = self.get_body_argument("until", "")
        if not text:
            return None
        try:
            until = datetime.strptime(text, _END_FORMAT).replace(tzinfo=UTC)
        except ValueError as error:
            raise _WrongEnd from error
        if not timedelta(0) < until - datetime.now(UTC) <= timedelta(days=_LONGEST_DAYS):
            raise _WrongEnd
        return until

    def _order(self, order: str, factory: str, message: str, until: datetime | None) -> Callable[[], Awaitable[None]]:
        """Return the function that sends an order to the link. Raises HTTPError 400 for an unknown order or factory.

        ``factory`` "": the order concerns all factories; ``until``: when a banner ends, None: not by itself. Orders
        without a message or an end do not use these values.
        """
        link, by = self._link, str(self.current_user.name)
        sessions = bool(self.get_body_argument("sessions", ""))
        match order, factory:
            case "pause", "":
                return lambda: link.pause_starts(message, by)
            case "resume", "":
                return lambda: link.resume_starts(by)
            case "pause", _ if factory in self._known:
                return lambda: link.drain(factory, message, by)
            case "resume", _ if factory in self._known:
                return lambda: link.undrain(factory, by)
            case "banner", "":
                return lambda: link.show_banner(message, by, sessions, until)
            case "remove", "":
                return lambda: link.drop_banner(by)
        raise web.HTTPError(400, _NO_ORDER)

    async def _show(self, done: str, wrong: dict[str, Any], message: str = "", until: datetime | None = None) -> None:
        """Answer with the page.

        ``done``: what to say about the last order, or ""; ``wrong``: errors by field; ``message``: the text of the
        banner that is previewed, or the text of an order in which something is wrong; ``until``: when the previewed
        banner ends.
        """
        view = await self._view()
        failed: dict[str, list[FailureCount]] = {}
        for one in view.failures if view else ():
            failed.setdefault(one.factory, []).append(one)
        await self.page(
            "operator.html",
            view=view,
            failed=failed,
            silent=gateway(self._link_at).table.silent,
            done=done,
            wrong=wrong,
            message=message,
            until=until,
            asked_until=self.get_body_argument("until", "")[:_END_LENGTH],
            sessions=bool(self.get_body_argument("sessions", "")),
            preview=bool(message) and not wrong,
            reasons=REASONS,
            action=f"{self.hub.base_url}operator",
            xsrf=self.xsrf_token.decode(),
        )

    async def _view(self) -> OperatorView | None:
        try:
            return self.language.spoken(await self._link.operator())
        except (LinkSilent, LinkProblem):
            return None

    @property
    def _known(self) -> set[str]:
        return set(gateway(self._link_at).table.factories)

    @property
    def _link(self) -> LinkClient:
        return gateway(self._link_at).link


def routes(link_at: LinkAddress, pages: Path) -> list[tuple[Any, ...]]:
    """Return the page's route for ``c.JupyterHub.extra_handlers``; JupyterHub puts ``/hub`` before it.

    ``link_at``: where the link listens; ``pages``: the folder in which the folder ``locale`` has the translations.
    """
    return [(r"/operator", OperatorPage, {"link_at": link_at, "locale": pages / "locale"})]
