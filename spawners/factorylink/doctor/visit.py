"""Tests a factory once, in the steps of a session; the caller runs one step after another.

The visit uses the link's own code, access, credentials and job script; it submits a real job and enters the real door.
Only the hub's name and the keys differ from the link's, so that a running link does not adopt the job. Whatever has
happened, the visit ends with an attempt to cancel the job and, if the job is over, to remove the session's folder.
"""

from __future__ import annotations

import asyncio
import posixpath
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncssh

from factorycommon.models import Choice, Factory, Job, JobId, JobOptions, JobState, NodeSize, SessionId, Words
from factorylink.catalogue.choices import bridge_argv, resolve
from factorylink.config import LinkConfig, SshTransportSettings, WrapperCredentials
from factorylink.doctor import job_marks
from factorylink.doors import carriers
from factorylink.doors.manager import NO_PORT, DoorManager
from factorylink.doors.protocol import DoorFile, DoorStatus, read_message
from factorylink.errors import FactoryError, Gone, Refused, Unreachable
from factorylink.explain import explain
from factorylink.jobs.identity import Identity, Note
from factorylink.jobs.ownership import Found, OwnJob
from factorylink.ledger.ledger import Ledger
from factorylink.schedulers.command import Command, done
from factorylink.sessions.submitter import NOTE, Submitter, read_note, session_folder
from factorylink.sessions.termination import read_tail
from factorylink.site.connecting import make_connections
from factorylink.site.site import Site
from factorylink.util import clock

HOURS = 0.1  # hours that the job requests
_NAME = "doctor"  # appended to the hub's name in the job's name
_DOOR = "door.json"
_PAUSE = 0.5  # seconds between two polls
# seconds from the job's start to its door's first message: Python starts from a shared file system
_DOOR_SECONDS = 60.0
_BANNER_SECONDS = 20.0
_END_SECONDS = 60.0
_MARKS_SECONDS = 30.0  # seconds from the accepted submission until the scheduler lists the job


class Stuck(Exception):
    """Raised if a step of a visit failed. ``words``: the known reason; ``log``: the last lines of the job's log."""

    def __init__(self, words: Words, log: tuple[str, ...] = ()) -> None:
        super().__init__(words.what)
        self.words = words
        self.log = log


class Visit:
    """Tests a factory once. ``steps``: the name and function of each step, which the caller runs in this order.

    Each function returns a text that says what it found, or raises Stuck or a FactoryError. ``account``: the site
    account under which the job runs; ``patience``: seconds for the job to start; ``kept``: the session's folder if
    ``leave`` left it at the factory, because the site's wrapper removes no folders, else "". Always call ``leave`` at
    the end.
    """

    def __init__(self, config: LinkConfig, factory: Factory, account: str, size: NodeSize, patience: float) -> None:
        own = config.model_copy(update={"hub": config.hub.model_copy(update={"name": f"{config.hub.name}-{_NAME}"})})
        key = asyncssh.generate_private_key("ssh-ed25519")
        self._connection = make_connections(own, {factory.id: factory})[factory.id]
        if not isinstance(self._connection.site, Site):
            raise TypeError("a place without a site")
        self._site = self._connection.site
        self._site.knows_ids(lambda _account: () if self._job is None else (self._job,))
        self._account = account
        self._id = secrets.token_hex(16)
        self._identity = Identity(own.hub.name, secrets.token_bytes(32))
        self._comment = self._identity.comment(self._id, account, factory.id)
        nowhere = Path("/nonexistent")  # no session is stored, and nothing answers requests from the job
        self._submitter = Submitter(
            Ledger(nowhere), self._identity, own.limits, key.export_public_key().decode().split()[1]
        )
        self._opened = asyncio.Event()
        self._doors = DoorManager(own, key, self._on_door_status, nowhere)
        self._gateway = job_marks.own_identity(config.hub.name, config.keys)
        self._asks_as = account if config.factories[factory.id].private_jobs else None
        self._choice = resolve(factory, Choice(size=size.id, hours=min(HOURS, size.max_hours)))
        self._patience = patience
        transport = config.factories[factory.id].transport
        self._wrapped = isinstance(transport, SshTransportSettings) and isinstance(
            transport.credentials, WrapperCredentials
        )
        self.kept = ""
        self._folder = ""
        self._asked = False  # True once there may be a job
        self._job: JobId | None = None
        self._node: str | None = None
        self._gone = False  # True once ``leave`` is done
        self.steps: tuple[tuple[str, Callable[[], Awaitable[str]]], ...] = (
            ("login", self._login),
            ("scheduler", self._scheduler),
            ("home", self._home),
            ("submit", self._submit),
            ("marks", self._marks),
            ("start", self._start),
            ("entry", self._entry),
            ("door", self._door),
            ("name", self._name),
        )

    # --- the steps; each returns what it found

    async def _login(self) -> str:
        home = await self._connection.commands.home(self._account)
        return f"{self._account} is let in; its home is {home}"

    async def _scheduler(self) -> str:
        await self._site.start()
        await self._site.ask_jobs_now()
        return f"{self._connection.factory.scheduler} answers the watcher"

    async def _home(self) -> str:
        self._folder = await session_folder(self._connection, self._account, self._id)
        note = Note(
            id=self._id,
            user=_NAME,
            server="",
            factory=self._connection.factory.id,
            account=self._account,
            choice=self._choice,
            port=NO_PORT,
            created=clock.now(),
        )
        await self._submitter.leave(self._connection, self._account, self._id, NOTE, self._identity.seal(note))
        if await read_note(self._connection, self._account, self._id, self._identity) != note:
            raise Refused(f"{self._folder}/{NOTE} is not read as it was written")
        return f"sessions get their folders in {posixpath.dirname(self._folder)}"

    async def _submit(self) -> str:
        request = self._submitter.request(
            self._connection, self._choice, JobOptions(), self._id, self._folder, self._comment
        )
        await self._site.turn(_NAME)
        self._asked = True
        self._job = await self._site.submit(self._account, request)
        return f"job {self._job} was taken for {self._choice.size} in {request.partition}"

    async def _marks(self) -> str:
        try:
            async with asyncio.timeout(_MARKS_SECONDS):
                while True:
                    if found := await self._by_id():
                        break
                    await asyncio.sleep(_PAUSE)
        except TimeoutError:
            raise Stuck(explain.own("gone")) from None
        if (words := job_marks.changed(found[0], self._site.job_name, self._comment)) is not None:
            raise Stuck(words)
        return "the scheduler shows the job's name and comment as they were submitted"

    async def _start(self) -> str:
        job: Job | None = None
        try:
            async with asyncio.timeout(self._patience):
                while True:
                    job = await self._seen() or job
                    if job is not None and job.state is not JobState.PENDING:
                        self._node = job.nodes[0] if job.nodes else None
                        if job.state is not JobState.RUNNING and self._node is None:
                            raise await self._ended()
                        return f"it got the node {self._node}"
                    await asyncio.sleep(_PAUSE)
        except TimeoutError:
            waits = explain.own("gone") if job is None else explain.pending(job)
            raise Stuck(waits) from None

    async def _entry(self) -> str:
        door = await self._door_file()
        stream = await self._route().open(door)
        greeting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(_BANNER_SECONDS):
                channel, _ = await stream.create_connection(lambda: _Listener(greeting), "door", 0)
                first = await greeting
                channel.close()
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise Unreachable(str(error) or "The door gave no answer in time.") from error
        finally:
            stream.close()
        if not first.startswith(b"SSH-"):
            raise Unreachable(f"What answers there is no door: {first[:40]!r}")
        return f"the carrier {self._connection.access.door.carrier} leads to the door"

    async def _door(self) -> str:
        await self._doors.open(self._route())
        try:
            async with asyncio.timeout(_BANNER_SECONDS):
                await self._opened.wait()
        except TimeoutError:
            raise Unreachable(self._doors.problem(self._id)) from None
        await self._doors.token(self._id)
        return "it knows the gateway's key, and answers"

    async def _name(self) -> str:
        if self._gateway is None:
            return (
                "not checked for other gateways of this name: hmac.key in state_dir is missing or cannot be read here"
            )
        jobs = await self._connection.commands.run(self._connection.dialect.jobs(self._gateway.job_name), self._asks_as)
        words = job_marks.same_name(jobs, self._gateway, self._connection.factory.id)
        if words is not None:
            raise Stuck(words)
        return f"no other gateway has jobs of the name {self._gateway.job_name}"

    # --- helpers of the steps

    async def _by_id(self) -> list[Job]:
        """Return the visit's job as the scheduler lists it under its id.

        Empty if the scheduler does not know the id, or if the visit does not know one yet.
        """
        return await self._site.by_id([self._job], self._asks_as) if self._job is not None else []

    def _on_door_status(self, _session: SessionId, status: DoorStatus | None) -> None:
        if status is not None:
            self._opened.set()

    async def _seen(self) -> Job | None:
        return next((job for job in await self._site.ask_jobs_now() if job.id == self._job), None)

    async def _door_file(self) -> DoorFile:
        """Return the door's file once the job has written it. Raises Stuck if the job ends first or takes too long."""
        path, why = f"{self._folder}/{_DOOR}", ""
        try:
            async with asyncio.timeout(_DOOR_SECONDS):
                while True:
                    try:
                        return read_message(DoorFile, await self._connection.commands.read(self._account, path))
                    except Gone as error:
                        why = error.message
                    job = await self._seen()
                    if job is None or job.state in (JobState.ENDING, JobState.ENDED):
                        raise await self._ended()
                    await asyncio.sleep(_PAUSE)
        except TimeoutError:
            raise Stuck(explain.door(why), await self._log()) from None

    def _route(self) -> carriers.Route:
        connection, job = self._connection, self._job or ""
        bridge = bridge_argv(connection.factory, self._choice)
        carrier = carriers.carrier(connection.access.door, connection.dialect, job, self._node, bridge)
        file = f"{self._folder}/{_DOOR}"
        return carriers.Route(
            self._id, connection.factory.id, self._account, file, connection.commands, connection.streams, carrier
        )

    async def _ended(self) -> Stuck:
        end = await self._site.why_ended(self._account, self._job or "")
        log = await self._log()
        return Stuck(explain.ended(end, tail=log)[1], log)

    async def _log(self) -> tuple[str, ...]:
        try:
            return await self._connection.commands.run(read_tail(f"{self._folder}/job.log"), self._account)
        except FactoryError:
            return ()

    # --- cleaning up

    async def leave(self) -> list[Words]:
        """Remove everything that the visit made; return descriptions of what could not be removed.

        If the session's folder stays only because the link logs in through a wrapper, which removes no folders, the
        folder's path is in ``kept`` and not in the returned list. After a finished call, further calls do nothing and
        return an empty list.
        """
        if self._gone:
            return []
        left: list[Words] = []
        await self._doors.shutdown()
        try:
            if self._asked:
                await self._end_job()
        except (FactoryError, TimeoutError) as error:
            # Keep its folder, too: a job that starts later would create the folder again.
            job = self._job or f"with the comment {self._comment}"
            left.append(_left(f"Job {job} may still be there, and its folder {self._folder} is", error))
        else:
            left += await self._remove_folder()
        await self._site.stop()
        await self._connection.commands.close()
        self._gone = True
        return left

    async def _end_job(self) -> None:
        """Cancel the job, also if the scheduler did not return its id.

        Raises TimeoutError if the job does not end, Refused if its comment was changed, and the errors of the
        scheduler's commands.
        """
        async with asyncio.timeout(_END_SECONDS):
            while jobs := [
                job
                for job in await self._site.ask_jobs_now()
                if (job.id == self._job or job.comment == self._comment) and job.state is not JobState.ENDED
            ]:
                own = [OwnJob(job.id, self._account, self._comment) for job in jobs]
                if {Found.ALTERED, Found.FOREIGN} & {*(await self._site.cancel(self._account, own)).values()}:
                    raise Refused(
                        f"The comment of job {jobs[0].id} is {jobs[0].comment!r} now, so the doctor does not cancel "
                        "the job. Cancel it at the factory (scancel, qdel)."
                    )
                await asyncio.sleep(_PAUSE)

    async def _remove_folder(self) -> list[Words]:
        """Remove the session's folder, and the two folders above it if they are empty.

        Return descriptions of what could not be removed. If the link logs in through a wrapper, which removes no
        folders, remove nothing, set ``kept`` to the path of the session's folder, and return an empty list.
        """
        if not self._folder:
            return []
        if self._wrapped:
            self.kept = self._folder
            return []
        sessions = posixpath.dirname(self._folder)
        run = self._connection.commands.run
        empty = ("rmdir", "--ignore-fail-on-non-empty", "--", sessions, posixpath.dirname(sessions))
        try:
            await run(Command(("rm", "-rf", "--", self._folder), done, timeout=20), self._account)
            await run(Command(empty, done, timeout=20), self._account)
        except FactoryError as error:
            return [_left(f"The folder {self._folder} is still there", error)]
        return []


class _Listener(asyncssh.SSHTCPSession[bytes]):
    """Passes the first bytes that arrive on a channel to the future ``greeting``."""

    def __init__(self, greeting: asyncio.Future[bytes]) -> None:
        self._greeting = greeting

    def data_received(self, data: bytes, datatype: int | None = None) -> None:  # noqa: ARG002
        """Make the first bytes the result of ``greeting``; ignore all later bytes."""
        if not self._greeting.done():
            self._greeting.set_result(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let ``greeting`` fail with an error if the channel closed before any bytes arrived."""
        if not self._greeting.done():
            self._greeting.set_exception(exc or ConnectionError("it closed at once"))


def _left(what: str, error: Exception) -> Words:
    return Words(
        code="left-behind",
        what=f"{what}.",
        do="Remove there by hand what is left.",
        whose="operator",
        scheduler=str(error),
    )
