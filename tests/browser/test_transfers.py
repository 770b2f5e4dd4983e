"""Files and kernels in JupyterLab, in a real browser, while the link is killed."""

from __future__ import annotations

import hashlib
import os
import random
import re
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_first_session import log_in
from tests.conftest import PATIENCE
from tests.support.gateway import Gateway, Notebook, eventually

MB = 1 << 20
USER, SERVER = "ada", "carry"


@pytest.fixture
def lab(gateway: Gateway, page: Page) -> Iterator[tuple[Page, Notebook, str]]:
    """Open JupyterLab in a new folder; yield the page, the server's API, and the folder."""
    gateway.started(USER, SERVER, factory="lumi-aif", size="gcd-1", hours=1)
    notebook = gateway.notebook(USER, SERVER)
    folder = f"browser-{uuid.uuid4().hex[:8]}"
    assert notebook.request("PUT", f"/api/contents/{folder}", json={"type": "directory"}).status_code == 201
    log_in(page, gateway, USER)
    open_folder(page, notebook, folder)
    yield page, notebook, folder
    notebook.run(f"import shutil; shutil.rmtree({folder!r})")
    gateway.stopped(USER, SERVER)


def open_folder(page: Page, notebook: Notebook, folder: str) -> None:
    page.goto(f"{notebook.base}/lab/workspaces/{folder}/tree/{folder}")
    expect(page.locator(".jp-FileBrowser")).to_be_visible(timeout=60000)
    expect(page.locator(".jp-BreadCrumbs")).to_contain_text(folder, timeout=60000)


def made(tmp_path: Path, name: str, size: int) -> tuple[Path, str]:
    """Make a local file of ``size`` bytes, a multiple of ``MB``; return its path and its SHA-256 hash in hex."""
    source = random.Random(name)
    whole = hashlib.sha256()
    path = tmp_path / name
    with path.open("wb") as file:
        for _ in range(size // MB):
            data = source.randbytes(MB)
            whole.update(data)
            file.write(data)
    return path, whole.hexdigest()


def sha(notebook: Notebook, path: str) -> str:
    return notebook.run(
        f"import hashlib; print(hashlib.file_digest(open({path!r}, 'rb'), 'sha256').hexdigest())"
    ).strip()


def names(notebook: Notebook, folder: str, kernel: str | None = None) -> list[str]:
    return sorted(notebook.run(f"import os; print(*os.listdir({folder!r}))", kernel).split())


def upload(page: Page, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.locator("[data-command='filebrowser:upload'], .jp-ToolbarButtonComponent[title^='Upload']").first.click()
    chooser.value.set_files(path)
    # JupyterLab asks before it uploads a large file
    page.get_by_role("button", name="Upload", exact=True).click(timeout=60000)


def kill_link(gateway: Gateway) -> int:
    old = gateway.pid("link")
    os.kill(old, signal.SIGKILL)
    return old


def test_an_upload_by_the_browser_arrives_intact(lab: tuple[Page, Notebook, str], tmp_path: Path) -> None:
    page, notebook, folder = lab
    path, expected = made(tmp_path, "whole.bin", 40 * MB)
    upload(page, path)
    expect(page.locator(".jp-DirListing-item", has_text="whole.bin")).to_be_visible(timeout=60000)
    eventually(lambda: names(notebook, folder) == ["whole.bin"], 60, what="no part is left")
    assert sha(notebook, f"{folder}/whole.bin") == expected


def test_an_upload_that_is_cut_is_said_and_leaves_no_half_file(
    gateway: Gateway, lab: tuple[Page, Notebook, str], tmp_path: Path
) -> None:
    page, notebook, folder = lab
    path, _ = made(tmp_path, "cut.bin", 300 * MB)
    kernel = notebook.kernel()
    names(notebook, folder, kernel)  # wait until the kernel answers, since a check must not take as long as the upload
    upload(page, path)
    eventually(lambda: any("part" in name for name in names(notebook, folder, kernel)), what="the upload is under way")
    old = kill_link(gateway)
    dialog = page.locator(".jp-Dialog", has_text=re.compile("Upload Error|error", re.I))
    expect(dialog).to_be_visible(timeout=60000)
    eventually(lambda: gateway.pid("link") != old, 60)
    eventually(lambda: answers(notebook), 60, 0.5, "the notebook answers again")
    listed = notebook.request("GET", f"/api/contents/{folder}").json()["content"]
    assert [file["name"] for file in listed] == []
    open_folder(page, notebook, folder)  # a new page, without JupyterLab's dialogs about the lost server
    small, expected = made(tmp_path, "cut.bin", 20 * MB)
    upload(page, small)
    expect(page.locator(".jp-DirListing-item", has_text="cut.bin")).to_be_visible(timeout=60000)
    eventually(lambda: names(notebook, folder) == ["cut.bin"], 60, what="the old part is gone as well")
    assert sha(notebook, f"{folder}/cut.bin") == expected


def test_a_download_that_is_cut_resumes_or_is_marked_failed(
    gateway: Gateway, lab: tuple[Page, Notebook, str], tmp_path: Path
) -> None:
    page, notebook, folder = lab
    notebook.run(
        f"import os\nwith open('{folder}/down.bin', 'wb') as f:\n    for _ in range(400): f.write(os.urandom({MB}))"
    )
    expected = sha(notebook, f"{folder}/down.bin")
    with page.expect_download(timeout=60000) as started:
        page.evaluate(
            "url => { const a = document.createElement('a'); a.href = url; a.download = ''; a.click(); }",
            f"{notebook.base}/files/{folder}/down.bin?download=1",
        )
    old = kill_link(gateway)
    failure = started.value.failure()  # waits until the browser knows how the download ended
    if failure is None:
        started.value.save_as(tmp_path / "down.bin")
        with (tmp_path / "down.bin").open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == expected
    print(f"\nthe browser: {failure or 'resumed it by itself'}")
    eventually(lambda: gateway.pid("link") != old, 60)
    eventually(lambda: answers(notebook), 60, 0.5, "the notebook answers again")


def test_a_kernel_reconnects_by_itself_after_the_link_was_killed(
    gateway: Gateway, lab: tuple[Page, Notebook, str]
) -> None:
    page, notebook, _ = lab
    page.locator(".jp-LauncherCard[data-category='Notebook']").first.click(timeout=2 * PATIENCE)
    page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for(timeout=2 * PATIENCE)
    run(page, "kept = 41 + 1; print('first', kept)", "first 42")
    old = kill_link(gateway)
    eventually(lambda: gateway.pid("link") != old and answers(notebook), 60, 0.5, "the notebook answers again")
    run(page, "print('second', kept)", "second 42")  # the same page, the same kernel


def run(page: Page, code: str, printed: str) -> None:
    """Run code in the notebook's first cell; repeat this until ``printed`` appears in its output.

    A reconnecting kernel may not accept the cell, and while a notebook opens, JupyterLab may replace typed text by the
    saved content.
    """
    editor = page.locator(".jp-Notebook .cm-content").first
    output = page.locator(".jp-OutputArea-output", has_text=printed).first

    def ran() -> bool:
        editor.fill(code)
        editor.press("Control+Enter")
        try:
            output.wait_for(timeout=3000)
        except Exception:
            return False
        return True

    eventually(ran, 120, what=f"{printed!r} is printed")


def answers(notebook: Notebook) -> bool:
    try:
        return notebook.request("GET", "/api/kernels").status_code == 200
    except Exception:
        return False
