"""Makes the ``FactoryConnection`` of each offered factory, with its dialect and transport, from the configuration."""

from __future__ import annotations

from collections.abc import Mapping

from factorycommon.models import Factory
from factorylink.config import Access, LinkConfig, LocalTransportSettings, SshTransportSettings
from factorylink.credentials import credentials_of
from factorylink.schedulers.dialect import Dialect
from factorylink.schedulers.registry import DIALECTS
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.site import Site
from factorylink.transports.access_guard import GuardedCommands, GuardedStreams
from factorylink.transports.access_status import SiteAccessStatus
from factorylink.transports.base import CommandRunner, StreamOpener
from factorylink.transports.host_keys import pinned
from factorylink.transports.local import LocalTransport
from factorylink.transports.ssh.transport import SshTransport as Ssh


def make_connections(config: LinkConfig, factories: Mapping[str, Factory]) -> dict[str, FactoryConnection]:
    """Return a connection for each offered factory; no request is made yet.

    Raises ValueError, with an explanation for the operator, if a factory's settings or the files that they name are
    wrong.
    """
    connections: dict[str, FactoryConnection] = {}
    for name, factory in factories.items():
        access = config.factories[name]
        try:
            dialect = _dialect(factory)
            runner, opener, access_status = _transport(factory, access, config.hub.name)
        except (OSError, ValueError) as error:
            raise ValueError(f"{name}: {error}") from error
        commands = GuardedCommands(runner, access_status)
        streams = None if opener is None else GuardedStreams(opener, access_status)
        site = Site(factory, access, commands, dialect, config.hub.name)
        connections[name] = FactoryConnection(factory, access, site, commands, streams, dialect, access_status)
    return connections


def _dialect(factory: Factory) -> Dialect:
    dialect = DIALECTS.get(factory.scheduler)
    if dialect is None:
        known = ", ".join(DIALECTS)
        raise ValueError(f"this release does not speak {factory.scheduler!r}; it speaks: {known}.")
    return dialect


def _transport(
    factory: Factory, access: Access, gateway: str
) -> tuple[CommandRunner, StreamOpener | None, SiteAccessStatus]:
    """Return the transport for commands, the transport for byte streams, and the access status of a factory.

    The transport for byte streams is None if the factory's transport cannot open them. ``gateway``: the hub's name, for
    the ids of SSH certificates. Raises OSError and ValueError.
    """
    match access.transport:
        case LocalTransportSettings() as settings:
            local = LocalTransport(settings)
            return local, local, SiteAccessStatus()
        case SshTransportSettings() as settings:
            site = factory.site
            access_status = SiteAccessStatus(credentials_of(settings, access.door, gateway))
            keys = pinned((settings.host_keys, settings.host_cas), (site.host_keys, site.host_cas))
            ssh = Ssh(factory.id, settings, keys, access_status)
            return ssh, ssh, access_status
