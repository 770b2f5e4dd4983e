"""Parses what Slurm reports of its nodes. Pure.

**Memory.** One of Slurm's MB is 2**20 bytes, here and in ``script``; a GB of the catalogue and of pages is 10**9 bytes.
A node with RealMemory=512000, which its site calls "512 GB", has room for sizes of 536 GB in total.
"""

from __future__ import annotations

import re
from collections import Counter

from factorycommon.gpu_shares import mig_profile
from factorycommon.models import NodeState
from factorylink.errors import Misread
from factorylink.schedulers.slurm.parser import fields, free_text, moment, number, rows

# States of nodes that are up and accept jobs. Nodes in other states (down, drained, reserved, ...) have nothing free.
USABLE = {"allocated", "completing", "idle", "mixed", "planned", "powered_down", "powering_up"}
_SET_ASIDE = {"maint", "reserved"}  # states of nodes that are in order, but reserved
# One-letter marks after a node's state (not responding, powering down, in maintenance, ...) that do no harm:
MARKS_FINE = set("~#+@-")  # asleep, waking up, to be rebooted once idle, planned for another job

_NODE_NAMES, _NODE_ROW = fields(
    ("NodeList", 48, "name", r"[^|\s]+"),
    ("PartitionName", 48, "partition", r"[^|\s]+"),
    ("StateLong", 24, "state", r"[^|\s]+"),
    ("CPUsState", 24, "cpus", r"[0-9]+/[0-9]+/[0-9]+/[0-9]+"),
    ("Memory", 14, "memory", r"[0-9]+"),
    ("AllocMem", 14, "memory_used", r"[0-9]+|N/A"),
    ("Gres", 96, "gres", r"[^|\n]*?"),
    ("GresUsed", 160, "gres_used", r"[^|\n]*?"),
    ("Timestamp", 20, "since", r"[0-9A-Za-z:/-]*"),  # time of the reason; "Unknown" if there is none
)
_REASON_WIDTH = 80
NODE_FORMAT = f"{_NODE_NAMES},Reason:{_REASON_WIDTH}|"
_NODE = re.compile(_NODE_ROW + free_text(_REASON_WIDTH) + r"\n")


def _gpus(gres: str) -> tuple[int, set[str], Counter[str]]:
    """Return the number and the types of whole GPUs in a gres text, and the number of slices by type.

    The type of a slice is its MIG profile, and "" for a shard. ``gpu:a100:4(S:0-1),shard:8`` -> 4, {"a100"}, {"": 8};
    ``gpu:2(IDX:0-1)`` -> 2, {}, {}; ``gpu:1g.10gb:7`` -> 0, {}, {"1g.10gb": 7}.
    """
    count, kinds, slices = 0, set(), Counter[str]()
    for name, kind, digits in re.findall(r"(?:^|,)(gpu|shard):(?:([^:,()]+):)?([0-9]+)(?![0-9:])", gres):
        if name == "shard":
            slices[""] += int(digits)
        elif mig_profile(kind):
            slices[kind] += int(digits)
        else:
            count += int(digits)
            kinds |= {kind} - {""}
    return count, kinds, slices


def nodes(stdout: str) -> list[NodeState]:
    """Return one state for each node, from sinfo's answer in ``NODE_FORMAT``. Raises Misread.

    The answer has a row for each pair of node and partition.
    """
    found: dict[str, re.Match[str]] = {}
    partitions: dict[str, dict[str, None]] = {}
    for row in rows(_NODE, stdout, _REASON_WIDTH):
        found[row["name"]] = row
        partitions.setdefault(row["name"], {})[row["partition"]] = None
    try:
        return [_node(row, tuple(partitions[name])) for name, row in found.items()]
    except ValueError as error:
        raise Misread(f"sinfo's answer is not understood: {error}", stdout) from error


def _node(row: re.Match[str], partitions: tuple[str, ...]) -> NodeState:
    word, marks = re.fullmatch(r"([a-z_]*)(.*)", row["state"].lower()).groups()  # type: ignore[union-attr]  # matches all
    usable = word in USABLE and set(marks) <= MARKS_FINE
    *parts, total = (int(n) for n in row["cpus"].split("/"))
    idle = parts[1]
    if sum(parts) != total:
        raise ValueError(f"{row['cpus']} is no share of cores")
    memory, used = int(row["memory"]), number(row["memory_used"]) or 0
    gpus, kinds, slices = _gpus(row["gres"])
    busy, _, slices_busy = _gpus(row["gres_used"])
    reason = row["text"].strip()
    return NodeState(
        name=row["name"],
        partitions=partitions,
        usable=usable,
        planned=word == "planned" or "-" in marks,
        since=None if usable or word in _SET_ASIDE else moment(row["since"]),
        reason=row["state"] if not usable and reason in ("", "none") else ("" if reason == "none" else reason),
        cores=total,
        cores_free=idle if usable else 0,
        memory=memory * 2**20,
        memory_free=max(0, memory - used) * 2**20 if usable else 0,
        gpus=gpus,
        gpus_free=max(0, gpus - busy) if usable else 0,
        gpu_type=kinds.pop() if len(kinds) == 1 else None,
        slices_free=dict(slices - slices_busy) if usable else {},
    )
