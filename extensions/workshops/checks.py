"""Stores and sums up the results of connection checks that people sent to their workshop.

The people who run the workshop see the sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Connection

from workshops.models.checks import ChecksView, CheckTests, CheckVerdict, PersonCheckView
from workshops.store import check_table
from workshops.store.schema import MembershipRecord
from workshops.store.store import Store

_COUNTED = ("seated", "waiting")  # states of people who will take part
_ORDER: tuple[CheckVerdict, ...] = ("bad", "unknown", "limited", "good")


@dataclass(frozen=True)
class CheckRecord:
    """The result of one person's connection check. The fields are the columns of ``check_table.checks``."""

    workshop: str
    person: str
    at: datetime
    tests: CheckTests


async def put(store: Store, record: CheckRecord) -> None:
    """Store the result of a person's connection check for a workshop; delete their earlier result for this workshop.

    Raises StoreError.
    """
    table = check_table.checks

    def work(db: Connection) -> None:
        db.execute(delete(table).where(table.c.workshop == record.workshop, table.c.person == record.person))
        db.execute(insert(table).values(record.__dict__))

    await store.transact(work)


async def of(store: Store, slug: str) -> list[CheckRecord]:
    """Return the results of the connection checks that people have sent to a workshop. Raises StoreError."""
    table = check_table.checks
    return await store.rows(table, select(table).where(table.c.workshop == slug), CheckRecord)


def summary(people: Sequence[MembershipRecord], sent: Sequence[CheckRecord]) -> ChecksView:
    """Return how many people have checked their connection, and with which results, also person by person.

    Only people with a seat or in the waiting list count. The worst results come first.
    """
    counted = {one.person: one for one in people if one.state in _COUNTED}
    each = [
        PersonCheckView(
            person=one.person,
            name=counted[one.person].name or "",
            verdict=one.tests.overall,
            tests=one.tests,
            at=one.at,
        )
        for one in sent
        if one.person in counted
    ]
    verdicts = [one.verdict for one in each]
    return ChecksView(
        people=len(counted),
        checked=len(each),
        problems=verdicts.count("bad"),
        untested=verdicts.count("unknown"),
        limited=verdicts.count("limited"),
        each=tuple(sorted(each, key=lambda one: (_ORDER.index(one.verdict), one.person))),
    )
