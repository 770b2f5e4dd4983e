"""Pauses the reading of a new connection before its first byte is read."""

from __future__ import annotations

import asyncio
import sys

_KEEPS_PAUSE = sys.version_info >= (3, 11, 4)


def read_later(transport: asyncio.Transport) -> None:
    """Read nothing from ``transport`` until its method ``resume_reading`` is called.

    Call ``read_later`` at the beginning of ``connection_made``. Python before 3.11.4 begins to read after
    ``connection_made`` even if reading was paused (CPython issue 103607), and ignores a second pause. On such a Python,
    ``read_later`` resumes and pauses the reading once more, before anything can be read.
    """
    transport.pause_reading()
    if not _KEEPS_PAUSE:
        asyncio.get_running_loop().call_soon(_pause_again, transport)


def _pause_again(transport: asyncio.Transport) -> None:
    transport.resume_reading()
    transport.pause_reading()
