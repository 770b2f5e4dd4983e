"""Joining by the service's socket: codes, one-time codes by a real SMTP server, seats, the waiting list, bans."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from babel import Locale
from babel.dates import format_date
from fastapi import FastAPI, Request
from pydantic import ValidationError
from sqlalchemy import select

from factorycommon import language
from factorycommon.language import Language
from factorycommon.mail import SmtpServer
from factorycommon.models.joining import (
    JoinBody,
    JoinCodeBody,
    JoinedView,
    LeaveBody,
    MembershipView,
    ProofBody,
    ReturnBody,
    ReturnedBody,
    TicketBody,
)
from factorycommon.service.problems import ProblemError
from factoryspawner.pages.workshops.joining_client import JoiningClient
from tests.support.smtp import sink
from tests.unit.joining_world import BROWSER, CODE, JoiningWorld
from tests.unit.serving import serving
from workshops.joining import languages, mailer, one_time, people_list, views
from workshops.joining.mail_limits import network_of
from workshops.states import WorkshopState
from workshops.store import joining_tables as tables
from workshops.store import schema

ADDRESS, STRANGER = "192.0.2.1", "203.0.113.9"
OTHER_CODE = "DDDD-DDDD-DDDD"


async def test_a_hub_understands_a_service_of_a_newer_release(tmp_path: Path) -> None:
    """An upgrade restarts the services one after the other; people go on joining meanwhile."""
    app = FastAPI()

    @app.post("/joining/return")
    async def newer() -> dict[str, Any]:
        return {"ticket": "t" * 43, "newer": {"a": 1}}

    client = JoiningClient(tmp_path / "w.sock")
    async with serving(app, tmp_path / "w.sock"):
        body = ReturnBody(mail="ada@example.org", browser=BROWSER, address=ADDRESS)
        assert await client.begin_return(body) == "t" * 43
    await client.close()


async def test_a_service_of_an_older_release_understands_a_hub(tmp_path: Path) -> None:
    """An older service does not know fields that only some requests need, so the hub leaves unused fields out."""
    app, asked = FastAPI(), dict[str, Any]()

    @app.post("/joining/return")
    async def older(request: Request) -> dict[str, Any]:
        asked.update(await request.json())
        return {"ticket": "t" * 43}

    client = JoiningClient(tmp_path / "w.sock")
    async with serving(app, tmp_path / "w.sock"):
        await client.begin_return(ReturnBody(mail="ada@example.org", browser=BROWSER, address=ADDRESS))
    await client.close()
    assert asked == {"mail": "ada@example.org", "browser": BROWSER, "address": ADDRESS}


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[JoiningWorld]:
    made = JoiningWorld(tmp_path)
    await made.open()
    yield made
    await made.close()


async def ticket(world: JoiningWorld, slug: str = "gpu-day", code: str = CODE, browser: str = BROWSER) -> str:
    body = JoinCodeBody(slug=slug, code=code, browser=browser, address=ADDRESS)
    return (await world.joining.check_code(body)).ticket


async def guest(world: JoiningWorld, mail: str, name: str = "Ada", slug: str = "gpu-day", **more: Any) -> JoinedView:
    """Have a guest go through all steps of joining; return the result.

    ``more``: ``code``, the workshop's code, and other fields of the ``JoinBody``.
    """
    mine = await ticket(world, slug, more.pop("code", CODE))
    await world.joining.send_digits(ProofBody(ticket=mine, mail=mail, language=more.get("language")))
    digits = await world.digits(mail)
    return await world.joining.join(JoinBody(ticket=mine, digits=digits, name=name, **more))


async def person(world: JoiningWorld, name: str, slug: str = "gpu-day") -> JoinedView:
    """Have a person who has an account at the hub join; return the result."""
    return await world.joining.join(JoinBody(ticket=await ticket(world, slug), person=name))


async def refused(work: Any, code: str, kind: str | None = None) -> ProblemError:
    with pytest.raises(ProblemError) as raised:
        await work
    assert raised.value.problem.code == code, raised.value.problem
    assert kind is None or raised.value.problem.kind == kind
    return raised.value


async def test_a_guest_gets_a_name_a_seat_and_a_mail(world: JoiningWorld) -> None:
    await world.workshop()
    joined = await guest(world, "Ada.L@Example.org", "Ada Lovelace")
    mine = joined.membership
    assert mine.person.startswith("guest.adalovelace.") and mine.name == "Ada Lovelace"
    assert (mine.role, mine.state, mine.seat, joined.known) == ("participant", "seated", 1, False)
    assert joined.workshop.project == "workshop-gpu-day" and not joined.workshop.over
    first, second = await world.mails()
    assert (first["To"], second["To"]) == ("ada.l@example.org", "ada.l@example.org")
    assert CODE not in first.as_string() + second.as_string()
    text = second.get_content()
    assert "Your seat is number 1" in text and "https://hub.example/hub/join/gpu-day" in text
    assert world.changes == 1

    again = await guest(world, "ada.l@example.org", "Ada")
    assert again.membership.person == mine.person and again.known and again.membership.seat == 1
    stored = await world.store.transact(lambda db: db.execute(select(schema.codes.c.used)).scalar_one())
    assert stored == 1


async def test_the_language_of_the_page_is_known_of_who_has_joined(world: JoiningWorld) -> None:
    await world.workshop()

    async def known() -> list[str | None]:
        return [one.language for one in (await world.store.members(["gpu-day"]))["gpu-day"] if one.seat == 1]

    joined = await guest(world, "ada.l@example.org", language="lt")
    assert await known() == ["lt"]
    await guest(world, "ada.l@example.org")  # by a page that does not say it
    assert await known() == ["lt"]
    await guest(world, "ada.l@example.org", language="de")
    assert await known() == ["de"]
    assert "language" not in joined.model_dump_json()
    for wrong in ("", "de-DE", "../de", "x" * 300):
        with pytest.raises(ValidationError):
            JoinBody(ticket="x" * 43, language=wrong)


@pytest.mark.parametrize("code", ["cs", "de", "en", "es", "fr", "it", "lt", "nl", "pl", "ro"])
async def test_every_mail_is_in_the_language_of_its_person(world: JoiningWorld, code: str) -> None:
    """Mails with the service's own translations equal those with all translations, so no text of a mail is missing."""
    spoken = language.read(languages.folder(), Language)[code]
    winter = datetime(2026, 12, 1, 7, 30, tzinfo=UTC)
    record = await world.workshop(title="Größe & 100 % {x}", starts=winter)
    face, english = views.face(record), Language("en")
    mine = MembershipView(person="ada", role="participant", state="seated", seat=7)
    staff = MembershipView(person="ada", role="helper", state="staff")
    waits = MembershipView(person="ada", role="participant", state="waiting", position=1)
    letters, to = world.joining.letters, "ada@example.org"
    write: list[Callable[[Language], EmailMessage]] = [
        lambda it: letters.digits(to, "01234567", face.title, it),
        lambda it: letters.digits(to, "01234567", None, it),
        *(lambda it, one=one: letters.joined(to, face, one, it) for one in (mine, staff, waits)),
        lambda it: letters.promoted(to, face, 7, it),
        lambda it: letters.certificate(to, face.title, b"%PDF", it),
    ]
    for one in write:
        kept, whole, source = one(languages.known()[code]), one(spoken), one(english)
        said = [(it["Subject"], _text(it)) for it in (kept, whole, source)]
        body = kept.get_body()
        assert said[0] == said[1] and body is not None and body["Content-Language"] == code
        assert (said[0][0] == said[2][0]) is (code == "en")
        theirs = zip(said[0][1].splitlines(), said[2][1].splitlines(), strict=True)
        same = [line for line, other in theirs if line == other and line.strip(" 01234567")]
        assert bool(same) is (code == "en"), same
    lines = _text(letters.joined(to, face, mine, languages.known()[code])).splitlines()
    begins = format_date(winter, "long", Locale("en", "GB") if code == "en" else Locale(code))
    assert any(f"{begins}, 09:30 (Europe/Helsinki)" in line for line in lines)


def _text(letter: EmailMessage) -> str:
    body = letter.get_body()
    assert body is not None
    return str(body.get_content())


async def test_a_mail_is_in_the_language_of_the_page_then_in_that_in_which_the_person_joined(
    world: JoiningWorld,
) -> None:
    await world.workshop(seats=1, languages=("nl", "en"))
    ada = await guest(world, "ada@example.org", language="lt")
    await guest(world, "bob@example.org", "Bob", language="de")
    await guest(world, "eve@example.org", "Eve")  # by a page that does not say it: in the workshop's first language
    await world.joining.leave(LeaveBody(slug="gpu-day", person=ada.membership.person))
    subjects: dict[str, list[str]] = {}
    for one in await world.mails():
        subjects.setdefault(one["To"], []).append(one["Subject"].strip("0123456789 "))
    assert subjects == {
        "ada@example.org": ["– Jūsų kodas", "Užsiregistravote: GPU day"],
        "bob@example.org": [
            "ist Ihr Code", "Sie stehen auf der Warteliste: GPU day", "Sie haben einen Platz: GPU day",
        ],
        "eve@example.org": ["is uw code", "U staat op de wachtlijst: GPU day"],
    }  # fmt: skip


async def test_who_helps_is_not_told_to_wait_for_a_seat(world: JoiningWorld) -> None:
    await world.workshop(seats=1)
    await world.joining.invite("gpu-day", people_list.read(b"mail,role\nhelp@example.org,helper\n"), "teach")
    assert (await guest(world, "help@example.org")).membership.state == "staff"
    last = (await world.mails())[-1]
    assert last["Subject"] == "You have joined: GPU day"
    assert _text(last).splitlines()[0] == "You have joined “GPU day” as one of the people who run it."


@pytest.mark.parametrize(
    "title",
    [
        "Day\r\nBcc: eve@evil.net",
        "Day\nSubject: free",
        "<img src=x onerror=alert(1)>",
        "=?utf-8?q?x=0ABcc:_e@e.e?=",
        "é" * 300,
    ],
)
async def test_a_title_writes_no_header_of_a_mail(world: JoiningWorld, title: str) -> None:
    await world.workshop(title=title)
    await guest(world, "ada@example.org", "Ada\r\nBcc: eve@evil.net", language="de")
    known = {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "Content-Type", "Content-Transfer-Encoding",
        "MIME-Version", "Content-Language",
    }  # fmt: skip
    mails = await world.mails()
    assert len(mails) == 2
    for one in mails:
        assert set(one.keys()) == known and len(one.keys()) == len(known)
        assert one["To"] == "ada@example.org"
    assert mails[1]["Subject"].startswith("Sie sind beigetreten: ") and len(mails[1]["Subject"]) < 110


async def test_a_person_with_an_account_joins_without_a_mail(world: JoiningWorld) -> None:
    await world.workshop()
    joined = await person(world, "ada-1")
    assert (joined.membership.person, joined.membership.seat) == ("ada-1", 1)
    assert not await world.mails()


async def test_a_thousand_guesses_find_nothing_and_lock_nobody_out(world: JoiningWorld) -> None:
    """All guesses and the whole class come from the same network address."""
    await world.workshop()

    async def guess(number: int) -> str:
        code = "".join(secrets.choice("23456789ABCDEFGH") for _ in range(12))
        body = JoinCodeBody(slug="gpu-day", code=code, browser=f"{number // 5:032x}", address=ADDRESS)
        with pytest.raises(ProblemError) as raised:
            await world.joining.check_code(body)
        return raised.value.problem.code

    guesses = [asyncio.create_task(guess(number)) for number in range(1000)]
    right = [await ticket(world, browser=f"{number:032x}") for number in range(10_000, 10_060)]
    assert len(set(right)) == 60
    assert set(await asyncio.gather(*guesses)) == {"join-code-wrong"}
    events = await world.store.events("gpu-day")
    assert [one.what for one in events].count("guesses") == 1


async def test_a_browser_that_guesses_on_is_told_to_wait(world: JoiningWorld) -> None:
    await world.workshop()
    for _ in range(10):
        await refused(ticket(world, code="A" * 12), "join-code-wrong", "forbidden")
    error = await refused(ticket(world), "join-wait", "too-many")
    assert error.problem.parameters["seconds"].isdigit()
    world.ticks += 60
    assert await ticket(world)


@pytest.mark.parametrize("slug", ["gpu-day", "no-such-workshop", "../etc", ""])
@pytest.mark.parametrize("code", ["", "x", "A" * 12, "\0" * 12, "K7QD XW3M 9RT0"])
async def test_a_wrong_code_and_an_unknown_workshop_look_alike(world: JoiningWorld, slug: str, code: str) -> None:
    await world.workshop()
    error = await refused(ticket(world, slug, code), "join-code-wrong")
    assert error.problem.field == "code" and "gpu" not in error.problem.message.lower()


async def test_a_code_is_of_one_workshop(world: JoiningWorld) -> None:
    await world.workshop()
    await world.workshop("other", "AAAA-BBBB-CCCC")
    await refused(ticket(world, "other"), "join-code-wrong")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"expires": timedelta(minutes=-1)}, "join-code-expired"),
        ({"uses": 1, "used": 1}, "join-code-used-up"),
        ({"revoked": timedelta()}, "join-code-revoked"),
    ],
)
async def test_a_right_code_that_is_over_says_why(world: JoiningWorld, values: dict[str, Any], said: str) -> None:
    given = {key: world.now() + value if isinstance(value, timedelta) else value for key, value in values.items()}
    await world.workshop(code_values=given)
    await refused(ticket(world), said)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (WorkshopState.DRAFT, "join-too-early"),
        (WorkshopState.APPROVED, "join-too-early"),
        (WorkshopState.CLOSING, "join-over"),
        (WorkshopState.CANCELLED, "join-over"),
    ],
)
async def test_nobody_joins_before_or_after(world: JoiningWorld, state: WorkshopState, said: str) -> None:
    await world.workshop(state=state)
    await refused(ticket(world), said, "conflict")


async def test_a_code_replaced_during_a_walk_lets_nobody_in(world: JoiningWorld) -> None:
    await world.workshop()
    mine = await ticket(world)
    await world.store.transact(lambda db: db.execute(schema.codes.update().values(revoked=world.now())))
    await refused(world.joining.join(JoinBody(ticket=mine, person="ada")), "join-code-revoked")


async def test_the_mail_about_joining_goes_to_the_address_that_was_proved(
    world: JoiningWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the person typed another address after the request to join had begun."""
    await world.workshop()
    mine = await ticket(world)
    await world.joining.send_digits(ProofBody(ticket=mine, mail="eve@example.org"))
    walk = world.joining._walk

    async def then_another(token: str) -> Any:
        found = await walk(token)
        with monkeypatch.context() as patch:
            patch.setattr(world.joining, "_walk", walk)
            await world.joining.send_digits(ProofBody(ticket=mine, mail="ada@example.org"))
        return found

    monkeypatch.setattr("workshops.joining.one_time.new_digits", lambda: "12345678")
    monkeypatch.setattr(world.joining, "_walk", then_another)
    await world.joining.join(JoinBody(ticket=mine, digits="12345678", name="Ada"))
    assert (await world.mails())[-1]["To"] == "ada@example.org"


async def test_only_the_last_of_several_one_time_codes_counts(world: JoiningWorld) -> None:
    await world.workshop()
    mine, other = await ticket(world), await ticket(world)
    await world.joining.send_digits(ProofBody(ticket=mine, mail="ada@example.org"))
    first = await world.digits("ada@example.org")
    await world.joining.send_digits(ProofBody(ticket=other, mail="ada@example.org"))
    second = await world.digits("ada@example.org")
    await refused(world.joining.join(JoinBody(ticket=mine, digits=first, name="Ada")), "join-digits-void")
    # A code proves something only to the browser that asked for it.
    await refused(world.joining.join(JoinBody(ticket=mine, digits=second, name="Ada")), "join-digits-void")
    assert (await world.joining.join(JoinBody(ticket=other, digits=second, name="Ada"))).membership.seat == 1


async def test_a_one_time_code_is_void_after_five_wrong_ones(world: JoiningWorld) -> None:
    await world.workshop()
    mine = await ticket(world)
    await world.joining.send_digits(ProofBody(ticket=mine, mail="ada@example.org"))
    right = await world.digits("ada@example.org")
    for wrong in ("00000000", "1", "", "\0", right[:-1]):
        await refused(world.joining.join(JoinBody(ticket=mine, digits=wrong, name="Ada")), "join-digits-wrong")
    await refused(world.joining.join(JoinBody(ticket=mine, digits=right, name="Ada")), "join-digits-void")
    assert not await world.store.transact(lambda db: db.execute(select(tables.guests)).all())


async def test_attempts_at_the_same_moment_are_all_counted(world: JoiningWorld) -> None:
    await world.workshop()
    mine = await ticket(world)
    await world.joining.send_digits(ProofBody(ticket=mine, mail="ada@example.org"))
    right = await world.digits("ada@example.org")
    wrong = [f"{number:08d}" for number in range(30) if f"{number:08d}" != right]

    async def attempt(digits: str) -> str:
        with pytest.raises(ProblemError) as raised:
            await world.joining.join(JoinBody(ticket=mine, digits=digits, name="Eve"))
        return raised.value.problem.code

    said = await asyncio.gather(*(attempt(digits) for digits in wrong))
    assert said.count("join-digits-wrong") == one_time.ATTEMPTS


async def test_a_form_that_is_sent_twice_takes_one_seat(world: JoiningWorld) -> None:
    await world.workshop()
    mine = await ticket(world)
    twice = [world.joining.join(JoinBody(ticket=mine, person="ada")) for _ in range(2)]
    answers = await asyncio.gather(*twice, return_exceptions=True)
    assert [isinstance(one, ProblemError) for one in answers].count(True) <= 1
    assert [one.person for one in (await world.store.members(["gpu-day"]))["gpu-day"]].count("ada") == 1
    assert await world.store.transact(lambda db: db.execute(select(schema.codes.c.used)).scalar_one()) == 1


async def test_a_guest_who_is_refused_leaves_nothing_behind(world: JoiningWorld) -> None:
    await world.workshop()
    mine = await ticket(world)
    await world.joining.send_digits(ProofBody(ticket=mine, mail="ada@example.org"))
    digits = await world.digits("ada@example.org")
    await world.store.transact(lambda db: db.execute(schema.codes.update().values(revoked=world.now())))
    await refused(world.joining.join(JoinBody(ticket=mine, digits=digits, name="Ada")), "join-code-revoked")
    assert not await world.store.transact(lambda db: db.execute(select(tables.guests)).all())


async def test_a_guest_joins_another_workshop_by_its_own_rules(world: JoiningWorld) -> None:
    await world.workshop()
    await world.workshop("other", "AAAA-BBBB-CCCC", code_values={"domains": ("example.com",)})
    await world.workshop("third", "BBBB-BBBB-CCCC", seats=0)
    name = (await guest(world, "ada@example.org", "Ada")).membership.person
    joins = JoinBody(ticket=await ticket(world, "other", "AAAA-BBBB-CCCC"), person=name)
    await refused(world.joining.join(joins), "join-domain")
    joined = await world.joining.join(JoinBody(ticket=await ticket(world, "third", "BBBB-BBBB-CCCC"), person=name))
    assert (joined.membership.name, joined.membership.position) == ("Ada", 1)
    await world.store.transact(lambda db: db.execute(schema.workshops.update().values(seats=1)))
    await world.joining.promote("third")
    assert (await world.mails())[-1]["To"] == "ada@example.org"
    await refused(world.joining.join(JoinBody(ticket=await ticket(world), person="guest.made.upname")), "join-banned")


async def test_a_one_time_code_lives_for_ten_minutes(world: JoiningWorld) -> None:
    await world.workshop()
    mine = await ticket(world)
    await world.joining.send_digits(ProofBody(ticket=mine, mail="ada@example.org"))
    right = await world.digits("ada@example.org")
    world.ahead = one_time.LIFE
    await refused(world.joining.join(JoinBody(ticket=mine, digits=right, name="Ada")), "join-digits-void")
    world.ahead = timedelta(hours=2)  # and so does the ticket, for an hour
    with pytest.raises(ProblemError) as raised:
        await world.joining.ticket(TicketBody(ticket=mine))
    assert raised.value.status == 404


async def test_addresses_cannot_be_probed(world: JoiningWorld) -> None:
    """The answers are the same for an address that has joined, is banned, is unknown, or got too many mails."""
    await world.workshop(seats=9)
    for mail in ("in@example.org", "banned@example.org"):
        joined = await guest(world, mail)
        if mail.startswith("banned"):
            await world.joining.put_out("gpu-day", joined.membership.person, "banned", "teach")
    full = await ticket(world)
    for _ in range(5):
        await world.joining.send_digits(ProofBody(ticket=full, mail="full@example.org"))
    before = len(await world.mails())
    answers = set()
    for mail in ("in@example.org", "banned@example.org", "new@example.org", "full@example.org"):
        mine = await ticket(world)
        await world.joining.send_digits(ProofBody(ticket=mine, mail=mail))
        view = await world.joining.ticket(TicketBody(ticket=mine))
        said = [view.mail.replace(mail, "")]
        for _ in range(6):
            with pytest.raises(ProblemError) as raised:
                await world.joining.join(JoinBody(ticket=mine, digits="00000000", name="Eve"))
            said.append(raised.value.problem.model_dump_json())
        answers.add(tuple(said))
    assert len(answers) == 1
    assert {one["To"] for one in (await world.mails())[before:]} == {"in@example.org", "new@example.org"}


async def asks(world: JoiningWorld, mail: str, address: str = STRANGER, guest: str | None = None) -> bool:
    """Ask for a code to log in again; return whether a mail was sent."""
    before = len(await world.mails())
    await world.joining.begin_return(ReturnBody(mail=mail, browser=BROWSER, address=address, guest=guest))
    return len(await world.mails()) > before


async def test_a_stranger_uses_up_no_mails_of_a_guest(world: JoiningWorld) -> None:
    await world.workshop()
    await world.workshop("second", OTHER_CODE)
    mail = "ada@example.org"
    name = (await guest(world, mail)).membership.person
    assert [await asks(world, mail) for _ in range(7)] == [True] * 5 + [False] * 2
    assert await asks(world, mail, ADDRESS)  # the guest, in a new browser
    for number in range(2, 9):
        for _ in range(5):
            await asks(world, mail, f"198.51.100.{number}")
    assert not await asks(world, mail, ADDRESS)  # from there, the person would get very many mails
    assert await asks(world, mail, ADDRESS, name)  # in a browser in which they have logged in before
    assert not await asks(world, mail, STRANGER, (await guest(world, "ben@example.org")).membership.person)
    again = await ticket(world, "second", OTHER_CODE)
    await world.joining.send_digits(ProofBody(ticket=again, mail=mail))
    digits = await world.digits(mail)
    assert (await world.joining.join(JoinBody(ticket=again, digits=digits, name="Ada"))).membership.person == name
    world.ahead = timedelta(hours=1, seconds=1)
    assert await asks(world, mail)


async def test_nobody_gets_very_many_mails_whoever_asks_for_them(world: JoiningWorld) -> None:
    await world.workshop()
    mail = "ada@example.org"
    name = (await guest(world, mail)).membership.person
    for number in range(12):
        address = f"198.51.100.{number}"
        for _ in range(6):
            await asks(world, mail, address)
            await asks(world, mail, address, name)
            body = JoinCodeBody(slug="gpu-day", code=CODE, browser=BROWSER, address=address)
            mine = (await world.joining.check_code(body)).ticket
            await world.joining.send_digits(ProofBody(ticket=mine, mail=mail))
    sent = [one for one in await world.mails() if re.match(r"\d{8}\b", one["Subject"])]
    assert len(sent) == 15 + 15 + 5


async def test_a_code_that_a_stranger_asks_for_voids_none_of_the_guest_s(world: JoiningWorld) -> None:
    await world.workshop()
    mail = "ada@example.org"
    await guest(world, mail)
    mine = (await world.joining.begin_return(ReturnBody(mail=mail, browser=BROWSER, address=ADDRESS))).ticket
    digits = await world.digits(mail)
    assert await asks(world, mail)
    view = await world.joining.finish_return(ReturnedBody(ticket=mine, digits=digits))
    assert view.person.startswith("guest.ada.")


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::2:3", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("", "no address", False),
    ],
)
def test_addresses_of_one_client_network_count_together(first: str, second: str, same: bool) -> None:
    assert (network_of(first) == network_of(second)) is same


async def test_mails_for_one_workshop_are_limited(tmp_path: Path) -> None:
    world = JoiningWorld(tmp_path, workshop_mails=3)
    await world.open()
    await world.workshop()
    mine = await ticket(world)
    for number in range(3):
        await world.joining.send_digits(ProofBody(ticket=mine, mail=f"p{number}@example.org"))
    await refused(world.joining.send_digits(ProofBody(ticket=mine, mail="p9@example.org")), "join-many-mails")
    world.ahead = timedelta(hours=1, seconds=1)
    mine = await ticket(world)
    await world.joining.send_digits(ProofBody(ticket=mine, mail="p9@example.org"))
    await world.close()


@pytest.mark.parametrize(
    "mail",
    ["", "ada", "a b@example.org", "ada@example.org\nBcc: eve@example.org", "<ada@example.org>", "a@b@c", "ä@b.org"],
)
async def test_what_is_no_address_gets_no_mail(world: JoiningWorld, mail: str) -> None:
    await world.workshop()
    mine = await ticket(world)
    await refused(world.joining.send_digits(ProofBody(ticket=mine, mail=mail)), "join-mail", "invalid")
    assert not await world.mails()


async def test_domains_of_a_code_are_said_openly(world: JoiningWorld) -> None:
    await world.workshop(code_values={"domains": ("example.org",)})
    mine = await ticket(world)
    error = await refused(world.joining.send_digits(ProofBody(ticket=mine, mail="eve@evil.net")), "join-domain")
    assert "example.org" in error.problem.message
    assert (await guest(world, "ada@cs.example.org")).membership.seat == 1


async def test_terms_are_accepted_in_the_version_that_was_read(world: JoiningWorld) -> None:
    await world.workshop(terms="Be kind.")
    mine = await ticket(world)
    terms = (await world.joining.ticket(TicketBody(ticket=mine))).workshop.terms
    assert terms is not None and terms.text == "Be kind."
    for read in (None, "older"):
        await refused(world.joining.join(JoinBody(ticket=mine, person="ada", terms=read)), "join-terms", "conflict")
    await world.joining.join(JoinBody(ticket=mine, person="ada", terms=terms.version))
    [stored] = [one for one in (await world.store.members(["gpu-day"]))["gpu-day"] if one.person == "ada"]
    assert stored.terms_at is not None


async def test_a_free_seat_goes_to_who_waited_longest_who_gets_a_mail(world: JoiningWorld) -> None:
    await world.workshop(seats=1)
    ada = await guest(world, "ada@example.org")
    bob, eve = await guest(world, "bob@example.org", "Bob"), await guest(world, "eve@example.org", "Eve")
    assert [(one.membership.state, one.membership.position) for one in (bob, eve)] == [("waiting", 1), ("waiting", 2)]
    await world.joining.leave(LeaveBody(slug="gpu-day", person=ada.membership.person))
    [mine] = (await world.joining.memberships(bob.membership.person)).memberships
    assert (mine.membership.state, mine.membership.seat) == ("seated", 1)
    [mine] = (await world.joining.memberships(eve.membership.person)).memberships
    assert mine.membership.position == 1
    last = [one for one in await world.mails() if one["To"] == "bob@example.org"][-1]
    assert "You have a seat" in last["Subject"]
    again = await guest(world, "ada@example.org")  # who left waits at the end
    assert again.membership.position == 2

    await world.store.transact(lambda db: db.execute(schema.workshops.update().values(seats=2)))
    await world.joining.promote("gpu-day")
    [mine] = (await world.joining.memberships(eve.membership.person)).memberships
    assert mine.membership.seat == 2


@pytest.mark.parametrize("state", WorkshopState)
async def test_a_workshop_that_is_planned_anew_is_not_over(world: JoiningWorld, state: WorkshopState) -> None:
    await world.workshop()
    name = (await guest(world, "ada@example.org")).membership.person
    await world.store.transact(lambda db: db.execute(schema.workshops.update().values(state=state)))
    [mine] = (await world.joining.memberships(name)).memberships
    over = {WorkshopState.CLOSING, WorkshopState.ARCHIVED, WorkshopState.CANCELLED}
    assert mine.workshop.over is (state in over)
    await world.joining.leave(LeaveBody(slug="gpu-day", person=name))  # the page offers this unless it is over
    [mine] = (await world.joining.memberships(name)).memberships
    assert mine.membership.state == "left"


async def test_a_ban_ends_everything_in_the_workshop_and_nothing_else(world: JoiningWorld) -> None:
    await world.workshop()
    await world.workshop("other", "AAAA-BBBB-CCCC")
    name = (await guest(world, "ada@example.org")).membership.person
    await guest(world, "ada@example.org", slug="other", code="AAAA-BBBB-CCCC")
    await world.joining.put_out("gpu-day", name, "banned", "teach")
    assert (await world.joining.guest(name)).until is not None  # the other workshop still admits them
    await refused(person(world, name), "join-banned")
    await world.joining.put_out("other", name, "banned", "teach")
    assert (await world.joining.guest(name)).until is None
    await world.joining.readmit("other", name, "teach")
    assert (await guest(world, "ada@example.org", slug="other", code="AAAA-BBBB-CCCC")).membership.state == "seated"
    [event] = [one for one in await world.store.events("gpu-day") if one.what == "banned"]
    assert (event.by, event.detail) == ("teach", name)


async def test_a_guest_comes_back_by_mail_alone(world: JoiningWorld) -> None:
    await world.workshop()
    name = (await guest(world, "ada@example.org")).membership.person
    for mail, comes in (("ADA@example.org", True), ("nobody@example.org", False)):
        before = len(await world.mails())
        mine = (await world.joining.begin_return(ReturnBody(mail=mail, browser=BROWSER, address=ADDRESS))).ticket
        assert len(await world.mails()) == before + comes
        wrong = world.joining.finish_return(ReturnedBody(ticket=mine, digits="00000000"))
        await refused(wrong, "join-digits-wrong")
        if comes:
            digits = await world.digits("ada@example.org")
            view = await world.joining.finish_return(ReturnedBody(ticket=mine, digits=digits))
            assert view.person == name and view.until is not None
            await refused(world.joining.finish_return(ReturnedBody(ticket=mine, digits=digits)), "join-digits-void")


async def test_a_ticket_of_a_walk_is_no_way_back_and_the_other_way_round(world: JoiningWorld) -> None:
    await world.workshop()
    await guest(world, "ada@example.org")
    mine = await ticket(world)
    await world.joining.send_digits(ProofBody(ticket=mine, mail="ada@example.org"))
    digits = await world.digits("ada@example.org")
    await refused(world.joining.finish_return(ReturnedBody(ticket=mine, digits=digits)), "join-digits-void")
    asked = ReturnBody(mail="ada@example.org", browser=BROWSER, address=ADDRESS)
    back = (await world.joining.begin_return(asked)).ticket
    with pytest.raises(ProblemError) as raised:
        await world.joining.join(JoinBody(ticket=back, digits=await world.digits("ada@example.org"), name="Ada"))
    assert raised.value.status == 404


@pytest.mark.parametrize(
    ("shown", "begins"),
    [
        ("Zoë Ångström", "guest.zoeangstrom."),
        ("Ада", "guest.guest."),
        ("x" * 80, f"guest.{'x' * 20}."),
        ("<b>", "guest.b."),
    ],
)
async def test_a_name_at_the_hub_has_letters_and_digits_only(world: JoiningWorld, shown: str, begins: str) -> None:
    await world.workshop()
    assert (await guest(world, "a@example.org", shown)).membership.person.startswith(begins)


async def test_very_many_ways_back_are_forgotten_and_no_walk(
    world: JoiningWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workshops.joining.rows.MOST_TICKETS", 20)
    await world.workshop()
    mine = await ticket(world)
    for number in range(60):
        await world.joining.begin_return(ReturnBody(mail=f"x{number}@e.org", browser=BROWSER, address=ADDRESS))
    kept = await world.store.transact(lambda db: len(db.execute(select(tables.tickets)).all()))
    assert kept <= 20
    assert (await world.joining.ticket(TicketBody(ticket=mine))).workshop.slug == "gpu-day"


async def test_roles_of_a_list_are_given_at_joining(world: JoiningWorld) -> None:
    await world.workshop(seats=1)
    listed = people_list.read(b"mail,role\nhelp@example.org,helper\nada@example.org,\n")
    await world.joining.invite("gpu-day", listed, "teach")
    helper = await guest(world, "Help@example.org")
    assert (helper.membership.role, helper.membership.state, helper.membership.seat) == ("helper", "staff", None)
    assert (await guest(world, "ada@example.org")).membership.seat == 1


async def test_a_list_is_exported_without_formulas(world: JoiningWorld) -> None:
    await world.workshop()
    await world.joining.invite("gpu-day", people_list.read(b"mail,name\nbob@example.org,=1+1\n"), "teach")
    await guest(world, "ada@example.org", '=HYPERLINK("http://evil.example")')
    text = await world.joining.listed("gpu-day")
    assert "'=HYPERLINK" in text and ",'=1+1," in text
    assert "bob@example.org" in text and "invited" in text


async def test_secrets_are_not_in_the_database_or_the_log(
    world: JoiningWorld, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await world.workshop()
    mine = await ticket(world)
    await world.joining.send_digits(ProofBody(ticket=mine, mail="ada@example.org"))
    digits = await world.digits("ada@example.org")
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("workshops.sqlite*"))
    for secret in (CODE, CODE.replace("-", ""), mine, digits):
        assert secret.encode() not in kept
        assert secret not in caplog.text
    assert "ada@example.org" not in caplog.text


async def test_mails_go_to_a_real_server_and_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mailer, "_PAUSES", (0.01, 0.01))
    async with sink() as server:
        world = JoiningWorld(tmp_path, smtp=SmtpServer(host="127.0.0.1", port=server.port))
        await world.open()
        await world.workshop()
        mine = await ticket(world)
        server.refuse = [b"451 greylisted"]
        await world.joining.send_digits(ProofBody(ticket=mine, mail="ada@example.org"))
        await world.joining.mails.settle()
        [(recipients, letter)] = server.letters
        assert recipients == ["ada@example.org"] and letter["From"] == "workshops@gateway.example"
        assert letter["Auto-Submitted"] == "auto-generated"

        server.refuse = [b"550 no such person"] * 3
        await world.joining.send_digits(ProofBody(ticket=mine, mail="gone@example.org"))
        await world.joining.mails.settle()
        assert len(server.letters) == 1 and len(server.refuse) == 2  # refused for good, so not tried again
        assert "gone@example.org" not in caplog.text and "no such person" not in caplog.text
        await world.close()


async def test_a_one_time_code_does_not_wait_for_the_other_mails(tmp_path: Path) -> None:
    """The mail server is slow with mails that nobody waits for, such as those to a class that has just joined."""
    async with sink() as server:
        world = JoiningWorld(tmp_path, smtp=SmtpServer(host="127.0.0.1", port=server.port))
        await world.open()
        await world.workshop(seats=9)
        server.held = "You have joined"
        for number in range(9):
            mine = await ticket(world)
            mail = f"p{number}@example.org"
            await world.joining.send_digits(ProofBody(ticket=mine, mail=mail))
            async with asyncio.timeout(30):
                (letter,) = await server.until(lambda mail=mail: server.to(mail, "is your code"))  # type: ignore[misc]
            digits = letter["Subject"][:8]
            assert (await world.joining.join(JoinBody(ticket=mine, digits=digits, name="Ada"))).membership.seat
        assert len(server.letters) == 9
        server.free.set()
        await world.joining.mails.settle()
        assert len({(to, letter["Subject"]) for (to,), letter in server.letters}) == 18
        await world.close()


async def test_an_open_file_of_mails_is_private_and_whole(world: JoiningWorld) -> None:
    await world.workshop()
    await guest(world, "ada@example.org", "Ädä")
    modes = {path.stat().st_mode & 0o777 for path in world.mailbox.iterdir()}
    assert modes == {0o600} and world.mailbox.stat().st_mode & 0o777 == 0o700
    assert all(path.suffix == ".eml" for path in world.mailbox.iterdir())


async def test_the_socket_refuses_what_is_too_long_and_repeats_no_secret(world: JoiningWorld) -> None:
    await world.workshop()
    await world.up()
    async with world.client() as http:
        sent = {"slug": "gpu-day", "code": "S" * 5000, "browser": BROWSER, "address": ADDRESS}
        answer = await http.post("/joining/code", json=sent)
        assert answer.status_code == 400 and "SSSS" not in answer.text
        sent["code"] = CODE
        answer = await http.post("/joining/code", json=sent)
        assert answer.status_code == 200 and answer.json()["workshop"]["title"] == "GPU day"
        assert (await http.get("/joining/guests/guest.nobody.abcdef")).status_code == 404
        assert (await http.get("/joining/guests/ada")).status_code == 400
    await world.down()
