"""Stores the raised hands of all workshops in the database, with a copy in memory for the room.

The room is the page of a running class, for the people who run it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace

from sqlalchemy import Connection, delete, insert, select

from workshops.store import schema
from workshops.store.hand_table import HandRecord, raised_hands
from workshops.store.schema import EventRecord
from workshops.store.store import Store


class RaisedHands:
    """Reads and writes raised hands. Every method raises StoreError if the database cannot be read or written."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, dict[str, HandRecord]] = {}  # by workshop and person
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def of(self, slug: str) -> dict[str, HandRecord]:
        """Return a workshop's hands by person."""
        async with self._locks[slug]:
            return dict(await self._load(slug))

    async def get(self, slug: str, person: str) -> HandRecord | None:
        """Return a person's raised hand; None: the person's hand is not up."""
        return (await self.of(slug)).get(person)

    async def put(self, hand: HandRecord, event: EventRecord | None = None) -> HandRecord:
        """Store a person's hand in place of an earlier one, and return the stored hand.

        The stored hand keeps the earlier hand's time, the helper who comes, and the helper who asks to see the
        notebook. ``event``: a line for the workshop's log, written only if no hand was up.
        """
        async with self._locks[hand.workshop]:
            known = await self._load(hand.workshop)
            before = known.get(hand.person)
            if before is not None:
                hand = replace(hand, at=before.at, by=before.by, asked_by=before.asked_by)
            return await self._write(known, hand, None if before is not None else event)

    async def change(
        self,
        slug: str,
        person: str,
        event: EventRecord | None = None,
        *,
        by: str | None = None,
        asked_by: str | None = None,
    ) -> HandRecord | None:
        """Store which helper comes to a person whose hand is up, or which helper asks to see the person's notebook.

        Return the stored hand; None: the person's hand is not up. ``by``: the helper who comes, None: no change.
        ``asked_by``: the helper who asks, "": nobody asks any more, None: no change. A call with ``by`` changes nothing
        if a helper comes already; the returned hand then names the helper who comes already. ``event``: a line for the
        workshop's log, written only if the hand is changed.
        """
        async with self._locks[slug]:
            known = await self._load(slug)
            before = known.get(person)
            if before is None or (by is not None and before.by):
                return before
            after = replace(
                before,
                by=before.by if by is None else by,
                asked_by=before.asked_by if asked_by is None else asked_by,
            )
            return await self._write(known, after, event)

    async def take_down(self, slug: str, person: str, event: EventRecord) -> bool:
        """Delete a person's hand with all that was sent with it; return whether the hand was up.

        ``event``: a line for the workshop's log, written only if the hand was up.
        """
        async with self._locks[slug]:
            known = await self._load(slug)
            if person not in known:
                return False

            def work(db: Connection) -> None:
                db.execute(delete(raised_hands).where(raised_hands.c.workshop == slug, raised_hands.c.person == person))
                db.execute(insert(schema.events).values(event.__dict__))

            await self._store.transact(work)
            del known[person]
            return True

    async def forget_all_but(self, slugs: Collection[str]) -> None:
        """Delete the hands of all workshops except ``slugs``, which must be all workshops that are not over."""
        await self._store.transact(
            lambda db: db.execute(delete(raised_hands).where(raised_hands.c.workshop.not_in(slugs)))
        )
        for slug in [one for one in self._known if one not in slugs]:
            del self._known[slug]
            self._locks.pop(slug, None)

    async def _load(self, slug: str) -> dict[str, HandRecord]:
        if slug not in self._known:
            found = await self._store.rows(
                raised_hands, select(raised_hands).where(raised_hands.c.workshop == slug), HandRecord
            )
            self._known[slug] = {one.person: one for one in found}
        return self._known[slug]

    async def _write(self, known: dict[str, HandRecord], hand: HandRecord, event: EventRecord | None) -> HandRecord:
        def work(db: Connection) -> None:
            mine = raised_hands.c.workshop == hand.workshop, raised_hands.c.person == hand.person
            db.execute(delete(raised_hands).where(*mine))
            db.execute(insert(raised_hands).values(hand.__dict__))
            if event is not None:
                db.execute(insert(schema.events).values(event.__dict__))

        await self._store.transact(work)
        known[hand.person] = hand
        return hand


def place_of(hand: HandRecord, everybody: Collection[HandRecord]) -> int:
    """Return the place of a hand in the queue of all hands (``everybody``), from 1; 0 if a helper comes already."""
    if hand.by:
        return 0
    waiting = [one for one in everybody if not one.by]
    return 1 + sum((one.at, one.person) < (hand.at, hand.person) for one in waiting)
