"""The fault matrix: causes every fault while there are sessions in every phase.

No session is lost, doubled or orphaned, and the person gets an explanation.
"""

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
from tests.faults.world import SETTLE, Known, World
from tests.support.gateway import Gateway, eventually

FACTORY, OTHER = "lumi-aif", "brainpp"


pytestmark = [pytest.mark.root]
long_outage = pytest.mark.timeout(900)  # seconds, with --long


@pytest.fixture(scope="module")
def world(isolated: Gateway) -> Iterator[World]:
    """Return a new person's sessions at a factory; one partition of this factory accepts jobs but starts none."""
    made = World(isolated, FACTORY, {"size": "gcd-1"}, {"size": "gcd-1-dev"})
    made.factory.ask("scontrol", "update", "PartitionName=dev-g", "State=DOWN")
    try:
        yield made
        made.tidy()
    finally:
        made.factory.ask("scontrol", "update", "PartitionName=dev-g", "State=UP")


def in_background(do: Callable[[], object]) -> threading.Thread:
    """Call ``do`` in a background thread, and return the thread.

    The thread ignores HTTP errors of ``do``, since the hub or the proxy may be killed.
    """

    def click() -> None:
        with contextlib.suppress(httpx.HTTPError):
            do()

    thread = threading.Thread(target=click, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("part", ["hub", "link", "proxy"])
def test_no_session_is_lost_when_hub_link_or_proxy_is_killed(world: World, part: str) -> None:
    """Programs are killed with SIGKILL while sessions are submitted, pending, starting, running and ending."""
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
            gateway.stop(world.user, "ends")  # the click itself failed, and the person saw that
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
    """Return True if the server's session runs, or if its start left no session."""
    session = world.gateway.session(world.user, server)
    return session is None or world.is_running(Known(server, session["id"], session["job"]))


def answering(gateway: Gateway) -> bool:
    """Return True if hub, proxy and link answer."""
    with contextlib.suppress(httpx.HTTPError):
        urls = (f"{gateway.hub}/health", f"{gateway.root}/services/factories/health")
        return all(httpx.get(url, timeout=5).status_code == 200 for url in urls)
    return False


def stays(
    world: World, name: str, fault: Callable[[], contextlib.AbstractContextManager[object]], seconds: float
) -> None:
    """Let a fault last for a number of seconds; no session may be affected for longer."""
    runs, waits = world.keep_running(), world.keep_waiting()
    with world.fault(name, 2) as row:
        with fault():
            time.sleep(seconds)  # the length of the outage is part of the test
        world.settle(row, world.both_go_on(runs, waits))


def outage(world: World, request: pytest.FixtureRequest, name: str, seconds: float, long: float, *fault: str) -> None:
    """Cause a fault of the testbed for ``seconds``, or for ``long`` seconds with pytest's option ``--long``.

    ``name``: the fault in the matrix; ``fault``: its kind and arguments. No session may be affected for longer.
    """
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
    """New logins are refused, as if every certificate had expired and no new one could be made."""
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
    """Another machine answers at the site's address.

    The link sends it nothing, and other factories are not affected.
    """
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
    """With 300 ms and 5 % loss everything is slow, also new sessions, and nothing breaks."""
    runs, waits = world.keep_running(), world.keep_waiting()
    with world.fault("slow network (300 ms, 5 % loss)", 3) as row:
        with faults.begin(world.cluster, "slow"):
            starts = world.keep_running("starts")
            assert world.answers("runs", world.kernel, patience=60)
        world.settle(row, {**world.both_go_on(runs, waits), "started": lambda: world.is_running(starts)})
    world.tidy("runs", "waits")


def test_drained(world: World) -> None:
    """No node accepts new jobs: running sessions go on, new ones wait with an explanation."""
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
    """The scheduler accepted the job, and the network failed before its answer arrived."""
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
    """Make sbatch at that site accept the job and then hang for a while, as if its answer were lost.

    Only that site's mount namespace is affected: all clusters of this machine share the programs' folder."""
    program = Path(world.cluster.env["PATH"].split(":")[0]) / "sbatch"
    own = world.cluster.folder / "sbin/sbatch"  # the copy finds its libraries there, like the daemons' copies
    shutil.copy(program, own)
    deaf = own.with_name("sbatch.deaf")  # sbatch selects its options by its own name
    deaf.write_text(f'#!/bin/bash\nout=$(exec -a sbatch {own} "$@") || exit\nsleep 20\necho "$out"\n')
    deaf.chmod(0o755)
    world.factory.ask("mount", "--bind", str(deaf), str(program))
    try:
        yield
    finally:
        world.factory.ask("umount", "--lazy", str(program))  # some copies may still run


def test_disk_full(world: World) -> None:
    """The account's home is full: running sessions go on, new ones are refused with an explanation."""
    runs, waits = world.keep_running(), world.keep_waiting()
    session = world.gateway.session(world.user, "runs")
    assert session is not None
    with world.fault("quota full", 3) as row:
        with faults.begin(world.cluster, "disk-full", session["account"]):
            row.saw.append(f"refused: {world.gateway.refusal(world.user, 'meets', **world.running)}")
            assert world.answers("runs", world.kernel, patience=60)
            eventually(lambda: world.gateway.session(world.user, "meets") is None, 60, what="it is not taken")
        world.settle(row, world.both_go_on(runs, waits))


@pytest.mark.parametrize("part", ["hub", pytest.param("link", marks=pytest.mark.long)])
def test_wrong_clock(world: World, part: str) -> None:
    """A clock that is ten minutes fast: programs start with it, work, and are corrected."""
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
    """A restarted link has many doors to open."""
    count = 50
    gateway = world.gateway
    names = [f"d{number}" for number in range(count)]
    people = [gateway.make_user() for _ in range(-(-count // 10))]
    where = {name: people[index // 10] for index, name in enumerate(names)}
    with world.fault(f"link killed with {count} doors open", count) as row:
        try:
            for first in range(0, 10, 5):  # the limit of a person's pending sessions
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
                with contextlib.suppress(httpx.HTTPError):  # the link is still starting
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
        subprocess.run(["umount", "--lazy", folder], check=True)  # the hub may have opened a file below it


# --- faults of a job --------------------------------------------------------------------------------------------------


def ends(world: World, name: str, strike: Callable[[str], object], *reasons: str, seconds: float = SETTLE) -> None:
    """Assert that only the affected session ends if a fault ends its job, and that the person gets an explanation.

    ``strike``: causes the fault, called with the job's id; ``reasons``: the possible reasons of the session's end.
    """
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
            seconds,
        )
        row.saw += [f"ended: {s['end']['what']}" for s in world.gateway.sessions(world.user) if s["id"] == meets.id]


def test_cancelled_by_an_administrator(world: World) -> None:
    ends(world, "scancel by the site", lambda job: world.factory.ask("scancel", job), "cancelled-by-site")


def test_walltime(world: World) -> None:
    def shorten(job: str) -> None:
        world.factory.ask("scontrol", "update", f"JobId={job}", "TimeLimit=1")

    # Up to a minute of the job is left, and Slurm looks every half minute whether a limit is reached.
    ends(world, "walltime reached", shorten, "walltime", seconds=SETTLE + 90)


def test_server_killed(world: World) -> None:
    def kill(_job: str) -> None:
        code = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
        with contextlib.suppress(Exception):  # the request is never answered, but the kernel must exist to be notified
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
    """A job with higher priority takes the node: the same session comes back by itself, and shows this meanwhile."""
    gives = World(world.gateway, OTHER, {"size": "gpu-1"}, {"size": "gpu-1"})
    meets = gives.keep_running("meets")
    with gives.fault("preempted by other work", 1) as row:
        assert meets.job is not None
        with faults.begin(gives.cluster, "preempt", meets.job):
            eventually(lambda: gives.state(meets) == "pending", 60, what="it is back in the queue")
        gives.settle(row, {"it runs again, the same session and job": lambda: gives.is_running(meets)}, 150)
    gives.tidy()


def test_node_lost(world: World) -> None:
    """A node loses power.

    Its session starts again elsewhere if the site requeues jobs; otherwise it ends with an explanation.
    """
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
