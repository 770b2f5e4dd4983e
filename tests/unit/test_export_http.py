"""The download of a person's folder from a real notebook server: its size, the zip, its progress, and refusals."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import zipfile
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.support.lab import TOKEN, LabServer, lab_server

ID = "0123456789abcdef"
API = "api/factorygate/export"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LabServer]:
    async with lab_server(tmp_path_factory.mktemp("export"), "jupyterlab") as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def browser(server: LabServer) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"token {TOKEN}"}
    async with httpx.AsyncClient(base_url=f"{server.url}/", headers=headers, timeout=60) as made:
        yield made


def folder(server: LabServer, name: str) -> Path:
    made = server.root / name
    made.mkdir()
    return made


async def test_a_folder_is_measured_then_downloaded(server: LabServer, browser: httpx.AsyncClient) -> None:
    mine = folder(server, "mine")
    (mine / "a.txt").write_text("one")
    (mine / "away").symlink_to("/etc")
    plan = (await browser.get(API, params={"path": "mine"})).json()
    assert (plan["files"], plan["bytes"], plan["whole"], plan["counts"]) == (1, 3, True, {"link": 1})
    assert (plan["paths"], plan["most_bytes"]) == ({"link": ["away -> /etc"]}, 5 << 30)
    assert (await browser.get(f"{API}/progress", params={"id": ID})).status_code == 404
    got = await browser.get(f"{API}/zip", params={"path": "mine", "id": ID})
    assert (got.status_code, got.headers["Content-Type"]) == (200, "application/zip")
    assert got.headers["Content-Disposition"] == "attachment; filename*=UTF-8''mine.zip"
    with zipfile.ZipFile(io.BytesIO(got.content)) as zipped:
        assert zipped.read("mine/a.txt") == b"one"
    told = (await browser.get(f"{API}/progress", params={"id": ID})).json()
    assert told == {"files": 1, "bytes": 3, "state": "done"}


async def test_refusals_are_in_words(server: LabServer, browser: httpx.AsyncClient) -> None:
    for path in ("", "nothing", "../", "mine/../..", "a%00b"):
        refused = await browser.get(f"{API}/zip", params={"path": path, "id": ID})
        assert (refused.status_code, "cannot be read" in refused.json()["message"]) == (404, True)
        assert (await browser.get(API, params={"path": path})).status_code == 404
    assert (await browser.get(f"{API}/zip", params={"path": "x", "id": "../x"})).status_code == 400
    with (folder(server, "large") / "sparse").open("wb") as file:
        file.truncate(6 << 30)
    assert not (await browser.get(API, params={"path": "large"})).json()["whole"]
    refused = await browser.get(f"{API}/zip", params={"path": "large", "id": ID})
    assert (refused.status_code, "more than 5 GiB" in refused.json()["message"]) == (413, True)
    async with httpx.AsyncClient(base_url=f"{server.url}/") as stranger:
        assert (await stranger.get(f"{API}/zip", params={"path": "mine", "id": ID})).status_code == 403
        assert (await stranger.get(API, params={"path": "mine"})).status_code == 403


async def test_a_cancelled_download_is_known_as_cut_and_leaves_nothing(
    server: LabServer, browser: httpx.AsyncClient
) -> None:
    large = folder(server, "cancelled")
    (large / "large").write_bytes(os.urandom(64 << 20))
    before = sorted(server.root.rglob("*"))
    params = {"path": "cancelled", "id": "cancelled-0"}
    async with browser.stream("GET", f"{API}/zip", params=params) as got:
        pieces = got.aiter_bytes()  # held: an iterator that nobody holds closes the response
        await anext(pieces)
        assert (await browser.get(f"{API}/progress", params=params)).json()["state"] == "running"
    async with asyncio.timeout(120):
        while (await browser.get(f"{API}/progress", params=params)).json()["state"] != "cut":
            await asyncio.sleep(0.05)
    assert sorted(server.root.rglob("*")) == before
    assert (await browser.get(API, params={"path": "cancelled"})).json()["bytes"] == 64 << 20


@pytest_asyncio.fixture(loop_scope="module")
async def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LabServer]:
    """Start a server whose files, and all that it writes, are on a file system of 16 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        monkeypatch.setenv("TMPDIR", str(disk))
        async with lab_server(disk / "server", "jupyterlab") as made:
            yield made
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize("size", [64 << 20, pytest.param((5 << 30) - (2 << 20), marks=pytest.mark.long)])
async def test_on_a_full_disk_an_export_is_whole_or_refused_and_the_session_goes_on(
    small_disk: LabServer, size: int
) -> None:
    headers, root = {"Authorization": f"token {TOKEN}"}, small_disk.root
    note = {"type": "file", "format": "text", "content": "x" * 500_000}
    mine = folder(small_disk, "mine")
    (mine / "work").write_bytes(work := os.urandom(1 << 20))
    for path, length in ((mine / "large", size), (folder(small_disk, "more") / "large", 6 << 30)):
        with path.open("wb") as file:
            file.truncate(length)  # takes no room
    async with httpx.AsyncClient(base_url=f"{small_disk.url}/", headers=headers, timeout=600) as browser:
        assert (await browser.put("api/contents/before.txt", json=note)).status_code == 201
        with (root / "rest").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        assert os.statvfs(root).f_bavail == 0
        assert (await browser.put("api/contents/after.txt", json=note)).status_code == 500

        before = {path: path.lstat().st_size for path in root.rglob("*")}
        refused = await browser.get(f"{API}/zip", params={"path": "more", "id": ID})
        assert (refused.status_code, "more than 5 GiB" in refused.json()["message"]) == (413, True)
        got = await browser.get(f"{API}/zip", params={"path": "mine", "id": ID})
        assert (await browser.get(f"{API}/progress", params={"id": ID})).json()["state"] == "done"
        assert {path: path.lstat().st_size for path in root.rglob("*")} == before
        with zipfile.ZipFile(io.BytesIO(got.content)) as zipped:
            assert zipped.testzip() is None
            assert zipped.read("mine/work") == work
            assert {one.filename: one.file_size for one in zipped.infolist() if not one.is_dir()} == {
                "mine/work": len(work),
                "mine/large": size,
            }

        assert (await browser.get("api/status")).status_code == 200
        (root / "rest").unlink()
        assert (await browser.put("api/contents/after.txt", json=note)).is_success
        assert (root / "after.txt").stat().st_size == 500_000
