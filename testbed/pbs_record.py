"""What is remembered of an OpenPBS between processes (``STATE/ID/pbs.json``), and which processes are its daemons."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pydantic import ValidationError

from factorylink.models import Model
from testbed import pbs_layout, processes

FILE = "pbs.json"
# In the order of their start; where each keeps its process id, below PBS_HOME.
LOCKS = {
    "pbs_comm": "server_priv/comm.lock",
    "pbs_mom": "mom_priv/mom.lock",
    "pbs_sched": "sched_priv/sched.lock",
    "pbs_server": "server_priv/server.lock",
}
_DATABASE = "datastore/postmaster.pid"


class PbsRecord(Model):
    """One cluster, as it was started."""

    id: str
    version: str
    accounts: tuple[str, ...]
    place: pbs_layout.Place
    nodes: tuple[str, ...]
    orders: tuple[str, ...]  # to qmgr
    resources: tuple[str, ...]  # of the site, named to the scheduler


def read(folder: Path) -> PbsRecord | None:
    """The record in ``folder``. One that cannot be read, of another version or cut short by a crash, counts as none."""
    try:
        return PbsRecord.model_validate_json((folder / FILE).read_text())
    except (FileNotFoundError, ValidationError):
        return None


def states(told: str, nodes: tuple[str, ...]) -> set[str]:
    """The states of those vnodes in the answer of ``pbsnodes -a -F json``; one that is not there is ``missing``."""
    found = json.loads(told or "{}").get("nodes", {})
    return {state for node in nodes for state in str(found.get(node, {}).get("state", "missing")).split(",")}


def daemon(place: pbs_layout.Place, name: str) -> processes.Process | None:
    """The living process of a daemon, by the file that it locks; its number may be somebody else's by now."""
    process = _by_pid_file(place.home / LOCKS[name])
    program = processes.program(process.pid) if process is not None else None
    ours = program is not None and program.startswith(f"{place.exec.resolve()}/sbin/{name}")
    return process if ours else None


def database(place: pbs_layout.Place) -> processes.Process | None:
    """The server's database, which it starts as another user, without our mark."""
    process = _by_pid_file(place.home / _DATABASE)
    if process is None:
        return None
    try:
        where = os.readlink(f"/proc/{process.pid}/cwd")
    except OSError:
        return None
    return process if where == str((place.home / _DATABASE).parent.resolve()) else None


def _by_pid_file(file: Path) -> processes.Process | None:
    try:
        return processes.find(int(file.read_text().split()[0]))
    except (FileNotFoundError, ValueError, IndexError):
        return None
