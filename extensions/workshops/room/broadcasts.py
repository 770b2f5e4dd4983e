"""Stores messages to a class, then sends each into every open session, and into sessions that start later.

A session that starts later gets those of the last ``REPLAYED`` messages that are at most ``REPLAY_HOURS`` hours old and
that no other session of its person has taken.

A message has an id, and a session shows each id once. If this service is killed after it has sent a message, but before
it has stored who received the message, it sends the message again, and no session shows it twice.

If a session does not take a message, the service tries again later. The other sessions do not wait for this.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from pydantic import TypeAdapter
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from factorycommon.messages import Message
from factorycommon.models import SessionState
from factorycommon.models.workshops import PREFIX
from factorycommon.models.workshops.sessions import ClassMessageBody, ToldView
from factorycommon.service.problems import ProblemError, conflict, too_many
from workshops.link import LinkSocket
from workshops.models.room import BroadcastBody, BroadcastView, ClassMessageView
from workshops.room import rows
from workshops.room.sessions import SessionCopy
from workshops.store.room_tables import MessageRecord
from workshops.store.schema import EventRecord, MembershipRecord, WorkshopRecord
from workshops.store.store import Store, StoreError

log = logging.getLogger("workshops")

MOST_MESSAGES = 500  # of one workshop
MOST_A_MINUTE = 10
REPLAYED = 10  # messages that a session which starts late gets: it keeps as many
REPLAY_HOURS = 12
RETRY_SECONDS, MOST_PAUSE = 5.0, 40.0  # until a session that has not taken a message is told again, and the most
SHOWN = 10  # messages that a room shows
_PREFIX = "class-"  # of ids in sessions, so that they differ from those of the gateway's own messages
_ANSWER_SECONDS = 8.0  # for the link, which gives each session half of it
_TOLD = TypeAdapter(ToldView)


class Broadcasts:
    """Sends messages to classes. Call ``load`` first, and start ``run``. ``now``: the clock."""

    def __init__(self, store: Store, link: LinkSocket, sessions: SessionCopy, now: Callable[[], datetime]) -> None:
        self._store = store
        self._link = link
        self._sessions = sessions
        self._now = now
        self._messages: dict[str, list[MessageRecord]] = defaultdict(list)  # by workshop
        self._received: dict[str, rows.Receipts] = defaultdict(lambda: defaultdict(set))
        # by workshop; True: of those sessions that did not take a message
        self._locks: dict[tuple[str, bool], asyncio.Lock] = defaultdict(asyncio.Lock)
        # by workshop and person whose session did not take a message: until when it is not tried again, and the pause
        self._pauses: dict[tuple[str, str], tuple[float, float]] = {}
        self._woken = asyncio.Event()
        self.on_change: list[Callable[[frozenset[str]], None]] = []  # called with the projects of new messages
        sessions.on_change.append(self._sessions_changed)

    async def load(self) -> None:
        """Read the messages of all workshops that are not over. Raises StoreError."""
        slugs = [one.slug for one in await self._store.all(over=False)]

        def read(db: Connection) -> tuple[dict[str, list[MessageRecord]], dict[str, rows.Receipts]]:
            return rows.of(db, slugs), rows.receipts(db, slugs)

        messages, received = await self._store.transact(read)
        self._messages.update(messages)
        self._received.update(received)

    def forget_all_but(self, slugs: Iterable[str]) -> None:
        """Drop from memory the messages of all workshops except ``slugs``."""
        kept = set(slugs)
        for slug in {*self._messages, *self._received, *(slug for slug, _ in self._locks)} - kept:
            self._messages.pop(slug, None)
            self._received.pop(slug, None)
            for again in (False, True):
                self._locks.pop((slug, again), None)
        now = asyncio.get_running_loop().time()
        self._pauses = {key: pause for key, pause in self._pauses.items() if pause[0] > now}

    def shown(self, slug: str) -> tuple[ClassMessageView, ...]:
        """Return the last ``SHOWN`` messages of a workshop, the newest first; fewer if there are not as many."""
        received = self._received[slug]
        return tuple(
            ClassMessageView(
                id=one.id,
                at=one.at,
                by=one.by,
                text=one.text,
                texts=one.texts,
                kind=one.kind,
                received=len(received[one.id]),
            )
            for one in reversed(self._messages[slug][-SHOWN:])
        )

    async def send(
        self, workshop: WorkshopRecord, people: Sequence[MembershipRecord], by: str, body: BroadcastBody
    ) -> BroadcastView:
        """Store a message to a class, and send it into the sessions that are open now.

        Return how many people are to get the message, and how many have received it so far. ``run`` sends it to the
        others when they have an open session, while the message is recent (``REPLAYED``, ``REPLAY_HOURS``).
        ``people``: the people of the workshop; the function ``receivers`` selects those who get the message. ``by``:
        the name of the person who sends it. If a message with the same id and content is stored already, it is not
        stored again. Raises ProblemError if a message with the same id has other content, or if the class got too many
        messages, in all or in the last minute. Raises StoreError.
        """
        last = self._messages[workshop.slug][-1:]
        message = MessageRecord(
            workshop=workshop.slug,
            id=body.id or secrets.token_hex(8),
            at=max([self._now(), *(one.at + timedelta(milliseconds=1) for one in last)]),  # they stay in their order
            by=by,
            kind=body.kind,
            text=body.text,
            texts={body.language or workshop.languages[0]: body.text, **body.texts},
        )
        async with self._locks[workshop.slug, False]:
            await self._keep(message)
        self._tell(workshop.project)
        await self._deliver(workshop.slug, {one.person for one in receivers(people)}, again=False)
        self._woken.set()
        received = self._received[workshop.slug][message.id]
        return BroadcastView(id=message.id, received=len(received), people=len(receivers(people)))

    async def run(self) -> None:
        """Send recent messages to sessions that open, and again to sessions that did not take them; never returns."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), RETRY_SECONDS)
            self._woken.clear()
            try:
                await self.look()
            except Exception:  # any error: this loop must continue, since nothing else tells late seats
                log.exception("Messages to classes are looked at again")

    async def look(self) -> None:
        """Send to people with open sessions the recent messages that none of their sessions has taken.

        Raises StoreError.
        """
        slugs = [slug for slug in self._messages if self._waiting(slug)]
        members = await self._store.members(slugs)
        entitled = {slug: {one.person for one in receivers(members[slug])} for slug in slugs}
        await asyncio.gather(
            *(self._deliver(slug, people, again=again) for slug, people in entitled.items() for again in (False, True))
        )

    async def _keep(self, message: MessageRecord) -> None:
        """Store a message, unless the same message is stored already. Raises ProblemError, StoreError.

        Another message with this id is refused.
        """
        known = self._messages[message.workshop]
        same = next((one for one in known if one.id == message.id), None)
        if same is not None:
            if (same.text, same.texts, same.kind) != (message.text, message.texts, message.kind):
                raise conflict(Message("message-other", "Another message has this id already."))
            return
        if len(known) >= MOST_MESSAGES:
            raise conflict(Message("message-limit", "This class has got as many messages as one may get."))
        if sum(message.at - one.at < timedelta(minutes=1) for one in known) >= MOST_A_MINUTE:
            raise too_many(Message("message-rate", "You send messages too fast: each one opens on every screen."))
        event = EventRecord(message.workshop, message.at, message.by, "message", message.text[:200])
        try:
            await self._store.transact(lambda db: rows.add(db, message, event))
        except IntegrityError as error:
            raise conflict(Message("message-other", "Another message has this id already.")) from error
        known.append(message)

    def _waiting(self, slug: str) -> list[tuple[MessageRecord, set[str]]]:
        """Return the messages that people with an open session lack, each with these people; the oldest message first.

        A person lacks a message that none of their sessions has taken. Only the last ``REPLAYED`` messages count, and
        only those of the last ``REPLAY_HOURS`` hours. People whose session did not take a message are left out until
        the next try is due.
        """
        oldest = self._now() - timedelta(hours=REPLAY_HOURS)
        recent = [one for one in self._messages[slug][-REPLAYED:] if one.at >= oldest]
        if not recent:
            return []
        now = asyncio.get_running_loop().time()
        there = {
            one.person
            for one in self._sessions.of(PREFIX + slug)
            if one.open and one.state in _RUNS and self._pauses.get((slug, one.person), (0.0, 0.0))[0] <= now
        }
        left = [(one, there - self._received[slug][one.id]) for one in recent]
        return [(one, people) for one, people in left if people]

    async def _deliver(self, slug: str, entitled: set[str], *, again: bool) -> None:
        """Send to the open sessions of these people the messages that they have not taken yet.

        What fails is tried again later. ``again``: True sends to the people whose session did not take a message
        before, False to all others.
        """
        async with self._locks[slug, again]:
            failed: set[str] = set()  # in this round: they delay the messages to the others only once
            late = {person for of, person in self._pauses if of == slug}
            entitled = entitled & late if again else entitled - late
            for message, there in self._waiting(slug):
                if not (people := (there & entitled) - failed):
                    continue
                try:
                    taken = await self._send(message, people)
                except ProblemError as error:
                    log.info("A message to the workshop %s is sent again: %s", slug, error)
                    return
                except StoreError as error:
                    log.error("Who has a message of the workshop %s is not in the database: %s", slug, error)  # noqa: TRY400
                    return
                failed |= people - taken
                self._pause(slug, people - taken, taken)
                if taken:
                    self._tell(PREFIX + slug)
                if taken and again:
                    self._woken.set()  # they get what was sent meanwhile

    def _pause(self, slug: str, failed: Iterable[str], taken: Iterable[str]) -> None:
        now = asyncio.get_running_loop().time()
        for person in taken:
            self._pauses.pop((slug, person), None)
        for person in failed:
            pause = min(2 * self._pauses.get((slug, person), (0.0, RETRY_SECONDS / 2))[1], MOST_PAUSE)
            self._pauses[slug, person] = (now + pause, pause)

    async def _send(self, message: MessageRecord, people: set[str]) -> set[str]:
        body = ClassMessageBody(
            id=f"{_PREFIX}{message.id}",
            text=message.text,
            texts=message.texts,
            kind=message.kind,
            people=tuple(sorted(people)),
        )
        project = PREFIX + message.workshop
        answer = await self._link.post(_TOLD, project, "/messages", body, seconds=_ANSWER_SECONDS)
        taken = (set(answer.people) & people) - self._received[message.workshop][message.id]
        await self._store.transact(lambda db: rows.add_receipts(db, message, taken, self._now()))
        self._received[message.workshop][message.id] |= taken
        return taken

    def _sessions_changed(self, projects: frozenset[str]) -> None:
        if any(self._messages.get(project.removeprefix(PREFIX)) for project in projects):
            self._woken.set()

    def _tell(self, project: str) -> None:
        for on_change in self.on_change:
            on_change(frozenset({project}))


_RUNS = (SessionState.STARTING, SessionState.RUNNING)


def receivers(people: Iterable[MembershipRecord]) -> list[MembershipRecord]:
    """Return those of ``people`` who get messages: all with a seat, and the workshop's staff except observers."""
    return [one for one in people if one.state in ("seated", "staff") and one.role != "observer"]
