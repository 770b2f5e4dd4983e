"""The process's heap, told to keep what it gets back.

Left alone, glibc returns blocks of 128 KiB and more to the kernel at once. What goes through a door comes in blocks of
that size, and each new one then costs page faults and zeroed pages: half as much again as all other work on it.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGEST = 4 << 20  # bytes of a block that is kept
_KEPT = 16 << 20  # bytes, of all kept blocks together


def keep_blocks() -> None:
    """Keep freed blocks of up to 4 MiB, 16 MiB in all, from now on. Another C library than glibc is left as it is."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGEST)
    mallopt(_M_TRIM_THRESHOLD, _KEPT)
