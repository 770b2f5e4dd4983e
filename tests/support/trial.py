"""A small factory for the testbed, and commands for its site accounts."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from factorycommon.models import Accelerator, Factory, NodeShape, NodeSize, Partition, Qos, SiteInfo
from testbed import accounts, processes
from testbed.slurm.cluster import SlurmCluster

ORDINARY = "fg-ordinary"  # an account without privileges
CHECKOUT = Path(__file__).resolve().parents[2]
FACTORY = Factory(
    id="trial-aif",
    name="Trial",
    state="template",
    site=SiteInfo(machine="Trial", host="Nobody", city="Nowhere", country="FI"),
    scheduler="slurm",
    accelerator=Accelerator(vendor="NVIDIA", model="A100", memory_gb=64, per_node=4, gres_type="a100"),
    node=NodeShape(cores=32, memory_gb=490, count=3456),
    partitions=(
        Partition(name="shared", max_hours=24, default_hours=0.5),
        Partition(name="whole", max_hours=2, whole_node_only=True),
        Partition(name="spare", max_hours=24, preempt_requeue=True),
        Partition(name="cpu", max_hours=4, gpus=False, shape=NodeShape(cores=112, memory_gb=512)),
    ),
    qos=(Qos(name="debug"),),
    sizes=(
        NodeSize(id="gpu-1", gpus=1, cores=8, memory_gb=122, partition="shared", max_hours=24, billed_as="1/4 node"),
    ),
    environments=(),
    outbound="none",
)


def as_account(found: SlurmCluster, *argv: str, script: str = "") -> subprocess.CompletedProcess[str]:
    """Run a client command of the scheduler as the last of the site accounts; return its result, also if it fails.

    The command has only the cluster's environment variables and HOME. ``script``: the command's input.
    """
    account = found.accounts[-1]
    env = {**found.env, "HOME": pwd.getpwnam(account).pw_dir}
    who = {"user": account, "group": account, "extra_groups": ()} if found.root else {}
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        argv, env=env, cwd="/", input=script, capture_output=True, text=True, timeout=120, check=False, **who
    )


def submit(found: SlurmCluster, script: str, *options: str) -> str:
    answer = as_account(
        found, "sbatch", "--parsable", "--export=NONE", "-o", "/dev/null", *options, script=f"#!/bin/bash\n{script}\n"
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


def state_of(found: SlurmCluster, job: str) -> str:
    return found.run("squeue", "-h", "-t", "all", "-j", job, "-o", "%T").stdout.strip()


def eventually(condition: Callable[[], bool], seconds: float = 120) -> bool:
    return processes.wait_until(condition, seconds, pause=0.1)


def cancel(found: SlurmCluster, *jobs: str) -> None:
    found.run("scancel", "--signal=KILL", "--full", *jobs)
    found.run("scancel", *jobs)
    assert eventually(lambda: all(state_of(found, job) not in ("RUNNING", "COMPLETING", "PENDING") for job in jobs))


def python(
    *words: str, user: str | None = None, code: tuple[Path, ...] = (CHECKOUT / "spawners", CHECKOUT)
) -> subprocess.CompletedProcess[str]:
    """Run this Python with the packages in ``code``; return the result, also if it fails.

    ``user``: the Unix account under which it runs; None: the present one.
    """
    env = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": os.pathsep.join(str(path) for path in code),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    who = {"user": user, "group": user, "extra_groups": ()} if user else {}
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [sys.executable, *words], env=env, cwd="/", capture_output=True, text=True, timeout=110, check=False, **who
    )


def ensure_ordinary_user() -> None:
    accounts.ensure((ORDINARY,))  # one at a time, since several processes may run tests
