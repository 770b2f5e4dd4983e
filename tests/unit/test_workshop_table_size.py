"""The table of projects never becomes too large for the link, whatever people write into their workshops."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorycommon.models.workshops import (
    MOST_REHEARSE,
    MOST_SEATS,
    MOST_TABLE_BYTES,
    RehearsalWindow,
    WorkshopProject,
)
from factorylink.projects.workshop_table import read_table
from tests.unit.workshops_world import BEGIN, OPERATOR, OTTO, TINA, body, workshops_world
from workshops.config import WorkshopLimits
from workshops.models.bodies import MOST_PLACES, MOST_STAFF
from workshops.projects import table
from workshops.projects.table_size import LEFT_OUT, MOST_PROJECT_BYTES, ProjectSize, left_out
from workshops.states import WorkshopState
from workshops.store.schema import MembershipRecord, PlaceRecord, WorkshopRecord

LONGEST = 255  # characters of a name
WIDE = "𝔸"  # a character of four bytes, the most that a character of a name needs


def largest(seats: int, letter: str, characters: int, rehearses: bool) -> WorkshopProject:
    """Return the largest possible project of a workshop.

    ``characters``: the length of people's names, which ``letter`` fills; ``rehearses``: add the window of a rehearsal.
    """

    def name(number: int) -> str:
        return f"{number:04}" + letter * (characters - 4)

    people = [MembershipRecord("w", name(one), "participant", "seated", one, BEGIN) for one in range(1, seats + 1)]
    people += [
        MembershipRecord("w", name(seats + one), "lead", "staff", None, BEGIN) for one in range(1, MOST_STAFF + 1)
    ]
    far = BEGIN + timedelta(hours=1, microseconds=1)
    workshop = WorkshopRecord(
        slug="s" * 48, title=WIDE * 120, zone="UTC", opens=far, starts=far, ends=far, closes=far, seats=seats,
        hours=1 / 3, gpu_hours=1 / 3, person_gpu_hours=1 / 3, terms="", languages=("en",), material=None,
        retention_days=1, warm_minutes=0, state=WorkshopState.SCHEDULED, version=1, made=BEGIN, made_by="tina",
        places=tuple(
            PlaceRecord(one, f"{one}" + "f" * 61, "s" * 63, None, "p" * 63, "r" * LONGEST)
            for one in range(1, MOST_PLACES + 1)
        ),
    )  # fmt: skip
    rehearsal = RehearsalWindow(
        people=tuple(name(one) for one in range(MOST_REHEARSE)), factory="f" * 63, begins=BEGIN, ends=far
    )
    return table.project_of(workshop, people, rehearsal if rehearses else None)


def test_five_workshops_fit_into_the_table_however_large_they_are() -> None:
    assert table.size_of(largest(MOST_SEATS, WIDE, LONGEST, rehearses=True)) <= MOST_PROJECT_BYTES
    assert 5 * MOST_PROJECT_BYTES <= MOST_TABLE_BYTES


def test_guests_cannot_fill_the_table_however_many_workshops_a_trainer_may_have() -> None:
    guest = len("guest.") + 20 + len(".") + 6  # characters of the longest name that a guest gets
    assert WorkshopLimits().per_trainer * table.size_of(largest(MOST_SEATS, "g", guest, False)) <= MOST_TABLE_BYTES


@st.composite
def given_sizes(draw: st.DrawFn) -> list[ProjectSize]:
    made = draw(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 50), st.booleans()), max_size=30))
    return [ProjectSize(f"workshop-{number}", *one) for number, one in enumerate(made)]


def total(sizes: Iterable[ProjectSize]) -> dict[str, int]:
    found = defaultdict[str, int](int)
    for one in sizes:
        found[one.trainer] += one.bytes
    return found


@given(given_sizes(), st.integers(0, 300), st.integers(0, 20))
def test_what_is_left_out_is_of_those_who_need_most(sizes: list[ProjectSize], most: int, most_projects: int) -> None:
    gone = left_out(sizes, most, most_projects)
    kept = [one for one in sizes if one.project not in gone]
    assert sum(one.bytes for one in kept) <= most and len(kept) <= most_projects
    if sum(one.bytes for one in sizes) <= most and len(sizes) <= most_projects:
        assert not gone
    for trainer, needs in total(sizes).items():
        if len(sizes) <= most_projects and needs * len(total(sizes)) <= most:
            assert total(kept)[trainer] == needs


def test_of_one_trainer_what_does_not_run_yet_goes_first_and_then_the_largest() -> None:
    sizes = [
        ProjectSize("workshop-running", "tina", 60, runs=True),
        ProjectSize("workshop-small", "tina", 20, runs=False),
        ProjectSize("workshop-large", "tina", 30, runs=False),
        ProjectSize("workshop-other", "otto", 20, runs=False),
    ]
    assert [sorted(left_out(sizes, most)) for most in (130, 129, 99, 79)] == [
        [],
        ["workshop-large"],
        ["workshop-large", "workshop-small"],
        ["workshop-large", "workshop-running", "workshop-small"],
    ]


async def test_what_is_too_much_is_left_out_alone_and_said_to_operator_and_trainer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(table, "left_out", partial(left_out, most_bytes=10_000))
    async with workshops_world(tmp_path) as world:
        mine = await world.scheduled(OTTO, places=[{"factory": "two", "size": "gpu-1"}])
        first, second = await world.scheduled(), await world.scheduled()
        for slug in (first.slug, second.slug):
            for number in range(6):
                await world.workshops.put_member(TINA, slug, f"{number}" + WIDE * 254, "participant")
        for _ in range(3):
            await world.clockwork.look()
        (gone,) = {first.slug, second.slug} - {one.id.removeprefix("workshop-") for one in world.table().projects}
        (kept,) = {first.slug, second.slug} - {gone}
        found = {one.id: len(one.members) for one in read_table(world.config.table).projects}  # as the link does
        assert found == {f"workshop-{mine.slug}": 1, f"workshop-{kept}": 7}
        shown = await world.workshops.one(TINA, gone)
        assert shown.staff is not None and shown.staff.problem == LEFT_OUT
        said = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
        assert said == [f"The workshop {gone} of tina is left out of the table of projects: {LEFT_OUT}"]

        new = await world.scheduled(seats=1)  # of the same trainer, and smaller, so it has room
        assert new.slug in {one.id.removeprefix("workshop-") for one in world.table().projects}
        late = await world.workshops.create(OTTO, body(seats=1))
        await world.workshops.approve(OPERATOR, late.slug)
        monkeypatch.setattr(table, "left_out", lambda _sizes: frozenset({f"workshop-{late.slug}"}))
        assert (await world.look(late.slug)).state == WorkshopState.APPROVED  # nobody joins what the link does not know
        monkeypatch.setattr(table, "left_out", left_out)
        assert (await world.look(late.slug)).state == WorkshopState.SCHEDULED
        shown = await world.workshops.one(TINA, gone)
        assert shown.staff is not None and shown.staff.problem == ""
