"""The JupyterLab extension in a browser, in JupyterLab and in Notebook: countdown, warnings, save-all, extension,
restart, messages, the panel, and axe's results for the extension's elements."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import re
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Locator, Page, Route, WebSocketRoute, async_playwright, expect

from factorycommon.material.archive import MaterialFile, pack
from factorygate.examples import FOLDER, NEEDS
from factorygate.material.delivery import deliver
from tests.conftest import chromium_options
from tests.support.lab import OTHER, SESSION, TOKEN, LabServer, cluster, in_minutes, lab_server, session

CHECKOUT = Path(__file__).parents[2]
AXE = CHECKOUT / "extensions" / "lab" / "node_modules" / "axe-core" / "axe.min.js"
EXAMPLES = CHECKOUT / "docs" / "examples"
OURS = [".fg-Status", ".fg-Panel", ".Toastify"]
PATIENCE = 60_000  # ms
LARGE_TEXT = "#jp-MainMenu { font-size: 20px }"
MOST = 0.9  # of an element that is seen; a fraction of a pixel may be missing at an edge
# Keeps the texts of all notices, since some are shown for a few seconds only.
NOTE_TOASTS = """
  window.noted = new Set();
  const note = () => document.querySelectorAll(".Toastify__toast").forEach((one) => window.noted.add(one.innerText));
  new MutationObserver(note).observe(document, { childList: true, subtree: true, characterData: true });
"""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["jupyterlab", "notebook"])
async def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LabServer]:
    async with lab_server(tmp_path_factory.mktemp("lab"), request.param) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def context(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[BrowserContext]:
    """Return a browser context with a profile on disk, in which Chromium keeps compiled scripts, so that it compiles
    JupyterLab only once."""
    async with async_playwright() as playwright:
        made = await playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            **chromium_options(),
            locale="en-GB",
            viewport={"width": 1280, "height": 900},
            reduced_motion="reduce",
        )
        yield made
        await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(server: LabServer, context: BrowserContext) -> AsyncIterator[Page]:
    """Open a text document in JupyterLab or in Notebook, in a session with nearly two hours left."""
    server.tell()
    server.gateway.refusal = ""
    server.gateway.sessions = [session()]
    (server.root / "notes.txt").write_text("first\n")
    (server.root / "more.txt").write_text("first\n")
    made = await context.new_page()
    await made.add_init_script(NOTE_TOASTS)
    await made.goto(server.page("notes.txt"))
    await opened(server, made)
    assert made.url.startswith(f"{server.url}/{'lab' if server.module == 'jupyterlab' else 'edit'}")
    yield made
    await made.close(run_before_unload=False)


async def opened(server: LabServer, page: Page) -> None:
    """Wait until the application is ready, also for its own late actions: JupyterLab sets the focus to the document."""
    await expect(page.locator(".fg-Status")).to_contain_text("left", timeout=PATIENCE)
    document = page.locator(".jp-FileEditor .cm-content:visible")
    await expect(document).to_contain_text("first", timeout=PATIENCE)
    if server.module == "jupyterlab":
        await expect(document).to_be_focused(timeout=PATIENCE)


def toast(page: Page, text: str | re.Pattern[str]) -> Locator:
    return page.locator(".Toastify__toast", has_text=text)


async def noted(page: Page, text: str) -> None:
    """Return once a notice with that text has been shown, perhaps for a few seconds only."""
    shown = "said => [...window.noted].some((one) => one.includes(said))"
    await page.wait_for_function(shown, arg=text, timeout=PATIENCE)


async def near(server: LabServer, page: Page, minutes: float = 10, step: int = 15, kind: str = "walltime") -> Locator:
    """Let the door announce the session's end in ``minutes``; return the toast about it.

    ``step``: the number of minutes that the notice states; ``kind``: the notice's kind.
    """
    server.tell(ends=in_minutes(minutes + 1), notice={"kind": kind, "at": in_minutes(minutes), "minutes": step})
    shown = toast(page, re.compile("This session (reaches|is idle)|You have not used this session"))
    await expect(shown.first).to_be_visible(timeout=PATIENCE)  # the previous toast may still be closing
    return shown


async def test_the_panel_shows_place_remaining_time_and_resource_use(page: Page) -> None:
    status = page.locator(".fg-Status")
    await expect(status).to_contain_text("Leonardo · 1 x A100 64 GB", timeout=PATIENCE)
    await expect(status).to_contain_text(re.compile(r"1 hr 5\d mins left"))
    await expect(status).to_contain_text(re.compile(r"GPU 37% · memory [\d.]+ [MG]B"))
    await expect(status).to_have_attribute("data-near", "")


async def test_counts_down_and_warns_once_at_each_step(server: LabServer, page: Page) -> None:
    warned = await near(server, page, 10, 15)
    await expect(warned).to_contain_text("Save your work")
    status = page.locator(".fg-Status")
    await expect(status).to_have_attribute("data-near", "soon")
    await expect(status).to_contain_text(re.compile("(9|10) mins left"))
    await warned.locator(".jp-toast-button, button", has_text="Save all").first.click()
    await noted(page, "Everything is already saved.")
    await expect(warned).to_be_visible()  # the other buttons are still useful

    await near(server, page, 4, 5)
    await expect(status).to_have_attribute("data-near", "now")
    time = status.locator(".fg-Status-time")
    await expect(time).to_contain_text(re.compile("[34] mins [0-9]+ secs? left"))
    before = await time.text_content()
    await expect(time).not_to_have_text(before or "", timeout=PATIENCE)  # the seconds count down
    await expect(toast(page, "This session reaches")).to_have_count(1)  # the earlier step's toast is gone

    server.tell()  # the session was extended
    await expect(toast(page, "This session reaches")).to_have_count(0, timeout=PATIENCE)
    await expect(status).to_have_attribute("data-near", "")


async def test_an_idle_session_is_told_what_helps(server: LabServer, page: Page) -> None:
    warned = await near(server, page, 4, 5, "idle")
    await expect(warned).to_contain_text("unless you use it")


async def write(page: Page, text: str) -> None:
    editor = page.locator(".jp-FileEditor .cm-content:visible").first
    # content that arrives later would replace typed text
    await expect(editor).to_contain_text("first", timeout=PATIENCE)
    await editor.fill(text)


async def test_saves_all(server: LabServer, page: Page) -> None:
    await write(page, "never saved by hand")
    warned = await near(server, page)
    await warned.locator("button", has_text="Save all").click()
    await noted(page, "1 document saved.")
    assert (server.root / "notes.txt").read_text() == "never saved by hand"


async def full(route: Route) -> None:
    """Answer each write like a server whose disk is full; let other requests pass."""
    if route.request.method == "PUT":
        await route.fulfill(status=507, json={"message": "It is full."})
    else:
        await route.continue_()


async def test_files_that_could_not_be_saved_are_named(server: LabServer, page: Page) -> None:
    await write(page, "not to be saved")
    await page.route("**/api/contents/notes.txt*", full)
    warned = await near(server, page)
    await warned.locator("button", has_text="Save all").click()
    await expect(toast(page, "Could not be saved: notes.txt")).to_be_visible(timeout=PATIENCE)
    assert (server.root / "notes.txt").read_text() == "first\n"


async def test_an_extension_can_be_requested_and_a_refusal_is_shown(server: LabServer, page: Page) -> None:
    server.gateway.refusal = "The partition allows no more."
    for hours, said in ((1.5, "The partition allows no more."), (2, "The factory gave this session 2 hours more.")):
        server.tell()
        await expect(toast(page, "This session reaches")).to_have_count(0, timeout=PATIENCE)
        warned = await near(server, page)
        await warned.locator("button", has_text="More time").click()
        dialog = page.locator(".jp-Dialog")
        await expect(dialog).to_contain_text("at most 3 more")
        await dialog.locator("input").fill(str(hours))
        await dialog.locator("button", has_text="Ask for more time").click()
        await noted(page, said)
        server.gateway.refusal = ""
    assert server.gateway.extended[-1] == 2


async def test_starts_again_with_all_saved(server: LabServer, page: Page) -> None:
    await write(page, "kept")
    warned = await near(server, page)
    await warned.locator("button", has_text="Start again").click()
    await page.wait_for_url(re.compile(rf"/hub/home#again={SESSION}$"), timeout=PATIENCE)
    assert (server.root / "notes.txt").read_text() == "kept"


async def test_a_message_is_shown_once(server: LabServer, page: Page) -> None:
    text = f"Ten minutes <b>break</b> in {server.module}."
    server.tell(messages=[{"id": server.module, "text": text, "kind": "warning", "at": in_minutes(0)}])
    await expect(toast(page, text)).to_be_visible(timeout=PATIENCE)  # as text, never as markup
    await page.reload()
    await opened(server, page)
    other = [{"id": "later", "text": "Go on.", "kind": "info", "at": in_minutes(0)}]
    server.tell(messages=[{"id": server.module, "text": text, "kind": "warning", "at": in_minutes(0)}, *other])
    await noted(page, "Go on.")
    await expect(toast(page, text)).to_have_count(0)


async def test_a_hidden_page_asks_nothing(server: LabServer, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "api/factorygate" in request.url else None)
    await page.clock.install()
    await page.reload()
    await expect(page.locator(".fg-Status")).to_contain_text("left", timeout=PATIENCE)
    await page.evaluate("""() => {
      Object.defineProperty(document, "visibilityState", { get: () => window.shown ? "visible" : "hidden" });
      Object.defineProperty(document, "hidden", { get: () => !window.shown });
      document.dispatchEvent(new Event("visibilitychange"));
    }""")
    asked.clear()
    await page.clock.run_for(120_000)
    assert asked == []
    await page.evaluate("window.shown = true; document.dispatchEvent(new Event('visibilitychange'))")
    async with page.expect_request("**/api/factorygate/overview*", timeout=PATIENCE):
        await page.clock.run_for(60_000)


async def phone_menus(server: LabServer, page: Page, text: str = "#jp-MainMenu {}") -> tuple[Locator, Locator]:
    """Make the page as narrow as a phone; return the first and the last item of JupyterLab's menu bar.

    ``text``: CSS that is added to the page. Skips the test in Notebook, whose menus fit.
    """
    if server.module != "jupyterlab":
        pytest.skip("Notebook's menus for a text document fit")
    await page.set_viewport_size({"width": 360, "height": 640})
    await page.add_style_tag(content=text)
    first, last = (page.get_by_role("menuitem", name=name, exact=True) for name in ("File", "Help"))
    await expect(first).to_be_in_viewport(ratio=MOST)
    return first, last


async def expect_its_menu(page: Page, item: Locator) -> None:
    """Expect that the open menu and its item are in view, and that the page has not moved."""
    for one in (item, page.get_by_role("menu"), page.locator("#jp-MainLogo")):
        await expect(one).to_be_in_viewport(ratio=MOST, timeout=PATIENCE)


async def test_a_phone_shows_all_menus(server: LabServer, page: Page) -> None:
    _, last = await phone_menus(server, page)
    await expect(last).to_be_in_viewport(ratio=MOST)
    await last.click()
    await expect_its_menu(page, last)


async def test_menus_in_large_text_are_reached_by_keyboard(server: LabServer, page: Page) -> None:
    first, last = await phone_menus(server, page, LARGE_TEXT)
    await expect(last).not_to_be_in_viewport()
    await first.focus()
    await page.keyboard.press("ArrowLeft")
    await expect(last).to_be_focused()
    await page.keyboard.press("Enter")
    await expect_its_menu(page, last)


async def test_menus_in_large_text_are_reached_by_touch(server: LabServer, page: Page) -> None:
    _, last = await phone_menus(server, page, LARGE_TEXT)
    await expect(last).not_to_be_in_viewport()
    session = await page.context.new_cdp_session(page)
    for number, x in enumerate((340, 280, 220, 160, 100, 40)):
        finger = {"type": "touchMove" if number else "touchStart", "touchPoints": [{"x": x, "y": 14}]}
        await session.send("Input.dispatchTouchEvent", finger)
    await session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    await expect(last).to_be_in_viewport(ratio=MOST, timeout=PATIENCE)
    await page.keyboard.press("Escape")  # closes the menu that was touched first
    await last.click()
    await expect_its_menu(page, last)


async def open_panel(page: Page) -> Locator:
    """Open the panel with the keyboard, by the button in the status line; return the panel.

    The mouse uses the same button. If the panel does not open, the button is tried again: JupyterLab may give the focus
    to a document that it has just opened, which then gets the key.
    """
    panel = page.locator(".fg-Panel")
    async with asyncio.timeout(2 * PATIENCE / 1000):
        while not await panel.is_visible():
            await page.locator(".fg-Status button").press("Enter", timeout=PATIENCE)
            with contextlib.suppress(AssertionError):
                await expect(panel).to_be_visible(timeout=2000)
    return panel


async def test_the_panel_shows_sessions_and_clusters(server: LabServer, page: Page) -> None:
    other = session(id=OTHER, server="train", ends=in_minutes(50))
    server.gateway.sessions = [session(), other, session(id="ef" * 16, server="next", state="pending", position=3)]
    server.gateway.clusters = [cluster(name="dask-1", counts={"running": 4})]
    async with page.expect_response("**/api/factorygate/overview*", timeout=PATIENCE):
        await page.reload()
    await opened(server, page)
    panel = await open_panel(page)
    await expect(panel.locator('[data-session="train"]')).to_contain_text("Running", timeout=PATIENCE)
    await expect(panel.locator('[data-session="train"] a')).to_have_attribute("href", "/user/ada/train/")
    await expect(panel.locator('[data-session="next"]')).to_contain_text("In the queue, place 3")
    await expect(panel.locator('[data-session=""]')).to_have_count(0)  # the panel shows this session separately, above
    await expect(panel).to_contain_text("This session")
    await expect(panel.locator("meter").first).to_be_visible()
    await expect(panel.locator(f'[data-cluster="{32 * "c"}"]')).to_contain_text(
        "dask-1Leonardo · 1 x A100 64 GB · 4 running"
    )
    await expect(panel.locator('[data-session="train"]')).to_contain_text("ends ")
    save = panel.get_by_role("button", name="Save all")
    await save.focus()
    await near(server, page)  # a redraw must not move the focus
    await expect(panel).to_contain_text("Save your work")
    await expect(save).to_be_focused()
    await expect(panel.get_by_role("link", name="All sessions")).to_have_attribute("href", "/hub/home")


async def test_the_launcher_has_the_examples(server: LabServer, page: Page) -> None:
    if server.module != "jupyterlab":
        pytest.skip("Notebook has no launcher")
    folder = server.root / FOLDER
    await page.goto(f"{server.url}/lab?reset&token={TOKEN}")
    card = page.locator(".jp-LauncherCard[data-category='Notebook']", has_text="Examples")

    folder.write_text("a file in their place")
    await card.click(timeout=PATIENCE)
    await expect(toast(page, f"{FOLDER} cannot be written")).to_be_visible(timeout=PATIENCE)
    assert folder.read_text() == "a file in their place"
    folder.unlink()

    await card.click()
    await expect(page.locator(".jp-Notebook h1", has_text="First steps")).to_be_visible(timeout=PATIENCE)
    await expect(card).to_have_count(0)  # the notebook replaces it
    offered = {path.name for path in EXAMPLES.glob("*.ipynb")}
    offered -= {name for name, module in NEEDS.items() if importlib.util.find_spec(module) is None}
    assert {path.name for path in folder.glob("*.ipynb")} == offered


AXE_RUN = """async (ours) => {
  const include = ours.filter((one) => document.querySelector(one)).map((one) => [one]);
  const { violations } = await axe.run({ include }, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] });
  return violations.map((one) => ({ rule: one.id, where: one.nodes.map((node) => node.html) }));
}"""


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
async def test_axe_finds_nothing(server: LabServer, page: Page, theme: str) -> None:
    if not AXE.exists():
        pytest.skip("needs axe-core (bin/test installs it)")
    await open_panel(page)
    await near(server, page, 4, 5)
    settings = f"{server.url}/lab/api/settings/@jupyterlab/apputils-extension:themes"
    answer = await page.request.put(
        settings, data=json.dumps({"raw": json.dumps({"theme": theme})}), headers={"Authorization": f"token {TOKEN}"}
    )
    assert answer.ok
    await page.reload()
    await opened(server, page)
    await open_panel(page)
    await expect(page.locator("body")).to_have_attribute("data-jp-theme-name", theme, timeout=PATIENCE)
    await expect(toast(page, "This session reaches")).to_be_visible(timeout=PATIENCE)
    await page.add_script_tag(path=AXE)
    found: list[dict[str, Any]] = await page.evaluate(AXE_RUN, OURS)
    assert found == []
    await page.evaluate("document.querySelector('.fg-Panel').append(document.createElement('button'))")
    assert await page.evaluate(AXE_RUN, OURS)  # axe does find errors


async def test_the_end_of_the_session_is_shown(server: LabServer, page: Page) -> None:
    near_end = await near(server, page, 0.05, 5)
    await page.route("**/api/factorygate/**", lambda route: route.fulfill(status=424, json={"message": "not running"}))
    await expect(page.locator(".fg-Status")).to_contain_text("Session ended", timeout=2 * PATIENCE)
    over = toast(page, "This session reached its time limit.")
    await expect(over).to_be_visible()
    await expect(near_end).to_have_count(0)  # it closes above this one, which moves meanwhile
    await over.locator("button", has_text="Start again").click()
    await page.wait_for_url(re.compile(rf"/hub/home#again={SESSION}$"), timeout=PATIENCE)


WATCHED = (CHECKOUT / "tests" / "support" / "watched.py").read_text()
PANEL = f"{WATCHED}\nfrom factorygate import ClusterPanel\nClusterPanel(ScriptedCluster(view(120)))"


async def run_panel(server: LabServer, page: Page) -> None:
    """Open a notebook whose only cell shows a panel, and run the cell."""
    cell = {"cell_type": "code", "id": "panel", "source": PANEL, "metadata": {}, "outputs": [], "execution_count": None}
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    content = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": [cell]}
    (server.root / "panel.ipynb").write_text(json.dumps(content))
    # A cell that runs before the notebook has its session makes JupyterLab start another one beside it.
    async with page.expect_websocket(lambda one: "/channels" in one.url, timeout=2 * PATIENCE):
        await page.goto(server.page("panel.ipynb"))
    await page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for(timeout=2 * PATIENCE)
    prompt = page.locator(".jp-Notebook .jp-CodeCell .jp-InputPrompt").first
    async with asyncio.timeout(2 * PATIENCE / 1000):
        while await prompt.inner_text() in ("", "[ ]:"):
            assert not (dialogs := await page.locator("dialog").all_inner_texts()), dialogs
            # An element that is being redrawn may lose key presses.
            await page.locator(".jp-Notebook .jp-CodeCell .cm-content").first.click()
            await page.keyboard.press("Control+Enter")
            with contextlib.suppress(AssertionError):
                await expect(prompt).not_to_have_text(re.compile(r"^\[ \]:$|^$"), timeout=5000)


async def end_kernels(server: LabServer, page: Page) -> None:
    """End all kernels of the server."""
    headers = {"Authorization": f"token {TOKEN}"}
    for one in await (await page.request.get(f"{server.url}/api/sessions", headers=headers)).json():
        assert (await page.request.delete(f"{server.url}/api/sessions/{one['id']}", headers=headers)).status == 204


async def test_a_widget_whose_first_message_is_lost_is_shown(server: LabServer, page: Page) -> None:
    if server.module != "jupyterlab":
        pytest.skip("the same renderer; Notebook opens a notebook in a page of its own")
    lost: list[bytes | str] = []

    def between(route: WebSocketRoute) -> None:
        kernel = route.connect_to_server()

        def pass_on(message: bytes | str) -> None:
            data = message if isinstance(message, bytes) else message.encode()
            if b'"comm_open"' in data and b'"jupyter.widget"' in data:
                lost.append(message)
            else:
                route.send(message)

        kernel.on_message(pass_on)

    await page.route_web_socket(re.compile(r"/api/kernels/.*/channels"), between)
    await run_panel(server, page)
    await expect(page.get_by_role("region", name="Cluster thesis")).to_be_visible(timeout=2 * PATIENCE)
    assert lost
    await expect(page.get_by_text("model not found")).to_have_count(0)
    await end_kernels(server, page)


COUNT_BUTTONS = """window.buttons = 0;
new MutationObserver((changes) => {
  const added = changes.flatMap((one) => [...one.addedNodes]);
  window.buttons += added.filter((one) => one.nodeType === 1 && one.matches(".fg-Kept-line > button")).length;
}).observe(document, { childList: true, subtree: true });"""


async def test_a_widgets_last_state_stays_when_its_kernel_is_gone(server: LabServer, page: Page) -> None:
    if server.module != "jupyterlab":
        pytest.skip("the same renderer; Notebook opens a notebook in a page of its own")
    await run_panel(server, page)
    panel = page.get_by_role("region", name="Cluster thesis")
    await expect(panel).to_be_visible(timeout=PATIENCE)
    await expect(page.locator(".fg-Kept")).to_be_hidden()

    # The notebook stores the panel's last state, not only its first.
    async def kept() -> str:
        await page.keyboard.press("Control+s")
        return (server.root / "panel.ipynb").read_text()  # the file may be partly written; then it is read again

    async with asyncio.timeout(PATIENCE / 1000):
        while "Dask workers: 120 (960 threads" not in await kept():
            await asyncio.sleep(0.5)

    await end_kernels(server, page)
    await page.add_init_script(COUNT_BUTTONS)
    await page.goto(server.page("panel.ipynb"))
    last = page.locator(".fg-Kept")
    await expect(last).to_contain_text("Cluster thesis", timeout=2 * PATIENCE)
    again = last.get_by_role("button", name="Run again")
    await expect(again).to_be_visible(timeout=2 * PATIENCE)
    await expect(page.get_by_text("model not found")).to_have_count(0)
    await page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for(timeout=2 * PATIENCE)
    assert await page.evaluate("window.buttons") == 1  # a click that has begun on a button ends on the same one
    await again.click()
    await expect(panel).to_be_visible(timeout=2 * PATIENCE)
    await expect(page.locator(".fg-Kept")).to_be_hidden()


async def test_the_folder_of_a_class_is_downloaded_and_its_steps_are_noted(server: LabServer, page: Page) -> None:
    if server.module != "jupyterlab":
        pytest.skip("the same plugins; Notebook opens a notebook in a page of its own")
    cell = {"cell_type": "code", "id": "c-one", "source": "1 + 1", "outputs": [], "execution_count": None}
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    cells = [{**cell, "metadata": {"tags": ["step:Add"]}}]
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": cells}
    archive = pack({"a.ipynb": MaterialFile(json.dumps(notebook).encode())})
    await asyncio.to_thread(deliver, server.root, "first-2345", archive, "a" * 40)
    (server.root / "first-2345" / "away").symlink_to("/etc")
    choice = {**session()["choice"], "project": "workshop-first-2345"}
    server.gateway.sessions = [session(choice=choice)]
    await page.goto(server.page("first-2345/a.ipynb"))
    panel = await open_panel(page)
    await panel.get_by_role("button", name="Download my work").click(timeout=2 * PATIENCE)
    dialog = page.locator(".jp-Dialog")
    await expect(dialog).to_contain_text("1 link is not followed; the zip lists it.", timeout=PATIENCE)
    await expect(dialog).to_contain_text("One zip may have 50,000 files")
    async with page.expect_download() as started:
        await dialog.get_by_role("button", name="Download the zip").click()
    with zipfile.ZipFile(await (await started.value).path()) as zipped:
        assert "first-2345/a.ipynb" in zipped.namelist()
        assert b"away -> /etc" in zipped.read("first-2345/what-is-not-in-this-zip.txt")
    await noted(page, "The zip is finished")

    await page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for(timeout=2 * PATIENCE)
    done = server.root / "first-2345" / ".factorygate" / "steps-done.json"
    async with asyncio.timeout(2 * PATIENCE / 1000):
        while not done.exists():
            await page.locator(".jp-Notebook .jp-CodeCell .cm-content").first.click()
            async with page.expect_response("**/api/factorygate/steps*", timeout=PATIENCE):
                await page.keyboard.press("Control+Enter")
            await asyncio.sleep(0.2)
    assert [one["name"] for one in json.loads(done.read_text())] == ["Add"]
    await end_kernels(server, page)
