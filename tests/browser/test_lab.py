"""JupyterLab in the demo: a job reaches its walltime, with warnings, and is started again with the same open files."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.test_again import limit, open_by_hand, open_tabs
from tests.browser.test_first_session import log_in
from tests.support.gateway import Gateway, eventually

USER, SERVER = "grace", "carry-on"
PATIENCE = 60_000  # ms
# Keeps the texts of all notices, since some are shown for a few seconds only.
NOTE_TOASTS = """() => {
  window.noted = [];
  const note = () => document.querySelectorAll(".Toastify__toast").forEach((one) => noted.push(one.innerText));
  new MutationObserver(note).observe(document.body, {childList: true, subtree: true, characterData: true});
}"""


@pytest.fixture
def text(gateway: Gateway) -> Iterator[str]:
    """Return the path of a text file in the home of a running session."""
    gateway.started(USER, SERVER, factory="it4lia", size="gpu-1", hours=2)
    folder = f"lab-{uuid.uuid4().hex[:8]}"
    path = f"{folder}/notes.txt"
    api = gateway.notebook(USER, SERVER)
    api.request("DELETE", f"/lab/api/workspaces/{SERVER}")  # removes files that an earlier run had open
    assert api.request("PUT", f"/api/contents/{folder}", json={"type": "directory"}).status_code == 201
    model = {"type": "file", "format": "text", "content": "first\n"}
    assert api.request("PUT", f"/api/contents/{path}", json=model).status_code == 201
    yield path
    gateway.notebook(USER, SERVER).run(f"import shutil; shutil.rmtree({folder!r})")
    gateway.stopped(USER, SERVER)


def toast(page: Page, said: str) -> Locator:
    return page.locator(".Toastify__toast", has_text=said)


def tell(gateway: Gateway, session: str, said: str) -> None:
    """Send a message to the session, as the operator."""
    socket = gateway.path.parent / "link" / "hub.sock"
    argv = [sys.executable, "-m", "factorylink.cli.main", "--socket", str(socket), "sessions", "tell", session, said]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.timeout(600)
def test_from_the_warning_to_the_same_document_in_a_new_session(gateway: Gateway, page: Page, text: str) -> None:
    before = gateway.session(USER, SERVER)
    assert before is not None
    log_in(page, gateway, USER)
    open_by_hand(page, gateway, text)
    status = page.locator(".fg-Status")
    expect(status).to_contain_text(re.compile(r"1 hr \d+ mins? left"), timeout=PATIENCE)
    expect(status).to_contain_text("memory", timeout=PATIENCE)

    tell(gateway, before["id"], "The workshop goes on at ten.")
    expect(toast(page, "The workshop goes on at ten.")).to_be_visible(timeout=PATIENCE)

    editor = page.locator(".jp-FileEditor .cm-content")
    expect(editor).to_contain_text("first", timeout=PATIENCE)
    editor.fill("kept over the end")
    limit(gateway, 10)
    warned = toast(page, "This session reaches its time limit at")
    expect(warned).to_be_visible(timeout=PATIENCE)
    expect(status).to_have_attribute("data-near", "soon")

    warned.locator("button", has_text="More time").click()
    page.locator(".jp-Dialog input").fill("1")
    page.evaluate(NOTE_TOASTS)
    page.locator(".jp-Dialog button", has_text="Ask for more time").click()
    page.wait_for_function("said => noted.some((one) => one.includes(said))", arg="1 hour more", timeout=PATIENCE)
    expect(status).to_have_attribute("data-near", "", timeout=PATIENCE)  # the session was extended
    expect(warned).to_have_count(0)

    limit(gateway, 10)
    expect(warned).to_be_visible(timeout=PATIENCE)
    warned.locator("button", has_text="Start again").click()
    page.wait_for_url(re.compile("/hub/home"), timeout=PATIENCE)
    dialog = page.locator("#fg-again")
    expect(dialog).to_be_visible(timeout=PATIENCE)
    assert gateway.session(USER, SERVER) is not None  # a lost link does not end the session
    dialog.get_by_role("button", name="Stop it and start again").click()
    page.wait_for_url(re.compile(rf"/user/{USER}/{SERVER}/lab"), timeout=120_000)
    after = gateway.session(USER, SERVER)
    assert after is not None and after["id"] != before["id"]
    assert after["choice"] == before["choice"]
    eventually(lambda: "notes.txt" in open_tabs(page), 60, what="the document is open again")
    expect(page.locator(".jp-FileEditor .cm-content")).to_contain_text("kept over the end", timeout=PATIENCE)


def test_the_gateway_knows_a_sessions_resource_use(gateway: Gateway, text: str) -> None:
    def told() -> bool:
        session = gateway.session(USER, SERVER)
        return session is not None and (session["memory_bytes"] or 0) > 1 << 20

    assert text
    eventually(told, 60, what="the session's memory at the gateway")
    session = gateway.session(USER, SERVER)
    assert session is not None and session["gpu_percent"] is None  # the demo's GPUs are only device files
