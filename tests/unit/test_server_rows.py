"""Values of a server in the hub's database, written without SQLAlchemy's unit of work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyterhub import orm
from sqlalchemy import event
from sqlalchemy.orm import Session

from factoryspawner.server_rows import write_row

STATE = {"session_id": "a" * 32, "options": {"factory": "one", "hours": 2}}
OPTIONS = {"factory": "one", "hours": 2}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[tuple[Session, Session]]:
    """Return two sessions of one database: the hub's, and one that sees only what was committed."""
    url = f"sqlite:///{tmp_path / 'hub.sqlite'}"
    hub, reader = orm.new_session_factory(url)(), orm.new_session_factory(url)()
    yield hub, reader
    hub.close()
    reader.close()


def server_of(db: Session, name: str) -> orm.Spawner:
    user = db.query(orm.User).filter_by(name="ada").one_or_none() or orm.User(name="ada")
    server = orm.Spawner(user=user, name=name)
    db.add_all([user, server])
    return server


def committed(reader: Session, name: str) -> tuple[object, object]:
    reader.expire_all()
    found = reader.query(orm.Spawner).filter_by(name=name).one()
    return found.state, found.user_options


def test_a_commit_brings_both_to_the_row_of_this_server_only(database: tuple[Session, Session]) -> None:
    hub, reader = database
    server, other = server_of(hub, "one"), server_of(hub, "two")
    other.state = {"session_id": "b"}
    hub.commit()
    write_row(hub, server, state=STATE, user_options=OPTIONS)
    assert (server.state, server.user_options) == (STATE, OPTIONS)
    hub.commit()
    assert committed(reader, "one") == (STATE, OPTIONS)
    assert committed(reader, "two") == ({"session_id": "b"}, None)


def test_each_write_is_one_compiled_statement(database: tuple[Session, Session]) -> None:
    hub, _ = database
    server = server_of(hub, "one")
    hub.commit()
    written = list[str]()
    compiled = set[int]()

    def note(_db: object, _cursor: object, statement: str, _values: object, context: Any, _many: bool) -> None:
        if "spawners" in statement:
            written.append(statement.split()[0])
            compiled.add(id(context.compiled))

    event.listen(hub.get_bind(), "before_cursor_execute", note)
    for number in range(3):
        write_row(hub, server, state={"number": number}, user_options=OPTIONS)
        hub.commit()
    assert written == ["UPDATE"] * 3
    assert len(compiled) == 1


def test_a_server_without_options_keeps_none(database: tuple[Session, Session]) -> None:
    hub, reader = database
    server = server_of(hub, "one")
    hub.commit()
    write_row(hub, server, state=STATE)
    hub.commit()
    assert committed(reader, "one") == (STATE, None)


def test_a_server_without_a_row_gets_both_with_it(database: tuple[Session, Session]) -> None:
    hub, reader = database
    write_row(hub, server_of(hub, "new"), state=STATE, user_options=OPTIONS)
    hub.commit()
    assert committed(reader, "new") == (STATE, OPTIONS)


def test_what_was_set_and_not_committed_is_replaced(database: tuple[Session, Session]) -> None:
    hub, reader = database
    server = server_of(hub, "one")
    hub.commit()
    server.state = {"session_id": "older"}
    server.user_options = {"factory": "older"}
    write_row(hub, server, state=STATE, user_options=OPTIONS)
    hub.commit()
    assert committed(reader, "one") == (STATE, OPTIONS)


def test_what_else_was_changed_is_committed_with_it(database: tuple[Session, Session]) -> None:
    hub, reader = database
    server = server_of(hub, "one")
    hub.commit()
    server.display_name = "One"
    write_row(hub, server, state=STATE, user_options=OPTIONS)
    hub.commit()
    assert committed(reader, "one") == (STATE, OPTIONS)
    assert reader.query(orm.Spawner).one().display_name == "One"


def test_a_rollback_leaves_what_was_before(database: tuple[Session, Session]) -> None:
    hub, reader = database
    server = server_of(hub, "one")
    server.state = {"session_id": "before"}
    hub.commit()
    write_row(hub, server, state=STATE, user_options=OPTIONS)
    hub.rollback()
    assert committed(reader, "one") == ({"session_id": "before"}, None)
    assert (server.state, server.user_options) == ({"session_id": "before"}, None)


def test_a_later_change_is_written(database: tuple[Session, Session]) -> None:
    hub, reader = database
    server = server_of(hub, "one")
    hub.commit()
    write_row(hub, server, state=STATE, user_options=OPTIONS)
    hub.commit()
    server.state = {}
    hub.commit()
    assert committed(reader, "one") == ({}, OPTIONS)
