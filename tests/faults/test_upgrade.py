"""The recorded previous release is upgraded to this release while people work, and rolled back: nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import yaml
from websockets.exceptions import WebSocketException

from factorygate import __version__
from factoryinstaller.releases import Layout
from factoryoperator.units import Part
from factoryoperator.upgrade import Upgrade
from testbed.demo.folder import DemoFolder
from testbed.demo.options import Ports
from testbed.demo.run import environment_passed_on
from testbed.install import environments as install
from testbed.supervisor import Program
from tests.conftest import PORTS, started
from tests.faults.test_kill import back
from tests.faults.test_transfers import Session, Upload
from tests.slurm.test_dask import MADE
from tests.support import recorded_release
from tests.support.gateway import Gateway, eventually

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]

FACTORY, OLD, NEW = "lumi-aif", recorded_release.VERSION, __version__
PIECES = 6  # pieces of an upload that is in progress during upgrade and rollback
CLOSED = ("scontrol", "create", "reservation", "ReservationName=closed", "Nodes=ALL", "StartTime=now",
          "Duration=2:00:00", "Users=root", "Flags=IGNORE_JOBS")  # fmt: skip


class Processes:
    """The gateway's programs without a service manager: each starts from the release that is current at that moment."""

    def __init__(self, folder: DemoFolder, layout: Layout) -> None:
        self._folder = folder
        self._layout = layout
        self._running: dict[Part, subprocess.Popen[bytes]] = {}

    def has(self, part: Part) -> bool:
        return part in self._running

    def stop(self, part: Part) -> None:
        process = self._running.pop(part, None)
        if process is not None:
            process.terminate()
            process.wait(60)

    def start(self, part: Part) -> None:
        environ = environment_passed_on()
        program = {"link": self._folder.link, "hub": self._folder.hub, "proxy": self._folder.proxy}[part](environ)
        if part != "proxy":
            program = self._of_release(program)
        with program.log.open("ab") as log:
            self._running[part] = subprocess.Popen(
                program.argv, cwd=program.cwd, env=dict(program.env), stdout=log, stderr=log
            )

    def failed(self, part: Part) -> str:
        process = self._running.get(part)
        code = None if process is None else process.poll()
        return "" if code is None else f"the {part} ended with exit code {code}"

    def end(self) -> None:
        """Kill all programs."""
        for process in self._running.values():
            process.kill()
            process.wait()

    def _of_release(self, program: Program) -> Program:
        current, ours = self._layout.root / "current", str(install.CHECKOUT / "hub_config")
        words = [word.replace(ours, str(current / "hub_config")) for word in program.argv[1:]]
        return replace(program, argv=(str(current / "venv" / "bin" / "python"), *words))


class Machine:
    """A demo whose gateway runs as an installed release, at first the recorded release, which makes the databases."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        folder = gateway.path.parent
        self.folder = DemoFolder(folder, Ports(httpx.URL(gateway.url).port or 0), install.program_folder())
        self.layout = Layout(folder / "opt")
        self.processes = Processes(self.folder, self.layout)
        self.said: list[str] = []
        self._end_the_demos_own()
        old = recorded_release.unpack(folder / "recorded")
        self._install(OLD, old)
        self._install(NEW, install.CHECKOUT)
        self._use_notebooks_of(old)
        self.layout.switch(self.layout.installed_release(OLD))
        for part in ("link", "hub", "proxy"):
            self.processes.start(part)
        eventually(lambda: back(gateway), 120, what="the release before answers")

    def _end_the_demos_own(self) -> None:
        folder = self.gateway.path.parent
        supervisor = json.loads((folder / "supervisor.json").read_text())["supervisor"]["pid"]
        processes = json.loads((folder / "processes.json").read_text())
        for pid in (supervisor, *(processes[part]["pid"] for part in ("hub", "proxy", "link", "workshops"))):
            with contextlib.suppress(ProcessLookupError):  # it ended with the supervisor
                os.kill(pid, signal.SIGKILL)
        eventually(lambda: not back(self.gateway), what="nobody answers any more")
        for file in [*(folder / "hub").glob("jupyterhub.sqlite*"), *(folder / "link").glob("ledger.sqlite*")]:
            file.unlink()

    def _install(self, version: str, sources: Path) -> None:
        folder = self.layout.root / "releases" / version
        recorded_release.python_of(sources, folder / "venv" / "bin" / "python")
        (folder / "hub_config").symlink_to(sources / "hub_config")
        (folder / "release.json").write_text(json.dumps({"version": version, "proxy": "the same"}))

    def _use_notebooks_of(self, release: Path) -> None:
        """Make new sessions use the notebook package of ``release``.

        With the recorded release, this is like a site that has not updated its environment yet; with the checkout, like
        one that has.
        """
        python = install.program_folder() / "notebook" / "bin" / "python"
        wrapper = recorded_release.python_of(release, self.gateway.path.parent / "environment" / "python", str(python))
        file, hub = (self.gateway.path.with_name(name) for name in ("link.yaml", "hub.yaml"))
        config = yaml.safe_load(file.read_text())
        for section in ("metrics", "workshops"):
            config.pop(section, None)  # which the release before does not know
        hub.write_text(yaml.safe_dump({k: v for k, v in yaml.safe_load(hub.read_text()).items() if k != "workshops"}))
        config["catalogue"] = str(self.layout.root / "releases" / OLD / "hub_config" / "factories")
        config["factories"][FACTORY]["environments"][0]["python"] = str(wrapper)
        file.write_text(yaml.safe_dump(config))

    def update_environments(self) -> None:
        """Make new sessions use this checkout's notebook package, as if the site had updated its environment."""
        self._use_notebooks_of(install.CHECKOUT)

    @property
    def upgrade(self) -> Upgrade:
        """Return the object that upgrades this gateway, as ``factorygate upgrade`` does."""
        folder = self.gateway.path.parent
        return Upgrade(
            layout=self.layout,
            units=self.processes,
            hub=folder / "hub.yaml",
            link=folder / "link.yaml",
            backups=folder / "backups",
            say=self.said.append,
            confirm=lambda _: True,
        )

    def release_of(self, session: Session) -> str:
        """Return the version of the notebook package that runs in a session."""
        return session.notebook.run("import factorygate; print(factorygate.__version__)", session.kernel).strip()


@pytest.fixture(scope="module")
def gateway(demo_folder: Path) -> Iterator[Gateway]:
    """Start a demo with one factory."""
    yield from started(None, demo_folder.with_name("tested-upgrade"), PORTS["upgrade"], "--factories", FACTORY)


@pytest.fixture(scope="module")
def machine(gateway: Gateway) -> Iterator[Machine]:
    made = Machine(gateway)
    try:
        yield made
    finally:
        gateway.factories[FACTORY].ask("scontrol", "delete", "ReservationName=closed", check=False)
        for session in gateway.everybody():
            subprocess.run(
                [sys.executable, "-m", "factoryoperator", "--socket", str(made.folder.link_socket), "sessions", "stop",
                 session["id"]], check=False,
            )  # fmt: skip
        made.processes.end()


def begin(gateway: Gateway, user: str, server: str) -> Session:
    gateway.started(user, server, factory=FACTORY, size="gcd-1", hours=1)
    notebook = gateway.notebook(user, server)
    kernel = notebook.kernel()
    notebook.run("kept = 42", kernel)
    return Session(gateway, user, notebook, kernel, f"upload-{uuid.uuid4().hex[:8]}")


def known(gateway: Gateway) -> dict[str, tuple[str, str]]:
    """Return job and URL of each live session, by the session's id; the URL contains the session's port."""
    return {one["id"]: (one["job"], one["url"]) for one in gateway.everybody()}


def computes(session: Session) -> bool:
    """Return True if the kernel and its cluster have the same state as before."""
    code = "print(kept, client.submit(lambda: 6 * 7).result(timeout=60), len(client.scheduler_info()['workers']))"
    try:
        return session.notebook.run(code, session.kernel, 90).strip() == "42 42 1"
    except (OSError, TimeoutError, httpx.HTTPError, WebSocketException):  # a hub that has just started says 424
        return False


def answers(session: Session) -> bool:
    try:
        return session.notebook.run("print(kept)", session.kernel).strip() == "42"
    except (OSError, TimeoutError, httpx.HTTPError, WebSocketException):  # a hub that has just started says 424
        return False


def send(upload: Upload, pieces: int) -> None:
    """Send pieces of the upload; repeat each until the gateway has accepted it."""

    def again() -> bool:
        try:
            return upload.again().status_code in (200, 201)
        except httpx.TransportError:
            return False

    for _ in range(pieces):
        try:
            taken = upload.next().status_code in (200, 201)
        except httpx.TransportError:
            taken = False
        if not taken:
            eventually(again, 60, what="a piece of the upload")


def test_an_upgrade_and_the_way_back_lose_nothing(machine: Machine) -> None:
    gateway = machine.gateway
    ada, grace, emmy = (gateway.make_user() for _ in range(3))
    with_cluster = begin(gateway, ada, "")
    assert machine.release_of(with_cluster) == OLD
    with_cluster.notebook.run(f"import os; os.mkdir({with_cluster.folder!r})", with_cluster.kernel)
    with_cluster.notebook.run(MADE.format(size="gcd-1-dev", workers=1), with_cluster.kernel, 150)
    assert computes(with_cluster)
    plain = begin(gateway, grace, "named")
    upload = Upload(with_cluster, "data.bin", PIECES)
    send(upload, 2)
    gateway.factories[FACTORY].ask(*CLOSED)
    assert gateway.start(emmy, "", factory=FACTORY, size="gcd-1", hours=1).status_code == 202
    eventually(lambda: (gateway.session(emmy) or {}).get("job"), what="the waiting session has a job")
    before, jobs = known(gateway), gateway.factories[FACTORY].jobs().keys()
    waiting = gateway.session(emmy)
    assert waiting is not None

    machine.upgrade.to(machine.layout.installed_release(NEW))
    assert machine.said[-1].startswith(f"Release {NEW} is in use. 3 sessions continue.")
    assert known(gateway) == before
    assert gateway.factories[FACTORY].jobs().keys() == jobs
    eventually(lambda: computes(with_cluster) and answers(plain), 90, what="kernels and cluster are as they were")
    send(upload, 2)
    assert (gateway.session(emmy) or {}).get("state") == "pending"
    machine.update_environments()
    gateway.factories[FACTORY].ask("scontrol", "delete", "ReservationName=closed")
    gateway.wait_session(emmy, "", "running", 120)
    eventually(lambda: (gateway.server(emmy) or {}).get("ready"), 120, what="the hub has the server that waited")
    assert (gateway.session(emmy) or {}).get("job") == waiting["job"]
    later = begin(gateway, grace, "later")
    assert machine.release_of(later) == NEW  # its door speaks protocols 2 and 1
    before, jobs = known(gateway), gateway.factories[FACTORY].jobs().keys()

    machine.upgrade.back()
    assert machine.said[-1] == f"Release {OLD} is in use."
    assert known(gateway) == before
    assert gateway.factories[FACTORY].jobs().keys() == jobs
    for session in (plain, later):
        eventually(lambda one=session: answers(one), 90, what=f"{session.user} is reached")  # type: ignore[misc]
    eventually(lambda: computes(with_cluster), 90, what="the cluster is as it was")
    send(upload, PIECES - 4)
    assert with_cluster.sha("data.bin") == upload.sha
    upload.close()
    remove = f"import shutil; shutil.rmtree({with_cluster.folder!r})"
    with_cluster.notebook.run(f"client.close(); cluster.close(); {remove}", with_cluster.kernel, 90)


def test_a_new_release_that_cannot_reach_its_sessions_is_taken_back(machine: Machine) -> None:
    """The later release's hub exits at its start."""
    gateway = machine.gateway
    ada = gateway.make_user()
    session = begin(gateway, ada, "")
    before = known(gateway)
    broken = machine.layout.root / "releases" / NEW / "hub_config"
    broken.unlink()
    shutil.copytree(install.CHECKOUT / "hub_config", broken, symlinks=True)
    (broken / "jupyterhub_config.py").write_text("raise SystemExit('no such hub')\n")
    with pytest.raises(Exception, match=r"the hub ended with exit code.*It was undone: release 0.1.0 runs again"):
        machine.upgrade.to(machine.layout.installed_release(NEW))
    assert known(gateway) == before
    eventually(lambda: answers(session), 60, what="the session answers")
    assert not list((gateway.path.parent / "hub").glob("*.at-*"))
    with sqlite3.connect(gateway.path.parent / "hub" / "jupyterhub.sqlite") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
