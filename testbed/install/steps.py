"""Helpers for every installation: print progress, run programs, and record in a folder which sources it was made from.

This module uses only the standard library, since the installer runs under the system's bare Python.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


class InstallError(Exception):
    """Raised if something is missing or failed; the message is for the person at the terminal."""


def say(text: str) -> None:
    """Print progress to stderr, since stdout is for the result."""
    print(f"  {text} ...", file=sys.stderr, flush=True)


def run(argv: Sequence[str], quiet: bool = False, cwd: Path = CHECKOUT, **env: str) -> None:
    """Run a program to its end, and print what it writes to stderr, unless ``quiet``.

    ``env``: additional environment variables. Raises InstallError with the last output of a program that fails.
    """
    done = subprocess.run(
        argv, cwd=cwd, env={**os.environ, **env}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise InstallError(f"{' '.join(argv[:6])} ... failed with exit code {done.returncode}:\n{said}")
    if not quiet and done.stderr.strip():
        print(done.stderr.strip(), file=sys.stderr)


def digest(*parts: object) -> str:
    """Return a hash that identifies the given sources."""
    total = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()


def stamped(folder: Path, stamp: str) -> bool:
    """Return whether a folder was made from exactly these sources."""
    try:
        return (folder / ".stamp").read_text(encoding="ascii") == stamp
    except FileNotFoundError:
        return False


def stamp(folder: Path, made_from: str) -> None:
    """Record in a folder the hash of the sources that it was made from."""
    folder.mkdir(exist_ok=True)
    (folder / ".stamp").write_text(made_from, encoding="ascii")


@contextmanager
def alone(programs: Path) -> Iterator[None]:
    """Hold the lock of installations during the block; wait if another process holds it."""
    programs.mkdir(parents=True, exist_ok=True, mode=0o755)
    with open(programs / ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
