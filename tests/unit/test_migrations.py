"""A database of any earlier release is migrated without losses, on either kind of database; a newer one is refused."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import SQLAlchemyError

from factorycommon.models import EndReason
from factorycommon.service.database import Database, begin_migration
from factorylink.catalogue.loading import CatalogueError, load_link_config
from factorylink.cli import main as cli
from factorylink.ledger import migrations
from factorylink.ledger.charges import Charges
from factorylink.ledger.cluster_store import ClusterStore
from factorylink.ledger.ledger import AuditEntry, Ledger, LedgerError
from factorylink.ledger.schema import metadata
from tests.support.postgres import PASSWORD, Postgres

OLD = sorted((Path(__file__).parent / "recorded" / "ledger").glob("version-*.sql"))


@pytest.fixture
def empty(database: Database) -> Iterator[Connection]:
    engine = database.engine()
    with engine.connect() as db:
        yield db
    engine.dispose()


def shape(db: Connection) -> dict[str, Any]:
    """Return the tables with their columns, keys and indexes."""
    look = inspect(db)
    return {
        table: (
            {c["name"]: (str(c["type"]), c["nullable"]) for c in look.get_columns(table)},
            look.get_pk_constraint(table)["constrained_columns"],
            sorted((i["name"], tuple(i["column_names"]), bool(i["unique"])) for i in look.get_indexes(table)),
            sorted((i["name"], [str(o) for o in i["dialect_options"].values()]) for i in look.get_indexes(table)),
            sorted((k["constrained_columns"], k["referred_table"]) for k in look.get_foreign_keys(table)),
        )
        for table in look.get_table_names()
    }


def load(file: Path, path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.executescript(file.read_text())
    db.close()


@pytest.mark.parametrize("old", OLD, ids=lambda path: path.stem)
async def test_a_ledger_of_an_earlier_release_is_migrated_completely(old: Path, tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    load(old, path)
    version = int(old.stem.split("-")[1])
    ledger = Ledger(path)
    await ledger.open()
    (live,) = await ledger.live()
    assert (live.id, live.user, live.choice.size) == ("a" * 32, "ada", "gpu-1")
    over = await ledger.record("b" * 32)
    assert over is not None
    assert over.end_reason is EndReason.FINISHED
    assert [line.text for line in over.log] == ["Asked for gpu-1 at m.", "Ended."]
    assert [(line.code, line.parameters) for line in over.log] == [("", {}), ("", {})]  # shown unchanged, in English
    assert await ledger.drains() == {"one": "Back at noon."}
    assert await ledger.pauses() == ({"one": "For a moment."} if version > 1 else {})
    assert [entry.action for entry in await ledger.audited()] == ["ask", "ask"]
    clusters = await ClusterStore(ledger).live()
    assert [len(batch.workers) for row in clusters for batch in row.batches.values()] == ([2] if version > 2 else [])
    assert await Charges(ledger).usage() == []
    await ledger.note(AuditEntry("ada", "a", "one", "enter", key_id="k"))
    await ledger.close()

    fresh = Ledger(tmp_path / "fresh.sqlite")
    await fresh.open()
    await fresh.close()
    shapes = []
    for there in (path, tmp_path / "fresh.sqlite"):
        engine = Database.file(there).engine()
        with engine.connect() as db:
            assert migrations.is_at(db) == migrations.head()
            assert db.exec_driver_sql("PRAGMA user_version").scalar_one() == migrations.KEEPS_STEPS
            shapes.append(shape(db))
        engine.dispose()
    assert shapes[0] == shapes[1]


def test_all_steps_lead_to_the_tables_of_today(empty: Connection, database: Database) -> None:
    command.upgrade(migrations._config(empty), "head")
    assert compare_metadata(MigrationContext.configure(empty), metadata) == []
    stepped = shape(empty)
    metadata.drop_all(empty)
    metadata.create_all(empty)
    assert shape(empty) == stepped


async def test_steps_that_fail_at_the_last_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.sqlite"
    load(OLD[0], path)
    upgrade = command.upgrade

    def fails(*words: Any) -> None:
        upgrade(*words)
        raise SQLAlchemyError("the disk is full")

    monkeypatch.setattr(command, "upgrade", fails)
    with pytest.raises(LedgerError, match="the disk is full"):
        await Ledger(path).open()
    monkeypatch.undo()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert not db.execute("SELECT name FROM sqlite_master WHERE name IN ('charges', 'alembic_version')").fetchall()
    db.close()
    again = Ledger(path)
    await again.open()
    assert len(await again.live()) == 1
    await again.close()


async def test_links_that_start_at_the_same_time_migrate_once(database: Database) -> None:
    ledgers = [Ledger(database) for _ in range(4)]
    await asyncio.gather(*(ledger.open() for ledger in ledgers))
    for ledger in ledgers:
        assert await ledger.live() == []
        await ledger.close()


async def test_a_link_waits_for_a_migration_that_takes_longer_than_other_transactions_wait(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factorycommon.service.database.PRAGMAS", ("journal_mode=WAL", "busy_timeout=100"))
    monkeypatch.setattr("factorycommon.service.database._SETTINGS", "-c lock_timeout=100ms -c application_name=")
    engine = database.engine()
    with engine.connect() as migrating:
        begin_migration(migrating, migrations._LOCK)
        ledger = Ledger(database)
        opening = asyncio.create_task(ledger.open())
        done, _ = await asyncio.wait({opening}, timeout=1)
        assert not done
        migrating.rollback()
        await opening
        assert await ledger.live() == []
        await ledger.close()
    engine.dispose()


async def test_a_ledger_of_a_newer_release_is_refused_in_words(database: Database) -> None:
    ledger = Ledger(database)
    await ledger.open()
    await ledger.transact(lambda db: db.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'") and None)
    await ledger.close()
    with pytest.raises(LedgerError, match=r"step 9999.*newer"):
        await Ledger(database).open()


# --- PostgreSQL


async def test_a_database_that_is_away_for_a_while_is_used_again(postgres: Postgres) -> None:
    ledger = Ledger(postgres.new())
    await ledger.open()
    await ledger.drain("one", "Back at noon.", AuditEntry("operator", "", "one", "drain"))
    postgres.stop()
    try:
        with pytest.raises(LedgerError):
            await ledger.drain("one", "Never heard.", AuditEntry("operator", "", "one", "drain"))
    finally:
        postgres.start()
    assert await ledger.drains() == {"one": "Back at noon."}
    await ledger.close()


async def test_the_databases_password_is_in_no_message(postgres: Postgres) -> None:
    database = postgres.new()
    wrong = postgres.folder / "wrong"
    wrong.write_text("*:*:*:*:not-the-password\n")
    wrong.chmod(0o600)
    where = Database(database.url.update_query_dict({"passfile": str(wrong)}))
    with pytest.raises(LedgerError, match="password authentication failed") as refused:
        await Ledger(where).open()
    assert "not-the-password" not in str(refused.value)
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://gate:s3cret@db.example/ledger", "no password in the URL"),
        ("postgresql://gate@db.example/ledger?password=s3cret", "no password in the URL"),
        ("postgresql://gate@db.example/ledger?PASSWORD=s3cret", "no password in the URL"),
        ("postgresql://gate@db.example/ledger?sslkey=/etc/key&sslpassword=s3cret", "no password in the URL"),
        ("postgresql://gate@db.example/ledger?oauth_client_secret=s3cret", "no password in the URL"),
        ("postgresql://gate:word@db.example:s3cret/ledger", "not the URL"),
        ("mysql://gate@db.example/ledger", "'mysql' is no database"),
        ("sqlite://", "path of a file"),
        ("somewhere s3cret", "not the URL"),
    ],
)
def test_an_invalid_database_url_is_refused_without_its_secret(url: str, said: str, tmp_path: Path) -> None:
    written = config(tmp_path, f"ledger: {url}\n")
    with pytest.raises(CatalogueError, match=said) as refused:
        load_link_config(written)
    assert "s3cret" not in str(refused.value)


# --- the operator's command


def config(folder: Path, more: str = "") -> Path:
    path = folder / "link.yaml"
    path.write_text(
        f"catalogue: .\nstate_dir: .\nsocket: link.sock\nhub: {{token_file: token}}\nfactories: {{}}\n{more}"
    )
    return path


def test_an_operator_sees_and_makes_the_step(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = database.url.set(drivername=database.url.get_backend_name()).render_as_string()
    at = ["--config", str(config(tmp_path, f"ledger: {url}\n"))]
    assert cli.main(["ledger", "check", *at]) == 1
    assert cli.main(["ledger", "upgrade", *at]) == 0
    assert cli.main(["ledger", "check", *at]) == 0
    assert f"is at step {migrations.head()}, as this release needs it." in capsys.readouterr().out


def test_reading_an_old_ledger_does_not_migrate_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(OLD[0], tmp_path / "ledger.sqlite")
    assert cli.main(["ledger", "check", "--config", str(config(tmp_path))]) == 1
    assert "upgrade it" in capsys.readouterr().err
    tables = sqlite3.connect(tmp_path / "ledger.sqlite")
    assert not tables.execute("SELECT 1 FROM sqlite_master WHERE name = 'charges'").fetchall()
    tables.close()
