"""The link as a process, and the operator's command: their messages about mistakes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import sys
from pathlib import Path
from typing import IO

import httpx
import pytest
import yaml

from factorycommon.models import AccessStatus, PersonBody
from factorylink.cli import main as cli
from factorylink.client import LinkClient
from testbed import ports
from tests.unit.fake_factory import factory
from tests.unit.hub_process import ROOT


def link_yaml(folder: Path) -> Path:
    """Write a configuration with one factory whose scheduler does not exist; return the file's path."""
    catalogue = folder / "factories"
    catalogue.mkdir()
    (catalogue / "one.yaml").write_text(yaml.safe_dump(factory().model_dump(mode="json", exclude_none=True)))
    (folder / "token").write_text("token")
    config = {
        "catalogue": "factories",
        "state_dir": "state",
        "socket": "state/hub.sock",
        "listen_port": ports.single(),
        "hub": {"url": "http://127.0.0.1:1", "token_file": "token"},
        "factories": {"one": {"account_pool": ["nobody"], "transport": {"env": {"SLURM_CONF": "/nowhere"}}}},
    }
    (folder / "link.yaml").write_text(yaml.safe_dump(config))
    return folder / "link.yaml"


async def start(config: Path, stderr: IO[bytes] | int = asyncio.subprocess.PIPE) -> asyncio.subprocess.Process:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "spawners")}
    argv = (sys.executable, "-m", "factorylink", "--config", str(config))
    return await asyncio.create_subprocess_exec(*argv, env=env, stderr=stderr)


async def test_only_one_link_runs_and_it_ends_on_sigterm(tmp_path: Path) -> None:
    config = link_yaml(tmp_path)
    first = await start(config)
    assert first.stderr is not None
    async for line in first.stderr:
        if b"The link is up" in line:
            break
    state = tmp_path / "state"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    for name in ("hub.sock", "back.sock", "hmac.key", "link_ed25519", "ledger.sqlite"):
        assert stat.S_IMODE((state / name).stat().st_mode) == 0o600, name

    second = await start(config)
    _, said = await second.communicate()
    assert second.returncode == 2
    assert b"Another link runs" in said

    first.send_signal(signal.SIGTERM)
    rest = await first.stderr.read()
    assert await asyncio.wait_for(first.wait(), 60) == 0
    assert b"Traceback" not in rest
    assert not (state / "hub.sock").exists()


async def test_the_link_knows_its_projects_and_people(tmp_path: Path) -> None:
    config = link_yaml(tmp_path)
    told = yaml.safe_load(config.read_text()) | {"projects": "projects.yaml", "apply_url": "https://apply.example/"}
    config.write_text(yaml.safe_dump(told))
    projects = tmp_path / "projects.yaml"
    projects.write_text("projects: [{id: P-1, groups: [g], factories: {mars: {}}}]")
    process = await start(config)
    assert process.stderr is not None
    said = b""
    async for line in process.stderr:
        said += line
        if b"The link is up" in line:
            break
    assert b"factories.mars: not in the catalogue; allowed: one" in said
    client = LinkClient(tmp_path / "state" / "hub.sock")
    told_now = (await client.ready("ada")).nothing
    assert told_now is not None
    assert told_now.code == "projects-unknown"
    await client.put_person("ada", PersonBody(groups=frozenset({"g"}), access=AccessStatus()))
    projects.write_text("projects: [{id: P-1, groups: [g], gpu_hours: 9, factories: {one: {}}}]")
    async with asyncio.timeout(60):
        while not (mine := await client.projects("ada")):  # the file is read again from time to time
            await asyncio.sleep(0.1)
    assert [(view.id, view.left) for view in mine] == [("P-1", 9.0)]
    assert (await client.ready("ada")).nothing is None
    assert [view.projects for view in await client.factories("ada")] == [("P-1",)]
    told_now = (await client.ready("ben")).nothing
    assert told_now is not None
    assert told_now.do.endswith("https://apply.example/")
    await client.close()
    process.send_signal(signal.SIGTERM)
    assert b"Traceback" not in await process.stderr.read()
    assert await asyncio.wait_for(process.wait(), 60) == 0


async def test_the_workshops_service_has_a_socket_of_its_own(tmp_path: Path) -> None:
    config = link_yaml(tmp_path)
    (tmp_path / "pools.yaml").write_text("pools: []")
    files = {"table": "table.json", "pools": "pools.yaml", "socket": "workshops.sock"}
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"workshops": files}))
    process = await start(config)
    assert process.stderr is not None
    async for line in process.stderr:
        if b"The link is up" in line:
            break
    socket_of_service = tmp_path / "workshops.sock"
    assert stat.S_IMODE(socket_of_service.stat().st_mode) == 0o660
    transport = httpx.AsyncHTTPTransport(uds=str(socket_of_service))
    async with httpx.AsyncClient(transport=transport, base_url="http://link") as http:
        assert (await http.get("/health")).json() == {"status": "ok"}
        assert (await http.get("/table")).status_code == 404  # that is the hub's
        assert (await http.get("/projects/workshop-x/sessions")).status_code == 404
    process.send_signal(signal.SIGTERM)
    assert b"Traceback" not in await process.stderr.read()
    assert await asyncio.wait_for(process.wait(), 60) == 0
    assert not socket_of_service.exists()


def has_version_6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


@pytest.mark.skipif(not has_version_6(), reason="this machine has no address ::1")
async def test_the_link_listens_on_an_ipv6_address(tmp_path: Path) -> None:
    config = link_yaml(tmp_path)
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), "listen_host": "::1"}))
    process = await start(config)
    assert process.stderr is not None
    async for line in process.stderr:
        if b"The link is up" in line:
            break
    back = httpx.AsyncHTTPTransport(uds=str(tmp_path / "state" / "back.sock"))
    async with httpx.AsyncClient(transport=back, base_url="http://back", timeout=60) as session:  # as a door sends it
        answer = await session.get("/services/factories/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 60) == 0


async def test_a_wrong_configuration_is_said_in_words(tmp_path: Path) -> None:
    config = link_yaml(tmp_path)
    config.write_text(config.read_text().replace("listen_port", "listen_prot"))
    process = await start(config)
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"listen_prot" in said
    assert b"Traceback" not in said


def test_the_operator_s_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FACTORYGATE_SOCKET", raising=False)
    config = link_yaml(tmp_path)
    assert cli.main(["catalogue", "check", str(tmp_path / "factories"), "--link", str(config)]) == 0
    assert "one" in capsys.readouterr().out
    assert cli.main(["catalogue", "check", str(tmp_path / "nothing")]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert cli.main(["sessions", "list"]) == 2
    assert "FACTORYGATE_SOCKET" in capsys.readouterr().err
    assert cli.main(["--socket", str(tmp_path / "nobody.sock"), "factory", "drain", "one", "Later."]) == 1
    assert "link" in capsys.readouterr().err
