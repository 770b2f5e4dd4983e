"""Causes and undoes faults at a factory; each fault is recorded on disk until it is undone.

::

    with faults.begin(cluster, "cut"):
        ...
    faults.begin(cluster, "node-down", "gpu001").undo()

The kinds are in the table of :mod:`testbed.faults.kinds`. The testbed's command ``down`` undoes all faults.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from pydantic import TypeAdapter

from factorycommon.models import Model
from testbed.errors import NoSuchFault
from testbed.faults.kinds import KINDS
from testbed.install import packages
from testbed.slurm.cluster import SlurmCluster
from testbed.slurm.files import FAULTS


class Outage(Model):
    """A fault that is in effect. ``note``: the data that its undo needs."""

    kind: str
    args: tuple[str, ...]
    note: str = ""

    def fits(self, kind: str | None = None, *args: str) -> bool:
        """Return whether the fault is of this kind and has exactly these arguments.

        Without ``kind`` every kind fits, and without ``args`` all arguments fit.
        """
        return kind in (None, self.kind) and args in ((), self.args)

    def __str__(self) -> str:
        return " ".join([self.kind, *self.args])


_OUTAGES = TypeAdapter(tuple[Outage, ...])


class Fault:
    """A fault that this or another process has caused. As a context manager, it is undone at the end of the block."""

    def __init__(self, cluster: SlurmCluster, outage: Outage) -> None:
        self.cluster = cluster
        self.outage = outage

    def undo(self) -> None:
        """Undo the fault; return when the undo is effective. A second call does nothing. Raises TestbedError."""
        with _locked(self.cluster):
            there = _read(self.cluster)
            if self.outage in there:
                KINDS[self.outage.kind].undo(self.cluster, self.outage.note, *self.outage.args)
                _write(self.cluster, _without(there, self.outage))

    def __enter__(self) -> Fault:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.undo()


def begin(cluster: SlurmCluster, kind: str, *args: str | float) -> Fault:
    """Cause a fault; return when it is effective.

    The table of :mod:`testbed.faults.kinds` has the kinds and their arguments. Raises NoSuchFault (also if the cluster
    is not isolated, or the fault is present already), or another TestbedError.
    """
    words = tuple(str(arg) for arg in args)
    if kind not in KINDS:
        raise NoSuchFault(f"{kind!r} is none of {', '.join(KINDS)}")
    entry = KINDS[kind]
    if not entry.least <= len(words) <= entry.most:
        raise NoSuchFault(f"usage: {kind} {entry.usage}".rstrip())
    if entry.isolated and cluster.network is None:
        raise NoSuchFault(f"{kind} needs an isolated factory (up --isolated)")
    with _locked(cluster):
        there = _read(cluster)
        if any(entry.once and each.kind == kind and each.args == words for each in there):
            raise NoSuchFault(f"{kind} {' '.join(words)} stands already".replace("  ", " "))
        outage = Outage(kind=kind, args=words, note=entry.begin(cluster, *words))
        if entry.lasts:
            _write(cluster, (*there, outage))
    return Fault(cluster, outage)


def standing(cluster: SlurmCluster) -> list[Fault]:
    """Return the present faults, the latest first, which is the order in which to undo them."""
    return [Fault(cluster, outage) for outage in reversed(_read(cluster))]


def _locked(cluster: SlurmCluster) -> AbstractContextManager[None]:
    return packages.locked(cluster.folder / "faults.lock")


def _file(cluster: SlurmCluster) -> Path:
    return cluster.folder / FAULTS


def _read(cluster: SlurmCluster) -> tuple[Outage, ...]:
    try:
        return _OUTAGES.validate_json(_file(cluster).read_bytes())
    except FileNotFoundError:
        return ()


def _write(cluster: SlurmCluster, outages: tuple[Outage, ...]) -> None:
    _file(cluster).write_bytes(_OUTAGES.dump_json(outages, indent=1))


def _without(outages: tuple[Outage, ...], one: Outage) -> tuple[Outage, ...]:
    return tuple(each for each in outages if each != one)
