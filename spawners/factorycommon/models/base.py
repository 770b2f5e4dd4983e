"""The base of all models: the strict class ``Model``, and types for ids, names and amounts from outside."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

GUEST = "guest."  # the names of people who joined a workshop with a mail address only begin so, and no other names do
ROBOT = "robot."  # the names of robots, which take the seats of a class in a rehearsal; no person has such a name


def is_guest(name: str) -> bool:
    """Return True if the hub's user with this name joined a workshop without an account of a login provider."""
    return name.startswith(GUEST)


def is_robot(name: str) -> bool:
    """Return True if this is the name of a robot, in capital or small letters; no person may have such a name.

    Robots take the seats of a class in a rehearsal.
    """
    return name.lower().startswith(ROBOT)


def robot_names(slug: str, count: int) -> tuple[str, ...]:
    """Return the names of a workshop's robots, in the order of their seats.

    Robots take the seats of a class in a rehearsal; they are no users of the hub.
    """
    return tuple(f"{ROBOT}{slug}.{number}" for number in range(1, count + 1))


def _no_robot(name: str) -> str:
    if is_robot(name):
        raise ValueError(f"{name!r} is a name for robots of rehearsals, which no person may have")
    return name


# The type for words that may end up in an argv, an #SBATCH line or a path: no blanks, quotes or newlines, and no
# leading dash.
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:,@+=/-]{0,254}$")]
MOST_HOURS = 24 * 30
Hours = Annotated[float, Field(gt=0, le=MOST_HOURS, allow_inf_nan=False)]
SessionId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
JobId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\[\]-]{0,127}$")]
# Who has a session: a person, or a robot. Only what a rehearsal concerns may name a robot; all else takes a Person.
Occupant = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
Person = Annotated[Occupant, AfterValidator(_no_robot)]
ServerName = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00-\x1f\x7f/]*$")]
# A slot is what a session runs: a server of the hub (its name), or the Dask scheduler of a cluster (HEAD and the
# cluster's name). A server's name never has a slash, so the two cannot be confused.
HEAD = "dask/"
Slot = Annotated[str, StringConstraints(max_length=255, pattern=r"^(dask/)?[^\x00-\x1f\x7f/]*$")]
# A project's id as calls for proposals write it ("EHPC-AIF-2026PG01-756") or as sites do ("project_465000000"). It is
# used in argv and URLs.
ProjectId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
UnixAccount = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_.-]{0,31}$")]

# Times from outside must lie between these two. Arithmetic, time zones and databases fail outside of these years.
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
Moment = Annotated[AwareDatetime, Field(ge=EARLIEST, le=LATEST)]


def believed(seconds: float) -> datetime | None:
    """Return the UTC time that is ``seconds`` after 1970-01-01; None if not between ``EARLIEST`` and ``LATEST``."""
    # a NaN is refused, too: all comparisons with it are False
    if not EARLIEST.timestamp() <= seconds <= LATEST.timestamp():
        return None
    return datetime.fromtimestamp(seconds, UTC)


class Model(BaseModel):
    """The base class of almost all models: objects are frozen, and unknown keys are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Point(Model):
    """A position on the earth, in degrees."""

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
