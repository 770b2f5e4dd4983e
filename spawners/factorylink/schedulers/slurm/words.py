"""Maps Slurm's messages to the codes of their explanations (``explain/waiting.py``, ``explain/refusals.py``).

The reasons why a job waits are those of squeue(1), "JOB REASON CODES", and further ones from Slurm's source code. The
reasons for limits have the form ``(QOS|Assoc)(Grp|Max|Min)RESOURCE...``. They have different codes, since a person
needs to know whose limit it is, and for which resource.
"""

from __future__ import annotations

import re

from factorylink.schedulers.words import SchedulerWords

WORDS = SchedulerWords(
    variables=r"SLURMD?_",
    waiting=(
        # Normal waiting in the queue
        (r"(None|NONE|Not_?set|SchedNotSet)?$", "new"),
        (r"Priority$", "priority"),
        (r"Resources$", "resources"),
        (r"Dependency$", "dependency"),
        (r"DependencyNeverSatisfied", "dependency-never"),
        (r"BeginTime$", "begin-time"),
        (r"Prolog", "prolog"),
        (r"Cleaning", "cleaning"),
        (r"Licenses", "licenses"),
        (r"MpiPortsBusy", "ports-busy"),
        (r"BurstBuffer", "storage"),
        (r"JobArrayTaskLimit", "array-limit"),
        (r"(SchedDefer|Schedulers?Defer|Deferred)", "deferred"),
        (r"(FedJobLock|OriginCluster|Federation)", "federation"),
        (r"(NodesBusy|ConstraintsNotMet|Not_enough)", "nodes-busy"),
        (r"MaxPoweredUpNodes", "nodes-asleep"),
        (r"Power(NotAvail|Reserved)", "power"),
        # Jobs on hold
        (r"JobHeldUser", "held-user"),
        (r"JobHeldAdmin", "held-site"),
        (r"JobHoldMaxRequeue|launch_failed_requeued_held|JobLaunchFailure|SystemFailure", "held-failed"),
        (r"SpecialExit|RequeuedHold|job_requeued_in_held_state|RequeueExitHold|JobReqHeld", "held-requeued"),
        # Parts of the factory that are closed or unsuitable
        (r"Partition(Down|Inactive)", "partition-closed"),
        (r"Partition(NodeLimit|MaxNodes|MinNodes)", "partition-nodes"),
        (r"PartitionTimeLimit", "partition-time"),
        (r"PartitionConfig", "partition-config"),
        (r"(ReqNodeNotAvail|Nodes_required_for_job).*([Mm]aint|[Rr]eserved_for_maint)", "maintenance"),
        (r"Nodes_required_for_job_are_DOWN|ReqNodeNotAvail|NodeDown|NodeNotAvail", "nodes-unavailable"),
        (r"FrontEndDown", "front-end-down"),
        (r"BadConstraints", "bad-constraints"),
        (r"Reservation(Deleted|Invalid)|ResvDel", "reservation-gone"),
        (r"RequiresReservation|ReqResv", "reservation-needed"),
        (r"Reservation", "reservation"),
        (r"DeadLine", "deadline"),
        # Permissions and accounts
        (r"InvalidAccount|AccountNotAllowed|Account_not_allowed", "account"),
        (r"InvalidQOS|QOSNotAllowed|QOS_not_allowed", "qos"),
        (r"QOSUsageThreshold", "usage-threshold"),
        (r"AccountingPolicy", "policy"),
        (r"(Assoc|QOS)Grp\w*Run(Minutes|Mins)", "budget-running"),
        (r"(Assoc|QOS)Grp(\w*(Minutes|Mins)|WallLimit)", "budget"),
        # Limits of one person
        (r"(QOS|Assoc)MaxSubmit\w*|MaxSubmitJobs\w*", "own-submitted"),
        (
            r"(QOS|Assoc)?Max(Jobs\w*|GRES\w*)Per(User|Account)\w*|(QOS|Assoc)(MaxJobs|JobLimit)\w*|AssociationJobLimit",
            "own-jobs",
        ),
        (r"Max\w*RunMinsPer(User|Account)", "own-running"),
        (r"(QOS|Assoc)?Max\w*Per(User|Account|Acct)\w*", "own-limit"),
        # Limits of one session
        (r"(QOS|Assoc)(MaxWall|TimeLimit)|AssociationTimeLimit", "time-limit"),
        (r"(QOS|Assoc)Max\w*MinutesPerJob", "job-budget"),
        (r"QOSMin", "too-small"),
        (r"(QOS|Assoc)Max\w*Per(Job|Node)|QOSResourceLimit|AssociationResourceLimit", "size-limit"),
        (r"MaxMemPerLimit|MemoryLimit", "memory-limit"),
        # Limits of all users of a QOS together
        (r"QOSGrp", "queue-limit"),
        # Limits of a project
        (r"AssocGrp(Submit)?Jobs", "group-jobs"),
        (r"AssocGrpGRES", "group-gpus"),
        (r"AssocGrpCpu", "group-cores"),
        (r"AssocGrpMem", "group-memory"),
        (r"AssocGrpNode", "group-nodes"),
        (r"AssocGrp", "group-limit"),
        # Jobs that ran before
        (r"(InactiveLimit|TimeLimit|NonZeroExitCode|RaisedSignal|OutOfMemory|RequeueExit)", "tried-before"),
    ),
    refused=(
        (r"invalid partition", "partition-unknown"),
        (
            r"requested time limit is invalid|time limit.*(missing|exceed|invalid)|partition.*time limit|max_?wall",
            "time",
        ),
        (r"node configuration is not available|can( ?no|')t be satisfied|max(gres|cpu|node)perjob", "no-such-node"),
        (r"invalid account or account/partition|invalid account|account.*(not (allowed|permitted)|expired)", "account"),
        (r"invalid qos|qos.*not (allowed|permitted)", "qos"),
        (r"qosmaxsubmit|assocmaxsubmit|maxsubmit", "submit-limit"),
        (r"violates accounting/qos policy|accounting/qos policy", "policy"),
        (r"insufficient (funds|balance|budget)|no (budget|balance|quota) left|budget.*(exhausted|exceeded)", "budget"),
        (r"invalid feature|invalid constraint", "feature"),
        (r"reservation.*(invalid|not)|access denied to requested reservation", "reservation"),
        (r"invalid (generic resource|gres)|gres.*(invalid|specification)", "gres"),
        (
            r"user not permitted|access/permission denied|permission denied|user not allowed|group not permitted",
            "permission",
        ),
        (r"invalid user id|user unknown|invalid.*uid|unable to.*user", "user-unknown"),
        (r"partition.*(down|drain|inactive|not available|state)|required partition not available", "partition-closed"),
        (r"too many (jobs|array)|job queue is full|maximum number of jobs|max.*job count", "queue-full"),
        (r"memory.*(specification|required)|invalid --mem", "memory"),
        (r"more processors requested|cpu count|invalid.*cpu", "cpus"),
        (r"disk quota|no space left|error writing script|write error.*script|unable to write", "disk-full"),
        (r"rate limit exceeded", "rate-limit"),
        (r"burst buffer", "storage"),
        (r"presently disabled|not supported on this system|only batch jobs", "not-allowed"),
        (r"usage threshold", "usage-threshold"),
        (r"licenses? (currently )?unavailable|invalid license", "licenses"),
        (r"topology", "topology"),
        (r"without the current working directory|working directory", "folder"),
        (r"internal error|unable to create job record|generating job credential", "scheduler-error"),
        (r"template", "template"),
        (r"maintenance reservation|in maintenance|\bmaintenance", "maintenance"),
    ),
    # The message of a site's own filter (JobSubmitPlugins) is the site's text; Slurm adds a line without information.
    after_filter=re.compile(r"\n*^.*submission failed: Unspecified error$", re.I | re.M),
)
