"""A factory with the way to it: what sessions and clusters are handed of a factory that this hub offers."""

from __future__ import annotations

from dataclasses import dataclass, field

from factorycommon.models import Factory
from factorylink.config import Access
from factorylink.schedulers.dialect import Dialect
from factorylink.site.site import Site
from factorylink.transports.access_status import SiteAccessStatus
from factorylink.transports.base import Transport


@dataclass(frozen=True)
class FactoryConnection:
    """A factory with the way to it."""

    factory: Factory
    access: Access
    site: Site
    transport: Transport
    dialect: Dialect
    access_status: SiteAccessStatus = field(default_factory=SiteAccessStatus)
