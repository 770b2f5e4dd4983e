"""``factorygate catalogue check`` and ``diff``, run as by an operator on a login node of a Slurm with accounts.

The tests use an entry without mistakes, and an entry with each possible mistake.
"""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from factorycommon.models import Factory
from factorylink.catalogue.site_answers import QUESTIONS
from factorylink.cli import main as cli
from testbed.install import environments as install
from testbed.slurm import cluster
from testbed.slurm.cluster import SlurmCluster
from tests.support.trial import CHECKOUT

pytestmark = [pytest.mark.slurm, pytest.mark.root]

CATALOGUE = CHECKOUT / "hub_config" / "factories"
ID = "it4lia"
Entry = dict[str, Any]


def right() -> Entry:
    """Return Leonardo's entry, with features of other sites added."""
    entry = json.loads(json.dumps(yaml.safe_load((CATALOGUE / f"{ID}.yaml").read_text()), default=str))
    entry["accelerator"]["gres_type"] = "a100"
    entry["constraint"] = "a100x64"
    entry["qos_mandatory"] = True
    entry["partitions"] = [
        {"name": "boost_usr_prod", "max_hours": 24, "default_hours": 0.5},
        {"name": "whole", "max_hours": 2, "whole_node_only": True},
        {"name": "spare", "max_hours": 24, "preempt_requeue": True},
        {"name": "cpu", "max_hours": 4, "gpus": False, "shape": {"cores": 112, "memory_gb": 512}},
    ]
    entry["qos"][1] |= {"max_cores": 40, "max_gpus": 8, "max_jobs": 2}
    entry["qos"][3] |= {"group_gpus": 16}
    entry["said"].append({"sure": "ours", "of": ["constraint", "qos_mandatory"]})
    return dict(entry)


@pytest.fixture(scope="module")
def site() -> Iterator[SlurmCluster]:
    folder = Path(tempfile.mkdtemp(prefix="factorygate-diff-"))
    folder.chmod(0o755)
    packages = install.program_folder() / "slurm"
    found = cluster.up(Factory.model_validate(right()), folder, packages, gpu_nodes=1, accounting=True)
    yield found
    found.down()
    shutil.rmtree(folder)


class Operator:
    """An operator on the login node, with their own catalogue."""

    def __init__(self, folder: Path, site: SlurmCluster, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._site = site
        self._capsys = capsys

    def __call__(self, *words: str, entry: Entry | None = None) -> tuple[int, list[str]]:
        """Run ``factorygate catalogue`` with ``entry``, or with ``right()``.

        Return the exit code, and the lines of stdout and then of stderr.
        """
        (self.folder / f"{ID}.yaml").write_text(yaml.safe_dump(entry or right()))
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self._site.env.items():
                patch.setenv(name, value)
            code = cli.main(["catalogue", *words])
        said = self._capsys.readouterr()
        return code, [*said.out.splitlines(), *said.err.splitlines()]

    def check(self, entry: Entry | None = None) -> tuple[int, list[str]]:
        return self("check", str(self.folder), "--site", ID, entry=entry)


@pytest.fixture
def operator(site: SlurmCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Operator:
    return Operator(tmp_path, site, capsys)


def test_an_entry_that_fits_has_no_difference(operator: Operator) -> None:
    code, said = operator.check()
    assert (code, said) == (0, [f"Nothing is wrong: {ID}.", f"{ID}: no difference was found."])
    assert operator("diff", ID, "--catalogue", str(operator.folder)) == (0, said[1:])


def test_the_command_itself(operator: Operator, site: SlurmCluster) -> None:
    wrong = right()
    wrong["partitions"][2]["name"] = "spair"
    (operator.folder / f"{ID}.yaml").write_text(yaml.safe_dump(wrong))
    words = [sys.executable, "-m", "factorylink.cli.main", "catalogue", "check", str(operator.folder), "--site", ID]
    env = {**site.env, "PYTHONPATH": str(CHECKOUT / "spawners")}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    assert "partitions.spair: the site has no such partition; it has:" in done.stdout


MISTAKES: dict[str, tuple[Callable[[Entry], object], str]] = {
    "partition": (
        lambda e: e["partitions"][2].update(name="spair"),
        "partitions.spair: the site has no such partition; it has: boost_usr_prod, cpu, spare, whole",
    ),
    "hours of a partition": (
        lambda e: e["partitions"][1].update(max_hours=3),
        "partitions.whole.max_hours: the entry says 3 h, the site 2 h",
    ),
    "hours by default": (
        lambda e: e["partitions"][0].update(default_hours=2),
        "partitions.boost_usr_prod.default_hours: the entry says 2 h, the site 0.5 h",
    ),
    "nodes of a partition": (
        lambda e: e["partitions"][0].update(max_nodes=4),
        "partitions.boost_usr_prod.max_nodes: the entry says 4, the site UNLIMITED",
    ),
    "whole nodes": (
        lambda e: e["partitions"][2].update(whole_node_only=True),
        "partitions.spare.whole_node_only: the entry says yes, the site no",
    ),
    "preemption": (
        lambda e: e["partitions"][3].update(preempt_requeue=True),
        "partitions.cpu.preempt_requeue: the entry says yes, the site OFF",
    ),
    "cores of a node": (
        lambda e: e["partitions"][3]["shape"].update(cores=96),
        "partitions.cpu: cores of a node: the entry says 96, the site 112",
    ),
    "memory of a node": (
        lambda e: e["partitions"][3]["shape"].update(memory_gb=256),
        "partitions.cpu: memory of a node: the entry says 256 GB, the site 524288 MiB",
    ),
    "GPUs of a node": (
        lambda e: e["accelerator"].update(per_node=8),
        "partitions.boost_usr_prod: GPUs of a node: the entry says 8, the site 4",
    ),
    "type of a GPU": (
        lambda e: e["accelerator"].update(gres_type="h100"),
        "partitions.boost_usr_prod: type of a GPU: the entry says h100, the site a100",
    ),
    "constraint": (
        lambda e: e.update(constraint="h100"),
        "constraint: the entry says h100, the site nodes with: a100x64",
    ),
    "missing QOS": (
        lambda e: e["qos"].append({"name": "quick", "max_hours": 1}),
        "qos.quick: the site has no such QOS; it has: boost_qos_bprod, boost_qos_dbg, boost_qos_lprod, normal",
    ),
    "hours of a QOS": (
        lambda e: e["qos"][1].update(max_hours=2),
        "qos.boost_qos_dbg.max_hours: the entry says 2 h, the site 0.5 h",
    ),
    "nodes of a QOS": (
        lambda e: e["qos"][1].update(max_nodes=4),
        "qos.boost_qos_dbg.max_nodes: the entry says 4, the site 2",
    ),
    "cores of a QOS": (
        lambda e: e["qos"][3].update(max_cores=64),
        "qos.boost_qos_lprod.max_cores: the entry says 64, the site no limit",
    ),
    "GPUs of a QOS": (
        lambda e: e["qos"][1].update(max_gpus=4),
        "qos.boost_qos_dbg.max_gpus: the entry says 4, the site 8",
    ),
    "jobs of a QOS": (
        lambda e: e["qos"][1].update(max_jobs=10),
        "qos.boost_qos_dbg.max_jobs: the entry says 10, the site 2",
    ),
    "GPUs of all jobs of a QOS": (
        lambda e: e["qos"][3].update(group_gpus=32),
        "qos.boost_qos_lprod.group_gpus: the entry says 32, the site 16",
    ),
    "mandatory account": (
        lambda e: e.update(account_mandatory=False),
        "account_mandatory: the entry says no, the site yes",
    ),
    "mandatory QOS": (
        lambda e: e.update(qos_mandatory=False),
        "qos_mandatory: the entry says no, the site yes",
    ),
    "a size that no node holds": (
        lambda e: (e.update(node={"cores": 64, "memory_gb": 490}), e["sizes"][0].update(cores=48)),
        "sizes.gpu-1: no node of partition boost_usr_prod has 1 GPU, 48 cores, 122 GB",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_found(operator: Operator, mistake: str) -> None:
    entry = copy.deepcopy(right())
    change, expected = MISTAKES[mistake]
    change(entry)
    code, said = operator.check(entry)
    assert code == 1
    assert [line for line in said if line.startswith(expected)], said


def test_the_default_account_and_qos_of_a_site_are_compared(operator: Operator, site: SlurmCluster) -> None:
    """The command also finds a QOS that exists but that these people may not use."""
    pays, who = site.record.job_account, site.accounts[0]
    changes = (
        ("user", who, "set", f"DefaultAccount={pays}"),
        ("user", "where", f"Account={pays}", f"Name={who}", "set", "DefaultQOS=normal"),
        ("user", "where", f"Account={pays}", "set", "QOS-=boost_qos_lprod"),
    )
    for words in changes:
        assert site.run("sacctmgr", "-i", "modify", *words).returncode == 0, words
    code, said = operator.check()
    assert code == 1
    assert said[1:] == [
        f"account_mandatory: the entry says yes, the site that jobs of {who} without one run in {pays}",
        f"qos_mandatory: the entry says yes, the site that jobs of {who} without one run in normal",
        f"sizes.gpu-1-long.qos: nobody of the {len(site.accounts)} that the site shows may use boost_qos_lprod",
    ]
    undo = (
        ("user", who, "set", "DefaultAccount=unpaid"),
        ("user", "where", f"Account={pays}", f"Name={who}", "set", "DefaultQOS=-1"),
        ("user", "where", f"Account={pays}", "set", "QOS+=boost_qos_lprod"),
    )
    for words in undo:
        assert site.run("sacctmgr", "-i", "modify", *words).returncode == 0, words
    assert operator.check()[0] == 0


@pytest.fixture
def answers(site: SlurmCluster, tmp_path: Path) -> Path:
    """Write the site's answers to files; return their folder."""
    folder = tmp_path / "answers"
    folder.mkdir()
    for what, argv in QUESTIONS.items():
        (folder / f"{what}.txt").write_text(site.run(*argv).stdout)
    return folder


def test_only_answered_questions_are_compared_and_the_others_named(operator: Operator, answers: Path) -> None:
    wrong = right()
    wrong["partitions"][1]["max_hours"] = 3
    (answers / "partitions.txt").unlink()
    code, said = operator("diff", ID, "--catalogue", str(operator.folder), "--answers", str(answers), entry=wrong)
    assert code == 0
    assert said[0].startswith("Not compared: partitions (")


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("partitions", "Partition gpu not found\n"),
        ("nodes", "PARTITION AVAIL\n"),
        ("qos", "boost_qos_dbg|soon|||\n"),
        ("qos", "boost_qos_dbg|00:30:00\n"),
        ("people", "fg-ada|unpaid\n"),
    ],
)
def test_an_unparsable_answer_is_reported(operator: Operator, answers: Path, what: str, text: str) -> None:
    (answers / f"{what}.txt").write_text(text)
    code, said = operator("diff", ID, "--catalogue", str(operator.folder), "--answers", str(answers))
    assert code == 1
    assert "is not what" in said[-1] or "is no time" in said[-1], said
