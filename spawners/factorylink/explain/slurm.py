"""Slurm's words for why a job waits: the reasons of squeue(1), "JOB REASON CODES", and those in the library's own list.

A pattern is matched from the word's beginning, the first that fits counts. Limits come in families,
``(QOS|Assoc)(Grp|Max|Min)RESOURCE...``: what matters to a person is whose limit it is and of what.
"""

from __future__ import annotations

from factorycommon.language import N_
from factorylink.explain.table import FEWER_HOURS, ITSELF, LESS, OPERATOR, OWN, PROJECT, SITE, START_OVER, Case, Move

_ENDS = Move("wait", N_("It starts when enough that your project uses here has ended."))
_BACK = Move("wait", N_("It starts by itself once they are back. Another size or factory may be quicker."))

PENDING: tuple[Case, ...] = (
    # The queue as it should be
    Case(r"(None|NONE|Not_?set|SchedNotSet)?$", "new", N_("The scheduler has not looked at it yet."), ITSELF),
    Case(r"Priority$", "priority", N_("Other jobs are ahead of yours in the queue."), LESS),
    Case(r"Resources$", "resources", N_("You are near the front, waiting for a node to free up."), LESS),
    Case(r"Dependency$", "dependency", N_("It waits for another job to end."), ITSELF),
    Case(
        r"DependencyNeverSatisfied",
        "dependency-never",
        N_("It waits for a job that can no longer end as asked."),
        OPERATOR,
    ),
    Case(
        r"BeginTime$",
        "begin-time",
        N_("It was asked to start later, or was put back into the queue a moment ago."),
        ITSELF,
    ),
    Case(r"Prolog", "prolog", N_("Its node is being prepared."), ITSELF),
    Case(r"Cleaning", "cleaning", N_("Its node is being cleaned up after an earlier attempt."), ITSELF),
    Case(r"Licenses", "licenses", N_("It waits for a licence that others use at the moment."), ITSELF),
    Case(r"MpiPortsBusy", "ports-busy", N_("It waits for network ports that others use at the moment."), ITSELF),
    Case(r"BurstBuffer", "storage", N_("Fast storage is being made ready for it."), ITSELF),
    Case(r"JobArrayTaskLimit", "array-limit", N_("It waits for others of the same set to end."), ITSELF),
    Case(
        r"(SchedDefer|Schedulers?Defer|Deferred)",
        "deferred",
        N_("The scheduler is busy and looks at it a little later."),
        ITSELF,
    ),
    Case(
        r"(FedJobLock|OriginCluster|Federation)",
        "federation",
        N_("The factory's clusters are deciding where it runs."),
        ITSELF,
    ),
    Case(
        r"(NodesBusy|ConstraintsNotMet|Not_enough)",
        "nodes-busy",
        N_("The nodes that it could use are busy."),
        LESS,
    ),
    Case(
        r"MaxPoweredUpNodes",
        "nodes-asleep",
        N_("The factory keeps some of its nodes switched off and may switch no more of them on now."),
        LESS,
    ),
    Case(
        r"Power(NotAvail|Reserved)",
        "power",
        N_("The factory holds jobs back to stay within its electric power."),
        LESS,
    ),
    # On hold
    Case(
        r"JobHeldUser",
        "held-user",
        N_("It was put on hold under your account at the factory."),
        Move("you", N_("Release it there (scontrol release, qrls), or cancel it here and start again.")),
    ),
    Case(r"JobHeldAdmin", "held-site", N_("The factory's operators put it on hold."), SITE),
    Case(
        r"JobHoldMaxRequeue|launch_failed_requeued_held|JobLaunchFailure|SystemFailure",
        "held-failed",
        N_("Its node could not start it, and the scheduler put it on hold."),
        START_OVER,
    ),
    Case(
        r"SpecialExit|RequeuedHold|job_requeued_in_held_state|RequeueExitHold|JobReqHeld",
        "held-requeued",
        N_("It was put back into the queue, on hold."),
        START_OVER,
    ),
    # Parts of the factory that are closed, or not made for it
    Case(
        r"Partition(Down|Inactive)",
        "partition-closed",
        N_("This part of the factory is closed at the moment."),
        Move("site", N_("It starts when the operators open it again. Another factory or size may be open now.")),
    ),
    Case(
        r"Partition(NodeLimit|MaxNodes|MinNodes)",
        "partition-nodes",
        N_("It asks for more or fewer nodes than this part of the factory allows."),
        OPERATOR,
    ),
    Case(
        r"PartitionTimeLimit",
        "partition-time",
        N_("It asks for more hours than this part of the factory allows."),
        FEWER_HOURS,
    ),
    Case(
        r"PartitionConfig",
        "partition-config",
        N_("What it asks for does not agree with this part of the factory."),
        OPERATOR,
    ),
    Case(
        r"(ReqNodeNotAvail|Nodes_required_for_job).*([Mm]aint|[Rr]eserved_for_maint)",
        "maintenance",
        N_("The nodes are set aside for a maintenance, and it would not end before that."),
        Move("you", N_("It starts after the maintenance. With fewer hours it may start, and end, before.")),
    ),
    Case(
        r"Nodes_required_for_job_are_DOWN|ReqNodeNotAvail|NodeDown|NodeNotAvail",
        "nodes-unavailable",
        N_("The nodes that it could use are down, being repaired, or reserved for others."),
        _BACK,
    ),
    Case(r"FrontEndDown", "front-end-down", N_("A machine that starts the jobs is down."), SITE),
    Case(r"BadConstraints", "bad-constraints", N_("No node of the factory has what it asks for."), OPERATOR),
    Case(
        r"Reservation(Deleted|Invalid)|ResvDel",
        "reservation-gone",
        N_("The reservation that it was to run in no longer exists."),
        Move("you", N_("Cancel it and start again without the reservation.")),
    ),
    Case(
        r"RequiresReservation|ReqResv",
        "reservation-needed",
        N_("This part of the factory may only be used within a reservation."),
        OPERATOR,
    ),
    Case(r"Reservation", "reservation", N_("It waits for its reservation to begin."), ITSELF),
    Case(r"DeadLine", "deadline", N_("It can no longer end before its deadline."), START_OVER),
    # Who may, and who pays
    Case(
        r"InvalidAccount|AccountNotAllowed|Account_not_allowed",
        "account",
        N_("The project to be charged may not be used here."),
        PROJECT,
    ),
    Case(
        r"InvalidQOS|QOSNotAllowed|QOS_not_allowed",
        "qos",
        N_("The service class (QOS) of this size may not be used by your project."),
        PROJECT,
    ),
    Case(
        r"QOSUsageThreshold",
        "usage-threshold",
        N_("Your project has used too much lately for this service class."),
        PROJECT,
    ),
    Case(
        r"AccountingPolicy",
        "policy",
        N_("A limit of your project or of this size's service class forbids it."),
        PROJECT,
    ),
    Case(
        r"(Assoc|QOS)Grp\w*Run(Minutes|Mins)",
        "budget-running",
        N_("What your project's running jobs may still use, together, leaves no room for it yet."),
        Move("you", N_("Ask for fewer hours, or wait until jobs of your project end.")),
    ),
    Case(
        r"(Assoc|QOS)Grp(\w*(Minutes|Mins)|Billing|WallLimit)",
        "budget",
        N_("The project's budget at this factory is used up, or would be by this session."),
        PROJECT,
    ),
    # More than one person may have at once
    Case(
        r"(QOS|Assoc)MaxSubmit\w*|MaxSubmitJobs\w*",
        "own-submitted",
        N_("You or your project already have as many jobs in the queue as is allowed."),
        OWN,
    ),
    Case(
        r"(QOS|Assoc)?Max(Jobs\w*|GRES\w*)Per(User|Account)\w*|(QOS|Assoc)(MaxJobs|JobLimit)\w*|AssociationJobLimit",
        "own-jobs",
        N_("You or your project already have as many jobs or GPUs running here as is allowed at once."),
        OWN,
    ),
    Case(
        r"Max\w*RunMinsPer(User|Account)",
        "own-running",
        N_("What your running jobs may still use leaves no room for it yet."),
        Move("you", N_("Ask for fewer hours, or stop a session that you no longer need.")),
    ),
    Case(
        r"(QOS|Assoc)?Max\w*Per(User|Account|Acct)\w*",
        "own-limit",
        N_("You or your project already use as much here as is allowed at once."),
        OWN,
    ),
    # More than one session may have
    Case(
        r"(QOS|Assoc)(MaxWall|TimeLimit)|AssociationTimeLimit",
        "time-limit",
        N_("It asks for more hours than your project may have in one session."),
        FEWER_HOURS,
    ),
    Case(
        r"(QOS|Assoc)Max\w*MinutesPerJob",
        "job-budget",
        N_("Its size times its hours is more than one session may use."),
        Move("you", N_("Cancel it and start again with fewer hours or a smaller size.")),
    ),
    Case(
        r"QOSMin",
        "too-small",
        N_("It asks for less than this service class is meant for."),
        OPERATOR,
    ),
    Case(
        r"(QOS|Assoc)Max\w*Per(Job|Node)|QOSResourceLimit|AssociationResourceLimit",
        "size-limit",
        N_("It asks for more than one session may have."),
        OPERATOR,
    ),
    Case(
        r"MaxMemPerLimit|MemoryLimit",
        "memory-limit",
        N_("It asks for more memory than one session may have here."),
        OPERATOR,
    ),
    # More than a project may have at once
    Case(
        r"(QOS|Assoc)Grp(Submit)?Jobs",
        "group-jobs",
        N_("Your project, together with all who share it, has as many jobs here as is allowed."),
        _ENDS,
    ),
    Case(
        r"(QOS|Assoc)GrpGRES",
        "group-gpus",
        N_("Your project, together with all who share it, uses as many GPUs here as is allowed at once."),
        _ENDS,
    ),
    Case(
        r"(QOS|Assoc)GrpCpu",
        "group-cores",
        N_("Your project, together with all who share it, uses as many cores here as is allowed at once."),
        _ENDS,
    ),
    Case(
        r"(QOS|Assoc)GrpMem",
        "group-memory",
        N_("Your project, together with all who share it, uses as much memory here as is allowed at once."),
        _ENDS,
    ),
    Case(
        r"(QOS|Assoc)GrpNode",
        "group-nodes",
        N_("Your project, together with all who share it, uses as many nodes here as is allowed at once."),
        _ENDS,
    ),
    Case(
        r"(QOS|Assoc)Grp",
        "group-limit",
        N_("Your project, together with all who share it, uses as much here as is allowed at once."),
        _ENDS,
    ),
    # It ran before
    Case(
        r"(InactiveLimit|TimeLimit|NonZeroExitCode|RaisedSignal|OutOfMemory|RequeueExit)",
        "tried-before",
        N_("It ran before and is queued again."),
        ITSELF,
    ),
)
