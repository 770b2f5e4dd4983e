"""The class ``Command``: a command that the link runs at a factory, and the function that parses its output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from factorylink.errors import Refused, Unreachable

T = TypeVar("T")

WORDS = 64 * 2**10  # bytes: larger than the answer to an order, or a file of a session
LISTING = 16 * 2**20  # bytes: 20,000 jobs or nodes need about 10 MB
QUEUE = 64 * 2**20  # bytes: enough for 400,000 waiting jobs of all users, each task of an array counted


@dataclass(frozen=True)
class Output:
    """The output of a command. Bytes that are no UTF-8 are replaced. ``code`` < 0: a signal ended the command."""

    stdout: str
    stderr: str
    code: int


@dataclass(frozen=True)
class Command(Generic[T]):
    """A command that a transport runs at a factory, most often one that a dialect (``dialect.py``) makes.

    ``parse`` returns the answer in the output, or raises one of the four errors of ``factorylink.errors`` with the
    scheduler's own words. ``env`` is added to the command's environment (for example the format of times); it never
    holds a secret. ``most``: the most bytes of stdout that are read (under a site account at most ``ACCOUNT_CAP``); a
    longer answer raises Misread.
    """

    argv: tuple[str, ...]  # never a shell string
    parse: Callable[[Output], T]
    stdin: str = ""
    timeout: float = 30  # seconds
    most: int = WORDS
    env: Mapping[str, str] = field(default_factory=dict)


def done(output: Output) -> None:
    """Raise Refused if a command failed, with the command's stderr or else its exit code as the message.

    If a signal ended the command, raise Unreachable: nobody has refused it, and it may have had an effect. This is the
    ``parse`` of commands that have no answer.
    """
    if output.code < 0:
        raise Unreachable(output.stderr.strip() or "A signal ended the command.")
    if output.code != 0:
        raise Refused(output.stderr.strip() or f"exit code {output.code}")
