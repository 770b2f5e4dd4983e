"""A class of sixty behind one network address joins at the same time, while codes are guessed from that address.

Hub, link and workshops service are processes with databases of their own, and mails go through a real SMTP server; the
factory has no scheduler, since joining needs none. Five of the class use browsers, the others send the same forms
without one.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
import pytest_asyncio
import yaml
from playwright.async_api import Browser, expect

from factorycommon.models import SiteRules
from factorylink.client import LinkClient
from testbed import ports
from tests.support.smtp import Sink, sink
from tests.timing.test_room import cpu as cpu_of
from tests.unit import test_link_process as link_process
from tests.unit import test_workshops_process as workshops_process
from tests.unit.conftest import browser
from tests.unit.fake_factory import factory
from tests.unit.hub_process import Beside, HubProcess
from tests.unit.test_join_pages import Visitor
from tests.unit.workshops_world import OPERATOR, body, write_config
from workshops.client import WorkshopsClient
from workshops.joining import codes
from workshops.models.views import CreatedView

__all__ = ["browser"]

pytestmark = [pytest.mark.long, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

T = TypeVar("T")
CLASS = 60
LOCALES = ("en-GB", "de-DE", "fr-FR", "pl-PL", "it-IT")  # of the browsers
CODE = re.compile(r"\b\d{8}\b")  # in the subject of a mail, in any language
GUESSES = 1000
GUESSERS = 20  # guesses at a time
OF_ONE_BROWSER = 5  # guesses, before a guesser takes another browser
COME = 30.0  # seconds in which the class opens the link
ANSWERED = 5.0  # seconds for a page
ONWARD = 12.0  # seconds for the last form, which waits until the link has read that the person has a seat
ALL = 75.0  # seconds until all have joined; five minutes are allowed


@dataclass
class Processes:
    """The running processes. ``answers``: the seconds that the class has waited, by step."""

    hub: HubProcess
    link: LinkClient
    service: WorkshopsClient
    mails: Sink
    workshop: CreatedView
    pids: dict[str, int]
    answers: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def page(self) -> str:
        return f"/hub/join/{self.workshop.slug}"

    async def digits(self, mail: str) -> str:
        """Return the one-time code from the mail to this address, in any language, as soon as the mail has come."""
        found = await self.mails.until(
            lambda: [
                code for to, letter in self.mails.letters if mail in to for code in CODE.findall(letter["Subject"])
            ]
        )
        return found[0]

    async def timed(self, step: str, answer: Awaitable[T]) -> T:
        """Await the answer and return it; note how many seconds this step took."""
        began = time.monotonic()
        try:
            return await answer
        finally:
            self.answers[step].append(time.monotonic() - began)


@asynccontextmanager
async def running(process: asyncio.subprocess.Process, up: bytes) -> AsyncIterator[None]:
    """Wait until a process has written ``up`` to its log, read the log as long as the process runs, and kill it.

    The log must have no traceback.
    """
    stderr = process.stderr
    assert stderr is not None
    said = list[bytes]()
    reading = None
    try:
        async for line in stderr:
            said.append(line)
            if up in line:
                break
        else:
            raise AssertionError(b"".join(said).decode())
        reading = asyncio.create_task(stderr.read())
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        if reading is not None:
            assert b"Traceback" not in await reading


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def processes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Processes]:
    folder, of_link, of_hub = (tmp_path_factory.mktemp(name) for name in ("service", "link", "hub"))
    async with AsyncExitStack() as stack:
        mails = await stack.enter_async_context(sink())
        beside = Beside()
        await beside.up()
        stack.push_async_callback(beside.down)
        hub = HubProcess(of_hub, of_link / "state" / "hub.sock", beside, workshops=folder / "workshops.sock")
        write_files(folder, of_link, hub, mails)
        link_started = await link_process.start(of_link / "link.yaml")
        await stack.enter_async_context(running(link_started, up=b"The link is up"))
        service = await workshops_process.start(folder / "workshops.yaml")
        await stack.enter_async_context(running(service, up=b"The workshops service is up"))
        await hub.up()
        stack.push_async_callback(hub.http.aclose)
        stack.push_async_callback(hub.kill)
        link, client = LinkClient(hub_socket(of_link)), WorkshopsClient(folder / "workshops.sock")
        stack.push_async_callback(link.close)
        stack.push_async_callback(client.close)
        now = datetime.now(UTC).replace(microsecond=0)
        times = {"opens": now, "starts": now, "ends": now + timedelta(hours=3), "closes": now + timedelta(hours=4)}
        plan = body(
            seats=CLASS, terms="Be kind.", seat_on_join=False, **{name: at.isoformat() for name, at in times.items()}
        )
        created = await client.create(OPERATOR, plan)
        async with asyncio.timeout(60):
            while (await client.one(OPERATOR, created.slug)).state != "open":
                await asyncio.sleep(0.1)
        assert hub.process is not None
        pids = {"hub": hub.process.pid, "link": link_started.pid, "workshops service": service.pid}
        yield Processes(hub, link, client, mails, created, pids)


def hub_socket(of_link: Path) -> Path:
    """Return the path of the socket on which the link listens for the hub."""
    return of_link / "state" / "hub.sock"


def write_files(folder: Path, of_link: Path, hub: HubProcess, mails: Sink) -> None:
    """Write the configurations of link and workshops service, which share the files of workshops."""
    config = write_config(
        folder,
        listen_port=ports.single(),
        approval="none",
        hub={"url": hub.url, "public_url": hub.url, "token_file": "workshops.token"},
        link={"socket": str(of_link / "workshops.sock")},
        joining={"sender": "workshops@gateway.example", "smtp": {"host": "127.0.0.1", "port": mails.port}},
    )
    (folder / "workshops.token").write_text((hub.folder / "workshops").read_text())
    pool = {"id": "class", "factory": "one", "sizes": ["gpu-1"], "seats": CLASS, "gpu_hours": 4 * CLASS}
    (folder / "workshop-pools.yaml").write_text(yaml.safe_dump({"pools": [pool]}))
    link = link_process.link_yaml(of_link)
    there = yaml.safe_load(config.read_text())
    files = {"table": str(folder / there["table"]), "pools": str(folder / there["pools"]), "socket": "workshops.sock"}
    of_hub = {"url": hub.url, "token_file": "token"}
    link.write_text(yaml.safe_dump(yaml.safe_load(link.read_text()) | {"workshops": files, "hub": of_hub}))
    (of_link / "token").write_text(hub.service)
    one = factory()
    site = one.site.model_copy(update={"rules": SiteRules(version="1", text="No mining.")})
    entry = one.model_copy(update={"site": site}).model_dump(mode="json", exclude_none=True)
    (of_link / "factories" / "one.yaml").write_text(yaml.safe_dump(entry))


def cpu(pids: dict[str, int]) -> list[float]:
    """Return the CPU-seconds that each of these processes has used."""
    return [cpu_of(pid) for pid in pids.values()]


def mail_of(number: int) -> str:
    return f"person{number}@example.org"


async def sends_forms(processes: Processes, number: int) -> None:
    """Have a person join without a browser. Some mistype the code first, and some send the last form twice at once."""
    await asyncio.sleep(COME * number / CLASS)
    mail, visitor = mail_of(number), Visitor(processes.hub)
    await processes.timed("page", visitor.open(processes.page))
    if number % 10 == 5:
        assert (await visitor.send("code", code=codes.make_code(), mail=mail)).status_code == 403
    await processes.timed("code", visitor.send("code", code=processes.workshop.code, mail=mail))
    assert "No mining." in visitor.page.text and "Be kind." in visitor.page.text
    last = {"digits": await processes.digits(mail), "name": f"Person {number}", "accept": "tick"}
    times = 2 if number % 10 == 6 else 1
    answers = [processes.timed("join", visitor.send("join", **last)) for _ in range(times)]
    paths = [answer.url.path for answer in await asyncio.gather(*answers)]
    assert any(path.startswith("/hub/spawn") for path in paths), visitor.page.text
    await processes.timed("page", visitor.open(processes.page))
    assert "Your seat is number" in visitor.page.text
    await visitor.http.aclose()


async def uses_a_browser(processes: Processes, browser: Browser, number: int) -> None:
    """Have a person join in a browser that is set to their language; the person double-clicks each button."""
    await asyncio.sleep(COME * number / CLASS)
    locale, mail = LOCALES[number], mail_of(number)
    context = await browser.new_context(base_url=processes.hub.url, locale=locale, reduced_motion="reduce")
    page = await context.new_page()
    await page.goto(f"{processes.workshop.join_url}#{processes.workshop.code}")
    await expect(page.locator("#code")).to_have_value(processes.workshop.code)
    assert (await page.locator("html").get_attribute("lang") or "")[:2] == locale[:2]
    await page.locator("#mail").fill(mail)
    await page.locator("form[data-once] .fg-primary").dblclick()
    await expect(page.locator("#digits")).to_be_visible()
    await page.locator("#digits").fill(await processes.digits(mail))
    await page.locator("#name").fill(f"Person {number}")
    await page.locator("#accept").check()
    await page.locator("#fg-join-button").dblclick()
    await page.wait_for_url("**/hub/spawn?**", wait_until="commit")
    await expect(page.locator("main").first).to_be_visible()
    await context.close()


async def guesses(processes: Processes) -> Counter[tuple[int, bool]]:
    """Guess codes, a few per new browser; return the counts by (HTTP status, whether the browser has a ticket)."""
    found: Counter[tuple[int, bool]] = Counter()
    each, began = GUESSES // GUESSERS, time.monotonic()
    for first in range(0, each, OF_ONE_BROWSER):
        visitor = await Visitor(processes.hub).open(processes.page)
        for number in range(first, first + OF_ONE_BROWSER):
            await asyncio.sleep(began + number * COME / each - time.monotonic())  # as long as the class comes
            answer = await visitor.send("code", code=codes.make_code())
            found[answer.status_code, "fg-join-ticket" in visitor.http.cookies] += 1
        await visitor.http.aclose()
    return found


async def test_sixty_people_join_at_once_while_a_thousand_codes_are_guessed(
    processes: Processes, browser: Browser
) -> None:
    began = time.monotonic()
    spent = cpu(processes.pids)
    guessing = [asyncio.create_task(guesses(processes)) for _ in range(GUESSERS)]
    async with asyncio.TaskGroup() as people:
        for number in range(CLASS):
            in_browser = number < len(LOCALES)
            joins = uses_a_browser(processes, browser, number) if in_browser else sends_forms(processes, number)
            people.create_task(joins)
    took = time.monotonic() - began
    refused = sum(await asyncio.gather(*guessing), Counter())
    print(f"{CLASS} people have joined after {took:.1f} s, the guesses took {time.monotonic() - began:.1f} s")
    used = ", ".join(
        f"{name} {after - before:.1f} s"
        for name, before, after in zip(processes.pids, spent, cpu(processes.pids), strict=True)
    )
    print(f"CPU: {used}")
    for step, seconds in processes.answers.items():
        ordered = sorted(seconds)
        print(f"{step}: median {ordered[len(ordered) // 2]:.2f} s, longest {ordered[-1]:.2f} s")

    service, slug = processes.service, processes.workshop.slug
    members = [one for one in await service.members(OPERATOR, slug) if one.role == "participant"]
    assert sorted(one.name for one in members) == sorted(f"Person {number}" for number in range(CLASS))
    assert {one.state for one in members} == {"seated"}
    assert sorted(one.seat or 0 for one in members) == list(range(1, CLASS + 1))
    seen = await service.one(OPERATOR, slug)
    assert seen.staff is not None and [code.used for code in seen.staff.codes] == [CLASS]
    events = Counter(one.what for one in await service.events(OPERATOR, slug))
    assert (events["joined"], events["guesses"]) == (CLASS, 1)
    users = (await processes.hub.api("GET", "/users", params={"limit": 200})).json()
    names = {one.person for one in members}
    assert {one["name"] for one in users if one["name"].startswith("guest.")} == names and len(names) == CLASS

    async with asyncio.timeout(60):
        letters = await processes.mails.until(
            lambda: processes.mails.letters[2 * CLASS - 1 :] and processes.mails.letters
        )
    everybody = {mail_of(number): 1 for number in range(CLASS)}
    for has_code in (True, False):
        assert Counter(to for (to,), one in letters if bool(CODE.search(one["Subject"])) is has_code) == everybody

    assert refused == {(403, False): GUESSES}
    for name in names:  # nobody was shut out: the link lets each of them start at once
        (mine,) = await processes.link.projects(name)
        assert (mine.id, mine.usable) == (f"workshop-{slug}", True)
    assert took < ALL
    assert max(*processes.answers["page"], *processes.answers["code"]) < ANSWERED
    assert max(processes.answers["join"]) < ONWARD
