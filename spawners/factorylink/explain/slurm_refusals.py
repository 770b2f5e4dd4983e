"""Explains what Slurm's commands print when they refuse or fail; see ``table`` for the form."""

from __future__ import annotations

from factorycommon.language import N_
from factorylink.explain.table import ELSEWHERE, KEPT, OPERATOR, OWN, PROJECT, ROOM, SITE, Case, Move

_OPERATOR = Move("operator", N_("Sessions there continue; nothing is lost. The gateway's operators have to mend this."))

# What sbatch prints when it does not take a job. Searched anywhere in its words.
REFUSED: tuple[Case, ...] = (
    Case(r"invalid partition", "partition-unknown", N_("The factory has no such partition any more."), OPERATOR),
    Case(
        r"requested time limit is invalid|time limit.*(missing|exceed|invalid)|partition.*time limit|max_?wall",
        "time",
        N_("The factory does not allow that many hours."),
        Move("you", N_("Choose fewer hours.")),
    ),
    Case(
        r"node configuration is not available|can( ?no|')t be satisfied|max(gres|cpu|node)perjob",
        "no-such-node",
        N_("No node of that partition is as large as this size asks for."),
        OPERATOR,
    ),
    Case(
        r"invalid account or account/partition|invalid account|account.*(not (allowed|permitted)|expired)",
        "account",
        N_("Your project may not be used at this factory."),
        PROJECT,
    ),
    Case(
        r"invalid qos|qos.*not (allowed|permitted)",
        "qos",
        N_("Your project may not use this size's service class (QOS)."),
        PROJECT,
    ),
    Case(
        r"qosmaxsubmit|assocmaxsubmit|maxsubmit|job submit limit|submit limit",
        "submit-limit",
        N_("You or your project already have as many jobs there as may be queued at once."),
        OWN,
    ),
    Case(
        r"violates accounting/qos policy|accounting/qos policy",
        "policy",
        N_("A limit of your project or of this size's service class forbids it."),
        PROJECT,
    ),
    Case(
        r"insufficient (funds|balance|budget)|no (budget|balance|quota) left|budget.*(exhausted|exceeded)",
        "budget",
        N_("The project's budget at this factory is used up."),
        PROJECT,
    ),
    Case(
        r"invalid feature|invalid constraint",
        "feature",
        N_("The factory has no nodes with the feature that this size asks for."),
        OPERATOR,
    ),
    Case(
        r"reservation.*(invalid|not)|access denied to requested reservation",
        "reservation",
        N_("The reservation does not exist, is over, or is not yours to use."),
        Move("you", N_("Start without the reservation.")),
    ),
    Case(
        r"invalid (generic resource|gres)|gres.*(invalid|specification)",
        "gres",
        N_("The factory has no GPUs of the kind that this size asks for."),
        OPERATOR,
    ),
    Case(
        r"user not permitted|access/permission denied|permission denied|user not allowed|group not permitted",
        "permission",
        N_("Your account at the factory may not use this part of it."),
        PROJECT,
    ),
    Case(
        r"invalid user id|user unknown|invalid.*uid|unable to.*user",
        "user-unknown",
        N_("The factory's scheduler does not know your account there."),
        PROJECT,
    ),
    Case(
        r"partition.*(down|drain|inactive|not available|state)|required partition not available",
        "partition-closed",
        N_("This part of the factory is closed at the moment."),
        ELSEWHERE,
    ),
    Case(
        r"too many (jobs|array)|job queue is full|maximum number of jobs|max.*job count",
        "queue-full",
        N_("The factory's queue is full."),
        Move("you", N_("Try again in a few minutes.")),
    ),
    Case(
        r"memory.*(specification|required)|invalid --mem",
        "memory",
        N_("The factory does not give that much memory."),
        OPERATOR,
    ),
    Case(
        r"more processors requested|cpu count|invalid.*cpu",
        "cpus",
        N_("The factory does not give that many cores."),
        OPERATOR,
    ),
    Case(
        r"disk quota|no space left|error writing script|write error.*script|unable to write",
        "disk-full",
        N_("There is no room left on the factory's disk for the job."),
        ROOM,
    ),
    Case(
        r"rate limit exceeded",
        "rate-limit",
        N_("The factory's scheduler is asked too often at the moment."),
        Move("wait", N_("Try again in a few minutes.")),
    ),
    Case(
        r"burst buffer",
        "storage",
        N_("The factory does not give the fast storage that this size asks for."),
        OPERATOR,
    ),
    Case(
        r"presently disabled|not supported on this system|only batch jobs",
        "not-allowed",
        N_("The factory does not allow what this size asks for."),
        OPERATOR,
    ),
    Case(
        r"usage threshold",
        "usage-threshold",
        N_("Your project has used too much lately for this service class."),
        PROJECT,
    ),
    Case(
        r"licenses? (currently )?unavailable|invalid license",
        "licenses",
        N_("A licence that this size asks for is not available."),
        ELSEWHERE,
    ),
    Case(
        r"topology",
        "topology",
        N_("The factory cannot place it as this size asks for."),
        OPERATOR,
    ),
    Case(
        r"without the current working directory|working directory",
        "folder",
        N_("The folder for its files could not be made in your home at the factory."),
        Move("you", N_("Check whether your home folder there is full or over its quota.")),
    ),
    Case(
        r"internal error|unable to create job record|generating job credential",
        "scheduler-error",
        N_("The factory's scheduler failed to take it."),
        SITE,
    ),
    Case(
        r"template",
        "template",
        N_("This gateway's batch script for the factory is faulty."),
        Move("operator", N_("Tell this gateway's operators.")),
    ),
    Case(
        r"maintenance reservation|in maintenance|\bmaintenance",
        "maintenance",
        N_("The factory is in maintenance."),
        Move("you", N_("Try again after it, or choose another factory.")),
    ),
)

UNREACHABLE: tuple[Case, ...] = (
    Case(
        r"gave no answer within|timed? ?out|no connection within|not begun within",
        "silent",
        N_("The factory is not answering."),
        KEPT,
    ),
    Case(r"rate limit", "rate-limit", N_("The factory's scheduler is asked too often at the moment."), KEPT),
    Case(
        r"standby|slow to|busy",
        "controller-busy",
        N_("The factory's scheduler is busy."),
        KEPT,
    ),
    Case(
        r"unable to contact|connection refused|connect failure|is DOWN|controller|Communication",
        "controller-down",
        N_("The factory's scheduler is not answering."),
        Move("site", N_("Sessions there continue; nothing is lost. The gateway keeps trying.")),
    ),
    Case(
        r"network is unreachable|no route|name or service|name resolution|connection .*lost|reset by peer|broken pipe",
        "cut",
        N_("The network between the gateway and the factory is interrupted."),
        KEPT,
    ),
    Case(
        r"could not be run|command not found|no such file",
        "commands-missing",
        N_("The gateway cannot run the factory's scheduler commands."),
        _OPERATOR,
    ),
    Case(
        r"authenti|munge|credential|permission denied",
        "authentication",
        N_("The factory does not accept the gateway's login."),
        _OPERATOR,
    ),
    Case(
        r"not understood|not a row|unknown here|no job id|more than",
        "misread",
        N_("The factory's answer was not understood."),
        _OPERATOR,
    ),
)
