from __future__ import annotations

from datetime import UTC, datetime

import pytest

from factorycommon.models import NodeState
from factorylink.errors import Misread
from factorylink.schedulers.slurm import dialect as slurm
from tests.unit.slurm_output import listed, printed, recorded

WIDTHS = (48, 48, 24, 24, 14, 14, 96, 160, 20, 80)


def node(
    state: str = "mixed",
    cpus: str = "8/24/0/32",
    memory: str = "256000",
    used: str = "64000",
    gres: str = "gpu:a100:4(S:0-1)",
    gres_used: str = "gpu:a100:1(IDX:0)",
    since: str = "Unknown",
    reason: str = "none",
) -> NodeState:
    text = printed("n1", "gpu", state, cpus, memory, used, gres, gres_used, since, reason, widths=WIDTHS)
    (found,) = slurm.nodes().parse(listed(text))
    return found


def test_a_recorded_answer_about_nodes_is_read() -> None:
    nodes = {found.name: found for found in slurm.nodes().parse(recorded("nodes.stdout"))}
    assert set(nodes) == {"c1", "n1", "n2"}
    assert set(nodes["n1"].partitions) == {"gpu", "all"}
    assert (nodes["n1"].gpus, nodes["n1"].gpus_free, nodes["n1"].gpu_type) == (4, 2, "a100")
    assert (nodes["n1"].cores, nodes["n1"].cores_free) == (32, 23)
    assert (nodes["n1"].memory, nodes["n1"].memory_free) == (256_000 * 2**20, 254_000 * 2**20)
    assert (nodes["c1"].gpus, nodes["c1"].gpu_type, nodes["c1"].cores_free) == (0, None, 16)


def test_a_drained_node_has_nothing_free_and_says_why() -> None:
    drained = next(found for found in slurm.nodes().parse(recorded("nodes-drained.stdout")) if found.name == "n2")
    assert not drained.usable
    assert (drained.gpus, drained.gpus_free, drained.cores_free, drained.memory_free) == (4, 0, 0, 0)
    assert drained.reason == "disk | broken"
    assert drained.since == datetime.fromtimestamp(1795537715, UTC)


@pytest.mark.parametrize(
    ("state", "since", "told"),
    [
        ("drained", "1795537715", True), ("down*", "1795537715", True), ("idle", "1795537715", False),
        ("reserved", "1795537715", False), ("maint", "1795537715", False), ("drained", "Unknown", False),
        ("drained", "2026-11-25T10:00:00", False), ("drained", "", False),
    ],
)  # fmt: skip
def test_since_when_a_node_is_out_of_use(state: str, since: str, told: bool) -> None:
    found = node(state, since=since, reason="broken")
    assert found.since == (datetime.fromtimestamp(1795537715, UTC) if told else None)


@pytest.mark.parametrize(
    ("state", "usable", "planned"),
    [
        ("idle", True, False), ("mixed", True, False), ("allocated+", True, False), ("idle~", True, False),
        ("mixed-", True, True), ("planned", True, True), ("completing", True, False),
        ("idle*", False, False), ("down", False, False), ("down*", False, False), ("drained", False, False),
        ("draining", False, False), ("reserved", False, False), ("maint", False, False), ("mixed$", False, False),
        ("idle%", False, False), ("unknown", False, False), ("inval", False, False), ("future", False, False),
    ],
)  # fmt: skip
def test_states_of_nodes_are_mapped(state: str, usable: bool, planned: bool) -> None:
    found = node(state)
    assert (found.usable, found.planned) == (usable, planned)
    assert found.gpus_free == (3 if usable else 0)
    assert bool(found.reason) == (not usable)


@pytest.mark.parametrize(
    ("gres", "used", "total", "free", "kind"),
    [
        ("gpu:4", "gpu:1(IDX:2)", 4, 3, None),
        ("gpu:4(S:0-1)", "gpu:0", 4, 4, None),
        ("gpu:a100:4(S:0-1)", "gpu:a100:0(IDX:N/A)", 4, 4, "a100"),
        ("gpu:a100:2(S:0),gpu:h100:2(S:1)", "gpu:a100:1(IDX:0),gpu:h100:2(IDX:2-3)", 4, 1, None),
        ("shard:8,gpu:4", "shard:2(0/2,0/2),gpu:1(IDX:0)", 4, 3, None),
        ("gpu:1g.10gb:7", "gpu:1g.10gb:7(IDX:0-6)", 0, 0, None),
        ("(null)", "(null)", 0, 0, None),
        ("nvme:2", "nvme:0", 0, 0, None),
    ],
)
def test_gpus_of_a_node_are_counted(gres: str, used: str, total: int, free: int, kind: str | None) -> None:
    found = node(gres=gres, gres_used=used)
    assert (found.gpus, found.gpus_free, found.gpu_type) == (total, free, kind)


def test_an_unparsable_answer_about_nodes_is_misread() -> None:
    with pytest.raises(Misread):
        node(cpus="8/24")


def test_memory_that_is_not_counted_is_free() -> None:
    assert node(used="N/A").memory_free == 256_000 * 2**20
