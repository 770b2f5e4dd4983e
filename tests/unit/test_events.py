"""Event streams: changes are sent soon, but not too often, and slow readers cost nothing."""

from __future__ import annotations

import asyncio

import pytest

from factorylink.util import event_feed
from factorylink.util.event_feed import Feed, Message
from tests.unit.virtual_time import JumpingLoop


class Things:
    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.feed = Feed(self.show)

    def show(self, key: str) -> Message | None:
        return ("thing", f"{key}={self.values[key]}") if key in self.values else None

    def set(self, key: str, value: int) -> None:
        self.values[key] = value
        self.feed.touch(key)


def first() -> list[Message]:
    return [("snapshot", "all")]


async def test_a_change_is_sent_once() -> None:
    things = Things()
    stream = things.feed.stream(first)
    assert b"snapshot" in await anext(stream)
    things.set("a", 1)
    assert await asyncio.wait_for(anext(stream), 30) == b"event: thing\ndata: a=1\n\n"
    await asyncio.sleep(0.15)
    things.set("a", 1)
    things.set("b", 1)
    assert await asyncio.wait_for(anext(stream), 30) == b"event: thing\ndata: b=1\n\n"
    await stream.aclose()  # type: ignore[attr-defined]


def test_constant_changes_are_sent_ten_times_a_second() -> None:
    async def half_a_second() -> None:
        things = Things()
        stream = things.feed.stream(first, "a")
        await anext(stream)
        told: list[bytes] = []

        async def read() -> None:
            async for chunk in stream:
                told.append(chunk)

        reading = asyncio.create_task(read())
        for number in range(100):
            things.set("a", number)
            things.set("other", number)
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.15)
        assert 4 <= len(told) <= 10
        assert b"a=99" in told[-1]
        assert b"other" not in b"".join(told)
        things.feed.close()
        await reading

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:  # a virtual clock, independent of the machine's load
        runner.run(half_a_second())


async def test_a_slow_reader_gets_the_newest_then_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_feed, "_SAME_THING_SECONDS", 0)
    monkeypatch.setattr(event_feed, "_MOST_WAITING", 10)
    things = Things()
    stream = things.feed.stream(first)
    await anext(stream)
    for number in range(50):
        things.set("a", number)
        await asyncio.sleep(0.001)
    assert await anext(stream) == b"event: thing\ndata: a=49\n\n"
    for number in range(50):
        things.set(f"k{number}", 1)
    await asyncio.sleep(0.05)
    assert b"snapshot" in await anext(stream)
    things.feed.close()


async def test_a_stream_ends_with_its_last_event_and_with_the_feed() -> None:
    things = Things()
    stream = things.feed.stream(first, last=lambda message: message[1] == "a=2")
    await anext(stream)
    things.set("a", 2)
    assert [chunk async for chunk in stream] == [b"event: thing\ndata: a=2\n\n"]
    things.feed.close()
    assert len([chunk async for chunk in things.feed.stream(first)]) == 1
