"""The notebook's client of the link parses large answers without blocking the event loop."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import httpx
import pytest

from factorycommon.models import Cluster, Worker, WorkerState
from factorygate.link import STEP, Link, LinkRoute, LinkSilent
from factorylink.explain import explain
from tests.support.told import cluster as told

JOBS = 1000


def large() -> Cluster:
    when, words = datetime(2026, 3, 10, 12, tzinfo=UTC), explain.own("submit-slow")
    workers = tuple(
        Worker(name=f"dask-{n}", batch="b" * 32, state=WorkerState.ASKED, asked=when, waits_for=words)
        for n in range(JOBS)
    )
    return told().model_copy(update={"workers": workers})


def link(content: bytes, media_type: str = "application/json") -> Link:
    """Return a client whose every request gets this answer."""
    made = Link(LinkRoute("http://gateway/api", "token", None))

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=content, headers={"content-type": media_type})

    made._http = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://gateway/api")
    return made


async def test_a_large_cluster_leaves_turns_to_the_event_loop() -> None:
    cluster = large()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def turns_of(content: bytes, kind: type[Cluster]) -> tuple[int, Cluster]:
        nonlocal turns
        counting = asyncio.create_task(count())
        turns = 0
        found = await link(content).get("/clusters/1", kind)
        counting.cancel()
        return turns, found

    few, _ = await turns_of(told().model_dump_json().encode(), Cluster)
    many, found = await turns_of(cluster.model_dump_json().encode(), Cluster)
    assert found == cluster
    assert many - few >= JOBS // STEP - 1


async def test_a_large_event_is_the_same_cluster() -> None:
    cluster = large()
    event = f"event: cluster\ndata: {cluster.model_dump_json()}\n\n".encode()
    found = [(name, one) async for name, one in link(event, "text/event-stream").events("/clusters/1/events", Cluster)]
    assert found == [("cluster", cluster)]


@pytest.mark.parametrize("wrong", [b'"w-1"', b'{"name": "w-1"}', b'[{"name": "w-1"}]'], ids=["text", "map", "worker"])
async def test_a_large_cluster_that_is_not_understood_is_no_answer(wrong: bytes) -> None:
    whole = large().model_dump_json().encode()
    before, _, _ = whole.partition(b'"workers":')
    content = before + b'"workers":' + wrong + b"}" + b" " * len(whole)
    with pytest.raises(LinkSilent):
        await link(content).get("/clusters/1", Cluster)
