"""Rehearsals: what a dry rehearsal judges, how three seats are tried, what is signed, and what makes one void."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from factorycommon.models import Problem
from factorycommon.models.sessions import Words
from factorycommon.models.workshops import WorkshopPool
from factorycommon.models.workshops.rehearsal import (
    BookedNodes,
    ClosedNodes,
    PersonTrouble,
    RehearsalFacts,
    RehearsalPlace,
    RehearsedEnvironment,
    RehearsedSize,
)
from factorycommon.models.workshops.seats import FailedWipe, HeldAccounts, SeatPlace
from factorycommon.service.problems import ProblemError
from tests.unit.fake_projects import project
from tests.unit.rehearsal_stage import HOUR, OPENS, SEATS, SECRET, Stage, at
from tests.unit.room_world import room_world
from tests.unit.workshops_world import BEGIN, OPERATOR, OTTO, PAUL, TINA, workshops_world
from workshops.models.bodies import MaterialBody, WorkshopChange
from workshops.models.checks import ChecksView
from workshops.models.material import MaterialStatus
from workshops.models.rehearsal import RehearsalBody, RehearsalPart, RehearsalResult
from workshops.models.seats import SeatProgress as P
from workshops.rehearsal import proof, rows, trial
from workshops.rehearsal.dry import DryFacts, judged
from workshops.states import WorkshopState
from workshops.store.schema import EventRecord, MembershipRecord, PlaceRecord, WorkshopRecord

MATERIAL = MaterialBody(repository="https://git.example.org/course.git", commit="a" * 40)


NO_GPU = RehearsedSize(id="gpu-1", gpus=0, max_hours=8, per_node=4, digest="1" * 64)


def record(**fields: Any) -> WorkshopRecord:
    """Return a workshop of eight seats, with a reservation and material. ``fields``: replace its fields."""
    given = {
        "slug": "w-2345", "title": "W", "zone": "UTC", "opens": OPENS, "starts": OPENS + HOUR, "ends": OPENS + 4 * HOUR,
        "closes": OPENS + 5 * HOUR, "seats": 8, "hours": 4.0, "gpu_hours": 40.0, "person_gpu_hours": None, "terms": "",
        "languages": ("en",), "material": MATERIAL, "retention_days": 30, "warm_minutes": 30,
        "state": WorkshopState.SCHEDULED, "version": 1, "made": BEGIN, "made_by": "tina",
        "places": (PlaceRecord(1, "one", "gpu-1", None, "class", "r1"),), **fields,
    }  # fmt: skip
    return WorkshopRecord(**given)


def budget(**fields: Any) -> RehearsalFacts:
    """Return what the link tells of a budget that is enough for eight seats and one person more.

    ``fields``: replace fields.
    """
    given = {"spent": 0, "reserved": 0, "gpu_hours": 40, "person_gpu_hours": 4.4, "staff_gpu_hours": 4.4}
    return RehearsalFacts.model_validate({"release": "1", "places": (), **given, **fields})


def facts(here: RehearsalPlace | None = None, **fields: Any) -> DryFacts:
    """Return facts for which a dry rehearsal gives only green lines.

    ``here``: what the link reports about the factory, None: nothing is wrong there; ``fields``: replace other facts.
    """
    workshop = fields.pop("workshop", record())
    people = tuple(MembershipRecord(workshop.slug, f"p{n}", "participant", "seated", n, BEGIN) for n in range(1, 5))
    status = MaterialStatus(state="ready", repository=MATERIAL.repository, commit=MATERIAL.commit, at=BEGIN, files=3)
    given: dict[str, Any] = {
        "workshop": workshop,
        "place": workshop.places[0],
        "people": people,
        "invited": (),
        "checks": ChecksView(people=4, checked=4, problems=0, limited=0, each=()),
        "material": status,
        "pool": WorkshopPool(id="class", factory="one", sizes=("gpu-1",), seats=20),
        "facts": budget(),
        "here": here or at(),
        "release": "1",
    }
    return DryFacts(**given | fields)


def colours(given: DryFacts) -> dict[str, str]:
    """Return, by check of the dry rehearsal, the worst colour of its lines."""
    order = ("green", "yellow", "red")
    found: dict[str, str] = {}
    for line in judged(given):
        found[line.check] = max(found.get(line.check, "green"), line.colour, key=order.index)
    return found


# --- dry


def test_a_class_that_has_all_it_needs_is_green() -> None:
    assert set(colours(facts()).values()) == {"green"}
    assert all(line.text and not line.do for line in judged(facts()))


def test_the_trainer_sees_the_shares_of_seats_and_of_those_who_run_the_class() -> None:
    said = [str(one.text) for one in judged(facts(facts=budget(staff_gpu_hours=0.5)))]
    assert "Each participant may use 4.4 GPU-hours, and each person who runs the class 0.5." in said


def test_a_class_without_gpus_is_not_told_that_a_budget_limits_it() -> None:
    said = [str(one.text) for one in judged(facts(at(size=NO_GPU))) if one.check == "budget"]
    assert said == ["A seat has no GPU. Budgets count GPU-hours, so none limits this class."]


RULES = PersonTrouble(person="p1", why=Words(code="rules-open", what="Accept the rules."))
BLOCKED = PersonTrouble(person="p2", why=Words(code="blocked", what="You are blocked."))
HELD = HeldAccounts(pool=9, held=0, ready=0, free=0, wiping=0)
FAILED = FailedWipe(account="t1", why="x", at=BEGIN)


def lent(**fields: Any) -> dict[str, Any]:
    return {"lends": True, "seat": SeatPlace(factory="one", per_minute=60, accounts=HELD.model_copy(update=fields))}


def booked(**fields: Any) -> dict[str, Any]:
    there = {"name": "r1", "start": OPENS - HOUR, "end": OPENS + 6 * HOUR, "nodes": 2, **fields}
    return {"reservation": BookedNodes.model_validate(there)}


@pytest.mark.parametrize(
    ("here", "check", "colour"),
    [
        ({"people": (RULES,)}, "rules", "yellow"),
        ({"people": (BLOCKED,)}, "terms", "yellow"),
        ({"seat": SeatPlace(factory="one", per_minute=60, problem=Problem(kind="draining", message="Closed."))},
         "place", "red"),
        ({"agreed": ("pool_accounts", "wipe")}, "prestart", "red"),
        ({"size": None}, "size", "red"),
        ({"size": RehearsedSize(id="gpu-1", gpus=1, max_hours=2, per_node=4, digest="1" * 64)}, "size", "red"),
        ({"environments": ()}, "environment", "red"),
        ({"environments": (RehearsedEnvironment(id="plain", live=True, fits=False, digest="2" * 64),)},
         "environment", "red"),
        ({"reservation": None}, "reservation", "red"),
        ({"reservation": None, "asked": None}, "reservation", "yellow"),
        (booked(start=OPENS + HOUR / 2), "reservation", "yellow"),
        (booked(start=OPENS + 2 * HOUR), "reservation", "red"),
        (booked(end=OPENS + 4.5 * HOUR), "reservation", "yellow"),
        (booked(end=OPENS + 3 * HOUR), "reservation", "red"),
        (booked(nodes=1), "reservation", "red"),
        (booked(nodes=0), "reservation", "yellow"),
        (booked(refuses=("t1",)), "reservation", "red"),
        (booked(project=False), "reservation", "red"),
        ({"maintenance": (ClosedNodes(start=OPENS, end=OPENS + HOUR, all=True),)}, "maintenance", "red"),
        ({"maintenance": (ClosedNodes(start=OPENS, end=OPENS + HOUR, all=False),)}, "maintenance", "yellow"),
        ({"maintenance": (ClosedNodes(start=BEGIN, end=BEGIN + HOUR, all=True),)}, "maintenance", "green"),
        (lent(), "accounts", "green"),
        (lent(pool=8), "accounts", "yellow"),
        (lent(pool=7), "accounts", "red"),
        (lent() | {"agreed": ("wipe", "prestart")}, "accounts", "red"),
        (lent() | {"wipes": False}, "wipe", "red"),
        (lent(failed=(FAILED,)), "wipe", "yellow"),
        ({"seat": SeatPlace(factory="one", per_minute=60, room=7)}, "pace", "red"),
    ],
)  # fmt: skip
def test_what_is_wrong_at_a_place_is_said(here: dict[str, Any], check: str, colour: str) -> None:
    found = judged(facts(at(**here)))
    assert colours(facts(at(**here)))[check] == colour
    assert all(line.do for line in found if line.colour != "green")  # and what to do


@pytest.mark.parametrize(
    ("fields", "check", "colour"),
    [
        ({"people": ()}, "participants", "yellow"),
        ({"invited": ("x@example.org",)}, "participants", "yellow"),
        ({"invited": tuple(f"x{n}@example.org" for n in range(5))}, "participants", "yellow"),
        ({"workshop": record(seats=3)}, "participants", "red"),
        ({"facts": budget(spent=9)}, "budget", "red"),
        ({"facts": budget(gpu_hours=None, person_gpu_hours=None, staff_gpu_hours=None)}, "budget", "green"),
        ({"facts": budget(person_gpu_hours=2, staff_gpu_hours=2)}, "budget", "yellow"),
        ({"facts": budget(staff_gpu_hours=0)}, "budget", "green"),
        ({"here": at(size=NO_GPU)}, "budget", "yellow"),
        ({"here": at(size=NO_GPU), "workshop": record(gpu_hours=None)}, "budget", "green"),
        ({"pool": None}, "place", "red"),
        ({"workshop": record(places=(PlaceRecord(1, "one", "gpu-1", None, "class"),))}, "reservation", "yellow"),
        ({"workshop": record(warm_minutes=0)}, "pace", "yellow"),
        ({"material": None}, "material", "yellow"),
        ({"material": MaterialStatus(state="failed", repository=MATERIAL.repository, commit=MATERIAL.commit, at=BEGIN,
                                     problem="No such commit.")}, "material", "red"),
        ({"workshop": record(material=None), "material": None}, "material", "green"),
        ({"checks": ChecksView(people=4, checked=2, problems=1, limited=0, each=())}, "connections", "yellow"),
        ({"checks": ChecksView(people=4, checked=2, problems=0, limited=0, each=())}, "connections", "yellow"),
        (
            {"checks": ChecksView(people=4, checked=4, problems=0, untested=1, limited=0, each=())},
            "connections", "yellow",
        ),
        ({"release": "2"}, "versions", "yellow"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_class_is_said(fields: dict[str, Any], check: str, colour: str) -> None:
    assert colours(facts(**dict(fields)))[check] == colour


def test_a_rehearsal_names_nobody_of_the_list_who_has_not_joined() -> None:
    """Everybody who runs the class reads the result; only who leads the class may see the list's addresses."""
    (line,) = [one for one in judged(facts(invited=("x@example.org",))) if one.check == "participants"]
    assert "x@example.org" not in line.model_dump_json()


def test_a_node_size_is_called_as_on_the_start_page() -> None:
    given = {"gpus": 1, "max_hours": 8, "per_node": 4, "digest": "1" * 64, "label": "1 x A100 64 GB"}
    called = at(size=RehearsedSize.model_validate({"id": "gpu-1", **given}))
    other = at(size=RehearsedSize.model_validate({"id": "gpu-9", **given}))
    for here, words in ((called, "has the node size 1 x A100 64 GB"), (other, "has no node size gpu-1 any more")):
        (line,) = [one for one in judged(facts(here)) if one.check == "size"]
        assert words in line.text


def test_a_name_of_a_person_is_no_more_than_a_name() -> None:
    hostile = MembershipRecord("w-2345", "p1", "participant", "seated", 1, BEGIN, name="<img onerror=x>{seats}")
    (line,) = [one for one in judged(facts(at(people=(RULES,)), people=(hostile,))) if one.check == "rules"]
    assert line.text.endswith(": <img onerror=x>{seats}.")  # the page escapes it
    assert line.as_message("text").parameters["names"] == "<img onerror=x>{seats}"


# --- what it was made with


def made(kind: Any = "seats", **fields: Any) -> RehearsalResult:
    workshop, here = record(), at()
    given = {"workshop": workshop.slug, "factory": "one", "kind": kind, "at": BEGIN, "ended": BEGIN, "by": "tina"}
    parts = proof.parts(kind, workshop, workshop.places[0], here)
    return RehearsalResult.model_validate({**given, "lines": (), "parts": parts, **fields})


CHANGES: dict[RehearsalPart, Any] = {
    "plan": lambda digest, workshop, here: (
        dataclasses.replace(workshop, places=(dataclasses.replace(workshop.places[0], size=f"s{digest[:8]}"),)), here
    ),
    "environment": lambda digest, workshop, here: (
        workshop, at(environments=(RehearsedEnvironment(id="plain", live=True, fits=True, digest=digest),))
    ),
    "catalogue": lambda digest, workshop, here: (
        workshop, at(size=RehearsedSize(id="gpu-1", gpus=1, max_hours=8, per_node=4, digest=digest))
    ),
    "agreement": lambda digest, workshop, here: (workshop, at(agreement=digest)),
    "material": lambda digest, workshop, here: (
        dataclasses.replace(workshop, material=MATERIAL.model_copy(update={"commit": digest[:40]})), here
    ),
}  # fmt: skip
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64).filter(
    lambda one: one not in {"1" * 64, "2" * 64, "3" * 64} and one[:40] != MATERIAL.commit
)


@given(kind=st.sampled_from(["dry", "seats", "wave"]), part=st.sampled_from(get_args(RehearsalPart)), digest=DIGESTS)
def test_a_change_of_any_part_makes_a_rehearsal_void(kind: Any, part: RehearsalPart, digest: str) -> None:
    before = made(kind).parts
    workshop, here = record(), at()
    assert proof.changed(before, proof.parts(kind, workshop, workshop.places[0], here)) == ()
    workshop, here = CHANGES[part](digest, workshop, here)
    now = proof.parts(kind, workshop, workshop.places[0], here)
    (reason,) = proof.changed(before, now)
    assert reason.code == f"rehearsal-void-{part}"


@pytest.mark.parametrize(
    "change", [{"seats": 9}, {"hours": 3.0}, {"gpu_hours": 10.0}, {"ends": OPENS + 4.5 * HOUR}, {"opens": OPENS - HOUR}]
)
def test_size_and_time_of_the_class_are_a_matter_of_a_dry_rehearsal(change: dict[str, Any]) -> None:
    workshop = dataclasses.replace(record(), **change)
    place = workshop.places[0]
    (reason,) = proof.changed(made("dry").parts, proof.parts("dry", workshop, place, at()))
    assert reason.code == "rehearsal-void-plan"
    assert proof.changed(made("seats").parts, proof.parts("seats", workshop, place, at())) == ()
    seats = () if "seats" not in change else ("rehearsal-void-plan",)
    waved = proof.changed(made("wave").parts, proof.parts("wave", workshop, place, at()))
    assert tuple(one.code for one in waved) == seats


def test_without_the_link_only_what_the_service_knows_is_compared() -> None:
    workshop = record()
    assert set(proof.parts("dry", workshop, workshop.places[0], None)) == {"plan", "material"}
    assert proof.changed(made().parts, proof.parts("seats", workshop, workshop.places[0], None)) == ()


@given(
    changed=st.sampled_from(["workshop", "factory", "kind", "by", "at", "lines", "parts"]),
    letter=st.sampled_from("abcdef"),
)
def test_whatever_is_changed_after_signing_shows(changed: str, letter: str) -> None:
    result = made()
    signature = proof.sign(SECRET, result)
    again = RehearsalResult.model_validate_json(result.model_dump_json())
    assert proof.unsigned(SECRET, again, signature) == ()
    values: dict[str, Any] = {
        "workshop": f"w-{letter}", "factory": f"two{letter}", "kind": "dry", "by": f"otto{letter}",
        "at": BEGIN + HOUR * ord(letter), "parts": {**result.parts, "plan": letter * 64},
        "lines": ({"check": "place", "colour": "green", "text": letter},),
    }  # fmt: skip
    other = RehearsalResult.model_validate(result.model_dump() | {changed: values[changed]})
    assert proof.unsigned(SECRET, other, signature)
    assert proof.unsigned(b"x" * 32, result, signature)
    assert proof.unsigned(SECRET, result, None)


# --- three seats


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with workshops_world(tmp_path) as world:
        places = [{"factory": "one", "size": "gpu-1", "reservation": "r1"}, {"factory": "two", "size": "gpu-2"}]
        created = await world.scheduled(places=places, gpu_hours=50)
        await world.workshops.put_member(TINA, created.slug, "paul", "participant")
        await world.workshops.put_member(TINA, created.slug, "otto", "helper")
        yield Stage(world, created.slug)


ALL = {"rehearsal-1", "rehearsal-2", "rehearsal-3"}


async def test_three_seats_come_up_stay_and_end(stage: Stage) -> None:
    assert (await stage.begin()).running
    assert {one.state for one in (await stage.look(seconds=1)).seats} == {P.BEGUN}
    body = stage.link.bodies[0]
    assert {(seat.person, seat.factory, seat.size, seat.hours) for seat in body.seats} == {
        ("tina", "one", "gpu-1", 0.25)
    }
    assert {seat.server for seat in body.seats} == ALL
    stage.link.runs = {"rehearsal-1"}
    await stage.look(seconds=30)
    stage.link.runs = ALL
    assert (await stage.look(seconds=30)).running
    assert not await stage.ready()
    assert not stage.link.stopped
    done = await stage.look(minutes=2)
    assert (done.colour, done.running, done.void, len(done.number)) == ("green", False, (), 12)
    assert [round(seat.seconds) for seat in done.seats] == [30, 60, 60]
    assert set(stage.link.stopped) == stage.link.begun
    assert await stage.ready()
    (rate,) = (await stage.world.seats.rates()).values()
    assert (rate.per_minute, rate.cold) == (4, timedelta(seconds=30))
    asked = len(stage.link.bodies)
    await stage.look(minutes=5)
    assert len(stage.link.bodies) == asked  # nothing goes on
    said = [one.what for one in await stage.world.workshops.events(OPERATOR, stage.slug)]
    assert said[:2] == ["rehearsed", "rehearsal"]


async def test_while_it_goes_on_the_project_is_the_trainer_s_at_that_place_only(stage: Stage) -> None:
    before = await stage.project()
    assert (before.begins, before.members) == (OPENS, ("otto", "paul", "tina"))
    await stage.begin()
    during = await stage.project()
    assert (during.members, during.managers, set(during.factories)) == (("tina",), ("tina",), {"one"})
    assert (during.begins, during.ends) == (BEGIN, BEGIN + trial.WINDOW)
    assert (during.gpu_hours, during.factories["one"].reservation) == (50, None)
    stage.world.clock.forward(minutes=20)  # also if the service is dead by then, and the file stays
    (found,) = stage.world.table().projects
    assert found.project(stage.world.pools.pools(), stage.world.clock())[0] == before
    await stage.rehearsals.look()
    assert await stage.project() == before


async def test_a_warm_up_ends_the_window(stage: Stage) -> None:
    await stage.begin()
    await stage.world.workshops.take(TINA, stage.slug, "warm")
    assert "paul" in (await stage.project()).members


async def removed(stage: Stage) -> None:
    await stage.world.workshops.drop_member(OPERATOR, stage.slug, "tina")


async def banned(stage: Stage) -> None:
    await stage.world.joining.put_out(stage.slug, "tina", "banned", "olga")


async def made_helper(stage: Stage) -> None:
    await stage.world.workshops.put_member(OPERATOR, stage.slug, "tina", "helper")


@pytest.mark.parametrize("happens", [removed, banned, made_helper])
async def test_a_trainer_who_may_not_rehearse_any_more_keeps_no_seats(
    stage: Stage, happens: Callable[[Stage], Awaitable[None]]
) -> None:
    await stage.begin()
    await stage.look(seconds=1)
    await stage.world.workshops.put_member(OPERATOR, stage.slug, "paul", "lead")
    await happens(stage)
    assert not await stage.rehearsals.look()
    assert set(stage.link.stopped) == stage.link.begun
    assert len(stage.link.begun) == 3
    done = (await stage.rehearsals.view(OPERATOR, stage.slug)).places[0].seats
    assert done is not None
    assert (done.running, done.colour) == (False, "yellow")
    assert done.lines[0].text == "tina does not lead or teach this workshop any more, so the rehearsal was ended."
    assert (await stage.project()).begins == OPENS  # the class has its project back
    assert (await stage.begin(caller=PAUL)).running  # those who remain can rehearse


async def test_a_lead_who_becomes_an_instructor_keeps_the_seats_of_the_rehearsal(stage: Stage) -> None:
    await stage.begin()
    await stage.world.workshops.put_member(OPERATOR, stage.slug, "paul", "lead")
    await stage.world.workshops.put_member(OPERATOR, stage.slug, "tina", "instructor")
    assert await stage.rehearsals.look()
    assert not stage.link.stopped


async def test_robots_go_on_although_the_trainer_who_began_them_is_removed(stage: Stage) -> None:
    stage.link.here = at(reservation=BookedNodes(name="r1", start=BEGIN, end=BEGIN + 99 * HOUR, nodes=20))
    await stage.begin(RehearsalBody(kind="wave"))
    await stage.world.workshops.put_member(OPERATOR, stage.slug, "paul", "lead")
    await removed(stage)
    assert await stage.rehearsals.look()
    assert not stage.link.stopped


async def test_a_killed_service_begins_no_seat_twice(stage: Stage) -> None:
    await stage.begin()
    stage.link.loses = 1
    await stage.look(seconds=1)
    stage.restart()
    await stage.look(seconds=1)
    assert len(stage.link.begun) == 3
    stage.link.runs = ALL
    await stage.look(seconds=1)
    assert (await stage.look(minutes=2)).colour == "green"


async def test_a_seat_that_breaks_or_never_comes_is_red(stage: Stage) -> None:
    await stage.begin()
    stage.link.runs, stage.link.ended = {"rehearsal-1"}, {"rehearsal-2"}
    await stage.look(seconds=5)
    assert (await stage.look(minutes=9)).running
    done = await stage.look(minutes=1)
    assert [line.colour for line in done.lines] == ["green", "red", "red"]
    assert done.lines[1].text == "Seat 2 did not come up: It broke."
    assert "10 minutes" in done.lines[2].text
    assert not await stage.ready()
    assert not await stage.world.seats.rates()  # three are too few if one is missing


async def test_a_seat_that_breaks_while_it_should_stay_is_red(stage: Stage) -> None:
    await stage.begin()
    stage.link.runs = ALL
    await stage.look(seconds=5)
    stage.link.ended = {"rehearsal-3"}
    await stage.look(seconds=5)
    done = await stage.look(minutes=2)
    assert (done.colour, done.lines[2].text) == ("red", "Seat 3 could be opened, and then ended: It broke.")


@pytest.mark.parametrize("early", ["project-not-begun", "not-in-workshop"])  # "not-in-": a trainer who was just added
async def test_refusals_are_told_and_a_link_that_reads_late_is_asked_again(stage: Stage, early: str) -> None:
    stage.link.refuses = Problem(kind="forbidden", message="Early.", code=early)
    await stage.begin()
    assert {one.state for one in (await stage.look(seconds=1)).seats} == {P.ASKED}
    stage.link.refuses = Problem(kind="forbidden", message="Not you.", code="blocked")
    done = await stage.look(seconds=2)
    assert (done.colour, {line.text for line in done.lines}) == (
        "red", {f"Seat {number} was refused: Not you." for number in (1, 2, 3)},
    )  # fmt: skip


async def test_it_ends_also_if_the_link_stays_away(stage: Stage) -> None:
    await stage.begin()
    await stage.look(seconds=1)
    stage.link.away = True
    await stage.look(minutes=21)
    assert (await stage.rehearsals.view(TINA, stage.slug)).running
    done = await stage.look(minutes=2)
    assert (done.running, done.colour, done.checked) == (False, "red", False)


async def test_a_link_of_an_older_release_is_in_the_log_once_until_it_is_updated(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.begin()
    caplog.set_level(logging.INFO, "workshops")
    for _ in range(2):
        caplog.clear()
        stage.link.older = True
        for _ in range(3):
            await stage.look(seconds=2)
        assert caplog.text.count("different releases") == 1
        stage.link.older = False
        await stage.look(seconds=2)
        await stage.look(seconds=2)
        assert caplog.text.count("is in order again") == 1
    stage.link.older = True
    await stage.look(seconds=2)
    stage.link.older = False
    assert not (await stage.look(minutes=30)).running
    assert not stage.rehearsals._troubles


async def test_what_no_seat_could_begin_without_is_red_at_once(stage: Stage) -> None:
    stage.link.here = at(agreed=())
    (first, _) = (await stage.begin()).places
    assert first.seats is not None
    assert (first.seats.colour, [line.check for line in first.seats.lines if line.colour == "red"]) == (
        "red", ["prestart"],
    )  # fmt: skip
    stage.link.here = at(people=(PersonTrouble(person="tina", why=Words(code="rules-open", what="Read them.")),))
    (first, _) = (await stage.begin()).places
    assert first.seats is not None
    assert first.seats.lines[-1].text == "Read them."
    assert not stage.link.begun


async def test_who_may_rehearse_and_when(stage: Stage) -> None:
    for caller in (OTTO, PAUL):
        with pytest.raises(ProblemError) as caught:
            await stage.begin(caller=caller)
        assert caught.value.problem.kind == "forbidden"
    assert (await stage.rehearsals.view(OTTO, stage.slug)).places
    with pytest.raises(ProblemError):
        await stage.rehearsals.view(PAUL, stage.slug)
    with pytest.raises(ProblemError, match="you must lead or teach"):
        await stage.begin(caller=OPERATOR)  # who is no member, so the link would refuse the seats
    assert (await stage.begin(RehearsalBody(kind="dry"), OPERATOR)).places[0].dry is not None
    with pytest.raises(ProblemError):
        await stage.begin(RehearsalBody(place=3))
    with pytest.raises(ProblemError):
        await stage.begin(RehearsalBody(place=2))  # the link has only one place
    await stage.begin()
    for kind in ("dry", "seats", "wave"):
        with pytest.raises(ProblemError, match="Wait until they have ended, or stop the rehearsal"):
            await stage.begin(RehearsalBody.model_validate({"kind": kind}))
    stage.world.clock.forward(days=2, minutes=-35)
    await stage.rehearsals.look()
    with pytest.raises(ProblemError, match="before the workshop warms up"):
        await stage.begin()


async def test_seats_are_rehearsed_some_times_a_day_only(stage: Stage) -> None:
    stage.link.refuses = Problem(kind="forbidden", message="Not you.", code="blocked")
    for _ in range(rows.MOST_A_DAY["seats"]):
        await stage.begin()
        await stage.look(seconds=1)
    with pytest.raises(ProblemError, match="6 times a day"):
        await stage.begin()
    assert not (await stage.begin(RehearsalBody(kind="dry"))).running
    stage.world.clock.forward(days=1)
    assert (await stage.begin()).running


async def test_a_change_of_the_material_makes_it_void(stage: Stage) -> None:
    await stage.begin()
    stage.link.runs = ALL
    await stage.look(seconds=5)
    await stage.look(minutes=2)
    assert await stage.ready()
    view = await stage.world.workshops.one(TINA, stage.slug)
    assert view.staff is not None
    await stage.world.workshops.change(TINA, stage.slug, WorkshopChange(version=view.staff.version, material=MATERIAL))
    assert [one.code for one in (await stage.look()).void] == ["rehearsal-void-material"]
    assert not await stage.ready()
    stage.link.away = True
    assert not await stage.ready()


async def test_a_result_that_was_tampered_with_does_not_count(stage: Stage) -> None:
    await stage.begin()
    stage.link.runs = set()
    await stage.look(seconds=1)
    assert (await stage.look(minutes=12)).colour == "red"
    (row,) = await stage.world.store.transact(lambda db: rows.of_workshop(db, stage.slug))
    assert row.result is not None
    forged = dataclasses.replace(row, result=row.result.model_copy(update={"lines": ()}))
    table = rows.rehearsals
    await stage.world.store.transact(
        lambda db: db.execute(table.update().where(*rows._is(row)).values(result=forged.result))
    )
    shown = (await stage.rehearsals.view(TINA, stage.slug)).places[0].seats
    assert shown is not None
    assert (shown.colour, [one.code for one in shown.void]) == ("green", ["rehearsal-void-signature"])
    assert not await stage.ready()


async def test_rehearsals_are_deleted_with_the_people(stage: Stage) -> None:
    await stage.begin(RehearsalBody(kind="dry"))
    for days in (3, 1, 31):
        stage.world.clock.forward(days=days)
        await stage.world.clockwork.look()
    assert await stage.world.store.transact(lambda db: rows.of_workshop(db, stage.slug)) == []


async def test_a_rehearsal_whose_place_is_removed_ends_and_keeps_no_seats(stage: Stage) -> None:
    await stage.begin()
    workshop = await stage.world.store.get(stage.slug)
    assert workshop is not None
    said = EventRecord(stage.slug, stage.world.clock(), "tina", "changed")
    elsewhere = dataclasses.replace(workshop.places[0], factory="two")
    await stage.world.store.change(workshop.with_values(places=(elsewhere,)), said)
    assert not await stage.rehearsals.look()
    (row,) = await stage.world.store.transact(lambda db: rows.of_workshop(db, stage.slug))
    assert (row.until, row.seats, row.result) == (None, (), None)


async def test_a_running_rehearsal_is_found_by_the_next_process(stage: Stage) -> None:
    await stage.begin()
    stage.restart()
    stage.link.runs = ALL
    following = asyncio.create_task(stage.rehearsals.run())
    async with asyncio.timeout(30):
        while not stage.link.bodies:
            await asyncio.sleep(0.01)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert len(stage.link.begun) == 3


# --- with the link


async def test_the_link_tells_what_a_class_would_find(tmp_path: Path) -> None:
    async with room_world(tmp_path) as both, both.service() as world:
        slug = await both.workshop(world, "paul")
        found = (await world.rehearsals.begin(TINA, slug, RehearsalBody(kind="dry"))).places[0].dry
        assert found is not None
        assert found.checked
        lines = {line.check: line for line in found.lines}
        assert {name for name, line in lines.items() if line.colour == "red"} == set()
        assert lines["size"].text == "m has the node size 1 x A100 40 GB, for as many hours as a seat may last."
        assert lines["environment"].text == "The environment plain is there."
        assert lines["participants"].text == "1 of 6 seats are taken, and nobody is missing."
        view = (await world.rehearsals.view(TINA, slug)).places[0]
        assert view.dry is not None
        assert view.dry.void == ()
        place = both.link.factories["one"]
        agreement = place.factory.agreement
        assert agreement is not None
        renewed = place.factory.model_copy(update={"agreement": agreement.model_copy(update={"who": "Another"})})
        both.link.factories.offered = {"one": dataclasses.replace(place, factory=renewed)}
        void = (await world.rehearsals.view(TINA, slug)).places[0].dry
        assert void is not None
        assert [one.code for one in void.void] == ["rehearsal-void-agreement"]


async def test_the_link_begins_the_seats_of_a_rehearsal_beside_each_other(tmp_path: Path) -> None:
    async with room_world(tmp_path) as both, both.service() as world:
        slug = await both.workshop(world)
        rehearsals = world.rehearsals
        await rehearsals.begin(TINA, slug, SEATS)
        assert await rehearsals.look()
        live = [one.record for one in both.link.live_sessions.values()]
        assert {(one.user, one.server, one.choice.project) for one in live} == {
            ("tina", name, f"workshop-{slug}") for name in ALL
        }
        assert {one.choice.hours for one in live} == {0.25}
        world.clock.forward(minutes=12)
        assert not await rehearsals.look()  # nobody's job has begun
        done = (await rehearsals.view(TINA, slug)).places[0].seats
        assert done is not None
        assert {line.colour for line in done.lines} == {"red"}
        assert {one.record.wish for one in both.link.live_sessions.values()} == {"stop"}


async def test_the_link_ends_the_seats_of_a_trainer_who_is_not_in_the_workshop_any_more(tmp_path: Path) -> None:
    async with room_world(tmp_path) as both, both.service() as world:
        slug = await both.workshop(world, "paul")
        await world.rehearsals.begin(TINA, slug, SEATS)
        assert await world.rehearsals.look()
        await world.workshops.put_member(OPERATOR, slug, "paul", "lead")
        await world.workshops.drop_member(OPERATOR, slug, "tina")
        both.table.set(project(f"workshop-{slug}", members=("paul",)))  # as the link reads it then
        assert not await world.rehearsals.look()
        assert [one.record.wish for one in both.link.live_sessions.values()] == ["stop"] * 3
