"""Server-sent events: each change is sent to every reader, and a slow reader does not delay others.

Messages wait for a slow reader, but only the newest one about each item. If too many wait (an *overrun*), the reader
gets a fresh snapshot instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

_MOST_WAITING = 2000
_HEARTBEAT_SECONDS = 15.0
_SAME_THING_SECONDS = 0.1  # seconds; an item that changes all the time is sent at most ten times a second

Message = tuple[str, str]  # the event's name and its data, which are one line of JSON


class Reader:
    """One reader of a feed: holds the changes that the reader's stream still has to send.

    ``key``: the only item that the reader follows; None: all items. ``overrun``: True if too many changes waited, so
    that they were dropped.
    """

    def __init__(self, key: str | None) -> None:
        self._key = key
        self._waiting: dict[str, Message] = {}
        self._changed = asyncio.Event()
        self.overrun = False
        self.of_all = key is None

    def offer(self, key: str, message: Message) -> None:
        """Store ``message`` in place of an older one about the item ``key``, if the reader follows this item.

        If this makes too many messages wait, drop them all, and set ``overrun``.
        """
        if self._key is not None and key != self._key:
            return
        self._waiting.pop(key, None)
        self._waiting[key] = message
        if len(self._waiting) > _MOST_WAITING:
            self._waiting.clear()
            self.overrun = True
        self._changed.set()

    def wake(self) -> None:
        """Make ``next`` return, although nothing has changed."""
        self._changed.set()

    async def next(self) -> list[Message]:
        """Wait for a change; return the newest message about each item that has changed since the last call.

        Return an empty list if nothing changes for ``_HEARTBEAT_SECONDS``, or if ``wake`` is called before anything
        changes. After an overrun (too many changes for this reader), the dropped messages are missing.
        """
        try:
            await asyncio.wait_for(self._changed.wait(), _HEARTBEAT_SECONDS)
        except TimeoutError:
            return []
        self._changed.clear()
        waiting, self._waiting = self._waiting, {}
        return list(waiting.values())


class Feed:
    """Notifies its readers when items change; each item has a key. Call ``touch`` when an item may have changed.

    ``show``: returns the present message about the item with the given key; None: there is no message.
    """

    def __init__(self, show: Callable[[str], Message | None]) -> None:
        self._show = show
        self._readers: set[Reader] = set()
        self._last: dict[str, Message] = {}
        self._resting: set[str] = set()  # items that were sent a moment ago
        self._touched: set[str] = set()  # items that changed while they were in ``_resting``
        self.closed = False

    @property
    def readers_of_all(self) -> int:
        """Return how many readers follow all items, not just one."""
        return sum(reader.of_all for reader in self._readers)

    def touch(self, key: str) -> None:
        """Send the item's newest message to the readers soon, if it differs from the last one."""
        if key in self._resting:
            self._touched.add(key)
            return
        self._resting.add(key)
        loop = asyncio.get_running_loop()
        loop.call_soon(self._tell, key)
        loop.call_later(_SAME_THING_SECONDS, self._wake, key)

    def forget(self, key: str) -> None:
        """Send the item's newest message, if it differs from the last one, and forget the item."""
        self._tell(key)
        self._last.pop(key, None)

    def close(self) -> None:
        """End all streams soon; a stream that begins later ends after its first messages."""
        self.closed = True
        for reader in self._readers:
            reader.wake()

    async def stream(
        self,
        first: Callable[[], list[Message]],
        key: str | None = None,
        last: Callable[[Message], bool] | None = None,
        shown: Callable[[Message], Message] = lambda message: message,
    ) -> AsyncIterator[bytes]:
        """Yield server-sent events: a snapshot, then the changes, and a comment after 15 s without a change.

        ``first``: returns the messages of the snapshot; ``key``: only changes of this item, None: of all items;
        ``shown``: returns the form in which this client gets a message. A client that is too slow for the changes gets
        another snapshot instead. The stream ends after ``close``, or after a message for which ``last`` returns True.
        """
        reader = Reader(key)
        self._readers.add(reader)
        try:
            messages = first()
            while True:
                if messages:
                    yield b"".join(encode(shown(message)) for message in messages)
                else:
                    yield b": still here\n\n"
                if self.closed or (last is not None and any(last(message) for message in messages)):
                    return
                messages = await reader.next()
                if reader.overrun:
                    reader.overrun = False
                    messages = first()
        finally:
            self._readers.discard(reader)

    def _wake(self, key: str) -> None:
        self._resting.discard(key)
        if key in self._touched:
            self._touched.discard(key)
            self.touch(key)

    def _tell(self, key: str) -> None:
        message = self._show(key)
        if message is None or self._last.get(key) == message:
            return
        self._last[key] = message
        for reader in self._readers:
            reader.offer(key, message)


def encode(message: Message) -> bytes:
    """Return a message as the bytes of a server-sent event. The message's data must be one line."""
    return f"event: {message[0]}\ndata: {message[1]}\n\n".encode()
