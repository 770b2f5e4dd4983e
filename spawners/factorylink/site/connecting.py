"""From configuration to places: which dialect is spoken at a factory, and which transport leads there."""

from __future__ import annotations

from collections.abc import Mapping

from factorycommon.models import Factory
from factorylink.config import Access, LinkConfig, SshTransportSettings
from factorylink.credentials import credentials_of
from factorylink.schedulers.dialect import Dialect
from factorylink.schedulers.pbs import dialect as pbs
from factorylink.schedulers.slurm import dialect as slurm
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.site import Site
from factorylink.transports.access_guard import GuardedTransport
from factorylink.transports.access_status import SiteAccessStatus
from factorylink.transports.base import Transport
from factorylink.transports.host_keys import pinned
from factorylink.transports.local import LocalTransport
from factorylink.transports.ssh.transport import SshTransport as Ssh

_DIALECTS: dict[str, Dialect] = {"pbs": pbs, "slurm": slurm}


def make_places(config: LinkConfig, factories: Mapping[str, Factory]) -> dict[str, FactoryConnection]:
    """A place for each factory that is offered; nothing is asked yet. Raises ValueError in words for the operator."""
    places: dict[str, FactoryConnection] = {}
    for name, factory in factories.items():
        access = config.factories[name]
        try:
            dialect = _dialect(factory)
            access_status = _access_status(access, config.hub.name)
            transport = GuardedTransport(_transport(factory, access, access_status), access_status)
        except (OSError, ValueError) as error:
            raise ValueError(f"{name}: {error}") from error
        site = Site(factory, access, transport, dialect, config.hub.name)
        places[name] = FactoryConnection(factory, access, site, transport, dialect, access_status)
    return places


def _dialect(factory: Factory) -> Dialect:
    dialect = _DIALECTS.get(factory.scheduler)
    if dialect is None:
        known = ", ".join(_DIALECTS)
        raise ValueError(f"this release does not speak {factory.scheduler!r}; it speaks: {known}.")
    return dialect


def _access_status(access: Access, gateway: str) -> SiteAccessStatus:
    if not isinstance(access.transport, SshTransportSettings):
        return SiteAccessStatus()
    return SiteAccessStatus(credentials_of(access.transport, access.door, gateway))


def _transport(factory: Factory, access: Access, access_status: SiteAccessStatus) -> Transport:
    settings = access.transport
    if not isinstance(settings, SshTransportSettings):
        return LocalTransport(settings)
    site = factory.site
    keys = pinned((settings.host_keys, settings.host_cas), (site.host_keys, site.host_cas))
    return Ssh(factory.id, settings, keys, access_status)
