"""A session reaches its walltime: it warns before, and with one click the same documents are open again afterwards."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_first_session import log_in
from tests.support.gateway import Gateway, Notebook, eventually

USER, SERVER = "grace", "carry-on"
# The notebook has the form that JupyterLab writes: JupyterLab asks for the kernel of a notebook that names none.
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
EMPTY = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": KERNEL}, "cells": []}


@pytest.fixture
def notebooks(gateway: Gateway) -> Iterator[tuple[str, str]]:
    """Return the paths of two notebooks in the home of a running session."""
    gateway.started(USER, SERVER, factory="it4lia", size="gpu-1", hours=2)
    folder = f"again-{uuid.uuid4().hex[:8]}"
    api = gateway.notebook(USER, SERVER)
    assert api.request("PUT", f"/api/contents/{folder}", json={"type": "directory"}).status_code == 201
    paths = (f"{folder}/first.ipynb", f"{folder}/second.ipynb")
    for path in paths:
        model = {"type": "notebook", "format": "json", "content": EMPTY}
        assert api.request("PUT", f"/api/contents/{path}", json=model).status_code == 201
    yield paths
    gateway.notebook(USER, SERVER).run(f"import shutil; shutil.rmtree({folder!r})")
    gateway.stopped(USER, SERVER)


def limit(gateway: Gateway, minutes: int) -> None:
    """Set the walltime of the session's job to ``minutes``, as the site's administrator."""
    session = gateway.session(USER, SERVER)
    assert session is not None
    gateway.factories["it4lia"].ask("scontrol", "update", f"JobId={session['job']}", f"TimeLimit={minutes}")


def restored(gateway: Gateway) -> str:
    """Return, as JSON, the layout that JupyterLab restores at its next start; only files in the layout get a tab."""
    answer = gateway.notebook(USER, SERVER).request("GET", f"/lab/api/workspaces/{SERVER}")
    data = answer.json()["data"] if answer.status_code == 200 else {}
    return json.dumps(data.get("layout-restorer:data", {}).get("main"))


def open_tabs(page: Page) -> list[str]:
    return [text.strip() for text in page.locator(".lm-DockPanel-tabBar .lm-TabBar-tabLabel").all_inner_texts()]


def open_by_hand(page: Page, gateway: Gateway, *paths: str) -> None:
    """Open files of one folder from JupyterLab's file browser.

    A link to a file (/tree/FILE) would be opened while JupyterLab restores its layout, which may remove the file's tab
    again.
    """
    folder = paths[0].rpartition("/")[0]
    page.goto(f"{gateway.root}/user/{USER}/{SERVER}/lab/workspaces/{SERVER}/tree/{folder}")
    expect(page.locator(".fg-Status")).to_contain_text("Leonardo", timeout=60000)  # shown once the layout is restored
    for path in paths:
        name = path.rpartition("/")[2]
        page.locator(".jp-DirListing-item", has_text=name).dblclick()
        expect(page.locator(".lm-DockPanel-tabBar .lm-TabBar-tabLabel", has_text=name)).to_be_visible()


def saved(api: Notebook, path: str, text: str) -> bool:
    # a file that JupyterLab is writing meanwhile is answered without its content
    return text in json.dumps(api.request("GET", f"/api/contents/{path}").json())


@pytest.mark.timeout(600)
def test_the_same_documents_are_open_again(gateway: Gateway, page: Page, notebooks: tuple[str, str]) -> None:
    log_in(page, gateway, USER)
    page.goto(f"{gateway.root}/user/{USER}/{SERVER}/")
    page.wait_for_url(re.compile(rf"/lab/workspaces/{SERVER}"))
    open_by_hand(page, gateway, *notebooks)
    for path in notebooks:
        eventually(lambda path=path: path in restored(gateway), what=f"JupyterLab remembers that {path} is open")
    editor = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .cm-content").first
    api = gateway.notebook(USER, SERVER)

    def kept() -> bool:
        if "never_saved_by_hand" not in editor.inner_text():  # the loading file may overwrite text that was typed early
            editor.fill("never_saved_by_hand = 1")
        return saved(api, notebooks[1], "never_saved_by_hand")

    eventually(kept, 90, 0.5, "JupyterLab saved it by itself")

    # Home shows the warning
    home = page.context.new_page()
    home.goto(f"{gateway.hub}/home")
    expect(home.locator("#fg-live", has_text=SERVER)).to_be_visible(timeout=60000)
    expect(home.locator("#fg-soon .fg-notice")).to_have_count(0)
    limit(gateway, 10)
    expect(home.locator("#fg-soon .fg-notice")).to_contain_text(f"{SERVER} reaches its time limit at", timeout=60000)
    expect(home.locator("#fg-announce")).to_contain_text("Save your work")

    # the session ends
    before = gateway.session(USER, SERVER)
    assert before is not None
    limit(gateway, 2)
    row = home.locator("#fg-ended > li", has_text=SERVER).first
    expect(row).to_contain_text("Time limit reached", timeout=180_000)
    expect(home.locator("#fg-soon .fg-notice")).to_have_count(0)
    page.close()

    # one click starts it again
    row.locator(f"[data-again={SERVER!r}]").click()
    home.wait_for_url(re.compile(rf"/user/{USER}/{SERVER}/lab"), timeout=120_000)
    after = gateway.session(USER, SERVER)
    assert after is not None and after["id"] != before["id"]
    assert after["choice"] == before["choice"]
    eventually(lambda: {"first.ipynb", "second.ipynb"} <= set(open_tabs(home)), 60, what="both are open again")
    # On a busy machine, when the files had been opened by links, one document was once restored in two tabs; the cause
    # is not known.
    home.locator(".lm-DockPanel-tabBar .lm-TabBar-tabLabel", has_text="second.ipynb").first.click()
    expect(home.locator(".jp-Notebook .cm-content", has_text="never_saved_by_hand").first).to_be_visible(timeout=60000)


def test_one_dialog_extends_a_session(gateway: Gateway, page: Page, notebooks: tuple[str, str]) -> None:
    before = gateway.session(USER, SERVER)
    assert before is not None and notebooks
    log_in(page, gateway, USER)
    page.goto(f"{gateway.hub}/home")
    page.locator(f"[data-more={SERVER!r}]").click(timeout=60000)
    dialog = page.locator("#fg-more")
    expect(dialog).to_be_visible()
    expect(dialog).to_contain_text("It would then end")
    dialog.get_by_label("Hours to add").fill("1.5")
    dialog.get_by_role("button", name="Ask for more time").click()

    def longer() -> bool:
        now = gateway.session(USER, SERVER)
        return now is not None and now["ends"] > before["ends"]

    eventually(longer, 60, what="the scheduler's new end")
    expect(page.locator("#fg-live", has_text=SERVER)).to_contain_text("3 hours 2", timeout=60000)
