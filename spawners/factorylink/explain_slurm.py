"""Slurm's words for why a job waits, in a person's words.

Each entry: a pattern for Slurm's word (matched from its beginning, the first that fits counts), a code for pages and
tests, what it means, and whose move it is. Texts are marked for translation with ``N_`` and translated
where they are used.
"""

from __future__ import annotations

Entry = tuple[str, str, str, str]


def N_(text: str) -> str:
    """Mark a text that is translated later."""
    return text


ITSELF = N_("Nothing to do: it starts by itself.")
LESS = N_("Nothing to do if you can wait. A smaller size or fewer hours may start earlier.")
SITE = N_("The factory's operators have to act. If it stays like this, write to their support.")
PROJECT = N_("Ask whoever manages your project at this factory, or choose another project or factory.")
OPERATOR = N_("This will not start as it is. Cancel it and choose another size; tell this gateway's operators.")
OWN = N_("Stop a session that you no longer need, or wait until one of yours ends.")

PENDING: tuple[Entry, ...] = (
    (r"None$|NONE$|$", "new", N_("The scheduler has not looked at it yet."), ITSELF),
    (r"Priority$", "priority", N_("Others are ahead in the queue."), LESS),
    (r"Resources$", "resources", N_("It is among the next, and waits until enough of a node is free."), LESS),
    (r"Dependency$", "dependency", N_("It waits for another job to end."), ITSELF),
    (
        r"DependencyNeverSatisfied",
        "dependency-never",
        N_("It waits for a job that can no longer end as asked."),
        OPERATOR,
    ),
    (
        r"BeginTime$",
        "begin-time",
        N_("It was asked to start later, or was put back into the queue a moment ago."),
        ITSELF,
    ),
    (
        r"JobHeldUser",
        "held-user",
        N_("It was put on hold under your account at the factory."),
        N_("Release it there (scontrol release), or cancel it here and start again."),
    ),
    (r"JobHeldAdmin", "held-site", N_("The factory's operators put it on hold."), SITE),
    (
        r"(JobHoldMaxRequeue|launch_failed_requeued_held|job_requeued_in_held_state|JobLaunchFailure|SystemFailure)",
        "held-failed",
        N_("Its node could not start it, and the scheduler put it on hold."),
        N_("Cancel it and start again."),
    ),
    (
        r"SpecialExit|RequeuedHold",
        "held-requeued",
        N_("It was put back into the queue, on hold."),
        N_("Cancel it and start again."),
    ),
    (
        r"Partition(Down|Inactive)",
        "partition-closed",
        N_("This part of the factory is closed at the moment."),
        N_("It starts when the operators open it again. Another factory or size may be open now."),
    ),
    (
        r"PartitionNodeLimit",
        "partition-nodes",
        N_("It asks for more nodes than this part of the factory allows."),
        OPERATOR,
    ),
    (
        r"PartitionTimeLimit",
        "partition-time",
        N_("It asks for more hours than this part of the factory allows."),
        N_("Cancel it and start again with fewer hours."),
    ),
    (
        r"PartitionConfig",
        "partition-config",
        N_("What it asks for does not agree with this part of the factory."),
        OPERATOR,
    ),
    (
        r"(ReqNodeNotAvail|Nodes_required_for_job).*([Mm]aint|[Rr]eserved_for_maint)",
        "maintenance",
        N_("The nodes are set aside for a maintenance, and it would not end before that."),
        N_("It starts after the maintenance. With fewer hours it may start, and end, before."),
    ),
    (
        r"Nodes_required_for_job_are_DOWN|ReqNodeNotAvail|NodeDown|NodeNotAvail",
        "nodes-unavailable",
        N_("The nodes that it could use are down, being repaired, or reserved for others."),
        N_("It starts by itself once they are back. Another size or factory may be quicker."),
    ),
    (
        r"ReservationDeleted",
        "reservation-gone",
        N_("The reservation that it was to run in no longer exists."),
        N_("Cancel it and start again without the reservation."),
    ),
    (r"Reservation", "reservation", N_("It waits for its reservation to begin."), ITSELF),
    (r"Licenses", "licenses", N_("It waits for a licence that others use at the moment."), ITSELF),
    (r"Prolog", "prolog", N_("Its node is being prepared."), ITSELF),
    (r"Cleaning", "cleaning", N_("Its node is being cleaned up after an earlier attempt."), ITSELF),
    (
        r"(Assoc|QOS)Grp\w*(Minutes|RunMinutes|CPUMins|CPURunMins)|AssocGrpBilling|QOSGrpBilling",
        "budget",
        N_("The project's budget at this factory is used up, or would be by this session."),
        PROJECT,
    ),
    (
        r"(Invalid(Account)|AccountNotAllowed|Account_not_allowed)",
        "account",
        N_("The project that would pay may not be used here."),
        PROJECT,
    ),
    (
        r"(InvalidQOS|QOSNotAllowed|QOS_not_allowed)",
        "qos",
        N_("The service class (QOS) of this size may not be used by your project."),
        PROJECT,
    ),
    (
        r"QOSUsageThreshold",
        "usage-threshold",
        N_("Your project has used too much lately for this service class."),
        PROJECT,
    ),
    (
        r"(QOS|Assoc)Max\w*(PerUser|PerAccount|PerAcct)\w*|Max\w*Per(User|Account|Acct)|(Assoc|QOS)(MaxJobs|JobLimit)|AssociationJobLimit",
        "own-limit",
        N_("You or your project already have as much running here as is allowed at once."),
        OWN,
    ),
    (
        r"(QOS|Assoc)(MaxWall|TimeLimit)|AssociationTimeLimit",
        "time-limit",
        N_("It asks for more hours than your project may have in one session."),
        N_("Cancel it and start again with fewer hours."),
    ),
    (
        r"(QOS|Assoc)Max\w*PerJob|(QOS|Assoc)Max\w*PerNode|QOSMin|QOSResourceLimit|AssociationResourceLimit",
        "size-limit",
        N_("It asks for more, or for less, than one session may have."),
        OPERATOR,
    ),
    (
        r"(QOS|Assoc)Grp",
        "group-limit",
        N_("Your project, together with all who share it, uses as much here as is allowed at once."),
        N_("It starts when a job of the project ends."),
    ),
    (r"BadConstraints", "bad-constraints", N_("No node of the factory is as it asks for."), OPERATOR),
    (r"JobArrayTaskLimit", "array-limit", N_("It waits for others of the same set to end."), ITSELF),
    (r"DeadLine", "deadline", N_("It can no longer end before its deadline."), N_("Cancel it and start again.")),
    (r"BurstBuffer", "storage", N_("Fast storage is being made ready for it."), ITSELF),
    (r"Power(NotAvail|Reserved)", "power", N_("The factory holds jobs back to stay within its electric power."), LESS),
    (r"FrontEndDown", "front-end-down", N_("A machine that starts the jobs is down."), SITE),
    (r"(FedJobLock|OriginCluster)", "federation", N_("The factory's clusters are deciding where it runs."), ITSELF),
    (
        r"(SchedDefer|Schedulers?Defer|Deferred)",
        "deferred",
        N_("The scheduler is busy and looks at it a little later."),
        ITSELF,
    ),
    (
        r"MaxMemPerLimit|MemoryLimit",
        "memory-limit",
        N_("It asks for more memory than one session may have here."),
        OPERATOR,
    ),
    (
        r"(NodesBusy|MaxPoweredUpNodes|ConstraintsNotMet|Not_enough)",
        "nodes-busy",
        N_("The nodes that it could use are busy."),
        LESS,
    ),
    (
        r"(InactiveLimit|TimeLimit|NonZeroExitCode|RaisedSignal)",
        "tried-before",
        N_("It ran before and is queued again."),
        ITSELF,
    ),
)
