"""The record of a cluster for later processes, ``STATE/ID/cluster.json``, and how it is made."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from factorycommon.models import Factory, Model
from testbed import accounts, ports, processes
from testbed.install import packages
from testbed.network import login_side
from testbed.network import namespaces as network
from testbed.network.login_side import Isolation
from testbed.slurm import accounting, files, layout

FILE = "cluster.json"
_JOBS_A_START = 10000  # job ids of different starts never overlap
_LAST_FIRST_JOB = 60_000_000
# Slurm's default ports, used if every host has its own network
_CONTROLLER_PORT, _NODE_PORT, _DATABASE_PORT = 6817, 6818, 6819


class SlurmRecord(Model):
    """One cluster, as it was started."""

    id: str
    packages: Path  # folder of the unpacked Slurm
    accounts: tuple[str, ...]
    place: layout.Layout
    configuration: dict[str, str]  # texts of the files below etc
    gpus: tuple[str, ...]  # names of device files
    isolation: Isolation | None = None  # None: everything is on 127.0.0.1
    orders: tuple[tuple[str, ...], ...] = ()  # commands for sacctmgr, if the cluster has accounting
    job_account: str | None = None  # the account that jobs must name there
    job_qos: str | None = None  # the QOS that jobs of sizes without a QOS must name

    def write(self, folder: Path) -> None:
        """Write the record into the cluster's ``folder``, for :func:`read`."""
        (folder / FILE).write_text(self.model_dump_json(indent=1) + "\n")


def read(folder: Path) -> SlurmRecord | None:
    """Return the record in ``folder``; None if there is no valid record.

    A record is invalid if it cannot be read, is of another version, or was truncated by a crash.
    """
    try:
        return SlurmRecord.model_validate_json((folder / FILE).read_text())
    except (FileNotFoundError, ValidationError):
        return None


def environment(place: layout.Layout, slurm: packages.Packages) -> dict[str, str]:
    """Return the environment variables that Slurm's programs need."""
    return {
        "SLURM_CONF": f"{place.base}/etc/slurm.conf",
        "PATH": f"{slurm.bin}:/usr/local/bin:/usr/bin:/bin",
    }


def lay_out(
    factory: Factory,
    sets: Sequence[layout.NodeSet],
    folder: Path,
    place: layout.Layout,
    slurm: packages.Packages,
    people: tuple[str, ...],
    isolation: Isolation | None,
) -> SlurmRecord:
    """Return the record of ``factory`` at ``place``. The same catalogue, packages and accounts give an equal record."""
    configuration = {
        "slurm.conf": layout.slurm_conf(factory, sets, place),
        "gres.conf": layout.gres_conf(factory, sets, place.base),
        "cgroup.conf": "CgroupPlugin=disabled\n",
        "task-prolog": layout.task_prolog(environment(place, slurm), (processes.MARK, str(folder))),
    }
    if place.accounting is not None:
        configuration[files.SLURMDBD_CONF] = accounting.slurmdbd_conf(place.accounting, place.base, place.user)
    return SlurmRecord(
        id=factory.id,
        packages=slurm.root.parent,
        accounts=people,
        place=place,
        configuration=configuration,
        gpus=tuple(layout.gpu_name(factory, number) for number in range(max(nodes.gpus for nodes in sets))),
        isolation=isolation,
        orders=() if place.accounting is None else tuple(accounting.orders(factory, _users(people, isolation))),
        job_account=None if place.accounting is None else accounting.account(factory),
        job_qos=None if place.accounting is None else accounting.project_qos(factory),
    )


def new_place(
    factory: Factory,
    sets: Sequence[layout.NodeSet],
    folder: Path,
    slurm: packages.Packages,
    old: SlurmRecord | None,
    isolated: bool,
    dbd: packages.Packages | None = None,
) -> layout.Layout:
    """Return the layout of a cluster that starts anew, with free ports or addresses.

    Its job ids are above those of the ``old`` cluster.
    """
    nodes = [name for nodes in sets for name in nodes.names]
    if isolated:
        where = network.choose(folder, factory.id, nodes, factory.outbound)
        controller, dbd_port, others = _CONTROLLER_PORT, _DATABASE_PORT, [_NODE_PORT] * len(nodes)
    else:
        where = None
        controller, dbd_port, *others = ports.allocate(2 + len(nodes), str(folder))
    if old is not None and (old.place.base == folder or not os.path.lexists(old.place.base)):
        base, first_job = old.place.base, old.place.first_job % _LAST_FIRST_JOB + _JOBS_A_START
    else:
        base, first_job = files.short_path(folder), 1
    return layout.Layout(
        base=base,
        plugins=slurm.plugins,
        user=accounts.own_name(),
        root=os.geteuid() == 0,
        controller_port=controller,
        node_ports=dict(zip(nodes, others, strict=True)),
        first_job=first_job,
        network=where,
        accounting=None if dbd is None else _accounting(dbd, dbd_port, isolated),
    )


def _accounting(dbd: packages.Packages, port: int, isolated: bool) -> accounting.Accounting:
    # slurmdbd identifies itself by the machine's name, and listens on the address to which this name resolves.
    host = network.LOGIN if isolated else socket.gethostname()
    return accounting.Accounting(host=host, port=port, packages=dbd.root.parent, plugins=dbd.plugins)


def _users(people: tuple[str, ...], isolation: Isolation | None) -> tuple[str, ...]:
    return people if isolation is None else (*people, login_side.WATCHER)
