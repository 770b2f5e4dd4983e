"""Compares a catalogue entry with the site's accounting: QOS, their limits, and whether jobs must name account or QOS.

``parse_qos`` and ``parse_people`` take the text that Slurm printed; ``of_qos`` and ``of_people`` yield a line for each
difference. Slurm keeps the names of accounts and QOS in lower case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from factorycommon.models import Factory
from factorycommon.models import Qos as OurQos
from factorylink.catalogue.site_words import differ, hours

QOS = (
    "sacctmgr", "--noheader", "--parsable2", "show", "qos", "format=Name,MaxWall,MaxTRES,MaxSubmitJobsPerUser,GrpTRES"
)  # fmt: skip
PEOPLE = (
    "sacctmgr", "--noheader", "--parsable2", "show", "user", "withassoc",
    "format=User,DefaultAccount,Account,Partition,QOS,DefaultQOS",
)  # fmt: skip
_ADMINISTRATOR = "root"  # Slurm's own account, which may do everything
_GPUS = "gres/gpu"


@dataclass(frozen=True)
class SiteQos:
    """A QOS of the site.

    ``wall``: the longest walltime, in Slurm's form; "": no limit. ``jobs``: the limit of one person's submitted jobs;
    "": no limit. ``job``: the limits for one job, by resource (such as ``gres/gpu``). ``group``: the limits for all
    jobs of the QOS together, by resource. Resources without a limit are left out.
    """

    wall: str
    job: Mapping[str, str]
    jobs: str  # limit of a person's submitted jobs; "": no limit
    group: Mapping[str, str]


@dataclass(frozen=True)
class Membership:
    """A Slurm association of a person with an account that Slurm charges.

    ``partition`` "": the association holds for every partition. ``qos``: the names of all QOS that the person may use
    with the account. ``default_qos`` "": there is no default.
    """

    user: str
    default_account: str
    account: str
    partition: str
    qos: frozenset[str]
    default_qos: str


def parse_qos(text: str) -> dict[str, SiteQos]:
    """Parse the output of the command in ``QOS``; return the site's QOS by name.

    Raises ValueError if the output has another form.
    """
    return {
        name: SiteQos(wall, _counts(job), jobs, _counts(group)) for name, wall, job, jobs, group in _rows(text, QOS, 5)
    }


def parse_people(text: str) -> list[Membership]:
    """Parse the output of the command in ``PEOPLE``; return the site's associations, except those of ``root``.

    Raises ValueError if the output has another form.
    """
    return [
        Membership(user, default, account, partition, frozenset(re.findall(r"[^,+\s]+", qos)), default_qos)
        for user, default, account, partition, qos, default_qos in _rows(text, PEOPLE, 6)
        if user != _ADMINISTRATOR
    ]


def of_qos(factory: Factory, found: Mapping[str, SiteQos] | None) -> Iterator[str]:
    """Yield a line for each QOS of the catalogue's entry that the site lacks.

    Also yield a line for each limit in the entry's QOS that differs from the site's. ``found``: the site's QOS by name;
    None: the site did not answer, so nothing is yielded. Raises ValueError if a QOS's longest walltime is not in
    Slurm's form.
    """
    for ours in factory.qos if found is not None else ():
        theirs = (found or {}).get(ours.name.lower())
        where = f"qos.{ours.name}"
        if theirs is None:
            yield f"{where}: the site has no such QOS; it has: {', '.join(sorted(found or {}))}"
            continue
        yield from hours(f"{where}.max_hours", ours.max_hours, theirs.wall)
        for name, limit in _limits(theirs).items():
            value = getattr(ours, name)
            if value is not None and limit != str(value):
                yield differ(f"{where}.{name}", value, limit or "no limit")


def of_people(factory: Factory, found: Sequence[Membership] | None, qos: Mapping[str, SiteQos] | None) -> Iterator[str]:
    """Yield a line if catalogue and site differ in whether jobs must name an account; likewise for a QOS.

    Also yield a line for each size whose QOS nobody in ``found`` may use in the entry's partitions. ``found``: the
    site's associations; None or empty: nothing is yielded. ``qos``: the site's QOS by name; None: the site did not
    answer. If somebody has a default QOS that allows GPUs, jobs at the site count as free to name no QOS. Whether a QOS
    allows GPUs is taken from ``qos`` or, if it is not there, from the catalogue.
    """
    if not found:
        return
    partitions = {partition.name for partition in factory.partitions}
    here = [each for each in found if not each.partition or each.partition in partitions]
    unnamed = [each for each in here if each.account == each.default_account]
    if factory.account_mandatory is not None and factory.account_mandatory == bool(unnamed):
        said = f"that jobs of {unnamed[0].user} without one run in {unnamed[0].account}" if unnamed else "yes"
        yield differ("account_mandatory", factory.account_mandatory, said)
    given = [each for each in here if _given(each, qos or {}, factory.qos)]
    if factory.qos_mandatory is not None and factory.qos_mandatory == bool(given):
        said = f"that jobs of {given[0].user} without one run in {given[0].default_qos}" if given else "yes"
        yield differ("qos_mandatory", factory.qos_mandatory, said)
    for size in factory.sizes:
        if size.qos is not None and not any(size.qos.lower() in each.qos for each in here):
            people = len({each.user for each in found})
            yield f"sizes.{size.id}.qos: nobody of the {people} that the site shows may use {size.qos}"


def _given(member: Membership, qos: Mapping[str, SiteQos], ours: Sequence[OurQos]) -> bool:
    """Return whether a job of this person that names no QOS gets a default QOS that allows GPUs.

    A QOS allows GPUs unless it limits the GPUs of a job to 0. The limit is the site's (``qos``), or the catalogue's
    (``ours``) if the site's answer lacks the QOS.
    """
    name = member.default_qos
    if not name:
        return False
    known = qos.get(name)
    nothing = any(each.name.lower() == name and each.max_gpus == 0 for each in ours)
    return known.job.get(_GPUS) != "0" if known is not None else not nothing


def _limits(qos: SiteQos) -> dict[str, str]:
    """Return the limits of a QOS by the catalogue's names of limits; a value is "" if there is no limit."""
    return {
        "max_nodes": qos.job.get("node", ""),
        "max_cores": qos.job.get("cpu", ""),
        "max_gpus": qos.job.get(_GPUS, ""),
        "max_jobs": qos.jobs,
        "group_gpus": qos.group.get(_GPUS, ""),
    }


def _counts(text: str) -> dict[str, str]:
    """Parse amounts such as ``cpu=40,gres/gpu=4``; return them by name."""
    return {name: number for name, _, number in (word.partition("=") for word in text.split(",") if word)}


def _rows(text: str, argv: Sequence[str], columns: int) -> Iterator[list[str]]:
    for line in filter(str.strip, text.splitlines()):
        parts = line.strip().split("|")
        if len(parts) != columns or not parts[0]:
            raise ValueError(f"{line!r} is not what '{' '.join(argv)}' prints")
        yield parts
