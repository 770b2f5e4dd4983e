"""Parses a door's files and messages, which are not trusted, because the session's own account writes them."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from factorycommon.models import Moment, Notice, SessionId
from factorycommon.models.plain import plain_text
from factorycommon.models.workshops.material import MaterialCounts, MaterialReport, StepsDone
from factorylink.errors import Misread

# A link supports this protocol version and the one before, so that it can reach the doors of running sessions, and of
# environments that a site has not updated. With each command it names its newest version; the door answers in the
# newest version that both support.
PROTOCOL = 2
OLDEST_PROTOCOL = PROTOCOL - 1
PROTOCOL_VARIABLE = "FACTORYGATE_DOOR_PROTOCOL"
LINE_LIMIT = 16384  # maximum bytes of one line of JSON from a door

T = TypeVar("T", bound="_DoorMessage")

HostKey = Annotated[str, StringConstraints(pattern=r"^ssh-ed25519 [A-Za-z0-9+/=]{40,200}$")]
SocketPath = Annotated[str, StringConstraints(pattern=r"^/[^\x00-\x1f]{1,106}$")]
Said = Annotated[str, Field(max_length=1000), AfterValidator(plain_text)]  # text for a person
Name = Annotated[str, Field(max_length=100), AfterValidator(plain_text)]  # name of a notebook or terminal
Release = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.+!_-]{1,40}$")]
EndWord = Literal["idle", "unopened", "walltime", "stopped", "finished", "failed", "no-environment"]


class _DoorMessage(BaseModel):
    """Base class of a door's messages. Frozen and strict: values are not converted between types.

    Unknown fields, which a newer door of the same protocol may send, are ignored.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class DoorFile(_DoorMessage):
    """The file ``door.json`` in the session's folder: the door's address on its node, and its host key.

    The address is ``port`` or, if the link enters the door through the scheduler's command, the Unix socket ``socket``.
    The host name that the file has beside a port is ignored, since the session's own account writes the file.
    ``protocol``: the oldest version that the door supports; ``ends``: the end of the job's walltime, None: not known;
    ``restart``: how often the scheduler has started the job again.
    """

    protocol: int = Field(ge=1, le=PROTOCOL)
    session: SessionId
    job: str = Field(max_length=64)
    port: int | None = Field(None, ge=1, le=65535)
    socket: SocketPath | None = None
    host_key: HostKey
    ends: Moment | None = None
    restart: int = Field(0, ge=0, le=1_000_000)


class DoorStatus(_DoorMessage):
    """A session's status: one line of output of the door's command ``watch``, and the response to most other commands.

    ``notebook_sock``: the notebook's Unix socket. ``hub_sock``: the Unix socket in the job for requests to the hub.
    ``environment``: whether the door has received the notebook's environment variables. ``exit_code``: the notebook's
    exit code; negative: the signal that ended the notebook; None: it has not ended. ``opened``: whether anybody has
    opened the session in this run of the job. ``busy_with``: names of busy notebooks and terminals. ``gpu_percent``:
    use of the busiest GPU; None: not known. ``memory_bytes``: memory in use; None: not known. ``steps``: which steps of
    a workshop's material were done, by their numbers from 0. ``ends``: the end of the job's walltime; None: not known.
    ``ends_idle``: when the session ends if nobody uses it; None: at present the session does not end for lack of use.
    ``notice``: the present warning of the session's end; None: there is none. ``end_reason``, ``message``: why the
    session ends or has ended, as a word and as a text for people. ``release``: the version of the package
    ``factorygate`` in the session's environment; None from a door of protocol 1.
    """

    protocol: int = Field(ge=OLDEST_PROTOCOL, le=PROTOCOL)
    session: SessionId
    job: str = Field("", max_length=64)
    phase: Literal["waiting", "launching", "up", "ending", "ended"]
    notebook_sock: SocketPath
    hub_sock: SocketPath
    environment: bool = False
    exit_code: int | None = Field(None, ge=-255, le=255)
    last_activity: Moment | None = None
    busy: bool = False
    busy_with: Annotated[tuple[Name, ...], Field(max_length=5)] = ()
    opened: bool = False
    gpu_percent: int | None = Field(None, ge=0, le=100)
    memory_bytes: int | None = Field(None, ge=0, lt=2**63)
    steps: StepsDone = ()
    ends: Moment | None = None
    ends_idle: Moment | None = None
    notice: Notice | None = None
    end_reason: EndWord | None = None
    message: Said = ""
    release: Release | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.protocol >= 2 and self.release is None:
            raise ValueError("a door of protocol 2 names its release")
        return self


class DoorEnd(_DoorMessage):
    """The file ``end.json`` that a door writes at its end.

    ``reason``, ``message``: why the session ended, as a word and as a text for people.
    """

    reason: EndWord
    message: Said = ""


class _Version(_DoorMessage):
    protocol: int


class OtherProtocol(Misread):
    """Raised if the door, which is part of the environment, uses a protocol version that the link does not support."""


class DoorToken(_DoorMessage):
    """The response to the command ``token``: the notebook's token for the hub's API.

    None: the door has not received the notebook's environment variables, or they have no token.
    """

    token: str | None = Field(None, max_length=1000, pattern=r"^[!-~]+$", repr=False)


MaterialCount = Annotated[int, Field(ge=0, le=1_000_000)]
MaterialPaths = Annotated[tuple[Annotated[str, Field(max_length=300)], ...], Field(max_length=100)]


class DoorMaterial(_DoorMessage):
    """The response to the command ``material``: how many files had each outcome, and some of their paths.

    ``MaterialCounts`` describes the outcomes. ``aside``: the folder to which the person's earlier folder was moved, ""
    if there was no earlier folder; None: the folder was not to be moved.
    """

    counts: Annotated[dict[Annotated[str, Field(max_length=20)], MaterialCount], Field(max_length=20)]
    conflict: MaterialPaths = ()
    blocked: MaterialPaths = ()
    merged: MaterialPaths = ()
    removed: MaterialPaths = ()
    aside: Annotated[str, Field(max_length=300)] | None = None

    def report(self) -> MaterialReport:
        """Return this response as a MaterialReport. Raises Misread if a value is not allowed in a MaterialReport."""
        known = {name: count for name, count in self.counts.items() if name in MaterialCounts.model_fields}
        lists = {name: getattr(self, name) for name in ("conflict", "blocked", "merged", "removed")}
        try:
            return MaterialReport(counts=MaterialCounts(**known), aside=self.aside, **lists)
        except ValidationError as error:
            raise Misread("The door's report on the material was not understood.") from error


class DoorRefusal(_DoorMessage):
    """The response to a command that the door refused."""

    error: Said = "The door did not say why."


def read_message(model: type[T], raw: bytes | str) -> T:
    """Return a line or file of a door, parsed as ``model``.

    Raises OtherProtocol if the text is not valid and names a protocol version that this link does not support, Misread
    if the text is not valid for another reason.
    """
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        version = _version(raw)
        if version is not None and not OLDEST_PROTOCOL <= version <= PROTOCOL:
            raise OtherProtocol(
                f"The session's environment has door protocol {version}, this link speaks {OLDEST_PROTOCOL} and "
                f"{PROTOCOL}: {'the link' if version > PROTOCOL else 'the environment'} must be updated."
            ) from error
        raise Misread(f"The door's words were not understood: {error.errors(include_input=False)[0]['msg']}") from error


def _version(raw: bytes | str) -> int | None:
    try:
        return _Version.model_validate_json(raw).protocol
    except ValidationError:
        return None
