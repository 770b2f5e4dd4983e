"""The workshops service as a process, and the operator's commands: a life from its start to SIGTERM, and mistakes."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from factorycommon.service.yaml_file import CatalogueError, Places
from factorycommon.service_address import NetworkAddress
from factoryoperator import certificates, check_network, cli
from factoryoperator.cli import workshops as commands
from factoryoperator.gateway import Gateway, Side
from factoryspawner.pages.workshops.joining_client import JoiningClient
from testbed import ports
from tests.unit import test_link_process as link_process
from tests.unit.hub_process import ROOT
from tests.unit.test_tls import of
from tests.unit.workshops_world import BEGIN, OPERATOR, POOLS, body, write_config
from workshops.client import WorkshopsClient, WorkshopsProblem, WorkshopsSilent
from workshops.config import load
from workshops.models.callers import WorkshopCaller
from workshops.models.rehearsal import (
    PlaceRehearsals,
    RehearsalLine,
    RehearsalsView,
    RehearsalView,
    WaveCost,
    WaveSummary,
)


async def start(config: Path) -> asyncio.subprocess.Process:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("spawners", "extensions"))}
    argv = (sys.executable, "-m", "workshops", "--config", str(config))
    return await asyncio.create_subprocess_exec(*argv, env=env, stderr=asyncio.subprocess.PIPE)


async def until_up(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None
    async for line in process.stderr:
        if b"The workshops service is up" in line:
            return
    raise AssertionError("it did not start")


async def command(capsys: pytest.CaptureFixture[str], socket: Path, *words: str) -> tuple[int, str]:
    """Run ``factorygate workshops``; return its exit code, and what it printed."""
    code = await asyncio.to_thread(cli.main, ["workshops", "--workshops-socket", str(socket), *words])
    said = capsys.readouterr()
    return code, said.out + said.err


async def until_shown(capsys: pytest.CaptureFixture[str], socket: Path, slug: str, words: str) -> str:
    """Run ``factorygate workshops show`` until its output has ``words``; return the output."""
    async with asyncio.timeout(60):
        while True:
            code, said = await command(capsys, socket, "show", slug)
            assert code == 0, said
            if words in said:
                return said
            await asyncio.sleep(0.05)


def plan(folder: Path) -> Path:
    """Write a workshop that opens in an hour, as an operator writes one; return the file's path."""
    now = datetime.now(UTC).replace(microsecond=0)
    hours = {"opens": 1, "starts": 2, "ends": 4, "closes": 5}
    content = {
        "title": "By command",
        **{name: (now + timedelta(hours=by)).isoformat() for name, by in hours.items()},
        "seats": 2,
        "hours": 3,
        "places": [{"factory": "one", "size": "gpu-1"}],
    }
    file = folder / "plan.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


async def test_the_service_runs_alone_and_ends_on_sigterm(tmp_path: Path) -> None:
    port = ports.single()
    config = write_config(tmp_path, listen_port=port)
    first = await start(config)
    await until_up(first)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    for path in (tmp_path / "state" / "workshops.sqlite", tmp_path / "workshops.sock"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    second = await start(config)
    _, said = await second.communicate()
    assert (second.returncode, b"Another workshops service runs" in said) == (2, True)
    async with httpx.AsyncClient() as http:
        health = await http.get(f"http://127.0.0.1:{port}/services/workshops/health")
    assert health.json() == {"status": "ok"}
    first.send_signal(signal.SIGTERM)
    assert first.stderr is not None
    assert b"Traceback" not in await first.stderr.read()
    assert await asyncio.wait_for(first.wait(), 60) == 0
    assert not (tmp_path / "workshops.sock").exists()


async def test_a_hub_on_another_host_reaches_it_and_nobody_else(tmp_path: Path) -> None:
    for name in ("workshops", "hub", "proxy"):
        certificates.make(tmp_path / "tls", name, [], 30)
    own = {"certificate": "tls/workshops/tls.crt", "key": "tls/workshops/tls.key", "authority": "tls/workshops/ca.crt"}
    port = ports.single()
    listener = {"host": "127.0.0.1", "port": port}
    config = write_config(tmp_path, listen_port=ports.single(), tls=own, hub_listener=listener)
    process = await start(config)
    await until_up(process)
    try:
        read = Gateway(Side(config, None), Side(config, None), Side(config, load(config), at=Places(config)))
        assert await asyncio.to_thread(lambda: list(check_network.ports(read))) == []  # `check` finds the service there
        url = f"https://localhost:{port}"
        at, other = (NetworkAddress(url, of(tmp_path / "tls" / name)) for name in ("hub", "proxy"))
        hub, proxy, joining = WorkshopsClient(at), WorkshopsClient(other), JoiningClient(at)
        assert [pool.id for pool in await hub.pools(WorkshopCaller("olga", operator=True))] == ["class", "other"]
        with pytest.raises(WorkshopsSilent):
            await proxy.pools(WorkshopCaller("olga", operator=True))
        assert (await joining.memberships("paul")).memberships == ()
        for client in (hub, proxy, joining):
            await client.close()
    finally:
        process.kill()
        await process.wait()


def test_only_tls_lets_a_hub_on_another_host_in(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="hub_listener: needs tls"):
        load(write_config(tmp_path, hub_listener={"host": "127.0.0.1", "port": 8444}))


async def test_a_killed_service_goes_on_where_it_was_and_the_table_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, socket = write_config(tmp_path, listen_port=ports.single()), tmp_path / "workshops.sock"
    process = await start(config)
    await until_up(process)
    code, said = await command(capsys, socket, "create", str(plan(tmp_path)), "--trainer", "tina")
    assert (code, "is draft. Join: https://hub.example.org/hub/join/by-command-" in said) == (0, True), said
    slug = said.split()[0]
    assert (await command(capsys, socket, "--as", "olga", "approve", slug))[0] == 0
    table = tmp_path / "workshops-projects.json"
    async with asyncio.timeout(60):
        while slug not in (table.read_text() if table.exists() else ""):
            await asyncio.sleep(0.05)  # the table has no other sign
    process.kill()
    await process.wait()
    before = table.read_bytes()
    process = await start(config)
    await until_up(process)
    said = await until_shown(capsys, socket, slug, "state     scheduled")  # maybe it had not got so far
    assert "lead        tina" in said
    assert "approved  (olga)" in said
    assert table.read_bytes() == before
    code, said = await command(capsys, socket, "role", slug, "paul", "participant")
    assert (code, said) == (0, "paul is participant, seat 1.\n")
    code, said = await command(capsys, socket, "list")
    assert (code, f"{slug}  scheduled" in said, "1/2" in said) == (0, True, True), said
    code, said = await command(capsys, socket, "approve", slug)
    assert (code, "That is not possible while the workshop is scheduled." in said) == (1, True), said
    code, said = await command(capsys, socket, "--as", "tina", "rehearse", slug, "--place", "1", "--kind", "seats")
    assert (code, "it has no link socket" in said) == (1, True), said
    code, said = await command(capsys, socket, "rehearse", slug, "--kind", "wave")  # no member rehearses this
    assert (code, "it has no link socket" in said) == (1, True), said
    code, said = await command(capsys, socket, "stop-rehearsal", slug)
    assert (code, "No seats of this workshop are being rehearsed." in said) == (1, True), said
    code, said = await command(capsys, socket, "--as", "robot.w.1", "rehearse", slug)
    assert (code, "robots of rehearsals" in said) == (1, True), said
    assert await command(capsys, socket, "rehearsals", slug) == (0, "")
    assert (await command(capsys, socket, "cancel", slug))[1] == f"{slug} is cancelled.\n"
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 60) == 0


async def test_the_command_says_what_a_wave_costs_before_it_begins(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = BEGIN
    given: dict[str, Any] = {
        "number": 1,
        "factory": "one",
        "size": "gpu-1",
        "costs": WaveCost(seats=60, minutes=18, gpu_hours=18.01),
    }
    runs = RehearsalView(
        kind="wave", at=now, by="tina", until=now, wave=WaveSummary(seats=60, asked=30, up=20, failed=1)
    )
    line = RehearsalLine(check="wave", colour="green", text="60 of 60 seats could be opened.")
    done = runs.model_copy(update={"ended": now, "colour": "green", "lines": (line,), "number": "a" * 12})
    steps = [
        RehearsalsView(places=(PlaceRehearsals(**given, wave=one),), running=one is runs) for one in (None, runs, done)
    ]
    said = list[str]()

    class Client:
        async def rehearsals(self, _caller: WorkshopCaller, _slug: str) -> RehearsalsView:
            return steps.pop(0)

        async def rehearse(self, _caller: WorkshopCaller, _slug: str, _body: object) -> RehearsalsView:
            said.append(capsys.readouterr().out)  # what was said before it began
            return steps.pop(0)

    monkeypatch.setattr(commands, "REHEARSAL_SECONDS", 0)
    options = argparse.Namespace(slug="w", place=1, kind="wave")
    await commands._rehearse(Client(), WorkshopCaller("operator"), options)  # type: ignore[arg-type]
    assert said == ["60 seats: at most 18.1 GPU-hours, and 18 minutes\n"]
    assert capsys.readouterr().out.splitlines() == [
        "20 of 60 can be opened, 1 failed, 0 were refused",
        f"plan A, one, wave: green, 2026-11-28 08:00 UTC (tina) {'a' * 12}",
        "green   60 of 60 seats could be opened.",
    ]


async def test_commands_name_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = await command(capsys, tmp_path / "none.sock", "list")
    assert (code, "cannot be asked" in said) == (1, True)
    file = plan(tmp_path)
    file.write_text(file.read_text().replace("seats: 2", "seats: many"))
    code, said = await command(capsys, tmp_path / "none.sock", "create", str(file), "--trainer", "tina")
    assert (code, f"{file}:" in said, "seats" in said) == (1, True, True), said


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"approval": "maybe"}, "approval: 'maybe'"),
        ({"state_dir": "/proc/none"}, "state_dir cannot be used"),
    ],
)
async def test_a_service_that_cannot_start_says_why(tmp_path: Path, fields: dict[str, str], says: str) -> None:
    process = await start(write_config(tmp_path, **fields))
    _, said = await process.communicate()
    assert process.returncode == 2
    assert says.encode() in said
    assert b"Traceback" not in said


async def test_the_room_outlives_a_killed_link(tmp_path: Path) -> None:
    of_link = link_process.link_yaml(tmp_path)
    files = {"table": "workshops-projects.json", "pools": "workshop-pools.yaml", "socket": "link.sock"}
    of_link.write_text(yaml.safe_dump(yaml.safe_load(of_link.read_text()) | {"workshops": files}))
    config = write_config(
        tmp_path, listen_port=ports.single(), state_dir="of-service", approval="none", link={"socket": "link.sock"}
    )
    (tmp_path / "workshop-pools.yaml").write_text(yaml.safe_dump({"pools": POOLS["pools"][:1]}))
    link, service = await link_process.start(of_link), await start(config)
    await until_up(service)
    client = WorkshopsClient(tmp_path / "workshops.sock")
    day = datetime.now(UTC) + timedelta(days=1)
    times = {name: (day + timedelta(hours=by)).isoformat() for by, name in enumerate(("opens", "starts", "ends"))}
    slug = (await client.create(OPERATOR, body(**times, closes=times["ends"]))).slug

    async def troubled(whether: bool) -> None:
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(WorkshopsProblem, WorkshopsSilent):
                    view, room = await client.one(OPERATOR, slug), await client.room(OPERATOR, slug)
                    if view.state == "scheduled" and (room.trouble is not None) is whether:
                        return
                await asyncio.sleep(0.2)

    await troubled(False)
    link.kill()
    await link.wait()
    await troubled(True)
    assert len((await client.room(OPERATOR, slug)).seats) == 6
    link = await link_process.start(of_link)
    await troubled(False)
    await client.close()
    for process in (service, link):
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert b"Traceback" not in await process.stderr.read()
        assert await asyncio.wait_for(process.wait(), 60) == 0
