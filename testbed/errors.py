"""The errors of the testbed, of three kinds: of this machine, of this factory, of this start."""

from __future__ import annotations


class TestbedError(Exception):
    """Base of all errors of the testbed; its text is for a person."""

    __test__ = False  # not a test class, whatever pytest thinks of its name


class CannotRun(TestbedError):
    """Raise if this machine cannot run a testbed. ``missing`` names what it lacks, one entry for each thing."""

    def __init__(self, *missing: str) -> None:
        super().__init__("a testbed cannot run here: " + "; ".join(missing))
        self.missing = missing


class CannotLayOut(TestbedError):
    """Raise if this factory cannot be set up: it has another scheduler, nothing is known of its nodes, or a value
    cannot be written."""


class DidNotStart(TestbedError):
    """Raise if a daemon did not start, or the nodes did not become idle in time; the text contains the end of the
    logs."""


class NoSuchFault(TestbedError):
    """Raise if there is no such fault, or not with this cluster, or if it is present already."""


class FaultFailed(TestbedError):
    """Raise if a fault, or its undo, failed; the text says which command failed."""


class NotThere(TestbedError):
    """Raise if this state folder has no such cluster."""
