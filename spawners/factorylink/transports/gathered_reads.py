"""Reads files of an account with one command if they are requested at about the same time.

Each command is a process, and hundreds of sessions that start at once wait for their doors' files, most of which do not
exist yet. The output of a command for several files is used only if it is clear which bytes belong to which file; else
each file is read again, by a command of its own. A command reads only files that were requested for one account, and
runs as this account.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from factorycommon import request_id
from factorylink.errors import FactoryError, Gone, Unreachable
from factorylink.transports.base import first_bytes, head

# Seconds from the start of a command until the next one of the account starts. Between these limits, it grows with the
# time that the account's last command took: a busy machine or a far site gets fewer commands, each with more files.
GATHER_SECONDS, LONGEST_GATHER = 0.1, 0.5
SHARE = 0.2  # the share of that time which the last command took
MOST_FILES = 50  # files of one command; a path has some hundred bytes
# Seconds. An account can make a file block a command arbitrarily long. Then each of the account's files is read by a
# command of its own for a while, so that this file blocks no other.
PATIENCE, ALONE_SECONDS = 3.0, 60.0
ALONE_PATIENCE = 10.0  # seconds for a command that reads one file
_MISSING = ": No such file or directory"

# Runs an argv as an account. The two numbers limit the bytes of stdout that are read, and the seconds.
Run = Callable[[str | None, tuple[str, ...], int, float], Awaitable[tuple[bytes, bytes, int]]]


class _Request(NamedTuple):
    path: str
    limit: int
    found: asyncio.Future[bytes]


class GatheredReads:
    """Reads files with the rights of site accounts, several files of one account with one command where possible.

    ``run``: runs an argv as an account (None: as the watcher, the account as which the link asks the scheduler), and
    returns stdout, stderr and exit code. Error messages in stderr must be in English.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._waiting: defaultdict[str | None, list[_Request]] = defaultdict(list)
        self._rounds: dict[str | None, asyncio.Task[None]] = {}
        self._commands: set[asyncio.Task[None]] = set()
        self._pending: set[asyncio.Future[bytes]] = set()  # of all requests without an outcome
        self._alone_until: dict[str | None, float] = {}
        self._took: dict[str | None, float] = {}  # how long an account's last command took
        self._closed = False

    async def read(self, account: str | None, path: str, limit: int) -> bytes:
        """Return the first ``limit`` bytes of the file ``path``. Raises FactoryError: Gone if there is no such file.

        The file is read with the rights of ``account`` (None: of the account as which the link asks the scheduler).
        Requests of one account in quick succession may wait a moment, and share a command.
        """
        if self._closed:
            raise Unreachable("The connection to the site is closed.")
        request = _Request(path, limit, asyncio.get_running_loop().create_future())
        self._pending.add(request.found)
        request.found.add_done_callback(self._pending.discard)
        request.found.add_done_callback(_looked_at)
        self._waiting[account].append(request)
        if account not in self._rounds:
            self._rounds[account] = asyncio.create_task(self._go_rounds(account), context=request_id.of_nobody())
        return await request.found

    def close(self) -> None:
        """Cancel the running commands, and start no more; pending requests raise Unreachable."""
        self._closed = True
        for task in (*self._rounds.values(), *self._commands):
            task.cancel()
        for found in tuple(self._pending):
            if not found.done():
                found.set_exception(Unreachable("The connection to the site is closed."))

    async def _go_rounds(self, account: str | None) -> None:
        try:
            while waiting := [one for one in self._waiting.pop(account, ()) if not one.found.done()]:
                limit = waiting[0].limit
                alike = [one for one in waiting if one.limit == limit]
                if left := [*alike[MOST_FILES:], *(one for one in waiting if one.limit != limit)]:
                    self._waiting[account] += left
                self._begin(self._one_round(account, alike[:MOST_FILES]))
                await asyncio.sleep(GATHER_SECONDS)
                # by now, a quick command has ended
                more = min(LONGEST_GATHER, self._took.get(account, 0.0) / SHARE) - GATHER_SECONDS
                if more > 0:
                    await asyncio.sleep(more)
        finally:
            del self._rounds[account]

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a command in the background, so that a file that blocks delays only the requests of the same command."""
        task = asyncio.create_task(work)
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)

    async def _one_round(self, account: str | None, requests: Sequence[_Request]) -> None:
        paths = tuple(dict.fromkeys(request.path for request in requests))
        outcomes: dict[str, bytes | Gone] = {}
        if len(paths) > 1 and time.monotonic() >= self._alone_until.get(account, 0):
            outcomes = await self._together(account, paths, requests[0].limit)
        alone = [path for path in paths if path not in outcomes]
        for request in requests:
            if request.path in outcomes:
                _set(request, outcomes[request.path])
        for path in alone:
            self._begin(self._alone(account, [request for request in requests if request.path == path]))

    async def _together(self, account: str | None, paths: Sequence[str], limit: int) -> dict[str, bytes | Gone]:
        """Read files with one command; return the content of each file, or Gone for a missing file.

        Return {} if it is not clear which bytes of the output belong to which file, or if the command failed. After a
        failure, the account's files are read one by one for ``ALONE_SECONDS``.
        """
        most = sum(limit + len(_heading(path)) + 1 for path in paths)
        argv = ("head", "-v", "-c", str(limit), "--", *paths)
        try:
            return split(paths, *await self._timed(account, argv, most, PATIENCE))
        except FactoryError:
            self._alone_until[account] = time.monotonic() + ALONE_SECONDS
            return {}

    async def _alone(self, account: str | None, requests: Sequence[_Request]) -> None:
        """Run a command for the one file that all these requests name; give each request the content or an error."""
        path, limit, _ = requests[0]
        outcome: bytes | Exception
        try:
            outcome = first_bytes(*await self._timed(account, head(path, limit), limit, ALONE_PATIENCE))
        except Exception as error:  # noqa: BLE001  (raised to all callers)
            outcome = error
        for request in requests:
            _set(request, outcome)

    async def _timed(
        self, account: str | None, argv: tuple[str, ...], most: int, seconds: float
    ) -> tuple[bytes, bytes, int]:
        """Run a command; return stdout, stderr and exit code.

        Store how long the command took, which decides the pause before the account's next command. ``most``: the limit
        for the bytes of stdout; ``seconds``: the command's timeout.
        """
        began = time.monotonic()
        try:
            return await self._run(account, argv, most, seconds)
        finally:
            self._took[account] = time.monotonic() - began


def split(paths: Sequence[str], stdout: bytes, stderr: bytes, code: int) -> dict[str, bytes | Gone]:
    """Return the content of each file in ``paths``, or Gone for a missing file, from the output of ``head -v``.

    Return {} if it is not clear which bytes belong to which file, since a file may contain a heading of another file.
    Return {}, too, if ``head`` reported an error other than a missing file.
    """
    lines = stderr.decode(errors="replace").splitlines()
    outcomes: dict[str, bytes | Gone] = {
        path: Gone(line) for line in lines if line.endswith(_MISSING) for path in paths if f"'{path}'" in line
    }
    there = [path for path in paths if path not in outcomes]
    begins = [stdout.find(_heading(path)) for path in there]
    ends = [*begins[1:], len(stdout) + 1]
    clear = (
        code == (1 if outcomes else 0)
        and len(lines) == len(outcomes)
        and not any(_heading(path) in stdout for path in outcomes)
        and all(stdout.count(_heading(path)) == 1 for path in there)
        and begins == sorted(begins)
        and begins[:1] == ([0] if stdout else [])
        and all(stdout[end - 1 : end] == b"\n" for end in ends[:-1])
    )
    if not clear:
        return {}
    for path, begin, end in zip(there, begins, ends, strict=False):
        outcomes[path] = stdout[begin + len(_heading(path)) : end - 1]
    return outcomes


def _heading(path: str) -> bytes:
    return f"==> {path} <==\n".encode()


def _set(request: _Request, outcome: bytes | Exception) -> None:
    if request.found.done():
        return
    if isinstance(outcome, bytes):
        request.found.set_result(outcome)
    else:
        request.found.set_exception(outcome)


def _looked_at(found: asyncio.Future[bytes]) -> None:
    """Retrieve a request's error, so that asyncio does not report the error if the request's caller was cancelled."""
    if not found.cancelled():
        found.exception()
