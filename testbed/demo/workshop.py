"""``bin/demo --workshop``: a workshop that is open, with eight seats, and a trainer who leads it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from testbed.demo.folder import ADMIN, DemoFolder
from testbed.supervisor import write_private
from workshops.client import WorkshopsClient, WorkshopsProblem
from workshops.models.bodies import WorkshopBody
from workshops.models.callers import WorkshopCaller
from workshops.models.views import PoolView

Until = Callable[[Callable[[], Awaitable[bool]]], Coroutine[Any, Any, None]]

SEATS, HOURS, GPU_HOURS = 8, 2, 100
LASTS = timedelta(hours=8)
OPEN_SECONDS = 20.0  # for the service to open the workshop
_LIVE = ("scheduled", "warming", "open")
_OPERATOR = WorkshopCaller(ADMIN, operator=True)


async def ready(folder: DemoFolder, factories: Sequence[str], until: Until) -> dict[str, Any]:
    """Make a workshop, unless one of an earlier start is live; return the entries of ``demo.json`` about it.

    These are the trainer, the workshop and the folder of mails.

    ``until``: calls a function until it returns true.
    """
    trainer = WorkshopCaller(folder.trainer)
    file = folder.path / "trainer.token"
    token = await _token(folder, await asyncio.to_thread(_kept, file))
    write_private(file, token)
    client = WorkshopsClient(folder.workshops_socket)
    try:
        kept = folder.path / "workshop.json"
        workshop = await _known(client, _read(kept))
        if workshop is None:
            workshop = await _made(client, trainer, factories, until)
            write_private(kept, json.dumps(workshop))
    finally:
        await client.close()
    password = folder.logins().get(folder.trainer, "") if folder.login == "passwords" else ""
    return {
        "trainer": {"name": folder.trainer, "password": password, "token": token},
        "workshop": workshop,
        "mailbox": str(folder.mailbox),
    }


def _kept(file: Path) -> str:
    return file.read_text(encoding="ascii") if file.exists() else ""


def _read(kept: Path) -> dict[str, str]:
    """Return what an earlier start has stored about its workshop; empty if nothing is stored."""
    with suppress(OSError, ValueError):
        found: dict[str, str] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    return {}


async def _known(client: WorkshopsClient, workshop: dict[str, str]) -> dict[str, str] | None:
    """Return ``workshop``, as an earlier start stored it, if the service still has it and it is not over; else None."""
    with suppress(KeyError, WorkshopsProblem):
        view = await client.one(_OPERATOR, workshop["slug"])
        if view.state in _LIVE and view.ends > datetime.now(UTC):
            return workshop
    return None


async def _made(
    client: WorkshopsClient, trainer: WorkshopCaller, factories: Sequence[str], until: Until
) -> dict[str, str]:
    pools = {pool.factory: pool for pool in await client.pools(_OPERATOR)}
    created = await client.create(trainer, _body([pools[name] for name in factories[:2]], datetime.now(UTC)))
    await client.take(_OPERATOR, created.slug, "approve")

    async def is_open() -> bool:
        return (await client.one(_OPERATOR, created.slug)).state == "open"

    async with asyncio.timeout(OPEN_SECONDS):
        await until(is_open)
    return {"slug": created.slug, "code": created.code, "join_url": created.join_url}


def _body(pools: Sequence[PoolView], now: datetime) -> WorkshopBody:
    """Return the form of a workshop that opens now and starts in 10 minutes, with the first node size of each pool."""
    ends = now + LASTS
    times = {"opens": now, "starts": now + timedelta(minutes=10), "ends": ends, "closes": ends + timedelta(hours=1)}
    return WorkshopBody.model_validate(
        {
            "title": "First steps on GPUs",
            "zone": "Europe/Berlin",
            **{name: at.isoformat() for name, at in times.items()},
            "seats": SEATS,
            "hours": HOURS,
            "gpu_hours": GPU_HOURS,
            "places": [{"factory": pool.factory, "size": pool.sizes[0]} for pool in pools],
            "terms": "A demo on one machine: bring nothing here that matters.",
        }
    )


async def _token(folder: DemoFolder, kept: str) -> str:
    """Return a hub token of the trainer: the stored token ``kept`` if it is still valid, or else a new one."""
    api = f"{folder.hub_url}{folder.base_url}hub/api"
    async with httpx.AsyncClient(timeout=30) as http:
        if kept:
            answer = await http.get(f"{api}/user", headers={"Authorization": f"token {kept}"})
            if answer.is_success and answer.json()["name"] == folder.trainer:
                return kept
        admin = {"Authorization": f"token {folder.secret('admin')}"}
        path = f"{api}/users/{folder.trainer}"
        if (await http.get(path, headers=admin)).status_code == httpx.codes.NOT_FOUND:
            (await http.post(path, headers=admin)).raise_for_status()  # with a login provider, nobody has logged in yet
        answer = await http.post(f"{path}/tokens", headers=admin, json={"note": "the demo's workshop"})
        token = str(answer.raise_for_status().json()["token"])
    return token
