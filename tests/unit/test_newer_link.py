"""A hub whose link is of a later release: the hub ignores the fields that it does not know, and loses no session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aiohttp import web

from factorycommon.event_stream import StreamEvent
from factorylink.client import LinkClient
from tests.unit.fake_factory import ID
from tests.unit.fake_hub import request, served


def later(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the answer with a field that only a later release has; its parts ``choice`` and ``site`` get one, too."""
    parts = {name: later(part) for name, part in answer.items() if name in ("choice", "site")}
    return answer | parts | {"of_a_later_release": 1}


async def test_a_hub_reads_the_answers_of_a_later_link(tmp_path: Path) -> None:
    (tmp_path / "now").mkdir()
    async with served(tmp_path / "now") as link:
        session = (await link.client.put_session(ID, request())).model_dump(mode="json")
        factories = [one.model_dump(mode="json") for one in await link.client.factories("ada")]
    snapshot = {"sessions": [later(session)], "clusters": [], "factories": [later(one) for one in factories]}
    events = [StreamEvent("snapshot", json.dumps(snapshot)), StreamEvent("session", json.dumps(later(session)))]

    async def one_session(_asked: web.Request) -> web.Response:
        return web.json_response(later(session))

    async def all_factories(_asked: web.Request) -> web.Response:
        return web.json_response(snapshot["factories"])

    async def table(asked: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(asked)
        for event in events:
            await stream.write(f"event: {event.name}\ndata: {event.data}\n\n".encode())
        return stream

    app = web.Application()
    app.add_routes(
        [web.get(f"/sessions/{ID}", one_session), web.get("/factories", all_factories), web.get("/table", table)]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    client = LinkClient(tmp_path / "later.sock")
    try:
        await web.UnixSite(runner, str(tmp_path / "later.sock")).start()
        assert (await client.session(ID)).model_dump(mode="json") == session
        assert [one.model_dump(mode="json") for one in await client.factories("ada")] == factories
        changes = client.table()
        first, second = await anext(changes), await anext(changes)
        assert first.snapshot is not None
        assert [one.id for one in first.snapshot] == [ID]
        assert set(first.health) == {"one"}
        assert second.session is not None
        assert second.session.id == ID
        await changes.aclose()
    finally:
        await client.close()
        await runner.cleanup()
