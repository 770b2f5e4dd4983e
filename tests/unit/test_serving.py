"""The servers of a process: they end when they are told to, and use hardly any CPU time while they are idle."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from factorycommon.service import serving
from factorycommon.service.serving import Listener, new_server, unix_socket


def app() -> FastAPI:
    made = FastAPI()

    @made.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return made


async def asked(path: Path) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path)), base_url="http://x") as http:
        return await http.get("/health")


async def test_a_server_that_sleeps_answers_and_ends_when_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_TICK_SECONDS", 1000.0)  # it does not wake by itself
    listener = Listener(app(), unix_socket(tmp_path / "sock"))
    server = new_server(listener)
    assert not server.should_exit
    serves = asyncio.create_task(server.serve([listener.socket]))
    answer = await asked(tmp_path / "sock")
    assert answer.json() == {"status": "ok"}
    assert parsedate_to_datetime(answer.headers["date"]).tzinfo is not None
    server.should_exit = True
    async with asyncio.timeout(60):
        await serves


async def test_a_server_that_was_told_before_it_began_ends_at_once(tmp_path: Path) -> None:
    listener = Listener(app(), unix_socket(tmp_path / "sock"))
    server = new_server(listener)
    server.should_exit = True
    async with asyncio.timeout(60):
        await server.serve([listener.socket])


async def test_an_idle_server_renews_the_date_once_in_each_tick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_TICK_SECONDS", 0.01)
    listener, ticks = Listener(app(), unix_socket(tmp_path / "sock")), 0
    server = new_server(listener)
    ticked = server.on_tick

    async def count(counter: int) -> bool:
        nonlocal ticks
        ticks += 1
        if ticks == 3:
            server.should_exit = True
        return await ticked(counter)

    monkeypatch.setattr(server, "on_tick", count)
    async with asyncio.timeout(60):
        await server.serve([listener.socket])
    assert ticks == 3
