"""The commands that the link may run at the door."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import tempfile
from pathlib import Path
from typing import IO

import asyncssh

from factorycommon import request_id
from factorycommon.material.archive import MOST
from factorygate.session.session import JobSession, SessionConflict
from factorygate.session.status import OLDEST_PROTOCOL, PROTOCOL_VARIABLE, DoorStatusLine, spoken

log = logging.getLogger(__name__)

COMMANDS = ("hello", "environment", "token", "stop", "ends", "tell", "material", "watch")
MAX_INPUT = 1 << 20  # maximum bytes of a command's input
MAX_MATERIAL = MOST.archive_bytes + (64 << 10)  # of the command ``material``: an archive, after a line of JSON
_LONGEST_ORDER = 4096  # bytes of that line
WATCH_SECONDS = 30.0


class DoorCommand(asyncssh.SSHServerSession[bytes]):
    """One command at the door: reads its input to the end, if it needs any, then answers in lines of JSON."""

    def __init__(self, session: JobSession, running: set[asyncio.Task[None]]) -> None:
        self._session = session
        self._running = running  # keeps the task alive, and shows the door which commands still run
        self._name = ""
        self._protocol = OLDEST_PROTOCOL
        self._input = bytearray()
        self._material_input: IO[bytes] | None = None  # on disk, since an archive is large
        self._problem = ""
        self._read = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        """Keep the channel; the command follows later."""
        self._chan = chan

    def pty_requested(self, *_: object) -> bool:
        """Refuse: the door gives neither a terminal nor a shell."""
        log.warning("refused: a terminal")
        return False

    def shell_requested(self) -> bool:
        """Refuse: the door gives neither a terminal nor a shell."""
        log.warning("refused: a shell")
        return False

    def subsystem_requested(self, subsystem: str) -> bool:
        """Refuse every subsystem, sftp included."""
        log.warning("refused: subsystem %r", subsystem)
        return False

    def exec_requested(self, command: str) -> bool:
        """Accept a command of ``COMMANDS``, without arguments; refuse any other."""
        if command not in COMMANDS:
            log.warning("refused: command %r", command[:100])
            return False
        self._name = command
        return True

    def session_started(self) -> None:
        """Start the command, which answers in the protocol version that the link asked for, or the nearest one.

        If the link has also sent the id of its request, log this id.
        """
        environment = self._chan.get_environment()
        self._protocol = spoken(environment.get(PROTOCOL_VARIABLE))
        if (given := environment.get(request_id.DOOR_VARIABLE)) is not None:
            log.info("command %s [%s]", self._name, request_id.begin(given))
        self._task = asyncio.create_task(self._run())
        self._running.add(self._task)
        self._task.add_done_callback(self._running.discard)

    def data_received(self, data: bytes, _datatype: asyncssh.DataType) -> None:
        """Keep the input until its end.

        If the input is too large, abort the channel; the command ``material`` answers with an error instead.
        """
        if self._name == "material":
            self._keep_material(data)
            return
        if len(self._input) + len(data) > MAX_INPUT:
            log.warning("refused: more than %d bytes for command %s", MAX_INPUT, self._name)
            self._chan.abort()
            return
        self._input += data

    def _keep_material(self, data: bytes) -> None:
        if self._problem:
            return
        try:
            if self._material_input is None:
                folder = Path(self._session.status.notebook_sock).parent
                self._material_input = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  (closed at the end)
            if self._material_input.tell() + len(data) > MAX_MATERIAL:
                self._problem = "The archive is too large."
            else:
                self._material_input.write(data)
        except OSError as error:
            log.warning("the material cannot be kept: %s", error)
            self._problem = f"The node has no room for the material: {error.strerror}."

    def eof_received(self) -> bool:
        """Note that the input is complete; return True, since the answer is still to come."""
        self._read.set()
        return True  # the connection stays open for the answer

    def connection_lost(self, _exc: Exception | None) -> None:
        """Cancel the command, since the client that would read its answer is gone."""
        if self._task is not None:
            self._task.cancel()
        if self._material_input is not None:
            self._material_input.close()

    def pause_writing(self) -> None:
        """Pause sending, since the link reads too slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Resume sending, since the link has caught up."""
        self._writable.set()

    def _say(self, content: dict[str, object] | DoorStatusLine) -> None:
        line = content.to_json(self._protocol) if isinstance(content, DoorStatusLine) else json.dumps(content)
        self._chan.write(line.encode() + b"\n")

    async def _run(self) -> None:
        try:
            await getattr(self, f"_{self._name}")()
        except (SessionConflict, ValueError) as error:
            self._say({"error": str(error)})
            self._chan.exit(1)
        except Exception:
            log.exception("command %s failed", self._name)
            self._chan.exit(2)
        else:
            self._chan.exit(0)

    async def _hello(self) -> None:
        self._say(self._session.status)

    async def _environment(self) -> None:
        await self._read.wait()
        self._say(await self._session.take_environment(json.loads(self._input)))

    async def _token(self) -> None:
        self._say({"token": self._session.token()})

    async def _stop(self) -> None:
        self._session.end("stopped", "The session was stopped as asked.")
        self._say(self._session.status)

    async def _ends(self) -> None:
        await self._read.wait()
        self._say(self._session.new_end(json.loads(self._input)))

    async def _tell(self) -> None:
        await self._read.wait()
        self._say(self._session.tell(json.loads(self._input)))

    async def _material(self) -> None:
        await self._read.wait()
        if self._problem or self._material_input is None:
            raise SessionConflict(self._problem or "The archive is missing.")
        self._material_input.seek(0)
        order = json.loads(self._material_input.readline(_LONGEST_ORDER))
        self._say(await self._session.deliver(order, self._material_input))

    async def _watch(self) -> None:
        while True:
            await self._writable.wait()
            status = self._session.status
            self._say(status)
            if status.phase == "ended":
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._session.changed(status), WATCH_SECONDS)
