"""Rewrites programs that look for their libraries at an absolute path, so that they look beside themselves.

Debian's Slurm finds libslurmfull.so by a run path in each program (DT_RUNPATH). Unpacked elsewhere it would need
LD_LIBRARY_PATH, which would reach all jobs, and is lost where Slurm runs its own helpers with a job's variables. So the
entry is rewritten in place: to DT_RPATH, which also applies to the plugins and the libraries that they need.
"""

from __future__ import annotations

import struct
from pathlib import Path

RUN_PATH = b"$ORIGIN/../lib/slurm"
_DT_NULL, _DT_RPATH, _DT_RUNPATH = 0, 15, 29
_SECTION_DYNAMIC = 6
_IDENT_64_LITTLE = b"\x7fELF\x02\x01"
_DYNAMIC_ENTRY = struct.Struct("<qQ")  # tag, value


def relocate(program: Path, run_path: bytes = RUN_PATH) -> bool:
    """Rewrite the run path of an ELF file (64 bit, little endian); return True if it was rewritten.

    Return False if the file is no such ELF file, has no run path, or has one that is too short to be replaced.
    """
    image = bytearray(program.read_bytes())
    if not image.startswith(_IDENT_64_LITTLE):
        return False
    place = _dynamic(image)
    if place is None:
        return False
    start, size, strings = place
    for offset in range(start, start + size, _DYNAMIC_ENTRY.size):
        tag, value = _DYNAMIC_ENTRY.unpack_from(image, offset)
        if tag == _DT_NULL:
            break
        if tag == _DT_RUNPATH:
            text = strings + value
            room = image.index(b"\0", text) - text
            if room < len(run_path):
                return False
            image[text : text + room] = run_path.ljust(room, b"\0")
            _DYNAMIC_ENTRY.pack_into(image, offset, _DT_RPATH, value)
            program.write_bytes(image)
            return True
    return False


def _dynamic(image: bytearray) -> tuple[int, int, int] | None:
    """Return the file offset and the size of the dynamic section, and the file offset of its string table.

    Return None if the file has no dynamic section.
    """
    (table,) = struct.unpack_from("<Q", image, 0x28)
    entry_size, count = struct.unpack_from("<HH", image, 0x3A)
    sections = [struct.unpack_from("<IIQQQQII", image, table + number * entry_size) for number in range(count)]
    for _, kind, _, _, offset, size, link, _ in sections:
        if kind == _SECTION_DYNAMIC:
            return offset, size, sections[link][4]
    return None
