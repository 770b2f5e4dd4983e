"""Requests from a session to the hub's API and the user API: which are forwarded, and how they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from factorylink.api import door
from factorylink.api.door import BackWay, back_app
from tests.unit.serving import serving


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/hub/api", "hub"),
        ("/hub/api/users/ada/activity", "hub"),
        ("/hub/api/users/a%40b/server/progress", "hub"),
        ("/hub/api/users/a%3Bb/activity", "hub"),  # people's names as JupyterHub writes them
        ("/hub/api/users/site%5Cada/activity", "hub"),
        ("/hub/api/users/a%3Bb;x/activity", None),
        ("/hub/api/users/..%5C../activity", "hub"),  # also a name: the hub separates names by slashes only
        ("/services/factories/api/factories", "user"),
        ("/hub/home", None),
        ("/hub/apis", None),
        ("/", None),
        ("/user/ben/api", None),
        ("/services/other/api", None),
        ("/services/factories", None),
        ("/hub/api/../home", None),
        ("/hub/api/%2e%2e/home", None),
        ("/hub/api/.%2E/home", None),
        ("/hub/api/%252e%252e/home", None),
        ("/hub/api/..%2fhome", None),
        ("/hub/api/./users", None),
        ("/hub/api//users", None),
        ("//evil.example/hub/api/users", None),
        ("/hub/api/..\\home", None),
        ("/hub/api/users%00", None),
        ("/hub/api/users;x=/../..", None),
        ("http://evil.example/hub/api", None),
        ("/%68ub/home", None),
    ],
)
def test_only_two_places_can_be_reached(path: str, allowed: str | None) -> None:
    assert BackWay("hub", "user", "/").target(path) == allowed


def test_a_base_url_is_honoured() -> None:
    way = BackWay("hub", "user", "/jupyter/")
    assert way.target("/jupyter/hub/api/user") == "hub"
    assert way.target("/jupyter/services/factories/api/sessions") == "user"
    assert way.target("/hub/api/user") is None


async def echo(request: Request) -> JSONResponse:
    seen = {
        "path": request.scope["raw_path"].decode(),
        "query": request.url.query,
        "method": request.method,
        "headers": dict(request.headers),
        "body": (await request.body()).decode(),
    }
    return JSONResponse(seen, 201, headers={"Set-Cookie": "a=b", "X-JupyterHub-Version": "6"})


async def drip(request: Request) -> StreamingResponse:
    async def body() -> AsyncIterator[bytes]:
        for number in range(3):
            yield f"data: {number}\n\n".encode()

    return StreamingResponse(body(), media_type="text/event-stream")


async def endless(request: Request) -> StreamingResponse:
    async def body() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await asyncio.Event().wait()

    return StreamingResponse(body(), media_type="text/event-stream")


@pytest_asyncio.fixture
async def session(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client whose requests go to the socket on which the link takes requests from notebooks."""
    upstream = Starlette(
        routes=[
            Route("/hub/api/drip", drip),
            Route("/hub/api/endless", endless),
            Route("/{path:path}", echo, methods=["GET", "POST", "DELETE"]),
        ]
    )
    async with serving(upstream) as url:
        way = BackWay(url, url, "/")
        path = tmp_path / "back.sock"
        async with serving(back_app(way), path):
            transport = httpx.AsyncHTTPTransport(uds=str(path), limits=httpx.Limits(max_connections=None))
            async with httpx.AsyncClient(transport=transport, base_url="http://hub.sock", timeout=30) as client:
                yield client
        await way.close()


async def test_a_request_is_forwarded_unchanged(session: httpx.AsyncClient) -> None:
    headers = {
        "Authorization": "token mine",
        "Cookie": "stolen=1",
        "X-Forwarded-For": "8.8.8.8",
        "Connection": "X-Drop",
    }
    headers["X-Drop"] = "1"
    answer = await session.post("/hub/api/users/a%40b/activity?x=1&y=%2F", content=b"body", headers=headers)
    assert answer.status_code == 201
    assert "set-cookie" not in answer.headers
    assert answer.headers["x-jupyterhub-version"] == "6"
    seen: dict[str, Any] = answer.json()
    assert (seen["path"], seen["query"], seen["body"]) == ("/hub/api/users/a%40b/activity", "x=1&y=%2F", "body")
    assert seen["headers"]["authorization"] == "token mine"
    assert not {"cookie", "x-forwarded-for", "x-drop"} & set(seen["headers"])


async def test_responses_are_streamed(session: httpx.AsyncClient) -> None:
    async with session.stream("GET", "/hub/api/drip") as answer:
        assert [line async for line in answer.aiter_lines() if line] == ["data: 0", "data: 1", "data: 2"]


async def test_a_name_arrives_as_it_was_written(session: httpx.AsyncClient) -> None:
    answer = await session.post("/hub/api/users/a%3Bb%5Cc%27%22%2B/activity", json={})
    assert answer.json()["path"] == "/hub/api/users/a%3Bb%5Cc%27%22%2B/activity"


async def test_open_requests_of_one_session_block_no_other(session: httpx.AsyncClient) -> None:
    async with AsyncExitStack() as held:
        transport = session._transport
        many = httpx.AsyncClient(transport=transport, base_url="http://hub.sock", timeout=30)
        for _ in range(120):  # more than httpx's default connection limit
            answer = await held.enter_async_context(many.stream("GET", "/hub/api/endless"))
            assert await anext(answer.aiter_lines()) == "data: 1"
        assert (await session.post("/hub/api/user")).status_code == 201


async def test_a_body_that_never_comes_is_not_waited_for(
    session: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "_BODY_SECONDS", 0.05)
    reader, writer = await asyncio.open_unix_connection(tmp_path / "back.sock")
    writer.write(b"POST /hub/api/user HTTP/1.1\r\nHost: hub\r\nContent-Length: 10\r\n\r\none")
    assert (await reader.readline()).startswith(b"HTTP/1.1 503")
    writer.close()


async def test_all_other_paths_answer_404(session: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    answer = await session.get("/hub/home")
    assert (answer.status_code, answer.json()["kind"]) == (404, "gone")
    assert "/hub/home" in caplog.text
