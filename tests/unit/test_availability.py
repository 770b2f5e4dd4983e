from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from factorycommon.models import Factory, Job, JobState, NodeSize, NodeState
from factorylink.site import availability
from tests.unit.site_fakes import factory

GB = 10**9


def node(name: str = "n1", **changes: object) -> NodeState:
    fields: dict[str, object] = {
        "name": name, "partitions": ("gpu",), "usable": True, "cores": 32, "cores_free": 32, "memory": 256 * GB,
        "memory_free": 256 * GB, "gpus": 4, "gpus_free": 4, "gpu_type": "a100",
    }  # fmt: skip
    return NodeState.model_validate(fields | changes)


def size(factory: Factory, name: str) -> NodeSize:
    return next(found for found in factory.sizes if found.id == name)


@pytest.mark.parametrize(
    ("nodes", "one", "full", "cpu"),
    [
        ([node()], 4, 1, 8),
        ([node(), node("n2")], 8, 2, 16),
        ([node(gpus_free=1)], 1, 0, 8),
        ([node(cores_free=9)], 1, 0, 2),
        ([node(memory_free=130 * GB)], 2, 0, 8),
        ([node(usable=False)], 0, 0, 0),
        ([node(planned=True)], 0, 0, 0),
        ([node(gpu_type="v100")], 0, 0, 8),
        ([node(gpu_type=None)], 4, 1, 8),
        ([node(partitions=("other",))], 0, 0, 0),
        ([node(gpus_free=2), node("n2", gpus_free=2)], 4, 0, 16),  # never across nodes
        ([], 0, 0, 0),
    ],
)
def test_the_number_of_sessions_that_fit_is_counted_per_node(
    nodes: list[NodeState], one: int, full: int, cpu: int
) -> None:
    site = factory()
    got = [availability.fits(site, nodes, size(site, name)) for name in ("one", "full", "cpu")]
    assert got == [one, full, cpu]


def test_loads_count_down_nodes_in_the_totals_only() -> None:
    nodes = [node(gpus_free=3, cores_free=10), node("n2", usable=False, gpus_free=0, cores_free=0)]
    (load,) = availability.loads(factory(), nodes, {"gpu": [(1, "1"), (1, "2")], "other": [(1, "3")]})
    assert (load.gpus_total, load.gpus_free, load.cores_total, load.cores_free, load.pending) == (8, 3, 64, 10, 2)


def job(id: str, priority: int, partition: str = "gpu", state: JobState = JobState.PENDING) -> Job:
    return Job(
        id=id, name="n", account="a", comment="c", state=state, raw_state="X", priority=priority, partition=partition
    )


def places(waiting: availability.Waiting, *ours: Job) -> list[int | None]:
    positions = availability.Positions(availability.Queue(waiting), ours)
    return [positions.of(found) for found in ours]


WAITING = {"gpu": [(50, "9"), (10, "8"), (10, "10")], "cpu": [(99, "7")]}


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        (job("9", 50), 1),
        (job("8", 10), 2),
        (job("10", 10), 3),
        (job("12", 60), 1),
        (job("12", 10), 4),
        (job("12", 5, "gpu,cpu"), 2),  # its best place
        (job("12", 5, "nowhere"), 1),
        (job("9", 50, state=JobState.RUNNING), None),
    ],
)
def test_a_position_counts_the_jobs_of_all_people(ours: Job, expected: int | None) -> None:
    assert places(WAITING, ours) == [expected]


def test_positions_count_ours_that_are_newer_than_the_survey() -> None:
    assert places(WAITING, job("11", 10), job("12", 10), job("13", 60)) == [5, 6, 1]
    assert places({}, job("1", 5), job("2", 9), job("3_7", 5), job("4", 99, state=JobState.RUNNING)) == [2, 1, 3, None]


def test_positions_leave_out_ours_that_wait_no_more() -> None:
    started = job("9", 0, state=JobState.RUNNING)  # its priority was different while it waited
    assert places(WAITING, started, job("8", 10), job("10", 10)) == [None, 1, 2]


def test_positions_leave_out_ours_that_the_newer_answer_lacks() -> None:
    """PBS does not list jobs that were cancelled."""
    ours = (job("10", 10),)
    assert availability.Positions(availability.Queue(WAITING), ours).of(ours[0]) == 3
    assert availability.Positions(availability.Queue(WAITING), ours, {"9", "4711"}).of(ours[0]) == 2


def test_loads_say_since_when_so_many_nodes_are_out_of_use() -> None:
    begin = datetime(2026, 11, 25, tzinfo=UTC)
    out = [node(f"n{hour}", usable=False, since=begin + timedelta(hours=hour)) for hour in (1, 2)]
    (load,) = availability.loads(factory(), [*out, node("n3"), node("n4", usable=False)], {})
    assert (load.nodes_out, load.out_since) == (2, begin + timedelta(hours=2))
    (load,) = availability.loads(factory(), [node()], {})
    assert (load.nodes_out, load.out_since) == (0, None)
