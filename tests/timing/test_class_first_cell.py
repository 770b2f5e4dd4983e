"""A class in real browsers, on real schedulers: from the trainer's form until each person's first cell has run.

A trainer without an operator's rights plans a class at two factories, and an operator approves it. People who are new
to the hub and to the factories open the class's address for joining: with a mouse, on a phone, and by keyboard alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import httpx
import pytest
import yaml
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import end_sessions
from tests.browser.test_first_session import log_in
from tests.conftest import CHECKOUT, PATIENCE
from tests.support.gateway import TRUST, Gateway, eventually
from tests.support.lent_accounts import lent_accounts
from tests.support.smtp import MailServer, mail_server
from tests.support.workshop_class import Service

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for accounts of the class"),
    pytest.mark.timeout(600),
]
TRAINER, ADMIN = "ada", "admin"
PLACES = {"class-a": "it4lia", "class-b": "brainpp"}  # pools that the trainer chooses as plans A and B, and where
SEATS = 4
TITLE, TERMS = "First steps on GPUs", "Use your session for the exercises only."
ZONE = "Europe/Ljubljana"
MOST_PRESSES = 6
MOST_SECONDS = 90.0
TYPING = 50  # ms for a character
CELL = 'import os; print("job", os.environ["SLURM_JOB_ID"])'
Means = Literal["mouse", "touch", "keyboard"]
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 780}

# Keeps each press of a pointer, and each press of Enter or of the space bar that is no text, over all pages of a tab.
# What a page does by itself is no press. Typing is none, nor is moving with Tab or the arrow keys; but a click into a
# text field is one, and so is Shift+Enter in a cell.
COUNT_PRESSES = """
(() => {
  const TEXT = "textarea, [contenteditable=true], input:not([type=checkbox])";
  const note = (event, how) => {
    if (!event.isTrusted || event.repeat) return;
    const at = event.target;
    const what = (at.innerText || at.id || at.title || at.tagName).trim().slice(0, 30);
    sessionStorage.presses = JSON.stringify([...JSON.parse(sessionStorage.presses ?? "[]"), `${how}: ${what}`]);
  };
  addEventListener("pointerdown", (event) => note(event, event.pointerType), true);
  addEventListener("keydown", (event) => {
    if (event.key === "Enter") note(event, "Enter");
    if (event.key === " " && !event.target.matches(TEXT)) note(event, "Space");
  }, true);
})();
"""


@dataclass(frozen=True)
class Taught:
    """A class that people may join.

    ``link``: the address that the trainer sends to people; ``accounts``: the site accounts of each pool; ``before``,
    ``approved``: the result of ``running`` before the class was planned, and after it was approved.
    """

    gateway: Gateway
    mails: MailServer
    slug: str
    link: str
    accounts: Mapping[str, tuple[str, ...]]
    before: dict[str, Any]
    approved: dict[str, Any]

    def people(self) -> dict[str, str]:
        """Return the hub's user name of each guest who has joined, by the name that the guest gave."""
        members = asked(self.gateway, "members", self.slug)
        return {one.name: one.person for one in members if one.role == "participant"}


def asked(gateway: Gateway, order: str, *arguments: Any) -> Any:
    """Send a request to the workshops service as an operator; return the answer.

    ``order``: the name of a method of ``WorkshopsClient``; ``arguments``: its arguments after the caller. The request
    is sent in another thread, since Playwright's event loop runs in this one.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(Service(gateway).ask, order, *arguments).result()


def running(gateway: Gateway) -> dict[str, Any]:
    """Return the gateway's processes by program, and a digest of each file that an operator may edit, by its path."""
    folder = gateway.path.parent
    files = [*folder.glob("*.yaml"), folder / "passwords.json"]
    files += [file for file in (CHECKOUT / "hub_config").rglob("*") if file.suffix in (".py", ".yaml", ".html")]
    digests = {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    programs: dict[str, Any] = json.loads((folder / "processes.json").read_text())
    return digests | programs


@pytest.fixture(autouse=True)
def _no_sessions(gateway: Gateway) -> Iterator[None]:
    """End all people's sessions after each test."""
    yield
    end_sessions(gateway)


@pytest.fixture(scope="module")
def mails(gateway: Gateway) -> Iterator[MailServer]:
    """Let the gateway send its mails to a server of this test, and yield the server."""
    file = gateway.path.parent / "workshops.yaml"
    before = file.read_text()
    with mail_server() as server:
        joining = {"sender": "workshops@gateway.example", "smtp": {"host": "127.0.0.1", "port": server.port}}
        file.write_text(yaml.safe_dump(yaml.safe_load(before) | {"joining": joining}))
        try:
            restart_service(gateway)
            yield server
        finally:
            file.write_text(before)
            restart_service(gateway)


def restart_service(gateway: Gateway) -> None:
    """Kill the workshops service, and wait until its new process answers."""
    record = gateway.path.parent / "processes.json"
    old = json.loads(record.read_text())["workshops"]["pid"]

    def answers() -> bool:
        if json.loads(record.read_text()).get("workshops", {"pid": old})["pid"] == old:
            return False
        try:
            found = httpx.get(f"{gateway.root}/services/workshops/health", timeout=5, verify=TRUST)
        except httpx.HTTPError:
            return False
        return found.status_code == 200

    os.kill(old, signal.SIGKILL)
    eventually(answers, what="the next workshops service answers")


@contextmanager
def in_browser(browser: Browser, **options: Any) -> Iterator[Page]:
    """Yield a page of a browser without cookies, whose person reads English in Ljubljana."""
    usual: dict[str, Any] = {"viewport": WIDE, "locale": "en-GB", "timezone_id": ZONE, "reduced_motion": "reduce"}
    context = browser.new_context(**usual | options)
    context.set_default_timeout(PATIENCE)
    context.add_init_script(COUNT_PRESSES)
    try:
        yield context.new_page()
    finally:
        context.close()


def presses(page: Page) -> list[str]:
    """Return the presses in this tab that ``COUNT_PRESSES`` recorded: by mouse or touch, and with Enter or Space."""
    found: list[str] = json.loads(page.evaluate("sessionStorage.presses ?? '[]'"))
    return found


def check_width(page: Page) -> None:
    """Check that nobody has to scroll sideways to read the page."""
    assert page.viewport_size is not None
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"], page.url


@pytest.fixture(scope="module")
def taught(gateway: Gateway, mails: MailServer, browser: Browser) -> Iterator[Taught]:
    """Plan a class as a trainer, approve it as an operator, and let its seats start as the trainer; yield the class."""
    admin = json.loads((gateway.path.parent / "logins.json").read_text())[ADMIN]
    with (
        lent_accounts(gateway, PLACES, SEATS) as lent,
        in_browser(browser) as trainer,
        in_browser(browser) as operator,
    ):
        before = running(gateway)
        log_in(trainer, gateway, TRAINER)
        link = create(trainer, gateway)
        slug = link.partition("#")[0].rpartition("/")[2]
        try:
            log_in(operator, gateway, ADMIN, admin)
            approve(operator, gateway)
            warm_up(trainer, gateway, slug)
            made = Taught(gateway, mails, slug, link, lent.names, before, running(gateway))
            yield made
            for person in made.people().values():
                gateway.stopped(person)
        finally:
            asked(gateway, "take", slug, "close")


def create(page: Page, gateway: Gateway) -> str:
    """Fill in the form of a class at two factories, and send it; return the link to join."""
    page.goto(f"{gateway.hub}/workshops")
    page.get_by_role("link", name="New workshop").click()
    page.get_by_label("Title").fill(TITLE)
    expect(page.get_by_label("Time zone of the class")).to_have_value(ZONE)  # of the browser
    opens = datetime.now(ZoneInfo(ZONE)) + timedelta(hours=1)
    page.get_by_label(re.compile("^Opens")).fill(f"{opens:%Y-%m-%dT%H:%M}")
    expect(page.get_by_label("Ends", exact=True)).not_to_have_value("")
    for letter, pool in zip("AB", PLACES, strict=True):
        choices = page.get_by_label(re.compile(f"^Plan {letter}"))
        value = choices.locator(f"option[value^='{pool}/{PLACES[pool]}/gpu-1/']").get_attribute("value")
        choices.select_option(value)
    page.get_by_label("Seats", exact=True).fill(str(SEATS))
    page.get_by_label("Longest session (hours)").fill("0.5")
    page.get_by_label(re.compile("^Terms that they accept")).fill(TERMS)
    check_width(page)
    page.get_by_role("button", name="Create it").click()
    expect(page.get_by_role("heading", name=TITLE)).to_be_visible()
    expect(page.get_by_text("It waits for an operator’s approval.")).to_be_visible()
    code = page.get_by_role("status", name="The code for joining")
    link = code.get_by_role("link").get_attribute("href")
    assert link is not None
    return link


def approve(page: Page, gateway: Gateway) -> None:
    """Approve the class, with one click on its page."""
    page.goto(f"{gateway.hub}/workshops")
    page.get_by_role("region", name="Waiting for approval").get_by_role("link", name=TITLE).click()
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_role("heading", name="Approval")).to_have_count(0)


def warm_up(page: Page, gateway: Gateway, slug: str) -> None:
    """Let the seats of the class start before it opens."""

    def may() -> bool:
        page.goto(f"{gateway.hub}/workshops/{slug}")
        return page.get_by_text("Warm up now").count() > 0

    eventually(may, what="the class is scheduled")
    page.locator("summary", has_text="Warm up now").click()
    with page.expect_navigation():
        page.get_by_role("button", name="Warm up now").click()
    state = page.locator("[data-state]")
    eventually(lambda: page.reload() and state.get_attribute("data-state") == "warming", what="it warms up")


def test_one_approval_gives_a_trainer_a_class_at_two_factories(taught: Taught, browser: Browser) -> None:
    gateway = taught.gateway
    trainer = gateway.api("GET", f"/users/{TRAINER}").json()
    assert (trainer["admin"], trainer["roles"]) == (False, ["user"])
    assert taught.approved == taught.before  # the same processes, and no file was edited
    view = asked(gateway, "one", taught.slug)
    assert [place.factory for place in view.places] == list(PLACES.values())
    with in_browser(browser) as page:
        log_in(page, gateway, TRAINER)
        for address in ("/hub/operator", "/hub/admin"):
            answer = page.goto(f"{gateway.root}{address}")
            assert answer is not None and answer.status in (403, 404)


class Guest:
    """A person with a mail address, who uses a page by mouse, by touch, or by keyboard alone."""

    def __init__(self, page: Page, means: Means) -> None:
        self.page = page
        self.means = means

    def press(self, control: Locator) -> None:
        """Press a button, tick a box, or follow a link."""
        if self.means == "keyboard":
            self.tab_to(control)
            self.page.keyboard.press("Space" if control.get_attribute("type") == "checkbox" else "Enter")
        elif self.means == "touch":
            control.tap()
        else:
            control.click()

    def tab_to(self, control: Locator) -> None:
        """Press Tab until the control has the focus. Raises AssertionError."""
        for _ in range(60):
            self.page.keyboard.press("Tab")
            if control.evaluate("it => it === document.activeElement"):
                return
        raise AssertionError(f"no way to {control} by Tab")

    def write(self, text: str, into: Locator | None = None) -> None:
        """Type a text where the focus is, or into a field."""
        if into is not None and self.means == "keyboard":
            self.tab_to(into)
        elif into is not None:
            self.press(into)
        self.page.keyboard.type(text, delay=TYPING)

    def join(self, taught: Taught, mail: str, name: str) -> float:
        """Join the class at its address; return the seconds from the request for the mail until the mail arrived."""
        page = self.page
        page.goto(taught.link)
        expect(page.locator("#mail")).to_be_focused()
        assert page.locator("#code").input_value() in taught.link
        check_width(page)
        self.write(mail)
        self.press(page.get_by_role("button", name="Continue"))
        expect(page.locator("#digits")).to_be_focused()
        check_width(page)
        since = time.monotonic()
        letter = taught.mails.wait(mail, "is your code", 60)
        waited = time.monotonic() - since
        digits = re.search(r"\b\d{8}\b", letter["Subject"])
        assert digits is not None
        self.write(digits[0])
        self.write(name, page.get_by_label("Your name"))
        self.press(page.get_by_role("checkbox"))
        self.press(page.get_by_role("button", name="Join", exact=True))
        return waited

    def run_first_cell(self) -> str:
        """Open a notebook in JupyterLab, and run its first cell; return what it prints."""
        page = self.page
        # A cell that runs before the notebook has its session makes JupyterLab start another one beside it.
        with page.expect_websocket(lambda one: "/channels" in one.url, timeout=2 * PATIENCE):
            self.press(page.locator(".jp-LauncherCard[data-category='Notebook']").first)
        expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=2 * PATIENCE)
        expect(page.locator(".jp-Notebook .cm-content")).to_be_focused(timeout=PATIENCE)
        self.write(CELL)
        if self.means == "touch":
            self.press(page.locator("[data-command='notebook:run-cell-and-select-next']"))
        else:
            page.keyboard.press("Shift+Enter")
        return page.locator(".jp-OutputArea-output", has_text="job").first.inner_text(timeout=2 * PATIENCE)


@pytest.mark.parametrize(
    ("means", "options"),
    [
        ("mouse", {}),
        ("touch", {"viewport": PHONE, "has_touch": True, "is_mobile": True}),
        ("keyboard", {"viewport": PHONE}),
    ],
    ids=["mouse on a wide page", "touch on a phone", "keyboard on a narrow page"],
)
def test_a_stranger_gets_from_the_link_to_a_cell_that_prints_its_job(
    taught: Taught, browser: Browser, means: Means, options: dict[str, Any]
) -> None:
    gateway, mail, name = taught.gateway, f"{means}@example.org", f"Kim {means.title()}"
    factory = gateway.factories[PLACES["class-a"]]
    assert name not in taught.people()
    with in_browser(browser, **options) as page:
        guest, begun = Guest(page, means), time.monotonic()
        waited = guest.join(taught, mail, name)
        page.wait_for_url(re.compile(r"/user/guest\.[a-z.0-9]+/lab"), timeout=2 * PATIENCE)
        printed = guest.run_first_cell()
        took = time.monotonic() - begun - waited
        pressed = presses(page)
    print(f"{means}: {took:.1f} s beyond the mail ({waited:.1f} s), pressed: {', '.join(pressed)}")

    person = taught.people()[name]
    session = gateway.session(person)
    assert session is not None
    job = factory.jobs()[session["job"]]
    assert printed.split() == ["job", session["job"]]
    assert (job["state"], session["choice"]["project"]) == ("RUNNING", f"workshop-{taught.slug}")
    assert job["user"] == session["account"] and job["user"] in taught.accounts["class-a"]
    assert [one for one in factory.jobs().values() if one["user"] == job["user"]] == [job]  # nobody else's
    assert took <= MOST_SECONDS
    assert len(pressed) <= MOST_PRESSES, pressed
    assert running(gateway) == taught.before
