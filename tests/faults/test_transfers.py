"""Uploads, downloads and kernels on a running gateway, while parts of it are killed."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.faults.test_kill import back, kill
from tests.support.gateway import Gateway, Notebook, eventually

PIECE = 1 << 20  # the size of JupyterLab's pieces
ROOM = 48 << 20  # bytes by which a process may grow while hundreds of times as much passes through it


@dataclass
class Session:
    """A running session with a kernel, and a separate folder for files."""

    gateway: Gateway
    user: str
    notebook: Notebook
    kernel: str
    folder: str

    def sha(self, name: str) -> str:
        """Return the SHA-256 hash of a file in hex, computed on the node."""
        code = f"import hashlib; print(hashlib.file_digest(open('{self.folder}/{name}', 'rb'), 'sha256').hexdigest())"
        return self.notebook.run(code, self.kernel).strip()

    def names(self) -> list[str]:
        """Return the names of all files in ``folder``, also of hidden ones."""
        code = f"import json, os; print(json.dumps(os.listdir('{self.folder}')))"
        found: list[str] = json.loads(self.notebook.run(code, self.kernel))
        return found

    def make(self, name: str, size: int) -> str:
        """Make a file of ``size`` random bytes, a multiple of ``PIECE``, in ``folder``; return the file's hash."""
        self.notebook.run(
            f"import os\nwith open('{self.folder}/{name}', 'wb') as f:\n"
            f"    for _ in range({size} // {PIECE}): f.write(os.urandom({PIECE}))",
            self.kernel,
        )
        return self.sha(name)


@pytest.fixture(scope="module")
def session(gateway: Gateway) -> Iterator[Session]:
    user = gateway.make_user()
    gateway.started(user, "files", factory="lumi-aif", size="gcd-1", hours=1)
    notebook = gateway.notebook(user, "files")
    folder = f"transfers-{uuid.uuid4().hex[:8]}"
    kernel = notebook.kernel()
    notebook.run(f"import os; os.mkdir({folder!r})", kernel)
    yield Session(gateway, user, notebook, kernel, folder)
    notebook.run(f"import shutil; shutil.rmtree({folder!r})", kernel)
    gateway.stopped(user, "files")


class Upload:
    """An upload in JupyterLab's form: numbered pieces, one after the other, over one connection."""

    def __init__(self, session: Session, name: str, pieces: int) -> None:
        self._client = httpx.Client(headers=session.notebook.headers, timeout=60)
        self._url = f"{session.notebook.base}/api/contents/{session.folder}/{name}"
        self._random = random.Random(name)
        self._name, self._pieces = name, pieces
        self._sent = 0
        self._hash = hashlib.sha256()
        self._data = b""

    @property
    def sha(self) -> str:
        """Return the SHA-256 hash in hex of all pieces that were sent."""
        return self._hash.hexdigest()

    def next(self) -> httpx.Response:
        """Send the next piece; return the answer."""
        self._data = self._random.randbytes(PIECE)
        self._hash.update(self._data)
        self._sent += 1
        return self.again()

    def again(self) -> httpx.Response:
        """Send the last piece again; return the answer."""
        number = -1 if self._sent == self._pieces else self._sent
        model = {"type": "file", "format": "base64", "name": self._name, "chunk": number}
        return self._client.put(self._url, json=model | {"content": base64.b64encode(self._data).decode()})

    def all(self, at: Callable[[int], None] = lambda _: None) -> None:
        """Send all remaining pieces. ``at`` is called after each piece with the piece's number."""
        while self._sent < self._pieces:
            answer = self.next()
            assert answer.status_code in (200, 201), answer.text
            at(self._sent)

    def close(self) -> None:
        self._client.close()


def memory(pid: int) -> int:
    """Return the resident bytes of a process."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def on_the_way(session: Session) -> dict[str, int]:
    """Return the pids of all processes that an upload passes through, by the program's name."""
    server = int(session.notebook.run("import os; print(os.getppid())", session.kernel))
    door = int(Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[1])
    session.gateway.refresh()
    pids = {part: session.gateway.pid(part) for part in ("proxy", "link")}
    return pids | {"door": door, "notebook server": server}


@pytest.mark.parametrize("megabytes", [96, pytest.param(2048, marks=[pytest.mark.long, pytest.mark.timeout(1200)])])
def test_an_upload_arrives_intact_at_constant_memory(session: Session, megabytes: int) -> None:
    pids = on_the_way(session)
    grown = dict.fromkeys(pids, 0)
    start: dict[str, int] = {}

    def look(number: int) -> None:
        if number == megabytes // 4:  # the first pieces fill buffers that stay
            start.update({part: memory(pid) for part, pid in pids.items()})
        elif start and number % 16 == 0:
            for part, pid in pids.items():
                grown[part] = max(grown[part], memory(pid) - start[part])

    upload = Upload(session, f"up-{megabytes}.bin", megabytes)
    upload.all(look)
    upload.close()
    for part in pids:
        had, more = start[part] >> 20, grown[part] / 2**20
        print(f"\n{megabytes} MB upload: {part} has {had} MB, grew by {more:.1f} MB", end="")
    assert session.sha(f"up-{megabytes}.bin") == upload.sha
    assert session.names() == [f"up-{megabytes}.bin"]
    session.notebook.run(f"os.remove('{session.folder}/up-{megabytes}.bin')", session.kernel)
    assert all(more < ROOM for more in grown.values()), grown


def test_an_upload_that_is_cut_leaves_no_half_file(session: Session) -> None:
    upload = Upload(session, "cut.bin", 20)
    for _ in range(7):
        upload.next()
    upload.close()  # the browser's tab is closed
    listed = session.notebook.request("GET", f"/api/contents/{session.folder}").json()["content"]
    assert listed == []
    assert [name.startswith(".cut.bin.part-") for name in session.names()] == [True]
    upload = Upload(session, "cut.bin", 20)  # uploaded again from the beginning
    upload.all()
    assert session.sha("cut.bin") == upload.sha
    assert session.names() == ["cut.bin"]
    session.notebook.run(f"os.remove('{session.folder}/cut.bin')", session.kernel)


def test_an_upload_says_that_the_link_was_killed_and_can_go_on(session: Session) -> None:
    gateway = session.gateway
    upload = Upload(session, "linkless.bin", 12)
    for _ in range(5):
        assert upload.next().status_code in (200, 201)

    def taken(send: Callable[[], httpx.Response]) -> bool:
        try:
            return send().status_code in (200, 201)
        except httpx.HTTPError:
            return False

    old = gateway.pid("link")
    os.kill(old, 9)
    # Either the new link is up in time and accepts the piece, or the failure is reported; the piece never disappears
    # silently.
    was_taken = taken(upload.next)
    eventually(lambda: gateway.pid("link") != old and back(gateway) and answers(session), 90, what="a new link")
    assert session.notebook.request("GET", f"/api/contents/{session.folder}/linkless.bin").status_code == 404
    if not was_taken:
        eventually(lambda: taken(upload.again), 60, what="the piece is taken")
    upload.all()
    upload.close()
    assert session.sha("linkless.bin") == upload.sha
    assert session.names() == ["linkless.bin"]
    session.notebook.run(f"os.remove('{session.folder}/linkless.bin')", session.kernel)


def test_a_download_and_a_kernel_live_through_a_hub_kill(session: Session) -> None:
    sha = session.make("hub.bin", 96 << 20)
    channel = Channel(session)
    counting = channel.execute("import time\nfor n in range(400):\n    print(n, flush=True)\n    time.sleep(0.05)")
    seen = channel.until(counting, "3\n")
    with download(session, "hub.bin") as answer:
        whole, stream = hashlib.sha256(), answer.iter_bytes(PIECE)
        whole.update(next(stream))
        kill(session.gateway, "hub")  # and waits for the new hub
        for data in stream:
            whole.update(data)
    assert whole.hexdigest() == sha
    seen += channel.until(counting, "399\n")
    assert seen.split() == [str(n) for n in range(400)]  # over the same WebSocket, without a gap
    channel.close()
    session.notebook.run(f"os.remove('{session.folder}/hub.bin')", session.kernel)


def test_after_a_link_kill_a_download_fails_visibly_and_resumes_and_the_kernel_is_there(session: Session) -> None:
    gateway = session.gateway
    sha = session.make("link.bin", 96 << 20)
    channel = Channel(session)
    channel.until(channel.execute("kept = 42\nprint('here')"), "here\n")
    whole, got = hashlib.sha256(), 0
    with download(session, "link.bin") as answer:
        tag = answer.headers["Etag"]
        assert int(answer.headers["Content-Length"]) == 96 << 20
        stream = answer.iter_raw()
        data = next(stream)
        kill(gateway, "link")
        told = False
        while not told:
            whole.update(data)
            got += len(data)
            try:
                data = next(stream)
            # the transfer must fail with an error: not hang, and not end as if it were complete
            except (httpx.RemoteProtocolError, httpx.ReadError):
                told = True
    assert 0 < got < 96 << 20
    with pytest.raises(ConnectionClosed):
        channel.until("", "never")
    eventually(lambda: answers(session), 90, what="the notebook answers again")
    with download(session, "link.bin", {"Range": f"bytes={got}-", "If-Range": tag}) as answer:
        assert answer.status_code == 206
        for data in answer.iter_bytes(PIECE):
            whole.update(data)
    assert whole.hexdigest() == sha
    channel = Channel(session)
    assert channel.until(channel.execute("print(kept)"), "42\n")
    channel.close()
    session.notebook.run(f"os.remove('{session.folder}/link.bin')", session.kernel)


def test_a_download_keeps_the_session_from_being_idle(session: Session) -> None:
    session.make("busy.bin", 96 << 20)

    def last() -> str:
        return str((session.gateway.session(session.user, "files") or {})["last_activity"])

    with download(session, "busy.bin") as answer:
        stream = answer.iter_bytes(PIECE)
        next(stream)  # nothing is read for now, while the transfer is in progress
        before = last()
        eventually(lambda: last() != before, 200, what="the transfer counts as activity")
    session.notebook.run(f"os.remove('{session.folder}/busy.bin')", session.kernel)


def answers(session: Session) -> bool:
    try:
        return session.notebook.request("GET", "/api/kernels").status_code == 200
    except httpx.HTTPError:
        return False


def download(session: Session, name: str, headers: dict[str, str] | None = None) -> Any:
    """Start a streamed download; return a context manager with its response."""
    url = f"{session.notebook.base}/files/{session.folder}/{name}?download=1"
    return httpx.stream("GET", url, headers=session.notebook.headers | (headers or {}), timeout=30)


class Channel:
    """A WebSocket to the session's kernel that stays open."""

    def __init__(self, session: Session) -> None:
        url = session.notebook.base.replace("http", "ws", 1) + f"/api/kernels/{session.kernel}/channels"
        self._open = ExitStack()
        # Messages are received at once, as in a browser: otherwise a busy test would miss the pongs.
        channel = connect(url, additional_headers=session.notebook.headers, open_timeout=60, max_queue=None)
        self._socket = self._open.enter_context(channel)

    def execute(self, code: str) -> str:
        """Send a cell; return the id of its message."""
        message = uuid.uuid4().hex
        header = {"msg_id": message, "msg_type": "execute_request", "username": "", "session": uuid.uuid4().hex}
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
        request = {"header": header | {"version": "5.3", "date": ""}, "parent_header": {}, "metadata": {}}
        self._socket.send(json.dumps(request | {"content": content, "channel": "shell", "buffers": []}))
        return message

    def until(self, message: str, end: str) -> str:
        """Return the output of the cell with this message id, as soon as it contains ``end``.

        Raises TimeoutError if the kernel sends nothing for 60 s.
        """
        printed = ""
        while end not in printed:
            reply = json.loads(self._socket.recv(timeout=60))
            if reply["parent_header"].get("msg_id") == message and reply["msg_type"] == "stream":
                printed += reply["content"]["text"]
        return printed

    def close(self) -> None:
        self._open.close()
