"""Checks and translates dask-jobqueue's keywords; errors say what to use instead of those that are not supported."""

from __future__ import annotations

import argparse
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import timedelta
from numbers import Real
from typing import Any, NoReturn

import dask

from factorygate.cluster.worker_place import WorkerPlace, find
from factorygate.link import LinkRoute

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,50}")  # workers' names consist of this and a number
SECTION = "factory"  # name of this package's section in dask's configuration, below ``jobqueue``

# dask-jobqueue reads all of these settings from a section, and fails if one is missing.
DEFAULTS: dict[str, Any] = {
    "name": "factorygate", "cores": None, "memory": None, "processes": None, "python": None, "interface": None,
    "death-timeout": None, "local-directory": None, "shared-temp-directory": None, "extra": None,
    "worker-command": "distributed.cli.dask_worker", "worker-extra-args": [], "shebang": None,
    "walltime": None, "env-extra": None, "job-script-prologue": [], "job-extra": None, "job-extra-directives": [],
    "job-directives-skip": [], "log-directory": None, "scheduler-options": {}, "queue": None, "account": None,
    # Settings of this package.
    "factory": None, "size": None, "environment": None, "hours": None, "project": None, "cap-gpu-hours": None,
}  # fmt: skip

_CATALOGUE = "the factory's catalogue says what its batch scheduler is told; choose with factory=, size= and hours="
_ENVIRONMENT = "the environment decides it: environment=... takes one of the factory's, else this notebook's"
INSTEAD = {
    "host": "pass 'host' through 'scheduler_options'",
    "dashboard_address": "cluster.dashboard_link leads to its pages, which are on no port (elsewhere one would pass "
    "'dashboard_address' through 'scheduler_options')",
    "scheduler_cls": "its scheduler keeps its pages from neighbours on the node, which another class would not",
    "queue": "the node size decides it: size=...",
    "account": "project=... says who pays",
    "job_cpu": "a job has the cores of its node size: size=...",
    "job_mem": "a job has the memory of its node size: size=...",
    "job_name": "the gateway names jobs, since it knows them by it; name=... is the cluster's",
    "job_extra": _CATALOGUE,
    "job_extra_directives": _CATALOGUE,
    "header_skip": _CATALOGUE,
    "job_directives_skip": _CATALOGUE,
    "shebang": _CATALOGUE,
    "env_extra": _ENVIRONMENT,
    "job_script_prologue": _ENVIRONMENT,
    "python": _ENVIRONMENT,
    "worker_command": "workers are started by the gateway's own program, which gives each its own GPU; processes=... "
    "says how many",
    "log_directory": "the gateway keeps the last lines of each job's log: cluster.panel, or cluster.view().jobs",
    "shared_temp_directory": "keys reach the workers through the gateway and lie in no shared folder",
}


def refuse(given: Mapping[str, Any], name: str | None = None) -> None:
    """Raise ValueError if ``given`` sets a keyword of dask-jobqueue that is not supported, or if ``name`` is invalid.

    The message says what to use instead. A keyword whose value is None or empty counts as not set; for ``nanny``, only
    None and True are allowed. ``name``: the name of a cluster; None: not checked.
    """
    for word, value in given.items():
        if word in INSTEAD and value not in (None, "", [], (), {}):
            raise ValueError(f"{word}={value!r} cannot be said here: {INSTEAD[word]}.")
    if name is not None and not (isinstance(name, str) and NAME.fullmatch(name)):
        raise ValueError(
            f"name={name!r} cannot be a cluster's: letters, digits, '.', '_' and '-' can, beginning with a letter or "
            "digit; no shell reads it."
        )
    if given.get("nanny") not in (None, True):
        raise ValueError(
            f"nanny={given['nanny']!r} cannot be said here: each Dask worker is a process of its own, under a nanny."
        )


def counts(least: int = 0, **given: Any) -> None:
    """Raise ValueError if a given number is not whole, or is below ``least``; a value that is None is not checked."""
    for word, value in given.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, Real) or not float(value).is_integer():
            raise ValueError(f"{word}={value!r} is no whole number.")
        if value < least:
            raise ValueError(f"{word}={value!r} is too few: {least} at least.")


def amounts(**given: Any) -> None:
    """Raise ValueError if a given number is not finite, or is not above 0; a value that is None is not checked."""
    for word, value in given.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or value <= 0:
            raise ValueError(f"{word}={value!r} is no number above 0.")


def one_of(allowed: Sequence[str], **given: Any) -> None:
    """Raise ValueError if a given value is not in ``allowed``; a value that is None is not checked."""
    for word, value in given.items():
        if value is not None and value not in allowed:
            raise ValueError(f"{word}={value!r} is not known; allowed: {', '.join(map(repr, allowed))}.")


def have_section(section: str | None = None) -> None:
    """Add to a section of dask's configuration a default for each setting of ``DEFAULTS`` that the section lacks.

    ``section``: the section's name below ``jobqueue``; None: this package's section, which is made if it is missing.
    Raises ValueError if ``section`` names another section that does not exist.
    """
    wanted = section or SECTION
    there = dask.config.get("jobqueue", None) or {}
    if wanted != SECTION and not isinstance(there.get(wanted), Mapping):
        raise ValueError(
            f"config_name={wanted!r}: dask's configuration has no section jobqueue.{wanted}; "
            f"it has: {', '.join(sorted({*there, SECTION}))}."
        )
    dask.config.update(dask.config.config, {"jobqueue": {wanted: DEFAULTS}}, priority="old")


def settled(section: str | None, **given: Any) -> dict[str, Any]:
    """Return the given values; a value that is None is replaced by the value from ``section`` of dask's configuration.

    ``section``: the section's name below ``jobqueue``; None: this package's section. Raises ValueError if ``section``
    names another section that does not exist.
    """
    have_section(section)
    found = dask.config.get(f"jobqueue.{section or SECTION}")
    return {
        name: found.get(name.replace("_", "-"), found.get(name)) if value is None else value
        for name, value in given.items()
    }


def _hours(section: str | None, said: float | None, walltime: str | int | timedelta | None) -> float | None:
    """Return each job's walltime in hours; None if neither the arguments nor the configuration set one.

    The walltime comes from ``said`` (hours), else from ``walltime``, else from ``section`` of dask's configuration
    (None: this package's section). Raises ValueError if both ``said`` and ``walltime`` are given, or if a walltime is
    invalid.
    """
    if said is not None and walltime is not None:
        raise ValueError("hours= and walltime= say the same thing: one of them is enough.")
    if said is None and walltime is None:
        said, walltime = settled(section, hours=None, walltime=None).values()
    return said if walltime is None else hours_of(walltime)


def hours_of(walltime: str | int | timedelta) -> float:
    """Return the hours of a walltime, which is a timedelta, a number of minutes, or a text in one of Slurm's forms.

    The forms are ``90`` (minutes), ``45:00``, ``1:30:00``, ``1-12``, ``1-12:30``, ``1-12:30:00``; their seconds are
    rounded up to a minute. Raises ValueError for any other text.
    """
    if isinstance(walltime, timedelta):
        return walltime.total_seconds() / 3600
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", str(walltime).strip())
    if found is None:
        raise ValueError(f"walltime={walltime!r} is no time such as 1:30:00; hours=1.5 says the same.")
    days, *rest = found.groups()
    numbers = [int(part) for part in rest if part is not None]
    if days is None:  # minutes, minutes:seconds, hours:minutes:seconds
        numbers = [0, *numbers] if len(numbers) < 3 else numbers
    hours, minutes, seconds = (*numbers, 0, 0)[:3]
    return 24.0 * int(days or 0) + hours + (minutes + math.ceil(seconds / 60)) / 60


def place(
    section: str | None,
    *,
    hours: float | None = None,
    walltime: str | int | timedelta | None = None,
    route: LinkRoute | None = None,
    **given: Any,
) -> WorkerPlace:
    """Return the factory, node size, environment and resources for a cluster's jobs, as ``worker_place.find`` does.

    The walltime is given as ``hours``, or as ``walltime`` (see ``hours_of``). ``given``: other arguments of ``find``,
    such as ``factory``, ``size``, ``environment``, ``project``, ``processes``, ``cores`` and ``memory``. Values that
    are not given come from ``section`` of dask's configuration (None: this package's section). ``route``: how to reach
    the gateway; None: this session's route. Raises LinkError; ValueError for invalid values.
    """
    known = {"factory": None, "size": None, "environment": None, "processes": None, "cores": None, "memory": None}
    known["project"] = None
    wanted = settled(section, **known | given)
    counts(1, processes=wanted["processes"], cores=wanted["cores"])
    wanted_hours = _hours(section, hours, walltime)
    amounts(hours=wanted_hours)
    return find(hours=wanted_hours, route=route, **wanted)


def worker(section: str | None, place: WorkerPlace, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a cluster's Dask workers, in the form of the field ``worker`` of ``ClusterRequest``.

    Options that are not set are left out. ``given``: the call's keywords; an option that is not in ``given`` comes from
    ``section`` of dask's configuration (None: this package's section). ``place``: where the jobs run, and how much of
    each job Dask uses. If Dask uses only a part, the result also has ``threads`` and ``memory`` (bytes) of each worker.
    Raises ValueError if ``section`` does not exist, or if ``worker_extra_args`` has arguments other than ``--preload``
    and ``--resources``, or invalid ones.
    """
    names = ("death_timeout", "local_directory", "interface", "worker_extra_args", "extra")
    said = settled(section, **{name: given.get(name) for name in names})
    args, also = said.pop("worker_extra_args"), said.pop("extra")
    asked = {**said, **_extra(args or also or ())}
    if not place.whole:
        asked |= {"threads": place.threads, "memory": place.memory // place.processes}
    return {name: value for name, value in asked.items() if value not in (None, [], {})}


class _Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"worker_extra_args: {message}.")


def _extra(args: Sequence[str]) -> dict[str, Any]:
    """Parse arguments of ``dask worker``; return ``preload``, a list of modules, and ``resources``, amounts by name.

    Raises ValueError for arguments other than ``--preload`` and ``--resources``.
    """
    parser = _Arguments(prog="worker_extra_args", add_help=False, allow_abbrev=False)
    parser.add_argument("--preload", action="append", default=[])
    parser.add_argument("--resources", type=_resources, default={})
    known, other = parser.parse_known_args(shlex.split(" ".join(map(str, args))))
    if other:
        raise ValueError(f"worker_extra_args: {other[0]} cannot be said here; --preload and --resources can.")
    return {"preload": known.preload, "resources": known.resources}


def _resources(text: str) -> dict[str, float]:
    pairs = (pair.split("=") for pair in text.replace(",", " ").split())
    return {name: float(amount) for name, amount in pairs}
