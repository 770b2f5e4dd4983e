"""``factorygate catalogue diff`` against a running Slurm: an entry that fits, and each seeded mistake."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from factorylink.models import Factory
from factorylink.site_answers import QUESTIONS, differences
from testbed import cluster
from tests.support.trial import FACTORY

pytestmark = pytest.mark.slurm

RIGHT = Factory.model_validate({**FACTORY.model_dump(), "constraint": "a100x64"})
# The testbed has no accounting database, so this one answer is as sacctmgr prints it.
QOS = "normal|\ndebug|00:30:00\nlong|4-00:00:00\n"


@pytest.fixture(scope="module")
def answers() -> Iterator[dict[str, str]]:
    folder = Path(tempfile.mkdtemp(prefix="factorygate-diff-"))
    folder.chmod(0o755)
    found = cluster.up(RIGHT, folder, gpu_nodes=1)
    asked = {what: found.run(*argv) for what, argv in QUESTIONS.items() if what != "qos"}
    assert [answer.stderr for answer in asked.values() if answer.returncode] == []
    yield {"qos": QOS, **{what: answer.stdout for what, answer in asked.items()}}
    found.down()
    shutil.rmtree(folder)


def seeded(**changes: Any) -> Factory:
    return Factory.model_validate({**RIGHT.model_dump(), **changes})


def partition(which: str, **changes: Any) -> dict[str, Any]:
    told = [each.model_dump() for each in RIGHT.partitions]
    return {"partitions": [{**each, **(changes if each["name"] == which else {})} for each in told]}


def test_an_entry_that_fits_has_no_difference(answers: dict[str, str]) -> None:
    assert differences(RIGHT, answers) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (partition("spare", name="spair"),
         "partitions.spair: the site has no such partition; it has: cpu, shared, spare"),
        (partition("whole", max_hours=3), "partitions.whole.max_hours: the entry says 3 h, the site 2 h"),
        (partition("shared", default_hours=2), "partitions.shared.default_hours: the entry says 2 h, the site 0.5 h"),
        (partition("shared", max_nodes=4), "partitions.shared.max_nodes: the entry says 4, the site UNLIMITED"),
        (partition("spare", whole_node_only=True), "partitions.spare.whole_node_only: the entry says yes, the site no"),
        (partition("cpu", preempt_requeue=True), "partitions.cpu.preempt_requeue: the entry says yes, the site OFF"),
        (partition("cpu", shape={"cores": 96, "memory_gb": 512}),
         "partitions.cpu: cores of a node: the entry says 96, the site 112"),
        (partition("cpu", shape={"cores": 112, "memory_gb": 256}),
         "partitions.cpu: memory of a node: the entry says 256 GB, the site 524288 MiB"),
        ({"accelerator": {**RIGHT.accelerator.model_dump(), "per_node": 8}},
         "partitions.shared: GPUs of a node: the entry says 8, the site 4"),
        ({"accelerator": {**RIGHT.accelerator.model_dump(), "gres_type": "h100"}},
         "partitions.shared: type of a GPU: the entry says h100, the site a100"),
        ({"constraint": "h100"}, "constraint: the entry says h100, the site nodes with: a100x64"),
        ({"qos": [{"name": "debug"}, {"name": "quick", "max_hours": 1}]},
         "qos.quick: the site has no such QOS; it has: debug, long, normal"),
        ({"qos": [{"name": "debug", "max_hours": 2}]}, "qos.debug.max_hours: the entry says 2 h, the site 0.5 h"),
        ({"node": {"cores": 64, "memory_gb": 490},
          "sizes": [{**RIGHT.sizes[0].model_dump(), "cores": 48}]},
         "sizes.gpu-1: no node of partition shared has 1 GPU, 48 cores, 122 GB"),
    ],
)  # fmt: skip
def test_each_mistake_is_found(answers: dict[str, str], changes: dict[str, Any], expected: str) -> None:
    found = differences(seeded(**changes), answers)
    assert [line for line in found if line.startswith(expected)], found


def test_only_what_was_answered_is_compared(answers: dict[str, str]) -> None:
    wrong = seeded(**partition("whole", max_hours=3))
    assert differences(wrong, {"qos": answers["qos"]}) == []


@pytest.mark.parametrize(
    ("what", "text"),
    [("partitions", "Partition gpu not found\n"), ("nodes", "PARTITION AVAIL\n"), ("qos", "debug|soon\n")],
)
def test_what_is_not_understood_is_said(answers: dict[str, str], what: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"is not what|is no time"):
        differences(seeded(qos=[{"name": "debug", "max_hours": 2}]), {**answers, what: text})
