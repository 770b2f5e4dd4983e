"""The seats of a workshop on a real Slurm: they run, and the hub has them, before their people come."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Factory, Gateway, eventually
from workshops.client import WorkshopsClient, WorkshopsSilent
from workshops.models.bodies import WorkshopBody
from workshops.models.callers import WorkshopCaller
from workshops.models.moving import MoveBody
from workshops.models.seats import SeatingView

pytestmark = pytest.mark.slurm
SEATS = 4
OPERATOR = WorkshopCaller("admin", operator=True)
READY_SECONDS = 60.0  # from "warm up now" to the last seat, with the reading of files every few seconds


class Service:
    """The workshops service of the demo, asked as the hub asks it."""

    def __init__(self, gateway: Gateway) -> None:
        self.folder = gateway.path.parent

    def ask(self, order: str, *arguments: Any) -> Any:
        """Return the service's answer, which comes a moment later if the service is being started."""

        async def asked() -> Any:
            client = WorkshopsClient(self.folder / "workshops" / "hub.sock")
            try:
                for left in range(100, 0, -1):
                    try:
                        return await getattr(client, order)(OPERATOR, *arguments)
                    except WorkshopsSilent:
                        if left == 1:
                            raise
                        await asyncio.sleep(0.2)
            finally:
                await client.close()

        return asyncio.run(asked())

    def kill(self) -> None:
        """End the service without warning; the demo's supervisor starts it again."""
        programs = json.loads((self.folder / "processes.json").read_text())
        os.kill(int(programs["workshops"]["pid"]), signal.SIGKILL)


def body(**fields: Any) -> WorkshopBody:
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
    """Let a factory's scheduler answer nothing."""
    (line,) = [one for one in factory.ask("scontrol", "show", "config").splitlines() if one.startswith("SlurmctldPid")]
    daemon = int(Path(line.split("=")[1].strip()).read_text())
    os.kill(daemon, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(daemon, signal.SIGCONT)


def at(gateway: Gateway, person: str) -> str | None:
    """Return the factory at which the hub's server of a person is ready."""
    session = gateway.session(person)
    ready = session is not None and session["reachable"] and (gateway.server(person) or {}).get("ready")
    return session["choice"]["factory"] if session is not None and ready else None


def test_all_seats_run_and_open_at_once_before_the_class(gateway: Gateway) -> None:
    service, people = Service(gateway), [gateway.make_user() for _ in range(SEATS)]
    slug = service.ask("create", body()).slug
    service.ask("take", slug, "approve")
    eventually(lambda: service.ask("one", slug).state == "scheduled", what="the workshop is scheduled")
    for person in people:
        service.ask("put_member", slug, person, "participant")
    begun = time.monotonic()
    try:
        service.ask("take", slug, "warm")
        seating: SeatingView = eventually(
            lambda: (found := service.ask("seating", slug)).seats and any(s.session for s in found.seats) and found,
            READY_SECONDS,
            what="the first wave is asked for",
        )
        service.kill()  # what was asked for is neither lost nor doubled
        assert seating.halted is None
        for person in people:
            eventually(
                lambda p=person: (gateway.server(p) or {}).get("ready"),  # type: ignore[misc]
                READY_SECONDS,
                what=f"the hub has the seat of {person}",
            )
        assert time.monotonic() - begun < READY_SECONDS
        live = [one for one in gateway.everybody() if one["user"] in people]
        assert sorted(one["user"] for one in live) == sorted(people)
        assert {one["choice"]["project"] for one in live} == {f"workshop-{slug}"}
        for person in people:  # nobody has opened a page before: it is there at once
            came = time.monotonic()
            assert gateway.notebook(person).request("GET", "/api/status").status_code == 200
            assert gateway.notebook(person).request("GET", "/lab").status_code == 200
            assert time.monotonic() - came < 10
        seen: SeatingView = service.ask("seating", slug)
        assert {seat.state for seat in seen.seats} <= {"running", "begun"}
    finally:
        service.ask("take", slug, "close")
        for person in people:
            gateway.stopped(person)


def test_a_class_moves_to_plan_b_while_plan_a_is_cut(gateway: Gateway) -> None:
    service, people = Service(gateway), [gateway.make_user() for _ in range(2)]
    first = gateway.factories["it4lia"]
    places = [{"factory": "it4lia", "size": "gpu-1"}, {"factory": "brainpp", "size": "gpu-1"}]
    slug = service.ask("create", body(places=places, seats=2)).slug
    service.ask("take", slug, "approve")
    eventually(lambda: service.ask("one", slug).state == "scheduled", what="the workshop is scheduled")
    for person in people:
        service.ask("put_member", slug, person, "participant")
    try:
        service.ask("take", slug, "warm")
        for person in people:
            eventually(lambda p=person: at(gateway, p) == "it4lia", READY_SECONDS, what="the seat at A")  # type: ignore[misc]
        before = {one["id"]: one["job"] for one in gateway.everybody() if one["user"] in people}
        with cut(first):
            service.ask("move", slug, MoveBody(place=1))
            service.kill()  # the order is neither lost nor carried out twice
            for person in people:
                eventually(lambda p=person: at(gateway, p) == "brainpp", READY_SECONDS, what="the seat at B")  # type: ignore[misc]
            eventually(lambda: service.ask("moving", slug).places[0].leaving == 2, 60, what="A has to end two jobs")
        eventually(lambda: service.ask("moving", slug).places[0].leaving == 0, READY_SECONDS, what="A has ended them")
        assert not first.jobs().keys() & set(before.values())
        live = [one for one in gateway.everybody() if one["user"] in people]
        found = sorted((one["user"], one["choice"]["factory"]) for one in live)
        assert found == [(person, "brainpp") for person in sorted(people)]
        assert not before.keys() & {one["id"] for one in live}
    finally:
        service.ask("take", slug, "close")
        for person in people:
            gateway.stopped(person)
