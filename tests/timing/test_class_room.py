"""The room of a class of sixty and messages to the class, from the link's sessions to the trainer's page and back into
JupyterLab.

Hub and JupyterLab are processes with real browsers; link and workshops service run in the test's process and meet at
their sockets. The sessions' doors are fake, and keep what they are told as real sessions do.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from factorycommon.event_stream import read_events
from factorycommon.models import MessageBody
from factorygate.session.messages import Messages, read_message
from factorylink.state.live_session import LiveSession
from tests.support.lab import LabServer, lab_server
from tests.unit.conftest import browser
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess
from tests.unit.room_world import RoomWorld, comes, room_world
from tests.unit.serving import serving
from tests.unit.test_lab_pages import PATIENCE, toast
from tests.unit.workshops_world import TINA
from workshops.api.hub import hub_app
from workshops.models.room import RoomChange

__all__ = ["browser"]

pytestmark = [pytest.mark.long, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

CLASS = 60
LATE = 5  # of them start after the message
SHOWN = 2.0  # seconds in which the trainer's page shows a change of a session
READ = 6.0  # seconds in which an open page of JupyterLab shows a message
TRAINER = "ada"
TEXTS = {"de": "Zehn Minuten Pause.", "fr": "Dix minutes de pause.", "pl": "Dziesięć minut przerwy."}
TEXT = "Ten minutes break."
# of the sessions, one after the other: what people have chosen at the gateway
LANGUAGES = ("de", "en", "fr-CA", "pl", "it")
IN_LANGUAGE = {"de": TEXTS["de"], "en": TEXT, "fr-CA": TEXTS["fr"], "pl": TEXTS["pl"], "it": TEXT}


def person(seat: int) -> str:
    return f"p{seat}"


def language(seat: int) -> str:
    return LANGUAGES[(seat - 1) % len(LANGUAGES)]


@dataclass
class Doors:
    """The doors of the class. The session on seat 1 is open in JupyterLab.

    ``told``: by seat, the ``time.monotonic()`` and the id of each message that the door got; ``kept``: by seat, the
    messages that its session keeps.
    """

    lab: LabServer
    told: defaultdict[int, list[tuple[float, str]]] = field(default_factory=lambda: defaultdict(list))
    kept: defaultdict[int, Messages] = field(default_factory=lambda: defaultdict(Messages))

    async def tell(self, session_id: str, message: MessageBody) -> None:
        seat = int(session_id, 16)
        self.told[seat].append((time.monotonic(), message.id))
        self.kept[seat].add(read_message(message.model_dump(mode="json"), time.time(), [language(seat)]))
        if seat == 1:
            self.lab.tell(messages=self.kept[seat].listed())

    def shown(self, seat: int) -> list[str]:
        """Return the texts of the messages that the session on a seat shows."""
        return [one["text"] for one in self.kept[seat].listed()]


Seen = dict[tuple[int, str], float]  # by seat and state, when it was first so


@dataclass
class Class:
    """The running class, with times by seat and state.

    ``known``: when the link knew the state; ``shown``: when the trainer's page showed it.
    """

    link: RoomWorld
    hub: HubProcess
    trainer: httpx.AsyncClient
    doors: Doors
    known: Seen = field(default_factory=dict)
    shown: Seen = field(default_factory=dict)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def room(self) -> str:
        return f"/hub/workshops/{self.link.slug}/room"

    def knows(self, live_session: LiveSession) -> None:
        """Note in ``known`` when the link first knew this state of a session."""
        record = live_session.record
        self.known.setdefault((int(record.id, 16), record.state.value), time.monotonic())

    async def follow(self) -> None:
        """Follow the events of the room as its page does, and note in ``shown`` when each state first came."""
        async with self.trainer.stream("GET", f"{self.room}/events", timeout=None) as response:
            assert response.status_code == 200
            async for event in read_events(response.aiter_bytes()):
                if event.name == "alive":
                    continue
                async with self._changed:
                    for one in RoomChange.model_validate_json(event.data).seats:
                        self.shown.setdefault((one.seat, one.state or ""), time.monotonic())
                    self._changed.notify_all()

    async def late(self, seats: Iterable[int], state: str) -> float:
        """Wait until the page shows this state for all these seats; return its longest delay after the link in s."""
        wanted = {(seat, state) for seat in seats}
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(lambda: wanted <= self.shown.keys())
        return max(self.shown[one] - self.known[one] for one in wanted)

    async def send(self, message: str, **body: object) -> dict[str, object]:
        """Send a message with the id ``message`` to the class by the trainer's page; return the answer.

        ``body``: the other fields of the message.
        """
        xsrf = {"X-XSRFToken": self.trainer.cookies["_xsrf"]}
        answer = await self.trainer.post(f"{self.room}/messages", json={"id": message, **body}, headers=xsrf)
        assert answer.status_code == 200, answer.text
        sent: dict[str, object] = answer.json()
        return sent


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LabServer]:
    async with lab_server(tmp_path_factory.mktemp("lab"), "jupyterlab") as made:
        (made.root / "notes.txt").write_text("first\n")
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def class_(tmp_path_factory: pytest.TempPathFactory, lab: LabServer) -> AsyncIterator[Class]:
    folder = tmp_path_factory.mktemp("room")
    beside = Beside()
    await beside.up()
    of_hub = FakeLink(folder / "hubs-link.sock", beside.url)
    await of_hub.up()
    async with room_world(folder) as link, link.service() as service:
        pools = service.config.pools
        pools.write_text(pools.read_text().replace("seats: 20", f"seats: {CLASS}"))
        people = [person(seat) for seat in range(1, CLASS + 1)]
        slug = await link.workshop(service, *people, seats=CLASS)
        await service.workshops.put_member(TINA, slug, TRAINER, "instructor")
        doors = Doors(lab)
        link.link.doors.tell = doors.tell  # type: ignore[method-assign]
        for seat in range(1, CLASS - LATE + 1):
            await link.runs(seat, person(seat))
        project = f"workshop-{slug}"
        await comes(lambda: sum(one.open for one in service.room.sessions.of(project)) == CLASS - LATE)
        app = hub_app(service.workshops, service.joining, service.more)
        async with serving(app, folder / "w.sock"):
            hub = HubProcess(tmp_path_factory.mktemp("hub"), of_hub.socket, beside, workshops=folder / "w.sock")
            await hub.up()
            trainer = await hub.login(TRAINER)
            made = Class(link, hub, trainer, doors)
            link.link.live_sessions.on_change.append(made.knows)
            following = asyncio.create_task(made.follow())
            yield made
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await trainer.aclose()
            await hub.kill()
            await hub.http.aclose()
            service.room.close()
    await of_hub.down()
    await beside.down()


async def opens(browser: Browser, lab: LabServer) -> Page:
    """Open JupyterLab in a browser context of its own; return the page once it shows how much time is left."""
    context = await browser.new_context(reduced_motion="reduce", viewport={"width": 1280, "height": 900})
    page = await context.new_page()
    await page.goto(lab.page("notes.txt"))
    await expect(page.locator(".fg-Status")).to_contain_text("left", timeout=PATIENCE)
    return page


async def hide(page: Page) -> None:
    """Make a page believe that its tab is hidden, until ``unhide``."""
    await page.evaluate("""() => {
      Object.defineProperty(document, "visibilityState", { get: () => window.shown ? "visible" : "hidden" });
      Object.defineProperty(document, "hidden", { get: () => !window.shown });
      document.dispatchEvent(new Event("visibilitychange"));
    }""")


async def unhide(page: Page) -> None:
    await page.evaluate("window.shown = true; document.dispatchEvent(new Event('visibilitychange'))")


async def reads(page: Page, text: str, since: float) -> float:
    """Wait until a page shows a message; return the seconds from ``since`` until then."""
    await expect(toast(page, text)).to_be_visible(timeout=PATIENCE)
    return time.monotonic() - since


async def test_a_message_reaches_each_open_page_once_and_soon(class_: Class, browser: Browser, lab: LabServer) -> None:
    open_, hidden = await opens(browser, lab), await opens(browser, lab)
    await hide(hidden)
    began = time.monotonic()
    sent = await class_.send("ten-minutes", text=TEXT, language="en", texts=TEXTS)
    assert (sent["received"], sent["people"]) == (CLASS - LATE, CLASS + 2)  # all of them, and who runs the class
    slowest = max(told[0][0] for told in class_.doors.told.values()) - began
    took = await reads(open_, IN_LANGUAGE[language(1)], began)
    await expect(toast(hidden, IN_LANGUAGE[language(1)])).to_have_count(0)
    returned = time.monotonic()
    await unhide(hidden)
    back = await reads(hidden, IN_LANGUAGE[language(1)], returned)
    print(f"a message: all {CLASS - LATE} doors after {slowest:.2f} s, shown after {took:.1f} s, {back:.1f} s after")
    assert max(took, back) < READ

    for _ in range(2):  # the same again: a second click, and a page that asks again
        await class_.send("ten-minutes", text=TEXT, language="en", texts=TEXTS)
    for seat in range(CLASS - LATE + 1, CLASS + 1):
        began = time.monotonic()
        await class_.link.runs(seat, person(seat))
        await comes(lambda seat=seat: seat in class_.doors.told)  # type: ignore[misc]
        assert time.monotonic() - began < READ
    assert await class_.late(range(CLASS - LATE + 1, CLASS + 1), "running") < SHOWN
    await open_.reload()
    await expect(open_.locator(".fg-Status")).to_contain_text("left", timeout=PATIENCE)
    await class_.send("now-go-on", text="Go on.")
    await reads(open_, "Go on.", time.monotonic())
    await expect(toast(open_, IN_LANGUAGE[language(1)])).to_have_count(0)
    await reads(hidden, "Go on.", time.monotonic())
    await comes(lambda: all(len(class_.doors.told[seat]) == 2 for seat in range(1, CLASS + 1)))
    for seat in range(1, CLASS + 1):
        assert [name for _, name in class_.doors.told[seat]] == ["class-ten-minutes", "class-now-go-on"], seat
        assert class_.doors.shown(seat) == [IN_LANGUAGE[language(seat)], "Go on."]
    for page in (open_, hidden):
        await page.context.close()


async def test_the_room_shows_soon_what_becomes_of_each_session(class_: Class) -> None:
    """One session ends, then all the others at the same moment."""
    link = class_.link.link
    one, *others = (int(session, 16) for session in link.live_sessions)
    assert len(others) >= CLASS - LATE - 1
    for seats in ([one], others):
        await asyncio.gather(*(link.sessions.stop(f"{seat:032x}", "person") for seat in seats))
        async with asyncio.timeout(60):
            while any(f"{seat:032x}" in link.live_sessions for seat in seats):
                await link.scheduler.answer()
                await asyncio.sleep(0.01)
        late = await class_.late(seats, "ended")
        print(f"the end of {len(seats)} sessions: each was shown {late:.2f} s later, or sooner")
        assert late < SHOWN
