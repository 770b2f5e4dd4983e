"""Moves a class from plan A to plan B while the factory of plan A does not answer, and checks A after its return."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.support.gateway import Factory, Gateway, eventually
from tests.support.workshop_class import READY_SECONDS, Service, body, cut, ready, sessions, stop, wait_ready
from workshops.models.moving import MoveBody

PLAN_A, PLAN_B = {"factory": "it4lia", "size": "gpu-1"}, {"factory": "lumi-aif", "size": "gcd-1"}
SHARE = 3.0  # GPU-hours of each person, for the seats at both places together
COUNTED = 3.0 / 3600  # GPU-hours by which two counts of one job may differ: whole seconds at both ends
PATIENCE = 600.0  # seconds; longer than any limit, so that a failure says how late the last seat was


@dataclass(frozen=True)
class Moved:
    """The measurements of a move.

    ``warm``: seconds from the order to begin the seats until all seats were ready at A; ``before``: the time from the
    order to move until the class opens; ``ready``: for each person, the seconds from the order to move until their seat
    was ready at B, sorted; ``ended``: seconds from A's return until all jobs at A had ended; ``back``: GPU-hours that
    the budget got back after A's return.
    """

    warm: float
    before: timedelta
    ready: Sequence[float]
    ended: float
    back: float

    def __str__(self) -> str:
        minutes = self.before / timedelta(minutes=1)
        return (
            f"{len(self.ready)} seats ready at A after {self.warm:.1f} s, which was cut {minutes:.1f} minutes before "
            f"the class; at B the first after {self.ready[0]:.1f} s, the last after {self.ready[-1]:.1f} s; "
            f"jobs at A ended {self.ended:.1f} s after its return; {self.back:.1f} GPU-hours back"
        )


@dataclass(frozen=True)
class Budget:
    """The GPU-hours that are left. ``of``: for each person; ``whole``: for the class."""

    of: Mapping[str, float]
    whole: float


def move(gateway: Gateway, people: Sequence[str], ahead: timedelta = timedelta(minutes=60)) -> Moved:
    """Begin the seats of a class at A, cut A off, move the class, let A answer again; return the measurements.

    ``ahead``: the time from now until the class opens.
    """
    service, a = Service(gateway), gateway.factories[PLAN_A["factory"]]
    opens = datetime.now(UTC) + ahead
    plan = body(
        places=[PLAN_A, PLAN_B], seats=len(people), gpu_hours=SHARE * len(people), person_gpu_hours=SHARE,
        opens=opens.isoformat(), starts=opens.isoformat(),
    )  # fmt: skip
    slug = service.scheduled(plan)
    for person in people:
        service.ask("put_member", slug, person, "participant")
    try:
        began = time.monotonic()
        service.warm(slug)
        wait_ready(gateway, people, PLAN_A["factory"])
        warm = time.monotonic() - began
        seats_at_a, at_a = sessions(gateway, people), left(gateway, slug, people)
        with cut(a):
            before, ordered = opens - datetime.now(UTC), datetime.now(UTC)
            service.ask("move", slug, MoveBody(place=1))
            service.kill()  # the order is neither lost nor carried out twice
            arrived = arrivals(gateway, people, ordered)
            eventually(lambda: leaving(service, slug) == len(people), READY_SECONDS, what="A has to end its jobs")
            at_both = left(gateway, slug, people)
        returned = time.monotonic()
        seconds = READY_SECONDS + len(people)
        eventually(lambda: leaving(service, slug) == 0, seconds, what="A has ended the jobs of the class")
        eventually(lambda: not a.jobs(), seconds, what="no job is at A")
        ended = time.monotonic() - returned
        used = {name: ran(a, str(one["job"])) for name, one in seats_at_a.items()}
        back = check_budget(gateway, slug, at_a, at_both, used)
        check_once(gateway, people, {str(one["id"]) for one in seats_at_a.values()})
        return Moved(warm, before, arrived, ended, back)
    finally:
        service.ask("take", slug, "close")
        stop(gateway, people)


def arrivals(gateway: Gateway, people: Sequence[str], ordered: datetime) -> list[float]:
    """Return, sorted, the seconds from now until each person's seat is ready at B and the person's address leads there.

    ``ordered``: the time of the order to move; notebooks that were started before this time do not count.
    """
    began, found = time.monotonic(), dict[str, float]()
    while len(found) < len(people):
        for person, factory in ready(gateway, people).items():
            if person not in found and factory == PLAN_B["factory"] and is_newer(gateway, person, ordered):
                found[person] = time.monotonic() - began
        assert time.monotonic() - began < PATIENCE, f"only {len(found)} of {len(people)} seats are at B"
        time.sleep(0.2)
    return sorted(found.values())


def is_newer(gateway: Gateway, person: str, ordered: datetime) -> bool:
    """Return whether the notebook at a person's address was started after the order to move."""
    try:
        answer = gateway.notebook(person).request("GET", "/api/status")
    except httpx.HTTPError:  # the address still leads to A
        return False
    return answer.status_code == 200 and datetime.fromisoformat(answer.json()["started"]) > ordered


def leaving(service: Service, slug: str) -> int:
    """Return the number of the class's jobs that A still has to end."""
    return int(service.ask("moving", slug).places[0].leaving)


def left(gateway: Gateway, slug: str, people: Sequence[str]) -> Budget:
    """Return what is left of the budget of a class."""
    views = {person: gateway.project(person, f"workshop-{slug}") for person in people}
    one: dict[str, Any] = views[people[0]]
    whole = one["granted"] - one["spent"] - one["reserved"]
    return Budget({person: float(view["left"]) for person, view in views.items()}, float(whole))


def ran(factory: Factory, job: str) -> float:
    """Return for how many hours an ended job ran, according to its scheduler."""
    state, used = factory.ask("squeue", "-h", "-t", "all", "-j", job, "-o", "%T %M").split()
    assert state in ("CANCELLED", "COMPLETED"), f"{job} is {state}"
    days, _, clock = used.rpartition("-")
    seconds = 0
    for part in clock.split(":"):
        seconds = 60 * seconds + int(part)
    return 24 * int(days or 0) + seconds / 3600


def check_budget(gateway: Gateway, slug: str, at_a: Budget, at_both: Budget, used: Mapping[str, float]) -> float:
    """Check that the budget got back all GPU-hours of A that A's jobs did not use; return how many it got back.

    ``at_a``: the budget while the class was at A; ``at_both``: the budget when the class was at B, and A did not answer
    yet; ``used``: the hours that each person's job at A ran.
    """
    people = list(used)
    reserved = {person: SHARE - at_a.of[person] for person in people}  # by the seats at A
    assert all(at_both.of[person] < at_a.of[person] for person in people)  # the seats at both places counted
    wanted = {person: at_both.of[person] + reserved[person] - used[person] for person in people}

    def deviation() -> float:
        found = left(gateway, slug, people)
        each = max(abs(found.of[person] - wanted[person]) for person in people)
        return max(each, abs(found.whole - sum(wanted.values())) / len(people))

    eventually(lambda: deviation() <= COUNTED, what="the hours of A are back")
    return left(gateway, slug, people).whole - at_both.whole


def check_once(gateway: Gateway, people: Sequence[str], earlier: set[str]) -> None:
    """Check that each person has exactly one session and one job at B, and that A has no job.

    ``earlier``: the ids of the sessions at A.
    """
    live = sessions(gateway, people)
    assert {name: one["choice"]["factory"] for name, one in live.items()} == dict.fromkeys(people, PLAN_B["factory"])
    assert not earlier & {one["id"] for one in live.values()}
    jobs = gateway.factories[PLAN_B["factory"]].jobs()
    assert {job: one["state"] for job, one in jobs.items()} == {one["job"]: "RUNNING" for one in live.values()}
    assert not gateway.factories[PLAN_A["factory"]].jobs()
