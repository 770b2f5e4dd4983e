"""A participant of a class starts Dask clusters in a loop on a real Slurm, and harms nobody else.

The participant's share of the GPU-hours stops the loop. Each of the other people gets a cluster with a worker, as their
share allows. One Dask scheduler stands for those in the notebooks of the class.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from distributed import Client

from testbed import processes
from tests.support.gateway import TRUST, Gateway, eventually
from tests.support.open_class import PARTS
from tests.support.workshop_class import READY_SECONDS, SEAT_SECONDS, Service, body, sessions, stop, wait_ready
from tests.timing.test_gateway import ANSWERED

pytestmark = [pytest.mark.long, pytest.mark.slurm, pytest.mark.root, pytest.mark.timeout(1500)]
FACTORY, SIZE = "lumi-aif", "gcd-1"
SEAT, SHARE = 0.5, 0.7  # GPU-hours that a seat reserves, and that each person may use
JOB = 0.2  # hours of each job of a cluster: one fits beside the seat into the share
MANY, OFTEN = "limit-clusters", ("too-many-clusters", "too-many-batches")
LOOPS = 40  # at least
AT_ONCE = 8
# why more is refused: the person's share is used up, or that of everybody
OVER = ("budget-share", "budget-over-until")


class Person:
    """A person of the class who uses the API with their own token. ``longest``: the longest wait for an answer (s)."""

    def __init__(self, gateway: Gateway, name: str, project: str) -> None:
        self.name = name
        self.project = project
        self.longest = 0.0
        self._gateway = gateway
        self._url = f"{gateway.root}/services/factories/api/clusters"
        self._headers = {"Authorization": f"Bearer {gateway.token(name)}"}

    def cluster(self, name: str, scheduler: str | None = None) -> tuple[str, httpx.Response]:
        """Ask for a cluster; return its id and the answer.

        ``scheduler``: the address of the cluster's Dask scheduler; None: the Dask scheduler gets a job of its own.
        """
        cluster = uuid.uuid4().hex
        runs = {"head": {"size": SIZE, "hours": JOB}} if scheduler is None else {"scheduler": {"address": scheduler}}
        asked = {"name": name, "factory": FACTORY, "size": SIZE, "hours": JOB, "project": self.project}
        return cluster, self._ask("PUT", f"/{cluster}", asked | runs)

    def worker(self, cluster: str, name: str = "") -> httpx.Response:
        """Ask for one more job, with a worker of this name (if empty: of a random name); return the answer."""
        names = [name or f"w-{uuid.uuid4().hex[:8]}"]
        return self._ask("PUT", f"/{cluster}/batches/{uuid.uuid4().hex}", {"names": names, "hours": JOB})

    def end(self) -> None:
        """End all live clusters of this person."""
        for one in self.clusters():
            assert self._ask("DELETE", f"/{one['id']}").status_code == 202

    def clusters(self) -> list[dict[str, Any]]:
        """Return the live clusters of this person."""
        return self._gateway.clusters(self.name)

    def used(self) -> float:
        """Return the GPU-hours that this person's live clusters have used or may still use."""
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
    """Return the code of a refusal; "" if the answer is no refusal."""
    return "" if answer.is_success else str(answer.json()["code"])


@contextmanager
def used_meanwhile(asks: dict[str, Callable[[], int]]) -> Iterator[dict[str, float]]:
    """Send these requests again and again during the block; yield the longest wait for each, in seconds, by name.

    ``asks``: by name, a function that sends a request and returns the HTTP status. Each status must be 200.
    """
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


def put_first(gateway: Gateway) -> None:
    """Give the gateway's processes, the site's controller and this process precedence over the jobs.

    Otherwise the answers would be slow only because so many programs start on this one machine at the same moment: the
    jobs of sixty people.
    """
    record = json.loads((gateway.path.parent / "processes.json").read_text())
    settings = gateway.factories[FACTORY].ask("scontrol", "show", "config")
    controller = re.search(r"^SlurmctldPidFile\s*= (\S+)$", settings, re.MULTILINE)
    assert controller is not None
    pids = (os.getpid(), int(Path(controller[1]).read_text()), *(record[part]["pid"] for part in PARTS))
    processes.put_first(pids)


@pytest.fixture(params=(3, 60), ids="{}-seats".format)
def people(class_gateway: Gateway, class_people: list[str], request: pytest.FixtureRequest) -> Iterator[list[Person]]:
    """Return the people of a class whose seats run; each person's share of the budget is more than a seat needs."""
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
        put_first(class_gateway)
        yield made
    finally:
        for one in made:
            one.end()
        service.ask("take", slug, "close")
        stop(class_gateway, names)
        eventually(lambda: not any(one.clusters() for one in made), 120, 1, "all clusters have ended")


def sees(gateway: Gateway, person: Person) -> dict[str, Callable[[], int]]:
    """Return the requests that a person sends all the time: to the hub, to the link, and to their notebook.

    Each function sends one request and returns the HTTP status.
    """
    link = {"url": f"{gateway.root}/services/factories/api/sessions?live=true"}
    headers = {"Authorization": f"Bearer {gateway.token(person.name)}"}
    notebook = gateway.notebook(person.name)
    return {
        "hub": lambda: gateway.api("GET", f"/users/{person.name}", gateway.token(person.name)).status_code,
        "link": lambda: httpx.get(link["url"], headers=headers, timeout=60, verify=TRUST).status_code,
        "notebook": lambda: notebook.request("GET", "/api/status").status_code,
    }


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a Dask scheduler; return its address."""
    file = tmp_path_factory.mktemp("dask") / "scheduler.json"
    argv = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen([*argv, "--no-dashboard", "--scheduler-file", str(file)]) as process:
        try:
            eventually(file.exists, what="the Dask scheduler runs")
            yield str(json.loads(file.read_text())["address"])
        finally:
            process.terminate()


class Loop:
    """A person who asks for clusters again and again. ``rounds``: how many times ``run`` has asked."""

    def __init__(self, person: Person, scheduler: str) -> None:
        self.rounds = 0
        self._person = person
        self._scheduler = scheduler
        self._over = threading.Event()

    def begin(self) -> None:
        """Ask for many jobs at the same moment; check that only one is accepted, so no two jobs get the same hours."""
        cluster, answer = self._person.cluster("loop", self._scheduler)
        assert answer.status_code == 201, answer.text
        with ThreadPoolExecutor(AT_ONCE) as threads:
            answers = list(threads.map(lambda _: self._person.worker(cluster), range(2 * AT_ONCE)))
        assert sorted(refused(one) for one in answers) == ["", *["budget-share"] * (2 * AT_ONCE - 1)]

    def run(self) -> None:
        """Until ``end`` is called, ask for clusters with and without a job for the scheduler, and for workers."""
        while not self._over.is_set():
            assert refused(self._person.cluster(f"loop-{self.rounds}")[1]) in (*OVER, MANY, *OFTEN)
            idle, answer = self._person.cluster(f"idle-{self.rounds}", self._scheduler)
            assert refused(answer) in ("", MANY, *OFTEN), answer.text
            if answer.is_success:
                assert refused(self._person.worker(idle)) in (*OVER, *OFTEN)
            self.rounds += 1

    def end(self) -> None:
        self._over.set()


def test_a_loop_of_clusters_ends_at_one_share_and_the_others_keep_theirs(
    class_gateway: Gateway, people: list[Person], scheduler: str
) -> None:
    greedy, *others = people
    loop, began = Loop(greedy, scheduler), time.monotonic()

    def takes_share(person: Person) -> None:
        cluster, answer = person.cluster("mine", scheduler)
        assert answer.status_code == 201, answer.text
        assert refused(person.worker(cluster, person.name)) == ""
        assert refused(person.worker(cluster)) in OVER

    with (
        used_meanwhile(sees(class_gateway, others[0])) as longest,
        ThreadPoolExecutor(1) as alone,
        Client(scheduler, set_as_default=False) as client,
    ):
        loop.begin()
        looping = alone.submit(loop.run)
        try:
            with ThreadPoolExecutor(AT_ONCE) as threads:
                list(threads.map(takes_share, others))
            asked = time.monotonic() - began
            wanted = {person.name for person in others}

            def are_there() -> bool:
                workers = client.scheduler_info(n_workers=-1)["workers"].values()
                return wanted <= {one["name"] for one in workers}

            seconds = READY_SECONDS + SEAT_SECONDS * len(others)
            eventually(are_there, seconds, 1, f"Dask has the workers of the {len(others)} others")
            took = time.monotonic() - began
            eventually(lambda: loop.rounds >= LOOPS, what="the loop goes on")
        finally:
            loop.end()
        looping.result()
    told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in longest.items())
    print(
        f"beside a loop of {loop.rounds} rounds, {len(others)} others had asked for their clusters after {asked:.1f} "
        f"s, and all had a worker after {took:.1f} s; longest answers to one of them: {told}; "
        f"to their clusters {max(one.longest for one in others):.2f} s; to the loop {greedy.longest:.2f} s"
    )
    assert max(longest.values()) < ANSWERED
    assert max(one.longest for one in people) < ANSWERED
    for person in people:
        assert person.used() <= SHARE - SEAT + 1e-6
    live = sessions(class_gateway, [one.name for one in people])  # all seats are as they were
    assert [live[one.name]["state"] for one in people] == ["running"] * len(people)
