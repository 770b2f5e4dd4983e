"""Doors behind a real sshd, with both kinds of streams. The door runs here; only the scheduler is missing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from asyncssh.packet import SSHPacketLogger

from factorylink.doors import port_forwarder
from factorylink.errors import FactoryError
from factorylink.transports.base import ByteStream
from factorylink.transports.ssh.transport import SshTransport
from tests.support.door import SESSION, Files, running_door, until
from tests.support.sshd import ME, PATIENCE, PROGRAM, Sshd, open_folder, transport_to
from tests.unit.test_doorkeeper import KEY, Keeper, start

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="openssh-server is not installed")

# Replaces the bridge that is entered through a scheduler: this door listens on a port, not on a node's socket.
BRIDGE = r"""
import os, socket, sys, threading
door = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def up():
    while data := os.read(0, 65536):
        door.sendall(data)
    door.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while data := door.recv(65536):
    while data:
        data = data[os.write(1, data):]
"""


class Forwarded(Files):
    """A transport that reaches the door by port forwarding."""

    def __init__(self, ssh: SshTransport) -> None:
        super().__init__()
        self._ssh = ssh

    async def connect(self, account: str | None, host: str, port: int) -> ByteStream:
        return await self._ssh.connect(ME, host, port)


class Entered(Forwarded):
    """A transport that reaches the door by a command."""

    async def connect(self, account: str | None, host: str, port: int) -> ByteStream:
        return await self._ssh.enter(ME, ["/usr/bin/python3", "-c", BRIDGE, host, str(port)])


@pytest.fixture
def sshd() -> Iterator[Sshd]:
    with open_folder() as folder:
        made = Sshd(folder / "sshd")
        yield made
        made.kill()


@pytest_asyncio.fixture
async def ssh(sshd: Sshd) -> AsyncIterator[SshTransport]:
    await sshd.start()
    made = transport_to(sshd.settings(), sshd.keys)
    yield made
    await made.close()


@pytest.mark.parametrize("kind", [Forwarded, Entered])
async def test_a_door_is_opened_used_and_opened_again_when_the_login_host_was_away(
    kind: type[Forwarded], sshd: Sshd, ssh: SshTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port_forwarder, "DOOR_WAIT", PATIENCE)
    async with running_door(key=KEY) as door:
        keeper = Keeper(door.folder.parent)
        await keeper.begin(door.folder, transport=kind(ssh))
        await until(lambda: keeper.is_open(SESSION), PATIENCE)
        await start(keeper)
        notebook = json.loads(await keeper.get("/env"))["FACTORYGATE_NOTEBOOK_SOCKET"]
        assert len(await keeper.get("/big")) == 32 << 20
        sshd.kill()
        await until(lambda: not keeper.is_open(SESSION), PATIENCE)
        asked = asyncio.create_task(keeper.get("/env"))  # waits at the session's port
        await sshd.start()
        await until(lambda: keeper.is_open(SESSION), PATIENCE)
        assert json.loads(await asked)["FACTORYGATE_NOTEBOOK_SOCKET"] == notebook
        await keeper.shutdown()


async def test_no_empty_messages_are_sent_between_those_with_bytes(
    ssh: SshTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = set[str]()

    def note(link: SSHPacketLogger, said: str, kind: int, *_: object) -> None:
        messages.add(f"{said} {link._handler_names.get(kind, kind)}")

    async with running_door(key=KEY) as door:
        keeper = Keeper(door.folder.parent)
        await keeper.begin(door.folder, transport=Forwarded(ssh))
        await until(lambda: keeper.is_open(SESSION), PATIENCE)
        await start(keeper)
        monkeypatch.setattr(SSHPacketLogger, "_log_packet", note)  # for each message, except those with data
        assert json.loads(await keeper.get("/env"))
        assert messages >= {"Sent MSG_CHANNEL_OPEN", "Received MSG_CHANNEL_OPEN_CONFIRMATION"}
        # neither the link, through the login host or at the door, nor the door sent one
        assert not [one for one in messages if "MSG_IGNORE" in one]
        await keeper.shutdown()


async def test_many_doors_go_over_one_connection(sshd: Sshd, ssh: SshTransport) -> None:
    async with running_door(key=KEY) as door:
        keepers = [Keeper(door.folder.parent) for _ in range(12)]  # more than MaxSessions
        for keeper in keepers:
            await keeper.begin(door.folder, transport=Forwarded(ssh))
        await until(lambda: all(keeper.is_open(SESSION) for keeper in keepers), PATIENCE)
        assert sshd.logins() == 1
        for keeper in keepers:
            await keeper.shutdown()


async def test_a_bridge_that_cannot_get_there_says_why(ssh: SshTransport, tmp_path: Path) -> None:
    async with running_door(key=KEY) as door:
        told = door.file("door.json")
        (door.folder / "door.json").write_text(json.dumps(told | {"port": 1}))
        keeper = Keeper(door.folder.parent)
        await keeper.begin(door.folder, transport=Entered(ssh))
        await until(lambda: "Connection refused" in keeper.problem(SESSION), PATIENCE)
        with pytest.raises(FactoryError):
            await keeper.token(SESSION)
        await keeper.shutdown()
