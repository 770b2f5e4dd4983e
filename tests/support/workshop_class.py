"""Helpers for a class on a running gateway: its workshops service, and its seats according to link and hub."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from testbed import processes
from tests.support.gateway import Factory, Gateway, eventually
from workshops.client import WorkshopsClient, WorkshopsProblem, WorkshopsSilent
from workshops.models.bodies import WorkshopBody
from workshops.models.callers import WorkshopCaller

SEATS = 4
PATIENCE = 120.0  # seconds for a service that is being started; tests must also pass on a loaded machine
OPERATOR = WorkshopCaller("admin", operator=True)
READY_SECONDS = 60.0  # from "warm up now" to the last of a few seats, with the reading of files every few seconds
SEAT_SECONDS = 3.0  # more for each seat of a whole class: all of them run on this machine


class Service:
    """The demo's workshops service, used in the way the hub uses it. ``caller``: the person who sends the requests."""

    def __init__(self, gateway: Gateway, caller: WorkshopCaller = OPERATOR) -> None:
        self.folder = gateway.path.parent
        self.caller = caller

    def ask(self, order: str, *arguments: Any) -> Any:
        """Return the service's answer to a request; if the service is being started, wait for its start.

        ``order``: the name of a method of ``WorkshopsClient``.
        """

        async def asked() -> Any:
            client = WorkshopsClient(self.folder / "workshops" / "hub.sock")
            try:
                deadline = time.monotonic() + PATIENCE
                while True:
                    try:
                        return await getattr(client, order)(self.caller, *arguments)
                    except WorkshopsSilent:
                        if time.monotonic() > deadline:
                            raise
                        await asyncio.sleep(0.2)
            finally:
                await client.close()

        return asyncio.run(asked())

    def state(self, slug: str) -> str:
        """Return the state of a workshop."""
        return str(self.ask("one", slug).state)

    def scheduled(self, plan: WorkshopBody) -> str:
        """Create and approve a workshop, and wait until it is scheduled; return its slug."""
        slug = str(self.ask("create", plan).slug)
        self.ask("take", slug, "approve")
        eventually(lambda: self.state(slug) in ("scheduled", "warming", "open"), what="the workshop is scheduled")
        return slug

    def warm(self, slug: str) -> None:
        """Begin the seats now, unless they have begun already."""
        with contextlib.suppress(WorkshopsProblem):
            self.ask("take", slug, "warm")
        assert self.state(slug) in ("warming", "open")

    def kill(self) -> None:
        """End the service without warning; the demo's supervisor starts it again."""
        record = self.folder / "processes.json"
        programs = eventually(
            lambda: found if "workshops" in (found := json.loads(record.read_text())) else None, what="the service runs"
        )
        with contextlib.suppress(ProcessLookupError):  # it has ended, and is started again
            os.kill(int(programs["workshops"]["pid"]), signal.SIGKILL)

    def over(self, slug: str) -> None:
        """Let a class end now.

        Nobody may change the times of a class that has begun, and a class that is closed early ends only after five
        minutes. So the end is set in the service's database.
        """
        now = time.time()
        with closing(sqlite3.connect(self.folder / "workshops" / "workshops.sqlite", timeout=30)) as db, db:
            db.execute("UPDATE workshops SET ends = ?, closes = ? WHERE slug = ?", (now, now, slug))
        eventually(lambda: self.state(slug) == "closing", what="the class is over")


def body(**fields: Any) -> WorkshopBody:
    """Return the request for a workshop that opens in an hour and has a few seats at one factory.

    ``fields``: replace its fields.
    """
    now = datetime.now(UTC)
    times = {"opens": now + timedelta(minutes=60), "starts": now + timedelta(minutes=70)}
    times |= {"ends": now + timedelta(hours=2), "closes": now + timedelta(hours=3)}
    return WorkshopBody.model_validate(
        {
            "title": "Seats before the class",
            **{name: at.isoformat() for name, at in times.items()},
            "seats": SEATS,
            "hours": 0.5,
            "gpu_hours": 10,
            "places": [{"factory": "it4lia", "size": "gpu-1"}],
            **fields,
        }
    )


@contextmanager
def cut(factory: Factory) -> Iterator[None]:
    """Keep a factory from answering during the block: its scheduler, and its nodes with the doors of their jobs."""
    folder, stopped = Path(factory.slurm_conf).resolve().parents[1], set[processes.Process]()
    try:
        while more := set(processes.of_cluster(folder)) - stopped:  # a process can start others until it stops
            for one in more:
                processes.send(one, signal.SIGSTOP)
            stopped |= more
        assert stopped
        yield
    finally:
        for one in stopped:
            processes.send(one, signal.SIGCONT)


def sessions(gateway: Gateway, people: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return the live sessions on people's seats, by person, as the link reports them.

    Fails the test if a person has two.
    """
    live = [one for one in gateway.everybody() if one["user"] in people and one["server"] == ""]
    found = {one["user"]: one for one in live}
    assert len(found) == len(live), "a person has two live sessions on one seat"
    return found


def ready(gateway: Gateway, people: Collection[str]) -> dict[str, str]:
    """Return, by person, the factory at which the person's seat is ready according to both link and hub."""
    answer = gateway.api("GET", "/users", params={"state": "ready", "limit": 200})
    assert answer.status_code == 200, answer.text
    servers = {user["name"] for user in answer.json() if user["servers"].get("", {}).get("ready")}
    live = sessions(gateway, people)
    return {name: one["choice"]["factory"] for name, one in live.items() if one["reachable"] and name in servers}


def at(gateway: Gateway, person: str) -> str | None:
    """Return the factory at which the seat of a person is ready; None if the seat is not ready."""
    return ready(gateway, [person]).get(person)


def wait_ready(gateway: Gateway, people: Collection[str], factory: str) -> None:
    """Wait until the seats of all these people are ready at a factory."""
    wanted = dict.fromkeys(people, factory)
    seconds = READY_SECONDS + SEAT_SECONDS * len(people)
    eventually(lambda: ready(gateway, people) == wanted, seconds, 0.5, f"{len(people)} seats are ready at {factory}")


def stop(gateway: Gateway, people: Collection[str], ready_seconds: float = READY_SECONDS) -> None:
    """Stop the seats of these people, and wait until the link has none of their sessions any more.

    ``ready_seconds``: how many seconds this may take for a few seats; a second is added for each seat.
    """
    for person in people:
        answer = gateway.stop(person)
        assert answer.status_code in (202, 204), answer.text
    seconds = ready_seconds + len(people)
    eventually(lambda: not sessions(gateway, people), seconds, 0.5, f"{len(people)} seats have ended")
