"""Everything that a door refuses, in both directions, with a real SSH client and a real SSH server."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.packet import String, UInt32

from tests.support.door import PATIENCE, SESSION, ask, held, running_door, until
from tests.unit.test_doorkeeper import Keeper

both = pytest.mark.parametrize("carrier", [(), ("--stdio",)], ids=["tcp", "stdio"])


@both
async def test_connections_without_the_key_are_refused(carrier: tuple[str, ...]) -> None:
    async with running_door(*carrier) as door:
        other = asyncssh.generate_private_key("ssh-ed25519")
        # the key is not trusted as a CA
        signed = door.key.generate_user_certificate(other, "link", principals=["link"])
        for options in (
            {"key": other},
            {"client_keys": [(other, signed)]},
            {"username": "root"},
            {"username": ""},
            {"username": "LINK"},
            {"client_keys": None, "password": "a password", "preferred_auth": "password,keyboard-interactive"},
        ):
            with pytest.raises(asyncssh.PermissionDenied):
                await door.enter(**options)
        await until(lambda: door.log.read_text().count("without the key") == 6)
        await ask(await door.enter(), "hello")


Link = asyncssh.SSHClientConnection
Try = Callable[[Link, dict[str, Any]], Awaitable[Any]]


def runs(command: str | None, **options: Any) -> Try:
    return lambda link, _: link.run(command, check=True, timeout=PATIENCE, **options)


def opens(kind: bytes, *arguments: bytes) -> Try:
    async def tried(link: Link, _: dict[str, Any]) -> None:
        channel = link.create_tcp_channel()
        await channel._open(kind, *arguments)

    return tried


def x11(link: Link, _: dict[str, Any]) -> Awaitable[Any]:
    return link.run("hello", check=True, timeout=PATIENCE, x11_forwarding=True, x11_display="127.0.0.1:99")


async def agent(link: Link, _: dict[str, Any]) -> None:
    channel, _session = await link.create_session(asyncssh.SSHClientSession, "watch")
    if not await channel._make_request(b"auth-agent-req@openssh.com"):
        raise asyncssh.ChannelOpenError(0, "no agent")


def path(of: Callable[[dict[str, Any]], str]) -> Try:
    return lambda link, status: link.open_unix_connection(of(status))


def listen(of: Callable[[dict[str, Any]], str]) -> Try:
    return lambda link, status: link.forward_remote_path(of(status), "/nowhere")


def beside(status: dict[str, Any]) -> str:
    return str(Path(status["hub_sock"]).parent / "other.sock")


REFUSED: dict[str, tuple[Try, str]] = {
    "shell": (runs(None), "a shell"),
    "unknown command": (runs("/bin/sh"), "command '/bin/sh'"),
    "command with more": (runs("hello; id"), "command 'hello; id'"),
    "command with an argument": (runs("hello x"), "command 'hello x'"),
    "scp": (runs("scp -t /tmp"), "command 'scp"),
    "sftp-server": (runs("/usr/lib/openssh/sftp-server"), "command '/usr/lib"),
    "subsystem sftp": (runs(None, subsystem="sftp"), "subsystem 'sftp'"),
    "subsystem netconf": (runs(None, subsystem="netconf"), "subsystem 'netconf'"),
    "terminal": (runs("hello", term_type="xterm"), "a terminal"),
    "agent": (agent, "Agent forwarding request denied"),
    "x11": (x11, "X11 forwarding request denied"),
    "tcp to loopback": (lambda link, _: link.open_connection("127.0.0.1", 22), "'127.0.0.1' port 22"),
    "tcp to a name": (lambda link, _: link.open_connection("victim.example.org", 443), "'victim.example.org' port 443"),
    "tcp to a path": (lambda link, status: link.open_connection(status["notebook_sock"], 0), "notebook.sock' port 0"),
    "unix, a system's": (path(lambda _: "/run/dbus/system_bus_socket"), "system_bus_socket"),
    "unix, beside": (path(beside), "other.sock"),
    "unix, the hub's": (path(lambda status: status["hub_sock"]), "hub.sock"),
    "unix, the door's": (path(lambda status: str(Path(status["hub_sock"]).with_name("door.sock"))), "door.sock"),
    "unix, a way round": (path(lambda status: status["notebook_sock"] + "/../hub.sock"), "/../hub.sock"),
    "unix, the notebook's otherwise": (path(lambda status: "/" + status["notebook_sock"]), "'//"),
    "listen on a port": (lambda link, _: link.forward_remote_port("", 0, "127.0.0.1", 1), "listen on '' port 0"),
    "listen on loopback": (lambda link, _: link.forward_remote_port("127.0.0.1", 8888, "::1", 1), "port 8888"),
    "listen, unix beside": (listen(beside), "other.sock"),
    "listen, the notebook's": (listen(lambda status: status["notebook_sock"]), "notebook.sock"),
    "tun": (lambda link, _: link.create_tun(asyncssh.SSHTunTapSession), "a channel: TUN/TAP request refused"),
    "tap": (lambda link, _: link.create_tap(asyncssh.SSHTunTapSession), "a channel: TUN/TAP request refused"),
    "a tunnel of no kind": (opens(b"tun@openssh.com", UInt32(7), UInt32(0)), "a channel: TUN/TAP request refused"),
    "x11, unasked": (opens(b"x11", String("localhost"), UInt32(6000)), "a channel: Unknown channel type"),
    "agent, unasked": (opens(b"auth-agent@openssh.com"), "a channel: Unknown channel type"),
    "a kind nobody knows": (opens(b"anything@example.org"), "a channel: Unknown channel type"),
}


@both
async def test_every_other_request_is_refused(carrier: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    async with running_door(*carrier) as door:
        link = await door.enter()
        status = await ask(link, "hello")
        for name, (tried, words) in REFUSED.items():
            before = len(door.log.read_text())
            with pytest.raises((asyncssh.ChannelOpenError, asyncssh.ProcessError, asyncssh.ChannelListenError)):
                await asyncio.wait_for(tried(link, status), PATIENCE)
            await until(lambda: words in door.log.read_text()[before:], what=f"{name} in the log")  # noqa: B023
        await ask(link, "hello")
        # No socket for an SSH agent or an X display was made.
        assert not any("asyncssh-" in each for each in held(door.process.pid))


class Evil(asyncssh.SSHServer):
    """A door that tries to reach the link's machine."""

    def __init__(self, opened: asyncio.Future[asyncssh.SSHServerConnection]) -> None:
        self._opened = opened

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def auth_completed(self) -> None:
        self._opened.set_result(self._connection)

    def begin_auth(self, username: str) -> bool:
        return False

    def unix_server_requested(self, listen_path: str) -> bool:
        return False


async def test_a_door_gets_nothing_of_the_links_machine(tmp_path: Path) -> None:
    hub = str(tmp_path / "hub.sock")
    told = {"protocol": 1, "session": SESSION, "phase": "up", "notebook_sock": str(tmp_path / "n"), "hub_sock": hub}

    async def watch(process: asyncssh.SSHServerProcess[bytes]) -> None:
        process.stdout.write(json.dumps(told).encode() + b"\n")
        await process.stdin.read()
        await asyncio.Event().wait()

    class Server(Evil):
        def unix_server_requested(self, listen_path: str) -> Any:
            return Listener() if listen_path == hub else False

    class Listener(asyncssh.SSHListener):
        def close(self) -> None: ...
        async def wait_closed(self) -> None: ...

    opened: asyncio.Future[asyncssh.SSHServerConnection] = asyncio.get_running_loop().create_future()
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=lambda: Server(opened), server_host_keys=[host_key], process_factory=watch,
        encoding=None,
    )  # fmt: skip
    door = {
        "protocol": 1, "session": SESSION, "job": "7", "port": server.get_port(),
        "host_key": host_key.export_public_key().decode().strip(),
    }  # fmt: skip
    (tmp_path / "door.json").write_text(json.dumps(door))
    keeper = Keeper(tmp_path)
    came: list[bool] = []
    back = await asyncio.start_unix_server(lambda _, writer: (came.append(True), writer.close()), str(keeper.back))
    await keeper.begin(tmp_path)
    await until(lambda: keeper.is_open(SESSION), what=keeper.problem(SESSION))
    connection = await opened

    async def opens(kind: bytes, *arguments: bytes) -> None:
        await connection.create_tcp_channel()._open(kind, *arguments)

    port = UInt32(22)
    for kind, *arguments in (
        (b"session",),
        (b"direct-tcpip", String("127.0.0.1"), port, String("127.0.0.1"), UInt32(1)),
        (b"direct-streamlocal@openssh.com", String("/run/dbus/system_bus_socket"), String(""), UInt32(0)),
        (b"forwarded-tcpip", String("127.0.0.1"), port, String("127.0.0.1"), UInt32(1)),
        (b"forwarded-streamlocal@openssh.com", String("/run/dbus/system_bus_socket"), String("")),
        (b"forwarded-streamlocal@openssh.com", String(str(keeper.back)), String("")),
        (b"x11", String("127.0.0.1"), UInt32(6000)),
        (b"auth-agent@openssh.com",),
        (b"tun@openssh.com", UInt32(1), UInt32(0)),
        (b"anything@example.org",),
    ):
        with pytest.raises(asyncssh.ChannelOpenError):
            await asyncio.wait_for(opens(kind, *arguments), PATIENCE)
    assert came == []
    # The only allowed connection, to the link's own app, still works.
    await opens(b"forwarded-streamlocal@openssh.com", String(hub), String(""))
    await until(lambda: came)
    assert keeper.is_open(SESSION)
    await keeper.shutdown()
    back.close()
    server.close()
