"""The SSH transport, for a factory whose login side is another machine.

A command gets the environment variables of the account's login shell, of the settings and of the ``Command``, but none
of the link's own. A connection is used as long as it lasts, even if its credential expires meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import asyncssh

from factorylink.config import SshTransportSettings as Settings
from factorylink.credentials.base import Credentials
from factorylink.errors import Misread, NotDone, Refused, Unreachable
from factorylink.schedulers.command import Command
from factorylink.transports.base import ByteStream, CommandOutput, answer, first_bytes, head, most_bytes
from factorylink.transports.command_slots import CommandSlots
from factorylink.transports.gathered_reads import GatheredReads
from factorylink.transports.host_keys import HostKeys
from factorylink.transports.ssh.channels import ExecChannel, Lost, NoPlace
from factorylink.transports.ssh.login import SshConnector
from factorylink.transports.ssh.pool import LONGEST_PAUSE, LONGEST_REFUSED, ConnectionKind, ConnectionUse, Pool
from factorylink.transports.ssh.streams import EntryStream, ForwardStream

T = TypeVar("T")
log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 10.0  # seconds, for the connection from the login side to a node
READ_TIMEOUT = 10.0
SMALL = 65536  # bytes
COMMANDS = 200  # commands at once of all accounts: more than a burst of submissions needs
SHARES = 5  # shares into which a service account's connections are divided: no account gets more than one
TRIES = 3  # tries of a command that certainly did not run
# bytes; Linux limits an argument to 131,072 bytes, and the login shell gets the line as one argument
LONGEST_LINE = 120_000
_HOME = re.compile(r"^/[^\x00-\x1f\x7f:]*$")
_NOT_NOW = 75  # EX_TEMPFAIL of sysexits.h: the site's wrapper reports that the site has paused the gateway
_WRAPPER = b"factorygate-act: "
_CANNOT_RUN = {126, 127}  # exit codes of shells and ``env`` for a program that is missing or may not be run


@dataclass(frozen=True)
class _Route:
    """How the link acts for an account: the pool of connections, the login name, and the words before every command."""

    pool: Pool
    username: str
    act: tuple[str, ...]


class SshTransport:
    """A ``Transport`` to a site's login hosts.

    ``name``: the factory's id, for log and metrics. ``account`` None, in all methods: the watcher, the account as which
    the link asks the scheduler.
    """

    def __init__(self, name: str, settings: Settings, keys: HostKeys, credentials: Credentials) -> None:
        self._name = name
        self._settings = settings
        self._credentials = credentials
        self._gate = SshConnector(name, settings, keys)
        self._pools: dict[str, Pool] = {}  # by login name: all people share a service account's connections
        self._routes: dict[str | None, _Route] = {}
        self._homes: dict[str | None, str] = {}
        self._reads = GatheredReads(self._read)
        self._running: set[ExecChannel] = set()
        places = settings.max_sessions * settings.max_connections
        # an account that logs in by itself has its own connections
        self._for_own = CommandSlots(COMMANDS, places, places)
        # All people share a service account's connections; one place is reserved for the watcher.
        self._for_service = CommandSlots(max(1, places - 1), max(1, places // SHARES), places)
        asyncssh.set_log_level(logging.WARNING)  # at INFO, asyncssh logs every connection

    async def run(self, command: Command[T], account: str | None = None) -> T:
        """Run a command as the account, with the settings' prefix and environment variables; return the parsed answer.

        ``account`` None: the watcher, the account as which the link asks the scheduler. Raises FactoryError, for
        example Unreachable if the command did not end within ``command.timeout`` seconds; such a command may have had
        an effect.
        """
        argv = (*self._settings.prefix, *command.argv)
        env = self._settings.env | dict(command.env)
        most = most_bytes(command, account)
        output = CommandOutput(*await self._bytes(account, argv, env, command.stdin.encode(), command.timeout, most))
        if output.code in _CANNOT_RUN:
            words = output.output().stderr.strip()
            raise Unreachable(f"{command.argv[0]} could not be run: {words or f'code {output.code}'}")
        return await answer(command, output)

    async def read(self, account: str | None, path: str, limit: int = 65536) -> bytes:
        """Return the first ``limit`` bytes of a file, opened as the account; a leading ``~`` is the account's home.

        ``account`` None: the watcher, the account as which the link asks the scheduler. Raises FactoryError: Gone, for
        example, if there is no file.
        """
        full = await self.home(account) + path[1:] if path == "~" or path.startswith("~/") else path
        route = await self._route(account)
        if not route.act:
            return await self._reads.read(account, full, limit)
        # The wrapper reads one file at a time.
        return first_bytes(*await self._bytes(account, head(full, limit), {}, b"", READ_TIMEOUT, limit))

    async def _read(
        self, account: str | None, argv: tuple[str, ...], most: int, seconds: float
    ) -> tuple[bytes, bytes, int]:
        found = await self._bytes(account, argv, {}, b"", seconds, most)
        if found[2] == 0 or b"No such file" in found[1]:
            return found
        # The account's own locale may translate this message.
        return await self._bytes(account, argv, {"LC_ALL": "C"}, b"", seconds, most)

    async def home(self, account: str | None) -> str:
        """Return the absolute path of the account's home. Raises FactoryError.

        ``account`` None: the watcher, the account as which the link asks the scheduler. The answer is kept, but a
        failure is not.
        """
        if account not in self._homes:
            self._homes[account] = await self._find_home(account)
        return self._homes[account]

    async def _find_home(self, account: str | None) -> str:
        """Return the account's home from the account database at the site, else the folder in which a login starts."""
        route = await self._route(account)
        home = None
        if not route.act:
            argv = ("getent", "passwd", route.username)
            stdout, _, _ = await self._bytes(account, argv, {}, b"", READ_TIMEOUT, SMALL)
            entries = [line.split(":") for line in stdout.decode(errors="replace").splitlines()]
            home = next((entry[5] for entry in entries if entry[0] == route.username and len(entry) == 7), None)
        if home is None:
            stdout, stderr, code = await self._bytes(account, ("pwd",), {}, b"", READ_TIMEOUT, SMALL)
            if code != 0:
                raise Refused(stderr.decode(errors="replace").strip() or f"pwd ended with code {code}")
            home = stdout.decode(errors="replace").strip()
        if not _HOME.match(home):
            raise Misread(f"The home of {account or route.username} was not understood.", home)
        return home

    async def connect(self, account: str | None, host: str, port: int) -> ByteStream:
        """Return a stream to a port of a node, over an SSH connection of the account to a login host.

        The port is connected when a protocol is connected to the stream. ``host``: the node; ``account`` None: the
        watcher, the account as which the link asks the scheduler. Raises FactoryError.
        """
        return ForwardStream(await self._take(account, ConnectionKind.FORWARD), host, port, CONNECT_TIMEOUT)

    async def enter(self, account: str | None, argv: Sequence[str]) -> ByteStream:
        """Return a stream to stdin and stdout of a command that runs as the account on a login host.

        The command is run when a protocol is connected to the stream. The stream's channel counts towards
        ``MaxSessions`` of the site's sshd. ``account`` None: the watcher, the account as which the link asks the
        scheduler. Raises FactoryError.
        """
        route = await self._route(account)
        line = _line(route.act, self._settings.env, (*self._settings.prefix, *argv))
        use = await self._take(account, ConnectionKind.ENTRY)
        return EntryStream(use, f"{argv[0]} of {account or route.username}", line, CONNECT_TIMEOUT)

    async def close(self) -> None:
        """Kill running commands and close all connections; pending calls raise Unreachable."""
        self._reads.close()
        for command in tuple(self._running):
            command.give_up()
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))

    async def _bytes(
        self,
        account: str | None,
        argv: Sequence[str],
        env: Mapping[str, str],
        stdin: bytes,
        seconds: float,
        cap: int,
    ) -> tuple[bytes, bytes, int]:
        """Run a command; return stdout, stderr, exit code.

        The time to wait for a connection and a place on it does not count against ``seconds``, the command's timeout.
        Raises FactoryError: Misread for more than ``cap`` bytes of stdout, or more than ``STDERR_CAP`` bytes of stderr.
        """
        route = await self._route(account)
        line = _line(route.act, env, argv)
        async with (self._for_service if route.act else self._for_own).of(account):
            return await self._heard_out(account, argv, line, stdin, seconds, cap)

    async def _heard_out(
        self, account: str | None, argv: Sequence[str], line: str, stdin: bytes, seconds: float, cap: int
    ) -> tuple[bytes, bytes, int]:
        problem: Unreachable | None = None
        for _ in range(TRIES):
            use = await self._take(account, ConnectionKind.COMMAND)
            command = ExecChannel(use, cap)
            self._running.add(command)
            try:
                async with asyncio.timeout(seconds):
                    stdout, stderr, code = await command.run(line, stdin)
            except NoPlace as error:
                use.refused()
                problem = error
            except Lost as error:
                problem = error
            except Misread as error:
                raise Misread(f"{argv[0]} answered with more than {cap} bytes.") from error
            except TimeoutError as error:
                raise Unreachable(f"{argv[0]} gave no answer within {seconds:g} s.") from error
            else:
                if code == _NOT_NOW and _WRAPPER in stderr:
                    raise NotDone(stderr.decode(errors="replace").strip())
                return stdout, stderr, code
            finally:
                command.give_up()
                self._running.discard(command)
        raise problem or Unreachable("")

    async def _take(self, account: str | None, kind: ConnectionKind) -> ConnectionUse:
        async def enter(on_lost: Callable[[], None]) -> asyncssh.SSHClientConnection:
            login = await self._credentials.login(account)
            return await self._gate.enter(login, account is None, on_lost)

        return await (await self._route(account)).pool.take(kind, enter)

    async def _route(self, account: str | None) -> _Route:
        known = self._routes.get(account)
        if known is None:
            login = await self._credentials.login(account)
            settings = self._settings
            longest = LONGEST_PAUSE if login.username == settings.watcher else LONGEST_REFUSED
            made = Pool(settings.max_sessions, settings.max_connections, longest)
            pool = self._pools.setdefault(login.username, made)
            known = self._routes[account] = _Route(pool, login.username, login.act)
        return known


def _line(act: Sequence[str], env: Mapping[str, str], argv: Sequence[str]) -> str:
    """Return an argv as a line of shell code; no other function makes such lines.

    sshd passes the line to the account's login shell. ``act``: words that precede the command, so that it acts for an
    account. ``env``: variables that the line itself sets, since sshd seldom accepts variables from the link. Raises
    Unreachable if an argument contains a NUL, Refused if the line is too long for the site's shell.
    """
    words = [*act, *(("env", *(f"{name}={value}" for name, value in env.items())) if env else ()), *argv]
    line = shlex.join(words)
    if "\0" in line:
        raise Unreachable(f"{argv[0]} could not be run: an argument holds a NUL")
    if len(line.encode()) > LONGEST_LINE:
        raise Refused(f"The command {argv[0]} is too long for the site's shell.")
    return line
