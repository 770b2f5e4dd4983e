"""Turns to submit a job: at the factory's rate, and one person after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorylink.site.submission_turns import SubmissionTurns
from factorylink.util.rate_limiter import MINUTE, TurnRateLimiter
from tests.unit import virtual_time

PER_MINUTE = 20
GREEDY, OTHERS = "greedy", tuple(f"p{number}" for number in range(59))


@pytest.fixture
def loop() -> Iterator[virtual_time.JumpingLoop]:
    made = virtual_time.JumpingLoop()
    yield made
    made.close()


async def taken(turns: SubmissionTurns, wanted: list[tuple[str, int]], after: float = 0.0) -> list[tuple[float, str]]:
    """Have people ask for that many turns each, all at once; return the time and the person of each turn, in order.

    ``after``: how many seconds later they ask.
    """
    got: list[tuple[float, str]] = []
    ticks = asyncio.get_running_loop().time

    async def one(person: str) -> None:
        await turns.take(person)
        got.append((ticks(), person))

    await asyncio.sleep(after)
    await asyncio.gather(*(one(person) for person, number in wanted for _ in range(number)))
    return got


def test_one_person_s_many_jobs_do_not_delay_those_of_sixty(loop: virtual_time.JumpingLoop) -> None:
    """A participant asks for a hundred groups of workers; then the class starts its sessions."""

    async def both() -> tuple[list[tuple[float, str]], list[tuple[float, str]]]:
        turns = SubmissionTurns(PER_MINUTE)
        first = asyncio.create_task(taken(turns, [(GREEDY, 100)]))
        rest = await taken(turns, [(person, 1) for person in OTHERS], after=10)
        return rest, await first

    rest, greedy = loop.run_until_complete(both())
    last = max(at for at, _ in rest)
    # As soon as without the other's jobs, but for the minute that those had begun, and one turn among the sixty.
    assert last - 10 <= (len(OTHERS) + 1) / PER_MINUTE * 60 + MINUTE
    assert len([at for at, _ in greedy if 10 < at <= last]) <= 3
    assert len(greedy) == 100


def test_who_has_one_job_waits_for_one_turn_of_each_other(loop: virtual_time.JumpingLoop) -> None:
    async def both() -> tuple[list[tuple[float, str]], list[tuple[float, str]]]:
        turns = SubmissionTurns(PER_MINUTE)
        first = asyncio.create_task(taken(turns, [("ada", 50), ("ben", 50)]))
        return await taken(turns, [("eve", 1)], after=100), await first

    ((at, _),), others = loop.run_until_complete(both())
    assert sum(100 < one < at for one, _ in others) <= 2


def test_a_turn_that_nobody_waits_for_any_more_goes_to_the_next(loop: virtual_time.JumpingLoop) -> None:
    async def some() -> list[tuple[float, str]]:
        turns = SubmissionTurns(3)
        assert len(await taken(turns, [("ada", 1)])) == 1
        gone = [asyncio.create_task(turns.take("ada")) for _ in range(5)]
        waits = asyncio.create_task(taken(turns, [("ben", 1), ("ada", 1)]))
        await asyncio.sleep(1)
        for one in gone:
            one.cancel()
        return await waits

    got = loop.run_until_complete(some())
    assert sorted(person for _, person in got) == ["ada", "ben"]
    assert got[-1][0] <= 45  # two turns later, as if the others had never asked


def test_closed_turns_wake_nobody(loop: virtual_time.JumpingLoop) -> None:
    async def some() -> bool:
        turns = SubmissionTurns(1)
        await turns.take("ada")
        waits = asyncio.create_task(turns.take("ada"))
        await asyncio.sleep(1)
        turns.close()
        await asyncio.sleep(2 * MINUTE)
        waits.cancel()
        return not waits.done()

    assert loop.run_until_complete(some())


@given(
    per_minute=st.integers(1, 100),
    wanted=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 30)), min_size=1, max_size=4),
    earlier=st.lists(st.floats(-10, 100), max_size=30),
)
def test_turns_of_several_people_keep_the_rate_of_one(
    per_minute: int, wanted: list[tuple[str, int]], earlier: list[float]
) -> None:
    loop = virtual_time.JumpingLoop()
    try:

        async def all_turns() -> list[tuple[float, str]]:
            await asyncio.sleep(1000)
            turns = SubmissionTurns(per_minute)
            turns.count_earlier(earlier)
            return await taken(turns, wanted)

        got = loop.run_until_complete(all_turns())
    finally:
        loop.close()
    alone = TurnRateLimiter(per_minute)
    for ago in sorted((one for one in earlier if 0 <= one < MINUTE), reverse=True):
        alone.take(1000 - ago)
    due = [1000 + alone.take(1000.0) for _ in got]
    assert [at for at, _ in got] == pytest.approx(due)
