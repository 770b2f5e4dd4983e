"""Computes free resources and places in the queue from the scheduler's nodes and waiting jobs. Pure."""

from __future__ import annotations

import bisect
import re
from collections.abc import Container, Iterable, Mapping, Sequence

from factorycommon.gpu_shares import parse_slice
from factorycommon.models import Factory, Job, JobId, JobState, NodeSize, NodeState, PartitionLoad

Waiting = Mapping[str, Sequence[tuple[int, JobId]]]  # per partition: (priority, job id), the next job first


def loads(factory: Factory, nodes: Sequence[NodeState], waiting: Waiting) -> tuple[PartitionLoad, ...]:
    """Return the load of each partition that a factory's catalogue entry lists.

    ``nodes``: the factory's nodes; those that are down count in the totals, but not as free. ``waiting``: the waiting
    jobs.
    """
    found: list[PartitionLoad] = []
    for partition in factory.partitions:
        inside = [node for node in nodes if partition.name in node.partitions]
        out = [node.since for node in inside if node.since is not None]
        best = max(inside, key=lambda node: (node.gpus_free, node.cores_free), default=None)
        found.append(
            PartitionLoad(
                name=partition.name,
                gpus_total=sum(node.gpus for node in inside),
                gpus_free=sum(node.gpus_free for node in inside),
                cores_total=sum(node.cores for node in inside),
                cores_free=sum(node.cores_free for node in inside),
                pending=len(waiting.get(partition.name, ())),
                node_gpus_free=best.gpus_free if best else 0,
                node_cores_free=best.cores_free if best else 0,
                nodes_out=len(out),
                out_since=max(out, default=None),
            )
        )
    return tuple(found)


def fits(factory: Factory, nodes: Sequence[NodeState], size: NodeSize) -> int:
    """Return how many more sessions of a size fit into the free parts of the nodes now.

    The sessions are counted node by node, since a session never spans two nodes. Nodes that are reserved for a waiting
    job do not count, although a short session may still run there before that job: in this case the number is a lower
    bound. Limits of a QOS or a project are not considered.
    """
    partition = next(p for p in factory.partitions if p.name == size.partition)
    whole = size.whole_node or partition.whole_node_only
    kind = factory.accelerator.gres_type
    total = 0
    for node in nodes:
        if not node.usable or node.planned or size.partition not in node.partitions:
            continue
        part = parse_slice(size.gres or "")
        if size.gpus and part is None and kind and node.gpu_type and node.gpu_type != kind:
            continue
        room = min(node.cores_free // size.cores, int(node.memory_free // (size.memory_gb * 10**9)))
        if part is not None:
            room = min(room, node.slices_free.get(part.type, 0) // part.count)
        elif size.gpus:
            room = min(room, node.gpus_free // size.gpus)
        if whole:
            empty = node.cores_free == node.cores and node.gpus_free == node.gpus
            room = min(room, 1) if empty else 0
        total += room
    return total


class Queue:
    """The waiting jobs of each partition, ordered by priority, then by age (the job's number)."""

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting
        self._ranks = {name: sorted(_rank(priority, job) for priority, job in jobs) for name, jobs in waiting.items()}
        self.ids = frozenset(job for jobs in waiting.values() for _, job in jobs)

    @classmethod
    def of(cls, jobs: Iterable[Job]) -> Queue:
        """Return the queue of those of ``jobs`` that wait."""
        waiting: dict[str, list[tuple[int, JobId]]] = {}
        for job in jobs:
            if job.state is JobState.PENDING:
                for partition in job.partition.split(","):
                    waiting.setdefault(partition, []).append((job.priority or 0, job.id))
        return cls(waiting)

    def only(self, ids: Container[JobId]) -> Queue:
        """Return a queue with only those jobs whose ids are in ``ids``."""
        return Queue({name: [entry for entry in jobs if entry[1] in ids] for name, jobs in self._waiting.items()})

    def ahead(self, partition: str, job: Job) -> int:
        """Return how many waiting jobs of a partition are ahead of ``job``, which need not be in this queue."""
        return bisect.bisect_left(self._ranks.get(partition, []), _rank(job.priority or 0, job.id))


class Positions:
    """Computes places in the queue.

    ``queue``: all waiting jobs that the link may see. ``ours``: this gateway's jobs, usually from a newer answer than
    ``queue``. Whether a job in ``ours`` waits is taken from ``ours``, not from ``queue``. ``left``: ids of this
    gateway's jobs that waited and are missing in ``ours``; they do not count as waiting, even if ``queue`` contains
    them.
    """

    def __init__(self, queue: Queue, ours: Sequence[Job], left: Container[JobId] = ()) -> None:
        self.queue = queue
        self._new = Queue.of(job for job in ours if job.id not in queue.ids)
        over = {job.id for job in ours if job.state is not JobState.PENDING}
        self._gone = queue.only({id for id in queue.ids if id in over or id in left})

    def of(self, job: Job) -> int | None:
        """Return the job's place in the queue (1 is next); None if the job does not wait.

        For a job in several partitions, return its best place.
        """
        if job.state is not JobState.PENDING:
            return None
        return 1 + min(
            self.queue.ahead(name, job) + self._new.ahead(name, job) - self._gone.ahead(name, job)
            for name in job.partition.split(",")
        )


def _rank(priority: int, job: JobId) -> tuple[int, tuple[int, ...], str]:
    return -priority, tuple(int(number) for number in re.findall(r"[0-9]+", job)), job
