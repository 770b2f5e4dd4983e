"""The functions of a dialect module. The modules themselves are the dialects: ``dialect: Dialect = slurm``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from factorycommon.models import End, Estimate, Job, JobId, JobRequest, NodeState, Reservation
from factorylink.schedulers.command import Command
from factorylink.schedulers.words import SchedulerWords


class Dialect(Protocol):
    """Pure functions that make a Command from a request. ``factorylink.errors`` says what a Command may raise."""

    WORDS: SchedulerWords

    def script(self, request: JobRequest, template: str = "") -> str:
        """Return the batch script. Raises Refused if the template fails or leaves out the job's identity."""

    def jobs(self, name: str) -> Command[list[Job]]:
        """Ask for every job of a name that the scheduler lists, of every account; some may be ``ENDED``."""

    def by_id(self, ids: Iterable[JobId]) -> Command[list[Job]]:
        """Ask for the jobs of these ids, whatever their names; for an array's id, each of its jobs. Jobs that the
        scheduler does not know are left out, and so may be jobs that have ended."""

    def ended(self, name: str) -> Command[list[End]]:
        """Ask how the recent jobs of a name ended, as far as the scheduler itself remembers."""

    def waiting(self) -> Command[dict[str, list[tuple[int, JobId]]]]:
        """Ask for all pending jobs that we may see: for each partition (priority, id), the next one first."""

    def submit(self, script: str, count: int = 1) -> Command[JobId]:
        """Submit a script. Unreachable: the outcome is not known, and the job may have been taken."""

    def estimate(self, script: str) -> Command[Estimate] | None:
        """Ask when the script's job would start; the caller sets ``asked_at``. None: this scheduler has no such
        question."""

    def task_of(self, array: JobId, index: int) -> JobId:
        """Return the id of one job of an array, from the id that ``submit`` returned; indices begin with 1."""

    def array_of(self, job: JobId) -> JobId | None:
        """Return the id of the array that a job belongs to; None if it belongs to none, or if the id is another kind of
        scheduler's."""

    def cancel(self, ids: Iterable[JobId]) -> Command[None]:
        """Cancel jobs; jobs that are over already are no error."""

    def extend(self, job: JobId, minutes: int) -> Command[None]:
        """Give a running job ``minutes`` in all, counted from its start. Refused: it may not have them."""

    def nodes(self) -> Command[list[NodeState]]:
        """Ask for every node, with what is free on it."""

    def reservations(self) -> Command[list[Reservation]]:
        """Ask for nodes that are set aside, now or later: for a maintenance, or for some people."""

    def accounting(self, ids: Iterable[JobId]) -> Command[list[End]]:
        """Ask how jobs ended, from the accounting records. Gone: there are none."""

    def alive(self) -> Command[None]:
        """Ask whether the scheduler answers. Unreachable: it does not. This is the cheapest and fastest question."""

    def enter(self, job: JobId, argv: Sequence[str], node: str | None = None) -> tuple[str, ...]:
        """Return the argv of a command that runs inside a running job, whose first node is ``node``, connected to it by
        stdio."""
