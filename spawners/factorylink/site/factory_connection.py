"""Holds the objects with which sessions and clusters use an offered factory."""

from __future__ import annotations

from dataclasses import dataclass, field

from factorycommon.models import Factory
from factorylink.config import Access
from factorylink.schedulers.dialect import Dialect
from factorylink.site.site import Site
from factorylink.transports.access_status import SiteAccessStatus
from factorylink.transports.base import CommandRunner, StreamOpener


@dataclass(frozen=True)
class FactoryConnection:
    """An offered factory: its catalogue entry, its settings, and the objects with which the link reaches it.

    ``streams``: None if the transport only runs commands; then the doors of the factory's sessions cannot be reached.
    """

    factory: Factory
    access: Access
    site: Site
    commands: CommandRunner
    streams: StreamOpener | None
    dialect: Dialect
    access_status: SiteAccessStatus = field(default_factory=SiteAccessStatus)
