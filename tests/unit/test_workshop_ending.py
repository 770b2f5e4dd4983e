"""The end of a workshop over HTTP: who sees what, more time, certificates, and what stays when people are deleted."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Query

from factorycommon.models.history import HistoryPage, PastRun, ProjectNow, ReservationEnd
from tests.unit.serving import serving
from tests.unit.test_workshop_certificates import said
from tests.unit.workshops_world import (
    OPERATOR,
    OTTO,
    PAUL,
    SECRET,
    TINA,
    WorkshopsWorld,
    body,
    workshops_world,
)
from workshops.api.hub import hub_app
from workshops.client import WorkshopsClient, WorkshopsProblem, WorkshopsSilent
from workshops.ending import certificates
from workshops.ending import service as ending
from workshops.models.bodies import WorkshopChange
from workshops.models.callers import WorkshopCaller
from workshops.models.ending import CertificateBody
from workshops.states import WorkshopState

HELP, SEES = WorkshopCaller("hanna"), WorkshopCaller("olaf")
GUEST = WorkshopCaller("guest.lukasz.abcdef")
NAME = "Łukasz <img onerror=x>"


@dataclasses.dataclass
class EndingWorld:
    """A service with a link whose answers a test sets. ``away``: the link answers with an error."""

    world: WorkshopsWorld
    client: WorkshopsClient
    runs: list[PastRun]
    now: ProjectNow
    away: bool = False
    asked: int = 0

    async def open(self, **fields: Any) -> str:
        """Open a workshop with people of all roles, of whom paul and a guest have seats; return its slug."""
        created = await self.world.scheduled(**fields)
        slug, shop = created.slug, self.world.workshops
        for caller, role in ((HELP, "helper"), (SEES, "observer"), (OTTO, "instructor")):
            await shop.put_member(TINA, slug, caller.person, role)  # type: ignore[arg-type]
        for caller in (PAUL, GUEST):
            await shop.put_member(TINA, slug, caller.person, "participant")
        found = await self.world.store.member(slug, GUEST.person)
        assert found is not None
        named = dataclasses.replace(found, name=NAME, mail="lukasz@example.org")
        await self.world.store.put_member(named, (await self.world.store.events(slug))[0])
        self.world.clock.forward(days=2, hours=1)  # the class begins
        await self.look()
        return slug

    async def look(self) -> None:
        await self.world.clockwork.look()

    def ran(self, person: str, since: datetime, hours: float, **fields: Any) -> None:
        """Add an ended session of a person to those that the link reports."""
        number = f"{len(self.runs):032x}"
        until = since + timedelta(hours=hours)
        values: dict[str, Any] = {
            "id": number, "person": person, "server": "", "factory": "one", "size": "gpu-1", "environment": "python",
            "asked": since, "ready": since, "opened": since, "ended": until, "seconds": int(3600 * hours),
            "gpu_hours": hours, **fields,
        }  # fmt: skip
        self.runs.append(PastRun(**values))

    async def over(self, slug: str) -> None:
        """Let the class take place: the guest is there for all of it, paul for an hour."""
        starts = self.world.clock()
        self.ran(GUEST.person, starts, 3)
        self.ran("paul", starts, 1)
        self.world.clock.forward(hours=4, minutes=1)
        await self.look()
        assert (await self.client.one(OPERATOR, slug)).state == "closing"


def link_app(world: EndingWorld) -> FastAPI:
    app = FastAPI()

    @app.get("/projects/{project}/history")
    async def history(project: str, after: str | None = Query(None)) -> HistoryPage:
        if world.away:
            raise RuntimeError
        world.asked += 1
        assert project.startswith("workshop-")
        left = [run for run in world.runs if after is None or run.id > after]
        return HistoryPage(runs=tuple(left[:2]), next=left[1].id if len(left) > 2 else None)

    @app.get("/projects/{project}/now")
    async def now(project: str) -> ProjectNow:
        if world.away:
            raise RuntimeError
        return world.now

    return app


@asynccontextmanager
async def ending_world(folder: Path) -> AsyncIterator[EndingWorld]:
    mails = {"sender": "workshops@example.org", "folder": "mails"}
    async with workshops_world(folder, link={"socket": "link.sock"}, joining=mails) as world:
        client = WorkshopsClient(folder / "w.sock")
        now = ProjectNow(running=0, waiting=0, clusters=0, spent=0, reserved=0)
        made = EndingWorld(world, client, [], now)
        async with (
            serving(link_app(made), folder / "link.sock"),
            serving(hub_app(world.workshops, world.joining, world.of_hub), folder / "w.sock"),
        ):
            yield made
        await client.close()


async def refused(asked: Any) -> tuple[int, str]:
    with pytest.raises(WorkshopsProblem) as error:
        await asked
    return error.value.status, error.value.problem.code


# --- the report


async def test_staff_get_the_report_and_nobody_else(tmp_path: Path) -> None:
    async with ending_world(tmp_path) as service:
        slug = await service.open()
        for number in range(5):  # more than one page of the link's answer
            service.ran("paul", service.world.clock() + timedelta(minutes=number), 0.5)
        for caller in (TINA, OTTO, HELP, OPERATOR):
            found = await service.client.report(caller, slug)
            assert (found.sessions, found.gpu_hours, found.joined) == (5, 2.5, 2)
        text = (await service.client.file(HELP, slug, "report.csv")).decode()
        assert f"{GUEST.person},{NAME},participant" in text
        for caller, status in ((SEES, 403), (PAUL, 403), (GUEST, 403), (WorkshopCaller("zoe"), 404)):
            assert (await refused(service.client.report(caller, slug)))[0] == status
            assert (await refused(service.client.file(caller, slug, "report.csv")))[0] == status


async def test_without_the_link_a_report_says_what_it_lacks(tmp_path: Path) -> None:
    async with ending_world(tmp_path) as service:
        slug = await service.open()
        service.away = True
        found = await service.client.report(TINA, slug)
        assert (found.whole, found.joined, found.sessions) == (False, 2, 0)


@pytest.mark.parametrize(("pages", "counted", "left_out"), [(2, 5, False), (1, 4, True)])
async def test_a_report_that_leaves_out_sessions_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: int, counted: int, left_out: bool
) -> None:
    monkeypatch.setattr(ending, "MOST_PAGES", pages)  # besides the first; each has two sessions
    async with ending_world(tmp_path) as service:
        slug = await service.open()
        for _ in range(5):
            service.ran("paul", service.world.clock(), 3)
        found = await service.client.report(TINA, slug)
        assert (found.sessions, found.whole, found.left_out) == (counted, True, left_out)
        await service.over(slug)
        assert await service.client.file(PAUL, slug, "certificate")
        service.world.clock.forward(hours=2)
        await service.look()
        assert (await service.world.store.kept_report(slug)) is not None


async def test_sums_stay_when_people_are_deleted(tmp_path: Path) -> None:
    async with ending_world(tmp_path) as service:
        slug = await service.open(retention_days=1)
        await service.over(slug)
        service.away = True  # while it is archived; the report is made later
        service.world.clock.forward(hours=2)
        await service.look()
        assert await service.world.store.kept_report(slug) is None
        service.away = False
        await service.look()
        assert await service.world.store.kept_report(slug) is None  # it was tried a moment before
        service.world.clock.forward(minutes=6)
        await service.look()
        before = await service.client.report(TINA, slug)
        assert before.people
        asked = service.asked
        await service.look()
        assert service.asked == asked
        service.away = True
        service.world.clock.forward(days=1)
        await service.look()
        assert (await refused(service.client.report(TINA, slug)))[0] == 404  # she is deleted, too
        after = await service.client.report(OPERATOR, slug)
        assert (after.people, after.whole) == ((), True)
        assert after.erased is not None
        same = ("sessions", "hours", "gpu_hours", "joined", "came", "certified", "waits")
        assert [getattr(after, name) for name in same] == [getattr(before, name) for name in same]
        assert "paul" not in after.model_dump_json()


async def test_people_are_deleted_on_the_day_also_without_the_link(tmp_path: Path) -> None:
    async with ending_world(tmp_path) as service:
        slug = await service.open(retention_days=0)
        await service.over(slug)
        service.away = True
        service.world.clock.forward(hours=2)
        await service.look()
        assert (await service.world.store.members([slug]))[slug] == []
        kept = await service.client.report(OPERATOR, slug)
        assert (kept.joined, kept.whole, kept.people) == (2, False, ())


# --- more time


async def test_a_class_goes_on_within_what_others_leave(tmp_path: Path) -> None:
    async with ending_world(tmp_path) as service:
        slug = await service.open(seats=12)
        before = await service.client.one(TINA, slug)
        for caller, status in ((HELP, 403), (SEES, 403), (PAUL, 403)):
            assert (await refused(service.client.extend(caller, slug, 30)))[0] == status
        longer = await service.client.extend(OTTO, slug, 30)
        more = timedelta(minutes=30)
        assert (longer.ends, longer.closes) == (before.ends + more, before.closes + more)
        assert longer.hours == before.hours + 0.5
        await service.look()
        assert service.world.table().projects[0].ends == longer.closes
        assert service.world.table().projects[0].max_hours == longer.hours
        opens = longer.closes + timedelta(hours=1)
        times = {"opens": opens, "starts": opens, "ends": opens + more, "closes": opens + more}
        await service.world.scheduled(**{name: at.isoformat() for name, at in times.items()}, seats=12)
        # the other's seats may start half an hour before it opens
        assert (await refused(service.client.extend(TINA, slug, 31)))[1] == "workshop-seats-taken"
        await service.client.extend(TINA, slug, 30)
        assert (await refused(service.client.extend(TINA, slug, 1)))[1] == "workshop-seats-taken"


async def test_a_class_does_not_go_on_beyond_budget_and_reservation(tmp_path: Path) -> None:
    async with ending_world(tmp_path) as service:
        slug = await service.open(gpu_hours=50)
        ends = (await service.client.one(TINA, slug)).ends
        reserved = ReservationEnd(factory="one", name="r1", end=ends + timedelta(minutes=20))
        service.now = service.now.model_copy(update={"reservations": (reserved,)})
        assert (await refused(service.client.extend(TINA, slug, 21)))[1] == "workshop-extend-reservation"
        await service.client.extend(TINA, slug, 20)
        service.now = service.now.model_copy(update={"reservations": (), "spent": 50.0})
        assert (await refused(service.client.extend(TINA, slug, 5)))[1] == "workshop-extend-budget"
        service.away = True  # the link itself lets nobody exceed a budget
        await service.client.extend(TINA, slug, 5)


async def test_a_class_that_is_not_open_is_not_extended(tmp_path: Path) -> None:
    async with ending_world(tmp_path) as service:
        slug = (await service.world.scheduled()).slug
        assert (await refused(service.client.extend(TINA, slug, 5)))[0] == 409
        slug = await service.open()
        await service.client.take(TINA, slug, "close")
        assert (await refused(service.client.extend(TINA, slug, 5)))[0] == 409


async def test_closing_says_what_will_end(tmp_path: Path) -> None:
    async with ending_world(tmp_path) as service:
        slug = await service.open()
        service.now = service.now.model_copy(update={"running": 5, "waiting": 2, "clusters": 1})
        found = await service.client.closing(OTTO, slug)
        assert (found.known, found.running, found.waiting, found.clusters) == (True, 5, 2, 1)
        assert found.ends == service.world.clock() + timedelta(minutes=5)
        assert (await refused(service.client.closing(HELP, slug)))[0] == 403
        service.away = True
        assert not (await service.client.closing(OTTO, slug)).known


# --- certificates


async def test_who_took_part_gets_a_certificate_when_the_class_is_over(tmp_path: Path) -> None:
    async with ending_world(tmp_path) as service:
        slug = await service.open()
        client = service.client
        assert (await refused(client.file(GUEST, slug, "certificate")))[1] == "certificates-early"
        await service.over(slug)
        lines = said(await client.file(GUEST, slug, "certificate"))
        assert lines[1] == NAME
        assert "First steps" in lines
        assert "30 November 2026, 09:00 to 12:00 (UTC)" in lines
        assert (await refused(client.file(PAUL, slug, "certificate")))[1] == "certificate-not-earned"
        assert (await refused(client.file(TINA, slug, "certificate")))[1] == "certificate-participants"
        for caller in (PAUL, GUEST, SEES, HELP, OTTO):
            assert (await refused(client.file(caller, slug, "certificates.zip")))[0] == 403
        with zipfile.ZipFile(io.BytesIO(await client.file(TINA, slug, "certificates.zip"))) as file:
            assert file.namelist() == ["001-Lukasz-img-onerror-x.pdf"]
        changed = await client.one(OPERATOR, slug)
        assert changed.certificate_percent == 75
        service.away = True
        assert (await refused(client.file(GUEST, slug, "certificate")))[0] == 503


async def test_the_trainer_sets_the_share_that_earns_a_certificate(tmp_path: Path) -> None:
    async with ending_world(tmp_path) as service:
        slug = await service.open(certificate_percent=80)
        assert service.world.workshops is not None
        staff = (await service.client.one(TINA, slug)).staff
        assert staff is not None
        await service.client.change(TINA, slug, WorkshopChange(version=staff.version, certificate_percent=33))
        await service.over(slug)
        assert said(await service.client.file(PAUL, slug, "certificate"))[1] == "paul"


async def test_a_certificate_can_be_checked_also_after_its_person_is_deleted(tmp_path: Path) -> None:
    async with ending_world(tmp_path) as service:
        slug = await service.open(retention_days=0)
        await service.over(slug)
        number = certificates.certificate_id(SECRET, slug, NAME)
        assert any(number in line for line in said(await service.client.file(GUEST, slug, "certificate")))
        service.world.clock.forward(days=1)
        await service.look()
        plain = await service.client.check_certificate(CertificateBody(id=number))
        assert (plain.valid, plain.title, plain.named) == (True, "First steps", None)
        assert NAME not in plain.model_dump_json()
        assert (await service.client.check_certificate(CertificateBody(id=number, name=NAME))).named is True
        assert (await service.client.check_certificate(CertificateBody(id=number, name="Paul"))).named is False
        wrong = await service.client.check_certificate(CertificateBody(id=f"{slug}.{'a' * 24}", name=NAME))
        assert wrong == wrong.model_copy(update={"valid": False, "title": "", "named": None})


async def test_certificates_that_nobody_has_earned_yet_can_be_mailed_later(tmp_path: Path) -> None:
    async with ending_world(tmp_path) as service:
        slug = await service.open()
        service.world.clock.forward(hours=4, minutes=1)
        await service.look()
        assert (await refused(service.client.mail_certificates(TINA, slug)))[1] == "certificates-none"
        service.ran(GUEST.person, service.world.clock() - timedelta(hours=4), 3)  # the link answers fully only now
        assert (await service.client.mail_certificates(TINA, slug)).sent == 1


async def test_whoever_opened_no_seat_gets_no_certificate(tmp_path: Path) -> None:
    async with ending_world(tmp_path) as service:
        slug = await service.open()
        service.ran("paul", service.world.clock(), 3, opened=None)  # it ends because the class is over
        await service.over(slug)
        service.runs.pop()  # the hour for which paul was there
        assert (await refused(service.client.file(PAUL, slug, "certificate")))[1] == "certificate-not-earned"
        with zipfile.ZipFile(io.BytesIO(await service.client.file(TINA, slug, "certificates.zip"))) as file:
            assert file.namelist() == ["001-Lukasz-img-onerror-x.pdf"]
        found = await service.client.mail_certificates(TINA, slug)
        assert (found.sent, found.without_mail) == (1, 0)
        assert (await service.client.report(TINA, slug)).came == 1


async def test_guests_get_their_certificates_by_mail_once(tmp_path: Path) -> None:
    async with ending_world(tmp_path) as service:
        slug = await service.open()
        await service.over(slug)
        service.ran("paul", service.world.clock() - timedelta(hours=4), 3)
        assert (await refused(service.client.mail_certificates(OTTO, slug)))[0] == 403
        found = await service.client.mail_certificates(TINA, slug)
        assert (found.sent, found.without_mail) == (1, 1)  # paul has an account
        await service.world.joining.mails.settle()
        (file,) = (tmp_path / "mails").iterdir()
        letter = message_from_bytes(file.read_bytes(), policy=policy.default)
        assert (letter["To"], letter["Subject"]) == ("lukasz@example.org", "Your certificate: First steps")
        (attached,) = letter.iter_attachments()  # type: ignore[attr-defined]
        assert said(attached.get_content())[1] == NAME
        assert (await refused(service.client.mail_certificates(TINA, slug)))[1] == "certificates-mailed"


async def test_a_button_that_is_pressed_twice_mails_each_certificate_once(tmp_path: Path) -> None:
    async with ending_world(tmp_path) as service:
        slug = await service.open()
        await service.over(slug)
        both = (service.client.mail_certificates(TINA, slug) for _ in range(2))
        done = await asyncio.gather(*both, return_exceptions=True)
        assert [one.problem.code for one in done if isinstance(one, WorkshopsProblem)] == ["certificates-mailed"]
        await service.world.joining.mails.settle()
        assert len(list((tmp_path / "mails").iterdir())) == 1


async def test_each_certificate_is_in_the_language_of_its_person(tmp_path: Path) -> None:
    async with ending_world(tmp_path) as service:
        slug = await service.open(languages=("de", "en"), zone="Europe/Berlin", certificate_percent=10)
        guest = await service.world.store.member(slug, GUEST.person)
        assert guest is not None
        told = dataclasses.replace(guest, language="pl")
        await service.world.store.put_member(told, (await service.world.store.events(slug))[0])
        await service.over(slug)
        client, polish, german = service.client, "Zaświadczenie o uczestnictwie", "Teilnahmebescheinigung"
        lines = said(await client.file(GUEST, slug, "certificate"))
        assert lines[0] == polish
        assert "30 listopada 2026, 10:00 do 13:00 (Europe/Berlin)" in lines
        # on a page in another language; in one that there is not, and of somebody whose language is not known
        assert said(await client.file(GUEST, slug, "certificate", "cs"))[0] == "Potvrzení o účasti"
        assert said(await client.file(GUEST, slug, "certificate", "xx"))[0] == polish
        assert said(await client.file(PAUL, slug, "certificate"))[0] == german
        assert (await refused(client.file(GUEST, slug, "certificate", "../de")))[0] == 400
        with zipfile.ZipFile(io.BytesIO(await client.file(TINA, slug, "certificates.zip"))) as file:
            found = {said(file.read(name))[1]: said(file.read(name))[0] for name in file.namelist()}
        assert found == {NAME: polish, "paul": german}
        assert (await client.mail_certificates(TINA, slug)).sent == 1
        await service.world.joining.mails.settle()
        (mail,) = (tmp_path / "mails").iterdir()
        (attached,) = message_from_bytes(mail.read_bytes(), policy=policy.default).iter_attachments()  # type: ignore[attr-defined]
        assert said(attached.get_content())[0] == polish


# --- what is kept


async def test_people_are_told_until_when_their_data_are_kept(tmp_path: Path) -> None:
    async with ending_world(tmp_path) as service:
        slug = await service.open(zone="Europe/Berlin", retention_days=7)
        found = await service.client.privacy(slug)
        closes = (await service.client.one(TINA, slug)).closes
        assert found.deleted == closes + timedelta(hours=1, days=7)
        assert "First steps" not in found.model_dump_json()
        await service.client.take(TINA, slug, "close")
        told = (await service.client.privacy(slug)).deleted
        assert told == service.world.clock() + timedelta(hours=1, days=7)  # it is over earlier
        service.world.clock.at = told - timedelta(minutes=1)
        await service.look()  # it is archived now, which is later than it could have been
        assert not (await service.client.privacy(slug)).erased
        service.world.clock.forward(days=8)
        await service.look()
        assert (await service.client.privacy(slug)).erased
        assert (await refused(service.client.privacy("none-2345")))[0] == 404


async def test_a_draft_has_no_report(tmp_path: Path) -> None:
    async with ending_world(tmp_path) as service:
        slug = (await service.world.workshops.create(TINA, body(submit=False))).slug
        assert (await service.client.one(TINA, slug)).state == WorkshopState.DRAFT
        assert (await refused(service.client.report(TINA, slug)))[0] == 409
        assert "report" not in (await service.client.one(TINA, slug)).may


async def test_a_service_without_a_link_extends_and_reports_people(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slug = (await world.scheduled()).slug
        workshop = await world.workshops.may(TINA, slug, "report")
        found = await world.ending.report(workshop)
        assert (found.whole, found.seats) == (False, 6)
        await world.ending.check_extended(workshop, 10)
        client = WorkshopsClient(tmp_path / "none.sock")
        with pytest.raises(WorkshopsSilent):
            await client.privacy(slug)
        await client.close()
