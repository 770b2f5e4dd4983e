"""Changes the states of workshops when their times come, and writes their projects into a file for the link."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from factorycommon.models.workshops import RehearsalWindow
from workshops.config import WorkshopsConfig
from workshops.models.views import LOGGED_STEPS
from workshops.projects import table as projects
from workshops.projects.pools import PoolsFile
from workshops.projects.table import TableFile
from workshops.projects.table_size import LEFT_OUT
from workshops.seats.runner import SeatRunner
from workshops.seats.waves import Rate, warm_time
from workshops.service import stepped
from workshops.states import JOINABLE, Schedule, WorkshopEvent, WorkshopState, due
from workshops.store.schema import EventRecord, MembershipRecord, WorkshopRecord
from workshops.store.store import Store, seats_taken

log = logging.getLogger("workshops")

LOOK_SECONDS = 5.0  # between two looks at the clock
QUIET_SECONDS = 60.0  # the same while there is no workshop that is not over


class Clockwork:
    """Changes the states of workshops when a change is due, and writes the workshops' projects into a file.

    The link reads this file (``table`` in ``workshops.yaml``). Start ``run``, and call ``wake`` after each change of a
    workshop. ``now``: the clock. ``promote``: gives free seats of a workshop to its waiting list. ``seats``: starts the
    sessions of seats. ``keep``: stores the report of an archived workshop, without data about people; the second
    argument says whether the data about the workshop's people are deleted next. ``rehearsals``: returns for each
    rehearsal that goes on, by the workshop's slug, who may start sessions, at which factory, and until when. If
    ``promote``, ``seats``, ``keep`` or ``rehearsals`` is None, its work is left out.
    """

    def __init__(
        self,
        config: WorkshopsConfig,
        store: Store,
        pools: PoolsFile,
        now: Callable[[], datetime],
        promote: Callable[[str], Awaitable[None]] | None = None,
        seats: SeatRunner | None = None,
        keep: Callable[[WorkshopRecord, bool], Awaitable[None]] | None = None,
        rehearsals: Callable[[], Awaitable[Mapping[str, RehearsalWindow]]] | None = None,
    ) -> None:
        self._store = store
        self._pools = pools
        self._now = now
        self._promote = promote
        self._seats = seats
        self._keep = keep
        self._rehearsals = rehearsals
        self._clear = timedelta(minutes=config.limits.clear_minutes)
        self._file = TableFile(config.table)
        self._woken = asyncio.Event()
        self._quiet = False  # True if the last look found only workshops that are over
        self.last: datetime | None = None  # when all was last in order

    def wake(self) -> None:
        """Make ``run`` call ``look`` at once."""
        self._woken.set()

    async def run(self) -> None:
        """Call ``look`` now, after each ``wake``, and every ``pause`` seconds, without end."""
        while True:
            try:
                await self.look()
            except Exception:  # any error: this loop must continue, since nothing else does its work
                log.exception("The workshops are looked at again")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), self.pause)
            self._woken.clear()

    @property
    def pause(self) -> float:
        """Return how many seconds ``run`` waits after a ``look`` before the next one, unless ``wake`` is called."""
        return QUIET_SECONDS if self._quiet else LOOK_SECONDS

    async def look(self) -> None:
        """Make all changes of states that are due, and write the file of the workshops' projects for the link.

        Approved workshops become scheduled once the file contains their projects. People on waiting lists get free
        seats, sessions of seats start when they are due, and the people of workshops whose retention time is over are
        deleted. Raises StoreError, and OSError if the file cannot be written.
        """
        self._quiet = False  # an error does not delay the next look
        rates = await self._seats.rates() if self._seats is not None and self._seats.measures else {}
        live = [await self._in_time(one, rates) for one in await self._store.all(over=False)]
        members = await self._store.members([one.slug for one in live])
        if free := [one for one in live if _has_free_seats(one, members[one.slug])]:
            for one in free:
                await self._fill(one)
            members = await self._store.members([one.slug for one in live])
        rehearsals = {} if self._rehearsals is None else await self._rehearsals()
        pools = self._pools.pools()
        table = await asyncio.to_thread(projects.table_of, live, members, rehearsals)
        if await asyncio.to_thread(self._file.write, table):
            log.info("The table of projects has %d workshops", len(table.projects))
        wrong, known = projects.problems(table, pools, live), {project.id for project in table.projects}
        for one in live:
            problem = wrong.get(one.project, "")
            if problem != one.problem:
                await self._store.set_problem(one.slug, problem)
                if problem == LEFT_OUT:
                    log.error(
                        "The workshop %s of %s is left out of the table of projects: %s", one.slug, one.made_by, problem
                    )
            if one.state == WorkshopState.APPROVED and one.project in known:
                await self._step(one, WorkshopEvent.SCHEDULE)
        if self._seats is not None:
            self._seats.attend(live, members)
        await self._forget()
        self._quiet = not live
        self.last = self._now()

    async def _in_time(self, workshop: WorkshopRecord, rates: Mapping[tuple[str, str], Rate]) -> WorkshopRecord:
        """Make the changes of one workshop's state that are due, and return its record after them.

        ``rates``: how fast seats come up, by factory and node size, which determines when the warm-up begins.
        """
        place = workshop.places[0]  # nothing is moved before it warms up
        warm = warm_time(
            workshop.seats, rates.get((place.factory, place.size)), timedelta(minutes=workshop.warm_minutes)
        )
        while (event := due(workshop.state, self._schedule(workshop, warm), self._now())) is not None:
            moved = await self._step(workshop, event)
            if moved is None:
                found = await self._store.get(workshop.slug)
                return workshop if found is None else found
            workshop = moved
        return workshop

    def _schedule(self, workshop: WorkshopRecord, warm: timedelta) -> Schedule:
        return replace(workshop.schedule(self._clear), warm=warm)

    async def _step(self, workshop: WorkshopRecord, event: WorkshopEvent) -> WorkshopRecord | None:
        """Change a workshop's state as ``event`` demands, and return the changed workshop.

        None: something else changed the state meanwhile.
        """
        now = self._now()
        values = stepped(workshop, event, now)
        said = EventRecord(workshop.slug, now, "", LOGGED_STEPS[event])
        if not await self._store.step(workshop.slug, workshop.state, values, said):
            return None
        log.info("The workshop %s is %s", workshop.slug, values["state"])
        return workshop.with_values(**values, version=workshop.version + 1)

    async def _fill(self, workshop: WorkshopRecord) -> None:
        if self._promote is not None:
            await self._promote(workshop.slug)

    async def _forget(self) -> None:
        """Store the sums of archived workshops' reports; delete the people of workshops whose retention time is over.

        An archived workshop is one that took place. The sums of its report are stored as soon as the workshop is
        archived, and once more right before its people are deleted.
        """
        now, kept = self._now(), await self._store.reported()
        for one in await self._store.to_erase():
            is_due = one.over is not None and now >= one.over + timedelta(days=one.retention_days)
            took_place = one.state == WorkshopState.ARCHIVED
            if self._keep is not None and took_place and (is_due or one.slug not in kept):
                await self._keep(one, is_due)
            if is_due:
                await self._store.erase(one.slug, now, EventRecord(one.slug, now, "", "erased"))
                log.info("The people of the workshop %s are deleted", one.slug)


def _has_free_seats(workshop: WorkshopRecord, people: Sequence[MembershipRecord]) -> bool:
    """Return True if people may join the workshop now, and somebody waits while a seat is free."""
    waits = workshop.state in JOINABLE and any(one.state == "waiting" for one in people)
    return waits and len(seats_taken(people)) < workshop.seats
