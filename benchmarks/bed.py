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

from benchmarks import measure
from factorylink import catalogue
from factorylink.models import Factory
from testbed import install
from testbed.cluster import Cluster, up

ROOT = Path(__file__).resolve().parent.parent
FACTORY = "it4lia"
SIZE = "gpu-1"
FILLER = "filler"


@dataclass(frozen=True)
class Bed:
    """A running Slurm and where programs are. People have the names of the site accounts, so that both sides can
    run their jobs: batchspawner needs a local Unix user of the same name."""

    factory: Factory
    cluster: Cluster
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
        prefix = as_user(account)
        env = {**self.cluster.env, "HOME": str(Path(f"~{account}").expanduser())}
        argv = (*prefix, *self.cluster.prefix, *argv)
        return subprocess.run(argv, env=env, cwd="/", capture_output=True, text=True, timeout=60, check=True)

    def fill(self) -> None:
        """Take every core and GPU of the cluster with one job, so that what is submitted waits."""
        partition = next(size.partition for size in self.factory.sizes if size.id == SIZE)
        gpus = self.factory.accelerator.per_node
        self.as_account(
            self.people[0], "sbatch", f"--job-name={FILLER}", f"--partition={partition}", "--exclusive", "--mem=0",
            f"--nodes={len(self.cluster.nodes)}", f"--gres=gpu:{gpus}", "--time=04:00:00", "--output=/dev/null",
            "--wrap=sleep 14400",
        )  # fmt: skip

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


def as_user(account: str) -> tuple[str, ...]:
    """Argv before a command that is to run as this account; empty where we are it already."""
    return ("/usr/sbin/runuser", "-u", account, "--") if os.geteuid() == 0 else ()


@contextmanager
def bed(name: str) -> Iterator[Bed]:
    """Start a cluster, and stop it at the end. Logs stay in ``bench/NAME`` beside the programs.

    The programs are there already: ``bin/bench`` installs them.
    """
    programs = install.program_folder()
    folder = programs / "bench" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    factory = catalogue.load(ROOT / "hub_config" / "factories")[FACTORY]
    cluster = up(factory, folder / "testbed", programs / "slurm")
    hub_python = programs / "hub" / "bin" / "python"
    modules = programs / "node" / "node_modules"
    try:
        yield Bed(
            factory=factory,
            cluster=cluster,
            hub_python=hub_python,
            notebook_python=programs / "notebook" / "bin" / "python",
            node=install.node(hub_python),
            proxy=modules / "configurable-http-proxy" / "bin" / "configurable-http-proxy",
            folder=folder,
        )
    finally:
        cluster.down()
