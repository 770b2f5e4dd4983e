"""The connections of the SSH transport, with real sshds: their number, their targets, jump hosts, and failures."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import asyncssh
import pytest
import pytest_asyncio

from factorylink.config import address
from factorylink.credentials.base import Login
from factorylink.credentials.key import KeyFiles
from factorylink.errors import Distrusted, Expired, NotLetIn, Refused, Unreachable
from factorylink.transports.host_keys import pinned
from factorylink.transports.ssh import login as ssh_login
from factorylink.transports.ssh import pool as ssh_pool
from factorylink.transports.ssh.login import LoginPace
from factorylink.transports.ssh.pool import ConnectionKind, Pool
from factorylink.transports.ssh.transport import SshTransport
from factorylink.util import rate_limiter
from tests.support.sshd import ACCOUNTS, ME, PATIENCE, PROGRAM, Sshd, open_folder, public, shell, transport_to, until
from tests.unit.virtual_time import JumpingLoop

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="openssh-server is not installed")

Server = Callable[..., Sshd]


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    """Return a function that makes servers, which end with the test; none is started yet."""
    made: list[Sshd] = []

    def make(**options: str) -> Sshd:
        made.append(one := Sshd(folder / f"sshd{len(made)}", **options))
        return one

    yield make
    for one in made:
        one.kill()


class Closing:
    """Makes transports that are closed at the end of the test."""

    def __init__(self) -> None:
        self.made: list[SshTransport] = []

    def __call__(self, sshd: Sshd, **told: object) -> SshTransport:
        return self.keep(transport_to(sshd.settings(**told), sshd.keys))

    def keep(self, one: SshTransport) -> SshTransport:
        self.made.append(one)
        return one


@pytest_asyncio.fixture
async def to() -> AsyncIterator[Closing]:
    closing = Closing()
    yield closing
    for one in closing.made:
        await one.close()


# --- the number of connections


async def test_fifty_commands_at_once_keep_within_max_sessions(server: Server, to: Closing, folder: Path) -> None:
    sshd = await server(MaxSessions="4", LogLevel="DEBUG1").start()
    transport = to(sshd, max_sessions=4, max_connections=2)
    text = f"mkdir {folder}/on-$0; ls -d {folder}/on-* | wc -l; sleep 0.05; rmdir {folder}/on-$0"
    asks = [dataclasses.replace(shell(""), argv=("/bin/sh", "-c", text, str(number))) for number in range(50)]
    seen = [int(told) for told in await asyncio.gather(*map(transport.run, asks))]
    assert len(seen) == 50 and max(seen) <= 8
    assert sshd.logins() == 2
    assert sshd.log.read_text().count("no more sessions") <= 5  # a loaded sshd may notice an end too late


async def test_a_server_with_fewer_places_than_we_were_told(server: Server, to: Closing) -> None:
    transport = to(await server(MaxSessions="3").start(), max_sessions=10, max_connections=1)
    told = await asyncio.gather(*(transport.run(shell(f"sleep 0.05; echo {n}")) for n in range(30)))
    assert told == [f"{n}\n" for n in range(30)]


async def test_a_server_that_runs_no_commands_at_all(server: Server, to: Closing) -> None:
    transport = to(await server(MaxSessions="0").start())
    with pytest.raises(Unreachable, match="no place"):
        await transport.run(shell("true"))


async def test_all_that_come_at_once_share_one_login(server: Server, to: Closing) -> None:
    sshd = await server().start()
    transport = to(sshd)
    await asyncio.gather(*(transport.run(shell("true"), account) for account in (None, ME, None, ME)))
    assert sshd.logins() == 1


async def test_accounts_have_connections_of_their_own(server: Server, to: Closing) -> None:
    if len(ACCOUNTS) == 1:
        pytest.skip("needs root, for several site accounts")
    transport = to(await server().start())
    told = await asyncio.gather(*(transport.run(shell("id -un"), account) for account in ACCOUNTS))
    assert told == [f"{account}\n" for account in ACCOUNTS]


async def test_logins_in_a_minute(server: Server, to: Closing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_login, "MINUTE", 2.0)
    sshd = await server().start()
    keys = KeyFiles(sshd.keys, ME)
    many = [to.keep(transport_to(sshd.settings(logins_per_minute=3), keys))]
    gate = many[0]._gate
    for _ in range(3):  # more pools than one transport has accounts here
        other = to.keep(transport_to(sshd.settings(), keys))
        other._gate = gate
        many.append(other)
    began = time.monotonic()
    await asyncio.gather(*(transport.run(shell("true")) for transport in many))
    assert time.monotonic() - began >= 2.0
    assert sshd.logins() == 4


async def test_the_last_logins_are_the_watchers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_login, "LONGEST_TURN", 0.1)
    pace = LoginPace(5)
    for _ in range(3):
        await pace.turn(watcher=False)
    with pytest.raises(Unreachable, match="logins_per_minute"):
        await pace.turn(watcher=False)
    await pace.turn(watcher=True)
    await pace.turn(watcher=True)
    with pytest.raises(Unreachable):
        await pace.turn(watcher=True)


async def test_a_class_does_not_log_in_all_at_once() -> None:
    pace, now, most, let_go = LoginPace(1000), 0, 0, asyncio.Event()

    async def login(name: str) -> None:
        nonlocal now, most
        async with pace.login(watcher=False, name=name):
            now += 1
            most = max(most, now)
            await let_go.wait()
            now -= 1

    logins = asyncio.gather(*(login(f"account{number}") for number in range(30)))
    while now < ssh_login.AT_ONCE:
        await asyncio.sleep(0)
    async with asyncio.timeout(60), pace.login(watcher=True):  # which waits for none of them
        let_go.set()
    await logins
    assert most == ssh_login.AT_ONCE


async def test_a_failed_login_makes_room_for_the_next() -> None:
    pace = LoginPace(1000)
    for _ in range(2 * ssh_login.AT_ONCE):
        with pytest.raises(ConnectionResetError):
            async with pace.login(watcher=False, name="account"):
                raise ConnectionResetError


async def test_an_idle_connection_is_closed_and_made_again(
    server: Server, to: Closing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_pool, "IDLE", 1.0)
    sshd = await server().start()
    transport = to(sshd)
    await transport.run(shell("sleep 2"))  # not idle
    assert sshd.logins() == 1
    assert await until(lambda: "Disconnected from user" in sshd.log.read_text())
    await transport.run(shell("true"))
    assert sshd.logins() == 2


class Bare:
    """A connection that can only be closed, since the pool uses nothing else of it."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True

    abort = close

    async def wait_closed(self) -> None:
        return


def test_a_second_refusal_of_a_channel_counts_from_its_own_time() -> None:
    async def refused_twice() -> None:
        connection = ssh_pool.Connection(cast(asyncssh.SSHClientConnection, Bare()), 4, lambda: None)
        connection.used[ConnectionKind.COMMAND] = 3
        connection.shrink()
        await asyncio.sleep(ssh_pool.SHRUNK - 1)
        connection.used[ConnectionKind.COMMAND] = 2
        connection.shrink()
        await asyncio.sleep(ssh_pool.SHRUNK - 1)
        assert connection.most == 2
        await asyncio.sleep(2)
        assert connection.most == 4

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(refused_twice())


def test_a_connection_in_use_is_not_closed_for_having_been_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_pool, "SHRUNK", ssh_pool.IDLE / 4)

    async def enter(_on_lost: Callable[[], None]) -> asyncssh.SSHClientConnection:
        return cast(asyncssh.SSHClientConnection, bare)

    async def used_again() -> None:
        pool = Pool(4, 1)
        used, refused = await pool.take(ConnectionKind.COMMAND, enter), await pool.take(ConnectionKind.COMMAND, enter)
        refused.refused()
        used.release(opened=False)  # the connection is idle from now on
        await asyncio.sleep(ssh_pool.IDLE / 2)
        again = await pool.take(ConnectionKind.COMMAND, enter)
        await asyncio.sleep(2 * ssh_pool.IDLE)
        assert not bare.closed
        again.release(opened=False)
        await asyncio.sleep(2 * ssh_pool.IDLE)
        assert bare.closed

    bare = Bare()
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(used_again())


# --- targets


async def test_another_host_key_is_refused_and_reported(
    server: Server, to: Closing, caplog: pytest.LogCaptureFixture
) -> None:
    sshd, other = await server().start(), await server().start()
    transport, beside = to(sshd), to(other)
    assert await transport.run(shell("echo x")) == "x\n"
    sshd.kill()
    sshd.new_host_key()
    await sshd.start()
    with pytest.raises(Distrusted, match="somebody pretends"):
        await transport.run(shell("touch never"))
    with pytest.raises(Distrusted):
        await transport.run(shell("touch never"))
    assert sshd.logins() == 1  # the first login
    assert any(record.levelno == logging.ERROR and "host key" in record.message for record in caplog.records)
    assert await beside.run(shell("echo well")) == "well\n"


async def test_a_host_with_a_key_of_another_kind_is_distrusted(server: Server, to: Closing) -> None:
    sshd = server()
    was = sshd.public
    sshd.new_host_key("ssh-rsa")
    await sshd.start()
    with pytest.raises(Distrusted):
        await to(sshd, host_keys=[was]).run(shell("true"))


async def test_the_kind_of_key_that_is_pinned_is_asked_for(server: Server, to: Closing) -> None:
    sshd = server()
    rsa = asyncssh.generate_private_key("ssh-rsa")
    file = sshd.folder / "rsa"
    file.touch(mode=0o600)
    file.write_bytes(rsa.export_private_key())
    sshd.options["HostKey"] = f"{sshd.folder}/host_key\nHostKey {file}"
    await sshd.start()
    assert await to(sshd, host_keys=[public(rsa)]).run(shell("echo x")) == "x\n"


async def test_a_ca_of_hosts(server: Server, to: Closing) -> None:
    sshd, ca = server(), asyncssh.generate_private_key("ssh-ed25519")
    sshd.sign_host_key(ca, "127.0.0.1")
    await sshd.start()
    assert await to(sshd, host_keys=[], host_cas=[public(ca)]).run(shell("echo x")) == "x\n"
    with pytest.raises(Distrusted):  # of another CA
        await to(sshd, host_keys=[], host_cas=[sshd.public]).run(shell("true"))


async def test_a_ca_signs_for_names(server: Server, to: Closing) -> None:
    sshd, ca = server(), asyncssh.generate_private_key("ssh-ed25519")
    sshd.sign_host_key(ca, "login.example.org")
    await sshd.start()
    with pytest.raises(Distrusted):
        await to(sshd, host_keys=[], host_cas=[public(ca)]).run(shell("true"))


def test_missing_host_keys_are_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"transport\.host_keys"):
        pinned(((), ()), ((), ()))
    with pytest.raises(ValueError, match="cannot be read"):
        pinned((("ssh-ed25519 AAAA",), ()), ((), ()))
    key = public(asyncssh.generate_private_key("ssh-ed25519"))
    assert pinned(((), ()), ((), (key,))).cas and not pinned(((key,), ()), ((), (key,))).cas


async def test_a_site_that_does_not_let_us_in(server: Server, to: Closing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_pool, "REFUSED_PAUSE", 600.0)
    sshd = await server(AllowUsers="nobody-else").start()
    transport = to(sshd)
    with pytest.raises(NotLetIn, match=f"does not let us in as {ME}"):
        await transport.run(shell("true"))
    refused = sshd.log.read_text().count("not listed in AllowUsers")
    with pytest.raises(Unreachable, match=f"does not let us in as {ME}"):
        await transport.run(shell("true"))
    assert sshd.log.read_text().count("not listed in AllowUsers") == refused  # it was not asked again at once


@pytest.mark.parametrize(
    ("pool", "longest", "most"),
    [
        (Pool(10, 2, ssh_pool.LONGEST_PAUSE), 0.9 * rate_limiter.IDLE, 60),
        (Pool(10, 2), 1.3 * ssh_pool.LONGEST_REFUSED, 11),
    ],
    ids=["the watcher", "an account"],
)
async def test_a_site_that_lets_us_in_again_is_found_out(
    monkeypatch: pytest.MonkeyPatch, pool: Pool, longest: float, most: int
) -> None:
    """The watcher finds out soon; an account finds out later, so that its attempts cost other accounts no logins."""
    now, tries = 0.0, list[float]()
    monkeypatch.setattr(ssh_pool, "time", SimpleNamespace(monotonic=lambda: now))

    async def enter(_on_lost: Callable[[], None]) -> asyncssh.SSHClientConnection:
        tries.append(now)
        raise NotLetIn("not now")

    while now < 600:
        with pytest.raises(NotLetIn):
            await pool.take(ConnectionKind.COMMAND, enter)
        now += 0.5
    pauses = [after - before for before, after in itertools.pairwise(tries)]
    assert 1 <= pauses[0] <= 3
    assert 10 <= max(pauses) <= longest
    assert len(tries) < most


class Fading:
    """Credentials that expire on command."""

    def __init__(self, inner: KeyFiles) -> None:
        self.inner = inner
        self.expired = False

    async def login(self, account: str | None) -> Login:
        if self.expired:
            raise Expired("Log in at the site anew.")
        return await self.inner.login(account)

    def valid_until(self, account: str | None) -> datetime | None:
        return datetime.now(UTC)


async def test_an_expired_login_ends_no_connection_and_makes_none(server: Server, to: Closing) -> None:
    sshd = await server().start()
    fading = Fading(KeyFiles(sshd.keys, ME))
    transport = to.keep(transport_to(sshd.settings(), fading))
    await transport.run(shell("true"))
    fading.expired = True
    assert await transport.run(shell("echo on")) == "on\n"
    sshd.kill()
    await sshd.start()
    with pytest.raises(Expired, match="Log in at the site"):
        await transport.run(shell("true"))
    fading.expired = False
    assert await transport.run(shell("echo again")) == "again\n"  # at once, since this was no failure of the site


# --- jump hosts


async def test_by_way_of_a_jump_host(server: Server, to: Closing) -> None:
    jump, inner = await server().start(), await server().start()
    (inner.folder / "authorized_keys").write_bytes(jump.key.export_public_key())
    transport = to(jump, hosts=[inner.host], jump=[jump.host], host_keys=[jump.public, inner.public])
    assert await transport.run(shell("echo x")) == "x\n"
    assert (jump.logins(), inner.logins()) == (1, 1)
    await transport.close()
    assert await until(
        lambda: jump.log.read_text().count("Connection closed by") + jump.log.read_text().count("Close session") > 0
    )


async def test_a_jump_host_that_forwards_nothing(server: Server, to: Closing) -> None:
    jump = await server(AllowTcpForwarding="no").start()
    with pytest.raises(Unreachable, match="jump host"):
        await to(jump, jump=[jump.host]).run(shell("true"))


async def test_the_next_login_host_and_the_one_that_worked_last(server: Server, to: Closing) -> None:
    first, second = server(), await server().start()
    (first.folder / "authorized_keys").write_bytes(second.key.export_public_key())
    transport = to(second, hosts=[first.host, second.host], host_keys=[first.public, second.public])
    assert await transport.run(shell("echo x")) == "x\n"
    await first.start()
    second.kill()
    await second.start()
    assert await transport.run(shell("echo y")) == "y\n"
    assert (first.logins() if first.log.exists() else 0, second.logins()) == (0, 2)
    second.kill()
    assert await transport.run(shell("echo z")) == "z\n"
    assert first.logins() == 1


async def test_a_distrusted_login_host_is_passed_over(
    server: Server, to: Closing, caplog: pytest.LogCaptureFixture
) -> None:
    false, true = await server().start(), await server().start()
    transport = to(true, hosts=[false.host, true.host], host_keys=[true.public])
    assert await transport.run(shell("echo x")) == "x\n"
    assert "not the one written down" in caplog.text


def test_addresses() -> None:
    assert address("login.example.org") == ("login.example.org", 22)
    assert address("login.example.org:2222") == ("login.example.org", 2222)
    assert address("2001:db8::1") == ("2001:db8::1", 22)


# --- failures


async def test_a_server_killed_and_started_again(server: Server, to: Closing) -> None:
    sshd = await server().start()
    transport = to(sshd)
    assert await transport.run(shell("echo x")) == "x\n"
    sshd.kill()
    with pytest.raises(Unreachable, match="Connection refused"):
        await transport.run(shell("true"))
    await sshd.start()

    async def again() -> str:
        while True:
            try:
                return await transport.run(shell("echo y"))
            except Unreachable:  # until the pause after the failure is over
                await asyncio.sleep(0.05)

    assert await asyncio.wait_for(again(), PATIENCE) == "y\n"


async def test_a_server_that_falls_silent(server: Server, to: Closing) -> None:
    sshd = await server().start()
    transport = to(sshd, keepalive_seconds=1)
    await transport.run(shell("true"))
    running = asyncio.create_task(transport.run(shell("sleep 600", timeout=600)))
    assert await until(lambda: sshd.log.read_text().count("Starting session") == 2)
    sshd.stop_answering()
    with pytest.raises(Unreachable, match="lost"):
        await asyncio.wait_for(running, PATIENCE)


async def test_a_site_that_hangs_costs_its_own_only(server: Server, to: Closing) -> None:
    silent, well = server(), await server().start()
    taken: list[object] = []  # and no warning is logged
    listener = await asyncio.start_server(lambda *streams: taken.append(streams), "127.0.0.1", silent.port)
    hanging = asyncio.create_task(to(silent, connect_seconds=1).run(shell("true")))
    assert await to(well).run(shell("echo x")) == "x\n"
    with pytest.raises(Unreachable, match="within 1 s"):
        await hanging
    listener.close()


async def test_failures_are_told_at_once_until_the_pause_is_over(
    server: Server, to: Closing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_pool, "FIRST_PAUSE", 60.0)
    sshd = server()
    transport = to(sshd)
    with pytest.raises(Unreachable, match="refused"):
        await transport.run(shell("true"))
    await sshd.start()
    with pytest.raises(Unreachable, match="refused"):
        await transport.run(shell("true"))
    assert sshd.logins() == 0


async def test_closing_ends_what_runs(server: Server, to: Closing, folder: Path) -> None:
    transport = to(await server().start())
    pid = folder / "pid"
    text = f"sleep 600 & echo $! > {pid}.new; mv {pid}.new {pid}; wait"
    running = asyncio.create_task(transport.run(shell(text, timeout=600)))
    assert await until(pid.exists)
    await transport.close()
    assert await until(lambda: not Path(f"/proc/{pid.read_text().strip()}").exists())
    with pytest.raises(Unreachable):
        await asyncio.wait_for(running, PATIENCE)
    with pytest.raises(Unreachable, match="ends"):
        await transport.run(shell("true"))


async def test_an_account_that_we_have_no_key_for_is_refused(server: Server, to: Closing) -> None:
    with pytest.raises(Refused, match="no key"):
        await to(await server().start()).connect("nobody-here", "node", 1)
