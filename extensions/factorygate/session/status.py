"""The door's status report about its session: one line of JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

PROTOCOL = 1  # of door.json, of the commands and of the status; raised when an older link could misread it

Phase = Literal["waiting", "launching", "up", "ending", "ended"]
Reason = Literal["idle", "unopened", "walltime", "stopped", "finished", "failed", "no-environment"]


def moment(seconds: float | None) -> str | None:
    """Return ``seconds`` since the epoch as RFC 3339 in UTC; None for None."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class StatusNotice:
    """A warning that the session will end by itself at ``at`` (RFC 3339).

    ``minutes``: the warning step that has passed.
    """

    kind: Reason
    at: str
    minutes: int


@dataclass(frozen=True)
class DoorStatusLine:
    """The status of a session at one moment.

    Times are RFC 3339 in UTC; ``message`` tells people how the session ended.
    """

    protocol: int
    session: str
    job: str
    phase: Phase
    notebook_sock: str
    hub_sock: str
    environment: bool = False  # whether the environment was handed over
    notebook_pid: int | None = None
    exit_code: int | None = None  # of the notebook; negative: the signal that ended it
    last_activity: str | None = None
    busy: bool = False  # a kernel or terminal runs something
    busy_with: tuple[str, ...] = ()  # names of those
    opened: bool = False
    gpu_percent: int | None = None  # how busy the busiest GPU was in the last minute; None: there is none, or unknown
    memory_bytes: int | None = None
    ends: str | None = None
    ends_idle: str | None = None
    notice: StatusNotice | None = None
    end_reason: Reason | None = None
    message: str = ""

    def to_json(self) -> str:
        """Return the status as one line of JSON, without the newline."""
        return json.dumps(asdict(self), separators=(",", ":"))
