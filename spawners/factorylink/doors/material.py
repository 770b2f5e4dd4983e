"""Sends an archive of a workshop's material through a door, in pieces, as fast as the door takes them."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import IO

import asyncssh

from factorycommon import request_id
from factorycommon.models.workshops.material import DoorOrder
from factorylink.doors.protocol import (
    LINE_LIMIT,
    PROTOCOL,
    PROTOCOL_VARIABLE,
    DoorMaterial,
    DoorRefusal,
    read_message,
)
from factorylink.errors import Misread, Refused, Unreachable

SECONDS = 180.0  # for one delivery; the door gives its own program 120
_PIECE = 128 << 10  # bytes that are read at once
_TOO_OLD = (
    "The environment of this session is too old to take a workshop's material: it needs a newer version of factorygate."
)


async def send_material(connection: asyncssh.SSHClientConnection, order: DoorOrder, archive: Path) -> DoorMaterial:
    """Send an archive to a door; return what the door did with the archive's files.

    ``order``: into which folder the door delivers the files, and how. Raises Refused with an explanation, Unreachable,
    and Misread if the door's answer is too long or not valid.
    """
    try:
        async with asyncio.timeout(SECONDS):
            said, code = await _sent(connection, order, archive)
    except asyncssh.ChannelOpenError as error:
        if error.code == asyncssh.OPEN_REQUEST_SESSION_FAILED:  # a door that does not know the command
            raise Refused(_TOO_OLD) from error
        raise Unreachable(f"The door did not open a channel: {error}") from error
    except (asyncssh.Error, OSError, TimeoutError) as error:
        raise Unreachable(f"The door did not take the material: {str(error) or 'too slow'}") from error
    if code == 1:
        raise Refused(read_message(DoorRefusal, said).error)
    if code != 0:
        raise Unreachable("The door closed before it answered.")
    return read_message(DoorMaterial, said)


async def _sent(connection: asyncssh.SSHClientConnection, order: DoorOrder, archive: Path) -> tuple[bytes, int | None]:
    request = request_id.current()
    process = await connection.create_process(
        "material",
        env={PROTOCOL_VARIABLE: str(PROTOCOL)} | ({request_id.DOOR_VARIABLE: request} if request else {}),
        encoding=None,
        stderr=asyncssh.DEVNULL,
    )
    try:
        with contextlib.suppress(BrokenPipeError):  # the door may refuse before it has read all
            process.stdin.write(order.model_dump_json().encode() + b"\n")
            with archive.open("rb") as file:
                while piece := await asyncio.to_thread(_read, file):
                    process.stdin.write(piece)
                    await process.stdin.drain()
            process.stdin.write_eof()
        said = b""
        while answer := await process.stdout.read(LINE_LIMIT):
            said += answer
            if len(said) > LINE_LIMIT:
                raise Misread("The door says too much.")
        await process.wait_closed()
        return said, process.exit_status
    finally:
        process.channel.abort()


def _read(file: IO[bytes]) -> bytes:
    return file.read(_PIECE)
