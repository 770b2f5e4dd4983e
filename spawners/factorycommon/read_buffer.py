"""Buffers received bytes, which can be read in other pieces than they arrived in."""

from __future__ import annotations


class ReadBuffer:
    """Received bytes that were not used yet.

    ``append`` adds bytes, ``view`` reads some, ``skip`` cuts off the first ones. Appended pieces are copied into one
    piece only when ``view`` or ``skip`` needs bytes beyond the first piece.
    """

    def __init__(self, data: bytes = b"") -> None:
        self._first = data
        self._at = 0  # bytes of _first that were used
        self._more: list[bytes] = []
        self._length = len(data)

    def __len__(self) -> int:
        return self._length

    def append(self, data: bytes) -> None:
        """Add ``data`` at the end."""
        if self._length:
            self._more.append(data)
            self._length += len(data)
        else:
            self._first, self._at, self._length = data, 0, len(data)

    def view(self, start: int, stop: int) -> memoryview:
        """Return the unused bytes from ``start`` to ``stop``, or fewer if there are fewer.

        Bytes are copied only if the first piece does not reach to ``stop``."""
        if self._more and self._at + stop > len(self._first):
            self._first, self._at = b"".join((memoryview(self._first)[self._at :], *self._more)), 0
            self._more.clear()
        return memoryview(self._first)[self._at + start : self._at + stop]

    def skip(self, count: int) -> None:
        """Cut off the first ``count`` bytes, or all if there are fewer."""
        self.view(0, count)
        count = min(count, self._length)
        self._at += count
        self._length -= count
