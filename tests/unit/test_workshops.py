"""What people do with workshops, and what happens with time: rights, approval, changes, and the link's table."""

from __future__ import annotations

import asyncio
import dataclasses
import stat
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from sqlalchemy import select

from factorycommon.language import Language
from factorycommon.models.workshops import WorkshopPools, WorkshopProject
from factorycommon.service.problems import ProblemError
from factorycommon.service.yaml_file import CatalogueError
from tests.unit.workshops_world import (
    BEGIN,
    OPERATOR,
    OTTO,
    PAUL,
    POOLS,
    SECRET,
    TINA,
    body,
    workshops_world,
    write_config,
)
from workshops import permissions, service
from workshops.config import load
from workshops.ending.service import days
from workshops.joining import codes, rows
from workshops.joining.languages import language_of
from workshops.models.bodies import MOST_STAFF, CodeBody, Role, WorkshopChange
from workshops.models.callers import WorkshopCaller
from workshops.models.views import Action
from workshops.states import STEPS, WorkshopEvent
from workshops.store.joining_tables import sent_mails
from workshops.store.schema import EventRecord, MembershipRecord


async def refused(work: Any) -> tuple[int, str]:
    with pytest.raises(ProblemError) as caught:
        await work
    return caught.value.status, caught.value.problem.code or caught.value.problem.kind


async def at_once(*work: Any) -> list[str]:
    """Run these operations at the same moment; return the codes of the refusals, and the ``repr`` of other errors."""
    done = await asyncio.gather(*work, return_exceptions=True)
    return [one.problem.code if isinstance(one, ProblemError) else repr(one) for one in done if
            isinstance(one, BaseException)]  # fmt: skip


# --- the life of a workshop


async def test_a_workshop_goes_from_a_draft_to_its_archive(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        created = await world.workshops.create(TINA, body())
        assert (created.state, created.join_url) == ("draft", f"https://hub.example.org/hub/join/{created.slug}")
        assert (await world.look(created.slug)).staff.submitted is not None  # type: ignore[union-attr]
        assert world.table().projects == ()  # the link hears nothing before the approval
        await world.workshops.approve(OPERATOR, created.slug)
        assert (await world.look(created.slug)).state == "scheduled"
        world.clock.forward(days=2, minutes=-31)
        assert (await world.look(created.slug)).state == "scheduled"
        world.clock.forward(minutes=1)
        assert (await world.look(created.slug)).state == "warming"
        (project,) = world.table().projects
        assert (project.begins, project.ends) == (world.clock(), BEGIN + timedelta(days=2, hours=5))
        world.clock.forward(minutes=30)
        assert (await world.look(created.slug)).state == "open"
        world.clock.forward(hours=5)
        assert (await world.look(created.slug)).state == "closing"
        assert len(world.table().projects) == 1  # the link still ends its sessions
        world.clock.forward(hours=1)
        assert (await world.look(created.slug)).state == "archived"
        assert world.table().projects == ()
        said = [(one.by, one.what) for one in await world.workshops.events(OPERATOR, created.slug)]
        assert said[::-1] == [
            ("tina", "created"), ("olga", "approved"), ("", "schedule"), ("", "warm"), ("", "open"), ("", "close"),
            ("", "archive"),
        ]  # fmt: skip


async def test_a_service_that_was_away_takes_all_steps_that_are_due(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        created = await world.scheduled()
        world.clock.forward(days=2, hours=1)
        assert (await world.look(created.slug)).state == "open"
        world.clock.forward(days=1)
        assert (await world.look(created.slug)).state == "closing"


async def test_a_draft_whose_time_is_over_is_cancelled(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        created = await world.workshops.create(TINA, body(submit=False))
        world.clock.forward(days=3)
        assert (await world.look(created.slug)).state == "cancelled"


async def test_without_approval_a_workshop_is_scheduled_at_once(tmp_path: Path) -> None:
    async with workshops_world(tmp_path, approval="none") as world:
        created = await world.workshops.create(TINA, body())
        assert created.state == "approved"
        assert (await world.look(created.slug)).state == "scheduled"


async def test_a_declined_workshop_comes_back_with_the_reason(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slug = (await world.workshops.create(TINA, body())).slug
        view = await world.workshops.decline(OPERATOR, slug, "Too many seats.")
        assert view.staff is not None
        assert (view.state, view.staff.declined, view.staff.submitted) == ("draft", "Too many seats.", None)
        assert await refused(world.workshops.approve(OPERATOR, slug)) == (409, "workshop-is-draft")
        assert "submit" in (await world.workshops.one(TINA, slug)).may
        await world.workshops.submit(TINA, slug)
        assert (await world.workshops.approve(OPERATOR, slug)).state == "approved"


async def test_a_workshop_that_is_closed_early_ends_in_some_minutes(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slug = (await world.scheduled()).slug
        world.clock.forward(days=2, hours=2)
        await world.clockwork.look()
        assert (await world.workshops.take(TINA, slug, "close")).state == "closing"
        await world.clockwork.look()
        assert world.table().projects[0].ends == world.clock() + timedelta(minutes=5)


async def test_people_are_deleted_when_the_time_of_retention_is_over(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slug = (await world.scheduled(retention_days=7)).slug
        await world.workshops.put_member(TINA, slug, "paul", "participant")
        await world.workshops.take(TINA, slug, "cancel")
        world.clock.forward(days=6)
        await world.clockwork.look()
        assert len(await world.workshops.members(OPERATOR, slug)) == 2
        world.clock.forward(days=1)
        view = await world.look(slug)
        assert view.staff is not None
        assert (view.staff.made_by, view.staff.codes) == ("", ())
        assert await world.workshops.members(OPERATOR, slug) == []
        assert [one.what for one in await world.workshops.events(OPERATOR, slug)] == ["erased"]


async def test_no_hash_of_a_mail_address_outlasts_an_erased_workshop(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slug = (await world.scheduled(retention_days=1)).slug
        sent = world.clock()
        await world.store.transact(partial(rows.note_sent, address="a", requester="r", workshop=slug, now=sent))
        await world.store.transact(partial(rows.note_sent, address="g", requester="r", workshop=None, now=sent))
        await world.workshops.take(TINA, slug, "cancel")
        world.clock.forward(days=1)
        await world.store.transact(
            partial(rows.note_sent, address="new", requester="r", workshop=None, now=world.clock())  # still limits
        )
        await world.look(slug)
        left = await world.store.transact(lambda db: db.execute(select(sent_mails.c.address)).scalars().all())
        assert left == ["new"]


# --- who may do what


async def test_only_trainers_create_workshops(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        assert await refused(world.workshops.create(PAUL, body())) == (403, "workshop-no-trainer")
        for allowed in (WorkshopCaller("ines", groups=frozenset({"teachers"})), OPERATOR):
            await world.workshops.create(allowed, body(submit=False))
    async with workshops_world(tmp_path, trainers={"everybody": True}) as world:
        await world.workshops.create(PAUL, body(submit=False))
        guest = WorkshopCaller("guest.ada.k7m2p9")
        assert await refused(world.workshops.create(guest, body())) == (403, "workshop-no-trainer")


async def test_a_group_that_people_pick_themselves_makes_no_trainers(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"trainers\.groups\.0: .*antenna"):
        async with workshops_world(tmp_path, trainers={"groups": ["antenna:hunaifa"]}):
            pass


async def test_a_workshop_of_others_is_not_there(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slug = (await world.scheduled()).slug
        for work in (
            world.workshops.one(OTTO, slug),
            world.workshops.take(OTTO, slug, "cancel"),
            world.workshops.members(OTTO, slug),
            world.workshops.new_code(OTTO, slug, CodeBody()),
            world.workshops.one(OTTO, "no-such-1234"),
        ):
            assert await refused(work) == (404, "not-known")
        assert await world.workshops.all(OTTO) == []


async def test_a_role_counts_in_its_own_workshop_only(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        first, second = (await world.scheduled(seats=3)).slug, (await world.scheduled(OTTO, seats=3)).slug
        await world.workshops.put_member(OTTO, second, "tina", "participant")  # tina leads the first
        mine = {one.slug: one for one in await world.workshops.all(TINA)}
        assert {slug: (one.role, one.seat) for slug, one in mine.items()} == {
            first: ("lead", None),
            second: ("participant", 1),
        }
        assert mine[first].staff is not None
        assert mine[second].staff is None
        assert mine[second].may == ()
        for work in (
            world.workshops.take(TINA, second, "close"),
            world.workshops.put_member(TINA, second, "tina", "lead"),
            world.workshops.new_code(TINA, second, CodeBody()),
            world.workshops.change(TINA, second, WorkshopChange(version=1, title="Mine")),
        ):
            assert await refused(work) == (403, "workshop-only-lead")
        await world.clockwork.look()
        people = {project.id: (project.members, project.managers) for project in world.table().projects}
        assert people == {
            f"workshop-{first}": (("tina",), ("tina",)),
            f"workshop-{second}": (("otto", "tina"), ("otto",)),
        }


ROLES: dict[str, tuple[WorkshopCaller, MembershipRecord | None]] = {
    "operator": (OPERATOR, None),
    **{
        role: (WorkshopCaller("pia"), MembershipRecord("w", "pia", role, "staff", None, BEGIN))  # type: ignore[arg-type]
        for role in ("lead", "instructor", "helper", "observer", "participant")
    },
}


@pytest.mark.parametrize("action", ["approve", "withdraw", "cancel", "warm", "close"])
def test_the_roles_that_may_take_a_step_are_those_of_the_table(action: Action) -> None:
    able = {role for role, (caller, member) in ROLES.items() if permissions.holds(action, caller, member)}
    causes = {cause for (_, event), step in STEPS.items() if event == WorkshopEvent(action) for cause in step.causes}
    assert able == causes & ROLES.keys()


@pytest.mark.parametrize("state", ["banned", "left"])
def test_who_is_banned_or_has_left_has_no_role(state: Any) -> None:
    member = MembershipRecord("w", "pia", "lead", state, None, BEGIN)
    assert not permissions.sees(WorkshopCaller("pia"), member)
    assert not permissions.holds("cancel", WorkshopCaller("pia"), member)


async def test_somebody_always_leads(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slug = (await world.scheduled()).slug
        assert await refused(world.workshops.drop_member(TINA, slug, "tina")) == (409, "workshop-last-lead")
        assert await refused(world.workshops.put_member(TINA, slug, "tina", "helper")) == (409, "workshop-last-lead")
        await world.workshops.put_member(TINA, slug, "otto", "lead")
        await world.workshops.drop_member(OTTO, slug, "tina")
        assert [one.person for one in await world.workshops.members(OTTO, slug)] == ["otto"]


async def test_somebody_leads_also_if_two_remove_each_other_at_once(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slug = (await world.scheduled()).slug
        await world.workshops.put_member(TINA, slug, "otto", "lead")
        both = world.workshops.drop_member(TINA, slug, "otto"), world.workshops.put_member(OTTO, slug, "tina", "helper")
        assert await at_once(*both) == ["workshop-last-lead"]
        assert [one.role for one in await world.workshops.members(OPERATOR, slug)].count("lead") == 1


async def test_who_has_left_does_not_lead(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slug = (await world.scheduled()).slug
        await world.workshops.put_member(TINA, slug, "otto", "lead")
        await world.joining.put_out(slug, "otto", "left", "otto")
        assert await refused(world.workshops.drop_member(TINA, slug, "tina")) == (409, "workshop-last-lead")
        await world.workshops.put_member(OPERATOR, slug, "otto", "lead")
        await world.workshops.drop_member(OTTO, slug, "tina")


async def test_a_new_role_loses_nothing_that_is_known_of_a_person(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slug = (await world.scheduled()).slug
        known = MembershipRecord(
            slug, "guest.ada.aaaaaa", "participant", "seated", 2, BEGIN, "Ada", "ada@example.org", BEGIN, 1, "de"
        )
        await world.store.put_member(known, EventRecord(slug, BEGIN, "", "joined"))
        for role, state, seat in (("helper", "staff", None), ("participant", "seated", 1)):
            await world.workshops.put_member(TINA, slug, known.person, role)  # type: ignore[arg-type]
            found = await world.store.member(slug, known.person)
            assert found == dataclasses.replace(known, role=role, state=state, seat=seat)


async def test_so_many_people_can_run_a_workshop_as_the_link_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table with more people than the link accepts would end the classes of all trainers."""
    monkeypatch.setattr(service, "MOST_STAFF", 2)
    async with workshops_world(tmp_path) as world:
        slug = (await world.scheduled()).slug
        await world.workshops.put_member(TINA, slug, "a", "helper")
        for role in ("helper", "lead", "observer"):
            asked = world.workshops.put_member(TINA, slug, "b", role)  # type: ignore[arg-type]
            assert await refused(asked) == (409, "workshop-many-staff")
        await world.workshops.put_member(TINA, slug, "a", "instructor")  # one of them
        await world.workshops.put_member(TINA, slug, "b", "participant")
    fits = WorkshopProject.model_fields["staff"].metadata[0].max_length
    assert fits >= MOST_STAFF


async def test_a_workshop_has_a_seat_for_everybody_who_has_one(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slug = (await world.scheduled(seats=4)).slug
        for name in ("a", "b", "c"):
            await world.workshops.put_member(TINA, slug, name, "participant")
        await world.workshops.drop_member(TINA, slug, "b")

        async def change(**fields: Any) -> None:
            staff = (await world.workshops.one(OPERATOR, slug)).staff
            assert staff is not None
            await world.workshops.change(OPERATOR, slug, WorkshopChange(version=staff.version, **fields))

        assert await refused(change(seats=2)) == (409, "workshop-seats-in-use")  # c has seat 3
        await change(seats=3, title="Smaller")
        await world.workshops.drop_member(TINA, slug, "c")
        await change(seats=1)


async def test_who_leads_a_workshop_sees_what_its_form_offers(tmp_path: Path) -> None:
    """A lead may change the workshop, also without the right to create one."""
    async with workshops_world(tmp_path) as world:
        slug = (await world.scheduled()).slug
        assert await refused(world.workshops.pools(PAUL, slug)) == (404, "not-known")
        await world.workshops.put_member(TINA, slug, "paul", "helper")
        assert (await refused(world.workshops.pools(PAUL, slug)))[0] == 403
        await world.workshops.put_member(TINA, slug, "paul", "lead")
        assert [pool.id for pool in await world.workshops.pools(PAUL, slug)] == ["class", "other"]
        assert await refused(world.workshops.pools(PAUL)) == (403, "workshop-no-trainer")


async def test_a_participant_gets_the_lowest_free_seat_or_waits(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slug = (await world.scheduled(seats=2)).slug
        seats = [(await world.workshops.put_member(TINA, slug, name, "participant")).seat for name in ("a", "b", "c")]
        assert seats == [1, 2, None]
        await world.workshops.drop_member(TINA, slug, "a")
        assert (await world.workshops.put_member(TINA, slug, "d", "participant")).seat == 1
        await world.workshops.put_member(TINA, slug, "o", "observer")
        await world.clockwork.look()
        assert world.table().projects[0].members == ("b", "d", "tina")  # who waits or watches may run nothing


# --- what a workshop may be


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"starts": "2026-11-30T07:59:00Z"}, 400, "workshop-times"),
        ({"ends": "2026-11-30T09:00:00Z"}, 400, "workshop-times"),
        ({"closes": "2026-11-30T11:59:00Z"}, 400, "workshop-times"),
        ({"closes": "2027-11-30T11:59:00Z"}, 400, "workshop-too-long"),
        ({"seats": 201}, 400, "workshop-too-many-seats"),
        ({"seats": 21}, 409, "workshop-seats-taken"),
        ({"hours": 13}, 400, "workshop-hours"),
        ({"gpu_hours": 101}, 400, "workshop-budget"),
        ({"retention_days": 366}, 400, "workshop-kept-too-long"),
        ({"places": [{"factory": "three", "size": "gpu-1"}]}, 400, "workshop-not-there"),
        ({"places": [{"factory": "one", "size": "gpu-9"}]}, 400, "workshop-size-not-there"),
        ({"places": [{"factory": "one", "size": "gpu-1", "pool": "other"}]}, 400, "workshop-size-not-there"),
        ({"places": [{"factory": "one", "size": "gpu-1"}] * 2}, 400, "workshop-place-twice"),
        ({"places": [{"factory": "one", "size": "gpu-1", "reservation": "r2"}]}, 400, "workshop-reservation-not-there"),
        (
            {"places": [{"factory": "two", "size": "gpu-1", "environment": "x"}]}, 400,
            "workshop-environment-not-there",
        ),
        ({"zone": "Europe/Berlin", "opens": "2026-03-29T02:30"}, 400, "workshop-no-such-time"),
        ({"code": {"expires": "2026-11-28T07:00:00Z"}}, 400, "workshop-code-past"),
    ],
)  # fmt: skip
async def test_what_is_not_allowed_is_refused_in_words(
    tmp_path: Path, fields: dict[str, Any], status: int, code: str
) -> None:
    async with workshops_world(tmp_path) as world:
        assert await refused(world.workshops.create(TINA, body(**fields))) == (status, code)
        assert await world.store.all() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"title": ""},
        {"title": " \x1b[2J "},
        {"title": "x" * 121},
        {"opens": 1_800_000_000},
        {"zone": "../../etc/passwd"},
        {"seats": 0},
        {"hours": float("nan")},
        {"places": []},
        {"places": [{"factory": "one", "size": "gpu-1", "account": "free"}]},
        {"material": {"repository": "-uhttps://x/y", "commit": "a" * 40}},
        {"material": {"repository": "https://x.example/y", "commit": "main"}},
        {"code": {"domains": ["-x.org"]}},
        {"operator": True},
    ],
)
def test_what_has_not_the_form_of_a_workshop_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        body(**fields)


async def test_names_that_look_like_code_are_kept_as_text(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        created = await world.workshops.create(TINA, body(title="<img src=x onerror=alert(1)>"))
        assert created.slug.startswith("img-src-x-onerror-alert-1-")
        assert (await world.workshops.one(TINA, created.slug)).title == "<img src=x onerror=alert(1)>"
        world.clock.forward(days=1)
        assert (await world.workshops.create(TINA, body(title="日本語"))).slug.startswith("workshop-")


async def test_overlapping_workshops_share_the_seats_of_a_pool(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        first = (await world.scheduled(seats=12)).slug
        assert await refused(world.workshops.create(OTTO, body(seats=9))) == (409, "workshop-seats-taken")
        second = (await world.scheduled(OTTO, seats=8)).slug
        later = {name: getattr(body(), name) + timedelta(hours=6) for name in ("opens", "starts", "ends", "closes")}
        await world.scheduled(OTTO, seats=20, **{name: at.isoformat() for name, at in later.items()})
        drafted = (await world.workshops.create(OTTO, body(seats=9, submit=False))).slug
        assert await refused(world.workshops.submit(OTTO, drafted)) == (409, "workshop-seats-taken")
        await world.workshops.take(TINA, first, "cancel")
        await world.workshops.submit(OTTO, drafted)
        await world.workshops.approve(OPERATOR, drafted)
        await world.clockwork.look()
        assert {project.id for project in world.table().projects} >= {f"workshop-{second}", f"workshop-{drafted}"}


async def test_two_trainers_who_wait_for_the_same_seats_are_not_both_approved(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slugs = [(await world.workshops.create(who, body(seats=12))).slug for who in (TINA, OTTO)]
        await world.workshops.approve(OPERATOR, slugs[0])
        assert await refused(world.workshops.approve(OPERATOR, slugs[1])) == (409, "workshop-seats-taken")


async def test_orders_at_the_same_moment_do_not_get_the_same_seats(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slugs = [(await world.workshops.create(who, body(seats=12))).slug for who in (TINA, OTTO)]
        assert await at_once(*(world.workshops.approve(OPERATOR, slug) for slug in slugs)) == ["workshop-seats-taken"]


async def test_a_trainer_has_no_more_workshops_than_allowed_also_at_once(tmp_path: Path) -> None:
    async with workshops_world(tmp_path, limits={"per_trainer": 2}) as world:
        made = (world.workshops.create(TINA, body(submit=False)) for _ in range(4))
        assert await at_once(*made) == ["workshop-limit"] * 2


# --- changes


async def test_two_changes_at_once_do_not_undo_each_other(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slug = (await world.workshops.create(TINA, body(submit=False))).slug
        await world.workshops.change(TINA, slug, WorkshopChange(version=1, title="New"))
        late = WorkshopChange(version=1, terms="None.")
        assert await refused(world.workshops.change(TINA, slug, late)) == (409, "workshop-stale")
        view = await world.workshops.one(TINA, slug)
        assert (view.title, view.terms) == ("New", "")
        assert view.staff is not None
        await world.workshops.change(TINA, slug, WorkshopChange(version=view.staff.version, terms="None."))


async def test_what_was_approved_needs_approval_again_once_it_changes(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slug = (await world.scheduled()).slug
        version = (await world.look(slug)).staff.version  # type: ignore[union-attr]
        same = await world.workshops.change(TINA, slug, WorkshopChange(version=version, title="Other words"))
        assert same.state == "scheduled"
        more = await world.workshops.change(TINA, slug, WorkshopChange(version=version + 1, seats=7))
        assert more.staff is not None
        assert (more.state, more.seats, more.staff.submitted) == ("draft", 7, world.clock())
        await world.clockwork.look()
        assert world.table().projects == ()
        await world.workshops.approve(OPERATOR, slug)
        by_operator = WorkshopChange(version=more.staff.version + 1, seats=8)
        assert (await world.workshops.change(OPERATOR, slug, by_operator)).state == "approved"


async def test_the_days_for_which_data_are_kept_stay_limited_after_the_approval(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slug = (await world.scheduled()).slug
        version = (await world.look(slug)).staff.version  # type: ignore[union-attr]
        longer = WorkshopChange(version=version, retention_days=366)
        assert await refused(world.workshops.change(TINA, slug, longer)) == (400, "workshop-kept-too-long")
        await world.workshops.change(TINA, slug, WorkshopChange(version=version, retention_days=365))


async def test_once_seats_may_start_no_value_that_was_approved_is_changed(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slug = (await world.scheduled()).slug
        await world.workshops.take(TINA, slug, "warm")
        version = (await world.look(slug)).staff.version  # type: ignore[union-attr]
        assert await refused(world.workshops.change(TINA, slug, WorkshopChange(version=version, hours=1))) == (
            409,
            "workshop-begun",
        )
        assert (await world.workshops.change(TINA, slug, WorkshopChange(version=version, title="Hi"))).title == "Hi"


async def test_a_new_code_replaces_the_old_one(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        first = await world.workshops.create(TINA, body(code={"uses": 10, "domains": ["Example.ORG"]}))
        second = await world.workshops.new_code(TINA, first.slug, CodeBody())
        (valid,) = (await world.store.codes([first.slug]))[first.slug]
        assert codes.is_code(second.code, valid.salt, valid.hash, SECRET)
        assert not codes.is_code(first.code, valid.salt, valid.hash, SECRET)
        assert codes.is_code(second.code.lower().replace("-", " "), valid.salt, valid.hash, SECRET)  # as people type it
        view = await world.workshops.one(TINA, first.slug)
        assert view.staff is not None
        assert [code.domains for code in view.staff.codes] == [()]
        await world.workshops.new_code(TINA, first.slug, CodeBody(expires=world.clock() + timedelta(hours=1)))
        world.clock.forward(hours=2)
        view = await world.workshops.one(TINA, first.slug)
        assert view.staff is not None
        assert view.staff.codes == ()
    everything = b"".join(path.read_bytes() for path in (tmp_path / "state").iterdir())
    for code in (first.code, second.code):
        assert code.encode() not in everything
        assert code.replace("-", "").encode() not in everything


async def test_the_service_looks_seldom_while_there_is_no_workshop(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        await world.clockwork.look()
        await world.materials.look()
        assert (world.clockwork.pause, world.materials.pause) == (60, 60)
        created = await world.workshops.create(TINA, body())
        await world.clockwork.look()
        await world.materials.look()
        assert (world.clockwork.pause, world.materials.pause) == (5, 5)
        await world.workshops.take(TINA, created.slug, "cancel")
        await world.clockwork.look()
        await world.materials.look()
        assert (world.clockwork.pause, world.materials.pause) == (60, 60)


async def test_a_new_workshop_is_seen_at_once_by_a_service_that_looks_seldom(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        ticking = asyncio.create_task(world.clockwork.run())
        try:
            async with asyncio.timeout(60):
                while world.clockwork.pause != 60:
                    await asyncio.sleep(0)
                created = await world.workshops.create(TINA, body())
                await world.workshops.approve(OPERATOR, created.slug)
                while (await world.workshops.one(OPERATOR, created.slug)).state != "scheduled":
                    await asyncio.sleep(0)
        finally:
            ticking.cancel()


# --- the table for the link


async def test_the_table_says_what_the_link_needs(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        two = [{"factory": "one", "size": "gpu-1", "reservation": "r1"}, {"factory": "two", "size": "gpu-2"}]
        slug = (await world.scheduled(places=two, gpu_hours=60)).slug
        (project,) = world.table().projects
        assert project.id == f"workshop-{slug}"
        assert (project.gpu_hours, project.person_gpu_hours, project.max_hours) == (60, None, 4)
        assert (project.seats, project.staff, project.managers) == (6, ("tina",), ("tina",))
        made, wrong = project.project(WorkshopPools.model_validate(POOLS))
        assert (wrong, made is not None) == ((), True)
        assert stat.S_IMODE(world.config.table.stat().st_mode) == 0o640
        assert [path.name for path in tmp_path.glob(".*")] == []
        before = world.config.table.stat().st_mtime_ns, world.config.table.stat().st_ino
        await world.clockwork.look()  # nothing has changed, so nothing is written
        assert (world.config.table.stat().st_mtime_ns, world.config.table.stat().st_ino) == before


@pytest.mark.parametrize(
    ("fields", "hours", "each", "of_staff"),
    [
        ({}, 100, 20, 20),  # the trainer gave no limit, and the pool has one: four seats and the trainer
        ({"gpu_hours": 20}, 20, 4, 4),
        ({"person_gpu_hours": 12}, 100, 12, 12),
        ({"person_gpu_hours": 30}, 100, 25, 0),  # no seat has more than an equal part
        ({"places": [{"factory": "two", "size": "gpu-1"}]}, None, None, None),  # nothing limits the class
        ({"places": [{"factory": "two", "size": "gpu-1"}, {"factory": "one", "size": "gpu-1"}]}, 100, 20, 20),
    ],
)
async def test_whoever_limits_the_class_each_person_has_a_share(
    tmp_path: Path, fields: dict[str, Any], hours: float | None, each: float | None, of_staff: float | None
) -> None:
    async with workshops_world(tmp_path) as world:
        await world.scheduled(seats=4, **fields)

        def share(pools: dict[str, Any]) -> tuple[float | None, float | None, float | None]:
            made, _ = world.table().projects[0].project(WorkshopPools.model_validate(pools))
            assert made is not None
            return made.gpu_hours, made.share("paul"), made.share("tina")

        assert share(POOLS) == (hours, each, of_staff)
        # an operator who changes the pool changes the shares
        fewer = {"pools": [{**POOLS["pools"][0], "gpu_hours": 40}, POOLS["pools"][1]]}
        assert share(fewer)[1] == (None if each is None else min(each, 10 if "person_gpu_hours" in fields else 8))


async def test_who_runs_the_class_is_told_apart_from_its_seats(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slug = (await world.scheduled(seats=4)).slug
        roles: dict[str, Role] = {"hugo": "helper", "otto": "observer", "paul": "participant"}
        for person, role in roles.items():
            await world.workshops.put_member(TINA, slug, person, role)
        await world.clockwork.look()
        (made,) = world.table().projects
        assert (made.members, made.staff, made.managers) == (("hugo", "paul", "tina"), ("hugo", "tina"), ("tina",))


async def test_a_pool_that_is_gone_is_told_to_those_who_run_the_workshop(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slug = (await world.scheduled()).slug
        (tmp_path / "workshop-pools.yaml").write_text(yaml.safe_dump({"pools": POOLS["pools"][1:]}))
        view = await world.look(slug, TINA)
        assert view.staff is not None
        assert "there is no pool class" in view.staff.problem
        (tmp_path / "workshop-pools.yaml").write_text("pools: [")  # a mistake keeps the last good file
        assert len((await world.look(slug, TINA)).staff.problem) > 0  # type: ignore[union-attr]
        (tmp_path / "workshop-pools.yaml").write_text(yaml.safe_dump(POOLS))
        assert (await world.look(slug, TINA)).staff.problem == ""  # type: ignore[union-attr]


async def test_summer_time_that_ends_between_opening_and_start_is_right(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        world.clock.at = datetime(2026, 10, 20, tzinfo=UTC)
        times = {"opens": "2026-10-24T18:00", "starts": "2026-10-25T09:00", "ends": "2026-10-25T12:00"}
        slug = (await world.scheduled(zone="Europe/Berlin", closes="2026-10-25T13:00", **times)).slug
        view = await world.workshops.one(TINA, slug)
        assert (view.opens, view.starts) == (
            datetime(2026, 10, 24, 16, tzinfo=UTC),
            datetime(2026, 10, 25, 8, tzinfo=UTC),
        )
        world.clock.at = datetime(2026, 10, 25, 11, 59, tzinfo=UTC)  # 12:59 there
        assert (await world.look(slug)).state == "open"
        world.clock.forward(minutes=1)
        assert (await world.look(slug)).state == "closing"


async def test_summer_time_that_begins_between_opening_and_start_is_right_everywhere(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        world.clock.at = datetime(2027, 3, 20, tzinfo=UTC)
        at = {"opens": "2027-03-27T18:00", "starts": "2027-03-28T09:00", "ends": "2027-03-28T12:00"}
        slug = (await world.scheduled(zone="Europe/Berlin", closes="2027-03-28T13:00", **at)).slug
        opens, closes = datetime(2027, 3, 27, 17, tzinfo=UTC), datetime(2027, 3, 28, 11, tzinfo=UTC)
        view = await world.workshops.one(TINA, slug)
        assert (view.opens, view.starts) == (opens, datetime(2027, 3, 28, 7, tzinfo=UTC))
        assert (view.ends, view.closes) == (datetime(2027, 3, 28, 10, tzinfo=UTC), closes)
        stored = await world.store.get(slug)
        assert stored is not None
        warm = timedelta(minutes=stored.warm_minutes)
        (project,) = world.table().projects  # of the link
        assert (project.begins, project.ends) == (opens, closes)
        for then, state in (
            (opens - warm - timedelta(minutes=1), "scheduled"),
            (opens - warm, "warming"),
            (opens, "open"),
            (closes - timedelta(minutes=1), "open"),
            (closes, "closing"),
        ):
            world.clock.at = then
            assert (await world.look(slug)).state == state, then
        assert (await world.ending.privacy(slug)).deleted == closes + timedelta(days=30, hours=1)
        assert days(stored, Language("en")) == "28 March 2027, 09:00 to 12:00 (Europe/Berlin)"
        assert days(stored, language_of("fr")) == "28 mars 2027, 09:00 à 12:00 (Europe/Berlin)"


# --- the configuration


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"approvals": "none"}, "approvals: unknown key; allowed: approval, "),
        ({"approval": "maybe"}, "approval: 'maybe': input should be 'operator' or 'none'"),
        ({"listen_host": "0.0.0.0"}, "listen_host: needs tls; allowed without: 127.0.0.1"),
        ({"database": "postgresql://w:secret@db/w"}, "database: no password in the URL"),
        ({"limits": {"seats": 1001}}, "limits.seats: 1001: "),
    ],
)
def test_a_mistake_in_the_configuration_is_named(tmp_path: Path, fields: dict[str, Any], says: str) -> None:
    path = write_config(tmp_path, **fields)
    with pytest.raises(CatalogueError) as wrong:
        load(path)
    (line,) = wrong.value.problems
    assert line.startswith(f"{path}:")
    assert says in line
    assert "secret" not in line


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = load(write_config(tmp_path))
    assert (config.state_dir, config.hub.token_file) == (tmp_path / "state", tmp_path / "workshops.token")
