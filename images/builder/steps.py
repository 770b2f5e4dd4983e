"""The steps of a build: run programs, print what is done and how long that took. Standard library only."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

# Of every file in an image, and of the images: not the time of the build, so that equal contents are equal images.
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "1767225600"))  # 2026-01-01 00:00 UTC


class BuildError(Exception):
    """Raise where a step failed; the message is for the person at the terminal."""


class CannotWork(BuildError):
    """Raise where this machine lacks what cannot be installed."""


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print what begins, and how many seconds it took, to stderr."""
    print(f"{what} ...", file=sys.stderr, flush=True)
    begin = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - begin:.1f} s", file=sys.stderr, flush=True)


def run(argv: Sequence[str | Path], cwd: Path | None = None, **env: str) -> str:
    """Run a program to its end and return its stdout. Raises BuildError with what it printed last."""
    words = [os.fspath(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env={**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH), **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise BuildError(f"the program {words[0]} is missing") from error
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-25:])
        raise BuildError(f"{' '.join(words[:8])} ... failed with exit code {done.returncode}:\n{last}")
    return done.stdout
