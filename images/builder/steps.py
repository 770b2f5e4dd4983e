"""Helpers for the steps of a build: run programs, and print progress and durations. Standard library only."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

# The time of every file in an image, and of the images. It is not the time of the build, so that equal contents give
# equal images.
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "1767225600"))  # 2026-01-01 00:00 UTC


class BuildError(Exception):
    """Raised if a step failed. The message is for the person at the terminal."""


class CannotWork(BuildError):
    """Raised if this machine lacks something that the builder does not install itself."""


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print the start of a step to stderr, and at its end how many seconds it took; nothing more if the step fails."""
    print(f"{what} ...", file=sys.stderr, flush=True)
    begin = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - begin:.1f} s", file=sys.stderr, flush=True)


def run(argv: Sequence[str | Path], cwd: Path | None = None, **env: str) -> str:
    """Run a program to its end; return its stdout.

    ``env``: environment variables, in addition to those of this process and ``SOURCE_DATE_EPOCH``. Raises BuildError if
    the program is missing, or with its last output if it fails.
    """
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
