"""The present release takes over a gateway of an earlier version, which was recorded while people worked with it."""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from factorycommon.models import Cluster, Session, SessionState
from factorylink.client import LinkClient
from factorylink.ledger.ledger import Ledger
from testbed import ports
from tests.unit.fake_link import FakeLink
from tests.unit.hub_process import ROOT, Beside, HubProcess, is_ready, is_stopped
from tests.unit.test_link_process import start

RECORDED = Path(__file__).parent / "recorded" / "gateway-2026-11-27"
THEN = 1795801415  # time of the recording, in seconds since the epoch
MOMENT = re.compile(r"\b(?:1\.795[0-9]+e\+09|1795[0-9]{6}(?:\.[0-9]+)?)\b")
ADAS, SECOND = "28f1e05a5b14400c9574436a5bbd39ac", "81b81fc477b444739d6529906450fcf6"
GRACES, EMMYS = "5a21b7a3a6c64b5da0e8039f57677710", "808fc6c4cc0c4dfdb2f1a0743dc8f5c1"
EMMYS_LAST = "2c04ec06131c45339d25d3daff7dabee"  # a session that had ended
CLUSTER = "eec9e12c26bf469f91e27ce07bcb6047"
JOBS = {ADAS: "1", GRACES: "2", EMMYS: "6", SECOND: "7"}
OLD_PORTS = {ADAS: 28333, GRACES: 28334, EMMYS: 28336, SECOND: 28337}
WAITING_WORKER = "8_1"
TOKENS = {"ada": "7e0424c2637744a6bfc8e7ce896fd572", "grace": "22181354dc354699abd8bc5c3645adf0"}
# Answers the dialect's questions to Slurm from files; all other commands are recorded and refused.
SLURM = """\
#!/bin/sh
folder={folder}
case "${{0##*/}} $*" in
  "squeue "*--name=*) echo >>"$folder/asked"; exec cat "$folder/squeue.stdout" ;;
  "squeue "*) exit 0 ;;
  "sinfo "*) exec cat "$folder/sinfo.stdout" ;;
  "scontrol ping") echo "Slurmctld(primary) at srv is UP" ;;
  "scontrol --oneliner show reservation") exit 0 ;;
  *) echo "${{0##*/}} $*" >>"$folder/orders"; exit 1 ;;
esac
"""


def as_of_now(text: str) -> str:
    """Return the text with its recorded times shifted to be as long ago as when they were recorded.

    So the walltimes are not over.
    """
    passed = int(time.time()) - THEN
    return MOMENT.sub(lambda found: repr(float(found[0]) + passed) if "." in found[0] else str(int(found[0]) + passed),
                      text)  # fmt: skip


def load(name: str, path: Path, ports_now: dict[int, int] | None = None) -> None:
    """Restore the recorded database ``name`` to ``path``.

    ``ports_now``: replaces ports that other programs may use here.
    """
    text = as_of_now((RECORDED / name).read_text())
    for old, new in (ports_now or {}).items():
        text = text.replace(f",{old},", f",{new},")
    with sqlite3.connect(path) as db:
        db.executescript(text)
    db.close()


@dataclass
class Link:
    """The present link as a process, with the recorded data."""

    folder: Path
    process: asyncio.subprocess.Process
    client: LinkClient
    ports: dict[str, int]

    async def sessions(self) -> dict[str, Session]:
        return {session.id: session for session in await self.client.sessions(live=True)}

    async def cluster(self) -> Cluster:
        (found,) = await self.client.person_clusters("ada")
        return found

    def orders(self) -> list[str]:
        """Return the orders and other commands that Slurm received."""
        file = self.folder / "orders"
        return file.read_text().splitlines() if file.exists() else []


def slurm_says(folder: Path, job: str, state: str) -> None:
    """Make Slurm's answer show the job in that state; its start or planned start is now."""
    file, now = folder / "squeue.stdout", int(time.time())
    rows = [row.split("|") for row in file.read_text().splitlines(keepends=True)]
    (row,) = (row for row in rows if row[1].strip() == job)
    for field, value in ((2, state), (5, str(now)), (6, str(now + 3600))):
        row[field] = value.ljust(len(row[field]))
    file.with_suffix(".new").write_text("".join("|".join(fields) for fields in rows))
    file.with_suffix(".new").replace(file)


@pytest_asyncio.fixture
async def link(tmp_path: Path) -> AsyncIterator[Link]:
    state, programs = tmp_path / "state", tmp_path / "bin"
    state.mkdir(mode=0o700)
    programs.mkdir()
    for name in ("squeue", "sinfo", "scontrol", "sbatch", "scancel", "sacct", "srun"):
        (programs / name).write_text(SLURM.format(folder=tmp_path))
        (programs / name).chmod(0o755)
    for name in ("squeue.stdout", "sinfo.stdout"):
        (tmp_path / name).write_text(as_of_now((RECORDED / name).read_text()))
    ports_now = {session: ports.single() for session in OLD_PORTS}
    load("ledger.sql", state / "ledger.sqlite", {OLD_PORTS[session]: port for session, port in ports_now.items()})
    (state / "hmac.key").write_bytes((RECORDED / "hmac.key").read_bytes())
    for name in ("ledger.sqlite", "hmac.key"):
        (state / name).chmod(0o600)
    (tmp_path / "token").write_text("token")
    people = {name: f"fg-{name}" for name in ("ada", "grace", "emmy")}
    path = f"{programs}:/usr/local/bin:/usr/bin:/bin"
    environment = {"id": "python", "title": "Python", "kind": "venv", "python": "/opt/notebook/bin/python"}
    config = {
        "catalogue": str(ROOT / "hub_config" / "factories"), "state_dir": "state", "socket": "state/hub.sock",
        "listen_port": ports.single(), "hub": {"url": "http://127.0.0.1:1", "token_file": "token", "name": "demo"},
        "session_ports": [1024, 65535],
        "factories": {
            "it4lia": {
                "transport": {"kind": "local", "env": {"PATH": path}}, "account_pool": list(people.values()),
                "accounts": people, "testbed": True, "environments": [environment], "job_account": "EUHPC_D00_000",
            }
        },
    }  # fmt: skip
    (tmp_path / "link.yaml").write_text(yaml.safe_dump(config))
    slurm_says(tmp_path, JOBS[EMMYS], "PENDING")  # expected to start now, so that the link asks every second
    with (tmp_path / "log").open("wb") as log:
        process = await start(tmp_path / "link.yaml", log.fileno())
    client = LinkClient(state / "hub.sock")
    found = Link(tmp_path, process, client, ports_now)
    async with asyncio.timeout(60):
        while not (state / "hub.sock").exists():
            assert process.returncode is None, (tmp_path / "log").read_text()
            await asyncio.sleep(0.05)
    yield found
    await client.close()
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    await process.wait()


async def until_answered(link: Link, times: int = 3) -> None:
    """Wait until the link has asked for its jobs more than ``times`` times, and handled all answers but the last."""
    asked = link.folder / "asked"
    async with asyncio.timeout(60):
        while not asked.exists() or len(asked.read_text().splitlines()) <= times:
            await asyncio.sleep(0.1)


async def test_the_new_link_knows_every_session_and_worker_once(link: Link) -> None:
    await until_answered(link)
    sessions = await link.sessions()
    assert {id: session.job for id, session in sessions.items()} == JOBS
    # The nodes with the doors do not exist: running sessions are shown as unreachable, with their earlier state.
    assert {id: session.before or session.state for id, session in sessions.items()} == {
        ADAS: SessionState.RUNNING, GRACES: SessionState.RUNNING, EMMYS: SessionState.PENDING,
        SECOND: SessionState.PENDING,
    }  # fmt: skip
    assert {(session.user, session.server) for session in sessions.values()} == {
        ("ada", ""), ("ada", "second"), ("grace", ""), ("emmy", "")
    }  # fmt: skip
    assert not [session for session in sessions.values() if session.wish != "run"]
    cluster = await link.cluster()
    assert (cluster.id, cluster.name, cluster.session, cluster.state) == (CLUSTER, "kept", ADAS, "live")
    assert cluster.counts == {"running": 2, "pending": 2}
    assert cluster.gpu_hours.per_hour == 2
    assert [session.id for session in await link.client.person_sessions("emmy")] == [EMMYS, EMMYS_LAST]
    warnings = [line for line in (link.folder / "log").read_text().splitlines() if " WARNING " in line]
    assert not warnings, "every job and every comment is known"
    assert link.orders() == [], "nothing is submitted again, and nothing is cancelled"
    for port in link.ports.values():  # the proxy's routes lead to them
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()

    link.process.send_signal(signal.SIGTERM)
    await link.process.wait()
    ledger = Ledger(link.folder / "state" / "ledger.sqlite")
    await ledger.open()
    assert {row.id for row in await ledger.live()} == JOBS.keys()
    actions = [entry.action for entry in await ledger.audited()]
    assert len(actions) == 20, f"nothing was done since: {actions[20:]}"
    charges = await ledger.transact(lambda db: db.exec_driver_sql("SELECT id, ended FROM charges").fetchall())
    tasks = {f"{batch}/{task}" for batch in await batches(ledger) for task in (1, 2)}
    assert {id for id, ended in charges if ended is None} == JOBS.keys() | tasks
    assert {id for id, ended in charges if ended is not None} == {EMMYS_LAST}
    await ledger.close()


async def batches(ledger: Ledger) -> list[str]:
    return await ledger.transact(lambda db: [id for (id,) in db.exec_driver_sql("SELECT id FROM batches")])


async def test_the_link_follows_the_jobs_that_it_took_over(link: Link) -> None:
    await until_answered(link, 1)
    slurm_says(link.folder, JOBS[EMMYS], "RUNNING")
    slurm_says(link.folder, WAITING_WORKER, "RUNNING")
    slurm_says(link.folder, JOBS[GRACES], "COMPLETED")
    async with asyncio.timeout(60):
        while True:
            sessions, cluster = await link.sessions(), await link.cluster()
            began = EMMYS in sessions and sessions[EMMYS].state is SessionState.STARTING
            if began and GRACES not in sessions and cluster.counts == {"running": 3, "pending": 1}:
                break
            await asyncio.sleep(0.1)
    assert sessions.keys() == JOBS.keys() - {GRACES}
    ended = next(session for session in await link.client.person_sessions("grace") if session.id == GRACES)
    assert ended.state is SessionState.ENDED
    assert not [order for order in link.orders() if order.startswith(("sbatch", "scancel"))]


@pytest.mark.asyncio(loop_scope="module")  # the event loop of ``beside``
async def test_the_hub_has_every_server_with_its_token(tmp_path: Path, beside: Beside) -> None:
    link = FakeLink(tmp_path / "link.sock", beside.url)
    runs = {"state": SessionState.RUNNING, "reachable": True, "url": beside.url, "environment_sent": True}
    link.add(ADAS, "ada", **runs)
    link.add(GRACES, "grace", **runs)
    link.add(EMMYS, "emmy")
    link.add(SECOND, "ada", "second")
    link.auto = False
    await link.up()
    load("hub.sql", tmp_path / "hub.sqlite")
    hub = HubProcess(tmp_path, link.socket, beside)
    await hub.up()
    try:
        for user, token in TOKENS.items():
            await hub.until(user, is_ready)
            answer = await hub.api("GET", "/user", token)
            assert (answer.status_code, answer.json()["name"]) == (200, user)
        for user, server, session in (("emmy", "", EMMYS), ("ada", "second", SECOND)):
            await hub.until(user, is_stopped, server)  # forgotten, not stopped: the link starts it again
            path = f"/users/{user}/servers/{server}" if server else f"/users/{user}/server"
            answer = await hub.api("POST", path, hub.service, json={"adopt": session})
            assert answer.status_code == 202, answer.text
            await link.open_door(session)
            await link.until(session, lambda told: told.environment_sent)
            await link.change(session, state=SessionState.RUNNING, reachable=True, url=beside.url)
            await hub.until(user, is_ready, server)
        assert link.requests == {}, "no session was asked for"
        assert link.stops == []
        assert {session.id for session in link.live()} == JOBS.keys()
    finally:
        await hub.kill()
        await hub.http.aclose()
        await link.down()
