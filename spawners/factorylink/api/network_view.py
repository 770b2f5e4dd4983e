"""Makes the public view of the network: all factories and antennas, with the health of the offered factories."""

from __future__ import annotations

from factorycommon.models import (
    Antennas,
    Factory,
    Health,
    NetworkAntenna,
    NetworkFactory,
    NetworkSize,
    NetworkView,
    PartitionLoad,
    Planned,
)
from factorycommon.models.messages import Phrase
from factorylink.catalogue.choices import gpu_label_parts
from factorylink.site.factory_connection import FactoryConnection
from factorylink.site.offered_factories import OfferedFactories


def network(factories: OfferedFactories) -> NetworkView:
    """Return all factories and antennas, without personal data and without the schedulers' own messages.

    Each call makes the link ask the offered factories soon for their free resources.
    """
    offered = {name: connection.factory for name, connection in factories.items()}
    known: dict[str, Factory | Planned] = {
        **factories.catalogue.factories,
        **factories.catalogue.planned,
        **offered,
    }
    views = tuple(_factory(entry, factories) for _, entry in sorted(known.items()))
    return NetworkView(factories=views, antennas=_antennas(factories.catalogue.antennas))


def _factory(entry: Factory | Planned, factories: OfferedFactories) -> NetworkFactory:
    site = entry.site
    connection = factories.get(entry.id)
    return NetworkFactory(
        id=entry.id,
        name=entry.name,
        state=entry.state,
        machine=entry.site.machine if isinstance(entry, Factory) else None,
        coming=entry.coming.machine if entry.coming else None,
        host=site.host,
        city=site.city,
        country=site.country,
        at=site.at,
        health=None if connection is None else _health(factories.health(entry.id)),
        partitions=() if connection is None else _loads(connection),
        sizes=() if connection is None else _sizes(connection.factory),
        loads_at=None if connection is None else connection.site.loads_at(),
        maintenance=()
        if connection is None
        else tuple(one.model_copy(update={"name": ""}) for one in connection.site.maintenance()),
    )


def _health(health: Health) -> Health:
    """Return the health without a scheduler's or connection's own message, and without ``answer_seconds``.

    Such a message may contain names of accounts and machines.
    """
    words = health.words and health.words.model_copy(update={"scheduler": ""})
    return health.model_copy(update={"words": words, "answer_seconds": None})


def _sizes(factory: Factory) -> tuple[NetworkSize, ...]:
    return tuple(
        NetworkSize(id=size.id, parts=tuple(Phrase(text=part) for part in gpu_label_parts(factory, size)))
        for size in factory.sizes
    )


def _loads(connection: FactoryConnection) -> tuple[PartitionLoad, ...]:
    connection.site.look()
    used = {size.partition for size in connection.factory.sizes}
    return tuple(load for load in connection.site.view_loads() if load.name in used)


def _antennas(found: Antennas | None) -> tuple[NetworkAntenna, ...]:
    return tuple(
        NetworkAntenna(id=one.id, name=one.name, country=one.country, at=one.at, factories=one.factories)
        for one in (found.antennas if found else ())
    )
