"""The ledger keeps its data, refuses conflicts, and explains when it cannot be used."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, insert

from factorycommon.messages import Message
from factorycommon.models import HEAD, Choice, EndReason, JobOptions, LogLine, SessionState, Words
from factorycommon.service.database import Database
from factorylink.explain import explain
from factorylink.ledger import schema
from factorylink.ledger.ledger import AuditEntry, Ledger, LedgerConflict, LedgerError, choosing
from factorylink.ledger.schema import SessionRecord
from tests.support.postgres import Postgres
from tests.unit.fake_factory import ID, OTHER
from tests.unit.test_identity import CHOICE

ENTRY = AuditEntry("ada", "a", "one", "ask")


def row(session_id: str = ID, user: str = "ada", server: str = "") -> SessionRecord:
    return SessionRecord(
        id=session_id,
        user=user,
        server=server,
        factory="one",
        account="a",
        choice=CHOICE,
        options=JobOptions(),
        port=20000,
        created=datetime.now(UTC),
        log=[LogLine(at=datetime.now(UTC), text="Asked for.")],
    )


async def test_a_row_comes_back_as_it_was(ledger: Ledger) -> None:
    kept = row()
    await ledger.add(kept, ENTRY)
    words = Words(code="idle", what="Idle.")
    at = datetime.now(UTC)
    await ledger.change(kept, say="Ended.", job="7", state=SessionState.ENDED, ended=at, end=words, log_tail=("x", "y"))
    assert await ledger.record(ID) == kept
    assert [line.text for line in kept.log] == ["Asked for.", "Ended."]
    assert kept.end == words
    assert await ledger.record(OTHER) is None
    assert await ledger.live() == []
    assert [found.id for found in await ledger.recent("ada", "")] == [ID]
    assert await ledger.recent("ben") == []


async def test_the_newest_sessions_are_not_hidden_by_schedulers_of_clusters(ledger: Ledger) -> None:
    await ledger.add(row(), ENTRY)
    for number in range(3):
        later = datetime.now(UTC) + timedelta(minutes=1)
        head = replace(row(), id=f"{number:032x}", server=f"{HEAD}c{number}", created=later)
        await ledger.add(head, ENTRY)
    assert [found.id for found in await ledger.recent("ada", limit=2)] == [ID]


async def test_a_persons_last_session_of_a_project_is_one_of_a_notebook(ledger: Ledger) -> None:
    now = datetime.now(UTC)
    for kept in (row(), replace(row(), id=OTHER, server=f"{HEAD}c", created=now + timedelta(minutes=1))):
        await ledger.add(kept, ENTRY)
        await ledger.change(kept, say="Ended.", state=SessionState.ENDED, ended=now)
        charge = {"id": kept.id, "project": "p1", "factory": "one", "person": "ada", "account": "a", "gpus": 1}
        charge |= {"reserved": 3600, "reserved_at": now, "earlier": 0}
        await ledger.transact(lambda db, charge=charge: db.execute(insert(schema.charges).values(charge)))
    assert [found.id for found in await ledger.last_ended("p1")] == [ID]


async def test_a_message_comes_back_with_its_code_and_parameters(ledger: Ledger) -> None:
    asked = Message("asked", "Asked for {size} at {factory}.").format(size="gpu-1", factory="M")
    kept = replace(row(), log=[LogLine(at=datetime.now(UTC), text=asked)])
    await ledger.add(kept, ENTRY)
    await ledger.change(kept, say=Message("job-found", "Job {job} was found.").format(job=7))
    await ledger.change(kept, end=explain.filled("project-not-here", factory="M"))
    found = await ledger.record(ID)
    assert found is not None
    assert [(line.code, line.text, line.parameters) for line in found.log] == [
        ("asked", "Asked for gpu-1 at M.", {"size": "gpu-1", "factory": "M"}),
        ("job-found", "Job 7 was found.", {"job": "7"}),
    ]
    assert found.end is not None
    assert (found.end.code, found.end.parameters) == ("project-not-here", {"factory": "M"})


async def test_one_running_session_of_a_server(ledger: Ledger) -> None:
    first = row()
    await ledger.add(first, ENTRY)
    with pytest.raises(LedgerConflict):
        await ledger.add(row(OTHER), ENTRY)
    await ledger.change(first, wish="stop", stopped_for=EndReason.STOPPED)
    await ledger.add(row(OTHER), ENTRY)
    assert len(await ledger.audited("ask")) == 2  # a refused row leaves no audit entry


async def test_one_session_of_a_job(ledger: Ledger) -> None:
    first, second = row(), row(OTHER, "ben")
    await ledger.add(first, ENTRY)
    await ledger.add(second, ENTRY)
    await ledger.change(first, job="7")
    with pytest.raises(LedgerConflict):
        await ledger.change(second, job="7")
    assert second.job is None


async def test_choices_and_drains(ledger: Ledger) -> None:
    assert await ledger.last_choice("ada") is None
    for size in ("gpu-1", "gpu-2"):
        await ledger.write(choosing("ada", Choice(size=size)))
    assert await ledger.last_choice("ada") == Choice(size="gpu-2")
    await ledger.drain("one", "first", ENTRY)
    await ledger.drain("one", "second", ENTRY)
    assert await ledger.drains() == {"one": "second"}
    await ledger.undrain("one", ENTRY)
    assert await ledger.drains() == {}


async def test_a_write_is_on_the_disk_when_it_returns(ledger: Ledger) -> None:
    await ledger.add(row(), ENTRY)
    again = Ledger(ledger.where)  # as after a kill: nobody closed the first one
    await again.open()
    assert [found.id for found in await again.live()] == [ID]
    await again.close()


async def test_a_second_link_is_refused_in_words(database: Database) -> None:
    first = Ledger(database, alone=True)
    await first.open()
    await first.add(row(), ENTRY)
    second = Ledger(database, alone=True)
    with pytest.raises(LedgerError, match=r"Another link uses the ledger .* stop the other one"):
        await second.open()
    await first.drain("one", "still there", ENTRY)
    reader = Ledger(database)  # as a backup or `factorygate check` opens it
    await reader.open()
    assert await reader.drains() == {"one": "still there"}
    await reader.close()
    await first.close()
    await second.open()
    assert [found.id for found in await second.live()] == [ID]
    await second.close()


async def test_a_link_that_lost_its_connection_writes_nothing_once_another_has_the_ledger(postgres: Postgres) -> None:
    """The lock belongs to the connection: a link that lost it cannot get it back after another link has started."""
    database = postgres.new()
    first, second = Ledger(database, alone=True), Ledger(database, alone=True)
    await first.open()
    with postgres.connect() as db:
        db.execute("SELECT pg_terminate_backend(pid, 60000) FROM pg_locks WHERE locktype = 'advisory'")
    await second.open()
    with pytest.raises(LedgerError, match="Another link uses the ledger"):
        await first.drain("one", "too late", ENTRY)
    assert await second.drains() == {}
    await second.close()
    await first.drain("one", "the other has gone", ENTRY)
    await first.close()


async def test_the_ledgers_file_is_private(tmp_path: Path) -> None:
    made = Ledger(tmp_path / "ledger.sqlite")
    await made.open()
    assert stat.S_IMODE((tmp_path / "ledger.sqlite").stat().st_mode) == 0o600
    await made.close()


async def test_a_newer_ledger_is_refused_in_words(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(LedgerError, match=r"version 99.*newer"):
        await Ledger(tmp_path / "ledger.sqlite").open()


async def test_a_damaged_ledger_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(LedgerError, match="cannot be opened"):
        await Ledger(tmp_path / "ledger.sqlite").open()


async def test_concurrent_writes_share_a_commit(ledger: Ledger) -> None:
    commits = []
    assert ledger._engine is not None
    event.listen(ledger._engine, "commit", commits.append)
    await asyncio.gather(*(ledger.add(row(f"{number:032x}", f"u{number}"), ENTRY) for number in range(100)))
    assert len(await ledger.live()) == 100
    assert len(commits) < 10


async def test_output_of_a_shell_makes_no_commit_fail(ledger: Ledger) -> None:
    await ledger.note(AuditEntry("ada", "a", "one", "extend-refused", detail="no\0way"))
    assert [entry.detail for entry in await ledger.audited("extend-refused")] == ["no\ufffdway"]


async def test_a_conflict_among_many_is_only_its_own(ledger: Ledger) -> None:
    rows = [row(f"{number:032x}", f"u{number % 49}") for number in range(50)]
    outcomes = await asyncio.gather(*(ledger.add(made, ENTRY) for made in rows), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [LedgerConflict]
    assert len(await ledger.live()) == 49
    assert len(await ledger.audited("ask")) == 49
