"""Submits a session's job, after creating the session's folder, and a note in this folder.

The note is a signed copy of the main fields of the session's row in the ledger. From the note, the link can restore a
row that the ledger has lost.
"""

from __future__ import annotations

import io
import math
import posixpath
import tarfile
from collections.abc import Mapping, Sequence

from factorycommon.models import JobId, JobOptions, JobRequest, ProjectAt, ProjectId, ResolvedChoice, SessionId, Slug
from factorylink.catalogue.loading import ChoiceError, job_request
from factorylink.config import Limits
from factorylink.errors import NotDone, Refused, Unwanted
from factorylink.jobs.identity import Identity, Note
from factorylink.ledger.ledger import Ledger
from factorylink.ledger.schema import SessionRecord
from factorylink.projects.book import ProjectBook
from factorylink.schedulers.command import Command, done
from factorylink.site.factory_connection import FactoryConnection
from factorylink.util import clock
from factorylink.util.batcher import Batcher

NOTE = "session.json"
NOTES_AT_ONCE = 20
NEVER = 24 * 60  # minutes, practically unlimited: a Dask scheduler itself knows best whether it is idle
# arguments: parent folder, the session's folder in it, the file in this folder, its content
Written = tuple[FactoryConnection, str, str, str]


class Submitter:
    """Submits the jobs of sessions.

    ``public_key``: the base64 part of the link's ssh-ed25519 key, which the door accepts; ``projects`` None: there are
    no projects, so no job gets a project's settings.
    """

    def __init__(
        self, ledger: Ledger, identity: Identity, limits: Limits, public_key: str, projects: ProjectBook | None = None
    ) -> None:
        self._ledger = ledger
        self._projects = projects
        self._identity = identity
        self._limits = limits
        self._public_key = public_key
        self._notes: Batcher[tuple[str, str], Written] = Batcher(self._write, NOTES_AT_ONCE)
        self._made: set[tuple[str, str]] = set()  # accounts whose folder for sessions exists

    async def submit(self, record: SessionRecord, connection: FactoryConnection) -> JobId:
        """Submit the session's job; return its id.

        Raises LedgerError and FactoryError, such as Refused if the link or the site refuses the job, or Unwanted if the
        session was stopped before its submission. After most errors, there is no job. There may be a job only if this
        call has increased ``record.submits``, and the error is an Unreachable other than NotDone.
        """
        connection.site.check()
        _check_not_paused(connection)  # the factory may have changed since the session was admitted
        folder = await self.leave(connection, record.account, record.id, NOTE, self._identity.seal(_note(record)))
        # The turn comes last: what was waited for in between would bring the jobs of several turns together.
        await connection.site.turn(record.user)
        _check_not_paused(connection)
        comment = self._identity.comment(record.id, record.account, record.factory)
        choice = _choice_of_job(record)
        request = self.request(connection, choice, record.options, record.id, folder, comment)
        if record.wish == "stop":  # the person may have been blocked since the session was admitted
            raise Unwanted("The session was stopped before its job was handed over.")
        await self._ledger.change(record, submit_begun=clock.now(), submits=record.submits + 1)
        return await connection.site.submit(record.account, request, record.options.template)

    async def leave(
        self, connection: FactoryConnection, account: str, session_id: SessionId, file: str, content: str
    ) -> str:
        """Write ``content`` into a file in the folder of a session or cluster; return the folder's path.

        The folder is created if it is missing. ``session_id``: the id of the session or cluster; ``file``: the file's
        name. Raises FactoryError, such as Refused if the disk is full.
        """
        folder = await session_folder(connection, account, session_id)
        await self._notes.do((connection.factory.id, account), (connection, folder, file, content))
        return folder

    async def _write(self, key: tuple[str, str], notes: Sequence[Written]) -> None:
        """Write files into the folders of one account's sessions, with one command.

        In the first call for an account, another command creates the folder that contains the sessions' folders. If the
        site refuses to write the files in a later call, create this folder again, and write the files once more.
        ``key``: the factory's id and the site account. Raises the transport's errors.
        """
        connection, folder, *_ = notes[0]
        sessions, account = posixpath.dirname(folder), key[1]
        anew = key not in self._made
        if anew:
            await connection.commands.run(make_folders(posixpath.dirname(sessions), sessions), account)
            self._made.add(key)
        contents = {f"{posixpath.basename(folder)}/{file}": content for _, folder, file, content in notes}
        try:
            await connection.commands.run(write_files(sessions, contents), account)
        except Refused:
            self._made.discard(key)
            if anew:
                raise
            await self._write(key, notes)  # somebody may have removed the folders that the link made

    def request(
        self,
        connection: FactoryConnection,
        choice: ResolvedChoice,
        options: JobOptions,
        session_id: SessionId,
        folder: str,
        comment: str,
    ) -> JobRequest:
        """Return the job request from which the dialect makes a job script.

        ``folder``: the session's folder at the factory; ``comment``: the job's comment, by which the link recognises
        the job. Raises Refused if the choice is no longer offered, if the project may no longer use the factory, or if
        a path or name cannot be passed to a scheduler. Raises Unreachable if the link has not read the projects yet.
        """
        factory, access = connection.factory, connection.access
        door = [
            *("-P", "-m", "factorygate.session", "--id", session_id, "--folder", folder),
            *("--authorized", self._public_key, "--tmp", access.door.node_tmp),
            *("--notebook-dir", factory.notebook_folder.path),
            *("--idle-minutes", str(choice.idle_minutes), "--unopened-minutes", str(choice.unopened_minutes)),
            *("--environment-wait", str(self._limits.environment_wait_seconds)),
        ]
        if access.door.carrier == "stdio":
            door.append("--stdio")
        elif access.door.listen:
            door += ["--listen", access.door.listen]
        if access.door.carrier == "tcp" and access.door.ports is not None:
            door += ["--ports", "{}-{}".format(*access.door.ports)]
        try:
            return job_request(
                factory,
                access,
                choice,
                options,
                name=self._identity.job_name,
                comment=comment,
                folder=folder,
                argv=door,
                project=self.at(choice.project, factory.id),
            )
        except ChoiceError as error:  # the size was offered when the session was requested
            raise Refused(error.message) from error
        except ValueError as error:
            raise Refused(f"The job for {factory.site.machine} cannot be written: {error}") from error

    def at(self, project: ProjectId | None, factory: Slug) -> ProjectAt:
        """Return a project's settings at a factory.

        The settings are empty if ``project`` is None, or if jobs of this project are not charged
        (``ProjectBook.is_charged``). Raises Refused if the project may not use the factory any more, Unreachable if the
        link has not read the projects yet.
        """
        return ProjectAt() if self._projects is None else self._projects.at(project, factory)

    async def sample(self, connection: FactoryConnection, account: str, choice: ResolvedChoice) -> JobRequest:
        """Return a job request with which the scheduler can estimate a start; nothing is created at the factory.

        Raises Refused if there can be no such job, Unreachable if the link has not read the projects yet, and the
        transport's errors.
        """
        nobody = "0" * 32
        folder = await session_folder(connection, account, nobody)
        return self.request(connection, choice, JobOptions(), nobody, folder, "estimate")


def _check_not_paused(connection: FactoryConnection) -> None:
    """Raise NotDone if an operator has paused the factory."""
    if (paused := connection.access_status.paused) is not None:
        raise NotDone(paused.what)


async def session_folder(connection: FactoryConnection, account: str, session_id: SessionId) -> str:
    """Return the absolute path of the folder of a session or cluster at the factory.

    The folder is below the configured ``session_folder``, in which a leading ``~`` means the site account's home
    folder. ``session_id``: the id of the session or cluster. Raises FactoryError.
    """
    base = connection.access.session_folder
    if base == "~" or base.startswith("~/"):
        base = await connection.commands.home(account) + base[1:]
    return f"{base.rstrip('/')}/sessions/{session_id}"


async def read_note(
    connection: FactoryConnection, account: str, session_id: SessionId, identity: Identity
) -> Note | None:
    """Read a session's note from the session's folder: a signed copy of the main values of the session's row.

    None: the note was not signed by this link for this session, account and factory. Raises the transport's errors,
    such as Gone if there is no note.
    """
    folder = await session_folder(connection, account, session_id)
    note = identity.unseal(await connection.commands.read(account, f"{folder}/{NOTE}"))
    if note is None or (note.id, note.account, note.factory) != (session_id, account, connection.factory.id):
        return None
    return note


def _choice_of_job(record: SessionRecord) -> ResolvedChoice:
    """Return a session's choice, with the limits that the job's door gets.

    If necessary, ``unopened_minutes``, which count from now, are raised so that they last until the record's
    ``unopened_until``. The door of a Dask scheduler's job gets no limits.
    """
    if record.head:
        return record.choice.model_copy(update={"idle_minutes": NEVER, "unopened_minutes": NEVER})
    if record.unopened_until is None:
        return record.choice
    minutes = math.ceil((record.unopened_until - clock.now()).total_seconds() / 60)
    return record.choice.model_copy(update={"unopened_minutes": max(record.choice.unopened_minutes, minutes)})


def _note(record: SessionRecord) -> Note:
    return Note(
        id=record.id,
        user=record.user,
        server=record.server,
        factory=record.factory,
        account=record.account,
        choice=record.choice,
        port=record.port,
        created=record.created,
    )


def make_folders(*folders: str) -> Command[None]:
    """Return the command that creates those of ``folders`` that are missing, with mode 0700."""
    return Command(argv=("mkdir", "-p", "-m", "700", "--", *folders), parse=done, timeout=10)


def write_files(sessions: str, files: Mapping[str, str]) -> Command[None]:
    """Return the command that writes ``files`` as 0600 files in 0700 folders below the existing folder ``sessions``.

    ``files``: the content of each file, by its path ``SESSION/FILE``. The command unpacks an archive, so the files are
    private whatever umask the account has.
    """
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, content in files.items():
            folder = tarfile.TarInfo(posixpath.dirname(path))
            folder.type, folder.mode = tarfile.DIRTYPE, 0o700
            tar.addfile(folder)
            data = content.encode()
            file = tarfile.TarInfo(path)
            file.size, file.mode = len(data), 0o600
            tar.addfile(file, io.BytesIO(data))
    argv = ("tar", "-x", "-m", "-f", "-", "-C", sessions)
    return Command(argv=argv, parse=done, stdin=archive.getvalue().decode(), timeout=10)
