"""The record of an OpenPBS cluster for later processes (``STATE/ID/pbs.json``), and the search for its daemons."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from factorycommon.models import Model
from testbed import processes
from testbed.network.login_side import Isolation
from testbed.network.namespaces import Network

FILE = "pbs.json"
COMM, SCHEDULER, SERVER, MOM = "pbs_comm", "pbs_sched", "pbs_server", "pbs_mom"
OF_THE_LOGIN_SIDE = (COMM, SCHEDULER, SERVER)
# The file with each daemon's process id, below its PBS_HOME.
_LOCKS = {
    COMM: "server_priv/comm.lock",
    SCHEDULER: "sched_priv/sched.lock",
    SERVER: "server_priv/server.lock",
    MOM: "mom_priv/mom.lock",
}


class PbsRecord(Model):
    """One cluster, as it was started."""

    id: str
    programs: Path  # PBS_EXEC
    version: str
    accounts: tuple[str, ...]
    network: Network
    isolation: Isolation
    orders: tuple[str, ...]  # commands for qmgr
    resources: tuple[str, ...]  # the site's own resources, listed in the scheduler's configuration

    def write(self, folder: Path) -> None:
        """Write the record into the cluster's ``folder``, for :func:`read`."""
        (folder / FILE).write_text(self.model_dump_json(indent=1) + "\n")


def read(folder: Path) -> PbsRecord | None:
    """Return the record in ``folder``; None if there is no valid record.

    A record is invalid if it cannot be read, is of another version, or was truncated by a crash.
    """
    try:
        return PbsRecord.model_validate_json((folder / FILE).read_text())
    except (FileNotFoundError, ValidationError):
        return None


def states(answer: str, nodes: tuple[str, ...]) -> set[str]:
    """Return the states of ``nodes`` in the output of ``pbsnodes -a -F json``.

    A node without an entry is ``missing``.
    """
    found = json.loads(answer or "{}").get("nodes", {})
    return {state for node in nodes for state in str(found.get(node, {}).get("state", "missing")).split(",")}


def daemon(programs: Path, home: Path, name: str) -> processes.Process | None:
    """Return the running process of a daemon; None if it does not run.

    The process is found by the file that it locks, since a recorded pid may belong to another process by now.
    """
    try:
        process = processes.find(int((home / _LOCKS[name]).read_text().split()[0]))
    except (FileNotFoundError, ValueError, IndexError):
        return None
    program = processes.program(process.pid) if process is not None else None
    return process if (program or "").startswith(f"{programs.resolve()}/sbin/{name}") else None
