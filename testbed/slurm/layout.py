"""Makes Slurm's configuration from a factory of the catalogue as text; no file is touched.

A cluster has as few nodes as possible: partitions with the same kind of node share their nodes. A core in the catalogue
is a CPU to Slurm. A node gets ``memory_gb`` x 1024 MiB, so that a request fits whether the site's GB is 1000 or 1024
MiB.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from factorycommon.models import Factory, Model, NodeShape, Partition
from testbed.errors import CannotLayOut
from testbed.network.namespaces import LOGIN, Network
from testbed.slurm import accounting
from testbed.slurm.accounting import Accounting

_GPU_FLAGS = {"NVIDIA": "nvidia_gpu_env", "AMD": "amd_gpu_env", "Intel": "intel_gpu_env"}
_GPU_FILES = {"NVIDIA": "nvidia", "AMD": "renderD", "Intel": "card"}
_FEATURE = re.compile(r"[A-Za-z0-9_.-]+")
_MIB_PER_GB = 1024
STATE = "ctld"  # the controller's folder in the cluster's folder
_UNKNOWN_HOURS = 24.0  # hours of a partition that no node size uses


@dataclass(frozen=True)
class NodeSet:
    """A group of nodes with the same hardware, and the partitions that use them."""

    names: tuple[str, ...]
    cores: int
    memory_mib: int
    gpus: int  # per node
    partitions: tuple[Partition, ...]
    shards: int = 0  # of all GPUs of a node together


class Layout(Model):
    """The paths, users, ports and addresses of one cluster.

    ``base``: a path to the cluster's folder that is short enough for Unix sockets below it.
    """

    base: Path
    plugins: Path
    user: str  # SlurmUser and SlurmdUser
    root: bool
    controller_port: int
    node_ports: dict[str, int]
    first_job: int
    network: Network | None = None  # None: everything is on 127.0.0.1
    accounting: Accounting | None = None  # None: accounts and QOS are not checked


def node_sets(factory: Factory, gpu_nodes: int = 2, cpu_nodes: int = 1) -> tuple[NodeSet, ...]:
    """Return the groups of nodes to start: ``gpu_nodes`` of each kind with GPUs, ``cpu_nodes`` of each other kind.

    Raises CannotLayOut, also if the factory's scheduler is not Slurm.
    """
    if factory.scheduler != "slurm":
        raise CannotLayOut(f"{factory.id}: its scheduler is {factory.scheduler}; the layout asked for is Slurm's")
    return any_node_sets(factory, gpu_nodes, cpu_nodes)


def any_node_sets(factory: Factory, gpu_nodes: int = 2, cpu_nodes: int = 1) -> tuple[NodeSet, ...]:
    """Return the groups of nodes to start as :func:`node_sets` does, for a factory with any scheduler.

    Raises CannotLayOut if the catalogue has no partition of the factory, or lacks the size of a node.
    """
    if not factory.partitions:
        raise CannotLayOut(f"{factory.id}: the catalogue knows no partition of it")
    kinds: dict[tuple[NodeShape, int], list[Partition]] = {}
    for partition in factory.partitions:
        shape = factory.shape(partition)
        if shape is None:
            raise CannotLayOut(f"{factory.id}: the catalogue does not know what a node of {partition.name} has")
        kind = shape.model_copy(update={"count": None}), factory.gpu(partition).per_node if partition.gpus else 0
        kinds.setdefault(kind, []).append(partition)
    sets: list[NodeSet] = []
    used: dict[str, int] = {}
    for (shape, gpus), partitions in kinds.items():
        word, count = ("gpu", gpu_nodes) if gpus else ("cpu", cpu_nodes)
        first = used.get(word, 0) + 1
        used[word] = first + count - 1
        sets.append(
            NodeSet(
                names=tuple(f"{word}{number:03d}" for number in range(first, first + count)),
                cores=shape.cores,
                memory_mib=math.ceil(shape.memory_gb * _MIB_PER_GB),
                gpus=gpus,
                partitions=tuple(partitions),
                shards=gpus * _shards_of_a_gpu(factory, partitions),
            )
        )
    return tuple(sets)


def _shards_of_a_gpu(factory: Factory, partitions: Sequence[Partition]) -> int:
    """Return into how many shards each GPU of these partitions is divided; 0: GPUs are not divided.

    The number follows from the shards of a node size and the share of a GPU for which that size is charged.
    """
    names = {partition.name for partition in partitions}
    parts = [(size.gpu_slice, size.share) for size in factory.sizes if size.partition in names]
    return max((int(part.count / share) for part, share in parts if part and part.kind == "shard"), default=0)


def gpu_name(factory: Factory, number: int) -> str:
    """Return the name of the device file of GPU ``number``; Slurm reads the GPU's index from the digits at its end."""
    return f"{_GPU_FILES[factory.accelerator.vendor]}{number}"


def gres_conf(factory: Factory, sets: Sequence[NodeSet], base: Path) -> str:
    """Return the text of gres.conf: one line for each GPU.

    Every node lists the same device files, since all nodes share this machine.
    """
    kind = factory.accelerator.gres_type
    typed = f" Type={kind}" if kind else ""
    lines = ["AutoDetect=off"]
    for nodes in sets:
        lines += [
            f"NodeName={','.join(nodes.names)} Name=gpu{typed} File={base}/dev/{gpu_name(factory, number)}"
            f" Flags={_GPU_FLAGS[factory.accelerator.vendor]}"
            for number in range(nodes.gpus)
        ]
        if nodes.shards:
            lines.append(f"NodeName={','.join(nodes.names)} Name=shard Count={nodes.shards}")
    return "\n".join(lines) + "\n"


def slurm_conf(factory: Factory, sets: Sequence[NodeSet], place: Layout) -> str:
    """Return the text of slurm.conf."""
    settings = _settings(factory, place)
    if any(nodes.shards for nodes in sets):
        settings["GresTypes"] += ",shard"
    lines = ["# Written by the testbed from the catalogue; replaced at every start."]
    lines += [f"{key}={value}" for key, value in settings.items()]
    lines += [_node_line(factory, nodes, name, place) for nodes in sets for name in nodes.names]
    default = factory.sizes[0].partition if factory.sizes else factory.partitions[0].name
    lines += [
        _partition_line(factory, nodes, each, each.name == default, place.accounting is not None)
        for nodes in sets
        for each in nodes.partitions
    ]
    return "\n".join(lines) + "\n"


def task_prolog(environment: Mapping[str, str], mark: tuple[str, str]) -> str:
    """Return a TaskProlog script, which prints environment variables that Slurm sets for every task.

    With it, client commands work in jobs as on a real site, whatever environment variables the job was submitted with.
    ``mark``: name and value of the variable by which the cluster's processes are found.
    """
    path = environment["PATH"].split(":")[0]
    lines = ["#!/bin/sh", f'echo "export PATH=${{PATH:-/usr/local/bin:/usr/bin:/bin}}:{path}"']
    lines += [f'echo "export {key}={value}"' for key, value in (*environment.items(), mark) if key != "PATH"]
    lines.append('echo "unset SLURM_SCRIPT_CONTEXT"')  # removes the script's variable from the task
    return "\n".join(lines) + "\n"


def _settings(factory: Factory, place: Layout) -> dict[str, str]:
    base = place.base
    longest = max(longest_hours(factory, partition) for partition in factory.partitions)
    # A fast start matters more than a large queue. Estimates come from the plan of the backfill scheduler, so its
    # window covers the longest job twice.
    scheduler = {
        "batch_sched_delay": 0,
        "sched_interval": 5,
        "sched_min_interval": 0,
        "bf_interval": 1,
        "bf_window": max(1440, math.ceil(longest * 60) * 2),
        "bf_resolution": 60,
        "bf_max_job_test": 1000,
        "default_queue_depth": 1000,
    }
    settings = {
        "ClusterName": factory.id,
        "SlurmctldHost": f"{LOGIN}({place.network.hosts[LOGIN]})" if place.network else "localhost(127.0.0.1)",
        "SlurmctldPort": str(place.controller_port),
        "SlurmUser": place.user,
        "SlurmdUser": place.user,
        "AuthType": "auth/munge",
        # The lifetime of a credential is also the time that a requeued job waits before it may start again.
        "AuthInfo": f"socket={base}/munge/socket,cred_expire=20",
        "CredType": "cred/munge",
        "PluginDir": str(place.plugins),
        "StateSaveLocation": f"{base}/{STATE}",
        "SlurmdSpoolDir": f"{base}/spool/%n",
        "SlurmctldPidFile": f"{base}/run/slurmctld.pid",
        "SlurmdPidFile": f"{base}/run/%n.pid",
        "SlurmctldLogFile": f"{base}/log/slurmctld.log",
        "SlurmdLogFile": f"{base}/log/%n.log",
        "TaskProlog": f"{base}/etc/task-prolog",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "JobAcctGatherType": "jobacct_gather/none",
        "AccountingStorageType": "accounting_storage/none",
        "MpiDefault": "none",
        "SwitchType": "switch/none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_CPU_Memory",
        "SlurmdParameters": "config_overrides",
        "GresTypes": "gpu",
        "SchedulerType": "sched/backfill",
        "SchedulerParameters": ",".join(f"{key}={value}" for key, value in scheduler.items()),
        "PriorityType": "priority/basic",
        "FirstJobId": str(place.first_job),
        "MaxArraySize": "10001",
        "MaxJobCount": "20000",
        "MinJobAge": "300",
        "KillWait": "10",
        "InactiveLimit": "0",
        "SlurmctldTimeout": "60",
        "SlurmdTimeout": "60",
        "MessageTimeout": "10",
        "TCPTimeout": "2",
        "ReturnToService": "1",
        "JobRequeue": "1",
        "EnforcePartLimits": "ALL",  # jobs over the limit are refused at once, as on real sites
    }
    if any(partition.preempt_requeue for partition in factory.partitions):
        settings |= {"PreemptType": "preempt/partition_prio", "PreemptMode": "REQUEUE"}
    if place.accounting is not None:
        settings |= accounting.slurm_settings(place.accounting, base)
    if place.root:
        settings["DisableRootJobs"] = "YES"
    if place.network is None:
        settings["CommunicationParameters"] = "NoCtldInAddrAny,NoInAddrAny"
    return settings


def _node_line(factory: Factory, nodes: NodeSet, name: str, place: Layout) -> str:
    kind = factory.accelerator.gres_type
    host, address = (name, place.network.hosts[name]) if place.network else ("localhost", "127.0.0.1")
    words = [
        f"NodeName={name} NodeHostname={host} NodeAddr={address} Port={place.node_ports[name]}",
        f"CPUs={nodes.cores} RealMemory={nodes.memory_mib} State=UNKNOWN",
    ]
    if nodes.gpus:
        shards = f",shard:{nodes.shards}" if nodes.shards else ""
        words.append((f"Gres=gpu:{kind}:{nodes.gpus}" if kind else f"Gres=gpu:{nodes.gpus}") + shards)
    if factory.constraint and _FEATURE.fullmatch(factory.constraint):
        words.append(f"Feature={factory.constraint}")
    return " ".join(words)


def _partition_line(factory: Factory, nodes: NodeSet, partition: Partition, default: bool, enforced: bool) -> str:
    # If no QOS with a longer limit is enforced, the partition must allow the longer time.
    hours = partition.max_hours if enforced and partition.max_hours else longest_hours(factory, partition)
    words = [
        f"PartitionName={partition.name} Nodes={','.join(nodes.names)} State=UP",
        f"MaxTime={_minutes(hours)}",
        f"DefMemPerCPU={max(1, nodes.memory_mib // nodes.cores)}",
        f"OverSubscribe={'EXCLUSIVE' if partition.whole_node_only else 'NO'}",
        f"PriorityTier={1 if partition.preempt_requeue else 10}",
        f"PreemptMode={'REQUEUE' if partition.preempt_requeue else 'OFF'}",
    ]
    if partition.default_hours is not None:
        words.append(f"DefaultTime={_minutes(partition.default_hours)}")
    if partition.max_nodes is not None:
        words.append(f"MaxNodes={partition.max_nodes}")
    if default:
        words.append("Default=YES")
    return " ".join(words)


def longest_hours(factory: Factory, partition: Partition) -> float:
    """Return the longest time in hours that people may choose in a partition.

    This is the partition's time limit, or the limit of a node size there, which may be longer because of a QOS.
    """
    sizes = [size.max_hours for size in factory.sizes if size.partition == partition.name]
    known = [*sizes, *([] if partition.max_hours is None else [partition.max_hours])]
    return max(known, default=_UNKNOWN_HOURS)


def _minutes(hours: float) -> int:
    """Return ``hours`` in whole minutes, rounded up as Slurm does for jobs; so a job may request the whole limit."""
    return max(1, math.ceil(round(hours * 60, 6)))
