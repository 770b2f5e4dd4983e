"""Light HTTP clients for the people of a class.

Each client does what a browser does from a click until the output of the first cell.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from benchmarks import measure

LIMIT = 120.0  # seconds; a client that has no answer by then counts with this time
AGAIN = 1.0  # seconds until a kernel that does not answer yet is asked again
CELL = "print(6 * 7)"


@asynccontextmanager
async def browser(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Yield an HTTP client for all people; it keeps no cookies, since each request has a person's token."""
    limits = httpx.Limits(max_connections=None, keepalive_expiry=2)
    async with httpx.AsyncClient(base_url=url, timeout=LIMIT, limits=limits, trust_env=False) as client:
        client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        yield client


async def clicks(url: str, pages: Mapping[str, str], seconds: float) -> list[float]:
    """Let each person open their page and run a cell; return the seconds from each click to the cell's output.

    ``pages``: the token of each page's person, by the page's path. ``seconds``: the time over which the clicks are
    spread evenly. A click without an answer counts with ``LIMIT`` seconds.
    """
    async with browser(url) as client:
        begin = time.monotonic()

        async def one(number: int, path: str, token: str) -> float:
            await asyncio.sleep(max(0.0, begin + number * seconds / len(pages) - time.monotonic()))
            clicked = time.monotonic()
            try:
                async with asyncio.timeout(LIMIT):
                    await open_page(client, url, path, token)
            except (OSError, TimeoutError, RuntimeError, httpx.HTTPError) as error:
                measure.note(f"{path}: {type(error).__name__}: {error}")
                return LIMIT
            return time.monotonic() - clicked

        return list(await asyncio.gather(*(one(number, *page) for number, page in enumerate(pages.items()))))


async def open_page(client: httpx.AsyncClient, url: str, path: str, token: str) -> None:
    """Open JupyterLab, start a kernel, and run a cell through the kernel's channel.

    Raises RuntimeError if an answer or the cell's output is not as expected, and the errors of httpx and of
    connections.
    """
    headers = {"Authorization": f"token {token}"}
    page = await client.get(f"{path}lab", headers=headers, follow_redirects=True)
    if page.status_code != httpx.codes.OK:
        raise RuntimeError(f"its page answers {page.status_code}")
    started = await client.post(f"{path}api/kernels", json={"name": "python3"}, headers=headers)
    if started.status_code != httpx.codes.CREATED:
        raise RuntimeError(f"its kernel does not start: {started.status_code} {started.text[:200]}")
    channel = f"{url.replace('http', 'ws', 1)}{path}api/kernels/{started.json()['id']}/channels"
    async with connect(channel, additional_headers=headers, open_timeout=LIMIT, max_size=None, proxy=None) as socket:
        await _answer(socket, "kernel_info_request", {}, "kernel_info_reply")
        content = {"code": CELL, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        printed = await _answer(socket, "execute_request", content, "execute_reply")
    if printed != "42\n":
        raise RuntimeError(f"its cell prints {printed!r}")


async def _answer(socket: ClientConnection, kind: str, content: Mapping[str, Any], reply: str) -> str:
    """Send a request to a kernel, wait for its reply, and return what the kernel has printed.

    ``kind``, ``reply``: the message types of request and reply. A kernel that is starting may lose a
    ``kernel_info_request``, so this request is repeated. The reply and the output of a cell come by different channels,
    in any order: the output is complete only when the kernel is idle, too.
    """
    printed, sent, last = "", list[str](), float("-inf")
    replied, idle = False, kind == "kernel_info_request"
    while not (replied and idle):
        if time.monotonic() - last >= AGAIN and (not sent or kind == "kernel_info_request"):
            sent.append(uuid.uuid4().hex)
            last = time.monotonic()
            await socket.send(json.dumps(_request(sent[-1], kind, content)))
        try:
            async with asyncio.timeout(AGAIN):
                message = json.loads(await socket.recv())
        except TimeoutError:
            continue
        if message["parent_header"].get("msg_id") not in sent:
            continue
        body = message["content"]
        printed += body["text"] if message["msg_type"] == "stream" else ""
        replied |= message["msg_type"] == reply
        idle |= message["msg_type"] == "status" and body["execution_state"] == "idle"
    return printed


def _request(message: str, kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    header = {
        "msg_id": message, "msg_type": kind, "username": "", "session": "bench", "version": "5.3", "date": "",
    }  # fmt: skip
    shell: dict[str, Any] = {"channel": "shell", "parent_header": {}, "metadata": {}, "buffers": []}
    return {"header": header, "content": dict(content), **shell}


def shares(taken: Sequence[float]) -> str:
    """Return the 50th percentile, the 95th percentile and the maximum of these seconds, as text."""
    named = (("p50", 0.5), ("p95", 0.95), ("max", 1.0))
    return ", ".join(f"{name} {measure.percentile(taken, share):.2f} s" for name, share in named)
