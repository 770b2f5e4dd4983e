"""Runs checks that a proxy in front of Jupyter must pass, on a real proxy.

The result of a check is ``yes``, or ``no`` with a description of the error.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import aiohttp
from yarl import URL

PROTOCOL = "v1.kernel.websocket.jupyter.org"
LARGE = 20 * 10**6  # bytes of one message: an output with one or two pictures
FILE = 150 * 10**6  # bytes

Check = Callable[[aiohttp.ClientSession], Awaitable[str]]


async def run(url: str, api: str, headers: Mapping[str, str]) -> dict[str, str]:
    """Run all checks on the proxy at ``url``, whose API is at ``api``; return the result of each check by its name."""
    answers = {}
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(force_close=True)) as http:
        for name, check in CHECKS.items():
            try:
                async with asyncio.timeout(30):
                    answers[name] = await check(http)
            except (TimeoutError, aiohttp.ClientError, ConnectionError, TypeError, AssertionError) as error:
                answers[name] = f"no ({type(error).__name__} {error})"[:120]
        answers["a route to nowhere answers 503 and stays in the list"] = await _dead_route(http, api, headers)
    return answers


async def _subprotocol(http: aiohttp.ClientSession) -> str:
    async with http.ws_connect("/user/one/echo", protocols=[PROTOCOL]) as socket:
        return _yes(socket.protocol == PROTOCOL, f"got {socket.protocol}")


async def _binary(http: aiohttp.ClientSession) -> str:
    async with http.ws_connect("/user/one/echo") as socket:
        await socket.send_bytes(b"\x00\xff")
        message = await socket.receive(timeout=10)
        return _yes(message.data == b"\x00\xff", f"got {message.type.name} {message.data!r}")


async def _close_code(http: aiohttp.ClientSession) -> str:
    async with http.ws_connect("/user/one/echo") as socket:
        await socket.send_str("close")
        message = await socket.receive(timeout=10)
        return _yes(
            (socket.close_code, message.extra) == (4001, "because"), f"got {socket.close_code} {message.extra!r}"
        )


async def _large_message(http: aiohttp.ClientSession) -> str:
    async with http.ws_connect("/user/one/echo", max_msg_size=0) as socket:
        await socket.send_bytes(bytes(LARGE))
        message = await socket.receive(timeout=20)
        size = len(message.data) if message.type == aiohttp.WSMsgType.BINARY else message.data
        return _yes(size == LARGE, f"got {size}")


async def _gone_client(http: aiohttp.ClientSession) -> str:
    socket = await http.ws_connect("/user/one/echo")
    await socket.send_str("x")
    await socket.receive(timeout=10)
    connection = socket.get_extra_info("socket")
    before = await _open(http)
    assert connection is not None
    connection.shutdown(2)  # the client disappears without closing, like a closed laptop
    begin = time.monotonic()
    while await _open(http) >= before:
        if time.monotonic() - begin > 10:
            return "no (still open behind it after 10 s)"
        await asyncio.sleep(0.05)
    return "yes"


async def _open(http: aiohttp.ClientSession) -> int:
    async with http.get("/user/one/sockets") as answer:
        return int(await answer.json())


async def _unbuffered(http: aiohttp.ClientSession) -> str:
    begin = time.monotonic()
    async with http.get("/user/one/events") as answer:
        await answer.content.readline()
        waited = time.monotonic() - begin
    return _yes(waited < 1, f"after {waited:.1f} s")


async def _upload(http: aiohttp.ClientSession) -> str:
    async with http.put("/user/one/upload", data=bytes(FILE)) as answer:
        arrived = await answer.text()
    return _yes(answer.status == 200 and int(arrived) == FILE, f"status {answer.status}: {arrived[:40]}")


async def _download(http: aiohttp.ClientSession) -> str:
    async with http.get(f"/user/one/big?bytes={FILE}") as answer:
        arrived = 0
        async for chunk in answer.content.iter_chunked(2**20):
            arrived += len(chunk)
    return _yes(arrived == FILE, f"status {answer.status}: {arrived} bytes")


async def _path(http: aiohttp.ClientSession) -> str:
    wanted = "/user/one/files/a%2Fb%20c+d/%C3%A9?q=%2B%26"
    async with http.get(URL(wanted, encoded=True)) as answer:
        path = (await answer.json())["path"]
    return _yes(path == wanted, f"got {path}")


async def _forwarded(http: aiohttp.ClientSession) -> str:
    async with http.get("/user/one/x") as answer:
        headers = {name.lower(): value for name, value in (await answer.json())["headers"].items()}
    wanted = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-port", "x-forwarded-host")
    missing = [name for name in wanted if name not in headers]
    return _yes(not missing and headers["host"].startswith("127.0.0.1:180"), f"lacks {missing}, host {headers['host']}")


async def _dead_route(http: aiohttp.ClientSession, api: str, headers: Mapping[str, str]) -> str:
    route = f"{api}/api/routes/user/gone"
    async with http.post(route, json={"target": "http://127.0.0.1:9"}, headers=headers):
        pass
    async with http.get("/user/gone/lab") as answer:
        status = answer.status
    async with http.get(f"{api}/api/routes", headers=headers) as answer:
        listed = any(path.rstrip("/") == "/user/gone" for path in await answer.json())
    async with http.delete(route, headers=headers):
        pass
    return _yes(status == 503 and listed, f"status {status}, listed {listed}")


def _yes(right: bool, otherwise: str) -> str:
    return "yes" if right else f"no ({otherwise})"


CHECKS: dict[str, Check] = {
    "the kernel's subprotocol passes": _subprotocol,
    "bytes stay bytes": _binary,
    "close code and reason pass": _close_code,
    f"a message of {LARGE // 10**6} MB passes": _large_message,
    "a browser that is gone closes the socket behind": _gone_client,
    "event streams are not held back": _unbuffered,
    f"an upload of {FILE // 10**6} MB passes": _upload,
    f"a download of {FILE // 10**6} MB passes": _download,
    "escapes in paths stay": _path,
    "X-Forwarded-* are set, Host stays": _forwarded,
}
