"""Reads the history of a project from the ledger: its sessions, and what its clusters have used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any

from sqlalchemy import Connection, func, select

from factorycommon.models import Amount, Cost, SessionId, Slug
from factorycommon.models.history import MOST_CLUSTER_USES, ClusterUse, HistoryPage, PastRun
from factorylink.ledger.charges import HOUR, billed, seconds_used
from factorylink.ledger.cluster_tables import batches, clusters
from factorylink.ledger.ledger import Ledger
from factorylink.ledger.schema import charges, sessions
from factorylink.util import clock

CostOf = Callable[[Slug, Slug, float], Cost | None]
_OF_WORKER = "%/%"  # ids of charges of a cluster's workers: the batch's, and the worker's number
_BATCH = func.substr(charges.c.id, 1, 32)
_MOST_IDS = 500  # ids in one query


class ProjectHistory:
    """Reads the histories of projects.

    ``cost_of``: returns, for a factory, a node size and a number of seconds, the cost in GPU-hours and in the factory's
    own unit; None if the cost is not known.
    """

    def __init__(self, ledger: Ledger, cost_of: CostOf) -> None:
        self._ledger = ledger
        self._cost_of = cost_of

    async def page(self, project: str, after: SessionId | None, limit: int) -> HistoryPage:
        """Return a page of at most ``limit`` sessions of a project, ordered by their ids. Raises LedgerError.

        ``after``: None for the first page, which also has what the project's clusters have used; for a later page,
        ``next`` of the page before. The last page's ``next`` is None.
        """
        where = [charges.c.project == project, charges.c.id.not_like(_OF_WORKER)]
        where += [] if after is None else [charges.c.id > after]
        query = select(charges.c.id).where(*where).order_by(charges.c.id).limit(limit)
        ids = await self._ledger.transact(lambda db: list(db.scalars(query)))
        charged = await self._ledger.rows(charges, select(charges).where(charges.c.id.in_(ids)).order_by(charges.c.id))
        rows = await self._ledger.rows(
            sessions, select(sessions).where(sessions.c.id.in_([row["id"] for row in charged]))
        )
        by_id, now = {row["id"]: row for row in rows}, clock.now()
        runs = [self._run(by_id[row["id"]], row, now) for row in charged if row["id"] in by_id]
        return HistoryPage(
            runs=tuple(runs),
            clusters=() if after is not None else tuple(await self._clusters(project)),
            next=ids[-1] if len(ids) == limit else None,
        )

    def _run(self, row: dict[str, Any], charge: dict[str, Any], now: datetime) -> PastRun:
        seconds, choice = seconds_used(charge, now), row["choice"]
        return PastRun(
            id=row["id"],
            person=row["user"],
            server=row["server"],
            factory=row["factory"],
            size=choice.size,
            environment=choice.environment,
            asked=row["created"],
            started=row["started"],
            ready=row["ready"],
            opened=row["opened"],
            ended=row["ended"],
            end_reason=row["end_reason"],
            code="" if row["end"] is None else row["end"].code,
            seconds=seconds,
            gpu_hours=float(billed(charge) * seconds / HOUR),
            own=self._own(row["factory"], choice.size, seconds),
        )

    async def _clusters(self, project: str) -> list[ClusterUse]:
        """Return what the workers of the project's clusters have used, by person, factory and size.

        At most ``MOST_CLUSTER_USES`` entries are returned. The size of an entry is None if the ledger lacks the batches
        of its workers.
        """
        mine = (charges.c.project == project, charges.c.id.like(_OF_WORKER))
        key = (_BATCH.label("batch"), charges.c.person, charges.c.factory, charges.c.gpus, charges.c.gpu_parts)
        over = (
            select(
                *key,
                func.count().label("jobs"),
                func.sum(charges.c.seconds).label("seconds"),
            )
            .where(*mine, charges.c.ended.is_not(None))
            .group_by(*key)
        )

        def read(db: Connection) -> list[tuple[str, str, str, int, int, Fraction]]:
            return [
                (row["batch"], row["person"], row["factory"], row["jobs"], seconds, billed(row) * seconds)
                for row in db.execute(over).mappings()
                for seconds in (int(row["seconds"] or 0),)
            ]

        found, now = await self._ledger.transact(read), clock.now()
        for row in await self._ledger.rows(charges, select(charges).where(*mine, charges.c.ended.is_(None))):
            seconds = seconds_used(row, now)
            found.append((row["id"][:32], row["person"], row["factory"], 1, seconds, billed(row) * seconds))
        sizes = await self._sizes(sorted({batch for batch, *_ in found}))
        sums: dict[tuple[str, str, Slug | None], tuple[int, int, Fraction]] = {}
        for batch, person, factory, jobs, seconds, gpu_seconds in found:
            one = person, factory, sizes.get(batch)
            known = sums.get(one, (0, 0, Fraction(0)))
            sums[one] = known[0] + jobs, known[1] + seconds, known[2] + gpu_seconds
        return [
            ClusterUse(
                person=person,
                factory=factory,
                size=size,
                jobs=jobs,
                gpu_hours=float(gpu_seconds / HOUR),
                own=None if size is None else self._own(factory, size, seconds),
            )
            for (person, factory, size), (jobs, seconds, gpu_seconds) in sorted(
                sums.items(), key=lambda one: (one[0][0], one[0][1], one[0][2] or "")
            )
        ][:MOST_CLUSTER_USES]

    async def _sizes(self, ids: Sequence[str]) -> dict[str, Slug]:
        """Return, by batch id, the node size of the batch's workers; batches that the ledger lacks are left out."""
        found: dict[str, Slug] = {}
        for begin in range(0, len(ids), _MOST_IDS):
            some = ids[begin : begin + _MOST_IDS]
            query = select(batches).where(batches.c.id.in_(some))
            of_batch = {row["id"]: row["cluster"] for row in await self._ledger.rows(batches, query)}
            rows = await self._ledger.rows(clusters, select(clusters).where(clusters.c.id.in_(set(of_batch.values()))))
            size_of = {row["id"]: row["choice"].size for row in rows}
            found |= {batch: size_of[cluster] for batch, cluster in of_batch.items() if cluster in size_of}
        return found

    def _own(self, factory: Slug, size: Slug, seconds: float) -> Amount | None:
        cost = self._cost_of(factory, size, seconds)
        return None if cost is None else cost.own
