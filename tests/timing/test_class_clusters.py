"""A participant of a class starts Dask clusters in a loop, on a real Slurm: their share of the GPU-hours ends it, and
the others of the class notice nothing.
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

from tests.slurm.test_workshop_seats import READY_SECONDS, Service, body
from tests.support.gateway import TRUST, Gateway, eventually
from tests.timing.test_gateway import ANSWERED

pytestmark = [pytest.mark.long, pytest.mark.slurm]
FACTORY, SIZE = "it4lia", "gpu-1"
CLASS = 3
SEAT, SHARE = 0.5, 0.8  # GPU-hours that a seat reserves, and that each person may use
JOB = 0.1  # hours, of each job of a cluster
FITS = 3  # jobs of clusters that fit beside the seat into the share
MANY = "limit-clusters"
LOOPS = 40
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
        for one in self._gateway.clusters(self.name):
            assert self._ask("DELETE", f"/{one['id']}").status_code == 202

    def used(self) -> float:
        """Return the GPU-hours that the clusters have used or may still use."""
        found = [one["gpu_hours"] for one in self._gateway.clusters(self.name)]
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


@pytest.fixture
def people(gateway: Gateway) -> Iterator[list[Person]]:
    """Return a class whose seats run, each person of it with a share of the budget that is larger than their seat."""
    service, names = Service(gateway), [gateway.make_user() for _ in range(CLASS)]
    now = datetime.now(UTC)
    times = {"opens": now, "starts": now, "ends": now + timedelta(hours=1), "closes": now + timedelta(hours=2)}
    plan = body(
        title="Clusters in a loop", seats=CLASS, hours=SEAT, gpu_hours=CLASS * SHARE, person_gpu_hours=SHARE,
        **{name: at.isoformat() for name, at in times.items()},
    )  # fmt: skip
    slug = service.ask("create", plan).slug
    made = [Person(gateway, name, f"workshop-{slug}") for name in names]
    service.ask("take", slug, "approve")
    eventually(lambda: service.ask("one", slug).state == "open", what="the workshop is open")
    try:
        for name in names:
            service.ask("put_member", slug, name, "participant")
        for name in names:
            eventually(
                lambda one=name: (gateway.server(one) or {}).get("ready"),  # type: ignore[misc]
                READY_SECONDS,
                what=f"the seat of {name} is ready",
            )
            session = gateway.session(name)
            assert session is not None and session["choice"]["hours"] == SEAT
        yield made
    finally:
        for one in made:
            one.end()
        service.ask("take", slug, "close")
        for name in names:
            gateway.stopped(name)
        eventually(lambda: not any(gateway.clusters(name) for name in names), 60, what="all clusters have ended")


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


def test_a_loop_of_clusters_ends_at_one_share_and_the_others_keep_theirs(
    gateway: Gateway, people: list[Person]
) -> None:
    greedy, other, third = people
    with used_meanwhile(sees(gateway, other)) as longest:
        # many jobs at the same moment: no two of them get the same hours
        cluster, answer = greedy.cluster("loop")
        assert answer.status_code == 201, answer.text
        with ThreadPoolExecutor(AT_ONCE) as threads:
            answers = list(threads.map(lambda _: greedy.worker(cluster), range(2 * AT_ONCE)))
        assert [refused(one) for one in answers].count("") == FITS - 1
        assert {refused(one) for one in answers} == {"", OVER}
        # then clusters in a loop, with a scheduler's job and without one, and workers for each
        for number in range(LOOPS):
            assert refused(greedy.cluster(f"loop-{number}")[1]) in (OVER, MANY)
            idle, answer = greedy.cluster(f"idle-{number}", head=None, scheduler={"address": "tcp://127.0.0.1:9"})
            assert refused(answer) in ("", MANY), answer.text
            if answer.is_success:
                assert refused(greedy.worker(idle)) == OVER
        assert greedy.used() <= SHARE - SEAT + 1e-6

        # the others start clusters of their own, and those of one of them run at once
        mine, answer = other.cluster("mine")
        assert answer.status_code == 201, answer.text
        assert refused(other.worker(mine)) == ""

        def runs() -> bool:
            found = [one for one in gateway.clusters(other.name) if one["id"] == mine]
            return any(one["counts"].get("running") == 1 for one in found)

        eventually(runs, READY_SECONDS, what="the worker of the other person runs")
        assert third.cluster("mine")[1].status_code == 201
    told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in longest.items())
    print(f"longest answers beside the loop: {told}; to the loop itself {greedy.longest:.2f} s")
    assert max(longest.values()) < ANSWERED
    assert max(greedy.longest, other.longest, third.longest) < ANSWERED
    for person in people:  # all seats are as they were
        session = gateway.session(person.name)
        assert session is not None and session["state"] == "running"
