"""A guest whose name is in ``blocked_users`` is refused at the next request, and the link is informed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from jupyterhub import orm
from jupyterhub.user import UserDict

from factorycommon.models import PersonBody
from factoryspawner.config import hub_config
from factoryspawner.login import guests
from factoryspawner.login.guests import PasswordsWithGuests
from tests.unit.test_hubconfig import write

GUEST = "guest.ada.abcdef"


class Gateway:
    """Stands for the hub's connection to the link, and records what the link is told about people."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bool]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.link = self

    async def put_person(self, name: str, told: PersonBody) -> None:
        self.told.append((name, told.blocked))

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))


async def test_a_blocked_guest_is_shut_out_at_the_next_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = hub_config.load(write(tmp_path))
    gateway = Gateway()
    monkeypatch.setattr(hub_config, "loaded", lambda: config)
    monkeypatch.setattr(guests, "gateway", lambda _at: gateway)
    db = orm.new_session_factory("sqlite:///:memory:")()
    db.add(orm.User(name=GUEST))
    db.commit()
    user = UserDict(lambda: db, {"config": None})[GUEST]
    authenticator = PasswordsWithGuests(workshops_at=str(tmp_path / "none.sock"), blocked_users={GUEST})

    refusal = await authenticator.standing(user)
    await asyncio.gather(*gateway.tasks)

    assert refusal is not None and refusal.out and refusal.words.code == "login-blocked"
    assert gateway.told == [(GUEST, True)]
