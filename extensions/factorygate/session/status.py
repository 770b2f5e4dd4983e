"""The door's status report: makes the line of JSON that describes its session, in the protocol version of the link."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

# The protocol version of commands and status; it is raised if an older link could misread them. A door supports this
# version and the one before, and uses the newest that the link asks for; a link older than version 2 asks for none.
# door.json is read before the version is known, so it names the oldest version, and must stay readable for a link of
# that version.
PROTOCOL = 2
OLDEST_PROTOCOL = PROTOCOL - 1
PROTOCOL_VARIABLE = "FACTORYGATE_DOOR_PROTOCOL"  # the variable by which a link asks for a version with each command
_SINCE_2 = ("release",)  # fields that a link of protocol 1 does not get

Phase = Literal["waiting", "launching", "up", "ending", "ended"]
Reason = Literal["idle", "unopened", "walltime", "stopped", "finished", "failed", "no-environment"]


def spoken(asked: str | None) -> int:
    """Return the protocol version in which the door answers a link that asked for version ``asked``.

    This is the nearest version that the door knows; the oldest one if ``asked`` is None or is no number of at most four
    digits.
    """
    if asked is None or not asked.isascii() or not asked.isdecimal() or len(asked) > 4:
        return OLDEST_PROTOCOL
    return min(max(int(asked), OLDEST_PROTOCOL), PROTOCOL)


def moment(seconds: float | None) -> str | None:
    """Return ``seconds`` since the epoch as RFC 3339 in UTC; None for None."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class StatusNotice:
    """A warning that the session will end by itself at ``at`` (RFC 3339).

    ``kind``: why the session will end; ``minutes``: how many minutes before ``at`` this warning begins, for example 15
    or 5.
    """

    kind: Reason
    at: str
    minutes: int


@dataclass(frozen=True)
class DoorStatusLine:
    """The status of a session at one moment. Times are RFC 3339 in UTC.

    ``notebook_sock``: the notebook's Unix socket; ``hub_sock``: the Unix socket in the job for requests to the hub;
    ``environment``: whether the door has received the notebook's environment variables; ``exit_code``: that of the
    notebook server, negative: the signal that ended it, None: it has not ended; ``busy_with``: names of busy notebooks
    and terminals; ``opened``: whether anybody has opened the session; ``gpu_percent``: use of the busiest GPU in the
    last minute, None: not known; ``memory_bytes``: memory in use, None: not known; ``steps``: which steps of a
    workshop's material were done, by their numbers from 0; ``ends``: the end of the job's walltime, None: not known;
    ``ends_idle``: when the session ends if nobody uses it, None: at present the session does not end for lack of use;
    ``notice``: the present warning of the session's end, None: there is none; ``end_reason``, ``message``: why the
    session ends or has ended, as a word and as a text for people, None and "" while the session goes on; ``release``:
    the version of this package in the session's environment.
    """

    session: str
    job: str
    phase: Phase
    notebook_sock: str
    hub_sock: str
    environment: bool = False  # True once the environment was received
    notebook_pid: int | None = None
    exit_code: int | None = None  # of the notebook; negative: the signal that ended it
    last_activity: str | None = None
    busy: bool = False  # True if a kernel or terminal runs something
    busy_with: tuple[str, ...] = ()  # names of the running kernels and terminals
    opened: bool = False
    # use of the busiest GPU in the last minute; None: there is no GPU, or it is not known
    gpu_percent: int | None = None
    memory_bytes: int | None = None
    steps: tuple[int, ...] = ()  # numbers, from 0, of the steps of a workshop that were done
    ends: str | None = None
    ends_idle: str | None = None
    notice: StatusNotice | None = None
    end_reason: Reason | None = None
    message: str = ""
    release: str = ""

    def to_json(self, protocol: int) -> str:
        """Return the status as one line of JSON in the given protocol version, without the newline."""
        left_out = () if protocol >= 2 else _SINCE_2
        fields = {name: value for name, value in asdict(self).items() if name not in left_out}
        return json.dumps({"protocol": protocol, **fields}, separators=(",", ":"))
