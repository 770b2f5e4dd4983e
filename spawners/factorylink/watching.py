"""What a factory's answers and the doors' words do to the sessions. ``lifecycle`` says what they mean."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from factorylink import budget, carriers, explain, lifecycle, moments
from factorylink.board import Board
from factorylink.choices import ChoiceError, bridge_argv
from factorylink.ending import Ender
from factorylink.errors import LinkError
from factorylink.extending import Extender
from factorylink.finding import DOUBT, Finder
from factorylink.ledger import Conflict, LedgerError
from factorylink.lifecycle import Action, Event
from factorylink.live import Live
from factorylink.mail import Mailer
from factorylink.models import N_, EndReason, Job, JobState, SessionId, SessionState
from factorylink.seams import DoorStatusSeam, Place
from factorylink.settle import compare
from factorylink.submitting import session_folder

log = logging.getLogger("factorylink")

ENOUGH_MISSES = 2
_ANSWERS = N_("The notebook answers.")
_ACTIVITY_STEP = timedelta(minutes=1)  # finer steps are not worth a write


class Watcher:
    """``submit_again``: hands over a job that never reached the scheduler."""

    def __init__(
        self, board: Board, ender: Ender, extender: Extender, submit_again: Callable[[Live, Place], None]
    ) -> None:
        self._board = board
        self._extender = extender
        self._ender = ender
        self._submit_again = submit_again
        self._finder = Finder(board)
        self._mailer = Mailer(board.config.mail)

    async def answered(self, place: Place, jobs: list[Job], account: str | None = None) -> None:
        """A factory's successful answer; about one site account's jobs only, where one is named, and then it says
        nothing of any other's. Whatever fails here is tried again at the next one."""
        here = {live.row.id: live for live in self._board.at(place.factory.id) if account in (None, live.row.account)}
        plan = compare([live.row for live in here.values()], jobs, self._board.identity, place.factory.id)
        try:
            for row, job in plan.claims:
                if not here[row.id].submitting:
                    await self._claim(here[row.id], job)
                    await self._seen(here[row.id], place, job)
            await _all(self._seen(here[row.id], place, job) for row, job in plan.seen)
            for row in plan.missed:
                self._missed(here[row.id], place)
            for row in plan.waiting:
                await self._waits(here[row.id], place)
            for row, job in plan.surplus:
                await self._finder.surplus(row, place, job)
            self._finder.only(place, jobs, account)
            for session_id, job in _newest_first(plan.unknown):  # of two sessions of a server the newer is taken back
                live = await self._finder.unknown(session_id, place, job)
                if live is not None:
                    await self._seen(live, place, job)
        except LedgerError:
            log.exception("The answer of %s is not in the ledger yet", place.factory.id)
        place.site.expect(any(_awaited(live) for live in self._board.at(place.factory.id)))
        await self._board.answered(place, jobs, account)

    def door_spoke(self, session_id: SessionId, status: DoorStatusSeam | None) -> None:
        """A door opened, closed, or said something new about its session."""
        live = self._board.live.get(session_id)
        if live is None:
            return
        if status is not None:
            live.door = status
            if status.environment and live.environment_at is None:
                live.environment_at = moments.ticks()
            self._board.background(self._take_status(live, status), f"door of {session_id}")
        self._board.door_changed(live)
        self._extender.follow(live)

    def look_for_door(self, live: Live, place: Place) -> None:
        """See that its door is kept open from now on. Called again at each answer until it is."""
        if live.seeking is None or live.seeking.done():
            live.seeking = self._board.spawn(self._open_door(live, place), f"door of {live.row.id}")

    async def _open_door(self, live: Live, place: Place) -> None:
        try:
            folder = await session_folder(place, live.row.account, live.row.id)
        except LinkError as error:
            log.warning("The door of session %s cannot be looked for: %s", live.row.id, error.message)
            return
        row, door = live.row, place.access.door
        try:
            bridge = bridge_argv(place.factory, row.choice) if door.carrier == "stdio" else ()
        except ChoiceError as error:
            log.warning("The door of session %s cannot be entered: %s", row.id, error)
            return
        carrier = carriers.carrier(door, place.dialect, row.job or "", row.node, bridge)
        way = carriers.Way(row.id, row.factory, row.account, f"{folder}/door.json", place.transport, carrier)
        await self._board.doors.open(way)
        live.door_kept = True

    # --- what an answer says of one session

    async def _claim(self, live: Live, job: Job) -> None:
        try:
            entry = self._board.entry(live.row, "settle", f"job {job.id}")
            await self._board.ledger.change(
                live.row, say=N_("Job {job} was found.").format(job=job.id), entry=entry, job=job.id
            )
        except Conflict:
            log.exception("Job %s belongs to another session than %s", job.id, live.row.id)

    async def _seen(self, live: Live, place: Place, job: Job) -> None:
        row, before = live.row, live.job
        if row.job != job.id or row.ended is not None:
            return
        live.job, live.seen, live.misses = job, moments.now(), 0
        position = place.site.position(job.id) if job.state == JobState.PENDING else None
        if job != before or position != live.position:
            live.position = position
            self._board.touch(live)
        step = lifecycle.step(row, lifecycle.seen(row, job))
        if step is None:
            return
        if step.action is Action.ASK_WHY:
            self._ender.conclude(live, place)
            return
        live.job_over.clear()  # first of all: an earlier answer may have had it as over, and it was put back
        match step.action:
            case Action.CANCEL:
                self._ender.carry_out(live)
            case Action.LET_GO:
                await self._requeued(live, job)
            case Action.MOVE:
                await self._requeued(live, job)
                await self._runs(live, place, job)
            case Action.FOLLOW:
                await self._runs(live, place, job)
            case _ if step.phase != lifecycle.phase(row):
                await self._board.ledger.change(row, say=N_("The job is ending."), state=lifecycle.state(step.phase))
                self._board.touch(live)
            case _:
                await self._as_before(live, place, job)
        self._extender.follow(live)

    async def _as_before(self, live: Live, place: Place, job: Job) -> None:
        """Nothing happened to it; but time passes, and some things are told late."""
        row = live.row
        with contextlib.suppress(OSError):  # said when it could not be had; whoever has it may leave it
            await self._board.doors.bind(row.id, row.port)
        if row.state == SessionState.PENDING:
            if (give_up := row.choice.give_up_hours) and moments.since(row.created) > timedelta(hours=give_up):
                await self._ender.wish(live, EndReason.GAVE_UP, "link", N_("It waited as long as was wanted."))
            return
        if row.node is None and job.nodes:  # told only now: without it the door is not looked for
            await self._board.ledger.change(row, node=job.nodes[0])
            live.door_kept = False
            self._board.touch(live)
        if job.ends is not None and (row.ends != job.ends or live.extend_doubtful):
            live.extend_doubtful = False
            await self._board.ledger.change(row, budget.runs(row.id, row.started, job.ends), ends=job.ends)
            self._board.touch(live)
        if not live.door_kept:
            self.look_for_door(live, place)
        if row.state == SessionState.STARTING and self._late(live):
            await self._ender.wish(live, EndReason.NEVER_OPENED_DOOR, "link", N_("The notebook did not come up."))

    def _missed(self, live: Live, place: Place) -> None:
        live.misses += 1
        if live.misses >= ENOUGH_MISSES:
            self._ender.conclude(live, place)

    async def _waits(self, live: Live, place: Place) -> None:
        """No job, and the scheduler has none that says it is this session's."""
        row = live.row
        if live.submitting or row.ended is not None or row.job is not None:
            return
        if live.submission is None and not live.answered:
            return  # being made at this moment: its first submission follows, and a second would be a second job
        if row.submit_begun is not None and row.submits > 0:
            live.misses += 1
            if live.misses < ENOUGH_MISSES or moments.since(row.submit_begun) < timedelta(seconds=DOUBT):
                return
        live.misses = 0
        if row.wish == "run":
            self._submit_again(live, place)
        else:
            await self._ender.nothing_there(live, explain.own("submit-doubtful"))

    # --- transitions

    async def _runs(self, live: Live, place: Place, job: Job) -> None:
        node = job.nodes[0] if job.nodes else None
        values: dict[str, Any] = {
            "state": SessionState.STARTING,
            "node": node,
            "started": job.started,
            "ends": job.ends,
        }
        say = N_("The job runs on {node}.").format(node=node) if node else N_("The job runs.")
        async with live.lock:
            await self._board.ledger.change(
                live.row,
                budget.runs(live.row.id, job.started, job.ends),
                say=say,
                partition=job.partition or live.row.partition,
                restarts=job.restarts,
                **values,
            )
        live.environment_at = None
        self._board.touch(live)
        self.look_for_door(live, place)

    async def _requeued(self, live: Live, job: Job) -> None:
        if live.probing is not None:
            live.probing.cancel()
        if live.seeking is not None:
            live.seeking.cancel()
        live.door, live.door_kept, live.seeking = None, False, None
        async with live.lock:
            values: dict[str, Any] = {
                "state": SessionState.PENDING,
                "node": None,
                "started": None,
                "ready": None,
                "ends": None,
            }
            say = N_("The site put the job back into the queue ({count}); it starts again from there.")
            say = say.format(count=job.restarts)
            again = budget.began_again(live.row.id, live.row.started, job.started or moments.now())
            await self._board.ledger.change(live.row, again, say=say, restarts=job.restarts, **values)
        await self._board.doors.close(live.row.id)
        await self._board.doors.bind(live.row.id, live.row.port)
        self._board.door_changed(live)

    async def _take_status(self, live: Live, status: DoorStatusSeam) -> None:
        row = live.row
        known, told = row.last_activity, status.last_activity
        if told is not None:
            told = min(told, moments.now())  # a door may say what it likes; so it cannot cost a write a line
            if known is None or told - known >= _ACTIVITY_STEP:
                await self._board.ledger.change(row, last_activity=told)
        if status.phase == "up" and row.ready is None and (live.probing is None or live.probing.done()):
            live.probing = self._board.spawn(self._probe(live), f"first answer of {row.id}")
        if status.phase in ("ending", "ended"):
            await self._door_ends(live, status)

    async def _door_ends(self, live: Live, status: DoorStatusSeam) -> None:
        async with live.lock:
            step = lifecycle.step(live.row, Event.DOOR_ENDS)
            if step is None or live.door is not status:  # the word of a door that a requeue has closed
                return
            say = N_("The notebook is ending.")
            await self._board.ledger.change(live.row, say=say, state=lifecycle.state(step.phase))
        self._board.touch(live)
        if (place := self._board.places.get(live.row.factory)) is not None:
            place.site.expect(True)

    async def _probe(self, live: Live) -> None:
        """Ask the notebook until its first answer; it tells nobody when it listens."""
        row, pause = live.row, 0.1
        base = "/" if row.head else notebook_base(self._board.config.hub.base_url, row.user, row.server)
        path = base + ("health" if row.head else "api")
        while not await self._board.doors.answers(row.id, path):
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, 1.0)
        first = False
        async with live.lock:
            step = lifecycle.step(row, Event.ANSWERS)
            if step is not None:
                values: dict[str, Any] = {"state": lifecycle.state(step.phase), "ready": moments.now()}
                first = all(line.text != _ANSWERS for line in row.log)  # ``ready`` forgets it when a job is requeued
                await self._board.ledger.change(row, say=_ANSWERS, **values)
        self._board.door_changed(live)
        if first and not row.head:
            self._mailer.tell(row, self._board.places[row.factory].factory.site.machine, path.removesuffix("api"))

    def _late(self, live: Live) -> bool:
        """The notebook had its time to come up. Waiting for the environment does not count: the door limits that."""
        limits = self._board.config.limits
        if live.environment_at is not None:
            return moments.ticks() - live.environment_at > limits.starting_seconds
        started = live.row.started
        allowed = limits.starting_seconds + limits.environment_wait_seconds
        return started is not None and moments.since(started) > timedelta(seconds=allowed)


def notebook_base(base_url: str, user: str, server: str) -> str:
    """The notebook's base URL: ``/user/NAME/`` or ``/user/NAME/SERVER/`` below the hub's."""
    name = quote(user, safe="@~")
    return f"{base_url}user/{name}/{quote(server)}/" if server else f"{base_url}user/{name}/"


async def _all(each: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Side by side, so that what they write goes into the ledger together: hundreds may start at once. Raises what
    the first of them raised, once all are through."""
    for outcome in await asyncio.gather(*each, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def _newest_first(unknown: list[tuple[SessionId, Job]]) -> list[tuple[SessionId, Job]]:
    """By when it was submitted; in the scheduler's order of ids where that is the same."""
    never = datetime.min.replace(tzinfo=UTC)
    return sorted(unknown, key=lambda found: found[1].submitted or never)[::-1]


def _awaited(live: Live) -> bool:
    """Something of it depends on the next answer. That a job waits in the queue is the site's own to see."""
    return live.row.state == SessionState.ENDING or live.misses > 0 or live.row.job is None
