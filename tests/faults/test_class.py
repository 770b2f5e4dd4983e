"""A class goes on while hub, link, proxy and workshops service are killed: every seat keeps its job and its kernel.

While the service for workshops is away, the class goes on, even if the link is started anew meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import httpx
import pytest

from tests.faults.test_kill import back
from tests.slurm.test_workshop_seats import READY_SECONDS, Service, at, body
from tests.support.gateway import TRUST, Gateway, eventually
from workshops.client import WorkshopsProblem, WorkshopsSilent

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]
FACTORY, SIZE, TRAINER = "it4lia", "gpu-1", "ada"
SEATS, ALL_SEATS = 4, 8  # as many as the factory has GPUs: with --long
PARTS = ("hub", "link", "proxy", "workshops")
ANSWER_SECONDS = 30.0  # from when a part is back until every seat answers


@dataclass
class Seat:
    """A seat of the class: its person, the job of its session, and a kernel in which ``kept`` is its number."""

    number: int
    person: str
    job: str
    session: str
    kernel: str


class OpenClass:
    """A class that goes on."""

    def __init__(self, gateway: Gateway, count: int) -> None:
        self.gateway, self.service = gateway, Service(gateway)
        self.factory = gateway.factories[FACTORY]
        self.people = [gateway.make_user() for _ in range(count)]
        now = datetime.now(UTC)
        made = body(
            title="A class that goes on",
            opens=now.isoformat(),
            starts=(now + timedelta(minutes=1)).isoformat(),
            seats=count,
            places=[{"factory": FACTORY, "size": SIZE}],
        )
        self.slug: str = self.service.ask("create", made).slug
        self.service.ask("take", self.slug, "approve")
        eventually(lambda: self.state in ("scheduled", "warming", "open"), what="the workshop is scheduled")
        self.service.ask("put_member", self.slug, TRAINER, "lead")
        for person in self.people:
            self.service.ask("put_member", self.slug, person, "participant")
        eventually(lambda: self.state == "open", what="the class is open")
        for person in self.people:
            eventually(lambda p=person: at(gateway, p), 2 * READY_SECONDS, what=f"the seat of {person}")  # type: ignore[misc]
        self.seats = [self._seat(number, person) for number, person in enumerate(self.people, 1)]
        eventually(lambda: set(self.factory.jobs()) == self.jobs, what="the factory has the jobs of the class only")

    @property
    def state(self) -> str:
        return str(self.service.ask("one", self.slug).state)

    @property
    def jobs(self) -> set[str]:
        return {seat.job for seat in self.seats}

    def _seat(self, number: int, person: str) -> Seat:
        session = self.gateway.session(person)
        assert session is not None
        notebook = self.gateway.notebook(person)
        kernel = notebook.kernel()
        notebook.run(f"kept = {number}", kernel)
        return Seat(number, person, session["job"], session["id"], kernel)

    def start_again(self, seat: Seat) -> None:
        """Stop a seat and start it, as its person does."""
        self.gateway.stopped(seat.person)
        choice: dict[str, Any] = {"factory": FACTORY, "size": SIZE, "hours": 0.5, "project": f"workshop-{self.slug}"}
        started = self.gateway.start(seat.person, token=self.gateway.token(seat.person), **choice)
        assert started.status_code in (201, 202), started.text
        self.gateway.wait_ready(seat.person)
        self.seats[seat.number - 1] = self._seat(seat.number, seat.person)

    def answers(self, seat: Seat) -> bool:
        """Return whether a seat's kernel answers with its variable, at the public address."""
        try:
            return self.gateway.notebook(seat.person).run("print(kept)", seat.kernel, 10).strip() == str(seat.number)
        except Exception:  # whatever a page would show: the next question may be answered
            return False

    def goes_on(self, seconds: float = ANSWER_SECONDS) -> None:
        """Check that each seat answers in time, and that no seat is lost or doubled."""
        end = time.monotonic() + seconds

        def wait(seat: Seat) -> None:
            eventually(lambda: self.answers(seat), end - time.monotonic(), 0.5, f"seat {seat.number} answers")

        with ThreadPoolExecutor(len(self.seats)) as threads:
            list(threads.map(wait, self.seats))
        wanted = {(seat.session, seat.job, "running") for seat in self.seats}
        eventually(lambda: self.live() == wanted, max(1, end - time.monotonic()), 0.5, "the link has these sessions")
        jobs = self.factory.jobs()
        assert {job: jobs[job]["state"] for job in jobs} == dict.fromkeys(self.jobs, "RUNNING")

    def live(self) -> set[tuple[str, str, str]]:
        """Return id, job and state of the class's sessions, as the link knows them."""
        found = [one for one in self.gateway.everybody() if one["user"] in self.people]
        assert len({one["id"] for one in found}) == len(found)
        return {(one["id"], one["job"], one["state"]) for one in found}

    def shows_its_seats(self) -> None:
        """Check that the room shows each person on their seat, ready, with the same session."""
        wanted = [(seat.number, seat.person, seat.session, "running", True) for seat in self.seats]

        def shown() -> list[tuple[Any, ...]]:
            seats = self.service.ask("room", self.slug).seats
            return [(one.seat, one.person, one.session, one.state, one.ready) for one in seats]

        eventually(lambda: shown() == wanted, ANSWER_SECONDS, 0.5, "the room shows the same seats")

    # --- the processes

    def pids(self) -> dict[str, int]:
        record = json.loads((self.gateway.path.parent / "processes.json").read_text())
        return {part: int(record[part]["pid"]) for part in PARTS if part in record}

    def kill(self, *parts: str) -> None:
        """Kill these parts at once, and wait until others have their place."""
        old = self.pids()
        for part in parts:
            os.kill(old[part], signal.SIGKILL)
        eventually(
            lambda: all(self.pids().get(part, old[part]) != old[part] for part in parts), what="others are started"
        )

    def wait_back(self) -> None:
        """Wait until all parts answer."""
        eventually(lambda: back(self.gateway) and self.is_service_there(), 90, what="all parts answer")

    def is_service_there(self) -> bool:
        try:
            answer = httpx.get(f"{self.gateway.root}/services/workshops/health", timeout=5, verify=TRUST)
        except httpx.HTTPError:
            return False
        return answer.status_code == 200

    @contextmanager
    def without_service(self, how: Literal["gone", "silent"]) -> Iterator[None]:
        """Let the workshops service not be started again, or not answer."""
        settings = self.gateway.path.parent / "workshops.yaml"
        pid = self.pids()["workshops"]
        if how == "silent":
            os.kill(pid, signal.SIGSTOP)
        else:
            settings.rename(settings.with_suffix(".away"))
            os.kill(pid, signal.SIGKILL)
        try:
            eventually(lambda: not self.is_service_there(), what="the service is away")
            yield
            assert not self.is_service_there()
        finally:
            if how == "silent":
                os.kill(pid, signal.SIGCONT)
            else:
                settings.with_suffix(".away").rename(settings)


@pytest.fixture(scope="module")
def taught(gateway: Gateway, request: pytest.FixtureRequest) -> Iterator[OpenClass]:
    made = OpenClass(gateway, ALL_SEATS if request.config.getoption("--long") else SEATS)
    yield made
    with contextlib.suppress(WorkshopsProblem, WorkshopsSilent):
        made.service.ask("take", made.slug, "close")
    for person in made.people:
        gateway.stopped(person)


@pytest.mark.parametrize("part", PARTS)
def test_no_seat_is_lost_when_a_part_is_killed(taught: OpenClass, part: str) -> None:
    taught.kill(part)
    taught.wait_back()
    taught.goes_on()
    taught.shows_its_seats()


def test_no_seat_is_lost_when_all_parts_are_killed_at_once_and_once_more(taught: OpenClass) -> None:
    taught.kill(*PARTS)
    taught.kill(*PARTS)  # while they are being started
    taught.wait_back()
    taught.goes_on()
    taught.shows_its_seats()


@pytest.mark.parametrize("how", ["gone", "silent"])
def test_the_class_goes_on_without_the_workshops_service(taught: OpenClass, how: Literal["gone", "silent"]) -> None:
    taught.wait_back()
    with taught.without_service(how):
        taught.goes_on()
        taught.kill("link")  # a new link knows the class from what the service wrote last
        eventually(lambda: back(taught.gateway), 90, what="hub and link answer")
        taught.goes_on()
        taught.start_again(taught.seats[-1])  # people may also come back to their seat
        taught.goes_on()
        with closing(taught.gateway.browser_session(TRAINER)) as trainer:
            page = trainer.get(f"{taught.gateway.hub}/workshops/{taught.slug}/room")
        assert page.status_code == 503
        assert "The service for workshops does not answer just now. Classes go on" in page.text
    taught.wait_back()
    taught.shows_its_seats()
    taught.goes_on()
    assert taught.state == "open"
