"""Every fault there is, against sessions in every phase: none is lost, doubled or orphaned, and the person is told."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from testbed import clock
from testbed.faults import faults
from tests.faults.world import World
from tests.support.gateway import Gateway, eventually

FACTORY, OTHER = "lumi-aif", "brainpp"


pytestmark = [pytest.mark.root]
long_outage = pytest.mark.timeout(900)  # seconds, with --long


@pytest.fixture(scope="module")
def world(isolated: Gateway) -> Iterator[World]:
    """A person at a factory, one partition of which takes jobs and starts none."""
    made = World(isolated, FACTORY, {"size": "gcd-1"}, {"size": "gcd-1-dev"})
    made.factory.ask("scontrol", "update", "PartitionName=dev-g", "State=DOWN")
    try:
        yield made
        made.tidy()
    finally:
        made.factory.ask("scontrol", "update", "PartitionName=dev-g", "State=UP")


def in_background(do: Callable[[], object]) -> threading.Thread:
    """A person's click that may meet a dead program."""

    def click() -> None:
        with contextlib.suppress(httpx.HTTPError):
            do()

    thread = threading.Thread(target=click, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("part", ["hub", "link", "proxy"])
def test_killed(world: World, part: str) -> None:
    """kill -9 while sessions are being submitted, pending, starting, running and ending."""
    gateway = world.gateway
    runs, waits = world.keep_running(), world.keep_waiting()
    world.keep_running("ends")
    ends = world.known("ends")
    starts = world.begin_starting("starts")
    old = gateway.pid(part)
    with world.fault(f"{part} killed (-9)", 5) as row:
        clicks = [
            in_background(lambda: gateway.start(world.user, "submits", **world.running)),
            in_background(lambda: gateway.stop(world.user, "ends")),
        ]
        os.kill(old, signal.SIGKILL)
        eventually(lambda: gateway.pid(part) != old, 60, what=f"{part} was started anew")
        eventually(lambda: answering(gateway), 90, what="all answer again")
        for click in clicks:
            click.join(60)
        if gateway.session(world.user, "ends") is not None and part != "link":
            gateway.stop(world.user, "ends")  # the click itself did not get through, and the person saw that
        world.settle(
            row,
            {
                **world.both_go_on(runs, waits),
                "the starting one runs": lambda: world.is_running(starts),
                "the ending one ended": lambda: world.has_ended(ends, "stopped"),
                "the submitted one runs, or was never taken": lambda: submitted_is_settled(world, "submits"),
            },
        )
    world.tidy("runs", "waits")


def submitted_is_settled(world: World, server: str) -> bool:
    """Either the click was taken and the session runs, or there is none."""
    session = world.gateway.session(world.user, server)
    return session is None or world.is_running(world.known(server))


def answering(gateway: Gateway) -> bool:
    """Hub, proxy and link answer."""
    with contextlib.suppress(httpx.HTTPError):
        urls = (f"{gateway.hub}/health", f"{gateway.root}/services/factories/health")
        return all(httpx.get(url, timeout=5).status_code == 200 for url in urls)
    return False


def stays(
    world: World, name: str, fault: Callable[[], contextlib.AbstractContextManager[object]], seconds: float
) -> None:
    """A fault of so many seconds that no session may notice for longer than it lasts."""
    runs, waits = world.keep_running(), world.keep_waiting()
    with world.fault(name, 2) as row:
        with fault():
            time.sleep(seconds)  # the length of the outage is what is tried
        world.settle(row, world.both_go_on(runs, waits))


def outage(world: World, request: pytest.FixtureRequest, name: str, seconds: float, long: float, *fault: str) -> None:
    """A fault of the testbed that stands for a while, as long as it is in earnest with ``--long``."""
    seconds = long if request.config.getoption("--long") else seconds
    stays(world, f"{name}, {seconds:g} s", lambda: faults.begin(world.cluster, *fault), seconds)


@long_outage
def test_controller_down(world: World, request: pytest.FixtureRequest) -> None:
    outage(world, request, "slurmctld down", 20, 300, "slurmctld-down")


def test_sshd_restarted(world: World, request: pytest.FixtureRequest) -> None:
    outage(world, request, "sshd restarted, all connections cut", 2, 2, "sshd-down")


@long_outage
def test_network_cut(world: World, request: pytest.FixtureRequest) -> None:
    outage(world, request, "network cut", 20, 180, "cut")


def test_site_trusts_no_certificate_of_ours(world: World) -> None:
    """As when every certificate has expired and no new one is to be had: new logins are refused."""
    runs, waits = world.keep_running(), world.keep_waiting()
    with world.fault("certificates refused, connections cut", 2) as row:
        with faults.begin(world.cluster, "auth"):
            with faults.begin(world.cluster, "sshd-down"):
                pass
            for known in (runs, waits):
                eventually(
                    lambda known=known: world.state(known) == "unreachable",  # type: ignore[misc]
                    60,
                    what=f"{known.server} is unreachable, not ended",
                )
        world.settle(row, world.both_go_on(runs, waits), 120)


def test_host_key_changed(world: World) -> None:
    """Another machine answers in the site's place: it is not spoken to, and other factories do not notice."""
    runs, waits = world.keep_running(), world.keep_waiting()
    gateway = world.gateway
    with world.fault("host key changed", 3) as row:
        with faults.begin(world.cluster, "hostkey"):
            eventually(lambda: world.state(runs) == "unreachable", 60, what="it is refused")
            eventually(lambda: "key" in str(gateway.health(world.user, world.id)["words"]), 30, what="it is told why")
            gateway.started(world.user, "elsewhere", factory=OTHER, size="gpu-1", hours=0.5)
        world.settle(row, world.both_go_on(runs, waits), 120)
    world.tidy("runs", "waits")


def test_slow_network(world: World) -> None:
    """300 ms and 5 % loss: all is slow, a new session too, and nothing breaks."""
    runs, waits = world.keep_running(), world.keep_waiting()
    with world.fault("slow network (300 ms, 5 % loss)", 3) as row:
        with faults.begin(world.cluster, "slow"):
            starts = world.keep_running("starts")
            assert world.answers("runs", world.kernel, patience=60)
        world.settle(row, {**world.both_go_on(runs, waits), "started": lambda: world.is_running(starts)})
    world.tidy("runs", "waits")


def test_drained(world: World) -> None:
    """No node takes anything new: what runs goes on, what is new waits and is told why."""
    runs, waits = world.keep_running(), world.keep_waiting()
    with world.fault("all nodes drained", 3) as row:
        with faults.begin(world.cluster, "drain"):
            answer = world.gateway.start(world.user, "meets", **world.running)
            assert answer.status_code == 202, answer.text
            meets = world.keep_waiting("meets")
            eventually(lambda: world.state(meets) == "pending", what="it waits")
            assert world.answers("runs", world.kernel, patience=60)
        world.settle(row, {**world.both_go_on(runs, waits), "the new one runs": lambda: world.is_running(meets)})
    world.tidy("runs", "waits")


def test_answer_of_the_submit_lost(world: World) -> None:
    """The job was accepted, and the network was gone before that could be said."""
    runs, waits = world.keep_running(), world.keep_waiting()
    with world.fault("answer of sbatch lost, job accepted", 3) as row:
        with deaf_submit(world):
            click = in_background(lambda: world.gateway.start(world.user, "meets", **world.running))
            eventually(lambda: [j for j in world.factory.jobs() if j not in (runs.job, waits.job)], what="it was taken")
            with faults.begin(world.cluster, "cut"):
                click.join(60)
        world.settle(
            row,
            {
                **world.both_go_on(runs, waits),
                "it runs, or nothing is left of it": lambda: submitted_is_settled(world, "meets"),
            },
            120,
        )
    world.tidy("runs", "waits")


@contextlib.contextmanager
def deaf_submit(world: World) -> Iterator[None]:
    """sbatch at that site takes the job and then says nothing for a while: the moment in which answers get lost.

    Only as that site sees it: all clusters of this machine, other tests' too, have their programs from one folder."""
    program = Path(world.cluster.env["PATH"].split(":")[0]) / "sbatch"
    own = world.cluster.folder / "sbin/sbatch"  # where it finds its libraries, as the daemons' copies do
    shutil.copy(program, own)
    deaf = own.with_name("sbatch.deaf")  # sbatch reads its options by the name that it is called by
    deaf.write_text(f'#!/bin/bash\nout=$(exec -a sbatch {own} "$@") || exit\nsleep 20\necho "$out"\n')
    deaf.chmod(0o755)
    world.factory.ask("mount", "--bind", str(deaf), str(program))
    try:
        yield
    finally:
        world.factory.ask("umount", "--lazy", str(program))  # some may still run


def test_disk_full(world: World) -> None:
    """The account's home has no byte left: what runs goes on, what is new is refused in words."""
    runs, waits = world.keep_running(), world.keep_waiting()
    session = world.gateway.session(world.user, "runs")
    assert session is not None
    with world.fault("quota full", 3) as row:
        with faults.begin(world.cluster, "disk-full", session["account"]):
            answer = world.gateway.start(world.user, "meets", **world.running)
            assert answer.status_code in (202, 400), answer.text
            if answer.status_code == 202:  # it was promised before the site had refused it
                told = list(world.gateway.progress(world.user, "meets"))[-1]
                assert told.get("failed"), told
            else:
                told = answer.json()
            row.saw.append(f"start {answer.status_code}: {told['message']}")
            assert world.answers("runs", world.kernel, patience=60)
            eventually(lambda: world.gateway.session(world.user, "meets") is None, 60, what="it is not taken")
        world.settle(row, world.both_go_on(runs, waits))


@pytest.mark.parametrize("part", ["hub", pytest.param("link", marks=pytest.mark.long)])
def test_wrong_clock(world: World, part: str) -> None:
    """Ten minutes fast: started so, used, and put right again."""
    runs, waits = world.keep_running(), world.keep_waiting()
    folder = world.gateway.path.parent
    with world.fault(f"clock of the {part} 10 min fast", 3) as row:
        with wrong_clock(folder, part, 600):
            eventually(lambda: answering(world.gateway), 60, what="all answer again")
            eventually(lambda: world.is_running(runs, world.kernel), 60, what="the running one goes on")
            starts = world.keep_running("starts")
        eventually(lambda: answering(world.gateway), 60, what="all answer again")
        world.settle(row, {**world.both_go_on(runs, waits), "started": lambda: world.is_running(starts)})
    world.tidy("runs", "waits")


@contextlib.contextmanager
def wrong_clock(folder: Path, part: str, seconds: float) -> Iterator[None]:
    clock.put(folder, part, seconds)
    try:
        yield
    finally:
        clock.put(folder, part, 0)


@pytest.mark.long
@long_outage
def test_many_doors(world: World) -> None:
    """A link that starts anew with many doors to open."""
    count = 50
    gateway = world.gateway
    names = [f"d{number}" for number in range(count)]
    people = [gateway.make_user() for _ in range(-(-count // 10))]
    where = {name: people[index // 10] for index, name in enumerate(names)}
    with world.fault(f"link killed with {count} doors open", count) as row:
        try:
            for first in range(0, 10, 5):  # a person may have so many that wait
                now = [name for index, name in enumerate(names) if first <= index % 10 < first + 5]
                for name in now:
                    answer = gateway.start(where[name], name, **world.running)
                    assert answer.status_code in (201, 202), answer.text
                for name in now:
                    gateway.wait_ready(where[name], name, 600)
            old = gateway.pid("link")
            os.kill(old, signal.SIGKILL)
            eventually(lambda: gateway.pid("link") != old, 60, what="the link was started anew")

            def all_answer() -> bool:
                with contextlib.suppress(httpx.HTTPError):  # the link is only just being started
                    return all(gateway.notebook(person, name).request("GET", "/api").status_code == 200
                               for name, person in where.items())  # fmt: skip
                return False

            world.settle(row, {"all doors are open": all_answer}, 120)
        finally:
            for name, person in where.items():
                gateway.stop(person, name)
            eventually(lambda: not any(gateway.session(p, n) for n, p in where.items()), 120, what="all ended")


def test_ledger_locked(world: World) -> None:
    folder = world.gateway.path.parent
    stays(world, "ledger locked by another program, 15 s", lambda: locked(folder / "link/ledger.sqlite"), 15)


@contextlib.contextmanager
def locked(database: Path) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(database, timeout=10, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        yield
        db.execute("ROLLBACK")


def test_hub_database_read_only(world: World) -> None:
    folder = world.gateway.path.parent
    stays(world, "hub's database read-only, 15 s", lambda: read_only(folder / "hub"), 15)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


# --- the job's own fate ---------------------------------------------------------------------------------------------


def ends(world: World, name: str, strike: Callable[[str], object], *reasons: str) -> None:
    """Something ends the job of a running session: the other ones go on, and the person is told why."""
    runs, waits = world.keep_running(), world.keep_waiting()
    meets = world.keep_running("meets")
    with world.fault(name, 3) as row:
        assert meets.job is not None
        strike(meets.job)
        world.settle(
            row,
            {
                "it ended, and it is known why": lambda: world.has_ended(meets, *reasons),
                **world.both_go_on(runs, waits),
            },
        )
        row.saw += [f"ended: {s['end']['what']}" for s in world.gateway.sessions(world.user) if s["id"] == meets.id]


def test_cancelled_by_an_administrator(world: World) -> None:
    ends(world, "scancel by the site", lambda job: world.factory.ask("scancel", job), "cancelled-by-site")


def test_walltime(world: World) -> None:
    def shorten(job: str) -> None:
        world.factory.ask("scontrol", "update", f"JobId={job}", "TimeLimit=1")

    ends(world, "walltime reached", shorten, "walltime")


def test_server_killed(world: World) -> None:
    def kill(_job: str) -> None:
        code = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
        with contextlib.suppress(Exception):  # it never answers; but the kernel has to be there to be told
            world.gateway.notebook(world.user, "meets").run(code, timeout=60)

    ends(world, "server killed (-9, as out of memory does)", kill, "failed", "out-of-memory")


@pytest.mark.long
def test_requeued(world: World) -> None:
    runs, waits = world.keep_running(), world.keep_waiting()
    meets = world.keep_running("meets")
    with world.fault("requeue by the site", 3) as row:
        assert meets.job is not None
        faults.begin(world.cluster, "requeue", meets.job)
        eventually(lambda: not world.answers("meets"), 30, what="it left its node")
        world.settle(
            row,
            {
                "it runs again, the same session and job": lambda: world.is_running(meets),
                **world.both_go_on(runs, waits),
            },
            150,
        )
    world.tidy("runs", "waits")


def test_preempted(world: World) -> None:
    """Other work takes its node: it comes back by itself, the same session, and says so meanwhile."""
    gives = World(world.gateway, OTHER, {"size": "gpu-1"}, {"size": "gpu-1"})
    meets = gives.keep_running("meets")
    with gives.fault("preempted by other work", 1) as row:
        assert meets.job is not None
        with faults.begin(gives.cluster, "preempt", meets.job):
            eventually(lambda: gives.state(meets) == "pending", 60, what="it is back in the queue")
        gives.settle(row, {"it runs again, the same session and job": lambda: gives.is_running(meets)}, 150)
    gives.tidy()


def test_node_lost(world: World) -> None:
    """A node without power: what ran there starts again elsewhere where the site requeues, or ended and is told why."""
    runs, waits = world.keep_running(), world.keep_waiting()
    meets = world.keep_running("meets")
    session = world.gateway.session(world.user, "meets")
    other = world.gateway.session(world.user, "runs")
    assert session is not None and other is not None
    with world.fault("node lost", 3) as row:
        with faults.begin(world.cluster, "node-down", session["node"], "now"):
            world.settle(
                row,
                {
                    "it runs again or ended": lambda: world.has_ended(meets, "node-failed") or world.is_running(meets),
                    "the waiting one waits": lambda: world.is_waiting(waits),
                },
                150,
            )
        if session["node"] == other["node"]:
            eventually(lambda: world.has_ended(runs) or world.is_running(runs), 120)
        else:
            eventually(lambda: world.is_running(runs, world.kernel), 60, what="the other node's session goes on")
    world.tidy("waits")
    world.kernel = ""
