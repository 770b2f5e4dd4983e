"""Gives orders about existing jobs: cancels jobs, and changes their time limits. No other module gives such orders.

Before each order the scheduler is asked for the jobs by id. The order is given only for those jobs that have this
gateway's comment and the right account in the answer, since an id may belong to another job by now.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from factorycommon.models import Job, JobId
from factorylink.errors import Refused
from factorylink.jobs.ownership import Found, OwnJob, of_one, verify
from factorylink.schedulers.dialect import Dialect
from factorylink.site.scheduler_client import NotAsked, SchedulerClient
from factorylink.util.batcher import Batcher

log = logging.getLogger(__name__)

MOST_IDS = 400  # ids in one command: a site's wrapper accepts at most 500
MOST_ORDERS = 100  # orders that are carried out together
T = TypeVar("T")


@dataclass
class _Cancel:
    """Jobs to be cancelled, and what was found under their ids."""

    jobs: tuple[OwnJob, ...]
    findings: dict[JobId, Found] = field(default_factory=dict)


class JobOrders:
    """Cancels jobs and changes their time limits.

    ``has_answered``: returns whether the factory has answered since the link was started. ``happened`` is called after
    an order was carried out, with the account that gave the order (None: the watcher, the account as which the link
    asks the scheduler).
    """

    def __init__(
        self,
        scheduler_client: SchedulerClient,
        dialect: Dialect,
        has_answered: Callable[[], bool],
        happened: Callable[[str | None], None],
    ) -> None:
        self._scheduler_client = scheduler_client
        self._dialect = dialect
        self._has_answered = has_answered
        self._happened = happened
        self._cancels: Batcher[str, _Cancel] = Batcher(self._cancel, MOST_ORDERS)

    async def close(self) -> None:
        """Give up the cancellations that are running; the scheduler may have received them all the same."""
        await self._cancels.close()

    async def by_id(self, ids: Iterable[JobId], account: str | None) -> list[Job]:
        """Return the jobs with these ids that the scheduler knows, whatever their names. Raises FactoryError.

        Ids that do not have this scheduler's form are left out. ``account``: the site account that asks; None: the
        watcher (the account as which the link asks the scheduler).
        """
        found: list[Job] = []
        for some in pieces(of_its_form(self._dialect, sorted(set(ids)))):
            jobs: list[Job] = await self._scheduler_client.run(self._dialect.by_id(some), account)
            found += jobs
        return found

    async def cancel(self, account: str, jobs: Iterable[OwnJob]) -> dict[JobId, Found]:
        """Cancel jobs of a site account, in the name of this account; return what was found under each job's id.

        Only a job that is found to be ``OURS`` is cancelled. For an array, there is a finding under the id of each task
        that has not ended; if there is no such task, the array's id has the finding ``GONE``. Raises FactoryError.
        """
        order = _Cancel(tuple(jobs))
        await self._cancels.do(account, order)
        return order.findings

    async def extend(self, account: str | None, job: OwnJob, minutes: int) -> Found:
        """Set the time limit of a running job to ``minutes``, if the job has this gateway's comment.

        Return what was found under the job's id; the limit was set only if the result is ``OURS``. ``account``: the
        site account that gives the order; None: the watcher (the account as which the link asks the scheduler). Raises
        FactoryError.
        """
        self._check()
        may, findings = verify([job], await self.by_id([job.id], account))
        if may == [job.id]:
            try:
                order = self._dialect.extend(job.id, minutes)
            except ValueError as error:
                raise Refused(f"Job {job.id} cannot be made longer: {error}") from error
            await self._scheduler_client.run(order, account)
            self._happened(account)
        return of_one(findings, job.id)

    async def _cancel(self, account: str, orders: Sequence[_Cancel]) -> None:
        self._check()
        wanted = [job for order in orders for job in order.jobs]
        findings: dict[JobId, Found] = {}
        for some in pieces(wanted):
            may, shown = verify(some, await self.by_id([job.id for job in some], account))
            findings |= shown
            # if some tasks of an array continue, each of the others is cancelled by its own id
            for piece in pieces(list(dict.fromkeys(may))):
                await self._scheduler_client.run(self._dialect.cancel(piece), account)
                self._happened(account)
        for order in orders:
            ids = {job.id for job in order.jobs}
            order.findings = {
                id: what for id, what in findings.items() if id in ids or self._dialect.array_of(id) in ids
            }

    def _check(self) -> None:
        """Raise NotAsked if the factory has not answered since the link was started."""
        if not self._has_answered():
            raise NotAsked(
                "The factory has not answered since the gateway was started, so the gateway changes no job there yet. "
                "Try again in a minute."
            )


def pieces(all: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the items of ``all`` in pieces of at most ``MOST_IDS`` items; one command takes one piece."""
    for first in range(0, len(all), MOST_IDS):
        yield all[first : first + MOST_IDS]


def of_its_form(dialect: Dialect, ids: Sequence[JobId]) -> Sequence[JobId]:
    """Return those ids that have the form of the dialect's job ids.

    An id of another form belongs to a job that was submitted when the factory had another kind of scheduler. The
    present scheduler has no such job.
    """
    try:
        dialect.by_id(ids)
    except ValueError:
        good = [id for id in ids if _is_of_its_form(dialect, id)]
        log.warning("%d job ids are of another kind of scheduler: their jobs are gone", len(ids) - len(good))
        return good
    return ids


def _is_of_its_form(dialect: Dialect, id: JobId) -> bool:
    try:
        dialect.by_id([id])
    except ValueError:
        return False
    return True
