"""Starts an OpenPBS for a factory, or adopts a running one."""

from __future__ import annotations

import shutil
from pathlib import Path

from factorycommon.models import Factory
from testbed import accounts, processes
from testbed.errors import CannotLayOut
from testbed.install import packages
from testbed.network import login_side
from testbed.network import namespaces as network
from testbed.network.login_side import Isolation
from testbed.pbs import layout as pbs_layout
from testbed.pbs import programs as pbs_programs
from testbed.pbs import record as pbs_record
from testbed.pbs.cluster import LOCK, PbsCluster

_SOCKETS = Path("/run/postgresql")
_FOLDERS = ("etc", "home", "moms", "run", "sbin")  # folders that a clean start creates anew


def up(
    factory: Factory,
    state: Path,
    *,
    gpu_nodes: int = 2,
    cpu_nodes: int = 1,
    names: tuple[str, ...] = accounts.NAMES,
    isolation: Isolation | None = None,
) -> PbsCluster:
    """Return a running cluster for ``factory`` with its files below ``state``, using the OpenPBS of this machine.

    A running cluster is adopted, and its dead daemons are started again; a cluster with another layout is replaced,
    with its jobs. Raises CannotRun, CannotLayOut, DidNotStart.
    """
    isolation = isolation or Isolation()
    if isolation.carrier == "stdio":
        raise CannotLayOut(
            f"{factory.id}: PBS' stdio carrier goes on to the node by ssh, which the testbed's nodes lack"
        )
    sets = pbs_layout.node_sets(factory, gpu_nodes, cpu_nodes)
    orders = pbs_layout.orders(factory, sets)
    programs = pbs_programs.find()
    pbs_programs.check_system(programs)
    login_side.check(isolation)
    _make_place_for_sockets()
    state = state.absolute()
    folder = state / factory.id
    folder.mkdir(parents=True, exist_ok=True)
    accounts.check_readable(folder)
    nodes = [name for nodes in sets for name in nodes.names]
    with packages.locked(state / LOCK):
        people = accounts.ensure(names)
        old = pbs_record.read(folder)
        wires = old.network if old is not None and network.stands(old.network, folder) else None
        stands = wires is not None
        wires = wires or network.choose(folder, factory.id, nodes, factory.outbound)
        new = pbs_record.PbsRecord(
            id=factory.id,
            programs=programs.exec,
            version=programs.version,
            accounts=people,
            network=wires.model_copy(update={"nodes": tuple(nodes), "outbound": factory.outbound}),
            isolation=isolation,
            orders=orders,
            resources=tuple(pbs_layout.resources(factory, sets)),
        )
        cluster = PbsCluster(folder, new)
        if old == new and stands and cluster.pids:
            cluster.start_missing()
            return cluster
        PbsCluster(folder, old or new).stop_daemons()
        (folder / pbs_record.FILE).unlink(missing_ok=True)
        try:
            _lay(cluster)
            cluster.lay_homes()
            cluster.give_orders()
        except BaseException:  # an incomplete layout is useless, so stop everything
            cluster.stop_daemons()
            network.remove(folder)
            raise
        new.write(folder)
        return cluster


def _lay(cluster: PbsCluster) -> None:
    """Make folders, network interfaces and the login side; only logs and homes of an earlier start are kept."""
    folder = cluster.folder
    for name in _FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(mode=0o755)
    (folder / "log").mkdir(mode=0o755, exist_ok=True)
    homes = accounts.own_homes(folder / "homes", (*cluster.accounts, login_side.WATCHER))
    network.build(cluster.record.network, folder, homes | {_SOCKETS: _own_sockets(folder)})
    login_side.prepare(
        folder,
        cluster.record.isolation,
        cluster.record.network,
        {**cluster.env, processes.MARK: str(folder)},
    )


def _own_sockets(folder: Path) -> Path:
    """Return the folder that replaces ``_SOCKETS`` for this factory.

    PostgreSQL of each PBS server listens in ``_SOCKETS`` under the same name, so each factory needs its own folder.
    """
    own = folder / "run" / "postgresql"
    own.mkdir(mode=0o775)
    shutil.chown(own, pbs_programs.DATABASE_USER, pbs_programs.DATABASE_USER)
    return own


def _make_place_for_sockets() -> None:
    """Make the folder for the sockets of Debian's PostgreSQL, which is otherwise made only by its start script."""
    if not _SOCKETS.exists():
        _SOCKETS.mkdir(mode=0o775)
        shutil.chown(_SOCKETS, pbs_programs.DATABASE_USER, pbs_programs.DATABASE_USER)
