"""What a dialect module offers. The modules themselves are the dialects: ``dialect: Dialect = slurm``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from factorycommon.models import End, Estimate, Job, JobId, JobRequest, NodeState, Reservation
from factorylink.schedulers.command import Command
from factorylink.schedulers.words import SchedulerWords


class Dialect(Protocol):
    """Pure functions from a request to an ask. What each ask raises is said in ``factorylink.errors``."""

    WORDS: SchedulerWords

    def script(self, request: JobRequest, template: str = "") -> str:
        """The batch script. Refused: the template fails or leaves out the job's identity."""

    def jobs(self, name: str) -> Command[list[Job]]:
        """Every job of a name that the scheduler lists, of every account; some may be ``ENDED``."""

    def by_id(self, ids: Iterable[JobId]) -> Command[list[Job]]:
        """The jobs of these ids, whatever they are called; of an array's id, each of its jobs. What the scheduler does
        not know is left out; one that ended may be."""

    def ended(self, name: str) -> Command[list[End]]:
        """How the recent jobs of a name ended, as far as the scheduler itself remembers."""

    def waiting(self) -> Command[dict[str, list[tuple[int, JobId]]]]:
        """All pending jobs that we may see, per partition: (priority, id), the next one first."""

    def submit(self, script: str, count: int = 1) -> Command[JobId]:
        """Submit. Unreachable: doubtful, it may have been taken."""

    def estimate(self, script: str) -> Command[Estimate] | None:
        """When it would start; the caller sets ``asked_at``. None: this scheduler cannot be asked that."""

    def task_of(self, array: JobId, index: int) -> JobId:
        """The id of one job of an array, from the id that ``submit`` gave; indices begin with 1."""

    def array_of(self, job: JobId) -> JobId | None:
        """The array that a job is of, by its id; None: it is of none, or the id is of another kind of scheduler."""

    def cancel(self, ids: Iterable[JobId]) -> Command[None]:
        """See that jobs are over; those that are already are no error."""

    def extend(self, job: JobId, minutes: int) -> Command[None]:
        """Give a running job ``minutes`` in all, from its start. Refused: it may not."""

    def nodes(self) -> Command[list[NodeState]]:
        """Every node with what is free on it."""

    def reservations(self) -> Command[list[Reservation]]:
        """Nodes that are set aside, now or later: for a maintenance, or for some people."""

    def accounting(self, ids: Iterable[JobId]) -> Command[list[End]]:
        """How jobs ended, from the long memory. Gone: there is none."""

    def alive(self) -> Command[None]:
        """Does the scheduler answer? Unreachable: no. The cheapest and fastest question there is."""

    def enter(self, job: JobId, argv: Sequence[str], node: str | None = None) -> tuple[str, ...]:
        """argv of a command that runs inside a running job (whose first node is ``node``), joined to it by stdio."""
