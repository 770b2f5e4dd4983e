"""A newcomer's steps with a real browser: log in, choose, wait, work in JupyterLab, stop."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import uuid
from typing import Any

import pytest
from playwright.sync_api import Page, TimeoutError, expect

from tests.conftest import PATIENCE
from tests.support.gateway import Gateway, eventually

CELL = (
    "import os, json; print('SEEN' + json.dumps([os.environ[k] for k in "
    "('SLURM_CLUSTER_NAME', 'SLURM_JOB_PARTITION', 'SLURM_GPUS_ON_NODE', 'FACTORYGATE_ENVIRONMENT')]))"
)


def log_in(page: Page, gateway: Gateway, user: str, password: str | None = None) -> None:
    page.goto(f"{gateway.hub}/login")
    page.get_by_label(re.compile("name", re.I)).first.fill(user)
    page.get_by_label(re.compile("password", re.I)).first.fill(password or gateway.passwords[user])
    page.get_by_role("button", name=re.compile("sign in|log in", re.I)).click()
    page.wait_for_url(re.compile(r"/hub/(home|spawn|user-redirect)"))


def open_start(page: Page, gateway: Gateway, user: str, server: str) -> None:
    page.goto(f"{gateway.hub}/spawn/{user}/{server}")
    expect(page.locator("#spawn_form")).to_have_attribute("data-ready", "true", timeout=60000)


def run_cell(page: Page, code: str = CELL, shown: str = "SEEN") -> str:
    """Open a notebook in a new workspace of JupyterLab; return what its first cell prints, which contains ``shown``.

    In the home's default workspace, JupyterLab restores files that were open before, even deleted ones, and confuses
    them with a new notebook of the same name. A new workspace shows only the launcher, as for a newcomer.
    """
    page.goto(page.url.split("/lab")[0] + f"/lab/workspaces/{uuid.uuid4().hex}")
    return run_first_cell(page, code, shown)


def run_first_cell(page: Page, code: str = CELL, shown: str = "SEEN") -> str:
    """Open a notebook in a JupyterLab that shows the launcher; return what its first cell prints.

    ``shown``: a text that this output contains.
    """
    page.locator(".jp-LauncherCard[data-category='Notebook']").first.click(timeout=2 * PATIENCE)
    page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for(timeout=2 * PATIENCE)
    editor = page.locator(".jp-Notebook .cm-content").first
    output = page.locator(".jp-OutputArea-output", has_text=shown).first
    # in ms; short at first, since the first attempt is the one that may be lost
    patience = itertools.chain((1000, 2000), itertools.repeat(3000))

    def ran() -> bool:
        editor.fill(code)  # each time: on a slow machine the loading file may overwrite text that was typed early
        editor.press("Control+Enter")
        with contextlib.suppress(TimeoutError):
            output.wait_for(timeout=next(patience))
        return output.is_visible()

    # JupyterLab 4.6 shows "idle" shortly before it can send cells to a kernel that is still connecting
    eventually(ran, 120, what="the cell's output")
    return output.inner_text()


def choose(page: Page, name: str, value: str) -> None:
    page.locator(f"label[for='{name}-{value}']").click()
    expect(page.locator(f"#{name}-{value}")).to_be_checked()


@pytest.fixture
def closed(gateway: Gateway) -> Any:
    """Close it4lia for jobs by a reservation of all nodes; call the result to open it."""
    factory = gateway.factories["it4lia"]
    factory.ask("scontrol", "create", "reservation", "ReservationName=closed", "Nodes=ALL", "StartTime=now",
                "Duration=1:00:00", "Users=root", "Flags=IGNORE_JOBS", check=False)  # fmt: skip

    def open_again() -> None:
        factory.ask("scontrol", "delete", "ReservationName=closed", check=False)

    yield open_again
    open_again()


def test_from_login_to_a_cell_and_back(gateway: Gateway, page: Page, closed: Any) -> None:
    user, server = "ada", "first"
    log_in(page, gateway, user)
    open_start(page, gateway, user, server)
    choose(page, "factory", "it4lia")
    choose(page, "size", "gpu-1")
    page.locator("#hours").fill("1")
    expect(page.locator("#fg-summary")).to_contain_text(re.compile("Your files are on"))
    page.locator("#fg-start-button").click()

    page.wait_for_url(re.compile(r"/hub/spawn-pending/"))
    expect(page.locator("#fg-waiting-body")).to_contain_text(re.compile("in the queue|waiting", re.I), timeout=60000)
    session = eventually(lambda: gateway.session(user, server))
    assert session["choice"] | {"hours": 1} == session["choice"]
    closed()
    page.wait_for_url(re.compile(rf"/user/{user}/{server}/lab"), timeout=120_000)

    # a cell prints its node
    output = run_cell(page)
    seen = json.loads(output.strip().removeprefix("SEEN"))
    assert seen == ["it4lia", "boost_usr_prod", "1", session["choice"]["environment"]]

    # a file is edited, saved, and read again after a reload
    page.get_by_role("button", name=re.compile("^Save")).first.click()
    page.get_by_role("button", name="Rename and Save").click()
    notebook = gateway.notebook(user, server)

    def saved() -> bool:
        paths = [session["path"] for session in notebook.request("GET", "/api/sessions").json()]
        # a file that JupyterLab is renaming or writing meanwhile is answered without its content
        return any("SEEN" in json.dumps(notebook.request("GET", f"/api/contents/{path}").json()) for path in paths)

    try:
        eventually(saved, what="the notebook is saved")
        page.reload()
        expect(page.locator(".jp-OutputArea-output", has_text="SEEN").first).to_be_visible(timeout=60000)
    finally:
        notebook.remove_notebooks()

    # the session is stopped on Home
    page.goto(f"{gateway.hub}/home")
    card = page.locator("#fg-live > *", has_text=server)
    expect(card).to_be_visible(timeout=60000)
    page.locator(f"[data-stop={server!r}]").click()
    dialog = page.locator("dialog[open]")
    if dialog.count():
        dialog.get_by_role("button").first.click()
    expect(card).to_be_hidden(timeout=60000)
    eventually(lambda: session["job"] not in gateway.factories["it4lia"].jobs(), what="the job is gone from squeue")


def test_start_page_by_keyboard_alone(gateway: Gateway, page: Page) -> None:
    user = "grace"
    log_in(page, gateway, user)
    open_start(page, gateway, user, "keys")

    def focused() -> str:
        return str(page.evaluate("document.activeElement.id || document.activeElement.name || ''"))

    def tab_to(pattern: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if re.search(pattern, focused()):
                return
        raise AssertionError(f"no way to {pattern} by Tab; at {focused()}")

    tab_to(r"^factory-")
    for _ in range(4):
        if focused() == "factory-it4lia":
            break
        page.keyboard.press("ArrowDown")
    assert focused() == "factory-it4lia"
    tab_to(r"^size-")
    tab_to(r"^fg-start-button$")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(rf"/hub/spawn-pending/|/user/{user}/keys"))
    page.wait_for_url(re.compile(rf"/user/{user}/keys"), timeout=120_000)
    session = gateway.session(user, "keys")
    assert session is not None and session["choice"]["factory"] == "it4lia"
    gateway.stopped(user, "keys")


def test_two_clicks_make_one_job_and_cancel_works(gateway: Gateway, page: Page, closed: Any) -> None:
    user = "emmy"
    log_in(page, gateway, user)
    open_start(page, gateway, user, "twice")
    choose(page, "factory", "it4lia")
    page.locator("#fg-start-button").dblclick()
    page.wait_for_url(re.compile(r"/hub/spawn-pending/"))
    session = eventually(lambda: (s := gateway.session(user, "twice")) and s["job"] and s)
    mine = [j for j in gateway.factories["it4lia"].jobs().values() if session["id"] in j["comment"]]
    assert len(mine) == 1
    page.locator("#cancel").click()
    eventually(lambda: session["job"] not in gateway.factories["it4lia"].jobs(), what="the job is cancelled")
    eventually(lambda: gateway.session(user, "twice") is None)


def test_a_link_shows_the_choice_and_asks_for_the_click(gateway: Gateway, page: Page) -> None:
    user = "emmy"
    log_in(page, gateway, user)
    page.goto(f"{gateway.hub}/spawn/{user}/linked?opt-factory=brainpp&opt-size=gpu-2&opt-hours=0.5")
    expect(page.locator("#spawn_form")).to_have_attribute("data-ready", "true", timeout=60000)
    expect(page.locator("#factory-brainpp")).to_be_checked()
    expect(page.locator("#size-gpu-2")).to_be_checked()
    expect(page.get_by_text(re.compile("A link filled this in", re.I))).to_be_visible()
    assert gateway.session(user, "linked") is None


def test_a_refusal_is_explained_on_the_page(gateway: Gateway, page: Page) -> None:
    user, factory = "emmy", gateway.factories["brainpp"]
    log_in(page, gateway, user)
    open_start(page, gateway, user, "refused")
    choose(page, "factory", "brainpp")
    factory.ask("scontrol", "update", "PartitionName=common", "State=INACTIVE")
    try:
        page.locator("#fg-start-button").click()
        # The message is beside the choices; if the scheduler refuses late, it is on the page of the accepted session.
        told = page.get_by_role("alert").or_(page.locator("main", has_text="did not start"))
        expect(told).to_be_visible(timeout=60000)
        expect(told).to_contain_text("This part of the factory is closed")
        expect(told).to_contain_text(re.compile("partition", re.I))
    finally:
        factory.ask("scontrol", "update", "PartitionName=common", "State=UP")


def test_factories_to_come_are_named_and_cannot_be_picked(gateway: Gateway, page: Page) -> None:
    log_in(page, gateway, "ada")
    open_start(page, gateway, "ada", "coming")
    offered = page.locator("#fg-factories input[name='factory']")
    assert sorted(each.get_attribute("value") or "" for each in offered.all()) == sorted(gateway.factories)
    page.get_by_text("Planned factories").click()
    listed = page.locator("#fg-coming-list li")
    expect(listed).to_have_count(3)
    expect(listed.nth(1)).to_contain_text("Pharos")
    expect(page.locator("#fg-coming input")).to_have_count(0)
    message = gateway.refusal("ada", "coming", factory="pharos", hours=1)
    assert message == "Pharos has no machine yet, so nothing can be started there."
