"""The link's resolution of a choice and its cost: presets, bounds, prices, charges of ended sessions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from factorycommon.models import (
    Accelerator,
    Amount,
    Bounds,
    Choice,
    Cost,
    Environment,
    Factory,
    JobState,
    NodeSize,
    Partition,
    Price,
)
from factorylink.catalogue.choices import offer, resolve, session_bounds
from factorylink.catalogue.prices import price
from factorylink.util import clock
from tests.unit.fake_factory import ID, SIZE, factory
from tests.unit.fake_hub import Link, served

FOUR = SIZE.model_copy(update={"id": "gpu-4", "gpus": 4, "cores": 16, "memory_gb": 64, "billed_as": ""})
CPU = NodeSize(id="cpu", gpus=0, cores=2, memory_gb=4, partition="gpu", max_hours=0.2)
TORCH = Environment(id="torch", title="PyTorch", kind="venv", python="/e", sizes=("gpu-4", "gpu-1"))


def shop(unit: str = "GPU") -> Factory:
    accelerator = Accelerator(vendor="AMD", model="MI250X", per_node=8, unit=unit)
    partition = Partition(name="gpu", max_hours=24, accelerator=accelerator)
    one = factory()
    return one.model_copy(update={
        "sizes": (SIZE, FOUR, CPU), "partitions": (partition,), "environments": (TORCH, *one.environments),
        "default_environment": "torch",
    })  # fmt: skip


@pytest.mark.parametrize(
    ("billed_as", "gpu_hours", "own"),
    [
        ("", 1, None),
        ("whatever is asked for", 1, None),
        ("2 GPUs", 2, None),
        ("1 GPU-h", 1, None),
        ("0.5 GPU-hours per hour", 0.5, None),
        ("1/4 node-hour per hour", 1, Amount(amount=0.25, unit="node-hour")),
        ("128 SBU per hour", 1, Amount(amount=128, unit="SBU")),
        ("1/0 node-hour per hour", 1, None),
    ],
)
def test_a_price_is_read_from_what_the_catalogue_says_else_from_the_gpus(
    billed_as: str, gpu_hours: float, own: Amount | None
) -> None:
    found = price(shop(), SIZE.model_copy(update={"billed_as": billed_as}))
    assert (found.gpu_hours, found.counted, found.own) == (gpu_hours, 1, own)


@pytest.mark.parametrize(
    ("size", "billed_as", "unit", "charged_for", "number"),
    [
        (SIZE, "", "GPU", "gpus", 1),
        (SIZE, "0.5 GPU-hours per hour", "GCD", "part", 0.5),
        (SIZE, "8 GPUs", "GPU", "whole-node", 8),
        (FOUR, "", "GPU", "gpus", 4),
        (FOUR.model_copy(update={"whole_node": True}), "", "GPU", "whole-node", 8),
        (CPU, "1 core-hour per hour", "GPU", "cores", 2),
    ],
)
def test_a_price_says_what_is_charged_for(
    size: NodeSize, billed_as: str, unit: str, charged_for: str, number: float
) -> None:
    found = price(shop(unit), size.model_copy(update={"billed_as": billed_as}))
    assert (found.charged_for, found.number) == (charged_for, number)


def test_an_offer_says_what_fits_and_what_is_preset() -> None:
    gpu, cpu = offer(shop(), SIZE), offer(shop(), CPU)
    assert (gpu.environments, gpu.environment) == (("torch", "plain"), "torch")
    assert (cpu.environments, cpu.environment) == (("plain",), "plain")
    assert (gpu.hours, cpu.hours) == (Bounds(least=0.25, most=8, preset=1), Bounds(least=0.2, most=0.2, preset=0.2))
    assert [gpu.hours.nearest(hours) for hours in (None, 0, 3, 99)] == [1, 0.25, 3, 8]
    assert (cpu.nearest_environment("torch"), gpu.nearest_environment("plain")) == ("plain", "plain")


@pytest.mark.parametrize("size", [SIZE, FOUR, CPU], ids=lambda size: size.id)
def test_presets_are_what_a_start_uses_without_a_choice(size: NodeSize) -> None:
    shown, bounds = offer(shop(), size), session_bounds(shop())
    taken = resolve(shop(), Choice(size=size.id))
    assert (taken.environment, taken.hours, taken.idle_minutes, taken.unopened_minutes) == (
        shown.environment, shown.hours.preset, bounds.idle_minutes.preset, bounds.unopened_minutes.preset)  # fmt: skip
    assert taken.give_up_hours == bounds.give_up_hours.preset


# --- over the API


@pytest_asyncio.fixture
async def link(tmp_path: Path) -> AsyncIterator[Link]:
    async with served(tmp_path) as made:
        place = made.world.factories["one"]
        more = place.factory.model_copy(update={"sizes": (SIZE, FOUR)})
        made.world.factories.offered = {"one": replace(place, factory=more)}
        yield made


async def asked(link: Link, token: str = "ada-token", **wanted: object) -> tuple[int, dict[str, object]]:
    answer = await link.people.get("/api/choice", params=wanted, headers={"Authorization": f"Bearer {token}"})
    return answer.status_code, answer.json()


async def test_an_empty_choice_is_answered_as_a_start_would_take_it(link: Link) -> None:
    code, told = await asked(link)
    assert code == 200
    session = await link.world.put()
    assert told["choice"] == session.choice.model_dump(mode="json")
    assert told["cost"] == {"gpu_hours": 1, "counted": 1, "own": None}
    assert told["machine"] == "m"


async def test_the_cost_is_of_the_hours_as_a_scheduler_counts_them(link: Link) -> None:
    _, told = await asked(link, size="gpu-4", hours=1.001)
    assert told["cost"] == {"gpu_hours": 4 * 61 / 60, "counted": 4 * 61 / 60, "own": None}


@pytest.mark.parametrize(
    ("wanted", "code", "words"),
    [
        ({"cores": 2, "memory_gb": 7.5}, 200, "gpu-1"),
        ({"cores": 2, "memory_gb": 9}, 200, "gpu-4"),
        ({"cores": 17}, 400, "No node size of m has 17 cores and 0 GB for 0 h; it has: gpu-1 (4 cores, 8 GB), gpu-4"),
        ({"size": "gpu-1", "memory_gb": 9}, 400, "gpu-1 has 4 cores and 8 GB, less than was asked for."),
        ({"size": "gpu-8"}, 400, "Unknown node size 'gpu-8'"),
        ({"hours": 9}, 400, "9 h is above the limit"),
        ({"hours": 0}, 400, "hours"),
        ({"factory": "nowhere"}, 400, "Unknown factory 'nowhere'"),
        ({"environment": "none"}, 400, "Unknown environment 'none'"),
    ],
)
async def test_a_choice_is_answered_or_refused_in_words(
    link: Link, wanted: dict[str, object], code: int, words: str
) -> None:
    answered, told = await asked(link, **wanted)
    assert answered == code
    assert words in str(told["choice"]["size"] if code == 200 else told["message"])  # type: ignore[index]
    assert link.world.scheduler.submitted == []


async def test_a_session_chooses_for_its_own_factory_only(link: Link) -> None:
    await link.world.put()
    token = link.hub.session_token("ada")
    assert (await asked(link, token))[0] == 200
    assert (await asked(link, token, factory="two"))[0] == 403


async def test_an_ended_session_says_what_all_its_runs_were_charged(link: Link) -> None:
    world = link.world
    session = await world.put(size="gpu-4", hours=4)
    assert session.job is not None
    world.scheduler.runs(session.job)
    world.scheduler.set(session.job, started=clock.now() - timedelta(minutes=90))
    await world.scheduler.answer()
    await world.until(state="starting")
    world.scheduler.set(session.job, state=JobState.PENDING, nodes=(), started=None, restarts=1)
    await world.scheduler.answer()
    await world.until(state="pending")
    await world.sessions.stop(session.id, "person")
    ended = await world.answered_until(state="ended")
    assert ended.started is None  # its last run never started
    assert ended.charged is not None
    assert ended.charged.gpu_hours == pytest.approx(4 * 1.5, abs=0.1)
    assert world.live_sessions.ended(session.id).charged == ended.charged  # the stream of its events shows the same
    assert (await link.client.sessions("ada", live=False))[0].charged == ended.charged


async def test_a_session_that_never_ran_was_charged_nothing(link: Link) -> None:
    await link.world.put()
    await link.world.sessions.stop(ID, "person")
    ended = await link.world.answered_until(state="ended")
    assert ended.charged == Cost(gpu_hours=0, counted=0)


def test_a_price_of_a_job_is_that_of_an_hour_times_its_hours() -> None:
    hour = Price(gpu_hours=2, counted=4, own=Amount(amount=0.5, unit="node-hour"), charged_for="gpus", number=2)
    cost = hour.of(timedelta(minutes=90).total_seconds())
    assert cost.model_dump() == {"gpu_hours": 3, "counted": 6, "own": {"amount": 0.75, "unit": "node-hour"}}
