"""The factories that this hub offers, with the operator's drains and pauses, and the whole catalogue."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from factorycommon.models import Health, Slug
from factorylink.catalogue.catalogue import Catalogue
from factorylink.explain import explain
from factorylink.ledger.ledger import Ledger
from factorylink.site.factory_connection import FactoryConnection
from factorylink.util import clock


class OfferedFactories(Mapping[Slug, FactoryConnection]):
    """The offered factories by id. Call ``load`` before use.

    ``catalogue``: the whole catalogue, also with factories that are not offered. ``drains``: the operator's message for
    each drained factory, by its id. ``on_change`` is called with the id of a factory whose health may have changed.
    """

    def __init__(self, ledger: Ledger, offered: Mapping[Slug, FactoryConnection], catalogue: Catalogue) -> None:
        self._ledger = ledger
        self.offered = offered
        self.catalogue = catalogue
        self.drains: dict[Slug, str] = {}
        self.on_change: Callable[[Slug], None] = lambda _factory_id: None

    def __getitem__(self, factory_id: Slug) -> FactoryConnection:
        return self.offered[factory_id]

    def __iter__(self) -> Iterator[Slug]:
        return iter(self.offered)

    def __len__(self) -> int:
        return len(self.offered)

    async def load(self) -> None:
        """Load the drains and pauses from the ledger. Raises LedgerError."""
        self.drains = await self._ledger.drains()
        for factory_id, message in (await self._ledger.pauses()).items():
            if factory_id in self.offered:
                self.offered[factory_id].access_status.pause(message)

    async def close(self) -> None:
        """Stop asking the schedulers, and close the connections."""
        for connection in self.offered.values():
            await connection.site.stop()
            await connection.commands.close()

    def health(self, factory_id: Slug) -> Health:
        """Return the factory's health, which also shows a drain or a pause."""
        if (connection := self.offered.get(factory_id)) is None:
            unknown = explain.own("not-offered", factory_id)
            return Health(state="unreachable", since=clock.now(), words=unknown)
        health, words = connection.site.health, connection.access_status.paused
        message = self.drains.get(factory_id)
        if words is None and message is not None:
            words = explain.own("draining").saying(what=message)
        if words is None or health.state == "unreachable":
            return health
        return health.model_copy(update={"state": "draining", "words": words})

    def not_offered(self, factory_id: str) -> str:
        """Return why nothing can be started at a factory that is not offered."""
        known = f"Unknown factory {factory_id!r}; there are: {', '.join(self.offered)}."
        return self.catalogue.refusal(factory_id) or known

    def key_id(self, factory_id: Slug, account: str) -> str:
        """Return the id of the key that logs in as that site account, for the audit.

        "" if the factory is not offered.
        """
        connection = self.offered.get(factory_id)
        return "" if connection is None else connection.access_status.key_id(account)

    # --- orders of the operator

    async def drain(self, factory_id: Slug, message: str) -> None:
        """Drain the factory: nothing new is started there. Raises LedgerError."""
        await self._ledger.drain(factory_id, message)
        self.drains[factory_id] = message
        self.on_change(factory_id)

    async def undrain(self, factory_id: Slug) -> None:
        """End a drain. Raises LedgerError."""
        await self._ledger.undrain(factory_id)
        self.drains.pop(factory_id, None)
        self.on_change(factory_id)

    async def pause(self, factory_id: Slug, message: str) -> None:
        """Pause the factory: the link no longer logs in there. Raises LedgerError."""
        await self._ledger.pause(factory_id, message)
        self.offered[factory_id].access_status.pause(message)

    async def resume(self, factory_id: Slug) -> None:
        """End a pause. Raises LedgerError."""
        await self._ledger.resume(factory_id)
        self.offered[factory_id].access_status.pause(None)
