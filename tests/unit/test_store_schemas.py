"""Stores of other releases: an older store is migrated at the start, a newer one is refused with an explanation, and
nothing restarts forever."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from jupyterhub import orm
from sqlalchemy import create_engine, text

from factorycommon.service.exit_codes import STORE_UNUSABLE
from factorylink.ledger import migrations
from factorylink.ledger.ledger import AuditEntry, Ledger, LedgerOfOtherRelease
from factoryoperator.cli import main
from factoryspawner.config import hub_database
from factoryspawner.config.errors import StoreUnusable
from factoryspawner.login import people
from factoryspawner.login.people import People
from tests.support.postgres import Postgres
from tests.unit.hub_process import HubProcess
from tests.unit.test_check import Configured
from tests.unit.test_link_process import link_yaml, start
from tests.unit.test_login_claims import BASIC

BEFORE_NAMES_OF_SERVERS = "ff1860e38070"  # JupyterHub's migration step before ``spawners.display_name``
BEFORE_PKCE, AFTER_PKCE = "be8ecf03ddac", "afd65840b69e"  # two steps earlier, and one step earlier


def ask(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        return database.execute(query).fetchall()


def step(path: Path) -> object:
    return ask(path, "SELECT version_num FROM alembic_version")[0][0]


def columns(path: Path, table: str) -> set[object]:
    return {row[1] for row in ask(path, f"PRAGMA table_info({table})")}


@pytest.fixture
def hub_file(tmp_path: Path) -> Iterator[Path]:
    """Make a database as the installed JupyterHub does, with one person, who must still be there after the test."""
    path = tmp_path / "hub.sqlite"
    session = orm.new_session_factory(f"sqlite:///{path}")()
    session.add(orm.User(name="ada"))
    session.commit()
    session.close()
    yield path
    assert ask(path, "SELECT name FROM users") == [("ada",)]


def head(path: Path) -> str:
    return hub_database.schema(f"sqlite:///{path}").head


def make_old(path: Path) -> None:
    """Undo JupyterHub's last migration step in a database, so that it is one of the previous JupyterHub."""
    ask(path, "ALTER TABLE spawners DROP COLUMN display_name")
    set_step(path, BEFORE_NAMES_OF_SERVERS)


def set_step(path: Path, number: str) -> None:
    ask(path, f"UPDATE alembic_version SET version_num = '{number}'")


# --- the hub's database


def test_a_hub_database_of_a_release_before_is_migrated_after_a_copy(hub_file: Path) -> None:
    make_old(hub_file)
    found = hub_database.upgrade(f"sqlite:///{hub_file}")
    assert found is not None
    assert found.step == BEFORE_NAMES_OF_SERVERS
    assert step(hub_file) == head(hub_file)
    assert "display_name" in columns(hub_file, "spawners")
    copy = hub_file.with_name(f"hub.sqlite.at-{BEFORE_NAMES_OF_SERVERS}")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert "display_name" not in columns(copy, "spawners")
    assert hub_database.upgrade(f"sqlite:///{hub_file}") is None


def test_no_secret_of_the_hubs_database_url_is_shown() -> None:
    url = "postgresql://hub:s3cret@db.example/hub?password=s3cret&sslpassword=s3cret&sslkey=/etc/key"
    assert hub_database.shown(url) == "postgresql://hub:***@db.example/hub?sslkey=%2Fetc%2Fkey"


def test_a_hub_database_whose_number_was_set_back_gets_its_number_again(hub_file: Path) -> None:
    for number in (BEFORE_NAMES_OF_SERVERS, BEFORE_PKCE):
        set_step(hub_file, number)
        hub_database.upgrade(f"sqlite:///{hub_file}")
        assert step(hub_file) == head(hub_file)


def test_a_migration_of_the_hub_that_fails_leaves_the_database_as_it_was(hub_file: Path) -> None:
    make_old(hub_file)
    set_step(hub_file, BEFORE_PKCE)  # the next step adds columns that exist, so it fails
    with pytest.raises(StoreUnusable, match=r"cannot be brought from step be8ecf03ddac.*as it was.*code_challenge"):
        hub_database.upgrade(f"sqlite:///{hub_file}")
    assert step(hub_file) == BEFORE_PKCE
    assert "display_name" not in columns(hub_file, "spawners")


def test_a_hub_database_on_a_server_keeps_the_steps_before_one_that_fails(postgres: Postgres) -> None:
    url = postgres.new().url.render_as_string(hide_password=False)
    orm.new_session_factory(url)().close()
    engine = create_engine(url)
    with engine.begin() as database:
        for table, column in {"spawners": "display_name", "oauth_codes": "code_challenge"}.items():
            database.execute(text(f"ALTER TABLE {table} DROP COLUMN {column}"))
        database.execute(text("ALTER TABLE oauth_codes DROP COLUMN code_challenge_method"))
        database.execute(text(f"UPDATE alembic_version SET version_num = '{BEFORE_PKCE}'"))
    said = r"from step be8ecf03ddac.*keeps the steps before.*restore the database from your backup.*user_info"
    with pytest.raises(StoreUnusable, match=said) as refused:  # the first step succeeds; the second one's column exists
        hub_database.upgrade(url)
    assert "as it was" not in str(refused.value)
    assert hub_database.schema(url).step == AFTER_PKCE
    with engine.begin() as database:
        database.execute(text("ALTER TABLE users DROP COLUMN user_info"))
    engine.dispose()
    hub_database.upgrade(url)
    assert hub_database.schema(url).step == hub_database.schema(url).head


def test_a_hub_database_of_a_newer_release_is_refused(hub_file: Path) -> None:
    set_step(hub_file, "9999")
    with pytest.raises(StoreUnusable, match=r"step 9999.*reads steps up to.*install the release that wrote it"):
        hub_database.upgrade(f"sqlite:///{hub_file}")
    assert step(hub_file) == "9999"


def test_a_hub_database_that_is_not_there_or_empty_is_left_to_jupyterhub(tmp_path: Path) -> None:
    assert hub_database.upgrade(f"sqlite:///{tmp_path / 'none.sqlite'}") is None
    assert not (tmp_path / "none.sqlite").exists()
    (tmp_path / "empty.sqlite").touch()
    assert hub_database.upgrade(f"sqlite:///{tmp_path / 'empty.sqlite'}") is None


@pytest.mark.asyncio(loop_scope="module")
async def test_a_hub_starts_with_an_old_database_and_ends_in_words_at_a_newer_one(hub: HubProcess) -> None:
    await hub.kill()
    database = hub.folder / "hub.sqlite"
    make_old(database)
    await hub.up()
    assert step(database) == head(database)
    await hub.kill()
    set_step(database, "9999")
    with pytest.raises(AssertionError):  # the hub does not start
        await hub.up()
    assert hub.process is not None
    assert await hub.process.wait() == STORE_UNUSABLE
    last = hub.log.rpartition("The hub cannot start.")[2]
    assert "step 9999" in last
    assert "Traceback" not in last
    set_step(database, head_of_installed())
    await hub.up()


def head_of_installed() -> str:
    return hub_database.schema("sqlite:////nowhere/hub.sqlite").head


# --- the names of people


def first_file_of_names(path: Path) -> None:
    """Make the file of people's names as the first releases did: without terms, and without a version."""
    ask(path, "CREATE TABLE people (issuer TEXT NOT NULL, sub TEXT NOT NULL, name TEXT NOT NULL UNIQUE COLLATE NOCASE,"
        " antenna TEXT, since TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (issuer, sub))")  # fmt: skip
    ask(path, "INSERT INTO people (issuer, sub, name) VALUES ('https://login', 'sub-1', 'ada-1')")


def test_a_file_of_names_of_the_first_release_is_migrated_after_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "people.sqlite"
    first_file_of_names(path)
    found = People(path)
    assert found.name("https://login", "sub-1") == "ada-1"
    assert found.accepted("ada-1", "1") is None
    found.accept("ada-1", "1")
    assert found.accepted("ada-1", "1") is not None
    assert ask(path, "PRAGMA user_version") == [(people.SCHEMA,)]
    assert "terms" not in columns(tmp_path / "people.sqlite.at-0", "people")
    assert (tmp_path / "people.sqlite.at-0").stat().st_mode & 0o777 == 0o600


def test_a_new_file_of_names_has_the_schema_of_today_and_no_copy(tmp_path: Path) -> None:
    People(tmp_path / "people.sqlite")
    assert people.schema_of(tmp_path / "people.sqlite") == people.SCHEMA
    assert [path.name for path in tmp_path.iterdir()] == ["people.sqlite"]


def test_a_file_of_names_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "people.sqlite"
    People(path)
    ask(path, f"PRAGMA user_version = {people.SCHEMA + 1}")
    with pytest.raises(StoreUnusable, match="schema version 2, and this release reads versions up to 1"):
        People(path)


# --- the ledger


async def open_ledger(path: Path) -> None:
    ledger = Ledger(path)
    await ledger.open()
    await ledger.close()


@pytest.mark.parametrize("number", ["0009", "0004"])
async def test_a_ledger_whose_number_was_set_back_gets_its_number_again(number: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(path)
    await ledger.open()
    await ledger.drain("one", "Back at noon.", AuditEntry("operator", "", "one", "drain"))
    await ledger.close()
    set_step(path, number)
    again = Ledger(path)
    await again.open()
    assert await again.drains() == {"one": "Back at noon."}
    await again.close()
    assert step(path) == migrations.head()
    assert step(tmp_path / f"ledger.sqlite.at-{number}") == number


async def test_a_link_ends_in_words_at_a_ledger_of_a_newer_release(tmp_path: Path) -> None:
    config = link_yaml(tmp_path)
    (tmp_path / "state").mkdir(mode=0o700)
    await open_ledger(tmp_path / "state" / "ledger.sqlite")
    set_step(tmp_path / "state" / "ledger.sqlite", "9999")
    process = await start(config)
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == STORE_UNUSABLE
    assert b"step 9999" in said
    assert b"Traceback" not in said


async def test_a_newer_ledger_is_told_from_one_that_is_away(tmp_path: Path) -> None:
    await open_ledger(tmp_path / "ledger.sqlite")
    set_step(tmp_path / "ledger.sqlite", "9999")
    with pytest.raises(LedgerOfOtherRelease):
        await open_ledger(tmp_path / "ledger.sqlite")


# --- the operator's command


def stores(configured: Configured, *words: str) -> int:
    files = ("--hub", str(configured.folder / "hub.yaml"), "--link", str(configured.folder / "link.yaml"))
    return main(["stores", *words, *files])


@pytest.fixture
def old(tmp_path: Path) -> Configured:
    """Write a gateway's files with three stores of an earlier release; return the configuration."""
    made = Configured(tmp_path)
    login = {"people_file": "hub/people.sqlite", "crypt_key_file": "crypt.key", "providers": [BASIC]}
    made.change("hub.yaml", "passwords_file: passwords.json", f"login: {json.dumps(login)}")
    made.write("crypt.key", "ab" * 32)
    made.write("secret", "s" * 32)
    first_file_of_names(tmp_path / "hub" / "people.sqlite")
    database = tmp_path / "hub" / "jupyterhub.sqlite"
    orm.new_session_factory(f"sqlite:///{database}")().close()
    make_old(database)
    asyncio.run(open_ledger(tmp_path / "link" / "ledger.sqlite"))
    ask(tmp_path / "link" / "ledger.sqlite", "ALTER TABLE log_lines DROP COLUMN parameters")
    ask(tmp_path / "link" / "ledger.sqlite", "ALTER TABLE log_lines DROP COLUMN code")
    ask(tmp_path / "link" / "ledger.sqlite", "ALTER TABLE sessions DROP COLUMN unopened_until")
    ask(tmp_path / "link" / "ledger.sqlite", "ALTER TABLE sessions DROP COLUMN opened")
    ask(tmp_path / "link" / "ledger.sqlite", "ALTER TABLE charges DROP COLUMN gpu_parts")
    ask(tmp_path / "link" / "ledger.sqlite", "ALTER TABLE clusters DROP COLUMN gpu_parts")
    ask(tmp_path / "link" / "ledger.sqlite", "DROP TABLE holds")
    set_step(tmp_path / "link" / "ledger.sqlite", "0009")
    return made


@pytest.mark.parametrize("word", ["check", "upgrade"])
def test_no_store_is_left_out_because_its_configuration_cannot_be_read(
    old: Configured, word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (old.folder / "workshops.yaml").write_text("state_dirr: nowhere\n")
    monkeypatch.setenv("FACTORYGATE_WORKSHOPS", str(old.folder / "workshops.yaml"))
    assert stores(old, word) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "state_dirr" in output.err
    assert step(old.folder / "hub" / "jupyterhub.sqlite") == BEFORE_NAMES_OF_SERVERS


def test_an_operator_sees_and_migrates_each_store(old: Configured, capsys: pytest.CaptureFixture[str]) -> None:
    assert stores(old, "check") == 1
    said = capsys.readouterr().out
    assert f"the hub's database: step {BEFORE_NAMES_OF_SERVERS}, this release needs {head_of_installed()}" in said
    assert "who has which name: step 0, this release needs 1" in said
    assert f"the ledger: step 0009, this release needs {migrations.head()}" in said
    assert stores(old, "upgrade", "--only", "ledger") == 0
    assert capsys.readouterr().out.startswith("the ledger: brought from step 0009")
    assert stores(old, "upgrade") == 0
    assert "the ledger" not in capsys.readouterr().out
    assert stores(old, "check") == 0
    assert stores(old, "upgrade") == 0
    assert capsys.readouterr().out.endswith("All stores are as this release needs them.\n")


def test_a_newer_store_is_named_and_left_alone(old: Configured, capsys: pytest.CaptureFixture[str]) -> None:
    set_step(old.folder / "link" / "ledger.sqlite", "9999")
    assert stores(old, "upgrade") == 1
    assert "step 9999" in capsys.readouterr().err
    assert step(old.folder / "hub" / "jupyterhub.sqlite") == BEFORE_NAMES_OF_SERVERS
