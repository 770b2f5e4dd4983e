"""Keeps this service's copy of the sessions of all workshops: one reader of the link's events for all rooms."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable

from pydantic import TypeAdapter, ValidationError

from factorycommon.models import SessionState
from factorycommon.models.workshops.sessions import WorkshopSession, WorkshopSessions
from workshops.link import LinkAway, LinkMismatch, LinkRefused, LinkSocket

log = logging.getLogger("workshops")

ANSWER_SECONDS = 3.0  # for the link: a room is shown without it, too
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0  # seconds until a link that did not answer is asked again
_SESSIONS = TypeAdapter(WorkshopSessions)


class SessionCopy:
    """The live sessions of workshops, and the last ended session of each person in each workshop.

    Start ``run``, which follows the link's events. ``fresh``: whether the link's events are followed now; ``mismatch``:
    whether the link's events cannot be parsed, because the link is of another release. ``on_change``: functions that
    are called with the projects whose sessions have changed. An empty set means that any project may be concerned, for
    example because the link's events have stopped.
    """

    def __init__(self, link: LinkSocket) -> None:
        self._link = link
        self._live: dict[str, dict[str, WorkshopSession]] = defaultdict(dict)  # by project and id
        self._ended: dict[str, dict[str, WorkshopSession]] = defaultdict(dict)  # by project and person
        self._whole: set[str] = set()  # projects whose ended sessions are known
        self.fresh = False  # the link's events are followed now
        self.mismatch = False  # they cannot be parsed: the link is of another release
        self.on_change: list[Callable[[frozenset[str]], None]] = []

    def of(self, project: str) -> list[WorkshopSession]:
        """Return the known sessions of a project: the live ones, and the last ended one of each person."""
        return [*self._live.get(project, {}).values(), *self._ended.get(project, {}).values()]

    def live(self) -> list[WorkshopSession]:
        """Return the live sessions of all projects."""
        return [one for ones in self._live.values() for one in ones.values()]

    def forget_all_but(self, projects: Iterable[str]) -> None:
        """Forget the ended sessions of all projects but these."""
        kept = set(projects)
        for project in [one for one in self._ended if one not in kept]:
            del self._ended[project]
        self._whole &= kept

    async def complete(self, project: str) -> None:
        """Ask the link for the ended sessions of a project, unless they are known.

        While the link's events are not followed, the live sessions in the link's answer are stored, too. Raises
        ProblemError if the link refuses the request, or gives no valid answer.
        """
        if project in self._whole:
            return
        found = await self._link.get(_SESSIONS, project, "/sessions", seconds=ANSWER_SECONDS)
        if self.fresh:  # otherwise sessions that end before the events are followed would be missed
            self._whole.add(project)
        for one in found.sessions:
            if one.state == SessionState.ENDED:
                self._keep_ended(one)
            elif not self.fresh:
                self._live[project][one.id] = one

    async def run(self) -> None:
        """Follow the link's events without end."""
        pause = FIRST_PAUSE
        while True:
            try:
                async for event in self._link.stream("/events"):
                    if event.name in ("snapshot", "sessions"):
                        self.take(event.name == "snapshot", _SESSIONS.validate_json(event.data, extra="ignore"))
                        pause = FIRST_PAUSE
            except (LinkAway, LinkRefused, ValidationError) as error:
                self.mismatch = isinstance(error, LinkMismatch | ValidationError)
                log.info("The link's events are asked for again: %s", error)
            except Exception:  # any error: this loop must continue, since no room changes without it
                log.exception("The link's events are asked for again")
            if self.fresh:
                self.fresh = False
                self._tell(frozenset())
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def take(self, whole: bool, said: WorkshopSessions) -> None:
        """Put the sessions ``said``, which the link has sent, into this copy.

        ``whole``: True if ``said`` has all live sessions, so that other sessions of this copy are not live any more.
        """
        changed = {one.project for one in said.sessions}
        if whole:
            changed |= {project for project, ones in self._live.items() if ones}
            self._live.clear()
            self._whole.clear()  # some may have ended while the link was away
            self.fresh, self.mismatch = True, False
        for one in said.sessions:
            if one.state == SessionState.ENDED:
                self._live[one.project].pop(one.id, None)
                self._keep_ended(one)
            else:
                self._live[one.project][one.id] = one
        self._tell(frozenset(changed))

    def _keep_ended(self, one: WorkshopSession) -> None:
        known = self._ended[one.project].get(one.person)
        if known is None or known.created <= one.created:
            self._ended[one.project][one.person] = one

    def _tell(self, projects: frozenset[str]) -> None:
        for on_change in self.on_change:
            on_change(projects)
