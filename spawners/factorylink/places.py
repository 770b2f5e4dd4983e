"""From configuration to places: which dialect is spoken at a factory, and which transport leads there."""

from __future__ import annotations

from collections.abc import Mapping

from factorylink.config import Access, LinkConfig, SshTransport
from factorylink.credentials import credentials_of
from factorylink.models import Factory
from factorylink.schedulers import pbs, slurm
from factorylink.schedulers.dialect import Dialect
from factorylink.seams import Place
from factorylink.site import Site
from factorylink.standing import Standing
from factorylink.transports.base import Transport
from factorylink.transports.heeding import HeedingTransport
from factorylink.transports.host_keys import pinned
from factorylink.transports.local import LocalTransport
from factorylink.transports.ssh import SshTransport as Ssh

_DIALECTS: dict[str, Dialect] = {"pbs": pbs, "slurm": slurm}


def make_places(config: LinkConfig, factories: Mapping[str, Factory]) -> dict[str, Place]:
    """A place for each factory that is offered; nothing is asked yet. Raises ValueError in words for the operator."""
    places: dict[str, Place] = {}
    for name, factory in factories.items():
        access = config.factories[name]
        try:
            dialect = _dialect(factory)
            standing = _standing(access, config.hub.name)
            transport = HeedingTransport(_transport(factory, access, standing), standing)
        except (OSError, ValueError) as error:
            raise ValueError(f"{name}: {error}") from error
        site = Site(factory, access, transport, dialect, config.hub.name)
        places[name] = Place(factory, access, site, transport, dialect, standing)
    return places


def _dialect(factory: Factory) -> Dialect:
    dialect = _DIALECTS.get(factory.scheduler)
    if dialect is None:
        known = ", ".join(_DIALECTS)
        raise ValueError(f"this release does not speak {factory.scheduler!r}; it speaks: {known}.")
    return dialect


def _standing(access: Access, gateway: str) -> Standing:
    if not isinstance(access.transport, SshTransport):
        return Standing()
    return Standing(credentials_of(access.transport, access.door, gateway))


def _transport(factory: Factory, access: Access, standing: Standing) -> Transport:
    settings = access.transport
    if not isinstance(settings, SshTransport):
        return LocalTransport(settings)
    site = factory.site
    keys = pinned((settings.host_keys, settings.host_cas), (site.host_keys, site.host_cas))
    return Ssh(factory.id, settings, keys, standing)
