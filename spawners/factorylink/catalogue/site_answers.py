"""Compares a catalogue entry with the answers of the site's Slurm, and describes the differences.

``differences`` takes the texts that Slurm printed, and returns a line for each difference. The caller runs the commands
in ``QUESTIONS`` at the site, or reads their output from files. If an output is missing, the values that it would show
are not compared; the caller reports this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from factorycommon.gpu_shares import mig_profile, parse_slice
from factorycommon.models import Accelerator, Factory, NodeShape, NodeSize, Partition
from factorylink.catalogue import site_accounts
from factorylink.catalogue.site_words import differ, hours

# File names of ``catalogue diff --answers``, without .txt, and the commands whose output they hold.
QUESTIONS: dict[str, tuple[str, ...]] = {
    "partitions": ("scontrol", "show", "partition", "--oneliner"),
    "nodes": ("sinfo", "--all", "--Node", "--noheader", "--format=%N|%R|%c|%m|%G|%f"),
    "qos": site_accounts.QOS,
    "people": site_accounts.PEOPLE,
}
# a relative difference that is accepted: sites write GB for 10**9 bytes or for GiB, and nodes keep some memory
_NEAR = 0.03


@dataclass(frozen=True)
class Nodes:
    """The hardware of a node; one object stands for all equal nodes of a partition.

    ``shards``: the number of Slurm's GPU shards on the node.
    """

    cores: int
    memory_mib: int
    gpus: tuple[tuple[str, int], ...]  # number of GPUs by type; the type is "" if the site's GRES has no types
    features: frozenset[str]
    shards: int = 0

    @property
    def gpu_count(self) -> int:
        """Return the number of GPUs of all types together; each slice of a GPU counts as one."""
        return sum(number for _, number in self.gpus)

    @property
    def whole_gpus(self) -> int:
        """Return the number of whole GPUs of all types together; slices of GPUs do not count."""
        return sum(number for kind, number in self.gpus if not mig_profile(kind))


def differences(factory: Factory, answers: Mapping[str, str]) -> list[str]:
    """Return a line for each difference between a factory's catalogue entry and the answers of the site's Slurm.

    A line is, for example, ``key: the entry says …, the site …``. ``answers``: the output of each command in
    ``QUESTIONS``, by the command's key there. If an output is missing, the values that it would show are not compared.
    Raises ValueError if an output cannot be parsed.
    """
    limits = _partitions(answers["partitions"]) if "partitions" in answers else None
    nodes = _nodes(answers["nodes"]) if "nodes" in answers else None
    qos = site_accounts.parse_qos(answers["qos"]) if "qos" in answers else None
    people = site_accounts.parse_people(answers["people"]) if "people" in answers else None
    return [
        *(line for partition in factory.partitions for line in _of_partition(partition, limits)),
        *(line for partition in factory.partitions for line in _of_nodes(factory, partition, nodes)),
        *site_accounts.of_qos(factory, qos),
        *(line for size in factory.sizes for line in _of_size(factory, size, limits, nodes)),
        *site_accounts.of_people(factory, people, qos),
    ]


def _of_partition(partition: Partition, limits: Mapping[str, Mapping[str, str]] | None) -> Iterator[str]:
    where = f"partitions.{partition.name}"
    if limits is None:
        return
    answer = limits.get(partition.name)
    if answer is None:
        yield f"{where}: the site has no such partition; it has: {', '.join(sorted(limits))}"
        return
    yield from hours(f"{where}.max_hours", partition.max_hours, answer.get("MaxTime"))
    yield from hours(f"{where}.default_hours", partition.default_hours, answer.get("DefaultTime"))
    most = answer.get("MaxNodes", "UNLIMITED")
    if partition.max_nodes is not None and most != str(partition.max_nodes):
        yield differ(f"{where}.max_nodes", partition.max_nodes, most)
    whole = answer.get("OverSubscribe") == "EXCLUSIVE"
    if whole != partition.whole_node_only:
        yield differ(f"{where}.whole_node_only", partition.whole_node_only, whole)
    requeues = "REQUEUE" in answer.get("PreemptMode", "")
    if partition.preempt_requeue and not requeues:
        yield differ(f"{where}.preempt_requeue", True, answer.get("PreemptMode", "nothing"))


def _of_nodes(factory: Factory, partition: Partition, nodes: Mapping[str, set[Nodes]] | None) -> Iterator[str]:
    found = (nodes or {}).get(partition.name)
    shape = factory.shape(partition)
    if not found or shape is None:
        return
    where = f"partitions.{partition.name}"
    if all(node.cores != shape.cores for node in found):
        yield differ(f"{where}: cores of a node", shape.cores, _either(node.cores for node in found))
    if not any(_near(node, shape) for node in found):
        yield differ(f"{where}: memory of a node", f"{shape.memory_gb:g} GB",
                      _either(f"{node.memory_mib} MiB" for node in found))  # fmt: skip
    gpu = factory.gpu(partition)
    wanted = gpu.per_node if partition.gpus else 0
    if all(wanted not in (node.gpu_count, node.whole_gpus) for node in found):
        yield differ(f"{where}: GPUs of a node", wanted, _either(node.gpu_count for node in found))
    elif partition.gpus:
        yield from _of_types(f"{where}: type of a GPU", gpu, found)
    constraint = factory.constraint
    if constraint is not None and partition.gpus and not any(constraint in node.features for node in found):
        there = sorted({feature for node in found for feature in node.features})
        yield differ("constraint", constraint, f"nodes with: {', '.join(there) or 'no feature'}")


def _of_types(where: str, gpu: Accelerator, found: set[Nodes]) -> Iterator[str]:
    types = {kind for node in found for kind, _ in node.gpus}
    if gpu.gres_type is not None and gpu.gres_type not in types:
        yield differ(where, gpu.gres_type, _either(types - {""}) or "no type")


def _of_size(
    factory: Factory,
    size: NodeSize,
    limits: Mapping[str, Mapping[str, str]] | None,
    nodes: Mapping[str, set[Nodes]] | None,
) -> Iterator[str]:
    taken = (limits or {}).get(size.partition, {}).get("AllowQos", "ALL")
    if size.qos is not None and taken != "ALL" and size.qos.lower() not in taken.lower().split(","):
        yield f"sizes.{size.id}.qos: partition {size.partition} does not take {size.qos}; it takes: {taken}"
    found = (nodes or {}).get(size.partition)
    if found and not any(_holds(node, factory, size) for node in found):
        share = f"{size.gpu_text}, {size.cores} cores, {size.memory_gb:g} GB"
        yield f"sizes.{size.id}: no node of partition {size.partition} has {share}"


def _holds(node: Nodes, factory: Factory, size: NodeSize) -> bool:
    memory = not factory.asks_memory or size.whole_node or size.memory_gb * 10**9 <= node.memory_mib * 2**20
    part = parse_slice(size.gres or "")
    if part is None:
        gpus = node.gpu_count >= size.gpus
    else:
        gpus = (node.shards if part.kind == "shard" else dict(node.gpus).get(part.type, 0)) >= part.count
    return node.cores >= size.cores and gpus and memory


def _near(node: Nodes, shape: NodeShape) -> bool:
    return any(abs(node.memory_mib / unit - shape.memory_gb) <= _NEAR * shape.memory_gb for unit in (1000, 1024))


def _partitions(text: str) -> dict[str, dict[str, str]]:
    rows = [dict(word.partition("=")[::2] for word in line.split()) for line in text.splitlines() if line.strip()]
    if not all("PartitionName" in row for row in rows):
        raise ValueError("this is not what 'scontrol show partition --oneliner' prints")
    return {row["PartitionName"]: row for row in rows}


def _nodes(text: str) -> dict[str, set[Nodes]]:
    found: dict[str, set[Nodes]] = {}
    for line in filter(str.strip, text.splitlines()):
        parts = line.strip().split("|")
        if len(parts) != 6 or not parts[2].isdigit() or not parts[3].rstrip("+").isdigit():
            raise ValueError(f"{line!r} is not what '{' '.join(QUESTIONS['nodes'])}' prints")
        features = frozenset(parts[5].split(",")) - {"(null)"}
        shards = sum(number for _, number in _gpus(parts[4], "shard"))
        node = Nodes(int(parts[2]), int(parts[3].rstrip("+")), _gpus(parts[4]), features, shards)
        found.setdefault(parts[1], set()).add(node)
    return found


def _gpus(text: str, gres: str = "gpu") -> tuple[tuple[str, int], ...]:
    """Return (type, number) for each type of GPU in a text such as ``gpu:a100:4(S:0-1)``.

    The type is "" if the text names none. ``gres``: the GRES to count.
    """
    words = [word.split(":") for word in re.sub(r"\([^)]*\)", "", text).split(",")]
    return tuple(
        (rest[0] if len(rest) > 1 else "", int(rest[-1]))
        for name, *rest in words
        if name == gres and rest and rest[-1].isdigit()
    )


def _either(values: Iterable[object]) -> str:
    return " or ".join(sorted({str(value) for value in values}))
