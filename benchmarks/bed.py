"""What both sides of a benchmark stand on: one Slurm, one set of programs, the same people."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks import measure
from factorycommon.models import Factory, NodeSize
from factorylink.catalogue import loading as catalogue
from testbed.install import environments as install
from testbed.network.login_side import Isolation
from testbed.slurm.cluster import SlurmCluster, up

ROOT = Path(__file__).resolve().parent.parent
FACTORY = "it4lia"
SIZE = "gpu-1"
FILLER = "filler"
CROWD_SIZE = "core"
CROWD_NODES = 2


@dataclass(frozen=True)
class Bed:
    """A running Slurm and where programs are. People have the names of the site accounts, so that both sides can
    run their jobs: batchspawner needs a local Unix user of the same name."""

    factory: Factory
    catalogue: Path  # the folder with its YAML
    size: NodeSize  # what sessions ask for
    cluster: SlurmCluster
    hub_python: Path
    notebook_python: Path
    node: Path
    proxy: Path
    folder: Path  # 0700, for what the run writes

    @property
    def people(self) -> tuple[str, ...]:
        """The site accounts."""
        return self.cluster.accounts

    def ask(self, *argv: str) -> str:
        """A client command as the cluster's administrator; its output. Raises RuntimeError with the command's words."""
        done = self.cluster.run(*argv)
        if done.returncode:
            raise RuntimeError(f"{argv}: {done.stderr.strip()}")
        return done.stdout

    def jobs(self, states: str = "PENDING,RUNNING,COMPLETING") -> int:
        """How many jobs the cluster holds in these states; the filling job not counted."""
        return sum(name != FILLER for name in self.ask("squeue", "-h", "-r", "-o", "%j", "-t", states).split())

    def reset_rpcs(self) -> None:
        """Count the controller's RPCs from here."""
        self.ask("sdiag", "-r")

    def rpcs(self) -> dict[str, int]:
        """RPCs by type since the last reset."""
        return measure.rpcs(self.ask("sdiag"))

    def as_account(self, account: str, *argv: str) -> subprocess.CompletedProcess[str]:
        """A client command as a site account."""
        env = {**self.cluster.env, "HOME": str(Path(f"~{account}").expanduser())}
        words = self.argv_as(account, *argv)
        return subprocess.run(words, env=env, cwd="/", capture_output=True, text=True, timeout=60, check=True)

    def argv_as(self, account: str, *argv: str) -> tuple[str, ...]:
        """The argv of a client command as a site account; it needs the cluster's environment."""
        return (*self.cluster.prefix, *as_user(account), *argv)

    def fill(self) -> None:
        """Take every core and GPU of the cluster with one job, so that what is submitted waits."""
        gpus = (f"--gres=gpu:{self.factory.accelerator.per_node}",) if self.size.gpus else ()
        self.as_account(
            self.people[0], "sbatch", f"--job-name={FILLER}", f"--partition={self.size.partition}", "--exclusive",
            "--mem=0", f"--nodes={len(self.cluster.nodes)}", *gpus, "--time=04:00:00", "--output=/dev/null",
            "--wrap=sleep 14400",
        )  # fmt: skip

    def drain_out(self) -> None:
        """End the filling job: what waits may start."""
        self.ask("scancel", f"--name={FILLER}")

    def full(self) -> bool:
        """Whether the filling job runs."""
        return self.ask("squeue", "-h", f"--name={FILLER}", "-o", "%T").strip() == "RUNNING"

    async def idle(self) -> None:
        """Wait until no job is left but the filling one."""

        async def empty() -> bool:
            return await asyncio.to_thread(self.jobs) == 0

        await measure.until(empty, 60, "the queue is empty", every=0.3)

    def clear(self) -> None:
        """Cancel all jobs but the filling one."""
        rows = (line.split() for line in self.ask("squeue", "-h", "-r", "-o", "%i %j").splitlines())
        ids = [job for job, name in rows if name != FILLER]
        if ids:
            self.ask("scancel", *ids)


def _crowded(factory: Factory, sessions: int) -> Factory:
    """Two nodes without GPUs that have a core for each session, under the same name so that ports stay apart."""
    partition = {"name": "crowd", "max_hours": 24, "gpus": False}
    size = {"id": CROWD_SIZE, "gpus": 0, "cores": 1, "memory_gb": 1, "partition": "crowd", "max_hours": 24}
    changes = {
        "node": {"cores": -(-sessions // CROWD_NODES), "memory_gb": 2 * sessions},
        "partitions": [partition],
        "qos": [],
        "sizes": [{**size, "billed_as": "core-hour"}],
        "account_mandatory": False,
    }
    return Factory.model_validate({**factory.model_dump(exclude_defaults=True), **changes})


def as_user(account: str) -> tuple[str, ...]:
    """Argv before a command that is to run as this account; empty where we are it already."""
    return ("/usr/sbin/runuser", "-u", account, "--") if os.geteuid() == 0 else ()


@contextmanager
def bed(name: str, many: int = 0, isolation: Isolation | None = None) -> Iterator[Bed]:
    """Start a cluster, and stop it at the end. Logs stay in ``bench/NAME`` beside the programs.

    ``many``: a factory made for that many sessions at a time, one core each, in place of one from the catalogue.
    ``isolation``: behind sshd, in a network of its own (as root).
    The programs are there already: ``bin/bench`` installs them.
    """
    programs = install.program_folder()
    folder = programs / "bench" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    where = ROOT / "hub_config" / "factories"
    factory = catalogue.load(where)[FACTORY]
    if many:
        factory, where = _crowded(factory, many), folder / "factories"
        where.mkdir()
        (where / f"{factory.id}.yaml").write_text(
            yaml.safe_dump(factory.model_dump(mode="json", exclude_defaults=True))
        )
    cluster = up(factory, folder / "testbed", programs / "slurm", cpu_nodes=CROWD_NODES, isolation=isolation)
    hub_python = programs / "hub" / "bin" / "python"
    modules = programs / "node" / "node_modules"
    try:
        yield Bed(
            factory=factory,
            catalogue=where,
            size=next(size for size in factory.sizes if size.id in (SIZE, CROWD_SIZE)),
            cluster=cluster,
            hub_python=hub_python,
            notebook_python=programs / "notebook" / "bin" / "python",
            node=install.node(hub_python),
            proxy=modules / "configurable-http-proxy" / "bin" / "configurable-http-proxy",
            folder=folder,
        )
    finally:
        cluster.down()
