"""Parses what PBS reports of its nodes and queues. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from factorycommon.models import NodeState, believed
from factorylink.schedulers.pbs.json import as_dict, as_text, documents, items, understood
from factorylink.schedulers.pbs.parser import size

# States of nodes that are up and accept jobs. Nodes in other states (down, offline, stale, maintenance, resv-exclusive,
# ...) have nothing free.
USABLE = {"free", "job-busy", "job-exclusive", "sleep"}
_SET_ASIDE = {"resv-exclusive"}  # states of nodes that are in order, but reserved
_GPUS = ("ngpus", "naccelerators")
_AMOUNT = re.compile(r"-?[0-9]+(\.[0-9]+)?([kmgtp]?[bw])?", re.I)


def nodes(stdout: str) -> list[NodeState]:
    """Return one state for each host, from pbsnodes' answer followed by qstat's answer about the queues.

    PBS may show a host as several vnodes. A job's chunk may span the vnodes of a host, so their resources are added up.
    ``partitions`` of a state has the queues whose jobs the host's vnodes run. A vnode that belongs to a queue runs only
    the jobs of this queue. Any other vnode runs the jobs of all queues without nodes of their own, except queues whose
    ``default_chunk`` requires a value of a resource (such as ``Qlist``) that the vnode does not have.

    Raises Misread if the output does not consist of these two answers.
    """
    found, queues = documents(stdout, "nodes", "Queue")
    with understood(stdout):
        owned = {str(values["queue"]) for _, values in items(found) if "queue" in values}
        free = {
            name: _chosen(values)
            for name, values in items(queues)
            if values.get("queue_type") == "Execution" and name not in owned and values.get("hasnodes") != "True"
        }
        hosts: dict[str, NodeState] = {}
        for name, values in items(found):
            node = _vnode(name, values, free)
            hosts[node.name] = _together(hosts[node.name], node) if node.name in hosts else node
    return list(hosts.values())


def _chosen(queue: Mapping[str, Any]) -> dict[str, str]:
    """Return the resources in a queue's ``default_chunk`` by which the queue selects nodes.

    These are all resources except those whose value is an amount (``4``, ``2gb``).
    """
    chunk = as_dict(queue.get("default_chunk", {}))
    return {name: str(value) for name, value in chunk.items() if not _AMOUNT.fullmatch(str(value))}


def _has(resources: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """Return whether a node's resources have all of the ``wanted`` values.

    A resource may have several values, separated by commas; one that is not set on the node has none.
    """
    return all(value in str(resources.get(name, "")).split(",") for name, value in wanted.items())


def _vnode(name: str, values: Mapping[str, Any], queues: Mapping[str, Mapping[str, str]]) -> NodeState:
    has, taken = as_dict(values["resources_available"]), as_dict(values.get("resources_assigned", {}))
    states = set(as_text(values, "state").split(","))
    usable = states <= USABLE
    empty = usable and "job-exclusive" not in states
    changed = values.get("last_state_change_time")
    cores, memory, gpus = (
        int(has.get("ncpus", 0)),
        size(has.get("mem", 0)),
        sum(int(has.get(kind, 0)) for kind in _GPUS),
    )
    busy = sum(int(taken.get(kind, 0)) for kind in _GPUS)
    return NodeState(
        name=str(has.get("host", name)),
        partitions=(str(values["queue"]),)
        if "queue" in values
        else tuple(queue for queue, wanted in queues.items() if _has(has, wanted)),
        usable=usable,
        reason="" if usable else str(values.get("comment") or values["state"]),
        since=None if changed is None or states <= USABLE | _SET_ASIDE else believed(int(changed)),
        cores=cores,
        cores_free=max(0, cores - int(taken.get("ncpus", 0))) if empty else 0,
        memory=memory,
        memory_free=max(0, memory - size(taken.get("mem", 0))) if empty else 0,
        gpus=gpus,
        gpus_free=max(0, gpus - busy) if empty else 0,
    )


def _together(one: NodeState, other: NodeState) -> NodeState:
    sums = ("cores", "cores_free", "memory", "memory_free", "gpus", "gpus_free")
    return one.model_copy(
        update={
            **{name: getattr(one, name) + getattr(other, name) for name in sums},
            "usable": one.usable and other.usable,
            "reason": one.reason or other.reason,
            "since": min((at for at in (one.since, other.since) if at is not None), default=None),
            "partitions": tuple(dict.fromkeys((*one.partitions, *other.partitions))),
        }
    )
