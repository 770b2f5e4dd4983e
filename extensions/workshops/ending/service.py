"""The end of a workshop: reads its history from the link, and makes its report and its certificates."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from factorycommon.language import N_, Language
from factorycommon.messages import Message
from factorycommon.models import Problem
from factorycommon.models.history import HistoryPage, PastRun, ProjectNow
from factorycommon.service.problems import ProblemError, conflict, forbidden, gone, unreachable
from workshops.config import WorkshopsConfig
from workshops.ending import certificates
from workshops.ending.report import WorkshopHistory, class_period, earns, report, without_people
from workshops.joining.languages import DAYS, language_of, minute
from workshops.joining.service import Joining
from workshops.link import LinkSocket
from workshops.models.ending import (
    AttendanceRow,
    CertificateCheck,
    ClosingView,
    MailedView,
    PrivacyView,
    ReportView,
)
from workshops.models.views import LogEvent
from workshops.projects import table as projects
from workshops.projects.pools import PoolsFile
from workshops.projects.table import LAST_MINUTES
from workshops.states import WorkshopState
from workshops.store.schema import EventRecord, MembershipRecord, WorkshopRecord
from workshops.store.store import Store
from workshops.times import in_zone

if TYPE_CHECKING:
    from workshops.ending.certificate_pdf import CertificateText

log = logging.getLogger("workshops")

MOST_PAGES = 200  # of one history
MAILED: LogEvent = "certificates"  # in a workshop's log
RETRY = timedelta(minutes=5)  # from a report that could not be made until the next try
_PAGE, _NOW = TypeAdapter(HistoryPage), TypeAdapter(ProjectNow)
_NO_SESSIONS = Message("workshop-no-history", "The gateway’s link does not answer just now, so nobody’s part is known.")


class WorkshopEnding:
    """Makes the reports and certificates of workshops; knows what a closing ends, and when people's data are deleted.

    ``joining``: sends certificates by mail; ``secret``: for the ids of certificates; ``root``: the gateway's URL for
    people, with a slash at its end; ``clear``: how long after a workshop's closing it is archived; ``guests``: whether
    people may join with a mail address; ``now``: the clock.
    """

    def __init__(
        self,
        store: Store,
        link: LinkSocket,
        pools: PoolsFile,
        secret: bytes,
        root: str,
        clear: timedelta,
        joining: Joining,
        guests: bool,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._link = link
        self._pools = pools
        self._secret = secret
        self._root = root
        self._clear = clear
        self._joining = joining
        self._guests = guests
        self._now = now
        self._tried: dict[str, datetime] = {}  # when the last try to make a workshop's report failed

    @classmethod
    def of(
        cls,
        config: WorkshopsConfig,
        store: Store,
        link: LinkSocket,
        pools: PoolsFile,
        joining: Joining,
        secret: bytes,
        now: Callable[[], datetime],
    ) -> WorkshopEnding:
        """Return an instance for a service with this configuration."""
        clear = timedelta(minutes=config.limits.clear_minutes)
        return cls(store, link, pools, secret, config.hub.root, clear, joining, config.joining.sends, now)

    # --- the report

    async def report(self, workshop: WorkshopRecord) -> ReportView:
        """Return the report of a workshop.

        If the link gives no usable answer, the report is incomplete, and its ``whole`` is False. After the people's
        data were deleted, the report has only the sums that were stored before; if none were stored, ``whole`` is
        False.
        """
        if workshop.erased is None:
            return await self._made(workshop)
        kept = await self._store.kept_report(workshop.slug)
        if kept is None:
            return report(workshop, [], WorkshopHistory(whole=False), self._now())
        return kept.model_copy(update={"erased": workshop.erased})

    async def keep(self, workshop: WorkshopRecord, last: bool) -> None:
        """Store the sums of the report of a workshop that is over.

        ``last``: whether the workshop's people are deleted next. If the link gives no usable answer, the report is
        incomplete. An incomplete report is stored only if ``last`` is True and no report is stored yet. If ``last`` is
        False, calls within ``RETRY`` after an incomplete report do nothing. Raises StoreError.
        """
        now = self._now()
        tried = self._tried.get(workshop.slug)
        if not last and tried is not None and now < tried + RETRY:
            return
        made = without_people(await self._made(workshop))
        if not made.whole and not last:
            self._tried[workshop.slug] = now
            return
        self._tried.pop(workshop.slug, None)
        if made.whole or await self._store.kept_report(workshop.slug) is None:
            await self._store.keep_report(made, now)

    async def _made(self, workshop: WorkshopRecord) -> ReportView:
        people = (await self._store.members([workshop.slug]))[workshop.slug]
        try:
            history = await self._history(workshop)
        except ProblemError as error:
            log.warning("The sessions of the workshop %s are not known: %s", workshop.slug, error)
            history = WorkshopHistory(whole=False)
        return report(workshop, people, history, self._now())

    async def _history(self, workshop: WorkshopRecord) -> WorkshopHistory:
        """Request a workshop's history from the link: the first page, and at most ``MOST_PAGES`` more.

        If there are more pages, the sessions on them are left out, and ``left_out`` is True. Raises ProblemError if the
        link gives no usable answer.
        """
        runs: list[PastRun] = []
        first = page = await self._link.get(_PAGE, workshop.project, "/history")
        runs += page.runs
        for _ in range(MOST_PAGES):
            if page.next is None:
                break
            page = await self._link.get(_PAGE, workshop.project, "/history", {"after": page.next})
            runs += page.runs
        if page.next is not None:
            log.error("The workshop %s has more sessions than the %d that its report counts", workshop.slug, len(runs))
        return WorkshopHistory(tuple(runs), first.clusters, left_out=page.next is not None)

    # --- certificates

    async def certificate(
        self, workshop: WorkshopRecord, mine: MembershipRecord | None, language: str | None = None
    ) -> bytes:
        """Return a participant's certificate as PDF.

        ``mine``: the caller's membership; ``language``: the code of the wanted language, None: the participant's own.
        Raises ProblemError if the caller is no participant or was present too little, the class is not over, or the
        link gives no usable answer.
        """
        if mine is None or mine.role != "participant":
            raise forbidden(Message("certificate-participants", "Certificates are for participants."))
        row = next((one for one in await self._attendance(workshop) if one.person == mine.person), None)
        if row is None or not earns(row, workshop.certificate_percent):
            said = Message(
                "certificate-not-earned",
                "You took part in {part} % of the class. A certificate needs {percent} %.",
            )
            share = 0.0 if row is None else row.share
            raise conflict(said.format(part=int(100 * share), percent=workshop.certificate_percent))
        return await asyncio.to_thread(self._drawn, workshop, row, (language, mine.language))

    async def certificates(self, workshop: WorkshopRecord) -> bytes:
        """Return all certificates of a workshop as a zip file.

        Raises ProblemError if nobody has earned a certificate, the class is not over, or the link gives no usable
        answer.
        """
        rows = await self._earned(workshop)
        people = (await self._store.members([workshop.slug]))[workshop.slug]
        return await asyncio.to_thread(self._zipped, workshop, rows, {one.person: one.language for one in people})

    async def mail_certificates(self, workshop: WorkshopRecord, by: str) -> MailedView:
        """Send a certificate by mail to each guest who has earned one, in the background; return how many are sent.

        ``by``: the person who orders this, for the workshop's log; ``without_mail`` of the result: how many other
        people have earned a certificate. Raises ProblemError if the certificates were sent before, nobody has earned
        one, the class is not over, the link gives no usable answer, or this gateway sends no mails.
        """
        if not self._guests:
            raise conflict(Message("certificates-no-mails", "This gateway sends no mails."))
        rows = await self._earned(workshop)
        if not await self._store.note_once(EventRecord(workshop.slug, self._now(), by, MAILED)):
            raise conflict(Message("certificates-mailed", "The certificates were sent already."))
        people = (await self._store.members([workshop.slug]))[workshop.slug]
        guests = {one.person: one for one in people if one.mail}
        sent = 0
        for row in rows:
            if (guest := guests.get(row.person)) is not None and guest.mail:
                pdf = await asyncio.to_thread(self._drawn, workshop, row, (guest.language,))
                language = language_of(guest.language, *workshop.languages)
                self._joining.mails.send(self._joining.letters.certificate(guest.mail, workshop.title, pdf, language))
                sent += 1
        return MailedView(sent=sent, without_mail=len(rows) - sent)

    async def check_certificate(self, typed: str, name: str) -> CertificateCheck:
        """Return whether ``typed`` is the id of a certificate of this gateway; if it is, also the workshop.

        ``name``: the result also says whether the certificate is for this name; "" if no name is to be checked.
        """
        slug = certificates.slug_of(self._secret, typed)
        workshop = None if slug is None else await self._store.get(slug)
        if workshop is None:
            return CertificateCheck(valid=False)
        starts, ends = class_period(workshop, workshop.ends)
        return CertificateCheck(
            valid=True,
            title=workshop.title,
            zone=workshop.zone,
            starts=starts,
            ends=ends,
            named=certificates.is_of(self._secret, typed, name) if name.strip() else None,
        )

    async def _earned(self, workshop: WorkshopRecord) -> list[AttendanceRow]:
        """Return the rows of the report of those people who have earned a certificate.

        Raises ProblemError if nobody has, the class is not over, or the link gives no usable answer.
        """
        rows = [one for one in await self._attendance(workshop) if earns(one, workshop.certificate_percent)]
        if not rows:
            said = Message("certificates-none", "Nobody took part in {percent} % of the class.")
            raise conflict(said.format(percent=workshop.certificate_percent))
        return rows

    async def _attendance(self, workshop: WorkshopRecord) -> tuple[AttendanceRow, ...]:
        """Return the rows of the report of a class that is over, one for each person.

        Raises ProblemError if the class is not over, or the link gives no usable answer.
        """
        is_over = workshop.state in (WorkshopState.CLOSING, WorkshopState.ARCHIVED)
        if not is_over and not (workshop.state == WorkshopState.OPEN and self._now() >= workshop.ends):
            raise conflict(Message("certificates-early", "There are certificates when the class is over."))
        found = await self._made(workshop)
        if not found.whole:
            raise unreachable(_NO_SESSIONS)
        return found.people

    def _drawn(self, workshop: WorkshopRecord, row: AttendanceRow, wanted: Iterable[str | None]) -> bytes:
        from workshops.ending import certificate_pdf  # its libraries take a second, and memory

        return certificate_pdf.drawn(self._text(workshop, row, wanted))

    def _zipped(self, workshop: WorkshopRecord, rows: list[AttendanceRow], wanted: Mapping[str, str | None]) -> bytes:
        """Return the certificates of these rows as a zip file. ``wanted``: each person's language, None: not known."""
        from workshops.ending import certificate_pdf

        return certificate_pdf.zipped([self._text(workshop, row, (wanted.get(row.person),)) for row in rows])

    def _text(self, workshop: WorkshopRecord, row: AttendanceRow, wanted: Iterable[str | None]) -> CertificateText:
        """Return what a certificate says.

        Its language is the first of ``wanted`` that has translations; if none has, the first such language of the
        workshop; else English.
        """
        from workshops.ending import certificate_pdf

        language = language_of(*wanted, *workshop.languages)
        name = certificate_pdf.printable(row.name or row.person)
        number = certificates.certificate_id(self._secret, workshop.slug, name)
        return certificate_pdf.CertificateText(
            name=name,
            title=workshop.title,
            days=days(workshop, language),
            gateway=self._root,
            id=number,
            url=f"{self._root}hub/workshops/certificates/{number}",
            made=self._now(),
            language=language,
        )

    # --- what is kept, and how a workshop ends

    async def privacy(self, slug: str) -> PrivacyView:
        """Return when the data of a workshop's people are deleted. Raises ProblemError if there is no such workshop."""
        workshop = await self._store.get(slug)
        if workshop is None:
            raise gone(Message("workshop", "The workshop {slug}").format(slug=slug))
        over = workshop.over or (workshop.closed or workshop.closes) + self._clear
        return PrivacyView(
            slug=slug,
            zone=workshop.zone,
            closes=workshop.closes,
            deleted=over + timedelta(days=workshop.retention_days),
            retention_days=workshop.retention_days,
            erased=workshop.erased is not None,
            guests=self._guests,
        )

    async def closing(self, workshop: WorkshopRecord) -> ClosingView:
        """Return what would end, and when, if the workshop were closed now.

        If the link gives no usable answer, ``known`` is False, and only the time is right.
        """
        ends, now = min(workshop.closes, self._now() + LAST_MINUTES), await self._present(workshop)
        if now is None:
            return ClosingView(known=False, ends=ends)
        return ClosingView(known=True, running=now.running, waiting=now.waiting, clusters=now.clusters, ends=ends)

    async def check_extended(self, workshop: WorkshopRecord, minutes: int) -> None:
        """Raise ProblemError if a class has used its budget, or would end later than one of its reservations.

        ``minutes``: how much longer the class is to last. If the link gives no usable answer, nothing is refused: the
        link itself lets nobody exceed a budget.
        """
        now = await self._present(workshop)
        if now is None:
            return
        budget = projects.budget(workshop, self._pools.pools())
        if budget is not None and now.spent >= budget:
            raise ProblemError(
                Problem(
                    kind="conflict",
                    message=Message(
                        "workshop-extend-budget", "The class has used all of its {hours} GPU-hours."
                    ).format(hours=f"{budget:g}"),
                    do=N_("Ask this gateway's operators for more."),
                )
            )
        ends = workshop.ends + timedelta(minutes=minutes)
        for one in now.reservations:
            if ends > one.end:
                said = Message(
                    "workshop-extend-reservation",
                    "The reservation {name} at {factory} ends at {when}, before the class would.",
                )
                when = f"{in_zone(one.end, workshop.zone):%Y-%m-%d %H:%M} ({workshop.zone})"
                raise conflict(said.format(name=one.name, factory=one.factory, when=when))

    async def _present(self, workshop: WorkshopRecord) -> ProjectNow | None:
        try:
            return await self._link.get(_NOW, workshop.project, "/now")
        except ProblemError as error:
            log.info("What runs for the workshop %s is not known: %s", workshop.slug, error)
            return None


def days(workshop: WorkshopRecord, language: Language) -> str:
    """Return a text that says when a class took place, in ``language`` and in the workshop's time zone."""
    begin, end = (in_zone(at, workshop.zone) for at in class_period(workshop, workshop.ends))
    until = f"{end:%H:%M}" if begin.date() == end.date() else minute(end, workshop.zone, language)
    return language.said(DAYS.format(begin=minute(begin, workshop.zone, language), end=until, zone=workshop.zone))
