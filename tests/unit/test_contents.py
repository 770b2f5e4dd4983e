"""Transfers over the real notebook server's HTTP: uploads in pieces, downloads that can be resumed."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from jupyter_server.services.contents.filecheckpoints import AsyncGenericFileCheckpoints

from factorygate.session.jupyter.contents import Contents
from factorygate.session.notebook import write_config
from testbed import ports
from tests.support.gateway import eventually

EXTENSIONS = str(Path(__file__).parents[2] / "extensions")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Path, Path]]:
    """Start a jupyter_server with the session's own configuration, without a hub; yield its client, files and data
    folder."""
    base = tmp_path_factory.mktemp("server")
    for name in ("config", "root", "data"):
        (base / name).mkdir()
    write_config(base)
    port = ports.single()
    env = os.environ | {
        "JUPYTER_CONFIG_PATH": str(base / "config"),
        "JUPYTER_DATA_DIR": str(base / "data"),
        "PYTHONPATH": EXTENSIONS,
        "HOME": str(base),
    }
    options = ["--allow-root", "--no-browser", f"--port={port}", f"--ServerApp.root_dir={base / 'root'}"]
    argv = [sys.executable, "-m", "jupyter_server", *options, "--IdentityProvider.token=t"]
    with (base / "log").open("wb") as log:
        process = subprocess.Popen(argv, env=env, stdout=log, stderr=log)
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": "token t"}, timeout=30)
    try:

        def up() -> bool:
            assert process.poll() is None, (base / "log").read_text()
            try:
                return client.get("/api").status_code == 200
            except httpx.HTTPError:
                return False

        eventually(up, 60, what="the server answers")
        yield client, base / "root", base / "data"
    finally:
        client.close()
        process.terminate()
        process.wait(60)
        sys.stdout.write((base / "log").read_text())


def put(client: httpx.Client, name: str, number: int, data: bytes, **more: Any) -> httpx.Response:
    """Send one piece of an upload as JupyterLab does; return the answer.

    ``number``: counts from 1; -1 is the last piece. ``more``: fields of the JSON body, which replace the usual ones.
    """
    model = {"type": "file", "format": "base64", "name": name, "path": name, "chunk": number}
    return client.put(f"/api/contents/{name}", json=model | {"content": base64.b64encode(data).decode()} | more)


def test_an_upload_appears_whole(server: tuple[httpx.Client, Path, Path]) -> None:
    client, root, _ = server
    pieces = [os.urandom(1 << 20) for _ in range(3)]
    for number, data in zip((1, 2, -1), pieces, strict=True):
        answer = put(client, "whole.bin", number, data)
        assert answer.status_code in (200, 201), answer.text
        assert answer.json()["path"] == "whole.bin"
        names = [file["name"] for file in client.get("/api/contents/").json()["content"]]
        assert ("whole.bin" in names) == (number == -1)
        assert not [name for name in names if name.startswith(".")]
    assert (root / "whole.bin").read_bytes() == b"".join(pieces)
    assert answer.json()["size"] == 3 << 20
    assert list(root.glob(".whole*")) == []


def test_a_cut_upload_leaves_the_old_file_and_may_begin_again(server: tuple[httpx.Client, Path, Path]) -> None:
    client, root, _ = server
    (root / "again.bin").write_bytes(b"old")
    assert put(client, "again.bin", 1, b"half").status_code == 200
    assert (root / "again.bin").read_bytes() == b"old"
    assert put(client, "again.bin", 1, b"new").status_code == 200
    assert len(list(root.glob(".again.bin.part-*"))) == 1
    assert put(client, "again.bin", -1, b"er").status_code == 200
    assert (root / "again.bin").read_bytes() == b"newer"


@pytest.mark.parametrize(
    ("number", "more", "code", "words"),
    [
        (2, {}, 409, "Upload it again"),  # no upload was begun
        (-1, {}, 409, "Upload it again"),
        (1.5, {}, 400, "no number of a piece"),
        (0, {}, 400, "no number of a piece"),
        (True, {}, 400, "no number of a piece"),
        (1, {"content": "*"}, 400, "not base64"),
        (1, {"content": None}, 400, "needs a content"),
        (1, {"format": "json"}, 400, "needs a content"),
        (1, {"type": "notebook"}, 400, "Only a file"),
    ],
)
def test_a_piece_out_of_sequence_is_refused_in_words(
    server: tuple[httpx.Client, Path, Path], number: Any, more: dict[str, Any], code: int, words: str
) -> None:
    client, root, _ = server
    answer = put(client, "wrong.bin", number, b"x", **more)
    assert (answer.status_code, words in answer.json()["message"]) == (code, True), answer.text
    assert list(root.glob("*wrong*")) + list(root.glob(".wrong*")) == []


def test_a_missing_piece_is_refused_and_the_rest_may_go_on(server: tuple[httpx.Client, Path, Path]) -> None:
    client, root, _ = server
    put(client, "gap.bin", 1, b"a")
    answer = put(client, "gap.bin", 3, b"c")
    assert answer.status_code == 409 and "piece 2 was to come" in answer.json()["message"]
    put(client, "gap.bin", 2, b"b")
    put(client, "gap.bin", 2, b"b")  # a browser repeats it
    assert put(client, "gap.bin", -1, b"c").status_code in (200, 201)
    assert (root / "gap.bin").read_bytes() == b"abc"


def test_a_full_disk_is_said_and_leaves_nothing(server: tuple[httpx.Client, Path, Path]) -> None:
    client, root, _ = server
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    small = root / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=True)
    try:
        assert put(client, "small/big.bin", 1, b"x" * 700_000).status_code == 201
        answer = put(client, "small/big.bin", 2, b"x" * 700_000)
        assert answer.status_code == 507 and "is full" in answer.json()["message"]
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_folder_that_went_away_is_said(server: tuple[httpx.Client, Path, Path]) -> None:
    client, root, _ = server
    (root / "gone").mkdir()
    put(client, "gone/x.bin", 1, b"x")
    for part in (root / "gone").iterdir():
        part.unlink()
    (root / "gone").rmdir()
    answer = put(client, "gone/x.bin", 2, b"x")
    assert answer.status_code == 410 and "Upload it again" in answer.json()["message"]


def test_small_files_and_notebooks_are_saved_as_ever(server: tuple[httpx.Client, Path, Path]) -> None:
    client, root, _ = server
    answer = client.put("/api/contents/small.txt", json={"type": "file", "format": "text", "content": "hello"})
    assert answer.status_code == 201
    assert (root / "small.txt").read_text() == "hello"


def test_a_download_can_be_resumed_but_never_joined_from_two_versions(
    server: tuple[httpx.Client, Path, Path],
) -> None:
    client, root, _ = server
    file = root / "down.bin"
    file.write_bytes(b"0123456789")
    whole = client.get("/files/down.bin", params={"download": 1})
    assert (whole.headers["Content-Length"], whole.headers["Accept-Ranges"]) == ("10", "bytes")
    rest = {"Range": "bytes=4-"}
    for meant in (whole.headers["Etag"], whole.headers["Last-Modified"]):
        answer = client.get("/files/down.bin", headers=rest | {"If-Range": meant})
        assert (answer.status_code, answer.content) == (206, b"456789")
    assert client.get("/files/down.bin", headers=rest).status_code == 206
    now = time.time_ns()
    file.write_bytes(b"abcdefghij")
    os.utime(file, ns=(now, now + 5_000_000_000))
    for meant in (whole.headers["Etag"], whole.headers["Last-Modified"]):
        answer = client.get("/files/down.bin", headers=rest | {"If-Range": meant})
        assert (answer.status_code, answer.content) == (200, b"abcdefghij")


@pytest.mark.parametrize("path", ["nothing.ipynb", "a%00b.ipynb", ".hidden.ipynb", "..%2fout.ipynb"])
def test_a_file_that_is_not_in_the_folder_is_not_found(server: tuple[httpx.Client, Path, Path], path: str) -> None:
    assert server[0].get(f"/api/contents/{path}").status_code == 404


def test_an_interrupted_upload_has_a_record_for_later_servers(server: tuple[httpx.Client, Path, Path]) -> None:
    client, root, data = server
    put(client, "cut.bin", 1, b"x")
    part = next(root.glob(".cut.bin.part-*"))
    assert part in [record.readlink() for record in (data / "factorygate-uploads").iterdir()]


def test_jupyterlab_saves_often_and_fetches_no_news(server: tuple[httpx.Client, Path, Path]) -> None:
    """The test reads the settings that JupyterLab gets from the server."""
    client, _, _ = server
    wanted = {
        "docmanager-extension:plugin": {"autosaveInterval": 15},
        "apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    }
    for plugin, settings in wanted.items():
        answer = client.get(f"/lab/api/settings/@jupyterlab/{plugin}")
        assert answer.status_code == 200, answer.text
        properties = answer.json()["schema"]["properties"]
        assert {name: properties[name]["default"] for name in settings} == settings


def test_a_notebook_that_is_read_while_it_is_saved_keeps_the_save(server: tuple[httpx.Client, Path, Path]) -> None:
    """jupyter_server takes a notebook that another request is writing for a broken one: it would move the new content
    to a file `.invalid`, and restore the old content."""
    client, root, _ = server

    def save(number: int) -> httpx.Response:
        output = {"output_type": "stream", "name": "stdout", "text": [f"{line} {'x' * 60}\n" for line in range(5000)]}
        cell = {"cell_type": "code", "execution_count": number, "id": "a", "metadata": {}, "outputs": [output]}
        notebook = {"cells": [cell | {"source": ""}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        return client.put("/api/contents/busy.ipynb", json={"type": "notebook", "content": notebook})

    assert save(0).status_code == 201
    saving = threading.Event()
    saving.set()

    def read() -> set[int]:
        found = set()
        while saving.is_set():
            found.add(client.get("/api/contents/busy.ipynb").status_code)
        return found

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            for number in range(1, 31):
                assert save(number).status_code == 200
                saved = json.loads((root / "busy.ipynb").read_text())
                assert saved["cells"][0]["execution_count"] == number
        finally:
            saving.clear()
        assert [reader.result() for reader in readers] == [{200}, {200}]
    assert not list(root.glob("*.invalid"))


async def test_a_save_may_read_the_file_for_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person may have configured checkpoints that are made from the file's model."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "root").mkdir()
    contents = Contents(root_dir=str(tmp_path / "root"), checkpoints_class=AsyncGenericFileCheckpoints)
    notebook = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    async with asyncio.timeout(30):
        await contents.save({"type": "notebook", "content": notebook}, "one.ipynb")
    assert (await contents.get("one.ipynb"))["content"] == notebook
    assert list((tmp_path / "root" / ".ipynb_checkpoints").iterdir())
