"""The operations of the API on the end of a workshop: more time, the report, and certificates of attendance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, Response
from fastapi.responses import PlainTextResponse

from factorycommon.models.bodies import LanguageCode
from factorycommon.service.http import says
from workshops.api.routes import Slugged
from workshops.ending import report_csv
from workshops.ending.service import WorkshopEnding
from workshops.models.callers import WorkshopCaller
from workshops.models.ending import (
    CertificateBody,
    CertificateCheck,
    ClosingView,
    ExtendWorkshopBody,
    MailedView,
    PrivacyView,
    ReportView,
)
from workshops.models.views import WorkshopView
from workshops.service import Workshops


class ReportCsv(PlainTextResponse):
    """A response with the people of a report, as CSV."""

    media_type = "text/csv"


class CertificatePdf(Response):
    """A response with a certificate, as PDF."""

    media_type = "application/pdf"


class CertificatesZip(Response):
    """A response with all certificates of a workshop, as a zip file."""

    media_type = "application/zip"


def ending_router(workshops: Workshops, ending: WorkshopEnding, who: Callable[..., Any]) -> APIRouter:
    """Return a router with those operations of this module that need a login.

    ``who``: a dependency that returns a request's WorkshopCaller.
    """
    routes = APIRouter()
    caller_of, some = Depends(who), says(401, 403, 404, 409)

    @routes.post("/workshops/{slug}/extend", responses=some)
    async def extend(slug: Slugged, body: ExtendWorkshopBody, caller: WorkshopCaller = caller_of) -> WorkshopView:
        """Let a class go on for some minutes more; the workshop closes that much later."""
        await ending.check_extended(await workshops.may(caller, slug, "extend"), body.minutes)
        return await workshops.extend(caller, slug, body.minutes)

    @routes.get("/workshops/{slug}/closing", responses=some)
    async def closing(slug: Slugged, caller: WorkshopCaller = caller_of) -> ClosingView:
        """Return what would end if you closed the workshop now."""
        return await ending.closing(await workshops.may(caller, slug, "close"))

    @routes.get("/workshops/{slug}/report", responses=some)
    async def get_report(slug: Slugged, caller: WorkshopCaller = caller_of) -> ReportView:
        """Return the report of a workshop: who took part, hours, waits, failures, and what it cost."""
        return await ending.report(await workshops.may(caller, slug, "report"))

    @routes.get("/workshops/{slug}/report.csv", response_class=ReportCsv, responses=some)
    async def get_report_csv(slug: Slugged, caller: WorkshopCaller = caller_of) -> ReportCsv:
        """Return as CSV the part of a workshop's report that lists its people."""
        found = await ending.report(await workshops.may(caller, slug, "report"))
        return ReportCsv(report_csv.written(found), headers=_kept_as(f"{slug}-report.csv"))

    @routes.get("/workshops/{slug}/certificate", response_class=CertificatePdf, responses=some)
    async def get_certificate(
        slug: Slugged, language: LanguageCode | None = None, caller: WorkshopCaller = caller_of
    ) -> CertificatePdf:
        """Return your certificate of attendance as PDF, in ``language`` if the gateway has it, else in your own."""
        found = await ending.certificate(*await workshops.place(caller, slug), language)
        return CertificatePdf(found, headers=_kept_as(f"{slug}.pdf"))

    @routes.get("/workshops/{slug}/certificates.zip", response_class=CertificatesZip, responses=some)
    async def get_certificates(slug: Slugged, caller: WorkshopCaller = caller_of) -> CertificatesZip:
        """Return all certificates of attendance of a workshop as a zip file of PDFs."""
        found = await ending.certificates(await workshops.may(caller, slug, "certificates"))
        return CertificatesZip(found, headers=_kept_as(f"{slug}-certificates.zip"))

    @routes.post("/workshops/{slug}/certificates/mail", responses=some)
    async def mail_certificates(slug: Slugged, caller: WorkshopCaller = caller_of) -> MailedView:
        """Send guests (people without an account) their certificates by mail; this can be done once for a workshop."""
        return await ending.mail_certificates(await workshops.may(caller, slug, "certificates"), caller.person)

    return routes


def public_router(ending: WorkshopEnding, _who: Callable[..., Any]) -> APIRouter:
    """Return a router with those operations of this module that need no login, for ``hub_app``.

    Anybody may check a certificate, and read when the data of a workshop's people are deleted. ``_who`` is not used:
    ``hub_app`` passes it to all functions that make routers.
    """
    routes = APIRouter()

    @routes.post("/certificates")
    async def check_certificate(body: CertificateBody) -> CertificateCheck:
        return await ending.check_certificate(body.id, body.name)

    @routes.get("/privacy/{slug}", responses=says(404))
    async def privacy(slug: Slugged) -> PrivacyView:
        return await ending.privacy(slug)

    return routes


def _kept_as(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
