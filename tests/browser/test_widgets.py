"""The widgets in JupyterLab on a node: a person chooses a factory by mouse and by keyboard, and watches a cluster."""

from __future__ import annotations

import contextlib
import inspect
import json
import re
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import ConsoleMessage, Locator, Page, TimeoutError, WebSocket, expect

from tests.browser.conftest import end_sessions
from tests.browser.test_first_session import log_in
from tests.conftest import PATIENCE
from tests.support import watched
from tests.support.gateway import Gateway, eventually

USER = "ada"
AXE = Path(__file__).resolve().parents[2] / "extensions/lab/node_modules/axe-core/axe.min.js"


def _say(message: ConsoleMessage) -> None:
    if message.type in ("warning", "error"):
        print(f"{datetime.now():%H:%M:%S} {message.type}: {message.text[:500]}")


def _follow(connection: WebSocket) -> None:
    """Print when a connection to a kernel begins and ends."""
    if "/channels" in connection.url:
        name = connection.url[-12:]
        print(f"{datetime.now():%H:%M:%S} kernel connection {name} begins")
        connection.on("close", lambda _: print(f"{datetime.now():%H:%M:%S} kernel connection {name} ends"))


class Lab:
    """A notebook in JupyterLab; its cells run one after another."""

    def __init__(self, page: Page, gateway: Gateway, server: str) -> None:
        self.page = page
        page.on("console", _say)  # pytest shows it if the test fails
        page.on("websocket", _follow)
        page.goto(f"{gateway.root}/user/{USER}/{server}/lab/workspaces/{uuid.uuid4().hex}")
        # A cell that runs before the notebook has its session makes JupyterLab start another one beside it.
        with page.expect_websocket(lambda one: "/channels" in one.url, timeout=2 * PATIENCE):
            page.locator(".jp-LauncherCard[data-category='Notebook']").first.click(timeout=2 * PATIENCE)
        page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for(timeout=2 * PATIENCE)
        eventually(lambda: self._try("print('SE' + 'EN ready')"), 120, what="the kernel takes cells")

    def _try(self, code: str) -> str:
        """Run ``code`` in the last cell; return the output after the word SEEN, "" while there is no such output."""
        cell = self.page.locator(".jp-Notebook .jp-CodeCell").last
        editor = cell.locator(".cm-content")
        editor.fill(code)
        editor.press("Control+Enter")
        output = cell.locator(".jp-OutputArea-output", has_text="SEEN").first
        with contextlib.suppress(TimeoutError):
            output.wait_for(timeout=5000)
        return output.inner_text().strip().removeprefix("SEEN") if output.is_visible() else ""

    def run(self, code: str) -> Locator:
        """Run code in a new cell below; return the cell once the kernel has accepted it."""
        cells = self.page.locator(".jp-Notebook .jp-CodeCell")
        before = cells.count()

        def added() -> bool:
            cells.last.locator(".cm-content").click()
            self.page.keyboard.press("Escape")
            self.page.keyboard.press("b")
            with contextlib.suppress(AssertionError):
                expect(cells).not_to_have_count(before, timeout=5000)
            return cells.count() > before

        eventually(added, what="a cell below")  # a page that is being redrawn may lose key presses
        cell = cells.nth(before)
        editor, prompt = cell.locator(".cm-content"), cell.locator(".jp-InputPrompt")

        def took() -> bool:
            editor.fill(code)
            editor.press("Control+Enter")
            with contextlib.suppress(AssertionError):
                expect(prompt).not_to_have_text(re.compile(r"\[ \]:|^$"), timeout=5000)
            return prompt.inner_text() not in ("", "[ ]:")

        eventually(took, 120, what="the cell was taken")
        return cell

    def value(self, expression: str) -> Any:
        """Return the present value of a Python expression in the kernel, which a new cell prints as JSON."""
        output = self.run(f"import json; print('SE' + 'EN' + json.dumps({expression}))")
        text = output.locator(".jp-OutputArea-output", has_text="SEEN").inner_text(timeout=120_000)
        return json.loads(text.strip().removeprefix("SEEN"))


@contextlib.contextmanager
def opened(gateway: Gateway, page: Page, server: str) -> Iterator[Lab]:
    """Open JupyterLab of a running server, and yield it; at the end remove the kernels and notebooks of the test."""
    log_in(page, gateway, USER)
    yield Lab(page, gateway, server)
    page.close()  # else JupyterLab would save once more
    notebook = gateway.notebook(USER, server)
    notebook.remove_notebooks()


@pytest.fixture
def no_sessions() -> None:
    """Replace the fixture that ends sessions after each test, since most tests of this file share a session."""


@pytest.fixture(scope="module")
def server(gateway: Gateway) -> Iterator[str]:
    """Start a server on a node of lumi-aif, and yield its name; end all sessions afterwards."""
    name = f"w{uuid.uuid4().hex[:6]}"
    gateway.started(USER, name, factory="lumi-aif")
    yield name
    end_sessions(gateway)


@pytest.fixture
def lab(gateway: Gateway, page: Page, server: str) -> Iterator[Lab]:
    with opened(gateway, page, server) as lab:
        yield lab


def accessible(page: Page, widget: Locator) -> None:
    """Assert that axe-core finds nothing in a widget, if axe-core is installed."""
    if not AXE.exists():
        return
    page.evaluate(AXE.read_text())
    host = widget.evaluate_handle("form => form.getRootNode().host")
    found = page.evaluate("async host => (await axe.run(host)).violations.map(one => one.id + ': ' + one.help)", host)
    assert found == []


def narrow(widget: Locator) -> None:
    """Assert that nothing in the widget is too wide for a phone's page (360 px)."""
    widget.evaluate("one => { one.getRootNode().host.style.width = '360px'; }")
    assert widget.evaluate("one => one.scrollWidth <= one.clientWidth")
    widget.evaluate("one => { one.getRootNode().host.style.width = ''; }")


def taken(picker: Locator) -> None:
    """Assert that Python has the choice that the page shows."""
    expect(picker).to_have_attribute("data-taken", "true", timeout=60000)


def test_a_factory_is_chosen_by_mouse_and_by_keyboard(lab: Lab) -> None:
    page = lab.page
    cell = lab.run("from factorygate import FactoryPicker\npicker = FactoryPicker()\npicker")
    picker = cell.get_by_role("form", name="Factory picker")
    expect(picker).to_have_attribute("data-kind", "ready", timeout=60000)
    # the notebook's factory is the default
    expect(picker.get_by_role("radio", name=re.compile("LUMI"))).to_be_checked()
    taken(picker)

    # by mouse
    picker.locator("label[for='factory-it4lia']").click()
    picker.locator("label[for='size-gpu-2']").click()
    picker.get_by_role("button", name=re.compile("^4 hours")).click()
    expect(picker.locator("p.fg-line")).to_contain_text("for 4 hours")
    taken(picker)
    value = lab.value("picker.value")
    assert (value["factory"], value["size"], value["hours"], value["project"]) == ("it4lia", "gpu-2", 4, None)
    assert value["environment"]

    # by keyboard, from the selected radio button
    picker.locator("#factory-it4lia").focus()
    page.keyboard.press("ArrowUp")
    chosen = page.evaluate("document.activeElement.shadowRoot.activeElement.value")
    assert chosen != "it4lia"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.shadowRoot.activeElement.name") == "size"
    for _ in range(8):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.shadowRoot?.activeElement.name") == "hours":
            break
    page.keyboard.press("Control+a")
    page.keyboard.type("1.5")
    page.keyboard.press("Enter")
    taken(picker)
    value = lab.value("picker.value")
    assert (value["factory"], value["hours"], value["project"]) == (chosen, 1.5, None)

    # from Python
    lab.run("picker.value = {'factory': 'it4lia', 'hours': 2}")
    expect(picker.locator("#factory-it4lia")).to_be_checked(timeout=60000)
    expect(picker.locator("#hours")).to_have_value("2")
    narrow(picker)
    accessible(page, picker)


def test_the_picker_is_live(lab: Lab, gateway: Gateway) -> None:
    cell = lab.run("from factorygate import FactoryPicker\npicker = FactoryPicker({'factory': 'it4lia'})\npicker")
    picker = cell.get_by_role("form", name="Factory picker")
    expect(picker.locator("#factory-it4lia")).to_be_checked(timeout=60000)
    card = picker.locator("label[for='size-gpu-1']")
    expect(card).to_contain_text("Room for", timeout=60000)
    factory = gateway.factories["it4lia"]
    factory.ask("scontrol", "create", "reservation", "ReservationName=widgets", "Nodes=ALL", "StartTime=now",
                "Duration=1:00:00", "Users=root", "Flags=IGNORE_JOBS")  # fmt: skip
    try:
        expect(card).not_to_contain_text("Room for", timeout=90000)
    finally:
        factory.ask("scontrol", "delete", "ReservationName=widgets")
    expect(card).to_contain_text("Room for", timeout=60000)


def test_a_panel_keeps_its_last_state_without_its_kernel(lab: Lab, gateway: Gateway) -> None:
    page = lab.page
    cell = lab.run("from factorygate import FactoryPicker\npicker = FactoryPicker({'factory': 'it4lia'})\npicker")
    picker = cell.get_by_role("form", name="Factory picker")
    picker.get_by_role("button", name=re.compile("^4 hours")).click(timeout=60000)
    taken(picker)
    server = page.url.split(f"/user/{USER}/")[1].partition("/")[0]
    notebook = gateway.notebook(USER, server)
    path = notebook.request("GET", "/api/sessions").json()[0]["path"]

    named = page.get_by_role("dialog").get_by_role("button", name="Rename")  # asked at the first save

    def kept() -> bool:
        if named.is_visible():
            named.click()
        with contextlib.suppress(TimeoutError):  # the question may come just now, and be in the way
            cell.locator(".cm-content").click(timeout=2000)
        page.keyboard.press("Control+s")
        saved = notebook.request("GET", f"/api/contents/{path}")
        return saved.status_code == 200 and "for 4 hours" in json.dumps(saved.json()["content"])

    eventually(kept, 90, what="the notebook has the picker's last state")
    for session in notebook.request("GET", "/api/sessions").json():
        assert notebook.request("DELETE", f"/api/sessions/{session['id']}").status_code == 204
    page.reload()
    last = page.locator(".fg-Kept")
    expect(last).to_contain_text("for 4 hours", timeout=60000)
    again = last.get_by_role("button", name="Run again")
    expect(again).to_be_visible(timeout=60000)
    expect(page.get_by_text("model not found")).to_have_count(0)
    again.click()
    expect(page.get_by_role("form", name="Factory picker")).to_be_visible(timeout=60000)
    expect(page.locator(".fg-Kept")).to_be_hidden()


def test_a_cluster_is_watched_scaled_and_ended(lab: Lab) -> None:
    lab.run(inspect.getsource(watched))
    cell = lab.run(
        "from factorygate import ClusterPanel\ncluster = ScriptedCluster(view(120))\nClusterPanel(cluster)",
    )
    panel = cell.get_by_role("region", name="Cluster thesis")
    expect(panel.get_by_text("1 to 50 of 120")).to_be_visible(timeout=60000)
    expect(panel.locator("[data-figure='running']")).to_have_text("120")

    # a job is lost while the panel is open; the panel shows reason and log
    lab.run("cluster.change(77, state='lost', why='The node failed.', do='It is asked for again.', log_tail=('oom',))")
    row = panel.get_by_role("listitem").first
    expect(row).to_contain_text("w-77", timeout=60000)
    expect(row).to_contain_text("The node failed. It is asked for again.")
    row.get_by_text("Log").click()
    expect(row.get_by_role("region")).to_have_text("oom")
    panel.get_by_role("button", name="Trouble 1").click()
    expect(panel.get_by_role("listitem")).to_have_count(1)

    # scale by keyboard
    slider = panel.get_by_role("slider", name="Jobs wanted, in steps")
    slider.focus()
    for _ in range(3):
        lab.page.keyboard.press("ArrowLeft")  # at once: a pause would send the number that is reached
    status = panel.get_by_role("status").filter(has_text=re.compile("."))
    expect(status.filter(has_text="117 jobs wanted.")).to_be_visible(timeout=60000)
    assert lab.value("cluster.done[-1]") == ["scale", 117]

    # a refusal is explained, and the control shows the present number
    lab.run("cluster.refuse = ValueError('That would use 40 GPU-hours; 6 are left.')")
    number = panel.get_by_label("Jobs wanted", exact=True)
    number.press("Control+a")
    lab.page.keyboard.type("400")
    lab.page.keyboard.press("Enter")
    expect(panel.get_by_text("6 are left.")).to_be_visible(timeout=60000)
    expect(number).to_have_value("117")
    lab.run("cluster.refuse = None")

    panel.get_by_label("At most").fill("9")
    panel.get_by_role("switch", name=re.compile("Adapt to the workload")).check()
    expect(panel.get_by_text("Adapting to the workload, between 0 and 9 jobs.")).to_be_visible(timeout=60000)
    narrow(panel)
    accessible(lab.page, panel)

    # end the cluster, after a question
    panel.get_by_role("button", name="End all jobs…").click()
    expect(panel.get_by_role("alertdialog")).to_be_visible()
    lab.page.keyboard.press("Escape")
    expect(panel.get_by_role("alertdialog")).to_be_hidden()
    panel.get_by_role("button", name="End all jobs…").click()
    panel.get_by_role("button", name="End them").click()
    expect(panel.get_by_text("No jobs here.")).to_be_visible(timeout=60000)
    done = lab.value("[list(one) for one in cluster.done]")
    # between two key presses, a busy machine may pause so long that the number in between is sent
    assert [one for one in done if one not in (["scale", 119], ["scale", 118])] == [
        ["scale", 117],
        ["adapt", 0, 9],
        ["close"],
    ]


def test_widgets_speak_the_language_in_which_the_session_was_asked_for(gateway: Gateway, page: Page) -> None:
    server = f"w{uuid.uuid4().hex[:6]}"
    asked = gateway.api("POST", f"/users/{USER}/servers/{server}", json={"factory": "lumi-aif"},
                        headers={"Accept-Language": "de-DE,de;q=0.9,en;q=0.5"})  # fmt: skip
    assert asked.status_code in (201, 202), asked.text
    gateway.wait_ready(USER, server)
    with opened(gateway, page, server) as lab:
        lab.run(inspect.getsource(watched))
        cell = lab.run(
            "from factorygate import ClusterPanel, FactoryPicker\n"
            "cluster = ScriptedCluster(view(3))\ndisplay(FactoryPicker(), ClusterPanel(cluster))"
        )
        picker = cell.get_by_role("form", name="Auswahl der Factory")
        expect(picker).to_have_attribute("data-kind", "ready", timeout=60000)
        expect(picker.get_by_role("group", name="Knotengröße")).to_contain_text(re.compile("Jetzt Platz für"))
        panel = cell.get_by_role("region", name="Cluster thesis")
        expect(panel.get_by_role("button", name="Alle Jobs beenden …")).to_be_visible()
        panel.get_by_label("Gewünschte Jobs", exact=True).fill("7")
        panel.get_by_label("Gewünschte Jobs", exact=True).press("Enter")
        expect(panel.get_by_text("7 Jobs gewünscht.")).to_be_visible(timeout=60000)
        accessible(page, picker)
        accessible(page, panel)
