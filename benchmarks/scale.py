"""Measures the cost of 1,200 sessions for one link: 1,000 wait and 200 run, as single jobs of a real Slurm.

The link runs without a hub: a stand-in answers that it knows all servers. The notebook is a stand-in (``standin``), and
the SSH connection to each door is real. First the cluster is full, and all sessions wait; then 200 start at once; then
a running session is stopped every 2 s, and the next waiting one starts in its place.

- memory: resident memory of the link's process per session, with all sessions waiting, and with 200 of them running
- CPU: CPU time of the link and of the commands that it runs, over 30 s
- questions: RPCs at the controller (``sdiag``) over 30 s; ``squeue`` makes two RPCs for each question
- reaction: the time from the job's first command to the event by which the page learns of it (``starting``), and to the
  event that the notebook answers (``running``); its environment variables are sent in between, as the hub does

A line with ``aim`` instead of a peer shows the required value. The carrier ``stdio`` needs one ``srun`` for each
session on the login side. The memory of this ``srun`` is measured separately, since it is not part of the link's
process. A smaller run: ``bin/bench scale 100 20``.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks import gateways, measure, programs
from benchmarks.bed import Bed, bed
from benchmarks.standin import standins
from factorycommon.models import Choice, Session, SessionRequest, SessionState
from factorylink.client import LinkClient

WAITING, RUNNING = (int(word) for word in sys.argv[1:] or (1000, 200))
CHURN = min(40, RUNNING // 2)  # number of sessions that are stopped one by one
CHURN_SECONDS = 2.0
WINDOW = 30.0
AT_ONCE = 30
LIMIT = 600.0
MB = 1e6


class Follower:
    """Follows the link's table, and records when each session was first seen as starting and as running.

    It also sends environment variables to doors, as the hub does. ``starting``, ``running``: Unix times by session; a
    session that is running counts as starting, too.
    """

    def __init__(self, client: LinkClient) -> None:
        self.sessions: dict[str, Session] = {}
        self.starting: dict[str, float] = {}
        self.running: dict[str, float] = {}
        self._client = client
        self._sending: set[asyncio.Task[None]] = set()
        self._sent: set[str] = set()

    async def follow(self) -> None:
        async for change in self._client.table():
            now = time.time()
            for session in change.snapshot or ([change.session] if change.session is not None else []):
                self._see(session, now)

    def _see(self, session: Session, now: float) -> None:
        self.sessions[session.id] = session
        if session.state in (SessionState.STARTING, SessionState.RUNNING):
            self.starting.setdefault(session.id, now)
        if session.state == SessionState.RUNNING:
            self.running.setdefault(session.id, now)
        elif session.door_open and session.wish == "run" and session.id not in self._sent:
            self._sent.add(session.id)
            task = asyncio.create_task(self._send(session.id))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, session_id: str) -> None:
        await self._client.send_environment(session_id, {"JUPYTERHUB_API_TOKEN": "token"}, ["notebook"])

    async def until(self, state: SessionState, number: int) -> float:
        """Wait until a number of sessions is in that state, each with a job; return the seconds that this took.

        Raises TimeoutError after ``LIMIT`` seconds.
        """

        async def look() -> bool:
            return sum(each.state == state and each.job is not None for each in self.sessions.values()) >= number

        return await measure.until(look, LIMIT, f"{number} sessions are {state}", every=0.1)


async def submit(client: LinkClient, on: Bed, people: range) -> list[str]:
    """Request a session for each person whose number is in ``people``; return the sessions' ids."""
    gate = asyncio.Semaphore(AT_ONCE)
    ids = [uuid.uuid4().hex for _ in people]
    choice = Choice(factory=on.factory.id, size=on.size.id, environment="bench", hours=4, idle_minutes=480)

    async def ask(place: int, session_id: str) -> None:
        async with gate:
            await client.put_session(session_id, SessionRequest(user=f"person{place}", choice=choice))

    await asyncio.gather(*(ask(place, session_id) for place, session_id in zip(people, ids, strict=True)))
    return ids


async def window(link: gateways.Link, on: Bed) -> tuple[float, dict[str, int]]:
    """Return the CPU seconds of the link, and the RPCs at the controller by type, in the next ``WINDOW`` seconds."""
    await asyncio.to_thread(on.reset_rpcs)
    before = measure.cpu_seconds([link.pid])
    await asyncio.sleep(WINDOW)
    used = measure.cpu_seconds([link.pid]) - before
    return used, await asyncio.to_thread(on.rpcs)


def questions(rpcs: dict[str, int]) -> float:
    """Return how often per second the link asked the scheduler for its jobs, from the RPCs of ``window``."""
    return rpcs.get("REQUEST_JOB_INFO", 0) / WINDOW


def tell_window(name: str, used: float, rpcs: dict[str, int]) -> None:
    measure.note(f"{name}: link {100 * used / WINDOW:.1f} % of a core; RPCs in {WINDOW:g} s: {rpcs}")


def tell_reaction(name: str, follower: Follower, starts: dict[str, float], ids: set[str]) -> None:
    """Print the 50th and 95th percentile of the seconds from a job's first command until the link's event.

    ``starts``: the Unix time of each session's first command; ``ids``: the sessions that count.
    """
    for event, seen in (("starting", follower.starting), ("running", follower.running)):
        taken = [seen[each] - starts[each] for each in ids if each in seen and each in starts]
        shares = {share: measure.percentile(taken, share / 100) for share in (50, 95)}
        told = ", ".join(f"p{share} {seconds:.2f} s" for share, seconds in shares.items())
        measure.note(f"reaction, {name}, to {event!r}: {told} ({len(taken)} jobs)")


def read_starts(on: Bed) -> dict[str, float]:
    """Return the Unix time of the first command of each session's job, by session."""
    lines = (line.split() for line in (on.folder / "starts").read_text().splitlines())
    return {session: float(moment) for session, moment in lines}


async def srun_memory(on: Bed) -> float:
    """Return the resident memory in bytes of one ``srun`` that has entered a job, as carrier stdio runs it."""
    account, job = on.ask("squeue", "-h", "-t", "RUNNING", "-o", "%u %i").split()[:2]
    argv = ("srun", "-u", "--overlap", f"--jobid={job}", "--ntasks=1", "--mem=0", "--mpi=none", "cat")
    process = await asyncio.create_subprocess_exec(
        *on.argv_as(account, *argv), env=on.cluster.env, cwd="/",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"there\n")
    await asyncio.wait_for(process.stdout.readline(), 30)
    total = sum(measure.memory(pid) for pid in _sruns(job))
    process.stdin.close()
    await process.wait()
    return total


def _sruns(job: str) -> list[int]:
    """Return the pids of the ``srun`` processes for that job: each srun and its child process."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            argv = (entry / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if argv[0].endswith("srun") and f"--jobid={job}" in argv:
            found.append(int(entry.name))
    return found


@asynccontextmanager
async def hub_that_knows_all() -> AsyncIterator[str]:
    """Serve a hub's list of servers, with one starting server for each person of the benchmark; yield the address."""

    def users(_: Request) -> JSONResponse:
        names = [f"person{number}" for number in range(WAITING + RUNNING)]
        items = [{"name": name, "servers": {"": {"pending": "spawn"}}} for name in names]
        return JSONResponse({"items": items, "_pagination": {"next": None}})

    port = programs.free_port()
    app = Starlette(routes=[Route("/hub/api/users", users)])
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    serving = asyncio.create_task(server.serve())
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


async def measure_all(on: Bed, link: gateways.Link, client: LinkClient) -> None:
    """Measure while all sessions wait, while some start at once, and while they start one by one; print the results."""
    follower = Follower(client)
    following = asyncio.create_task(follower.follow())
    empty = measure.memory(link.pid)
    ids = await submit(client, on, range(1))
    await follower.until(SessionState.PENDING, 1)
    used, rpcs = await window(link, on)
    tell_window("one waits", used, rpcs)
    alone = questions(rpcs)
    begin = time.monotonic()
    ids += await submit(client, on, range(1, WAITING + RUNNING))
    await follower.until(SessionState.PENDING, len(ids))
    taken = time.monotonic() - begin
    measure.note(f"{len(ids)} sessions submitted in {taken:.1f} s: {len(ids) / taken:.1f} a second")
    full = measure.memory(link.pid)
    used, rpcs = await window(link, on)
    tell_window("all wait", used, rpcs)
    measure.report("scale", f"squeue-{len(ids)}-waiting", questions(rpcs), {"one-waiting": alone}, "questions/s")

    await asyncio.to_thread(on.drain_out)
    begin = time.monotonic()
    await follower.until(SessionState.RUNNING, RUNNING)
    measure.note(f"{RUNNING} running {time.monotonic() - begin:.1f} s after the cluster became free")
    starts = read_starts(on)
    tell_reaction(f"{RUNNING} at once", follower, starts, set(starts))
    used, rpcs = await window(link, on)
    open_ = measure.memory(link.pid)
    tell_window(f"{WAITING} wait, {RUNNING} run", used, rpcs)

    first = set(starts)
    for session_id in itertools.islice(first, CHURN):
        await client.stop(session_id)
        await asyncio.sleep(CHURN_SECONDS)

    async def replaced() -> bool:
        return len(set(follower.running) - first) >= CHURN

    await measure.until(replaced, LIMIT, "the next ones run", every=0.1)
    starts = read_starts(on)
    tell_reaction("one by one", follower, starts, set(starts) - first)
    srun = await srun_memory(on)
    following.cancel()

    measure.note(f"the link's process: empty {empty / MB:.0f} MB, all waiting {full / MB:.0f} MB, {open_ / MB:.0f} MB")
    measure.report("scale", "memory-waiting", (full - empty) / len(ids) / MB, {"aim": 1.5}, "MB/session")
    measure.report("scale", "memory-running", (open_ - full) / RUNNING / MB, {"aim": 1.5}, "MB/session")
    measure.note(f"srun, for carrier stdio, on the login side and no part of that: {srun / MB:.1f} MB/session")
    measure.report("scale", f"squeue-{RUNNING}-running", questions(rpcs), {"one-waiting": alone}, "questions/s")
    measure.note(f"CPU: {1000 * used / WINDOW / len(ids):.2f} ms a second and session, the commands it runs included")


async def main() -> None:
    """Run the benchmark, and print the results."""
    with bed("scale", many=RUNNING) as cluster:
        async with (
            standins(cluster) as on,
            hub_that_knows_all() as hub,
            gateways.link_alone(on, hub) as link,
        ):
            on.fill()
            await measure.until(lambda: asyncio.to_thread(on.full), 30, "the cluster is full")
            client = LinkClient(link.socket)
            try:
                await measure_all(on, link, client)
            finally:
                await client.close()
                on.clear()


if __name__ == "__main__":
    asyncio.run(main())
