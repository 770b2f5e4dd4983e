"""The service's configuration (``workshops.yaml``): where it listens, who may create workshops, and its limits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from factorycommon.models import Model, Person, ProvenGroup
from factorycommon.service.database import Database
from factorycommon.service.listeners import HubListener, Port
from factorycommon.service.logs import LogFormat
from factorycommon.service.yaml_file import read_model
from factorycommon.tls import TlsFiles, is_loopback_host
from workshops.models.joining import JoiningSettings
from workshops.models.material import MaterialSettings

Address = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+/?$")]
BasePath = Annotated[str, StringConstraints(pattern=r"^/([A-Za-z0-9_./-]*/)?$")]


def _no_secret(text: str) -> str:
    Database.parse(text, "workshops", "database")
    return text


class HubAddress(Model):
    """How the service reaches JupyterHub.

    ``url``: scheme, host and port of the hub's own listener; ``base_url``: the path below which the hub serves;
    ``public_url``: the gateway's address for people, without ``base_url``; ``token_file``: a 0600 file with the token
    of the service ``workshops``.
    """

    url: Address = "http://127.0.0.1:8081"
    base_url: BasePath = "/"
    public_url: Address
    token_file: Path

    @property
    def root(self) -> str:
        """Return the gateway's address for people, including ``base_url``; the address ends with a slash."""
        return f"{self.public_url.rstrip('/')}{self.base_url}"


class Trainers(Model):
    """Who may create workshops: people by name, members of groups, or everybody who has a login; but never guests.

    Operators always may.
    """

    people: tuple[Person, ...] = ()
    groups: tuple[ProvenGroup, ...] = ()
    everybody: bool = False

    def has(self, person: str, groups: frozenset[str]) -> bool:
        """Return whether these settings let a person in ``groups`` create workshops; the caller must exclude guests."""
        return self.everybody or person in self.people or not groups.isdisjoint(self.groups)


MOST_WARM = 30  # minutes before a workshop opens, if the operator says nothing


class LinkAccess(Model):
    """How the service reaches the link. ``socket``: the same file as ``workshops.socket`` of ``link.yaml``."""

    socket: Path


class WorkshopLimits(Model):
    """The operator's limits for workshops.

    ``per_trainer``: the most workshops of one trainer that are not over. ``seats``: the most seats of one workshop.
    ``days``: the most days from a workshop's opening to its closing. ``warm_minutes``: how many minutes before a
    workshop's opening its seats start, unless a trainer orders an earlier start. None: ``MOST_WARM`` minutes, or less
    (at least 5) if earlier seats of the same node size at the factory came up fast. A workshop keeps the number of
    minutes that was set when it was created. ``clear_minutes``: a workshop is archived this many minutes after it has
    begun to close; meanwhile its sessions end and its accounts are cleared. ``retention_days``: the longest time that a
    trainer may choose for keeping the data of a workshop's people.
    """

    per_trainer: int = Field(default=50, ge=1)  # workshops of one trainer that are not over
    seats: int = Field(default=200, ge=1, le=1000)
    days: int = Field(default=14, ge=1, le=366)  # from its opening to its closing
    warm_minutes: int | None = Field(default=None, ge=0, le=24 * 60)
    clear_minutes: int = Field(default=60, ge=0, le=7 * 24 * 60)
    retention_days: int = Field(default=365, ge=0, le=3650)  # the most that a trainer may choose

    @property
    def most_warm_minutes(self) -> int:
        """Return ``warm_minutes`` as a new workshop stores it: ``MOST_WARM`` in place of None."""
        return MOST_WARM if self.warm_minutes is None else self.warm_minutes


class WorkshopsConfig(Model):
    """The contents of ``workshops.yaml``. Paths are relative to the file's folder.

    ``tls``: this service's certificate, needed if hub or proxy are on other hosts; ``hub_listener``: where a hub on
    another host connects, None: the hub uses ``socket``.
    """

    state_dir: Path  # the service's data, mode 0700
    socket: Path  # Unix socket, 0600, for a hub on this host and for the operator
    listen_host: str = "127.0.0.1"
    listen_port: Port = 8092  # port of the user API, which the proxy serves as the service ``workshops``
    tls: TlsFiles | None = None
    hub_listener: HubListener | None = None
    database: Annotated[str, AfterValidator(_no_secret)] | None = None  # None: workshops.sqlite in state_dir
    pools: Path  # what workshops may use; the same file as ``workshops.pools`` of link.yaml
    table: Path  # the projects of workshops; the same file as ``workshops.table`` of link.yaml
    hub: HubAddress
    link: LinkAccess | None = None  # None: there are no rooms, and nothing is sent into sessions
    trainers: Trainers = Trainers()
    approval: Literal["operator", "none"] = "operator"  # whether an operator has to approve each workshop
    limits: WorkshopLimits = WorkshopLimits()
    joining: JoiningSettings = JoiningSettings()  # mails to people who join
    material: MaterialSettings = MaterialSettings()  # what workshops may fetch, and from where
    log_format: LogFormat = "text"  # json: each line of the log is a JSON object

    @property
    def store(self) -> Database:
        """Return the address of the service's database."""
        if self.database is None:
            return Database.file(self.state_dir / "workshops.sqlite", "workshops")
        return Database.parse(self.database, "workshops", "database")

    @model_validator(mode="after")
    def _nothing_in_the_clear(self) -> WorkshopsConfig:
        if self.tls is None and not is_loopback_host(self.listen_host):
            raise ValueError("listen_host: needs tls; allowed without: 127.0.0.1")
        if self.tls is None and self.hub_listener is not None:
            raise ValueError("hub_listener: needs tls, since whoever connects there is the hub")
        return self


def load(path: Path) -> WorkshopsConfig:
    """Return the configuration in a file, with absolute paths.

    Raises CatalogueError with file, line and key of each mistake.
    """
    config = read_model(path, WorkshopsConfig)
    base = path.resolve().parent
    return config.model_copy(
        update={
            **{name: base / getattr(config, name) for name in ("state_dir", "socket", "pools", "table")},
            "joining": config.joining.rebased(base),
            "material": config.material.rebased(base),
            "link": None if config.link is None else LinkAccess(socket=base / config.link.socket),
            "tls": None if config.tls is None else config.tls.rebased(base),
            "hub": config.hub.model_copy(update={"token_file": base / config.hub.token_file}),
        }
    )
