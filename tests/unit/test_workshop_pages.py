"""The pages of workshops in a real hub: a trainer without a right at the hub creates one, and an operator approves."""

from __future__ import annotations

import asyncio
import dataclasses
import html
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from unittest.mock import AsyncMock

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import update

from factorycommon.messages import Message
from factorycommon.models import NetworkFactory, NetworkSize, NetworkView
from factorycommon.models.messages import Phrase
from factorycommon.models.sessions import Words
from factorycommon.models.workshops.help import HandBody, LookBody
from factorycommon.models.workshops.seats import HeldAccounts, SeatPlace
from factorycommon.service.problems import ProblemError, conflict, forbidden
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess
from tests.unit.rehearsal_stage import RehearsedLink
from tests.unit.serving import serving
from tests.unit.test_workshop_help import HOSTILE, png
from tests.unit.workshops_world import BEGIN, SECRET, WorkshopsWorld, body, workshops_world
from workshops.api.hub import hub_app
from workshops.ending import certificates
from workshops.models.callers import WorkshopCaller
from workshops.models.material import FetchResult, RefusedFile
from workshops.models.rehearsal import RehearsalLine, RehearsalResult
from workshops.models.seats import SeatProgress
from workshops.rehearsal import proof, wave
from workshops.rehearsal import rows as rehearsed
from workshops.seats import rows
from workshops.states import WorkshopState
from workshops.store.rehearsal_table import RehearsalRow
from workshops.store.schema import EventRecord, workshops
from workshops.store.seat_tables import SeatRow, WarmUpRow

pytestmark = pytest.mark.asyncio(loop_scope="module")
ADA, BOB = WorkshopCaller("ada", operator=True), WorkshopCaller("bob")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WorkshopsWorld]:
    folder = tmp_path_factory.mktemp("w")
    async with (
        workshops_world(folder, trainers={"people": ["bob"]}) as made,
        serving(hub_app(made.workshops, made.joining, made.of_hub), folder / "w.sock"),
    ):
        yield made


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def seats_given_back(world: WorkshopsWorld) -> AsyncIterator[None]:
    """End the workshops of a test after it, since the workshops of all tests share the seats of the pools."""
    yield
    for one in await world.store.all(over=False):
        if one.state != "closing":
            await world.workshops.take(ADA, one.slug, "close" if one.state in ("warming", "open") else "cancel")
    closing = update(workshops).where(workshops.c.state == WorkshopState.CLOSING)
    await world.store.transact(lambda db: db.execute(closing.values(state=WorkshopState.ARCHIVED)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(
    tmp_path_factory: pytest.TempPathFactory, link: FakeLink, beside: Beside, world: WorkshopsWorld
) -> AsyncIterator[HubProcess]:
    """Start a hub in which ada is an operator and bob is a trainer, and whose link knows one of the factories."""
    parts = (Phrase(text="1 x <A100> 64 GB"), Phrase(text=Message("up-to-hours", "up to {hours} h").format(hours="8")))
    one = NetworkFactory(
        id="one", name="Factory One", state="live", machine="M", coming=None, host="H", city="C", country="DE", at=None,
        health=None, sizes=(NetworkSize(id="gpu-1", parts=parts),),
    )  # fmt: skip
    link.network = NetworkView(factories=(one,), antennas=())
    socket = world.config.pools.parent / "w.sock"
    extra = "c.Authenticator.admin_users = {'ada'}"
    made = HubProcess(tmp_path_factory.mktemp("hub"), link.socket, beside, extra, workshops=socket)
    await made.up()
    yield made
    await made.kill()
    await made.http.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ada(hub: HubProcess) -> AsyncIterator[httpx.AsyncClient]:
    browser = await hub.login("ada")
    yield browser
    await browser.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bob(hub: HubProcess) -> AsyncIterator[httpx.AsyncClient]:
    browser = await hub.login("bob")
    yield browser
    await browser.aclose()


async def send(browser: httpx.AsyncClient, path: str, **fields: str | list[str]) -> httpx.Response:
    page = (await browser.get(path)).text
    xsrf = re.findall(r'name="_xsrf" value="([^"]*)"', page)[0]
    return await browser.post(path, data={"_xsrf": xsrf, **fields}, follow_redirects=False)


def fields(**changed: str | list[str]) -> dict[str, str | list[str]]:
    """Return the fields of a filled form, which plans a class in Berlin two days after ``BEGIN``.

    ``changed``: replace fields.
    """
    day = f"{BEGIN + timedelta(days=2):%Y-%m-%d}"
    times = {"opens": "09:00", "starts": "10:00", "ends": "12:00", "closes": "13:00"}
    return {
        "title": "GPUs for beginners",
        "zone": "Europe/Berlin",
        **{name: f"{day}T{at}" for name, at in times.items()},
        "place-1": "class/one/gpu-1/",
        "place-2": "other/two/gpu-2/python",
        "place-3": "",
        "seats": "2",
        "hours": "3",
        "gpu_hours": "",
        "person_gpu_hours": "",
        "terms": "",
        "languages": ["en", "de"],
        "retention_days": "30",
        "repository": "",
        "commit": "",
        "domains": "example.org, example.com",
        "order": "submit",
        **changed,
    }


async def created(browser: httpx.AsyncClient, **changed: str | list[str]) -> str:
    """Create a workshop by the form; return the path and the query of its page. ``changed``: fields of the form."""
    answer = await send(browser, "/hub/workshops/new", **fields(**changed))
    assert answer.status_code == 302, answer.text
    return answer.headers["Location"]


async def scheduled(world: WorkshopsWorld, ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> tuple[str, str]:
    """Let bob create a workshop, and ada approve it; return the path of its page, and its slug."""
    path = (await created(bob)).split("?")[0]
    await send(ada, path, order="approve")
    await world.clockwork.look()
    return path, path.split("/")[-1]


async def test_a_trainer_creates_a_workshop_and_an_operator_approves_it(
    world: WorkshopsWorld, ada: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    empty = (await bob.get("/hub/workshops")).text
    assert "No workshops yet" in empty
    assert "Create the first workshop" in empty
    where = await created(bob)
    page = (await bob.get(where)).text
    (code,) = re.findall(r'<code class="fg-code-text">([^<]*)</code>', page)
    slug = where.split("/")[-1].split("?")[0]
    assert f"https://hub.example.org/hub/join/{slug}#{code}" in page
    assert code not in (await bob.get(where)).text  # shown once
    for one in (page, (await bob.get(where.split("?")[0])).text):  # also later
        assert one.count("waits for an operator’s approval") == 1
    stored = await world.store.get(slug)
    assert stored is not None
    assert stored.opens == (BEGIN + timedelta(days=2)).replace(hour=8)  # nine in Berlin
    assert [(place.factory, place.environment) for place in stored.places] == [("one", None), ("two", "python")]
    plain = where.split("?")[0]
    assert (await send(bob, plain, order="approve")).status_code == 403
    assert "Waiting for approval" in (await ada.get("/hub/workshops")).text
    done = await send(ada, plain, order="approve")
    assert (done.status_code, done.headers["Location"]) == (302, f"{plain}?done=approve")
    await world.clockwork.look()
    shown = (await bob.get(plain)).text
    assert 'data-state="scheduled"' in shown
    assert "30 Nov 2026" in shown


async def test_an_operator_declines_with_a_reason(ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    path = (await created(bob)).split("?")[0]
    assert (await send(ada, path, order="decline", reason=" ")).status_code == 400
    assert (await send(ada, path, order="decline", reason="Too <b>early</b>.")).status_code == 302
    page = (await bob.get(path)).text
    assert "Too &lt;b&gt;early&lt;/b&gt;." in page
    assert "Ask for approval" in page


@pytest.mark.parametrize(
    ("wrong", "status", "says", "at"),
    [
        ({"title": ""}, 400, "Give a title of 1 to 120 characters.", "title"),
        ({"zone": "Mars"}, 400, "Choose a time zone", "zone"),
        ({"starts": "soon"}, 400, "Give a day and a time.", "starts"),
        ({"ends": "2026-11-30T09:30"}, 400, "The times must be in this order", "ends"),
        ({"seats": "many"}, 400, "Give a number of seats", "seats"),
        ({"place-1": "", "place-2": ""}, 400, "Choose where the class takes place.", "places"),
        ({"place-1": "class/one/gpu-9/"}, 400, "with these sizes only: gpu-1", "places"),
        ({"gpu_hours": "1000"}, 400, "at most 100 GPU-hours", "gpu_hours"),
        ({"repository": "git@x:y"}, 400, "Give the address of a git repository", "material"),
        ({"domains": "@"}, 400, "Give mail domains", "code"),
        ({"seats": "21"}, 409, "there are 20 seats for workshops", ""),
    ],
)
async def test_what_is_wrong_is_said_at_its_field_and_nothing_typed_is_lost(
    bob: httpx.AsyncClient, wrong: dict[str, str], status: int, says: str, at: str
) -> None:
    answer = await send(bob, "/hub/workshops/new", **fields(**{"terms": "Typed & kept", **wrong}))
    assert (answer.status_code, says in answer.text) == (status, True), answer.text
    assert "Typed &amp; kept" in answer.text
    if at:
        assert f'id="{at}-wrong"' in answer.text
        assert f'aria-describedby="{at}-wrong' in answer.text


async def test_a_workshop_is_changed_and_a_second_change_does_not_undo_it(bob: httpx.AsyncClient) -> None:
    path = (await created(bob, order="draft")).split("?")[0]
    form = (await bob.get(f"{path}/change")).text
    (version,) = re.findall(r'name="version" value="(\d+)"', form)
    assert 'value="2026-11-30T09:00"' in form  # as clocks there show it
    assert 'value="class/one/gpu-1/" selected' in form
    assert (await send(bob, f"{path}/change", **fields(title="New", version=version))).status_code == 302
    late = await send(bob, f"{path}/change", **fields(title="Other", version=version))
    assert (late.status_code, "Somebody else has changed the workshop" in late.text) == (409, True)
    assert "<h1>New</h1>" in (await bob.get(path)).text


async def test_people_get_roles_and_only_people_of_a_workshop_see_it(
    hub: HubProcess, world: WorkshopsWorld, bob: httpx.AsyncClient
) -> None:
    path = (await created(bob, title="<img src=x onerror=alert(1)>")).split("?")[0]
    assert "&lt;img src=x onerror=alert(1)&gt;" in (await bob.get(path)).text
    assert "<img src=x" not in (await bob.get(path)).text
    other = (await world.workshops.create(ADA, body(submit=False))).slug
    assert (await bob.get(f"/hub/workshops/{other}")).status_code == 404
    assert (await bob.get(f"/hub/workshops/{other}/change")).status_code == 404
    assert other not in (await bob.get("/hub/workshops")).text
    assert (await send(bob, path, order="role", person="cyd", role="helper")).status_code == 302
    assert (await send(bob, path, order="role", person="", role="helper")).status_code == 400
    assert (await send(bob, path, order="role", person="cyd", role="admin")).status_code == 400
    answer = await send(bob, path, order="code", domains="@")
    assert answer.status_code == 400
    assert 'id="domains-wrong">Give mail domains such as example.org' in answer.text
    answer = await send(bob, path, order="decline", reason="")
    assert 'id="reason-wrong"' not in answer.text
    assert re.search(r'role="alert">\s*Write a reason', answer.text)
    assert "cyd" in (await bob.get(path)).text
    assert (await send(bob, path, order="remove", person="cyd")).status_code == 302
    assert (await send(bob, path, order="remove", person="bob")).status_code == 409  # somebody leads
    assert (await send(bob, path, order="explode")).status_code == 400
    new = await send(bob, path, order="code", domains="example.org")
    assert "example.org" in (await bob.get(new.headers["Location"])).text
    stranger = await hub.http.get(path, follow_redirects=False)
    assert (stranger.status_code, stranger.headers["Location"].partition("?")[0]) == (302, "/hub/login")


async def test_lists_are_sent_and_got_and_people_are_banned(
    hub: HubProcess, world: WorkshopsWorld, ada: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    path = (await created(bob)).split("?")[0]
    page = (await bob.get(path)).text
    xsrf = re.findall(r'name="_xsrf" value="([^"]*)"', page)[0]

    async def upload(text: str) -> httpx.Response:
        files = {"list": ("people.csv", text.encode(), "text/csv")}
        return await bob.post(path, data={"_xsrf": xsrf, "order": "list"}, files=files, follow_redirects=False)

    wrong = await upload("mail,role\nada@example.org,boss\n<img src=x onerror=alert(1)>,\n")
    assert wrong.status_code == 400
    assert re.search(r'id="list-wrong">Line 2: There is no such role\..* Line 3: This is no mail address', wrong.text)
    assert "<img src=x" not in wrong.text
    assert (await upload("")).status_code == 400
    done = await upload("mail,name\nada@example.org,=1+1\n")
    assert (done.status_code, done.headers["Location"]) == (302, f"{path}?done=list")
    got = await bob.get(f"{path}/people.csv")
    assert "attachment" in got.headers["Content-Disposition"] and got.headers["Cache-Control"] == "no-store"
    assert "ada@example.org,'=1+1,participant,,invited" in got.text

    await send(bob, path, order="role", person="cyd", role="participant")
    assert (await send(bob, path, order="ban", person="cyd")).status_code == 302
    assert "End the ban" in (await bob.get(path)).text
    assert (await send(bob, path, order="readmit", person="cyd")).status_code == 302
    assert (await send(bob, path, order="ban", person="bob")).status_code == 409  # somebody leads
    assert (await send(bob, path, order="ban", person="nobody")).status_code == 404
    await send(bob, path, order="role", person="ada", role="instructor")
    other = (await world.workshops.create(ADA, body(submit=False))).slug
    assert (await bob.get(f"/hub/workshops/{other}/people.csv")).status_code == 404


async def test_a_participant_sends_a_connection_check_and_the_trainer_sees_who_has_a_problem(
    hub: HubProcess, world: WorkshopsWorld, ada: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    path = (await created(bob, title="Mine <b>x</b>")).split("?")[0]
    slug = path.rpartition("/")[2]
    other = (await created(bob, title="Not mine")).split("?")[0].rpartition("/")[2]
    assert f'value="{slug}"' not in (await ada.get("/hub/check")).text  # an operator who does not take part
    await send(bob, path, order="role", person="ada", role="participant")
    await send(bob, path, order="role", person="cyd", role="participant")
    page = (await ada.get("/hub/check")).text
    assert f'<option value="{slug}">Mine &lt;b&gt;x&lt;/b&gt;</option>' in page and other not in page
    assert 'id="fg-send"' not in (await hub.http.get("/hub/check")).text
    tests = dict.fromkeys(("browser", "cookies", "trip", "download", "upload", "stream"), "good") | {"socket": "bad"}
    untested = {**tests, "socket": "unknown"}
    forged = {"X-XSRFToken": ada.cookies["_xsrf"]}

    async def result(**body: object) -> int:
        answer = await ada.post("/hub/check/result", json=body, headers=forged)
        return answer.status_code

    assert await result(workshop=slug, tests=tests) == 204
    assert await result(workshop=slug, tests={**tests, "agent": "Mozilla"}) == 400
    assert await result(workshop="no-such-one", tests=tests) == 404
    assert await result(workshop=other, tests=tests) == 403  # an operator, who is not in it
    assert (await ada.post("/hub/check/result", json={"workshop": slug, "tests": tests})).status_code == 403
    assert (await hub.http.post("/hub/check/result", json={"workshop": slug, "tests": tests})).status_code == 403
    page = (await bob.get(path)).text
    assert "1 of 2 people have sent a connection check." in page
    assert "For 1 of them something does not work." in page
    assert re.search(r"<li>ada, .*<ul><li>WebSocket, the connection to a notebook: Does not work</li></ul>", page, re.S)
    assert await result(workshop=slug, tests=untested) == 204
    page = (await bob.get(path)).text
    assert "For 1 of them a test could not be done." in page
    assert re.search(
        r"<li>ada, .*<ul><li>WebSocket, the connection to a notebook: Could not be tested</li></ul>", page, re.S
    )


async def test_names_of_factories_and_people_are_text_on_all_pages(
    link: FakeLink, world: WorkshopsWorld, bob: httpx.AsyncClient
) -> None:
    world.clock.at = BEGIN
    (one,) = link.network.factories
    sizes = (NetworkSize(id="gpu-1", parts=(Phrase(text=HOSTILE),)),)
    hostile = one.model_copy(update={"name": HOSTILE, "machine": HOSTILE, "host": HOSTILE, "sizes": sizes})
    before, link.network = link.network, NetworkView(factories=(hostile,), antennas=())
    slug = (await world.scheduled(BOB, title=f"{HOSTILE}T", terms=f"{HOSTILE}U")).slug
    await world.workshops.put_member(BOB, slug, "carl", "participant")
    carl = await world.store.member(slug, "carl")
    assert carl is not None
    named = dataclasses.replace(carl, name=HOSTILE, mail="carl@example.org")
    await world.store.put_member(named, EventRecord(slug, BEGIN, HOSTILE[:40], HOSTILE, HOSTILE))
    world.clock.at = BEGIN + timedelta(days=2, hours=2)
    await world.clockwork.look()
    path = f"/hub/workshops/{slug}"
    shows = {  # how often each page shows such a text at least
        "/hub/workshops": 1, "/hub/workshops/new": 2, path: 5, f"{path}/change": 2, f"{path}/rehearsal": 2,
        f"{path}/report": 2, f"{path}/room": 1, f"/hub/join/{slug}": 0, f"{path}/privacy": 0,
    }  # fmt: skip
    try:
        await told(bob, "/hub/workshops/new", "&lt;img src=x")
        for page, times in shows.items():
            text = (await bob.get(page)).text
            assert "<img src=x" not in text, page
            assert len(re.findall(r"&lt;img src=x onerror=|\\u003cimg src=x onerror=", text)) >= times, page
    finally:
        link.network = before
        await told(bob, "/hub/workshops/new", "Factory One")


async def told(browser: httpx.AsyncClient, path: str, text: str) -> None:
    """Return once a page shows a text: the hub asks the link for the names of factories every five seconds."""
    async with asyncio.timeout(60):
        while text not in (await browser.get(path)).text:
            await asyncio.sleep(0.2)


async def test_all_times_of_a_workshop_are_those_of_its_zone(world: WorkshopsWorld, bob: httpx.AsyncClient) -> None:
    """In that zone, clocks are 3.5 hours behind UTC, and are set forward between the opening and the start."""
    world.clock.at = datetime(2027, 3, 12, 15, tzinfo=UTC)
    times = {
        "opens": "2027-03-13T18:00", "starts": "2027-03-14T09:00", "ends": "2027-03-14T12:00",
        "closes": "2027-03-14T13:00",
    }  # fmt: skip
    path = (await created(bob, zone="America/St_Johns", **times)).split("?")[0]
    slug = path.split("/")[-1]
    await world.workshops.approve(ADA, slug)
    await world.clockwork.look()
    stored = await world.store.get(slug)
    assert stored is not None
    assert [stored.opens, stored.starts] == [
        datetime(2027, 3, 13, 21, 30, tzinfo=UTC),
        datetime(2027, 3, 14, 11, 30, tzinfo=UTC),
    ]
    page = (await bob.get(f"{path}?lang=en")).text
    for at, shown in (
        ("2027-03-13T21:30", "13 Mar 2027 18:00"), ("2027-03-14T11:30", "14 Mar 2027 09:00"),
        ("2027-03-14T14:30", "14 Mar 2027 12:00"), ("2027-03-14T15:30", "14 Mar 2027 13:00"),
    ):  # fmt: skip
        assert re.search(rf'datetime="{at}:00\+00:00">[^<]*{shown}[^<]*\(America/St_Johns\)', page), shown
    assert "A code of Fri 12 Mar 2027 11:30 (America/St_Johns) is valid." in page
    assert "UTC" not in html.unescape(re.sub(r"<script.*?</script>", "", page, flags=re.S))
    form = (await bob.get(f"{path}/change")).text
    assert 'value="2027-03-14T09:00"' in form and 'value="America/St_Johns"' in form
    german = (await bob.get(f"{path}?lang=de")).text
    assert "So. 14 März 2027 09:00 (America/St_Johns)" in german or "So. 14 Mär" in german
    await bob.get(f"{path}?lang=en")


async def test_node_sizes_have_the_names_of_the_start_page(world: WorkshopsWorld, bob: httpx.AsyncClient) -> None:
    world.clock.at = BEGIN
    label = "1 x &lt;A100&gt; 64 GB, up to 8 h"
    form = (await bob.get("/hub/workshops/new")).text
    assert re.search(rf'value="class/one/gpu-1/">\s*Factory One, {label} ', form)
    assert "two, gpu-2, python" in form  # a size that the link does not name
    path = (await created(bob)).split("?")[0]
    assert f"Factory One, {label}" in (await bob.get(path)).text
    assert f"Factory One, {label}" in (await bob.get(f"{path}/rehearsal")).text
    german = (await bob.get(f"{path}?lang=de")).text
    assert "Factory One, 1 x &lt;A100&gt; 64 GB, bis zu 8 h" in german


async def test_a_form_of_another_site_does_nothing(world: WorkshopsWorld, bob: httpx.AsyncClient) -> None:
    before = len(await world.store.all())
    assert (await bob.post("/hub/workshops/new", data=fields())).status_code == 403
    assert len(await world.store.all()) == before


async def test_who_may_not_create_one_is_told_so(hub: HubProcess, world: WorkshopsWorld) -> None:
    world.config.trainers.__dict__["people"] = ()
    browser = await hub.login("bob")
    assert "/hub/workshops/new" not in (await browser.get("/hub/workshops")).text
    refused = await browser.get("/hub/workshops/new")
    assert (refused.status_code, "You may not create workshops here." in refused.text) == (403, True)
    world.config.trainers.__dict__["people"] = ("bob",)
    await browser.aclose()


@pytest.mark.parametrize(
    ("page", "of", "operation"),
    [
        ("", "workshops", "one"),
        ("", "workshops", "members"),
        ("/change", "workshops", "one"),
        ("/room", "workshops", "one"),
        ("/privacy", "ending", "privacy"),
        ("certificate", "ending", "check_certificate"),
    ],
)
@pytest.mark.parametrize(("refuse", "status"), [(forbidden, 403), (conflict, 409)])
async def test_a_refusal_of_the_service_keeps_its_status(
    world: WorkshopsWorld, bob: httpx.AsyncClient, page: str, of: str, operation: str,
    refuse: Callable[[str], ProblemError], status: int, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    slug = (await world.scheduled(BOB, seats=2)).slug
    number = certificates.certificate_id(SECRET, slug, "Ben")
    path = f"certificates/{number}" if page == "certificate" else f"{slug}{page}"
    monkeypatch.setattr(getattr(world, of), operation, AsyncMock(side_effect=refuse("Not <now>.")))
    answer = await bob.get(f"/hub/workshops/{path}")
    assert (answer.status_code, "Not &lt;now&gt;." in answer.text) == (status, True)


async def test_the_room_is_for_the_people_who_run_the_workshop(
    world: WorkshopsWorld, ada: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    slug = (await world.scheduled(ADA)).slug
    path = f"/hub/workshops/{slug}/room"
    assert f'{path}"' in (await ada.get(f"/hub/workshops/{slug}")).text
    page = await ada.get(path)
    assert (page.status_code, f'data-slug="{slug}"' in page.text) == (200, True)
    assert len((await ada.get(f"{path}/seats")).json()["seats"]) == 6
    for answer in (await bob.get(path), await bob.get(f"{path}/seats"), await bob.get(f"{path}/events")):
        assert answer.status_code == 404
    await world.workshops.put_member(ADA, slug, "bob", "participant")
    for answer in (await bob.get(path), await bob.get(f"{path}/seats"), await bob.get(f"{path}/events")):
        assert answer.status_code == 403
    bobs, adas = ({"X-XSRFToken": one.cookies["_xsrf"]} for one in (bob, ada))
    for what in ("messages", "seats/1/stop", "seats/1/start", "seats/1/restart", "seats/1/reset"):
        assert (await ada.post(f"{path}/{what}", json={"text": "x"})).status_code == 403  # without the page's token
        assert (await bob.post(f"{path}/{what}", json={"text": "x"}, headers=bobs)).status_code == 403
    wrong = await ada.post(f"{path}/messages", json={"text": "", "free": 1}, headers=adas)
    assert (wrong.status_code, wrong.json()["field"]) == (400, "text")
    assert (await ada.post(f"{path}/messages", json={"text": "x"}, headers=adas)).status_code == 409  # without a link
    assert (await ada.post(f"{path}/seats/1/erase", json={}, headers=adas)).status_code == 404


async def test_a_halted_warm_up_is_explained_and_goes_on(
    world: WorkshopsWorld, ada: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    path = (await created(bob)).split("?")[0]
    slug = path.split("/")[-1]
    assert (await send(ada, path, order="approve")).status_code == 302
    await world.clockwork.look()
    assert (await send(bob, path, order="role", person="eve", role="participant")).status_code == 302
    assert (await send(bob, path, order="warm")).status_code == 302
    assert "Halted" not in (await bob.get(path)).text
    now, why = world.clock(), Words(code="x", what="The <b>node</b> failed.")
    failed = SeatRow(slug, "eve", "one", "gpu-1", "0" * 32, SeatProgress.FAILED, 1, 1, now, why=why)
    await world.store.transact(lambda db: rows.put(db, [failed]))
    await world.store.transact(lambda db: rows.put_warm_up(db, WarmUpRow(slug, now, 1, 2, 3, why)))
    page = (await bob.get(path)).text
    assert "Halted: 2 of 3 seats that were started together failed" in page
    assert "The &lt;b&gt;node&lt;/b&gt; failed." in page
    halted = (await bob.get(f"{path}/room/seats")).json()["halted"]  # the room says so, too
    assert (halted["failed"], halted["of"], halted["why"]["what"]) == (2, 3, "The <b>node</b> failed.")
    assert (await send(bob, path, order="go-on")).status_code == 302
    assert (await bob.get(f"{path}/room/seats")).json()["halted"] is None
    assert "Halted" not in (await bob.get(f"{path}?done=go-on")).text
    assert (await send(bob, path, order="go-on")).status_code == 409


@pytest.mark.parametrize(("ready", "wiping", "few"), [(6, 1, False), (3, 3, False), (4, 0, True)])
async def test_the_page_says_how_many_accounts_are_held_and_whether_they_are_enough(
    world: WorkshopsWorld, bob: httpx.AsyncClient, ready: int, wiping: int, few: bool
) -> None:
    world.clock.at = BEGIN
    slug = (await world.scheduled(BOB)).slug
    path = f"/hub/workshops/{slug}"
    assert (await send(bob, path, order="warm")).status_code == 302
    assert "Accounts held" not in (await bob.get(path)).text  # none are lent there, as far as anybody knows
    held = HeldAccounts(pool=10, held=ready + wiping, ready=ready, free=ready, wiping=wiping)
    world.seats._places[slug] = (SeatPlace(factory="one", per_minute=60, accounts=held),)
    page = (await bob.get(path)).text
    assert f"Accounts held for this workshop: {ready + wiping}. Clean, or used by its people: {ready}." in page
    assert ("not enough accounts for all 6 seats" in page) is few


async def test_a_class_is_moved_from_its_page(world: WorkshopsWorld, bob: httpx.AsyncClient) -> None:
    world.clock.at = BEGIN
    places = [{"factory": "one", "size": "gpu-1"}, {"factory": "two", "size": "gpu-1"}]
    slug = (await world.scheduled(BOB, places=places)).slug
    await world.workshops.put_member(BOB, slug, "carl", "participant")
    path = f"/hub/workshops/{slug}"
    assert "Move the class" not in (await bob.get(path)).text  # nothing runs yet
    assert (await send(bob, path, order="move", place="1")).status_code == 409
    assert (await send(bob, path, order="warm")).status_code == 302
    page = (await bob.get(path)).text
    assert "0 of 1 seats have come up" in page
    assert '<option value="1" selected>' in page
    for place, seats in (("1", "3-x"), ("1", "5-3"), ("1", "0"), ("9", ""), ("", "")):
        wrong = await send(bob, path, order="move", place=place, seats=seats)
        assert wrong.status_code == 400, (place, seats)
    assert "Give numbers of seats, such as 3, 5-8" in wrong.text
    sent = await send(bob, path, order="move", place="1", seats="1, 3-4")
    assert sent.headers["Location"] == f"{path}?done=move"
    page = (await bob.get(sent.headers["Location"])).text
    assert "moved the class, or some seats, to plan: B (two), 1, 3, 4" in page
    (last, *_) = await world.workshops.events(BOB, slug)
    assert (last.what, last.by) == ("moved", "bob")


async def test_the_end_of_a_workshop_on_its_pages(world: WorkshopsWorld, bob: httpx.AsyncClient) -> None:
    world.clock.at = BEGIN
    slug = (await world.scheduled(BOB, title="<i>End</i>", zone="Europe/Berlin", seats=2)).slug
    await world.workshops.put_member(BOB, slug, "carl", "participant")
    other = (await world.scheduled(ADA, seats=2)).slug
    async with httpx.AsyncClient(base_url=bob.base_url) as stranger:
        privacy = await stranger.get(f"/hub/workshops/{slug}/privacy")
        assert privacy.status_code == 200
        assert "30 days after the workshop is over" in privacy.text
        assert "<i>End" not in privacy.text
        assert "&lt;i&gt;End" not in privacy.text  # its title is for its people
        assert "The language of the page on which you joined" in privacy.text
        assert (await stranger.get("/hub/workshops/none-2345/privacy")).status_code == 404
        assert f"/hub/workshops/{slug}/privacy" in (await stranger.get(f"/hub/join/{slug}")).text
        number = certificates.certificate_id(SECRET, slug, "Łukasz <b>")
        page = f"/hub/workshops/certificates/{number}"
        valid = await stranger.get(page)
        assert (valid.status_code, "&lt;i&gt;End&lt;/i&gt;" in valid.text, "ukasz" in valid.text) == (200, True, False)
        named = await send(stranger, page, name="łukasz <b>")
        assert "It is the certificate of łukasz &lt;b&gt;." in named.text
        assert "It is not the certificate of" in (await send(stranger, page, name="Ben")).text
        assert (await stranger.get(f"/hub/workshops/certificates/{slug}.{'a' * 24}")).status_code == 404
    path = f"/hub/workshops/{slug}"
    assert "data-until" not in (await bob.get(path)).text
    world.clock.at = BEGIN + timedelta(days=2, hours=2)
    await world.clockwork.look()
    sent = await send(bob, path, order="extend", minutes="20")
    assert sent.headers["Location"] == f"{path}?done=extend"
    assert "The class goes on for longer." in (await bob.get(sent.headers["Location"])).text
    wrong = await send(bob, path, order="extend", minutes="x")
    assert (wrong.status_code, "Give a number of minutes from 1 to 1,440." in wrong.text) == (400, True)
    report = await bob.get(f"{path}/report")
    assert (report.status_code, "&lt;i&gt;End&lt;/i&gt;" in report.text, "carl" in report.text) == (200, True, True)
    assert (await bob.get(f"{path}/report.csv")).text.startswith("person,name,role")
    mine = f"/hub/workshops/{other}"
    for role, status in (("participant", 409), ("observer", 403)):
        await world.workshops.put_member(ADA, other, "bob", role)  # type: ignore[arg-type]
        for file in ("report", "report.csv", "certificates.zip"):
            assert (await bob.get(f"{mine}/{file}")).status_code == 403, (role, file)
        assert (await bob.get(f"{mine}/certificate")).status_code == status


async def test_the_page_tells_how_the_fetch_of_the_material_went_and_tries_again(
    bob: httpx.AsyncClient, world: WorkshopsWorld
) -> None:
    material = {"repository": "https://localhost/first.git", "commit": "a" * 40}
    path = await created(bob, **material)
    slug = path.partition("?")[0].rpartition("/")[2]
    page = (await bob.get(f"/hub/workshops/{slug}")).text
    assert "It waits to be fetched." in page
    refused = FetchResult(problem="It is too large.", refused=(RefusedFile(path="<img onerror=x>", why="A dash."),))
    world.materials.fetcher.fetch = AsyncMock(return_value=refused)  # type: ignore[method-assign]
    await world.materials.look()
    await world.materials.settle()
    page = (await bob.get(f"/hub/workshops/{slug}")).text
    assert "It could not be fetched." in page
    assert "It is too large." in page
    assert "&lt;img onerror=x&gt;" in page
    answer = await send(bob, f"/hub/workshops/{slug}", order="fetch")
    assert answer.headers["Location"].endswith("done=fetch")
    await world.materials.settle()
    assert world.materials.fetcher.fetch.await_count == 2


async def test_who_waited_and_what_was_not_fetched_waits_no_more_when_a_workshop_is_over(
    bob: httpx.AsyncClient, world: WorkshopsWorld
) -> None:
    path = (await created(bob, seats="1", repository="https://localhost/never.git", commit="b" * 40)).split("?")[0]
    slug = path.split("/")[-1]
    for person in ("carl", "dora"):
        await world.workshops.put_member(BOB, slug, person, "participant")
    waits = ("1 person waits", "waits for a seat", "It waits to be fetched.")
    page = (await bob.get(path)).text
    assert [text in page for text in waits] == [True, True, True]
    await world.workshops.take(ADA, slug, "cancel")
    page = (await bob.get(path)).text
    assert "dora" in page
    assert [text in page for text in waits] == [False, False, False]


async def test_a_hostile_address_of_a_repository_is_told_at_its_field(bob: httpx.AsyncClient) -> None:
    answer = await send(bob, "/hub/workshops/new", **fields(repository="https://b/../x", commit="a" * 40))
    assert answer.status_code == 400
    assert "without a password or a query" in answer.text


async def test_rehearsals_are_shown_in_words_with_what_to_do(
    world: WorkshopsWorld, ada: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    path, slug = await scheduled(world, ada, bob)
    assert "Not rehearsed yet." in (await bob.get(path)).text
    now = world.clock()
    line = RehearsalLine(check="place", colour="red", text="The <b>factory</b> is closed.", do="Wait.")
    workshop = await world.store.get(slug)
    assert workshop is not None
    parts = proof.parts("dry", workshop, workshop.places[0], None)
    result = RehearsalResult(
        workshop=slug, factory="one", kind="dry", at=now, ended=now, by="bob", lines=(line,), parts=parts
    )
    row = RehearsalRow(slug, "one", "dry", now, "bob", result=result, signature=proof.sign(SECRET, result))
    await world.store.transact(lambda db: rehearsed.put(db, row, EventRecord(slug, now, "bob", "rehearsal")))
    page = (await bob.get(f"{path}/rehearsal")).text
    assert "The &lt;b&gt;factory&lt;/b&gt; is closed." in page and "<em>Wait.</em>" in page
    assert 'class="fg-dot"></span>Red</span>' in page and "Void" not in page
    assert "it is not sure whether this still counts" in page  # without a link
    assert 'class="fg-dot"></span>Red</span>' in (await bob.get(path)).text
    refused = await send(bob, f"{path}/rehearsal", place="1", kind="dry")
    assert (refused.status_code, "it has no link socket" in refused.text) == (409, True)
    assert (await send(bob, f"{path}/rehearsal", place="1", kind="loud")).status_code == 400
    await world.store.transact(lambda db: rehearsed.put(db, dataclasses.replace(row, signature="0" * 64),
                                                        EventRecord(slug, now, "bob", "rehearsal")))  # fmt: skip
    page = (await bob.get(path)).text
    assert "Void" in page and "Its signature is not one of this gateway" in page
    unsure = "it is not sure whether this still counts"
    assert unsure not in (await bob.get(f"{path}/rehearsal")).text
    ended = result.model_copy(update={"lines": (RehearsalLine(check="stopped", colour="red", text="It ended."),)})
    stopped = dataclasses.replace(row, result=ended, signature=proof.sign(SECRET, ended), counts=result)
    for signature, said in (
        (proof.sign(SECRET, result), "What counts is the"),
        ("0" * 64, "The rehearsal before it, of"),
    ):
        row = dataclasses.replace(stopped, counts_signature=signature)
        await world.store.transact(
            lambda db, row=row: rehearsed.put(db, row, EventRecord(slug, now, "bob", "rehearsal"))
        )
        page = (await bob.get(f"{path}/rehearsal")).text
        assert said in page and said in (await bob.get(path)).text
        assert page.count(unsure) == (1 if said.startswith("What") else 0)  # only about the earlier one
    await world.workshops.put_member(BOB, slug, "ada", "participant")
    other = (await world.workshops.create(ADA, body(submit=False))).slug
    assert (await bob.get(f"/hub/workshops/{other}/rehearsal")).status_code == 404


async def test_a_rehearsal_is_said_to_count_only_if_the_link_tells_the_settings(
    world: WorkshopsWorld, ada: httpx.AsyncClient, bob: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, slug = await scheduled(world, ada, bob)
    workshop = await world.store.get(slug)
    assert workshop is not None
    link, now = RehearsedLink(), world.clock()
    result = RehearsalResult(
        workshop=slug, factory="one", kind="seats", at=now, ended=now, by="bob",
        lines=(RehearsalLine(check="place", colour="green", text="The factory takes the class."),),
        parts=proof.parts("seats", workshop, workshop.places[0], link.here),
    )  # fmt: skip
    row = RehearsalRow(slug, "one", "seats", now, "bob", result=result, signature=proof.sign(SECRET, result))
    await world.store.transact(lambda db: rehearsed.put(db, row, EventRecord(slug, now, "bob", "rehearsal")))
    counts, unsure = "the result still counts", "it is not sure whether this still counts"
    page = (await bob.get(f"{path}/rehearsal")).text  # without a link
    assert (counts in page, unsure in page) == (False, True)
    monkeypatch.setattr(world.rehearsals, "_link", link)
    page = (await bob.get(f"{path}/rehearsal")).text
    assert (counts in page, unsure in page) == (True, False)
    link.here = link.here.model_copy(update={"agreement": "4" * 64})
    page = (await bob.get(f"{path}/rehearsal")).text
    assert (counts in page, unsure in page, "Void" in page) == (False, False, True)


async def test_a_rehearsal_of_the_whole_class_is_shown_and_stopped_without_a_script(
    world: WorkshopsWorld, ada: httpx.AsyncClient, bob: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, slug = await scheduled(world, ada, bob)
    page = (await bob.get(f"{path}/rehearsal")).text
    assert 'name="kind" value="wave"' in page
    assert "GPU-hours of the budget" not in page  # without a link it is not known what it costs
    with monkeypatch.context() as patched:
        patched.setattr(world.rehearsals, "_link", RehearsedLink())
        page = (await bob.get(f"{path}/rehearsal")).text
    assert "The whole class, 2 seats: at most 0.6 GPU-hours of the budget, and 16 minutes." in page
    assert 'aria-describedby="fg-costs-1"' in page
    refused = await send(bob, f"{path}/rehearsal", place="1", kind="wave")
    assert (refused.status_code, "it has no link socket" in refused.text) == (409, True)
    nothing = await send(bob, f"{path}/rehearsal", order="stop")
    assert (nothing.status_code, "No seats of this workshop are being rehearsed." in nothing.text) == (409, True)
    now = world.clock()
    up = {"wave": 1, "state": SeatProgress.RUNNING, "asked": now, "ran": now}
    first, *others = wave.begun(slug, 4)
    seats = (first.model_copy(update=up), *others)
    row = RehearsalRow(slug, "one", "wave", now, "bob", until=now + timedelta(minutes=9), seats=seats)
    event = EventRecord(slug, now, "bob", "rehearsal", "wave: one")
    await world.store.transact(lambda db: rehearsed.put(db, row, event))
    page = (await bob.get(f"{path}/rehearsal")).text
    assert "1 of 4 seats can be opened; 1 were asked for, 0 failed, 0 were refused." in page
    assert re.search(r'<progress [^>]*value="1" max="4" aria-labelledby="fg-wave-1">', page)
    assert "robot." not in page  # names of robots tell nobody anything
    assert "Wait until they have ended, or stop the rehearsal." in page and 'name="kind"' not in page
    assert (await bob.post(f"{path}/rehearsal", data={"order": "stop"})).status_code == 403  # without the page's token
    stopped = await send(bob, f"{path}/rehearsal", order="stop")
    assert (stopped.status_code, stopped.headers["Location"]) == (302, f"{path}/rehearsal")
    page = (await bob.get(f"{path}/rehearsal")).text
    assert "It is being stopped, and its seats end." in page
    assert 'value="stop"' not in page
    assert "With the whole class" in (await bob.get(path)).text


async def test_a_person_raises_a_hand_on_the_page_of_the_workshop(
    world: WorkshopsWorld, bob: httpx.AsyncClient
) -> None:
    slug = (await world.scheduled(ADA, seats=1)).slug
    await world.workshops.put_member(ADA, slug, "bob", "participant")
    world.clock.at = BEGIN + timedelta(days=2, minutes=1)
    for _ in range(3):
        await world.clockwork.look()
    try:
        path = f"/hub/workshops/{slug}"
        answer = await send(bob, path, order="raise", question=HOSTILE)
        assert answer.headers["Location"] == f"{path}?done=raise"
        assert "You are number 1 in the queue." in (await bob.get(path)).text
        hand = (await world.room.view(ADA, slug)).seats[0].hand
        assert hand is not None
        assert hand.question == HOSTILE
        assert (await send(bob, path, order="lower")).status_code == 302
        assert (await world.room.view(ADA, slug)).seats[0].hand is None
    finally:
        world.clock.at = BEGIN


async def test_nothing_of_a_notebook_that_helpers_see_can_run(
    world: WorkshopsWorld, ada: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    slug = (await world.scheduled(ADA, seats=1)).slug
    await world.workshops.put_member(ADA, slug, "bob", "participant")
    world.clock.at = BEGIN + timedelta(days=2, minutes=1)
    for _ in range(3):
        await world.clockwork.look()
    try:
        page = f"/hub/workshops/{slug}/room/seats/1"
        adas = {"X-XSRFToken": ada.cookies["_xsrf"]}
        assert (await ada.get(f"{page}/look")).status_code == 404  # without consent
        await world.room.helping.raise_hand("bob", slug, HandBody(question=HOSTILE, source=HOSTILE))
        assert (await ada.get(f"{page}/hand")).json()["source"] == HOSTILE  # the page sets it as text
        assert (await ada.post(f"{page}/come")).status_code == 403  # without the page's token
        assert (await ada.post(f"{page}/come", headers=adas)).status_code == 200
        parts = [{"kind": "text", "text": HOSTILE}, {"kind": "error", "text": HOSTILE}, {"kind": "png", "text": png()}]
        cells = [
            {"kind": "markdown", "source": f"{HOSTILE}</pre></body></html><script>alert(1)</script>"},
            {"kind": "code", "source": HOSTILE, "count": 1, "outputs": parts},
        ]
        shown = {"file": f"{HOSTILE}.ipynb", "saved": BEGIN, "cells": cells}
        await world.room.helping.allow_look("bob", slug, "a" * 32, LookBody.model_validate({"snapshot": shown}))
        look = await ada.get(f"{page}/look")
        assert look.status_code == 200
        (frame,) = re.findall(r"<iframe [^>]*>", look.text)
        assert 'sandbox=""' in frame
        (document,) = re.findall(r'srcdoc="([^"]*)"', frame)
        inner = html.unescape(document)
        assert "default-src 'none'; img-src data:" in inner
        for text in (look.text.replace(frame, ""), inner):
            assert "<img src=x" not in text
            assert "<script>alert" not in text
        assert inner.count("<img ") == 1
        assert f'src="data:image/png;base64,{png()}"' in inner
        assert inner.count("&lt;img src=x") >= 4  # it is there, as text
        for answer in (await bob.get(f"{page}/look"), await bob.get(f"{page}/hand")):
            assert answer.status_code == 403
        assert "saw a notebook" in (await ada.get(f"/hub/workshops/{slug}")).text
    finally:
        world.clock.at = BEGIN
