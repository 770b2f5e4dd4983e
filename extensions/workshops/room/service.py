"""Carries out what people do in a room: see it, follow it, send a message to the class, and stop a seat's session."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from factorycommon.material.steps import KnownStep
from factorycommon.messages import Message
from factorycommon.models import SessionState
from factorycommon.models.workshops import PREFIX
from factorycommon.service.problems import ProblemError, conflict, gone, too_many
from factorycommon.service.stream_limits import StreamLimits
from workshops import permissions
from workshops.helping.asks import SessionAsks
from workshops.helping.service import Helping
from workshops.link import MISMATCH, NOTHING, LinkAway, LinkMismatch, LinkRefused, LinkSocket, LinkUnread
from workshops.models.callers import WorkshopCaller
from workshops.models.room import BroadcastBody, BroadcastView, RoomView, SeatActView
from workshops.room.broadcasts import Broadcasts
from workshops.room.seats import changes, room_of
from workshops.room.sessions import SessionCopy
from workshops.seats.runner import halt_of, not_begun
from workshops.service import Workshops
from workshops.states import IN_TABLE
from workshops.store.schema import EventRecord, MembershipRecord, WorkshopRecord
from workshops.store.store import Store, StoreError

log = logging.getLogger("workshops")

BATCH_SECONDS = 0.5  # between two events of a stream
LOOK_SECONDS = 5.0  # until a stream looks again at who is in the workshop, if nothing is told
MOST_STREAMS = 20  # of one person
FORGET_SECONDS = 600.0
HEARTBEAT_SECONDS = 15.0  # without a change, after which a stream shows that it is alive
NO_LINK = Message("room-no-link", "This gateway’s service for workshops has no way to the sessions.")
MANY_STREAMS = Message("room-streams", "You have as many rooms open as one person may have.")
AWAY = Message("room-link-away", "The gateway’s link does not answer just now, so this may be old. Sessions go on.")


class _Follower:
    """A caller who follows a room; set ``woken``, and their stream sends what has changed in the room."""

    def __init__(self, project: str) -> None:
        self.project = project
        self.woken = asyncio.Event()


class Room:
    """The rooms of all workshops; a room shows the workshop's seats and what runs there. Start ``run`` as a task.

    ``now``: the clock; ``streams``: limits how many rooms a person may follow at once. Other parts set four functions.
    ``acts_of`` returns by person which acts (start, restart or reset of a seat) go on or have failed in a workshop.
    ``give_up`` gives up the act that goes on for a person's seat, and stops the seat's session if nobody can open it
    yet; False: there was neither. ``trouble_of`` returns the fault that lets no seats of a workshop begin until
    somebody mends the gateway; None: no such fault is known. ``steps_of`` returns the steps (tagged cells) of a
    workshop's material.
    """

    def __init__(self, workshops: Workshops, store: Store, link: LinkSocket, now: Callable[[], datetime]) -> None:
        self._workshops = workshops
        self._store = store
        self._link = link
        self._now = now
        self.sessions = SessionCopy(link)
        self.broadcasts = Broadcasts(store, link, self.sessions, now)
        self.helping = Helping(workshops, store, now)
        self.acts_of: Callable[[str], Mapping[str, SeatActView]] = lambda _slug: {}
        self.give_up: Callable[[WorkshopRecord, str], Awaitable[bool]] = _nothing
        self.trouble_of: Callable[[str], Message | None] = lambda _slug: None
        self.steps_of: Callable[[str], Sequence[KnownStep]] = lambda _slug: ()
        self.streams = StreamLimits(MOST_STREAMS, lambda: too_many(MANY_STREAMS))
        self._followers: set[_Follower] = set()
        self._closed = False
        self.sessions.on_change.append(self._changed)
        self.broadcasts.on_change.append(self._changed)
        self.helping.on_change.append(self._changed)

    async def run(self) -> None:
        """Follow the link's events, send messages to sessions that start late, and answer sessions that ask for help.

        Also delete the copies of notebooks that helpers may not see any more, and forget the sessions, messages and
        raised hands of workshops that are over. Run without end; return at once if this service has no link.
        """
        if not self._link.there:
            return
        await self._load()
        asks = SessionAsks(self.helping, self._link)
        await asyncio.gather(self.sessions.run(), self.broadcasts.run(), self.helping.run(), asks.run(), self._forget())

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        self.wake()

    def wake(self) -> None:
        """Make all streams look at their rooms again, and send what has changed there."""
        for one in self._followers:
            one.woken.set()

    async def view(self, caller: WorkshopCaller, slug: str) -> RoomView:
        """Return the room of a workshop, as the caller may see it. Raises ProblemError, StoreError."""
        workshop = await self._workshops.may(caller, slug, "see-room")
        people = (await self._store.members([slug]))[slug]
        mine = next((one for one in people if one.person == caller.person), None)
        trouble = await self._complete(workshop.project) if workshop.state in IN_TABLE else None
        helped = await self.helping.of_room(slug, people, permissions.holds("help", caller, mine))
        return room_of(
            workshop,
            people,
            self.sessions.of(workshop.project),
            may=permissions.actions(caller, mine, workshop),
            names=permissions.sees_names(caller, mine),
            trouble=trouble or self.trouble_of(slug),
            messages=self.broadcasts.shown(slug),
            halted=await halt_of(self._store, workshop),
            helped=helped,
            acts=self.acts_of(slug),
            steps=self.steps_of(slug),
            not_begun=await not_begun(self._store, workshop),
        )

    async def stream(self, caller: WorkshopCaller, slug: str) -> AsyncIterator[bytes]:
        """Return server-sent events: first ``room`` with the whole room, then ``change`` events with what has changed.

        The stream ends when the caller may not see the room any more, when the database fails, or after ``close``.
        Raises ProblemError, StoreError.
        """
        first = await self.view(caller, slug)
        return self._events(caller, slug, first)

    async def broadcast(self, caller: WorkshopCaller, slug: str, body: BroadcastBody) -> BroadcastView:
        """Send a message to the class; return how many people get it, and how many have got it already.

        Raises ProblemError, StoreError.
        """
        workshop = await self._workshops.may(caller, slug, "broadcast")
        if not self._link.there:
            raise conflict(NO_LINK)
        people = (await self._store.members([slug]))[slug]
        return await self.broadcasts.send(workshop, people, caller.person, body)

    async def stop(self, caller: WorkshopCaller, slug: str, seat: int) -> None:
        """Request the end of the sessions that a seat's person has for the workshop.

        A session that this service is still starting ends, too. Raises ProblemError if the caller may not do this,
        nobody has the seat, nothing runs there, or the link does not answer or refuses; StoreError.
        """
        workshop = await self._workshops.may(caller, slug, "stop-seat")
        if not self._link.there:
            raise conflict(NO_LINK)
        holder = await self.holder(slug, seat)
        await self.sessions.complete(workshop.project)
        given_up = await self.give_up(workshop, holder.person)  # first, so that nothing new begins
        live = [
            one
            for one in self.sessions.of(workshop.project)
            if one.person == holder.person and one.state != SessionState.ENDED
        ]
        if not live and not given_up:
            raise conflict(Message("room-nothing-runs", "Nothing runs on seat {seat}.").format(seat=seat))
        for one in live:
            with contextlib.suppress(LinkRefused):  # it has ended meanwhile
                await self._link.post(NOTHING, workshop.project, f"/sessions/{one.id}/stop")
        await self._store.note(EventRecord(slug, self._now(), caller.person, "stopped", f"seat {seat}"))

    async def holder(self, slug: str, seat: int) -> MembershipRecord:
        """Return the membership of the person who has a seat. Raises ProblemError if nobody has it; StoreError."""
        people = (await self._store.members([slug]))[slug]
        holder = next((one for one in people if one.seat == seat and one.state == "seated"), None)
        if holder is None:
            raise gone(Message("room-seat", "A person on seat {seat}").format(seat=seat))
        return holder

    async def _complete(self, project: str) -> Message | None:
        """Ask the link for those sessions of a project that this service does not know yet.

        Return why the known sessions may be outdated; None if they are not.
        """
        if not self._link.there:
            return NO_LINK
        try:
            await self.sessions.complete(project)
        except (LinkMismatch, LinkUnread):
            return MISMATCH.as_message("message")
        except LinkRefused:  # the link has not read the new table of projects yet, so no session can exist
            return None
        except LinkAway:
            return AWAY
        if self.sessions.mismatch:
            return MISMATCH.as_message("message")
        return None if self.sessions.fresh else AWAY

    async def _events(self, caller: WorkshopCaller, slug: str, first: RoomView) -> AsyncIterator[bytes]:
        follower, before, clock = _Follower(PREFIX + slug), first, asyncio.get_running_loop().time
        self._followers.add(follower)
        try:
            yield _event("room", first.model_dump_json())
            sent = clock()
            while not self._closed:
                await asyncio.sleep(BATCH_SECONDS)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(follower.woken.wait(), LOOK_SECONDS)
                follower.woken.clear()
                try:
                    now = await self.view(caller, slug)
                except (ProblemError, StoreError) as error:
                    log.info("A room is not followed any more: %s", error)
                    return
                if (change := changes(before, now)) is not None:
                    before, sent = now, clock()
                    yield _event("change", change.model_dump_json())
                elif clock() - sent >= HEARTBEAT_SECONDS:
                    sent = clock()
                    yield b": still here\n\n"
        finally:
            self._followers.discard(follower)

    async def _load(self) -> None:
        """Read the messages from the database; if that fails, try again until it succeeds."""
        while True:
            try:
                await self.broadcasts.load()
            except StoreError as error:
                log.error("Messages to classes cannot be read: %s", error)  # noqa: TRY400
            else:
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def _forget(self) -> None:
        """Every ``FORGET_SECONDS``, without end, drop from memory what belongs to workshops that are over.

        This is their ended sessions and their messages.
        """
        while True:
            await asyncio.sleep(FORGET_SECONDS)
            try:
                live = await self._store.all(over=False)
            except StoreError as error:
                log.error("The workshops cannot be read: %s", error)  # noqa: TRY400
                continue
            self.sessions.forget_all_but(one.project for one in live)
            self.broadcasts.forget_all_but(one.slug for one in live)

    def _changed(self, projects: frozenset[str]) -> None:
        for one in self._followers:
            if not projects or one.project in projects:
                one.woken.set()


async def _nothing(_workshop: WorkshopRecord, _person: str) -> bool:
    return False


def _event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()
