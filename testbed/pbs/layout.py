"""Makes OpenPBS' configuration from a factory of the catalogue as text; no file is touched.

Server, scheduler and comm are on the login side, and each node has a mom, all in network namespaces: PBS does not work
with host names that resolve to loopback addresses, so every host needs an address, and all ports, of its own. The
commands for qmgr follow the Administrator's Guide: host-level resources of the site are made with ``flag=h`` (numbers:
``nh``) and named to the scheduler in ``sched_config``. If a queue does not use all nodes, each queue finds its nodes by
a list (``Qlist``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from factorycommon.models import Factory
from testbed.errors import CannotLayOut
from testbed.network.namespaces import LOGIN
from testbed.slurm.layout import NodeSet, any_node_sets, longest_hours

# Resources that PBS has built in; all others must be created (also ngpus, which a site creates).
_KNOWN_RESOURCES = {"aoe", "arch", "host", "mem", "ncpus", "vmem", "vnode"}
_RESOURCE = re.compile(r"([A-Za-z][A-Za-z0-9_]*)=([A-Za-z0-9_./@-]+)")
_QUEUE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,14}")  # PBS refuses longer names
_LISTS = "Qlist"
SECONDS_BETWEEN_CYCLES = 20  # seconds between two cycles of the scheduler, if no event starts one
HISTORY = "24:00:00"  # how long PBS remembers ended jobs


def node_sets(factory: Factory, gpu_nodes: int = 2, cpu_nodes: int = 1) -> tuple[NodeSet, ...]:
    """Return the groups of nodes to start: ``gpu_nodes`` of each kind with GPUs, ``cpu_nodes`` of each other kind.

    Raises CannotLayOut, also if the factory's scheduler is not PBS.
    """
    if factory.scheduler != "pbs":
        raise CannotLayOut(f"{factory.id}: its scheduler is {factory.scheduler}; the layout asked for is PBS'")
    return any_node_sets(factory, gpu_nodes, cpu_nodes)


def pbs_conf(programs: Path, home: Path, mom: bool) -> str:
    """Return the text of pbs.conf for a node, which runs a mom, or for the login side, which runs all other daemons.

    ``home``: PBS_HOME of the host.
    """
    settings = {
        "PBS_EXEC": programs,
        "PBS_HOME": home,
        "PBS_SERVER": LOGIN,
        "PBS_START_SERVER": int(not mom),
        "PBS_START_SCHED": int(not mom),
        "PBS_START_COMM": int(not mom),
        "PBS_START_MOM": int(mom),
        "PBS_CORE_LIMIT": 0,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def environment(programs: Path, conf: Path) -> dict[str, str]:
    """Return the environment variables that PBS' client programs need."""
    return {"PBS_CONF_FILE": str(conf), "PATH": f"{programs}/bin:/usr/local/bin:/usr/bin:/bin"}


def job_environment(environ: Mapping[str, str], mark: tuple[str, str]) -> str:
    """Return the text of pbs_environment, the file with environment variables for every job.

    ``mark``: name and value of the variable by which the cluster's processes are found.
    """
    return "".join(f"{name}={value}\n" for name, value in (*environ.items(), mark))


def mom_config() -> str:
    """Return the text of the mom's configuration.

    All hosts share one file system, so output is not copied to another host.
    """
    return "$usecp *:/ /\n"


def sched_config(text: str, resources: Sequence[str]) -> str:
    """Return PBS' own sched_config ``text`` with the site's ``resources`` added, and with strict ordering of jobs.

    With this order, the first waiting job has an estimated start. Raises CannotLayOut if the file lacks the lines to
    change.
    """
    found = re.search(r'^(\s*resources:\s*")([^"\n]*)(")', text, re.M)
    if found is None:
        raise CannotLayOut("the line `resources:` is not in PBS' sched_config")
    named = [name.strip() for name in found[2].split(",") if name.strip()]
    whole = ", ".join(dict.fromkeys((*named, *resources)))
    text = f"{text[: found.start()]}{found[1]}{whole}{found[3]}{text[found.end() :]}"
    ordered, lines = re.subn(r"^strict_ordering:.*$", "strict_ordering: true ALL", text, flags=re.M)
    if not lines:
        raise CannotLayOut("the line `strict_ordering:` is not in PBS' sched_config")
    return ordered


def of_a_chunk(factory: Factory) -> dict[str, str]:
    """Return the resources that the factory's ``constraint`` requests in each chunk; all nodes have them.

    Raises CannotLayOut if the constraint does not have the form ``NAME=VALUE:NAME=VALUE``.
    """
    words = factory.constraint.split(":") if factory.constraint else []
    found = [_RESOURCE.fullmatch(word) for word in words]
    if not all(found):
        raise CannotLayOut(f"{factory.id}: its constraint is not NAME=VALUE:NAME=VALUE: {factory.constraint}")
    return {match[1]: match[2] for match in found if match}


def resources(factory: Factory, sets: Sequence[NodeSet]) -> dict[str, str]:
    """Return the site's own resources, each with the flags and type that create it."""
    made = {"ngpus": "type=long,flag=nh"} if any(nodes.gpus for nodes in sets) else {}
    made |= {name: "type=string,flag=h" for name in of_a_chunk(factory) if name not in _KNOWN_RESOURCES}
    return made | ({_LISTS: "type=string_array,flag=h"} if len(sets) > 1 else {})


def orders(factory: Factory, sets: Sequence[NodeSet]) -> tuple[str, ...]:
    """Return the qmgr commands for a server with an empty database. Raises CannotLayOut."""
    lines = [f"create resource {name} {how}" for name, how in resources(factory, sets).items()]
    lines += [
        "set server scheduling = True",
        f"set server scheduler_iteration = {SECONDS_BETWEEN_CYCLES}",
        "set server query_other_jobs = True",
        "set server flatuid = True",
        "set server job_history_enable = True",
        f"set server job_history_duration = {HISTORY}",
        "set server default_chunk.ncpus = 1",
        "set server max_array_size = 10000",
    ]
    for nodes in sets:
        for partition in nodes.partitions:
            lines += _queue(factory, partition.name, longest_hours(factory, partition))
            if partition.default_hours is not None:
                lines.append(_set_queue(partition.name, "resources_default.walltime", clock(partition.default_hours)))
            if partition.whole_node_only:
                lines.append(_set_queue(partition.name, "resources_default.place", "pack:exclhost"))
            if len(sets) > 1:
                lines.append(_set_queue(partition.name, f"default_chunk.{_LISTS}", partition.name))
    default = factory.sizes[0].partition if factory.sizes else factory.partitions[0].name
    lines.append(f"set server default_queue = {default}")
    for nodes in sets:
        for name in nodes.names:
            lines += _node(factory, nodes, name, listed=len(sets) > 1)
    return tuple(lines)


def clock(hours: float) -> str:
    """Return ``hours`` in PBS' form: 1.5 -> 01:30:00."""
    seconds = math.ceil(round(hours * 3600, 6))
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _queue(factory: Factory, name: str, hours: float) -> list[str]:
    if not _QUEUE.fullmatch(name):
        raise CannotLayOut(f"{factory.id}: PBS takes no queue of the name {name!r}")
    return [
        f"create queue {name} queue_type = Execution",
        _set_queue(name, "resources_max.walltime", clock(hours)),
        _set_queue(name, "enabled", "True"),
        _set_queue(name, "started", "True"),
    ]


def _set_queue(name: str, attribute: str, value: str) -> str:
    return f"set queue {name} {attribute} = {value}"


def _node(factory: Factory, nodes: NodeSet, name: str, listed: bool) -> list[str]:
    has = {"ncpus": nodes.cores, "mem": f"{nodes.memory_mib * 1024}kb"}
    if nodes.gpus:
        has["ngpus"] = nodes.gpus
    has |= of_a_chunk(factory)
    if listed:
        has[_LISTS] = '"' + ",".join(partition.name for partition in nodes.partitions) + '"'
    return [
        f"create node {name}",
        *(f"set node {name} resources_available.{resource} = {value}" for resource, value in has.items()),
    ]
