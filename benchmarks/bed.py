"""Starts what both sides of a benchmark share: one Slurm, the same installed programs, and the same people."""

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
from testbed import accounts
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
    """A running Slurm, and the paths of the programs that a benchmark starts.

    The hubs' people have the names of the site accounts, since batchspawner needs a local Unix user of the same name to
    run a job.
    """

    factory: Factory
    catalogue: Path  # the folder with the factory's YAML file
    size: NodeSize  # the node size that sessions use
    cluster: SlurmCluster
    hub_python: Path
    notebook_python: Path
    node: Path
    proxy: Path
    folder: Path  # a 0700 folder for files of the run

    @property
    def people(self) -> tuple[str, ...]:
        """Return the names of the site accounts."""
        return self.cluster.accounts

    def ask(self, *argv: str) -> str:
        """Run a client command as the cluster's administrator; return its output.

        Raises RuntimeError with the command's message if the command fails.
        """
        done = self.cluster.run(*argv)
        if done.returncode:
            raise RuntimeError(f"{argv}: {done.stderr.strip()}")
        return done.stdout

    def jobs(self, states: str = "PENDING,RUNNING,COMPLETING") -> int:
        """Return the number of jobs in these states, without the job of ``fill``.

        ``states``: Slurm's names of states, separated by commas.
        """
        return sum(name != FILLER for name in self.ask("squeue", "-h", "-r", "-o", "%j", "-t", states).split())

    def reset_rpcs(self) -> None:
        """Reset the controller's RPC counters."""
        self.ask("sdiag", "-r")

    def rpcs(self) -> dict[str, int]:
        """Return the number of RPCs of scheduler commands since the last reset, by type."""
        return measure.rpcs(self.ask("sdiag"))

    def as_account(self, account: str, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a client command as a site account; return the finished process, with its output as text.

        Raises CalledProcessError if the command fails, and TimeoutExpired if it takes more than 60 s.
        """
        env = {**self.cluster.env, "HOME": str(Path(f"~{account}").expanduser())}
        words = self.argv_as(account, *argv)
        return subprocess.run(words, env=env, cwd="/", capture_output=True, text=True, timeout=60, check=True)

    def argv_as(self, account: str, *argv: str) -> tuple[str, ...]:
        """Return the argv of a client command as a site account; the command needs the variables of ``cluster.env``."""
        return (*self.cluster.prefix, *as_user(account), *argv)

    def fill(self) -> None:
        """Submit one job that takes all cores and GPUs of the cluster, so that later jobs wait.

        :meth:`full` says when it runs.
        """
        gpus = (f"--gres=gpu:{self.factory.accelerator.per_node}",) if self.size.gpus else ()
        self.as_account(
            self.people[0], "sbatch", f"--job-name={FILLER}", f"--partition={self.size.partition}", "--exclusive",
            "--mem=0", f"--nodes={len(self.cluster.nodes)}", *gpus, "--time=04:00:00", "--output=/dev/null",
            "--wrap=sleep 14400",
        )  # fmt: skip

    def drain_out(self) -> None:
        """End the job of ``fill``, so that waiting jobs can start."""
        self.ask("scancel", f"--name={FILLER}")

    def full(self) -> bool:
        """Return True if the job of ``fill`` runs."""
        return self.ask("squeue", "-h", f"--name={FILLER}", "-o", "%T").strip() == "RUNNING"

    async def idle(self, limit: float = 60.0) -> None:
        """Wait until no job is left except the job of ``fill``. Raises TimeoutError after ``limit`` seconds."""

        async def empty() -> bool:
            return await asyncio.to_thread(self.jobs) == 0

        await measure.until(empty, limit, "the queue is empty", every=0.3)

    def clear(self) -> None:
        """Cancel all jobs except the job of ``fill``."""
        rows = (line.split() for line in self.ask("squeue", "-h", "-r", "-o", "%i %j").splitlines())
        ids = [job for job, name in rows if name != FILLER]
        if ids:
            self.ask("scancel", *ids)


def _crowded(factory: Factory, sessions: int) -> Factory:
    """Return a copy of the factory with two nodes without GPUs, which together have a core for each session.

    The factory's name stays the same.
    """
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
    """Return the argv prefix that runs a command as this account.

    It is empty if this process is not root: then the only site account is the one under which this process runs.
    """
    return ("/usr/sbin/runuser", "-u", account, "--") if os.geteuid() == 0 else ()


@contextmanager
def bed(
    name: str,
    many: int = 0,
    isolation: Isolation | None = None,
    names: tuple[str, ...] = accounts.NAMES,
    factory_id: str = FACTORY,
) -> Iterator[Bed]:
    """Start a cluster and yield its Bed; stop the cluster at the end of the block.

    Logs are in ``bench/NAME`` beside the programs; the folder is emptied at the start and stays afterwards. ``many``:
    use a factory made for that number of sessions at a time, one core each, instead of one of the catalogue.
    ``isolation``: run the factory behind sshd, in its own network (needs root). ``names``: the site accounts, which are
    made if they are missing (as root). ``factory_id``: a factory of the catalogue that has the size ``gpu-1``. The
    programs must be installed, which ``bin/bench`` does.
    """
    programs = install.program_folder()
    folder = programs / "bench" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    where = ROOT / "hub_config" / "factories"
    factory = catalogue.load(where)[factory_id]
    if many:
        factory, where = _crowded(factory, many), folder / "factories"
        where.mkdir()
        (where / f"{factory.id}.yaml").write_text(
            yaml.safe_dump(factory.model_dump(mode="json", exclude_defaults=True))
        )
    cluster = up(factory, folder / "testbed", programs / "slurm", cpu_nodes=CROWD_NODES, isolation=isolation,
                 names=names)  # fmt: skip
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
