"""Joining a workshop in a real hub, beside a real service: guests, people with an account, bans, pages in a browser."""

from __future__ import annotations

import asyncio
import html
import re
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from factorycommon.models import (
    AccountThere,
    ChecklistView,
    Problem,
    ProjectView,
    SiteCheck,
    SiteRules,
)
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess, is_ready
from tests.unit.joining_world import CODE, JoiningWorld
from tests.unit.oidc_provider import OidcProvider
from tests.unit.test_accessible_pages import findings
from workshops.states import WorkshopState
from workshops.store.schema import memberships, workshops

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = "<img src=x onerror=alert(1)>"
RULES = SiteRules(version="2026-11", text="No <b>mining</b>.")
ONE = SiteCheck(factory="one", name="One", machine="ONE", accounts=(AccountThere(kind="shared"),), rules=RULES)
PROJECTS = [
    ProjectView(id=f"workshop-{slug}", title=slug, mode="other", role="member", usable=True, factories=("one",))
    for slug in ("gpu-day", "at-once")
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[JoiningWorld]:
    made = JoiningWorld(tmp_path_factory.mktemp("w"))
    await made.open()
    await made.workshop(seats=40, title=f"GPU day {HOSTILE}", terms="Be <i>kind</i>.")
    await made.workshop("full", "FFFF-FFFF-FFFF", seats=0)
    await made.workshop("later", "CCCC-CCCC-CCCC", state=WorkshopState.SCHEDULED)
    await made.workshop("at-once", "EEEE-EEEE-EEEE", seat_on_join=True)
    await made.up()
    yield made
    await made.down()
    await made.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(
    tmp_path_factory: pytest.TempPathFactory, link: FakeLink, beside: Beside, world: JoiningWorld
) -> AsyncIterator[HubProcess]:
    link.checklist = ChecklistView(sites=(ONE,))
    link.projects = PROJECTS
    made = HubProcess(tmp_path_factory.mktemp("hub"), link.socket, beside, workshops=world.socket)
    await made.up()
    yield made
    await made.kill()
    await made.http.aclose()


class Visitor:
    """A browser without scripts that walks through the pages."""

    def __init__(self, hub: HubProcess) -> None:
        self.http = httpx.AsyncClient(base_url=hub.url, timeout=60, trust_env=False, follow_redirects=True)
        self.page: httpx.Response

    async def open(self, path: str) -> Visitor:
        self.page = await self.http.get(path)
        return self

    async def send(self, step: str, **fields: str) -> httpx.Response:
        """Send the form of a step; return the next page.

        ``fields``: the form's fields; ``accept="tick"`` ticks the box.
        """
        forms = re.findall(r"<form.*?</form>", self.page.text, re.DOTALL)
        found = [form for form in forms if f'value="{step}"' in form]
        assert found, self.page.text
        action = html.unescape(re.findall(r'action="([^"]*)"', found[0])[0])
        xsrf = re.findall(r'name="_xsrf" value="([^"]*)"', found[0])[0]
        if fields.get("accept") == "tick":
            [box] = re.findall(r'id="accept" name="accept" value="([^"]*)"', found[0])
            fields["accept"] = html.unescape(box)
        self.page = await self.http.post(action, data={"_xsrf": xsrf, "step": step, **fields})
        return self.page

    async def name(self) -> str | None:
        """Return the name of the hub user who is logged in; None if nobody is."""
        answer = await self.http.get("/hub/home")
        found = re.search(r'user: "([^"]*)"', answer.text) if answer.url.path == "/hub/home" else None
        return found[1] if found else None


async def joins(hub: HubProcess, world: JoiningWorld, mail: str, name: str = "Ada", path: str = "/hub/join/gpu-day",
                code: str = CODE) -> Visitor:  # fmt: skip
    """Have a guest go through the pages of joining; return the guest's browser."""
    visitor = await Visitor(hub).open(path)
    await visitor.send("code", code=code, mail=mail)
    box = {"accept": "tick"} if 'id="accept"' in visitor.page.text else {}
    await visitor.send("join", digits=await world.digits(mail), name=name, **box)
    return visitor


async def test_a_stranger_gets_from_the_link_to_the_start_page(
    hub: HubProcess, link: FakeLink, world: JoiningWorld
) -> None:
    visitor = await Visitor(hub).open("/hub/join/gpu-day")
    assert "GPU day" not in visitor.page.text  # nothing is told without the code
    await visitor.send("code", code=CODE.lower().replace("-", " "), mail="Ada@Example.org")
    assert visitor.page.url.path == "/hub/join/gpu-day" and visitor.page.url.query == b""
    assert HOSTILE not in visitor.page.text and html.escape(HOSTILE) in visitor.page.text
    assert "Be &lt;i&gt;kind&lt;/i&gt;." in visitor.page.text and "No &lt;b&gt;mining&lt;/b&gt;." in visitor.page.text
    assert "(Europe/Helsinki)" in visitor.page.text
    await visitor.send("join", digits=await world.digits("ada@example.org"), name=HOSTILE, accept="tick")
    assert visitor.page.url.path.startswith("/hub/spawn")
    wanted = parse_qs(visitor.page.url.query.decode())
    assert wanted["opt-project"] == ["workshop-gpu-day"] and wanted["opt-factory"] == ["one"]
    assert (wanted["opt-size"], wanted["opt-hours"]) == (["small"], ["2"])
    assert HOSTILE not in visitor.page.text
    name = await visitor.name()
    assert name is not None and re.fullmatch(r"guest\.imgsrcxonerroralert\w*\.[a-z0-9]{6}", name)
    assert link.accepted[name, "one"] == RULES.version
    told = await link.until_told(name, lambda told: told.access is not None and told.access.refusal is None)
    assert told.access is not None and told.access.until is not None
    shown = (await hub.api("GET", f"/users/{name}")).json()
    assert (shown["admin"], shown["groups"], shown["roles"]) == (False, [], ["user"])
    assert CODE not in hub.log and "ada@example.org" not in hub.log.lower()

    page = (await visitor.http.get("/hub/join/gpu-day")).text  # the way back in
    assert "Your seat is number" in page and "To my session" in page


async def test_where_seats_run_at_once_joining_starts_the_session(
    hub: HubProcess, link: FakeLink, world: JoiningWorld
) -> None:
    link.auto = False  # so that the session waits
    at_once = {"path": "/hub/join/at-once", "code": "EEEE-EEEE-EEEE"}
    visitor = await joins(hub, world, "quick@example.org", **at_once)
    name = visitor.page.url.path.rpartition("/")[2]
    assert visitor.page.url.path == f"/hub/spawn-pending/{name}" and name.startswith("guest.ada.")
    session = await link.until(None, lambda one: one.user == name)  # the hub accepts the start before it exists
    choice = link.requests[session.id].choice
    assert (choice.factory, choice.size, choice.hours, choice.project) == ("one", "small", 2, "workshop-at-once")
    link.auto = True

    link.refuse = Problem(kind="limit", message="No more sessions here.")
    try:
        with hub.patient():
            visitor = await joins(hub, world, "refused@example.org", **at_once)
    finally:
        link.refuse = None
    assert visitor.page.url.path == "/hub/spawn"  # they have joined, and may try it there
    assert parse_qs(visitor.page.url.query.decode())["opt-project"] == ["workshop-at-once"]
    refused = await visitor.name()
    assert refused is not None and not link.live(refused)


async def test_wrong_codes_and_digits_are_said_at_their_fields(hub: HubProcess, world: JoiningWorld) -> None:
    visitor = await Visitor(hub).open("/hub/join/no-such-workshop")
    answer = await visitor.send("code", code="", mail="x@example.org")
    assert answer.status_code == 400 and 'id="code-wrong"' in answer.text
    answer = await visitor.send("code", code=CODE, mail="x@example.org")
    assert answer.status_code == 403 and "of another workshop" in answer.text and 'value="x@example.org"' in answer.text
    await visitor.open("/hub/join/gpu-day")
    answer = await visitor.send("code", code=CODE, mail="x@example")
    answer = await visitor.send("mail", mail='"><script>alert(1)</script>')
    assert answer.status_code == 400 and "<script>alert" not in answer.text
    await visitor.send("mail", mail="wrong@example.org")
    answer = await visitor.send("join", digits="1234", name="", accept="tick")
    assert answer.status_code == 400 and 'id="name-wrong"' in answer.text
    answer = await visitor.send("join", digits="1234", name="Eve")
    assert answer.status_code == 400 and 'id="accept-wrong"' in answer.text and 'value="Eve"' in answer.text
    answer = await visitor.send("join", digits="1234", name="Eve", accept="gateway=0")
    assert "The terms have changed" in answer.text
    answer = await visitor.send("join", digits="1234", name="Eve", accept="tick")
    assert answer.status_code == 403 and re.search(r'id="digits-wrong">This code is wrong', answer.text)
    assert 'aria-invalid="true"' in answer.text and 'role="alert"' in answer.text
    assert await visitor.name() is None


async def test_a_form_without_its_xsrf_token_does_nothing(hub: HubProcess) -> None:
    visitor = await Visitor(hub).open("/hub/join/gpu-day")
    answer = await visitor.http.post("/hub/join/gpu-day", data={"step": "code", "code": CODE})
    assert answer.status_code == 403
    assert "fg-join-ticket" not in visitor.http.cookies


async def test_a_person_with_an_account_joins_with_one_click_after_the_code(
    hub: HubProcess, link: FakeLink, world: JoiningWorld
) -> None:
    visitor = Visitor(hub)
    visitor.http = await hub.login("bob")
    visitor.http.headers["Accept-Language"] = "en-GB,en;q=0.9"
    await visitor.open("/hub/join/gpu-day")
    assert "You are signed in as bob" in visitor.page.text and 'id="mail"' not in visitor.page.text
    await visitor.send("code", code=CODE)
    await visitor.send("join", accept="tick")
    assert visitor.page.url.path.startswith("/hub/spawn")
    assert link.accepted["bob", "one"] == RULES.version
    mine = [one for one in (await world.store.members(["gpu-day"]))["gpu-day"] if one.person == "bob"]
    assert [one.language for one in mine] == ["en"]

    await visitor.open("/hub/join/full")  # nothing to accept there any more: the code is enough
    await visitor.send("code", code="FFFF-FFFF-FFFF")
    assert "number 1 in the waiting list" in visitor.page.text
    await visitor.send("leave")
    assert "waiting list" not in visitor.page.text

    await visitor.send("code", code="FFFF-FFFF-FFFF")
    over = workshops.update().where(workshops.c.slug == "full").values(state=WorkshopState.ARCHIVED)
    await world.store.transact(lambda db: db.execute(over))
    await visitor.open("/hub/join/full")
    assert "This workshop is over" in visitor.page.text and "waiting list" not in visitor.page.text


async def test_the_language_of_the_page_is_told_to_the_service(hub: HubProcess, world: JoiningWorld) -> None:
    visitor = Visitor(hub)
    visitor.http.headers["Accept-Language"] = "xx,pl-PL;q=0.8"
    await visitor.open("/hub/join/gpu-day")
    await visitor.send("code", code=CODE, mail="pola@example.org")
    box = {"accept": "tick"} if 'id="accept"' in visitor.page.text else {}
    await visitor.send("join", digits=await world.digits("pola@example.org"), name="Pola", **box)
    (mine,) = [one for one in (await world.store.members(["gpu-day"]))["gpu-day"] if one.name == "Pola"]
    assert mine.language == "pl"
    mails = [one for one in await world.mails() if one["To"] == "pola@example.org"]
    assert [one["Content-Language"] for one in mails] == ["pl", "pl"]
    assert "to Państwa kod" in mails[0]["Subject"] and mails[1]["Subject"].startswith("Dołączyli Państwo: ")


async def test_pages_and_mails_show_the_times_of_the_workshop_s_zone(hub: HubProcess, world: JoiningWorld) -> None:
    """In that zone, clocks are set forward between the opening and the start."""
    opens, starts = datetime(2027, 3, 13, 21, 30, tzinfo=UTC), datetime(2027, 3, 14, 11, 30, tzinfo=UTC)
    times = {
        "opens": opens,
        "starts": starts,
        "ends": starts + timedelta(hours=3),
        "closes": starts + timedelta(hours=4),
    }
    await world.workshop("clocks", "DDDD-DDDD-DDDD", zone="America/St_Johns", state=WorkshopState.SCHEDULED, **times)
    visitor = await Visitor(hub).open("/hub/join/clocks")
    await visitor.send("code", code="DDDD-DDDD-DDDD", mail="zoe@example.org")
    box = {"accept": "tick"} if 'id="accept"' in visitor.page.text else {}
    for at, shown in ((opens, "Sat 13 Mar 2027 18:00"), (starts, "Sun 14 Mar 2027 09:00")):
        assert f'<time datetime="{at.isoformat()}">{shown} (America/St_Johns)</time>' in visitor.page.text
    await visitor.send("join", digits=await world.digits("zoe@example.org"), name="Zoe", **box)
    text = [one for one in await world.mails() if one["To"] == "zoe@example.org"][-1].get_content()
    assert "It begins: 14 March 2027, 09:00 (America/St_Johns)" in text
    assert "It ends: 14 March 2027, 12:00 (America/St_Johns)" in text
    work = "You can work from 13 March 2027, 18:00 (America/St_Johns) to 14 March 2027, 13:00 (America/St_Johns)."
    assert work in text


async def test_the_mail_of_a_guest_who_comes_back_is_in_the_language_of_the_page(
    hub: HubProcess, world: JoiningWorld
) -> None:
    visitor = Visitor(hub)
    await visitor.open("/hub/join/gpu-day")
    await visitor.send("code", code=CODE, mail="rene@example.org")
    box = {"accept": "tick"} if 'id="accept"' in visitor.page.text else {}
    await visitor.send("join", digits=await world.digits("rene@example.org"), name="René", **box)
    back = Visitor(hub)
    back.http.headers["Accept-Language"] = "fr"
    await back.open("/hub/join")
    await back.send("mail", mail="rene@example.org")
    last = [one for one in await world.mails() if one["To"] == "rene@example.org"][-1]
    assert last["Subject"].endswith("est votre code") and "revenir dans votre atelier" in last.get_content()


async def test_who_has_an_account_signs_in_in_the_middle(hub: HubProcess) -> None:
    visitor = await Visitor(hub).open("/hub/join/later")
    await visitor.send("code", code="CCCC-CCCC-CCCC", other="login")
    assert visitor.page.url.path == "/hub/login"
    assert parse_qs(visitor.page.url.query.decode())["next"] == ["/hub/join/later"]
    xsrf = visitor.http.cookies["_xsrf"]
    form = {"username": "ada", "password": "ada-secret", "_xsrf": xsrf}
    answer = await visitor.http.post("/hub/login?next=%2Fhub%2Fjoin%2Flater", data=form)
    if answer.url.path == "/hub/checklist":  # the site's rules; they are in the walk, too
        answer = await visitor.http.get("/hub/join/later")
    visitor.page = answer
    assert "Your code is right. You are signed in as ada." in answer.text
    await visitor.send("join", accept="tick")
    assert visitor.page.url.path == "/hub/join/later"
    assert "You can start your session when the workshop opens" in visitor.page.text


async def test_members_of_a_workshop_that_is_planned_anew_see_their_seat(hub: HubProcess, world: JoiningWorld) -> None:
    await world.workshop("anew", "DDDD-DDDD-DDDD", state=WorkshopState.SCHEDULED)
    visitor = await joins(hub, world, "anew@example.org", path="/hub/join/anew", code="DDDD-DDDD-DDDD")
    drafts = workshops.update().where(workshops.c.slug == "anew").values(state=WorkshopState.DRAFT)
    await world.store.transact(lambda db: db.execute(drafts))
    await visitor.open("/hub/join/anew")
    assert "Your seat is number 1" in visitor.page.text and "This workshop is over" not in visitor.page.text
    assert "when the workshop opens" in visitor.page.text and "To my session" not in visitor.page.text
    role = memberships.update().where(memberships.c.workshop == "anew")
    await world.store.transact(lambda db: db.execute(role.values(role="observer")))
    await visitor.open("/hub/join/anew")
    assert "You have joined" in visitor.page.text and "when the workshop opens" not in visitor.page.text
    await world.store.transact(lambda db: db.execute(role.values(role="participant")))
    back = await Visitor(hub).open("/hub/join")
    await back.send("mail", mail="anew@example.org")
    await back.send("digits", digits=await world.digits("anew@example.org"))
    assert back.page.url.path == "/hub/join/anew"
    await back.send("leave")
    assert back.page.status_code == 200 and "Workshop code" in back.page.text


async def test_a_banned_guest_is_refused_at_once(hub: HubProcess, link: FakeLink, world: JoiningWorld) -> None:
    link.auto = True
    visitor = await joins(hub, world, "banned@example.org")
    name = await visitor.name()
    assert name is not None
    token = (await hub.api("POST", f"/users/{name}/tokens", json={})).json()["token"]
    assert (await hub.api("POST", f"/users/{name}/server", token, json={"factory": "one"})).status_code in (201, 202)
    await hub.until(name, is_ready)
    await world.joining.put_out("gpu-day", name, "banned", "teach")
    async with asyncio.timeout(60):
        while await visitor.name() is not None:  # the hub keeps an answer for two seconds
            await asyncio.sleep(0.1)
    assert (await visitor.http.get("/hub/join/gpu-day")).text.count("To my session") == 0
    with hub.patient():
        answer = await hub.api("POST", f"/users/{name}/servers/more", json={"factory": "one"})
    assert answer.status_code == 403 and "No workshop admits you" in answer.json()["message"]
    assert (await hub.api("GET", "/user", token)).status_code == 403
    await link.until_told(name, lambda told: told.blocked)
    # The right code and the right address do not help.
    again = await Visitor(hub).open("/hub/join/gpu-day")
    await again.send("code", code=CODE, mail="banned@example.org")
    answer = await again.send("join", digits="00000000", name="Eve", accept="tick")
    assert "This code is wrong" in answer.text
    back = await Visitor(hub).open("/hub/join")
    await back.send("mail", mail="banned@example.org")
    answer = await back.send("digits", digits=await world.digits("banned@example.org"))
    assert answer.status_code == 403 and "cannot be logged in" in answer.text
    assert await back.name() is None


async def test_a_guest_comes_back_by_mail(hub: HubProcess, world: JoiningWorld) -> None:
    first = await joins(hub, world, "back@example.org")
    name = await first.name()
    visitor = await Visitor(hub).open("/hub/login?next=%2Fhub%2Fjoin%2Fgpu-day")
    assert 'href="/hub/join?next=%2Fhub%2Fjoin%2Fgpu-day"' in visitor.page.text
    await visitor.open("/hub/join?next=%2Fhub%2Fjoin%2Fgpu-day")
    await visitor.send("mail", mail="back@example.org")
    answer = await visitor.send("digits", digits="00000000")
    assert answer.status_code == 403 and 'id="digits-wrong"' in answer.text
    await visitor.send("digits", digits=await world.digits("back@example.org"))
    assert visitor.page.url.path == "/hub/join/gpu-day" and "Your seat is number" in visitor.page.text
    assert await visitor.name() == name


async def test_a_guest_comes_back_although_a_stranger_has_used_up_the_mails(
    hub: HubProcess, world: JoiningWorld
) -> None:
    mail = "wanted@example.org"
    guest = await joins(hub, world, mail)
    name = await guest.name()
    await guest.open("/hub/logout")
    for _ in range(6):
        stranger = await Visitor(hub).open("/hub/join")  # at the same network address
        await stranger.send("mail", mail=mail)
    digits = await world.digits(mail)
    await guest.open("/hub/join")
    await guest.send("mail", mail=mail)
    assert await world.digits(mail) != digits
    await guest.send("digits", digits=await world.digits(mail))
    assert await guest.name() == name


@pytest.mark.parametrize("next_url", ["//evil.example", "https://evil.example", "/\\evil.example"])
async def test_the_way_back_leads_nowhere_else(hub: HubProcess, world: JoiningWorld, next_url: str) -> None:
    mail = f"next{abs(hash(next_url)) % 10**6}@example.org"
    await joins(hub, world, mail)
    visitor = Visitor(hub)
    visitor.page = await visitor.http.get("/hub/join", params={"next": next_url})
    await visitor.send("mail", mail=mail)
    await visitor.send("digits", digits=await world.digits(mail))
    assert visitor.page.url.host == urlsplit(hub.url).hostname


async def test_no_other_login_gets_a_guest_s_name(hub: HubProcess, world: JoiningWorld) -> None:
    name = await (await joins(hub, world, "mine@example.org")).name()
    visitor = await Visitor(hub).open("/hub/login")
    form = {"username": name, "password": "x", "_xsrf": visitor.http.cookies["_xsrf"]}
    assert (await visitor.http.post("/hub/login", data=form)).status_code == 403
    form |= {"joined_guest": name or "", "guest": name or ""}
    assert (await visitor.http.post("/hub/login", data=form)).status_code == 403
    assert await visitor.name() is None


async def test_a_silent_service_keeps_guests_in_and_says_so_to_others(
    hub: HubProcess, link: FakeLink, world: JoiningWorld
) -> None:
    visitor = await joins(hub, world, "stays@example.org")
    name = await visitor.name()
    await world.down()
    try:
        assert await visitor.name() == name
        answer = await hub.api("POST", f"/users/{name}/server", json={"factory": "one"})
        assert answer.status_code in (201, 202), answer.text
        stranger = await Visitor(hub).open("/hub/join/gpu-day")
        answer = await stranger.send("code", code=CODE, mail="new@example.org")
        assert answer.status_code == 503 and "do not answer at the moment" in answer.text
        await visitor.open("/hub/join/gpu-day")
        assert visitor.page.status_code == 503 and "do not answer at the moment" in visitor.page.text
        await hub.kill()
        await hub.up()
        assert await visitor.name() == name  # a restarted hub knows nothing of guests yet
    finally:
        await world.up()


async def test_sixty_people_behind_one_address_join_while_a_thousand_codes_are_guessed(
    hub: HubProcess, world: JoiningWorld
) -> None:
    """The test has some people and some guesses; ``tests/timing/test_class_joins.py`` has the full numbers."""
    refused = []
    guesser = Visitor(hub)
    for number in range(40):
        if number % 8 == 0:
            guesser = await Visitor(hub).open("/hub/join/gpu-day")
        code = "".join(secrets.choice("23456789ABCDEFGH") for _ in range(12))
        refused.append((await guesser.send("code", code=code)).status_code)
        if number % 10 == 5:
            visitor = await joins(hub, world, f"class{number}@example.org")
            assert await visitor.name() is not None
    assert set(refused) == {403}


# --- in a browser


async def open_page(browser: Browser, hub: HubProcess, **options: Any) -> Page:
    context = await browser.new_context(base_url=hub.url, locale="en-GB", reduced_motion="reduce", **options)
    return await context.new_page()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_on_a_phone_by_keyboard_and_without_faults_of_axe(
    hub: HubProcess, world: JoiningWorld, browser: Browser, scheme: Any
) -> None:
    page = await open_page(browser, hub, viewport={"width": 360, "height": 780}, color_scheme=scheme)
    clicks = 0

    async def check() -> None:
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360
        assert await findings(page) == []

    await page.goto(f"/hub/join/gpu-day#{CODE}")
    await expect(page.locator("#code")).to_have_value(CODE)
    await expect(page).to_have_url(re.compile("^[^#]*$"))  # the code is in no history
    await expect(page.locator("#mail")).to_be_focused()
    await check()
    await page.keyboard.type(f"phone-{scheme}@example.org")
    await page.keyboard.press("Enter")
    clicks += 1
    await expect(page.locator("#digits")).to_be_focused()
    await check()
    await page.keyboard.type(await world.digits(f"phone-{scheme}@example.org"))
    await page.keyboard.press("Tab")
    await page.keyboard.type("Ada")
    await page.locator("#accept").focus()
    await page.keyboard.press("Space")
    clicks += 1
    await page.keyboard.press("Enter")
    clicks += 1
    await page.wait_for_url("**/hub/spawn?**")
    assert clicks + 1 <= 6  # one more is Start
    await page.goto("/hub/join/gpu-day")
    await expect(page.locator("#fg-start-link")).to_be_visible()
    await check()
    await page.goto("/hub/join")
    await check()
    await page.context.close()


async def test_a_form_is_sent_once_and_again_after_stop(hub: HubProcess, browser: Browser) -> None:
    """The hub does not answer meanwhile, so that the browser shows its Stop button."""
    context = await browser.new_context(base_url=hub.url, locale="en-GB")
    page = await context.new_page()
    await page.goto("/hub/join/gpu-day")
    await page.get_by_label("Workshop code").fill("9999-9999-9999")
    sent: list[Route] = []
    asked = asyncio.Event()

    async def hold(route: Route) -> None:
        if route.request.method == "POST":
            sent.append(route)
            asked.set()
        else:
            await route.continue_()

    await page.route("**/hub/join/gpu-day", hold)
    button = page.get_by_role("button", name="Continue")
    browser_itself = await context.new_cdp_session(page)
    for times in (1, 2, 3):
        asked.clear()
        await button.evaluate("(it) => { it.click(); it.click(); }")
        await asyncio.wait_for(asked.wait(), 60)
        assert len(sent) == times
        await browser_itself.send("Page.stopLoading")
    await page.unroute("**/hub/join/gpu-day", hold)
    await button.click()
    await expect(page.locator("#fg-wrong")).to_contain_text("This code is wrong")
    await context.close()


async def test_mistakes_are_announced_and_lead_to_their_field(hub: HubProcess, browser: Browser) -> None:
    page = await open_page(browser, hub)
    await page.goto("/hub/join/gpu-day")
    await page.get_by_label("Workshop code").fill("AAAA-AAAA-AAAA")
    await page.get_by_label("Your mail address").fill("eve@example.org")
    await page.get_by_role("button", name="Continue").click()
    await expect(page.get_by_role("alert")).to_contain_text("This code is wrong")
    await expect(page.get_by_label("Workshop code")).to_be_focused()
    assert (await page.title()).startswith("Not yet:")
    assert await findings(page) == []
    await page.context.close()


# --- beside login providers


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def provider(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OidcProvider]:
    made = OidcProvider(tmp_path_factory.mktemp("provider"), seconds=60)
    made.up()
    yield made
    made.down()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def federated(
    tmp_path_factory: pytest.TempPathFactory,
    link: FakeLink,
    beside: Beside,
    world: JoiningWorld,
    provider: OidcProvider,
) -> AsyncIterator[HubProcess]:
    folder = tmp_path_factory.mktemp("federated")
    (folder / "crypt").write_text(secrets.token_hex(32))
    (folder / "crypt").chmod(0o600)
    made = HubProcess(
        folder,
        link.socket,
        beside,
        workshops=world.socket,
        login={
            "people_file": "people.sqlite",
            "crypt_key_file": "crypt",
            "terms": {"version": "7", "text": "Gateway <b>terms</b>."},
            "providers": [provider.settings(folder, rules=[{"everybody": True, "gives": "all"}])],
        },
    )
    await made.up()
    yield made
    await made.kill()
    await made.http.aclose()


async def test_a_guest_beside_login_providers_accepts_all_terms_in_one_walk(
    federated: HubProcess, link: FakeLink, world: JoiningWorld
) -> None:
    visitor = await Visitor(federated).open("/hub/join/gpu-day")
    await visitor.send("code", code=CODE, mail="fed@example.org")
    for text in ("Gateway &lt;b&gt;terms&lt;/b&gt;.", "Be &lt;i&gt;kind&lt;/i&gt;.", "No &lt;b&gt;mining&lt;/b&gt;."):
        assert text in visitor.page.text
    await visitor.send("join", digits=await world.digits("fed@example.org"), name="Fed", accept="tick")
    assert visitor.page.url.path.startswith("/hub/spawn")
    name = await visitor.name()
    assert name is not None and name.startswith("guest.fed.")
    told = (await link.until_told(name, lambda told: told.access is not None and told.access.terms == "7")).access
    assert told is not None and told.refusal is None
    assert (await federated.api("GET", f"/users/{name}")).json()["groups"] == []
    answer = await federated.api("POST", f"/users/{name}/server", json={"factory": "one"})
    assert answer.status_code in (201, 202), answer.text


async def test_a_login_provider_s_person_joins_and_its_guest_is_another(
    federated: HubProcess, world: JoiningWorld, provider: OidcProvider
) -> None:
    """A provider's person whose name looks like a guest's gets another name, which no guest of a workshop has."""
    provider.says("sub1", preferred_username="guest.fed.abcdef", given_name="Guest")
    visitor = await Visitor(federated).open("/hub/join/gpu-day")
    await visitor.send("code", code=CODE, other="login")
    assert visitor.page.url.path == "/hub/login"
    begun = await visitor.http.get("/hub/oidc/mine/login?next=%2Fhub%2Fjoin%2Fgpu-day", follow_redirects=False)
    visitor.page = await visitor.http.post(begun.headers["Location"], data={"sub": "sub1"})
    if visitor.page.url.path == "/hub/checklist":
        await visitor.open("/hub/join/gpu-day")
    await visitor.send("join", accept="tick")
    assert visitor.page.url.path.startswith("/hub/spawn"), visitor.page.text
    assert await visitor.name() == "guestfedabcdef-1"
