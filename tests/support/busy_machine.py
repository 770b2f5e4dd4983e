"""Makes tests of the gateway's parts in this process independent of the machine's load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from factorycommon.service.database import PRAGMAS


@contextmanager
def tolerated() -> Iterator[None]:
    """Raise the time limits of the gateway's parts and of HTTP clients to a minute during the block.

    So a busy machine makes answers late, but not incomplete. Commits do not wait for the disk, because no test
    simulates a power failure.
    """
    limits = httpx.Timeout.as_dict

    def patient(timeout: httpx.Timeout) -> dict[str, float | None]:
        """Return a client's time limits: a limit of 5 s (the default) or more becomes at least a minute.

        A shorter limit stays: tests that wait for a limit set a shorter one.
        """
        found = limits(timeout)
        return {name: found[name] if (found[name] or 0.0) < 5 else max(found[name] or 0.0, 60.0) for name in found}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("factorylink.sessions.submission.ANSWER_SECONDS", 60.0)
        patch.setattr("factorylink.clusters.service.ANSWER_SECONDS", 60.0)
        patch.setattr("factorylink.projects.account_leases._WAIT_SECONDS", 60.0)
        patch.setattr("workshops.room.sessions.ANSWER_SECONDS", 60.0)
        patch.setattr("factorylink.sessions.help_relay.ANSWER_SECONDS", 60.0)
        patch.setattr("factorylink.doors.connection.ANSWER_SECONDS", 60.0)
        patch.setattr("factorylink.doors.connection.COMMAND_SECONDS", 60.0)
        patch.setattr(httpx.Timeout, "as_dict", patient)
        patch.setattr("factorylink.client._ANSWER_SECONDS", 60.0)
        patch.setattr("factorycommon.service.database.PRAGMAS", tuple(one.replace("=FULL", "=OFF") for one in PRAGMAS))
        yield
