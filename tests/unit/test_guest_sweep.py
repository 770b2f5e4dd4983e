"""The hub's users for guests disappear with the guests' workshops, and no other user does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from fastapi import FastAPI, Response
from jupyterhub import orm
from jupyterhub.user import UserDict

from factoryspawner.login.guest_sweep import GuestSweep
from tests.unit.serving import serving

LONG_AGO = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=3)
KNOWN, GONE = "guest.ada.abcdef", "guest.ben.abcdef"


class FakeAuthenticator:
    """Records the users of whose deletion it is told."""

    def __init__(self) -> None:
        self.deleted: list[str] = []

    def delete_user(self, user: Any) -> None:
        self.deleted.append(user.name)


class Hub:
    """The users of a hub, and a workshops service that knows some guests."""

    def __init__(self, socket: Path) -> None:
        self.db = orm.new_session_factory("sqlite:///:memory:")()
        self.users = UserDict(lambda: self.db, {"config": None})
        self.authenticator = FakeAuthenticator()
        self.status = {KNOWN: 200}
        self.asked: list[str] = []
        self.sweep = GuestSweep(socket, self.users, self.authenticator)

    def add(self, name: str, last: datetime | None = LONG_AGO, created: datetime = LONG_AGO) -> None:
        self.db.add(orm.User(name=name, last_activity=last, created=created))
        self.db.commit()

    def names(self) -> set[str]:
        return {one.name for one in self.db.query(orm.User)}

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/joining/guests/{name}")
        async def guest(name: str) -> Response:
            self.asked.append(name)
            status = self.status.get(name, 404)
            known = f'{{"person": "{name}", "name": "x", "until": null}}'
            content = known if status == 200 else '{"kind": "gone", "message": "not known"}'
            return Response(content, status, media_type="application/json")

        return app


@pytest_asyncio.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    made = Hub(tmp_path / "w.sock")
    async with serving(made.app(), tmp_path / "w.sock"):
        yield made


async def test_guests_whom_no_workshop_knows_are_deleted(hub: Hub) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    for name in (KNOWN, GONE, "ada", "guestbook"):
        hub.add(name)
    hub.add("guest.new.abcdef", last=None, created=now)
    hub.add("guest.busy.abcdef", last=now)
    assert await hub.sweep.once() == [GONE]
    assert hub.names() == {KNOWN, "ada", "guestbook", "guest.new.abcdef", "guest.busy.abcdef"}
    assert hub.authenticator.deleted == [GONE]
    assert set(hub.asked) == {KNOWN, GONE}
    assert await hub.sweep.once() == []


@pytest.mark.parametrize("status", [400, 500, 503])
async def test_an_error_of_the_service_deletes_nobody(hub: Hub, status: int) -> None:
    hub.add(GONE)
    hub.status[GONE] = status
    assert await hub.sweep.once() == []
    assert hub.names() == {GONE}


async def test_without_the_service_nobody_is_deleted(tmp_path: Path) -> None:
    hub = Hub(tmp_path / "none.sock")
    hub.add(GONE)
    assert await hub.sweep.once() == []
    assert hub.names() == {GONE}


async def test_a_guest_whose_server_runs_stays(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(GONE)
    user = hub.users[orm.User.find(hub.db, GONE)]
    monkeypatch.setattr(type(user), "active", True)
    assert await hub.sweep.once() == []
    assert hub.names() == {GONE}
