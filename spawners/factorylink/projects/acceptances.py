"""Records which versions of the sites' rules each person has accepted, and when; records are kept forever."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert, select

from factorycommon.messages import Message
from factorycommon.models import Factory, Slug, Words, is_robot
from factorylink.config import LinkConfig
from factorylink.explain import explain
from factorylink.ledger import schema
from factorylink.ledger.ledger import AuditEntry, Ledger, audit_values, upsert
from factorylink.problems import conflict, gone
from factorylink.util import clock


class Acceptances:
    """Stores which versions of the sites' rules people have accepted. Call ``load`` before use."""

    def __init__(self, ledger: Ledger, config: LinkConfig) -> None:
        self._ledger = ledger
        self._address = checklist_address(config)
        self._known: dict[tuple[str, Slug, str], datetime] = {}  # time of acceptance by person, factory and version

    async def load(self) -> None:
        """Load the records from the ledger. Raises LedgerError."""
        rows = await self._ledger.rows(schema.acceptances, select(schema.acceptances))
        self._known = {(row["user"], row["factory"], row["version"]): row["at"] for row in rows}

    def at(self, user: str, factory: Factory) -> datetime | None:
        """Return when the person accepted the present version of the factory's rules.

        None: they have not accepted it, or the factory has no rules.
        """
        rules = factory.site.rules
        return None if rules is None else self._known.get((user, factory.id, rules.version))

    def open(self, user: str, factory: Factory) -> Words | None:
        """Return why the person can start nothing at the factory before accepting its rules.

        None: no acceptance is missing. A robot of a rehearsal need accept nothing, because no person uses its session.
        """
        if is_robot(user) or factory.site.rules is None or self.at(user, factory) is not None:
            return None
        return explain.filled("rules-open", factory=factory.site.machine, address=self._address)

    async def accept(self, user: str, factory: Factory, version: str) -> None:
        """Record in the ledger that the person accepts ``version`` of the factory's rules.

        Repeating the call changes nothing. Raises ProblemError if the factory has no rules, or if ``version`` is not
        the present version of its rules; LedgerError.
        """
        rules = factory.site.rules
        if rules is None:
            raise gone(f"The rules of {factory.site.machine}")
        if version != rules.version:
            raise conflict(
                Message("rules-changed", "These terms of use have changed since you read them. Read them again.")
            )
        key, at = (user, factory.id, version), clock.now()
        if key in self._known:
            return

        def write(db: Connection) -> None:
            values = {"user": user, "factory": factory.id, "version": version, "at": at}
            # Accepted in two windows at once, or by another link: the first acceptance counts.
            adding = upsert(db, schema.acceptances).values(values).on_conflict_do_nothing()
            if db.execute(adding.returning(schema.acceptances.c.at)).first() is not None:
                entry = AuditEntry(user, "", factory.id, "accept", detail=f"rules {version}")
                db.execute(insert(schema.audit).values(audit_values(entry)))

        await self._ledger.write(write)
        self._known.setdefault(key, at)


def checklist_address(config: LinkConfig) -> str:
    """Return the URL of the hub's checklist page, or only its path if the gateway's public URL is not configured.

    On this page a person sees what is still missing before they can start a session, and accepts the sites' rules.
    """
    return f"{config.root}hub/checklist"
