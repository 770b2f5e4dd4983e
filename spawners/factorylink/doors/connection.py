"""The SSH connection to one door: finds the door, connects, reads its messages, and reconnects after each loss."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import asyncssh

from factorycommon import request_id
from factorycommon.models.plain import plain_text
from factorycommon.models.workshops.material import DoorOrder, MaterialReport
from factorycommon.ssh_data_path import use_data_path
from factorylink.doors.carriers import Route, Stdio
from factorylink.doors.material import send_material
from factorylink.doors.port_forwarder import FarSide
from factorylink.doors.protocol import (
    LINE_LIMIT,
    PROTOCOL,
    PROTOCOL_VARIABLE,
    DoorFile,
    DoorRefusal,
    DoorStatus,
    DoorToken,
    read_message,
)
from factorylink.doors.reverse_listener import open_way_back
from factorylink.errors import FactoryError, Misread, Refused, Unreachable
from factorylink.transports.base import ByteStream
from factorylink.transports.command_slots import CommandSlots
from factorylink.util import metrics
from factorylink.util.rate_limiter import TurnRateLimiter

log = logging.getLogger("factorylink")

USER = "link"
# what ssh_data_path handles; all doors offer the first one
CIPHERS = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"]
# Bytes, for a channel to the notebook. The window limits what the link buffers for a slow reader, and also the bytes in
# transit: 140 MB/s with a round trip of 30 ms. Packets are large since each has a fixed cost; larger ones were not
# faster.
WINDOW = 4 << 20
PACKET = 256 << 10
SMALL_WINDOW = 64 << 10  # bytes, for a channel with a door's status lines: what it may send before the link reads
# seconds between two tries to connect; the first pause is short, since the door usually opens soon
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
CONNECT_SECONDS = 10.0
COMMAND_SECONDS = 20.0
SILENCE_SECONDS = 75.0  # seconds; a door sends a status line every 30 s
ANSWER_SECONDS = 5.0
# a third of these at once; an honest door sends fewer, and a manipulated door must not keep the link busy
STATUSES_PER_MINUTE = 120

_SPEAKS = {PROTOCOL_VARIABLE: str(PROTOCOL)}  # sent with each command; a door of protocol 1 ignores it

_random = random.SystemRandom()

T = TypeVar("T", DoorStatus, DoorToken)
Stream = tuple[asyncssh.SSHReader[bytes], asyncssh.SSHWriter[bytes]]


class DoorConnection:
    """The link's side of the connection to one door.

    ``route``: how to reach the door; ``key``: the SSH key with which the link logs in at the door. ``slots`` limits how
    many connections to doors of the factory are being opened at a time; ``places`` limits how many connections of the
    carrier ``stdio`` may be open at the factory, None: there is no limit. ``back_socket``: the link's Unix socket for
    the notebook's requests to the hub and to the link. ``on_status`` is called with each status of the door, and with
    None when the connection is lost, or when there is a new reason why the connection cannot be opened.
    """

    def __init__(
        self,
        route: Route,
        key: asyncssh.SSHKey,
        slots: CommandSlots,
        places: asyncio.Semaphore | None,
        back_socket: Path,
        on_status: Callable[[DoorStatus | None], None],
    ) -> None:
        self.route = route
        self.problem = ""
        self.ended = False  # the door reported that its session is over
        self._key = key
        self._slots = slots
        self._places = places
        self._back_socket = back_socket
        self._on_status = on_status
        self._status: DoorStatus | None = None
        self._connection: asyncssh.SSHClientConnection | None = None
        self._opened = asyncio.Event()
        self._entered = False  # the door was open before
        self._traffic = metrics.traffic(route.factory)
        self._task: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Return whether the door is connected."""
        return self._opened.is_set()

    def start(self) -> None:
        """Start a task that connects, and reconnects whenever the connection is lost.

        The task ends at ``close``, or when the connection is lost after the door has reported the end of its session.
        """
        self._task = asyncio.create_task(self._keep(), name=f"door of {self.route.session}")

    async def close(self) -> None:
        """Close the connection for good."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._opened.clear()

    # --- the loop that keeps the door open

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while not self.ended:
            opened = time.monotonic()
            try:
                async with self._place():
                    opened = time.monotonic()
                    await self._once()
                problem = "The door was closed."
            except (FactoryError, asyncssh.Error, OSError, TimeoutError) as error:
                problem = str(error) or "It did not answer in time."
            except Exception as error:  # any error: without this task the door would stay closed
                log.exception("The door of session %s", self.route.session)
                problem = f"It could not be entered ({type(error).__name__})."
            was_open = self._lost()
            self._say(problem, lost=was_open)
            if was_open and time.monotonic() - opened > LONGEST_PAUSE:
                pause = FIRST_PAUSE  # the connection was open for some time, so reconnecting probably succeeds at once
            if not self.ended:
                await asyncio.sleep(pause * _random.uniform(0.7, 1.3))
                pause = min(1.5 * pause, LONGEST_PAUSE)

    @contextlib.asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """Wait until ``door.stdio_most`` allows one more connection of the carrier ``stdio``.

        The connection counts towards this limit until the end of the ``async with`` block. Connections of the carrier
        ``tcp`` are not limited.
        """
        if self._places is None or not isinstance(self.route.carrier, Stdio):
            yield
            return
        if self._places.locked():
            self._say(
                f"{self.route.carrier.most} sessions of {self.route.factory} are entered through the scheduler, and no "
                "more are allowed at a time. This one waits until another ends."
            )
        async with self._places:
            yield

    def _say(self, problem: str, lost: bool = False) -> None:
        problem = plain_text(problem)  # a door may send any text as the reason for closing
        new = problem != self.problem
        self.problem = problem
        if new:
            log.info("The door of session %s: %s", self.route.session, problem)
        if new or lost:
            self._on_status(None)

    def _lost(self) -> bool:
        """Set this object's state to not connected; return whether the door was connected."""
        was_open = self.is_open
        self._opened.clear()
        self._connection = None
        return was_open

    async def _once(self) -> None:
        """Connect to the door, and pass its messages to ``on_status``, until the connection is lost."""
        connection: asyncssh.SSHClientConnection | None = None
        stream: ByteStream | None = None
        try:
            async with self._slots.of(self.route.account), asyncio.timeout(CONNECT_SECONDS):
                door, host_key = await self._read_file()
                stream = await self.route.open(door)
                connection = await self._enter(stream, host_key)
                watch = await connection.create_process(
                    "watch", env=_SPEAKS, encoding=None, stdin=asyncssh.DEVNULL, window=SMALL_WINDOW
                )
                status = self._read(await watch.stdout.readline())
                # First the listener for the notebook's requests: the notebook asks the hub as soon as it starts.
                await open_way_back(connection, self.route.session, status.hub_sock, self._back_socket)
            turns = TurnRateLimiter(STATUSES_PER_MINUTE)
            self._status, self._connection, self.problem = status, connection, ""
            self._opened.set()
            metrics.DOOR_OPENS.labels(self.route.factory).inc()
            if self._entered:
                metrics.DOOR_REOPENS.labels(self.route.factory).inc()
            self._entered = True
            while True:
                self._status = status
                self.ended = status.phase == "ended"
                self._on_status(status)
                async with asyncio.timeout(SILENCE_SECONDS):
                    line = await watch.stdout.readline()
                if not line:
                    return
                status = self._read(line)
                await asyncio.sleep(turns.take(time.monotonic()))  # meanwhile SSH's flow control stops the door
        finally:
            if connection is not None:
                connection.abort()  # nothing is left to send, and a lost peer would not receive it
            if stream is not None:
                stream.close()

    async def _read_file(self) -> tuple[DoorFile, asyncssh.SSHKey]:
        route = self.route
        door = read_message(DoorFile, await route.commands.read(route.account, route.file))
        if door.session != route.session:
            raise Misread("The file where the door should be is of another session.")
        try:
            return door, asyncssh.import_public_key(door.host_key)
        except asyncssh.KeyImportError as error:
            raise Misread("The door's host key cannot be read.") from error

    async def _enter(self, stream: ByteStream, host_key: asyncssh.SSHKey) -> asyncssh.SSHClientConnection:
        connection = await asyncssh.connect(
            f"session {self.route.session}",  # only a name for the log; the socket is reached through the tunnel
            tunnel=stream,
            username=USER,
            client_keys=[self._key],
            known_hosts=([host_key], [], []),
            config=None,
            agent_path=None,
            preferred_auth="publickey",
            encryption_algs=CIPHERS,
            compression_algs=["none"],
            login_timeout=CONNECT_SECONDS,
            keepalive_interval=10,
            keepalive_count_max=3,
        )
        use_data_path(connection)
        return connection

    def _read(self, line: bytes) -> DoorStatus:
        if len(line) > LINE_LIMIT:
            raise Misread("The door says too much.")
        status = read_message(DoorStatus, line)
        if status.session != self.route.session:
            raise Misread("The door is of another session.")
        return status

    # --- operations

    async def connect(self, far: Callable[[], FarSide]) -> object:
        """Wait until the door is connected, then open a channel to the notebook.

        ``far``: makes the FarSide, the asyncssh session that gets the channel's data. Return the channel and the
        FarSide, as asyncssh does. Raises Unreachable if the connection is lost meanwhile, asyncssh.Error if the door
        does not open the channel.
        """
        await self._opened.wait()
        connection, status = self._now()

        def counted() -> FarSide:
            side = far()
            side.traffic = self._traffic
            return side

        return await connection.create_unix_connection(counted, status.notebook_sock, window=WINDOW, max_pktsize=PACKET)

    async def enter(self) -> Stream:
        """Open a channel to the socket of the session's notebook or Dask scheduler, as a pair of streams.

        Raises Unreachable if the door is not connected, or does not open the channel.
        """
        connection, status = self._now()
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                return await connection.open_unix_connection(
                    status.notebook_sock, encoding=None, window=WINDOW, max_pktsize=PACKET
                )
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise Unreachable(f"The door did not open a way: {error}") from error

    async def command(self, name: str, model: type[T], message: str = "") -> T:
        """Run a command at the door, with ``message`` as its input; return its answer, parsed as ``model``.

        Raises Refused with the door's message, or Unreachable.
        """
        connection, _ = self._now()
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                said, code = await _run(connection, name, message.encode())
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise Unreachable(f"The door did not answer: {error}") from error
        if code == 1:
            raise Refused(read_message(DoorRefusal, said).error)
        if code != 0:
            raise Unreachable("The door closed before it answered.")
        return read_message(model, said)

    async def deliver(self, order: DoorOrder, archive: Path) -> MaterialReport:
        """Deliver a workshop's material into the session; return how many files had each outcome.

        ``order``: into which folder, and how; ``archive``: the file with the material. Raises Refused, Unreachable.
        """
        connection, _ = self._now()
        return (await send_material(connection, order, archive)).report()

    async def answers(self, path: str) -> bool:
        """Return whether the notebook answers ``GET path`` with 200 in ``ANSWER_SECONDS``; False if not connected."""
        try:
            connection, status = self._now()
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await connection.open_unix_connection(status.notebook_sock, window=SMALL_WINDOW)
                try:
                    writer.write(f"GET {path} HTTP/1.1\r\nHost: notebook\r\nConnection: close\r\n\r\n".encode("ascii"))
                    first = await reader.readline()
                finally:
                    writer.close()
        except (FactoryError, asyncssh.Error, OSError, TimeoutError):
            return False
        return bool(first.split(b" ")[1:2] == [b"200"])

    def _now(self) -> tuple[asyncssh.SSHClientConnection, DoorStatus]:
        if self._connection is None or self._status is None or not self.is_open:
            raise Unreachable(self.problem or "The session's door is not open.")
        return self._connection, self._status


async def _run(connection: asyncssh.SSHClientConnection, name: str, message: bytes) -> tuple[bytes, int | None]:
    """Run a command at the door, with ``message`` as its input; return its output and exit code.

    The exit code is None if the door closed without one. Raises Misread if the output is longer than any valid
    response: the rest is discarded, and stderr is not read.
    """
    request = request_id.current()
    process = await connection.create_process(
        name,
        env=_SPEAKS | ({request_id.DOOR_VARIABLE: request} if request else {}),  # older doors ignore the request id
        encoding=None,
        stderr=asyncssh.DEVNULL,
        window=SMALL_WINDOW,
    )
    try:
        with contextlib.suppress(BrokenPipeError):  # a command that needs no input may have ended already
            process.stdin.write(message)
            process.stdin.write_eof()
        said = b""
        while piece := await process.stdout.read(LINE_LIMIT):
            said += piece
            if len(said) > LINE_LIMIT:
                raise Misread("The door says too much.")
        await process.wait_closed()
        return said, process.exit_status
    finally:
        process.channel.abort()
