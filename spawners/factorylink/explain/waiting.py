"""Has the explanations why a job waits, by the codes in the dialects' tables (``schedulers/*/words.py``)."""

from __future__ import annotations

from factorycommon.language import N_
from factorylink.explain.table import FEWER_HOURS, ITSELF, LESS, OPERATOR, OWN, PROJECT, SITE, START_OVER, Answer, Move

_ENDS = Move("wait", N_("It starts when enough jobs of your project here have ended."))
_BACK = Move("wait", N_("It starts by itself once they are back. Another size or factory may be quicker."))

WAITING: tuple[Answer, ...] = (
    # Normal waiting in the queue
    Answer("new", N_("The scheduler has not looked at it yet."), ITSELF),
    Answer("priority", N_("Other jobs are ahead of yours in the queue."), LESS),
    Answer("resources", N_("You are near the front, waiting for a node to free up."), LESS),
    Answer("dependency", N_("It waits for another job to end."), ITSELF),
    Answer(
        "dependency-never",
        N_("It waits for another job to end in a certain way, and that can no longer happen."),
        OPERATOR,
    ),
    Answer("begin-time", N_("It was asked to start later, or was put back into the queue a moment ago."), ITSELF),
    Answer("prolog", N_("Its node is being prepared."), ITSELF),
    Answer("cleaning", N_("Its node is being cleaned up after an earlier attempt."), ITSELF),
    Answer("licenses", N_("It waits for a licence that others use at the moment."), ITSELF),
    Answer("ports-busy", N_("It waits for network ports that others use at the moment."), ITSELF),
    Answer("storage", N_("Fast storage is being made ready for it."), ITSELF),
    Answer("array-limit", N_("It waits for other jobs of the same job array to end."), ITSELF),
    Answer("deferred", N_("The scheduler is busy and looks at it a little later."), ITSELF),
    Answer("federation", N_("The factory's clusters are deciding where it runs."), ITSELF),
    Answer("nodes-busy", N_("The nodes that it could use are busy."), LESS),
    Answer(
        "nodes-asleep",
        N_("The factory keeps some of its nodes switched off and may switch no more of them on now."),
        LESS,
    ),
    Answer("power", N_("The factory holds jobs back to stay within its electric power."), LESS),
    # Jobs on hold
    Answer(
        "held-user",
        N_("It was put on hold under your account at the factory."),
        Move("you", N_("Release it there (scontrol release, qrls), or cancel it here and start again.")),
    ),
    Answer("held-site", N_("The factory's operators put it on hold."), SITE),
    Answer("held-failed", N_("Its node could not start it, and the scheduler put it on hold."), START_OVER),
    Answer("held-requeued", N_("It was put back into the queue, on hold."), START_OVER),
    # Parts of the factory that are closed or unsuitable
    Answer(
        "partition-closed",
        N_("This part of the factory is closed at the moment."),
        Move("site", N_("It starts when the operators open it again. Another factory or size may be open now.")),
    ),
    Answer("partition-nodes", N_("It asks for more or fewer nodes than this part of the factory allows."), OPERATOR),
    Answer("partition-time", N_("It asks for more hours than this part of the factory allows."), FEWER_HOURS),
    Answer("partition-config", N_("What it asks for does not agree with this part of the factory."), OPERATOR),
    Answer(
        "maintenance",
        N_("The nodes are set aside for a maintenance, and it would not end before that."),
        Move("you", N_("It starts after the maintenance. With fewer hours it may start, and end, before.")),
    ),
    Answer(
        "nodes-unavailable", N_("The nodes that it could use are down, being repaired, or reserved for others."), _BACK
    ),
    Answer("front-end-down", N_("A machine that starts the jobs is down."), SITE),
    Answer("bad-constraints", N_("No node of the factory has what it asks for."), OPERATOR),
    Answer(
        "reservation-gone",
        N_("The reservation that it was to run in no longer exists."),
        Move("you", N_("Cancel it and start again without the reservation.")),
    ),
    Answer("reservation-needed", N_("This part of the factory may only be used within a reservation."), OPERATOR),
    Answer("reservation", N_("It waits for its reservation to begin."), ITSELF),
    Answer("deadline", N_("It can no longer end before its deadline."), START_OVER),
    # Permissions and accounts
    Answer("account", N_("The project to be charged may not be used here."), PROJECT),
    Answer("qos", N_("The service class (QOS) of this size may not be used by your project."), PROJECT),
    Answer("usage-threshold", N_("Your project has used too much lately for this service class."), PROJECT),
    Answer("policy", N_("A limit of your project or of this size's service class forbids it."), PROJECT),
    Answer(
        "budget-running",
        N_("Your project's running jobs may together still use so much that there is no room for it yet."),
        Move("you", N_("Ask for fewer hours, or wait until jobs of your project end.")),
    ),
    Answer("budget", N_("The project's budget at this factory is used up, or would be by this session."), PROJECT),
    # Limits of one person
    Answer("own-submitted", N_("You or your project already have as many jobs in the queue as is allowed."), OWN),
    Answer(
        "own-jobs", N_("You or your project already have as many jobs or GPUs running here as is allowed at once."), OWN
    ),
    Answer(
        "own-running",
        N_("Your running jobs may still use so much that there is no room for it yet."),
        Move("you", N_("Ask for fewer hours, or stop a session that you no longer need.")),
    ),
    Answer("own-limit", N_("You or your project already use as much here as is allowed at once."), OWN),
    # Limits of one session
    Answer("time-limit", N_("It asks for more hours than your project may have in one session."), FEWER_HOURS),
    Answer(
        "job-budget",
        N_("Its size times its hours is more than one session may use."),
        Move("you", N_("Cancel it and start again with fewer hours or a smaller size.")),
    ),
    Answer("too-small", N_("It asks for less than this service class is meant for."), OPERATOR),
    Answer("size-limit", N_("It asks for more than one session may have."), OPERATOR),
    Answer("memory-limit", N_("It asks for more memory than one session may have here."), OPERATOR),
    # Limits of a project
    Answer(
        "group-jobs", N_("Your project, together with all who share it, has as many jobs here as is allowed."), _ENDS
    ),
    Answer(
        "group-gpus",
        N_("Your project, together with all who share it, uses as many GPUs here as is allowed at once."),
        _ENDS,
    ),
    Answer(
        "group-cores",
        N_("Your project, together with all who share it, uses as many cores here as is allowed at once."),
        _ENDS,
    ),
    Answer(
        "group-memory",
        N_("Your project, together with all who share it, uses as much memory here as is allowed at once."),
        _ENDS,
    ),
    Answer(
        "group-nodes",
        N_("Your project, together with all who share it, uses as many nodes here as is allowed at once."),
        _ENDS,
    ),
    Answer(
        "group-limit",
        N_("Your project, together with all who share it, uses as much here as is allowed at once."),
        _ENDS,
    ),
    # Jobs that ran before
    Answer("tried-before", N_("It ran before and is queued again."), ITSELF),
    Answer("reservation-or-job", N_("Other jobs are ahead of yours in the queue."), LESS),
    Answer("queue-limit", N_("As much runs in this part of the factory as its operators allow at once."), ITSELF),
)
