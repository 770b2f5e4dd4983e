"""Models of the catalogue's entries: of AI Factories with a machine, and of planned ones, which have none yet."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from factorycommon.models.base import Model, Point, Slug
from factorycommon.models.provenance import Sourced
from factorycommon.models.rules import AccountHelp, LoginRules, SiteRules


class Seat(Model):
    """The institution that hosts a factory, and the factory's location.

    ``partners``: other institutions, or countries, that take part in the factory.
    """

    host: str
    city: str
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    at: Point | None = None  # position on the map; None: the map does not show it
    partners: tuple[str, ...] = ()


class SiteInfo(Seat):
    """A site's machine, login hosts and host keys, and what people must know before they use the site."""

    machine: str
    login_hosts: tuple[str, ...] = ()
    login: LoginRules | None = None
    host_keys: tuple[str, ...] = ()  # public keys of the login hosts, as the site publishes them: "ssh-ed25519 AAAA..."
    host_cas: tuple[str, ...] = ()  # public keys of the CA that signs the host keys
    account_help: AccountHelp | None = None
    rules: SiteRules | None = None  # None: the site has no rules to accept


class Coming(Model):
    """The next machine of a factory; for a factory without a machine, its first one.

    ``status``: how far its procurement is, and ``expected``: when it comes, both as free text in English;
    ``contract``: the day on which the contract was signed; ``million_eur``: the machine's cost.
    """

    machine: str | None = None
    status: str
    contract: date | None = None
    expected: str | None = None
    accelerator: str | None = None
    million_eur: float | None = Field(default=None, gt=0)


class NetworkEntry(Sourced):
    """The values that the entry of each AI Factory has, with a machine or without.

    ``scale``: the total number of planned accelerators; an AI Gigafactory has about 100,000. ``selected``: the day on
    which the EuroHPC JU selected the factory. ``notes`` are for people who use the factory, ``remarks`` for people who
    edit and check the entry. ``docs/factories.md`` has both; no page of the gateway shows them, since they are in
    English only."""

    id: Slug
    name: str
    kind: Literal["ai-factory", "ai-gigafactory"] = "ai-factory"
    scale: int | None = Field(default=None, ge=1)
    selected: date | None = None
    coming: Coming | None = None
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


class Planned(NetworkEntry):
    """A factory without a machine. Pages show it as coming; nothing can be started there."""

    state: Literal["planned"]
    site: Seat
