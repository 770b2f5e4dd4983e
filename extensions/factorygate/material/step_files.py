"""Keeps in ``.factorygate`` which steps (tagged cells) the material has, and which of them the person has done.

These files belong to the person, so they are read with care: a damaged one counts as missing.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict

from factorycommon.material.steps import MOST_STEPS, KnownStep
from factorygate.material.person_folder import read_file, write_file

STEPS, DONE = "steps.json", "steps-done.json"
_MOST = 1 << 20  # bytes of either file


def write_steps(own: int, name: str, steps: Iterable[KnownStep]) -> None:
    """Write steps of a workshop's notebooks to the file ``name`` of a folder ``.factorygate``; replace an older file.

    ``own``: the descriptor of the open folder; ``name``: ``STEPS`` or ``DONE``. Raises OSError.
    """
    new = f"{name}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new, dir_fd=own)
    write_file(own, new, json.dumps([asdict(one) for one in steps]).encode(), 0o600)
    os.rename(new, name, src_dir_fd=own, dst_dir_fd=own)


def read_steps(own: int, name: str) -> tuple[KnownStep, ...]:
    """Return the steps of a workshop's notebooks from the file ``name`` of a folder ``.factorygate``.

    At most ``MOST_STEPS`` steps; () if there is no such file, or if the file cannot be read or parsed. ``own``: the
    descriptor of the open folder; ``name``: ``STEPS`` or ``DONE``.
    """
    found = read_file(own, name, _MOST)
    if found is None or found.content is None:
        return ()
    try:
        listed = json.loads(found.content)
        return tuple(
            KnownStep(one["notebook"], one["cell"], one["name"], one.get("before", 0)) for one in listed[:MOST_STEPS]
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ()
