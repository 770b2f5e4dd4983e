"""A running class with a kernel on each seat, and the processes of its gateway, which tests kill."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import httpx

from tests.support.gateway import TRUST, Gateway, eventually
from tests.support.workshop_class import Service, body, sessions, stop, wait_ready
from workshops.client import WorkshopsProblem, WorkshopsSilent

FACTORY, SIZE, TRAINER = "it4lia", "gpu-1", "ada"
PARTS = ("hub", "link", "proxy", "workshops")
AT_ONCE = 4  # kernels that start at the same time
HOURS, SHARE = 1.0, 3.0  # hours of each seat; GPU-hours of each person, who may start their seat again
LOOKS = 0.5  # seconds between two questions to a seat
UNTOUCHED_SECONDS = 30.0  # for all seats to answer while hub, link and proxy run
SHOWN_SECONDS = 30.0


@dataclass
class Seat:
    """A seat of the class: its person, session and job, and a kernel whose variable ``kept`` is the seat's number."""

    number: int
    person: str
    job: str
    session: str
    kernel: str


class OpenClass:
    """A class that runs after ``begin``. ``answer_seconds``: how soon after a kill each seat must answer."""

    def __init__(self, gateway: Gateway, people: Sequence[str], answer_seconds: float) -> None:
        self.gateway, self.service = gateway, Service(gateway)
        self.factory = gateway.factories[FACTORY]
        self.people = people
        self.answer_seconds = answer_seconds
        self.seats: list[Seat] = []
        now = datetime.now(UTC)
        self.slug = self.service.scheduled(
            body(
                title="A class that goes on",
                opens=now.isoformat(),
                starts=(now + timedelta(minutes=1)).isoformat(),
                seats=len(people),
                hours=HOURS,
                gpu_hours=SHARE * len(people),
                places=[{"factory": FACTORY, "size": SIZE}],
            )
        )

    def begin(self) -> None:
        """Let the people take their seats, and wait until each has a kernel."""
        self.service.ask("put_member", self.slug, TRAINER, "lead")
        for person in self.people:
            self.service.ask("put_member", self.slug, person, "participant")
        eventually(lambda: self.state == "open", what="the class is open")
        wait_ready(self.gateway, self.people, FACTORY)
        with ThreadPoolExecutor(AT_ONCE) as threads:
            self.seats = list(threads.map(self._seat, range(1, len(self.people) + 1), self.people))
        eventually(lambda: set(self.factory.jobs()) == self.jobs, what="the factory has the jobs of the class only")

    def close(self) -> None:
        """Let the class end, with all its seats."""
        with contextlib.suppress(WorkshopsProblem, WorkshopsSilent):
            self.service.ask("take", self.slug, "close")
        stop(self.gateway, self.people)

    @property
    def state(self) -> str:
        return self.service.state(self.slug)

    @property
    def jobs(self) -> set[str]:
        return {seat.job for seat in self.seats}

    def _seat(self, number: int, person: str) -> Seat:
        session = sessions(self.gateway, [person])[person]
        notebook = self.gateway.notebook(person)
        kernel = notebook.kernel()
        notebook.run(f"kept = {number}", kernel)
        return Seat(number, person, session["job"], session["id"], kernel)

    def start_again(self, seat: Seat) -> None:
        """Stop a seat and start it, as its person does; put its new session, job and kernel into ``seats``."""
        self.gateway.stopped(seat.person)
        choice: dict[str, Any] = {"factory": FACTORY, "size": SIZE, "hours": 0.5, "project": f"workshop-{self.slug}"}
        started = self.gateway.start(seat.person, token=self.gateway.token(seat.person), **choice)
        assert started.status_code in (201, 202), started.text
        self.gateway.wait_ready(seat.person)
        self.seats[seat.number - 1] = self._seat(seat.number, seat.person)

    def answers(self, seat: Seat) -> bool:
        """Return whether the kernel of a seat answers through the public address, and still has its variable."""
        try:
            return self.gateway.notebook(seat.person).run("print(kept)", seat.kernel, 10).strip() == str(seat.number)
        except Exception:  # whatever a page would show: the next question may be answered
            return False

    def goes_on(self, since: float | None = None) -> float:
        """Check that each seat answers in time, and that no seat is lost or doubled.

        Returns the seconds until all seats have answered. ``since``: the ``time.monotonic()`` at which parts of the
        gateway were killed; None: no part that seats need was killed.
        """
        limit = UNTOUCHED_SECONDS if since is None else self.answer_seconds
        since = time.monotonic() if since is None else since
        end = since + limit

        def wait(seat: Seat) -> None:
            eventually(lambda: self.answers(seat), end - time.monotonic(), LOOKS, f"seat {seat.number} answers")

        with ThreadPoolExecutor(len(self.seats)) as threads:
            list(threads.map(wait, self.seats))
        took = time.monotonic() - since
        wanted = {(seat.session, seat.job, "running") for seat in self.seats}
        eventually(lambda: self.live() == wanted, SHOWN_SECONDS, LOOKS, "the link has these sessions")
        jobs = self.factory.jobs()
        assert {job: jobs[job]["state"] for job in jobs} == dict.fromkeys(self.jobs, "RUNNING")
        return took

    def live(self) -> set[tuple[str, str, str]]:
        """Return id, job and state of the class's sessions, as the link knows them."""
        return {(one["id"], one["job"], one["state"]) for one in sessions(self.gateway, self.people).values()}

    def shows_its_seats(self) -> None:
        """Check that the room shows each person on their seat, ready, with the same session."""
        wanted = [(seat.number, seat.person, seat.session, "running", True) for seat in self.seats]

        def shown() -> list[tuple[Any, ...]]:
            seats = self.service.ask("room", self.slug).seats
            return [(one.seat, one.person, one.session, one.state, one.ready) for one in seats]

        eventually(lambda: shown() == wanted, SHOWN_SECONDS, LOOKS, "the room shows the same seats")

    # --- the processes

    def pids(self) -> dict[str, int]:
        record = json.loads((self.gateway.path.parent / "processes.json").read_text())
        return {part: int(record[part]["pid"]) for part in PARTS if part in record}

    def kill(self, *parts: str) -> float:
        """Kill these parts at once, and wait until new processes have replaced them.

        Returns the ``time.monotonic()`` of the kill.
        """

        def running() -> dict[str, int]:
            found = self.pids()
            return found if set(parts) <= found.keys() else {}

        old = eventually(running, what=f"{parts} run")
        since = time.monotonic()
        for part in parts:
            with contextlib.suppress(ProcessLookupError):  # it has ended, and is started again
                os.kill(old[part], signal.SIGKILL)
        eventually(
            lambda: all(self.pids().get(part, old[part]) != old[part] for part in parts), what="others are started"
        )
        return since

    def wait_back(self) -> None:
        """Wait until all parts answer."""
        eventually(self.are_parts_back, 90, what="hub, proxy and link answer")
        eventually(self.is_service_there, 90, what="the service answers")

    def are_parts_back(self) -> bool:
        """Return whether hub, proxy and link answer."""
        return self._answers("/hub/health") and self._answers("/services/factories/health")

    def is_service_there(self) -> bool:
        """Return whether the workshops service answers."""
        return self._answers("/services/workshops/health")

    def _answers(self, path: str) -> bool:
        try:
            return httpx.get(f"{self.gateway.root}{path}", timeout=5, verify=TRUST).status_code == 200
        except httpx.HTTPError:
            return False

    @contextmanager
    def without_service(self, how: Literal["gone", "silent"]) -> Iterator[None]:
        """Keep the workshops service from answering during the block.

        ``how``: ``gone`` kills the service and prevents its next start; ``silent`` stops its process.
        """
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
