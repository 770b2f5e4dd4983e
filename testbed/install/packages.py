"""Unpacks Slurm, munge and MariaDB from the distribution's packages into a folder.

This needs no root, and installs nothing in the system. The packages are those that apt would install, with all
dependencies; only packages that contain programs or libraries are unpacked, never libc. The system's package lists are
used as they are; if they are empty or outdated, lists are fetched into the folder itself.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import CannotRun
from testbed.install.relocate import relocate

WANTED = ("slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins", "munge", "libmunge2")
ACCOUNTING = ("slurmdbd", "mariadb-server-core")
# Packages that are never unpacked: the loader must fit the system's libc, and the others run at installation only.
_LEFT_OUT = ("libc6", "libc-bin", "libgcc-s1", "gcc-", "adduser", "passwd", "ucf", "debconf", "init-", "systemd")
_APT_TIMEOUT = 300.0
_FORM = "2"  # version of the unpacked folder's layout; folders with another version are replaced


@dataclass(frozen=True)
class Packages:
    """Slurm's unpacked packages.

    ``root`` holds ``usr/…``; all libraries are in ``libraries``, plugins in a folder below it.
    """

    root: Path
    version: str  # of Slurm, as the distribution numbers it

    @property
    def bin(self) -> Path:
        """Return the folder of the client programs: sbatch, squeue, ..."""
        return self.root / "usr/bin"

    @property
    def plugins(self) -> Path:
        """Return Slurm's PluginDir, which also holds libslurmfull.so. Raises CannotRun if it is missing."""
        found = sorted(self.root.glob("usr/lib/*/slurm-wlm"))
        if not found:
            raise CannotRun(f"the Slurm plugins below {self.root}: remove that folder and install again")
        return found[0]

    @property
    def libraries(self) -> Path:
        """Return the folder with all libraries.

        Programs find their libraries there by a relative path: ``sbin`` and ``lib`` are siblings.
        """
        return self.root / "usr/lib"

    def daemon(self, name: str) -> Path:
        """Return the path of a daemon's program: slurmctld, slurmd, slurmstepd, munged, slurmdbd or mariadbd.

        Raises CannotRun if it is missing.
        """
        for file in (self.root / f"usr/sbin/{name}-wlm", self.root / f"usr/sbin/{name}"):
            if file.is_file():
                return file
        raise CannotRun(f"the program {name} below {self.root}: remove that folder and install again")


def installed(dest: Path) -> Packages | None:
    """Return the packages that an earlier :func:`install` left in ``dest``; None if there are none."""
    try:
        stamp = json.loads((dest / "installed.json").read_text())
    except FileNotFoundError:
        return None
    if stamp.get("form") != _FORM:
        return None
    return Packages(root=dest / "root", version=str(stamp.get("slurmctld") or stamp["slurmdbd"]))


def install(dest: Path) -> Packages:
    """Unpack Slurm below ``dest`` unless that is done already; return the packages.

    Takes about 15 s the first time, and no time later. Raises CannotRun if apt, its sources or Slurm are missing.
    """
    return _install(dest, WANTED)


def accounting(slurm: Packages) -> Path:
    """Return the folder for slurmdbd and its database that belongs to an unpacked Slurm."""
    return slurm.root.parent / "accounting"


def install_accounting(slurm: Packages, finish: Callable[[Packages], None]) -> Packages:
    """Unpack slurmdbd and MariaDB beside ``slurm`` unless that is done already; return the packages.

    ``finish`` is called with new packages, once, before any other process can see them. Raises CannotRun.
    """
    return _install(accounting(slurm), ACCOUNTING, finish)


def _install(dest: Path, wanted: Sequence[str], finish: Callable[[Packages], None] = lambda _: None) -> Packages:
    dest = dest.absolute()
    done = installed(dest)
    if done is not None:  # another user may have installed it, in a folder that this user can only read
        return done
    dest.mkdir(parents=True, exist_ok=True)
    with locked(dest / "lock"):
        there = installed(dest)
        if there is not None:
            return there
        with tempfile.TemporaryDirectory(dir=dest, prefix="new-") as scratch:
            root = Path(scratch) / "root"
            versions = unpack(wanted, root, dest / "apt")
            _make_movable(root)
            finish(Packages(root=root, version=versions[wanted[0]]))
            for made in Path(scratch).iterdir():
                shutil.rmtree(dest / made.name, ignore_errors=True)
                made.rename(dest / made.name)
        fresh = dest / "installed.json.new"
        fresh.write_text(json.dumps({"form": _FORM, **versions}, indent=1) + "\n")
        fresh.rename(dest / "installed.json")
        return Packages(root=dest / "root", version=versions[wanted[0]])


def _make_movable(root: Path) -> None:
    """Make the programs in ``root`` run from any folder: put all libraries into one folder, and set run paths to it."""
    root.chmod(0o755)
    (plugins,) = root.glob("usr/lib/*/slurm-wlm")
    for library in plugins.parent.glob("*.so*"):
        (plugins / library.name).symlink_to(f"../{library.name}")
    (root / "usr/lib/slurm").symlink_to(f"{plugins.parent.name}/{plugins.name}")
    for program in [*(root / "usr/bin").iterdir(), *(root / "usr/sbin").iterdir()]:
        relocate(program)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``file``; wait if another process holds it."""
    with file.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _need_programs(*names: str) -> None:
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        raise CannotRun(*(f"the program {name} (Debian or a relative is needed)" for name in missing))


def unpack(
    wanted: Sequence[str], root: Path, apt: Path, belongs: Callable[[str], bool] = lambda _name: True
) -> dict[str, str]:
    """Unpack the packages ``wanted`` and their dependencies into ``root``; return the version of each package.

    ``apt``: a folder for apt's own files. ``belongs``: returns whether a dependency, by its name, is to be unpacked,
    too. Raises CannotRun.
    """
    _need_programs("apt-get", "dpkg", "dpkg-deb")
    with tempfile.TemporaryDirectory(dir=root.parent, prefix="debs-") as debs:
        files = _download(wanted, apt, Path(debs), belongs)
        for file in files.values():
            _run(["dpkg-deb", "-x", str(file), str(root)])
    return {name: file.name.split("_")[1] for name, file in files.items()}


def _download(wanted: Sequence[str], apt: Path, debs: Path, belongs: Callable[[str], bool]) -> dict[str, Path]:
    """Download the packages into ``debs``; return the file of each package by its name.

    The system's package lists are used; if apt fails with these lists, new lists are fetched.
    """
    (apt / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
    (apt / "lists/partial").mkdir(parents=True, exist_ok=True)
    common = [
        "apt-get",
        f"-oDir::Cache={apt / 'cache'}",
        "-oDebug::NoLocking=1",
        "-oAPT::Sandbox::User=",
        "-oAcquire::Languages=none",
        "-oAcquire::Retries=3",
    ]
    ours = [*common, f"-oDir::State::lists={apt / 'lists'}"]
    try:
        return _download_with(common, wanted, debs, belongs)
    except subprocess.CalledProcessError:
        # Empty or outdated lists. If the update of one source fails, go on: the download below reports missing
        # packages.
        subprocess.run([*ours, "update"], capture_output=True, timeout=_APT_TIMEOUT, check=False)
    try:
        return _download_with(ours, wanted, debs, belongs)
    except subprocess.CalledProcessError as error:
        words = (error.stderr or error.stdout or "").strip().splitlines()
        tail = " / ".join(words[-3:])
        raise CannotRun(f"the packages {', '.join(wanted)} from this system's package sources ({tail})") from error


def _download_with(
    apt: Sequence[str], wanted: Sequence[str], debs: Path, belongs: Callable[[str], bool]
) -> dict[str, Path]:
    _run([*apt, "download", *_closure(apt, wanted, belongs)], cwd=debs)
    files = {file.name.split("_")[0]: file for file in sorted(debs.glob("*.deb"))}
    absent = [name for name in wanted if name not in files]
    if absent:
        raise CannotRun(*(f"the package {name}" for name in absent))
    return files


def _closure(apt: Sequence[str], wanted: Sequence[str], belongs: Callable[[str], bool]) -> list[str]:
    """Return the packages ``wanted``, and those dependencies that apt would install and that ``belongs`` accepts.

    Base packages such as libc are left out.
    """
    plan = _run([*apt, "-s", "install", "--no-install-recommends", *wanted])
    planned = [line.split()[1].split(":")[0] for line in plan.splitlines() if line.startswith("Inst ")]
    extra = [name for name in planned if not name.startswith(_LEFT_OUT) and belongs(name)]
    return list(dict.fromkeys([*wanted, *extra]))


def _run(argv: Sequence[str], cwd: Path | None = None) -> str:
    """Run a program and return its standard output. Raises CalledProcessError with the program's error message."""
    env = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=_APT_TIMEOUT, check=True)
    return done.stdout
