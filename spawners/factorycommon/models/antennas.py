"""The models of antennas: national front offices without a machine, whose people use the linked factories."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from factorycommon.models.base import Model, Point, Slug
from factorycommon.models.provenance import Sourced

Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")]


class LoginHint(Model):
    """How an antenna's people log in. ``provider``: the id or the kind of their login provider; ``federation``: the
    federation of their institutions, None: not known."""

    provider: Slug
    federation: str | None = None


class Antenna(Model):
    """An antenna: a national front office. ``host``: the institution that runs the antenna, None: not known; ``at``:
    the antenna's position on the map, None: not on the map; ``factories``: the ids of the linked factories, in the
    order in which they are to be named; ``greeting``: a welcome to the antenna's people, by language; ``remark``: a
    note about the antenna. No page of the gateway shows ``greeting`` or ``remark``."""

    id: Slug
    name: str
    host: str | None = None
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    at: Point | None = None  # its position on the map: a point in its country
    factories: tuple[Slug, ...] = Field(min_length=1)
    languages: tuple[Language, ...] = Field(min_length=1)
    greeting: dict[Language, str]
    login: LoginHint
    remark: str = ""

    @model_validator(mode="after")
    def _greets_in_its_languages(self) -> Antenna:
        strange = sorted(set(self.greeting) - set(self.languages))
        if strange:
            raise ValueError(f"greeting: {strange[0]!r} is none of its languages {list(self.languages)}")
        return self


class Antennas(Sourced):
    """The contents of ``hub_config/antennas.yaml``."""

    antennas: tuple[Antenna, ...]

    @model_validator(mode="after")
    def _each_once(self) -> Antennas:
        ids = [antenna.id for antenna in self.antennas]
        if len(set(ids)) != len(ids):
            raise ValueError("antennas: an id is used twice")
        return self
