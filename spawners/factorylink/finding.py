"""Jobs that are ours and that no live row has: what becomes of them. The link cancels none that it did not submit."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from factorylink.board import Board
from factorylink.errors import Gone, LinkError
from factorylink.ledger import Conflict
from factorylink.live import Live
from factorylink.models import N_, Job, JobId, JobOptions, JobState, LogLine, SessionId, SessionState
from factorylink.schema import Row
from factorylink.seams import Place
from factorylink.submitting import read_note

log = logging.getLogger("factorylink")

# How long a submission of which nothing was heard may still bring a job: the scheduler's programs try again by
# themselves, also after the link that ran them is gone.
DOUBT = timedelta(seconds=40)
_ALIVE = (JobState.PENDING, JobState.RUNNING)


class Finder:
    """Looks at each such job; one that is left alone is looked at once."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._strangers: set[tuple[str, JobId]] = set()

    async def surplus(self, row: Row, place: Place, job: Job) -> None:
        """Another job than its own says it is of this row."""
        if job.state not in _ALIVE:
            return
        if row.submits < 2:  # then it is none of ours, whoever copied the comment
            self._leave_alone(place, job, f"says it is of session {row.id}, which has job {row.job}")
            return
        try:
            await place.site.cancel(row.account, [job.id])
        except LinkError as error:
            log.warning("The second job %s of session %s is not cancelled yet: %s", job.id, row.id, error.message)
        else:
            await self._board.ledger.change(row, entry=self._board.entry(row, "cancel", f"second job {job.id}"))

    async def unknown(self, session_id: SessionId, place: Place, job: Job) -> Live | None:
        """Ours, and not among the live sessions: the ledger was lost, or a submission arrived after all.

        The session it now is, or None: there is none, or it is left alone.
        """
        if (place.factory.id, job.id) in self._strangers or job.state not in _ALIVE:
            return None
        row = await self._board.ledger.row(session_id)
        try:
            if row is None:
                return await self._rebuild(session_id, place, job)
            if row.job is None and row.wish == "stop":
                return await self._revive(row, job)
            if row.job != job.id:
                self._leave_alone(place, job, f"is of session {session_id}, which had job {row.job}")
            elif row.ended is not None and _since(row.ended) > DOUBT:
                self._leave_alone(place, job, f"is of session {session_id}, which ended")
        except Conflict:
            self._leave_alone(place, job, f"is of session {session_id}, and its server has another session")
        return None

    async def _rebuild(self, session_id: SessionId, place: Place, job: Job) -> Live | None:
        try:
            note = await read_note(place, job.account, session_id, self._board.identity)
        except Gone:
            note = None
        except LinkError as error:
            log.warning("The note of session %s is read again: %s", session_id, error.message)
            return None
        if note is None:
            self._leave_alone(place, job, f"is of session {session_id}, whose folder has no note of ours")
            return None
        used = self._board.ports()
        port = note.port if note.port not in used else self._board.doors.allocate(used)
        row = Row(
            id=note.id,
            user=note.user,
            server=note.server,
            factory=note.factory,
            account=note.account,
            choice=note.choice,
            options=JobOptions(),
            port=port,
            created=note.created,
            job=job.id,
            submits=1,
            log=[
                LogLine(
                    at=datetime.now(UTC), text=N_("Taken into the ledger again, from its job {job}.").format(job=job.id)
                )
            ],
        )
        return await self._board.keep(row, self._board.entry(row, "rebuild"))

    async def _revive(self, row: Row, job: Job) -> Live:
        say = N_("Job {job} arrived after all; it is cancelled.").format(job=job.id)
        await self._board.ledger.change(row, say=say, job=job.id, ended=None, state=SessionState.ENDING)
        live = self._board.live[row.id] = Live(row)
        return live

    def _leave_alone(self, place: Place, job: Job, why: str) -> None:
        if (place.factory.id, job.id) not in self._strangers:
            self._strangers.add((place.factory.id, job.id))
            log.warning("Job %s at %s %s: left alone", job.id, place.factory.id, why)


def _since(moment: datetime) -> timedelta:
    return datetime.now(UTC) - moment
