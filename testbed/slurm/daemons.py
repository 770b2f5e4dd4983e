"""Starts the daemons of one cluster, and finds their processes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from testbed import processes
from testbed.errors import DidNotStart
from testbed.install.packages import Packages
from testbed.network import login_side
from testbed.slurm import database
from testbed.slurm.files import log_tails

MUNGED, CONTROLLER, SSHD, DATABASE, ACCOUNTING = "munged", "slurmctld", "sshd", "mariadbd", "slurmdbd"
_OF_THE_LOGIN_SIDE = (MUNGED, CONTROLLER, SSHD, DATABASE, ACCOUNTING)  # all other daemons belong to nodes
_FIRST = ((MUNGED, DATABASE), (ACCOUNTING,), (CONTROLLER,))  # groups of daemons that start one after the other
_START_SECONDS = 90


def pid_file(folder: Path, name: str) -> Path:
    """Return the path of the file into which daemon ``name`` writes its pid; ``folder``: the cluster's folder."""
    return folder / "munge/pid" if name == MUNGED else folder / "run" / f"{name}.pid"


def running(folder: Path, name: str) -> processes.Process | None:
    """Return the running process of daemon ``name``, found by its pid file; None if it does not run.

    ``name``: ``munged``, ``slurmctld``, ``slurmdbd``, ``mariadbd``, ``sshd``, or a node's name for its slurmd.
    """
    try:
        # A daemon that goes on as another process writes the new pid over the old one. If the new one is shorter, what
        # is left of the old one follows on the next line (slurmctld 24.11, update_pidfile).
        pid = int(pid_file(folder, name).read_text().split()[0])
    except (FileNotFoundError, IndexError, ValueError):  # not written yet
        return None
    process = processes.find(pid)
    program = folder.resolve() / "sbin" / (name if name in _OF_THE_LOGIN_SIDE else "slurmd")
    # A pid file outlives a crash, and its number may belong to another process by now.
    return process if process is not None and processes.program(pid) == str(program) else None


def start(
    folder: Path,
    base: Path,
    names: Iterable[str],
    env: Mapping[str, str],
    enter: Callable[[str], tuple[str, ...]] = lambda _: (),
    accounting: Packages | None = None,
) -> None:
    """Start the daemons ``names``; each goes into the background by itself.

    ``enter``: returns the argv prefix that runs a command on the host of a daemon, by the daemon's name;
    ``accounting``: the packages of slurmdbd and its database. Raises DidNotStart.
    """
    asked = list(names)
    others = [name for name in asked if not any(name in stage for stage in _FIRST)]
    for stage in (*_FIRST, others):
        started = [(name, _start(folder, base, name, env, enter(name), accounting)) for name in stage if name in asked]
        for name, process in started:
            if process.wait(timeout=_START_SECONDS) != 0:
                raise DidNotStart(f"{folder.name}: {name} ended with {process.returncode}\n{log_tails(folder)}")
        if DATABASE in asked and DATABASE in stage:
            there = processes.wait_until(database.socket(base).is_socket, _START_SECONDS)
            if not there:
                raise DidNotStart(f"{folder.name}: no database in {_START_SECONDS} s\n{log_tails(folder)}")


def _start(
    folder: Path,
    base: Path,
    name: str,
    env: Mapping[str, str],
    enter: tuple[str, ...],
    accounting: Packages | None,
) -> subprocess.Popen[bytes]:
    # These programs have no run path to all unpacked libraries.
    if name == MUNGED:
        env = {**env, "LD_LIBRARY_PATH": f"{folder}/lib/slurm"}
    elif accounting is not None and name in (DATABASE, ACCOUNTING):
        env = {**env, "LD_LIBRARY_PATH": str(accounting.plugins), "MYSQL_UNIX_PORT": str(database.socket(base))}
    with (folder / "log" / f"{name}.out").open("ab") as output:
        return subprocess.Popen(
            [*enter, *_argv(folder, base, name, accounting)],
            env=dict(env),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o022,
        )


def _argv(folder: Path, base: Path, name: str, accounting: Packages | None) -> list[str]:
    sbin = folder / "sbin"
    if name == MUNGED:
        munge = base / "munge"
        return [
            str(sbin / "munged"),
            "--force",  # start in spite of the remains of a crash, and in folders that a group may write
            f"--key-file={munge}/munge.key",
            f"--socket={munge}/socket",
            f"--pid-file={munge}/pid",
            f"--seed-file={munge}/seed",
            f"--log-file={base}/log/munged.log",
            "--num-threads=2",
        ]
    if name == DATABASE and accounting is not None:
        database.socket(base).unlink(missing_ok=True)  # the socket of a server that was killed
        server = database.argv(sbin / name, accounting, base / database.FOLDER, base, root=os.geteuid() == 0)
        return ["setsid", "--fork", *server]  # it does not go into the background by itself
    if name == ACCOUNTING:
        return [str(sbin / name)]  # it finds its configuration beside slurm.conf
    if name == SSHD:
        return list(login_side.argv(folder))
    if name == CONTROLLER:
        return [str(sbin / "slurmctld"), "-f", f"{base}/etc/slurm.conf"]
    return [str(sbin / "slurmd"), "-N", name, "-d", str(sbin / "slurmstepd"), "-f", f"{base}/etc/slurm.conf"]
