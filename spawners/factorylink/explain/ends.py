"""Tables that explain why a session ended: for the scheduler's last report, the door's report, and the job's log.

``LOG`` has patterns for the lines of the job's log, which is searched only if a session, or a job of a Dask cluster,
failed. The person's own programs can write to the log, so a match changes nothing but the explanation and, for the
codes in ``LOG_REASONS``, the reason of the end.
"""

from __future__ import annotations

from factorycommon.language import N_
from factorycommon.models import EndReason, Outcome
from factorylink.explain.table import (
    AGAIN,
    ANY_TIME,
    LOG_TELLS,
    NO_FAULT,
    OTHER_SIZE,
    ROOM,
    SMALLER,
    TELL,
    Answer,
    Case,
    Ending,
    Move,
)

# Outcomes that the scheduler caused; they take precedence over the door's earlier report.
ENDED: dict[Outcome, Ending] = {
    Outcome.OUT_OF_MEMORY: Ending(
        EndReason.OUT_OF_MEMORY,
        Answer("out-of-memory", N_("It used more main memory (RAM) than its size has, and was ended."), SMALLER),
    ),
    Outcome.NODE_FAILED: Ending(EndReason.NODE_FAILED, Answer("node-failed", N_("Its node failed."), NO_FAULT)),
    Outcome.BOOT_FAILED: Ending(EndReason.NODE_FAILED, Answer("node-boot", N_("Its node did not start up."), NO_FAULT)),
    Outcome.LAUNCH_FAILED: Ending(
        EndReason.NODE_FAILED, Answer("launch-failed", N_("Its node could not start it."), NO_FAULT)
    ),
    Outcome.SETUP_FAILED: Ending(
        EndReason.NODE_FAILED, Answer("node-setup", N_("Its node could not be set up for it."), NO_FAULT)
    ),
    Outcome.CPU_LIMIT: Ending(
        EndReason.FAILED,
        Answer("cpu-limit", N_("It used more processor time than its size has, and was ended."), AGAIN),
    ),
    Outcome.PREEMPTED: Ending(
        EndReason.PREEMPTED, Answer("preempted", N_("It had to make room for a job that goes before it."), NO_FAULT)
    ),
    Outcome.WALLTIME: Ending(EndReason.WALLTIME, Answer("walltime", N_("Its time was over."), AGAIN)),
    Outcome.DEADLINE: Ending(EndReason.WALLTIME, Answer("deadline-over", N_("Its deadline was over."), AGAIN)),
    Outcome.REVOKED: Ending(
        EndReason.CANCELLED_BY_SITE, Answer("revoked", N_("The factory took it out of the queue."), NO_FAULT)
    ),
}
# By the reason that the door in the job reported.
DOOR: dict[str, Ending] = {
    "idle": Ending(
        EndReason.IDLE, Answer("idle", N_("Nothing ran in it for the time you chose, so it ended itself."), AGAIN)
    ),
    "unopened": Ending(
        EndReason.UNOPENED,
        Answer("unopened", N_("Nobody opened it for the time you chose, so it ended itself."), AGAIN),
    ),
    "walltime": Ending(EndReason.WALLTIME, Answer("walltime-clean", N_("It reached its time limit."), AGAIN)),
    "stopped": Ending(EndReason.STOPPED, Answer("stopped", N_("It was stopped."), AGAIN)),
    "finished": Ending(EndReason.FINISHED, Answer("finished", N_("JupyterLab was shut down from inside."), AGAIN)),
    "failed": Ending(EndReason.FAILED, Answer("notebook-failed", N_("JupyterLab ended with an error."), LOG_TELLS)),
    "no-environment": Ending(
        EndReason.NEVER_OPENED_DOOR,
        Answer(
            "no-environment",
            N_("The hub did not send what JupyterLab needs to start, so it ended itself."),
            Move("operator", N_("Start again. If it happens again, tell this gateway's operators.")),
        ),
    ),
}
# Sessions that were stopped before JupyterLab answered: by who stopped them, and by how far they were.
WITHDRAWN = Answer(
    "withdrawn",
    N_("The request was cancelled at this gateway. You are not charged."),
    ANY_TIME,
)
WITHDRAWN_STARTING = Answer(
    "withdrawn-starting",
    N_("The request was cancelled at this gateway. You are charged only for the time that the node was yours."),
    ANY_TIME,
)
WITHDRAWN_FOR_YOU = Answer(
    "withdrawn-operator",
    N_("This gateway's operators cancelled the request."),
    Move("operator", N_("If you do not know why, ask them.")),
)
# Cancelled jobs, by ``End.by``.
CANCELLED: dict[str | None, Answer] = {
    None: Answer(
        "cancelled-by-site",
        N_("It was cancelled at the factory, by its operators or under your account there, not from here."),
        AGAIN,
    ),
    "account": Answer("cancelled-own", N_("It was cancelled under your account at the factory, not from here."), AGAIN),
    "administrator": Answer(
        "cancelled-admin",
        N_("The factory's operators cancelled it."),
        Move("site", N_("If you do not know why, ask their support. Your saved files are still there.")),
    ),
    "other": Answer(
        "cancelled-other",
        N_(
            "Somebody else with the right to do so cancelled it at the factory, perhaps the person who manages your "
            "project."
        ),
        Move(
            "you",
            N_(
                "If you do not know why, ask the person who manages your project there. Your saved files are still "
                "there."
            ),
        ),
    ),
}
BY_ITSELF = Answer("ended", N_("It ended by itself."), AGAIN)
FAILED = Answer("failed", N_("It ended with an error."), LOG_TELLS)
NOT_INSTALLED = Answer(
    "not-installed",
    N_("Its environment is not installed on the node where it started, or may not be used there."),
    TELL,
)
KILLED = Answer("killed", N_("It was killed. Most often that is for using more memory than its size has."), SMALLER)

# Patterns for the job's log; the first match counts. The lines come from Slurm, the shell, the C library or Apptainer.
LOG: tuple[Case, ...] = (
    Case(
        r"oom[-_]kill|Out Of Memory|cgroup out-of-memory",
        "log-memory",
        N_("It used more main memory (RAM) than its size has, and a process of it was killed."),
        SMALLER,
    ),
    Case(
        r"^factorygate: not the slice of a GPU",
        "log-gpu-slice",
        N_("Its node did not give it the slice of a GPU that was asked for, so it ended before anything ran."),
        OTHER_SIZE,
    ),
    Case(
        r"Disk quota exceeded|EDQUOT", "log-quota", N_("Your home at the factory is over its quota."), ROOM
    ),
    Case(
        r"No space left on device|ENOSPC", "log-disk-full", N_("A disk that it writes to was full."), ROOM
    ),
    Case(r"DUE TO TIME LIMIT", "log-walltime", N_("Its time was over."), AGAIN),
    Case(
        r"DUE TO PREEMPTION", "log-preempted", N_("It had to make room for a job that goes before it."), NO_FAULT
    ),
    Case(r"DUE TO NODE FAILURE|Node failure on", "log-node", N_("Its node failed."), NO_FAULT),
    Case(
        r"(Unable|Failed) to (locate a )?modulefile|Lmod has detected|module: (command )?not found|"
        r"The following module\(s\) are unknown",
        "log-module",
        N_("A software module of its environment is not there."),
        TELL,
    ),
    Case(
        r"FATAL:.*(image|container|sif)|could not open image|apptainer: (command )?not found|"
        r"singularity: (command )?not found",
        "log-container",
        N_("The container of its environment could not be started."),
        TELL,
    ),
    Case(
        r"cannot execute binary file|Exec format error",
        "log-architecture",
        N_("Its environment is made for another kind of processor."),
        TELL,
    ),
    Case(
        r"No module named|ModuleNotFoundError|ImportError",
        "log-python",
        N_("A Python package that its environment needs is missing or broken."),
        Move("operator", N_("If you installed packages in your home, move them away and try again; else tell this "
                            "gateway's operators.")),
    ),
    Case(
        r"(command not found|No such file or directory)\s*$",
        "log-missing",
        N_("A program that its environment needs is not there."),
        TELL,
    ),
    Case(
        r"(Permission denied|Operation not permitted)",
        "log-permission",
        N_("It was not allowed to read or write a file that it needs."),
        Move("you", N_("The log names the file. If it is not yours, tell this gateway's operators.")),
    ),
    Case(
        r"Stale file handle|Transport endpoint is not connected|Input/output error",
        "log-storage",
        N_("The factory's storage failed while it ran."),
        NO_FAULT,
    ),
)  # fmt: skip
# Codes of patterns that also show the reason.
LOG_REASONS: dict[str, EndReason] = {
    "log-memory": EndReason.OUT_OF_MEMORY,
    "log-walltime": EndReason.WALLTIME,
    "log-preempted": EndReason.PREEMPTED,
    "log-node": EndReason.NODE_FAILED,
}
