from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorycommon.models import Factory, NodeState
from factorylink.errors import Misread
from factorylink.schedulers.command import Output
from factorylink.schedulers.pbs import dialect as pbs
from factorylink.site import availability
from tests.unit.pbs_output import recorded
from tests.unit.site_fakes import factory

REAL = recorded("pbsnodes-json").stdout + recorded("qstat-queues-json").stdout
GB = 2**30


def read(nodes: dict[str, Any], queues: dict[str, Any] | None = None) -> list[NodeState]:
    queues = {"workq": {"queue_type": "Execution"}} if queues is None else queues
    text = "\n".join(json.dumps(one, indent="\t") for one in ({"nodes": nodes}, {"Queue": queues}))
    return pbs.nodes().parse(Output(text, "", 0))


def node(state: str = "free", available: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    has = {"host": "n1", "mem": "512gb", "ncpus": 96, "ngpus": 4} if available is None else available
    taken = {"mem": f"{100 * 2**20}kb", "ncpus": 24, "ngpus": 1}
    return {"state": state, "resources_available": has, "resources_assigned": taken, **changes}


def test_a_recorded_answer_of_pbsnodes_is_read() -> None:
    (found,) = pbs.nodes().parse(Output(REAL, "", 0))
    assert (found.name, found.partitions, found.usable) == ("vm", ("workq", "interactive"), True)
    assert (found.cores, found.cores_free, found.gpus, found.gpus_free) == (96, 0, 4, 0)
    assert (found.memory, found.memory_free) == (512 * GB, 112 * GB)


@pytest.mark.parametrize(
    ("state", "usable", "free"),
    [
        ("free", True, 72), ("job-busy", True, 72), ("job-exclusive", True, 0), ("sleep", True, 72),
        ("down", False, 0), ("offline", False, 0), ("state-unknown,down", False, 0), ("free,offline", False, 0),
        ("resv-exclusive", False, 0), ("maintenance", False, 0), ("stale", False, 0), ("provisioning", False, 0),
        ("job-exclusive,offline", False, 0), ("something new", False, 0),
    ],
)  # fmt: skip
def test_states_of_nodes_are_mapped(state: str, usable: bool, free: int) -> None:
    (found,) = read({"n1": node(state)})
    assert (found.usable, found.cores_free, bool(found.reason)) == (usable, free, not usable)
    assert found.gpus_free == (3 if free else 0)


def test_why_a_node_is_offline() -> None:
    (found,) = read({"n1": node("offline", comment="disk broken")})
    assert found.reason == "disk broken"


@pytest.mark.parametrize(
    ("state", "told"),
    [("offline", True), ("down,offline", True), ("maintenance", True), ("free", False), ("resv-exclusive", False)],
)
def test_since_when_a_node_is_out_of_use(state: str, told: bool) -> None:
    (found,) = read({"n1": node(state, last_state_change_time=1795531205)})
    assert found.since == (datetime.fromtimestamp(1795531205, UTC) if told else None)
    (found,) = read({"n1": node(state)})
    assert found.since is None


def test_vnodes_of_a_host_are_one_node() -> None:
    (found,) = read({f"n1[{n}]": node() for n in range(2)})
    assert (found.name, found.cores, found.cores_free, found.gpus_free, found.memory) == ("n1", 192, 144, 6, 1024 * GB)
    (found,) = read({"n1[0]": node(), "n1[1]": node("offline")})
    assert (found.usable, found.reason) == (False, "offline")


def test_queues_find_their_nodes_by_a_resource() -> None:
    """Recorded output: each queue has ``default_chunk.Qlist``, and the only node of ``cpuq`` is offline."""
    told = recorded("pbsnodes-qlist-offline-json").stdout + recorded("qstat-queues-qlist-json").stdout
    found = pbs.nodes().parse(Output(told, "", 0))
    assert {node.name: (node.partitions, node.usable) for node in found} == {
        "cpu001": (("workq", "cpuq"), False),  # workq selects no nodes
        "gpu001": (("workq", "interactive", "test"), True),
        "gpu002": (("workq", "interactive", "test"), True),
    }
    cpu = Factory.model_validate({
        **factory().model_dump(),
        "partitions": [{"name": "cpuq", "max_hours": 8, "gpus": False, "shape": {"cores": 64, "memory_gb": 256}}],
        "sizes": [{"id": "cpu", "gpus": 0, "cores": 4, "memory_gb": 8, "partition": "cpuq", "max_hours": 8}],
    })  # fmt: skip
    assert availability.fits(cpu, found, cpu.sizes[0]) == 0
    (load,) = availability.loads(cpu, found, {})
    assert (load.gpus_total, load.cores_total, load.cores_free) == (0, 64, 0)


@pytest.mark.parametrize(
    ("chunk", "has", "serves"),
    [
        ({"ncpus": 1, "mem": "2gb", "ngpus": "1"}, {}, True),  # amounts select no nodes
        ({"Qlist": "workq"}, {"Qlist": "a,workq"}, True),
        ({"Qlist": "workq"}, {"Qlist": "work"}, False),
        ({"Qlist": "workq"}, {}, False),
        ({"Qlist": "workq", "fast": "True"}, {"Qlist": "workq", "fast": "True"}, True),
        ({"Qlist": "workq", "fast": "True"}, {"Qlist": "workq", "fast": "False"}, False),
    ],
)
def test_a_chunk_of_a_queue_chooses_nodes(chunk: dict[str, object], has: dict[str, str], serves: bool) -> None:
    nodes = {"n1": node(available={"host": "n1", "ncpus": 8, **has})}
    (found,) = read(nodes, {"workq": {"queue_type": "Execution", "default_chunk": chunk}})
    assert found.partitions == (("workq",) if serves else ())


def test_queues_with_nodes_of_their_own() -> None:
    nodes = {"n1": node(), "n2": node(available={"host": "n2", "ncpus": 8}, queue="gpu")}
    queues = {
        "workq": {"queue_type": "Execution"}, "gpu": {"queue_type": "Execution", "hasnodes": "True"},
        "default": {"queue_type": "Route"},
    }  # fmt: skip
    found = {one.name: one for one in read(nodes, queues)}
    assert (found["n1"].partitions, found["n2"].partitions) == (("workq",), ("gpu",))
    assert (found["n2"].gpus, found["n2"].memory) == (0, 0)


@given(st.integers(min_value=0))
def test_a_cut_answer_is_misread(at: int) -> None:
    whole = REAL.rstrip()
    with pytest.raises(Misread):
        pbs.nodes().parse(Output(whole[: at % len(whole)], "", 0))


@pytest.mark.parametrize(
    "changes", [{"state": None}, {"resources_available": 1}, {"resources_available": {"mem": "much"}}]
)
def test_an_unparsable_answer_about_nodes_is_misread(changes: dict[str, Any]) -> None:
    with pytest.raises(Misread):
        read({"n1": node() | changes})
