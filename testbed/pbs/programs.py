"""Finds an installed OpenPBS. No distribution packages OpenPBS, so nothing is fetched."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import CannotRun
from testbed.install import system

CONF = Path("/etc/pbs.conf")
USUAL = Path("/opt/pbs")
COMMANDS = (
    *("pbs_attach", "pbs_rstat", "pbsnodes", "qalter", "qdel", "qmgr", "qrerun", "qselect", "qstat", "qsub", "qterm"),
)
DAEMONS = ("pbs_comm", "pbs_mom", "pbs_sched", "pbs_server")
HABITAT = "libexec/pbs_habitat"  # creates PBS_HOME with the server's database
IFF = "sbin/pbs_iff"  # authenticates a client at the server; must be set-user-id root
DATA_SERVICE = "sbin/pbs_dataservice"
WANTED = (
    *(f"bin/{name}" for name in COMMANDS),
    *(f"sbin/{name}" for name in DAEMONS),
    *(IFF, DATA_SERVICE, HABITAT),
)
DATABASE_USER = "postgres"  # account of the server's database, unless pbs.conf names another one
_VERSION = re.compile(r"pbs_version = (\S+)")
_OTHERS_MAY = 0o005


@dataclass(frozen=True)
class Programs:
    """An installed OpenPBS: the folder PBS_EXEC."""

    exec: Path
    version: str

    def program(self, name: str) -> str:
        """Return the path of a program below PBS_EXEC, such as ``sbin/pbs_mom``."""
        return str(self.exec / name)


def places(environ: Mapping[str, str], conf: Path | None = None) -> tuple[Path, ...]:
    """Return the folders in which to look for OpenPBS, the first choice first.

    They are ``PBS_EXEC`` in ``environ``, ``PBS_EXEC`` in pbs.conf, and the usual folder. ``conf``: the path of pbs.conf
    if ``environ`` has no ``PBS_CONF_FILE``; None: /etc/pbs.conf.
    """
    file = Path(environ.get("PBS_CONF_FILE") or conf or CONF)
    try:
        said = conf_value(file.read_text(errors="replace"), "PBS_EXEC")
    except OSError:
        said = ""
    return tuple(dict.fromkeys(Path(place) for place in (environ.get("PBS_EXEC"), said, USUAL) if place))


def conf_value(text: str, name: str) -> str:
    """Return the value of ``name`` in the text of a pbs.conf; "" if the name is missing."""
    found = re.findall(rf"^\s*{name}=[\"']?([^\"'\n]*?)[\"']?\s*$", text, re.M)
    return found[-1] if found else ""


def absent(place: Path) -> list[str]:
    """Return the programs that are missing below the folder ``place``, a PBS_EXEC."""
    return [name for name in WANTED if not os.access(place / name, os.X_OK)]


def find(environ: Mapping[str, str] | None = None, conf: Path | None = None) -> Programs:
    """Return the OpenPBS of this machine.

    Raises CannotRun, which says what is missing, where it was looked for, and what to do.
    """
    looked = places(os.environ if environ is None else environ, conf)
    for place in looked:
        if not absent(place):
            return Programs(place, _version(place))
    nearest = min(looked, key=lambda place: len(absent(place)))
    missing = absent(nearest)
    what = "OpenPBS" if len(missing) == len(WANTED) else f"OpenPBS' {', '.join(missing)} in {nearest}"
    raise CannotRun(
        f"{what} (looked in {', '.join(map(str, looked))}): install OpenPBS 23 with its server, scheduler, comm and"
        " mom, and name its folder in PBS_EXEC"
    )


def check_system(programs: Programs) -> None:
    """Raise CannotRun if this machine or user cannot run the daemons of OpenPBS."""
    missing = []
    if os.geteuid() != 0:
        missing.append("root, as whom the daemons of PBS run")
    elif not (programs.exec / IFF).stat().st_mode & 0o4000:
        missing.append(f"the set-user-id bit of {programs.exec / IFF}, without which nobody but root can ask")
    for place in (programs.exec, *programs.exec.parents):
        if place.stat().st_mode & _OTHERS_MAY != _OTHERS_MAY:
            missing.append(f"a PBS_EXEC that site accounts can read: {place} is closed to others")
    if not (_database_programs(programs) / "initdb").exists():
        missing.append(f"PostgreSQL's server programs in {_database_programs(programs)} (where PBS looks for them)")
    try:
        pwd.getpwnam(DATABASE_USER)
    except KeyError:
        missing.append(f"the Unix user {DATABASE_USER}, as whom PBS' database runs (Debian: postgresql)")
    if missing:
        raise CannotRun(*missing)


def _database_programs(programs: Programs) -> Path:
    """Return the folder in which PBS finds PostgreSQL's programs.

    This is PBS' own folder if there is one, else the folder that pg_config names, or /usr/bin without pg_config.
    """
    own = programs.exec / "pgsql/bin"
    if own.is_dir():
        return own
    try:
        argv = [system.program("pg_config"), "--bindir"]
    except FileNotFoundError:
        return Path("/usr/bin")
    return Path(subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True).stdout.strip())


def _version(place: Path) -> str:
    done = subprocess.run(
        [str(place / "bin/qstat"), "--version"], capture_output=True, text=True, timeout=20, check=False
    )
    found = _VERSION.search(done.stdout)
    if found is None:
        raise CannotRun(f"OpenPBS in {place}: qstat --version says {(done.stdout + done.stderr).strip()!r}")
    return found[1]
