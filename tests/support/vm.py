"""A bare Debian or Ubuntu as a machine of its own: real systemd as PID 1, in namespaces of this machine, with cgroup2.

The machine has its own network. So its programs can bind the ports 80 and 443 of their own network, and they reach the
package sources through ``pasta``, which changes nothing outside of the namespace."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.install import system

NEEDS = {"mmdebstrap": "mmdebstrap", "pasta": "passt", "pebble": "pebble", "pebble-challtestsrv": "pebble"}
INCLUDED = ("ca-certificates", "dbus", "iproute2", "passwd", "python3", "systemd", "systemd-sysv")
ADDRESS = "198.51.100.7"  # the machine's address in its own network


@dataclass(frozen=True)
class Suite:
    """A release of a distribution.

    ``mirror``: "" means the mirror of this machine; ``keyring``: a file of the package ``package``, for a machine that
    does not know the archive's keys.
    """

    name: str
    mirror: str = ""
    components: str = "main"
    keyring: str = ""
    package: str = ""


DEBIAN = Suite("trixie")
UBUNTU = Suite(
    "noble",
    "http://archive.ubuntu.com/ubuntu",
    "main,universe",
    "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
    "ubuntu-keyring",
)
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
}
PATIENCE = 120.0  # seconds
# This machine's settings for package sources, which the new machine needs as well.
SOURCES = (
    "etc/apt/apt.conf.d",
    "etc/apt/auth.conf.d",
    "etc/npmrc",
    "etc/pip.conf",
    "etc/resolv.conf",
    "root/.config/pip",
    "root/.npmrc",
    "usr/local/share/ca-certificates",
)
_BOOT = """
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755,nosuid tmpfs dev
for name in null zero full random urandom tty; do : >dev/$name; mount --bind /dev/$name dev/$name; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs run
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs tmp
shift
for bound in "$@"; do mkdir -p "./$bound"; mount --bind "$bound" "./$bound"; mount -o remount,bind,ro "./$bound"; done
mkdir -p .outside
pivot_root . .outside
umount -l .outside
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /sbin/init
"""


def bare_system(folder: Path, suite: Suite = DEBIAN) -> Path:
    """Return a bare system as a tar file; make it if it is missing. Raises RuntimeError."""
    made = folder / f"{suite.name}.tar"
    if not made.exists():
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / "new.tar"
        fresh.unlink(missing_ok=True)
        options = ["--variant=minbase", f"--include={','.join(INCLUDED)}", f"--components={suite.components}"]
        if suite.keyring:
            problem = "" if Path(suite.keyring).exists() else system.install([suite.package])
            if problem:
                raise RuntimeError(f"{suite.package} cannot be installed: {problem}")
            options.append(f"--keyring={suite.keyring}")
        mirror = [suite.mirror] if suite.mirror else []
        argv = [system.program("mmdebstrap"), *options, suite.name, str(fresh), *mirror]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"mmdebstrap failed: {done.stderr[-2000:]}")
        fresh.replace(made)
    return made


class Vm:
    """A machine. ``shown``: folders of this machine that are visible in it, at the same path and read-only."""

    def __init__(self, folder: Path, tar: Path, name: str, shown: Sequence[Path] = ()) -> None:
        self.root = folder / "root"
        self.name = name
        self._shown = shown
        self._cgroup: Path | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self._boot: subprocess.Popen[bytes] | None = None
        self._log = folder / "boot.log"
        self.root.mkdir(parents=True)
        subprocess.run(["tar", "-xf", str(tar), "-C", str(self.root)], check=True)
        for name in SOURCES:
            self._copy(Path("/") / name, self.root / name)
        (self.root / "etc/machine-id").write_text("")
        (self.root / "etc/hostname").write_text("gateway\n")
        # The machine uses this machine's kernel, so it cannot load modules.
        (self.root / "etc/systemd/system/systemd-modules-load.service").symlink_to("/dev/null")

    @staticmethod
    def _copy(there: Path, here: Path) -> None:
        if there.is_dir():
            here.mkdir(parents=True, exist_ok=True)
            shutil.copytree(there, here, dirs_exist_ok=True)
        elif there.exists():
            here.parent.mkdir(parents=True, exist_ok=True)
            here.unlink(missing_ok=True)
            shutil.copy(there.resolve(), here)

    # --- network

    @property
    def netns(self) -> Path:
        return Path("/run/netns") / self.name

    def connect(self) -> None:
        """Create the machine's network, with access to the Internet."""
        ip = system.program("ip")
        subprocess.run([ip, "netns", "add", self.name], check=True)
        inside = [ip, "-n", self.name]
        subprocess.run([*inside, "link", "set", "lo", "up"], check=True)
        subprocess.run([*inside, "address", "add", f"{ADDRESS}/32", "dev", "lo"], check=True)
        self.beside(
            *(system.program("pasta"), "--foreground", "--quiet", "--config-net", "--no-map-gw", "--runas", "0"),
            *("--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none"),
            *("--netns-only", "--netns", str(self.netns)),
            inside=False,
        )
        deadline = time.monotonic() + PATIENCE
        while not subprocess.run([*inside, "route", "show", "default"], capture_output=True, check=True).stdout:
            if time.monotonic() > deadline:
                raise RuntimeError("pasta made no way out")
            time.sleep(0.05)

    def join(self, address: str, other: Vm, others: str) -> None:
        """Connect the machine to ``other`` by a network of their own. ``address``, ``others``: their addresses."""
        ip, number = system.program("ip"), os.getpid()
        ends = ((self, f"fg{number}a", address), (other, f"fg{number}b", others))
        subprocess.run([ip, "link", "add", ends[0][1], "type", "veth", "peer", "name", ends[1][1]], check=True)
        for machine, name, own in ends:
            inside = [ip, "-n", machine.name]
            subprocess.run([ip, "link", "set", name, "netns", machine.name], check=True)
            subprocess.run([*inside, "address", "add", f"{own}/24", "dev", name], check=True)
            subprocess.run([*inside, "link", "set", name, "up"], check=True)

    def beside(self, *argv: str, inside: bool = True, **env: str) -> subprocess.Popen[bytes]:
        """Start a program outside the machine, which ``remove`` ends; return its process.

        ``inside``: the program uses the machine's network; ``env``: more environment variables.
        """
        into = ["nsenter", f"--net={self.netns}"] if inside else []
        with self._log.open("ab") as log:
            made = subprocess.Popen(
                [*into, *argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **env}
            )
        self._processes.append(made)
        return made

    # --- start and end

    def boot(self, whole: bool = True) -> None:
        """Start the machine, and wait until systemd accepts commands. ``whole``: wait until all units are started."""
        hierarchy = _cgroup2()
        self._cgroup = hierarchy / self.name
        self._cgroup.mkdir(exist_ok=True)
        join = f'echo $$ >"{self._cgroup}/cgroup.procs"; exec "$@"'
        spaces = ["unshare", "--mount", "--pid", "--fork", "--uts", "--ipc", "--cgroup", "--kill-child"]
        shown = [str(path) for path in self._shown]
        with self._log.open("ab") as log:
            self._boot = subprocess.Popen(
                [*("sh", "-c", join, "join", "nsenter", f"--net={self.netns}"), *spaces,
                 *("sh", "-c", _BOOT, "boot", str(self.root)), *shown],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while not (self._pid() and self._runs_systemd()):
            if self._boot.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"it does not boot: {self._log.read_text()[-3000:]}")
            time.sleep(0.05)
        if whole:
            self.run("systemctl", "is-system-running", "--wait", check=False)

    def _runs_systemd(self) -> bool:
        return self.run("test", "-S", "/run/systemd/private", check=False).returncode == 0

    def _pid(self) -> int | None:
        """Return the pid on this machine of the machine's PID 1; None if that does not run."""
        assert self._boot is not None
        found: int | None = self._boot.pid
        for _ in range(2):  # sh became nsenter, which became unshare; PID 1 is the child of unshare
            try:
                children = Path(f"/proc/{found}/task/{found}/children").read_text().split()
            except OSError:
                return None
            if not children:
                break
            found = int(children[0])
            try:
                if Path(f"/proc/{found}/comm").read_text().strip() in ("systemd", "init"):
                    return found
            except OSError:
                return None
        return None

    def argv(self, *argv: str) -> list[str]:
        """Return the argv that runs a command in the machine, from this machine."""
        spaces = ["--mount", "--pid", "--uts", "--ipc", "--cgroup", "--net", "--root", "--wd"]
        return ["nsenter", f"--target={self._pid()}", *spaces, *argv]

    def run(
        self, *argv: str, check: bool = True, timeout: float = 600, env: Mapping[str, str] | None = None,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run a command in the machine, as root; return its result.

        Raises RuntimeError if the command fails, unless ``check`` is False.
        """
        done = subprocess.run(
            self.argv(*argv), capture_output=True, text=True, check=False, timeout=timeout, input=stdin or "",
            env=_ENVIRONMENT | dict(env or {}),
        )  # fmt: skip
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(argv)}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done

    def talk(self, answers: Mapping[str, str | Callable[[str], str]], *argv: str, patience: float = 600.0) -> str:
        """Run a command on the machine at a terminal, answer its questions, and return its output.

        Raises RuntimeError unless the command succeeds and asks each of the questions. ``answers``: by a part of the
        question, the text to type, or a function that returns this text from all output so far.
        """
        ours, theirs = pty.openpty()
        said, left = "", dict(answers)
        with subprocess.Popen(
            self.argv(*argv), stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=_ENVIRONMENT
        ) as run:
            assert run.stdout is not None
            os.close(theirs)
            deadline = time.monotonic() + patience
            while piece := _piece(run.stdout.fileno(), deadline):
                said += piece.decode(errors="replace")
                asked = said.rpartition("\n")[2]
                question = next((one for one in left if one in asked and asked.endswith(": ")), None)
                if question is not None:
                    answer = left.pop(question)
                    os.write(ours, f"{answer if isinstance(answer, str) else answer(said)}\n".encode())
                    said += "\n"
            if piece is None:
                run.kill()
        os.close(ours)
        if run.returncode or left:
            raise RuntimeError(f"{' '.join(argv)}: {run.returncode}; not asked: {list(left)}\n{said[-4000:]}")
        return said

    def cpu_seconds(self) -> float:
        """Return the CPU time of all processes that ever ran on the machine."""
        assert self._cgroup is not None
        found = re.search(r"^usage_usec (\d+)$", (self._cgroup / "cpu.stat").read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1]) / 1e6

    def halt(self) -> None:
        """Shut the machine down, as its own `poweroff` does."""
        if self._boot is None:
            return
        pid = self._pid()
        if pid is not None:
            os.kill(pid, signal.SIGRTMIN + 4)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._boot.wait(PATIENCE)
        self.cut()

    def cut(self) -> None:
        """Kill the machine, like a power failure."""
        if self._boot is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._boot.pid, signal.SIGKILL)
            self._boot.wait()
            self._boot = None

    def remove(self) -> None:
        """End the machine and all its processes; its folder stays."""
        self.cut()
        for process in self._processes:
            process.kill()
            process.wait()
        subprocess.run([system.program("ip"), "netns", "delete", self.name], capture_output=True, check=False)
        if self._cgroup is not None:
            for folder in sorted(self._cgroup.rglob("*"), reverse=True):
                if folder.is_dir():
                    with contextlib.suppress(OSError):
                        folder.rmdir()
            with contextlib.suppress(OSError):
                self._cgroup.rmdir()


def _piece(descriptor: int, deadline: float) -> bytes | None:
    """Return the bytes that can be read; b"" at the end; None if nothing came before the deadline."""
    ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
    return os.read(descriptor, 4096) if ready else None


def _cgroup2() -> Path:
    """Return this machine's cgroup2 hierarchy, which may exist beside the older ones; mount it if it is missing."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    made = Path("/run/factorygate-cgroup2")
    made.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", str(made)], check=True)
    return made
