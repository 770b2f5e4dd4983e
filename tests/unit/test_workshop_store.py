"""The service's database: its migrations, and what survives a restart."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from factorycommon.service.database import Database
from tests.unit.test_migrations import shape
from tests.unit.workshops_world import SECRET, TINA, body, workshops_world
from workshops.joining import codes
from workshops.store import migrations
from workshops.store.schema import CodeRecord, EventRecord, MembershipRecord, metadata
from workshops.store.store import SeatTaken, Stale, Store, StoreError, StoreOfOtherRelease


@pytest.fixture
def empty(database: Database) -> Iterator[Connection]:
    engine = database.engine()
    with engine.connect() as db:
        yield db
    engine.dispose()


def test_all_steps_lead_to_the_tables_of_today(empty: Connection) -> None:
    command.upgrade(migrations._config(empty), "head")
    assert compare_metadata(MigrationContext.configure(empty), metadata) == []
    stepped = shape(empty)
    metadata.drop_all(empty)
    metadata.create_all(empty)
    assert shape(empty) == stepped


def test_the_migrations_alone_know_all_tables() -> None:
    look = "from workshops.store import migrations; print(*migrations.metadata.tables)"
    known = subprocess.run((sys.executable, "-c", look), capture_output=True, text=True, check=True).stdout
    assert set(known.split()) == set(migrations.metadata.tables)


async def test_all_of_a_workshop_survives_a_restart(database: Database, tmp_path: Path) -> None:
    where = dataclasses.replace(database, program="workshops")
    async with workshops_world(tmp_path) as world:
        wide = [{"factory": "one", "size": "gpu-1", "reservation": "r1"}, {"factory": "two", "size": "gpu-2"}]
        created = await world.workshops.create(TINA, body(places=wide, zone="Europe/Berlin", terms="Be kind.\nAlways."))
        kept = await world.store.get(created.slug)
    assert kept is not None
    store = Store(where)
    await store.open()
    salt = codes.make_salt()
    lead = MembershipRecord(kept.slug, "tina", "lead", "staff", None, kept.made)
    code = CodeRecord(kept.slug, salt, codes.hash_of(created.code, salt, SECRET), kept.made, "tina")
    await store.create(kept, lead, code, EventRecord(kept.slug, kept.made, "tina", "created"))
    await store.close()
    again = Store(where)
    await again.open()
    assert await again.get(kept.slug) == kept
    assert (await again.members([kept.slug]))[kept.slug] == [lead]
    (found,) = (await again.codes([kept.slug]))[kept.slug]
    assert codes.is_code(created.code, found.salt, found.hash, SECRET)
    await again.close()


async def test_a_seat_has_one_person(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slug = (await world.workshops.create(TINA, body())).slug
        at = world.clock()
        first = MembershipRecord(slug, "paul", "participant", "seated", 1, at)
        await world.store.put_member(first, EventRecord(slug, at, "", "x"))
        with pytest.raises(SeatTaken):
            await world.store.put_member(dataclasses.replace(first, person="pia"), EventRecord(slug, at, "", "x"))
        assert await world.store.member(slug, "pia") is None


async def test_a_change_from_an_earlier_version_is_refused(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        slug = (await world.workshops.create(TINA, body())).slug
        read = await world.store.get(slug)
        assert read is not None
        await world.store.change(read.with_values(title="A"), EventRecord(slug, world.clock(), "tina", "x"))
        with pytest.raises(Stale):
            await world.store.change(read.with_values(title="B"), EventRecord(slug, world.clock(), "otto", "x"))
        found = await world.store.get(slug)
        assert found is not None
        assert found.title == "A"


async def test_a_second_service_and_a_newer_database_are_refused(tmp_path: Path) -> None:
    async with workshops_world(tmp_path) as world:
        with pytest.raises(StoreError, match="Another workshops service"):
            await Store(world.config.store).open()
    engine = world.config.store.engine()
    with engine.begin() as db:
        db.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(StoreOfOtherRelease, match="step 9999"):
        await Store(world.config.store).open()
