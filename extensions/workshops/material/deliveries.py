"""Delivers the material into the open sessions of a class, and into those that open later.

A session is open while its notebook can be reached. Each session gets each archive once, unless a trainer asks for the
material again. If this service is killed before it has stored that a session took an archive, the session gets the
archive again, which changes nothing in the session.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import IO

from pydantic import TypeAdapter

from factorycommon.messages import Message
from factorycommon.models import SessionState
from factorycommon.models.workshops import PREFIX
from factorycommon.models.workshops.material import (
    MOST_PIECE,
    MaterialDeliveries,
    MaterialOrder,
    MaterialPiece,
    MaterialUpload,
)
from factorycommon.models.workshops.sessions import WorkshopSession
from factorycommon.service.problems import ProblemError, conflict
from workshops.link import LinkSocket
from workshops.material import rows
from workshops.material.service import Materials
from workshops.models.callers import WorkshopCaller
from workshops.models.material import MaterialRoom, SeatDelivery
from workshops.room.broadcasts import receivers
from workshops.room.sessions import SessionCopy
from workshops.service import Workshops
from workshops.store.material_tables import MaterialDeliveryRecord, MaterialRecord
from workshops.store.schema import EventRecord, MembershipRecord
from workshops.store.store import Store, StoreError

log = logging.getLogger("workshops")

RETRY_SECONDS = 5.0
PAUSE_SECONDS, MOST_PAUSE = 20.0, 600.0  # until a session that has not taken the material is tried again, and the most
AT_ONCE = 6  # sessions of one request to the link
_ANSWER_SECONDS = 240.0
_NOT_READY = Message("material-not-ready", "The material is not ready.")
_NOT_TAKEN = Message("material-not-taken", "The session has not taken the material.")
_NOT_KEPT = Message(
    "material-not-kept", "The environment of this session is too old to keep what the person has: nothing was moved."
)
_UPLOAD = TypeAdapter(MaterialUpload)
_DELIVERIES = TypeAdapter(MaterialDeliveries)
_RUNS = (SessionState.STARTING, SessionState.RUNNING)


class MaterialDelivery:
    """Delivers the material of workshops into sessions, through the link. Start ``run``. ``now``: the clock."""

    def __init__(
        self,
        workshops: Workshops,
        store: Store,
        link: LinkSocket,
        sessions: SessionCopy,
        materials: Materials,
        now: Callable[[], datetime],
    ) -> None:
        self._workshops = workshops
        self._store = store
        self._link = link
        self._sessions = sessions
        self._materials = materials
        self._now = now
        self._done: dict[str, dict[str, MaterialDeliveryRecord]] = {}  # by workshop and session
        # by workshop and session that did not take the material: until when it is not tried again, and the pause
        self._pauses: dict[tuple[str, str], tuple[float, float]] = {}
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._woken = asyncio.Event()
        materials.on_ready.append(self._woken.set)
        sessions.on_change.append(lambda _projects: self._woken.set())

    async def run(self) -> None:
        """Deliver the material to sessions that open, and again to sessions that did not take it, without end.

        Return at once if this service has no link.
        """
        if not self._link.there:
            return
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), RETRY_SECONDS)
            self._woken.clear()
            try:
                await self.look()
            except Exception:  # any error: this loop must continue, since nothing else delivers
                log.exception("The delivery of material is tried again")

    async def look(self) -> None:
        """Deliver the newest material to all open sessions that do not have it. Raises StoreError.

        A session that did not take the material is left out for some time before the next try (at first
        ``PAUSE_SECONDS``, at most ``MOST_PAUSE``). Only people who have a seat or run the workshop get material;
        observers get none.
        """
        for slug in [one for one in self._done if self._materials.record(one) is None]:
            del self._done[slug]
        open_sessions: dict[str, list[WorkshopSession]] = defaultdict(list)
        live = {(one.project.removeprefix(PREFIX), one.id): one for one in self._sessions.live()}
        self._pauses = {key: pause for key, pause in self._pauses.items() if key in live}
        for (slug, _), one in live.items():
            record = self._materials.record(slug)
            if one.open and one.state in _RUNS and record is not None and record.state == "ready":
                open_sessions[slug].append(one)
        if not open_sessions:
            return
        await self._load(open_sessions)
        if not any(self._due(slug, ones) for slug, ones in open_sessions.items()):
            return
        members = await self._store.members(list(open_sessions))
        await asyncio.gather(
            *(self._deliver(slug, ones, members[slug]) for slug, ones in open_sessions.items()),
        )

    async def view(self, caller: WorkshopCaller, slug: str) -> MaterialRoom:
        """Return the state of a workshop's material, and the last delivery to each person, also a failed one.

        People who have left or are banned are included; people without any delivery are left out. Raises ProblemError
        if the caller may not see this; StoreError.
        """
        await self._workshops.may(caller, slug, "see-people")
        await self._load([slug])
        people = {one.person: one for one in (await self._store.members([slug]))[slug]}
        return MaterialRoom(
            material=self._materials.status(slug),
            seats=tuple(
                SeatDelivery(
                    person=one.person,
                    seat=people[one.person].seat,
                    commit=one.commit_id,
                    at=one.at,
                    report=one.report,
                    problem=one.problem,
                )
                for one in {one.person: one for one in self._done.get(slug, {}).values()}.values()
                if one.person in people
            ),
        )

    async def restore(self, caller: WorkshopCaller, slug: str, person: str) -> None:
        """Deliver the material to a person's open sessions again, with files and cells that the person has deleted.

        Raises ProblemError if the caller may not do this, the material is not ready, the person has no open session or
        is not one of those who get the material, or the link does not answer or refuses; StoreError.
        """
        workshop = await self._workshops.may(caller, slug, "fetch-material")
        await self._load([slug])
        async with self._locks[slug]:
            record = self._materials.record(slug)
            people = receivers((await self._store.members([slug]))[slug])
            there = [
                one
                for one in self._sessions.live()
                if one.project == workshop.project and one.open and one.state in _RUNS and one.person == person
            ]
            if record is None or record.digest is None:
                raise conflict(_NOT_READY)
            if not there or person not in {one.person for one in people}:
                said = Message("material-no-session", "{person} has no open session now.")
                raise conflict(said.format(person=person))
            await self._store.note(EventRecord(slug, self._now(), caller.person, "material", f"restore: {person}"))
            try:
                await self._send(record, record.digest, there, restore=True)
            except OSError as error:
                raise conflict(_NOT_READY) from error

    async def anew(self, slug: str, sessions: list[WorkshopSession], stamp: str) -> str:
        """Deliver the material anew to a person's sessions; return why the delivery failed, "" if it did not fail.

        Before the delivery, each session renames the folder in which the person has the material. ``stamp``: the end of
        the folder's new name; a second call with the same stamp renames no folder. Raises ProblemError if the link does
        not answer or refuses; StoreError.
        """
        await self._load([slug])
        async with self._locks[slug]:
            record = self._materials.record(slug)
            if record is None or record.digest is None:
                return _NOT_READY
            try:
                taken = await self._send(record, record.digest, sessions, aside=stamp)
            except OSError:
                return _NOT_READY
        problems = [one.problem or _NOT_KEPT for one in taken if one.report is None or one.report.aside is None]
        return _NOT_TAKEN if not taken else next(iter(problems), "")

    async def _load(self, slugs: Iterable[str]) -> None:
        missing = [slug for slug in slugs if slug not in self._done]
        if missing:
            self._done |= await self._store.transact(lambda db: rows.deliveries(db, missing))

    def _due(self, slug: str, sessions: Iterable[WorkshopSession]) -> list[WorkshopSession]:
        """Return the sessions that do not have the newest material, and are to be tried now."""
        record = self._materials.record(slug)
        if record is None or record.state != "ready":
            return []
        now = asyncio.get_running_loop().time()
        found = []
        for one in sessions:
            last = self._done.get(slug, {}).get(one.id)
            has = last is not None and last.digest == record.digest and last.report is not None
            if not has and self._pauses.get((slug, one.id), (0.0, 0.0))[0] <= now:
                found.append(one)
        return found

    async def _deliver(self, slug: str, sessions: list[WorkshopSession], people: list[MembershipRecord]) -> None:
        """Deliver the material to those of these sessions that are due; failed deliveries are tried again later."""
        async with self._locks[slug]:
            entitled = {one.person for one in receivers(people)}
            due = [one for one in self._due(slug, sessions) if one.person in entitled]
            record = self._materials.record(slug)
            if record is None or record.digest is None or not due:
                return
            for first in range(0, len(due), AT_ONCE):
                some = due[first : first + AT_ONCE]
                try:
                    await self._send(record, record.digest, some)
                except (ProblemError, OSError) as error:
                    log.info("The material of the workshop %s is delivered again: %s", slug, error)
                    self._pause(slug, some)
                    return
                except StoreError as error:
                    log.error("Who has the material of the workshop %s is not in the database: %s", slug, error)  # noqa: TRY400
                    return

    async def _send(
        self,
        record: MaterialRecord,
        digest: str,
        sessions: list[WorkshopSession],
        restore: bool = False,
        aside: str | None = None,
    ) -> list[MaterialDeliveryRecord]:
        slug = record.workshop
        order = MaterialOrder(
            digest=digest,
            commit=record.commit_id,
            restore=restore,
            aside=aside,
            people=tuple(sorted({one.person for one in sessions})),
        )
        answer = await self._order(PREFIX + slug, order)
        if answer.missing:
            await self._upload(PREFIX + slug, digest, self._materials.fetcher.archive(digest))
            answer = await self._order(PREFIX + slug, order)
        taken = [
            MaterialDeliveryRecord(
                slug, one.person, one.session, digest, record.commit_id, self._now(), one.report, one.problem
            )
            for one in answer.sessions
            if one.person in order.people
        ]
        done = self._done.setdefault(slug, {})
        for one in taken:
            done.pop(one.session, None)  # so that the newest is the last
            done[one.session] = one
        has = {one.session for one in taken if one.report is not None}
        self._pause(slug, [one for one in sessions if one.id not in has])
        await self._store.transact(lambda db: rows.put_deliveries(db, taken))
        return taken

    async def _order(self, project: str, order: MaterialOrder) -> MaterialDeliveries:
        return await self._link.post(_DELIVERIES, project, "/material", order, seconds=_ANSWER_SECONDS)

    async def _upload(self, project: str, digest: str, archive: Path) -> None:
        """Send an archive to the link, in pieces; if the link has not taken it after many tries, only log this.

        Raises ProblemError if the link does not answer or refuses; OSError if the archive cannot be read.
        """
        total = (await asyncio.to_thread(archive.stat)).st_size
        begin = tries = 0
        with archive.open("rb") as file:
            while tries <= 2 * (total // MOST_PIECE + 1):
                piece = await asyncio.to_thread(_piece, file, begin)
                body = MaterialPiece(begin=begin, total=total, data=base64.b64encode(piece))
                answer = await self._link.post(_UPLOAD, project, f"/material/{digest}", body)
                if answer.whole:
                    return
                begin = min(answer.has, total)
                tries += 1
        log.warning("The link has not taken the archive %s", digest)

    def _pause(self, slug: str, failed: Iterable[WorkshopSession]) -> None:
        now = asyncio.get_running_loop().time()
        for one in failed:
            pause = min(2 * self._pauses.get((slug, one.id), (0.0, PAUSE_SECONDS / 2))[1], MOST_PAUSE)
            self._pauses[slug, one.id] = (now + pause, pause)


def _piece(file: IO[bytes], begin: int) -> bytes:
    file.seek(begin)
    return file.read(MOST_PIECE)
