"""The errors of the testbed. They concern this machine, one factory, or one start."""

from __future__ import annotations


class TestbedError(Exception):
    """Base of all errors of the testbed; the message is for a person."""

    __test__ = False  # pytest must not collect it as a test class because of its name


class CannotRun(TestbedError):
    """Raised if this machine cannot run a testbed.

    ``missing`` lists what the machine lacks, one entry for each thing.
    """

    def __init__(self, *missing: str) -> None:
        super().__init__("a testbed cannot run here: " + "; ".join(missing))
        self.missing = missing


class CannotLayOut(TestbedError):
    """Raised if a factory cannot be set up.

    Examples: the factory's scheduler is not the requested one, its nodes are not known, or a value cannot be written
    into the scheduler's configuration.
    """


class DidNotStart(TestbedError):
    """Raised if a daemon did not start, or if the nodes did not become idle in time.

    The message contains the end of the logs.
    """


class NoSuchFault(TestbedError):
    """Raised if a fault does not exist, does not fit this cluster, or is present already."""


class FaultFailed(TestbedError):
    """Raised if a fault, or its undo, failed; the message says which command failed."""


class NotThere(TestbedError):
    """Raised if this state folder has no such cluster."""
