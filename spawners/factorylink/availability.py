"""What is free and who is ahead, from what the scheduler says of nodes and waiting jobs. Pure."""

from __future__ import annotations

import bisect
import re
from collections.abc import Mapping, Sequence

from factorylink.models import Factory, Job, JobId, JobState, NodeSize, NodeState, PartitionLoad

Waiting = Mapping[str, Sequence[tuple[int, JobId]]]  # per partition (priority, job), the next one first


def loads(factory: Factory, nodes: Sequence[NodeState], waiting: Waiting) -> tuple[PartitionLoad, ...]:
    """One load for each partition of the catalogue. Nodes that are down count in the totals, and have nothing free."""
    found: list[PartitionLoad] = []
    for partition in factory.partitions:
        inside = [node for node in nodes if partition.name in node.partitions]
        found.append(
            PartitionLoad(
                name=partition.name,
                gpus_total=sum(node.gpus for node in inside),
                gpus_free=sum(node.gpus_free for node in inside),
                cores_total=sum(node.cores for node in inside),
                cores_free=sum(node.cores_free for node in inside),
                pending=len(waiting.get(partition.name, ())),
            )
        )
    return tuple(found)


def fits(factory: Factory, nodes: Sequence[NodeState], size: NodeSize) -> int:
    """How many more sessions of a size the free parts of the nodes would hold now.

    Counted node by node, since a session never spans two. Nodes kept for a job further ahead in the queue do not
    count: a short session may still slip in before it, so this is a lower bound there. Limits of a QOS or a project are
    not seen here.
    """
    partition = next(p for p in factory.partitions if p.name == size.partition)
    whole = size.whole_node or partition.whole_node_only
    kind = factory.accelerator.gres_type
    total = 0
    for node in nodes:
        if not node.usable or node.planned or size.partition not in node.partitions:
            continue
        if size.gpus and kind and node.gpu_type and node.gpu_type != kind:
            continue
        room = min(node.cores_free // size.cores, int(node.memory_free // (size.memory_gb * 10**9)))
        if size.gpus:
            room = min(room, node.gpus_free // size.gpus)
        if whole:
            empty = node.cores_free == node.cores and node.gpus_free == node.gpus
            room = min(room, 1) if empty else 0
        total += room
    return total


class Queue:
    """Positions among the waiting jobs of a partition: first by priority, then by age (the job's number)."""

    def __init__(self, waiting: Waiting) -> None:
        self._ahead = {name: sorted(_rank(priority, job) for priority, job in jobs) for name, jobs in waiting.items()}

    @classmethod
    def of(cls, jobs: Sequence[Job]) -> Queue:
        """The queue as far as these jobs tell."""
        waiting: dict[str, list[tuple[int, JobId]]] = {}
        for job in jobs:
            if job.state is JobState.PENDING:
                for partition in job.partition.split(","):
                    waiting.setdefault(partition, []).append((job.priority or 0, job.id))
        return cls(waiting)

    def position(self, job: Job) -> int | None:
        """1 is next; None: it does not wait. Of several partitions the best place counts."""
        if job.state is not JobState.PENDING:
            return None
        rank = _rank(job.priority or 0, job.id)
        queues = (self._ahead.get(partition, []) for partition in job.partition.split(","))
        return min(bisect.bisect_left(queue, rank) for queue in queues) + 1


def _rank(priority: int, job: JobId) -> tuple[int, tuple[int, ...], str]:
    return -priority, tuple(int(number) for number in re.findall(r"[0-9]+", job)), job
