"""One factory as a running Slurm: start, adopt, repair and stop it.

All files of a cluster are in ``STATE/ID``: ``etc``, ``sbin`` (its own copies of the daemons, by which its processes are
found), ``dev``, ``munge``, ``ctld``, ``spool``, ``run``, ``log``, and ``cluster.json``, the record for later processes.
Daemons listen on 127.0.0.1, and clients need only the variables in :attr:`SlurmCluster.env`. The daemons of an
isolated cluster are in namespaces (:mod:`testbed.network.namespaces`); :attr:`SlurmCluster.prefix` runs a command
inside them.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from factorycommon.models import Factory
from testbed import accounts, processes
from testbed.errors import DidNotStart, NotThere
from testbed.install import packages
from testbed.network import login_side
from testbed.network import namespaces as network
from testbed.network.login_side import Isolation
from testbed.slurm import daemons, database, files, layout, record
from testbed.slurm.record import SlurmRecord

READY_SECONDS = 90.0  # seconds; the machine may be busy
_LOCK = "lock"
_REAPING_SECONDS = 3.0
_HANDOVER_SECONDS = 2.0  # until the next process of a Slurm daemon has written its pid file
_AS_ACCOUNT = ("setpriv", "--init-groups")
_READY_STATES = ("idle", "mix", "alloc")


class SlurmCluster:
    """The Slurm cluster of a factory, made by :func:`up` or :func:`load`."""

    def __init__(self, folder: Path, remembered: SlurmRecord, slurm: packages.Packages) -> None:
        self.folder = folder
        self.record = remembered
        self._slurm = slurm

    @property
    def id(self) -> str:
        """Return the factory's id, which is also Slurm's ClusterName."""
        return self.record.id

    @property
    def slurm_conf(self) -> Path:
        """Return the path of slurm.conf."""
        return self.record.place.base / "etc/slurm.conf"

    @property
    def env(self) -> dict[str, str]:
        """Return the environment variables that client commands need, for any site account."""
        return record.environment(self.record.place, self._slurm)

    @property
    def network(self) -> network.Network | None:
        """Return the addresses of an isolated cluster; None if everything is on 127.0.0.1."""
        return self.record.place.network

    @property
    def prefix(self) -> tuple[str, ...]:
        """Return the argv prefix of the administrator's client commands.

        It runs them on the login side of an isolated cluster, and is empty for any other cluster.
        """
        return self.on(network.LOGIN)

    def on(self, host: str) -> tuple[str, ...]:
        """Return the argv prefix that runs a command as root on ``login01`` or a node, in the root folder.

        It is empty if the cluster is not isolated.
        """
        return () if self.network is None else network.enter(self.network, self.folder, host)

    @property
    def accounts(self) -> tuple[str, ...]:
        """Return the Unix users that may run jobs."""
        return self.record.accounts

    @property
    def root(self) -> bool:
        """Return whether the daemons run as root, so that jobs run as different users."""
        return self.record.place.root

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return the names of the nodes."""
        return tuple(self.record.place.node_ports)

    @property
    def pids(self) -> dict[str, int]:
        """Return the process ids of the running daemons, by name.

        The names are ``munged``, ``slurmctld``, ``sshd`` if isolated, ``slurmdbd`` and ``mariadbd`` with accounting,
        and each node's name for its slurmd.
        """
        found = {name: daemons.running(self.folder, name) for name in self._daemons}
        return {name: process.pid for name, process in found.items() if process is not None}

    @property
    def _daemons(self) -> tuple[str, ...]:
        sshd = () if self.network is None else (daemons.SSHD,)
        accounting = () if self.record.place.accounting is None else (daemons.DATABASE, daemons.ACCOUNTING)
        return (daemons.MUNGED, *accounting, daemons.CONTROLLER, *sshd, *self.nodes)

    @property
    def _accounting(self) -> packages.Packages | None:
        where = self.record.place.accounting
        return None if where is None else packages.installed(where.packages)

    def access_fields(self) -> dict[str, object]:
        """Return the fields of ``factorylink.config.Access`` by which the link reaches this cluster."""
        if self.network is None or self.record.isolation is None:
            access: dict[str, object] = {
                "transport": {"kind": "local", "prefix": list(self.prefix), "env": self.env},
                "door": {"carrier": "tcp", "listen": "127.0.0.1", "host": "127.0.0.1"},
                "extend": "watcher",  # the watcher is the scheduler's administrator here
            }
        else:
            access = login_side.access_fields(self.folder, self.record.isolation, self.network)
        return {
            **access,
            "account_pool": list(self.accounts),
            "testbed": True,
            **({"job_account": self.record.job_account} if self.record.job_account else {}),
            **({"job_qos": self.record.job_qos} if self.record.job_qos else {}),
        }

    def describe(self) -> dict[str, object]:
        """Return what ``python -m testbed env`` prints."""
        return {
            "slurm_conf": str(self.slurm_conf),
            "env": self.env,
            "prefix": list(self.prefix),
            "accounts": list(self.accounts),
            "root": self.root,
        }

    def run(self, *argv: str, account: str | None = None, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a client command as the cluster's administrator, or (as root) as a site account, with text output.

        A command that fails raises no exception; one that takes more than ``timeout`` seconds raises TimeoutExpired.
        """
        who = () if account is None else (*_AS_ACCOUNT, f"--reuid={account}", f"--regid={account}")
        env = {**os.environ, **self.env}
        words = [*self.prefix, *who, *argv]
        return subprocess.run(words, env=env, capture_output=True, text=True, timeout=timeout, check=False)

    def ready(self) -> bool:
        """Return whether slurmctld answers and all nodes are up and accept jobs."""
        answer = self.run("sinfo", "-h", "-N", "-o", "%N %t")
        # a node is listed once for each of its partitions
        states = {tuple(line.split()) for line in answer.stdout.splitlines()}
        good = {(node, state) for node in self.nodes for state in _READY_STATES}
        return answer.returncode == 0 and states <= good and {node for node, *_ in states} == set(self.nodes)

    def start_missing(self) -> None:
        """Start the daemons that do not run, with their saved state, and wait until the nodes accept jobs.

        Raises DidNotStart.
        """
        self._start_accounting()
        self.start_daemons(*self._daemons)
        if not processes.wait_until(self.ready, READY_SECONDS, pause=0.1):
            tails = files.log_tails(self.folder)
            raise DidNotStart(f"{self.id}: not all nodes took jobs in {READY_SECONDS:.0f} s\n{tails}")

    def start_daemons(self, *names: str) -> None:
        """Start those of the named daemons that do not run, without waiting for the nodes. Raises DidNotStart."""
        # A daemon that reads new settings goes on as another process, and seems to be missing until that process has
        # written the pid file.
        slurms = {daemons.CONTROLLER, *self.nodes}
        before = [name for name in names if name in slurms and daemons.pid_file(self.folder, name).exists()]
        processes.wait_until(lambda: set(before) <= self.pids.keys(), _HANDOVER_SECONDS)
        missing = [name for name in names if name not in self.pids]
        env = {
            **self.env,
            "PATH": f"{self.env['PATH']}:/usr/sbin:/sbin",
            "LANG": "C.UTF-8",
            processes.MARK: str(self.folder),
        }
        daemons.start(
            self.folder,
            self.record.place.base,
            missing,
            env,
            lambda name: self.on(name if name in self.nodes else network.LOGIN),
            self._accounting,
        )
        # Some daemons go into the background before they have written their pid file.
        if not processes.wait_until(lambda: set(missing) <= self.pids.keys(), READY_SECONDS):
            raise DidNotStart(f"{self.id}: {', '.join(missing)} ended at once\n{files.log_tails(self.folder)}")

    def _start_accounting(self) -> None:
        """Start slurmdbd and its database, if the cluster has them, and wait until slurmdbd answers.

        Raises DidNotStart.
        """
        if self.record.place.accounting is None:
            return
        self.start_daemons(daemons.MUNGED, daemons.DATABASE, daemons.ACCOUNTING)
        known = ("sacctmgr", "--noheader", "--parsable2", "show", "cluster", "format=Cluster")
        if not processes.wait_until(lambda: self.run(*known).returncode == 0, READY_SECONDS):
            raise DidNotStart(f"{self.id}: slurmdbd does not answer\n{files.log_tails(self.folder)}")
        if self.id not in self.run(*known).stdout.split():
            self._order("add", "cluster", self.id)  # slurmctld would need seconds to register the cluster itself

    def give_orders(self) -> None:
        """Create accounts and QOS in an empty database. Raises DidNotStart.

        slurmctld must run, since it registers the TRES that slurmdbd counts.
        """
        for order in self.record.orders:
            self._order(*order)

    def _order(self, *order: str) -> None:
        done = self.run("sacctmgr", "-i", *order)
        if done.returncode != 0:
            said = done.stderr.strip() or done.stdout.strip()
            raise DidNotStart(f"{self.id}: sacctmgr -i {' '.join(order)}: {said}")

    def kill(self, name: str) -> None:
        """Kill one daemon with SIGKILL, as a crash would; jobs continue. Undo it with :meth:`start_missing`.

        ``name``: ``munged``, ``slurmctld``, ``slurmdbd``, ``mariadbd``, ``sshd``, or a node's name for its slurmd.
        """
        process = daemons.running(self.folder, name)
        if process is not None:
            processes.kill(process)

    def down(self) -> None:
        """Stop everything, jobs included, and wait until no process is left. Logs and configuration stay."""
        with packages.locked(self.folder.parent / _LOCK):
            dead = _clear(self.folder)
            database.remove(self.folder)
            if self.record.place.base != self.folder:
                self.record.place.base.unlink(missing_ok=True)
            (self.folder / files.FAULTS).unlink(missing_ok=True)
        processes.wait_reaped(dead, _REAPING_SECONDS)


def up(
    factory: Factory,
    state: Path,
    prefix: Path | None = None,
    *,
    gpu_nodes: int = 2,
    cpu_nodes: int = 1,
    names: tuple[str, ...] = accounts.NAMES,
    isolation: Isolation | None = None,
    accounting: bool = False,
) -> SlurmCluster:
    """Return a running cluster for ``factory`` with its files below ``state``. ``prefix``: where Slurm is unpacked.

    A running cluster is adopted, and its dead daemons are started again; a cluster with another layout is replaced,
    with its jobs. ``names``: the site accounts (as root). ``isolation``: the cluster runs in network namespaces of its
    own, behind sshd. ``accounting``: the cluster has slurmdbd, so that accounts, QOS and their limits are enforced and
    ``sacct`` answers. Takes about 3 s for a new cluster, some 3 s more with accounting, below 1 s if the cluster runs
    already. Raises CannotRun, CannotLayOut, DidNotStart.
    """
    state = state.absolute()
    if isolation is not None:
        login_side.check(isolation)
    sets = layout.node_sets(factory, gpu_nodes, cpu_nodes)
    slurm = packages.install(prefix or state / "packages")
    dbd = packages.install_accounting(slurm, database.prepare) if accounting else None
    folder = state / factory.id
    folder.mkdir(parents=True, exist_ok=True)
    accounts.check_readable(folder)
    accounts.check_readable(slurm.bin)
    with packages.locked(state / _LOCK):  # two concurrent starts would find the same ports free
        people = accounts.ensure(names)
        old = record.read(folder)
        if old is not None:
            running = SlurmCluster(folder, old, slurm)
            same = old == record.lay_out(factory, sets, folder, old.place, slurm, people, isolation)
            same = same and (old.place.accounting is not None) == accounting
            if running.pids and same and _stands(running):
                running.start_missing()
                return running
        _clear(folder)
        place = record.new_place(factory, sets, folder, slurm, old, isolation is not None, dbd)
        new = record.lay_out(factory, sets, folder, place, slurm, people, isolation)
        new.write(folder)
        cluster = SlurmCluster(folder, new, slurm)
        files.prepare(folder, place.base, slurm, new.configuration, cluster.nodes, new.gpus, dbd)
        if place.network is not None and isolation is not None:
            homes = accounts.own_homes(folder / "homes", (*people, login_side.WATCHER))
            network.build(place.network, folder, homes)
            login_side.prepare(folder, isolation, place.network, {**cluster.env, processes.MARK: str(folder)})
        cluster.start_missing()
        cluster.give_orders()
        return cluster


def load(state: Path, factory_id: str) -> SlurmCluster:
    """Return the cluster that :func:`up` made, whether it runs or not. Raises NotThere."""
    folder = state.absolute() / factory_id
    remembered = record.read(folder)
    if remembered is None:
        raise NotThere(f"no cluster {factory_id!r} in {state}")
    slurm = packages.installed(remembered.packages)
    if slurm is None:
        raise NotThere(f"the Slurm that cluster {factory_id!r} was started with is gone from {remembered.packages}")
    return SlurmCluster(folder, remembered, slurm)


def known(state: Path) -> list[str]:
    """Return the ids of all clusters ever started in ``state`` that still have a record."""
    return sorted(file.parent.name for file in state.absolute().glob(f"*/{record.FILE}"))


def _stands(cluster: SlurmCluster) -> bool:
    return cluster.network is None or network.stands(cluster.network, cluster.folder)


def _clear(folder: Path) -> set[processes.Process]:
    """End all processes and remove all namespaces of the cluster in ``folder``; return the ended processes."""
    dead = processes.end_all(folder, network.inodes(folder))
    network.remove(folder)
    return dead
