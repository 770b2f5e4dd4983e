"""Accounts held for a workshop: lent only to its people, wiped before and after, and checked to be empty."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import ValidationError

from factorycommon.models import ProjectAt, SiteAccounts
from factorycommon.models.workshops import ClassProject, RehearsedProject
from factorylink.config import Access
from factorylink.errors import Refused
from factorylink.projects import account_holds, account_leases
from factorylink.projects.account_leases import nothing_left
from factorylink.schedulers.command import Command, Output
from factorylink.util import clock
from tests.unit.fake_factory import FakeHome, World
from tests.unit.fake_projects import Table, project, refusal

POOL = ("u1", "u2", "u3", "u4")
AT = ProjectAt(site_accounts=SiteAccounts(pool=POOL))
FIRST, SECOND = "workshop-first", "workshop-second"


class WipedHome(FakeHome):
    """A site that records wipes of accounts.

    ``broken``: accounts whose wipe fails; ``leaves``: by account, what a wipe leaves; ``wiped``: the accounts of the
    wipes that succeeded; ``most``: how many wipes ran at a time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.wiped: list[str] = []
        self.broken: set[str] = set()
        self.leaves: dict[str, str] = {}
        self.running = self.most = 0
        self.together = 0  # no wipe ends before so many of them ran at a time

    async def run(self, ask: Command[Any], account: str | None = None) -> Any:
        if ask.argv == ("wipe",):
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(0)
            while self.most < self.together:
                await asyncio.sleep(0.01)
            self.running -= 1
            if account in self.broken:
                raise Refused("No space left")
            self.wiped.append(account or "")
        if ask.argv == ("proof",):
            return ask.parse(Output(self.leaves.get(account or "", ""), "", 0))
        return await super().run(ask, account)


class Pool:
    """A link with two workshops on one pool."""

    def __init__(self, world: World, table: Table, home: WipedHome) -> None:
        self.world, self.table, self.home = world, table, home
        self.over: set[str] = set()
        self.rehearses = False
        self.begun = True
        self.both: tuple[str, ...] = ()  # people of the first who are in the second, too
        self.refresh()

    def refresh(self) -> None:
        ends = {name: clock.now() + timedelta(hours=-1 if name in self.over else 5) for name in (FIRST, SECOND)}
        begins = clock.now() + timedelta(hours=-1 if self.begun else 1)
        first = project(FIRST, AT, members=("ada", "ben"), begins=begins, ends=ends[FIRST])
        if self.rehearses:
            given = {"members": ("ada",), "begins": clock.now() - timedelta(minutes=1), "seats": 2}
            first = RehearsedProject(**dict(first) | given)
        self.table.set(first, project(SECOND, AT, members=("cleo", "dan", "eve", *self.both), ends=ends[SECOND]))

    def rehearse(self, on: bool) -> None:
        """Let a rehearsal of the first workshop by ada begin or end, before its class."""
        self.rehearses, self.begun = on, False
        self.refresh()

    async def hold(self, name: str, count: int) -> Any:
        found = self.world.projects.get(name)
        assert found is not None
        await self.world.parts.account_holds.hold(found, {"one": count})
        return self.seen(name)

    def seen(self, name: str) -> Any:
        found = self.world.projects.get(name)
        assert found is not None
        return self.world.parts.account_holds.seen(found, "one")

    async def look(self) -> None:
        """Run one round of the background work that holds accounts, and wait until its wipes have ended."""
        await self.world.parts.account_holds.look()
        await asyncio.gather(*self.world.account_leases._wiping.values())

    async def put(self, number: int, user: str, **choice: Any) -> str:
        found = {name: p for name, p in (self.table.projects or {}).items() if user in p.members}
        session = await self.world.put(f"{number:032x}", user, project=next(iter(found)), hours=1, **choice)
        return session.account

    async def end(self, number: int) -> None:
        await self.world.sessions.stop(f"{number:032x}", "person")
        await self.world.answered_until(f"{number:032x}", state="ended")


@pytest_asyncio.fixture
async def pool(tmp_path: Path) -> AsyncIterator[Pool]:
    world, table = World(tmp_path), Table()
    world.workshops, world.home = table, WipedHome()
    access = world.config.factories["one"]
    wiping = access.model_copy(update={"account_wipe": ("wipe",), "account_wipe_proof": ("proof",)})
    world.config.factories["one"] = wiping
    await world.up()
    yield Pool(world, table, world.home)
    await world.down()


async def test_a_held_account_is_lent_to_people_of_its_workshop_only(pool: Pool) -> None:
    seen = await pool.hold(FIRST, 3)
    assert (seen.pool, seen.held, seen.ready, seen.free) == (4, 3, 3, 3)
    assert await pool.put(1, "cleo") == "u4"
    assert (await refusal(pool.world, session_id="d" * 32, user="dan", project=SECOND, hours=1))[0] == "pool-empty"
    assert {await pool.put(2, "ada"), await pool.put(3, "ben")} <= {"u1", "u2", "u3"}
    await pool.world.down()
    await pool.world.up()  # a restart of the link forgets no hold
    pool.home = pool.world.home  # type: ignore[assignment]
    assert (await refusal(pool.world, session_id="d" * 32, user="dan", project=SECOND, hours=1))[0] == "pool-empty"
    assert pool.seen(FIRST).held == 3


async def test_what_another_workshop_left_is_wiped_before_in_parallel(pool: Pool) -> None:
    for number, who in enumerate(("cleo", "dan", "eve"), 1):
        await pool.put(number, who)
        await pool.end(number)
    pool.home.together = 3
    seen = await pool.hold(FIRST, 4)
    assert (seen.held, seen.free, seen.wiping) == (4, 1, 3)
    await pool.look()
    assert (pool.seen(FIRST).free, sorted(pool.home.wiped), pool.home.most) == (4, ["u1", "u2", "u3"], 3)
    assert [one.action for one in await pool.world.ledger.audited("wipe")] == ["wipe"] * 3


async def test_an_account_in_use_by_another_workshop_is_not_held(pool: Pool) -> None:
    assert await pool.put(1, "cleo") == "u1"
    seen = await pool.hold(FIRST, 4)
    assert (seen.held, pool.home.wiped) == (3, [])
    assert await pool.put(2, "cleo", server="b") == "u1"  # who has it keeps it


async def test_two_workshops_share_a_pool_without_meeting(pool: Pool) -> None:
    assert (await pool.hold(FIRST, 2)).held == 2
    assert (await pool.hold(SECOND, 3)).held == 2  # the rest
    first = {await pool.put(1, "ada"), await pool.put(2, "ben")}
    second = {await pool.put(3, "cleo"), await pool.put(4, "dan")}
    assert first | second == set(POOL)
    assert (await refusal(pool.world, session_id="e" * 32, user="eve", project=SECOND, hours=1))[0] == "pool-empty"
    await pool.end(3)
    # a seat of the class keeps its account until the class is over
    assert (await refusal(pool.world, session_id="e" * 32, user="eve", project=SECOND, hours=1))[0] == "pool-empty"
    assert await pool.put(6, "cleo", server="b") in second


def classes(pool: Pool, **first: Any) -> None:
    """Let both workshops be classes of two seats, the first one with these fields."""
    first = {"members": ("ada", "ben", "tina"), "staff": frozenset({"tina"}), **first}
    given = {FIRST: first, SECOND: {"members": ("cleo", "dan")}}
    pool.table.set(
        *(ClassProject(**{**dict(project(name, AT)), "seats": 2, **fields}) for name, fields in given.items())
    )


async def test_seats_come_before_spare_accounts_of_another_workshop(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    classes(pool)
    assert (await pool.hold(FIRST, 3)).held == 3
    seen = await pool.hold(SECOND, 3)
    assert (seen.held, seen.free) == (2, 2)
    for name in (FIRST, SECOND, FIRST):  # none of them takes it back
        await pool.hold(name, 3)
        assert (pool.seen(FIRST).held, pool.seen(SECOND).held) == (2, 2)
    assert caplog.text.count(f"Of 3 accounts at one, 2 can be held for {SECOND}") == 1
    first = {await pool.put(1, "ada"), await pool.put(2, "ben")}
    await pool.world.down()
    await pool.world.up()  # the link knows after a restart who holds which account
    assert first | {await pool.put(3, "cleo"), await pool.put(4, "dan")} == set(POOL)


async def test_an_account_that_somebody_of_the_other_workshop_has_is_no_spare_one(pool: Pool) -> None:
    classes(pool)
    await pool.hold(FIRST, 4)
    tinas = await pool.put(1, "tina")  # she runs the class, so all of its seats are still to come
    assert (await pool.hold(SECOND, 2)).held == 1
    first = {await pool.put(2, "ada"), await pool.put(3, "ben")}
    assert first | {tinas, await pool.put(4, "cleo")} == set(POOL)
    assert ((await pool.hold(SECOND, 2)).held, pool.seen(FIRST).held) == (1, 3)


async def test_a_person_in_both_workshops_has_an_account_in_each_and_loses_one_at_the_end_of_one(pool: Pool) -> None:
    pool.both = ("ada",)
    pool.refresh()
    assert (await pool.hold(FIRST, 2)).held == (await pool.hold(SECOND, 2)).held == 2

    async def account(number: int, user: str, project_id: str, server: str) -> str:
        session = await pool.world.put(f"{number:032x}", user, server=server, project=project_id, hours=1)
        return session.account

    first, second = await account(1, "ada", FIRST, "a"), await account(2, "ada", SECOND, "b")
    assert first != second
    assert await account(3, "ada", FIRST, "c") == first
    others = {await account(4, "ben", FIRST, "a"), await account(5, "cleo", SECOND, "a")}
    assert {first, second} | others == set(POOL)
    pool.over.add(FIRST)
    pool.refresh()
    for number in (1, 3, 4):
        await pool.end(number)
    await pool.look()
    await pool.look()
    assert second not in pool.home.wiped and first in pool.home.wiped
    assert (pool.seen(FIRST).held, pool.seen(SECOND).held) == (0, 2)
    assert (await pool.world.session(f"{2:032x}")).account == second
    assert await account(6, "ada", SECOND, "d") == second  # with her files


async def test_the_watcher_wipes_where_an_account_may_not_be_trusted_to_do_it(pool: Pool) -> None:
    place = pool.world.factories["one"]
    by_watcher = {
        "account_wipe": ("sudo", "-u", "ACCOUNT", "empty"),
        "account_wipe_proof": ("sudo", "-u", "ACCOUNT", "list"),
        "account_wipe_by": "watcher",
    }
    access = place.access.model_copy(update=by_watcher)
    pool.world.factories.offered = {"one": replace(place, access=access)}
    asked: list[tuple[tuple[str, ...], str | None]] = []

    async def run(ask: Command[Any], account: str | None = None) -> Any:
        asked.append((tuple(ask.argv), account))
        return ask.parse(Output("", "", 0))

    pool.home.run = run  # type: ignore[method-assign]
    await account_leases._run_wipe(pool.world.factories["one"], "u2")
    assert asked == [(("sudo", "-u", "u2", "empty"), None), (("sudo", "-u", "u2", "list"), None)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"account_wipe": ["empty"], "account_wipe_by": "watcher"},  # it would empty the watcher's own home
        {"account_wipe": ["sudo", "-u", "ACCOUNT", "empty"]},
        {"account_wipe": ["empty", "ACCOUNT"], "account_wipe_proof": ["list"], "account_wipe_by": "watcher"},
    ],
)
def test_a_watcher_is_told_which_account_it_wipes(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="needs the word ACCOUNT"):
        Access.model_validate({"accounts": {"ada": "u-ada"}, **wrong})


async def test_after_the_workshop_everything_is_wiped_and_given_back(pool: Pool) -> None:
    await pool.hold(FIRST, 4)
    used = {await pool.put(1, "ada"), await pool.put(2, "ben")}
    pool.over.add(FIRST)
    pool.refresh()
    await pool.look()
    assert pool.home.wiped == []  # their sessions still run
    await pool.end(1)
    await pool.end(2)
    await pool.look()
    await pool.look()
    assert set(pool.home.wiped) == used  # the others were never used
    assert pool.seen(FIRST).held == 0
    assert not pool.world.account_leases._leases
    for number, who in enumerate(("cleo", "dan", "eve"), 3):
        await pool.put(number, who)


async def test_a_failed_wipe_lends_nothing_and_is_told(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    await pool.put(1, "cleo")
    await pool.end(1)
    pool.home.leaves["u1"] = ".ssh/authorized_keys"
    await pool.hold(FIRST, 4)
    await pool.look()
    seen = pool.seen(FIRST)
    assert (seen.held, seen.ready) == (4, 3)
    assert [(one.account, one.why) for one in seen.failed] == [
        ("u1", "After the wipe there is still: .ssh/authorized_keys")
    ]
    assert {await pool.put(2, "ada"), await pool.put(3, "ben")} == {"u2", "u3"}
    await pool.look()
    assert pool.home.wiped == ["u1"]  # it is not repeated at once
    monkeypatch.setattr(account_holds, "AGAIN_SECONDS", 0)
    pool.home.leaves.clear()
    await pool.look()
    assert (pool.seen(FIRST).failed, pool.seen(FIRST).free) == ((), 2)
    said = [one.detail for one in await pool.world.ledger.audited("wipe")]
    assert said[0].startswith("wipe failed: After the wipe") and said[-1] == "wipe"


async def test_an_account_is_kept_while_its_wipe_after_the_class_fails(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_holds, "AGAIN_SECONDS", 0)
    await pool.hold(FIRST, 1)
    assert await pool.put(1, "ada") == "u1"
    await pool.end(1)
    pool.home.broken.add("u1")
    pool.over.add(FIRST)
    pool.refresh()
    await pool.look()
    await pool.look()
    assert pool.seen(FIRST).failed[0].why == "No space left"
    for number, who in enumerate(("cleo", "dan", "eve"), 2):
        assert await pool.put(number, who) != "u1"
    pool.home.broken.clear()
    await pool.look()
    await pool.look()
    assert pool.seen(FIRST).held == 0


async def test_the_next_workshop_takes_over_what_is_not_wiped_yet_and_says_what_cannot_be_wiped(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pool.hold(FIRST, 4)
    used = [await pool.put(1, "ada"), await pool.put(2, "ben")]
    pool.home.broken.add(used[0])
    seen = await pool.hold(SECOND, 4)
    assert (seen.held, seen.wiping) == (0, 0)  # while the first class goes on, it has its accounts
    pool.over.add(FIRST)
    pool.refresh()
    seen = await pool.hold(SECOND, 4)  # the first class is over, and its sessions end
    assert (seen.held, seen.ready, seen.wiping, pool.home.wiped) == (4, 2, 2, [])
    for number in (1, 2):
        await pool.end(number)
    assert pool.seen(SECOND).wiping == 2
    await pool.look()
    assert (pool.seen(FIRST).held, pool.seen(SECOND).held, pool.seen(SECOND).ready) == (0, 4, 3)
    failed = [one.account for one in pool.seen(SECOND).failed]
    assert failed == [one.account for one in pool.seen(FIRST).failed] == used[:1]  # a rehearsal sees it, too
    lent = {await pool.put(number, who) for number, who in ((3, "cleo"), (4, "dan"), (5, "eve"))}
    assert lent == set(POOL) - {used[0]}
    monkeypatch.setattr(account_holds, "AGAIN_SECONDS", 0)
    pool.home.broken.clear()
    await pool.look()
    assert (pool.seen(SECOND).ready, pool.seen(SECOND).failed) == (4, ())


async def test_another_account_is_held_in_place_of_one_that_cannot_be_wiped(pool: Pool) -> None:
    await pool.put(1, "cleo")
    for number in (1,):
        await pool.end(number)
    for number, who in ((2, "dan"), (3, "eve")):
        await pool.put(number, who)
    pool.home.broken.add("u1")
    await pool.hold(FIRST, 2)  # u1 with cleo's files, and u4
    await pool.look()
    await pool.end(2)
    assert (await pool.hold(FIRST, 2)).held == 3
    await pool.look()
    assert pool.seen(FIRST).ready == 2


async def test_a_table_that_is_not_known_ends_no_hold(pool: Pool) -> None:
    await pool.hold(FIRST, 2)
    await pool.put(1, "ada")
    pool.table.projects = None
    await pool.look()
    assert len(pool.world.account_leases.holds) == 2
    pool.table.projects = {}
    await pool.look()  # it is known now that there is no such workshop, and what nobody used is free
    assert len(pool.world.account_leases.holds) == 1


async def test_without_a_wipe_a_held_account_stays_with_its_person(pool: Pool) -> None:
    place = pool.world.factories["one"]
    bare = place.access.model_copy(update={"account_wipe": (), "account_wipe_proof": ()})
    pool.world.factories.offered = {"one": replace(place, access=bare)}
    await pool.hold(FIRST, 1)
    await pool.put(1, "ada")
    await pool.end(1)
    pool.over.add(FIRST)
    pool.refresh()
    await pool.look()
    assert pool.seen(FIRST).held == 0
    assert pool.world.account_leases.holder("one", "u1") == "ada"


# --- rehearsals


async def test_an_account_of_a_rehearsal_is_emptied_and_free_when_that_is_over(pool: Pool) -> None:
    for number in (1, 3):  # twice, one after the other
        pool.rehearse(True)
        assert await pool.put(number, "ada") == "u1"
        assert await pool.put(number + 1, "ada", server="b") == "u1"  # all its seats are the trainer's
        await pool.end(number)
        await pool.look()
        assert (pool.home.wiped.count("u1"), pool.seen(FIRST).held) == (number // 2, 0)  # it is no account of the class
        pool.rehearse(False)
        await pool.look()
        assert pool.home.wiped.count("u1") == number // 2  # a session still runs there
        await pool.end(number + 1)
        await pool.look()
        await pool.look()
        assert pool.home.wiped.count("u1") == (number + 1) // 2
        assert (pool.world.account_leases._leases, pool.world.account_leases.holds) == ({}, {})
    await pool.world.down()
    await pool.world.up()
    assert (pool.world.account_leases._leases, pool.world.account_leases.holds) == ({}, {})  # in the ledger, too


async def test_a_link_that_is_started_again_still_frees_the_account_of_a_rehearsal(pool: Pool) -> None:
    pool.rehearse(True)
    await pool.put(1, "ada")
    await pool.end(1)
    await pool.world.down()
    await pool.world.up()
    pool.rehearse(False)
    await pool.look()
    await pool.look()
    assert (pool.home.wiped, pool.world.account_leases.holds) == (["u1"], {})


async def test_a_class_that_warms_up_gets_no_account_as_a_rehearsal_left_it(pool: Pool) -> None:
    pool.rehearse(True)
    assert await pool.put(1, "ada") == "u1"
    pool.home.broken.add("u1")
    pool.rehearses, pool.begun = False, True  # a trainer lets it warm up while the rehearsal goes on
    pool.refresh()
    assert (await pool.hold(FIRST, 4)).held == 3
    assert await pool.put(2, "ada", server="b") != "u1"
    await pool.end(1)
    await pool.look()
    seen = pool.seen(FIRST)
    assert (seen.held, seen.ready, [one.account for one in seen.failed]) == (4, 3, ["u1"])  # and trainers are told


async def test_what_a_trainer_had_before_a_rehearsal_is_not_wiped_after_it(pool: Pool) -> None:
    assert await pool.put(1, "ada") == "u1"
    await pool.end(1)
    pool.rehearse(True)
    assert await pool.put(2, "ada") == "u1"
    await pool.end(2)
    pool.rehearse(False)
    await pool.look()
    assert (pool.home.wiped, pool.world.account_leases.holder("one", "u1")) == ([], "ada")


async def test_an_account_of_a_rehearsal_that_nobody_used_is_free_without_a_wipe(pool: Pool) -> None:
    pool.rehearse(True)
    asked = {"session_id": "a" * 32, "user": "ada", "project": FIRST, "hours": 1, "reservation": "unknown"}
    assert (await refusal(pool.world, **asked))[1] == "reservation"  # after the account was lent
    assert set(pool.world.account_leases.holds) == {("one", "u1")}
    pool.rehearse(False)
    await pool.look()
    assert (pool.world.account_leases._leases, pool.world.account_leases.holds, pool.home.wiped) == ({}, {}, [])


@pytest.mark.parametrize(
    ("output", "fine"),
    [
        (Output("", "", 0), True),
        (Output("\n", "", 0), True),
        (Output(".cache\n", "", 0), False),
        (Output("", "x", 1), False),
    ],
)
def test_a_proof_prints_nothing(output: Output, fine: bool) -> None:
    if fine:
        nothing_left(output)
    else:
        with pytest.raises(Refused):
            nothing_left(output)
