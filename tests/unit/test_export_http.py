"""The download of one's folder from a real notebook server: what is said before, the zip, how far it is, refusals."""

from __future__ import annotations

import asyncio
import io
import os
import zipfile
from collections.abc import AsyncIterator
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
    async with asyncio.timeout(30):
        while (await browser.get(f"{API}/progress", params=params)).json()["state"] != "cut":
            await asyncio.sleep(0.05)
    assert sorted(server.root.rglob("*")) == before
    assert (await browser.get(API, params={"path": "cancelled"})).json()["bytes"] == 64 << 20
