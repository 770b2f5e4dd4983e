"""Makes the commands for PBS (OpenPBS 23, PBS Professional), and parses their output.

Pure: no I/O, clock or configuration.

**Which jobs are asked for.** qstat cannot select jobs by name: it shows all jobs of the site and, with its history, all
jobs of the last weeks. So qselect lists the ids of the wanted jobs, and one qstat asks for all of them (-E; without it
some versions print only the first of several jobs as JSON). A shell runs both commands: its code is a constant text,
and the selection is passed as arguments. If qselect finds no jobs, the shell prints a JSON answer without jobs, so an
empty output never means "no jobs".

PBS has no command that tells when a job would start; it reports ``estimated.start_time`` for waiting jobs.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from factorycommon.models import End, Job, JobId, NodeState, Reservation
from factorylink.errors import FactoryError, Gone, Misread, Refused, Unreachable
from factorylink.schedulers.command import LISTING, QUEUE, Command, Output
from factorylink.schedulers.complete_lists import LIST, whole
from factorylink.schedulers.ends import end_of
from factorylink.schedulers.pbs import json as pbs_json
from factorylink.schedulers.pbs import nodes as pbs_nodes
from factorylink.schedulers.pbs import parser as parse
from factorylink.schedulers.pbs import reservations as pbs_reservations
from factorylink.schedulers.pbs.ids import JOB, array_of, task_of
from factorylink.schedulers.pbs.script import clock, script
from factorylink.schedulers.pbs.words import WORDS

__all__ = [
    "WORDS", "accounting", "alive", "array_of", "by_id", "cancel", "ended", "enter", "estimate", "extend", "jobs",
    "nodes", "reservations", "script", "submit", "task_of", "waiting",
]  # fmt: skip

T = TypeVar("T")

# set -f, since ids contain brackets. site/factorygate-act allows exactly these texts.
_CHOSEN = 'set -f; ids=$(qselect "$@") || exit; '
_NONE = """[ "$ids" ] || { echo '{"Jobs": {}}'; exit; }; """
_LIVE = f"{_CHOSEN}{_NONE}exec qstat -E -t -f -F json $ids"
_QUEUED = f"{_CHOSEN}{_NONE}exec qstat -E -f -F json $ids"
_OVER = f"{_CHOSEN}ids=$(printf '%s\\n' $ids | tail -n 200); {_NONE}exec qstat -E -x -t -f -F json $ids"
_NODES = "pbsnodes -a -F json && exec qstat -Q -f -F json"
# Run on the job's node, which may be the host of this command. A command over ssh does not have a login shell's PATH.
_ATTACH = (
    '[ -r /etc/pbs.conf ] && . /etc/pbs.conf; PATH="$PATH:${PBS_EXEC:-/opt/pbs}/bin"; export PATH; exec pbs_attach "$@"'
)
_ENTER = 'case $1 in "$(hostname)"|"$(hostname -s)") eval "exec $2";; esac; exec ssh -o BatchMode=yes -- "$1" "$2"'

# The exit codes are PBS' error numbers (pbs_error.h) modulo 256.
_UNKNOWN, _FINISHED, _NO_HISTORY = 153, 35, 36
# No server, an error of the server, wrong credentials, or a busy server. If no server listens, qstat ends with 255, the
# other commands with 162.
_SILENT_CODES = {255, 162, 163, 171, 172, 183, 185, 186, 208, 212, 222, 251, 13, 104}
_SILENT = re.compile(
    r"(cannot|could not|couldn't|unable to) (connect|resolve|contact|initialize)|connection (refused|timed out|reset)"
    r"|timed out|no route to host|network is unreachable|server shutting down|try again|pbs_iff|munge|json error"
    r"|out of memory|unknown host|error while loading shared libraries|^\S*sh: .*not found$",
    re.I | re.M,
)
_OVER_ALREADY = re.compile(
    r"unknown job id|job has finished|delete already in progress|finished array subjob|job has been moved"
    r"|request invalid for state of job",  # the job is exiting
    re.I,
)
_SUBMITTED = re.compile(r"(?:^|\n)([0-9]+(?:\[\])?\.[A-Za-z0-9][A-Za-z0-9_.-]*)\n\s*\Z")  # only a complete line


def jobs(name: str) -> Command[list[Job]]:
    """Return the command that lists the jobs named ``name`` that have not ended and that the asking account may see.

    Of an array that has not ended, each job is listed, also those that have ended.
    """
    return Command(
        ("sh", "-c", _LIVE, "sh", "-N", name),
        _listed(lambda text: parse.jobs(text, name)),
        env=parse.TIMES,
        most=LISTING,
    )


def by_id(ids: Iterable[JobId]) -> Command[list[Job]]:
    """Return the command that lists the jobs with these ids that have not ended, whatever their names.

    For the id of an array that has not ended, each of its jobs is listed, also those that have ended. Jobs that PBS
    does not know, or knows from its history only, are left out. Raises ValueError for a text that is no id.
    """
    words = tuple(ids)
    for word in words:
        _check(word)

    return Command(
        ("qstat", "-E", "-t", "-f", "-F", "json", *words), _listed(parse.jobs), env=parse.TIMES, most=LISTING
    )


def ended(name: str) -> Command[list[End]]:
    """Return the command that asks how jobs named ``name`` ended: the 200 in PBS' history that were submitted last.

    Of these 200, an array counts as one; each of its jobs is listed.
    """
    return Command(
        ("sh", "-c", _OVER, "sh", "-x", "-s", "F", "-N", name), _listed(_ends), env=parse.TIMES, most=LISTING
    )


def waiting() -> Command[dict[str, list[tuple[int, str]]]]:
    """Return the command that lists every queued job (state ``Q``) that the asking account may see, without held jobs.

    The answer has, for each queue, a pair (0, job id) for each job, in the order of submission. The 0 stands in place
    of a priority: PBS does not tell in which order its scheduler starts the jobs. Instead of an array, its jobs that
    still wait are listed, also if the array has started (state ``B``).
    """
    return Command(("sh", "-c", _QUEUED, "sh", "-s", "QB"), _listed(parse.waiting), env=parse.TIMES, most=QUEUE)


def submit(script: str, count: int = 1) -> Command[JobId]:
    """Return the command that submits a script; with ``count`` > 1 as an array of that many jobs.

    The command's answer is the job's or the array's id. Its ``parse`` raises Refused if PBS refuses the job,
    Unreachable if the outcome is not known: then the job may have been accepted.
    """
    array = ("-J", f"1-{count}") if count > 1 else ()

    def read(output: Output) -> JobId:
        found = _SUBMITTED.search(output.stdout)
        if not found or ("[]" in found[1]) != (count > 1):
            raise Misread("qsub gave no job id.", repr(output))
        return found[1]

    # -f: the command leaves no background process for the next qsub
    return Command(("qsub", "-f", *array), _good(read), stdin=script)


def estimate(script: str) -> None:
    """Return None: before a job is submitted, PBS cannot tell when the job would start."""


def cancel(ids: Iterable[JobId]) -> Command[None]:
    """Return the command that cancels jobs. A job that has ended already, or never existed, is no error.

    Raises ValueError for a text that is no id.
    """
    words = tuple(ids)
    for word in words:
        _check(word)

    def read(output: Output) -> None:
        lines = [line for line in output.stderr.splitlines() if line.strip() and not _OVER_ALREADY.search(line)]
        if output.code and (lines or output.code < 0 or not output.stderr.strip()):
            raise _failure(output, "\n".join(lines))

    return Command(("qdel", *words), read)


def extend(job: JobId, minutes: int) -> Command[None]:
    """Return the command that sets a job's walltime to ``minutes`` from its start; repeating it changes nothing.

    PBS lets users shorten a walltime, but not lengthen it: for that, the command must run as an operator of PBS.
    Raises ValueError for less than 1 minute, and for a text that is no id.
    """
    _check(job)
    if minutes < 1:
        raise ValueError(f"no time: {minutes}")
    return Command(("qalter", "-l", f"walltime={clock(minutes * 60)}", job), _good(lambda _: None))


def nodes() -> Command[list[NodeState]]:
    """Return the command that lists every node with its free resources and the queues that use it."""
    return Command(("sh", "-c", _NODES), _good(lambda output: pbs_nodes.nodes(output.stdout)), most=LISTING)


def reservations() -> Command[list[Reservation]]:
    """Return the command that lists every confirmed reservation."""

    def read(output: Output) -> list[Reservation]:
        if output.stderr.strip():  # the command ends with 0 though the server refused
            raise _failure(output, output.stderr)
        return pbs_reservations.reservations(whole(output.stdout))

    return Command((*LIST, "pbs_rstat", "-f"), _good(read), env=parse.TIMES, most=LISTING)


def accounting(ids: Iterable[JobId]) -> Command[list[End]]:
    """Return the command that asks PBS' history how the jobs ended.

    The command does not use PBS' accounting logs, because only PBS' administrators may read them. The command's
    ``parse`` raises Gone if PBS keeps no history. A job that is older than the history is missing in the answer. Raises
    ValueError for a text that is no id.
    """
    words = tuple(ids)
    for word in words:
        _check(word)

    def read(output: Output) -> list[End]:
        if output.code == _NO_HISTORY or "not configured to maintain job history" in output.stderr:
            raise Gone(_words(output.stderr))
        return _listed(_ends)(output)

    return Command(("qstat", "-E", "-x", "-f", "-F", "json", *words), read, env=parse.TIMES, most=LISTING)


def alive() -> Command[None]:
    """Return the command that asks whether the server answers. Its ``parse`` raises Unreachable if not."""

    def read(output: Output) -> None:
        if output.code or not pbs_json.documents(output.stdout, "Server")[0]:
            raise Unreachable(_words(output.stderr) or "No PBS server answers.")

    return Command(("qstat", "-B", "-f", "-F", "json"), read, timeout=10)


def enter(job: JobId, argv: Sequence[str], node: str | None = None) -> tuple[str, ...]:
    """Return the command line that runs ``argv`` in a running job, connected to the caller by stdio.

    pbs_attach moves a process into a job, and works only on the job's node. So the command logs in to ``node`` by ssh,
    unless the command is run on ``node`` itself; sites allow this login to people who have a job there. Raises
    Unreachable if ``node`` is None or no host name; ValueError for a text that is no id.
    """
    _check(job)
    if node is None or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", node):
        raise Unreachable("The scheduler does not say on which node the session runs.")
    return ("sh", "-c", _ENTER, "sh", node, shlex.join(("sh", "-c", _ATTACH, "sh", "-j", job, "--", *argv)))


def _check(job: str) -> None:
    if not re.fullmatch(JOB, job):
        raise ValueError(f"not a job id of PBS: {job!r}")


def _ends(stdout: str) -> list[End]:
    found = ((job, end_of(job)) for job in parse.jobs(stdout))
    return [end.model_copy(update={"by": parse.who(job.reason, job.account)}) for job, end in found if end is not None]


def _listed(read: Callable[[str], T]) -> Callable[[Output], T]:
    """Return a parser that applies ``read`` to an answer of qstat, and raises Refused or Unreachable if qstat failed.

    A job may end or disappear after qselect has listed it. Such a job is missing in the result; this is no error.
    """

    def checked(output: Output) -> T:
        lines = [line for line in output.stderr.splitlines() if line.strip() and not _OVER_ALREADY.search(line)]
        if output.code not in (0, _UNKNOWN, _FINISHED) or (output.code and lines):
            raise _failure(output, "\n".join(lines))
        return read(output.stdout)

    return checked


def _good(read: Callable[[Output], T]) -> Callable[[Output], T]:
    """Return a parser that applies ``read`` if the command succeeded, and else raises Refused or Unreachable."""

    def checked(output: Output) -> T:
        if output.code:
            raise _failure(output, output.stderr)
        return read(output)

    return checked


def _failure(output: Output, stderr: str) -> FactoryError:
    words = _words(stderr)
    if output.code < 0 or not words or output.code in _SILENT_CODES or _SILENT.search(words):
        return Unreachable(words or f"The command ended with code {output.code} and said nothing.")
    return Refused(words)


def _words(text: str) -> str:
    """Return PBS' message without empty and repeated lines, each line without the program's name before it."""
    lines = (re.sub(r"^(q[a-z]+|pbs[a-z_]*): ", "", line.strip()) for line in text.splitlines())
    return "\n".join(dict.fromkeys(line for line in lines if line))
