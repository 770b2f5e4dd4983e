"""Connection checks that people send to their workshop: who may send and see them, and what is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from factorycommon.service.problems import ProblemError
from tests.unit.serving import serving
from tests.unit.workshops_world import OPERATOR, OTTO, PAUL, TINA, WorkshopsWorld, workshops_world
from workshops import checks
from workshops.api.hub import hub_app
from workshops.client import WorkshopsClient
from workshops.models.callers import WorkshopCaller
from workshops.models.checks import CheckBody, CheckTests
from workshops.store import check_table

GOOD: dict[str, Any] = dict.fromkeys(CheckTests.model_fields, "good")


def sent(**verdicts: str) -> CheckBody:
    return CheckBody(tests=CheckTests.model_validate({**GOOD, **verdicts}))


async def with_people(world: WorkshopsWorld, *names: str) -> str:
    """Make a workshop of tina's in which these people have seats; return its slug."""
    slug = (await world.scheduled()).slug
    for name in names:
        await world.workshops.put_member(TINA, slug, name, "participant")
    return slug


@pytest.mark.parametrize(
    ("verdicts", "overall"),
    [
        ({}, "good"),
        ({"stream": "limited"}, "limited"),
        ({"stream": "limited", "upload": "unknown"}, "unknown"),
        ({"stream": "limited", "upload": "unknown", "socket": "bad"}, "bad"),
    ],
)
def test_all_tests_together_are_as_good_as_the_worst_one(verdicts: dict[str, str], overall: str) -> None:
    assert sent(**verdicts).tests.overall == overall


async def test_trainers_see_how_many_have_checked_and_who_has_a_problem(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slug = await with_people(world, "ada", "ben", "cleo", "dan", "eve")
        await world.workshops.put_check(WorkshopCaller("ada"), slug, sent())
        await world.workshops.put_check(WorkshopCaller("ben"), slug, sent(socket="bad"))
        await world.workshops.put_check(WorkshopCaller("cleo"), slug, sent(stream="limited"))
        await world.workshops.put_check(WorkshopCaller("dan"), slug, sent(stream="limited", upload="unknown"))
        await world.workshops.put_check(TINA, slug, sent(socket="bad"))  # who runs the class is not counted
        seen = await world.workshops.checks(TINA, slug)
        assert (seen.people, seen.checked, seen.problems, seen.untested, seen.limited) == (5, 4, 1, 1, 1)
        assert [(one.person, one.verdict) for one in seen.each] == [
            ("ben", "bad"), ("dan", "unknown"), ("cleo", "limited"), ("ada", "good"),
        ]  # fmt: skip
        world.clock.forward(hours=1)
        await world.workshops.put_check(WorkshopCaller("ben"), slug, sent())  # from another network
        seen = await world.workshops.checks(OPERATOR, slug)
        assert (seen.checked, seen.problems, seen.each[-1].at) == (4, 0, world.clock.at)
        await world.workshops.drop_member(TINA, slug, "ben")
        assert (await world.workshops.checks(TINA, slug)).checked == 3


async def test_only_people_of_the_workshop_send_and_only_who_runs_it_sees(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slug = await with_people(world, "paul")
        await world.workshops.put_check(PAUL, slug, sent())
        for caller, status in ((PAUL, 403), (OTTO, 404)):
            with pytest.raises(ProblemError) as refused:
                await world.workshops.checks(caller, slug)
            assert refused.value.status == status
        for caller, status in ((OTTO, 404), (OPERATOR, 403)):
            with pytest.raises(ProblemError) as refused:
                await world.workshops.put_check(caller, slug, sent())
            assert refused.value.status == status
        assert (await world.workshops.checks(TINA, slug)).checked == 1


async def test_only_verdicts_are_taken_and_kept_and_they_go_with_the_people(tmp_path: Path) -> None:
    assert set(check_table.checks.c.keys()) == {"workshop", "person", "at", "tests"}
    async with workshops_world(tmp_path) as world:
        slug = await with_people(world, "paul")
        socket = tmp_path / "w.sock"
        async with serving(hub_app(world.workshops, world.joining), socket):
            client = WorkshopsClient(socket)
            await client.put_check(PAUL, slug, sent(upload="unknown"))
            assert (await client.checks(TINA, slug)).each[0].tests.upload == "unknown"
            await client.close()
            transport = httpx.AsyncHTTPTransport(uds=str(socket))
            async with httpx.AsyncClient(transport=transport, base_url="http://workshops") as http:
                for tests in ({**GOOD, "agent": "Mozilla"}, {**GOOD, "socket": "<img>"}, {"socket": "good"}):
                    answer = await http.put(f"/workshops/{slug}/check", params={"as": "paul"}, json={"tests": tests})
                    assert answer.status_code == 400, answer.text
        await world.workshops.take(TINA, slug, "cancel")
        world.clock.forward(days=31)
        await world.clockwork.look()
        assert await checks.of(world.store, slug) == []
