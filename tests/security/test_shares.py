"""No person and no site account uses up what others need: commands, logins, estimates, event streams."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import asyncssh
import pytest

from factorycommon.service.stream_limits import StreamLimits
from factorylink.config import Access
from factorylink.config import LocalTransportSettings as Settings
from factorylink.errors import FactoryError, Unreachable
from factorylink.explain import explain
from factorylink.problems import ProblemError, of_words
from factorylink.schedulers.command import Command, done
from factorylink.schedulers.slurm import dialect as slurm
from factorylink.site.site import Site
from factorylink.transports.command_slots import CommandSlots
from factorylink.transports.local import LocalTransport
from factorylink.transports.ssh import login as ssh_login
from factorylink.transports.ssh import pool as ssh_pool
from factorylink.transports.ssh.login import LoginPace
from factorylink.transports.ssh.pool import ConnectionKind, Pool
from factorylink.util.rate_limiter import RateLimiter
from tests.support.sshd import open_folder
from tests.unit.fake_factory import factory
from tests.unit.test_local_transport import shell
from tests.unit.test_slurm import request

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root acts as several accounts")


@pytest.fixture
def public() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


@as_root
async def test_fifos_of_one_account_keep_no_other_account_waiting(public: Path) -> None:
    fifos = [public / f"cluster-{number}.json" for number in range(100)]
    for fifo in fifos:
        os.mkfifo(fifo, 0o644)
    transport = LocalTransport(Settings())
    reading = [asyncio.create_task(transport.read("nobody", str(fifo))) for fifo in fifos]
    await asyncio.sleep(0)
    assert await transport.run(shell("echo mine"), "daemon") == "mine\n"
    assert await transport.run(shell("echo watcher")) == "watcher\n"
    assert not any(task.done() for task in reading)
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)
    await transport.close()


async def test_an_account_has_a_share_of_the_commands_and_the_watcher_its_own() -> None:
    slots, running, most = CommandSlots(total=4, share=2, watcher=1), dict[str | None, int](), dict[str | None, int]()
    end = asyncio.Event()

    async def command(account: str | None) -> None:
        async with slots.of(account):
            running[account] = running.get(account, 0) + 1
            most[account] = max(most.get(account, 0), running[account])
            await end.wait()
            running[account] -= 1

    accounts: list[str | None] = ["ada"] * 50 + ["ben"] * 3 + [None] * 2
    tasks = [asyncio.create_task(command(account)) for account in accounts]
    while most.get(None) != 1 or most.get("ben") != 2:
        await asyncio.sleep(0)
    assert most == {"ada": 2, "ben": 2, None: 1}
    end.set()
    await asyncio.gather(*tasks)
    assert not slots._accounts  # no data about past accounts is kept


@as_root
async def test_an_account_whose_commands_hang_keeps_no_other_from_submitting(public: Path) -> None:
    """The account's own submissions wait for the account's slots, not for the shared ones."""
    fifo = public / "fifo"
    os.mkfifo(fifo, 0o644)
    # On a busy machine sbatch may take so long that the site asks whether the controller answers.
    for name, says in (("sbatch", "7"), ("scontrol", "Slurmctld(primary) at host is UP")):
        program = public / name
        program.write_text(f"#!/bin/sh\necho '{says}'\n")
        program.chmod(0o755)
    transport = LocalTransport(Settings(env={"PATH": f"{public}:/usr/bin:/bin"}))
    site = Site(factory(), Access(), transport, slurm, "hub")
    hangs = Command(("cat", str(fifo)), parse=done, timeout=60)
    hanging = [asyncio.create_task(transport.run(hangs, "nobody")) for _ in range(50)]
    await asyncio.sleep(0)
    hanging += [asyncio.create_task(site.submit("nobody", request())) for _ in range(20)]
    await asyncio.sleep(0)
    assert await site.submit("daemon", request()) == "7"
    assert not any(task.done() for task in hanging)
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
    await transport.close()


async def test_one_login_name_does_not_use_up_the_logins_of_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_login, "LONGEST_TURN", 0.1)
    pace = LoginPace(20)
    for _ in range(5):
        await pace.turn(watcher=False, name="ada")
    with pytest.raises(Unreachable):
        await pace.turn(watcher=False, name="ada")
    for name in ("ben", "cleo"):
        for _ in range(5):
            await pace.turn(watcher=False, name=name)
    await pace.turn(watcher=True)
    for _ in range(2):  # a service account's connections are shared
        await pace.turn(watcher=False)
    with pytest.raises(Unreachable):
        await pace.turn(watcher=False)
    await pace.turn(watcher=True)


async def test_connections_that_close_right_after_the_login_cost_few_logins(monkeypatch: pytest.MonkeyPatch) -> None:
    now, logins = 0.0, list[float]()
    monkeypatch.setattr(ssh_pool, "time", SimpleNamespace(monotonic=lambda: now))
    dropped: list[Callable[[], None]] = []

    async def enter(on_lost: Callable[[], None]) -> asyncssh.SSHClientConnection:
        logins.append(now)
        dropped.append(on_lost)
        return cast("asyncssh.SSHClientConnection", SimpleNamespace(close=lambda: None, abort=lambda: None))

    pool = Pool(10, 2)
    while now < 60:
        with contextlib.suppress(FactoryError):
            (await pool.take(ConnectionKind.COMMAND, enter)).release(opened=False)
        for drop in dropped:
            drop()
        dropped.clear()
        now += 0.5
    assert 5 < len(logins) <= 12
    now += 60
    (await pool.take(ConnectionKind.COMMAND, enter)).release(opened=False)
    now += ssh_pool.STEADY
    dropped.pop()()
    # a successful connection resets the count of failures
    (await pool.take(ConnectionKind.COMMAND, enter)).release(opened=False)
    assert logins[-1] == now


def test_a_rate_limiter_keeps_people_apart() -> None:
    limiter = RateLimiter(burst=3, per_minute=60)
    assert [limiter.wait("ada", 0.0) for _ in range(4)] == [0, 0, 0, 1]
    assert limiter.wait("ben", 0.0) == 0
    assert limiter.wait("ada", 0.5) == 0.5
    assert limiter.wait("ada", 1.0) == 0
    assert [limiter.wait("ada", 100.0) for _ in range(4)] == [0, 0, 0, 1]
    for number in range(5000):
        limiter.wait(str(number), 200.0 + number)
    assert len(limiter._full_at) < 2000


async def test_a_person_holds_so_many_streams_at_a_time() -> None:
    streams, end = StreamLimits(3, lambda: of_words("too-many", explain.own("too-many-streams"))), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await end.wait()

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(_message: Any) -> None:
        return

    scope = {"type": "http", "asgi": {"spec_version": "2.4"}}
    open_ = [asyncio.create_task(streams.events("ada", body())(scope, receive, send)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(ProblemError) as caught:
        streams.events("ada", body())
    assert (caught.value.status, caught.value.problem.code) == (429, "too-many-streams")
    other = streams.events("ben", body())
    open_[0].cancel()
    await asyncio.gather(open_[0], return_exceptions=True)
    open_.append(asyncio.create_task(streams.events("ada", body())(scope, receive, send)))
    end.set()
    await asyncio.gather(*open_, other(scope, receive, send), return_exceptions=True)
    assert not streams._open
