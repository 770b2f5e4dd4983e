"""Who may use what: the projects, and the people as the hub knows them."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, delete, insert, select

from factorylink import moments, schema
from factorylink.ledger import Ledger
from factorylink.models import PersonBody


class People:
    """The groups of each person, and who is blocked; kept in the ledger. ``load`` before use."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: dict[str, PersonBody] = {}
        self.on_change: Callable[[str], None] = lambda _user: None  # told of who is another than before

    async def load(self) -> None:
        """What the ledger has. Raises LedgerError."""
        query = select(schema.people.c.user, schema.people.c.groups, schema.people.c.blocked)
        rows = await self._ledger.transact(lambda db: db.execute(query).all())
        self._known = {row.user: PersonBody(groups=row.groups, blocked=row.blocked) for row in rows}

    def get(self, user: str) -> PersonBody | None:
        """As the hub told last; None: it never did."""
        return self._known.get(user)

    async def put(self, user: str, told: PersonBody) -> None:
        """Who that person is from now on. Returns when the ledger has it. Raises LedgerError."""
        if self._known.get(user) == told:
            return  # at each refresh of each login, and mostly nothing is new

        def write(db: Connection) -> None:
            db.execute(delete(schema.people).where(schema.people.c.user == user))
            values = {"user": user, "groups": told.groups, "blocked": told.blocked, "at": moments.now()}
            db.execute(insert(schema.people).values(values))

        await self._ledger.write(write)
        self._known[user] = told
        self.on_change(user)
