"""What may go wrong, in three kinds: this machine cannot, this factory cannot, this start did not."""

from __future__ import annotations


class TestbedError(Exception):
    """Base of all errors of the testbed; its text is for a person."""

    __test__ = False  # not a test class, whatever pytest thinks of its name


class CannotRun(TestbedError):
    """This machine cannot run a testbed. ``missing`` names what it lacks, one entry a thing."""

    def __init__(self, *missing: str) -> None:
        super().__init__("a testbed cannot run here: " + "; ".join(missing))
        self.missing = missing


class CannotLayOut(TestbedError):
    """This factory cannot be laid out: another scheduler, nothing known of its nodes, or no words for it."""


class DidNotStart(TestbedError):
    """A daemon did not come up, or the nodes did not become idle in time; the text holds the end of the logs."""


class NoSuchFault(TestbedError):
    """No such fault, or not with this cluster, or it stands already."""


class FaultFailed(TestbedError):
    """A fault, or its undo, did not come about; the text says what was asked of whom."""


class NotThere(TestbedError):
    """No such cluster in this state folder."""
