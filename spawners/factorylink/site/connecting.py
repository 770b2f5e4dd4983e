"""From configuration to places: which dialect is spoken at a factory, and which transport leads there."""

from __future__ import annotations

from collections.abc import Mapping

from factorycommon.models import Factory
from factorylink.config import Access, LinkConfig, LocalTransportSettings, SshTransportSettings
from factorylink.credentials import credentials_of
from factorylink.schedulers.dialect import Dialect
from factorylink.schedulers.registry import DIALECTS
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.site import Site
from factorylink.transports.access_guard import GuardedTransport
from factorylink.transports.access_status import SiteAccessStatus
from factorylink.transports.base import Transport
from factorylink.transports.host_keys import pinned
from factorylink.transports.local import LocalTransport
from factorylink.transports.ssh.transport import SshTransport as Ssh


def make_connections(config: LinkConfig, factories: Mapping[str, Factory]) -> dict[str, FactoryConnection]:
    """A place for each factory that is offered; nothing is asked yet. Raises ValueError in words for the operator."""
    places: dict[str, FactoryConnection] = {}
    for name, factory in factories.items():
        access = config.factories[name]
        try:
            dialect = _dialect(factory)
            transport, access_status = _transport(factory, access, config.hub.name)
        except (OSError, ValueError) as error:
            raise ValueError(f"{name}: {error}") from error
        guarded = GuardedTransport(transport, access_status)
        site = Site(factory, access, guarded, dialect, config.hub.name)
        places[name] = FactoryConnection(factory, access, site, guarded, dialect, access_status)
    return places


def _dialect(factory: Factory) -> Dialect:
    dialect = DIALECTS.get(factory.scheduler)
    if dialect is None:
        known = ", ".join(DIALECTS)
        raise ValueError(f"this release does not speak {factory.scheduler!r}; it speaks: {known}.")
    return dialect


def _transport(factory: Factory, access: Access, gateway: str) -> tuple[Transport, SiteAccessStatus]:
    """Return the way to a factory's login side, and whether the link may act there. Raises OSError and ValueError."""
    match access.transport:
        case LocalTransportSettings() as settings:
            return LocalTransport(settings), SiteAccessStatus()
        case SshTransportSettings() as settings:
            site = factory.site
            access_status = SiteAccessStatus(credentials_of(settings, access.door, gateway))
            keys = pinned((settings.host_keys, settings.host_cas), (site.host_keys, site.host_cas))
            return Ssh(factory.id, settings, keys, access_status), access_status
