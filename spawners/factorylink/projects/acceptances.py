"""The versions of the sites' rules that each person has accepted; kept forever, each with its date."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert, select

from factorycommon.messages import Message
from factorycommon.models import Factory, Slug, Words
from factorylink.config import LinkConfig
from factorylink.explain import explain
from factorylink.ledger import schema
from factorylink.ledger.ledger import AuditEntry, Ledger, audit_values, upsert
from factorylink.problems import conflict, gone
from factorylink.util import clock


class Acceptances:
    """Accepted rules. Call ``load`` before use."""

    def __init__(self, ledger: Ledger, config: LinkConfig) -> None:
        self._ledger = ledger
        self._address = checklist_address(config)
        self._known: dict[tuple[str, Slug, str], datetime] = {}  # by person, factory and version

    async def load(self) -> None:
        """Read the ledger. Raises LedgerError."""
        rows = await self._ledger.rows(schema.acceptances, select(schema.acceptances))
        self._known = {(row["user"], row["factory"], row["version"]): row["at"] for row in rows}

    def at(self, user: str, factory: Factory) -> datetime | None:
        """Return when the person accepted the present version of the factory's rules; None if they have not, or if it
        has no rules."""
        rules = factory.site.rules
        return None if rules is None else self._known.get((user, factory.id, rules.version))

    def open(self, user: str, factory: Factory) -> Words | None:
        """Return why the person can start nothing there until they accept its rules; None if there is nothing to
        accept."""
        if factory.site.rules is None or self.at(user, factory) is not None:
            return None
        return explain.filled("rules-open", factory=factory.site.machine, address=self._address)

    async def accept(self, user: str, factory: Factory, version: str) -> None:
        """Record that the person accepts that version of the factory's rules; repeating this changes nothing. Returns
        when the ledger has it. Raises ProblemError if the factory has no rules, or another version by now;
        LedgerError."""
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
            # From two windows at once, or by another link: the first acceptance counts.
            adding = upsert(db, schema.acceptances).values(values).on_conflict_do_nothing()
            if db.execute(adding.returning(schema.acceptances.c.at)).first() is not None:
                entry = AuditEntry(user, "", factory.id, "accept", detail=f"rules {version}")
                db.execute(insert(schema.audit).values(audit_values(entry)))

        await self._ledger.write(write)
        self._known.setdefault(key, at)


def checklist_address(config: LinkConfig) -> str:
    """Return the address of people's checklist: in full if the gateway's address is known here."""
    return f"{config.root}hub/checklist"
