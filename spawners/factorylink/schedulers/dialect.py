"""The interface of a dialect. A dialect is the module of one scheduler, so ``dialect: Dialect = slurm`` is valid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from factorycommon.models import End, Estimate, Job, JobId, JobRequest, NodeState, Reservation
from factorylink.schedulers.command import Command
from factorylink.schedulers.words import SchedulerWords


class Dialect(Protocol):
    """The functions of a dialect. They are pure; most of them return a ``Command``, which the caller runs.

    The ``parse`` of a command returns the answer in the command's output, or raises an error of ``factorylink.errors``.
    ``WORDS``: the patterns that recognise the scheduler's messages.
    """

    WORDS: SchedulerWords

    def script(self, request: JobRequest, template: str = "") -> str:
        """Return the batch script for a request. ``template``: the operator's template; "" for the dialect's own.

        Raises Refused if the scheduler cannot express the request, or if the template fails. Also raises Refused if the
        template leaves out the directives that identify the job (its name, for example), or sets one of them itself.
        """

    def jobs(self, name: str) -> Command[list[Job]]:
        """Return the command that lists the jobs with the name ``name`` that the asking account may see.

        These are jobs of all accounts, unless the site shows each account its own jobs only. Some jobs that have
        ended may be listed, too; their state is ``ENDED``.
        """

    def by_id(self, ids: Iterable[JobId]) -> Command[list[Job]]:
        """Return the command that lists the jobs with these ids, whatever their names.

        For the id of an array, each of its jobs is listed. Jobs that the scheduler does not know are left out, and so
        may be jobs that have ended.
        """

    def ended(self, name: str) -> Command[list[End]]:
        """Return the command that asks how recent jobs with the name ``name`` ended, as far as the scheduler remembers.

        The command does not read accounting records.
        """

    def waiting(self) -> Command[dict[str, list[tuple[int, JobId]]]]:
        """Return the command that lists all pending jobs that the asking account may see (PBS: state ``Q`` only).

        The answer has, for each partition, (priority, id) of its jobs in the order of the queue. If a scheduler does
        not tell this order (PBS), each priority is 0, and the jobs are in the order of their submission.
        """

    def submit(self, script: str, count: int = 1) -> Command[JobId]:
        """Return the command that submits a script, with ``count`` > 1 as an array of that many jobs.

        The answer is the id of the job or the array. ``parse`` raises Unreachable if the outcome is not known: then the
        job may have been accepted.
        """

    def estimate(self, script: str) -> Command[Estimate] | None:
        """Return the command that asks when the job of a script would start; None if this scheduler cannot tell.

        The caller must set ``asked_at`` of the answer.
        """

    def task_of(self, array: JobId, index: int) -> JobId:
        """Return the id of one job of an array, from the id that ``submit`` returned; indices start at 1."""

    def array_of(self, job: JobId) -> JobId | None:
        """Return the id of the array that a job belongs to.

        None: the job belongs to no array, or its id has the form of another kind of scheduler.
        """

    def cancel(self, ids: Iterable[JobId]) -> Command[None]:
        """Return the command that cancels jobs; jobs that have ended already are no error."""

    def extend(self, job: JobId, minutes: int) -> Command[None]:
        """Return the command that sets the time limit of a running job to ``minutes``, counted from its start.

        ``parse`` raises Refused if the job may not run that long.
        """

    def nodes(self) -> Command[list[NodeState]]:
        """Return the command that lists every node, with its free resources."""

    def reservations(self) -> Command[list[Reservation]]:
        """Return the command that lists present and future reservations, for maintenance or for certain people."""

    def accounting(self, ids: Iterable[JobId]) -> Command[list[End]]:
        """Return the command that asks the accounting records how the jobs ended.

        ``parse`` raises Gone if the scheduler keeps no such records at all. A job without a record is left out.
        """

    def alive(self) -> Command[None]:
        """Return the command that asks whether the scheduler answers; this is the cheapest and fastest question.

        ``parse`` raises Unreachable if the scheduler does not answer.
        """

    def enter(self, job: JobId, argv: Sequence[str], node: str | None = None) -> tuple[str, ...]:
        """Return the command line that runs ``argv`` inside a running job, connected to the caller by stdio.

        ``node``: the job's first node. Raises Unreachable if the dialect needs ``node`` and it is None.
        """
