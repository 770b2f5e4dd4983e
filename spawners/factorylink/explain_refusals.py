"""What Slurm's commands print when they refuse or fail, in a person's words; see ``explain_slurm`` for the shape."""

from __future__ import annotations

from factorylink.explain_slurm import N_, OPERATOR, OWN, PROJECT, Entry

# What sbatch prints when it does not take a job. Searched anywhere in its words.
REFUSED: tuple[Entry, ...] = (
    (r"invalid partition", "partition-unknown", N_("The factory has no such partition any more."), OPERATOR),
    (
        r"requested time limit is invalid|time limit.*(missing|exceed|invalid)|partition.*time limit",
        "time",
        N_("The factory does not allow that many hours."),
        N_("Choose fewer hours."),
    ),
    (
        r"node configuration is not available|can(no| no|')t be satisfied|can not be satisfied",
        "no-such-node",
        N_("No node of that partition is as large as this size asks for."),
        OPERATOR,
    ),
    (
        r"invalid account or account/partition|invalid account|account.*(not (allowed|permitted)|expired)",
        "account",
        N_("Your project may not be used at this factory."),
        PROJECT,
    ),
    (
        r"invalid qos|qos.*not (allowed|permitted)",
        "qos",
        N_("Your project may not use this size's service class (QOS)."),
        PROJECT,
    ),
    (
        r"qosmaxsubmit|assocmaxsubmit|maxsubmit|job submit limit|submit limit",
        "submit-limit",
        N_("You or your project already have as many jobs there as may be queued at once."),
        OWN,
    ),
    (
        r"violates accounting/qos policy|accounting/qos policy",
        "policy",
        N_("A limit of your project or of this size's service class stands against it."),
        PROJECT,
    ),
    (
        r"insufficient (funds|balance|budget)|no (budget|balance|quota) left|budget.*(exhausted|exceeded)",
        "budget",
        N_("The project's budget at this factory is used up."),
        PROJECT,
    ),
    (
        r"invalid feature|invalid constraint",
        "feature",
        N_("The factory has no nodes with the feature that this size asks for."),
        OPERATOR,
    ),
    (
        r"reservation.*(invalid|not)|access denied to requested reservation",
        "reservation",
        N_("The reservation does not exist, is over, or is not yours to use."),
        N_("Start without the reservation."),
    ),
    (
        r"invalid (generic resource|gres)|gres.*(invalid|specification)",
        "gres",
        N_("The factory has no GPUs of the kind that this size asks for."),
        OPERATOR,
    ),
    (
        r"user not permitted|access/permission denied|permission denied|user not allowed|group not permitted",
        "permission",
        N_("Your account at the factory may not use this part of it."),
        PROJECT,
    ),
    (
        r"invalid user id|user unknown|invalid.*uid|unable to.*user",
        "user-unknown",
        N_("The factory's scheduler does not know your account there."),
        PROJECT,
    ),
    (
        r"partition.*(down|drain|inactive|not available|state)|required partition not available",
        "partition-closed",
        N_("This part of the factory is closed at the moment."),
        N_("Choose another size or factory, or try later."),
    ),
    (
        r"too many (jobs|array)|job queue is full|maximum number of jobs|max.*job count",
        "queue-full",
        N_("The factory's queue is full."),
        N_("Try again in a few minutes."),
    ),
    (
        r"memory.*(specification|required)|invalid --mem",
        "memory",
        N_("The factory does not give that much memory."),
        OPERATOR,
    ),
    (
        r"more processors requested|cpu count|invalid.*cpu",
        "cpus",
        N_("The factory does not give that many cores."),
        OPERATOR,
    ),
    (
        r"disk quota|no space left|write error.*script|unable to write",
        "disk-full",
        N_("There is no room left on the factory's disk for the job."),
        N_("Free some space there, or tell its operators."),
    ),
    (
        r"template",
        "template",
        N_("This gateway's batch script for the factory is faulty."),
        N_("Tell this gateway's operators."),
    ),
    (
        r"maintenance",
        "maintenance",
        N_("The factory is in maintenance."),
        N_("Try again after it, or choose another factory."),
    ),
)

UNREACHABLE: tuple[Entry, ...] = (
    (
        r"gave no answer within|timed? ?out|no connection within",
        "silent",
        N_("The factory does not answer in time."),
        "",
    ),
    (
        r"unable to contact|connection refused|connect failure|is DOWN|controller",
        "controller-down",
        N_("The factory's scheduler does not answer."),
        "",
    ),
    (
        r"could not be run|command not found|no such file",
        "not-installed",
        N_("The factory's commands cannot be run from here."),
        "",
    ),
    (r"authenti|munge|credential", "authentication", N_("The factory's scheduler does not accept who we are."), ""),
    (r"not understood|not a row|unknown here|no job id", "misread", N_("The factory's answer was not understood."), ""),
)
