"""Explanations why a scheduler refused a job, by the codes in the dialects' tables (``schedulers/*/words.py``)."""

from __future__ import annotations

from factorycommon.language import N_
from factorylink.explain.table import ELSEWHERE, OTHER_SIZE, OWN, PROJECT, ROOM, SITE, Answer, Move

REFUSED: tuple[Answer, ...] = (
    Answer("partition-unknown", N_("The factory has no such partition any more."), OTHER_SIZE),
    Answer("time", N_("The factory does not allow that many hours."), Move("you", N_("Choose fewer hours."))),
    Answer("no-such-node", N_("No node of that partition is as large as this size asks for."), OTHER_SIZE),
    Answer("account", N_("Your project may not be used at this factory."), PROJECT),
    Answer("qos", N_("Your project may not use this size's service class (QOS)."), PROJECT),
    Answer("submit-limit", N_("You or your project already have as many jobs there as may be queued at once."), OWN),
    Answer("policy", N_("A limit of your project or of this size's service class forbids it."), PROJECT),
    Answer("budget", N_("The project's budget at this factory is used up."), PROJECT),
    Answer("feature", N_("The factory has no nodes with the feature that this size asks for."), OTHER_SIZE),
    Answer(
        "reservation",
        N_("The reservation does not exist, is over, or is not yours to use."),
        Move("you", N_("Start without the reservation.")),
    ),
    Answer("gres", N_("The factory has no GPUs of the kind that this size asks for."), OTHER_SIZE),
    Answer("permission", N_("Your account at the factory may not use this part of it."), PROJECT),
    Answer("user-unknown", N_("The factory's scheduler does not know your account there."), PROJECT),
    Answer("partition-closed", N_("This part of the factory is closed at the moment."), ELSEWHERE),
    Answer("queue-full", N_("The factory's queue is full."), Move("you", N_("Try again in a few minutes."))),
    Answer("memory", N_("The factory does not give that much memory."), OTHER_SIZE),
    Answer("cpus", N_("The factory does not give that many cores."), OTHER_SIZE),
    Answer("disk-full", N_("There is no room left on the factory's disk for the job."), ROOM),
    Answer(
        "rate-limit",
        N_("The factory's scheduler is asked too often at the moment."),
        Move("you", N_("Try again in a few minutes.")),
    ),
    Answer("storage", N_("The factory does not give the fast storage that this size asks for."), OTHER_SIZE),
    Answer("not-allowed", N_("The factory does not allow what this size asks for."), OTHER_SIZE),
    Answer("usage-threshold", N_("Your project has used too much lately for this service class."), PROJECT),
    Answer("licenses", N_("A licence that this size asks for is not available."), ELSEWHERE),
    Answer("topology", N_("The factory cannot place it as this size asks for."), OTHER_SIZE),
    Answer(
        "folder",
        N_("The folder for its files could not be made in your home at the factory."),
        Move("you", N_("Check whether your home folder there is full or over its quota.")),
    ),
    Answer("scheduler-error", N_("The factory's scheduler failed to take it."), SITE),
    Answer(
        "template",
        N_("This gateway's batch script for the factory is faulty."),
        Move("operator", N_("Tell this gateway's operators.")),
    ),
    Answer(
        "maintenance",
        N_("The factory is in maintenance."),
        Move("you", N_("Try again after it, or choose another factory.")),
    ),
    Answer(
        "limits",
        N_("It asks for more, or for longer, than this part of the factory allows."),
        Move("you", N_("Choose fewer hours or a smaller size.")),
    ),
)
