"""Measures how fast a click leads to a cell's output, in a class of 60 people whose servers start before it begins.

The benchmark compares this gateway with jupyter-classroom, one after the other on the same Slurm. Both have an account
for each person, real JupyterLab servers and kernels, and their own hub and proxy. With this gateway, the people are
members of a workshop: the workshops service begins their seats in waves, and the hub adopts the seats' sessions.
jupyter-classroom is a service of a hub with batchspawner and its default settings. Its teacher clicks on "Start all";
then the service requests the servers of all people of a group, ten at a time, with an administrator's token. The
measurements are:

- seats-at-t0: the servers that the hub reports as ready when the class begins (T-0), ``--lead`` seconds after the first
  order to start servers
- all-run: the seconds until all servers are ready; the lead if they are not all ready at T-0
- click: the seconds from the click to the output of the first cell, for each person. A client requests the page of
  JupyterLab, starts a kernel, and runs one cell through the kernel's channel. The clicks are spread evenly over
  ``--within`` seconds. A client without an answer counts with 120 s
- info-p95: the 95th percentile of ``GET /hub/api/info`` through the proxy, every 0.1 s, until T-0 and during the clicks
- cpu: CPU time of hub, link and workshops service, with the commands that they run, until T-0

A line with ``aim`` instead of a peer shows the required value.

With ``--certificates ssh``, the factory is behind sshd in its own network, and the link logs in as each account with
certificates of its own CA, 60 logins a minute. batchspawner cannot reach such a factory, so there is no peer. The
benchmark needs root. A smaller run: ``bin/bench class --seats 20``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from benchmarks import classroom, gateways, measure
from benchmarks.bed import Bed, bed
from benchmarks.class_clients import clicks, shares
from testbed import accounts
from testbed.network.login_side import Isolation
from workshops.client import WorkshopsClient
from workshops.models.bodies import WorkshopBody
from workshops.models.callers import WorkshopCaller

NAME = "class"
PEER = classroom.NAME
LOGINS = 60  # a minute
OPERATOR = WorkshopCaller("bench", operator=True)
ENDING_SECONDS = 180.0  # until all JupyterLab servers have ended
READ_SECONDS = 7.0  # until the link has read the table of projects, which it does every 5 s
AIMS = {"click-p95": 15.0, "click-max": 60.0}  # seconds


@dataclass(frozen=True)
class Options:
    """The options of the command line.

    ``lead``: seconds from the first order to start servers until T-0; ``within``: seconds in which all people click.
    """

    seats: int
    carrier: str
    certificates: str
    lead: float
    within: float
    peer: bool


@dataclass(frozen=True)
class Lesson:
    """The measurements of one side.

    ``running``: how many servers were ready at T-0; ``up``: seconds until all were ready, or the lead if they were not;
    ``cpu``: CPU seconds until T-0; ``clicks``: seconds from each click to the cell's output; ``info_start``,
    ``info_clicks``: the 95th percentile of ``GET /hub/api/info`` in milliseconds, until T-0 and during the clicks.
    """

    running: int
    up: float
    cpu: float
    clicks: list[float]
    info_start: float
    info_clicks: float


def options() -> Options:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="bin/bench class", description="A class of sixty.")
    parser.add_argument("--seats", type=int, default=60)
    parser.add_argument("--carrier", choices=("tcp", "stdio"), default="tcp")
    parser.add_argument("--certificates", choices=("local", "ssh"), default="local")
    parser.add_argument("--lead", type=float, help="seconds from the first order to T-0 (60, and 2.5 for each seat)")
    parser.add_argument("--within", type=float, default=30.0, help="seconds in which all click")
    parser.add_argument("--without-peer", action="store_true")
    given = parser.parse_args()
    if not 1 <= given.seats <= 99:
        parser.error("--seats: from 1 to 99")
    lead = 60 + 2.5 * given.seats if given.lead is None else given.lead
    peer = not given.without_peer and given.certificates == "local"
    return Options(given.seats, given.carrier, given.certificates, lead, given.within, peer)


def people(seats: int) -> tuple[str, ...]:
    """Return a name for the Unix account of each seat."""
    return tuple(f"fg-class{number:02}" for number in range(1, seats + 1))


async def lesson(gateway: gateways.Gateway, begin: Callable[[], Awaitable[None]], wanted: Options) -> Lesson:
    """Start the servers, count the ready ones at T-0, let all people click, and return the measurements.

    ``begin``: gives the order to start the servers.
    """
    names = gateway.bed.people
    tokens = {f"/user/{name}/": await gateway.token(name) for name in names}
    before, over = measure.cpu_seconds(gateway.counted), asyncio.Event()
    latencies = asyncio.create_task(measure.sample(gateway.info, 2 * wanted.lead, stop=over))
    began = time.monotonic()
    beginning = asyncio.ensure_future(begin())
    up: float | None = None
    while (passed := time.monotonic() - began) < wanted.lead:
        if up is None and await gateway.ready() >= len(names):
            up = time.monotonic() - began
            measure.note(f"{gateway.name}: all {len(names)} run after {up:.1f} s")
        await asyncio.sleep(min(1.0, max(0.0, wanted.lead - passed)))
    running = await gateway.ready()
    cpu = measure.cpu_seconds(gateway.counted) - before
    over.set()
    start = await latencies
    beginning.cancel()
    await asyncio.gather(beginning, return_exceptions=True)
    over = asyncio.Event()
    latencies = asyncio.create_task(measure.sample(gateway.info, 1000, stop=over))
    taken = await clicks(str(gateway.client.base_url).rstrip("/"), tokens, wanted.within)
    over.set()
    meanwhile = await latencies
    measure.note(f"{gateway.name}: {running} of {len(names)} at T-0; click to cell {shares(taken)}")
    p95 = [1000 * measure.percentile(each, 0.95) for each in (start, meanwhile)]
    return Lesson(running, wanted.lead if up is None else up, cpu, taken, *p95)


async def workshop(gateway: gateways.Gateway) -> tuple[WorkshopsClient, str]:
    """Make a workshop with all people as members; return the service's client, and the workshop's id."""
    assert gateway.workshops_socket is not None
    client = WorkshopsClient(gateway.workshops_socket)
    opens = datetime.now(UTC) + timedelta(hours=1)
    times = {"opens": opens, "starts": opens, "ends": opens + timedelta(hours=1), "closes": opens + timedelta(hours=2)}
    place = {"factory": gateway.bed.factory.id, "size": gateway.bed.size.id}
    body = WorkshopBody.model_validate(
        {
            "title": "A class",
            **{name: at.isoformat() for name, at in times.items()},
            "seats": len(gateway.bed.people),
            "hours": 1,
            "places": [place],
        }
    )
    slug = (await client.create(OPERATOR, body)).slug
    await client.take(OPERATOR, slug, "approve")

    async def scheduled() -> bool:
        return (await client.one(OPERATOR, slug)).state == "scheduled"

    await measure.until(scheduled, 30, "the workshop is scheduled", every=0.2)
    for person in gateway.bed.people:
        await client.put_member(OPERATOR, slug, person, "participant")
    await asyncio.sleep(READ_SECONDS)
    return client, slug


async def ours(on: Bed, wanted: Options) -> Lesson:
    """Return the measurements of this gateway; the gateway is stopped, and all jobs are cancelled, before that."""
    access: dict[str, object] = {"accounts": {person: person for person in on.people}}
    known = on.cluster.access_fields()
    if wanted.carrier == "stdio":
        access["door"] = {"carrier": "stdio", "stdio_most": wanted.seats + 10}
    if wanted.certificates == "ssh":
        transport = known["transport"]
        assert isinstance(transport, dict)
        access["transport"] = {**transport, "logins_per_minute": LOGINS}
    async with gateways.ours(on, wanted.seats, (), **access) as gateway:
        client, slug = await workshop(gateway)

        async def begin() -> None:
            await client.take(OPERATOR, slug, "warm")

        try:
            found = await lesson(gateway, begin, wanted)
            seating = await client.seating(OPERATOR, slug)
            states = [str(seat.state) for seat in seating.seats]
            said = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
            measure.note(f"ours: seats {said}; waves {max(seat.wave or 0 for seat in seating.seats)}")
            if seating.halted is not None:
                measure.note(f"ours: halted: {seating.halted}")
        finally:
            await client.close()
    await cleared(on)
    return found


async def peer(on: Bed, wanted: Options) -> Lesson:
    """Return the measurements of jupyter-classroom; its hub is stopped, and all jobs are cancelled, before that."""
    password = secrets.token_urlsafe()
    file = on.folder / "teacher-password"
    file.touch(0o600)
    file.write_text(password)
    async with gateways.peer(on, classroom.configuration(file)) as gateway:
        gateway.name = PEER
        async with classroom.teacher(gateway, password) as client:
            found = await lesson(gateway, lambda: classroom.start_all(client), wanted)
    await cleared(on)
    return found


async def cleared(on: Bed) -> None:
    """Cancel all jobs, and wait until they are gone."""
    await asyncio.to_thread(on.clear)
    await on.idle(ENDING_SECONDS)


def clicked(share: float) -> Callable[[Lesson], float]:
    """Return a function that returns a percentile of a lesson's clicks in seconds; ``share``: 0 to 1."""
    return lambda one: measure.percentile(one.clicks, share)


def tell(ours: Lesson, theirs: Lesson | None, wanted: Options) -> None:
    """Print the results."""
    measure.note(f"{wanted.seats} seats, carrier {wanted.carrier}, certificates {wanted.certificates}")
    other = {} if theirs is None else {PEER: theirs}

    def peers(of: Callable[[Lesson], float], **aims: float) -> dict[str, float]:
        return {name: of(one) for name, one in other.items()} | aims

    at_t0 = peers(lambda one: one.running, aim=wanted.seats - wanted.seats // 60)
    measure.rate(NAME, "seats-at-t0", ours.running, at_t0, "seats")
    measure.report(NAME, "all-run", ours.up, peers(lambda one: one.up), "s")
    for name, share in (("click-p50", 0.5), ("click-p95", 0.95), ("click-max", 1.0)):
        aims = {"aim": AIMS[name]} if name in AIMS else {}
        beside = peers(clicked(share), **aims)
        measure.report(NAME, name, clicked(share)(ours), beside, "s")
    measure.report(NAME, "info-p95-start", ours.info_start, peers(lambda one: one.info_start, aim=500.0), "ms")
    measure.report(NAME, "info-p95-clicks", ours.info_clicks, peers(lambda one: one.info_clicks, aim=500.0), "ms")
    measure.report(NAME, "cpu", ours.cpu, peers(lambda one: one.cpu), "s")
    if not other:
        measure.note(f"without a peer: all-run {ours.up:.1f} s, click {shares(ours.clicks)}, CPU {ours.cpu:.1f} s")


async def main(wanted: Options) -> None:
    """Run the benchmark, and print the results."""
    isolation = None
    if wanted.certificates == "ssh":
        tcp = wanted.carrier == "tcp"
        isolation = Isolation(forwarding=tcp, carrier="tcp" if tcp else "stdio")
    with accounts.lent(people(wanted.seats), measure.note) as names, bed(NAME, wanted.seats, isolation, names) as on:
        mine = await ours(on, wanted)
        theirs = await peer(on, wanted) if wanted.peer else None
    tell(mine, theirs, wanted)


if __name__ == "__main__":
    chosen = options()
    if os.geteuid() != 0:
        raise SystemExit("bin/bench class needs root: each seat has an account of its own")
    asyncio.run(main(chosen))
