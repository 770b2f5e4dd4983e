"""Sets up glibc's malloc so that the process keeps freed memory.

By default glibc returns blocks of 128 KiB and more to the kernel at once. Data that pass through a door come in blocks
of that size; each new block then costs page faults and zeroed pages, which take half as long as all other work on the
block.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # constants from malloc.h
_LARGEST = 4 << 20  # largest block in bytes that is kept after it was freed
_KEPT = 16 << 20  # bytes of free memory at the end of the heap that are kept


def keep_blocks() -> None:
    """Make malloc keep freed blocks of less than 4 MiB for later use.

    Memory at the end of the heap goes back to the kernel only when at least 16 MiB there are free. Does nothing with a
    C library other than glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGEST)
    mallopt(_M_TRIM_THRESHOLD, _KEPT)
