"""The catalogue's models for every factory of the network, with a machine or without."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from factorycommon.models.base import Model, Point, Slug
from factorycommon.models.provenance import Sourced
from factorycommon.models.rules import AccountHelp, LoginRules, SiteRules


class Seat(Model):
    """Who hosts a factory, and where."""

    host: str
    city: str
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    at: Point | None = None  # on the map; None: not drawn there
    partners: tuple[str, ...] = ()


class SiteInfo(Seat):
    """Who to ask, and what one must know before going there."""

    machine: str
    login_hosts: tuple[str, ...] = ()
    login: LoginRules | None = None
    host_keys: tuple[str, ...] = ()  # of the login hosts, as the site publishes them: "ssh-ed25519 AAAA..."
    host_cas: tuple[str, ...] = ()  # or of the CA that signs them
    account_help: AccountHelp | None = None
    rules: SiteRules | None = None  # None: nothing to accept


class Coming(Model):
    """The machine that a factory is to get."""

    machine: str | None = None
    status: str
    contract: date | None = None
    expected: str | None = None
    accelerator: str | None = None
    million_eur: float | None = Field(default=None, gt=0)


class NetworkEntry(Sourced):
    """What every factory of the network has, with a machine or without.

    ``scale``: accelerators planned in all; an AI Gigafactory is of the order of 100,000. ``notes`` are for the people
    who use the factory, ``remarks`` for those who edit and check the entry. Both stand in docs/factories.md; no page
    shows them, since they are in English only."""

    id: Slug
    name: str
    kind: Literal["ai-factory", "ai-gigafactory"] = "ai-factory"
    scale: int | None = Field(default=None, ge=1)
    selected: date | None = None
    coming: Coming | None = None
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


class Planned(NetworkEntry):
    """A factory without a machine: it is shown as coming, and nothing can be started there."""

    state: Literal["planned"]
    site: Seat
