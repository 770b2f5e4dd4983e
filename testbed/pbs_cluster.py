"""One factory as a running OpenPBS: start it, adopt it, repair it, stop it. Its programs must be there already.

Everything of a cluster lies in ``STATE/ID``: ``pbs.conf``, ``home`` (PBS_HOME, with the server's database), ``log``,
and ``pbs.json`` with what a later process needs to know. One host is server and node (:mod:`testbed.pbs_layout`);
all processes are root's, and carry the mark of the cluster in their environment, jobs included.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

from factorylink.models import Factory
from testbed import accounts, packages, pbs_layout, pbs_programs, pbs_record, ports, processes
from testbed.errors import DidNotStart, NotThere
from testbed.files import log_tails

READY_SECONDS = 60.0
_HABITAT_SECONDS = 300.0  # it makes a database
_STOP_SECONDS = 30.0
_LOCK = "lock"
_AS_ACCOUNT = ("setpriv", "--init-groups")
_UP = {"free", "job-busy", "job-exclusive"}


class PbsCluster:
    """A factory's cluster. Made by :func:`up` and :func:`load`."""

    root = True  # no daemon of PBS runs otherwise
    prefix: tuple[str, ...] = ()

    def __init__(self, folder: Path, remembered: pbs_record.PbsRecord) -> None:
        self.folder = folder
        self.record = remembered

    @property
    def id(self) -> str:
        """The factory's id."""
        return self.record.id

    @property
    def conf(self) -> Path:
        """The configuration file."""
        return self.folder / "pbs.conf"

    @property
    def env(self) -> dict[str, str]:
        """What client commands need in their environment, for any site account."""
        return pbs_layout.environment(self.record.place, self.conf)

    @property
    def accounts(self) -> tuple[str, ...]:
        """Unix users that may run jobs."""
        return self.record.accounts

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes: vnodes of this machine's mom."""
        return self.record.nodes

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the living daemons, by their names."""
        found = {name: pbs_record.daemon(self.record.place, name) for name in pbs_record.LOCKS}
        return {name: process.pid for name, process in found.items() if process is not None}

    def access_fields(self) -> dict[str, object]:
        """Fields of ``factorylink.config.Access`` by which the link reaches this cluster."""
        return {
            "transport": {"kind": "local", "prefix": [], "env": self.env},
            "door": {"carrier": "tcp", "listen": "127.0.0.1", "host": "127.0.0.1"},
            "extend": "watcher",  # which is the scheduler's own administrator here
            "account_pool": list(self.accounts),
            "testbed": True,
        }

    def describe(self) -> dict[str, object]:
        """What ``python -m testbed env`` prints."""
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
        """Run a client command as the cluster's administrator, or as a site account, in text. A failed command raises
        nothing."""
        who = () if account is None else (*_AS_ACCOUNT, f"--reuid={account}", f"--regid={account}")
        env = {**os.environ, **self.env}
        return subprocess.run(
            [*who, *argv], env=env, cwd="/", input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )

    def ready(self) -> bool:
        """Whether the server answers and all nodes take jobs."""
        answer = self.run("pbsnodes", "-a", "-F", "json")
        return answer.returncode == 0 and pbs_record.states(answer.stdout, self.nodes) <= _UP

    def start_missing(self) -> None:
        """Start the daemons that do not live, with the state they left, and wait until the nodes take jobs.

        Raises DidNotStart.
        """
        self.start_daemons()
        if not processes.wait_until(self.ready, READY_SECONDS, pause=0.1):
            raise DidNotStart(f"{self.id}: not all nodes took jobs in {READY_SECONDS:.0f} s\n{log_tails(self.folder)}")

    def start_daemons(self) -> None:
        """Start those that do not live, and wait until the server answers. Raises DidNotStart."""
        for name in pbs_record.LOCKS:
            if name not in self.pids:
                self.call(f"sbin/{name}", timeout=READY_SECONDS)
        if not processes.wait_until(self._answers, READY_SECONDS, pause=0.1):
            raise DidNotStart(f"{self.id}: no server answered in {READY_SECONDS:.0f} s\n{log_tails(self.folder)}")

    def lay_home(self) -> None:
        """Make PBS_HOME by PBS' own program, and set what is this cluster's. Raises DidNotStart, CannotLayOut."""
        home = self.record.place.home
        self.call(pbs_programs.HABITAT, timeout=_HABITAT_SECONDS)
        self._stop_daemons()  # what it started for a moment
        config = home / "sched_priv/sched_config"
        config.write_text(pbs_layout.sched_config(config.read_text(), self.record.resources))
        (home / "mom_priv/config").write_text(pbs_layout.mom_config())
        (home / "pbs_environment").write_text(pbs_layout.job_environment(self.env, (processes.MARK, str(self.folder))))

    def give_orders(self) -> None:
        """Lay out queues, resources and nodes at a server that was just made. Raises DidNotStart."""
        done = self.run("qmgr", stdin="".join(f"{order}\n" for order in self.record.orders), timeout=READY_SECONDS)
        if done.returncode != 0 or done.stderr.strip():
            raise DidNotStart(f"{self.id}: qmgr: {done.stderr.strip() or done.stdout.strip()}")

    def call(self, program: str, *words: str, timeout: float) -> None:
        """Run one of PBS' own programs for its administrator, to its end or until it is in the background. Raises
        DidNotStart."""
        env = {
            **self.env,
            "PATH": f"{self.env['PATH']}:{self.record.place.exec}/sbin:/usr/local/sbin:/usr/sbin:/sbin",
            "LANG": "C.UTF-8",
            processes.MARK: str(self.folder),
        }
        with (self.folder / "log" / f"{Path(program).name}.out").open("ab") as output:
            done = subprocess.run(
                [str(self.record.place.exec / program), *words],
                env=env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o022,
                timeout=timeout,
                check=False,
            )
        if done.returncode != 0:
            raise DidNotStart(f"{self.id}: {program} ended with {done.returncode}\n{log_tails(self.folder)}")

    def kill(self, name: str) -> None:
        """Kill one daemon as a crash would: ``pbs_server``, ``pbs_sched``, ``pbs_comm``, ``pbs_mom``. Undo it with
        :meth:`start_missing`."""
        process = pbs_record.daemon(self.record.place, name)
        if process is not None:
            processes.kill(process)

    def down(self) -> None:
        """Stop everything, jobs included, and wait until no process is left. What the server knows of jobs stays."""
        with packages.locked(self.folder.parent / _LOCK):
            if "pbs_server" in self.pids:
                jobs = self.run("qselect").stdout.split()
                if jobs:
                    self.run("qdel", "-W", "force", *jobs)
            self._stop_daemons()

    def _stop_daemons(self) -> None:
        """The server first, in order, since its database is only whole then."""
        if "pbs_server" in self.pids:
            self.run("qterm", "-t", "quick")
            processes.wait_until(lambda: "pbs_server" not in self.pids, _STOP_SECONDS, pause=0.05)
        processes.end_all(self.folder)
        database = pbs_record.database(self.record.place)
        if database is not None:
            processes.end(database, _STOP_SECONDS)

    def _answers(self) -> bool:
        return self.run("qstat", "-B").returncode == 0


def up(
    factory: Factory,
    state: Path,
    *,
    gpu_nodes: int = 2,
    cpu_nodes: int = 1,
    names: tuple[str, ...] = accounts.NAMES,
    programs: pbs_programs.Programs | None = None,
) -> PbsCluster:
    """A running cluster for ``factory`` with its things below ``state``, by the OpenPBS of this machine.

    A running one is adopted, with what died of it started again; one laid out otherwise is replaced, jobs and all.
    Raises CannotRun, CannotLayOut, DidNotStart.
    """
    sets = pbs_layout.node_sets(factory, gpu_nodes, cpu_nodes)
    found = programs or pbs_programs.find()
    pbs_programs.check_system(found)
    state = state.absolute()
    folder = state / factory.id
    folder.mkdir(parents=True, exist_ok=True)
    accounts.check_readable(folder)
    with packages.locked(state / _LOCK):  # two starts at once would find the same ports free
        people = accounts.ensure(names)
        old = pbs_record.read(folder)
        place = old.place if old is not None else _new_place(folder, found)
        new = pbs_record.PbsRecord(
            id=factory.id,
            version=found.version,
            accounts=people,
            place=place.model_copy(update={"exec": found.exec, "host": socket.gethostname()}),
            nodes=tuple(name for nodes in sets for name in nodes.names),
            orders=pbs_layout.orders(factory, sets, socket.gethostname()),
            resources=tuple(pbs_layout.resources(factory, sets)),
        )
        cluster = PbsCluster(folder, new)
        if old == new and (new.place.home / "pbs_version").exists():
            cluster.start_missing()
            return cluster
        if old is not None:
            PbsCluster(folder, old)._stop_daemons()
            shutil.rmtree(old.place.home, ignore_errors=True)
        (folder / "log").mkdir(exist_ok=True)
        cluster.conf.write_text(pbs_layout.pbs_conf(new.place))
        (folder / pbs_record.FILE).write_text(new.model_dump_json(indent=1) + "\n")
        try:
            cluster.lay_home()
            cluster.start_daemons()
            cluster.give_orders()
        except BaseException:  # half a layout is none: the next start begins anew
            cluster._stop_daemons()
            shutil.rmtree(new.place.home, ignore_errors=True)
            raise
        cluster.start_missing()
        return cluster


def load(state: Path, factory_id: str) -> PbsCluster:
    """The cluster that :func:`up` made, running or not. Raises NotThere."""
    folder = state.absolute() / factory_id
    remembered = pbs_record.read(folder)
    if remembered is None:
        raise NotThere(f"no cluster {factory_id!r} in {state}")
    return PbsCluster(folder, remembered)


def _new_place(folder: Path, programs: pbs_programs.Programs) -> pbs_layout.Place:
    names = pbs_layout.port_names()
    free = ports.allocate(len(names), str(folder))
    return pbs_layout.Place(
        exec=programs.exec,
        home=folder / "home",
        host=socket.gethostname(),
        ports=dict(zip(names, free, strict=True)),
    )
