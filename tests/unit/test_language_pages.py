"""The pages in other languages, in a browser: every text for people is translated."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po
from playwright.async_api import Browser, BrowserContext, Page, StorageState, expect

from factorycommon.models import End, Outcome, Problem
from factorylink.explain import explain
from tests.support import texts
from tests.unit import page_states
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import Beside, HubProcess

PAGES = Path(__file__).parents[2] / "hub_config"
PSEUDO = "el"  # Intl's Greek texts have no Latin letters, so Latin letters belong to untranslated texts

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Everything that a person reads or a screen reader says: visible text, and attributes that are spoken.
READ = """() => {
  const found = [];
  const shown = (element) => element.checkVisibility({ visibilityProperty: true }) || element.closest("title, option");
  const walk = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const parent = node.parentElement;
    const whole = parent.tagName === "STRONG" ? parent.parentElement : parent; // a sentence with bold parts is one text
    const text = whole.querySelector(":scope > strong") ? whole.textContent : node.nodeValue.trim();
    if (text && !parent.closest("script, style, noscript, pre, code, .modal, #fg-language") && shown(parent)) {
      found.push(text);
    }
  }
  for (const element of document.querySelectorAll("[aria-label], [title], [placeholder], [alt], [aria-valuetext]")) {
    for (const name of ["aria-label", "title", "placeholder", "alt", "aria-valuetext"]) {
      const text = element.getAttribute(name);
      if (text && !element.closest(".modal")) found.push(text);
    }
  }
  return found;
}"""


def marked(text: str) -> str:
    """Return a pseudo-translation: the text between marks, with its placeholders."""
    return f"⟦{text}⟧"


def write_pseudo(pages: Path) -> None:
    """Copy the files of the hub's pages to ``pages``, and add a language whose translations are marked texts."""
    for name in ("templates", "static", "locale"):
        shutil.copytree(PAGES / name, pages / name)
    pseudo = Catalog(locale=PSEUDO)
    for one in texts.extracted(pages / "locale"):
        if one.id:
            forms = marked(one.id) if isinstance(one.id, str) else tuple(marked(form) for form in one.id)
            pseudo.add(one.id, forms, locations=one.locations, context=one.context)
    path = pages / "locale" / PSEUDO / "LC_MESSAGES" / "factorygate.po"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        write_po(file, pseudo)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory, link: FakeLink, beside: Beside) -> AsyncIterator[HubProcess]:
    folder = tmp_path_factory.mktemp("words")
    write_pseudo(folder / "pages")
    page_states.fill(link)
    made = HubProcess(folder, link.socket, beside, pages=folder / "pages")
    await made.up()
    yield made
    await made.kill()
    await made.http.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def signed_in(hub: HubProcess, browser: Browser) -> StorageState:
    """Return Ada's cookies after a login on the German page."""
    context = await browser.new_context(locale="de-DE", base_url=hub.url, reduced_motion="reduce")
    page = await context.new_page()
    await page.goto("/hub/login")
    await expect(page.get_by_role("heading", name="Anmelden")).to_be_visible()
    await page.get_by_label("Name", exact=True).fill("ada")
    await page.get_by_label("Passwort", exact=True).fill("ada-secret")
    await page.get_by_role("button", name="Anmelden").click()
    await page.wait_for_url(page_states.INSIDE)
    state = await context.storage_state()
    await context.close()
    return state


@pytest_asyncio.fixture(loop_scope="module")
async def context(hub: HubProcess, browser: Browser, signed_in: StorageState) -> AsyncIterator[BrowserContext]:
    made = await browser.new_context(locale="de-DE", base_url=hub.url, reduced_motion="reduce", storage_state=signed_in)
    yield made
    await made.close()


async def settled(page: Page, name: str) -> None:
    """Wait until the page of this name shows the link's data; open all collapsed parts of the page."""
    if name == "start":
        await expect(page.locator("#spawn_form")).to_have_attribute("data-ready", "true")
        await expect(page.locator("#fg-summary p").first).to_be_visible()
    elif name == "home":
        await expect(page.locator("#fg-live article")).to_have_count(4)
        await expect(page.locator("#fg-ended li.fg-ended")).to_have_count(2)
        await expect(page.locator("#fg-ended li.fg-ended").first).to_contain_text("A100")
        await expect(page.locator("#fg-clusters article")).to_have_count(4)
        await expect(page.locator("#fg-clusters-ended li")).to_have_count(2)
    elif name == "checklist":
        await expect(page.locator("#fg-rules-head")).to_be_visible()
    elif name == "project":
        await expect(page.locator("#fg-usage tfoot")).to_be_visible()
    else:
        await expect(page.locator(".fg-facts")).to_contain_text("A100")
    await page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true;")


@pytest.mark.parametrize("name", list(page_states.PAGES))
async def test_all_texts_of_the_pages_come_from_the_catalogue(context: BrowserContext, name: str) -> None:
    page = await context.new_page()
    await page.goto(f"{page_states.PAGES[name]}?lang={PSEUDO}")
    assert await page.evaluate("document.documentElement.lang") == PSEUDO
    await settled(page, name)
    left = [text for text in await page.evaluate(READ) if words_in(text)]
    assert left == []


@pytest.mark.parametrize("name", ["map", "status", "check", "token", "error"])
async def test_all_texts_of_the_other_pages_come_from_the_catalogue(context: BrowserContext, name: str) -> None:
    page = await context.new_page()
    await page.goto(f"{page_states.ALL[name].path.partition('?')[0]}?lang={PSEUDO}")
    assert await page.evaluate("document.documentElement.lang") == PSEUDO
    if name == "check":  # its texts come one after the other
        await expect(page.locator(page_states.ALL[name].ready).first).to_be_visible()
    names = page_states.names()
    told = [text for text in await page.evaluate(READ) if text not in names]
    assert len(told) > 8
    left = [text for text in told if words_in(re.sub("|".join(map(re.escape, names)), " ", text))]
    assert left == []


def words_in(text: str) -> list[str]:
    """Return Latin words that are not between marks and are no names of factories, schedulers or people."""
    outside = text
    while (inner := re.sub(r"⟦[^⟦⟧]*⟧", " ", outside)) != outside:
        outside = inner
    outside = page_states.DATA.sub(" ", outside)
    return re.findall(r"[A-Za-z]{3,}", outside)


async def test_the_switch_is_kept(context: BrowserContext) -> None:
    page = await context.new_page()
    await page.goto("/hub/home")
    await expect(page.get_by_role("heading", name="Ihre Sitzungen")).to_be_visible()
    await page.get_by_label("Sprache").select_option("en")
    await expect(page.get_by_role("heading", name="Your sessions")).to_be_visible()
    await expect(page.get_by_text("Other jobs are ahead of yours in the queue")).to_be_visible()
    await page.goto("/hub/spawn/ada")
    await expect(page.get_by_role("heading", name="Start a session")).to_be_visible()
    await page.goto("/hub/home?lang=de")
    await expect(page.get_by_text("Andere sind in der Warteschlange vor Ihnen.")).to_be_visible()


async def test_why_a_session_ended_and_its_log_are_reached_by_keyboard(context: BrowserContext) -> None:
    page = await context.new_page()
    await page.goto("/hub/home?lang=en")
    row = page.locator("li.fg-ended", has_text="old")
    await row.locator("summary", has_text="Details").focus()
    await page.keyboard.press("Enter")
    await expect(row.get_by_text("What you can do")).to_be_visible()
    await expect(row.get_by_text("keeps no record of why it ended")).to_be_visible()
    log = row.get_by_role("region", name="The last lines of the job’s log")
    await expect(log).to_contain_text("two")
    await page.keyboard.press("Tab")  # the control that shows the log, which is open since the session failed
    await page.keyboard.press("Tab")
    await expect(log).to_be_focused()


async def test_a_start_that_fails_says_why_in_the_persons_language(context: BrowserContext, link: FakeLink) -> None:
    page = await context.new_page()
    link.auto = False
    await page.goto("/hub/spawn/ada/fails?lang=de")
    await settled(page, "start")
    await page.get_by_role("button", name="Starten").click()
    await expect(page.get_by_role("heading", name="Wartet in der Warteschlange von ONE")).to_be_visible()
    session = await link.until(None, lambda one: one.server == "fails")  # the page may be faster than the link
    reason, words = explain.ended(End(job="7", outcome=Outcome.OUT_OF_MEMORY, raw_state="OUT_OF_MEMORY"))
    await link.end(session.id, end_reason=reason, end=words, log_tail=("Killed",))
    await expect(page.get_by_role("heading", name="Ihrer Sitzung ist der Speicher ausgegangen")).to_be_visible()
    await expect(page.get_by_text("Sie brauchte mehr Speicher, als ihre Größe hat, und wurde beendet.")).to_be_visible()
    await expect(page.get_by_text("Was Sie tun können")).to_be_visible()
    await expect(page.get_by_text("OUT_OF_MEMORY")).to_be_visible()


async def test_a_start_that_is_refused_before_there_is_a_session_says_why(
    context: BrowserContext, link: FakeLink
) -> None:
    page = await context.new_page()
    link.free.clear()  # the refusal comes while the page waits
    link.refuse = Problem(kind="limit", message=explain.own("limit-pending").what, do=explain.own("limit-pending").do)
    try:
        await page.goto("/hub/spawn/ada/refused?lang=de")
        await settled(page, "start")
        await page.get_by_role("button", name="Starten").click()
        await page.wait_for_url("**/spawn-pending/**")
        link.free.set()
        told = page.get_by_text("Bei Ihnen warten schon so viele Sitzungen")
        await expect(told).to_be_visible()
        await expect(page.get_by_text("Brechen Sie zuerst eine davon ab.")).to_be_visible()
    finally:
        link.free.set()
        link.refuse = None


async def test_project_and_cost_are_shown_before_the_click(context: BrowserContext, link: FakeLink) -> None:
    page = await context.new_page()
    await page.goto("/hub/spawn/ada/pays?lang=en")
    await settled(page, "start")
    summary, start = page.locator("#fg-summary"), page.get_by_role("button", name="Start")
    await expect(summary).to_contain_text("It costs at most 2 GPU-hours: 2 hours on 1 GPU.")
    await expect(summary).to_contain_text(
        "Charged to EHPC-AIF-2026PG01-756. You may still use 4,900 of its 5,000 GPU-hours. The project ends"
    )
    await expect(page.locator("#fg-ready-list")).to_contain_text("You have no account there yet")
    project = page.get_by_label("Project to charge")
    await project.select_option("EHPC-AIF-2026SC01-001")
    await expect(start).to_have_attribute("aria-disabled", "true")
    await expect(page.locator("#fg-obstacle")).to_contain_text("and this needs 2: at most 0.5 h")
    await page.get_by_label("Hours", exact=True).fill("0.5")
    await expect(start).to_have_attribute("aria-disabled", "false")
    await start.click()
    await expect(page).to_have_url(re.compile("/(user|spawn-pending)/ada/pays"))
    session = await link.until(None, lambda one: one.server == "pays")  # the page may be faster than the link
    assert link.requests[session.id].choice.project == "EHPC-AIF-2026SC01-001"
    asked = {path for _, path in link.asked if path.endswith("/estimate")}
    assert asked == {"/factories/one/estimate"}


async def test_the_proxys_own_page_speaks_the_persons_language_and_says_what_the_hub_knows(
    context: BrowserContext,
) -> None:
    page = await context.new_page()
    body = (PAGES / "error" / "503.html").read_text()
    await page.route("**/user/ada/**", lambda route: route.fulfill(status=503, body=body, content_type="text/html"))
    for server, said in {
        "nowhere": "Ihre Sitzung ist wieder in der Warteschlange",  # ada's main session waits
        "busy": "Ihre Sitzung läuft; der Weg zu ihr wird wieder geöffnet",
        "lost": "Im Moment kommt keine Antwort",
    }.items():
        await page.goto(f"/user/ada/{server}/lab")
        await expect(page.get_by_role("heading", name=said)).to_be_visible()
    await expect(page.get_by_role("status")).to_contain_text("nichts ist verloren")

    await page.route("**/hub/**", lambda route: route.abort())
    await page.goto("/user/ada/lost/lab")
    await expect(page.get_by_role("heading", name="Im Moment kommt keine Antwort")).to_be_visible()
    for part in ("title", "#what", "#now", "#home"):
        assert not set(re.findall(r"\w+", await page.locator(part).inner_text())) & {
            "the",
            "this",
            "not",
            "now",
            "Your",
        }
    await context.add_cookies([{"name": "fg-lang", "value": "en", "url": page.url}])
    await page.reload()
    await expect(page.get_by_role("heading", name="This is not answering at the moment")).to_be_visible()
