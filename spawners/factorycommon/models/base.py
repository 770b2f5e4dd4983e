"""The base of all models: types for ids, names and amounts from outside, and the strictness of models."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

# Anything that may end in an argv, an #SBATCH line or a path: no blanks, quotes, newlines, leading dash.
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:,@+=/-]{0,254}$")]
MOST_HOURS = 24 * 30
Hours = Annotated[float, Field(gt=0, le=MOST_HOURS, allow_inf_nan=False)]
SessionId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
JobId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\[\]-]{0,127}$")]
Person = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
ServerName = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00-\x1f\x7f/]*$")]
# What a session is of: a server of the hub; or a cluster of this name, whose Dask scheduler it runs. No server can be
# named like that, since none has a slash.
HEAD = "dask/"
Slot = Annotated[str, StringConstraints(max_length=255, pattern=r"^(dask/)?[^\x00-\x1f\x7f/]*$")]
# As the calls name them ("EHPC-AIF-2026PG01-756") and as sites do ("project_465000000"); goes into argv and addresses.
ProjectId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
UnixAccount = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_.-]{0,31}$")]

# Moments from outside must lie between these. Outside of these years arithmetic, time zones and databases fail.
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
Moment = Annotated[AwareDatetime, Field(ge=EARLIEST, le=LATEST)]


def believed(seconds: float) -> datetime | None:
    """Return the time that many seconds after 1970; None if it is not between ``EARLIEST`` and ``LATEST``."""
    if not EARLIEST.timestamp() <= seconds <= LATEST.timestamp():  # False for a NaN, too
        return None
    return datetime.fromtimestamp(seconds, UTC)


class Model(BaseModel):
    """Frozen, and unknown keys are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Point(Model):
    """A place on the earth, in degrees."""

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
