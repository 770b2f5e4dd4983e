"""The errors of the testbed, of three kinds: this machine cannot, this factory cannot, this start failed."""

from __future__ import annotations


class TestbedError(Exception):
    """Base of all errors of the testbed; its text is for a person."""

    __test__ = False  # not a test class, whatever pytest thinks of its name


class CannotRun(TestbedError):
    """Raise where this machine cannot run a testbed. ``missing`` names what it lacks, one entry a thing."""

    def __init__(self, *missing: str) -> None:
        super().__init__("a testbed cannot run here: " + "; ".join(missing))
        self.missing = missing


class CannotLayOut(TestbedError):
    """Raise where this factory cannot be laid out: another scheduler, nothing known of its nodes, or a value that
    cannot be written."""


class DidNotStart(TestbedError):
    """Raise where a daemon did not come up, or the nodes did not become idle in time; the text holds the end of the
    logs."""


class NoSuchFault(TestbedError):
    """Raise where there is no such fault, or not with this cluster, or it stands already."""


class FaultFailed(TestbedError):
    """Raise where a fault, or its undo, failed; the text says which command failed."""


class NotThere(TestbedError):
    """Raise where this state folder has no such cluster."""
