"""Batches of work: which caller gets which outcome, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from factorylink.errors import Refused, Unreachable
from factorylink.util.batcher import Batcher


class Work:
    """The work of a batcher: holds each round until the test releases it, and fails on command.

    ``rounds``: the things of each round; ``go``: releases all rounds; ``refuses``: things whose round is refused;
    ``error``: the error of every round.
    """

    def __init__(self) -> None:
        self.rounds: list[list[str]] = []
        self.go = asyncio.Event()
        self.refuses: set[str] = set()
        self.error: Exception | None = None

    async def __call__(self, key: str, things: Sequence[str]) -> None:
        self.rounds.append(list(things))
        await self.go.wait()
        if self.error is not None:
            raise self.error
        if self.refuses & set(things):
            raise Refused(f"not {self.refuses & set(things)}")


async def outcomes(batcher: Batcher[str, str], work: Work, things: str) -> dict[str, BaseException | None]:
    asked = {thing: asyncio.create_task(batcher.do("key", thing)) for thing in things}
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    work.go.set()
    await asyncio.wait(asked.values())
    return {thing: task.exception() for thing, task in asked.items()}


async def test_the_first_request_runs_at_once_and_later_ones_run_together() -> None:
    work = Work()
    batcher = Batcher(work, 10)
    first = asyncio.create_task(batcher.do("key", "a"))
    async with asyncio.timeout(60):
        while not work.rounds:
            await asyncio.sleep(0)
    assert set((await outcomes(batcher, work, "bcd")).values()) == {None}
    await first
    assert work.rounds == [["a"], ["b", "c", "d"]]


async def test_requests_of_one_turn_of_the_loop_are_batched() -> None:
    work = Work()
    await outcomes(Batcher(work, 10), work, "abcd")
    assert work.rounds == [["a", "b", "c", "d"]]


async def test_a_batch_has_a_largest_size() -> None:
    work = Work()
    await outcomes(Batcher(work, 2), work, "abcdefg")
    assert max(map(len, work.rounds)) == 2
    assert sorted(thing for round_ in work.rounds for thing in round_) == list("abcdefg")


async def test_a_refused_request_does_not_fail_the_others_of_its_batch() -> None:
    work = Work()
    work.refuses = {"c"}
    told = await outcomes(Batcher(work, 10), work, "abcd")
    assert isinstance(told.pop("c"), Refused)
    assert set(told.values()) == {None}


async def test_an_unreachable_factory_fails_the_whole_batch_at_once() -> None:
    work = Work()
    work.error = Unreachable("no answer")
    told = await outcomes(Batcher(work, 10), work, "abcd")
    assert all(isinstance(error, Unreachable) for error in told.values())
    assert len(work.rounds) <= 2


async def test_keys_do_not_wait_for_each_other() -> None:
    held, done = asyncio.Event(), []

    async def work(key: str, things: Sequence[str]) -> None:
        if key == "slow":
            await held.wait()
        done.append(key)

    batcher: Batcher[str, str] = Batcher(work, 10)
    slow = asyncio.create_task(batcher.do("slow", "x"))
    await batcher.do("quick", "y")
    assert done == ["quick"]
    assert not slow.done()
    held.set()
    await batcher.settle()
    assert slow.done()


async def test_close_ends_all_waits_while_things_are_done_one_by_one() -> None:
    alone = asyncio.Event()

    async def work(key: str, things: Sequence[str]) -> None:
        if len(things) > 1:
            raise Refused("one of them is wrong")
        alone.set()
        await asyncio.Event().wait()

    batcher: Batcher[str, str] = Batcher(work, 10)
    asked = [asyncio.create_task(batcher.do("key", thing)) for thing in "abc"]
    async with asyncio.timeout(60):
        await alone.wait()
    await batcher.close()
    await asyncio.wait(asked, timeout=10)
    assert all(task.cancelled() for task in asked)
