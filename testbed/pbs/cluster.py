"""One factory as a running OpenPBS: start, adopt, repair and stop it. OpenPBS must be installed already.

The factory is isolated as :mod:`testbed.network.namespaces` describes: the login side has server, scheduler, comm and
sshd, and each node a mom. All files are in ``STATE/ID``: ``pbs.conf`` and ``home`` (PBS_HOME, with the server's
database) of the login side, the same files of each node in ``moms``, ``homes``, ``log``, and ``pbs.json``.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from testbed import processes
from testbed.errors import DidNotStart, NotThere
from testbed.install import packages
from testbed.network import login_side
from testbed.network import namespaces as network
from testbed.pbs import layout as pbs_layout
from testbed.pbs import programs as pbs_programs
from testbed.pbs import record as pbs_record
from testbed.slurm import daemons
from testbed.slurm.files import log_tails

READY_SECONDS = 60.0
LOCK = "lock"
_HABITAT_SECONDS = 300.0  # seconds; the program creates a database
_STOP_SECONDS = 30.0
_AS_ACCOUNT = ("setpriv", "--init-groups")
_UP = {"free", "job-busy", "job-exclusive"}


class PbsCluster:
    """The OpenPBS cluster of a factory, made by :func:`testbed.pbs.up.up` or :func:`load`."""

    root = True  # PBS' daemons run as root only

    def __init__(self, folder: Path, remembered: pbs_record.PbsRecord) -> None:
        self.folder = folder
        self.record = remembered

    @property
    def id(self) -> str:
        """Return the factory's id."""
        return self.record.id

    @property
    def conf(self) -> Path:
        """Return the path of the configuration file of the login side."""
        return self.folder / "pbs.conf"

    @property
    def env(self) -> dict[str, str]:
        """Return the environment variables that client commands need, for any site account."""
        return pbs_layout.environment(self.record.programs, self.conf)

    @property
    def prefix(self) -> tuple[str, ...]:
        """Return the argv prefix of the administrator's client commands, which runs them on the login side."""
        return self.on(network.LOGIN)

    @property
    def accounts(self) -> tuple[str, ...]:
        """Return the Unix users that may run jobs."""
        return self.record.accounts

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return the names of the nodes."""
        return self.record.network.nodes

    @property
    def pids(self) -> dict[str, int]:
        """Return the process ids of the living daemons, by name.

        The names are ``pbs_comm``, ``pbs_sched``, ``pbs_server``, ``sshd``, and each node's name for its mom.
        """
        found = {name: self._process(name) for name in self._daemons}
        return {name: process.pid for name, process in found.items() if process is not None}

    @property
    def _daemons(self) -> tuple[str, ...]:
        """Return the daemons in the order of their start."""
        first, *others = pbs_record.OF_THE_LOGIN_SIDE
        return (first, *self.nodes, *others, daemons.SSHD)

    def on(self, host: str) -> tuple[str, ...]:
        """Return the argv prefix that runs a command as root on ``login01`` or a node, in the root folder."""
        return network.enter(self.record.network, self.folder, host)

    def home(self, host: str) -> Path:
        """Return the path of PBS_HOME of a host."""
        return self.folder / "home" if host == network.LOGIN else self.folder / "moms" / host

    def access_fields(self) -> dict[str, object]:
        """Return the fields of ``factorylink.config.Access`` by which the link reaches this cluster."""
        access = login_side.access_fields(self.folder, self.record.isolation, self.record.network)
        return {**access, "account_pool": list(self.accounts), "testbed": True}

    def describe(self) -> dict[str, object]:
        """Return what ``python -m testbed env`` prints."""
        return {
            "pbs_conf": str(self.conf),
            "env": self.env,
            "prefix": list(self.prefix),
            "accounts": list(self.accounts),
            "root": self.root,
        }

    def run(
        self, *argv: str, account: str | None = None, stdin: str = "", timeout: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Run a client command as the cluster's administrator, or as a site account, with text input and output.

        A command that fails raises no exception; one that takes more than ``timeout`` seconds raises TimeoutExpired.
        """
        who = () if account is None else (*_AS_ACCOUNT, f"--reuid={account}", f"--regid={account}")
        return subprocess.run(
            [*self.prefix, *who, *argv],
            env={**os.environ, **self.env},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def ready(self) -> bool:
        """Return whether the server answers and all nodes accept jobs."""
        answer = self.run("pbsnodes", "-a", "-F", "json")
        return answer.returncode == 0 and pbs_record.states(answer.stdout, self.nodes) <= _UP

    def start_missing(self) -> None:
        """Start the daemons that do not run, with their saved state, and wait until the nodes accept jobs.

        Raises DidNotStart.
        """
        self.start_daemons()
        self._wait_until_ready()

    def lay_homes(self) -> None:
        """Make each host's PBS_HOME with PBS' own program, and set the values that are specific to this cluster.

        Raises DidNotStart, CannotLayOut.
        """
        for host in (network.LOGIN, *self.nodes):
            home = self.home(host)
            home.parent.mkdir(exist_ok=True)
            self._conf(host).write_text(pbs_layout.pbs_conf(self.record.programs, home, host != network.LOGIN))
            self._call(host, pbs_programs.HABITAT, _HABITAT_SECONDS)
            (home / "mom_priv/config").write_text(pbs_layout.mom_config())
            mark = (processes.MARK, str(self.folder))
            (home / "pbs_environment").write_text(pbs_layout.job_environment(self.env, mark))
        config = self.home(network.LOGIN) / "sched_priv/sched_config"
        config.write_text(pbs_layout.sched_config(config.read_text(), self.record.resources))

    def give_orders(self) -> None:
        """Create queues, resources and nodes at a server with an empty database. Raises DidNotStart."""
        self.start_daemons()
        done = self.run("qmgr", stdin="".join(f"{order}\n" for order in self.record.orders), timeout=READY_SECONDS)
        if done.returncode != 0 or done.stderr.strip():
            raise DidNotStart(f"{self.id}: qmgr: {done.stderr.strip() or done.stdout.strip()}")
        self._wait_until_ready()

    def start_daemons(self) -> None:
        """Start the daemons that do not run, and wait until the server answers. Raises DidNotStart."""
        running = self.pids
        for name in self._daemons:
            if name in running:
                continue
            if name == daemons.SSHD:
                self._start(network.LOGIN, *login_side.argv(self.folder))
            elif name in self.nodes:
                self._call(name, f"sbin/{pbs_record.MOM}", READY_SECONDS)
            else:
                self._call(network.LOGIN, f"sbin/{name}", READY_SECONDS)
        if not processes.wait_until(lambda: self.run("qstat", "-B").returncode == 0, READY_SECONDS, pause=0.1):
            raise DidNotStart(f"{self.id}: no server answered in {READY_SECONDS:.0f} s\n{log_tails(self.folder)}")

    def kill(self, name: str) -> None:
        """Kill one daemon with SIGKILL, as a crash would; undo it with :meth:`start_missing`.

        ``name``: ``pbs_server``, ``pbs_sched``, ``pbs_comm``, ``sshd``, or a node's name for its mom.
        """
        process = self._process(name)
        if process is not None:
            processes.kill(process)

    def down(self) -> None:
        """Stop everything, jobs included, and wait until no process is left. Logs and homes stay."""
        with packages.locked(self.folder.parent / LOCK):
            if pbs_record.SERVER in self.pids:
                jobs = self.run("qselect").stdout.split()
                if jobs:
                    self.run("qdel", "-W", "force", *jobs)
            self.stop_daemons()
            network.remove(self.folder)

    def stop_daemons(self) -> None:
        """Stop the daemons: first the server, in an orderly way; then all others.

        The server's database is consistent only after an orderly end.
        """
        if pbs_record.SERVER in self.pids:
            self.run("qterm", "-t", "quick")
            processes.wait_until(lambda: pbs_record.SERVER not in self.pids, _STOP_SECONDS, pause=0.05)
        processes.end_all(self.folder, network.inodes(self.folder))

    def _wait_until_ready(self) -> None:
        if not processes.wait_until(self.ready, READY_SECONDS, pause=0.1):
            raise DidNotStart(f"{self.id}: not all nodes took jobs in {READY_SECONDS:.0f} s\n{log_tails(self.folder)}")

    def _conf(self, host: str) -> Path:
        return self.conf if host == network.LOGIN else self.folder / "moms" / f"{host}.conf"

    def _call(self, host: str, program: str, seconds: float) -> None:
        """Run one of PBS' own programs on a host until it ends or goes into the background. Raises DidNotStart."""
        self._start(host, str(self.record.programs / program), seconds=seconds)

    def _start(self, host: str, *argv: str, seconds: float = READY_SECONDS) -> None:
        sbin = f"{self.record.programs}/sbin:/usr/local/sbin:/usr/sbin:/sbin"
        env = {
            **self.env,
            "PBS_CONF_FILE": str(self._conf(host)),
            "PATH": f"{self.env['PATH']}:{sbin}",
            "LANG": "C.UTF-8",
            processes.MARK: str(self.folder),
        }
        log = self.folder / "log" / f"{host}-{Path(argv[0]).name}.out"
        with log.open("ab") as output:
            done = subprocess.run(
                [*self.on(host), *argv],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o022,
                timeout=seconds,
                check=False,
            )
        if done.returncode != 0:
            raise DidNotStart(f"{self.id}: {' '.join(argv)} ended with {done.returncode}\n{log_tails(self.folder)}")

    def _process(self, name: str) -> processes.Process | None:
        if name == daemons.SSHD:
            return daemons.running(self.folder, name)
        host, program = (name, pbs_record.MOM) if name in self.nodes else (network.LOGIN, name)
        return pbs_record.daemon(self.record.programs, self.home(host), program)


def load(state: Path, factory_id: str) -> PbsCluster:
    """Return the cluster that was started in ``state``, whether it runs or not. Raises NotThere."""
    folder = state.absolute() / factory_id
    remembered = pbs_record.read(folder)
    if remembered is None:
        raise NotThere(f"no cluster {factory_id!r} in {state}")
    return PbsCluster(folder, remembered)
