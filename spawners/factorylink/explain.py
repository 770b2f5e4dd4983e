"""What a scheduler says, in a person's words: what it means, whose move it is, what to do. Pure.

Each answer keeps the scheduler's own words in ``Words.scheduler``; ``Words.code`` names the case for pages and
tests. A word that no table knows is shown as it is: never hidden, never guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from gettext import gettext as _
from typing import Literal

from factorylink.explain_refusals import REFUSED, UNREACHABLE
from factorylink.explain_slurm import N_, PENDING, Entry
from factorylink.models import End, EndReason, Job, Words

AGAIN = N_("Your files are as you saved them. Start a new session to go on.")
SMALLER = N_("Start again with a size that has more memory, or load less at once. Your saved files are still there.")
NO_FAULT = N_("It was not your doing. Start a new session; your saved files are still there.")
LOG = N_("The end of its log, below, may say why. If it happens again, send it to this gateway's operators.")
KEPT = N_("Sessions there go on; nothing is lost. It is tried again all the time.")

# The last words of a state in which the scheduler, not we, ended it; they outweigh what the door said before.
ENDED: dict[str, tuple[EndReason, str, str]] = {
    "OUT_OF_MEMORY": (EndReason.OUT_OF_MEMORY, N_("It used more memory than its size has, and was ended."), SMALLER),
    "NODE_FAIL": (EndReason.NODE_FAILED, N_("Its node failed."), NO_FAULT),
    "BOOT_FAIL": (EndReason.NODE_FAILED, N_("Its node did not start up."), NO_FAULT),
    "LAUNCH_FAILED": (EndReason.NODE_FAILED, N_("Its node could not start it."), NO_FAULT),
    "RECONFIG_FAIL": (EndReason.NODE_FAILED, N_("Its node could not be set up for it."), NO_FAULT),
    "PREEMPTED": (EndReason.PREEMPTED, N_("It had to make room for a job that goes before it."), NO_FAULT),
    "TIMEOUT": (EndReason.WALLTIME, N_("Its time was over."), AGAIN),
    "DEADLINE": (EndReason.WALLTIME, N_("Its deadline was over."), AGAIN),
    "REVOKED": (EndReason.CANCELLED_BY_SITE, N_("The factory took it out of the queue."), NO_FAULT),
}
# What the door in the job gave as the reason.
DOOR: dict[str, tuple[EndReason, str, str]] = {
    "idle": (EndReason.IDLE, N_("Nothing ran in it for the time you chose, so it ended itself."), AGAIN),
    "unopened": (EndReason.UNOPENED, N_("Nobody opened it for the time you chose, so it ended itself."), AGAIN),
    "walltime": (EndReason.WALLTIME, N_("Its time was over; it ended itself a minute before."), AGAIN),
    "stopped": (EndReason.STOPPED, N_("It was stopped."), AGAIN),
    "finished": (EndReason.FINISHED, N_("JupyterLab was shut down from inside."), AGAIN),
    "failed": (EndReason.FAILED, N_("JupyterLab ended with an error."), LOG),
    "no-environment": (
        EndReason.NEVER_OPENED_DOOR,
        N_("The hub did not send what JupyterLab needs to start, so it ended itself."),
        N_("Start again. If it happens again, tell this gateway's operators."),
    ),
}
# Our own faults and refusals: code -> what, do.
OURS: dict[str, tuple[str, str]] = {
    "submit-doubtful": (
        N_("The factory did not answer when it was handed over."),
        N_("It will be looked for there. If it was taken, it is shown here or cancelled; it will not run twice."),
    ),
    "submit-slow": (N_("The factory's scheduler is slow and has not taken it yet."), N_("Nothing to do: it goes on.")),
    "limit-pending": (
        N_("You already have as many sessions waiting as one person may have."),
        N_("Cancel one of them first."),
    ),
    "limit-sessions": (N_("You already have as many sessions as one person may have."), N_("Stop one of them first.")),
    "draining": (
        N_("No new sessions start at this factory at the moment."),
        N_("Choose another factory, or try later."),
    ),
    "no-account": (N_("You have no account at this factory here."), N_("Ask this gateway's operators for one.")),
    "gave-up": (
        N_("It had not started within the time you set, so it was taken out of the queue."),
        N_("Start again with more patience, a smaller size, or at another factory."),
    ),
    "gone": (N_("The factory no longer knows it, and keeps no record of why it ended."), LOG),
    "door-silent": (
        N_("It runs, but its door does not answer. It is tried again all the time."),
        N_("Nothing to do for now."),
    ),
    "door-never": (N_("It ran, but never became reachable."), LOG),
    "notebook-late": (N_("JupyterLab did not come up in the time allowed."), LOG),
    "folder": (
        N_("The folder for its files could not be made in your home at the factory."),
        N_("Look whether your home there is full or over its quota."),
    ),
}


def pending(job: Job) -> Words:
    """Why a job waits."""
    if job.raw_state in ("CONFIGURING", "POWER_UP_NODE"):
        what, do = N_("It has its node, which is being started up."), N_("Nothing to do: this takes a few minutes.")
        return Words(code="node-starting", what=_(what), do=_(do), scheduler=job.raw_state)
    if job.raw_state in ("REQUEUED", "REQUEUE_FED", "EXPEDITING"):
        what, do = N_("It was put back into the queue and starts again on another node."), N_("Nothing to do.")
        return Words(code="requeued", what=_(what), do=_(do), scheduler=job.raw_state)
    reason = "RequeuedHold" if job.raw_state == "REQUEUE_HOLD" and not job.reason else job.reason
    words = _find(PENDING, reason, anywhere=False)
    return words or _unknown(N_("It waits, for a reason that the factory's scheduler calls {words}."), reason)


def ended(
    end: End | None, *, wish: Literal["run", "stop"] = "run", door: str | None = None, message: str = ""
) -> tuple[EndReason, Words]:
    """Why a session ended. ``end``: the scheduler's record, None: there is none. ``wish``: what was asked of us.
    ``door``: the reason that the door left (its ``end_reason``), with its ``message``."""
    said = _scheduler_words(end, message)
    if end is not None and end.raw_state in ENDED:
        reason, what, do = ENDED[end.raw_state]
        return reason, Words(code=reason.value, what=_(what), do=_(do), scheduler=said)
    if door in DOOR:
        reason, what, do = DOOR[door]
        return reason, Words(code=reason.value, what=_(what), do=_(do), scheduler=said)
    if wish == "stop":
        reason, what, do = DOOR["stopped"]
        return reason, Words(code=reason.value, what=_(what), do=_(do), scheduler=said)
    if end is None:
        return EndReason.FAILED, own("gone", message)
    if end.raw_state == "CANCELLED":
        what = N_("It was cancelled at the factory, by its operators or under your account there, not from here.")
        return EndReason.CANCELLED_BY_SITE, Words(code="cancelled-by-site", what=_(what), do=_(AGAIN), scheduler=said)
    if end.raw_state == "COMPLETED":
        reason, what, do = DOOR["finished"]
        return reason, Words(code=reason.value, what=_(N_("It ended by itself.")), do=_(do), scheduler=said)
    return EndReason.FAILED, _failed(end, said)


def _failed(end: End, said: str) -> Words:
    if end.signal == 9 or end.exit_code == 137:
        what = N_("It was killed. Most often that is for using more memory than its size has.")
        return Words(code="killed", what=_(what), do=_(SMALLER), scheduler=said)
    if end.exit_code in (126, 127):
        what = N_("Its environment is not installed on the node where it started, or may not be used there.")
        return Words(code="not-installed", what=_(what), do=_(LOG), scheduler=said)
    return Words(code="failed", what=_(N_("It ended with an error.")), do=_(LOG), scheduler=said)


def refused(text: str) -> Words:
    """Why the scheduler did not take a job; ``text`` is what it printed."""
    words = _find(REFUSED, text, anywhere=True)
    return words or _unknown(N_("The factory's scheduler did not take it: {words}"), text)


def unreachable(text: str) -> Words:
    """Why nothing is known of a factory; ``text`` is the error's message."""
    words = _find(UNREACHABLE, text, anywhere=True)
    what = words.what if words else _(N_("The factory cannot be reached."))
    return Words(code=words.code if words else "unreachable", what=what, do=_(KEPT), scheduler=text)


def own(code: str, detail: str = "") -> Words:
    """One of our own faults or refusals, by its code in ``OURS``. ``detail`` is shown as it is."""
    what, do = OURS[code]
    return Words(code=code, what=_(what), do=_(do), scheduler=detail)


def _find(table: Iterable[Entry], text: str, *, anywhere: bool) -> Words | None:
    look = re.search if anywhere else re.match
    for pattern, code, what, do in table:
        if look(pattern, text, re.I if anywhere else 0):
            return Words(code=code, what=_(what), do=_(do) if do else "", scheduler=text)
    return None


def _unknown(what: str, text: str) -> Words:
    do = N_("Nothing is known here about this word. If it lasts, ask the factory's support.")
    return Words(code="unknown", what=_(what).format(words=text), do=_(do), scheduler=text)


def _scheduler_words(end: End | None, message: str) -> str:
    parts = [message] if message else []
    if end is not None:
        parts.append(end.raw_state)
        parts += [end.reason] if end.reason else []
        parts += [f"exit code {end.exit_code}"] if end.exit_code else []
        parts += [f"signal {end.signal}"] if end.signal else []
    return ", ".join(parts)
