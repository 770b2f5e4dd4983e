"""Logs in at a site: selects hosts and jump hosts, limits the rate of logins, and classifies failures."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import NoReturn

import asyncssh

from factorycommon.ssh_data_path import use_data_path
from factorylink.config import SshTransportSettings as Settings
from factorylink.config import address
from factorylink.credentials.base import Login
from factorylink.errors import Distrusted, NotLetIn, Unreachable
from factorylink.transports.host_keys import HostKeys
from factorylink.transports.ssh.packets import GatheringSocket
from factorylink.util import metrics

log = logging.getLogger(__name__)

MINUTE = 60.0
FOR_THE_WATCHER = 2  # logins a minute reserved for the watcher, whose answers all others need
SHARES = 4  # shares into which the logins of a minute are divided: no login name gets more than one
LONGEST_TURN = 60.0  # seconds that a login waits for its turn; one that would wait longer fails at once
# Logins of people's accounts at a time: sshd begins to drop connections that have not logged in yet when there are ten
# of them (``MaxStartups``), from wherever they come.
AT_ONCE = 6
KEEPALIVES = 3  # keepalives without an answer, then the connection is lost
# Processors have instructions for AES-GCM; the other ciphers are for sites that disabled it.
CIPHERS = [
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes256-ctr",
]


class LoginPace:
    """A limit on logins: at most ``per_minute`` start in any minute, for all accounts together.

    Some of these logins are reserved for the watcher (the site account that asks the scheduler). Each other login name
    may use only a share of the logins. A service account, as which the link logs in for all people, has no such limit.
    """

    def __init__(self, per_minute: int) -> None:
        self._most = per_minute
        self._share = max(2, per_minute // SHARES)
        self._begun: deque[float] = deque(maxlen=per_minute)
        self._own: dict[str, deque[float]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    @contextlib.asynccontextmanager
    async def login(self, watcher: bool, name: str | None = None) -> AsyncIterator[None]:
        """Wait until a login may start; the caller logs in inside the block.

        ``watcher``: whether this is a login of the watcher, the site account that asks the scheduler. At most
        ``AT_ONCE`` blocks of other accounts run at the same time. ``name``: the login name whose share of the logins is
        used; None: no share limits the login (of the watcher, or of a service account). Raises Unreachable if the wait
        would be too long.
        """
        if watcher:
            await self.turn(watcher, name)
            yield
            return
        first = time.monotonic()
        if (pause := self._own_pause(name)) > 0:  # a name that has used up its share waits where others can pass it
            await asyncio.sleep(pause)
        async with self._slots:
            await self.turn(watcher, name, first)  # last, so that the time that is counted is that of the login
            yield

    async def turn(self, watcher: bool, name: str | None = None, since: float | None = None) -> None:
        """Wait until the logins of the last minute allow one more login, and count the login.

        Raises Unreachable if the wait would be too long. ``watcher``: whether this is a login of the watcher (the site
        account that asks the scheduler), for which some logins are reserved. ``name``: the login name whose share of
        the logins is used; None: no share limits the login (of the watcher, or of a service account). ``since``: when
        the login began to wait, by ``time.monotonic``; None: now.
        """
        most = self._most if watcher else max(1, self._most - FOR_THE_WATCHER)
        first = time.monotonic() if since is None else since
        while (pause := max(_pause(self._begun, most), self._own_pause(name))) > 0:
            if time.monotonic() - first + pause > LONGEST_TURN:
                raise Unreachable(
                    f"More logins are needed at this site than the {self._most} a minute that it allows us "
                    "(transport.logins_per_minute)."
                )
            await asyncio.sleep(pause)
        self._begun.append(time.monotonic())
        if name is not None:
            self._own.setdefault(name, deque(maxlen=self._share)).append(time.monotonic())

    def _own_pause(self, name: str | None) -> float:
        ago = time.monotonic() - MINUTE
        self._own = {known: begun for known, begun in self._own.items() if begun[-1] > ago}
        return 0.0 if name is None or name not in self._own else _pause(self._own[name], self._share)


def _pause(begun: deque[float], most: int) -> float:
    """Return the seconds until fewer than ``most`` logins were started in the last minute; 0 or less if so now."""
    last = list(begun)[-most:]
    return last[0] + MINUTE - time.monotonic() if len(last) == most else 0.0


class SshConnector:
    """Opens connections to a site's login hosts. ``name``: the factory's id, for log and metrics."""

    def __init__(self, name: str, settings: Settings, keys: HostKeys) -> None:
        self._name = name
        self._settings = settings
        self._keys = keys
        self._pace = LoginPace(settings.logins_per_minute)
        self._jumps = [address(text) for text in settings.jump]
        self._hosts = [address(text) for text in settings.hosts]  # sorted so that the host that worked last comes first

    async def enter(self, login: Login, watcher: bool, on_lost: Callable[[], None]) -> asyncssh.SSHClientConnection:
        """Log in at the first host that accepts the login, and return the connection.

        The host that worked last is tried first. ``watcher``: whether this is the login of the watcher, the site
        account that asks the scheduler; ``on_lost``: called once when the connection is lost.

        If no host accepts the login, raises Distrusted if at least one host showed a key that is not pinned, else
        NotLetIn if at least one host refused the login, else Unreachable. A failure at a jump host counts as a failure
        of the host behind it.
        """
        problems: list[Unreachable] = []
        for host in tuple(self._hosts):
            try:
                connection = await self._through(host, login, watcher, on_lost)
            except Unreachable as problem:
                problems.append(problem)
                metrics.LOGINS.labels(self._name, _outcome(problem)).inc()
                level = logging.ERROR if isinstance(problem, Distrusted) else logging.INFO
                log.log(level, "%s: %s", self._name, problem.message)
                continue
            self._hosts.remove(host)
            self._hosts.insert(0, host)
            metrics.LOGINS.labels(self._name, "ok").inc()
            log.info("%s: logged in at %s as %s with %s", self._name, host[0], login.username, login.key_id)
            return connection
        words = " ".join(dict.fromkeys(problem.message for problem in problems))
        for kind in (Distrusted, NotLetIn):
            if any(isinstance(problem, kind) for problem in problems):
                raise kind(words)
        raise Unreachable(words)

    async def _through(
        self, host: tuple[str, int], login: Login, watcher: bool, on_lost: Callable[[], None]
    ) -> asyncssh.SSHClientConnection:
        """Return a connection to ``host`` that goes through the jump hosts. Raises Unreachable.

        If this connection fails or is lost, the connections to the jump hosts are closed.
        """
        passed: list[asyncssh.SSHClientConnection] = []

        def lost() -> None:
            for jump in reversed(passed):
                jump.abort()
            on_lost()

        try:
            for hop in self._jumps:
                passed.append(await self._hop(hop, login, watcher, passed))
            return await self._hop(host, login, watcher, passed, lost)
        except BaseException:
            for jump in reversed(passed):
                jump.abort()
            raise

    async def _hop(
        self,
        host: tuple[str, int],
        login: Login,
        watcher: bool,
        passed: list[asyncssh.SSHClientConnection],
        on_lost: Callable[[], None] = lambda: None,
    ) -> asyncssh.SSHClientConnection:
        shared = watcher or login.act  # all people share a service account's logins
        settings = self._settings
        try:
            async with (
                self._pace.login(watcher, None if shared else login.username),
                asyncio.timeout(settings.connect_seconds),
            ):
                return await asyncssh.connect(
                    *host,
                    tunnel=passed[-1] if passed else GatheringSocket(),
                    client_factory=lambda: _Client(on_lost),
                    username=login.username,
                    client_keys=[login.key if login.certificate is None else (login.key, login.certificate)],
                    known_hosts=self._keys.known(),
                    server_host_key_algs=self._keys.algorithms(),
                    x509_trusted_certs=None,
                    config=None,
                    agent_path=None,
                    preferred_auth="publickey",
                    gss_host=None,
                    encryption_algs=CIPHERS,
                    compression_algs=["none"],
                    login_timeout=settings.connect_seconds,
                    keepalive_interval=settings.keepalive_seconds,
                    keepalive_count_max=KEEPALIVES,
                )
        except (asyncssh.Error, OSError, TimeoutError) as error:
            _explain(error, host, login.username, settings.connect_seconds, passed)


def _outcome(problem: Unreachable) -> str:
    """Return the one of ``metrics.LOGIN_OUTCOMES`` under which a failed login is counted."""
    if isinstance(problem, Distrusted):
        return "distrusted"
    return "not_let_in" if isinstance(problem, NotLetIn) else "unreachable"


class _Client(asyncssh.SSHClient):
    """Calls ``on_lost`` once when an established connection is lost, but not (unlike asyncssh) for a failed login."""

    def __init__(self, on_lost: Callable[[], None]) -> None:
        self._on_lost = on_lost
        self._entered = False

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        use_data_path(conn)

    def auth_completed(self) -> None:
        self._entered = True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self._entered:
            self._on_lost()


def _explain(
    error: Exception, host: tuple[str, int], user: str, seconds: float, passed: list[asyncssh.SSHClientConnection]
) -> NoReturn:
    name = host[0] if host[1] == 22 else f"{host[0]}:{host[1]}"
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        raise Distrusted(
            f"{name} showed a host key that is not the one written down for it ({error.reason}). It was not spoken "
            "to: either the site changed its key, or somebody pretends to be it. The operator must ask the site."
        ) from error
    if isinstance(error, asyncssh.PermissionDenied):
        raise NotLetIn(f"{name}: the site does not let us in as {user}.") from error
    if isinstance(error, TimeoutError):
        raise Unreachable(f"{name} did not answer within {seconds:g} s.") from error
    if isinstance(error, asyncssh.ChannelOpenError) and passed:
        raise Unreachable(f"{name} cannot be reached from the jump host: {error.reason}.") from error
    if isinstance(error, OSError):
        words = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        raise Unreachable(f"{name}: {words}.") from error
    raise Unreachable(f"{name}: {error}.") from error
