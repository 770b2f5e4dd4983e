"""One factory as a running Slurm: start it, adopt it, repair it, stop it.

Everything of a cluster lies in ``STATE/ID``: ``etc``, ``sbin`` (its own copies of the daemons, by which its processes
are known), ``dev``, ``munge``, ``ctld``, ``spool``, ``run``, ``log``, and ``cluster.json`` with what a later process
needs to know. Daemons speak on 127.0.0.1; clients need nothing but the environment in :attr:`Cluster.env`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from factorylink.models import Factory, Model
from testbed import accounts, daemons, files, layout, packages, ports, processes
from testbed.errors import DidNotStart, NotThere

READY_SECONDS = 30.0
_JOBS_A_START = 10000  # job ids of different starts never meet
_LAST_FIRST_JOB = 60_000_000
_RECORD = "cluster.json"
_LOCK = "lock"
_REAPING_SECONDS = 3.0
_READY_STATES = ("idle", "mix", "alloc")


class Record(Model):
    """What is remembered of a cluster between processes."""

    id: str
    packages: Path  # folder of the unpacked Slurm
    accounts: tuple[str, ...]
    place: layout.Place
    configuration: dict[str, str]  # files below etc, as started
    gpus: tuple[str, ...]  # names of device files


class Cluster:
    """A factory's cluster. Made by :func:`up` and :func:`load`."""

    def __init__(self, folder: Path, record: Record, slurm: packages.Packages) -> None:
        self.folder = folder
        self.record = record
        self._slurm = slurm

    @property
    def id(self) -> str:
        """The factory's id, which is also Slurm's ClusterName."""
        return self.record.id

    @property
    def slurm_conf(self) -> Path:
        """The configuration file."""
        return self.record.place.base / "etc/slurm.conf"

    @property
    def env(self) -> dict[str, str]:
        """What client commands need in their environment, for any site account."""
        return _environment(self.record.place, self._slurm)

    @property
    def prefix(self) -> tuple[str, ...]:
        """Argv before client commands: none is needed."""
        return ()

    @property
    def accounts(self) -> tuple[str, ...]:
        """Unix users that may run jobs."""
        return self.record.accounts

    @property
    def root(self) -> bool:
        """Whether the daemons run as root, so that jobs run as different users."""
        return self.record.place.root

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes."""
        return tuple(self.record.place.node_ports)

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the living daemons: ``munged``, ``slurmctld``, and one for each node by its name."""
        found = {name: daemons.running(self.folder, name) for name in self._daemons}
        return {name: process.pid for name, process in found.items() if process is not None}

    @property
    def _daemons(self) -> tuple[str, ...]:
        return (daemons.MUNGED, daemons.CONTROLLER, *self.nodes)

    def access_fields(self) -> dict[str, object]:
        """Fields of ``factorylink.config.Access`` by which the link reaches this cluster."""
        return {
            "transport": {"kind": "local", "prefix": list(self.prefix), "env": self.env},
            "door": {"carrier": "tcp", "listen": "127.0.0.1", "host": "127.0.0.1"},
            "account_pool": list(self.accounts),
            "testbed": True,
        }

    def describe(self) -> dict[str, object]:
        """What ``python -m testbed env`` prints."""
        return {
            "slurm_conf": str(self.slurm_conf),
            "env": self.env,
            "prefix": list(self.prefix),
            "accounts": list(self.accounts),
            "root": self.root,
        }

    def run(self, *argv: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
        """Run a client command as the cluster's administrator, in text. A failed command raises nothing."""
        env = {**os.environ, **self.env}
        return subprocess.run(
            [*self.prefix, *argv], env=env, capture_output=True, text=True, timeout=timeout, check=False
        )

    def ready(self) -> bool:
        """Whether the controller answers and all nodes are up and take jobs."""
        answer = self.run("sinfo", "-h", "-N", "-o", "%N %t")
        states = {tuple(line.split()) for line in answer.stdout.splitlines()}  # a node comes once for each partition
        good = {(node, state) for node in self.nodes for state in _READY_STATES}
        return answer.returncode == 0 and states <= good and {node for node, *_ in states} == set(self.nodes)

    def start_missing(self) -> None:
        """Start the daemons that do not live, with the state they left, and wait until the nodes take jobs.

        Raises DidNotStart.
        """
        missing = [name for name in self._daemons if name not in self.pids]
        env = {
            **self.env,
            "PATH": f"{self.env['PATH']}:/usr/sbin:/sbin",
            "LANG": "C.UTF-8",
            processes.MARK: str(self.folder),
        }
        daemons.start(self.folder, self.record.place.base, missing, env)
        if not processes.wait_until(self.ready, READY_SECONDS, pause=0.1):
            tails = files.log_tails(self.folder)
            raise DidNotStart(f"{self.id}: not all nodes took jobs in {READY_SECONDS:.0f} s\n{tails}")

    def kill(self, name: str) -> None:
        """Kill one daemon as a crash would: ``munged``, ``slurmctld`` or a node's slurmd. Its jobs live on; undo it
        with :meth:`start_missing`."""
        process = daemons.running(self.folder, name)
        if process is not None:
            processes.kill(process)

    def down(self) -> None:
        """Stop everything, jobs included, and wait until no process is left. Logs and configuration stay."""
        with packages.locked(self.folder.parent / _LOCK):
            dead = processes.end_all(self.folder)
            if self.record.place.base != self.folder:
                self.record.place.base.unlink(missing_ok=True)
        processes.wait_reaped(dead, _REAPING_SECONDS)


def up(
    factory: Factory,
    state: Path,
    prefix: Path | None = None,
    *,
    gpu_nodes: int = 2,
    cpu_nodes: int = 1,
    names: tuple[str, ...] = accounts.NAMES,
) -> Cluster:
    """A running cluster for ``factory`` with its things below ``state``; ``prefix`` is where Slurm is unpacked.

    A running one is adopted, with what died of it started again; one laid out otherwise is replaced, jobs and all.
    ``names`` are the site accounts (as root). Takes about 3 s from nothing, below 1 s where it runs.
    Raises CannotRun, CannotLayOut, DidNotStart.
    """
    state = state.absolute()
    sets = layout.node_sets(factory, gpu_nodes, cpu_nodes)
    slurm = packages.install(prefix or state / "packages")
    folder = state / factory.id
    folder.mkdir(parents=True, exist_ok=True)
    accounts.check_readable(folder)
    accounts.check_readable(slurm.bin)
    with packages.locked(state / _LOCK):  # two starts at once would find the same ports free
        people = accounts.ensure(names)
        old = _read(folder)
        if old is not None:
            running = Cluster(folder, old, slurm)
            if running.pids and old == _lay_out(factory, sets, folder, old.place, slurm, people):
                running.start_missing()
                return running
        processes.end_all(folder)
        record = _lay_out(factory, sets, folder, _new_place(folder, sets, slurm, old), slurm, people)
        (folder / _RECORD).write_text(record.model_dump_json(indent=1) + "\n")
        cluster = Cluster(folder, record, slurm)
        files.prepare(folder, record.place.base, slurm, record.configuration, cluster.nodes, record.gpus)
        cluster.start_missing()
        return cluster


def load(state: Path, factory_id: str) -> Cluster:
    """The cluster that :func:`up` made, running or not. Raises NotThere."""
    folder = state.absolute() / factory_id
    record = _read(folder)
    if record is None:
        raise NotThere(f"no cluster {factory_id!r} in {state}")
    slurm = packages.installed(record.packages)
    if slurm is None:
        raise NotThere(f"the Slurm that cluster {factory_id!r} was started with is gone from {record.packages}")
    return Cluster(folder, record, slurm)


def known(state: Path) -> list[str]:
    """Ids of all clusters ever started in ``state`` and still remembered."""
    return sorted(file.parent.name for file in state.absolute().glob(f"*/{_RECORD}"))


def _read(folder: Path) -> Record | None:
    """The record in ``folder``. One that cannot be read, of another version or cut short by a crash, counts as none."""
    try:
        return Record.model_validate_json((folder / _RECORD).read_text())
    except (FileNotFoundError, ValidationError):
        return None


def _new_place(
    folder: Path, sets: Sequence[layout.NodeSet], slurm: packages.Packages, old: Record | None
) -> layout.Place:
    nodes = [name for nodes in sets for name in nodes.names]
    first, *others = ports.allocate(1 + len(nodes), str(folder))
    if old is not None and (old.place.base == folder or not os.path.lexists(old.place.base)):
        base, first_job = old.place.base, old.place.first_job % _LAST_FIRST_JOB + _JOBS_A_START
    else:
        base, first_job = files.short_path(folder), 1
    return layout.Place(
        base=base,
        plugins=slurm.plugins,
        user=accounts.own_name(),
        root=os.geteuid() == 0,
        controller_port=first,
        node_ports=dict(zip(nodes, others, strict=True)),
        first_job=first_job,
    )


def _lay_out(
    factory: Factory,
    sets: Sequence[layout.NodeSet],
    folder: Path,
    place: layout.Place,
    slurm: packages.Packages,
    people: tuple[str, ...],
) -> Record:
    configuration = {
        "slurm.conf": layout.slurm_conf(factory, sets, place),
        "gres.conf": layout.gres_conf(factory, sets, place.base),
        "cgroup.conf": "CgroupPlugin=disabled\n",
        "task-prolog": layout.task_prolog(_environment(place, slurm), (processes.MARK, str(folder))),
    }
    gpus = tuple(layout.gpu_name(factory, number) for number in range(max(nodes.gpus for nodes in sets)))
    return Record(
        id=factory.id,
        packages=slurm.root.parent,
        accounts=people,
        place=place,
        configuration=configuration,
        gpus=gpus,
    )


def _environment(place: layout.Place, slurm: packages.Packages) -> dict[str, str]:
    return {
        "SLURM_CONF": f"{place.base}/etc/slurm.conf",
        "PATH": f"{slurm.bin}:/usr/local/bin:/usr/bin:/bin",
    }
