r"""A reader of server-sent events, for the clients of the link and of the workshops service.

httpx-sse is not used, because it does not limit the size of an event: a stream without line ends would fill the
reader's memory. Only ``\n`` ends a line, because link and service write no other line ends.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from typing import NamedTuple

log = logging.getLogger(__name__)

MOST_BYTES = 64 << 20  # the longest event in bytes: the hub's table of some ten thousand sessions
_END = b"\n\n"


class StreamEvent(NamedTuple):
    """An event of a stream. ``name``: the value of its ``event`` field, "" if it has none; ``data``: its data lines."""

    name: str
    data: str


class EventReader:
    """Splits the bytes of a stream into events. Events without data or longer than ``most`` bytes are skipped."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._held = bytearray()
        self._looked = 0  # number of buffered bytes that were already searched for the end of an event
        self._skips = False

    def feed(self, piece: bytes) -> Iterator[StreamEvent]:
        """Add bytes of the stream; yield the events that are now complete."""
        self._held += piece
        while (end := self._held.find(_END, self._looked)) >= 0:
            block, self._skips = b"" if self._skips else bytes(self._held[:end]), False
            del self._held[: end + len(_END)]
            self._looked = 0
            if len(block) > self._most:
                self._say_skipped()
            elif (event := _event(block)) is not None:
                yield event
        if len(self._held) > self._most:
            if not self._skips:
                self._say_skipped()
            self._skips = True
            del self._held[:-1]  # the last byte may be the first half of the separator
        self._looked = max(0, len(self._held) - 1)

    def _say_skipped(self) -> None:
        log.warning("An event is skipped: it has more than %d bytes", self._most)


async def read_events(pieces: AsyncIterable[bytes], most: int = MOST_BYTES) -> AsyncGenerator[StreamEvent]:
    """Yield the events of a stream. ``pieces``: the bytes of the stream, split at any position.

    Events without data, such as comments, and events longer than ``most`` bytes are skipped.
    """
    reader = EventReader(most)
    async for piece in pieces:
        for event in reader.feed(piece):
            yield event


def _event(block: bytes) -> StreamEvent | None:
    """Parse the lines between two empty lines as an event; return None if none of them is a line of data."""
    name, data = "", []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            name = value.decode(errors="replace")
        elif field == b"data":
            data.append(value)
    return StreamEvent(name, b"\n".join(data).decode(errors="replace")) if data else None
