"""Stores what the hub reports of people: their groups, whether they are blocked, whether they may start anything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sqlalchemy import Connection, delete, insert, select

from factorycommon.models import AccessStatus, HubRules, JobOptions, PersonBody, Words, is_robot
from factorylink.explain import explain
from factorylink.ledger import schema
from factorylink.ledger.ledger import Ledger
from factorylink.util import clock

# Refusals of the hub that only say that a login is too old.
_STALE = frozenset({"login-stale"})
_RULES = "rules"  # key of the only row in the ledger's table of rules


class KnownPeople:
    """The hub's data about each person, and the hub's rules, as stored in the ledger. Call ``load`` first.

    Until the hub has sent its rules, a person without an access status from the hub can start nothing.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: dict[str, PersonBody] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self.rules = HubRules()
        self.on_change: Callable[[], None] = lambda: None  # called when a person's groups or block changed

    async def load(self) -> None:
        """Load the data from the ledger. Raises LedgerError."""
        rows = await self._ledger.rows(schema.people, select(schema.people))
        names = ("groups", "blocked", "access", "options")
        self._known = {row["user"]: PersonBody(**{name: row[name] for name in names}) for row in rows}
        rules = await self._ledger.rows(schema.hub_rules, select(schema.hub_rules))
        self.rules = rules[0]["told"] if rules else HubRules()

    def get(self, user: str) -> PersonBody | None:
        """Return the hub's last data about this person; None if there are none."""
        return self._known.get(user)

    def refusal(self, user: str, *, fresh: bool = True) -> Words | None:
        """Return why the hub's rules do not let this person start anything; None if they do.

        The hub sends an access status for each person. A person is refused if the status contains a refusal, if the
        status has expired, if the person has not accepted the version of the gateway's terms that the hub's rules name,
        or if the hub has sent no status although its rules require one (``HubRules.access``). ``fresh`` False: a
        refusal because of an old login and an expired status do not count. Robots are never refused here, since the hub
        does not know them; their project alone says what they may start.
        """
        if is_robot(user):
            return None
        person = self._known.get(user)
        access = None if person is None else person.access
        if access is None:
            if self.rules.access:
                return explain.own("access-unknown")
            access = AccessStatus()
        if access.refusal is not None and (fresh or access.refusal.code not in _STALE):
            return access.refusal
        if fresh and access.until is not None and access.until <= clock.now():
            return explain.own("access-expired")
        return explain.own("terms-open") if self.rules.terms not in (None, access.terms) else None

    def options(self, user: str) -> JobOptions:
        """Return the job options that the operator adds for this person, or else those for everybody."""
        person = self._known.get(user)
        return self.rules.options if person is None or person.options is None else person.options

    async def put(self, user: str, person: PersonBody) -> None:
        """Store the hub's data about a person in the ledger.

        If ``person`` has no ``options``, the stored options of this person stay. Raises LedgerError.
        """
        async with self._locks.setdefault(user, asyncio.Lock()):
            await self._put(user, person)

    async def _put(self, user: str, person: PersonBody) -> None:
        before = self._known.get(user)
        if person.options is None and before is not None:
            person = person.model_copy(update={"options": before.options})
        if before == person:
            return  # the hub sends this at each refresh of a login; usually nothing has changed
        people = schema.people

        def write(db: Connection) -> None:
            db.execute(delete(people).where(people.c.user == user))
            values = {"user": user, "groups": person.groups, "blocked": person.blocked, "at": clock.now()}
            db.execute(insert(people).values(**values, access=person.access, options=person.options))

        await self._ledger.write(write)
        self._known[user] = person
        if before is None or (before.groups, before.blocked) != (person.groups, person.blocked):
            self.on_change()

    async def put_access(self, user: str, access: AccessStatus) -> None:
        """Store whether the person may start anything; their groups stay unchanged. Raises LedgerError.

        Nothing is stored for a person about whom the hub has sent no data (``put``).
        """
        # otherwise a block that is being written could be undone
        async with self._locks.setdefault(user, asyncio.Lock()):
            if (before := self._known.get(user)) is not None:
                await self._put(user, before.model_copy(update={"access": access}))

    async def put_rules(self, rules: HubRules) -> None:
        """Store the hub's rules for everybody in the ledger. Raises LedgerError."""
        if rules == self.rules:
            return
        table = schema.hub_rules

        def write(db: Connection) -> None:
            db.execute(delete(table))
            db.execute(insert(table).values(name=_RULES, told=rules, at=clock.now()))

        await self._ledger.write(write)
        self.rules = rules
