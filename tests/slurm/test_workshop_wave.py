"""Rehearsals of a class on a real Slurm: with three seats of a trainer, and with robots on all seats.

Robots take the seats of people in a rehearsal of the whole class; they are no users of the hub. They get lent accounts.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from factorycommon.models import robot_names
from factorycommon.models.workshops.rehearsal import RehearsalFacts
from tests.faults.test_kill import kill
from tests.support.gateway import TRUST, Gateway, eventually
from tests.support.lent_accounts import LentAccounts, lent_accounts
from tests.support.workshop_class import READY_SECONDS, Service, body
from workshops.models.callers import WorkshopCaller
from workshops.models.rehearsal import PlaceRehearsals, RehearsalBody, RehearsalView

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]
FACTORY, SIZE, POOL = "it4lia", "gpu-1", "lent"
SEATS, ACCOUNTS = 3, 4
STAY_SECONDS = 120.0
PATIENCE = 2 * READY_SECONDS
WIPED_SECONDS = 150.0
WAVE, TRIAL = RehearsalBody(kind="wave"), RehearsalBody(kind="seats")


def place(service: Service, slug: str) -> PlaceRehearsals:
    """Return the rehearsals of a workshop that has only one factory."""
    (found,) = service.ask("rehearsals", slug).places
    assert isinstance(found, PlaceRehearsals)
    return found


def over(service: Service, slug: str, kind: str) -> RehearsalView | None:
    """Return a workshop's rehearsal of a kind (a field of ``PlaceRehearsals``); None until it is over."""
    found: RehearsalView | None = getattr(place(service, slug), kind)
    return None if found is None or found.running else found


def facts(gateway: Gateway, slug: str) -> RehearsalFacts:
    """Return the facts about a workshop that the link reports for rehearsals."""
    transport = httpx.HTTPTransport(uds=str(gateway.path.parent / "link" / "workshops.sock"))
    with httpx.Client(base_url="http://link", transport=transport, timeout=60) as link:
        answer = link.get(f"/projects/workshop-{slug}/rehearsal").raise_for_status()
    return RehearsalFacts.model_validate_json(answer.content)


def live(gateway: Gateway, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the live sessions of these people or robots."""
    return [one for one in gateway.everybody() if one["user"] in names]


@pytest.fixture
def lent(gateway: Gateway) -> Iterator[LentAccounts]:
    with lent_accounts(gateway, {POOL: FACTORY}, ACCOUNTS) as made:
        yield made


def left(gateway: Gateway, lent: LentAccounts, name: str) -> str:
    """Return the output of the site's program about what is left in an account; "" if nothing is left."""
    me = pwd.getpwnam(name)
    done = subprocess.run(
        [*lent.wipe, "--proof"], user=me.pw_uid, group=me.pw_gid, extra_groups=[], cwd="/",
        env=gateway.factories[FACTORY].env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_robots_take_all_seats_on_accounts_that_are_wiped_and_given_back(gateway: Gateway, lent: LentAccounts) -> None:
    service = Service(gateway)
    where = {"factory": FACTORY, "size": SIZE, "pool": POOL}
    slug = service.scheduled(body(title="With robots", seats=SEATS, places=[where]))
    robots = robot_names(slug, SEATS)
    try:
        eventually(lambda: place(service, slug).costs is not None, what="the link knows the workshop")
        costs = place(service, slug).costs
        assert costs is not None
        assert costs.seats == SEATS
        service.ask("rehearse", slug, WAVE)
        service.kill()  # no robot is lost or doubled

        def up() -> bool:
            found = place(service, slug).wave
            return found is not None and found.wave is not None and found.wave.up == SEATS

        eventually(up, PATIENCE, 0.5, "all robots are up")
        sessions = live(gateway, robots)
        assert sorted(one["user"] for one in sessions) == sorted(robots)
        assert len({one["account"] for one in sessions}) == SEATS
        assert {one["account"] for one in sessions} <= set(lent.names[POOL])
        nobody_enters(gateway, sessions)
        kill(gateway, "link")  # a restart of the link ends no rehearsal
        done = eventually(lambda: over(service, slug, "wave"), STAY_SECONDS + 120, 1, "the rehearsal is over")
        assert done is not None
        assert done.wave is not None
        assert (done.wave.up, done.wave.failed, done.wave.refused, done.wave.halted) == (SEATS, 0, 0, False), done
        assert done.colour == "green", done.lines
        eventually(lambda: not live(gateway, robots), 60, 0.5, "no robot is left")
        jobs = gateway.factories[FACTORY].jobs()
        assert not {one["job"] for one in sessions} & set(jobs)
        for name in sorted(one["account"] for one in sessions):
            eventually(lambda n=name: left(gateway, lent, n) == "", WIPED_SECONDS, 1, f"{name} is empty")  # type: ignore[misc]

        def free() -> bool:
            (here,) = facts(gateway, slug).places
            return here.lendable == ACCOUNTS

        eventually(free, WIPED_SECONDS, 1, "all accounts are given back")
        used = facts(gateway, slug)
        assert used.reserved == 0
        assert 0 < used.spent <= costs.gpu_hours
        names = [one["name"] for one in gateway.api("GET", "/users", params={"limit": 200}).json()]
        assert not [name for name in names if name.startswith("robot.")]
    finally:
        service.ask("take", slug, "cancel")


def nobody_enters(gateway: Gateway, sessions: list[dict[str, Any]]) -> None:
    """Check that nobody gets into the notebooks of robots through the proxy, whatever token they have.

    Only an administrator's token may open a notebook at the link's own port for the session.
    """
    for one in sessions:
        path = f"/user/{one['user']}/"
        made = gateway.api("POST", f"/users/{one['user']}")
        assert made.status_code == 400, made.text  # the hub's API makes no such user
        assert gateway.api("GET", f"/users/{one['user']}").status_code == 404
        token = gateway.token(gateway.make_user())
        for bearer in (None, token, gateway.admin_token):
            headers = {} if bearer is None else {"Authorization": f"token {bearer}"}
            for url in (f"{gateway.root}{path}api/status", f"{gateway.root}{path}lab"):
                answer = httpx.get(url, headers=headers, timeout=60, verify=TRUST, follow_redirects=False)
                assert answer.status_code != 200, url  # no route leads there
            if bearer != gateway.admin_token:  # who may enter all servers could do so on the gateway's own machine
                inside = httpx.get(f"{one['url']}{path}api/status", headers=headers, timeout=60, verify=TRUST)
                assert inside.status_code in (302, 403), inside.text


def test_a_rehearsal_with_robots_ends_at_once_when_it_is_stopped(gateway: Gateway) -> None:
    service = Service(gateway)
    slug = service.scheduled(body(title="Stopped", seats=SEATS, places=[{"factory": FACTORY, "size": SIZE}]))
    robots = robot_names(slug, SEATS)
    try:
        eventually(lambda: place(service, slug).costs is not None, what="the link knows the workshop")
        service.ask("rehearse", slug, WAVE)
        eventually(lambda: len(live(gateway, robots)) == SEATS, PATIENCE, 0.2, "all robots are begun")
        service.ask("stop_rehearsal", slug)
        done = eventually(lambda: over(service, slug, "wave"), 60, 0.5, "the rehearsal is over")
        assert done is not None
        assert (done.colour, done.lines[0].check) == ("yellow", "stopped")
        eventually(lambda: not live(gateway, robots), PATIENCE, 0.5, "no robot is left")
        assert service.state(slug) == "scheduled"
    finally:
        service.ask("take", slug, "cancel")


def test_three_seats_of_a_trainer_come_up_stay_and_end(gateway: Gateway) -> None:
    trainer = gateway.make_user()
    operator, service = Service(gateway), Service(gateway, WorkshopCaller(trainer))
    slug = operator.scheduled(body(title="Three seats", places=[{"factory": FACTORY, "size": SIZE}]))
    servers = {"rehearsal-1", "rehearsal-2", "rehearsal-3"}
    try:
        operator.ask("put_member", slug, trainer, "instructor")
        eventually(lambda: place(service, slug).costs is not None, what="the link knows the workshop")
        service.ask("rehearse", slug, TRIAL)

        def up() -> bool:
            return {one["server"] for one in live(gateway, (trainer,)) if one["reachable"]} == servers

        eventually(up, PATIENCE, 0.5, "three seats are up")
        for server in sorted(servers):  # they are the trainer's, who can open them
            eventually(lambda s=server: (gateway.server(trainer, s) or {}).get("ready"), PATIENCE, 0.5, server)  # type: ignore[misc]
            assert gateway.notebook(trainer, server).request("GET", "/api/status").status_code == 200
        done = eventually(lambda: over(service, slug, "seats"), STAY_SECONDS + 120, 1, "the rehearsal is over")
        assert done is not None
        assert done.colour == "green", done.lines
        assert [seat.state for seat in done.seats] == ["running"] * 3
        assert place(service, slug).ready
        eventually(lambda: not live(gateway, (trainer,)), PATIENCE, 0.5, "the seats have ended")
    finally:
        operator.ask("take", slug, "cancel")
