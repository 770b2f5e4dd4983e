"""A participant of a class starts Dask clusters in a loop, on a real Slurm: their share of the GPU-hours ends it, and
each of the others gets a cluster with the workers that their share allows.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.support.gateway import TRUST, Gateway, eventually
from tests.support.workshop_class import READY_SECONDS, SEAT_SECONDS, Service, body, sessions, stop, wait_ready
from tests.timing.test_gateway import ANSWERED

pytestmark = [pytest.mark.long, pytest.mark.slurm, pytest.mark.root, pytest.mark.timeout(1500)]
FACTORY, SIZE = "lumi-aif", "gcd-1"
SEAT, SHARE = 0.5, 0.9  # GPU-hours that a seat reserves, and that each person may use
JOB = 0.2  # hours, of each job of a cluster
FITS = 2  # jobs of clusters that fit beside the seat into the share: one of a Dask scheduler and one of a worker
MANY, OFTEN = "limit-clusters", ("too-many-clusters", "too-many-batches")
LOOPS = 40  # at least
AT_ONCE = 8
OVER = "budget-share"  # why more is refused


class Person:
    """A person of the class who uses the API with their own token. ``longest``: of all answers, in seconds."""

    def __init__(self, gateway: Gateway, name: str, project: str) -> None:
        self.name = name
        self.project = project
        self.longest = 0.0
        self._gateway = gateway
        self._url = f"{gateway.root}/services/factories/api/clusters"
        self._headers = {"Authorization": f"Bearer {gateway.token(name)}"}

    def cluster(self, name: str, **more: Any) -> tuple[str, httpx.Response]:
        """Ask for a cluster whose Dask scheduler is a job of its own; return its id and the answer."""
        cluster = uuid.uuid4().hex
        asked = {"name": name, "factory": FACTORY, "size": SIZE, "hours": JOB, "project": self.project}
        return cluster, self._ask("PUT", f"/{cluster}", asked | {"head": {"size": SIZE, "hours": JOB}} | more)

    def worker(self, cluster: str) -> httpx.Response:
        """Ask for one more job of workers."""
        names = [f"w-{uuid.uuid4().hex[:8]}"]
        return self._ask("PUT", f"/{cluster}/batches/{uuid.uuid4().hex}", {"names": names, "hours": JOB})

    def end(self) -> None:
        """End all clusters."""
        for one in self.clusters():
            assert self._ask("DELETE", f"/{one['id']}").status_code == 202

    def clusters(self) -> list[dict[str, Any]]:
        """Return the live clusters."""
        return self._gateway.clusters(self.name)

    def runs(self, cluster: str) -> bool:
        """Return whether a worker of a cluster runs."""
        return any(one["counts"].get("running") for one in self.clusters() if one["id"] == cluster)

    def used(self) -> float:
        """Return the GPU-hours that the clusters have used or may still use."""
        found = [one["gpu_hours"] for one in self.clusters()]
        return math.fsum(one["spent"] + one["committed"] for one in found)

    def _ask(self, method: str, path: str, content: Any = None) -> httpx.Response:
        began = time.monotonic()
        answer = httpx.request(
            method, f"{self._url}{path}", json=content, headers=self._headers, timeout=60, verify=TRUST
        )
        self.longest = max(self.longest, time.monotonic() - began)
        return answer


def refused(answer: httpx.Response) -> str:
    """Return the code of a refusal; "" if the answer is none."""
    return "" if answer.is_success else str(answer.json()["code"])


@contextmanager
def used_meanwhile(asks: dict[str, Callable[[], int]]) -> Iterator[dict[str, float]]:
    """Send these requests again and again during the block; yield the longest seconds of each. All must succeed."""
    longest, over, wrong = dict.fromkeys(asks, 0.0), threading.Event(), list[str]()

    def use(name: str, ask: Callable[[], int]) -> None:
        while not over.wait(0.2):
            began = time.monotonic()
            if (status := ask()) != 200:
                wrong.append(f"{name}: {status}")
            longest[name] = max(longest[name], time.monotonic() - began)

    with ThreadPoolExecutor(len(asks)) as threads:
        using = [threads.submit(use, *one) for one in asks.items()]
        try:
            yield longest
        finally:
            over.set()
        for one in using:
            one.result()
    assert wrong == []


@pytest.fixture(params=(3, 60), ids="{}-seats".format)
def people(class_gateway: Gateway, class_people: list[str], request: pytest.FixtureRequest) -> Iterator[list[Person]]:
    """Return a class whose seats run, each person of it with a share of the budget that is larger than their seat."""
    service, names = Service(class_gateway), class_people[: request.param]
    now = datetime.now(UTC)
    times = {"opens": now, "starts": now, "ends": now + timedelta(hours=1), "closes": now + timedelta(hours=2)}
    plan = body(
        title="Clusters in a loop", seats=len(names), hours=SEAT, gpu_hours=len(names) * SHARE, person_gpu_hours=SHARE,
        places=[{"factory": FACTORY, "size": SIZE}], **{name: at.isoformat() for name, at in times.items()},
    )  # fmt: skip
    slug = service.scheduled(plan)
    made = [Person(class_gateway, name, f"workshop-{slug}") for name in names]
    eventually(lambda: service.state(slug) == "open", what="the workshop is open")
    try:
        for name in names:
            service.ask("put_member", slug, name, "participant")
        wait_ready(class_gateway, names, FACTORY)
        assert {one["choice"]["hours"] for one in sessions(class_gateway, names).values()} == {SEAT}
        yield made
    finally:
        for one in made:
            one.end()
        service.ask("take", slug, "close")
        stop(class_gateway, names)
        eventually(lambda: not any(one.clusters() for one in made), 120, 1, "all clusters have ended")


def sees(gateway: Gateway, person: Person) -> dict[str, Callable[[], int]]:
    """Return what a person of the class does all the time: at the hub, at the link, and in their notebook."""
    link = {"url": f"{gateway.root}/services/factories/api/sessions?live=true"}
    headers = {"Authorization": f"Bearer {gateway.token(person.name)}"}
    notebook = gateway.notebook(person.name)
    return {
        "hub": lambda: gateway.api("GET", f"/users/{person.name}", gateway.token(person.name)).status_code,
        "link": lambda: httpx.get(link["url"], headers=headers, timeout=60, verify=TRUST).status_code,
        "notebook": lambda: notebook.request("GET", "/api/status").status_code,
    }


class Loop:
    """A person who asks for clusters again and again. ``rounds``: how often they have."""

    def __init__(self, person: Person) -> None:
        self.rounds = 0
        self._person = person
        self._over = threading.Event()

    def begin(self) -> None:
        """Ask for many jobs at the same moment: no two of them get the same hours."""
        cluster, answer = self._person.cluster("loop")
        assert answer.status_code == 201, answer.text
        with ThreadPoolExecutor(AT_ONCE) as threads:
            answers = list(threads.map(lambda _: self._person.worker(cluster), range(2 * AT_ONCE)))
        assert [refused(one) for one in answers].count("") == FITS - 1
        assert {refused(one) for one in answers} == {"", OVER}

    def run(self) -> None:
        """Ask for clusters until ``end``, with a scheduler's job and without one, and workers for each."""
        while not self._over.is_set():
            assert refused(self._person.cluster(f"loop-{self.rounds}")[1]) in (OVER, MANY, *OFTEN)
            more = {"head": None, "scheduler": {"address": "tcp://127.0.0.1:9"}}
            idle, answer = self._person.cluster(f"idle-{self.rounds}", **more)
            assert refused(answer) in ("", MANY, *OFTEN), answer.text
            if answer.is_success:
                assert refused(self._person.worker(idle)) in (OVER, *OFTEN)
            self.rounds += 1

    def end(self) -> None:
        self._over.set()


def takes_share(person: Person) -> str:
    """Ask for as many jobs of a cluster as the share of a person allows, and one more; return the cluster's id."""
    cluster, answer = person.cluster("mine")
    assert answer.status_code == 201, answer.text
    assert [refused(person.worker(cluster)) for _ in range(FITS)] == [*[""] * (FITS - 1), OVER]
    return cluster


def test_a_loop_of_clusters_ends_at_one_share_and_the_others_keep_theirs(
    class_gateway: Gateway, people: list[Person]
) -> None:
    greedy, *others = people
    loop = Loop(greedy)
    began = time.monotonic()
    with used_meanwhile(sees(class_gateway, others[0])) as longest, ThreadPoolExecutor(1) as alone:
        loop.begin()
        looping = alone.submit(loop.run)
        try:
            with ThreadPoolExecutor(AT_ONCE) as threads:
                clusters = dict(zip(others, threads.map(takes_share, others), strict=True))
            asked = time.monotonic() - began

            running = set[str]()

            def run() -> bool:
                running.update(person.name for person, cluster in clusters.items() if person.runs(cluster))
                return len(running) == len(others) and loop.rounds >= LOOPS

            seconds = READY_SECONDS + SEAT_SECONDS * FITS * len(others)
            eventually(run, seconds, 1, f"the workers of the {len(others)} others run beside the loop")
        finally:
            loop.end()
        looping.result()
    told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in longest.items())
    print(
        f"beside a loop of {loop.rounds} rounds, {len(others)} others had asked for their clusters after {asked:.1f} "
        f"s, and all had a worker after {time.monotonic() - began:.1f} s; longest answers to one of them: {told}; "
        f"to their clusters {max(one.longest for one in others):.2f} s; to the loop {greedy.longest:.2f} s"
    )
    assert max(longest.values()) < ANSWERED
    assert max(one.longest for one in people) < ANSWERED
    for person in people:
        assert person.used() <= SHARE - SEAT + 1e-6
    live = sessions(class_gateway, [one.name for one in people])  # all seats are as they were
    assert [live[one.name]["state"] for one in people] == ["running"] * len(people)
