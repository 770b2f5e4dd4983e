"""The pages of a workshop's end: its report, certificates of attendance, and which data of its people are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from tornado import web

from factorycommon.language import N_
from factorycommon.models.joining import MOST_NAME
from factorycommon.service_address import ServiceAddress
from factorylink.client import LinkAddress
from factoryspawner.pages.operator import REASONS as ENDED
from factoryspawner.pages.workshops.handler import WorkshopHandler
from factoryspawner.pages.workshops.pages import ROLES, SLUG, STATES
from workshops.client import WorkshopFile, WorkshopsProblem, WorkshopsSilent
from workshops.models.ending import CertificateBody, CertificateCheck

REASONS = ENDED | {"gave-up": N_("Waited too long")}
_INVALID = CertificateCheck(valid=False)
_TYPES: dict[WorkshopFile, tuple[str, str]] = {
    "report.csv": ("text/csv; charset=utf-8", "{slug}-report.csv"),
    "certificate": ("application/pdf", "{slug}.pdf"),
    "certificates.zip": ("application/zip", "{slug}-certificates.zip"),
}


class ReportPage(WorkshopHandler):
    """The report of a workshop, to read and to print."""

    @web.authenticated
    async def get(self, slug: str) -> None:
        """Answer HTML; 403 to people who may not see the report, 404 to people who may not see the workshop.

        Answer 409 if the workshop's state allows no report, 503 if the workshops service does not answer.
        """
        try:
            workshop = await self.client.one(self.caller, slug)
            report = await self.client.report(self.caller, slug)
        except (WorkshopsProblem, WorkshopsSilent) as error:
            raise self.refusal(error) from error
        await self.show(
            "workshop_end/report.html",
            report=report,
            may=workshop.may,
            reasons=REASONS,
            roles=ROLES,
            states=STATES,
        )


class WorkshopFileHandler(WorkshopHandler):
    """Answers with a file of a workshop: its report as CSV, or certificates.

    Certificates are either the requesting person's own certificate (PDF), or all certificates of the workshop (ZIP).
    """

    @web.authenticated
    async def get(self, slug: str, name: WorkshopFile) -> None:
        """Answer the file; 403 or 409 with the reason why the requesting person cannot have the file.

        Answer 404 to people who may not see the workshop, 503 if the workshops service does not answer.
        """
        kind, kept_as = _TYPES[name]
        try:
            content = await self.client.file(self.caller, slug, name, self.language.code[:2])
        except (WorkshopsProblem, WorkshopsSilent) as error:
            raise self.refusal(error) from error
        self.set_header("Content-Type", kind)
        self.set_header("Content-Disposition", f'attachment; filename="{kept_as.format(slug=slug)}"')
        self.set_header("Cache-Control", "no-store")
        self.finish(content)


class CertificatePage(WorkshopHandler):
    """Says whether a certificate of attendance is valid, to everybody who has its number."""

    async def get(self, number: str) -> None:
        """Answer HTML; 404 if the certificate is not valid."""
        await self._show(number, "")

    async def post(self, number: str) -> None:
        """Answer HTML, which also says whether the certificate belongs to the person whose name is the field ``name``.

        Answer 404 if the certificate is not valid.
        """
        await self._show(number, self.get_body_argument("name", "")[:MOST_NAME])

    async def _show(self, number: str, name: str) -> None:
        try:
            check = await self.client.check_certificate(CertificateBody(id=number, name=name))
        except ValidationError:
            check = _INVALID
        except (WorkshopsProblem, WorkshopsSilent) as error:
            raise self.refusal(error) from error
        if not check.valid:
            self.set_status(404)
        await self.show("workshop_end/certificate.html", check=check, number=number, typed=name, most_name=MOST_NAME)


class PrivacyPage(WorkshopHandler):
    """Says which data of a workshop's people are kept, why, until when, and who sees them.

    Everybody who has the page's address may read it.
    """

    async def get(self, slug: str) -> None:
        """Answer HTML; 404 if there is no such workshop, 503 if the workshops service does not answer."""
        try:
            privacy = await self.client.privacy(slug)
        except (WorkshopsProblem, WorkshopsSilent) as error:
            raise self.refusal(error) from error
        await self.show("workshop_end/privacy.html", privacy=privacy)


def routes(link_at: LinkAddress, pages: Path, service_at: ServiceAddress | None) -> list[tuple[Any, ...]]:
    """Return the routes for ``c.JupyterHub.extra_handlers``; none if there is no workshops service.

    ``link_at``: where the link listens; ``service_at``: where the workshops service listens, None: there is none;
    ``pages``: the folder in which the folder ``locale`` has the translations.
    """
    if service_at is None:
        return []
    to_service = {"link_at": link_at, "locale": pages / "locale", "service_at": service_at}
    names = "|".join(name.replace(".", r"\.") for name in _TYPES)
    return [
        (r"/workshops/certificates/([A-Za-z0-9.-]{1,80})", CertificatePage, to_service),
        (rf"/workshops/{SLUG}/report", ReportPage, to_service),
        (rf"/workshops/{SLUG}/privacy", PrivacyPage, to_service),
        (rf"/workshops/{SLUG}/({names})", WorkshopFileHandler, to_service),
    ]
