"""Makes the commands for Slurm (22.05 to 25.11), and parses their output.

Pure: no I/O, clock or configuration.

The commands cause the following numbers of RPCs at the controller, counted with sdiag on 24.11. ``jobs``, ``ended``,
``waiting`` and ``nodes`` cause two, whatever the number of rows: JOB_INFO or NODE_INFO, and PARTITION_INFO (in a
federation they would cause a third, which ``--local`` avoids). ``by_id`` causes two, but three for a single id.
``submit``, ``extend`` and ``alive`` cause one, ``cancel`` one for each id, ``estimate`` two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from factorycommon.models import End, Estimate, Job, JobId, NodeState, Reservation
from factorylink.errors import FactoryError, Gone, Misread, Refused, Unreachable
from factorylink.schedulers.command import LISTING, QUEUE, Command, Output
from factorylink.schedulers.complete_lists import LIST, whole
from factorylink.schedulers.ends import end_of
from factorylink.schedulers.slurm import nodes as slurm_nodes
from factorylink.schedulers.slurm import parser as parse
from factorylink.schedulers.slurm import reservations as slurm_reservations
from factorylink.schedulers.slurm.ids import array_of, task_of
from factorylink.schedulers.slurm.script import script
from factorylink.schedulers.slurm.words import WORDS

__all__ = [
    "WORDS", "accounting", "alive", "array_of", "by_id", "cancel", "ended", "enter", "estimate", "extend", "jobs",
    "nodes", "reservations", "script", "submit", "task_of", "waiting",
]  # fmt: skip

T = TypeVar("T")

# Messages of commands that got no answer. Any other failure is a refusal by the scheduler.
_SILENT = re.compile(
    r"unable to contact slurm controller|socket timed out|connection (refused|timed out|reset)|connect failure"
    r"|zero bytes were transmitted|communication|unexpected message|protocol (authentication|version)"
    r"|backup controller|standby mode|controller not responding|slurm temporarily unable|try again"
    r"|resource temporarily unavailable|could not establish a configuration source|invalid authentication credential"
    r"|munge|network is unreachable|no route to host|unable to resolve|transport endpoint|insane message length"
    r"|cannot allocate memory|error while loading shared libraries|command not found"
    r"|slurm database (connection|daemon)|unable to (connect to|contact) (the )?(slurm )?database|slurmdbd",
    re.I,
)
_CANNOT_RUN = {126, 127}  # a shell's exit codes for a program that is missing or may not be run
_NOT_THERE = re.compile(r"invalid job id|already completing or completed|job has already (finished|completed)", re.I)
# a complete line, since a part of an id is the id of another job
_SUBMITTED = re.compile(r"(?:^|\n)([0-9]+)(?:;[^\s;]+)?\n\s*\Z")


def jobs(name: str) -> Command[list[Job]]:
    """Return the command that lists every job with the name ``name`` that the asking account may see.

    These jobs include jobs that have ended, for as long as Slurm's ``MinJobAge`` says.
    """
    return Command(
        (*LIST, "squeue", "--local", "--all", "--array", "--noheader", "--states=all", f"--name={name}", "--sort=i",
         f"--Format={parse.JOB_FORMAT}"),
        _listed(lambda rows: parse.jobs(name, rows)),
        timeout=20,
        most=LISTING,
        env=parse.TIMES,
    )  # fmt: skip


def by_id(ids: Iterable[JobId]) -> Command[list[Job]]:
    """Return the command that lists the jobs with these ids, whatever their names.

    For an array's id, each of its tasks is listed. Jobs that the controller does not know are left out. Raises
    ValueError for a text that is no id.
    """
    words = _checked(ids)

    def read(output: Output) -> list[Job]:
        # squeue silently omits unknown ids in a list, but reports an error for a single unknown id.
        if output.code and len(words) == 1 and _NOT_THERE.search(output.stderr):
            return []
        return _listed(parse.named_jobs)(output)

    return Command(
        (*LIST, "squeue", "--local", "--all", "--array", "--noheader", "--states=all", f"--jobs={','.join(words)}",
         "--sort=i", f"--Format={parse.NAMED_FORMAT}"),
        read,
        timeout=20,
        most=LISTING,
        env=parse.TIMES,
    )  # fmt: skip


def ended(name: str) -> Command[list[End]]:
    """Return the command that asks how jobs named ``name`` ended, as far as the controller still knows them."""
    question = jobs(name)

    def read(output: Output) -> list[End]:
        return [end for job in question.parse(output) if (end := end_of(job))]

    return Command(question.argv, read, timeout=question.timeout, env=question.env, most=question.most)


def waiting() -> Command[dict[str, list[tuple[int, str]]]]:
    """Return the command that lists every pending job that the asking account may see.

    The answer has, for each partition, (priority, job id), highest priority first.
    """
    return Command(
        (*LIST, "squeue", "--local", "--all", "--array", "--noheader", "--states=PENDING", "--sort=i",
         f"--Format={parse.PENDING_FORMAT}"),
        _listed(parse.waiting),
        timeout=20,
        most=QUEUE,
        env=parse.TIMES,
    )  # fmt: skip


def submit(script: str, count: int = 1) -> Command[JobId]:
    """Return the command that submits a script; with ``count`` > 1 as an array of that many jobs.

    ``parse`` raises Unreachable if the outcome is not known: then the job may have been accepted.
    """
    array = (f"--array=1-{count}",) if count > 1 else ()

    def read(output: Output) -> JobId:
        found = _SUBMITTED.search(output.stdout)
        if not found:
            raise Misread("sbatch gave no job id.", repr(output))
        return found[1]

    return Command(("sbatch", "--parsable", *array), _good(read), stdin=script)


def estimate(script: str) -> Command[Estimate]:
    """Return the command that asks when the job of a script would start; it submits nothing.

    ``asked_at`` of the answer is 1970 until the caller sets it.
    """

    def read(output: Output) -> Estimate:
        start = parse.planned_start(output.stderr)
        if start is None:
            raise Misread("sbatch --test-only did not say when.", repr(output))
        return Estimate(start=start, basis="test-only", asked_at=datetime.fromtimestamp(0, UTC))

    return Command(("sbatch", "--test-only"), _good(read), stdin=script, env=parse.TIMES)


def cancel(ids: Iterable[JobId]) -> Command[None]:
    """Return the command that cancels jobs. A job that has ended already, or never existed, is no error.

    Raises ValueError for a text that is no id.
    """
    words = _checked(ids)

    def read(output: Output) -> None:
        lines = [line for line in output.stderr.splitlines() if line.strip() and not _NOT_THERE.search(line)]
        if output.code < 0 or (output.code and lines):  # below 0: killed by a signal
            raise _failure(output, "\n".join(lines))

    return Command(("scancel", *words), read)


def extend(job: JobId, minutes: int) -> Command[None]:
    """Return the command that sets a job's time limit to ``minutes`` from its start; repeating it changes nothing.

    Slurm lets users shorten a time limit, but not lengthen it: for that, the command must run as an operator of Slurm.
    Raises ValueError for an id that is not a plain number, or for less than one minute.
    """
    if not re.fullmatch(r"[0-9]+", job) or minutes < 1:
        raise ValueError(f"not a job id of Slurm, or no time: {job!r}, {minutes}")
    return Command(("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes}"), _good(lambda _: None))


def nodes() -> Command[list[NodeState]]:
    """Return the command that lists every node, with its free resources."""
    return Command(
        (*LIST, "sinfo", "--local", "--all", "--Node", "--noheader", f"--Format={slurm_nodes.NODE_FORMAT}"),
        _listed(slurm_nodes.nodes),
        most=LISTING,
        env=parse.TIMES,
    )


def reservations() -> Command[list[Reservation]]:
    """Return the command that lists every reservation that the asking account may see."""
    argv = (*LIST, "scontrol", "--oneliner", "show", "reservation")
    return Command(argv, _listed(slurm_reservations.reservations), env=parse.TIMES, most=LISTING)


def accounting(ids: Iterable[JobId]) -> Command[list[End]]:
    """Return the command that asks the accounting database how the jobs ended, and how long each of their runs took.

    ``parse`` raises Gone if this Slurm has no accounting database. Raises ValueError for a text that is no id.
    """
    words = _checked(ids)

    def read(output: Output) -> list[End]:
        if "accounting storage is disabled" in output.stderr.lower():
            raise Gone(_words(output.stderr))
        return _listed(parse.accounting)(output)

    return Command(
        (*LIST, "sacct", "--allocations", "--duplicates", "--noheader", "--parsable2",
         f"--format={parse.ACCOUNTING_FIELDS}",
         f"--jobs={','.join(words)}"),
        read,
        most=LISTING,
        env=parse.TIMES,
    )  # fmt: skip


def alive() -> Command[None]:
    """Return the command that asks whether a controller answers. ``parse`` raises Unreachable if none does.

    If no process listens on the controllers' ports, the command reports this at once.
    """

    def read(output: Output) -> None:
        if not re.search(r"\bis UP\b", output.stdout):
            raise Unreachable(_words(output.stdout.partition("*")[0] or output.stderr) or "No Slurm controller is up.")

    return Command(("scontrol", "ping"), read, timeout=10)


def enter(job: JobId, argv: Sequence[str], node: str | None = None) -> tuple[str, ...]:  # noqa: ARG001
    """Return the command line that runs ``argv`` as a step of a running job, connected to the caller by stdio.

    The step runs on the job's first node; ``node`` is not used. Raises ValueError for a text that is no id.
    """
    (id,) = _checked([job])
    return (
        "srun", "--unbuffered", "--overlap", "--jobid", id, "--nodes=1", "--ntasks=1", "--mem=0", "--mpi=none",
        "--gres=none", "--export=NONE", "--", *argv,
    )  # fmt: skip


def _checked(ids: Iterable[JobId]) -> tuple[JobId, ...]:
    """Return ``ids``. Raises ValueError if an id does not have Slurm's form."""
    words = tuple(ids)
    for word in words:
        if not re.fullmatch(r"[0-9]+(_[0-9]+)?", word):
            raise ValueError(f"not a job id of Slurm: {word!r}")
    return words


def _good(read: Callable[[Output], T]) -> Callable[[Output], T]:
    """Return a parser that applies ``read`` if the command succeeded, and else raises Refused or Unreachable."""

    def checked(output: Output) -> T:
        if output.code:
            raise _failure(output, output.stderr)
        return read(output)

    return checked


def _listed(read: Callable[[str], T]) -> Callable[[Output], T]:
    """Return a parser that applies ``read`` to the rows of a list.

    The parser raises Misread if the list is incomplete, and Refused or Unreachable if the command failed.
    """

    def checked(output: Output) -> T:
        return read(whole(output.stdout))

    return _good(checked)


def _failure(output: Output, stderr: str) -> FactoryError:
    words = _words(stderr) or _words(output.stdout)
    if output.code < 0 or output.code in _CANNOT_RUN or not words or _SILENT.search(words):
        return Unreachable(words or f"The command ended with code {output.code} and said nothing.")
    return Refused(words)


def _words(text: str) -> str:
    """Return Slurm's message without empty and repeated lines, each line without the program's name before it."""
    lines = (re.sub(r"^\w+: (error: |fatal: )?", "", line.strip()) for line in text.splitlines())
    return "\n".join(dict.fromkeys(line for line in lines if line))
