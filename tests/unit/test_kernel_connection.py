"""A page that connects to a kernel again, on a real notebook server with a real kernel: the kernel always answers."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from tests.support.lab import TOKEN, LabServer, lab_server

LIMIT = 100.0  # seconds, also on a busy machine, for an answer of an idle kernel
ROUNDS = 60
AUTHORIZED = {"Authorization": f"token {TOKEN}"}
SPREAD = 0.0005  # seconds; ten times this is about the time that the server takes to prepare a connection

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LabServer]:
    async with lab_server(tmp_path_factory.mktemp("kernel"), "jupyter_server") as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def page(server: LabServer) -> AsyncIterator[Page]:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            httpx.AsyncClient(base_url=f"{server.url}/api/", headers=AUTHORIZED, timeout=60)
        )
        kernel = (await client.post("kernels", json={})).json()["id"]
        made = Page(server, client, kernel)
        yield made
        await made.leave()
        await client.delete(f"kernels/{kernel}")


class Page:
    """A page of JupyterLab: all its connections to the kernel have one session id."""

    def __init__(self, server: LabServer, client: httpx.AsyncClient, kernel: str) -> None:
        self.client = client
        self.kernel = kernel
        self.session = uuid.uuid4().hex
        self.address = httpx.URL(server.url)
        self.way = f"{self.address.path.rstrip('/')}/api/kernels/{kernel}/channels?session_id={self.session}"
        self.connection: ClientConnection | None = None

    async def connect(self) -> ClientConnection:
        """Connect as JupyterLab does, which tries again if the server refuses; return the connection.

        The connection before is left open.
        """
        url = f"ws://{self.address.host}:{self.address.port}{self.way}"
        for _ in range(5):
            try:
                self.connection = await connect(
                    url, additional_headers=AUTHORIZED, max_size=None, open_timeout=LIMIT, close_timeout=1
                )
                break
            except InvalidStatus as refusal:
                if refusal.response.status_code != 409:
                    raise
        assert self.connection is not None
        return self.connection

    async def leave(self) -> None:
        """Close the connection."""
        if self.connection is not None:
            await self.connection.close()

    async def connect_and_leave_at_once(self, wait: float) -> None:
        """Request a connection, and close it after ``wait`` seconds without reading the server's answer.

        A page that connects twice does this.
        """
        _, writer = await asyncio.open_connection(self.address.host, self.address.port)
        head = [
            f"GET {self.way} HTTP/1.1",
            f"Host: {self.address.host}:{self.address.port}",
            *(f"{name}: {value}" for name, value in AUTHORIZED.items()),
            *("Upgrade: websocket", "Connection: Upgrade"),
            *("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
        ]
        writer.write(("\r\n".join(head) + "\r\n\r\n").encode())
        await writer.drain()
        await asyncio.sleep(wait)
        writer.close()

    async def request(self, kind: str, **content: Any) -> str:
        """Send a request to the kernel; return its id."""
        assert self.connection is not None
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": kind,
            "session": self.session,
            "username": "ada",
            "version": "5.4",
            "date": datetime.now(UTC).isoformat(),
        }
        message = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}
        await self.connection.send(json.dumps(message))
        return header["msg_id"]

    async def heard(self, request: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the first message about that request that is wanted."""
        assert self.connection is not None
        async with asyncio.timeout(LIMIT):
            while True:
                told: dict[str, Any] = json.loads(await self.connection.recv())
                if told["parent_header"].get("msg_id") == request and wanted(told):
                    return told

    async def connections(self) -> int:
        """Return the number of the kernel's connections, as the server counts them."""
        return int((await self.client.get(f"kernels/{self.kernel}")).json()["connections"])


def is_reply(told: dict[str, Any]) -> bool:
    return bool(told["msg_type"].endswith("_reply"))


async def test_a_page_that_connects_twice_at_once_gets_answers(page: Page) -> None:
    await page.connect()
    for each in range(ROUNDS):
        leaving = asyncio.create_task(page.leave())  # not awaited before the next connection, as in a page
        await page.connect_and_leave_at_once(SPREAD * (each % 10))
        await page.connect()
        await page.heard(await page.request("kernel_info_request"), is_reply)
        await page.heard(await page.request("comm_info_request", target_name="jupyter.widget"), is_reply)
        await leaving


async def test_connections_that_never_began_are_not_counted(page: Page) -> None:
    await page.connect()
    for each in range(10):
        await page.connect_and_leave_at_once(SPREAD * each)
        await page.connect()
    await page.heard(await page.request("kernel_info_request"), is_reply)
    await until_count(page, 1)
    await page.leave()
    await until_count(page, 0)


async def until_count(page: Page, number: int) -> None:
    """Wait until the server counts that many connections."""
    counts: list[int] = []
    async with asyncio.timeout(LIMIT):
        while not counts or counts[-1] != number:
            counts.append(await page.connections())


async def test_a_running_cell_is_answered_on_the_next_connection_of_its_page(page: Page, server: LabServer) -> None:
    await page.connect()
    go = server.root / f"go-{page.session}"
    lines = (
        "import os, time",
        "print('begun')",
        f"while not os.path.exists({str(go)!r}): time.sleep(0.05)",
        "print('end')",
    )
    code = "\n".join(lines)
    cell = await page.request("execute_request", code=code, silent=False, store_history=False, allow_stdin=False)
    await page.heard(cell, lambda told: told["msg_type"] == "stream")
    before = page.connection
    await page.connect()  # the server does not know that the connection before is lost
    go.touch()
    told = await page.heard(cell, lambda told: is_reply(told) or "end" in told["content"].get("text", ""))
    other = await page.heard(cell, lambda told: is_reply(told) or "end" in told["content"].get("text", ""))
    assert {told["msg_type"], other["msg_type"]} == {"stream", "execute_reply"}
    assert before is not None
    await before.wait_closed()
